"""Whole training runs of a dozen steps on random tokens, and runs killed on the way."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from iapt.backbone.base import Backbone
from iapt.methods.base import Method, Progress
from iapt.training.hparams import HParams
from iapt.training.loop import train
from iapt.training.state import History, Run
from tests.tiny import LENGTHS, data, new_backbone

STEPS = 12
HPARAMS = HParams(
    name="test",
    lr=1e-2,
    arch_lr=1e-6,
    batch_size=2,
    max_steps=STEPS,
    max_epochs=100,
    eval_every=2,
    checkpoint_every=1,
    patience=100,
)


class Silent:
    def log(self, values: dict[str, float], step: int) -> None:
        pass


class Killed(Exception):
    pass


def short_run(
    build: Callable[[Any], Method],
    folder: Path,
    kill_after: int | None = None,
    family: str = "llama",
    seen: Callable[[Method, Progress], None] | None = None,
    identity: str = "identity",
) -> tuple[Backbone, Method, History]:
    """Train to the end, or die in the given step counted over search and training.

    Args:
        build: makes the method for given sizes.
        folder: of the checkpoint; what an earlier call left there is resumed from.
        kill_after: raise `Killed` after this many steps of this process.
        family: of the backbone.
        seen: called after every step.
        identity: hash of the configuration.
    """
    torch.manual_seed(0)
    backbone = new_backbone(family)
    method = build(backbone.dims)
    method.attach(backbone)
    hook, steps = method.on_step_end, 0

    def on_step_end(progress: Progress) -> None:
        nonlocal steps
        if steps == kill_after:
            raise Killed
        hook(progress)
        steps += 1
        if seen:
            seen(method, progress)

    method.on_step_end = on_step_end  # type: ignore[method-assign]
    run = Run(backbone, method, data(0, LENGTHS * 3), data(1), HPARAMS, seed=0)
    history = train(run, folder / "checkpoint.safetensors", identity, Silent())
    backbone.train(False)
    return backbone, method.eval(), history


def assert_same_after_a_kill(
    build: Callable[[Any], Method], folder: Path, kill_after: tuple[int, ...]
) -> None:
    """Kill a run several times, resume it, and compare with one left alone, bit for bit."""
    (folder / "whole").mkdir()
    (folder / "killed").mkdir()
    _, whole, history = short_run(build, folder / "whole")
    for steps in kill_after:
        try:
            short_run(build, folder / "killed", kill_after=steps)
        except Killed:
            continue
        raise AssertionError("the run was over before it could be killed")
    _, resumed, again = short_run(build, folder / "killed")
    assert again.curve == history.curve
    tensors, expected = resumed.state_dict(), whole.state_dict()
    assert tensors.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(tensors[name], tensor), name
