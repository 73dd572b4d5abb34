"""Estimates of time, memory and disk: from rows where there are any, else from a formula."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from iapt.grid import estimate as module
from iapt.grid.estimate import estimate
from iapt.grid.workload import Prompts, Workload
from iapt.plan import Plan
from iapt.planning import make_plan
from iapt.provenance import device_name
from iapt.results.row import Row
from tests.composed import composed
from tests.results.example_rows import raw_row

WORK = Workload(
    sizes={"train": 400, "dev": 20, "test": 40},
    steps=100,
    batch_size=8,
    evaluations=6,
    prompts=Prompts(length=50, cut=0.0, answer=4),
)


@pytest.fixture(autouse=True)
def speed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "product_speed", lambda device, dtype: 1e12)


def planned(*words: str) -> Plan:
    return make_plan(composed("backbone=tiny_llama", "task=sst2", "device=cpu", *words))


def finished(plan: Plan, **changes: Any) -> Row:
    """A row of the plan's method: 50 steps of 8, 3 evaluations of 10, 20 test rows; 10 s beside these."""
    raw = raw_row() | {
        "cell": plan.cell,
        "config": {"hparams": {"batch_size": 8}},
        "device": device_name(torch.device("cpu")),
        "params": {"trained_at_first": plan.trainable},
        "dev": {"curve": [{"step": 0}, {"step": 25}, {"step": 50}]},
        "data": {"sizes": {"train": 400, "dev": 10, "test": 20}},
        "seconds": {"train": 100.0, "per_step": 2.0, "eval": 30.0, "test": 20.0, "total": 160.0},
        "steps": 50,
        "tokens_per_second": 100.0,
        "peak_memory_mib": 700.0,
    }
    return Row.model_validate(raw | changes, strict=False)


def test_a_row_of_the_task_is_scaled_by_steps_and_examples():
    plan = planned("method=lora")
    needs = estimate(plan, WORK, [finished(plan)])
    assert needs.source == "rows"
    # Twice the steps; twice the evaluations on twice the rows; twice the test rows; the rest as it was.
    assert needs.seconds == pytest.approx(2 * 100 + 4 * 30 + 2 * 20 + 10)
    assert needs.memory_mib == 700


def test_a_row_of_another_task_is_scaled_by_tokens_too():
    plan, other = planned("method=lora"), planned("method=lora", "task=rte")
    needs = estimate(plan, WORK, [finished(other)])
    assert needs.source == "rows of another task"
    # The row trained on 100 tokens/s * 100 s / 400 examples = 25 tokens an example; here there are 50 + 4.
    assert needs.seconds == pytest.approx(54 / 25 * (2 * 100 + 4 * 30 + 2 * 20) + 10)


@pytest.mark.parametrize(("train", "batch"), [(9_999, 16), (10_000, 128)])
def test_a_row_without_a_batch_size_had_the_papers_and_not_the_plans(train: int, batch: int):
    plan = planned("method=lora", "hparams.batch_size=8")
    row = finished(
        plan,
        config={"hparams": {"batch_size": None}},
        data={"sizes": {"train": train, "dev": 10, "test": 20}},
    )
    seconds = 2 * 8 / batch * 100 + 4 * 30 + 2 * 20 + 10
    assert estimate(plan, WORK, [row]).seconds == pytest.approx(seconds)


@pytest.mark.parametrize(
    "changes",
    [
        {"device": "NVIDIA A40"},
        {"params": {"trained_at_first": 7}},
        {"seconds": {"train": None}},
        {"data": {"sizes": {}}},
        {"steps": None},
        {"peak_memory_mib": None},
        {"dev": {"curve": []}},
    ],
)
def test_a_row_of_another_card_or_size_or_without_its_numbers_says_nothing(
    changes: dict[str, Any],
):
    plan = planned("method=lora")
    assert estimate(plan, WORK, [finished(plan, **changes)]).source == "formula"


@pytest.mark.parametrize("key", ["backbone", "method", "variant"])
def test_a_row_of_another_backbone_method_or_variant_says_nothing(key: str):
    plan = planned("method=lora")
    row = finished(plan, cell=plan.cell | {key: "another"})
    assert estimate(plan, WORK, [row]).source == "formula"


