"""Rewrites tables of scores as statements: "| Assistant 1 | 8 |" below "| Who | Score |" is "Assistant 1: Score: 8"."""

import re

from iapt.judge.words import ONE, TWO, letters

_RULE = re.compile(r"\s*\+[-=+]{3,}\s*")
_BORDER = re.compile(r"[-:=+ ]*")
_CSV = re.compile(
    r"\s*[a-z]\w*(?:,\s*[a-z]\w*)*,\s*\w*score\w*(?:,\s*[a-z]\w*)*\s*", re.I
)  # a head
_TEN = re.compile(r"\W*(?:/|out of)\s*10\W*", re.I)
_OUT_OF = re.compile(r"\W*(?:/|(?:out )?of)\s*10\W*$")  # of "Final score /10"
_MARKS = " :*#()."
_BARE = {"1": ONE, "2": TWO, "A": ONE, "B": TWO, "A1": ONE, "A2": TWO, "R1": ONE, "R2": TWO}


def rewritten(text: str) -> str:
    """Rewrite each table in a reply; the lines of a table that is not of both assistants become empty."""
    lines, line = text.split("\n"), 0
    if text.count("|") > 1:
        mark = "|"
    elif "\t" in text:
        mark = "\t"
    elif any(map(_CSV.fullmatch, lines)):
        mark = ","
    else:
        return text
    while line < len(lines):
        end = line
        while end < len(lines) and (mark in lines[end].strip() or _RULE.fullmatch(lines[end])):
            end += 1
        if end > line + 1:
            lines[line:end] = _statements(lines[line:end], mark)
        line = max(end, line + 1)
    return "\n".join(lines)


def _statements(rows: list[str], mark: str) -> list[str]:
    cells = [[cell.strip() for cell in row.strip().strip(mark).split(mark)] for row in rows]
    filled = [at for at, row in enumerate(cells) if not all(map(_BORDER.fullmatch, row))]
    width = max(map(len, cells))
    grid = [cells[at] + [""] * (width - len(cells[at])) for at in filled]
    said = _by_row(grid)
    if said is None:
        columns = _by_row([list(column) for column in zip(*grid, strict=True)])
        said = [" ".join(columns)] if columns is not None else []
    new = [""] * len(rows)
    for at, statement in zip(filled, said, strict=False):
        new[at] = statement
    return new


def _by_row(grid: list[list[str]]) -> list[str] | None:
    """Return a statement for each row of an assistant, or None if the rows are not the two assistants."""
    columns = [{cell.strip(_MARKS) for cell in column} for column in zip(*grid, strict=True)]
    keys = [at for at, cells in enumerate(columns) if {ONE, TWO} <= cells]
    if keys:  # below "Rank | Assistant | Score", the rank names nobody
        grid = [[row[keys[0]], *row[: keys[0]], *row[keys[0] + 1 :]] for row in grid]
    who = [_who(row[0]) for row in grid]
    if sorted(filter(None, who)) != [ONE, TWO]:
        return None
    head = grid[0] if not who[0] else [""] * len(grid[0])
    rows = [row for row, name in zip(grid, who, strict=True) if name]
    head = ["score" if _TEN.fullmatch(title) else title for title in head]
    scores = [at for at in range(1, len(head)) if all(_score(row[at]) for row in rows)]
    named = [at for at in scores if re.search("[vfa]", letters(head[at])[0])]
    if not named and (len(scores) != 1 or grid[0][0] in _BARE or rows[0][0] in _BARE):
        return []  # a bare number names an assistant only in a table of scores
    title = {at: _OUT_OF.sub("", head[at]) for at in named} or {scores[0]: "score"}
    return [
        " ".join(f"{name}: {title[at]}: {row[at]};" for at in title)
        for row, name in zip(grid, who, strict=True)
        if name
    ]


def _who(cell: str) -> str:
    own = letters(cell)[0].strip("kvp(),")
    return _BARE.get(cell.strip("# "), "") or {"1": ONE, "2": TWO}.get(own, "")


def _score(cell: str) -> bool:
    """Tell whether a cell gives a score, readable or not."""
    return bool(re.match(r"[vfp]*[tn][^tn]*$", letters(cell)[0]))
