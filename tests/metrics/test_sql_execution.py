"""WikiSQL by execution: gold queries as SQL, the official comparison, other ways to write it."""

import math
import random
import sqlite3
from typing import Any

import pytest

from iapt.errors import MetricError
from iapt.metrics.sql_execution import (
    AGGREGATES,
    OPERATORS,
    execution_match,
    structured_to_sql,
)
from iapt.metrics.sql_table import column_names

TABLE: dict[str, Any] = {
    "header": ["Player", "No.", "School/Club Team", 'Say "hi"'],
    "types": ["text", "real", "text", "text"],
    "rows": [
        ["Aleksandar Radojević", "25", "Barton CC (KS)", "a"],
        ["Shawn Respert", "31", "Michigan State", "it's"],
        ["Quentin Richardson", "3.5", "DePaul", "2"],
        ["Alvin Robertson", "7", "Michigan State", "2.0"],
    ],
}
GOLD = {"sel": 0, "agg": 0, "conds": [[1, 1, "5"]]}  # the three players with a number above 5


def query(sel: int, agg: int, *conditions: tuple[int, int, Any]) -> dict[str, Any]:
    columns, operators, values = zip(*conditions, strict=True) if conditions else ((), (), ())
    parts = {"column_index": columns, "operator_index": operators, "condition": values}
    return {"sel": sel, "agg": agg, "conds": parts}


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        (query(0, 0), 'SELECT "Player" FROM "table"'),
        (query(1, 4), 'SELECT SUM("No.") FROM "table"'),
        (query(0, 3, (1, 1, "5")), 'SELECT COUNT("Player") FROM "table" WHERE "No." > 5'),
        (query(0, 0, (1, 2, "-3.50")), 'SELECT "Player" FROM "table" WHERE "No." < -3.5'),
        (query(0, 0, (1, 0, "1,250")), 'SELECT "Player" FROM "table" WHERE "No." = 1250'),
        (query(0, 0, (1, 0, 1e16)), 'SELECT "Player" FROM "table" WHERE "No." = 10000000000000000'),
        (query(0, 0, (1, 0, math.inf)), 'SELECT "Player" FROM "table" WHERE "No." = \'inf\''),
        (query(0, 0, (2, 0, "7")), 'SELECT "Player" FROM "table" WHERE "School/Club Team" = \'7\''),
        (
            query(3, 1, (3, 0, "it's")),
            'SELECT MAX("Say ""hi""") FROM "table" WHERE "Say ""hi""" = \'it\'\'s\'',
        ),
        (
            query(0, 0, (1, 1, "1"), (1, 2, "30"), (2, 0, "X")),
            'SELECT "Player" FROM "table"'
            ' WHERE "No." > 1 AND "No." < 30 AND "School/Club Team" = \'X\'',
        ),
    ],
)
def test_structured_query_becomes_valid_typed_sql(sql: dict[str, Any], expected: str) -> None:
    assert structured_to_sql(sql, TABLE) == expected
    assert execution_match(expected, sql, TABLE).correct


def test_both_layouts_of_conditions_are_read() -> None:
    assert structured_to_sql(GOLD, TABLE) == structured_to_sql(query(0, 0, (1, 1, "5")), TABLE)


def test_empty_and_repeated_column_names_become_usable_and_distinct() -> None:
    table = {**TABLE, "header": ["Name", "name", "", "Name (2)"]}

    assert column_names(table) == ["Name", "name (3)", "column 3", "Name (2)"]
    for column in range(4):
        gold = query(column, 0, (1, 1, "5"))
        assert execution_match(structured_to_sql(gold, table), gold, table).correct
        other = query((column + 1) % 4, 0, (1, 1, "5"))
        assert not execution_match(structured_to_sql(other, table), gold, table).correct


@pytest.mark.parametrize(
    "text",
    [
        'select "player" from "TABLE" where "no." > 5;',
        "SELECT [Player] FROM `table` WHERE [No.] > 5.0 -- a remark",
        'SELECT t.Player AS who FROM "table" AS t WHERE t."No." >= 7',
        'SELECT "table"."Player" FROM "table" WHERE NOT ("No." <= 5)',
        'SELECT "Player" FROM "table" WHERE 5 < "No."',
        'SELECT "Player" FROM "table" WHERE "No." > \'5\'',  # brought to a number, as officially
        'SELECT "Player" FROM "table" WHERE "No." > \'5 points\'',  # by the first number in it
        'SELECT "Player" FROM "table" WHERE "No." BETWEEN 6 AND 1e3',
        'SELECT "Player" FROM "table" WHERE "No." IN (25, 31, 7) AND "Player" IS NOT NULL',
        'SELECT "Player" FROM "table" WHERE "No." = 25 OR "School/Club Team" = \'MICHIGAN STATE\'',
        'SELECT "Player" FROM "table" WHERE "No." != 3.5 LIMIT 9',
    ],
)
def test_query_written_otherwise_with_the_same_result_is_correct(text: str) -> None:
    assert execution_match(text, GOLD, TABLE).reason == "correct"


