"""The table of choices, from invented rows whose truth is known."""

from collections.abc import Iterable
from functools import cache
from typing import Any

import numpy as np
import pytest
from scipy import stats

from iapt.cli.composing import Composer
from iapt.cli.overrides import prepare
from iapt.cli.sweep import words_of_cells
from iapt.grid.cells import Cell, plan_cells
from iapt.reporting.choices import NAME, choices, choices_document
from iapt.reporting.measures import p_text
from iapt.reporting.render import Document, Entry, Grid, markdown
from iapt.reporting.spec import load
from iapt.results.cells import collect
from iapt.results.row import Row
from tests.results.example_rows import row_of_cell


@cache
def planned() -> list[Cell]:
    return plan_cells(words_of_cells(prepare([f"experiment={NAME}"])), Composer())


def row_of(cell: Cell, loss: float, accuracy: float) -> Row:
    return row_of_cell(
        cell,
        steps=cell.plan.hparams.max_steps,
        dev={"best_loss": loss, "best_accuracy": accuracy},
        data={"sizes": {"dev": 200}},
    )


def invented(*, without: str = "") -> list[Row]:
    """Rows of every cell, but of those with a word in them: later blocks are better, the rest alike."""
    rows = []
    for number, cell in enumerate(planned()):
        later = any("first_block=10" in word for word in cell.words)
        seed = cell.plan.cell["seed"]
        loss = 0.30 + 0.01 * seed - 0.05 * later + np.random.default_rng(number).normal(0, 0.003)
        if not without or not any(without in word for word in cell.words):
            rows.append(row_of(cell, loss, 80.0 + seed + later * (4.0 + 2.0 * seed)))
    return rows


def table(rows: list[Row]) -> Document:
    return choices_document(collect(rows)[0])


def lines(grid: Grid) -> dict[str, list[str]]:
    return {
        str(line[0]): [e.text if isinstance(e, Entry) else e for e in line[1:]]
        for line in grid.lines
        if not isinstance(line, str)
    }


def losses(rows: Iterable[Row]) -> np.ndarray:
    return np.array([row.dev.best_loss for row in rows], dtype=float)


def accuracies(rows: Iterable[Row]) -> np.ndarray:
    return np.array([row.dev.best_accuracy for row in rows], dtype=float)


LATER = "prompts from block 10 on"


def pair(rows: Iterable[Row]) -> tuple[list[Row], list[Row]]:
    """The rows of 40 steps of `LATER`, and those of the reference."""
    here = [row for row in rows if row.setting("hparams", "max_steps") == 40]
    found = []
    for choice in choices():
        if choice.label == LATER or choice.reference:
            (cell,) = [cell for cell in collect(here)[0] if choice.names(cell)]
            found.append((choice.reference, list(cell.rows)))
    (_, ours), (_, theirs) = sorted(found, key=lambda each: each[0])
    return ours, theirs


def mean_and_ends(values: np.ndarray) -> tuple[float, float, float]:
    """A mean and its t interval, of scipy."""
    return float(values.mean()), *stats.ttest_1samp(values, 0).confidence_interval()


def records(document: Document) -> dict[str, dict[str, Any]]:
    return {str(r["setting"]): dict(r) for r in document.records if r["steps"] == 40}


def test_the_experiment_runs_every_line_of_the_table_at_both_lengths_and_nothing_else() -> None:
    raw = load(NAME)
    seeds = {(c.plan.hparams.max_steps, c.plan.cell["seed"]) for c in planned()}
    assert seeds == {(steps, seed) for steps in raw["steps"] for seed in raw["seeds"]}
    assert len(planned()) == len(choices()) * len(seeds)
    document = table(invented())
    assert document.commands == []
    for grid in document.grids:
        assert len(lines(grid)) == len(choices())
        assert {line[0] for line in lines(grid).values()} == {"3"}
    cells, _ = collect(invented())
    assert all(sum(choice.names(cell) for choice in choices()) == 1 for cell in cells)


def test_faithful_choices_and_extensions_stand_under_headings_of_their_own() -> None:
    grid = table(invented()).grids[0]
    order = [line if isinstance(line, str) else str(line[0]) for line in grid.lines]
    extensions = order[order.index("Extensions of the paper") + 1 :]
    assert all("block" in label or "bias" in label for label in extensions)
    assert len(extensions) == 4
    assert order.index("Choices that the paper leaves open") < order.index("rate 1e-3")


