"""Whether a table is still as silt left it: no rows without a position, none taken away by others."""

from __future__ import annotations

from collections.abc import Iterable

from silt import target
from silt.errors import Held
from silt.plan.model import Part, Slice, StreamPlan, TablePlan
from silt.plan.verdict import REBUILD
from silt.position import decode, parse_app


def unclaimed(table: target.Table, plan: StreamPlan, table_plan: TablePlan) -> dict[str, Held]:
    """By app, the databases without a position that find rows in their slice (DESIGN 10).

    A reset leaves an empty position, and an empty slice.  In a slice that several databases fill, the
    positions of any of them explain the rows.  Raises `Held` where no database is left, before anything is
    changed: a stranger's table is not even given columns.
    """
    if table_plan.shared:
        return {}
    fresh = [part for part in table_plan.parts if not table.position(part.app)[1]]
    known = _known_to(table, fresh[0]) if fresh else ()
    if table_plan.pooled and known:
        return {}
    found = {
        part.app: _unclaimed(table, plan, part, known) for part in fresh if holds_rows(table, part.slice)
    }
    if found and len(found) == len(table_plan.parts):
        raise next(iter(found.values()))
    return found


def _known_to(table: target.Table, part: Part) -> tuple[str, ...]:
    """The databases of the part's stream that have a position in the table."""
    mine = owner(part)
    apps = {name: parse_app(name) for name in table.txns}
    return tuple(
        app.database
        for name, app in apps.items()
        if app is not None and (app.manifest, app.node, app.stream) == mine and table.position(name)[1]
    )


def owner(part: Part) -> target.Owner:
    """The (manifest, node, stream) that the part's transaction id names."""
    app = parse_app(part.app)
    if app is None:
        raise ValueError(f"{part.app} is no transaction id of silt's")
    return app.manifest, app.node, app.stream


def check_foreign(table: target.Table, parts: Iterable[Part]) -> tuple[str, ...]:
    """Raise `Held` where somebody took rows away after a position of `parts` was built (DESIGN 4.5).

    Somebody may be another stream of silt's, of another manifest, that replaces more than its own
    rows.  Returns notes: on entries that can no longer be checked.
    """
    notes: dict[str, None] = {}
    for part in parts:
        position = decode(table.position(part.app)[1])
        facts = () if position is None else table.foreign_since(position.built_on, mine=owner(part))
        for fact in facts:
            if fact.severity == "hold" and _meets(fact.replaced, part.slice.equals):
                raise Held(fact.fact, rule="4.5", on=table.uri, hint=_way_out(fact))
        notes.update(dict.fromkeys(fact.fact for fact in facts if fact.severity == "note"))
    return tuple(notes)


def _meets(replaced: tuple[tuple[str, str], ...], mine: tuple[tuple[str, str], ...]) -> bool:
    """Whether two slices may have rows in common: no column tells them apart."""
    values = dict(mine)
    return all(values.get(name, value) == value for name, value in replaced)


def _way_out(fact: target.Foreign) -> str:
    return (
        REBUILD
        if fact.owner is None
        else "two streams may share a table only if both append: give each its own `into`"
    )


def holds_rows(table: target.Table, owned: Slice) -> bool:
    """Whether the slice has rows; one that tells by a column which the table lacks has none."""
    have = {column.name for column in table.columns}
    if any(name not in have for name, _ in owned.equals):
        return False
    return table.count(predicate(owned)) > 0


def predicate(owned: Slice) -> target.Predicate | None:
    """The rows of a slice; None for the whole table."""
    return target.Predicate(equals=owned.equals) if owned.equals else None


def _unclaimed(table: target.Table, plan: StreamPlan, part: Part, known: tuple[str, ...]) -> Held:
    others = [name for name in known if name not in plan.found]
    if others:
        return Held(
            f"the slice holds the rows of database {', '.join(others)}, by a stream of the same name, node "
            "and manifest's name",
            rule="10",
            on=table.uri,
            why=f"stream {plan.stream.name}, database {part.database.name}",
            hint="give this manifest a `name` of its own and another `into`; or, where the file was renamed, "
            "name it back: `silt reset` would remove those rows",
        )
    return Held(
        "the slice already holds rows, but no position says where they came from",
        rule="10",
        on=table.uri,
        why=f"stream {plan.stream.name}, database {part.database.name}",
        hint=f"write `into` another table, or rebuild: {REBUILD}",
    )