def test_rows_of_other_tasks_do_not_count_beside_those_of_the_task():
    plan, other = planned("method=lora"), planned("method=lora", "task=rte")
    rows = [finished(plan), *[finished(other, peak_memory_mib=9e3, seconds=slow(9))] * 2]
    assert estimate(plan, WORK, rows) == estimate(plan, WORK, rows[:1])


def slow(times: float) -> dict[str, float]:
    return {
        key: times * s for key, s in (("train", 100), ("eval", 30), ("test", 20), ("total", 150))
    }


def test_an_odd_row_among_several_decides_neither_time_nor_memory():
    plan = planned("method=lora")
    rows = [
        finished(plan, peak_memory_mib=memory, seconds=slow(times))
        for memory, times in ((600.0, 1), (700.0, 1), (9_000.0, 50))
    ]
    needs = estimate(plan, WORK, rows)
    assert needs.memory_mib == 700
    assert needs.seconds == pytest.approx(2 * 100 + 4 * 30 + 2 * 20)


@pytest.mark.parametrize(("words", "beams"), [((), 3), (("hparams.num_beams=1",), 1)])
def test_the_formula_counts_operations_and_bytes(words: tuple[str, ...], beams: int):
    plan = planned("method=lora", *words)
    needs = estimate(plan, WORK)
    weights = plan.backbone.dims.num_weights
    tokens = 54 * (4 * 100 * 8 + 2 * 6 * 20) + 2 * 40 * (50 + beams * 4)
    assert needs.source == "formula"
    assert needs.seconds == pytest.approx(weights * tokens / 0.5e12)
    assert needs.memory_mib > (2 * 4 * weights + 16 * plan.trainable) / 2**20
    assert needs.checkpoint_mib == pytest.approx(16 * plan.trainable / 2**20)


@pytest.mark.parametrize(("words", "length"), [((), 256), (("hparams.max_length=100",), 100)])
def test_without_prompts_an_example_has_256_tokens_or_as_many_as_fit(
    words: tuple[str, ...], length: int
):
    plan = planned("method=lora", *words)
    answer = plan.task.max_new_tokens
    tokens = (length + answer) * (4 * 100 * 8 + 2 * 6 * 20) + 2 * 40 * (length + 3 * answer)
    seconds = plan.backbone.dims.num_weights * tokens / 0.5e12
    assert estimate(plan, replace(WORK, prompts=None)).seconds == pytest.approx(seconds)


def test_what_stays_on_disk_is_the_adapter_with_a_line_for_each_prediction():
    plan = planned("method=bitfit")
    lines = 40 * (module.ROW_BYTES + module.TOKEN_BYTES * plan.task.max_new_tokens)
    needs = estimate(plan, WORK)
    assert needs.disk_mib == pytest.approx((4 * plan.trainable + lines) / 2**20)


