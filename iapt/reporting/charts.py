"""Line charts as SVG, drawn with matplotlib: equal points give equal bytes, and labels are never markup."""

import io
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from iapt.reporting.render import clean

INK, PAPER = "#333333", "#ffffff"  # the two colours that a dark page replaces
# Okabe and Ito's palette without black, which colour-blind readers can distinguish.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
LARGEST = 1e15  # points beyond it, and NaN, are left out
WIDTH, HEIGHT, FONT = 6.2, 3.1, 9  # inches, inches, points
PLOT = {"left": 0.1, "right": 0.72, "top": 0.9, "bottom": 0.16}  # labels are on the right

_STYLE = {
    "svg.hashsalt": "iapt",  # identifiers would be random otherwise
    "svg.fonttype": "none",  # text stays text
    "text.parse_math": False,  # a dollar sign in a label is a dollar sign
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib: the same widths everywhere
    "font.size": FONT,
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor"), INK),
    **dict.fromkeys(("xtick.color", "ytick.color"), INK),
    **dict.fromkeys(("axes.spines.top", "axes.spines.right"), False),
    **{"axes.grid": True, "axes.grid.axis": "y", "grid.color": "#8888884d"},
}


@dataclass(frozen=True)
class Series:
    """One line of a chart.

    Attributes:
        label: Printed at the line's right end; it may come from a row, so it is not trusted.
        points: (x, y); points that are not finite are left out.
    """

    label: str
    points: Sequence[tuple[float, float]]


def line_chart(
    series: Sequence[Series], *, title: str, x_label: str, y_label: str, log_x: bool = False
) -> str:
    """Draw lines with labels at their ends.

    Args:
        series: The lines; those without a drawable point are left out.
        title: The heading, and the accessible name.
        x_label: Label of the horizontal axis.
        y_label: Label of the vertical axis.
        log_x: Use a logarithmic horizontal axis, which leaves out points with x <= 0.

    Returns:
        An ``<svg>`` element, or an empty string if there is nothing to draw.
    """
    drawn = [(clean(line.label)[:24], _drawable(line.points, log_x)) for line in series]
    drawn = [(label, points) for label, points in drawn if points]
    if not drawn:
        return ""
    with style.context(["default", _STYLE]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a label may hold letters that the measuring font lacks
        height = max(HEIGHT, 0.19 * len(drawn) + 0.9)
        figure = Figure(figsize=(WIDTH, height))
        FigureCanvasSVG(figure)
        axes = figure.subplots(gridspec_kw=PLOT)
        for number, (_, points) in enumerate(drawn):
            axes.plot(*zip(*points, strict=True), color=_colour(number), marker="o", markersize=3)
        axes.set_title(clean(title), loc="left", fontsize=FONT + 1)
        axes.set_xlabel(clean(x_label))
        axes.set_ylabel(clean(y_label))
        _scale(axes, [x for _, points in drawn for x, _ in points], log_x)
        _label_ends(axes, drawn, gap=0.17 / (height * (PLOT["top"] - PLOT["bottom"])))
        file = io.StringIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(file, format="svg", metadata=nothing)
    return _accessible(file.getvalue(), title)


def _drawable(points: Sequence[tuple[float, float]], log_x: bool) -> list[tuple[float, float]]:
    return sorted(
        (x, y)
        for x, y in points
        if abs(x) < LARGEST and abs(y) < LARGEST and not (log_x and x <= 0)
    )


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def _scale(axes: Axes, values: Sequence[float], log_x: bool) -> None:
    if log_x:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        few = sorted(set(values))
        if len(few) <= 8 and all(b >= 1.5 * a for a, b in pairwise(few)):
            axes.set_xticks(few)
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _amount(value)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    low, high = axes.get_ylim()
    if low < 0 <= axes.dataLim.y0:  # no tick below zero for non-negative values
        axes.set_ylim(0, max(high, 1.0) if axes.dataLim.y1 == 0 else high)


def _label_ends(
    axes: Axes, drawn: Sequence[tuple[str, list[tuple[float, float]]]], gap: float
) -> None:
    """Print each label beside the last point of its line, and move overlapping labels apart."""
    low, high = axes.get_ylim()
    ends = [(points[-1][1] - low) / (high - low) for _, points in drawn]
    order = sorted(range(len(drawn)), key=lambda number: ends[number])
    heights = [ends[number] for number in order]
    for i in range(1, len(heights)):
        heights[i] = max(heights[i], heights[i - 1] + gap)
    heights[-1] = min(heights[-1], 1.0)
    for i in reversed(range(len(heights) - 1)):
        heights[i] = min(heights[i], heights[i + 1] - gap)
    for number, height in zip(order, heights, strict=True):
        label, points = drawn[number]
        axes.annotate(
            label,
            xy=points[-1],
            xytext=(1.03, height),
            textcoords="axes fraction",
            verticalalignment="center",
            color=_colour(number),
            arrowprops={
                "arrowstyle": "-",
                "color": _colour(number),
                "alpha": 0.4,
                "relpos": (0, 0.5),
            },
        )


def _amount(value: float) -> str:
    if abs(value) >= 1e6:
        return f"{value / 1e6:.3g}M"
    return f"{value / 1e3:.3g}k" if abs(value) >= 1e4 else f"{value:.4g}"


def _accessible(svg: str, title: str) -> str:
    """Add a title to the picture, and drop the prologue and unused identifiers."""
    element = re.sub(r' id="[a-z][\w.]*_\d+"', "", svg[svg.index("<svg") :])
    head, _, rest = element.partition(">")
    return f'{head} role="img"><title>{escape(clean(title))}</title>{rest}'
