"""A document, and three of its outputs: Markdown, CSV, and a page for the terminal (`latex` is the fourth).

Texts from rows are never trusted: control characters are replaced, and each format's special characters
are escaped.
"""

import csv
import io
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from tabulate import tabulate

from iapt.errors import printable

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


Line = Sequence[Entry | str] | str  # a plain string is a heading within the grid


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
    """Return a text on one line, with unprintable characters replaced."""
    return printable(" ".join(str(text).split()))


def markdown(document: Document) -> str:
    """Render as GitHub Markdown with aligned columns."""
    parts = [f"# {_md(document.title)}", *map(_md, document.intro)]
    for grid in [*document.grids, *document.details]:
        parts += [f"## {_md(grid.title)}"] if grid.title else []
        parts.append(markdown_table(grid))
    if document.notes:
        parts.append("\n".join(f"- {_md(note)}" for note in document.notes))
    if document.commands:
        parts += [MISSING, "```\n" + "\n".join(map(clean, document.commands)) + "\n```"]
    return "\n\n".join(parts) + "\n"


def markdown_table(grid: Grid) -> str:
    """Render one grid as a GitHub Markdown table."""
    laid = texts(grid, _md, _MARKDOWN)
    return tabulate(laid, "firstrow", tablefmt="github", disable_numparse=True)


def terminal(document: Document, width: int) -> str:
    """Render for a terminal, wrapping tables and sentences at its width, but not commands.

    Args:
        document: The document; details that are too wide are only in the files.
        width: Columns of the terminal.
    """
    parts = [_wrapped(text, width) for text in (document.title, *document.intro)]
    for grid in [*document.grids, *document.details]:
        parts += [_wrapped(grid.title, width)] if grid.title else []
        sizes = narrowed(texts(grid, clean, PLAIN), width, whole_words=True)
        if sizes is None and grid in document.details:
            parts.append(_wrapped("(wider than this terminal: see the files)", width))
            continue
        sizes = sizes or narrowed(texts(grid, clean, PLAIN), width, whole_words=False)
        head, *body = texts(grid, clean, _TERMINAL)
        lines = [head, ["-" * size for size in sizes or []], *body]
        parts.append(tabulate(lines, tablefmt="plain", disable_numparse=True, maxcolwidths=sizes))
    if document.notes:
        parts.append("\n".join(_wrapped(f"- {note}", width, "  ") for note in document.notes))
    if document.commands:
        parts += [MISSING, "\n".join(f"  {clean(command)}" for command in document.commands)]
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


Marks = dict[str, str]
_MARKDOWN: Marks = {"": "{}", "best": "**{}**", "second": "<u>{}</u>", "heading": "*{}*"}
PLAIN: Marks = dict.fromkeys(("", "best", "second", "heading"), "{}")
_TERMINAL: Marks = PLAIN | {"best": "\x1b[1m{}\x1b[0m", "second": "\x1b[4m{}\x1b[0m"}


def texts(
    grid: Grid, escape: Callable[[object], str], marks: Marks, bracket: str = "[{}]"
) -> list[list[str]]:
    """Return a grid's escaped and marked texts: its head, then its lines; a heading is in the first column.

    Args:
        grid: The grid.
        escape: Escapes a text for the format.
        marks: Format strings by mark, and one for a `heading`.
        bracket: Format string of the paper's value.
    """

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
    escaped = re.sub(r"&(?=#?\w+;)", "&amp;", clean(text)).replace("<", "&lt;")
    # Markup inside a word, as in p_tuning_v2, and brackets without an address mean nothing.
    return re.sub(r"[\\`*|]|~(?=~)|\](?=[(\[])|(?<!\w)_|_(?!\w)", r"\\\g<0>", escaped)


def _wrapped(text: str, width: int, indent: str = "") -> str:
    return textwrap.fill(clean(text), width, subsequent_indent=indent, break_on_hyphens=False)


def narrowed(lines: Sequence[Sequence[str]], width: int, *, whole_words: bool) -> list[int] | None:
    """Narrow the widest columns until a table fits; None if it cannot fit with whole words."""
    columns = list(zip(*lines, strict=True))
    sizes = [max(map(len, column)) for column in columns]
    longest = [max(len(w) for text in column for w in text.split() or [""]) for column in columns]
    least = longest if whole_words else [1] * len(columns)
    while sum(sizes) + 2 * (len(sizes) - 1) > width:
        room = [size if size > low else 0 for size, low in zip(sizes, least, strict=True)]
        if not any(room):
            return None
        sizes[room.index(max(room))] -= 1
    return sizes


def _csv_value(value: object) -> object:
    if isinstance(value, float):  # a small p or learning rate keeps its digits
        return round(value, 4) if abs(value) >= 1 else float(f"{value:.4g}")
    if not isinstance(value, str):
        return value
    text = clean(value)
    # A spreadsheet evaluates a text that starts like a formula; `clean` has removed leading tabs and returns.
    return f"'{text}" if text.startswith(tuple("=+-@＝＋－＠")) else text
