"""What SQL a model may write: its text is parsed, checked and rewritten, and never executed.

Allowed, in any letter case, over the one table called "table":

    SELECT [DISTINCT] <column> | <aggregate>([DISTINCT] <column>) | COUNT(*)  [AS name]
    FROM "table" [AS name]
    [WHERE <condition>] [ORDER BY <column> [ASC | DESC], ...] [LIMIT <integer>] [;]

    aggregate:  MAX, MIN, COUNT, SUM, AVG (the sixth of WikiSQL is "none")
    condition:  = == <> != < > <= >=, [NOT] BETWEEN, [NOT] IN (list), IS [NOT] NULL,
                joined by AND, OR, NOT and parentheses; each compares a column with a string,
                a number or another column

That is more than WikiSQL's own queries use, because the paper counts a query as correct if it runs
and obtains the right result, however written. Everything else is refused: several statements,
CTEs, subqueries, joins, set operations, grouping, windows, other functions, LIKE and GLOB (a
pattern can take exponential time inside one step), arithmetic, CASE, CAST, constant conditions,
results of more than one column, columns the table does not have.

Three walls stand before the parser, since `sqlglot` recurses: length, a list of allowed token
types with a limit on their number, and nesting depth. What passes is linear in the table (n log n
with ORDER BY).
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlglot
from sqlglot import TokenType, exp
from sqlglot.errors import SqlglotError

from iapt.metrics.sql_table import (
    TABLE_NAME,
    ColumnType,
    Value,
    column_names,
    column_types,
    condition_value,
)

MAX_CHARACTERS = 5_000
MAX_TOKENS = 300
MAX_NESTING = 8

_TOKENS = frozenset(
    {
        *(TokenType.SELECT, TokenType.DISTINCT, TokenType.ALIAS, TokenType.FROM, TokenType.WHERE),
        *(TokenType.AND, TokenType.OR, TokenType.NOT, TokenType.IN, TokenType.IS, TokenType.NULL),
        *(TokenType.EQ, TokenType.NEQ, TokenType.LT, TokenType.LTE, TokenType.GT, TokenType.GTE),
        *(TokenType.BETWEEN, TokenType.ORDER_BY, TokenType.ASC, TokenType.DESC, TokenType.LIMIT),
        *(TokenType.IDENTIFIER, TokenType.VAR, TokenType.STRING, TokenType.NUMBER, TokenType.DASH),
        *(TokenType.L_PAREN, TokenType.R_PAREN, TokenType.COMMA, TokenType.DOT, TokenType.STAR),
        TokenType.SEMICOLON,
    }
)
_AGGREGATES: dict[type[exp.Expr], str] = {
    exp.Max: "MAX",
    exp.Min: "MIN",
    exp.Count: "COUNT",
    exp.Sum: "SUM",
    exp.Avg: "AVG",
}
_COMPARISONS: dict[type[exp.Expr], str] = {
    exp.EQ: "=",
    exp.NEQ: "<>",
    exp.LT: "<",
    exp.GT: ">",
    exp.LTE: "<=",
    exp.GTE: ">=",
}
# Whatever a malformed text can raise inside the parser; memory and interrupts are not among them.
_PARSER_FAILURES = (
    SqlglotError,
    RecursionError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    ArithmeticError,
    AssertionError,
    NotImplementedError,
)


class RefusedSqlError(Exception):
    """The text is not a query of the allowed form; the message starts with a word for the kind."""


@dataclass(frozen=True)
class SafeQuery:
    """A query over col0, col1, ... in our own words: two pieces of SQL, and the value of each `?`."""

    select: str
    tail: str
    parameters: list[Value] = field(default_factory=list)


def read_query(text: str, table: Mapping[str, Any]) -> SafeQuery:
    """Read a model's SQL text.

    Args:
        text: the model's output.
        table: the table's `header` and `types`.

    Returns:
        The same query over the stored columns.

    Raises:
        RefusedSqlError: the text does not parse, or uses something that is not allowed.
    """
    text = _check_tokens(text, {name.casefold() for name in column_names(table)})
    try:
        statements = [node for node in sqlglot.parse(text, dialect="sqlite") if node is not None]
        if len(statements) != 1 or not isinstance(statements[0], exp.Select):
            raise RefusedSqlError("refused: not exactly one SELECT")
        return _Writer(table).query(statements[0])
    except _PARSER_FAILURES as error:
        raise RefusedSqlError(f"unparsable: {type(error).__name__}") from None


def _check_tokens(text: str, columns: Collection[str]) -> str:
    """Refuse text that is too long, nested too deep or has other tokens; return it as the parser should read it.

    SQLite takes many words for names that `sqlglot` keeps for itself (Date, Number, Text, Use, ...): if a
    column has such a name, the word is quoted. SQLite is asked later whether it takes the word unquoted.
    """
    if len(text) > MAX_CHARACTERS:
        raise RefusedSqlError(f"refused: more than {MAX_CHARACTERS} characters")
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise RefusedSqlError("refused: a character SQLite cannot read")
    try:
        tokens = sqlglot.tokenize(text, dialect="sqlite")
    except _PARSER_FAILURES as error:
        raise RefusedSqlError(f"unparsable: {type(error).__name__}") from None
    kinds = [token.token_type for token in tokens]
    if not kinds or kinds[0] is not TokenType.SELECT or kinds.count(TokenType.SELECT) != 1:
        raise RefusedSqlError("refused: not exactly one SELECT")
    if len(kinds) > MAX_TOKENS:
        raise RefusedSqlError(f"refused: more than {MAX_TOKENS} tokens")
    depth, read, written = 0, "", 0
    for kind, token in zip(kinds, tokens, strict=True):
        word = text[token.start : token.end + 1]
        if kind not in _TOKENS and word.casefold() in columns and word.isidentifier():
            read += f'{text[written : token.start]}"{word}"'
            written = token.end + 1
        elif kind not in _TOKENS:
            raise RefusedSqlError(f"refused: {kind.name} ({token.text[:20]!r}) is not allowed")
        depth += (kind is TokenType.L_PAREN) - (kind is TokenType.R_PAREN)
        if depth > MAX_NESTING:
            raise RefusedSqlError(f"refused: more than {MAX_NESTING} levels of parentheses")
    return read + text[written:]


def _only(node: exp.Expr, *allowed: str) -> None:
    """Refuse a node that carries more than the named parts: an unknown part is never passed on."""
    extra = [name for name, value in node.args.items() if value and name not in allowed]
    if extra:
        raise RefusedSqlError(f"refused: {node.key} with {', '.join(extra)}")


class _Writer:
    """Writes the checked tree as SQL over col0, col1, ... with bound values."""

    def __init__(self, table: Mapping[str, Any]) -> None:
        self.columns = {name.casefold(): index for index, name in enumerate(column_names(table))}
        self.types = column_types(table)
        self.tables = {TABLE_NAME}
        self.parameters: list[Value] = []

    def query(self, node: exp.Select) -> SafeQuery:
        _only(node, "expressions", "from_", "where", "order", "limit", "distinct")
        self._from(node.args.get("from_"))
        if len(node.expressions) != 1:
            raise RefusedSqlError("refused: not exactly one result column")
        select = self._result(node.expressions[0])
        if node.args.get("distinct"):
            _only(node.args["distinct"])
            select = f"DISTINCT {select}"
        tail = []
        if node.args.get("where"):
            tail.append(f"WHERE {self._condition(node.args['where'].this)}")
        if node.args.get("order"):
            terms = [self._ordered(term) for term in node.args["order"].expressions]
            tail.append(f"ORDER BY {', '.join(terms)}")
        if node.args.get("limit"):
            tail.append(f"LIMIT {self._limit(node.args['limit'])}")
        return SafeQuery(select, " ".join(tail), self.parameters)

    def _from(self, node: exp.Expr | None) -> None:
        table = node.this if node else None
        if not isinstance(table, exp.Table) or table.name.casefold() != TABLE_NAME:
            raise RefusedSqlError(f'refused: the only table is "{TABLE_NAME}"')
        _only(table, "this", "alias")
        if table.alias:
            _only(table.args["alias"], "this")
            self.tables = {table.alias.casefold()}

    def _result(self, node: exp.Expr) -> str:
        if isinstance(node, exp.Alias):
            _only(node, "this", "alias")
            node = node.this
        name = _AGGREGATES.get(type(node))
        if name is None:
            return self._column(node)
        _only(node, "this", "big_int", "ignore_nulls")
        if isinstance(node.this, exp.Distinct):
            _only(node.this, "expressions")
            if len(node.this.expressions) != 1:
                raise RefusedSqlError(f"refused: {name} of several columns")
            return f"{name}(DISTINCT {self._column(node.this.expressions[0])})"
        if name == "COUNT" and isinstance(node.this, exp.Star):
            _only(node.this)
            return "COUNT(*)"
        return f"{name}({self._column(node.this)})"

    def _column(self, node: exp.Expr | None) -> str:
        return f"col{self._column_index(node)}"

    def _column_index(self, node: exp.Expr | None) -> int:
        while isinstance(node, exp.Paren):
            node = node.this
        if not isinstance(node, exp.Column) or not isinstance(node.this, exp.Identifier):
            raise RefusedSqlError("refused: a column was expected")
        _only(node, "this", "table")
        if node.table and node.table.casefold() not in self.tables:
            raise RefusedSqlError(f"refused: no table {node.table[:40]!r}")
        index = self.columns.get(node.name.casefold())
        if index is None:
            raise RefusedSqlError(f"refused: no column {node.name[:40]!r}")
        return index

    def _condition(self, node: exp.Expr) -> str:
        kind = type(node)
        if isinstance(node, exp.And | exp.Or):
            _only(node, "this", "expression")
            left, right = self._condition(node.this), self._condition(node.expression)
            return f"({left} {'AND' if kind is exp.And else 'OR'} {right})"
        if isinstance(node, exp.Not | exp.Paren):
            _only(node, "this")
            return f"({'NOT ' if kind is exp.Not else ''}{self._condition(node.this)})"
        if kind in _COMPARISONS:
            _only(node, "this", "expression")
            return self._compare(
                [node.this, node.expression], f"({{}} {_COMPARISONS[kind]} {{}})".format
            )
        if isinstance(node, exp.Between):
            _only(node, "this", "low", "high")
            return self._compare(
                [node.this, node.args["low"], node.args["high"]], "({} BETWEEN {} AND {})".format
            )
        if isinstance(node, exp.In):
            _only(node, "this", "expressions")
            slots = ", ".join(["{}"] * len(node.expressions))
            return self._compare([node.this, *node.expressions], f"({{}} IN ({slots}))".format)
        if isinstance(node, exp.Is) and isinstance(node.expression, exp.Null):
            return f"({self._column(node.this)} IS NULL)"
        raise RefusedSqlError(f"refused: {node.key} is not an allowed condition")

    def _compare(self, operands: list[exp.Expr], write: Callable[..., str]) -> str:
        """Write operands, at least one of them a column; its type decides how the literals are bound."""
        bare = [operand.unnest() for operand in operands]
        kinds = [
            self.types[self._column_index(operand)]
            for operand in bare
            if isinstance(operand, exp.Column)
        ]
        if not kinds:
            raise RefusedSqlError("refused: a comparison without a column")
        return write(*(self._operand(operand, kinds[0]) for operand in bare))

    def _operand(self, node: exp.Expr, kind: ColumnType) -> str:
        if isinstance(node, exp.Column):
            return self._column(node)
        self.parameters.append(condition_value(_literal(node), kind))
        return "?"

    def _ordered(self, node: exp.Expr) -> str:
        if not isinstance(node, exp.Ordered):
            raise RefusedSqlError("refused: an ordering that is not a column")
        _only(node, "this", "desc", "nulls_first")
        return f"{self._column(node.this)} {'DESC' if node.args.get('desc') else 'ASC'}"

    def _limit(self, node: exp.Expr) -> int:
        _only(node, "expression")
        value = _literal(node.expression)
        if not isinstance(value, int) or value < 0:
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
        if negative:
            raise RefusedSqlError("refused: a negated string")
        return text
    try:
        number: int | float = (
            int(text) if text.isascii() and text.isdigit() and len(text) < 19 else float(text)
        )
    except (ValueError, OverflowError):
        raise RefusedSqlError(f"unparsable: number {text[:20]!r}") from None
    return -number if negative else number
