"""One run in two processes is the run of one."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from iapt.backbone import processes
from iapt.errors import ConfigError
from tests.backbone.two_processes import CASES, outcome

ROOT = Path(__file__).parents[2]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the two processes found, and what they said."""
    folder = tmp_path_factory.mktemp("two")
    done = subprocess.run(
        [*TORCHRUN, "-m", "tests.backbone.two_processes", str(folder)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    found = [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]
    return {"first": found[0], "second": found[1], "said": done.stdout}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_two_processes_have_the_losses_the_structure_and_the_answers_of_one(
    two: dict[str, Any], name: str, tmp_path: Path
):
    one, shared = outcome(tmp_path, *CASES[name]), two["first"]["outcomes"][name]
    assert two["first"]["count"] == 2
    for point, other in zip(one["curve"], shared["curve"], strict=True):
        assert other["loss"] == pytest.approx(point["loss"], abs=1e-5)
        assert other["accuracy"] == point["accuracy"]
    assert shared["texts"] == one["texts"]
    assert shared["random"] == one["random"]  # the generators are where one process has them
    assert _rounded(shared["structure"]) == _rounded(one["structure"])


@pytest.mark.slow
def test_both_processes_know_the_same(two: dict[str, Any]):
    assert two["first"]["outcomes"] == two["second"]["outcomes"]


@pytest.mark.slow
def test_dropout_draws_apart_and_the_weights_stay_together(two: dict[str, Any], tmp_path: Path):
    assert (
        two["first"]["dropout"] == two["second"]["dropout"]
    )  # check_same passed at every evaluation
    assert two["first"]["dropout"]["random"] != outcome(tmp_path, "method=lora")["random"]


@pytest.mark.slow
def test_processes_that_drift_apart_are_stopped_and_the_tensor_is_named(two: dict[str, Any]):
    assert "such as noise" in two["second"]["disagreeing"]
    for found in (two["first"], two["second"]):
        assert "train it in one process" in found["disagreeing"]


@pytest.mark.slow
def test_only_the_first_process_speaks(two: dict[str, Any]):
    assert [line for line in two["said"].splitlines() if "said" in line] == ["said by 0"]


def test_a_process_alone_is_the_first_and_has_everything():
    assert processes.count() == 1
    assert processes.first()
    assert processes.share([3, 1, 2]) == [3, 1, 2]
    assert processes.summed(1.5, 2.0) == [1.5, 2.0]
    assert processes.merged({1: "a"}) == {1: "a"}
    p = nn.Parameter(torch.ones(2))
    assert processes.sum_gradients([p], 0.1) == 0.1
    assert p.grad is None
    processes.wait()


def test_a_count_without_the_rest_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(ConfigError, match=r"WORLD_SIZE=2 without LOCAL_RANK, .* torchrun"):
        processes.joined().__enter__()


def _rounded(value: Any) -> Any:
    """Round every number in JSON values to what rounding errors leave alone."""
    if isinstance(value, dict):
        return {k: _rounded(v) for k, v in value.items()}
    return round(value, 4) if isinstance(value, float) else value
