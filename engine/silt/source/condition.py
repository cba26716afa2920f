"""A stream's `where`, tried before anything is read by it.

The text becomes one parenthesised term of every statement.  One that closes that parenthesis itself, or
holds a parameter, would change the statement around it: `a) or (b` cuts the position's range in half and
sends rows again.  So it is refused here, by its tokens; whatever else is wrong SQLite says at prepare.
"""

from __future__ import annotations

import re
from typing import Final

import sqlalchemy as sa

from silt.errors import UserError
from silt.shapes import Table, ascii_lower
from silt.source.open import Connection, Refused
from silt.source.statement import compiled, relation, written

_TOKEN: Final = re.compile(
    r"--[^\n]*|/\*.*?(?:\*/|$)|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`(?:[^`]|``)*`|\[[^\]]*\]"
    r"|(?P<parameter>\?\d*|[:@$]\w+)|[\w$]+|[()]|(?P<end>;)|(?P<open>['\"`\[])",
    re.DOTALL,
)
_ROWIDS: Final = ("rowid", "_rowid_", "oid")


def check(connection: Connection, table: Table, where: str, *, hint: str) -> None:
    """Raise `UserError`, with `hint` (where it is written), unless `where` is one condition over `table`."""
    if why := objection(where) or _text_by_mistake(where, table):
        raise UserError(f"`where` is not one condition: {why}", on=where, hint=hint)
    statement = sa.select(sa.literal(1)).select_from(relation(table)).where(written(where)).limit(0)
    try:
        connection.names(*compiled(statement))
    except Refused as error:
        raise UserError(
            f"`where` is refused by SQLite: {said(error)}", on=f"{where}; {connection.path}", hint=hint
        ) from error


def objection(sql: str) -> str:
    """Why `sql`, put in parentheses, would change the statement around it; '' where it would not."""
    depth = 0
    for token in _TOKEN.finditer(sql):
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


def _text_by_mistake(where: str, table: Table) -> str:
    """SQLite takes `"qualty"` for a text where no column has that name, and the condition for another one."""
    tokens = [t.group() for t in _TOKEN.finditer(where)]
    if "select" in (t.lower() for t in tokens):  # its tables have columns of their own
        return ""
    names = (t[1:-1].replace('""', '"') for t in tokens if t[0] == '"')
    known = (*_ROWIDS, ascii_lower(table.name))
    lost = next((n for n in names if table.column(n) is None and ascii_lower(n) not in known), None)
    return f'"{lost}" is no column of {table.name}, and a text stands in single quotes' if lost else ""


def said(error: Refused) -> str:
    """SQLite's own words: `no such column: nope`, `near "from": syntax error`."""
    return error.why.rpartition("query: ")[2] or error.what
