"""Pictures that compare methods: scores over seeds, and score against cost with the Pareto front."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from matplotlib.axes import Axes
from matplotlib.transforms import Bbox

from iapt.reporting.charts import canvas

SPREAD = 8.0  # ratio of the largest to the smallest value above which an axis is logarithmic
BOLD = 1.15 * canvas.LETTER
LINE = canvas.FONT * 1.15  # points; the height of a label


@dataclass(frozen=True)
class Range:
    """The scores of one method.

    Attributes:
        scores: One per seed.
        middle: Their mean, or another summary.
        interval: An interval around it; None if there is none.
        thin: Whether to draw the interval thin, because it says less than those of the other methods.
    """

    label: str
    scores: Sequence[float]
    middle: float
    interval: tuple[float, float] | None = None
    thin: bool = False


@dataclass(frozen=True)
class Spot:
    """One method in a picture of two measures."""

    label: str
    x: float
    y: float


def range_chart(methods: Sequence[Range], *, title: str, x_label: str) -> str:
    """Return an SVG with one line per method: a tick per seed, the interval, its middle; empty without methods."""
    drawn = [m for m in methods if m.scores and all(map(canvas.finite, (*m.scores, m.middle)))]
    if not drawn:
        return ""
    with canvas.drawing():
        height = 0.75 + 0.2 * len(drawn)
        figure = canvas.new_figure(height)
        edges = {"left": 0.3, "right": 0.97, "top": 1 - 0.3 / height, "bottom": 0.42 / height}
        axes = figure.subplots(gridspec_kw=edges)
        for y, method in enumerate(drawn):
            if method.interval and all(map(canvas.finite, method.interval)):
                width = 0.8 if method.thin else 2.4
                axes.plot(method.interval, (y, y), color=canvas.COLOURS[0], linewidth=width)
            axes.plot(method.scores, [y] * len(method.scores), "|", color=canvas.INK, markersize=7)
            axes.plot([method.middle], [y], "o", color=canvas.COLOURS[0], markersize=5)
        axes.set_yticks(range(len(drawn)), [canvas.short(method.label) for method in drawn])
        axes.set_ylim(len(drawn) - 0.5, -0.5)
        canvas.label_axes(axes, title, x_label, "")
        return canvas.svg_of(figure, title)


def pareto_front(spots: Sequence[Spot], *, x_up: bool, y_up: bool) -> list[Spot]:
    """Return, sorted by x, the methods that no other beats, by being as good in both measures and better in one.

    Methods in the same place are all on the front. `x_up`: more of x is better; `y_up` likewise.
    """

    def good(spot: Spot) -> tuple[float, float]:
        return (spot.x if x_up else -spot.x), (spot.y if y_up else -spot.y)

    def beaten(spot: Spot) -> bool:
        mine = good(spot)
        return any(
            all(a >= b for a, b in zip(good(other), mine, strict=True)) and good(other) != mine
            for other in spots
        )

    return sorted((s for s in spots if not beaten(s)), key=lambda s: (s.x, s.y, s.label))


def tradeoff_chart(
    spots: Sequence[Spot],
    *,
    title: str,
    x_label: str,
    y_label: str,
    x_up: bool = False,
    y_up: bool = True,
) -> str:
    """Return an SVG of two measures of every method, labelled directly, with the Pareto front; empty without spots."""
    spots = [spot for spot in spots if canvas.finite(spot.x) and canvas.finite(spot.y)]
    if not spots:
        return ""
    front = pareto_front(spots, x_up=x_up, y_up=y_up)
    with canvas.drawing():
        height = 3.4
        figure = canvas.new_figure(height)
        axes = figure.subplots(
            gridspec_kw={"left": 0.1, "right": 0.97, "top": 0.91, "bottom": 0.15}
        )
        if len(front) > 1:
            xs, ys = [s.x for s in front], [s.y for s in front]
            axes.plot(xs, ys, color=canvas.COLOURS[1], linewidth=1)
        rest = [spot for spot in spots if spot not in front]
        axes.plot(
            [s.x for s in rest], [s.y for s in rest], "o", color=canvas.COLOURS[0], markersize=5
        )
        axes.plot(
            [s.x for s in front], [s.y for s in front], "o", color=canvas.COLOURS[1], markersize=6
        )
        canvas.label_axes(axes, title, x_label, y_label)
        xs = [spot.x for spot in spots]
        canvas.scale_x(axes, [], log=min(xs) > 0 and max(xs) / min(xs) > SPREAD)
        axes.margins(0.12)
        axes.autoscale_view()
        canvas.scale_y(axes)
        canvas.amounts(axes.yaxis)
        _label_spots(axes, spots, front)
        return canvas.svg_of(figure, title)


def _label_spots(axes: Axes, spots: Sequence[Spot], front: Sequence[Spot]) -> None:
    """Print each label where it least covers points, other labels and the picture's edge."""
    points = axes.transData.transform([(spot.x, spot.y) for spot in spots])
    unit = axes.figure.dpi / 72
    frame = axes.get_window_extent()
    taken = [Bbox.from_bounds(x - 4 * unit, y - 4 * unit, 8 * unit, 8 * unit) for x, y in points]
    for spot, (x, y) in sorted(zip(spots, points, strict=True), key=lambda pair: -pair[1][1]):
        label = canvas.short(spot.label)
        letter = BOLD if spot in front else canvas.LETTER
        width, height = (len(label) * letter + 2) * unit, LINE * unit
        places = [
            Bbox.from_bounds(x + side * (6 + far) * unit - (side < 0) * width - (side == 0) * width / 2,
                             y + up * (5 + far) * unit - height / 2, width, height)
            for far, side, up in product((0, 7, 16, 28), (1, -1, 0), (0, 1, -1))
            if side or up
        ]  # fmt: skip
        cost = [_covered(place, taken) + _outside(place, frame) for place in places]
        best = places[cost.index(min(cost))]
        taken.append(best)
        axes.annotate(
            label,
            xy=(spot.x, spot.y),
            xytext=((best.x0 + best.x1) / 2 / unit, (best.y0 + best.y1) / 2 / unit),
            textcoords="figure points",
            ha="center",
            va="center",
            fontweight="bold" if spot in front else "normal",
            color=canvas.INK,
            arrowprops={"arrowstyle": "-", "color": canvas.FAINT, "shrinkA": 0, "shrinkB": 3, "linewidth": 0.8},
        )  # fmt: skip


def _covered(place: Bbox, taken: Sequence[Bbox]) -> float:
    shared = (Bbox.intersection(place, other) for other in taken)
    return sum(both.width * both.height + 1 for both in shared if both is not None)


def _outside(place: Bbox, frame: Bbox) -> float:
    inside = Bbox.intersection(place, frame)
    area = place.width * place.height
    return 3 * (area - (inside.width * inside.height if inside is not None else 0))
