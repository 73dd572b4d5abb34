"""Whatever is changed in a checkpoint ends in one line that names it, and never in other numbers."""

import json
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from iapt.errors import TrainingError
from iapt.methods.adalora import AdaLoRA
from iapt.methods.lora import LoRA
from iapt.methods.ssp import SSP
from iapt.tensors import read_sealed, write_sealed
from iapt.training.loop import train
from iapt.training.state import Run
from tests.training.short_run import Quiet, bits, checkpoint, new_run, small_iapt

METHODS: dict[str, Callable[..., Any]] = {
    "plain": lambda backbone: LoRA(backbone.dims, rank=2),
    "ranks that fall": lambda backbone: AdaLoRA(backbone.dims, init_rank=3, target_rank=2),
    "searched": lambda backbone: SSP(backbone.dims, budget=600),
    "bilevel": small_iapt,
}
DAMAGES: tuple[Callable[[Tensor], Tensor | None], ...] = (
    lambda tensor: None,
    lambda tensor: tensor.flatten()[:-1].clone(),
    lambda tensor: tensor.double() if tensor.is_floating_point() else tensor.float(),
    lambda tensor: tensor.fill_(torch.nan) if tensor.is_floating_point() else tensor ^ 1,
    lambda tensor: tensor + 1 if tensor.dtype != torch.bool else ~tensor,
)


def fresh(method: str) -> Run:
    return new_run(METHODS[method], checkpoint_every=2, batch_size=7)


def killed(method: str, folder: Path) -> tuple[Path, Run]:
    """A checkpoint of the middle of a run, and a run that may go on from it."""
    run, file, left = fresh(method), checkpoint(folder), [5]
    save = Run.save

    class Killed(Exception):
        pass

    def save_and_die(self: Run, path: Path, identity: str) -> None:
        save(self, path, identity)
        if path == file and self.history.step >= left[0]:
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "save", save_and_die)
        with pytest.raises(Killed):
            train(run, file, "id", Quiet())
    return file, fresh(method)


def one_tensor_at_a_time(tensors: dict[str, Tensor]) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Each tensor with one kind of damage, the kinds in turn."""
    for place, (name, tensor) in enumerate(tensors.items()):
        damaged = DAMAGES[place % len(DAMAGES)](tensor.clone())
        rest = {key: value for key, value in tensors.items() if key != name}
        yield name, rest if damaged is None else rest | {name: damaged}


def one_key_at_a_time(state: Any) -> Iterator[Any]:
    """A JSON value with one key, at any depth, missing or with another value."""
    if isinstance(state, dict):
        for key, value in state.items():
            rest = {k: v for k, v in state.items() if k != key}
            yield rest
            yield from (rest | {key: changed} for changed in one_key_at_a_time(value))
    elif isinstance(state, list) and state:
        yield state[:-1]
        yield from ([changed, *state[1:]] for changed in one_key_at_a_time(state[0]))
    elif isinstance(state, int | float):
        yield state + 1
        yield "1"


def assert_refused(run: Run, file: Path, what: str) -> None:
    with pytest.raises(TrainingError, match="delete it to restart this run") as caught:
        run.resume(file, "id")
    assert str(caught.value).startswith(str(file)), what
    assert "\n" not in str(caught.value), what


@pytest.mark.parametrize(
    "every", [pytest.param(1, marks=pytest.mark.slow), 41], ids=["all", "some"]
)
@pytest.mark.parametrize("method", METHODS)
def test_every_tensor_and_every_key_is_checked(tmp_path: Path, method: str, every: int):
    file, run = killed(method, tmp_path)
    before = bits(run.method)
    with safe_open(file, "pt") as opened:
        metadata = opened.metadata()
    tensors = load_file(file)
    seal, _, text = metadata["sealed"].partition(" ")
    state = json.loads(text)
    assert {name.split(".")[0] for name in tensors} >= {"method", "best", "adamw", "rng"}

    for name, damaged in islice(one_tensor_at_a_time(tensors), 0, None, every):
        save_file(damaged, file, metadata)
        assert_refused(run, file, name)
    for changed in islice(one_key_at_a_time(state), 0, None, every):
        save_file(tensors, file, {"sealed": f"{seal} {json.dumps(changed)}"})
        assert_refused(run, file, str(changed)[:80])
    for other in (None, {}, {"sealed": ""}, {"sealed": seal}, {"state": text}):
        save_file(tensors, file, other)
        assert_refused(run, file, str(other))
    assert bits(run.method) == before, "nothing was taken from any of them"


@pytest.mark.parametrize("method", METHODS)
def test_what_another_version_sealed_is_refused_in_one_line(tmp_path: Path, method: str):
    file, run = killed(method, tmp_path)
    tensors, state = read_sealed(file)
    for name in [*[n for n in tensors if n.startswith("method.")][:3], "rng.torch"]:
        write_sealed(file, {k: v for k, v in tensors.items() if k != name}, state)
        with pytest.raises(TrainingError, match="delete it to restart this run") as caught:
            fresh(method).resume(file, "id")
        assert "\n" not in str(caught.value)
    for key in state:
        write_sealed(file, tensors, {k: v for k, v in state.items() if k != key})
        with pytest.raises(TrainingError, match="delete it to restart this run"):
            run.resume(file, "id")
    for other in ([], None, {"identity": "id"}, state | {"history": {"steps": 1}}):
        write_sealed(file, tensors, other)
        with pytest.raises(TrainingError, match="delete it to restart this run"):
            run.resume(file, "id")


def test_a_checkpoint_of_the_search_is_none_of_the_training(tmp_path: Path):
    whole = fresh("searched")
    file = checkpoint(tmp_path)
    kept: list[bytes] = []
    save = Run.save

    def save_and_keep(self: Run, path: Path, identity: str) -> None:
        save(self, path, identity)
        if path != file:
            kept.append(path.read_bytes())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "save", save_and_keep)
        train(whole, file, "id", Quiet())
    file.write_bytes(kept[0])
    assert_refused(fresh("searched"), file, "the search's")
