"""(position, evidence) -> go on | re-read after k | restart | hold | wait: pure, DESIGN 4.3 and 4.4.

Each rule answers a schedule of events that lost or doubled rows without it (FACTS, positions).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from silt.position import Position
from silt.shapes import Evidence, Key, Order, Sighting


@dataclass(frozen=True, slots=True, kw_only=True)
class GoOn:
    """Rows past the position are next; `note` is worth a line (a purge was recognised).

    `rebase`: VACUUM gave the rows at the position's cursor value other rowids; all of them are
    replicated, so the next row is past that value's last rowid.
    """

    note: str = ""
    rebase: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ReRead:
    """Rows after `after` are read again, less those that the slice holds by key and content.

    `at_ties`: only the rows at the cursor value of `after` are in doubt; they are compared by key.
    """

    after: Key | None
    at_ties: bool = False
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart:
    """Another database is behind the path: read it from its start, as a new incarnation."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Going on could lose or double rows; `rule` is the section of DESIGN that says so."""

    why: str
    rule: str
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Nothing can be said until a row arrives."""

    why: str


Verdict: TypeAlias = GoOn | ReRead | Restart | Hold | Wait
OnReset: TypeAlias = Literal["fail", "restart"]

REBUILD = "`silt reset` empties the slice and reads the table anew"
LOSS = "windows whose rows the source no longer has are lost by it"
"""What a reset of an aggregate costs: windows outlive their rows."""


def definition(order: Order) -> tuple[str, ...]:
    """How a position records the cursor that it was made under, so that `auto` never flips under it.

    Of a stream's own relation, the query is part of it: its rows are what they are by that.
    """
    return (order.kind, *order.cursor, "/", *order.tie, *([order.relation] if order.relation else ()))


def rebuild(recorded: tuple[str, ...]) -> str:
    """How to begin anew under a position of this definition, and what it costs."""
    return f"{REBUILD}; {LOSS}" if recorded[-1:] and recorded[-1].startswith("aggregate:") else REBUILD


def moved(recorded: tuple[str, ...], now: tuple[str, ...]) -> str:
    """In words, what makes a position count by something else than today's order."""
    last = (recorded[-1:], now[-1:])
    was, is_ = (_merged_by(definition) for definition in (recorded, now))
    if was and is_ and was != is_:
        return f"the primary key was [{was}], is [{is_}]: rows in the lake are keyed the old way"
    if bool(was) != bool(is_):
        return f"the mode {'was' if was else 'is now'} merge: rows in the lake are those of the other mode"
    for kind in ("query", "aggregate"):
        if recorded[:-1] == now[:-1] and all(one[0].startswith(f"{kind}:") for one in last if one):
            return f"the {kind} was edited: the position, and the rows in the lake, are of the one before"
    was, is_ = (" ".join(d) for d in (recorded, now))
    return f"the cursor was [{was}], is [{is_}]: the position counts by the old one"


def _merged_by(definition: tuple[str, ...]) -> str:
    """The key of a merge, by what its position is pinned to; `` for any other."""
    said = (part for part in (definition[-1:] or ("",))[0].split("; ") if part.startswith("merge:"))
    return next(said, "").removeprefix("merge:")


def verdict(
    position: Position | None,
    evidence: Evidence,
    order: Order,
    *,
    on_reset: OnReset,
    include_nulls: bool = False,
) -> Verdict:
    """What this evidence allows, under this position; the first rule that speaks decides."""
    if (hold := _order_broken(evidence, order, include_nulls=include_nulls)) is not None:
        return hold
    if position is None:
        return GoOn()
    if position.definition != definition(order):
        return _pinned(position, order)
    if position.key is None and position.nulls is None:
        return GoOn()
    if evidence.empty:
        return _emptied(evidence)
    if not order.moves and (hold := _null_row_changed(position, evidence)) is not None:
        return hold
    if position.key is None:
        return GoOn()
    return _compared(position, evidence, order, on_reset)


def _null_row_changed(position: Position, evidence: Evidence) -> Hold | None:
    """`on_null: include` counts NULL rows by rowid, which SQLite gives out again after a delete.

    The last one has one witness, itself; where there is no other (no row with a cursor yet) and the
    file is another, its absence is a replacement, too.
    """
    file = (evidence.file.device, evidence.file.inode, evidence.file.birth)
    alone = position.key is None and evidence.null_row == "absent" and position.file != file
    if evidence.null_row != "differs" and not alone:
        return None
    return Hold(
        why=f"the last replicated row with a NULL cursor (rowid {position.nulls}) is another one now: "
        "its rowid was given out again, or the database was replaced",
        rule="4.4",
        hint=f"declare a cursor without NULLs; {REBUILD}",
    )


