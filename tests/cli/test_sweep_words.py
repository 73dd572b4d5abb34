"""What the words of `iapt-sweep` decide: help, estimates, a sweeper of the user's, and who takes a GPU."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from iapt.cli import sweep as sweep_module
from iapt.cli.composing import composed
from iapt.cli.overrides import prepare
from iapt.cli.sweep import main, words_of_cells
from iapt.grid.cells import plan_cells
from iapt.grid.manifest import read_manifest, sweeps
from iapt.provenance import device_name
from iapt.results.row_files import write_row
from tests.cli import test_sweep
from tests.cli.test_sweep import TINY
from tests.results.example_rows import row_of_cell

elsewhere, jobs = test_sweep.elsewhere, test_sweep.jobs  # its fixtures


def test_a_sweeper_of_the_users_own_chooses_the_cells(
    jobs: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
):
    words = [*TINY, "method.rank=2,4", "seed=1", "hydra/sweeper=basic"]
    assert len(words_of_cells(prepare(words))) == 1, "a cell to plan and no more"
    assert main(words) == 0
    assert len(jobs) == 2
    manifest = read_manifest(next(sweeps(Path("runs"))))
    assert not manifest.complete
    assert [(c["method"]["rank"], c["seed"]) for c in jobs] == [(2, 1), (4, 1)]
    assert [cell.config_hash for cell in manifest.cells] == hashes(words[:-1])
    assert "2 runs: 2 finished." in capsys.readouterr().out


def hashes(words: list[str]) -> list[str]:
    return [cell.plan.config_hash for cell in plan_cells(words_of_cells(prepare(words)), composed)]


def test_the_plan_estimates_from_rows_that_there_are(capsys: pytest.CaptureFixture[str]):
    words = [*TINY, "seed=0,1", "dry_run=true"]
    cell = plan_cells(words_of_cells(prepare(words)), composed)[0]
    row = row_of_cell(
        cell,
        device=device_name(cell.plan.device),
        params={"trained_at_first": cell.plan.trainable},
        seconds={"train": 1e6, "eval": 1.0, "test": 1.0, "total": 1e6 + 2},
        steps=cell.plan.hparams.max_steps,
    )
    elsewhere = Path("results/rows/earlier")
    write_row(elsewhere, row)
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "no mark: from finished runs of the same device" in said
    assert "~: by a formula" not in said
    assert json.loads(next(elsewhere.iterdir()).read_text())["run_id"] == row.run_id


@pytest.mark.parametrize(
    ("launcher", "device", "taken"),
    [("joblib", "auto", 2), ("joblib", "cpu", 0), ("basic", "auto", 0)],
)
def test_joblibs_workers_take_a_gpu_of_their_own_unless_they_compute_on_the_cpu(
    launcher: str,
    device: str,
    taken: int,
    jobs: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
):
    def chosen() -> Any:
        config = copy.deepcopy(found())
        OmegaConf.set_readonly(config, False)
        config.runtime.choices["hydra/launcher"] = (
            launcher  # whose workers would be other processes
        )
        return config

    asked: list[int] = []
    found = HydraConfig.get
    monkeypatch.setattr(HydraConfig, "get", staticmethod(chosen))
    monkeypatch.setattr(sweep_module, "own_gpu", lambda: asked.append(1))
    assert main([*TINY[:-1], f"device={device}", "seed=0,1"]) == 0
    assert (len(jobs), len(asked)) == (2, taken)


def test_help_names_the_seeds_and_examples(capsys: pytest.CaptureFixture[str]):
    assert main(["--help"]) == 0
    assert "seeds 0-4" in capsys.readouterr().out


def test_estimate_is_about_the_plan_and_one_of_two(
    jobs: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
):
    assert main([*TINY, "estimate=mesure"]) == 2
    assert "estimate=mesure: must be one of estimate=auto" in capsys.readouterr().err
    assert main([*TINY, "seed=0", "dry_run=true", "estimate=measure"]) == 0
    assert "^: time from a few steps measured now" in capsys.readouterr().out
    assert jobs == []
