"""Timings: what is run how often, and what the numbers of a timing mean."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from iapt.inference.efficiency import Timing, measure_in_turn

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
