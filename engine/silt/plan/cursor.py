"""The cursor of one database: as detected or declared, unless a position pins another (DESIGN 4.1, 8)."""

from __future__ import annotations

from silt.errors import Held, UserError
from silt.plan.verdict import REBUILD, definition, moved
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
        hint=f"undo the edit, or rebuild: {REBUILD}",
    )


def check_exposed(order: Order, fields: tuple[Field, ...], table: Table) -> None:
    """A cursor's values stand in the position: a column that was left out may not be one (DESIGN 3, privacy).

    Raises `UserError`.
    """
    shown = {field.source for field in fields}
    hidden = [c for c in order.columns if c not in shown and c != table.rowid]
    if hidden:
        raise UserError(
            f"cursor column {hidden[0]} is not selected, yet its values would stand in the position",
            hint="select it, or declare another cursor",
        )
