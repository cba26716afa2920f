"""A stream's `where`, tried before anything is read by it.

The text becomes one parenthesised term of every statement.  One that closes that parenthesis itself, or
holds a parameter, would change the statement around it: `a) or (b` cuts the position's range in half and
sends rows again.  So it is refused here, by its tokens; whatever else is wrong SQLite says at prepare.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final

import sqlalchemy as sa

from silt.errors import UserError
from silt.shapes import Table, ascii_lower
from silt.source.open import Connection, Refused
from silt.source.statement import compiled, relation, written
from silt.source.steady import chance, clock

_TOKEN: Final = re.compile(
    r"--[^\n]*|/\*.*?(?:\*/|$)|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`(?:[^`]|``)*`|\[[^\]]*\]"
    r"|(?P<parameter>\?\d*|[:@$]\w+)|[\w$]+|[(),]|(?P<end>;)|(?P<open>['\"`\[])",
    re.DOTALL,
)
_NO_SUCH: Final = re.compile(r"no such (column|function): (\S+)")
_ROWIDS: Final = ("rowid", "_rowid_", "oid")


def check(connection: Connection, table: Table, where: str, *, append: bool) -> None:
    """Raise `UserError` unless `where` is one condition over `table`; to `append`, one without the clock."""
    if why := objection(where) or text_by_mistake(where, table):
        raise UserError(f"`where` is not one condition: {why}", on=where, setting="where")
    found = tokens(where)
    if why := chance(found):
        raise UserError(f"`where` is refused: {why}", on=where, setting="where")
    if append and (of_now := clock(found, local=False)):
        raise UserError(
            f"`where` is refused: {of_now} would take or leave the same row at another time, "
            "and a mode with a position reads each row once",
            on=where,
            hint="`cursor: {column: ..., initial_value: ...}` says from where on rows are read; "
            "a window that moves with the clock is for `mode: overwrite`",
            setting="where",
        )
    prepare(connection, table, where, what="`where`", setting="where")


def follows_clock(where: str | None) -> bool:
    """Whether the condition takes other rows as time goes by."""
    return where is not None and bool(clock(tokens(where), local=False))


def prepare(connection: Connection, table: Table, sql: str, *, what: str, setting: str) -> None:
    """Raise `UserError` unless SQLite takes `sql` as a condition over `table`; no row is read.

    As a condition, since where values are selected it would take an aggregate.
    """
    statement = sa.select(sa.literal(1)).select_from(relation(table)).where(written(sql)).limit(0)
    try:
        connection.names(*compiled(statement))
    except Refused as error:
        raise UserError(
            f"{what} is refused by SQLite: {said(error)}",
            on=f"{sql}; {connection.path}",
            hint=meant(error, table, connection),
            setting=setting,
        ) from error


def tokens(text: str) -> tuple[str, ...]:
    """What SQL is made of, remarks, quoted texts and names each whole; operators and spaces left out."""
    return tuple(token.group() for token in _TOKEN.finditer(text))


def objection(text: str) -> str:
    """Why `text` would change a statement around it, whatever its own parentheses; `` where it would not."""
    depth = 0
    for token in _TOKEN.finditer(text):
        text = token.group()
        if token["parameter"]:
            return f"{text} is a parameter, and nothing is bound to it"
        if token["end"]:
            return "a `;` ends a statement"
        if token["open"]:
            return f"the quote {text} is not closed"
        depth += (text == "(") - (text == ")")
        if depth < 0:
            return "a `)` has no `(`"
    return "a `(` has no `)`" if depth else ""


def text_by_mistake(written_: str, table: Table) -> str:
    """SQLite takes `"qualty"` for a text where no column has that name, and the condition for another one."""
    found = tokens(written_)
    if "select" in (t.lower() for t in found):  # its tables have columns of their own
        return ""
    names = (t[1:-1].replace('""', '"') for t in found if t[0] == '"')
    known = (*_ROWIDS, ascii_lower(table.name))
    lost = next((n for n in names if table.column(n) is None and ascii_lower(n) not in known), None)
    return f'"{lost}" is no column of {table.name}, and a text stands in single quotes' if lost else ""


def said(error: Refused) -> str:
    """SQLite's own words: `no such column: nope`, `near "from": syntax error`."""
    return error.why.rpartition("query: ")[2] or error.what


def meant(error: Refused, table: Table, connection: Connection) -> str:
    """The column or function that an unknown one may have been meant for, as a question; `` without one."""
    unknown = _NO_SUCH.search(said(error))
    if unknown is None:
        return ""
    known = (c.name for c in table.columns) if unknown[1] == "column" else _functions(connection)
    close = get_close_matches(unknown[2], list(known), 1)
    return f"did you mean {close[0]!r}?" if close else ""


def _functions(connection: Connection) -> Iterable[str]:
    listed = sa.func.pragma_function_list().table_valued("name")
    return (name for (name,) in connection.rows(sa.select(listed.c.name).distinct()))
