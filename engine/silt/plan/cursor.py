"""The cursor of one database: as detected or declared, unless a position pins another (DESIGN 4.1, 8)."""

from __future__ import annotations

from silt.errors import Held, UserError
from silt.plan.exposure import hidden
from silt.plan.verdict import definition, moved, rebuild
from silt.shapes import CursorChoice, Field, Order, Table


def recorded_rule(recorded: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """(kind, columns) to detect by, so that `auto` keeps to the cursor of the position (DESIGN 4.1)."""
    kind, *columns = recorded
    return ("rowid", ()) if kind == "rowid" else ("columns", tuple(columns[: columns.index("/")]))


def settle(choice: CursorChoice, recorded: tuple[str, ...]) -> CursorChoice:
    """`choice`, checked against the cursor that the position recorded (empty: none).

    Raises `Held` where they differ: an identity edit, or a table whose key changed (DESIGN 9).
    """
    now = definition(choice.order) if choice.order else ("none",)
    if not recorded or now == recorded:
        return choice
    raise Held(
        moved(recorded, now),
        rule="4.1",
        hint=f"undo the edit, or rebuild: {rebuild(recorded)}",
        setting="cursor",
    )


def check_exposed(order: Order, fields: tuple[Field, ...], table: Table) -> None:
    """A cursor's values stand in the position: no column that is left out or masked may be one (DESIGN 3).

    Raises `UserError`.
    """
    for name in (c for c in order.columns if c != table.rowid):
        if how := hidden(name, fields):
            raise UserError(
                f"cursor column {name} is {how}, yet its values would stand in the position",
                hint="take it as it is, or declare another cursor; `mode: overwrite` needs none",
                setting="cursor",
            )


def check_rowid(fields: tuple[Field, ...], table: Table) -> None:
    """`lineage: [rowid]` would show a key that is left out or masked.  Raises `UserError`."""
    name = table.rowid_alias
    shown = any(field.lineage == "rowid" for field in fields)
    if shown and name is not None and (how := hidden(name, fields)):
        raise UserError(
            f"lineage rowid would show {name}, which is {how}: in {table.name} they are the same",
            hint="take `rowid` out of `lineage`, or the column as it is",
            setting="lineage",
        )
