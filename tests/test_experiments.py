"""The paper's experiments by name: their cells are those that its tables and figures need."""

from functools import cache

import pytest

from iapt.cli.composing import Composer
from iapt.cli.overrides import groups, prepare
from iapt.cli.sweep import main, words_of_cells
from iapt.cli.train import main as train
from iapt.errors import ConfigError
from iapt.grid.cells import Cell, plan_cells
from iapt.reporting.choose import Scope
from iapt.reporting.render import Entry
from iapt.reporting.scale import settle
from iapt.reporting.spec import FIGURES, SCORE_TABLES, load, load_table
from iapt.reporting.tables import score_table
from iapt.results.cells import SEEDS, collect
from iapt.results.row import Row
from tests.results.example_rows import row_of_cell

NAMES = (*SCORE_TABLES, *FIGURES)
SCORES = {"acc": 50.0, "f1-em": 50.0, "rouge-l": 50.0, "rouge-l-turn-1": 50.0, "gpt-4": 50.0}
# Methods (with variants, values or backbones) x tasks.
COUNTS = {
    "table1": 15 * 7,
    "table2": 5 * 3,
    "table3": 3 * 1,
    "table5": 9 * 3,
    "table7": 6 * 3,
    "table8": 2 * 5 * 3,
    "figure2": (7 + 7 + 7) * 2,
    "figure3": 2 * 6,
}
SMALL = {  # without the second reading of IAPT, which repeats the paper's values
    "table1": 14 * 3,
    "table2": 4 * 3,
    "table3": 2 * 1,
    "table5": 8 * 1,
    "table7": 5 * 1,
    "figure2": 3 + 3 + 3,
    "figure3": 2 * 3,
}


@cache
def cells(*words: str) -> list[Cell]:
    """The planned cells of a sweep."""
    return plan_cells(words_of_cells(prepare(list(words))), Composer())


def row_of(cell: Cell) -> Row:
    """A row of the cell's run, with invented scores."""
    return row_of_cell(
        cell,
        params={"trained": cell.plan.trainable},
        scores={"metric": "acc", "value": 50.0, "n": 9, "n_unparsed": 0, "details": SCORES},
    )


@pytest.mark.parametrize("name", NAMES)
def test_an_experiment_has_the_cells_that_its_table_counts(name: str):
    found = cells(f"experiment={name}", "seed=0")
    table = load_table(name)
    lines = sum(len(block.lines) for block in table.blocks)
    tasks = {column.task for column in table.columns}
    assert len(found) == COUNTS[name] == lines * len(tasks)
    assert len({cell.plan.run_id for cell in found}) == len(found)
    assert len(words_of_cells(prepare([f"experiment={name}"]))) == len(found) * len(SEEDS)


@pytest.mark.parametrize("name", NAMES)
def test_its_rows_fill_every_place_of_the_table(name: str):
    rows = [
        row.model_copy(update={"cell": row.cell.model_copy(update={"seed": seed})})
        for row in map(row_of, cells(f"experiment={name}", "seed=0"))
        for seed in SEEDS
    ]
    document = score_table(name, rows, collect(rows)[0], Scope())
    assert document.commands == []
    assert not [note for note in document.notes if note.startswith("Left out")]
    places = [
        entry
        for line in document.grids[0].lines
        if not isinstance(line, str)
        for entry in line[2:]
        if isinstance(entry, Entry)
    ]
    assert places
    assert {entry.text.split()[0] for entry in places} <= {"50.0", "50.00"}


def test_table_1_is_fourteen_methods_and_a_second_reading_of_iapt():
    chosen = {c.plan.cell["method"] for c in cells("experiment=table1", "seed=0")}
    assert chosen == set(groups()["method"])


@pytest.mark.parametrize("name", [n for n in NAMES if n != "table8"])
def test_at_the_small_scale_an_experiment_runs_on_the_small_model(name: str):
    words = words_of_cells(prepare([f"experiment={name}", "scale=small", "seed=0"]))
    assert len(words) == SMALL[name]
    table = load_table(name)
    every = [line for block in table.blocks for line in block.lines if line.small]
    lines = [line for line in every if not line.repeats]
    tasks = {column.task for column in table.small or table.columns}
    assert len(words) == len(lines) * len(tasks)
    plan = plan_cells(words[:1], Composer())[0].plan
    assert plan.backbone.name == "smollm2_135m"
    assert (plan.hparams.name, plan.hparams.max_steps, plan.hparams.batch_size) == ("tuned", 100, 8)
    assert plan.hparams.eval_every == 50
    assert plan.config["limit"] == {"train": None, "dev": 60, "test": 300}
    assert plan.cell["data"] == "sample"


@pytest.mark.parametrize("name", ["table1", "table5", "figure2", "figure3"])
def test_its_rows_fill_every_place_of_the_small_table(name: str):
    planned = cells(f"experiment={name}", "scale=small", "seed=0")
    rows = [
        row.model_copy(update={"cell": row.cell.model_copy(update={"seed": seed})})
        for row in map(row_of, planned)
        for seed in SEEDS
    ]
    found = collect(rows)[0]
    document = score_table(name, rows, found, settle(Scope.called("small"), found))
    assert document.commands == []
    lines = [line for line in document.grids[0].lines if not isinstance(line, str)]
    assert sum(len(line) - 2 for line in lines) == len(planned) == SMALL[name]
    assert {e.text for line in lines for e in line[2:] if isinstance(e, Entry)} == {"50.0"}


@pytest.mark.parametrize(("name", "count"), [("figure2", 9), ("figure3", 6), ("table5", 8)])
def test_figures_and_ablations_at_the_small_scale_are_five_seeds_of_sst2(name: str, count: int):
    words = words_of_cells(prepare([f"experiment={name}", "scale=small", "task=sst2"]))
    assert len(words) == 5 * count
    assert {cell[0] for cell in words} == {"task=sst2"}


def test_the_scale_may_come_before_the_experiment_and_words_win_over_both():
    words = ["scale=small", "experiment=table2", "seed=0", "hparams.batch_size=4"]
    plan = plan_cells(words_of_cells(prepare(words))[:1], Composer())[0].plan
    assert (plan.backbone.name, plan.hparams.batch_size) == ("smollm2_135m", 4)


def test_an_experiment_takes_a_method_that_the_paper_does_not_have():
    found = words_of_cells(prepare(["experiment=table2", "method=bitfit", "seed=0"]))
    assert [cell[0] for cell in found] == ["task=e2e", "task=gsm8k", "task=wikisql"]


def test_table_8_has_no_small_scale():
    with pytest.raises(ConfigError, match="experiment=table8 has no grid at this scale"):
        words_of_cells(prepare(["experiment=table8", "scale=small"]))


def test_one_run_is_no_experiment(capsys: pytest.CaptureFixture[str]):
    assert train(["experiment=table2", "task=e2e"]) == 2
    assert "experiment=table2: a grid of runs; iapt-sweep" in capsys.readouterr().err


@pytest.mark.parametrize("name", NAMES)
def test_under_an_empty_table_stands_the_experiment_that_fills_it(name: str):
    assert f"All of its runs: iapt-sweep +experiment={name}" in score_table(name, [], []).notes


@pytest.mark.parametrize("name", ["table4", "table6"])
def test_a_table_without_training_names_its_command(name: str, capsys: pytest.CaptureFixture[str]):
    assert main([f"experiment={name}"]) == 2
    said = capsys.readouterr().err
    command = load(name).get("command", f"iapt-table {name}")
    assert f"experiment={name}: nothing to train; the command is {command}" in said
