"""Times measured by a few steps: what is run, how it scales, what is refused."""

from typing import Any

import pytest
import torch

from iapt.errors import ConfigError
from iapt.grid import measure
from iapt.grid.measure import Measurements, check_measurable
from iapt.grid.workload import Workload, Workloads
from iapt.plan import Plan
from iapt.planning import make_plan
from tests.composed import composed


def planned(*words: str) -> Plan:
    return make_plan(composed("backbone=tiny_llama", "task=sst2", "device=cpu", *words))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every piece of measured work takes one second; returns what was done."""
    done: list[str] = []

    def seconds_of(work: Any, device: torch.device) -> float:
        work()
        done.append("timed")
        return 1.0

    monkeypatch.setattr(measure, "seconds_of", seconds_of)
    return done


@pytest.mark.parametrize("method", ["lora", "iapt", "ssp"])
def test_seconds_grow_with_steps_and_evaluated_and_decoded_rows(clock: list[str], method: str):
    plan = planned(f"method={method}", "hparams.max_steps=40", "hparams.eval_every=20")
    work = Workloads()(plan)
    measured = Measurements()

    def seconds(**changes: Any) -> float:
        return measured(plan, Workload(**(vars(work) | changes)))

    once = seconds()
    assert len(clock) == 4  # steps, evaluation, and decoding twice
    train = seconds(steps=80) - once
    dev = seconds(evaluations=2 * work.evaluations) - once
    test = seconds(sizes=work.sizes | {"test": 2 * work.sizes["test"]}) - once
    assert min(train, dev, test) > 0
    loading = once - train - dev - test
    assert 0 <= loading < 60
    # 80 examples of a second's two steps or less, so 40 steps of 8 take some seconds.
    assert train == pytest.approx((seconds(steps=120) - once) / 2)


def test_a_backbone_is_loaded_once_and_left_bare(clock: list[str], monkeypatch: pytest.MonkeyPatch):
    loads: list[Any] = []
    load = measure.load_backbone
    monkeypatch.setattr(measure, "load_backbone", lambda *a: loads.append(load(*a)) or loads[-1])
    measured = Measurements()
    for method in ("lora", "bitfit"):
        plan = planned(f"method={method}")
        measured(plan, Workloads()(plan))
    (loaded,) = loads
    assert not any(loaded.backbone._actions.values())


def test_what_is_not_at_hand_is_named_at_once():
    plans = [planned("method=lora", "data=hub", f"task={task}") for task in ("boolq", "rte")]
    with pytest.raises(ConfigError) as caught:
        check_measurable([*plans, planned("method=lora")])
    assert str(caught.value).splitlines() == [
        f"estimate=measure: task={task}: its data are not on this machine (iapt-data fetch task={task})"
        for task in ("boolq", "rte")
    ]
