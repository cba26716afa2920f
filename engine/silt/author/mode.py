"""Which mode a table is replicated in unless a person says otherwise, and why (DESIGN 10, `init`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from silt.author.survey import TableSurvey
from silt.observe import is_ranged
from silt.plan import keys
from silt.shapes import GREATEST_ROWID, Extract, Field
from silt.source.statement import nullable

Mode = Literal["append", "mirror", "overwrite"]
MODES: tuple[Mode, ...] = ("append", "mirror", "overwrite")
"""What `suggest` may say: each does for every table that the one before it does for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """A mode, and the sentence that a person reads beside it."""

    mode: Mode
    why: str


def suggest(seen: TableSurvey) -> Suggestion:
    """Append where rows are added in the order of an INTEGER PRIMARY KEY and nothing says that they change.

    That they are added: AUTOINCREMENT, or a time column that says when.  Everything else is compared by
    its primary key; where there is none that will do, it is replaced whole when it changed, which is right
    for any table.
    """
    against = _against(seen)
    if not against:
        return Suggestion(mode="append", why=f"rows are only added: {_added(seen)}")
    if unfit := _no_key(seen):
        return Suggestion(mode="overwrite", why=f"{against}; {unfit}")
    return Suggestion(mode="mirror", why=against)


def _no_key(seen: TableSurvey) -> str:
    """Why rows cannot be compared by the primary key, range by range; '' where they can."""
    table, key = seen.table, seen.table.primary_key
    named = f"the primary key ({', '.join(key)})"
    if not key or not seen.columns:
        return "it has no primary key"
    if any(nullable(table, name) for name in key):
        return f"{named} may hold NULL"
    fields = tuple(
        Field(
            name=c.column.name,
            source=c.column.name,
            type=c.type,
            format=c.format,
            declared=c.column.declared,
            strict=table.strict,
        )
        for c in seen.columns
    )
    if reason := keys.merged(key, fields, table):
        return f"{named} would not tell rows apart in the lake: {reason}"
    if not is_ranged(Extract(table=table, fields=fields, order=None, key=key), "UTF-8"):
        return f"{named} has another order in the lake"
    return ""


def _against(seen: TableSurvey) -> str:
    """Why rows past the last one are not the whole story; '' where they are."""
    table, ids = seen.table, seen.census.ids if seen.census else None
    if table.rowid_alias is None:
        return _keyless(seen)
    if seen.choice is None or seen.choice.order is None:
        return seen.choice.why if seen.choice else "it was not looked at"
    if ids and ids.high == GREATEST_ROWID:
        return f"{table.rowid_alias} has reached 2^63-1: rows to come get ids at random"
    if seen.changed:
        return f"rows change: {seen.changed[0].columns[0]} says when ({seen.changed[0].why})"
    if not _added(seen):
        return "nothing shows that rows are only added"
    return ""


def _keyless(seen: TableSurvey) -> str:
    if seen.choice is None or seen.choice.order is None:
        return "no column orders its rows safely"
    return "without an INTEGER PRIMARY KEY nothing shows that rows are only added"


def _added(seen: TableSurvey) -> str:
    if seen.table.autoincrement:
        return "AUTOINCREMENT gives no id again, and no column says that they change"
    return f"{seen.created.columns[0]} says when ({seen.created.why})" if seen.created else ""


def together(suggestions: Sequence[tuple[TableSurvey, Suggestion]]) -> Suggestion:
    """One mode for the same table of several databases: one that does for each of them.

    A table without rows objects to nothing, unless all are without.
    """
    told = [s for seen, s in suggestions if seen.at_least] or [s for _, s in suggestions]
    return max(told, key=lambda s: MODES.index(s.mode))
