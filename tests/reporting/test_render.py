import csv
import io
import re

import pytest

from iapt.reporting.render import (
    Document,
    Entry,
    Grid,
    csv_text,
    markdown,
    terminal,
)


def document(*texts: str) -> Document:
    lines: list[list[Entry | str] | str] = [
        [text, Entry(text, "best", "87.5", "second")] for text in texts
    ]
    return Document(
        "table1",
        "A title",
        grids=[Grid(("Method", "BoolQ"), ["Baselines", *lines])],
        notes=["a note"],
        commands=["iapt-sweep task=boolq"],
        records=[{"label": text, "value": -1.23456, "none": None} for text in texts],
    )


def test_markdown_marks_best_and_second_and_aligns_columns() -> None:
    text = markdown(document("87.9"))
    assert "| 87.9        | **87.9** [<u>87.5</u>] |" in text
    assert "| *Baselines* |" in text
    widths = {len(line) for line in text.splitlines() if line.startswith("|")}
    assert len(widths) == 1
    assert "```\niapt-sweep task=boolq\n```" in text


def test_markdown_cannot_be_broken_by_a_name() -> None:
    text = markdown(document("a|b\n# c <b>*x*` \x1b[31m\u202e"))
    line = next(line for line in text.splitlines() if line.startswith("| a"))
    assert r"a\|b # c &lt;b>\*x\*\` " in line
    assert "\x1b" not in text
    assert "\u202e" not in text


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("![x](http://y/z.png)", r"![x\](http://y/z.png)"),
        ("[x][y]", r"[x\][y]"),
        ("_x_ and ~~y~~", r"\_x\_ and \~~y\~~"),
        ("&lt;b&gt; R&D", "&amp;lt;b&amp;gt; R&D"),
        ("p_tuning_v2 [86.7]", "p_tuning_v2 [86.7]"),
    ],
)
def test_markdown_of_a_row_stays_text(text: str, written: str) -> None:
    assert f"| {written} " in markdown(document(text))


@pytest.mark.parametrize("width", [60, 80, 120])
def test_on_a_terminal_every_line_but_the_commands_fits(width: int) -> None:
    grid = Grid([f"column {n}" for n in range(6)], [[Entry("some words " * 4, "best")] * 6])
    shown = Document("t", "A title " * 20, ["Words " * 40], [grid], notes=["note " * 50])
    text = terminal(shown, width)
    visible = re.sub(r"\x1b\[\d+m", "", text)
    assert max(map(len, visible.splitlines())) <= width
    assert visible.count("some") == 24
    assert "\x1b[1m" in text


def test_words_stay_whole_on_a_terminal_and_details_that_do_not_fit_are_left_to_the_files() -> None:
    wide = Grid([f"measurement {n}" for n in range(9)], [["value"] * 9], "Behind it")
    shown = Document(
        "t", "T", [], [Grid(["a name", "b"], [["parallel_adapter", "x y " * 40]])], [wide]
    )
    text = terminal(shown, 60)
    assert "parallel_adapter" in text
    assert "Behind it" in text
    assert "measurement 1" not in " ".join(text.split())
    assert "see the files" in text
    assert "measurement" in terminal(shown, 200)


def test_no_escape_of_a_row_reaches_the_terminal() -> None:
    text = terminal(document("\x1b]0;title\x07 \u202egnp"), 80)
    assert not {"\x07", "\u202e"} & set(text)
    assert set(re.findall(r"\x1b...", text)) == {"\x1b[1m", "\x1b[4m", "\x1b[0m"}


def test_csv_quotes_what_csv_would_read() -> None:
    records = list(csv.DictReader(io.StringIO(csv_text(document("=1+1", 'a,"b"\nc')))))
    assert [record["label"] for record in records] == ["'=1+1", 'a,"b" c']
    assert records[0]["value"] == "-1.2346"
    assert records[0]["none"] == ""


@pytest.mark.parametrize(
    "start", ["=", "+", "-", "@", "\t=", "\r=", "\t+", "\r@", "\n-", " =", "＝"]
)
def test_csv_defuses_every_start_of_a_formula(start: str) -> None:
    (record,) = csv.DictReader(io.StringIO(csv_text(document(f"{start}cmd|'/c calc'!A1"))))
    assert record["label"].startswith("'")


def test_csv_rounds_scores_and_keeps_the_digits_of_small_numbers() -> None:
    values = {"score": 79.33333333, "rate": 2e-5, "p": 6.12345e-11, "zero": 0.0}
    (record,) = csv.DictReader(io.StringIO(csv_text(Document("t", "T", records=[values]))))
    assert record == {"score": "79.3333", "rate": "2e-05", "p": "6.123e-11", "zero": "0.0"}


def test_csv_leaves_other_texts_as_they_are() -> None:
    (record,) = csv.DictReader(io.StringIO(csv_text(document("a=1, b-2"))))
    assert record["label"] == "a=1, b-2"
