"""A query in our words has the result that SQLite gives the model's own, on rows in lower case."""

import random
import sqlite3
from collections.abc import Callable
from typing import Any

import pytest

from iapt.metrics.sql_execution import execution_match
from iapt.metrics.sql_rewriting import RefusedSqlError
from iapt.metrics.sql_surface import MAX_SELECTS, read_query
from iapt.metrics.sql_table import is_valid_sqlite, run, sandbox

ROWS: list[list[Any]] = [
    [name, year, date, points]
    for name, year, date, points in zip(
        ["ann", "bob", "cy", "dee", "e%f", "bob"] * 3,
        [1.0, 2.0, 3.0, 4.5, None] * 3 + [2.0, 2.0, 1.0],
        ["2001", "x", "may 3", None] * 4 + ["x", "2001"],
        [10.0, 20.0, -3.0, 0.0, 10.0, 7.0] * 3,
        strict=True,
    )
]
TABLE = {
    "header": ["name", "year", "Date", "points"],
    "types": ["text", "real", "text", "real"],
    "rows": ROWS,
}


class Queries:
    """Random queries of the allowed kind."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)

    def one_of(self, *choices: str | Callable[[], str]) -> str:
        choice = self.draw.choice(choices)
        return choice if isinstance(choice, str) else choice()

    def column(self) -> str:
        return self.one_of("name", '"year"', "Date", "points")

    def constant(self) -> str:
        return self.one_of("'ann'", "3", "-2", "4.5", "'2001'", "NULL", "10", '"no column"', "TRUE")

    def value(self, depth: int) -> str:
        if depth <= 0 or self.draw.random() < 0.4:
            return self.one_of(self.column, self.column, self.constant)

        def part() -> str:
            return self.value(depth - 1)

        return self.one_of(
            lambda: f"({part()})",
            lambda: f"{part()} {self.one_of(*'+-*/%')} {part()}",
            lambda: f"{self.one_of('lower', 'TRIM', 'LENGTH', 'ABS')}({part()})",
            lambda: f"ROUND({part()}, 1)",
            lambda: f"COALESCE({part()}, {part()})",
            lambda: f"CAST({part()} AS {self.one_of('INTEGER', 'REAL', 'TEXT', 'NUMERIC')})",
            lambda: f"CASE WHEN {self.condition(depth - 1)} THEN {part()} ELSE {part()} END",
            lambda: f"CASE {part()} WHEN {part()} THEN {part()} END",
            lambda: f"-({part()})",
            lambda: f'((SELECT MAX({part()}) FROM "table" WHERE {self.condition(depth - 1)}))',
        )

    def condition(self, depth: int) -> str:
        def part() -> str:
            return self.value(depth - 1)

        def both() -> str:
            return f"({self.condition(depth - 1)}) {self.one_of('AND', 'OR')} NOT {self.condition(depth - 1)}"

        return self.one_of(
            *([both] * 3 if depth > 0 else []),
            lambda: f"{part()} {self.one_of('=', '==', '<>', '!=', '<', '>', '<=', '>=')} {part()}",
            lambda: f"{part()} {self.one_of('', 'NOT ')}BETWEEN {part()} AND {part()}",
            lambda: f"{part()} IN ({part()}, {part()})",
            lambda: f'{part()} NOT IN (SELECT {part()} FROM "table")',
            lambda: f"{part()} {self.one_of('IS', 'IS NOT')} {self.one_of('NULL', part)}",
            lambda: (
                f"{self.column()} {self.one_of('LIKE', 'NOT LIKE')} '%{self.one_of('n', 'O', '_')}%'"
            ),
            lambda: f"{self.column()} GLOB '{self.one_of('a*', '[b-d]*', '?y')}'",
            lambda: f'EXISTS (SELECT 1 FROM "table" WHERE {self.condition(depth - 1)})',
        )

    def query(self) -> str:
        value, condition = self.value(2), self.condition(2)
        aggregate = self.one_of("MAX", "MIN", "SUM", "AVG", "COUNT", "COUNT")
        result = self.one_of(
            value, value, f"{aggregate}({self.one_of('', 'DISTINCT ')}{value})", "COUNT(*)"
        )
        alone = "COUNT(*)" in result or result.startswith(
            ("MAX(", "MIN(", "SUM(", "AVG(", "COUNT(")
        )
        group = f" GROUP BY {self.one_of(self.column(), 'name' if alone else '1')}"
        return "".join(
            [
                f'SELECT {self.one_of("", "DISTINCT ")}{result} AS n FROM "table" AS t',
                self.one_of("", f" WHERE {condition}"),
                self.one_of("", group, f"{group} HAVING COUNT(*) > 1"),
                self.one_of(
                    "",
                    f" ORDER BY {self.one_of('n', '1', self.column)} {self.one_of('', 'ASC', 'DESC')}",
                ),
                self.one_of("", f" LIMIT {self.draw.randint(-1, 5)}{self.one_of('', ' OFFSET 2')}"),
            ]
        )


def by_sqlite(text: str) -> list[Any] | None:
    with sqlite3.connect(":memory:") as connection:
        connection.execute('CREATE TABLE "table" (name TEXT, "year" REAL, Date TEXT, points REAL)')
        connection.executemany('INSERT INTO "table" VALUES (?, ?, ?, ?)', ROWS)
        try:
            return [row[0] for row in connection.execute(text).fetchmany(len(ROWS))]
        except sqlite3.Error:
            return None


def by_us(text: str) -> list[Any] | None:
    query = read_query(text, TABLE)
    with sandbox(TABLE) as connection:
        if not is_valid_sqlite(connection, text):
            return None
        try:
            return run(connection, query.select, query.tail, query.parameters, len(ROWS))
        except sqlite3.Error:
            return None


@pytest.mark.parametrize("seed", range(4))
def test_random_queries_have_sqlites_results(seed: int) -> None:
    queries, compared = Queries(seed), 0
    for _ in range(400):
        text = queries.query()
        if text.count("SELECT") > MAX_SELECTS:
            continue
        ours = by_us(text)
        assert ours == by_sqlite(text), text
        compared += ours is not None
    assert compared > 300


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("SELECT name FROM \"table\" WHERE UPPER(name) = 'BOB' AND points > 15 LIMIT 1", ["bob"]),
        ("SELECT name FROM \"table\" WHERE name LIKE 'D%' LIMIT 1", ["dee"]),
        ("SELECT COUNT(*) FROM \"table\" WHERE year = '4.5 or so'", [3]),
        ('SELECT name FROM "table" GROUP BY name ORDER BY COUNT(*) DESC LIMIT 1', ["bob"]),
        ('SELECT MAX(points) - MIN(points) FROM "table"', [23.0]),
        (
            'SELECT COUNT(DISTINCT name) FROM "table" WHERE year = (SELECT MAX(year) FROM "table")',
            [3],
        ),
        ('SELECT MAX(points) AS most FROM "table" GROUP BY name HAVING most > 15', [20.0]),
    ],
)
def test_forms_that_the_data_set_does_not_use_are_judged_by_their_result(
    text: str, result: list[Any]
) -> None:
    assert by_us(text) == result


def test_a_column_whose_name_is_a_word_of_sql_is_a_column() -> None:
    table = {
        "header": ["Like", "End", "Text"],
        "types": ["text", "real", "text"],
        "rows": [["a", 1, "b"]],
    }
    gold = {"sel": 0, "agg": 0, "conds": [[1, 0, "1"], [2, 0, "b"]]}
    for condition in ("Text = 'B'", "CAST(Text AS TEXT) = 'B'", "CAST(text AS text) = 'B'"):
        text = f'SELECT Like AS Text FROM "table" WHERE End = 1 AND {condition}'
        assert execution_match(text, gold, table).reason == "correct"


def test_an_inner_query_does_not_see_the_outer_one() -> None:
    text = 'SELECT name AS n FROM "table" AS t WHERE points = (SELECT MAX(points) FROM "table" WHERE t.year = 1)'
    with pytest.raises(RefusedSqlError, match="no table 't'"):
        read_query(text, TABLE)
    text = (
        'SELECT name AS n FROM "table" WHERE points = (SELECT MAX(points) FROM "table" WHERE n = 1)'
    )
    with pytest.raises(RefusedSqlError, match="no column 'n'"):
        read_query(text, TABLE)
