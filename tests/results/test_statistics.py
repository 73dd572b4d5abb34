import itertools
import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from iapt.results.statistics import (
    attainable,
    benjamini_hochberg,
    bootstrap_interval,
    holm,
    iqm,
    mcnemar,
    sign_flip,
)

# Runs x tasks. rliable 1.2.0 gives for it, with 50,000 resamples: IQM 84.51255825,
# interval 82.7858 to 86.2361; for the first task alone: 85.00811784, 82.3066 to 86.1636.
RUNS = [
    [85.507979, 87.081478, 82.909047],
    [85.108276, 88.929470, 88.962931],
    [81.255853, 82.072429, 80.514671],
    [84.408098, 80.298762, 84.568335],
    [86.491441, 82.784870, 86.762549],
]


@pytest.mark.parametrize("count", range(1, 14))
def test_iqm_is_the_quarter_trimmed_mean(count: int) -> None:
    values = list(np.random.default_rng(count).normal(80, 5, count))
    assert iqm(values) == pytest.approx(scipy_stats.trim_mean(values, 0.25))


def test_iqm_and_interval_agree_with_rliable() -> None:
    tasks = [list(task) for task in zip(*RUNS, strict=True)]
    assert iqm([value for task in tasks for value in task]) == pytest.approx(84.51255825, abs=1e-5)
    interval = bootstrap_interval(tasks)
    assert interval is not None
    assert interval == pytest.approx((82.7858, 86.2361), abs=0.08)
    assert bootstrap_interval(tasks[:1]) == pytest.approx((82.3066, 86.1636), abs=1e-3)


def test_interval_resamples_within_tasks_only() -> None:
    # Two tasks far apart, no spread inside: mixing tasks would give a wide interval.
    assert bootstrap_interval([[10.0] * 5, [90.0] * 5]) == pytest.approx((50.0, 50.0))


def test_interval_is_the_same_every_time() -> None:
    tasks = [list(task) for task in zip(*RUNS, strict=True)]
    drawn = bootstrap_interval(tasks, resamples=50)
    assert drawn == bootstrap_interval(tasks, resamples=50)
    assert drawn == bootstrap_interval(tasks, resamples=50, seed=0)
    assert drawn != bootstrap_interval(tasks, resamples=50, seed=1)
    assert drawn != bootstrap_interval(tasks, resamples=51)


def test_two_scores_are_enough_for_an_interval() -> None:
    assert bootstrap_interval([[80, 90]]) == (80.0, 90.0)


def test_a_single_seed_has_no_interval() -> None:
    assert bootstrap_interval([[80.0]]) is None
    assert bootstrap_interval([]) is None


def test_sign_flip_equals_the_enumeration_of_all_signs() -> None:
    differences = [0.5, -0.2, 1.1, 0.3, 0.9]
    observed = abs(sum(differences))
    sums = [
        abs(sum(sign * d for sign, d in zip(signs, differences, strict=True)))
        for signs in itertools.product((1, -1), repeat=5)
    ]
    expected = sum(total >= observed - 1e-9 for total in sums) / 32
    assert sign_flip(differences) == pytest.approx(expected)


def test_five_wins_of_five_reach_the_floor_and_no_less() -> None:
    assert sign_flip([1.0, 2.0, 0.1, 3.0, 0.5]) == 0.0625


def test_no_difference_has_p_one_and_no_pair_no_test() -> None:
    assert sign_flip([0.0, 0.0]) == 1.0
    assert sign_flip([]) is None


@pytest.mark.parametrize(
    ("differences", "p"),
    [
        ((-0.3, -0.3, -0.3, -0.2), 0.125),
        ((-0.3, -0.3, -0.1, 0.3), 0.625),
        ((-1999.7, -2099.9, -2599.9, -2599.8), 0.125),
    ],
)
def test_a_tie_up_to_rounding_is_a_tie(differences: tuple[float, ...], p: float) -> None:
    # Added in another order these sums differ in the last bit; without room for it p is 0 and 0.5.
    assert sign_flip(differences) == p


