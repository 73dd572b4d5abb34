"""Where numbers go: a file always, Weights & Biases if asked."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from iapt.training.loggers import Files, Wandb


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_line_for_each_record_and_a_resumed_run_goes_on(tmp_path: Path):
    for step in (1, 2):
        files = Files()
        files.start(tmp_path, "run", {})
        files.log({"loss": 0.5 * step}, step)
        assert lines(tmp_path)[-1] == {"step": step, "loss": 0.5 * step}, "written at once"
        files.finish(True)
    assert [line["step"] for line in lines(tmp_path)] == [1, 2]


def test_finishing_what_never_started_is_nothing():
    Files().finish(False)
    Wandb().finish(False)


def test_numbers_before_the_start_are_a_mistake_that_is_said():
    with pytest.raises(RuntimeError, match=r"^log came before start$"):
        Files().log({"loss": 1.0}, 1)


def test_wandbs_project_is_ours_unless_named():
    assert Wandb().project == "iapt"


@pytest.mark.parametrize(("ok", "code"), [(True, 0), (False, 1)])
def test_wandb_gets_the_same_numbers_under_the_runs_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ok: bool, code: int
):
    calls: list[Any] = []

    def init(**options: Any) -> Any:
        calls.append(options)
        return SimpleNamespace(
            log=lambda values, step: calls.append((values, step)),
            finish=lambda exit_code: calls.append(exit_code),
        )

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init))
    logger = Wandb(project="p")
    logger.start(tmp_path, "run-1", {"seed": 0})
    logger.log({"loss": 1.0}, 4)
    logger.finish(ok)
    options, logged, finished = calls
    assert options == {
        "project": "p",
        "id": "run-1",
        "name": "run-1",
        "config": {"seed": 0},
        "dir": str(tmp_path),
        "mode": "offline",
        "resume": "allow",  # the same id goes on where the stopped run was
        "reinit": "finish_previous",  # runs of a sweep share a process
    }
    assert logged == ({"loss": 1.0}, 4)
    assert finished == code
    assert lines(tmp_path) == [{"step": 4, "loss": 1.0}]