def mostly_there(sightings: tuple[Sighting, ...]) -> bool:
    """Whether a database without a position is one whose file is gone, by that one's witnesses (DESIGN 4.4).

    At least half must match: databases that are made from one template begin with the same rows, and
    witnesses stand densest at the last ones.
    """
    matching = sum(s.found == "match" for s in sightings)
    return bool(matching) and matching * 2 >= len(sightings)


def renamed(name: str, seen: str, *, manifest: str = "") -> Hold:
    """Sent again under another name, the rows of `name`, or of `manifest`, would be doubled (DESIGN 4.4)."""
    if manifest:
        return Hold(
            why=f"{seen} by manifest {manifest!r}: its `name` was changed, or two manifests send them",
            rule="4.4",
            hint=f"give the manifest the name {manifest!r}, or write `into` another table",
        )
    return Hold(
        why=f"{seen} as database {name!r}: it was renamed",
        rule="4.4",
        hint=f"give the file its old name back, or rebuild: {REBUILD}",
    )


def strayed(why: str) -> Hold:
    """A cursor value of another class or format than the others, which the order misplaces."""
    return Hold(
        why=why,
        rule="4.3",
        hint="a cursor has one storage class and one format: mend the value, or declare another cursor",
    )


def _order_broken(evidence: Evidence, order: Order, *, include_nulls: bool) -> Hold | None:
    """What makes the order itself unsafe, whatever the position (DESIGN 4.3)."""
    if evidence.stray:
        return strayed(evidence.stray)
    if evidence.exhausted:
        return Hold(
            why="the greatest rowid, 9223372036854775807, is taken: SQLite now picks rowids at random",
            rule="4.3",
            hint="declare another cursor",
        )
    if evidence.nulls and not include_nulls:
        columns = ", ".join(order.columns)
        return Hold(
            why=f"{evidence.nulls:,} rows have NULL in the cursor ({columns}) and would never be read",
            rule="4.3",
            hint="`on_null: include` reads them by rowid; or declare a cursor without NULLs",
        )
    return None


def _pinned(position: Position, order: Order) -> Hold:
    return Hold(
        why=moved(position.definition, definition(order)),
        rule="4.1",
        hint=f"undo the edit, or rebuild: {REBUILD}",
    )


def _emptied(evidence: Evidence) -> Verdict:
    """DESIGN 4.4: a purge where AUTOINCREMENT remembers; else nothing can be said until a row arrives."""
    if evidence.sequence_passed:
        return GoOn(note="the table was emptied (its AUTOINCREMENT sequence stands past the position)")
    return Wait(why="the table is empty; its next row will tell whether it is still the same one")


def _trusted(sightings: tuple[Sighting, ...]) -> int | None:
    """The newest witness that matches and whose elders do not differ in their majority: its index.

    One equal row alone proves nothing: a re-created database may hold an equal row right at the
    position (measured: 99 of 100 lost).
    """
    for index, sighting in enumerate(sightings):
        elders = sightings[index:]
        differing = sum(s.found == "differs" for s in elders)
        if sighting.found == "match" and differing * 2 <= len(elders):
            return index
    return None


def _compared(position: Position, evidence: Evidence, order: Order, on_reset: OnReset) -> Verdict:
    sightings = evidence.sightings
    if order.renumbers and (told := _renumbered(position, evidence, order)) is not None:
        return told
    trusted = _trusted(sightings) if sightings else 0
    if trusted is not None and (hold := _came_in_below(position, evidence)) is not None:
        return hold
    if trusted is not None and order.moves and (back := _went_back(position, evidence, trusted)) is not None:
        return back
    if trusted == 0:
        return next(_still_same(position, evidence, order), GoOn())
    if trusted is not None:
        why = f"the last replicated row changed or is gone ({_seen(sightings)})"
        return ReRead(after=sightings[trusted].key, why=why)
    if all(s.found == "absent" for s in sightings):
        return _none_present(position, evidence, order, on_reset)
    return _replaced(position, evidence, order, on_reset)


def _went_back(position: Position, evidence: Evidence, trusted: int) -> Restart | None:
    """Of a merge, whose rows change: a row as it was before, or the last ones gone with another file.

    A backup was put in its place, and which rows it has as they were nothing tells.  All are read again,
    which writes no row twice.  In the same file the last rows were deleted.
    """
    file = (evidence.file.device, evidence.file.inode, evidence.file.birth)
    earlier = any(s.found == "differs" for s in evidence.sightings)
    if not earlier and (trusted == 0 or position.file == file):
        return None
    return Restart(why=f"the source went back to an earlier state: {_seen(evidence.sightings)}")


