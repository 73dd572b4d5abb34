from typing import Any

from iapt.reporting.rates import rates_document
from iapt.reporting.render import Entry, Grid, markdown
from iapt.results.cells import collect
from iapt.results.row import Row
from tests.results.example_rows import CONFIG, a_row


def tried(
    method: str, rate: float, loss: float, test: float, seed: int = 0,
    *, task: str = "sst2", steps: int = 100, **more: Any,
) -> Row:  # fmt: skip
    config = CONFIG | {"hparams": {"lr": rate, "max_steps": steps}, "method": {"name": method}}
    return a_row(
        task, method, seed, test, config=config,
        dev={"best_loss": loss, "best_accuracy": 60.0, "curve": []}, **more,
    )  # fmt: skip


def texts(grids: list[Grid]) -> list[list[str]]:
    return [[e.text if isinstance(e, Entry) else e for e in line] for line in grids[0].lines]


def test_the_best_rate_is_the_one_of_the_lowest_dev_loss_whatever_the_test_says() -> None:
    rows = [
        tried("lora", 1e-4, 0.5, 90.0),
        tried("lora", 5e-4, 0.2, 80.0),
        tried("lora", 2e-3, 0.3, 95.0),
    ]
    document = rates_document(collect(rows)[0])
    best, every = texts(document.grids), texts(document.details)
    assert [line[2:5] for line in best] == [["90.0", "0.0005", "80.0"]]
    assert [line[1] for line in every] == ["0.0001", "0.0005", "0.002"]
    assert "| **0.200** " in markdown(document)
    assert sum(bool(record["best"]) for record in document.records) == 1


def test_a_best_rate_at_an_end_of_what_was_tried_is_named() -> None:
    rows = [tried("ia3", 1e-4, 0.5, 50.0), tried("ia3", 2e-3, 0.2, 60.0)]
    rows += [tried("lora", 1e-4, 0.1, 50.0), tried("lora", 2e-3, 0.2, 60.0)]
    notes = rates_document(collect(rows)[0]).notes
    assert [n for n in notes if "largest rate tried is the best of ia3;" in n]
    assert [n for n in notes if "smallest rate tried is the best of lora;" in n]


def test_a_method_with_one_rate_is_named_at_no_end() -> None:
    rows = [tried("ia3", 1e-4, 0.5, 50.0)]
    rows += [
        tried("lora", rate, loss, 50.0) for rate, loss in ((1e-4, 0.3), (5e-4, 0.1), (2e-3, 0.2))
    ]
    document = rates_document(collect(rows)[0])
    assert [line[0] for line in texts(document.grids)] == ["lora", "ia3"]
    assert not [note for note in document.notes if "rate tried" in note]


def test_rates_of_different_tasks_do_not_compete() -> None:
    losses = {"sst2": (0.5, 0.2), "boolq": (0.01, 0.03)}
    rows = [
        tried("lora", rate, loss, 50.0, task=task)
        for task, found in losses.items()
        for rate, loss in zip((1e-4, 5e-4), found, strict=True)
    ]
    document = rates_document(collect(rows)[0])
    assert {r["task"]: r["rate"] for r in document.records if r["best"]} == {
        "sst2": 5e-4,
        "boolq": 1e-4,
    }
    assert [len(grid.lines) for grid in document.details] == [2, 2]


def test_rates_are_compared_where_all_else_is_equal_in_the_largest_such_group() -> None:
    rows = [tried("lora", rate, 0.5 + rate, 50.0) for rate in (1e-4, 5e-4)]
    rows += [tried("lora", 2e-3, 0.1, 60.0, steps=900)]
    document = rates_document(collect(rows)[0])
    assert [line[1] for line in texts(document.details)] == ["0.0001", "0.0005"]
    assert "1 rates of lora, whose method's values or other" in " ".join(document.notes)


def test_a_rate_with_several_seeds_shows_medians() -> None:
    rows = [tried("lora", 1e-4, loss, 100 * loss, n) for n, loss in enumerate((0.1, 0.2, 0.9))]
    document = rates_document(collect([*rows, tried("lora", 5e-4, 0.3, 70.0)])[0])
    assert texts(document.details)[0][2] == "0.200"
    assert texts(document.grids)[0][2:4] == ["20.0", "0.0001"]
    assert "seeds 0, 1, 2" in document.notes[0]


def test_settings_are_never_mixed_and_one_rate_alone_makes_no_table() -> None:
    apart = [tried("lora", 1e-4, 0.5, 50.0), tried("lora", 5e-4, 0.2, 60.0, setting="0ther000")]
    document = rates_document(collect(apart)[0])
    assert not document.grids
    assert "lr_grid" in document.commands[0]


def test_rates_on_other_weights_do_not_compete() -> None:
    rows = [tried("lora", rate, 0.5 + rate, 50.0) for rate in (1e-4, 5e-4)]
    rows += [tried("lora", 2e-3, 0.1, 60.0, facts={"fingerprint": "another"})]
    document = rates_document(collect(rows)[0])
    assert [line[1] for line in texts(document.details)] == ["0.0001", "0.0005"]
    assert [note for note in document.notes if note.startswith("Left out")]
