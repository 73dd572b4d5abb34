import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from iapt.reporting import paired, rates, summary, tables, verdicts
from iapt.reporting.choose import Scope
from iapt.reporting.latex import PACKAGES, TALL, latex, latex_details, latex_escape
from iapt.reporting.render import Document, Entry, Grid
from iapt.reporting.scale import settle
from iapt.results.cells import collect
from tests.results.example_rows import a_row, five

HOSTILE = r"\input{/etc/passwd} %$#&_^~<>|\"[*] -- ³ 漢 \end{tabular}"


def document(*texts: str) -> Document:
    lines: list[list[Entry | str] | str] = [
        [text, Entry(text, "best", "87.5", "second")] for text in texts
    ]
    grid = Grid(("Method", "BoolQ"), ["Baselines", *lines])
    return Document("table1", "A title", grids=[grid], notes=["a note"])


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("100 % & more_#1", r"100 \% \& more\_\#1"),
        (r"a\b", r"a\textbackslash{}b"),
        ("{$x^2$}", r"\{\$x\textasciicircum{}2\$\}"),
        ("~<>|", r"\textasciitilde{}\textless{}\textgreater{}\textbar{}"),
        ('"–', "''--"),
        ("(IA)³", "(IA)$^3$"),
        ("sst2--lora", "sst2-{}-lora"),
        ("漢", "?"),
    ],
)
def test_latex_escapes_what_latex_would_read(text: str, escaped: str) -> None:
    assert latex_escape(text) == escaped


