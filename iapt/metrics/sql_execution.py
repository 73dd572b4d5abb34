"""WikiSQL by execution (Appendix C.7): a query is correct if it runs and obtains the gold result.

The comparison is that of the official evaluator (salesforce/WikiSQL, `evaluate.py`): the two lists
of results must be equal, in order, as Python compares them (3 = 3.0, but 3 is not "3"). So two
empty results are equal, and about 11-13 % of gold queries return nothing:
`ExecutionResult.gold_empty` marks these for the caller to report.

The official evaluator executes structured predictions; here a model writes SQL text over the real
column names, which `sql_surface` checks and rewrites and `sql_table` runs in a sandbox (their
docstrings list what is allowed and what is enforced). Wrong, hostile, endless or huge SQL counts as
a wrong answer and causes no exception, write or hang.

Two differences are intended. The official engine binds conditions by column name, so with two
conditions on one column, the first is silently compared with the second's value; here each keeps
its own. The official engine also fails if text without a number is compared with a real column;
here such a comparison follows SQLite's rules (every text is above every number).
"""

import math
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import reduce
from typing import Any

from sqlglot import exp

from iapt.errors import MetricError
from iapt.metrics.sql_rewriting import AGGREGATE_NAMES, RefusedSqlError, SafeQuery
from iapt.metrics.sql_surface import read_query
from iapt.metrics.sql_table import (
    TABLE_NAME,
    ColumnType,
    Value,
    column_names,
    column_types,
    condition_value,
    is_valid_sqlite,
    run,
    sandbox,
    storable,
)

AGGREGATES = ("", "MAX", "MIN", "COUNT", "SUM", "AVG")
OPERATORS = ("=", ">", "<")

_AGGREGATE_NODES = {name: node for node, name in AGGREGATE_NAMES.items()}
_OPERATOR_NODES: dict[str, type[exp.Expr]] = {"=": exp.EQ, ">": exp.GT, "<": exp.LT}


@dataclass(frozen=True)
class ExecutionResult:
    """The verdict on one predicted query.

    Attributes:
        correct: it ran and obtained the gold result.
        reason: "correct", "wrong: ..." (it ran), "unparsable: ...", "refused: ..." or
            "failed: ..." (it did not); the word before the colon is the kind, for counting.
        gold_empty: the gold query returns nothing (no row, or only NULL).
    """

    correct: bool
    reason: str
    gold_empty: bool


@dataclass(frozen=True)
class _Structured:
    column: int
    aggregate: str
    conditions: tuple[tuple[int, str, Value], ...]


def structured_to_sql(sql: Mapping[str, Any], table: Mapping[str, Any]) -> str:
    """Write a structured WikiSQL query as valid SQL over the table's column names.

    Args:
        sql: `sel`, `agg` and `conds`, where `conds` is either three parallel lists (`column_index`,
            `operator_index`, `condition`, as on Hugging Face) or a list of triples (as in the
            release files).
        table: `header` and `types`; names are those of `column_names`.

    Returns:
        One SELECT with quoted identifiers, numbers for real columns and strings for text columns.

    Raises:
        MetricError: an index points outside the table, the aggregates or the operators, or a number is too large.
    """
    names, types = column_names(table), column_types(table)
    query = _read_structured(sql, len(names))

    def column(index: int) -> exp.Column:
        return exp.column(names[index], quoted=True)

    result: exp.Expr = column(query.column)
    if query.aggregate:
        result = _AGGREGATE_NODES[query.aggregate](this=result)
    statement = exp.select(result).from_(exp.Table(this=exp.to_identifier(TABLE_NAME, quoted=True)))
    conditions: list[exp.Expr] = [
        _OPERATOR_NODES[operator](
            this=column(index), expression=_typed_literal(value, types[index])
        )
        for index, operator, value in query.conditions
    ]
    if conditions:
        # A flat chain: calling `Select.where` for each condition would add parentheses.
        statement = statement.where(reduce(lambda a, b: exp.And(this=a, expression=b), conditions))
    return statement.sql(dialect="sqlite")


def execution_match(
    predicted: str | None, sql: Mapping[str, Any], table: Mapping[str, Any]
) -> ExecutionResult:
    """Run a predicted query and the gold one, and compare them as the official evaluator does.

    Args:
        predicted: the model's SQL text; None is an output without SQL.
        sql: the gold structured query, as for `structured_to_sql`.
        table: `header`, `types` and `rows`.

    Returns:
        The verdict; no predicted text raises an error.

    Raises:
        MetricError: the gold query or the table is malformed.
    """
    types = column_types(table)
    gold_query = _gold_query(_read_structured(sql, len(column_names(table))), types)
    max_rows = max(1, len(table["rows"]))
    with sandbox(table) as connection:
        gold = run(connection, gold_query.select, gold_query.tail, gold_query.parameters, max_rows)
        gold_empty = all(value is None for value in gold)
        try:
            query = read_query(predicted or "", table)
            if not is_valid_sqlite(connection, predicted or ""):
                return ExecutionResult(False, "unparsable: SQLite does not accept it", gold_empty)
            result = run(connection, query.select, query.tail, query.parameters, max_rows)
        except RefusedSqlError as refusal:
            return ExecutionResult(False, str(refusal), gold_empty)
        except (sqlite3.Error, OverflowError) as error:
            return ExecutionResult(False, f"failed: {error}", gold_empty)
    if result == gold:
        return ExecutionResult(True, "correct", gold_empty)
    return ExecutionResult(
        False, f"wrong: {len(result)} rows for {len(gold)}, or other values", gold_empty
    )


def _gold_query(query: _Structured, types: list[ColumnType]) -> SafeQuery:
    column = f"col{query.column}"
    select = f"{query.aggregate}({column})" if query.aggregate else column
    where = " AND ".join(f"col{index} {operator} ?" for index, operator, _ in query.conditions)
    values = [condition_value(value, types[index]) for index, _, value in query.conditions]
    return SafeQuery(select, f"WHERE {where}" if where else "", values)


def _read_structured(sql: Mapping[str, Any], columns: int) -> _Structured:
    conditions = sql["conds"]
    if isinstance(conditions, Mapping):
        parts = (conditions["column_index"], conditions["operator_index"], conditions["condition"])
        conditions = list(zip(*parts, strict=True))
    for name, index, size in [
        ("sel", sql["sel"], columns),
        ("agg", sql["agg"], len(AGGREGATES)),
        *(("conds: column", column, columns) for column, _, _ in conditions),
        *(("conds: operator", operator, len(OPERATORS)) for _, operator, _ in conditions),
    ]:
        if index not in range(size):
            raise MetricError(
                f"sql.{name}: got {index!r}; allowed is 0 to {size - 1} for this table."
            )
    for _, _, value in conditions:
        if not storable(value):
            raise MetricError(
                f"sql.conds: condition: got {value!r:.80}; a number has at most 64 bits."
            )
    return _Structured(
        column=sql["sel"],
        aggregate=AGGREGATES[sql["agg"]],
        conditions=tuple(
            (column, OPERATORS[operator], value) for column, operator, value in conditions
        ),
    )


def _typed_literal(value: Value, kind: ColumnType) -> exp.Expr:
    bound = condition_value(value, kind)
    if kind == "real" and isinstance(bound, int | float) and math.isfinite(bound):
        number = format(Decimal(repr(bound)), "f")  # without an exponent
        return exp.Literal.number(number.removesuffix(".0"))
    return exp.Literal.string(str(value))
