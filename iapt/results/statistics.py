"""Statistics of a handful of scores: median, IQM with interval, paired test, attainability.

The median is the paper's statistic.  Agarwal et al. (NeurIPS 2021, "Deep reinforcement learning at
the edge of the statistical precipice"; package rliable) recommend the interquartile mean (IQM) with a
stratified bootstrap interval for few runs: drop the lowest and the highest quarter of all scores,
average the rest; resample runs within each task, never across tasks.  With five runs a percentile
bootstrap is too narrow rather than too wide: a guide, not a proof.

scipy takes half a second to load, so each function that needs it imports it.
"""

import math
from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

__all__ = ["Interval", "SignFlip", "attainable", "bootstrap_interval", "iqm", "median", "sign_flip"]

RESAMPLES = 10_000
LEVEL = 0.95
QUARTER = 0.25  # trimmed at either end


class Interval(NamedTuple):
    """A confidence interval, in points."""

    low: float
    high: float


class SignFlip(NamedTuple):
    """An exact paired permutation test: the p-value, and the smallest that n pairs can give."""

    p: float
    smallest: float


def iqm(values: Sequence[float]) -> float:
    """Return the interquartile mean: without the lowest and highest ``int(n / 4)`` values."""
    from scipy.stats import trim_mean

    return float(trim_mean(values, QUARTER))


def bootstrap_interval(
    strata: Sequence[Sequence[float]], *, resamples: int = RESAMPLES, seed: int = 0
) -> Interval | None:
    """Return the 95 % percentile interval of the IQM over all scores of all strata.

    Args:
        strata: One sequence of scores per task (rliable's runs x tasks, ragged allowed); each is
            resampled with replacement on its own.
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


def sign_flip(differences: Sequence[float]) -> SignFlip | None:
    """Test whether seed-paired differences are centred on zero, by flipping their signs.

    Two-sided and exact: the share of all ``2^n`` sign assignments whose mean is at least as far
    from zero as the observed one.  The identity and the full flip always count, so p >= 2 / 2^n: with five
    seeds it cannot fall below 0.0625, whatever the methods.  (`scipy.stats.permutation_test` does not
    count a tie up to rounding, such as 0.1 + 0.2 and 0.3.)

    Args:
        differences: One per shared seed, at most 20.

    Returns:
        p and its floor, or None without a pair.

    Raises:
        ValueError: More than 20 pairs (2^20 assignments).
    """
    import numpy as np

    count = len(differences)
    if count == 0:
        return None
    if count > 20:
        raise ValueError(f"differences: {count} pairs given; the exact test takes at most 20")
    sums = np.zeros(1)
    for difference in differences:  # doubles the list of attainable sums with each pair
        sums = np.concatenate([sums + difference, sums - difference])
    observed = abs(math.fsum(differences))
    p = float(np.mean(np.abs(sums) >= observed - 1e-9 * max(1.0, observed)))
    return SignFlip(p, 2.0 / 2**count)


def attainable(value: float, n_test: int, digits: int = 1) -> bool:
    """Say whether a printed accuracy can be k right answers out of n, rounded.

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
