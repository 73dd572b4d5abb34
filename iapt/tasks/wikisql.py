"""WikiSQL: write the SQL query that answers a question about a table (Appendix C.5, D).

The release has structured queries (a column, an aggregate, conditions). The model learns valid SQL
made from them, such as `SELECT MIN("Total") FROM "table" WHERE "Crop" = 'oats'`, because the
released `human_readable` quotes nothing and cannot be run. The prompt's table information is the
table's name with its column names and types; rows are not shown.

A query is right if it runs and obtains the gold result (Appendix C.7); `iapt.metrics.sql_execution`
says how it is run safely. About 12 % of gold queries return nothing, so any query that returns nothing
is right there: `details` counts these and gives the accuracy over the others.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from iapt.errors import DataError, MetricError
from iapt.metrics.percent import percent
from iapt.metrics.sql_execution import execution_match, structured_to_sql
from iapt.metrics.sql_rewriting import RefusedSqlError
from iapt.metrics.sql_surface import read_query
from iapt.metrics.sql_table import TABLE_NAME, column_names, column_types, storable
from iapt.tasks.answer import whole_text
from iapt.tasks.base import Example, Row, Scores, Source, Split
from iapt.tasks.row_task import RowTask, check_lengths, field_text

_FENCED = re.compile(r"```(?:[a-z]*[ \t]*\n)?(.*?)(?:```|\Z)", re.DOTALL | re.IGNORECASE)
_END = re.compile(r"\s*</s>\s*\Z")
_LEAD = re.compile(r"[^;:]{0,60}:\s*(?=select\b)", re.IGNORECASE)
_BREAK = re.compile(r"'[^']*'|\"[^\"]*\"|(;|\n\s*\n)")
_SQL_WORDS = re.compile(
    r"^[^\S\n]*(?:alter|analyze|attach|begin|commit|create|delete|detach|drop|end|except|explain|insert|intersect|pragma|"
    r"reindex|release|replace|rollback|savepoint|select|union|update|vacuum|values|with)\b",
    re.IGNORECASE | re.MULTILINE,
)
MOST_COLUMNS = 2_000  # SQLite's default limit
TABLE_KEYS = ("id", "header", "types", "rows")


class WikiSQL(RowTask):
    """Questions to SQL, scored by execution."""

    metric = "acc"

    def __init__(self, **common: Any) -> None:
        super().__init__(fields=("query", "table_info"), **common)

    def example(self, row: Row, identity: str) -> Example:
        """Turn a row into an example; `meta` has the table and the structured query."""
        table, sql = row.get("table"), row.get("sql")
        if not isinstance(table, Mapping) or not isinstance(sql, Mapping):
            raise DataError(
                f"{identity}: fields 'table' and 'sql' must be objects; the row has "
                f"{', '.join(sorted(row))}."
            )
        try:
            check_cells(table)
            response = structured_to_sql(sql, table)
            information = table_information(table)
        except (MetricError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"{identity}: not a WikiSQL query and table: {error!r}.") from error
        fields = {"query": field_text(row, "question", identity), "table_info": information}
        meta = {"table": {key: table[key] for key in TABLE_KEYS if key in table}, "sql": dict(sql)}
        return Example(identity, fields, response, (response,), meta)

    def examples(self, split: Split, source: Source) -> list[Example]:
        """Return the examples; questions on one table share one copy of it."""
        made = super().examples(split, source)
        tables: dict[str, Mapping[str, Any]] = {}
        for example in made:
            table = example.meta["table"]
            known = tables.setdefault(str(table.get("id")), table)
            if known == table:
                example.meta["table"] = known  # type: ignore[index]  # `example` made this dict
        return made

    def parse(self, output: str, example: Example) -> str | None:
        """Return the text without talk about the query, or None if it is empty.

        Talk is the text around a single code fence, a lead such as "SQL:", and an explanation after a
        semicolon or a blank line.  The latter two are removed only if this leaves a query that may run.
        """
        fenced = _FENCED.findall(output)
        text = whole_text(_END.sub("", fenced[0] if len(fenced) == 1 else output))
        if text is None or _may_run(text, example.meta["table"]):
            return text
        alone = without_talk(text)
        return alone if _may_run(alone, example.meta["table"]) else text

    def score(self, parsed: Sequence[str | None], examples: Sequence[Example]) -> Scores:
        """Return the share of queries that obtain the gold result.

        `details` counts the other queries by what went wrong, counts the gold queries that return nothing,
        and gives the accuracy over the gold queries that return something.
        """
        check_lengths(parsed, examples, self.name)
        results = [
            execution_match(text, example.meta["sql"], example.meta["table"])
            for text, example in zip(parsed, examples, strict=True)
        ]
        kinds = [result.reason.partition(":")[0] for result in results]
        counted = ("wrong", "refused", "unparsable", "failed")
        details = {f"n_{kind}": float(kinds.count(kind)) for kind in counted}
        telling = [result.correct for result in results if not result.gold_empty]
        details["n_gold_empty"] = float(len(results) - len(telling))
        if telling:
            details["acc_gold_not_empty"] = percent(telling)
        pairs = zip(parsed, kinds, strict=True)
        unparsed = sum(text is None or kind == "unparsable" for text, kind in pairs)
        value = percent([result.correct for result in results])
        return Scores(self.metric, value, len(examples), unparsed, details)


def without_talk(text: str) -> str:
    """Return a text without a lead that ends in a colon, and without an explanation after the query.

    What follows the query is no explanation if it has another semicolon, or a line that begins like SQL.
    """
    text = _LEAD.sub("", text, count=1) if _LEAD.match(text) else text
    ends = (found.start(1) for found in _BREAK.finditer(text) if found[1])
    end = next(ends, len(text))
    rest = text[end:].lstrip("; \t\n")
    return text if ";" in rest or _SQL_WORDS.search(rest) else text[:end].strip()


def _may_run(text: str, table: Mapping[str, Any]) -> bool:
    try:
        read_query(text, table)
    except RefusedSqlError:
        return False
    return True


def check_cells(table: Mapping[str, Any]) -> None:
    """Refuse a table that SQLite cannot hold, before a run is spent on it.

    Raises:
        MetricError: there are too many columns, a row does not have one cell for each, or a cell is neither text
            nor a number of at most 64 bits.
    """
    if len(table["header"]) > MOST_COLUMNS:
        raise MetricError(
            f"table.header: got {len(table['header']):,} columns; SQLite accepts at most {MOST_COLUMNS:,}."
        )
    for number, cells in enumerate(table["rows"]):
        if not isinstance(cells, list) or len(cells) != len(table["header"]):
            raise MetricError(
                f"table.rows[{number}]: got {cells!r:.80}; it needs a list of "
                f"{len(table['header'])} cells, one for each name in the header."
            )
        for cell in cells:
            if not storable(cell) or not (cell is None or isinstance(cell, str | int | float)):
                raise MetricError(
                    f"table.rows[{number}]: got the cell {cell!r:.80}; a cell is text or a number "
                    "of at most 64 bits."
                )


def table_information(table: Mapping[str, Any]) -> str:
    """Return the table's name with its columns and their types, as the prompt shows them."""
    columns = zip(column_names(table), column_types(table), strict=True)
    listed = ", ".join(f"{quoted(name)} {kind}" for name, kind in columns)
    return f"{quoted(TABLE_NAME)} ({listed})"


def quoted(name: str) -> str:
    """Return the name as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'
