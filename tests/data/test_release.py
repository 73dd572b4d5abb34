"""Formats of the release files, on miniature copies."""

import json
import tarfile

import pytest

from iapt.data.release import READERS
from iapt.errors import DataError
from iapt.metrics.sql_execution import execution_match, structured_to_sql

TABLE = {
    "id": "1-1-1",
    "header": ["Player", "Goals"],
    "types": ["text", "real"],
    "rows": [["Ann", 3], ["Bo", 4.5]],
    "page_title": "Cup",
    "name": None,
}
QUESTION = {
    "phase": 1,
    "question": "how many goals has Ann?",
    "table_id": "1-1-1",
    "sql": {"sel": 1, "agg": 4, "conds": [[0, 0, "Ann"], [1, 1, 2]]},
}


def archive(tmp_path, leave_out="", asked=None):
    """The archive, without one of its files; `asked` are questions by split, in place of the one."""
    path = tmp_path / "data.tar.bz2"
    with tarfile.open(path, "w:bz2") as tar:
        for stem in ("train", "dev", "test"):
            question = QUESTION | ({"question": asked[stem]} if asked else {})
            for name, row in ((f"{stem}.jsonl", question), (f"{stem}.tables.jsonl", TABLE)):
                if name != leave_out:
                    file = tmp_path / name
                    file.write_text(json.dumps(row) + "\n", "utf-8")
                    tar.add(file, f"data/{name}")
    return path


def test_wikisql_questions_get_their_tables_in_the_hugging_face_form(tmp_path):
    splits = READERS["wikisql"]({"archive": archive(tmp_path)})
    assert sorted(splits) == ["test", "train", "validation"]
    (row,) = splits["validation"]
    assert row["table"]["rows"] == [["Ann", "3"], ["Bo", "4.5"]]
    assert row["table"]["page_title"] == "Cup"
    assert row["table"]["name"] == row["table"]["caption"] == ""
    assert row["sql"]["conds"] == {
        "column_index": [0, 1],
        "operator_index": [0, 1],
        "condition": ["Ann", "2"],
    }
    assert row["sql"]["human_readable"] == (
        "SELECT SUM Goals FROM table WHERE Player = Ann AND Goals > 2"
    )
    sql = structured_to_sql(row["sql"], row["table"])
    assert execution_match(sql, row["sql"], row["table"]).correct


def test_each_wikisql_split_has_its_own_questions_and_dev_is_the_validation_split(tmp_path):
    asked = {"train": "who?", "dev": "how?", "test": "why?"}
    splits = READERS["wikisql"]({"archive": archive(tmp_path, asked=asked)})
    assert {split: [row["question"] for row in rows] for split, rows in splits.items()} == {
        "train": ["who?"],
        "validation": ["how?"],
        "test": ["why?"],
    }


def test_a_wikisql_query_without_conditions_has_empty_lists(tmp_path, monkeypatch):
    monkeypatch.setitem(QUESTION, "sql", {"sel": 0, "agg": 0, "conds": []})
    (row,) = READERS["wikisql"]({"archive": archive(tmp_path)})["train"]
    assert row["sql"]["human_readable"] == "SELECT Player FROM table"
    assert row["sql"]["conds"]["condition"] == []


def test_an_archive_of_something_else_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"has no data/dev.tables.jsonl"):
        READERS["wikisql"]({"archive": archive(tmp_path, leave_out="dev.tables.jsonl")})


def test_e2e_columns_are_renamed_and_quotes_and_line_breaks_kept(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes('\ufeffmr,ref\n"name[A], area[b]","It is ""A"".\nGood: £20"\n'.encode())
    assert READERS["e2e"]({"train": path})["train"] == [
        {"meaning_representation": "name[A], area[b]", "human_reference": 'It is "A".\nGood: £20'}
    ]


def test_json_lines_are_taken_as_they_are(tmp_path):
    path = tmp_path / "q.jsonl"
    path.write_text('{"a": 1}\n\n{"a": [2]}\n', "utf-8")
    assert READERS["jsonl"]({"test": path}) == {"test": [{"a": 1}, {"a": [2]}]}


def test_a_damaged_line_is_named(tmp_path):
    path = tmp_path / "q.jsonl"
    path.write_text('{"a": 1}\n{"a": \n', "utf-8")
    with pytest.raises(DataError, match=r"q.jsonl, line 2: not JSON"):
        READERS["jsonl"]({"test": path})
