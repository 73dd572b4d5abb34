"""Results under other hashes are told, with the keys that differ; what the command explains is not."""

import json
from pathlib import Path
from typing import Any

import pytest

from iapt.cli.composing import composed, grid_of
from iapt.grid.blocks import combinations
from iapt.grid.cells import Cell, plan_cells
from iapt.grid.manifest import write_manifest
from iapt.grid.renamed import warning
from iapt.results.row_files import write_row
from tests.results.example_rows import a_row

GRID = grid_of(["task=sst2", "backbone=tiny_llama", "method=lora", "device=cpu", "seed=0,1"])


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def cells() -> list[Cell]:
    return plan_cells(combinations(GRID), composed)


def other_config(cell: Cell, **hparams: Any) -> dict[str, Any]:
    config = json.loads(json.dumps(cell.plan.config))
    return config | {"hparams": config["hparams"] | hparams}


def write_other_row(cell: Cell, digest: str, **hparams: Any) -> None:
    config, run_id = other_config(cell, **hparams), cell.plan.run_id[:-8] + digest
    row = a_row(run_id=run_id, cell=cell.plan.cell, config=config, config_hash=digest)
    write_row(Path(cell.plan.config["rows"]), row)


def test_a_grid_that_is_new_or_has_its_rows_is_not_told(cells: list[Cell]):
    assert warning(cells) == ""
    for cell in cells:
        write_row(Path("results/rows"), a_row(run_id=cell.plan.run_id, cell=cell.plan.cell))
        write_other_row(cell, "00000000", warmup=0.9)
    assert warning(cells) == ""


def test_rows_of_the_same_names_are_told_with_what_differs_from_the_nearest(cells: list[Cell]):
    write_other_row(cells[0], "00000000", warmup=0.9)
    write_other_row(cells[0], "11111111", warmup=0.9, clip=7.0)
    said = warning(cells)
    assert said.startswith("1 of 2 runs left to do were begun or finished before")
    assert said.endswith("What differs (in how many): hparams.warmup (1).")


def test_a_change_of_the_hash_alone_is_told(cells: list[Cell]):
    write_other_row(cells[0], "00000000")
    assert "nothing in the configuration (1)" in warning(cells)


def test_what_does_not_make_a_run_does_not_differ(cells: list[Cell]):
    config = other_config(cells[0]) | {"device": "cuda:7"}
    config["method"]["first_block"] = 0  # a later setting at its neutral value
    config["data"]["root"] = "/elsewhere"
    run_id = cells[0].plan.run_id[:-8] + "00000000"
    write_row(Path("results/rows"), a_row(run_id=run_id, cell=cells[0].plan.cell, config=config))
    assert "nothing in the configuration (1)" in warning(cells)


def test_another_value_of_a_key_of_the_command_is_no_reason(cells: list[Cell]):
    write_other_row(cells[0], "00000000", lr=0.9)
    assert "hparams.lr (1)" in warning(cells)
    assert (
        warning(plan_cells(combinations({**GRID, "hparams.lr": ["hparams.lr=0.0005"]}), composed))
        == ""
    )


def test_another_value_of_a_key_of_the_experiment_is_no_reason(cells: list[Cell]):
    write_other_row(cells[0], "00000000", lr=0.9)
    block = {"hparams.lr": ["hparams.lr=0.0005", "hparams.lr=0.002"]}
    assert warning(plan_cells(combinations(GRID, [GRID | block]), composed)) == ""


def test_other_cells_of_the_sweep_are_no_reason(cells: list[Cell]):
    more = plan_cells(combinations({**GRID, "hparams.lr": ["hparams.lr=0.1"]}), composed)
    for cell in more:
        write_row(Path("results/rows"), a_row(run_id=cell.plan.run_id, config=cell.plan.config))
    assert "hparams.lr (2)" in warning(cells)
    assert warning([*cells, *more]) == ""


def test_runs_that_were_begun_count_without_a_row_and_plans_do_not(cells: list[Cell]):
    folder = Path("runs") / (cells[1].plan.run_id[:-8] + "00000000")
    folder.mkdir(parents=True)
    assert warning(cells) == ""
    config = other_config(cells[1], warmup=0.9) | {"out": "elsewhere"}
    (folder / "config.json").write_text(json.dumps(config))
    assert "1 of 2" in warning(cells)
    (folder / "config.json").write_text("[]")
    assert warning(cells) == ""


def test_the_same_words_count_under_other_names(cells: list[Cell]):
    sweep = Path("runs/sweeps/1")
    write_manifest(sweep, [], cells, complete=True)
    path = sweep / "manifest.json"
    path.write_text(path.read_text().replace("--quick--", "--fast--"))
    assert warning(cells) == "", "nothing of it was begun"
    folder = Path("runs") / cells[0].plan.run_id.replace("--quick--", "--fast--")
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(other_config(cells[0], name="fast")))
    assert warning(cells).endswith("What differs (in how many): hparams.name (1).")


@pytest.mark.parametrize("text", ["{", "[]", '{"schema_version": 9}'])
def test_a_damaged_manifest_of_another_sweep_ends_nothing(cells: list[Cell], text: str):
    for name in ("1", "2"):
        write_manifest(Path("runs/sweeps") / name, [], cells, complete=True)
    (Path("runs/sweeps/2") / "manifest.json").write_text(text)
    path = Path("runs/sweeps/1/manifest.json")
    path.write_text(path.read_text().replace("--quick--", "--fast--"))
    folder = Path("runs") / cells[0].plan.run_id.replace("--quick--", "--fast--")
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(other_config(cells[0], name="fast")))
    assert warning(cells).startswith("1 of 2 runs left to do were begun")
