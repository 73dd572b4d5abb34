"""What is timed as a training step: Θ steps apart, and a peer on the same rows in other batches."""

import random
from typing import Any

import pytest
import torch

from iapt.data.encode import Batch
from iapt.inference import contest as contest_module
from iapt.inference import learners as module
from iapt.inference.contest import Contest
from iapt.inference.learners import PEER_GROUPED, PEER_RANDOM, learners, peers, same_losses
from iapt.methods.ia3 import IA3
from iapt.methods.iapt import IAPT
from iapt.methods.lora import LoRA
from iapt.methods.ssp import SSP
from iapt.training import state
from iapt.training.hparams import HParams
from tests.tiny import EOS, data, new_backbone

LENGTHS = [(random.Random(i).randint(3, 40), 2) for i in range(12)]


def test_steps_of_the_weights_and_of_theta_are_timed_apart(monkeypatch: pytest.MonkeyPatch):
    steps: list[str] = []
    for name in ("arch_step", "weight_step"):
        step = getattr(state, name)

        def counted(*arguments: Any, name: str = name, step: Any = step) -> float:
            steps.append(name)
            return float(step(*arguments))

        monkeypatch.setattr(state, name, counted)
    backbone = new_backbone("llama")
    methods = {"iapt": (lambda: IAPT(backbone.dims, bottleneck_dim=8), HParams("x"))}
    found = learners(backbone, methods, data(), batch_size=2)
    assert list(found) == ["iapt", "iapt, Θ step"]
    assert found["iapt"].seconds() > 0
    assert steps == ["weight_step"] * 2
    steps.clear()
    assert found["iapt, Θ step"].seconds() > 0
    assert steps == ["arch_step"] * 2


def test_a_method_that_searches_is_timed_after_its_search_and_after_a_pass_on_two_short_rows(
    monkeypatch: pytest.MonkeyPatch,
):
    backbone = new_backbone("llama")
    made: list[SSP] = []
    passes: list[int] = []
    response = module.response

    def make() -> SSP:
        made.append(SSP(backbone.dims))
        return made[-1]

    def counted(backbone: Any, batch: Batch, *rest: Any) -> Any:
        passes.append(int(batch.attention_mask.sum()))
        return response(backbone, batch, *rest)

    monkeypatch.setattr(module, "response", counted)
    rows = data(lengths=LENGTHS)
    found = learners(backbone, {"ssp": (make, HParams("x"))}, rows, batch_size=4)
    assert list(found) == ["ssp"]
    assert found["ssp"].seconds() > 0
    assert made[-1].search is None
    assert passes == [sum(sorted(rows.sizes)[:2])]


def test_a_step_of_theta_needs_fewer_products_than_one_of_the_weights():
    backbone = new_backbone("llama")
    methods = {"iapt": (lambda: IAPT(backbone.dims, bottleneck_dim=8), HParams("x"))}
    found = learners(backbone, methods, data(lengths=LENGTHS), batch_size=4)
    weights, theta = (found[name].products for name in ("iapt", "iapt, Θ step"))
    assert weights is not None
    assert theta is not None
    assert 0 < theta() < weights()


@pytest.mark.parametrize("arch_data", ["dev", "train_split"])
def test_our_steps_visit_every_row_once_as_in_training_whatever_feeds_theta(
    arch_data: Any, monkeypatch: pytest.MonkeyPatch
):
    visited: list[int] = []
    modes: list[bool] = []
    step = state.weight_step

    def noted(backbone: Any, method: Any, rows: Any, batch: Any, *rest: Any) -> float:
        visited.extend(rows.sizes[i] for i in batch)
        modes.extend((backbone.model.training, method.training))
        return step(backbone, method, rows, batch, *rest)

    monkeypatch.setattr(state, "weight_step", noted)
    backbone = new_backbone("gpt2")
    hparams = HParams("x", arch_data=arch_data)
    methods = {"iapt": (lambda: IAPT(backbone.dims, bottleneck_dim=8).eval(), hparams)}
    rows = data(lengths=LENGTHS)
    learners(backbone, methods, rows, batch_size=4)["iapt"].seconds()
    assert sorted(visited) == sorted(rows.sizes)
    assert modes == [True] * 6  # of three steps: dropout acts


