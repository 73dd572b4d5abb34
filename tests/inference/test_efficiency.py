"""Timings: what is run how often, and what the numbers of a timing mean."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch

from iapt.inference.efficiency import Timing, measure_in_turn, timed

CPU = torch.device("cpu")


def test_things_are_timed_in_turn_each_inside_its_context_after_its_warm_up():
    order: list[str] = []

    def named(name: str) -> Callable[[], "Iterator[Callable[[], object]]"]:
        @contextmanager
        def context() -> Iterator[Callable[[], object]]:
            order.append(f"+{name}")
            yield lambda: order.append(name)
            order.append(f"-{name}")

        return context  # type: ignore[return-value]

    found = measure_in_turn({n: named(n) for n in "ab"}, CPU, repeats=2, warmup=1, tokens=8)
    assert order == ["+a", "a", "a", "-a", "+b", "b", "b", "-b", "+a", "a", "-a", "+b", "b", "-b"]
    assert {name: len(t.seconds) for name, t in found.items()} == {"a": 2, "b": 2}
    assert found["a"].tokens == 8
    assert found["a"].peak_mib is None
    assert min(found["a"].seconds) >= 0


def test_speed_is_new_tokens_by_the_median_second():
    timing = Timing((1.0, 4.0, 2.0), tokens=32, peak_mib=None)
    assert timing.median == 2.0
    assert timing.tokens_per_second == 16.0
    low, high = timing.spread
    assert 1.0 <= low <= 2.0 <= high <= 4.0
    assert Timing((3.0,), 1, None).spread == (3.0, 3.0)


class Gpu:
    """What `torch.cuda` is asked for, on a device that holds more with each call."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, object]] = []
        self.held = iter((3 * 2**20, 5 * 2**20, 4 * 2**20, 2**19))

    def reset_peak_memory_stats(self, device: torch.device) -> None:
        self.calls.append(("reset", device))

    def synchronize(self, device: torch.device) -> None:
        self.calls.append(("synchronize", device))

    def max_memory_allocated(self, device: torch.device) -> int:
        self.calls.append(("peak", device))
        return next(self.held)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Gpu:
    gpu = Gpu()
    monkeypatch.setattr(torch, "cuda", gpu)
    return gpu


def test_a_gpu_is_waited_for_on_both_sides_and_its_memory_is_told_in_mib(gpu: Gpu):
    device = torch.device("cuda", 1)
    _, peak = timed(lambda: gpu.calls.append(("run", None)), device)
    assert gpu.calls == [
        ("reset", device),
        ("synchronize", device),
        ("run", None),
        ("synchronize", device),
        ("peak", device),
    ]
    assert peak == 3.0


def test_the_largest_memory_of_all_repeats_is_each_ones_own(gpu: Gpu):
    @contextmanager
    def context() -> Iterator[Callable[[], object]]:
        yield lambda: None

    contenders = {"a": context, "b": context}
    found = measure_in_turn(contenders, torch.device("cuda", 0), repeats=2, warmup=0)
    assert {name: t.peak_mib for name, t in found.items()} == {"a": 4.0, "b": 5.0}
    assert found["a"].tokens == 0


def test_seconds_are_those_between_start_and_end(monkeypatch: pytest.MonkeyPatch):
    clock = iter((10.0, 12.5))
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    assert timed(lambda: None, CPU) == (2.5, None)


def test_a_peak_below_one_mib_is_kept(gpu: Gpu):
    gpu.held = iter((2**19,))

    @contextmanager
    def context() -> Iterator[Callable[[], object]]:
        yield lambda: None

    found = measure_in_turn({"a": context}, torch.device("cuda", 0), repeats=1, warmup=0)
    assert found["a"].peak_mib == 0.5
