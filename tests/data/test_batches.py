"""Optimizer batches and micro-batches: exact sizes, every example once, a resumable order."""

import itertools
import random

import pytest

from iapt.data.batches import WINDOW, Budget, Sampler, by_length, micro_batches


def sizes_of(n: int, longest: int, seed: int = 1) -> list[int]:
    draw = random.Random(seed)
    return [draw.randint(1, longest) for _ in range(n)]


SIZES = sizes_of(103, 60)


@pytest.mark.parametrize("budget", [1, 30, 60, 200, 10_000])
def test_groups_hold_every_index_once_within_the_budget(budget: int):
    groups = by_length(SIZES, budget)
    assert sorted(i for group in groups for i in group) == list(range(len(SIZES)))
    for group in groups:
        assert len(group) == 1 or len(group) * max(SIZES[i] for i in group) <= budget
    if budget == 10_000:
        assert len(groups) == 1


def test_no_two_neighbouring_groups_would_fit_together():
    groups = by_length(SIZES, 200)
    for a, b in itertools.pairwise(groups):
        assert (len(a) + 1) * SIZES[b[0]] > 200


@pytest.mark.parametrize("most", [0, 5, 64])
def test_a_group_takes_examples_until_its_padding_would_be_too_much(most: int):
    def padding(group: list[int]) -> int:
        return sum(SIZES[group[-1]] - SIZES[i] for i in group)

    groups = by_length(SIZES, 10_000, most)
    assert sorted(i for group in groups for i in group) == list(range(len(SIZES)))
    assert all(padding(group) <= most for group in groups)
    assert all(padding([*a, b[0]]) > most for a, b in itertools.pairwise(groups))
    assert len(groups) > 1
    for group in by_length(SIZES, 100, most):  # the budget holds as before
        assert len(group) * SIZES[group[-1]] <= 100


def test_nothing_to_group_is_no_group():
    assert by_length([], 10) == []
    assert by_length([], 10, 0) == []


def test_micro_batches_are_a_split_of_the_batch():
    batch = [5, 90, 17, 33, 2, 61]
    parts = micro_batches(batch, SIZES, 70)
    assert sorted(i for part in parts for i in part) == sorted(batch)
    assert len(parts) > 1


@pytest.mark.parametrize("most", [None, 0, 5])
def test_a_budget_runs_every_group_within_its_tokens_and_its_padding(most: int | None):
    ran: list[list[int]] = []
    Budget(400, most_padding=most).each(range(len(SIZES)), SIZES, ran.append)
    assert ran == by_length(SIZES, 400, most)


def drawn(sampler: Sampler, n: int) -> list[list[int]]:
    return [next(sampler) for _ in range(n)]


@pytest.mark.parametrize("size", [1, 16, 50, 103, 200])
def test_an_epoch_visits_every_example_once_in_full_batches(size: int):
    sampler = Sampler(SIZES, size, seed=0)
    for _ in range(2):
        epoch = drawn(sampler, sampler.batches_per_epoch)
        assert sorted(i for batch in epoch for i in batch) == list(range(len(SIZES)))
        assert sorted(map(len, epoch), reverse=True)[:-1] == [min(size, 103)] * (len(epoch) - 1)


def test_order_depends_on_seed_and_epoch_alone():
    one = drawn(Sampler(SIZES, 16, seed=3), 20)
    random.seed(99)  # nobody else's random state matters
    assert drawn(Sampler(SIZES, 16, seed=3), 20) == one
    assert drawn(Sampler(SIZES, 16, seed=4), 20) != one
    per_epoch = Sampler(SIZES, 16, seed=3).batches_per_epoch
    assert one[:per_epoch] != one[per_epoch : 2 * per_epoch]


@pytest.mark.parametrize("at", [0, 1, 6, 7, 8, 19])
def test_a_position_is_all_there_is_to_resume(at: int):
    whole = drawn(Sampler(SIZES, 16, seed=3), 30)
    resumed = Sampler(SIZES, 16, seed=3)
    resumed.position = at
    assert drawn(resumed, 30 - at) == whole[at:]


def test_windows_keep_lengths_together_without_fixing_their_order():
    sizes = sizes_of(16 * WINDOW * 2, 500)
    epoch = drawn(Sampler(sizes, 16, seed=0), 2 * WINDOW)
    padded = sum(len(b) * max(sizes[i] for i in b) for b in epoch)
    assert padded < 1.25 * sum(sizes)
    longest = [max(sizes[i] for i in b) for b in epoch[:WINDOW]]
    assert longest != sorted(longest)
