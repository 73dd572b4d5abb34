"""A worker is killed or asked to end, under every launcher: what becomes of its cell and of the others."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.cli.test_launchers import in_a_process, needs_plugin

DYING = Path(__file__).with_name("dying.py")
WORDS = (
    "task=sst2", "backbone=tiny_llama", f"plugins={DYING}", "method=bitfit", "device=cpu",
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
