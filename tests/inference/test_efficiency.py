"""Timings: what is run how often, and what the numbers of a timing mean."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch

from iapt.inference import efficiency
from iapt.inference.efficiency import (
    Spread,
    Timing,
    measure_in_turn,
    peak_with_weights,
    reading_seconds,
    timed,
)
from tests.tiny import new_backbone

CPU = torch.device("cpu")


def test_things_are_timed_in_turn_each_inside_its_context_after_its_warm_up():
    order: list[str] = []

    def named(name: str) -> Callable[[], "Iterator[Callable[[int], object]]"]:
        @contextmanager
        def context() -> Iterator[Callable[[int], object]]:
            order.append(f"+{name}")
            yield lambda new: order.append(f"{name}{new}")
            order.append(f"-{name}")

        return context  # type: ignore[return-value]

    found = measure_in_turn({n: named(n) for n in "ab"}, CPU, repeats=2, warmup=1, tokens=8)
    first = ["+a", "a8", "a8", "-a", "+b", "b8", "b8", "-b"]
    assert order == [*first, "+a", "a8", "-a", "+b", "b8", "-b"]
    assert {name: len(t.whole.values) for name, t in found.items()} == {"a": 2, "b": 2}
    assert found["a"].tokens == 8
    assert found["a"].peak_mib > 0
    assert min(found["a"].whole.values) >= 0
    order.clear()
    measure_in_turn({"a": named("a")}, CPU, repeats=1, warmup=0, tokens=8, apart=True)
    assert order == ["+a", "a1", "a8", "-a"], "the prefill is a call for one token"


def test_speed_is_new_tokens_by_the_median_second():
    timing = Timing(Spread((1.0, 4.0, 2.0)), Spread((0.5, 0.9, 0.45)), tokens=32, peak_mib=1.0)
    assert timing.whole.median == 2.0
    assert timing.tokens_per_second == 16.0
    assert timing.step.values == pytest.approx((0.5 / 31, 0.1, 0.05))
    assert Spread(tuple(map(float, range(1, 22)))).ends == (2.0, 20.0), "5 and 95 % of 1 to 21"
    assert Spread((3.0,)).ends == (3.0, 3.0)


def test_a_ratio_is_taken_turn_by_turn():
    assert Spread((1.0, 10.0, 4.0)).over(Spread((2.0, 10.0, 1.0))).values == (0.5, 1.0, 4.0)


def test_what_a_step_reads_is_every_matrix_but_an_embedding_of_its_own():
    model = new_backbone("llama").model
    matrices = [p for p in model.parameters() if p.dim() > 1]
    seconds, read = reading_seconds(model, repeats=1)
    assert read == 4 * (sum(p.numel() for p in matrices) - model.lm_head.weight.numel())
    assert seconds > 0
    model.lm_head.weight = model.get_input_embeddings().weight  # tied: the table is the head
    assert reading_seconds(model, repeats=1)[1] == read


def test_a_read_takes_as_long_as_the_best_of_its_repeats(monkeypatch: pytest.MonkeyPatch):
    clock = iter((3.0, 1.0, 2.0))
    monkeypatch.setattr(efficiency, "seconds_of", lambda *_: next(clock))
    assert reading_seconds(new_backbone("llama").model, repeats=3)[0] == 1.0


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
    def context() -> Iterator[Callable[[int], object]]:
        yield lambda new: None

    contenders = {"a": context, "b": context}
    found = measure_in_turn(contenders, torch.device("cuda", 0), repeats=2, warmup=0, tokens=0)
    assert {name: t.peak_mib for name, t in found.items()} == {"a": 4.0, "b": 5.0}
    assert found["a"].tokens == 0


def test_the_memory_of_a_call_is_what_it_adds_beside_the_weights(gpu: Gpu):
    gpu.held = iter((7 * 2**20, 10 * 2**20))
    device = torch.device("cuda", 0)
    weights = torch.nn.Linear(512, 512, bias=False)  # 1 MiB
    assert peak_with_weights(lambda: 2.5, weights, device) == (2.5, 4.0)
    assert gpu.calls == [("reset", device), ("peak", device), ("peak", device)]


def test_seconds_are_those_between_start_and_end(monkeypatch: pytest.MonkeyPatch):
    clock = iter((10.0, 12.5))
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    assert timed(lambda: None, CPU)[0] == 2.5


def test_a_peak_below_one_mib_is_kept(gpu: Gpu):
    gpu.held = iter((2**19,))

    @contextmanager
    def context() -> Iterator[Callable[[int], object]]:
        yield lambda new: None

    found = measure_in_turn({"a": context}, torch.device("cuda", 0), repeats=1, warmup=0, tokens=1)
    assert found["a"].peak_mib == 0.5