@pytest.mark.parametrize("grouped", [False, True])
def test_a_peer_visits_every_row_once_in_random_or_in_length_sorted_batches(
    grouped: bool, monkeypatch: pytest.MonkeyPatch
):
    taken: list[Batch] = []
    monkeypatch.setattr(module, "trainer_seconds", lambda _, batches: taken.extend(batches) or 1.0)
    rows = data(lengths=LENGTHS)
    peers(new_backbone("llama"), rows, 4, grouped=grouped).seconds()
    assert len(taken) == 1 + 3, "the first one is small and not timed"
    assert len(taken[0].input_ids) == 2
    assert sum(int(b.attention_mask.sum()) for b in taken[1:]) == sum(rows.sizes)
    padded = sum(b.input_ids.numel() for b in taken[1:])
    assert (padded < 1.25 * sum(rows.sizes)) == grouped


def test_the_loss_is_the_one_of_peft_with_the_same_parameters():
    backbone = new_backbone("llama")
    methods = {
        "lora": (lambda: LoRA(backbone.dims), HParams("x")),
        "ia3": (lambda: IA3(backbone.dims), HParams("x")),
        "iapt": (lambda: IAPT(backbone.dims, bottleneck_dim=8), HParams("x")),
    }
    found = same_losses(backbone, methods, data())
    assert list(found) == ["lora", "ia3"], "peft does not have the third"
    with torch.no_grad():
        bare = module.response(backbone, data().batch(range(4)), EOS)
    for ours, theirs in found.values():
        assert abs(ours - theirs) < 1e-5
        assert abs(ours - float(bare.loss) / bare.tokens) > 1e-4, "of a model that differs"


def test_ratios_are_those_of_the_same_turn_and_to_the_peer_of_the_dtype(
    monkeypatch: pytest.MonkeyPatch,
):
    backbones = {
        "float32": new_backbone("llama"),
        "bfloat16": new_backbone("llama", dtype=torch.bfloat16),
    }
    monkeypatch.setattr(contest_module, "peak_rate", lambda _: 1.0)
    compared: list[Any] = []
    monkeypatch.setattr(contest_module, "same_losses", lambda b, *_: compared.append(b))
    dims = backbones["float32"].dims
    contest = Contest(backbones, {"lora": (lambda: LoRA(dims), HParams("x"))}, data(), 2)
    assert compared == [backbones["float32"]]
    turns = {
        ("lora", "float32"): [1.0, 2.0],
        (PEER_RANDOM, "float32"): [4.0, 6.0],
        (PEER_GROUPED, "float32"): [2.0, 2.0],
        ("lora", "bfloat16"): [1.0, 1.0],
        (PEER_GROUPED, "bfloat16"): [7.0, 7.0],
    }
    assert list(contest.learners) == list(turns)
    for turn in range(2):
        for key, seconds in turns.items():
            peak = (10.0, 5.0)[turn] if key[0] == "lora" else 40.0
            monkeypatch.setattr(
                contest_module, "peak_with_weights", lambda *_, m=(seconds[turn], peak): m
            )
            contest.measure(key)
    for dtype, share in (("float32", 3), ("bfloat16", 4)):
        contest.rates[dtype] = contest._operations["lora", dtype] / share
    row, *_, other, _ = contest.rows()
    assert (row["speed_to_usual"], row["speed_to_grouped"]) == (3.5, 1.5)
    assert row["speed_to_usual_5_95"] == pytest.approx((3.05, 3.95))  # between 3 and 4
    assert row["speed_to_grouped_5_95"] == pytest.approx((1.05, 1.95))
    assert (row["memory_to_usual"], row["share_of_peak"]) == (0.25, 2.0)
    assert row["examples_per_second"] == 4 / 1.5
    assert (other["speed_to_usual"], other["speed_to_grouped"]) == (5.0, 7.0)
    assert (other["memory_to_grouped"], other["share_of_peak"]) == (0.25, 4.0)
