"""The grid of an experiment, and how the user's words narrow it."""

import re

import pytest

from iapt.errors import ConfigError
from iapt.grid.blocks import blocks_of, combinations

TWO = [{"task": ["a", "b"], "method": "lora", "rank": [2, 4]}, {"task": "a", "method": "bitfit"}]


def words(given: dict[str, list[str]]) -> list[str]:
    typed = {key: [f"{key}={value}" for value in values] for key, values in given.items()}
    return [" ".join(cell) for cell in combinations(typed, blocks_of(TWO, "mine", "paper"))]


def test_without_an_experiment_the_cells_are_all_combinations():
    given = {"task": ["task=a", "task=b"], "seed": ["seed=0", "seed=1"]}
    assert [" ".join(cell) for cell in combinations(given)] == [
        "task=a seed=0",
        "task=a seed=1",
        "task=b seed=0",
        "task=b seed=1",
    ]


def test_a_grid_is_the_union_of_its_blocks_times_the_other_words():
    assert words({"seed": ["0"]}) == [
        "task=a method=lora rank=2 seed=0",
        "task=a method=lora rank=4 seed=0",
        "task=b method=lora rank=2 seed=0",
        "task=b method=lora rank=4 seed=0",
        "task=a method=bitfit seed=0",
    ]


@pytest.mark.parametrize(
    ("given", "cells"),
    [
        ({"task": ["b"]}, ["task=b method=lora rank=2", "task=b method=lora rank=4"]),
        ({"method": ["bitfit"]}, ["task=a method=bitfit"]),
        ({"rank": ["4"], "task": ["a"]}, ["task=a method=lora rank=4"]),
    ],
)
def test_values_of_the_grid_narrow_it(given: dict[str, list[str]], cells: list[str]):
    assert words(given) == cells


def test_other_values_take_the_place_of_the_grids_and_no_cell_comes_twice():
    assert words({"task": ["c"], "rank": ["8"]}) == ["task=c method=lora rank=8"]
    assert words({"method": ["mine"], "task": ["a"]}) == [
        "task=a method=mine rank=2",
        "task=a method=mine rank=4",
        "task=a method=mine",
    ]
    two = [{"backbone": ["x"], "task": "a"}, {"backbone": ["y"], "task": "a"}]
    blocks = blocks_of(two, "mine", "paper")
    assert combinations({"backbone": ["backbone=z"]}, blocks) == [("backbone=z", "task=a")]


def test_a_mixture_of_both_is_refused():
    with pytest.raises(ConfigError, match=re.escape("task=c: not in the experiment's grid")):
        words({"task": ["a", "c"]})


def test_a_grid_by_scale_has_the_cells_of_its_scale():
    grid = {"paper": [{"rank": [1, 2]}], "small": [{"rank": 1}]}
    assert blocks_of(grid, "mine", "paper") == [{"rank": ["rank=1", "rank=2"]}]
    assert blocks_of(grid, "mine", "small") == [{"rank": ["rank=1"]}]
    with pytest.raises(ConfigError, match="scale=tiny: experiment=mine has no grid at this scale"):
        blocks_of(grid, "mine", "tiny")


@pytest.mark.parametrize(
    ("grid", "part"),
    [
        ("iapt-bench what=decode", "nothing to train; the command is iapt-bench what=decode"),
        ([{"task": None}], "mine.grid"),
        ([{"task": [["a"]]}], "mine.grid"),
        (3, "mine.grid=3: must be"),
    ],
)
def test_a_grid_without_cells_is_named(grid: object, part: str):
    with pytest.raises(ConfigError, match=re.escape(part)):
        blocks_of(grid, "mine", "paper")


def test_a_grid_has_some_cells_and_no_more_than_a_sweep_can_plan():
    many = {key: [f"{key}={i}" for i in range(101)] for key in ("seed", "hparams.max_steps")}
    with pytest.raises(ConfigError, match=r"seed x hparams.max_steps: .* at most 10,000 cells"):
        combinations(many)
    assert len(combinations({key: some[:100] for key, some in many.items()})) == 10_000
    with pytest.raises(ConfigError, match="nothing to run"):
        words({"method": ["bitfit"], "rank": ["2"]})


def test_a_value_that_another_block_has_is_none_of_the_users_own():
    blocks = blocks_of([{"task": "a", "rank": 2}, {"task": "b"}], "mine", "paper")
    assert combinations({"task": ["task=b"]}, blocks) == [("task=b",)]
    with pytest.raises(ConfigError, match="nothing to run"):
        combinations({"rank": ["rank=2"], "task": ["task=b"]}, blocks)


def test_truth_values_are_written_as_a_user_types_them():
    blocks = blocks_of([{"hide": [True, False], "rank": 2}], "mine", "paper")
    assert blocks == [{"hide": ["hide=true", "hide=false"], "rank": ["rank=2"]}]
    assert combinations({"hide": ["hide=true"]}, blocks) == [("hide=true", "rank=2")]