@pytest.mark.parametrize(
    ("text", "gold"),
    [
        ('SELECT COUNT(*) FROM "table" WHERE "No." > 5', query(0, 3, (1, 1, "5"))),
        ('SELECT "Player" FROM "table" ORDER BY "No." DESC LIMIT 1', query(0, 0, (1, 0, "31"))),
        ('SELECT DISTINCT "School/Club Team" FROM "table" WHERE "No." < 5', query(2, 0, (1, 2, 5))),
    ],
)
def test_wider_forms_are_executed(text: str, gold: dict[str, Any]) -> None:
    assert execution_match(text, gold, TABLE).reason == "correct"


@pytest.mark.parametrize(
    "text",
    [
        'SELECT "Player" FROM "table"',
        'SELECT "Player" FROM "table" WHERE "No." > 7',
        'SELECT "Player" FROM "table" WHERE "No." > 5 ORDER BY "No." ASC',  # order counts
        'SELECT "School/Club Team" FROM "table" WHERE "No." > 5',
        'SELECT COUNT("Player") FROM "table" WHERE "No." > 5',
    ],
)
def test_other_result_is_wrong(text: str) -> None:
    result = execution_match(text, GOLD, TABLE)

    assert (result.correct, result.reason.split(":")[0]) == (False, "wrong")


def test_every_row_of_a_table_counts_up_to_the_last() -> None:
    result = execution_match('SELECT "Player" FROM "table" LIMIT 3', query(0, 0), TABLE)

    assert result.reason.startswith("wrong: 3 rows for 4")


def test_text_condition_is_compared_in_lower_case_and_as_text() -> None:
    gold = query(0, 0, (3, 0, "2"))  # "2", and not "2.0"

    assert execution_match(
        'SELECT "Player" FROM "table" WHERE "Say ""hi""" = 2', gold, TABLE
    ).correct
    assert execution_match(
        structured_to_sql(query(0, 0, (3, 0, "IT'S")), TABLE), query(0, 0, (3, 0, "it's")), TABLE
    ).correct


def test_a_count_over_a_table_without_rows_is_a_result() -> None:
    empty = {**TABLE, "rows": []}
    count = query(0, 3)
    assert execution_match('SELECT COUNT(*) FROM "table"', count, empty).correct
    assert not execution_match('SELECT "Player" FROM "table"', count, empty).correct


def test_two_empty_results_are_equal_and_the_case_is_marked() -> None:
    nothing = query(0, 0, (1, 1, "1000"))
    other_nothing = 'SELECT "Player" FROM "table" WHERE "No." < 0'

    result = execution_match(other_nothing, nothing, TABLE)

    assert result.correct
    assert result.gold_empty
    assert not execution_match(other_nothing, GOLD, TABLE).gold_empty


def test_no_row_and_a_lone_null_are_different_results() -> None:
    # As officially: [] is not [None]; both count as an empty gold.
    null = query(1, 1, (1, 1, "1000"))

    assert execution_match(structured_to_sql(null, TABLE), null, TABLE).gold_empty
    assert not execution_match('SELECT "No." FROM "table" WHERE "No." > 1000', null, TABLE).correct


def test_a_number_equals_itself_in_either_type_but_never_a_text() -> None:
    assert execution_match(
        'SELECT MIN("No.") FROM "table"', query(1, 0, (1, 0, "3.5")), TABLE
    ).correct
    assert not execution_match(
        'SELECT "Say ""hi""" FROM "table" WHERE "No." = 3.5', query(1, 3, (1, 1, "5")), TABLE
    ).correct


def test_two_conditions_on_one_column_keep_their_own_values() -> None:
    between = query(0, 3, (1, 1, "5"), (1, 2, "30"))

    assert execution_match(
        'SELECT COUNT(*) FROM "table" WHERE "No." IN (25, 7)', between, TABLE
    ).correct


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ({"sel": 4, "agg": 0, "conds": []}, r"sql\.sel: got 4; allowed is 0 to 3"),
        ({"sel": -1, "agg": 0, "conds": []}, r"sql\.sel: got -1; allowed is 0 to 3"),
        ({"sel": 0, "agg": 6, "conds": []}, r"sql\.agg: got 6"),
        ({"sel": 0, "agg": 0, "conds": [[9, 0, "x"]]}, r"sql\.conds: column: got 9"),
        ({"sel": 0, "agg": 0, "conds": [[0, 3, "x"]]}, r"sql\.conds: operator: got 3"),
        (
            {"sel": 0, "agg": 0, "conds": [[1, 0, 2**63]]},
            r"sql\.conds: condition: got 9223372036854775808; ",
        ),
    ],
)
def test_malformed_gold_is_an_error(sql: dict[str, Any], message: str) -> None:
    with pytest.raises(MetricError, match=message):
        execution_match("SELECT 1", sql, TABLE)


def test_table_whose_types_do_not_fit_its_header_is_an_error() -> None:
    with pytest.raises(MetricError, match="header of 4 names and 1 types"):
        structured_to_sql(GOLD, {**TABLE, "types": ["text"]})


