"""A run that was stopped and started again ends with the bits of one left alone."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from iapt.backbone.base import Backbone
from iapt.backbone.dims import Dims
from iapt.errors import TrainingError
from iapt.methods.base import Method
from iapt.methods.lora import LoRA
from iapt.training import state
from iapt.training.loop import train
from iapt.training.state import Run
from tests.training.short_run import Quiet, bits, checkpoint, new_run, small_iapt


class OneMap(Method):
    """y + x A, one trained map in all blocks, listed once for each."""

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        one = nn.Linear(dims.hidden_size, dims.hidden_size)
        self.maps = nn.ModuleList([one] * dims.num_layers)

    def attach(self, backbone: Backbone) -> None:
        for layer, one in enumerate(self.maps):
            backbone.on_sublayer(layer, "ffn", lambda x, y, one=one: y + one(x))


class Frozen(LoRA):
    """LoRA whose A stays as it was drawn."""

    def __init__(self, dims: Dims) -> None:
        super().__init__(dims)
        for name, p in self.named_parameters():
            p.requires_grad_("lora_A" not in name)


METHODS: dict[str, Callable[..., Any]] = {
    "bilevel": small_iapt,
    "dropout": lambda backbone: LoRA(backbone.dims, dropout=0.4),  # needs the random state
    "a frozen half": lambda backbone: Frozen(backbone.dims),
    "one map in all blocks": lambda backbone: OneMap(backbone.dims),
}
TIMES = ("train_seconds", "eval_seconds", "search_seconds")


class Stopped(Exception):
    """The power went off."""


def stop_in_step(run: Run, step: int) -> None:
    """Fail in the middle of a step: the gradients are there, the weights have not moved."""
    apply = run.weights.apply

    def failing() -> float:
        if run.history.step + 1 == step:
            raise Stopped
        return apply()

    run.weights.apply = failing  # type: ignore[method-assign]


def outcome(run: Run) -> tuple[dict[str, bytes], dict[str, Any]]:
    history = {k: v for k, v in asdict(run.history).items() if k not in TIMES}
    return bits(run.method), history


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("stop", [1, 3, 6, 8])
def test_stopped_anywhere_and_resumed_is_as_if_never_stopped(tmp_path: Path, name: str, stop: int):
    def fresh(seed: int = 0) -> Run:
        # Θ has drawn other batches than the weights by the time of a checkpoint.
        return new_run(METHODS[name], seed=seed, batch_size=2, checkpoint_every=2, arch_every=3)

    whole, logger = fresh(), Quiet()
    train(whole, checkpoint(tmp_path / "whole"), "id", logger)
    file = checkpoint(tmp_path / "stopped")
    stopped = fresh()
    stop_in_step(stopped, stop)
    with pytest.raises(Stopped):
        train(stopped, file, "id", Quiet())
    assert file.exists() == (stop > 2)
    resumed, second = fresh(), Quiet()
    if file.exists():
        torch.manual_seed(77)  # the checkpoint's random state counts, not the process's
    train(resumed, file, "id", second)
    assert outcome(resumed) == outcome(whole)
    assert second.lines == logger.lines[-len(second.lines) :]


def test_a_finished_run_is_read_not_trained(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file = checkpoint(tmp_path)
    done = new_run()
    train(done, file, "id", Quiet())
    again = new_run()
    again.one_step = None  # type: ignore[method-assign,assign]
    capsys.readouterr()
    train(again, file, "id", Quiet())
    assert outcome(again) == outcome(done)
    assert capsys.readouterr().out == f"Resuming at step 8 of 8 from {file}.\n"


def test_a_checkpoint_of_another_configuration_is_refused(tmp_path: Path):
    file = checkpoint(tmp_path)
    train(new_run(), file, "id", Quiet())
    with pytest.raises(TrainingError, match="another configuration; delete it"):
        train(new_run(), file, "other", Quiet())


@pytest.mark.parametrize("damage", ["cut", "empty", "noise"])
def test_a_damaged_checkpoint_is_an_error_that_says_what_to_do(tmp_path: Path, damage: str):
    file = checkpoint(tmp_path)
    train(new_run(max_steps=2), file, "id", Quiet())
    whole = file.read_bytes()
    file.write_bytes({"cut": whole[: len(whole) // 2], "empty": b"", "noise": b"\x07" * 99}[damage])
    with pytest.raises(TrainingError, match=r"cannot be read .*delete it to restart this run"):
        train(new_run(max_steps=2), file, "id", Quiet())


def test_the_best_weights_so_far_come_back_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The best evaluation lies before the stop, and nothing behind it is better."""
    current: list[Run] = []
    monkeypatch.setattr(state, "evaluate", lambda *_: (float(current[-1].history.step), 50.0))

    def fresh() -> Run:
        current.append(new_run(checkpoint_every=1))
        return current[-1]

    whole = fresh()
    train(whole, checkpoint(tmp_path / "whole"), "id", Quiet())
    assert whole.history.best_step == 2
    stopped, file = fresh(), checkpoint(tmp_path / "stopped")
    stop_in_step(stopped, 6)
    with pytest.raises(Stopped):
        train(stopped, file, "id", Quiet())
    train(fresh(), file, "id", Quiet())
    assert outcome(current[-1]) == outcome(whole)


def test_a_frozen_parameter_is_saved_and_never_moves(tmp_path: Path):
    run = new_run(METHODS["a frozen half"])
    before = bits(run.method)
    train(run, checkpoint(tmp_path), "id", Quiet())
    after = bits(run.method)
    assert before.keys() == after.keys()
    moved = {name.rpartition(".")[2] for name in after if after[name] != before[name]}
    assert moved == {"lora_B"}
