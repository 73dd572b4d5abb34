"""What is timed as a training step: Θ steps apart, and a peer on the same rows in other batches."""

import random
from typing import Any

import pytest

from iapt.data.encode import Batch
from iapt.inference import learners as module
from iapt.inference.contest import Contest
from iapt.inference.learners import PEER_GROUPED, PEER_RANDOM, learners, peers, same_losses
from iapt.methods.ia3 import IA3
from iapt.methods.iapt import IAPT
from iapt.methods.lora import LoRA
from iapt.training import state
from iapt.training.hparams import HParams
from tests.tiny import data, new_backbone

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
    for ours, theirs in found.values():
        assert abs(ours - theirs) < 1e-5


def test_ratios_are_those_of_the_same_turn_and_to_the_peer_of_the_dtype():
    backbone = new_backbone("llama")
    contest = Contest(
        {"float32": backbone}, {"lora": (lambda: LoRA(backbone.dims), HParams("x"))}, data(), 2
    )
    turns = {"lora": [1.0, 2.0], PEER_RANDOM: [4.0, 6.0], PEER_GROUPED: [2.0, 2.0]}
    assert [name for name, _ in contest.learners] == list(turns)
    for (name, _), seconds in contest._seconds.items():
        seconds += turns[name]
    contest._peaks |= {key: 10.0 if key[0] == "lora" else 40.0 for key in contest.learners}
    contest.rates["float32"] = contest._operations["lora", "float32"] / 3
    row = contest.rows()[0]
    assert (row["speed_to_usual"], row["speed_to_grouped"]) == (3.5, 1.5)
    assert (row["memory_to_usual"], row["share_of_peak"]) == (0.25, 2.0)
    assert row["examples_per_second"] == 4 / 1.5
