"""A comparison of two cells on one task: item by item if both have scores per item, otherwise seed by seed."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

from iapt.results.cells import Cell, canonical, row_score
from iapt.results.crossed import Estimate, crossed
from iapt.results.row import Row
from iapt.results.statistics import Interval, McNemar, benjamini_hochberg, holm, mcnemar

if TYPE_CHECKING:
    import numpy as np

FEW_ITEMS = 300  # with fewer, the right and wrong answers of a single seed get an exact test
EQUAL = 1.1  # the largest ratio of trained parameters, whichever is larger, at which two budgets count as equal
MOST = 100.0  # the highest score of most metrics; the lowest is 0
NO_ITEMS = "without per-item scores"


class Outcomes(NamedTuple):
    """On how many seeds or items the left cell wins, loses and ties."""

    wins: int
    losses: int
    ties: int

    @property
    def text(self) -> str:
        """Wins, losses and ties as ``3 / 1 / 1``."""
        return " / ".join(map(str, self))


@dataclass(frozen=True)
class Comparison:
    """The difference between two cells over their common seeds, in points; positive if the left is better.

    Attributes:
        seeds: Their common seeds.
        left_out: Seeds that only one of them has.
        estimate: The mean difference.
        per_seed: The mean difference of each seed.
        by_item: Outcomes by each item's mean difference over seeds; None without scores per item.
        budget: Trained parameters of the left as a multiple of the right's.
        exact: The exact test that replaces the t-test for one seed with few items; otherwise None.
    """

    seeds: tuple[int, ...]
    left_out: tuple[int, ...]
    estimate: Estimate
    per_seed: tuple[float, ...]
    by_item: Outcomes | None
    budget: float | None
    exact: McNemar | None

    @property
    def difference(self) -> float:
        """The mean difference."""
        return self.estimate.mean

    @property
    def by_seed(self) -> Outcomes:
        """Outcomes by each seed's mean difference."""
        return _outcomes(self.per_seed)

    @property
    def interval(self) -> Interval | None:
        """The 95 % confidence interval of the difference; None if nothing varies."""
        return self.exact.interval if self.exact else self.estimate.interval

    @property
    def p(self) -> float | None:
        """Two-sided p-value for no difference; None if nothing varies."""
        return self.exact.p if self.exact else self.estimate.p

    @property
    def detectable(self) -> float | None:
        """The smallest true difference that 80 % of such experiments would find."""
        return self.estimate.detectable

    @property
    def basis(self) -> str:
        """What the comparison rests on: ``5 seeds x 277 items``, or ``5 seeds, without per-item scores``."""
        return self.estimate.basis if self.by_item else f"{self.estimate.basis}, {NO_ITEMS}"

    @property
    def unequal(self) -> bool:
        """Whether the trained parameters differ by more than 10 %."""
        return self.budget is not None and max(self.budget, 1 / self.budget) > EQUAL


@dataclass(frozen=True)
class Pair:
    """Two cells and their comparison, which is one of a family.

    Attributes:
        p_holm: p adjusted for all pairs of the family by Holm, which limits the chance of any wrong finding.
        p_bh: The same by Benjamini and Hochberg, which limits the share of wrong findings.
    """

    left: Cell
    right: Cell
    comparison: Comparison
    p_holm: float | None
    p_bh: float | None

    def facts(self) -> dict[str, object]:
        """Return everything about the pair as one flat record."""
        c = self.comparison
        items = c.by_item or (None, None, None)
        return {
            "task": self.left.task,
            "left": self.left.name,
            "right": self.right.name,
            "difference": c.difference,
            "low": c.interval and c.interval.low,
            "high": c.interval and c.interval.high,
            "p": c.p,
            "p_holm": self.p_holm,
            "p_bh": self.p_bh,
            "detectable": c.detectable,
            "seeds": len(c.seeds),
            "seeds_left_out": len(c.left_out),
            **dict(zip(("seeds_won", "seeds_lost", "seeds_tied"), c.by_seed, strict=True)),
            "items": c.estimate.items if c.by_item else 0,
            "clusters": c.estimate.clusters if c.by_item else 0,
            **dict(zip(("items_won", "items_lost", "items_tied"), items, strict=True)),
            "budget": c.budget,
            "left_runs": " ".join(self.left.run_ids),
            "right_runs": " ".join(self.right.run_ids),
        }


