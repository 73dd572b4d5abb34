"""The measures of a cell for tables and their CSV, by name: value, column head, format."""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from statistics import median
from typing import NamedTuple, TypeVar

from iapt.reporting.footnotes import mark
from iapt.reporting.render import DASH, Mark
from iapt.reporting.spec import Line, baseline
from iapt.results.cells import Cell, reference
from iapt.results.comparison import MOST, Comparison, adjusted, compare, own_estimate
from iapt.results.crossed import Estimate
from iapt.results.remarks import remarks

UNEQUAL = "§"
FOUND = 0.05  # the largest p that counts as a finding
Place = TypeVar("Place", bound=Hashable)


@dataclass(frozen=True)
class Standing:
    """A cell's scores, and how they compare with the baseline's.

    Attributes:
        cell: The cell.
        cells: The cells among which to find its baseline.
        metric: A named score, or None for the main one.
        digits: Decimals of the score.
        most: The highest score that the metric can give.
        p_holm: The comparison's p-value, adjusted for its table; see `family`.
        baseline: The method to compare with.
    """

    cell: Cell
    cells: Sequence[Cell]
    metric: str | None = None
    digits: int = 1
    most: float = MOST
    p_holm: float | None = None
    baseline: Line = field(default_factory=baseline)

    @cached_property
    def values(self) -> list[float]:
        """Its scores."""
        return list(self.cell.scores(self.metric).values())

    @cached_property
    def median(self) -> float | None:
        """Their median."""
        return median(self.values) if self.values else None

    @cached_property
    def estimate(self) -> Estimate | None:
        """Their mean with its standard error."""
        return own_estimate(self.cell, self.metric, self.most)

    @cached_property
    def comparison(self) -> Comparison | None:
        """The comparison with the baseline, if the baseline has a comparable cell.

        Of several, such as LoRA at other ranks, it is the one with the values of the baseline's line, if there is
        one: rows that are added for a figure change no table.
        """
        name, cells = self.baseline.method, self.cells
        own = [c for c in cells if c.method == name and not self.baseline.strays(c)]
        other = reference(self.cell, own, name) or reference(self.cell, cells, name)
        return compare(self.cell, other, self.metric, self.most) if other else None

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
        head: Column head in a table, with {} for the baseline; empty for a measure that is only in the CSV.
        form: Format in a table: a function, or a format string in which `d` is the number of decimals of
            the score, and `e` one more.
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


def p_text(p: float | None) -> str:
    """Format a p-value with two digits, which never hide that it is above `FOUND`; or a dash."""
    if p is None:
        return DASH
    text = f"{p:.2g}"
    return f">{FOUND}" if float(text) <= FOUND < p else text


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


def heads(names: Sequence[str], against: str = "") -> list[str]:
    """Return the column heads of some measures; `against` is the baseline's label."""
    return [MEASURES[name].head.format(against) for name in names]


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


def _compared(name: str) -> Callable[[Standing], object]:
    """Return a function that reads an attribute of the comparison, if there is one."""
    return lambda s: s.comparison and getattr(s.comparison, name)


def _difference(s: Standing) -> str:
    found = s.comparison
    if found is None:
        return DASH
    return f"{found.difference:+.{s.digits}f}{f' {UNEQUAL}' if found.unequal else ''}"


MEASURES: Mapping[str, Measure] = {
    "n_seeds": Measure(lambda s: len(s.values), "Seeds", _seeds),
    "missing_seeds": Measure(lambda s: " ".join(map(str, s.cell.missing))),
    "median": Measure(lambda s: s.median, "Median", "{:.{d}f}"),
    "mean": Measure(lambda s: s.estimate and s.estimate.mean, "Mean", "{:.{e}f}"),
    "interval": Measure(
        lambda s: s.estimate and s.estimate.interval, "95 % interval", "{0.low:.{e}f} to {0.high:.{e}f}"
    ),
    "ci_low": Measure(lambda s: s.estimate and s.estimate.interval and s.estimate.interval.low),
    "ci_high": Measure(lambda s: s.estimate and s.estimate.interval and s.estimate.interval.high),
    "minus_baseline": Measure(_compared("difference"), "Minus {}", _difference),
    "baseline": Measure(lambda s: s.comparison and s.baseline.label),
    "minus_interval": Measure(
        _compared("interval"), "95 % interval of that", "{0.low:+.{e}f} to {0.high:+.{e}f}"
    ),
    "minus_low": Measure(lambda s: s.comparison and s.comparison.interval and s.comparison.interval.low),
    "minus_high": Measure(lambda s: s.comparison and s.comparison.interval and s.comparison.interval.high),
    "p": Measure(_compared("p"), "p", lambda s: p_text(s.comparison.p if s.comparison else None)),
    "p_holm": Measure(lambda s: s.p_holm, "p (Holm)", lambda s: p_text(s.p_holm)),
    "detectable": Measure(_compared("detectable"), "Detectable", "{:.{d}f}"),
    "basis": Measure(_compared("basis"), "Compared over"),
    "budget": Measure(_compared("budget")),
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
STATISTICS = ("n_seeds", "median", "mean", "interval")
COMPARED = ("minus_baseline", "minus_interval", "p", "p_holm", "detectable", "basis")
COSTS = ("trained_params", "seconds_per_step", "peak_memory_mib")
ORIGIN = ("remarks", "setting", "run_ids")
SCORES = ("n_seeds", "missing_seeds", "median", "mean", "ci_low", "ci_high")
CSV = (*SCORES, "baseline", "minus_baseline", "minus_low", "minus_high", "p", "p_holm", "detectable",
       "basis", "budget")  # fmt: skip


def family(standings: Iterable[Standing]) -> list[Standing]:
    """Adjust the p-values of the comparisons of one table, as one family of tests."""
    found = list(standings)
    p_values = adjusted([s.comparison.p if s.comparison else None for s in found])
    return [replace(s, p_holm=p) for s, p in zip(found, p_values, strict=True)]


def test_note(against: str) -> str:
    """Return the note under every table of scores; `against` is the baseline's label."""
    return (
        "Median is the paper's statistic. Mean, interval and difference are over seeds and test items drawn "
        f"at random; p is two-sided, and p (Holm) adjusts it for all comparisons with {against} in this table. "
        "Without per-item scores, the test set counts as fixed. Intervals are cut at the lowest and the highest "
        "possible score. One seed describes one run only. docs/statistics.md has the formulas."
    )


def detectable_note(comparisons: Iterable[Comparison | None]) -> list[str]:
    """Return the note under every table of comparisons: the smallest differences that they could find."""
    sizes: dict[float, list[float]] = {}
    for c in comparisons:
        if c and c.detectable is not None:
            sizes.setdefault(c.estimate.bounds.high, []).append(c.detectable)
    return [
        f"Smallest detectable difference: {_span(found)} points{'' if most == MOST else f' of {most:g}'}, which 80 % "
        "of such experiments would find at the 5 % level, before adjustment. A smaller true difference usually stays "
        "undecided."
        for most, found in sorted(sizes.items(), reverse=True)
    ]


def _span(sizes: Sequence[float]) -> str:
    return " to ".join(dict.fromkeys(f"{size:.1f}" for size in (min(sizes), max(sizes))))


def budget_note(comparisons: Iterable[Comparison | None], reference: str) -> list[str]:
    """Return the note that explains the mark of unequal budgets, if there are any.

    Args:
        comparisons: Those of the table.
        reference: The name of what they compare with.
    """
    unequal = any(c and c.unequal for c in comparisons)
    text = f"{UNEQUAL}: trained parameters more than 10 % from those of {reference}."
    return [text] if unequal else []
