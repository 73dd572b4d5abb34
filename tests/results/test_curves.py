"""Which of two curves is flatter: against the definition, and by simulated truth."""

from itertools import permutations

import numpy as np
import pytest

from iapt.results.curves import flatter, variation

POINTS = 6


def test_without_noise_it_is_the_variance_over_the_points() -> None:
    curve = np.array([1.0, 2.0, 4.0])
    offsets = np.array(
        [[0.0], [30.0], [-7.0]]
    )  # a seed that shifts the whole curve changes nothing
    assert variation(curve + offsets) == pytest.approx(curve.var())
    assert variation(offsets + np.zeros(3)) == pytest.approx(0.0)


def test_it_is_the_mean_product_of_two_seeds_deviations() -> None:
    scores = np.random.default_rng(0).normal(80, 5, (4, POINTS))
    apart = scores - scores.mean(axis=1, keepdims=True)
    products = [float(np.mean(apart[a] * apart[b])) for a, b in permutations(range(4), 2)]
    assert variation(scores) == pytest.approx(np.mean(products))


def test_the_excess_is_that_of_all_seeds_with_the_jackknifes_error() -> None:
    draw = np.random.default_rng(1)
    ours, theirs = draw.normal(0, 1, (2, 5, POINTS))
    found = flatter(ours, theirs)
    assert found.mean == pytest.approx(variation(theirs) - variation(ours))
    without = [
        variation(np.delete(theirs, k, 0)) - variation(np.delete(ours, k, 0)) for k in range(5)
    ]
    assert found.error == pytest.approx(np.sqrt(4 / 5 * np.sum((without - np.mean(without)) ** 2)))
    assert found.df == 4


def shares(ours: float, theirs: float, slope: float) -> tuple[float, float]:
    """How often curves with these seed spreads, theirs with a slope, are found flatter, and steeper."""
    draw, count = np.random.default_rng(2), 800
    line = slope * np.linspace(-0.5, 0.5, POINTS)
    found = [
        flatter(draw.normal(0, ours, (5, POINTS)), line + draw.normal(0, theirs, (5, POINTS)))
        for _ in range(count)
    ]
    clear = [f.mean for f in found if f.p is not None and f.p <= 0.05]
    return sum(mean > 0 for mean in clear) / count, sum(mean < 0 for mean in clear) / count


@pytest.mark.parametrize(("ours", "theirs"), [(10.0, 3.0), (3.0, 10.0), (4.0, 4.0)])
def test_flat_curves_are_not_told_apart_by_the_noise_of_their_seeds(
    ours: float, theirs: float
) -> None:
    assert max(shares(ours, theirs, slope=0.0)) <= 0.025


def test_a_slope_is_found_and_noise_does_not_turn_it_round() -> None:
    right, wrong = shares(3.0, 3.0, slope=20.0)
    assert right > 0.8
    assert wrong == 0.0
    assert shares(10.0, 3.0, slope=8.0)[1] <= 0.025
