"""A marked score, and the note under its table, in every form of a table."""

from pathlib import Path

from iapt.reporting.footnotes import footnotes
from iapt.reporting.latex import latex, latex_details
from iapt.reporting.render import csv_text, markdown, terminal
from iapt.reporting.report import Material, html_report
from iapt.reporting.summary import summary
from iapt.reporting.tables import score_table
from iapt.results.cells import collect
from iapt.results.row import DataUsed, Row
from tests.results.example_rows import five

CUT = DataUsed(
    fingerprint="f00d",
    sizes={"train": 9427, "dev": 1635, "test": 1635},
    truncated={"train": 12, "dev": 0, "test": 3},
    skipped={"train": 1, "dev": 0},
)
SAID = "12 of 9,427 train prompts cut; 3 of 1,635 test prompts cut; 1 of 9,428 train rows left out."


def rows() -> list[Row]:
    cut = five("boolq", "lora", [86.0] * 5) + five("boolq", "ssp", [85.0] * 3)
    marked = [row.model_copy(update={"data": CUT}) for row in cut]
    return marked + five("boolq", "lpt", [80.0] * 5)


def test_a_score_is_marked_and_methods_with_the_same_remarks_share_a_note():
    document = score_table("table1", rows(), collect(rows())[0])
    text = " ".join(markdown(document).split())
    assert "**86.0‡** [" in text
    assert "85.0‡ (3/5)" in text
    assert "80.0‡" not in text
    assert [n for n in document.notes if n.startswith("‡")] == [f"‡ BoolQ: LoRA, SSP: {SAID}"]
    assert f"‡ BoolQ: LoRA, SSP: {SAID}" in " ".join(terminal(document, 100).split())


def test_latex_and_csv_have_them_too():
    document = score_table("table1", rows(), collect(rows())[0])
    assert r"86.0$^\ddagger$" in latex(document)
    assert r"\item $^\ddagger$ BoolQ: LoRA, SSP: 12 of 9,427 train" in latex_details(document)
    assert csv_text(document).count("12 of 9,427 train prompts cut; 3 of") == 2


def test_the_summary_and_the_report_have_them_with_the_setting():
    cells, _ = collect(rows())
    document = summary(rows(), cells)
    (note,) = [note for note in document.notes if note.startswith("‡")]
    assert note.startswith("‡ boolq, setting 5e771116: ")
    assert note.endswith(SAID)
    page = html_report(Material(rows(), cells))
    assert "86.0‡" in page
    assert note in page


def test_a_table_of_scores_without_remarks_has_no_notes():
    cells, _ = collect(five("boolq", "lora", [86.0] * 5))
    assert footnotes([("BoolQ", "LoRA", cells[0])]) == []
    assert "‡" not in markdown(summary([], cells)) + html_report(Material([], cells))


def test_unparsed_outputs_are_marked_above_a_share():
    scores = {"metric": "acc", "value": 50.0, "n": 1635, "n_unparsed": 400}
    cells, _ = collect(five("boolq", "lora", [50.0] * 5, scores=scores))
    assert "50.0‡" in markdown(summary([], cells))
    assert "400 of 1,635 outputs unparsed" in markdown(summary([], cells))


def test_older_rows_of_a_run_are_counted_in_the_table_itself():
    newer = five("boolq", "lora", [86.0] * 5)
    older = [
        row.model_copy(
            update={"created": row.created.replace(year=2020), "path": Path(f"{k}.json")}
        )
        for k, row in enumerate(newer[:2])
    ]
    every = [row.model_copy(update={"cell_hash": "abc"}) for row in [*newer, *older]]
    notes = score_table("table1", every, collect(every)[0]).notes
    assert "Left out: 2 older rows of runs of which a newer one is shown." in notes
    assert not [n for n in score_table("table1", newer, collect(newer)[0]).notes if "older" in n]
