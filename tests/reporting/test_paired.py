import pytest

from iapt.reporting.paired import paired_document
from iapt.reporting.render import Document, Entry, markdown
from iapt.results.cells import collect
from iapt.results.row import Row
from tests.results.example_items import answered
from tests.results.example_rows import a_row, five


def document(rows: list[Row], detect: float = 1.0) -> Document:
    return paired_document(collect(rows)[0], detect)


def three_methods() -> list[Row]:
    rows = answered("lora", 0.65) + answered("iapt", 0.85, number=1)
    return rows + answered("lpt", 0.65, number=2)


def test_every_two_methods_meet_once_and_the_matrix_shows_both_directions() -> None:
    found = document(three_methods())
    (matrix,), (pairs,) = found.grids, found.details
    assert [line[0] for line in matrix.lines] == ["1 lora", "2 lpt", "3 iapt"]
    assert len(pairs.lines) == len(found.records) == 3
    entries = {(i, j): matrix.lines[i][j + 1] for i in range(3) for j in range(3)}
    for i in range(3):
        assert entries[i, i] == ""
        for j in range(i):
            ours, theirs = entries[i, j], entries[j, i]
            assert isinstance(ours, Entry)
            assert isinstance(theirs, Entry)
            assert float(ours.text) == -float(theirs.text)
            assert ours.mark == theirs.mark
    assert entries[2, 0].mark == entries[2, 1].mark == "best"  # type: ignore[union-attr]
    assert entries[1, 0].mark == ""  # type: ignore[union-attr]


def test_a_pair_has_its_interval_outcomes_and_what_it_could_detect() -> None:
    found = document(three_methods(), detect=3.0)
    line = dict(zip(found.details[0].head, found.details[0].lines[0], strict=True))
    record = found.records[0]
    assert (line["Left"], line["Right"]) == ("lora", "lpt")
    assert line["Compared over"] == "5 seeds x 200 items"
    won, lost, tied = (record[f"items_{how}"] for how in ("won", "lost", "tied"))
    assert line["Items won / lost / tied"] == f"{won} / {lost} / {tied}"
    assert won + lost + tied == 200  # type: ignore[operator]
    assert line["Items to detect 3"] == f"{record['items_to_detect']:,}"
    assert record["items_to_detect"] > 200  # type: ignore[operator]
    assert found.notes[0].startswith("Smallest detectable difference")


def test_a_seed_that_one_method_lacks_is_named() -> None:
    rows = answered("lora", 0.7) + answered("iapt", 0.7, number=1, seeds=(0, 1, 2, 4))
    found = document(rows)
    assert found.details[0].lines[0][-1] == "4 seeds x 200 items; left out: seed 3"
    assert found.records[0]["seeds_left_out"] == 1


def test_rows_without_items_say_so() -> None:
    rows = five("boolq", "lora", [86.0, 86.1, 86.4]) + five("boolq", "iapt", [87.0, 87.3, 87.1])
    text = markdown(document(rows))
    assert "3 seeds, without per-item scores" in text


def test_settings_and_tasks_are_never_mixed() -> None:
    rows = answered("lora", 0.7) + answered("iapt", 0.7, setting="0ther000")
    rows += answered("lpt", 0.7, task="rte")
    found = document(rows)
    assert found.grids == []
    assert "No setting has rows of two methods" in found.intro[-1]


def test_of_several_rates_of_a_method_one_stands_and_a_note_counts_the_others() -> None:
    rows = [a_row(method="lora", value=70.0), a_row(method="iapt", value=80.0)]
    for rank, loss in ((4, 0.4), (8, 0.2)):
        dev = {"best_loss": loss, "curve": []}
        rows.append(a_row(method="lpt", value=rank, numbers={"rank": rank}, dev=dev))
    found = document(rows)
    matrix = found.grids[0]
    assert len(matrix.lines) == 3
    assert any("1 other cells of these methods" in note for note in found.notes)
    last = next(record for record in found.records if "lpt" in (record["left"], record["right"]))
    assert last["difference"] == pytest.approx(70.0 - 8.0)


def test_unequal_budgets_are_marked() -> None:
    rows = five("boolq", "lora", [86.0, 86.1], params={"trained": 100})
    rows += five("boolq", "iapt", [86.0, 86.1], params={"trained": 150})
    found = document(rows)
    assert "+0.0 §" in markdown(found)
    assert any(note.startswith("§: trained parameters") for note in found.notes)
