"""WikiSQL prompts, gold SQL and scoring."""

import pytest

from iapt.data.source import Sample
from iapt.errors import DataError
from iapt.tasks.wikisql import table_information

TABLE = {
    "id": "1-1-1",
    "header": ["Crop (kt)", 'The "big" one', ""],
    "types": ["text", "real", "real"],
    "rows": [["s Lupin", "1323", "1"], ["Wheat", "20552", "2"]],
}
SQL = {
    "human_readable": "SELECT MIN ... FROM table",
    "sel": 1,
    "agg": 2,
    "conds": {"column_index": [0], "operator_index": [0], "condition": ["S lupin"]},
}
ROW = {"question": "what's the minimum", "table": TABLE, "sql": SQL, "phase": 1}


def test_the_table_information_quotes_every_column_and_gives_its_type():
    assert table_information(TABLE) == (
        '"table" ("Crop (kt)" text, "The ""big"" one" real, "column 3" real)'
    )


def test_the_response_is_sql_that_can_be_run(task_of):
    example = task_of("wikisql").example(ROW, "wikisql/train/0")
    assert example.response == (
        """SELECT MIN("The ""big"" one") FROM "table" WHERE "Crop (kt)" = 'S lupin'"""
    )
    assert example.references == (example.response,)


def test_any_query_with_the_gold_result_is_right_and_the_rest_is_told_apart(task_of):
    task = task_of("wikisql")
    example = task.example(ROW, "wikisql/train/0")
    outputs = [
        'SELECT "The ""big"" one" FROM "table" WHERE "column 3" < 2;',  # another way to 1323
        'SELECT "column 3" FROM "table"',  # runs, wrong
        'DROP TABLE "table"',  # refused
        "SELECT FROM WHERE",  # no SQL
        None,
    ]
    scores = task.score(outputs, [example] * 5)
    assert scores.value == 20.0
    assert scores.details["n_wrong"] == 1
    assert scores.n_unparsed == 1 + scores.details["n_unparsable"]
    assert sum(scores.details[f"n_{k}"] for k in ("wrong", "refused", "unparsable", "failed")) == 4


@pytest.mark.parametrize(
    "dressed",
    [
        "{};",
        "```sql\n{}\n```",
        "```\n{};\n```",
        "```SQL\n{}",  # cut off before the fence was closed
        "```{}```",
        "Here is the query:\n```sqlite\n{}\n```\nIt takes the smallest.",
        "{}</s>",
        "{};\n</s>\n",
    ],
)
def test_fences_semicolons_and_end_tags_are_no_part_of_a_query(dressed, task_of):
    task = task_of("wikisql")
    example = task.example(ROW, "wikisql/train/0")
    parsed = task.parse(dressed.format(example.response), example)
    assert task.score([parsed], [example]).value == 100.0


@pytest.mark.parametrize(
    "text",
    [
        "SQL: {}",
        "The SQL query is:\n{};",
        "{};\nThis selects the smallest number of 's lupin'.",
        "{}; it doesn't need more",
        "{}\n\nExplanation: MIN takes the smallest.",
        "Answer: {};\n\nIt takes the smallest.</s>",
    ],
)
def test_a_lead_and_an_explanation_are_no_part_of_a_query(text, task_of):
    task = task_of("wikisql")
    example = task.example(ROW, "wikisql/train/0")
    assert task.parse(text.format(example.response), example) == example.response


def test_a_query_that_may_be_run_is_left_as_it_is(task_of):
    task = task_of("wikisql")
    example = task.example(ROW, "wikisql/train/0")
    for condition in ("'a; b'", "'a\n\nb'", "'SQL: select'"):
        query = f'SELECT "column 3" FROM "table"\n\nWHERE "Crop (kt)" = {condition}'
        assert task.parse(query, example) == query


def test_a_table_wider_than_a_database_takes_is_named_before_training(task_of):
    wide = {"header": [str(i) for i in range(3000)], "types": ["text"] * 3000, "rows": []}
    with pytest.raises(DataError, match=r"x/1: .*got 3,000 columns; SQLite accepts at most 2,000"):
        task_of("wikisql").example({**ROW, "table": wide}, "x/1")


@pytest.mark.parametrize(
    "text",
    [
        "```sql\n{0}\n```\nor\n```sql\n{0}\n```",
        "{0} {0}",
        "{0}; {0}",
        '{0};\nDROP TABLE "table"',
        "{0}\n\nUNION {0}",
        "{0}; It works; really",
        "{0} This takes the smallest.",
        "I would write {0}",
    ],
)
def test_what_is_not_one_query_is_not_made_one(text, task_of):
    task = task_of("wikisql")
    example = task.example(ROW, "wikisql/train/0")
    parsed = task.parse(text.format(example.response), example)
    assert task.score([parsed], [example]).value == 0.0


def test_gold_queries_without_a_result_are_counted_apart(task_of):
    task = task_of("wikisql")
    empty = {**SQL, "agg": 0, "conds": {**SQL["conds"], "condition": ["rye"]}}
    examples = [task.example({**ROW, "sql": sql}, f"x/{i}") for i, sql in enumerate((SQL, empty))]
    nothing = """SELECT "column 3" FROM "table" WHERE "Crop (kt)" = 'nowhere'"""
    scores = task.score([nothing, nothing], examples)
    assert scores.value == 50.0
    assert scores.details["n_gold_empty"] == 1
    assert scores.details["acc_gold_not_empty"] == 0.0


def test_questions_on_one_table_share_one_copy(task_of):
    first, second = task_of("wikisql").examples("test", Sample())[:2]
    assert first.meta["table"]["id"] == second.meta["table"]["id"]
    assert first.meta["table"] is second.meta["table"]


def test_tables_of_one_name_that_differ_stay_apart(task_of):
    class Rows(Sample):
        def rows(self, dataset, split):
            other = {**ROW["table"], "rows": ROW["table"]["rows"][:1]}
            return [ROW, {**ROW, "table": other}]

    one, other = task_of("wikisql").examples("test", Rows())
    assert len(one.meta["table"]["rows"]) > 1 == len(other.meta["table"]["rows"])


def test_an_answer_that_cannot_run_either_way_is_kept_whole(task_of):
    task = task_of("wikisql")
    text = "SELECT nothing at all; I hope that this helps"
    assert task.parse(text, task.example(ROW, "x/0")) == text


@pytest.mark.parametrize(
    "broken",
    [
        *(
            {"table": None},
            {"sql": {**SQL, "sel": 9}},
            {"sql": {"sel": 0}},
            {"sql": {**SQL, "conds": [[1, 0, -(2**63) - 1]]}},
            {"table": {"rows": []}},
        ),
        {"table": {**TABLE, "rows": [["s Lupin", "1323"]]}},  # a cell too few
        {"table": {**TABLE, "rows": [["s Lupin", "1323", ["1"]]]}},
        {"table": {**TABLE, "rows": [["s Lupin", 2**63, "1"]]}},
    ],
)
def test_a_malformed_row_is_named(broken, task_of):
    with pytest.raises(DataError, match="wikisql/train/7"):
        task_of("wikisql").example({**ROW, **broken}, "wikisql/train/7")
