"""Draw what IAPT does in one block (Figure 1 of the paper, as this toolkit implements it): docs/iapt_block.svg.

    python -m scripts.draw_block [FILE.svg]

The same code gives the same bytes, so that the picture changes only when this file does.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

OUT = Path("docs/iapt_block.svg")
# One colour for what is frozen, one for what is trained, one for the text itself.
FROZEN, TRAINED, TEXT, INK = "#dfe5ec", "#f6d9a8", "#ffffff", "#1f2933"


def box(ax: Axes, x: float, y: float, w: float, h: float, label: str, colour: str) -> None:
    """A labelled box with its lower left corner at (x, y)."""
    style = "round,pad=0,rounding_size=0.08"
    ax.add_patch(FancyBboxPatch((x, y), w, h, boxstyle=style, fc=colour, ec=INK, lw=1))
    ax.text(x + w / 2, y + h / 2, label, ha="center", va="center", size=10, color=INK)


def arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float], bend: float = 0) -> None:
    """An arrow, bent by a fraction of its length."""
    ax.add_patch(
        FancyArrowPatch(
            start, end, arrowstyle="-|>", mutation_scale=11, lw=1.2, color=INK,
            connectionstyle=f"arc3,rad={bend}",
        )
    )  # fmt: skip


def token_row(ax: Axes, x: float, y: float, labels: Sequence[str], colours: Sequence[str]) -> None:
    """A row of tokens."""
    for i, (label, colour) in enumerate(zip(labels, colours, strict=True)):
        box(ax, x + 0.62 * i, y, 0.54, 0.5, label, colour)


def draw() -> Figure:
    """The generator on the left, the block that its soft tokens enter on the right."""
    figure = Figure(figsize=(9.6, 4.9), facecolor="white")
    ax = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    ax.set_xlim(0, 12.0)
    ax.set_ylim(0, 6.1)
    ax.axis("off")

    ax.text(2.2, 5.72, "prompt generator of block $l$", ha="center", size=11, color=INK)
    steps = [
        ("down-projection $D$:  $d \\to m$", "shared by 4 blocks"),
        ("self-attention pooler $Q_l$:  $n \\to 4$ tokens", "one per block"),
        ("learned activation $R$ (rational)", "shared by 4 blocks"),
        ("up-projection $E$:  $m \\to d$", "shared by 4 blocks"),
    ]
    for i, (label, sharing) in enumerate(steps):
        y = 1.0 + 1.12 * i
        box(ax, 0.3, y, 3.9, 0.66, label, TRAINED)
        ax.text(4.2, y - 0.19, sharing, ha="right", size=8, color=INK)
        if i:
            arrow(ax, (2.25, y - 0.46), (2.25, y))

    text = ["$h_1$", "$h_2$", "...", "$h_n$", "$y_1$", "$y_2$"]
    after = ["$h_1'$", "$h_2'$", "...", "$h_n'$", "$y_1'$", "$y_2'$"]
    token_row(ax, 7.7, 0.75, text, [TEXT] * 6)
    for left, right, label in ((7.7, 10.1, "instruction"), (10.18, 11.34, "response")):
        ax.plot([left, left, right, right], [0.66, 0.56, 0.56, 0.66], color=INK, lw=1)
        ax.text((left + right) / 2, 0.27, label, ha="center", size=9.5, color=INK)
    ax.plot([7.62, 2.25], [1.0 - 0.38, 1.0 - 0.38], color=INK, lw=1.2)
    arrow(ax, (2.25, 0.62), (2.25, 1.0))
    ax.text(5.0, 0.33, "reads the instruction, never the response", ha="center", size=9, color=INK)

    token_row(ax, 5.6, 2.45, ["$p_1$", "...", "$p_4$"], [TRAINED] * 3)
    token_row(ax, 7.7, 2.45, text, [TEXT] * 6)
    for i in range(6):
        arrow(ax, (7.97 + 0.62 * i, 1.25), (7.97 + 0.62 * i, 2.45))
    ax.plot([4.2, 4.85, 4.85], [4.69, 4.69, 2.7], color=INK, lw=1.2)
    arrow(ax, (4.85, 2.7), (5.6, 2.7))
    ax.text(
        6.5,
        2.14,
        "four soft tokens,\nfor this block only",
        ha="center",
        va="top",
        size=9,
        color=INK,
    )

    box(
        ax,
        5.6,
        3.5,
        5.74,
        1.0,
        "Transformer block $l$\n(soft tokens act as keys and values)",
        FROZEN,
    )
    arrow(ax, (6.5, 2.95), (6.5, 3.5))
    arrow(ax, (9.5, 2.95), (9.5, 3.5))
    token_row(ax, 7.7, 5.0, after, [TEXT] * 6)
    arrow(ax, (9.5, 4.5), (9.5, 5.0))
    ax.text(8.47, 5.72, "one pass over the instruction; no generator while decoding", ha="center",
            size=9.5, color=INK)  # fmt: skip
    for y, colour, label in ((5.28, FROZEN, "frozen"), (4.92, TRAINED, "trained")):
        box(ax, 5.6, y, 0.34, 0.22, "", colour)
        ax.text(6.06, y + 0.1, label, va="center", size=9.5, color=INK)
    return figure


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the picture; returns 0."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    out = Path(words[0]) if words else OUT
    out.parent.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context({"svg.hashsalt": "iapt", "svg.fonttype": "path"}):
        figure = draw()
        FigureCanvasSVG(figure).print_svg(str(out), metadata={"Date": None, "Creator": None})
        if out.suffix == ".svg" and "--png" in words:
            figure.savefig(out.with_suffix(".png"), dpi=110)
    return 0


if __name__ == "__main__":
    sys.exit(main())
