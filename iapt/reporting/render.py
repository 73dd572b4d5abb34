"""One document, four outputs: Markdown, LaTeX, CSV, and a page for the terminal.

Texts from rows are never trusted: control characters are replaced, and each format's special characters
are escaped.
"""

import csv
import io
import re
import textwrap
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from tabulate import tabulate

DASH = "\N{EN DASH}"
Mark = Literal["", "best", "second"]
MISSING = "These commands run what is missing:"


@dataclass(frozen=True)
class Entry:
    """One entry of a grid.

    Attributes:
        text: Our value, or a dash.
        mark: Bold for the best of a column, underlined for the second best.
        paper: The paper's value, shown in brackets; empty for none.
        paper_mark: The same marks among the paper's values.
    """

    text: str
    mark: Mark = ""
    paper: str = ""
    paper_mark: Mark = ""


Line = Sequence[Entry | str] | str  # a text is a heading within the grid


@dataclass(frozen=True)
class Grid:
    """A table: column heads and lines."""

    head: Sequence[str]
    lines: Sequence[Line]
    title: str = ""


@dataclass
class Document:
    """The content that a command prints and writes.

    Attributes:
        name: Stem of the file names, e.g. ``table1``.
        grids: The tables themselves.
        details: Longer supporting tables, in a separate LaTeX file.
        records: One flat mapping per entry, all with the same keys, for the CSV.
        commands: Shell commands that run what is missing.
    """

    name: str
    title: str
    intro: list[str] = field(default_factory=list)
    grids: list[Grid] = field(default_factory=list)
    details: list[Grid] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    records: list[Mapping[str, object]] = field(default_factory=list)


def clean(text: object) -> str:
    """Return a text on one line without control, format or surrogate characters (shown as U+FFFD).

    This keeps terminal escapes and right-to-left overrides in a model's output out of a table.
    """
    return "".join(
        "\ufffd" if unicodedata.category(letter) in {"Cc", "Cf", "Cs"} else letter
        for letter in " ".join(str(text).split())
    )


def markdown(document: Document) -> str:
    """Render as GitHub Markdown with aligned columns."""
    parts = [f"# {_md(document.title)}", *map(_md, document.intro)]
    for grid in [*document.grids, *document.details]:
        parts += [f"## {_md(grid.title)}"] if grid.title else []
        texts = _texts(grid, _md, _MARKDOWN)
        parts.append(tabulate(texts, "firstrow", tablefmt="github", disable_numparse=True))
    if document.notes:
        parts.append("\n".join(f"- {_md(note)}" for note in document.notes))
    if document.commands:
        parts += [MISSING, "```\n" + "\n".join(map(clean, document.commands)) + "\n```"]
    return "\n\n".join(parts) + "\n"


def terminal(document: Document, width: int) -> str:
    """Render for a terminal: wraps tables and sentences at its width, but not commands.

    Args:
        document: The document; details that do not fit are only in the files.
        width: Columns of the terminal.
    """
    parts = [_wrapped(text, width) for text in (document.title, *document.intro)]
    for grid in [*document.grids, *document.details]:
        parts += [_wrapped(grid.title, width)] if grid.title else []
        sizes = _sizes(_texts(grid, clean, _PLAIN), width, whole_words=True)
        if sizes is None and grid in document.details:
            parts.append(_wrapped("(wider than this terminal: see the files)", width))
            continue
        sizes = sizes or _sizes(_texts(grid, clean, _PLAIN), width, whole_words=False)
        head, *body = _texts(grid, clean, _TERMINAL)
        lines = [head, ["-" * size for size in sizes or []], *body]
        parts.append(tabulate(lines, tablefmt="plain", disable_numparse=True, maxcolwidths=sizes))
    if document.notes:
        parts.append("\n".join(_wrapped(f"- {note}", width, "  ") for note in document.notes))
    if document.commands:
        parts += [MISSING, "\n".join(f"  {clean(command)}" for command in document.commands)]
    return "\n\n".join(parts) + "\n"


def latex(document: Document) -> str:
    """Render the document's own grids as two-column floats without the details."""
    title = re.sub(r"^(Table|Figure) \d+: ", "", document.title)  # LaTeX numbers tables itself
    parts = [_preamble(document)]
    for number, grid in enumerate(document.grids):
        caption = " ".join([f"{grid.title or title}.", *(document.intro if number == 0 else [])])
        label = _label(document.name, number)
        parts.append(_FLOAT % (_tabular(grid), latex_escape(caption), label))
    return "\n".join(parts)


def latex_details(document: Document) -> str:
    """Render the details as tables that can break across pages, with all notes; empty without details."""
    parts = []
    for number, grid in enumerate(document.details):
        table = _tabular(grid).replace("tabular", "longtable")
        begin, _, rest = table.replace(r"\midrule", r"\midrule \endhead", 1).partition("\n")
        caption = latex_escape(grid.title or document.title)
        label = _label(f"{document.name}-details", number)
        parts.append(_LONG % (begin, caption, label, rest))
    notes = "\n".join(rf"\item {latex_escape(note)}" for note in document.notes)
    parts += [f"\\begin{{itemize}}\n{notes}\n\\end{{itemize}}\n"] if notes else []
    return "\n".join([_preamble(document), *parts]) if document.details else ""


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