def _seen(sightings: tuple[Sighting, ...]) -> str:
    found = [s.found for s in sightings]
    return (
        f"of {len(found)} remembered rows {found.count('match')} match, "
        f"{found.count('differs')} differ, {found.count('absent')} are gone"
    )


def _renumbered(position: Position, evidence: Evidence, order: Order) -> Verdict | None:
    """VACUUM may renumber rowids that no INTEGER PRIMARY KEY names; it also raises schema_version."""
    unmoved = all(s.found == "match" for s in evidence.sightings)
    if evidence.schema_version == position.schema_version or unmoved:
        return None
    if order.kind == "columns" and position.ties and evidence.ties == position.ties:
        return GoOn(note="VACUUM renumbered the rowids; the rows at the position are the same", rebase=True)
    return Hold(
        why=f"rowids changed (schema_version {position.schema_version} -> {evidence.schema_version}): "
        "VACUUM may have renumbered them",
        rule="4.3",
        hint=f"declare a cursor that VACUUM keeps; {REBUILD}",
    )


def _came_in_below(position: Position, evidence: Evidence) -> Hold | None:
    """The same source, but its least rowid fell: what came in there would never be read."""
    if position.low is None or evidence.low is None or evidence.low >= position.low:
        return None
    return Hold(
        why=f"rowid {evidence.low} lies below {position.low}, the least that was there: "
        "rows came in behind the position",
        rule="4.3",
        hint=f"a cursor that follows commits would see them; {REBUILD}",
    )


def _still_same(position: Position, evidence: Evidence, order: Order) -> Iterator[Verdict]:
    """The newest witness matches and no majority differs: still, its ties may have changed."""
    rises = order.rises or order.renumbers
    if not rises and position.ties is not None and evidence.ties != position.ties:
        yield ReRead(
            after=position.key,
            at_ties=True,
            why="the rows at the position's cursor value changed",
        )


def _none_present(position: Position, evidence: Evidence, order: Order, on_reset: OnReset) -> Verdict:
    if evidence.sequence_passed:
        return GoOn(note="rows were purged (the AUTOINCREMENT sequence stands past the position)")
    if evidence.all_past:
        return GoOn(note="rows were purged (every row left lies past the position)")
    return _replaced(position, evidence, order, on_reset)


def _replaced(position: Position, evidence: Evidence, order: Order, on_reset: OnReset) -> Verdict:
    """Of a merge the very same file is read again from its start: a row that is there already stays one."""
    seen = _seen(evidence.sightings)
    if order.moves and is_same_file(position, evidence):
        return Restart(why=f"rows were rewritten in place: {seen}")
    speaks: tuple[Callable[[], Hold | None], ...] = (
        lambda: _same_file(position, evidence, seen),
        lambda: _other_machine(position, evidence, seen),
        lambda: _told_to_fail(on_reset, seen),
    )
    holds = (hold for rule in speaks if (hold := rule()) is not None)
    return next(holds, Restart(why=f"another database is behind the path: {seen}"))


def is_same_file(position: Position, evidence: Evidence) -> bool:
    """Whether it is the very file of the position; without a birth time nothing tells."""
    now = (evidence.file.device, evidence.file.inode, evidence.file.birth)
    return evidence.file.birth is not None and position.file == now


def _same_file(position: Position, evidence: Evidence, seen: str) -> Hold | None:
    """The very same file: its rows were rewritten in place, which no restart can sort out.

    Without a birth time a re-created file cannot be told from it: ext4 hands the inode out again
    (measured: 10 of 10).
    """
    now = (evidence.file.device, evidence.file.inode, evidence.file.birth)
    if position.file is None or (now != position.file and evidence.file.birth is not None):
        return None
    doubt = "rows were rewritten in place" if evidence.file.birth else "the filesystem keeps no birth time"
    return Hold(why=f"this is not what was replicated: {seen}; {doubt}", rule="4.4", hint=REBUILD)


def _other_machine(position: Position, evidence: Evidence, seen: str) -> Hold | None:
    if not position.machine or not evidence.machine or position.machine == evidence.machine:
        return None
    return Hold(
        why=f"another machine replicated this slice: {seen}",
        rule="4.4",
        hint="two machines share one `node`: give each its own",
    )


def _told_to_fail(on_reset: OnReset, seen: str) -> Hold | None:
    if on_reset == "restart":
        return None
    return Hold(
        why=f"another database is behind the path: {seen}",
        rule="4.4",
        hint="`on_reset: restart` reads it from its start beside the old rows; " + REBUILD,
    )
