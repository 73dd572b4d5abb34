"""WikiSQL: small tables about invented places, and questions on them with their structured queries."""

from typing import Any

from scripts.sample_rows.draw import Draw
from scripts.sample_rows.names import BUILDINGS, PLACES, person, year

AGGREGATES = ("", "MAX", "MIN", "COUNT", "SUM", "AVG")
OPERATORS = ("=", ">", "<", "OP")
RESULTS = ("won", "lost", "drawn")
# theme -> columns as (header, type)
THEMES = (
    (("Town", "text"), ("Mayor", "text"), ("Population", "real"), ("Founded", "real")),
    (("Building", "text"), ("Architect", "text"), ("Height (m)", "real"), ("Opened", "real")),
    (("Season", "real"), ("Team", "text"), ("Result", "text"), ("Points", "real")),
    (("Player", "text"), ("Club", "text"), ("Goals", "real"), ("Games", "real")),
)
WORDS = {1: "highest", 2: "lowest", 4: "total", 5: "average"}


def cell(draw: Draw, header: str) -> str:
    """Return a value for the column."""
    if header in ("Town", "Club", "Team"):
        return draw.pick(PLACES)
    if header in ("Mayor", "Architect", "Player"):
        return person(draw)
    if header == "Building":
        return f"{draw.pick(PLACES)} {draw.pick(BUILDINGS)}"
    if header == "Result":
        return draw.pick(RESULTS)
    if header in ("Founded", "Opened", "Season"):
        return str(year(draw))
    return str(draw.between(5, 99) * (100 if header == "Population" else 1))


def table(draw: Draw, number: int) -> dict[str, Any]:
    """Return a table of four columns and four to six rows."""
    columns = draw.pick(THEMES)
    rows = [[cell(draw, header) for header, _ in columns] for _ in range(draw.between(4, 6))]
    return {
        "header": [header for header, _ in columns],
        "page_title": "",
        "page_id": "",
        "types": [kind for _, kind in columns],
        "id": f"1-{number}-1",
        "section_title": "",
        "caption": "",
        "rows": rows,
        "name": "",
    }


def query(draw: Draw, data: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return a question and its structured query; the condition is taken from a row."""
    header, types, rows = data["header"], data["types"], data["rows"]
    where, column = draw.some(range(4), 2)
    value = draw.pick(rows)[where]
    operator = draw.pick((0, 0, 1, 2)) if types[where] == "real" else 0
    aggregate = draw.pick((0, 0, 1, 2, 4, 5)) if types[column] == "real" else draw.pick((0, 0, 3))
    told = ("is", "is more than", "is less than")[operator]
    condition = f"the {header[where].lower()} {told} {value}"
    if aggregate == 3:
        question = f"How many entries for {header[column].lower()} are there where {condition}?"
    elif aggregate:
        question = f"What is the {WORDS[aggregate]} {header[column].lower()} where {condition}?"
    else:
        question = f"What is the {header[column].lower()} where {condition}?"
    name = f"{AGGREGATES[aggregate]} {header[column]}".strip()
    readable = f"SELECT {name} FROM table WHERE {header[where]} {OPERATORS[operator]} {value}"
    conditions = {"column_index": [where], "operator_index": [operator], "condition": [value]}
    return question, {
        "human_readable": readable,
        "sel": column,
        "agg": aggregate,
        "conds": conditions,
    }


def rows(draw: Draw, n: int, first: int) -> list[dict[str, Any]]:
    """Return n rows, two on each table; tables are numbered from the first number on."""
    made: list[dict[str, Any]] = []
    data: dict[str, Any] = {}
    for i in range(n):
        if i % 2 == 0:
            data = table(draw, first + i)
        question, sql = query(draw, data)
        while made and made[-1]["question"] == question:
            question, sql = query(draw, data)
        made.append({"phase": 1, "question": question, "table": data, "sql": sql})
    return made


def build() -> dict[str, list[dict[str, Any]]]:
    """Return 300 training, 60 validation and 60 test rows, no table in two of them."""
    draw = Draw("wikisql")
    sizes = {"train": (300, 1000), "validation": (60, 2000), "test": (60, 3000)}
    return {split: rows(draw, n, first) for split, (n, first) in sizes.items()}