_Marks = dict[str, str]
_MARKDOWN: _Marks = {"": "{}", "best": "**{}**", "second": "<u>{}</u>", "heading": "*{}*"}
_PLAIN: _Marks = dict.fromkeys(("", "best", "second", "heading"), "{}")
_TERMINAL: _Marks = _PLAIN | {"best": "\x1b[1m{}\x1b[0m", "second": "\x1b[4m{}\x1b[0m"}
_TEX: _Marks = {
    **{"": "{}", "best": r"\textbf{{{}}}", "second": r"\underline{{{}}}"},
    "heading": r"\textit{{{}}}",
}
_FLOAT = r"""
\begin{table*}[t]
\centering\small
\begin{adjustbox}{max width=\textwidth}
%s
\end{adjustbox}
\caption{%s}
\label{%s}
\end{table*}
"""
_LONG = r"""
{\scriptsize\setlength{\tabcolsep}{3pt}
%s
\caption{%s}
\label{%s} \\
%s}
"""
# After a line break or an item, a bracket or a star would be read as its argument.
_LATEX = {
    **{letter: f"\\{letter}" for letter in "{}$&#%_"},
    **{letter: f"{{{letter}}}" for letter in "[*"},
    **{"\\": r"\textbackslash{}", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': "''"},
    **{DASH: "--", "\N{EM DASH}": "---", "\N{MINUS SIGN}": "$-$", "†": r"$^\dagger$"},
    **{"\N{MULTIPLICATION SIGN}": r"$\times$", "±": r"$\pm$", "≥": r"$\geq$", "≤": r"$\leq$"},
    **{"²": "$^2$", "³": "$^3$"},
}


def latex_escape(text: object) -> str:
    """Escape every character that is special in LaTeX."""
    return "".join(_LATEX.get(letter, letter) for letter in clean(text))


def _texts(
    grid: Grid, escape: Callable[[object], str], marks: _Marks, bracket: str = "[{}]"
) -> list[list[str]]:
    """Return a grid's escaped and marked texts: its head, then its lines; a heading is in the first column."""

    def formatted(entry: Entry | str) -> str:
        if isinstance(entry, str):
            return escape(entry)
        text = marks[entry.mark].format(escape(entry.text))
        paper = marks[entry.paper_mark].format(escape(entry.paper))
        return f"{text} {bracket.format(paper)}" if entry.paper else text

    body = [
        [marks["heading"].format(escape(line)), *[""] * (len(grid.head) - 1)]
        if isinstance(line, str)
        else list(map(formatted, line))
        for line in grid.lines
    ]
    return [[escape(text) for text in grid.head], *body]


def _md(text: object) -> str:
    escaped = clean(text)
    for letter in "\\`*|":
        escaped = escaped.replace(letter, "\\" + letter)
    return escaped.replace("<", "&lt;")


def _wrapped(text: str, width: int, indent: str = "") -> str:
    return textwrap.fill(clean(text), width, subsequent_indent=indent, break_on_hyphens=False)


def _sizes(texts: Sequence[Sequence[str]], width: int, *, whole_words: bool) -> list[int] | None:
    """Narrow the widest columns until a table fits; None if it cannot fit with whole words."""
    columns = list(zip(*texts, strict=True))
    sizes = [max(map(len, column)) for column in columns]
    longest = [max(len(w) for text in column for w in text.split() or [""]) for column in columns]
    least = longest if whole_words else [1] * len(columns)
    while sum(sizes) + 2 * (len(sizes) - 1) > width:
        room = [size if size > low else 0 for size, low in zip(sizes, least, strict=True)]
        if not any(room):
            return None
        sizes[room.index(max(room))] -= 1
    return sizes


def _preamble(document: Document) -> str:
    return f"% {clean(document.title)}\n% Needs \\usepackage{{adjustbox,booktabs,longtable}}"


def _label(name: str, number: int) -> str:
    plain = "".join(letter if letter.isalnum() else "-" for letter in name)
    return f"tab:{plain}{f'-{number + 1}' if number else ''}"


def _tabular(grid: Grid) -> str:
    texts = _texts(grid, latex_escape, _TEX, r"{{\scriptsize [{}]}}")
    align = ["left", *["center"] * (len(grid.head) - 1)]
    text = tabulate(texts, "firstrow", tablefmt="latex_raw", disable_numparse=True, colalign=align)
    for rule in (r"\toprule", r"\midrule", r"\bottomrule"):
        text = text.replace(r"\hline", rule, 1)
    return text


def _csv_value(value: object) -> object:
    if isinstance(value, float):
        return round(value, 4)
    if not isinstance(value, str):
        return value
    text = clean(value)
    # A spreadsheet evaluates a text that starts like a formula; `clean` has removed leading tabs and returns.
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text
