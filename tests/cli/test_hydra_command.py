"""What `iapt-train` and `iapt-sweep` have in common."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from iapt.cli import sweep, train


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["iapt"])


@pytest.mark.parametrize(
    ("main", "what_to_do"),
    [(sweep.main, "without torchrun"), (train.main, "start several processes with torchrun")],
    ids=["a sweep among several", "a run without torchrun's other variables"],
)
def test_several_processes_are_refused_before_anything_is_loaded(
    main: Callable[[list[str]], int],
    what_to_do: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(["task=sst2", "backbone=tiny_llama", "method=lora", "device=cpu"]) == 2
    said = capsys.readouterr()
    assert "WORLD_SIZE=2" in said.err
    assert what_to_do in said.err
    assert not list(Path.cwd().iterdir())


def test_a_process_alone_is_not_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("WORLD_SIZE", "1")  # torchrun --nproc-per-node=1
    assert train.main(["task=sst2", "backbone=tiny_llama", "device=cpu", "dry_run=true"]) == 0
    assert "error" not in capsys.readouterr().err
