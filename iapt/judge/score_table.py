"""Parses a Markdown table of scores with one assistant per row or per column."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from iapt.judge.words import letters

_FINAL, _SCORE = (
    re.compile(r"\b(?:overall|final|total|average|mean)\b", re.I),
    re.compile(r"\b(?:score|rating)\b", re.I),
)


@dataclass(frozen=True)
class Table:
    """The two scores of a table, or None if it has several columns and none is called the score."""

    scores: tuple[float | None, float | None] | None
    final: bool = False


def read_table(rows: Sequence[str]) -> Table | None:
    """Parse the rows of a table in which `words.plain` has replaced the assistants' names.

    Returns:
        None if the two assistants are neither the rows nor the columns.
    """
    cells = [[cell.strip() for cell in row.strip().strip("|").split("|")] for row in rows]
    cells = [row for row in cells if not all(re.fullmatch(r"[-: ]*", cell) for cell in row)]
    width = max((len(row) for row in cells), default=0)
    by_row = [row + [""] * (width - len(row)) for row in cells]
    return _read(by_row) or _read([list(column) for column in zip(*by_row, strict=True)])


def _read(rows: list[list[str]]) -> Table | None:
    """Parse a table with one assistant per row, below a header row if there is one."""
    named = {who: row for row in rows if (who := _who(row[0]))}
    if set(named) != {"1", "2"} or len([row for row in rows if _who(row[0])]) != 2:
        return None
    head = rows[0] if not _who(rows[0][0]) else [""] * len(rows[0])
    scores = {
        at: (*one, *two)
        for at in range(1, len(head))
        if (one := _score(named["1"][at])) and (two := _score(named["2"][at]))
    }
    final = [at for at in scores if _FINAL.search(head[at])]
    called = final or [at for at in scores if _SCORE.search(head[at])]
    plain = named["1"][0] in (
        "1",
        "A",
    )  # a bare number names an assistant only in a table of scores
    if plain and not called:
        return None
    chosen = called or list(scores)
    return Table(scores[chosen[0]] if len(chosen) == 1 else None, bool(final))


def _who(cell: str) -> str:
    bare = {"1": "1", "2": "2", "A": "1", "B": "2"}.get(cell.strip("# "), "")
    own = letters(cell)[0].strip("kvp()")
    return bare or (own if own in ("1", "2") else "")


def _score(cell: str) -> tuple[float | None] | None:
    """Return the value of a cell that gives a score, readable or not, as a tuple of one."""
    text, values = letters(cell)
    match = re.match(r"[vfp]*([tbn])(?:[^tbn]*)$", text)
    return (values[match.start(1)],) if match else None
