"""What is said about a handful of scores: median, IQM with interval, paired test, attainability.

Median is the paper's statistic. The interquartile mean (IQM) with a stratified bootstrap interval
is the one that Agarwal et al. (NeurIPS 2021, "Deep reinforcement learning at the edge of the
statistical precipice"; package rliable) recommend for few runs: drop the lowest and the highest
quarter of all scores, average the rest; resample runs within each task, never across tasks.
With five runs a percentile bootstrap is rather too narrow than too wide: a guide, not a proof.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

RESAMPLES = 10_000
LEVEL = 0.95


class Interval(NamedTuple):
    """A confidence interval, in points."""

    low: float
    high: float


class SignFlip(NamedTuple):
    """An exact paired permutation test: the p-value, and the smallest that n pairs can give."""

    p: float
    smallest: float


def median(values: Sequence[float]) -> float:
    """Return the middle value, or the mean of the two middle ones."""
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def iqm(values: Sequence[float]) -> float:
    """Return the interquartile mean: without the lowest and highest ``int(n / 4)`` values."""
    ordered = sorted(values)
    cut = len(ordered) // 4
    kept = ordered[cut : len(ordered) - cut]
    return math.fsum(kept) / len(kept)


def bootstrap_interval(
    strata: Sequence[Sequence[float]], *, resamples: int = RESAMPLES, seed: int = 0
) -> Interval | None:
    """Return the 95 % percentile interval of the IQM over all scores of all strata.

    Args:
        strata: One sequence of scores per task (rliable's runs x tasks, ragged allowed); each is
            resampled with replacement on its own.
        resamples: Bootstrap draws.
        seed: Of the draws; the same scores always give the same interval.

    Returns:
        The interval, or None where a stratum has a single score and hence no spread to resample.
    """
    import numpy as np  # here, so that `--help` does not pay for it

    if not strata or any(len(scores) < 2 for scores in strata):
        return None
    draw = np.random.default_rng(seed)
    drawn = [
        np.asarray(scores, dtype=float)[draw.integers(0, len(scores), (resamples, len(scores)))]
        for scores in strata
    ]
    ordered = np.sort(np.concatenate(drawn, axis=1), axis=1)  # (resamples, all scores)
    total = ordered.shape[1]
    means = ordered[:, total // 4 : total - total // 4].mean(axis=1)
    low, high = np.percentile(means, [50 * (1 - LEVEL), 100 - 50 * (1 - LEVEL)])
    return Interval(float(low), float(high))


def sign_flip(differences: Sequence[float]) -> SignFlip | None:
    """Test whether seed-paired differences are centred on zero, by flipping their signs.

    Two-sided and exact: the share of all ``2^n`` sign assignments whose mean is at least as far
    from zero as the one observed. Identity and full flip always count, so p >= 2 / 2^n: with five
    seeds it cannot fall below 0.0625, whatever the methods.

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
    tolerance = 1e-9 * max(1.0, observed)  # scores such as 0.1 + 0.2 tie only up to rounding
    p = float(np.mean(np.abs(sums) >= observed - tolerance))
    return SignFlip(p, min(1.0, 2.0 / 2**count))


def attainable(value: float, n_test: int, digits: int = 1) -> bool:
    """Say whether a printed accuracy can be k right answers out of n, rounded.

    A median over an odd number of seeds is one of the seeds' accuracies, so this holds for medians.

    Args:
        value: The printed value, 0-100.
        n_test: Size of the test split.
        digits: Decimals printed.

    Returns:
        True if some integer k has ``100 k / n_test`` within half a unit of the last digit.
    """
    half_unit = 0.5 * 10**-digits + 1e-9  # ties may have been rounded either way
    nearest = round(value * n_test / 100)
    return any(
        abs(100 * k / n_test - value) <= half_unit
        for k in (nearest - 1, nearest, nearest + 1)
        if 0 <= k <= n_test
    )
