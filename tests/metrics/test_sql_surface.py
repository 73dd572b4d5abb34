"""Hostile, endless or huge SQL is soon a wrong answer, and touches nothing."""

import os
import random
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from iapt.metrics import sql_surface
from iapt.metrics.sql_execution import execution_match, structured_to_sql
from iapt.metrics.sql_rewriting import RefusedSqlError
from iapt.metrics.sql_surface import MAX_CHARACTERS, MAX_TOKENS, read_query
from iapt.metrics.sql_table import is_valid_sqlite, run, sandbox

TABLE: dict[str, Any] = {
    "header": ["a", "b"],
    "types": ["text", "real"],
    "rows": [[f"x{i}", str(i)] for i in range(100)],
}
GOLD = {"sel": 0, "agg": 0, "conds": [[1, 1, "5"]]}
WHERE = 'SELECT "a" FROM "table" WHERE '

HOSTILE = [
    # endless or enormous
    "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT n FROM r",
    'SELECT "a" FROM "table", "table" AS b, "table" AS c, "table" AS d, "table" AS e, "table" AS f',
    'SELECT COUNT(*) FROM "table" a JOIN "table" b JOIN "table" c JOIN "table" d JOIN "table" e',
    WHERE + '(SELECT COUNT(*) FROM "table" x, "table" y, "table" z, "table" w) > 0',
    'SELECT zeroblob(1000000000) FROM "table"',
    'SELECT randomblob(1000000000) FROM "table"',
    "SELECT printf('%999999999d', 1) FROM \"table\"",
    "SELECT replace(hex(zeroblob(10000000)), '0', 'aaaa') FROM \"table\"",
    'SELECT group_concat("a", zeroblob(99999999)) FROM "table"',
    # writes, files, extensions
    "ATTACH DATABASE 'evil.db' AS evil",
    "PRAGMA writable_schema = 1",
    "PRAGMA temp_store_directory = '/'",
    "VACUUM INTO 'evil.db'",
    'DROP TABLE "table"',
    'DELETE FROM "table"',
    'UPDATE "table" SET "a" = 1',
    "INSERT INTO \"table\" VALUES ('x', 1)",
    "CREATE TABLE evil (x)",
    'CREATE TRIGGER t AFTER INSERT ON "table" BEGIN SELECT 1; END',
    'SELECT "a" FROM "table"; DROP TABLE "table"',
    'SELECT "a" FROM "table"; ATTACH DATABASE \'evil.db\' AS evil',
    "SELECT load_extension('evil') FROM \"table\"",
    "SELECT readfile('/etc/passwd') FROM \"table\"",
    "SELECT writefile('evil.db', 'x') FROM \"table\"",
    "SELECT fts3_tokenizer('x') FROM \"table\"",
    # other tables, other columns
    "SELECT name FROM sqlite_master",
    "SELECT * FROM pragma_table_info('table')",
    "SELECT value FROM json_each('[1, 2]')",
    'SELECT "col0" FROM store WHERE "col1" > 5',
    'SELECT col0 FROM "table" WHERE col1 > 5',
    'SELECT "a" FROM main."table" WHERE "b" > 5',
    'SELECT rowid FROM "table"',
    WHERE + "rowid > 5",
    # not the allowed form
    "",
    " \n\t ",
    ";",
    "SELECT",
    "SELECT 1",
    'SELECT * FROM "table"',
    'SELECT "a", "b" FROM "table" WHERE "b" > 5',
    'SELECT "a", FROM "table" WHERE "b" > 5',
    "SELECT a FROM table WHERE b > 5",
    WHERE + '"b" > 5 COLLATE nocase',
    WHERE + '"b" > ?',
    WHERE + '"b" > :x',
    WHERE + '"b" > 5 UNION SELECT "a" FROM "table"',
    'SELECT MAX("a", "b") FROM "table"',
    'SELECT MAX("b") OVER () FROM "table"',
    'SELECT random() FROM "table"',
    "\0",
    WHERE + '"b" > 5\0; DROP TABLE "table"',
    "\ud800",
    "/* " * 500,
    "'" * 999,
    '"' * 999,
    "{{ config }} {% raw %}",
    "The answer is 42.",
    # deep, long, huge
    "(" * 10_000,
    WHERE + "(" * 2_000 + '"b" > 5' + ")" * 2_000,
    WHERE + "(" * 9 + '"b" > 5' + ")" * 9,
    WHERE + "NOT " * 1_000 + '"b" > 5',
    WHERE + "NOT " * 250 + '("b" > 5',
    WHERE + "- " * 250 + "5 > b",
    WHERE + " OR ".join(['"b" > 5'] * 3_000),
    WHERE + '"b" IN (' + ", ".join(["5"] * 2_000) + ")",
    "SELECT " + "a." * 290 + 'a FROM "table"',
    "SELECT " + "COUNT(" * 8 + '"a"' + ")" * 8 + ' FROM "table"',
    "SELECT " + "x" * 1_000_000,
    WHERE + '"a" = \'' + "y" * 1_000_000 + "'",
    "SELECT '" * 200_000,
    WHERE + '"b" > 1' + "0" * 4_000 + "e",
]


