"""How a cell is worded: counts, medians with their seeds, best and second best, statistics."""

from collections.abc import Mapping, Sequence

from iapt.reporting.render import DASH, Mark
from iapt.results.cells import Cell, compare, reference
from iapt.results.statistics import bootstrap_interval, iqm, median

DETAIL_HEAD = ("Seeds", "Median", "IQM", "95 % interval", "Minus LoRA", "p (floor)")
TEST_NOTE = (
    "IQM: mean without the lowest and highest quarter, with a stratified bootstrap interval. "
    "p: exact two-sided sign-flip test of the seed-paired differences to LoRA; its floor is the "
    "smallest value that so many seeds can give (0.0625 for five)."
)


def count_text(count: float | None) -> str:
    """Print a number of parameters: ``16.81M``, ``460.8k``, or a dash."""
    if count is None:
        return DASH
    if count >= 1e6:
        return f"{count / 1e6:.2f}M"
    return f"{count / 1e3:.1f}k" if count >= 1e3 else f"{count:.0f}"


def median_text(values: Sequence[float], seeds: int, digits: int = 1) -> str:
    """Print a median, marked with its number of seeds where some are missing; or a dash."""
    if not values:
        return DASH
    mark = "" if len(values) >= seeds else f" ({len(values)}/{seeds})"
    return f"{median(values):.{digits}f}{mark}"


def marks(values: Mapping[tuple[int, int], float]) -> dict[tuple[int, int], Mark]:
    """Mark the best and the second best of a column (equal values share a mark)."""
    ordered = sorted(set(values.values()), reverse=True)
    if len(values) < 2:
        return {}
    names: list[Mark] = ["best", "second"]
    named = dict(zip(ordered, names, strict=False))
    return {place: named[value] for place, value in values.items() if value in named}


def statistics_entries(
    cell: Cell, cells: Sequence[Cell], metric: str | None = None, digits: int = 1
) -> list[str]:
    """Print a cell's seeds, median, IQM, interval, difference to LoRA and p (for `DETAIL_HEAD`)."""
    numbers = statistics(cell, cells, metric)
    low, high, p = numbers["ci_low"], numbers["ci_high"], numbers["p_vs_lora"]
    more = digits + 1
    return [
        f"{numbers['n_seeds']:.0f}"
        if not cell.missing
        else f"{numbers['n_seeds']:.0f} (missing {', '.join(map(str, cell.missing))})",
        _number(numbers["median"], digits),
        _number(numbers["iqm"], more),
        DASH if low is None or high is None else f"{low:.{more}f} to {high:.{more}f}",
        _number(numbers["minus_lora"], digits, sign=True),
        DASH if p is None else f"{p:.3g} ({numbers['p_floor']:.3g})",
    ]


def statistics(
    cell: Cell, cells: Sequence[Cell], metric: str | None = None
) -> dict[str, float | None]:
    """Compute what stands beside a median; None where it cannot be computed.

    Args:
        cell: The cell.
        cells: Where its LoRA counterpart is looked for.
        metric: A named score, or None for the main one.
    """
    values = list(cell.scores(metric).values())
    interval = bootstrap_interval([values])
    other = reference(cell, cells, "lora")
    comparison = compare(cell, other, metric) if other else None
    return {
        "n_seeds": float(len(values)),
        "median": median(values) if values else None,
        "iqm": iqm(values) if values else None,
        "ci_low": interval.low if interval else None,
        "ci_high": interval.high if interval else None,
        "minus_lora": comparison.difference if comparison else None,
        "p_vs_lora": comparison.test.p if comparison else None,
        "p_floor": comparison.test.smallest if comparison else None,
    }


def _number(value: float | None, digits: int, *, sign: bool = False) -> str:
    return DASH if value is None else f"{value:{'+' if sign else ''}.{digits}f}"
