"""A model's SQL, once parsed, written again in our own words; `sql_surface` says what is allowed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlglot import exp

from iapt.metrics.sql_table import (
    RESULT,
    STORE,
    TABLE_NAME,
    ColumnType,
    Value,
    column_names,
    column_types,
    condition_value,
)

AGGREGATE_NAMES: dict[type[exp.Expr], str] = {
    exp.Max: "MAX",
    exp.Min: "MIN",
    exp.Count: "COUNT",
    exp.Sum: "SUM",
    exp.Avg: "AVG",
}
_FUNCTIONS: dict[type[exp.Expr], str] = {
    exp.Lower: "LOWER",
    exp.Upper: "LOWER",  # all text is in lower case here
    exp.Trim: "TRIM",
    exp.Length: "LENGTH",
    exp.Abs: "ABS",
    exp.Round: "ROUND",
    exp.Coalesce: "COALESCE",
}
_COMPARISONS: dict[type[exp.Expr], str] = {
    exp.EQ: "=",
    exp.NEQ: "<>",
    exp.LT: "<",
    exp.GT: ">",
    exp.LTE: "<=",
    exp.GTE: ">=",
    exp.Is: "IS",
    exp.NullSafeEQ: "IS",
    exp.NullSafeNEQ: "IS NOT",
}
_OPERATORS: dict[type[exp.Expr], str] = {
    exp.And: "AND",
    exp.Or: "OR",
    exp.Like: "LIKE",
    exp.Glob: "GLOB",
    exp.Add: "+",
    exp.Sub: "-",
    exp.Mul: "*",
    exp.Div: "/",
    exp.Mod: "%",
}
_TYPES = {
    "INT": "INTEGER",
    "BIGINT": "INTEGER",
    "TEXT": "TEXT",
    "VARCHAR": "TEXT",
    "FLOAT": "REAL",
    "DOUBLE": "REAL",
    "DECIMAL": "NUMERIC",
}


class RefusedSqlError(Exception):
    """The text is not a query of the allowed form; the message starts with a word for the kind."""


@dataclass(frozen=True)
class SafeQuery:
    """A query over col0, col1, ... in our own words: two pieces of SQL, and the value of each `?`."""

    select: str
    tail: str
    parameters: list[Value] = field(default_factory=list)


def _only(node: exp.Expr, *allowed: str) -> None:
    """Refuse a node that carries more than the named parts: an unknown part is never passed on."""
    extra = [name for name, value in node.args.items() if value and name not in allowed]
    if extra:
        raise RefusedSqlError(f"refused: {node.key} with {', '.join(extra)}")


class Rewriter:
    """Writes the checked tree as SQL over col0, col1, ..., and keeps the value of each `?` in order."""

    def __init__(self, table: Mapping[str, Any]) -> None:
        self.columns = {name.casefold(): index for index, name in enumerate(column_names(table))}
        self.types = column_types(table)
        self.tables = {TABLE_NAME}
        self.alias = ""
        self.parameters: list[Value] = []

    def query(self, node: exp.Select) -> SafeQuery:
        """Return the query over the stored columns.

        Raises:
            RefusedSqlError: it uses something that is not allowed.
        """
        parts = ("where", "group", "having", "order", "limit", "offset")
        _only(node, "expressions", "from_", "distinct", *parts)
        self._from(node.args.get("from_"))
        if len(node.expressions) != 1:
            raise RefusedSqlError("refused: not exactly one result column")
        (result,) = node.expressions
        self.alias = ""
        if isinstance(result, exp.Alias):
            _only(result, "this", "alias")
            self.alias, result = result.alias.casefold(), result.this
        select = self._value(result)
        if node.args.get("distinct"):
            _only(node.args["distinct"])
            select = f"DISTINCT {select}"
        where, group, having, order, limit, offset = (node.args.get(part) for part in parts)
        tail = []
        if where:
            tail.append(f"WHERE {self._value(where.this)}")
        if group:
            _only(group, "expressions")
            tail.append(f"GROUP BY {', '.join(map(self._term, group.expressions))}")
        if having:
            tail.append(f"HAVING {self._value(having.this)}")
        if order:
            tail.append(f"ORDER BY {', '.join(map(self._ordered, order.expressions))}")
        for word, part in (("LIMIT", limit), ("OFFSET", offset)):
            if part:
                tail.append(f"{word} {_whole(part)}")
        return SafeQuery(select, " ".join(tail), self.parameters)

    def _from(self, node: exp.Expr | None) -> None:
        table = node.this if node else None
        if not isinstance(table, exp.Table) or table.name.casefold() != TABLE_NAME:
            raise RefusedSqlError(f'refused: the only table is "{TABLE_NAME}"')
        _only(table, "this", "alias")
        self.tables = {TABLE_NAME}
        if table.alias:
            _only(table.args["alias"], "this")
            self.tables = {table.alias.casefold()}

    def _inner(self, node: exp.Expr) -> str:
        """Write a query inside the query; it has names of its own."""
        while isinstance(node, exp.Subquery):
            _only(node, "this")
            node = node.this
        if not isinstance(node, exp.Select):
            raise RefusedSqlError(f"refused: {node.key} where a SELECT was expected")
        outer = self.tables, self.alias
        query = self.query(node)
        self.tables, self.alias = outer
        return f"(SELECT {query.select} AS {RESULT} FROM {STORE} {query.tail})"

    def _term(self, node: exp.Expr) -> str:
        """Write what an order or a group goes by: a value, or the result by its name or number."""
        if isinstance(node, exp.Literal):
            if node.this != "1" or node.is_string:
                raise RefusedSqlError("refused: an ordering by a constant")
            return "1"
        if isinstance(node, exp.Column) and not node.table and node.name.casefold() == self.alias:
            return RESULT
        return self._value(node)

    def _ordered(self, node: exp.Expr) -> str:
        if not isinstance(node, exp.Ordered):
            raise RefusedSqlError("refused: an ordering that is not a value")
        _only(node, "this", "desc", "nulls_first")
        return f"{self._term(node.this)} {'DESC' if node.args.get('desc') else 'ASC'}"

    def _value(self, node: exp.Expr, kind: ColumnType | None = None) -> str:
        """Write a value; `kind` is the type of the column with which it is compared, if there is one."""
        found = type(node)
        if isinstance(node, exp.Column):
            return self._bind(node.name, kind) if self._is_text(node) else self._column(node)
        if isinstance(node, exp.Null | exp.Boolean):
            return node.sql("sqlite")
        if _is_constant(node):
            return self._bind(_literal(node), kind)
        if isinstance(node, exp.Paren | exp.Neg | exp.Not):
            _only(node, "this")
            sign = "- " if found is exp.Neg else "NOT " if found is exp.Not else ""
            return f"({sign}{self._value(node.this, kind)})"
        if found in _OPERATORS:
            _only(node, "this", "expression", "negate", "typed", "safe")
            no = "NOT " if node.args.get("negate") else ""
            left, right = self._value(node.this), self._value(node.expression)
            return f"({left} {no}{_OPERATORS[found]} {right})"
        if found in _COMPARISONS:
            _only(node, "this", "expression")
            left, right = self._compared([node.this, node.expression])
            return f"({left} {_COMPARISONS[found]} {right})"
        if isinstance(node, exp.Between):
            _only(node, "this", "low", "high")
            parts = self._compared([node.this, node.args["low"], node.args["high"]])
            return "({} BETWEEN {} AND {})".format(*parts)
        if isinstance(node, exp.In):
            _only(node, "this", "expressions", "query")
            first, *rest = self._compared([node.this, *node.expressions])
            query = node.args.get("query")
            return f"({first} IN {self._inner(query) if query else '(' + ', '.join(rest) + ')'})"
        if isinstance(node, exp.Exists):
            _only(node, "this")
            return f"EXISTS {self._inner(node.this)}"
        if isinstance(node, exp.Subquery | exp.Select):
            return self._inner(node)
        if found in AGGREGATE_NAMES:
            return self._aggregate(node, AGGREGATE_NAMES[found])
        if found in _FUNCTIONS:
            _only(node, "this", "expressions", "decimals")
            more = [*node.expressions, *filter(None, [node.args.get("decimals")])]
            return f"{_FUNCTIONS[found]}({', '.join(map(self._value, [node.this, *more]))})"
        if isinstance(node, exp.Cast):
            _only(node, "this", "to")
            to = _TYPES.get(node.args["to"].this.name)
            if to is None or node.args["to"].expressions:
                raise RefusedSqlError("refused: a cast to a type that SQLite does not have")
            return f"CAST({self._value(node.this)} AS {to})"
        if isinstance(node, exp.Case):
            return self._case(node)
        raise RefusedSqlError(f"refused: {node.key} is not an allowed value")

    def _aggregate(self, node: exp.Expr, name: str) -> str:
        _only(node, "this", "big_int", "ignore_nulls")
        if isinstance(node.this, exp.Star) and name == "COUNT":
            _only(node.this)
            return "COUNT(*)"
        if not isinstance(node.this, exp.Distinct):
            return f"{name}({self._value(node.this)})"
        _only(node.this, "expressions")
        if len(node.this.expressions) != 1:
            raise RefusedSqlError(f"refused: {name} of several columns")
        return f"{name}(DISTINCT {self._value(node.this.expressions[0])})"

    def _case(self, node: exp.Case) -> str:
        _only(node, "this", "ifs", "default")
        first, otherwise = node.this, node.args.get("default")
        words = ["CASE", *([self._value(first)] if first else [])]
        for branch in node.args["ifs"]:
            _only(branch, "this", "true")
            words += ["WHEN", self._value(branch.this), "THEN", self._value(branch.args["true"])]
        words += ["ELSE", self._value(otherwise)] if otherwise else []
        return f"({' '.join(words)} END)"

    def _compared(self, operands: list[exp.Expr]) -> list[str]:
        """Write a value and those it is compared with: the type of a column decides how constants are bound."""
        first, *others = bare = [operand.unnest() for operand in operands]
        columns = others if _is_constant(first) or self._is_text(first) else [first]
        names = (c.name.casefold() for c in columns if isinstance(c, exp.Column))
        kinds = (self.types[self.columns[name]] for name in names if name in self.columns)
        kind = next(kinds, None)
        return [self._value(operand, kind) for operand in bare]

    def _is_text(self, node: exp.Expr) -> bool:
        """Say whether SQLite takes a name in double quotes for a string, since no column has it."""
        if not isinstance(node, exp.Column):
            return False
        name = node.name.casefold()
        quoted = isinstance(node.this, exp.Identifier) and node.this.args.get("quoted")
        known = name in self.columns or name == self.alias
        return bool(quoted) and not node.table and not known

    def _column(self, node: exp.Column) -> str:
        name = node.name.casefold()
        if name == self.alias and name not in self.columns and not node.table:
            return RESULT
        if not isinstance(node.this, exp.Identifier):
            raise RefusedSqlError("refused: a column was expected")
        _only(node, "this", "table")
        if node.table and node.table.casefold() not in self.tables:
            raise RefusedSqlError(f"refused: no table {node.table[:40]!r}")
        if name not in self.columns:
            raise RefusedSqlError(f"refused: no column {node.name[:40]!r}")
        return f"col{self.columns[name]}"

    def _bind(self, value: Value, kind: ColumnType | None) -> str:
        self.parameters.append(condition_value(value, kind or "text"))
        return "?"


def _is_constant(node: exp.Expr) -> bool:
    """Say whether a node is a string or a number, which may have a sign."""
    if isinstance(node, exp.Neg):
        node = node.this.unnest()
        return isinstance(node, exp.Literal) and not node.is_string
    return isinstance(node, exp.Literal)


def _whole(node: exp.Expr) -> int:
    _only(node, "expression")
    value = _literal(node.expression)
    if not isinstance(value, int):
        raise RefusedSqlError("refused: a limit that is not a whole number")
    return value


def _literal(node: exp.Expr) -> str | int | float:
    """Return a literal's value with the type SQLite gives it: text, 64-bit integer, or float."""
    negative = isinstance(node, exp.Neg)
    if negative:
        node = node.this.unnest()
    if not isinstance(node, exp.Literal):
        raise RefusedSqlError(f"refused: {node.key} where a string or a number was expected")
    text = str(node.this)
    if node.is_string:
        return text
    try:
        number: int | float = (
            int(text) if text.isascii() and text.isdigit() and len(text) < 19 else float(text)
        )
    except (ValueError, OverflowError):
        raise RefusedSqlError(f"unparsable: number {text[:20]!r}") from None
    return -number if negative else number
