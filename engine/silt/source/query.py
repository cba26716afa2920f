"""A stream's `query`: checked before anything is read by it, then a relation like a view.

The text stands in parentheses in every statement (`statement.relation`), where SQLite takes nothing but
one SELECT: no ATTACH, no PRAGMA, no CTE that writes.  What would leave the parentheses or need a value
is refused by its tokens, as in a `where`.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from silt.errors import UserError
from silt.shapes import Column, Table, ascii_lower
from silt.source.clone import result_types
from silt.source.condition import objection, said, tokens
from silt.source.open import Refused
from silt.source.statement import compiled, relation
from silt.source.steady import chance, clock

if TYPE_CHECKING:
    from silt.source.open import Connection

UNDECLARED: Final = "ANY"
"""The declared type of a computed column: its values say what it is."""

_FIRST_WORD: Final = re.compile(r"(?:\s|--[^\n]*(?:\n|$)|/\*.*?\*/)*(?P<word>\w+|.)?", re.DOTALL)
_SECOND: Final = re.compile(r"(.+):\d+", re.DOTALL)
_COMPUTED: Final = ("", "NUM")
"""What SQLite calls a computed column, before and since 3.41."""
_NOW_BY_MISTAKE: Final = ('"now"', '"subsec"', '"subsecond"')


def derive(connection: Connection, name: str, query: str, *, append: bool) -> Table:
    """The relation of `query`, called `name`: its columns, with a declared type where one is a plain column.

    Raises `UserError` unless `query` is one SELECT over the database, which says the same when it is asked
    again; to `append`, one that takes no part of its rows.
    """
    if why := _objection(query):
        raise UserError(f"`query` is not one SELECT: {why}", on=query, setting="query")
    _check_steady(query)
    if append and _is_limited(query):
        raise UserError(
            "`query` has a LIMIT, and a mode with a position would miss the rows that it cuts off",
            on=query,
            hint="leave it out: the position says what is new; or `mode: overwrite`",
            setting="query",
        )
    names = _names(connection, name, query)
    _check_distinct(names, query)
    declared = result_types(connection, query)
    columns = tuple(Column(name=n, declared=_declared(declared.get(n, ""))) for n in names)
    table = Table(name=name, kind="view", columns=columns, query=query)
    _check_columns(connection, table)
    return table


def fingerprint(query: str) -> str:
    """What tells a query from any other: an edit makes other rows, which a position did not count."""
    return f"query:{hashlib.sha256(query.strip().encode()).hexdigest()[:16]}"


def _objection(query: str) -> str:
    found = _FIRST_WORD.match(query)
    word = (found["word"] if found else "") or "nothing"
    if word.lower() not in ("select", "with"):
        return f"it begins with {word}"
    return objection(query)


def _check_steady(query: str) -> None:
    """A result that is another one each time would be written each cycle, or never found again."""
    # SQLite takes "now" for a text where no column has that name
    found = tuple(f"'{t[1:-1]}'" if t.lower() in _NOW_BY_MISTAKE else t for t in tokens(query))
    if why := chance(found):
        raise UserError(f"`query` is refused: {why}", on=query, setting="query")
    if of_now := clock(found):
        raise UserError(
            f"`query` is refused: {of_now} makes another result each time it is read",
            on=query,
            hint="a window that moves with the clock: `mode: overwrite` with a `where`; "
            "when a row was read: `lineage: [loaded_at]`",
            setting="query",
        )


def _is_limited(query: str) -> bool:
    """Whether its outermost SELECT has a LIMIT."""
    depth = 0
    for token in tokens(query):
        depth += (token == "(") - (token == ")")
        if depth == 0 and token.lower() == "limit":
            return True
    return False


def _names(connection: Connection, name: str, query: str) -> tuple[str, ...]:
    """The result's columns as SQLite names them when it prepares the query."""
    whole = Table(name=name, kind="view", query=query)
    statement: sa.Select[Any] = sa.select(sa.literal_column("*")).select_from(relation(whole)).limit(0)
    try:
        return connection.names(*compiled(statement))
    except Refused as error:
        raise _refused(error, connection) from error


def _check_columns(connection: Connection, table: Table) -> None:
    """A computed column without a name of its own cannot always be asked for."""
    rel = relation(table)
    try:
        connection.names(*compiled(sa.select(*(rel.c[c.name] for c in table.columns)).limit(0)))
    except Refused as error:
        raise _refused(error, connection, "name computed columns with `as`") from error


def _refused(error: Refused, connection: Connection, hint: str = "") -> UserError:
    return UserError(
        f"`query` is refused by SQLite: {said(error)}", on=connection.path, hint=hint, setting="query"
    )


def _check_distinct(names: tuple[str, ...], query: str) -> None:
    """SQLite calls the second `id` of a query in parentheses `id:1`."""
    known = {ascii_lower(name): name for name in names}
    second = (found for name in names if (found := _SECOND.fullmatch(ascii_lower(name))))
    twice = next((known[found[1]] for found in second if found[1] in known), None)
    if twice is not None:
        raise UserError(
            f"two columns of `query` are called {twice!r}",
            on=query,
            hint="name one with `as`",
            setting="query",
        )


def _declared(declared: str) -> str:
    return UNDECLARED if declared.upper() in _COMPUTED else declared