FUZZ_WORDS = (
    'SELECT DISTINCT FROM "table" WHERE AND OR NOT IN IS NULL BETWEEN AS ORDER BY ASC DESC LIMIT '
    '"a" "b" \'s\' 1 -2.5 1e999 99999999999999999999 * , . ( ) = == <> != < > <= >= - ; MAX MIN '
    "COUNT SUM AVG UNION JOIN WITH CASE LIKE /* -- */ [ ] { } ` \" ' :: || % ? :x @y # \\ 0x10 "
    "TRUE random() \0 é"
)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_sql_is_a_wrong_answer_within_a_second_of_the_processor(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    started = time.process_time()

    result = execution_match(text, GOLD, TABLE)

    assert time.process_time() - started < 1.0
    assert not result.correct
    assert result.reason.split(":")[0] in ("refused", "unparsable")
    assert os.listdir(tmp_path) == []


def test_a_pattern_with_many_wildcards_over_a_long_text_takes_no_time() -> None:
    table = TABLE | {"rows": [["a" * 5_000, "1"]] * 20}
    started = time.process_time()
    for operator, pattern in {"LIKE": "%a_", "GLOB": "*[a-z]?"}.items():
        end = "%b" if operator == "LIKE" else "*b"
        text = f"{WHERE} \"a\" {operator} '{pattern * 500}{end}'"
        assert execution_match(text, GOLD, table).reason.startswith(("wrong", "correct"))
    assert time.process_time() - started < 1.0


@pytest.mark.parametrize(
    ("text", "wall"),
    [
        (WHERE + '"a" = \'' + "y" * MAX_CHARACTERS + "'", "more than 5000 characters"),
        (WHERE + "\"a\" = 'a\0b'", "a character SQLite cannot read"),
        (WHERE + "\"a\" = 'a\ud800b'", "a character SQLite cannot read"),
        (WHERE + '"b" > 5 UNION SELECT "a" FROM "table"', "UNION .* is not allowed"),
        (WHERE + '"b" > 5 OR ' * 80 + '"b" > 5', "more than 300 tokens"),
        (WHERE + "(" * 9 + '"b" > 5' + ")" * 9, "more than 8 levels"),
        (
            WHERE + '"b" IN (' + 'SELECT "b" FROM "table" WHERE "b" IN (' * 4 + "1" + ")" * 5,
            "more than 4 SELECTs",
        ),
        (WHERE + '"b" = (SELECT t."b" FROM "table")', "no table 't'"),
        (WHERE + '"b" = (SELECT 1)', "the only table"),
        (WHERE + "instr(\"a\", 'x') = 1", "not an allowed value"),
        ('SELECT "a" FROM main."table"', "table with db"),
    ],
)
def test_each_wall_refuses_by_itself(text: str, wall: str) -> None:
    with pytest.raises(RefusedSqlError, match=wall):
        read_query(text, TABLE)


def test_missing_output_is_a_wrong_answer() -> None:
    assert not execution_match(None, GOLD, TABLE).correct


def test_seeded_fuzz_finds_no_exception_and_nothing_slow() -> None:
    rng = random.Random(20_24)
    gold_text = structured_to_sql(GOLD, TABLE)
    words = FUZZ_WORDS.split(" ")

    def garbled() -> str:
        letters = list(gold_text)
        for _ in range(rng.randrange(1, 8)):
            at = rng.randrange(len(letters) + 1)
            letters[at : at + rng.randrange(3)] = [
                chr(rng.choice([rng.randrange(32, 127), rng.randrange(0x3000)]))
            ]
        return "".join(letters)

    def inserted() -> str:
        parts = gold_text.split(" ")
        for _ in range(rng.randrange(1, 5)):
            parts.insert(rng.randrange(len(parts) + 1), rng.choice(words))
        return " ".join(parts)

    def soup() -> str:
        return WHERE + " ".join(rng.choice(words) for _ in range(rng.randrange(1, 80)))

    def brackets() -> str:
        pieces = ["(", ")", "NOT ", "- ", '"a"', "'x'", " = ", "1", ", ", " AND ", " IN "]
        return WHERE + "".join(rng.choice(pieces) for _ in range(rng.randrange(1, 300)))

    slowest, kinds = 0.0, set()
    for number in range(4_000):
        text = (garbled, inserted, soup, brackets)[number % 4]()
        started = time.process_time()
        result = execution_match(text, GOLD, TABLE)
        slowest = max(slowest, time.process_time() - started)
        kinds.add(result.reason.split(":")[0])

    assert slowest < 1.0
    assert kinds == {
        "correct",
        "wrong",
        "refused",
        "unparsable",
    }  # nothing reached SQLite and failed there


def test_limits_leave_room_for_real_queries() -> None:
    conditions = [[1, 1, str(number)] for number in range(30)]
    text = structured_to_sql({"sel": 0, "agg": 0, "conds": conditions}, TABLE)

    assert len(text) < MAX_CHARACTERS
    assert MAX_TOKENS > 30 * 8
    assert execution_match(text, {"sel": 0, "agg": 0, "conds": conditions}, TABLE).correct


# The walls behind the first one, each without those before it.


@pytest.mark.parametrize(
    "statement",
    [
        "ATTACH DATABASE 'evil.db' AS evil",
        "PRAGMA user_version",
        "DELETE FROM store",
        "CREATE TEMP TABLE evil (x)",
        "SELECT name FROM sqlite_master",
        "SELECT zeroblob(9) FROM store",
        "SELECT random() FROM store",
        "SELECT load_extension('evil')",
        "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT n FROM r",
    ],
)
def test_authorizer_refuses_what_is_not_reading_this_table(
    statement: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with sandbox(TABLE) as connection:
        with pytest.raises(sqlite3.DatabaseError, match=r"not authorized|prohibited"):
            connection.execute(statement)
        assert not is_valid_sqlite(connection, statement)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(("copies", "ended"), [(3, False), (4, True), (8, True)])
def test_a_query_is_ended_by_the_number_of_its_steps(copies: int, ended: bool) -> None:
    # Of a hundred rows, the product of three tables takes some millions of steps, of four some hundred.
    product = "".join(f", store AS s{number}" for number in range(1, copies))
    with sandbox(TABLE) as connection:
        if not ended:
            assert run(connection, "COUNT(*)", product, [], max_rows=1) == [100**copies]
            return
        with pytest.raises(sqlite3.OperationalError, match="interrupted"):
            run(connection, "COUNT(*)", product, [], max_rows=1)


def test_no_more_rows_are_fetched_than_asked_for() -> None:
    with sandbox(TABLE) as connection:
        assert run(connection, "col0", "", [], max_rows=3) == ["x0", "x1", "x2"]


def test_parser_failure_of_any_kind_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    for failure in (RecursionError, ValueError, KeyError, AttributeError):

        def fail(*args: object, failure: type[Exception] = failure, **kwargs: object) -> None:
            raise failure("a bug in the parser")

        monkeypatch.setattr(sql_surface.sqlglot, "parse", fail)
        with pytest.raises(RefusedSqlError, match=f"unparsable: {failure.__name__}"):
            read_query(WHERE + '"b" > 5', TABLE)
