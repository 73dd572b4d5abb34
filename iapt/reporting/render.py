"""One document, three outputs: Markdown for people, LaTeX for papers, CSV for programs.

Texts that come from rows are never trusted: control characters are replaced and each output's own
special characters escaped.
"""

import csv
import io
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

DASH = "\N{EN DASH}"
Mark = Literal["", "best", "second"]


@dataclass(frozen=True)
class Entry:
    """One entry of a grid.

    Attributes:
        text: Ours, or a dash.
        mark: Bold for the best of a column, underlined for the second best.
        paper: What the paper prints there, shown in brackets; empty for nothing.
        paper_mark: The same marks among the paper's values.
    """

    text: str
    mark: Mark = ""
    paper: str = ""
    paper_mark: Mark = ""


@dataclass(frozen=True)
class Grid:
    """A table: column heads and lines; a line that is a text is a section heading."""

    head: Sequence[str]
    lines: Sequence[Sequence[Entry | str] | str]
    title: str = ""


@dataclass
class Document:
    """What a command prints and writes.

    Attributes:
        name: Stem of the files, e.g. ``table1``.
        records: One flat mapping per entry, with equal keys: the CSV.
        commands: Shell lines that fill what is missing.
    """

    name: str
    title: str
    intro: list[str] = field(default_factory=list)
    grids: list[Grid] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    records: list[Mapping[str, object]] = field(default_factory=list)


def clean(text: object) -> str:
    """Return a text on one line without control, format or surrogate characters (shown as U+FFFD).

    This keeps terminal escapes and right-to-left overrides of a model's output out of a table.
    """
    kept = [
        "�" if unicodedata.category(c) in {"Cc", "Cf", "Cs"} else c
        for c in " ".join(str(text).split())
    ]
    return "".join(kept)


def markdown(document: Document) -> str:
    """Render as GitHub Markdown with aligned columns, readable on a terminal too."""
    parts = [f"# {_md(document.title)}", *map(_md, document.intro)]
    for grid in document.grids:
        if grid.title:
            parts.append(f"## {_md(grid.title)}")
        parts.append(_markdown_grid(grid))
    if document.notes:
        parts.append("\n".join(f"- {_md(note)}" for note in document.notes))
    if document.commands:
        parts.append("Missing runs are made by:")
        parts.append("```\n" + "\n".join(map(clean, document.commands)) + "\n```")
    return "\n\n".join(parts) + "\n"


def latex(document: Document) -> str:
    """Render each grid as a ``table`` environment that needs no package."""
    parts = [f"% {clean(document.title)}"]
    for number, grid in enumerate(document.grids):
        width = len(grid.head)
        lines = [
            r"\begin{table}[t]",
            r"\centering",
            r"\small",
            rf"\begin{{tabular}}{{l{'c' * (width - 1)}}}",
            r"\hline",
            " & ".join(map(latex_escape, grid.head)) + r" \\",
            r"\hline",
        ]
        for line in grid.lines:
            if isinstance(line, str):
                lines.append(
                    rf"\hline \multicolumn{{{width}}}{{c}}{{\textit{{{latex_escape(line)}}}}} \\"
                )
            else:
                first = _latex_entry(line[0])
                # After a line break LaTeX would take a bracket or a star as an argument.
                guard = "{}" if first.startswith(("[", "*")) else ""
                lines.append(guard + " & ".join(map(_latex_entry, line)) + r" \\")
        notes = document.notes if number == 0 else []
        caption = " ".join([grid.title or document.title, *(document.intro if number == 0 else [])])
        lines += [
            r"\hline",
            r"\end{tabular}",
            rf"\caption{{{latex_escape(caption)}}}",
            rf"\label{{tab:{_label(document.name)}{'-' + str(number + 1) if number else ''}}}",
            *(rf"\par\footnotesize {latex_escape(note)}" for note in notes),
            r"\end{table}",
        ]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def csv_text(document: Document) -> str:
    """Render the records as CSV with one header line."""
    file = io.StringIO()
    if document.records:
        writer = csv.DictWriter(file, list(document.records[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(
            {key: _csv_value(value) for key, value in record.items()} for record in document.records
        )
    return file.getvalue()


_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    DASH: "--",
    "\N{EM DASH}": "---",
    "\N{MINUS SIGN}": "$-$",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "±": r"$\pm$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "†": r"$^\dagger$",
}


def latex_escape(text: object) -> str:
    """Escape every character that LaTeX reads as more than itself."""
    return "".join(_LATEX.get(letter, letter) for letter in clean(text))


def _label(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name)


def _md(text: object) -> str:
    escaped = clean(text)
    for letter in "\\`*|":
        escaped = escaped.replace(letter, "\\" + letter)
    return escaped.replace("<", "&lt;")


def _markdown_entry(entry: Entry | str) -> str:
    if isinstance(entry, str):
        return _md(entry)
    text = _markdown_mark(entry.text, entry.mark)
    return f"{text} [{_markdown_mark(entry.paper, entry.paper_mark)}]" if entry.paper else text


def _markdown_mark(text: str, mark: Mark) -> str:
    plain = _md(text)
    return {"": plain, "best": f"**{plain}**", "second": f"<u>{plain}</u>"}[mark]


def _latex_entry(entry: Entry | str) -> str:
    if isinstance(entry, str):
        return latex_escape(entry)
    text = _latex_mark(entry.text, entry.mark)
    if not entry.paper:
        return text
    return rf"{text} {{\scriptsize [{_latex_mark(entry.paper, entry.paper_mark)}]}}"


def _latex_mark(text: str, mark: Mark) -> str:
    plain = latex_escape(text)
    return {"": plain, "best": rf"\textbf{{{plain}}}", "second": rf"\underline{{{plain}}}"}[mark]


def _markdown_grid(grid: Grid) -> str:
    width = len(grid.head)
    body = [
        [f"*{_md(line)}*", *[""] * (width - 1)]
        if isinstance(line, str)
        else [_markdown_entry(entry) for entry in line]
        for line in grid.lines
    ]
    table = [[_md(text) for text in grid.head], *body]
    sizes = [max(3, *(len(line[column]) for line in table)) for column in range(width)]
    rule = "| " + " | ".join("-" * size for size in sizes) + " |"
    lines = [
        "| " + " | ".join(text.ljust(size) for text, size in zip(line, sizes, strict=True)) + " |"
        for line in table
    ]
    return "\n".join([lines[0], rule, *lines[1:]])


def _csv_value(value: object) -> object:
    if isinstance(value, float):
        return round(value, 4)
    if not isinstance(value, str):
        return value
    text = clean(value)
    # A spreadsheet would run a text that starts like a formula.
    return f"'{text}" if text[:1] in {"=", "+", "-", "@"} else text
