"""What methods cost and achieve: score, parameters, memory, time and adapter size, plotted in pairs."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

from iapt.reporting.charts.canvas import LONGEST
from iapt.reporting.charts.comparison import Range, Spot, range_chart, tradeoff_chart
from iapt.reporting.measures import Standing
from iapt.results.cells import Cell
from iapt.results.row import Row

AGAINST_SIZE = "test score against trained parameters"
SCALAR = 4  # bytes of a saved scalar (float32)


class Axis(NamedTuple):
    """One measure of a cell.

    Attributes:
        label: The axis label in a picture.
        value: The measure; None if the rows do not have it.
        up: Whether more is better.
    """

    label: str
    value: Callable[[Cell], float | None]
    up: bool = False


AXES: Mapping[str, Axis] = {
    "test score": Axis("median test score", lambda c: Standing(c, ()).median, up=True),
    "trained parameters": Axis("trained parameters", lambda c: c.trained),
    "memory": Axis("peak memory, MiB", lambda c: c.typical(lambda r: r.peak_memory_mib)),
    "time": Axis("seconds per training step", lambda c: c.typical(lambda r: r.seconds.per_step)),
    "adapter size": Axis("saved adapter, bytes", lambda c: c.typical(_adapter_bytes)),
}


def tradeoffs(task: str, cells: Sequence[tuple[str, Cell]]) -> Iterator[tuple[str, str]]:
    """Yield a name and a picture for every pair of measures that at least two of the cells have.

    Args:
        task: For the title.
        cells: Labels and cells of that task.
    """
    for up, across in combinations(AXES, 2):
        x, y = AXES[across], AXES[up]
        spots = [
            Spot(label, a, b)
            for label, cell in cells
            if (a := x.value(cell)) is not None and (b := y.value(cell)) is not None
        ]
        if len(spots) > 1:
            name = f"{up} against {across}"
            labels = {"title": f"{task}: {name}", "x_label": x.label, "y_label": y.label}
            yield name, tradeoff_chart(spots, **labels, x_up=x.up, y_up=y.up)


def ranges(task: str, cells: Sequence[tuple[str, Cell]]) -> str:
    """Draw the scores of cells of one task: the mean with its 95 % interval, and a tick per seed.

    An interval from a single seed describes one run only, so it is drawn thin.
    """
    found = [(label, Standing(cell, ())) for label, cell in cells]
    return range_chart(
        [
            Range(_with_seeds(label, s), s.values, e.mean, e.interval, thin=e.seeds < 2)
            for label, s in found
            if (e := s.estimate) is not None
        ],
        title=f"{task}: mean test score, its 95 % interval, and each seed",
        x_label=cells[0][1].metric if cells else "",
    )


def against_size(task: str, cells: Sequence[tuple[str, Cell]]) -> str:
    """Draw the score of every method against its trained parameters, if at least two methods have both."""
    return dict(tradeoffs(task, cells)).get(AGAINST_SIZE, "")


def _with_seeds(label: str, standing: Standing) -> str:
    """Add the number of seeds to a label if some are missing, and cut the label to make room for it."""
    count, seeds = len(standing.values), len(standing.cell.seeds)
    few = f" ({count}/{seeds})" if count < seeds else ""
    return label[: LONGEST - len(few)] + few


def _adapter_bytes(row: Row) -> float | None:
    return None if row.params.stored is None else SCALAR * row.params.stored
