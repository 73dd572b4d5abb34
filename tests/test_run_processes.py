"""torchrun: one run in two processes, killed and started again, leaves what one process leaves."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.tiny_runs import tiny_run

ROOT = Path(__file__).parents[1]
WORDS = (
    "task=sst2", "backbone=tiny_llama", "device=cpu", "method=ssp", "method.search_fraction=0.2",
    "hparams.batch_size=4", "hparams.max_steps=20", "hparams.eval_every=5", "hparams.checkpoint_every=1",
    "hparams.lr=0.005", "hparams.eval_batch_tokens=2048", "limit.train=16", "limit.dev=8", "limit.test=9",
)  # fmt: skip


def start(folder: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"),
            *("-m", "iapt.cli.train", *WORDS),
        ],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def workers(torchrun: int) -> list[int]:
    found = (file.read_text() for file in Path("/proc").glob(f"{torchrun}/task/*/children"))
    return [int(pid) for pids in found for pid in pids.split()]


def row_in(folder: Path) -> dict[str, Any]:
    (file,) = (folder / "results/rows").glob("*.json")
    row: dict[str, Any] = json.loads(file.read_text())
    return row


def lines_in(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the workers in /proc")
def test_two_processes_killed_and_started_again_leave_the_row_of_one(tmp_path: Path):
    two = tmp_path / "two"
    two.mkdir()
    killed = start(two)
    until = time.monotonic() + 120
    while not list(two.glob("runs/*/metrics.jsonl")) or not list(two.glob("runs/*/checkpoint*")):
        assert killed.poll() is None, killed.stdout.read() if killed.stdout else ""
        assert time.monotonic() < until
        time.sleep(0.02)
    os.kill(workers(killed.pid)[-1], signal.SIGKILL)  # torchrun ends the other
    killed.communicate(timeout=120)
    assert killed.returncode == 1
    assert not (two / "results/rows").exists() or not list((two / "results/rows").glob("*.json"))

    said = {}
    for go in ("resumes", "is finished"):
        process = start(two)
        said[go] = process.communicate(timeout=120)[0]
        assert process.returncode == 0, said[go]
    assert said["resumes"].count("Resuming at step ") >= 1
    assert said["resumes"].count("  test ") == 1  # one result
    assert said["is finished"].count("Already finished") == 1

    run = tiny_run(tmp_path / "one", *WORDS)
    one, other = row_in(tmp_path / "one"), row_in(two)
    assert other["scores"] == one["scores"]
    assert other["device"] == "2 x " + one["device"]
    for key in ("run_id", "config_hash", "steps", "params", "data", "decoding", "config"):
        assert other[key] == one[key]
    for point, its in zip(one["dev"]["curve"], other["dev"]["curve"], strict=True):
        assert its == pytest.approx(point, abs=1e-5)
    same = two / "runs" / run.name
    assert {p.name for p in same.iterdir()} == {p.name for p in run.iterdir()}
    assert (same / "predictions.jsonl").read_text() == (run / "predictions.jsonl").read_text()
    by_step = {line["step"]: line for line in lines_in(same) if "train/loss" in line}
    for line in lines_in(run):
        if "train/loss" in line:
            assert by_step[line["step"]] == pytest.approx(line, abs=1e-5)
