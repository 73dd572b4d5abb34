"""The measures of a cell for tables and their CSV, by name: value, column head, format."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, TypeVar

from iapt.reporting.footnotes import mark
from iapt.reporting.render import DASH, Mark
from iapt.reporting.spec import baseline
from iapt.results.cells import Cell, Comparison, compare, reference
from iapt.results.remarks import remarks
from iapt.results.statistics import Interval, bootstrap_interval, iqm, median

Place = TypeVar("Place", bound=Hashable)


@dataclass(frozen=True)
class Standing:
    """A cell's scores, and how they compare with the baseline's.

    Attributes:
        cell: The cell.
        cells: The cells among which to find its baseline.
        metric: A named score, or None for the main one.
        digits: Decimals of the score.
    """

    cell: Cell
    cells: Sequence[Cell]
    metric: str | None = None
    digits: int = 1

    @cached_property
    def values(self) -> list[float]:
        """Its scores."""
        return list(self.cell.scores(self.metric).values())

    @cached_property
    def median(self) -> float | None:
        """Their median."""
        return median(self.values) if self.values else None

    @cached_property
    def interval(self) -> Interval | None:
        """The bootstrap interval of their interquartile mean."""
        return bootstrap_interval([self.values])

    @cached_property
    def comparison(self) -> Comparison | None:
        """The comparison with the baseline, if one of its cells is comparable."""
        other = reference(self.cell, self.cells, baseline().method)
        return compare(self.cell, other, self.metric) if other else None

    @property
    def text(self) -> str:
        """The median, marked if there is a footnote, with the number of seeds if some are missing; or a dash."""
        seeds = len(self.cell.seeds)
        few = f" ({len(self.values)}/{seeds})" if 0 < len(self.values) < seeds else ""
        return number(self.median, self.digits) + (mark(self.cell) if self.values else "") + few


class Measure(NamedTuple):
    """One measure of a cell.

    Attributes:
        value: The value for the CSV; None if unknown.
        head: Column head in a table; empty for a measure that is only in the CSV.
        form: Format in a table: a function, or a format string with the score's decimals `d`, and `e`
            for one more.
    """

    value: Callable[[Standing], object]
    head: str = ""
    form: str | Callable[[Standing], str] = "{}"

    def text(self, standing: Standing) -> str:
        """Format it for a table; a dash if it is unknown."""
        if not isinstance(self.form, str):
            return self.form(standing)
        value, digits = self.value(standing), standing.digits
        return DASH if value is None else self.form.format(value, d=digits, e=digits + 1)


def number(value: float | None, digits: int) -> str:
    """Format a number, or a dash."""
    return DASH if value is None else f"{value:.{digits}f}"


def count_text(count: float | None) -> str:
    """Format a number of parameters: ``16.81M``, ``460.8k``, or a dash."""
    if count is None:
        return DASH
    if count >= 1e6:
        return f"{count / 1e6:.2f}M"
    return f"{count / 1e3:.1f}k" if count >= 1e3 else f"{count:.0f}"


def marks(values: Mapping[Place, float | None]) -> dict[Place, Mark]:
    """Mark the best and second best of a column (equal values share a mark)."""
    known = {place: value for place, value in values.items() if value is not None}
    order = sorted(set(known.values()), reverse=True)
    named: dict[float, Mark] = dict(zip(order, ("best", "second"), strict=False))
    return {p: named[v] for p, v in known.items() if v in named} if len(known) > 1 else {}


def heads(names: Sequence[str]) -> list[str]:
    """Return the column heads of some measures."""
    return [MEASURES[name].head for name in names]


def texts(names: Sequence[str], standing: Standing) -> list[str]:
    """Format some measures of a cell."""
    return [MEASURES[name].text(standing) for name in names]


def record(names: Sequence[str], standing: Standing | None) -> dict[str, object]:
    """Return some measures of a cell for the CSV; all are None without a cell."""
    return {name: standing and MEASURES[name].value(standing) for name in names}


def _seeds(s: Standing) -> str:
    missing = ", ".join(map(str, s.cell.missing))
    return f"{len(s.values)} (missing {missing})" if missing else f"{len(s.values)}"


def _unparsed(s: Standing) -> str:
    return f"{s.cell.typical(lambda r: r.scores.n_unparsed):g} of {s.cell.typical(lambda r: r.scores.n):g}"


MEASURES: Mapping[str, Measure] = {
    "n_seeds": Measure(lambda s: len(s.values), "Seeds", _seeds),
    "missing_seeds": Measure(lambda s: " ".join(map(str, s.cell.missing))),
    "median": Measure(lambda s: s.median, "Median", "{:.{d}f}"),
    "iqm": Measure(lambda s: iqm(s.values) if s.values else None, "IQM", "{:.{e}f}"),
    "interval": Measure(lambda s: s.interval, "95 % interval", "{0.low:.{e}f} to {0.high:.{e}f}"),
    "ci_low": Measure(lambda s: s.interval and s.interval.low),
    "ci_high": Measure(lambda s: s.interval and s.interval.high),
    "minus_baseline": Measure(
        lambda s: s.comparison and s.comparison.difference, f"Minus {baseline().label}", "{:+.{d}f}"
    ),
    "test": Measure(
        lambda s: s.comparison and s.comparison.test, "p (floor)", "{0.p:.3g} ({0.smallest:.3g})"
    ),
    "p": Measure(lambda s: s.comparison and s.comparison.test.p),
    "p_floor": Measure(lambda s: s.comparison and s.comparison.test.smallest),
    "majority": Measure(lambda s: s.cell.typical(lambda r: r.dev.majority_accuracy), "Majority", "{:.1f}"),
    "unparsed": Measure(lambda s: s.cell.typical(lambda r: r.scores.n_unparsed), "Unparsed", _unparsed),
    "trained_params": Measure(lambda s: s.cell.trained, "Trained", lambda s: count_text(s.cell.trained)),
    "dev_loss": Measure(lambda s: s.cell.typical(lambda r: r.dev.best_loss), "Dev loss", "{:.3f}"),
    "dev_accuracy": Measure(lambda s: s.cell.typical(lambda r: r.dev.best_accuracy), "Dev accuracy", "{:.1f}"),
    "test_n": Measure(lambda s: s.cell.typical(lambda r: r.scores.n)),
    "seconds_per_step": Measure(lambda s: s.cell.typical(lambda r: r.seconds.per_step), "s/step", "{:.2f}"),
    "peak_memory_mib": Measure(lambda s: s.cell.typical(lambda r: r.peak_memory_mib), "Peak MiB", "{:.0f}"),
    "remarks": Measure(lambda s: "; ".join(remarks(s.cell.rows))),
    "setting": Measure(lambda s: s.cell.setting),
    "run_ids": Measure(lambda s: " ".join(s.cell.run_ids)),
}  # fmt: skip
STATISTICS = ("n_seeds", "median", "iqm", "interval", "minus_baseline", "test")
COSTS = ("trained_params", "seconds_per_step", "peak_memory_mib")
ORIGIN = ("remarks", "setting", "run_ids")
CSV = ("n_seeds", "missing_seeds", "median", "iqm", "ci_low", "ci_high",
       "minus_baseline", "p", "p_floor")  # fmt: skip
TEST_NOTE = (
    "IQM: mean without the lowest and highest quarter, with a stratified bootstrap interval. "
    f"p: exact two-sided sign-flip test of the seed-paired differences from {baseline().label}; its "
    "floor is the smallest value that this many seeds can give (0.0625 for five)."
)
