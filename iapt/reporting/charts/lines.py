"""Line charts: a few lines in one picture, labelled at their ends, or a panel for each of many."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import ceil

from matplotlib.axes import Axes

from iapt.reporting.charts import canvas
from iapt.reporting.render import clean

Points = list[tuple[float, float]]
PLOT = {"left": 0.1, "right": 0.72, "top": 0.9, "bottom": 0.16}  # labels are on the right
ACROSS = 4  # panels side by side
MOST = len(canvas.COLOURS)  # lines that can be told apart in one picture


@dataclass(frozen=True)
class Series:
    """One line of a chart.

    Attributes:
        label: Printed beside the line; it may come from a row, so it is not trusted.
        points: (x, y); points that are not finite are left out.
        band: (x, low, high) around the line, such as the range over seeds.
        partial: x of the points that rest on incomplete data; drawn as rings.
    """

    label: str
    points: Sequence[tuple[float, float]]
    band: Sequence[tuple[float, float, float]] = ()
    partial: Collection[float] = ()


def line_chart(
    series: Sequence[Series], *, title: str, x_label: str, y_label: str, log_x: bool = False
) -> str:
    """Return an SVG of lines with labels at their ends; empty if there is nothing to draw.

    Args:
        series: The lines; those without a drawable point are left out.
        title: The heading, and the accessible name.
        x_label: Names the horizontal axis.
        y_label: Names the vertical axis.
        log_x: Use a logarithmic horizontal axis, which leaves out points with x <= 0.
    """
    drawn = _drawable(series, log_x)
    if not drawn:
        return ""
    with canvas.drawing():
        height = max(canvas.HEIGHT, 0.19 * len(drawn) + 0.9)
        figure = canvas.new_figure(height)
        axes = figure.subplots(gridspec_kw=PLOT)
        for number, (each, points) in enumerate(drawn):
            _band(axes, each, log_x, canvas.colour(number))
            axes.plot(*zip(*points, strict=True), color=canvas.colour(number))
            for x, y in points:
                face = canvas.PAPER if x in each.partial else canvas.colour(number)
                axes.plot(
                    x, y, "o", markersize=3.5, color=canvas.colour(number), markerfacecolor=face
                )
        canvas.label_axes(axes, title, x_label, y_label)
        canvas.scale_x(axes, [x for _, points in drawn for x, _ in points], log_x)
        canvas.scale_y(axes)
        _label_ends(axes, drawn, gap=0.17 / (height * (PLOT["top"] - PLOT["bottom"])))
        return canvas.svg_of(figure, title)


def panel_chart(
    series: Sequence[Series],
    *,
    title: str,
    x_label: str,
    y_label: str,
    reference: Series | None = None,
) -> str:
    """Return an SVG like `line_chart`'s, each line in its own panel with the others faintly behind it.

    The panels share their axes; `reference` is a line to draw dashed in every panel.
    """
    drawn = _drawable(series, log_x=False)
    if not drawn:
        return ""
    with canvas.drawing():
        down = ceil(len(drawn) / ACROSS)
        figure = canvas.new_figure(0.6 + 1.15 * down)
        grid = figure.subplots(down, ACROSS, sharex=True, sharey=True, squeeze=False)
        spare = 1.15 * down + 0.6
        figure.subplots_adjust(0.1, 0.4 / spare, 0.99, 1 - 0.42 / spare, 0.08, 0.28)
        for number, axes in enumerate(grid.flat):
            if number >= len(drawn):
                axes.set_axis_off()
                continue
            each, points = drawn[number]
            for _, others in drawn:
                axes.plot(*zip(*others, strict=True), color=canvas.FAINT, linewidth=0.6)
            _band(axes, each, False, canvas.COLOURS[0])
            axes.plot(*zip(*points, strict=True), color=canvas.COLOURS[0], linewidth=1.6)
            for _, known in _drawable([reference], log_x=False) if reference else ():
                axes.plot(*zip(*known, strict=True), "--", color=canvas.COLOURS[1], linewidth=1)
            axes.set_title(canvas.short(each.label), loc="left", fontsize=canvas.FONT - 1, pad=2)
            axes.tick_params(labelsize=canvas.FONT - 2)
        canvas.scale_x(grid[0][0], [], log=False)
        canvas.scale_y(grid[0][0])
        figure.suptitle(clean(title), x=0.01, ha="left", fontsize=canvas.FONT + 1)
        figure.supxlabel(clean(x_label), fontsize=canvas.FONT)
        figure.supylabel(clean(y_label), fontsize=canvas.FONT)
        return canvas.svg_of(figure, title)


def _drawable(series: Sequence[Series], log_x: bool) -> list[tuple[Series, Points]]:
    found = [
        (
            each,
            sorted((x, y) for x, y in each.points if canvas.finite(x, log_x) and canvas.finite(y)),
        )
        for each in series
    ]
    return [(each, points) for each, points in found if points]


def _band(axes: Axes, each: Series, log_x: bool, shade: str) -> None:
    edges = sorted(
        edge
        for edge in each.band
        if canvas.finite(edge[0], log_x) and all(map(canvas.finite, edge))
    )
    if edges:
        x, low, high = zip(*edges, strict=True)
        axes.fill_between(x, low, high, color=shade, alpha=0.15, linewidth=0)


def _label_ends(axes: Axes, drawn: Sequence[tuple[Series, Points]], gap: float) -> None:
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
        each, points = drawn[number]
        axes.annotate(
            canvas.short(each.label),
            xy=points[-1],
            xytext=(1.03, height),
            textcoords="axes fraction",
            verticalalignment="center",
            color=canvas.colour(number),
            arrowprops={
                "arrowstyle": "-",
                "color": canvas.colour(number),
                "alpha": 0.4,
                "relpos": (0, 0.5),
            },
        )
