import csv
import io

import pytest

from iapt.reporting.render import Document, Entry, Grid, csv_text, latex, latex_escape, markdown


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
    ("text", "escaped"),
    [
        ("100 % & more_#1", r"100 \% \& more\_\#1"),
        (r"a\b", r"a\textbackslash{}b"),
        ("{$x^2$}", r"\{\$x\textasciicircum{}2\$\}"),
        ("~<>|", r"\textasciitilde{}\textless{}\textgreater{}\textbar{}"),
        ('"–', "''--"),
    ],
)
def test_latex_escapes_what_latex_would_read(text: str, escaped: str) -> None:
    assert latex_escape(text) == escaped


def test_latex_is_balanced_and_marks_entries() -> None:
    text = latex(document("87.9", "[0.5ex]"))
    assert r"\textbf{87.9} {\scriptsize [\underline{87.5}]} \\" in text
    assert text.count(r"\begin{") == text.count(r"\end{")
    assert "\n{}[0.5ex] &" in text  # not an argument of the line break before it
    assert text.count(r"\label{tab:table1}") == 1


def test_csv_quotes_and_defuses_formulas() -> None:
    records = list(csv.DictReader(io.StringIO(csv_text(document("=1+1", 'a,"b"\nc')))))
    assert [record["label"] for record in records] == ["'=1+1", 'a,"b" c']
    assert records[0]["value"] == "-1.2346"
    assert records[0]["none"] == ""
