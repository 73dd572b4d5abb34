"""What is timed as a training step: with or without a step of Θ before it."""

from typing import Any

import pytest

from iapt.inference.contenders import training
from iapt.methods.iapt import IAPT
from iapt.training import state
from iapt.training.hparams import HParams
from tests.tiny import data, new_backbone


def test_a_bilevel_method_is_timed_without_theta_steps_and_with_one_each(
    monkeypatch: pytest.MonkeyPatch,
):
    steps: list[str] = []

    def noted(name: str) -> None:
        step = getattr(state, name)

        def counted(*arguments: Any) -> float:
            steps.append(name)
            return step(*arguments)

        monkeypatch.setattr(state, name, counted)

    noted("arch_step")
    noted("weight_step")
    backbone = new_backbone("llama")
    methods = {"iapt": (lambda: IAPT(backbone.dims, bottleneck_dim=8), HParams("x"))}
    found = training(backbone, methods, data(), batch_size=1, steps=3)
    assert found["iapt"]() > 0
    assert steps == ["arch_step"] + ["weight_step"] * 4, (
        "Θ moves in the step that is not timed only"
    )
    steps.clear()
    assert found["iapt, and a Θ step each"]() > 0
    assert steps == ["arch_step", "weight_step"] * 4