def compare(
    left: Cell, right: Cell, metric: str | None = None, most: float = MOST
) -> Comparison | None:
    """Compare two cells of one task; seeds are paired by their number, items by their place in the test split.

    Args:
        left: A cell.
        right: The other cell.
        metric: A named score, or None for the main one.
        most: The highest score that the metric can give.

    Returns:
        None if they have no common seed or not the same basis (data, task, decoding, config).
    """
    import numpy as np

    if left.task != right.task or left.basis != right.basis:
        return None
    ours, theirs = left.scores(metric), right.scores(metric)
    shared = tuple(sorted(ours.keys() & theirs.keys()))
    if not shared:
        return None
    rows = [row for cell in (left, right) for row in cell.rows if row.cell.seed in shared]
    scores, clusters, itemised = _table(rows, metric)
    apart = scores[: len(shared)] - scores[len(shared) :]
    apart[np.abs(apart) < 1e-9] = 0.0  # a tie up to rounding is a tie
    alone = len(shared) == 1 and itemised and not clusters and apart.shape[1] < FEW_ITEMS
    by_item = _outcomes(apart.mean(axis=0).tolist()) if itemised else None
    exact = None
    if by_item and alone and np.isin(apart, (-100.0, 0.0, 100.0)).all() and apart.any():
        exact = mcnemar(by_item.wins, by_item.losses, apart.shape[1])
    return Comparison(
        shared,
        tuple(sorted(ours.keys() ^ theirs.keys())),
        crossed(apart, clusters, Interval(-most, most)),
        tuple(apart.mean(axis=1).tolist()),
        by_item,
        left.trained / right.trained if left.trained and right.trained else None,
        exact,
    )


def compare_all(cells: Sequence[Cell]) -> list[Pair]:
    """Compare every pair of cells, as one family of tests; pairs that are not comparable are left out."""
    found = [
        (left, right, comparison)
        for left, right in combinations(cells, 2)
        if (comparison := compare(left, right))
    ]
    p_values = [comparison.p for _, _, comparison in found]
    by_holm, by_bh = adjusted(p_values), adjusted(p_values, by_rate=True)
    return [
        Pair(*pair, p_holm, p_bh) for pair, p_holm, p_bh in zip(found, by_holm, by_bh, strict=True)
    ]


def one_per_method(cells: Sequence[Cell]) -> list[Cell]:
    """Keep one cell of each method and variant, whose cells may differ in its values or learning rate.

    The one with the most rows is kept, or among equals the one with the lowest dev loss; test scores play no part.
    """
    kept: dict[str, tuple[tuple[int, float], Cell]] = {}
    for cell in cells:
        loss = cell.typical(lambda row: row.dev.best_loss)
        rank = (-len(cell.rows), float("inf") if loss is None else loss)
        if cell.name not in kept or rank < kept[cell.name][0]:
            kept[cell.name] = rank, cell
    return [cell for _, cell in kept.values()]


def adjusted(p_values: Sequence[float | None], *, by_rate: bool = False) -> list[float | None]:
    """Adjust the p-values of a family of tests; unknown ones stay unknown and do not count.

    Args:
        p_values: One per test.
        by_rate: Control the rate of wrong findings (Benjamini and Hochberg), not their presence (Holm).
    """
    rule = benjamini_hochberg if by_rate else holm
    known = iter(rule([p for p in p_values if p is not None]))
    return [None if p is None else next(known) for p in p_values]


def own_estimate(cell: Cell, metric: str | None = None, most: float = MOST) -> Estimate | None:
    """Return a cell's mean score with its standard error, estimated as for a difference; None without a score."""
    rows = [row for row in cell.rows if row.cell.seed in cell.scores(metric)]
    if not rows:
        return None
    scores, clusters, _ = _table(rows, metric)
    return crossed(scores, clusters, Interval(0.0, most))


def _table(rows: Sequence[Row], metric: str | None) -> "tuple[np.ndarray, tuple[int, ...], bool]":
    """Return (rows, items) scores, the items' clusters, and whether there are items at all.

    Unless `metric` is the main one and all rows have the same items, there is one column: each row's score.
    """
    import numpy as np

    first = rows[0].scores
    main = metric is None or canonical(metric) == canonical(first.metric)
    same = {(len(row.scores.items), _partition(row.scores.clusters)) for row in rows}
    if main and first.items and len(same) == 1:
        return np.array([row.scores.items for row in rows]), first.clusters, True
    return np.array([[row_score(row, metric)] for row in rows], dtype=float), (), False


def _partition(clusters: Sequence[int]) -> tuple[int, ...]:
    """Number clusters by their first item, so that two namings of the same clusters are equal."""
    first: dict[int, int] = {}
    return tuple(first.setdefault(name, place) for place, name in enumerate(clusters))


def _outcomes(values: Sequence[float]) -> Outcomes:
    wins, losses = sum(value > 0 for value in values), sum(value < 0 for value in values)
    return Outcomes(wins, losses, len(values) - wins - losses)
