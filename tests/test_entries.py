"""Entries that the plans of a grid share."""

from pathlib import Path
from typing import Any

import pytest

from iapt import planning
from iapt.data.source import Folder
from iapt.entries import Once
from iapt.errors import ConfigError
from iapt.planning import make_plan
from tests.composed import composed

TINY = ("backbone=tiny_llama", "task=sst2", "device=cpu")
SAMPLE = Path(planning.__file__).parent / "data" / "sample"


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How often each kind of entry is built, and the data fingerprinted."""
    counts = dict.fromkeys(("build_task", "build_method", "fingerprint"), 0)

    def count(home: Any, name: str) -> None:
        real = getattr(home, name)

        def counted(*arguments: Any) -> Any:
            counts[name] += 1
            return real(*arguments)

        monkeypatch.setattr(home, name, counted)

    count(planning, "build_task")
    count(planning, "build_method")
    count(Folder, "fingerprint")
    return counts


def test_plans_that_share_build_each_distinct_entry_once(built: dict[str, int]):
    configs = [
        composed(*TINY, f"method={method}", f"seed={seed}", "data=folder", f"data.path={SAMPLE}")
        for method in ("lora", "bitfit")
        for seed in (0, 1, 2)
    ]
    once = Once()
    shared = [make_plan(config, once) for config in configs]
    assert built == {"build_task": 1, "build_method": 2, "fingerprint": 1}
    alone = [make_plan(config) for config in configs]
    assert built == {"build_task": 7, "build_method": 8, "fingerprint": 7}
    assert [p.run_id for p in shared] == [p.run_id for p in alone]
    assert [p.trainable for p in shared] == [p.trainable for p in alone]


def test_a_method_is_built_again_for_other_sizes_of_the_backbone():
    once = Once()
    small = make_plan(composed(*TINY, "method=lora"), once)
    large = make_plan(composed(*TINY, "method=lora", "backbone.dims.num_layers=8"), once)
    assert large.trainable == 2 * small.trainable


def test_a_mistake_is_told_of_every_plan_that_has_it():
    once = Once()
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"method\.rank=0"):
            make_plan(composed(*TINY, "method=lora", "method.rank=0"), once)