def test_sign_flip_over_five_seeds_of_eight_tasks_is_exact() -> None:
    assert sign_flip([1.0] * 40) == 2 / 2**40
    assert sign_flip([*[1.0] * 30, *[-1.0] * 5]) == pytest.approx(
        scipy_stats.binomtest(5, 35).pvalue
    )


def test_sign_flip_over_more_tasks_is_drawn_and_repeats() -> None:
    apart = [*[1.0] * 31, *[-1.0] * 19]
    p = sign_flip(apart)
    assert p == pytest.approx(scipy_stats.binomtest(19, 50).pvalue, abs=0.003)
    assert p == sign_flip(apart)
    assert sign_flip([1.0] * 50) == pytest.approx(5e-6, rel=0.01)


@pytest.mark.parametrize(("wins", "losses"), [(9, 1), (1, 9), (5, 5), (6, 0), (14, 6)])
def test_mcnemar_is_the_binomial_test_of_the_items_that_differ(wins: int, losses: int) -> None:
    p, (low, high) = mcnemar(wins, losses, 200)
    tail = sum(math.comb(wins + losses, k) for k in range(max(wins, losses), wins + losses + 1))
    assert p == pytest.approx(min(1.0, 2 * tail / 2 ** (wins + losses)))
    assert low <= 100 * (wins - losses) / 200 <= high
    assert (low > 0 or high < 0) == (p < 0.05)  # interval and test agree


def test_mcnemar_without_items_that_differ_finds_nothing() -> None:
    assert mcnemar(0, 0, 50) == (1.0, (0.0, 0.0))


def test_holm_is_the_closed_test_of_all_subsets() -> None:
    found = [0.01, 0.04, 0.03, 0.5, 0.012]

    def closed(place: int) -> float:
        """The largest Bonferroni p of all sets of hypotheses that contain one."""
        places = range(len(found))
        sets = itertools.chain.from_iterable(itertools.combinations(places, k) for k in range(1, 6))
        return max(min(1.0, len(s) * min(found[i] for i in s)) for s in sets if place in s)

    assert holm(found) == pytest.approx([closed(place) for place in range(len(found))])
    assert holm([]) == []
    assert holm([0.9, 0.9]) == [1.0, 1.0]


def test_benjamini_hochberg_is_the_step_up_rule() -> None:
    found = [0.01, 0.04, 0.03, 0.5]
    # By hand, from the largest: 0.5, then min(0.04 * 4 / 3, 0.5), the same for 0.03 * 4 / 2 = 0.06 ...
    assert benjamini_hochberg(found) == pytest.approx([0.04, 0.16 / 3, 0.16 / 3, 0.5])
    assert benjamini_hochberg([]) == []


TABLE_1_COPA = [90.4, 90.2, 89.8, 90.4, 90.7, 90.8, 90.5, 90.7, 91.1, 89.6, 90.1, 90.1, 90.2, 91.9]
TABLE_1_RTE = [80.6, 80.5, 80.1, 81.5, 82.6, 82.9, 81.9, 82.7, 82.6, 79.7, 80.6, 80.8, 81.3, 83.9]


def test_attainable_finds_what_is_known_of_table_1() -> None:
    assert sum(attainable(value, 50) for value in TABLE_1_COPA) == 0
    assert sum(attainable(value, 100) for value in TABLE_1_COPA) == 0
    for size in (138, 139, 277):
        assert sum(attainable(value, size) for value in TABLE_1_RTE) == 4
    assert not attainable(92.6, 872)


def test_attainable_knows_the_ends_and_the_digits() -> None:
    assert attainable(100.0, 7)
    assert attainable(0.0, 7)
    assert not attainable(100.1, 7)
    assert attainable(33.3, 3)
    assert not attainable(33.3, 3, digits=2)
    assert attainable(33.33, 3, digits=2)
    assert not attainable(-0.1, 7)


def test_a_tie_may_have_been_rounded_either_way() -> None:
    assert attainable(12.2, 400)  # 49 of 400 are 12.25
    assert attainable(12.3, 400)
