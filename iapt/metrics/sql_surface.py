"""The SQL that a model may write: its text is parsed, checked and rewritten, never executed itself.

Allowed is one SELECT over the one table called "table", in any letter case:

    SELECT [DISTINCT] <value> [AS name]
    FROM "table" [AS name]
    [WHERE <value>] [GROUP BY <value>, ...] [HAVING <value>]
    [ORDER BY <value> [ASC | DESC], ...] [LIMIT <integer> [OFFSET <integer>]] [;]

    value: a column, a string, a number, NULL, TRUE or FALSE; an aggregate ([DISTINCT] <value>) or COUNT(*);
           LOWER, UPPER, TRIM, LENGTH, ABS, ROUND, COALESCE, CAST; CASE; + - * / %;
           = == <> != < > <= >=, IS, [NOT] BETWEEN, IN, LIKE, GLOB, AND, OR, NOT; parentheses;
           another such SELECT, which cannot refer to the outer one (also after IN and EXISTS)

That is more than WikiSQL's own queries use, because the paper counts a query as correct if it runs
and obtains the right result, however written.  Everything else is refused: several statements, CTEs, joins,
set operations, windows, other functions, results of more than one column, columns the table does not have.

Because `sqlglot` recurses, text is checked before it is parsed: its length, the types and number of its tokens,
and its nesting depth.  A query that passes takes time linear in the table's size (n log n with an order or
groups): an inner SELECT runs once, and SQLite matches a pattern without trying every division of the text
among its wildcards (100 of them over 2,000 letters take less than a millisecond).
"""

from collections.abc import Collection, Mapping
from typing import Any

import sqlglot
from sqlglot import TokenType, exp
from sqlglot.errors import SqlglotError

from iapt.metrics.sql_rewriting import RefusedSqlError, Rewriter, SafeQuery
from iapt.metrics.sql_table import column_names

MAX_CHARACTERS = 5_000
MAX_TOKENS = 300
MAX_NESTING = 8
MAX_SELECTS = 4

# Words that SQLite also takes for names of columns.
_ALSO_NAMES = frozenset(
    {
        *(TokenType.LIKE, TokenType.GLOB, TokenType.END, TokenType.OFFSET),
        *(TokenType.INT, TokenType.BIGINT, TokenType.TEXT, TokenType.VARCHAR),
        *(TokenType.FLOAT, TokenType.DOUBLE, TokenType.DECIMAL),
    }
)
_TOKENS = _ALSO_NAMES | {
    *(TokenType.SELECT, TokenType.DISTINCT, TokenType.ALIAS, TokenType.FROM, TokenType.WHERE),
    *(TokenType.AND, TokenType.OR, TokenType.NOT, TokenType.IN, TokenType.IS, TokenType.NULL),
    *(TokenType.EQ, TokenType.NEQ, TokenType.LT, TokenType.LTE, TokenType.GT, TokenType.GTE),
    *(TokenType.BETWEEN, TokenType.ORDER_BY, TokenType.ASC, TokenType.DESC, TokenType.LIMIT),
    *(TokenType.GROUP_BY, TokenType.HAVING, TokenType.EXISTS, TokenType.TRUE, TokenType.FALSE),
    *(TokenType.CASE, TokenType.WHEN, TokenType.THEN, TokenType.ELSE),
    *(TokenType.IDENTIFIER, TokenType.VAR, TokenType.STRING, TokenType.NUMBER, TokenType.DASH),
    *(TokenType.PLUS, TokenType.SLASH, TokenType.MOD, TokenType.SEMICOLON),
    *(TokenType.L_PAREN, TokenType.R_PAREN, TokenType.COMMA, TokenType.DOT, TokenType.STAR),
}
# All that malformed text can make the parser raise; lack of memory and interrupts pass through.
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
        return Rewriter(table).query(statements[0])
    except _PARSER_FAILURES as error:
        raise RefusedSqlError(f"unparsable: {type(error).__name__}") from None


def _check_tokens(text: str, columns: Collection[str]) -> str:
    """Refuse text that is too long, nested too deeply or has other tokens; return it as the parser should read it.

    SQLite accepts as names many words that `sqlglot` reserves (Date, Number, Text, Use, ...): such a word is
    quoted if it names a column. Whether SQLite accepts it unquoted is checked later (`is_valid_sqlite`).
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
    if not kinds or kinds[0] is not TokenType.SELECT:
        raise RefusedSqlError("refused: not exactly one SELECT")
    if kinds.count(TokenType.SELECT) > MAX_SELECTS:
        raise RefusedSqlError(f"refused: more than {MAX_SELECTS} SELECTs")
    if len(kinds) > MAX_TOKENS:
        raise RefusedSqlError(f"refused: more than {MAX_TOKENS} tokens")
    depth, read, written = 0, "", 0
    for kind, token in zip(kinds, tokens, strict=True):
        word = text[token.start : token.end + 1]
        special = kind not in _TOKENS or kind in _ALSO_NAMES
        if special and word.casefold() in columns and word.isidentifier():
            read += f'{text[written : token.start]}"{word}"'
            written = token.end + 1
        elif kind not in _TOKENS:
            raise RefusedSqlError(f"refused: {kind.name} ({token.text[:20]!r}) is not allowed")
        depth += (kind is TokenType.L_PAREN) - (kind is TokenType.R_PAREN)
        if depth > MAX_NESTING:
            raise RefusedSqlError(f"refused: more than {MAX_NESTING} levels of parentheses")
    return read + text[written:]
