"""Statistics of runs: aggregates over tasks, exact tests, adjustment for several tests, attainability.

The median is the paper's statistic for one task.  For aggregates over tasks, Agarwal et al. (NeurIPS 2021, "Deep
reinforcement learning at the edge of the statistical precipice"; package rliable) recommend the
interquartile mean (IQM) with a stratified bootstrap interval: drop the lowest and the highest quarter of
all scores, average the rest; resample runs within each task, never across tasks.  A comparison on one
task is in `crossed`.

scipy takes half a second to load, so each function that needs it imports it.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np

RESAMPLES = 10_000
LEVEL = 0.95
QUARTER = 0.25  # trimmed at either end
MOST_PAIRS = 40  # of an exact sign-flip test, whose halves have 2^20 sums each
FLIPS = 200_000  # random ones, for more pairs


class Interval(NamedTuple):
    """A confidence interval, in points."""

    low: float
    high: float


class McNemar(NamedTuple):
    """An exact comparison of two lists of right and wrong answers: p, and the interval of the difference."""

    p: float
    interval: Interval


def iqm(values: Sequence[float]) -> float:
    """Return the interquartile mean, which leaves out the lowest and highest ``int(n / 4)`` values."""
    from scipy.stats import trim_mean

    return float(trim_mean(values, QUARTER))


def bootstrap_interval(
    strata: Sequence[Sequence[float]], *, resamples: int = RESAMPLES, seed: int = 0
) -> Interval | None:
    """Return the 95 % percentile interval of the IQM over all scores of all strata.

    Args:
        strata: One sequence of scores per task (rliable's runs x tasks, ragged allowed); each is
            resampled separately, with replacement.
        resamples: Bootstrap draws.
        seed: Seed of the draws, so the same scores always give the same interval.

    Returns:
        The interval, or None if a stratum has a single score and hence no spread to resample.
    """
    import numpy as np
    from scipy.stats import bootstrap, trim_mean

    if not strata or any(len(scores) < 2 for scores in strata):
        return None

    def pooled(*drawn: "np.ndarray", axis: int) -> "np.ndarray":
        return np.asarray(trim_mean(np.concatenate(drawn, axis=axis), QUARTER, axis=axis))

    found = bootstrap(
        list(strata),
        pooled,
        n_resamples=resamples,
        confidence_level=LEVEL,
        method="percentile",
        random_state=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(float(found.low), float(found.high))


def sign_flip(differences: Sequence[float]) -> float | None:
    """Test whether paired differences of runs are centred on zero, by flipping their signs.

    Two-sided and exact: the share of all ``2^n`` sign assignments whose mean is at least as far
    from zero as the observed one.  The identity and the full flip always count, so p >= 2 / 2^n: with five
    seeds it cannot fall below 0.0625, whatever the methods; five seeds on each of seven tasks can reach
    6e-11.  (`scipy.stats.permutation_test` misses ties that differ by rounding, such as 0.1 + 0.2 and 0.3.)

    Args:
        differences: One per shared seed, of one task or of several. Of more than 40, random assignments are
            drawn, the same on every call, and p is an upper estimate, at least 5e-6.

    Returns:
        p, or None if there are no differences.
    """
    import numpy as np

    count = len(differences)
    if count == 0:
        return None
    observed = abs(math.fsum(differences))
    edge = observed - 1e-9 * max(1.0, observed)
    if edge <= 0:
        return 1.0
    if count > MOST_PAIRS:
        signs = np.random.default_rng(0).choice(np.array([-1, 1], np.int8), (FLIPS, count))
        beyond = int(np.sum(np.abs(signs @ np.asarray(differences)) >= edge))
        return (1 + beyond) / (1 + FLIPS)
    left, right = _sums(differences[: count // 2]), _sums(differences[count // 2 :])
    right.sort()
    # Every assignment is a sum of both halves; as many are below -edge as above edge.
    above = int((len(right) - np.searchsorted(right, edge - left)).sum())
    return 2 * above / 2.0**count


def _sums(differences: Sequence[float]) -> "np.ndarray":
    """Return the sums of all sign assignments."""
    import numpy as np

    sums = np.zeros(1)
    for difference in differences:
        sums = np.concatenate([sums + difference, sums - difference])
    return sums


def mcnemar(wins: int, losses: int, items: int) -> McNemar:
    """Compare two runs on the same items, each right or wrong (McNemar's exact test).

    Only the items that exactly one run answers correctly matter; without a difference, each is a fair
    coin.  The interval is Clopper and Pearson's for that coin, in points over all items; it is conditional
    on the number of such items, and therefore agrees with p.

    Args:
        wins: Items that only the left run answers correctly.
        losses: Items that only the right run answers correctly.
        items: All items.
    """
    from scipy.stats import binomtest

    apart = wins + losses
    if apart == 0:  # `binomtest` needs at least one trial
        return McNemar(1.0, Interval(0.0, 0.0))
    test = binomtest(wins, apart)
    share = test.proportion_ci(LEVEL, method="exact")
    low, high = (100 * apart / items * (2 * end - 1) for end in (share.low, share.high))
    return McNemar(float(test.pvalue), Interval(float(low), float(high)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust the p-values of several tests (Holm, 1979); their order stays the same.

    If every adjusted p below 0.05 counts as a finding, the chance that even one of them is wrong is at most 5 %.
    """
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Adjust the p-values of several tests so that, on average, at most 5 % of those below 0.05 are wrong findings."""
    from scipy.stats import false_discovery_control

    return [float(p) for p in false_discovery_control(p_values)] if p_values else []


def attainable(value: float, n_test: int, digits: int = 1) -> bool:
    """Return whether a printed accuracy can be k right answers out of n, rounded.

    A median over an odd number of seeds is one seed's accuracy, so this also applies to medians.

    Args:
        value: The printed value, 0-100.
        n_test: Size of the test split.
        digits: Decimals printed.

    Returns:
        True if some integer k has ``100 k / n_test`` within half a unit of the last digit.
    """
    half_unit = 0.5 * 10.0**-digits + 1e-9  # ties may have been rounded either way
    nearest = min(max(0, round(value * n_test / 100)), n_test)
    return abs(100 * nearest / n_test - value) <= half_unit
