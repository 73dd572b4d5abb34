import json
from pathlib import Path

import pytest

from iapt.reporting.items import MOST_ITEMS, ItemView, item_view
from iapt.results.cells import Cell, collect
from iapt.results.row import Row
from tests.results.example_rows import a_row


def scored(method: str, *seeds: list[float], **changes: object) -> list[Row]:
    """Rows of a method, a list of item scores for each seed."""
    rows = []
    for seed, items in enumerate(seeds):
        value = sum(items) / len(items)
        scores = {"metric": "acc", "value": value, "n": len(items), "n_unparsed": 0, "items": items}
        rows.append(a_row("sst2", method, seed, scores=scores, **changes))
    return rows


def cells(rows: list[Row]) -> list[tuple[str, Cell]]:
    return [(cell.name, cell) for cell in collect(rows)[0]]


def view(rows: list[Row], runs: Path | None = None) -> ItemView:
    found = item_view(cells(rows), runs)
    assert found is not None
    return found


def predict(runs: Path, row: Row, lines: list[dict[str, object]]) -> None:
    (runs / row.run_id).mkdir(parents=True)
    text = "".join(json.dumps({"references": ["yes"], **line}) + "\n" for line in lines)
    (runs / row.run_id / "predictions.jsonl").write_text(text)


def test_an_example_says_how_many_seeds_are_right_and_the_most_disputed_comes_first() -> None:
    rows = scored("iapt", [100.0, 100.0, 0.0], [100.0, 0.0, 0.0])
    rows += scored("lora", [100.0, 0.0, 100.0], [100.0, 0.0, 100.0])
    found = view(rows)
    assert found.methods == ("iapt", "lora")
    assert [(item.id, [a.text for a in item.answers]) for item in found.items] == [
        ("3", ["0/2", "2/2"]),
        ("2", ["1/2", "0/2"]),
        ("1", ["2/2", "2/2"]),
    ]
    assert [item.states for item in found.items] == [["w0", "r1"], ["w0", "w1", "wx"], ["r0", "r1", "rx"]]  # fmt: skip


def test_answers_that_may_be_partly_right_show_their_mean() -> None:
    found = view(scored("iapt", [40.0, 90.0], [50.0, 100.0]))
    assert {item.id: (item.answers[0].text, item.answers[0].state) for item in found.items} == {
        "1": ("45", "w"),
        "2": ("95", "r"),
    }


def test_texts_come_from_the_run_folders_and_most_outputs_without_an_answer_are_unparsed(
    tmp_path: Path,
) -> None:
    rows = scored("iapt", [0.0, 100.0], [0.0, 100.0])
    for seed, row in enumerate(rows):
        lines = [
            {"id": "e1", "instruction": "Is it?", "output": f"hm {seed}", "parsed": None},
            {"id": "e2", "output": "yes", "parsed": "yes"},
        ]
        predict(tmp_path, row, lines)
    first, second = sorted(view(rows, tmp_path).items, key=lambda item: item.id)
    assert (first.id, first.instruction, first.references) == ("e1", "Is it?", ("yes",))
    assert (first.answers[0].state, first.answers[0].output) == ("u", "hm 0")
    assert (second.answers[0].state, second.answers[0].output) == ("r", "")


@pytest.mark.parametrize(
    ("parsed", "state"),
    [
        ([None, "no"], "w"),  # half of them is not most of them
        ([None, None, "no"], "u"),
        ([None, "no", "no"], "w"),
    ],
)
def test_a_method_is_unparsed_where_more_than_half_of_its_outputs_have_no_answer(
    tmp_path: Path, parsed: list[str | None], state: str
) -> None:
    rows = scored("iapt", *[[0.0]] * len(parsed))
    for row, found in zip(rows, parsed, strict=True):
        predict(tmp_path, row, [{"id": "e1", "output": "x", "parsed": found}])
    (item,) = view(rows, tmp_path).items
    assert item.answers[0].state == state


def test_the_view_tells_the_fewest_and_the_most_seeds_of_a_method() -> None:
    assert view(scored("iapt", [0.0], [0.0], [0.0]) + scored("lora", [0.0])).seeds == (1, 3)


def test_predictions_of_another_number_of_examples_are_not_matched(tmp_path: Path) -> None:
    rows = scored("iapt", [0.0, 100.0])
    predict(tmp_path, rows[0], [{"id": "e1", "output": "x", "parsed": None}])
    assert [item.id for item in view(rows, tmp_path).items] == ["1", "2"]


def test_cells_without_item_scores_or_of_another_split_are_left_out_and_named() -> None:
    rows = scored("iapt", [0.0, 100.0]) + scored("lora", [0.0, 100.0], facts={"dtype": "float16"})
    rows += [a_row("sst2", "lpt", scores={"metric": "acc", "value": 1.0, "n": 2, "n_unparsed": 0})]
    found = view(rows)
    assert found.methods == ("iapt",)
    assert "Without item scores of this test split: lora, lpt." in found.remarks
    assert item_view(cells(rows[2:])) is None


def test_a_long_table_is_cut_and_says_so() -> None:
    found = view(scored("iapt", [100.0] * (MOST_ITEMS + 1)))
    assert len(found.items) == MOST_ITEMS
    assert found.remarks[0] == "The 400 most disputed of 401 examples."
