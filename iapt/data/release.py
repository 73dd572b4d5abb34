"""Readers of release files that do not come from the hub through `datasets`.

Each takes the downloaded files by their names in the task's YAML and returns rows by official split,
with the Hugging Face field names:

- e2e: CSV with `mr`, `ref` (tuetschek/e2e-dataset);
- wikisql: an archive with `data/<split>.jsonl` and `data/<split>.tables.jsonl` (salesforce/WikiSQL);
- jsonl: JSON Lines, unchanged (MT-Bench).
"""

import csv
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from iapt.errors import DataError
from iapt.files import parse_lines, read_lines
from iapt.metrics.sql_execution import AGGREGATES, OPERATORS

Rows = Iterable[Mapping[str, Any]]

WIKISQL_SPLITS = {"train": "train", "validation": "dev", "test": "test"}
TABLE_TEXTS = ("page_title", "section_title", "caption", "name")


def read_e2e(files: Mapping[str, Path]) -> dict[str, Rows]:
    """Read the CSV files of the E2E release."""
    return {split: list(_e2e_rows(path)) for split, path in files.items()}


def _e2e_rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        for row in csv.DictReader(file):
            yield {"meaning_representation": row["mr"], "human_reference": row["ref"]}


def read_wikisql(files: Mapping[str, Path]) -> dict[str, Rows]:
    """Read the archive of the WikiSQL release."""
    splits: dict[str, Rows] = {}
    with tarfile.open(files["archive"]) as archive:
        for split, stem in WIKISQL_SPLITS.items():
            with _member(archive, f"data/{stem}.tables.jsonl") as lines:
                found = parse_lines(lines, f"data/{stem}.tables.jsonl")
                tables = {table["id"]: _wikisql_table(table) for _, table in found}
            with _member(archive, f"data/{stem}.jsonl") as lines:
                found = parse_lines(lines, f"data/{stem}.jsonl")
                splits[split] = [_wikisql_row(row, tables) for _, row in found]
    return splits


def _member(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    try:
        file = archive.extractfile(name)  # reads in place, and writes nothing to the disk
    except KeyError:
        file = None
    if file is None:
        raise DataError(f"{archive.name!s}: has no {name}; it is not the WikiSQL release.")
    return file


def _wikisql_table(table: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": table["id"],
        "header": table["header"],
        "types": table["types"],
        "rows": [[str(cell) for cell in row] for row in table["rows"]],
        "page_id": str(table.get("page_id") or ""),
        **{key: str(table.get(key) or "") for key in TABLE_TEXTS},
    }


def _wikisql_row(row: Mapping[str, Any], tables: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    table, sql = tables[row["table_id"]], row["sql"]
    conditions = [(column, operator, str(value)) for column, operator, value in sql["conds"]]
    parts = list(zip(*conditions, strict=True)) or [(), (), ()]
    names = ("column_index", "operator_index", "condition")
    return {
        "phase": row["phase"],
        "question": row["question"],
        "table": table,
        "sql": {
            "human_readable": _human_readable(sql, conditions, table["header"]),
            "sel": sql["sel"],
            "agg": sql["agg"],
            "conds": dict(zip(names, map(list, parts), strict=True)),
        },
    }


def _human_readable(
    sql: Mapping[str, Any], conditions: list[tuple[int, int, str]], header: list[str]
) -> str:
    words = ["SELECT", AGGREGATES[sql["agg"]], header[sql["sel"]], "FROM table"]
    clauses = [f"{header[column]} {OPERATORS[op]} {value}" for column, op, value in conditions]
    if clauses:
        words.append("WHERE " + " AND ".join(clauses))
    return " ".join(word for word in words if word)


def read_jsonl_files(files: Mapping[str, Path]) -> dict[str, Rows]:
    """Read JSON Lines unchanged."""
    return {split: [row for _, row in read_lines(path)] for split, path in files.items()}


READERS: dict[str, Callable[[Mapping[str, Path]], dict[str, Rows]]] = {
    "e2e": read_e2e,
    "wikisql": read_wikisql,
    "jsonl": read_jsonl_files,
}
