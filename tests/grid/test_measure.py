"""Times measured by a few steps: what is run, how it scales, what is refused."""

from dataclasses import replace
from pathlib import Path
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


FEW = ("limit.train=24", "limit.dev=4", "limit.test=4")


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
    rows = seconds(sizes=work.sizes | {"dev": 2 * work.sizes["dev"]}) - once
    assert rows == pytest.approx(dev), "as many examples are evaluated"
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


@pytest.mark.usefixtures("clock")
def test_steps_of_architecture_parameters_take_their_time_too():
    measured = Measurements()

    def of_40_steps(arch_every: int) -> float:
        plan = planned("method=iapt", *FEW, f"hparams.arch_every={arch_every}")
        work = Workloads()(plan)
        return measured(plan, replace(work, steps=80)) - measured(plan, replace(work, steps=40))

    assert of_40_steps(1) / of_40_steps(4) == pytest.approx((1 + 1) / (1 + 1 / 4))


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize(
    ("words", "beams", "checkpointing"),
    [
        ((), 3, False),
        (("hparams.num_beams=1", "hparams.gradient_checkpointing=true"), 1, True),
    ],
)
def test_it_runs_with_the_beams_and_the_checkpointing_of_the_plan(
    words: tuple[str, ...], beams: int, checkpointing: bool, monkeypatch: pytest.MonkeyPatch
):
    seen: list[tuple[int, bool]] = []
    decode = measure.decode_batch

    def noted(backbone: Any, *arguments: Any, **options: Any) -> Any:
        seen.append((options["num_beams"], backbone.checkpointing))
        return decode(backbone, *arguments, **options)

    monkeypatch.setattr(measure, "decode_batch", noted)
    plan = planned("method=lora", *FEW, *words)
    Measurements()(plan, Workloads()(plan))
    assert set(seen) == {(beams, checkpointing)}


def test_a_backbone_that_is_not_here_is_named_and_not_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    here, absent = (planned("method=lora", f"backbone={b}") for b in ("tiny_llama", "llama2_7b"))
    with pytest.raises(
        ConfigError, match=r"^estimate=measure: backbone=llama2_7b: .* is not in the hub's cache$"
    ):
        check_measurable([here, absent])
    check_measurable([here])


def test_what_is_not_at_hand_is_named_at_once():
    plans = [planned("method=lora", "data=hub", f"task={task}") for task in ("boolq", "rte")]
    with pytest.raises(ConfigError) as caught:
        check_measurable([*plans, planned("method=lora")])
    assert str(caught.value).splitlines() == [
        f"estimate=measure: task={task}: its data are not on this machine (iapt-data fetch task={task})"
        for task in ("boolq", "rte")
    ]
