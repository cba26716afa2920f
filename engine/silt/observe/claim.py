"""Whether a table is still as silt left it: no rows without a position, none taken away by others."""

from __future__ import annotations

from collections.abc import Iterable

from silt import target
from silt.errors import Held
from silt.plan.model import Part, Slice, StreamPlan, TablePlan
from silt.plan.verdict import REBUILD
from silt.position import decode


def check_claimed(table: target.Table, plan: StreamPlan, table_plan: TablePlan) -> None:
    """Raise `Held` where a database without a position finds rows in its slice (DESIGN 10).

    Before anything is changed: a stranger's table is not even given columns.
    """
    if table_plan.shared:
        return
    for part in table_plan.parts:
        if table.position(part.app)[0] == 0 and holds_rows(table, part.slice):
            raise _unclaimed(table, plan, part)


def check_foreign(table: target.Table, parts: Iterable[Part]) -> tuple[str, ...]:
    """Raise `Held` where somebody took rows away after a position of `parts` was built (DESIGN 4.5).

    Returns notes: on entries that can no longer be checked.
    """
    positions = (decode(table.position(part.app)[1]) for part in parts)
    since = min((position.built_on for position in positions if position is not None), default=None)
    facts = () if since is None else table.foreign_since(since)
    for fact in facts:
        if fact.severity == "hold":
            raise Held(fact.fact, rule="4.5", on=table.uri, hint=REBUILD)
    return tuple(fact.fact for fact in facts)


def holds_rows(table: target.Table, owned: Slice) -> bool:
    """Whether the slice has rows; one that tells by a column which the table lacks has none."""
    have = {column.name for column in table.columns}
    if any(name not in have for name, _ in owned.equals):
        return False
    return table.count(predicate(owned)) > 0


def predicate(owned: Slice) -> target.Predicate | None:
    """The rows of a slice; None for the whole table."""
    return target.Predicate(equals=owned.equals) if owned.equals else None


def _unclaimed(table: target.Table, plan: StreamPlan, part: Part) -> Held:
    return Held(
        "the slice already holds rows, but no position says where they came from",
        rule="10",
        on=table.uri,
        why=f"stream {plan.stream.name}, database {part.database.name}",
        hint=f"write `into` another table, or rebuild: {REBUILD}",
    )
