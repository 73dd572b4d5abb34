"""Timings: what is run how often, and what the numbers of a timing mean."""

import torch

from iapt.inference.efficiency import Timing, measure, measure_in_turn

CPU = torch.device("cpu")


def test_warm_up_runs_are_not_timed():
    calls: list[int] = []
    timing = measure(lambda: calls.append(1), CPU, repeats=4, warmup=3, tokens=32)
    assert len(calls) == 7
    assert len(timing.seconds) == 4
    assert min(timing.seconds) >= 0
    assert timing.peak_mib is None


def test_several_things_are_timed_in_turn():
    order: list[str] = []
    runs = {name: (lambda name=name: order.append(name)) for name in "ab"}
    found = measure_in_turn(runs, CPU, repeats=3, warmup=1, tokens=8)
    assert order == ["a", "b", *["a", "b"] * 3]
    assert {name: len(t.seconds) for name, t in found.items()} == {"a": 3, "b": 3}
    assert found["a"].tokens == 8


def test_speed_is_new_tokens_by_the_median_second():
    timing = Timing((1.0, 4.0, 2.0), tokens=32, peak_mib=None)
    assert timing.median == 2.0
    assert timing.tokens_per_second == 16.0
    low, high = timing.spread
    assert low <= 2.0 <= high
    assert Timing((3.0,), 1, None).spread == (3.0, 3.0)
