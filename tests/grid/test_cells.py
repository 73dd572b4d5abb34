"""The cells of a grid: all combinations, in order, each with its plan."""

from pathlib import Path

import pytest

from iapt.cli.composing import composed, grid_of
from iapt.errors import ConfigError
from iapt.grid.blocks import combinations
from iapt.grid.cells import plan_cells

TINY = ["task=sst2", "backbone=tiny_llama", "method=lora", "device=cpu"]


def test_the_last_key_varies_fastest_and_names_leave_out_what_all_cells_share():
    cells = plan_cells(combinations(grid_of([*TINY, "method.rank=2,4", "seed=0,1"])), composed)
    assert [cell.name for cell in cells] == [
        "method.rank=2 seed=0",
        "method.rank=2 seed=1",
        "method.rank=4 seed=0",
        "method.rank=4 seed=1",
    ]
    assert [cell.plan.cell["seed"] for cell in cells] == [0, 1, 0, 1]
    assert len({cell.plan.config_hash for cell in cells}) == 4
    assert len({cell.plan.cell_hash for cell in cells}) == 2
    assert cells[3].words == (*TINY, "method.rank=4", "seed=1")


def test_each_mistake_is_told_once_with_the_number_of_its_cells():
    with pytest.raises(ConfigError) as caught:
        plan_cells(combinations(grid_of([*TINY, "method.rank=2,0", "seed=0,1"])), composed)
    said = str(caught.value)
    assert said.count("method.rank=0: must be") == 1
    assert said.endswith("in 2 of 4 cells, such as method.rank=0 seed=0")


def test_data_that_only_some_cells_lack_are_told_with_these_cells(tmp_path: Path):
    (tmp_path / "rte").mkdir()
    for split in ("train", "validation"):
        (tmp_path / "rte" / f"{split}.jsonl").write_text("{}\n")
    axes = [*TINY[1:], "task=rte,boolq,sst2", "data=folder", f"data.path={tmp_path}"]
    with pytest.raises(ConfigError) as caught:
        plan_cells(combinations(grid_of(axes)), composed)
    said = str(caught.value).splitlines()
    assert len(said) == 4
    for name, line, cells in zip(("boolq", "sst2"), said[::2], said[1::2], strict=True):
        assert f"has no data set '{name}'" in line
        assert cells == f"  in 1 of 3 cells, such as task={name}"
