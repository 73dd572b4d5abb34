"""The mean of scores over crossed seeds and items, with its standard error, interval and p-value.

A training seed shifts the scores of all items together, and a hard item is hard for every seed.  So the
table of a method's scores, or of the differences between two methods, is modelled as::

    d[s, i] = mean + seed[s] + item[i] + rest[s, i]

with random, independent effects.  docs/statistics.md has the formulas and how they were checked.
scipy takes half a second to load, so each function that needs it imports it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from iapt.results.statistics import LEVEL, Interval

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike

POWER = 0.8
UNBOUNDED = Interval(float("-inf"), float("inf"))
NO_SPREAD = 1e-9  # points; a standard error below it is rounding


class Terms(NamedTuple):
    """The three terms of the squared standard error, each estimated separately.

    Attributes:
        seed: Squared standard error of the mean over seeds if the items were fixed.
        item: The same over items (or clusters, if items come in clusters) if the seeds were fixed.
        rest: The part that both of these contain, which their sum would count twice.
    """

    seed: float
    item: float
    rest: float


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds and items.

    Attributes:
        mean: The mean, in points.
        error: Its standard error; None if the scores have no spread to estimate it from.
        df: Degrees of freedom of the t distribution.
        seeds: Number of seeds.
        items: Number of items; 1 if each seed has one score.
        clusters: Number of clusters of items; equal to `items` without clusters.
        terms: The terms of ``error ** 2``.
        bounds: The lowest and highest values that the mean can have.
    """

    mean: float
    error: float | None
    df: float
    seeds: int
    items: int
    clusters: int
    terms: Terms
    bounds: Interval = UNBOUNDED

    @cached_property
    def interval(self) -> Interval | None:
        """The 95 % confidence interval, in points, cut off at `bounds`.

        The true mean never lies outside them, so this costs no coverage.
        """
        from scipy.stats import t

        if self.error is None:
            return None
        half = float(t.ppf((1 + LEVEL) / 2, self.df)) * self.error
        low, high = self.bounds
        return Interval(max(low, self.mean - half), min(high, self.mean + half))

    @cached_property
    def p(self) -> float | None:
        """Two-sided p-value for a mean of zero."""
        from scipy.stats import t

        return self.error and float(2 * t.sf(abs(self.mean) / self.error, self.df))

    @property
    def detectable(self) -> float | None:
        """The smallest true mean that 80 % of such experiments would find at the 5 % level; None if none can be."""
        if self.error is None:
            return None
        size = critical(self.df) * self.error
        return size if size <= self.bounds.high else None

    @property
    def basis(self) -> str:
        """The size of the random sample, as text: ``5 seeds x 277 items``."""
        clusters = "1 cluster" if self.clusters == 1 else f"{self.clusters} clusters"
        clustered = f" in {clusters}" if self.clusters < self.items else ""
        items = f"{self.items} items{clustered}" if self.items > 1 else ""
        seeds = f"{self.seeds} seeds" if self.seeds > 1 else "1 seed"
        return f"{seeds} x {items}" if items else seeds


def crossed(
    scores: "ArrayLike", clusters: Sequence[int] = (), bounds: Interval = UNBOUNDED
) -> Estimate:
    """Estimate the mean of a table of scores or differences.

    With one seed, the error has only the items' term and so describes this one training run; with one
    item (a score per seed), it has only the seeds' term, and the test set counts as fixed.

    Args:
        scores: (seeds, items), in points.
        clusters: The cluster of each item, such as its passage; empty if items are independent.
        bounds: The lowest and highest values that the mean can have.

    Raises:
        ValueError: `scores` is not a finite table, or `clusters` does not have one entry per item.
    """
    import numpy as np

    table = np.asarray(scores, dtype=float)
    if table.ndim != 2 or table.size == 0 or not np.isfinite(table).all():
        raise ValueError(f"scores: finite (seeds, items) needed, not shape {table.shape}")
    seeds, items = table.shape
    if clusters and len(clusters) != items:
        raise ValueError(f"clusters: {len(clusters)} given for {items} items")
    _, groups = np.unique(clusters or np.arange(items), return_inverse=True)
    count = int(groups.max()) + 1
    mean = float(table.mean())
    terms = _terms(table, groups, count)
    squared, df = combined(terms, seeds, count)
    error = squared**0.5
    known = error if error > NO_SPREAD else None
    return Estimate(mean, known, df, seeds, items, count, terms, bounds)


def combined(terms: Terms, seeds: int, clusters: int) -> tuple[float, float]:
    """Return the squared standard error of a mean and its degrees of freedom.

    Satterthwaite's formula squares the terms' shares. With five seeds, it then finds a difference that does
    not exist in up to 2.9 % of experiments per direction instead of 2.5 %; the shares themselves keep to 2.5 %.
    """
    seed, item, rest = terms
    # A negative variance component counts as zero: neither term can be below what both contain.
    squared = max(seed, rest) + max(item, rest) - rest
    # Seeds that seem to differ by no more than chance may do so by chance, so their share never is zero: if it
    # were, one difference in a thousand would be found 4.8 times as often as it should be.
    share = max(seed, rest) / squared if squared > 0 else 0.0
    return squared, 1 / (share / max(seeds - 1, 1) + (1 - share) / max(clusters - 1, 1))


def _terms(table: "np.ndarray", groups: "np.ndarray", count: int) -> Terms:
    """Return the terms: mean squares of a two-way analysis of variance over (seeds x items).

    With clusters, the deviations of a cluster's items are added up first (two-way clustering by
    Cameron, Gelbach and Miller, 2011); without, this is the analysis of variance itself.
    """
    import numpy as np

    seeds, items = table.shape
    mean = table.mean()
    by_seed = table.mean(axis=1) - mean
    by_item = table.mean(axis=0) - mean
    rest = table - mean - by_seed[:, None] - by_item
    by_cluster = np.bincount(groups, by_item, count) / items
    by_both = np.stack([np.bincount(groups, line, count) for line in rest]) / (seeds * items)
    # Factors that make the sums of squares unbiased; a dimension of size one has no spread.
    of_seeds = seeds / (seeds - 1) if seeds > 1 else 0.0
    of_clusters = count / (count - 1) if count > 1 else 0.0
    return Terms(
        float(of_seeds * np.sum(by_seed**2) / seeds**2),
        float(of_clusters * np.sum(by_cluster**2)),
        float(of_seeds * of_clusters * np.sum(by_both**2)),
    )


def critical(df: float) -> float:
    """Return how many standard errors from zero a true mean must be to be found 80 % of the time."""
    from scipy.stats import t

    return float(t.ppf((1 + LEVEL) / 2, df) + t.ppf(POWER, df))
