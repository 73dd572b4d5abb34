"""The ends of what a greedy choice can total, against every order there is."""

from itertools import permutations
from random import Random

import pytest
import torch

from iapt.methods.gates import cut
from iapt.methods.packing import extreme_packings


def total(sizes: list[int], taken: list[bool]) -> int:
    return sum(size for size, take in zip(sizes, taken, strict=True) if take)


@pytest.mark.parametrize("seed", range(25))
def test_the_ends_are_those_of_the_greedy_cut_over_all_orders(seed):
    draw = Random(seed)
    sizes = [draw.choice((2, 4, 6, 10, 14)) * draw.choice((1, 3)) for _ in range(6)]
    budget = draw.randint(1, sum(sizes) + 3)
    totals = set()
    for order in permutations(range(len(sizes))):
        p = torch.tensor([float(-order.index(i)) for i in range(len(sizes))])
        totals.add(total(sizes, cut(p, sizes, budget).tolist()))
    smallest, largest = extreme_packings(sizes, budget)
    assert (total(sizes, smallest), total(sizes, largest)) == (min(totals), max(totals))


def test_a_budget_for_everything_or_for_nothing_has_one_choice():
    assert extreme_packings([3, 5], 8) == ([True, True], [True, True])
    assert extreme_packings([3, 5], 2) == ([False, False], [False, False])
