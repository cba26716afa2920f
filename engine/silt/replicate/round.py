"""A round: each database of a stream is visited once, in one turn of a worker or in several."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from silt.errors import SiltError
from silt.plan.model import Part, TablePlan


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """Databases of one table that are still to be visited; `table` is the whole of it."""

    table: TablePlan
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What the turns so far came to: `done` names the databases that were visited, by app.

    `later` was left in its midst: it comes after all the others, so that a bulk load of one database does
    not keep them waiting.  `errors`, `waiting` and `deferred` are what the visits found.
    """

    done: frozenset[str] = frozenset()
    later: str | None = None
    errors: tuple[SiltError, ...] = ()
    waiting: tuple[str, ...] = ()
    deferred: bool = False

    def visits(self, tables: Iterable[TablePlan]) -> list[Visit]:
        """What is left of `tables`; one without a database is always visited."""
        tables = tuple(tables)
        first = [(table, self._left(table)) for table in tables]
        last = [(table, tuple(p for p in table.parts if p.app == self.later)) for table in tables]
        some = [Visit(table=table, parts=parts) for table, parts in first if parts or not table.parts]
        return some + [Visit(table=table, parts=parts) for table, parts in last if parts]

    def _left(self, table: TablePlan) -> tuple[Part, ...]:
        return tuple(p for p in table.parts if p.app not in self.done and p.app != self.later)
