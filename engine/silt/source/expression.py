"""A column's `expr`, tried before anything is read by it.

Like `where` it becomes one parenthesised term of every statement, so what would change the statement
around it is refused (`condition`).  So is what says something else when it is asked again: a row is read
by several statements, on two paths, and after a crash once more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

import sqlalchemy as sa

from silt.errors import UserError
from silt.shapes import Table
from silt.source.census import census
from silt.source.condition import meant, objection, said, text_by_mistake, tokens
from silt.source.open import Connection, Refused
from silt.source.statement import compiled, relation, written

_CHANCE: Final = ("random", "randomblob", "changes", "total_changes", "last_insert_rowid")
_NOW: Final = ("current_timestamp", "current_date", "current_time")
_TIMES: Final = {"date": 0, "time": 0, "datetime": 0, "julianday": 0, "unixepoch": 0, "timediff": 0,
          "strftime": 1}  # fmt: skip
"""SQLite's functions of time and how many arguments they have before they mean now."""
_HERE_AND_NOW: Final = ("'now'", "'localtime'", "'utc'")


def check(connection: Connection, table: Table, name: str, expr: str) -> None:
    """Raise `UserError` unless `expr` is one expression over a row."""
    setting = f"columns.{name}.expr"
    if why := objection(expr) or text_by_mistake(expr, table) or unsteady(expr):
        raise UserError(f"`expr` of column {name} is refused: {why}", on=expr, setting=setting)
    # as a condition: where values are selected, SQLite would take an aggregate
    statement = sa.select(sa.literal(1)).select_from(relation(table)).where(written(expr)).limit(0)
    try:
        connection.names(*compiled(statement))
    except Refused as error:
        raise UserError(
            f"`expr` of column {name} is refused by SQLite: {said(error)}",
            on=f"{expr}; {connection.path}",
            hint=meant(error, table, connection),
            setting=setting,
        ) from error


def blame(connection: Connection, table: Table, sample: int, expressions: Sequence[tuple[str, str]]) -> None:
    """Raise `UserError` for the first of `expressions` (name, SQL) that fails on a sampled row."""
    for name, expr in expressions:
        try:
            census(connection, table, sample, ((name, expr),))
        except Refused as error:
            raise UserError(
                f"`expr` of column {name} fails on a row: {said(error)}",
                on=f"{expr}; {connection.path}",
                hint="make it NULL where it cannot be computed: `case when ... then ... end`, `nullif`",
                setting=f"columns.{name}.expr",
            ) from error


def unsteady(expr: str) -> str:
    """Why the expression is not of its row alone, or not the same each time; `` where it is."""
    found = [token.lower() for token in tokens(expr) if not token.startswith(("--", "/*"))]
    if "select" in found or _of_table(found):
        return "a subquery reads other rows, which change while this one stays"
    if word := next((t for t in found if t in _NOW), None):
        return f"{word} {_OF_THE_READ}"
    for function, arguments in _calls(found):
        if function in _CHANCE:
            return f"{function}() is another value each time"
        if function in _TIMES and (len(arguments) <= _TIMES[function] or _is_now(arguments)):
            return f"{function}() of now or of local time {_OF_THE_READ}"
    return ""


_OF_THE_READ: Final = "tells when and where it is read (for that: `lineage: [loaded_at]`)"


def _of_table(found: Sequence[str]) -> bool:
    """Whether it says `x IN some_table`."""
    return any(a == "in" and b != "(" for a, b in pairwise(found))


def _calls(found: Sequence[str]) -> Iterator[tuple[str, list[list[str]]]]:
    """Every function called, with the tokens of each of its arguments."""
    for place in range(len(found) - 1):
        if found[place + 1] == "(":
            yield found[place].strip('"`[]'), _arguments(found[place + 2 :])


def _arguments(found: Sequence[str]) -> list[list[str]]:
    """The arguments up to the parenthesis that closes; none where there is nothing."""
    arguments: list[list[str]] = [[]]
    depth = 0
    for token in found:
        depth += (token == "(") - (token == ")")
        if depth < 0:
            break
        if token == "," and depth == 0:
            arguments.append([])
        else:
            arguments[-1].append(token)
    return [] if arguments == [[]] else arguments


def _is_now(arguments: Sequence[Sequence[str]]) -> bool:
    return any(token in _HERE_AND_NOW for argument in arguments for token in argument)