@pytest.mark.parametrize(("backbone", "maps"), [("tiny_llama", 3), ("tiny_gpt2", 2)])
def test_a_pass_of_training_keeps_states_of_as_many_tokens_as_the_budget_allows(
    backbone: str, maps: int
):
    plan = planned("method=lora", f"backbone={backbone}", "hparams.batch_tokens=450")
    dims = plan.backbone.dims
    states = 4 * (6 * dims.hidden_size + maps * dims.ffn_size)

    def memory(batch: int) -> float:
        return estimate(plan, replace(WORK, batch_size=batch)).memory_mib

    one_more = module.KEPT * 50 * dims.num_layers * states / 2**20
    assert memory(9) - memory(8) == pytest.approx(one_more)
    assert memory(90) == memory(9)


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("rows", [1, 4000])
def test_memory_on_a_cpu_is_that_of_all_phases_and_on_a_card_that_of_the_largest(
    rows: int, checkpointing: bool
):
    plan = planned("method=lora")
    numbers = {"gradient_checkpointing": checkpointing, "eval_batch_tokens": 2**16}
    plan = replace(plan, hparams=replace(plan.hparams, **numbers))
    dims, work = plan.backbone.dims, replace(WORK, sizes=WORK.sizes | {"test": rows})
    needs = estimate(plan, work)
    blocks = 1 if checkpointing else dims.num_layers
    states = 4 * (6 * dims.hidden_size + 3 * dims.ffn_size)
    trained = 8 * 50 * blocks * states
    evaluated = 20 * (50 * states + 4 * 2 * 4 * dims.vocab_size)
    columns = min(plan.hparams.eval_batch_tokens, rows * (50 + 3 * plan.task.max_new_tokens))
    cached = columns * dims.num_layers * 2 * dims.num_kv_heads * dims.head_dim * 4
    assert (max(trained, evaluated) > cached) == (rows == 1)
    fixed = (8 * dims.num_weights + 16 * plan.trainable) / 2**20 + module.PROCESS_MIB
    phases = trained, evaluated, cached
    # The process keeps what a phase frees, and all of it counts on a CPU.
    assert needs.memory_mib - fixed == pytest.approx(module.KEPT * sum(phases) / 2**20)
    card = Plan(**{**vars(plan), "device": torch.device("meta")})
    unpacked = (4 * dims.num_weights + 16 * plan.trainable) / 2**20
    assert estimate(card, work).memory_mib - unpacked == pytest.approx(max(phases) / 2**20)
    # With checkpointing every block is computed once more.
    learnt = (4 + 2 * checkpointing) * 100 * 8 + 2 * 6 * 20
    tokens = 54 * learnt + 2 * rows * (50 + 3 * 4)
    assert needs.seconds == pytest.approx(dims.num_weights * tokens / 0.5e12)


def test_quantised_weights_take_less_memory_and_are_packed_no_second_time():
    plan = planned("method=lora")
    backbone = replace(plan.backbone, quantization="int8")
    less = estimate(replace(plan, backbone=backbone), WORK).memory_mib
    dims = plan.backbone.dims
    maps = dims.num_weights - dims.vocab_size * dims.hidden_size
    assert estimate(plan, WORK).memory_mib - less == pytest.approx((2 * 4 - 1) * maps / 2**20)


def test_steps_of_architecture_parameters_and_a_search_cost_time():
    plain, bilevel, searched = (planned(f"method={m}") for m in ("lora", "iapt", "ssp"))
    assert (plain.passes, bilevel.passes) == (1, 1 + 1 / 12)  # hparams=quick has arch_every=12
    assert searched.passes > 1
    assert estimate(bilevel, WORK).seconds > estimate(plain, WORK).seconds


def test_llama_2_on_the_papers_card_needs_less_than_its_memory(monkeypatch: pytest.MonkeyPatch):
    """Boundaries, not a measurement: the weights alone are 13 GB, the paper's card had 48 GB."""
    plan = make_plan(composed("+experiment=paper", "task=boolq", "method=iapt"))
    on_gpu = Plan(**{**vars(plan), "device": torch.device("cuda")})
    needs = estimate(on_gpu, WORK)
    assert 13_000 < needs.memory_mib < 48_000


def test_the_speed_of_a_product_is_measured(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.undo()
    assert module.product_speed(torch.device("cpu"), torch.float32) > 1e8


def test_on_a_busy_cpu_the_speed_is_that_of_its_undisturbed_moments(
    monkeypatch: pytest.MonkeyPatch,
):
    """Others get their turn after 3 ms at the latest, in which a slow core makes 1e8 operations or more."""
    monkeypatch.undo()
    seen: list[int] = []
    ones, threads = torch.ones, torch.get_num_threads()

    def noted(*shape: int, **options: Any) -> torch.Tensor:
        seen.append(shape[0])
        return ones(*shape, **options)

    monkeypatch.setattr(torch, "ones", noted)
    monkeypatch.setattr(
        module.time, "perf_counter", lambda: seen.append(torch.get_num_threads()) or 0.5 * len(seen)
    )
    torch.set_num_threads(2)
    try:
        speed = module.product_speed.__wrapped__(torch.device("cpu"), torch.float32)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    n, *others = seen
    assert 2 * n**3 < 3e8
    assert set(others) == {1}, "threads wait for each other"
    assert speed == pytest.approx(2 * 2 * n**3 / 0.5)
