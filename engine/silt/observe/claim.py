"""Whose rows are in a slice: those without a position are somebody's; appending would mix or double them."""

from __future__ import annotations

from silt import target
from silt.errors import Held
from silt.plan.model import Part, Slice, StreamPlan, TablePlan
from silt.plan.verdict import REBUILD


def check_claimed(table: target.Table, plan: StreamPlan, table_plan: TablePlan) -> None:
    """Raise `Held` where a database without a position finds rows in its slice (DESIGN 10).

    Before anything is changed: a stranger's table is not even given columns.
    """
    if table_plan.shared:
        return
    for part in table_plan.parts:
        if table.position(part.app)[0] == 0 and holds_rows(table, part.slice):
            raise _unclaimed(table, plan, part)


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
