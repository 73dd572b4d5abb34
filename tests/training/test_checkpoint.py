"""Files that survive: written whole or not at all, and refused by name where they do not fit."""

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from iapt.errors import AdapterError, StorageError, TrainingError
from iapt.methods.lora import LoRA
from iapt.training import checkpoint
from iapt.training.checkpoint import (
    load_adapter,
    optimizer_tensors,
    read_tensors,
    restore_optimizer,
    save_adapter,
    write_tensors,
)
from tests.tiny import tiny_dims


def method(rank: int = 2) -> LoRA:
    torch.manual_seed(0)
    return LoRA(tiny_dims("gpt2"), rank=rank)


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

    monkeypatch.setattr(checkpoint, "save_file", full)
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


def test_every_fault_of_an_adapter_is_named(tmp_path: Path):
    save_adapter(tmp_path, method(), {"backbone_fingerprint": "f", "template": "[{query}]"})
    tensors, _ = read_tensors(tmp_path / "adapter.safetensors")
    names = list(tensors)
    del tensors[names[0]]
    tensors[names[1]] = torch.zeros(9)
    tensors["model.extra"] = torch.zeros(1)
    write_tensors(tmp_path / "adapter.safetensors", tensors, {})
    fresh = method()
    before = {k: v.clone() for k, v in fresh.state_dict().items()}
    with pytest.raises(AdapterError) as caught:
        load_adapter(tmp_path, fresh, {"backbone_fingerprint": "g", "template": "[{query}]"})
    message = str(caught.value)
    assert "backbone_fingerprint: saved with 'f', here it is 'g'" in message
    assert f"tensor {names[0]} is missing" in message
    assert f"tensor {names[1]} has shape (9,), here it is" in message
    assert "tensor model.extra is not part of this method" in message
    assert "template" not in message
    for name, tensor in fresh.state_dict().items():
        assert torch.equal(tensor, before[name]), "nothing is loaded of what does not fit"


def test_another_rank_is_another_shape(tmp_path: Path):
    save_adapter(tmp_path, method(rank=2), {})
    with pytest.raises(AdapterError, match=r"has shape \(2, 32\), here it is \(3, 32\)"):
        load_adapter(tmp_path, method(rank=3), {})


@pytest.mark.parametrize("broken", ["adapter_config.json", "adapter.safetensors"])
@pytest.mark.parametrize("content", [None, b"{"])
def test_half_an_adapter_is_none(tmp_path: Path, broken: str, content: bytes | None):
    save_adapter(tmp_path, method(), {})
    (tmp_path / broken).unlink()
    if content is not None:
        (tmp_path / broken).write_bytes(content)
    with pytest.raises(AdapterError, match="is not a saved adapter"):
        load_adapter(tmp_path, method(), {})


def test_no_partial_file_stays(tmp_path: Path):
    save_adapter(tmp_path, method(), {"a": 1})
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "adapter.safetensors",
        "adapter_config.json",
    ]
    assert json.loads((tmp_path / "adapter_config.json").read_text()) == {"a": 1}
