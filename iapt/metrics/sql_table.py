"""One WikiSQL table: its column names, its typed values, and the SQLite sandbox around it.

This follows the official evaluation (salesforce/WikiSQL, `lib/dbengine.py`): columns `col0`,
`col1`, ... of type text or real; text cells and text conditions in lower case; a condition on a
real column becomes a number: the text read as a decimal, or else the first number in it.

The sandbox: a fresh in-memory database per table, closed afterwards. An authorizer, set after the
rows are in, lets a statement read this table and call a few functions, and nothing
else: no other table, no write, no ATTACH, no PRAGMA, no extension. A progress handler ends a
statement after `MOST_INSTRUCTIONS` of SQLite's virtual machine, so that a verdict does not depend on
how busy the computer is; no more rows are fetched than the table has. Values are passed as bound
parameters. Not covered: an enormous table (it comes from the data set, not from the model), and
memory, which is bounded only through the table's size and the length limit on the query.
"""

import itertools
import math
import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal, InvalidOperation
from typing import Any, Literal, TypeAlias

from iapt.errors import MetricError

Value: TypeAlias = str | int | float | None
ColumnType: TypeAlias = Literal["text", "real"]

TABLE_NAME = "table"  # what all queries of the data set call it
MOST_INSTRUCTIONS = 20_000_000  # a few tenths of a second; a query needs a few for each row
_INSTRUCTIONS_PER_CHECK = 1000
STORE = "store"  # the rows, in col0, col1, ...
RESULT = "result"  # the name of a query's column
_FUNCTIONS = frozenset(
    {"max", "min", "count", "sum", "avg", "lower", "upper", "trim", "length", "abs", "round"}
    | {"coalesce", "ifnull", "like", "glob"}
)
_FIRST_NUMBER = re.compile(r"[-+]?\d*\.\d+|\d+")


def column_names(table: Mapping[str, Any]) -> list[str]:
    """Return one usable name per column: the header, made non-empty and unique.

    White space is collapsed; an empty header becomes `column 3` (counted from 1); a repeated name,
    ignoring case, gets ` (2)`, ` (3)`, ... Queries must use these names, and prompts should show them.

    Raises:
        MetricError: the table has no columns, or header and types differ in length.
    """
    header = [" ".join(str(name).replace("\0", " ").split()) for name in table.get("header", ())]
    if not header or len(table.get("types", header)) != len(header):
        raise MetricError(
            f"table: got a header of {len(header)} names and {len(table.get('types', ()))} types; "
            "it needs at least one column and one type ('text' or 'real') for each."
        )
    taken = {name.casefold() for name in header}
    seen: set[str] = set()
    names = []
    for position, original in enumerate(header, start=1):
        name = candidate = original or f"column {position}"
        repeat = 2
        while candidate.casefold() in seen or (
            candidate != original and candidate.casefold() in taken
        ):
            candidate = f"{name} ({repeat})"
            repeat += 1
        seen.add(candidate.casefold())
        names.append(candidate)
    return names


def column_types(table: Mapping[str, Any]) -> list[ColumnType]:
    """Return "real" or "text" per column; a type the data set does not use counts as text."""
    types = table.get("types") or ["text"] * len(table["header"])
    return ["real" if kind == "real" else "text" for kind in types]


def condition_value(value: Value, kind: ColumnType) -> Value:
    """Return the value with which a condition compares a column, as the official engine binds it.

    Args:
        value: the condition's value in the data or the query.
        kind: the column's type.

    Returns:
        Lower-cased text, or a number; for a real column, text that contains a number becomes that number.
    """
    if not isinstance(value, str):
        return value
    text = value.lower()
    if kind == "text":
        return text
    try:
        number = float(Decimal(text.replace(",", "")))
    except (InvalidOperation, OverflowError, ValueError):
        found = _FIRST_NUMBER.search(text)
        number = float(found.group()) if found else math.nan
    return number if math.isfinite(number) else text


def storable(value: object) -> bool:
    """Return whether SQLite can hold a value, as far as its size goes: whole numbers have at most 64 bits."""
    return not isinstance(value, int) or -(2**63) <= value < 2**63


@contextmanager
def sandbox(table: Mapping[str, Any]) -> Iterator[sqlite3.Connection]:
    """Open the table in memory for reading only; the module docstring says what is enforced."""
    names, types = column_names(table), column_types(table)
    connection = sqlite3.connect(":memory:", isolation_level=None)
    try:
        columns = ", ".join(f"col{i} {kind}" for i, kind in enumerate(types))
        connection.execute(f"CREATE TABLE {STORE} ({columns})")
        slots = ", ".join("?" * len(types))
        connection.executemany(
            f"INSERT INTO {STORE} VALUES ({slots})",
            [
                [cell.lower() if isinstance(cell, str) else cell for cell in row]
                for row in table["rows"]
            ],
        )
        # An empty twin with the real names, for which SQLite itself checks a query's text.
        quoted = ", ".join('"' + name.replace('"', '""') + '"' for name in names)
        connection.execute(f'CREATE TABLE "{TABLE_NAME}" ({quoted})')
        connection.set_authorizer(_authorise)
        yield connection
    finally:
        connection.close()


def run(
    connection: sqlite3.Connection,
    select: str,
    where: str,
    parameters: Sequence[Value],
    max_rows: int,
) -> list[Value]:
    """Run one query over the stored rows and return its single column.

    Args:
        connection: an open sandbox.
        select: the result expression over col0, col1, ..., written by this package, never by a model.
        where: what follows the FROM clause, written likewise; may be empty.
        parameters: the value of each `?` in it.
        max_rows: how many rows to fetch at most.

    Raises:
        sqlite3.Error: the query failed, was not allowed or took too many steps.
        OverflowError: an integer parameter exceeds 64 bits.
    """
    checks = itertools.count(1)
    most = MOST_INSTRUCTIONS // _INSTRUCTIONS_PER_CHECK
    connection.set_progress_handler(lambda: next(checks) > most, _INSTRUCTIONS_PER_CHECK)
    cursor = connection.execute(
        f"SELECT {select} AS {RESULT} FROM {STORE} {where}", list(parameters)
    )
    return [row[0] for row in cursor.fetchmany(max_rows)]


def is_valid_sqlite(connection: sqlite3.Connection, text: str) -> bool:
    """Return whether SQLite compiles the text as one allowed statement; nothing is executed."""
    try:
        connection.execute(f"EXPLAIN {text}")
    except (sqlite3.Error, sqlite3.Warning, ValueError):
        return False
    return True


def _authorise(
    action: int, argument: str | None, detail: str | None, database: str | None, inner: str | None
) -> int:
    allowed = (
        action == sqlite3.SQLITE_SELECT
        or (action == sqlite3.SQLITE_READ and argument in (STORE, TABLE_NAME))
        or (action == sqlite3.SQLITE_FUNCTION and detail in _FUNCTIONS)
    )
    return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY
