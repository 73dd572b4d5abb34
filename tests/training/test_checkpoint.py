"""Files that survive: written whole or not at all, and refused by name where they do not fit."""

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from iapt.errors import StorageError, TrainingError
from iapt.training.checkpoint import (
    optimizer_tensors,
    read_tensors,
    restore_optimizer,
    write_tensors,
)


def test_tensors_and_state_come_back(tmp_path: Path):
    tensors = {"a": torch.randn(2, 3), "b": torch.arange(4), "view": torch.randn(3, 3).T}
    state = {"step": 3, "curve": [{"loss": 0.5}], "best": float("inf")}
    file = tmp_path / "deep" / "file.safetensors"
    write_tensors(file, tensors, state)
    found, read = read_tensors(file)
    assert read == state
    assert all(torch.equal(found[k], v) for k, v in tensors.items())


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "file.safetensors"
    write_tensors(file, {"a": torch.zeros(2)}, {"step": 1})

    def fails(*_: object) -> None:
        raise OSError

    monkeypatch.setattr(os, "replace", fails)
    with pytest.raises(StorageError, match="cannot be written"):
        write_tensors(file, {"a": torch.ones(2)}, {"step": 2})
    assert read_tensors(file)[1] == {"step": 1}


def test_a_disk_that_takes_no_tensors_is_named(tmp_path: Path):
    (tmp_path / "nowhere").write_text("a file, not a folder")
    with pytest.raises(StorageError, match=r"nowhere/a\.safetensors: cannot be written"):
        write_tensors(tmp_path / "nowhere" / "a.safetensors", {"a": torch.zeros(2)}, {})


def test_a_fault_that_safetensors_reports_is_a_storage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def full(*_: object) -> None:
        raise SafetensorError("Error while serializing: No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(StorageError, match=r"a\.safetensors: cannot be written .*No space left"):
        write_tensors(tmp_path / "a.safetensors", {"a": torch.zeros(2)}, {})
    assert list(tmp_path.iterdir()) == []


def test_somebody_elses_safetensors_file_is_refused(tmp_path: Path):
    file = tmp_path / "file.safetensors"
    save_file({"a": torch.zeros(2)}, file)
    with pytest.raises(TrainingError, match="cannot be read"):
        read_tensors(file)


def test_an_optimizer_goes_on_as_it_was():
    def optimizer() -> tuple[torch.nn.Parameter, torch.optim.AdamW]:
        p = torch.nn.Parameter(torch.ones(3))
        return p, torch.optim.AdamW([p], lr=0.1)

    def step(p: torch.nn.Parameter, adamw: torch.optim.AdamW, k: int) -> None:
        p.grad = torch.tensor([1.0, -2.0, 0.5]) * k
        adamw.step()

    p, adamw = optimizer()
    step(p, adamw, 1)
    tensors, rest = optimizer_tensors("adamw", adamw)
    rest = json.loads(json.dumps(rest))
    q, other = optimizer()
    q.data.copy_(p.data)
    restore_optimizer("adamw", other, {k: v.clone() for k, v in tensors.items()}, rest)
    step(p, adamw, 3)
    step(q, other, 3)
    assert torch.equal(p, q)
