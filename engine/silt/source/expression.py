"""A column's `expr`, tried before anything is read by it.

Like `where` it becomes one parenthesised term of every statement, so what would change the statement
around it is refused (`condition`).  So is what says something else when it is asked again: a row is read
by several statements, on two paths, and after a crash once more.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from silt.errors import UserError
from silt.shapes import Table
from silt.source.census import census
from silt.source.condition import objection, prepare, said, text_by_mistake, tokens
from silt.source.open import Connection, Refused
from silt.source.steady import chance, clock

_OF_THE_READ: Final = "tells when and where it is read (for that: `lineage: [loaded_at]`)"


def check(connection: Connection, table: Table, name: str, expr: str) -> None:
    """Raise `UserError` unless `expr` is one expression over a row."""
    setting = f"columns.{name}.expr"
    if why := objection(expr) or text_by_mistake(expr, table) or unsteady(expr):
        raise UserError(f"`expr` of column {name} is refused: {why}", on=expr, setting=setting)
    prepare(connection, table, expr, what=f"`expr` of column {name}", setting=setting)


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
    found = tokens(expr)
    folded = [token.lower() for token in found if not token.startswith(("--", "/*"))]
    if "select" in folded or _of_table(folded):
        return "a subquery reads other rows, which change while this one stays"
    if of_now := clock(found):
        return f"{of_now} {_OF_THE_READ}"
    return chance(found)


def _of_table(found: Sequence[str]) -> bool:
    """Whether it says `x IN some_table`."""
    return any(a == "in" and b != "(" for a, b in pairwise(found))
