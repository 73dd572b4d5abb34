"""Which launcher starts the runs of a sweep, and which GPU each worker has."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.plugins import Plugins
from omegaconf import OmegaConf

from hydra_plugins.iapt_list_sweeper import ListSweeper
from iapt.cli import launchers
from iapt.cli.overrides import CONFIG_DIR, groups, prepare
from iapt.cli.sweep import main
from iapt.errors import ConfigError, DataError
from iapt.results.row_files import read_row

ROOT = Path(__file__).parents[2]
TINY = (
    "task=sst2", "backbone=tiny_llama", "method=lora", "device=cpu", "hparams.batch_size=4",
    "hparams.max_steps=2", "limit.train=8", "limit.dev=4", "limit.test=4",
)  # fmt: skip


def needs_plugin(entry: str) -> pytest.MarkDecorator:
    lacking = launchers.needs(entry)
    return pytest.mark.skipif(bool(lacking), reason=lacking)


def in_a_process(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | environment
    return subprocess.run(
        [sys.executable, *words], cwd=folder, env=env, capture_output=True, text=True, timeout=900
    )


def sweep(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return in_a_process(folder, "-m", "iapt.cli.sweep", *TINY, *words)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["iapt-sweep"])


def test_a_launcher_without_its_plugin_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(launchers, "installed", lambda plugin: False)
    assert main([*TINY, "launcher=slurm", "launcher.partition=gpu"]) == 2
    assert "launcher=slurm: not installed; pip install 'iapt[slurm]'" in capsys.readouterr().err
    assert list(Path.cwd().iterdir()) == []


def test_every_launcher_but_the_first_is_a_plugin():
    assert {"local", *launchers.PLUGINS} == set(groups()["launcher"])


def test_a_sweep_has_one_launcher(capsys: pytest.CaptureFixture[str]):
    assert main([*TINY, "launcher=local,joblib"]) == 2
    assert "launcher=local,joblib: a sweep takes one" in capsys.readouterr().err


@needs_plugin("slurm")
def test_a_field_that_a_launcher_lacks_is_named(capsys: pytest.CaptureFixture[str]):
    assert main([*TINY, "launcher=slurm", "launcher.partitions=gpu"]) == 2
    assert "Did you mean 'partition'" in capsys.readouterr().err


@needs_plugin("slurm")
def test_the_fields_of_slurm_reach_submitit():
    words = prepare(["launcher=slurm", "launcher.partition=big", "launcher.minutes=90"])
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        found = compose("config", overrides=words, return_hydra_config=True).hydra.launcher
    assert (found.partition, found.timeout_min) == ("big", 90)
    assert (found.gpus_per_node, found.max_num_timeout) == (1, 10)


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["launcher=joblib", "launcher.workers=2"], marks=needs_plugin("joblib")),
        pytest.param(["launcher=slurm_local"], marks=needs_plugin("slurm_local")),
        pytest.param(["launcher=ray", "launcher.gpus=0"], marks=needs_plugin("ray")),
    ],
    ids=lambda words: words[0],
)
def test_two_workers_finish_a_grid_and_its_rows_know_nothing_of_them(
    words: list[str], tmp_path: Path
):
    done = sweep(tmp_path, "seed=0,1", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [read_row(file) for file in sorted((tmp_path / "results/rows").glob("*.json"))]
    assert [row.cell.seed for row in rows] == [0, 1]
    assert not any("launcher" in row.config for row in rows)


def test_workers_take_a_gpu_each_and_give_it_back_when_they_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(launchers, "_own", [])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-a/1")
    take = f"from iapt.cli.launchers import own_gpu; from pathlib import Path; print(own_gpu(Path({str(tmp_path)!r})))"
    assert launchers.own_gpu(tmp_path) == "3"
    assert launchers.own_gpu(tmp_path) == "3"  # the same for every run of this worker
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "3"
    for _ in range(2):  # the first of these ended, so its GPU is free
        done = in_a_process(tmp_path, "-c", take, CUDA_VISIBLE_DEVICES="3,GPU-a/1")
        assert done.stdout == "GPU-a/1\n", done.stderr


@pytest.mark.parametrize("visible", ["", "-1", "-1,0"])
def test_without_a_gpu_nothing_is_taken(
    visible: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert launchers.own_gpu(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_a_single_run_has_no_launcher():
    for word in ("launcher=joblib", "hydra/launcher=joblib", "launcher.workers=2"):
        with pytest.raises(ConfigError, match="iapt-sweep"):
            launchers.refuse_launcher(["task=sst2", word])
    launchers.refuse_launcher(["task=sst2"])


def test_importing_the_launchers_needs_none_of_them():
    code = "import sys, iapt.cli.launchers; print({'torch', 'hydra', 'ray', 'submitit'} & set(sys.modules))"
    assert in_a_process(Path.cwd(), "-c", code).stdout == "set()\n"


class Failed:
    """A job that a launcher ran and that raised."""

    @property
    def return_value(self) -> None:
        raise DataError("no rows")


def test_the_sweeper_starts_its_cells_with_the_chosen_launcher_and_raises_what_a_job_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    chosen = {"sweep": {"dir": str(tmp_path)}, "runtime": {"choices": {"hydra/launcher": "joblib"}}}
    launcher = SimpleNamespace(launch=lambda jobs, initial_job_idx: [Failed()])
    started: list[tuple[str, Path]] = []

    def launch_all(engine: str, cells: Path, launch: Callable[[list[Any]], Any]) -> Any:
        started.append((engine, cells))
        return launch([])

    monkeypatch.setattr(Plugins, "instantiate_launcher", lambda *_, **__: launcher)
    monkeypatch.setattr("iapt.cli.lost_workers.launch_all", launch_all)
    monkeypatch.setattr("iapt.grid.manifest.read_manifest", lambda folder: folder)
    sweeper = ListSweeper()
    config = OmegaConf.create({"hydra": chosen})
    sweeper.setup(hydra_context=None, task_function=None, config=config)
    with pytest.raises(DataError, match="no rows"):
        sweeper.sweep([])
    assert started == [("joblib", tmp_path)]