def direct_engine(sql: dict[str, Any], table: dict[str, Any]) -> list[Any]:
    """What the official engine does, in its own terms: bind the lower-cased values, run, list."""
    connection = sqlite3.connect(":memory:")
    kinds = table["types"]
    connection.execute(
        f"CREATE TABLE t ({', '.join(f'col{i} {kind}' for i, kind in enumerate(kinds))})"
    )
    for row in table["rows"]:
        cells = [
            float(cell) if kind == "real" else cell.lower()
            for cell, kind in zip(row, kinds, strict=True)
        ]
        connection.execute(f"INSERT INTO t VALUES ({', '.join('?' * len(kinds))})", cells)
    column = f"col{sql['sel']}"
    result = f"{AGGREGATES[sql['agg']]}({column})" if sql["agg"] else column
    conditions = list(zip(*sql["conds"].values(), strict=True))
    where = " AND ".join(f"col{i} {OPERATORS[o]} ?" for i, o, _ in conditions)
    values = [float(v) if kinds[i] == "real" else v.lower() for i, _, v in conditions]
    statement = f"SELECT {result} FROM t" + (f" WHERE {where}" if where else "")
    rows = connection.execute(statement, values).fetchall()
    connection.close()
    return [row[0] for row in rows]


def test_random_queries_are_judged_as_the_direct_engine_would() -> None:
    rng = random.Random(7)

    def draw() -> dict[str, Any]:
        conditions = []
        for column in rng.sample(range(4), rng.randrange(3)):
            value = rng.choice(TABLE["rows"])[column]
            conditions.append(
                (column, rng.randrange(3), value.upper() if rng.random() < 0.3 else value)
            )
        return query(rng.randrange(4), rng.randrange(6), *conditions)

    verdicts = set()
    for _ in range(400):
        gold, predicted = draw(), draw()
        expected = direct_engine(gold, TABLE)
        result = execution_match(structured_to_sql(predicted, TABLE), gold, TABLE)
        assert result.correct == (direct_engine(predicted, TABLE) == expected)
        assert result.gold_empty == all(value is None for value in expected)
        assert execution_match(structured_to_sql(gold, TABLE), gold, TABLE).correct
        verdicts.add((result.correct, result.gold_empty))

    assert len(verdicts) == 4  # right and wrong, with and without an empty gold: all were met


@pytest.mark.parametrize(("operator", "right"), [("<", True), (">", False)])
def test_text_without_a_number_is_above_every_number_of_a_real_column(
    operator: str, right: bool
) -> None:
    everyone = query(0, 0)
    predicted = f"""SELECT "Player" FROM "table" WHERE "No." {operator} 'many'"""

    assert execution_match(predicted, everyone, TABLE).correct is right


UNQUOTED = [
    "Character",
    "Date",
    "Format",
    "Long",
    "Number",
    "Operator",
    "Show",
    "Text",
    "Time",
    "Unknown",
    "Use",
]


@pytest.mark.parametrize("name", UNQUOTED)
def test_a_column_name_that_sqlite_takes_unquoted_may_be_unquoted(name: str) -> None:
    table = {"header": [name, "Rank"], "types": ["text", "real"], "rows": [["a", 1], ["b", 2]]}
    gold = {"sel": 0, "agg": 3, "conds": [[0, 0, "a"]]}
    for text in (
        f"SELECT COUNT({name}) FROM \"table\" WHERE {name} = 'a'",
        f"select count({name.lower()}) from \"table\" as t where t.{name.upper()} = 'a' order by {name}",
    ):
        assert execution_match(text, gold, table).reason == "correct"
    other = {**table, "header": ["Other", "Rank"]}
    assert execution_match(f'SELECT {name} FROM "table"', gold, other).reason.startswith(
        ("refused", "unparsable")
    )


@pytest.mark.parametrize(
    "name", ["Order", "Group", "Table", "Select", "From", "Case", "Union", "Index"]
)
def test_a_column_name_that_sqlite_does_not_take_unquoted_has_to_be_quoted(name: str) -> None:
    table = {"header": [name, "Rank"], "types": ["text", "real"], "rows": [["a", 1]]}
    gold = {"sel": 0, "agg": 0, "conds": []}

    assert execution_match(f'SELECT "{name}" FROM "table"', gold, table).correct
    assert not execution_match(f'SELECT {name} FROM "table"', gold, table).correct


@pytest.mark.parametrize(
    "text",
    [
        'SELECT Rank FROM "table" UNION SELECT Rank FROM "table"',
        'SELECT Rank FROM "table" ; DROP TABLE "table"',
        "PRAGMA user_version",
        "ATTACH DATABASE 'evil.db' AS evil",
        'SELECT Rank FROM "table" JOIN "table"',
    ],
)
def test_a_table_whose_columns_are_named_like_commands_opens_no_door(text: str) -> None:
    names = ["Union", "Drop", "Pragma", "Attach", "Join", "Rank"]
    table = {"header": names, "types": ["text"] * 6, "rows": [["a"] * 6]}
    result = execution_match(text, {"sel": 5, "agg": 0, "conds": []}, table)

    assert result.reason.split(":")[0] in ("refused", "unparsable")