def test_latex_is_balanced_and_marks_entries() -> None:
    text = latex(document("87.9", "[0.5ex]"))
    assert r"\textbf{87.9} {\scriptsize [\underline{87.5}]} \\" in re.sub(" +", " ", text)
    assert text.count(r"\begin{") == text.count(r"\end{")
    assert "\n {[}0.5ex] " in text  # not an argument of the line break before it
    assert text.count(r"\label{tab:table1}") == 1
    assert r"\begin{table*}" in text
    assert [text.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [1, 1, 1]


def test_a_caption_says_neither_its_number_nor_its_title_twice() -> None:
    table = Document("table1", "Table 1: a title", ["Bold."], [Grid(("a",), [["x"]])])
    assert r"\caption{A title. Bold.}" in latex(table)
    summary = Document("s", "Summary", [], [Grid(("a",), [["x"]], "one"), Grid(("a",), [], "two")])
    assert re.findall(r"caption{(.*)}", latex(summary)) == ["one.", "two."]


def test_a_caption_explains_the_dagger() -> None:
    caption = re.findall(r"\\caption{(.*)}", latex(tables.score_table("table1", [], [])))[0]
    assert r"$^\dagger$: this value cannot be an accuracy" in caption


def test_details_have_a_latex_file_of_their_own_that_may_break_over_pages() -> None:
    table = document("87.9")
    assert latex_details(table) == ""
    table.details.append(Grid(("Task", "IQM"), [["[a", "87.91"]], "More about the medians"))
    assert "87.91" not in latex(table)
    text = latex_details(table)
    assert text.count(r"\begin{") == text.count(r"\end{")
    assert r"\begin{longtable}" in text
    assert re.search(r"\n *{\[}a +& 87.91", text)
    assert r"\item a note" in text


def test_a_grid_that_would_leave_the_page_breaks_over_pages_and_long_texts_are_paragraphs() -> None:
    tall = Document("t", "T", grids=[Grid(("a", "b"), [["x", "y"]] * (TALL + 1))])
    assert r"\begin{longtable}{ll}" in latex(tall)
    wide = Document("t", "T", grids=[Grid(("a", "b"), [["x", "some words " * 20]])])
    assert re.search(
        r"\\begin{longtable}{l>{\\raggedright\\arraybackslash}p{[\d.]+em}}", latex(wide)
    )


def test_a_grid_too_wide_for_a_long_table_is_cut_into_floats_that_have_each_line_once() -> None:
    lines = [[f"line {n} of the grid", *["9"] * 12] for n in range(2 * TALL + 3)]
    wide = Grid(["twenty-letters-a-head"] * 13, lines)
    text = latex(Document("t", "T", grids=[wide]))
    assert text.count(r"\begin{table*}") == 3
    assert re.findall(r"line (\d+) of", text) == [str(n) for n in range(len(lines))]


def test_no_two_tables_of_a_document_have_the_same_label() -> None:
    tall = Grid(["twenty-letters-a-head"] * 13, [["9"] * 13] * (TALL + 1))
    grids = [Grid(("a",), [["x"]]), tall, Grid(("a",), [["x"]] * (TALL + 1))]
    shown = Document("s", "Summary", grids=grids, details=grids)
    labels = re.findall(r"label{(.*?)}", latex(shown) + latex_details(shown))
    assert len(labels) == 8
    assert len(set(labels)) == 8
    assert labels[0] == "tab:s"


def documents() -> Iterator[Document]:
    """Every kind of document, with rows of the paper's setting and of a small one, and hostile names."""
    small = {"backbone": "smollm2_135m", "hparams": "tuned", "data": "folder:data"}
    rows = five("boolq", "lora", [86.0] * 5) + five("e2e", "iapt", [70.0] * 4)
    rows += five("boolq", HOSTILE, [80.0] * 5, run_id="a__--b")
    rows += five("sst2", "lora", [81.0] * 5, variant=HOSTILE, run_id="a", **small)
    rates_of = [{"hparams": {"lr": rate}} for rate in (0.001, 0.002)]
    rows += [a_row("sst2", "ia3", config=config, **small) for config in rates_of]
    cells, messages = collect(rows)
    for scope in (Scope(), settle(Scope.called("small"), cells)):
        for name in ("table1", "table2", "table3", "table5", "table7", "figure2", "figure3"):
            yield tables.score_table(name, rows, cells, scope)
        yield verdicts.claims_document(cells, scope)
    yield tables.score_table("table8", rows, cells)
    yield summary.summary(rows, cells, [*messages, HOSTILE])
    yield rates.rates_document(cells)
    yield paired.paired_document(cells)
    yield Document("a", HOSTILE, [HOSTILE], [Grid([HOSTILE] * 3, [HOSTILE, [HOSTILE] * 3])])
    yield Document("b", "B", details=[Grid(["twenty letters, about"] * 13, [["9"] * 13] * 99)])


def missing() -> str:
    """What TeX lacks to compile the tables."""
    if not shutil.which("pdflatex"):
        return "pdflatex"
    for package in PACKAGES.split(","):
        if subprocess.run(["kpsewhich", f"{package}.sty"], capture_output=True).returncode:
            return f"{package}.sty"
    return ""


@pytest.mark.skipif(bool(missing()), reason=f"no {missing()} to compile the LaTeX tables with")
def test_every_table_compiles_and_stays_on_the_page(tmp_path: Path) -> None:
    floats: list[str] = []
    long: list[str] = []
    for number, shown in enumerate(documents()):
        for kind, text in enumerate((latex(shown), latex_details(shown))):
            if text:
                (tmp_path / f"t{number}-{kind}.tex").write_text(text)
                found = long if r"\begin{longtable}" in text else floats
                found.append(rf"\input{{t{number}-{kind}}}\clearpage")
    assert len(floats) > 12
    assert len(long) > 4
    (tmp_path / "paper.tex").write_text(
        "\n".join(
            [
                r"\documentclass[10pt,twocolumn,a4paper]{article}",
                rf"\usepackage[utf8]{{inputenc}}\usepackage[T1]{{fontenc}}\usepackage{{{PACKAGES}}}",
                r"\begin{document}",
                *floats,
                r"\onecolumn",
                *long,
                r"\end{document}",
            ]
        )
    )
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "paper"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        errors="replace",
    )
    log = (tmp_path / "paper.log").read_text(errors="replace")
    assert done.returncode == 0, re.findall(r"^!.*\n.*\n.*", log, re.MULTILINE)
    assert "/etc/passwd" not in re.sub(r"\\\w+", "", done.stdout)
    assert re.findall(r"Overfull .hbox.*|Float too large.*", log) == []
