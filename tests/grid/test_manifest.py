"""The manifest of a sweep: written first, readable from anywhere, refused when damaged."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from iapt.cli.composing import composed, grid_of
from iapt.configuration.identity import VERSION
from iapt.errors import DataError
from iapt.grid.blocks import combinations
from iapt.grid.cells import Cell, plan_cells
from iapt.grid.manifest import CELL, entry_of, read_manifest, sweeps, write_manifest

TINY = ["task=sst2", "backbone=tiny_llama", "method=lora", "device=cpu", "seed=0,1"]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def cells() -> list[Cell]:
    return plan_cells(combinations(grid_of(TINY)), composed)


def test_it_names_every_cell_with_versioned_hashes_and_the_command(cells: list[Cell]):
    folder = Path("runs/sweeps/1")
    written = write_manifest(folder, ["task=sst2"], cells, complete=True)
    read = read_manifest(folder)
    assert read == written
    assert (read.command, read.identity_version) == (("task=sst2",), VERSION)
    for cell, entry in zip(cells, read.cells, strict=True):
        plan = cell.plan
        assert (entry.run_id, entry.config_hash) == (plan.run_id, plan.config_hash)
        assert (entry.words, entry.name) == (cell.words, cell.name)
        assert read.folder(entry) == Path("runs") / plan.run_id
        assert read.row_file(entry) == Path("results/rows") / f"{plan.run_id}.json"
    assert read.cells[0].cell_hash == read.cells[1].cell_hash


def test_it_is_read_from_another_folder_and_after_a_move(cells: list[Cell], tmp_path: Path):
    write_manifest(Path("runs/sweeps/1"), [], cells, complete=True)
    Path("moved").mkdir()
    Path("runs").rename("moved/runs")
    os.chdir("moved/runs/sweeps")
    manifest = read_manifest(Path("1"))
    row = manifest.row_file(manifest.cells[0])
    assert row == tmp_path / "moved" / "results" / "rows" / row.name


def test_an_output_folder_may_be_a_link(cells: list[Cell], tmp_path: Path):
    (tmp_path / "disk" / "a" / "b").mkdir(parents=True)
    Path("runs").symlink_to(tmp_path / "disk" / "a" / "b")
    write_manifest(Path("runs/sweeps/1"), [], cells, complete=True)
    manifest = read_manifest(Path("runs/sweeps/1"))
    entry = manifest.cells[0]
    assert manifest.row_file(entry) == Path("results/rows") / f"{entry.run_id}.json"
    assert manifest.folder(entry) == Path("disk/a/b") / entry.run_id


def test_cells_that_a_sweeper_chooses_are_added_by_their_jobs(cells: list[Cell]):
    folder = Path("runs/sweeps/1")
    write_manifest(folder, [], cells, complete=False)
    assert read_manifest(folder).cells == ()
    entries = [entry_of(folder, cell.words, cell.name, cell.plan) for cell in cells]
    for number, entry in ((10, entries[1]), (9, entries[0])):
        (folder / str(number)).mkdir()
        (folder / str(number) / CELL).write_text(entry.model_dump_json())
    assert list(read_manifest(folder).cells) == entries
    (folder / "9" / CELL).write_text("{}")
    with pytest.raises(DataError, match=rf"sweep.*/9/{CELL}: not a cell of this version: .*words"):
        read_manifest(folder)


def test_a_run_is_found_by_its_words_without_those_for_hydra(cells: list[Cell]):
    folder = Path("runs/sweeps/1")
    for_hydra = ("hydra.job.name=x", "hydra/launcher=joblib", "+hydra.a=b", "++hydra.a=b")
    given = [replace(cell, words=(*for_hydra, *cell.words)) for cell in cells]
    manifest = write_manifest(folder, [], given, complete=True)
    assert manifest.cells[1].words == given[1].words, "the sweep's command has them"
    assert [manifest.number(cell.words) for cell in cells] == [0, 1]
    hydraulic = replace(cells[0], words=("hydraulic.rank=2",))
    assert entry_of(folder, hydraulic.words, "", hydraulic.plan).job() == ["hydraulic.rank=2"]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"schema_version": 9}, "schema_version=9"),
        ({"cells": [{"run_id": "../x"}]}, "must be a plain file name"),
        ({"cells": None}, "cells"),
    ],
)
def test_a_damaged_one_is_named_with_its_field(cells: list[Cell], change: dict, fault: str):
    folder = Path("sweep")
    write_manifest(folder, [], cells, complete=True)
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DataError, match=rf"sweep/manifest\.json: .*{fault}"):
        read_manifest(folder)
    path.write_text("{")
    with pytest.raises(DataError, match="is not JSON"):
        read_manifest(folder)
    with pytest.raises(DataError, match="not the folder of a sweep"):
        read_manifest(Path("absent"))


def test_the_newest_sweep_comes_first():
    for name in ("20260101-000000-0-7", "20260102-000000-0-7", "20251231-000000-0-7"):
        folder = Path("runs/sweeps") / name
        folder.mkdir(parents=True)
        (folder / "manifest.json").touch()
    assert [folder.name[:8] for folder in sweeps(Path("runs"))] == [
        "20260102",
        "20260101",
        "20251231",
    ]
