"""Whether one curve of scores is flatter than another, beyond what the noise of its seeds explains.

The range of noisy points grows with their noise, so ranges compare seeds and not curves.  Two seeds have
independent noise, so the product of their deviations at one point has the square of the true deviation as
its mean; the average over all pairs of seeds and all points is an unbiased estimate of a curve's variance.
"""

from typing import TYPE_CHECKING

from iapt.results.crossed import Estimate, crossed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike

FEWEST = 3  # seeds: without one of them, a pair is left


def variation(curves: "ArrayLike") -> float:
    """Return the variance of the true scores over the points of a curve, in points squared.

    Args:
        curves: (seeds, points) scores, two seeds or more; noise is independent between seeds.

    Returns:
        An unbiased estimate, below zero if the noise happens to look flatter than none.
    """
    import numpy as np

    scores = np.asarray(curves, dtype=float)
    seeds, points = scores.shape
    apart = scores - scores.mean(axis=1, keepdims=True)
    pairs = np.sum(apart.sum(axis=0) ** 2) - np.sum(apart**2)
    return float(pairs / (seeds * (seeds - 1) * points))


def flatter(ours: "ArrayLike", theirs: "ArrayLike") -> Estimate:
    """Estimate by how much the `variation` of their curve exceeds that of ours: a jackknife over paired seeds.

    Args:
        ours: (seeds, points) scores, `FEWEST` seeds or more.
        theirs: The same for the other curve.
    """
    import numpy as np

    sides = [np.asarray(side, dtype=float) for side in (theirs, ours)]
    seeds = len(sides[0])

    def excess(kept: "np.ndarray") -> float:
        left, right = (variation(side[kept]) for side in sides)
        return left - right

    every = np.arange(seeds)
    whole = excess(every)
    without = [excess(every[every != seed]) for seed in every]
    return crossed([[seeds * whole - (seeds - 1) * one] for one in without])
