"""A worker is killed or asked to end, under every launcher: what becomes of its cell and of the others."""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from iapt.cli.composing import composed, grid_of
from iapt.cli.lost_workers import launch_all
from iapt.grid.blocks import combinations
from iapt.grid.cells import plan_cells
from iapt.grid.manifest import Entry, write_manifest
from iapt.results.row_files import write_row
from iapt.results.status import new_status, write_status
from tests.cli.test_launchers import in_a_process, needs_plugin
from tests.results.example_rows import a_row

DYING = Path(__file__).with_name("dying.py")
WORDS = (
    "task=sst2", "backbone=tiny_llama", f"plugins={DYING}", "method=bitfit", "method.name=dying", "device=cpu",
    "method._target_=dying.Dying", "hparams.batch_size=4", "hparams.max_steps=6", "hparams.eval_every=3",
    "hparams.checkpoint_every=2", "limit.train=24", "limit.dev=4", "limit.test=4", "seed=0,1",
)  # fmt: skip
ENGINES = [
    pytest.param(["launcher=joblib", "launcher.workers=2"], marks=needs_plugin("joblib")),
    pytest.param(["launcher=slurm_local"], marks=needs_plugin("slurm_local")),
    pytest.param(
        ["launcher=ray", "launcher.gpus=0", "launcher.retries=0"], marks=needs_plugin("ray")
    ),
]
ENDS = {"SIGKILL": "killed", "SIGTERM": "interrupted"}


def sweep(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    return in_a_process(folder, "-m", "iapt.cli.sweep", *words)


@needs_plugin("joblib")
def test_cells_that_ended_with_a_worker_run_again_alone_after_those_not_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    words = ["task=sst2", "backbone=tiny_llama", "method=lora", "device=cpu", "seed=0,1,2,3,4"]
    cells = plan_cells(combinations(grid_of(words)), composed)
    manifest = write_manifest(Path("runs/sweeps/1"), [], cells, complete=True)
    killed = new_status().model_copy(update={"pid": 2**22 + 1})  # above the largest id of Linux
    calls: list[list[int]] = []

    def launch(chosen: Sequence[Entry]) -> str:
        calls.append([manifest.cells.index(cell) for cell in chosen])
        if len(calls) > 1 and calls[-1] != [1]:
            return "returned"
        for number in (0, 1) if len(calls) == 1 else (1,):
            write_status(manifest.folder(manifest.cells[number]), killed)
        if len(calls) == 1:
            row = a_row(run_id=cells[2].plan.run_id, created=killed.started.isoformat())
            write_row(Path("results/rows"), row)
        raise RuntimeError("a worker is gone")

    assert launch_all("joblib", manifest, launch) == "returned"
    assert calls == [[0, 1, 2, 3, 4], [3, 4], [0], [1]]
    said = capsys.readouterr().err
    assert "runs that ended with it: 2; they are repeated one at a time" in said
    assert f"{manifest.cells[1].run_id} was killed again" in said


@needs_plugin("joblib")
def test_an_error_that_no_lost_worker_explains_is_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    cells = plan_cells(combinations(grid_of([*WORDS[:2], "method=lora", "device=cpu"])), composed)
    manifest = write_manifest(Path("runs/sweeps/1"), [], cells, complete=True)

    def launch(chosen: Sequence[Entry]) -> None:
        raise RuntimeError("the launcher itself is broken")

    with pytest.raises(RuntimeError, match="itself is broken"):
        launch_all("joblib", manifest, launch)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES, ids=lambda words: words[0])
@pytest.mark.parametrize("name", ENDS)
def test_the_cell_is_named_the_others_finish_and_the_same_command_finishes_the_grid(
    engine: list[str], name: str, tmp_path: Path
):
    (tmp_path / "dies").write_text(name)
    first = sweep(tmp_path, *WORDS, *engine)
    said = first.stdout + first.stderr
    assert first.returncode == 3, said
    assert f"2 runs: 1 finished, 1 {ENDS[name]}." in said
    (named,) = [line for line in said.splitlines() if line.startswith(f"  {ENDS[name]}: ")]
    assert "seed=0" in named
    assert "Traceback" not in said

    shown = sweep(tmp_path, "check", "--json")
    assert shown.returncode == 3
    states = [cell["state"] for cell in json.loads(shown.stdout)["cells"]]
    assert states == [ENDS[name], "finished"]
    assert list(tmp_path.glob("runs/*--seed0--*/checkpoint.safetensors"))

    (tmp_path / "dies").unlink()
    again = sweep(tmp_path, *WORDS, *engine)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "2 runs: 2 finished (1 before)." in again.stdout
    assert sweep(tmp_path, "check").returncode == 0
    assert not list(tmp_path.rglob("*.tmp")) + list(tmp_path.rglob("checkpoint.safetensors"))
    assert len(list(tmp_path.glob("results/rows/*.json"))) == 2


@pytest.mark.slow
@needs_plugin("slurm_local")
def test_a_job_whose_time_is_over_is_queued_again_and_loses_no_step(tmp_path: Path):
    (tmp_path / "dies").write_text("SIGUSR2")
    done = sweep(tmp_path, *WORDS, "launcher=slurm_local")
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "2 runs: 2 finished." in said
    logs = "".join(log.read_text() for log in tmp_path.rglob("*_log.out"))
    assert logs.count("Resuming at") == logs.count("Resuming at step 3 of 6") == 1


@pytest.mark.slow
@needs_plugin("joblib")
def test_a_sweep_that_is_told_to_end_lets_joblibs_workers_write_checkpoints(tmp_path: Path):
    words = [*WORDS, "launcher=joblib", "launcher.workers=2"]
    (tmp_path / "dies").write_text("SIGTERM parent")
    first = sweep(tmp_path, *words)
    said = first.stdout + first.stderr
    assert first.returncode == 143, said
    assert "2 runs: 2 interrupted." in said
    (tmp_path / "dies").unlink()
    again = sweep(tmp_path, *words)
    assert again.returncode == 0, again.stdout + again.stderr
    # The other worker may have been at any step.
    assert again.stdout.count("Resuming at step ") == 2, again.stdout
