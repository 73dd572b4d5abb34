"""Tensor files that survive: written whole or not at all, and read only as they were written."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from iapt.errors import DataError, StorageError
from iapt.tensors import digest_of, read_sealed, read_tensors, write_sealed

TENSORS = {
    "a": torch.arange(6.0).reshape(2, 3),
    "b": torch.tensor([True, False]),
    "half": torch.ones(2, dtype=torch.bfloat16),
    "none": torch.zeros(0, 3),
    "step": torch.tensor(4),
}
CHANGES: dict[str, Callable[[dict[str, torch.Tensor], dict[str, str]], object]] = {
    "a tensor less": lambda tensors, _: tensors.pop("b"),
    "a tensor more": lambda tensors, _: tensors.update(c=torch.zeros(1)),
    "another name": lambda tensors, _: tensors.update(c=tensors.pop("b")),
    "another value": lambda tensors, _: tensors["a"].view(-1)[5].add_(1),
    "another shape": lambda tensors, _: tensors.update(a=tensors["a"].reshape(3, 2)),
    "another empty shape": lambda tensors, _: tensors.update(none=torch.zeros(0, 4)),
    "another dtype": lambda tensors, _: tensors.update(step=torch.tensor(4.0)),
    "the same bytes as another dtype": lambda t, _: t.update(half=t["half"].view(torch.float16)),
    "no number": lambda tensors, _: tensors["a"][0].fill_(torch.nan),
    "another state": lambda _, metadata: metadata.update(
        sealed=metadata["sealed"].replace(": 4", ": 5")
    ),
    "another seal": lambda _, metadata: metadata.update(sealed="0" + metadata["sealed"]),
    "an empty seal": lambda _, metadata: metadata.update(sealed=""),
    "no seal": lambda _, metadata: metadata.pop("sealed"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_was_changed_since_is_noticed(tmp_path: Path, change: str):
    file = tmp_path / "file.safetensors"
    write_sealed(file, TENSORS, {"step": 4})
    assert read_sealed(file)[1] == {"step": 4}
    with safe_open(file, "pt") as opened:
        metadata = opened.metadata()
    tensors = {name: tensor.clone() for name, tensor in load_file(file).items()}
    CHANGES[change](tensors, metadata)
    save_file(tensors, file, metadata)
    with pytest.raises(
        DataError, match=r"file\.safetensors cannot be read \(it is not as"
    ) as caught:
        read_sealed(file)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("place", ["folder", "fifo", "nothing", "empty", "link to nothing"])
def test_whatever_is_not_a_file_of_tensors_is_named(tmp_path: Path, place: str):
    file = tmp_path / "file.safetensors"
    if place == "folder":
        file.mkdir()
    elif place == "fifo":
        os.mkfifo(file)
    elif place == "empty":
        file.write_bytes(b"")
    elif place == "link to nothing":
        file.symlink_to("missing")
    with pytest.raises(DataError, match=r"file\.safetensors cannot be read \(.+\)\.") as caught:
        read_tensors(file)
    assert "\n" not in str(caught.value)


def test_a_digest_says_which_tensor_has_which_value():
    one = {"a": torch.zeros(2), "b": torch.ones(2)}
    assert digest_of(one) == digest_of({name: tensor.clone() for name, tensor in one.items()})
    assert digest_of(one) != digest_of({"a": one["b"], "b": one["a"]})


def test_tensors_and_state_come_back(tmp_path: Path):
    tensors = {"a": torch.randn(2, 3), "b": torch.arange(4), "view": torch.randn(3, 3).T}
    state = {"step": 3, "curve": [{"loss": 0.5}], "best": float("inf")}
    file = tmp_path / "deep" / "file.safetensors"
    write_sealed(file, tensors, state)
    found, read = read_sealed(file)
    assert read == state
    assert all(torch.equal(found[k], v) for k, v in tensors.items())


def test_a_tensor_with_several_names_is_written_under_each(tmp_path: Path):
    file, one = tmp_path / "file.safetensors", torch.arange(6.0)
    write_sealed(file, {"a": one, "b": one, "part": one[2:]}, {})
    tensors, _ = read_sealed(file)
    assert torch.equal(tensors["a"], one)
    assert torch.equal(tensors["b"], one)
    assert torch.equal(tensors["part"], one[2:])


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "file.safetensors"
    write_sealed(file, {"a": torch.zeros(2)}, {"step": 1})

    def fails(*_: object) -> None:
        raise OSError

    monkeypatch.setattr(os, "replace", fails)
    with pytest.raises(StorageError, match="cannot be written"):
        write_sealed(file, {"a": torch.ones(2)}, {"step": 2})
    assert read_sealed(file)[1] == {"step": 1}


def test_a_disk_that_takes_no_tensors_is_named(tmp_path: Path):
    (tmp_path / "nowhere").write_text("a file, not a folder")
    with pytest.raises(StorageError, match=r"nowhere/a\.safetensors: cannot be written"):
        write_sealed(tmp_path / "nowhere" / "a.safetensors", {"a": torch.zeros(2)}, {})


def test_a_fault_that_safetensors_reports_is_a_storage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def full(*_: object) -> None:
        raise SafetensorError("Error while serializing: No space left on device")

    monkeypatch.setattr("iapt.tensors.save_file", full)
    with pytest.raises(StorageError, match=r"a\.safetensors: cannot be written .*No space left"):
        write_sealed(tmp_path / "a.safetensors", {"a": torch.zeros(2)}, {})
    assert list(tmp_path.iterdir()) == []


def test_somebody_elses_safetensors_file_is_refused(tmp_path: Path):
    file = tmp_path / "file.safetensors"
    save_file({"a": torch.zeros(2)}, file)
    with pytest.raises(DataError, match="cannot be read"):
        read_sealed(file)