def test_means_intervals_and_differences_are_those_of_scipy_over_seeds() -> None:
    rows = invented()
    line = lines(table(rows).grids[0])[LATER]
    ours, theirs = pair(rows)
    apart = losses(ours) - losses(theirs)
    assert line[1] == "{:.3f} ({:.3f} to {:.3f})".format(*mean_and_ends(losses(ours)))
    assert line[2] == "{:+.3f} ({:+.3f} to {:+.3f})".format(*mean_and_ends(apart))
    assert line[4] == "{:.1f} ({:.1f} to {:.1f})".format(*mean_and_ends(accuracies(ours)))
    apart = accuracies(ours) - accuracies(theirs)
    assert line[5] == "{:+.1f} ({:+.1f} to {:+.1f})".format(*mean_and_ends(apart))


def test_the_csv_has_every_mean_with_the_two_ends_of_its_interval() -> None:
    rows = invented()
    record = records(table(rows))[LATER]
    ours, theirs = pair(rows)
    for name, values in (
        ("dev_loss", losses(ours)),
        ("minus_reference", losses(ours) - losses(theirs)),
        ("dev_accuracy", accuracies(ours)),
    ):
        found = (record[name], record[f"{name}_low"], record[f"{name}_high"])
        assert found == pytest.approx(mean_and_ends(values))
    assert record["p"] == pytest.approx(stats.ttest_rel(losses(ours), losses(theirs)).pvalue)


def test_p_is_adjusted_for_every_line_of_its_table_that_is_compared() -> None:
    document = table(invented())
    compared = [each for each in records(document).values() if each["p"] is not None]
    assert len(compared) == len(choices()) - 1
    least = min(compared, key=lambda each: float(each["p"]))
    assert least["p_holm"] == pytest.approx(min(1.0, len(compared) * least["p"]))
    assert lines(document.grids[0])[least["setting"]][3] == p_text(least["p_holm"])


def test_rows_of_another_preset_stay_out_of_the_table() -> None:
    others = [
        row.model_copy(update={"cell": row.cell.model_copy(update={"hparams": "tuned"})})
        for row in invented()
    ]
    document = table(others)
    assert all(set(line) <= {"–", "reference"} for line in lines(document.grids[0]).values())
    assert len(document.commands) == 2


def test_a_row_that_cannot_be_compared_is_left_out_and_the_page_says_so() -> None:
    rows = invented()
    odd, _ = pair(rows)
    changed = odd[0].model_copy(
        update={"data": odd[0].data.model_copy(update={"fingerprint": "another"})}
    )
    document = table([changed if row is odd[0] else row for row in rows])
    assert lines(document.grids[0])[LATER][0] == "2"
    (note,) = document.notes
    assert note.startswith("Left out: ")


def test_the_lowest_loss_is_bold_and_the_reference_has_no_difference() -> None:
    document = table(invented())
    bold = [
        line[0]
        for line in document.grids[0].lines
        if not isinstance(line, str) and isinstance(line[2], Entry) and line[2].mark
    ]
    assert bold == ["prompts from block 10 on"]
    (reference,) = [c.label for c in choices() if c.reference]
    assert lines(document.grids[0])[reference][2] == "reference"


@pytest.mark.parametrize("without", ["max_steps=40", "seed=2", "first_block=10"])
def test_what_was_not_run_is_a_dash_with_its_command(without: str) -> None:
    document = table(invented(without=without))
    short, long = (lines(grid) for grid in document.grids)
    line = short["prompts from block 10 on"]
    if without == "seed=2":
        assert line[0] == "2"
        assert "(" in line[1]
        assert not any("**" in text for text in markdown(document).splitlines())
    else:
        assert set(line) == {"–"}
    steps = [40] if without == "max_steps=40" else [40, 200]
    assert document.commands == [
        f"iapt-sweep +experiment={NAME} hparams.max_steps={n} data=FOLDER" for n in steps
    ]
    assert len(long) == len(choices())


def test_without_a_row_there_is_the_whole_table_of_dashes() -> None:
    document = table([])
    assert [grid.title for grid in document.grids] == ["40 steps", "200 steps"]
    assert len(document.commands) == 2
    assert "lowest of a run" in markdown(document)


def test_an_accuracy_stays_between_0_and_100_and_a_loss_above_0() -> None:
    rows = [
        row_of(cell, [0.01, 0.3][cell.plan.cell["seed"]], [99.0, 80.0][cell.plan.cell["seed"]])
        for cell in planned()
        if cell.plan.cell["seed"] < 2
    ]
    for line in lines(table(rows).grids[0]).values():
        assert line[1] == "0.155 (0.000 to 1.997)"
        assert line[4] == "89.5 (0.0 to 100.0)"
