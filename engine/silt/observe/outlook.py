"""What a cycle would do now, per stream: rows pending within a time budget, and the actions in order."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, field

from silt import target
from silt.errors import Held, SiltError
from silt.manifest.model import Stream
from silt.observe.claim import check_foreign, unclaimed
from silt.observe.compare import KEY_BYTES, ROW_BYTES, check_fraction, differences, is_due
from silt.observe.handles import Handles, Lake
from silt.observe.look import Known, Look, Standing, examine, known
from silt.observe.windows import open_windows
from silt.plan.build import state_of
from silt.plan.model import COMMENT, Action, Outlook, Part, Plan, StreamPlan, TablePlan
from silt.plan.shaping import older
from silt.plan.verdict import Hold, ReRead, Restart, Wait
from silt.position import decode
from silt.shapes import DELETED, RESCUED
from silt.source import evidence as ev
from silt.source.digest import Digest
from silt.source.open import Connection, Snapshot
from silt.source.read import stream as rows_of
from silt.source.rescue import Misfits, counted, sentences

COUNTED = 1_000_000
"""Rows beyond which `plan` says "more than"."""

SAMPLED = 1_000
"""Pending rows of a database that are read at least: for their bytes, and for values that do not fit."""

READING = 0.25
"""Seconds after which no more of them are read."""


UNCOUNTED_BYTES = 256 * 1024 * 1024
"""A database from which `plan` does not sum up its whole history to count windows."""


@dataclass(slots=True)
class _Sum:
    """One stream's outlook while it adds up over databases."""

    rows: int = 0
    exact: bool = True
    bytes: int | None = 0
    checked: int = 0
    misfits: Misfits = field(default_factory=Misfits)
    batches: int = 0
    deleted: int = 0
    writes: bool = False
    actions: list[Action] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    older: Counter[str] = field(default_factory=Counter)
    waits: list[str] = field(default_factory=list)
    errors: list[SiltError] = field(default_factory=list)

    def act(self, action: Action) -> None:
        if action not in self.actions:
            self.actions.append(action)

    def fail(self, error: SiltError) -> None:
        self.errors.append(error)
        self.exact = False

    def take(self, part: _Sum) -> None:
        """Add what one database comes to."""
        self.rows += part.rows
        self.exact = self.exact and part.exact
        self.bytes = None if self.bytes is None or part.bytes is None else self.bytes + part.bytes
        self.checked += part.checked
        self.misfits += part.misfits
        self.batches += part.batches
        self.deleted += part.deleted
        self.writes = self.writes or part.writes
        for action in part.actions:
            self.act(action)
        self.notes += part.notes
        self.older += part.older
        self.waits += part.waits
        self.errors += part.errors


def outlook(plan: Plan, handles: Handles, *, budget: float = 2.0) -> tuple[Outlook, ...]:
    """For every stream of `plan` what a cycle would do; `budget` seconds bound the counting of all.

    A budget of 0 counts nothing: it tells what stops a stream.
    """
    deadline = time.monotonic() + budget if budget else 0.0
    return tuple(_stream(stream, handles, deadline) for stream in plan.streams)


def _stream(plan: StreamPlan, handles: Handles, deadline: float) -> Outlook:
    total = _Sum()
    if plan.error is not None:
        total.fail(plan.error)
    for table in plan.tables:
        try:
            _table(plan, table, handles, total, deadline)
        except SiltError as error:
            total.fail(error)
    return _outlook(plan, total)


def _outlook(plan: StreamPlan, total: _Sum) -> Outlook:
    error = next((e for e in total.errors if isinstance(e, Held)), total.errors[0] if total.errors else None)
    state = state_of(error) if error else ("waiting" if total.waits and not total.writes else plan.state)
    if error is not None:
        total.act(Action(kind="hold", text="nothing: held" if state == "held" else "nothing: failing"))
    return Outlook(
        stream=plan.stream.name,
        state=state,
        pending_rows=total.rows if total.exact else None,
        pending_at_least=None if total.exact else total.rows or None,
        pending_bytes=total.bytes,
        pending_deletes=total.deleted,
        batches=total.batches,
        actions=tuple(total.actions),
        notes=(*plan.notes, *total.notes, *_older(total), *_rescued(total), *_unread(total), *total.waits),
        error=error,
        also=tuple(other for other in total.errors if other is not error),
    )


def _older(total: _Sum) -> Iterator[str]:
    """Rows of the form that they had before an edit: it holds for new ones (DESIGN 3, privacy)."""
    for edit, rows in total.older.items():
        yield f"{rows:,} rows in the lake were written before {edit}; `silt reset` writes them anew"


def _rescued(total: _Sum) -> Iterator[str]:
    """What does not fit among the rows that were read."""
    yield from sentences(total.misfits, total.checked, pending=True)


def _unread(total: _Sum) -> Iterator[str]:
    """That values which do not fit may be among the rows that were not read."""
    if 0 < total.checked < total.rows:
        yield f"{total.checked:,} of the pending rows were read: the others may hold values that do not fit"


def _table(plan: StreamPlan, table: TablePlan, handles: Handles, total: _Sum, deadline: float) -> None:
    if not table.exists:
        total.act(Action(kind="create", text="create table"))
    elif table.add:
        text = "add column" if len(table.add) == 1 else f"add {len(table.add)} columns"
        total.act(Action(kind="alter", text=text))
    if table.exists and table.settings:
        total.act(Action(kind="alter", text=_setting(table)))
    inside = _Sum()
    for part, standing in _standings(plan, table, handles, total):
        one = _Sum()
        try:
            _part(plan.stream, table, part, standing, handles, one, deadline)
        except SiltError as error:
            inside.fail(error)
        else:
            inside.take(one)
    if inside.misfits and table.exists and all(column.name != RESCUED for column in table.columns):
        total.act(Action(kind="alter", text=f"add column {RESCUED}"))
    if inside.writes:
        _commits(plan.stream, inside)
    total.take(inside)


def _setting(table: TablePlan) -> str:
    """`set comment, 2 properties`."""
    properties = sum(setting.name != COMMENT for setting in table.settings)
    parts = ["comment"] if properties < len(table.settings) else []
    parts += [f"{properties} propert{'y' if properties == 1 else 'ies'}"] if properties else []
    return f"set {', '.join(parts)}"


def _commits(stream: Stream, inside: _Sum) -> None:
    """How many commits one table gets: databases share them in append, each has its own in overwrite."""
    if stream.mode == "overwrite":
        verb = "replace" if any(action.kind == "replace" for action in inside.actions) else "write"
        rows = f"{inside.rows:,} row{'' if inside.rows == 1 else 's'}"
        inside.actions = [Action(kind="replace", text=f"{verb} {rows}")]
    else:
        inside.batches = max(1, -(-(inside.rows + inside.deleted) // stream.batch.max_rows))
    if inside.deleted:
        rows = f"{inside.deleted:,} row{'' if inside.deleted == 1 else 's'}"
        marks = stream.deletes is not None and stream.deletes.mode == "soft"
        text = f"mark {rows} deleted" if marks else f"delete {rows}"
        inside.act(Action(kind="delete", text=text, destructive=not marks))
    if inside.batches:
        text = f"{inside.batches} commit{'s' if inside.batches > 1 else ''}"
        inside.act(Action(kind="write", text=text))


def _standings(
    plan: StreamPlan, table: TablePlan, handles: Handles, total: _Sum
) -> Iterator[tuple[Part, Standing]]:
    """Every part with its position; read through the resident handle, which `look` has refreshed.

    A store that does not answer is not needed where a cycle has read the positions before.
    """
    at = handles.manifest.target(table.target)
    stood = handles.stood(at, table.into)
    known_all = table.parts and all(part.app in stood for part in table.parts)
    if known_all and handles.glance(at, table.into) is None:
        for part in table.parts:
            batch, payload = stood[part.app]
            yield part, Standing(batch=batch, position=decode(payload))
        return
    manifest = handles.manifest
    others: tuple[Known, ...] = ()
    lost: dict[str, Held] = {}
    with handles.lake(at, table.into) as lake:
        if lake.table is not None:
            lost = unclaimed(lake.table, plan, table)
            total.notes.extend(check_foreign(lake.table, table.parts))
        payloads = {p.app: lake.table.position(p.app) if lake.table else (0, b"") for p in table.parts}
        if lake.table is not None and any(not batch for batch, _ in payloads.values()):
            others = known(lake.table, plan, manifest=manifest.name, node=manifest.node)
    for error in lost.values():
        total.fail(error)
    for part in (part for part in table.parts if part.app not in lost):
        batch, payload = payloads[part.app]
        yield part, Standing(batch=batch, position=decode(payload), known=() if batch else others)


def _part(
    stream: Stream,
    table: TablePlan,
    part: Part,
    standing: Standing,
    handles: Handles,
    total: _Sum,
    deadline: float,
) -> None:
    origin = handles.manifest.source(stream.source)
    at = handles.manifest.target(table.target)
    with handles.connection(origin, part.database.path) as connection, connection.snapshot():
        if not (stream.has_cursor or deadline):
            return
        if stream.aggregate is not None:
            _opened(stream, part, standing, connection, total)
        elif stream.mode == "overwrite":
            _replaced(part, standing, connection, total)
        elif stream.mode == "mirror":
            _mirrored(part, standing, connection, total, handles.lake(at, table.into), deadline)
        else:
            _appended(stream, part, standing, connection, total, deadline)
            if stream.deletes is not None and deadline:
                _swept(stream, part, standing, connection, total, handles.lake(at, table.into), deadline)


def _appended(
    stream: Stream,
    part: Part,
    standing: Standing,
    connection: Connection,
    total: _Sum,
    deadline: float,
) -> None:
    limit = COUNTED if time.monotonic() < deadline else SAMPLED
    seen = examine(part, stream, Snapshot(readers=(connection,)), standing, now=time.time(), max_rows=limit)
    total.notes.extend(f"{part.database.name}: {note}" for note in seen.notes)
    total.older.update(older(standing.position, part.extract))
    _verdict(part, seen, total)
    total.rows += seen.rows
    total.exact = total.exact and seen.window.last
    total.writes = total.writes or bool(seen.rows)
    if seen.rows and total.bytes is not None:
        total.bytes += _read(part, seen, connection, deadline, total)


def _opened(stream: Stream, part: Part, standing: Standing, connection: Connection, total: _Sum) -> None:
    """The windows that are complete; of a large table that was never read they are not counted."""
    if standing.position is None and connection.size() > UNCOUNTED_BYTES:
        total.exact, total.writes, total.bytes = False, True, None
        return
    seen = open_windows(part, stream, connection, standing, now=time.time(), max_rows=COUNTED)
    total.notes.extend(f"{part.database.name}: {note}" for note in seen.notes)
    _verdict(part, seen, total)
    total.rows += seen.rows
    total.exact = total.exact and seen.window.last
    total.writes = total.writes or seen.moves
    total.bytes = None if seen.rows else total.bytes


def _verdict(part: Part, seen: Look, total: _Sum) -> None:
    match seen.verdict:
        case Hold(why=why, rule=rule, hint=hint):
            total.errors.append(Held(why, rule=rule, on=part.database.path, hint=hint))
            total.exact = False
        case Wait(why=why):
            total.waits.append(f"{part.database.name}: {why}")
        case Restart():
            again = part.extract.order is not None and part.extract.order.moves
            text = "read it again from its start" if again else "read the new database from its start"
            total.act(Action(kind="restart", text=text))
        case ReRead() if seen.again:
            rows = sum(again.window.rows for again in seen.again)
            total.act(Action(kind="reread", text=f"compare {rows:,} rows with the slice"))
    if seen.evidence.deferred:
        total.act(Action(kind="defer", text=f"defer {seen.evidence.deferred:,} rows of the future"))


def denied(plan: Plan) -> dict[str, SiltError]:
    """Of the streams whose tables could not be written, by name, why not: asked without writing."""
    found: dict[str, SiltError] = {}
    for stream in plan.streams:
        for table in stream.tables:
            try:
                target.check_writable(table.uri, {})
            except SiltError as error:
                found.setdefault(stream.stream.name, error.about("into" if table.exists else "target.uri"))
    return found


def _alone(connection: Connection) -> Snapshot:
    return Snapshot(readers=(connection,))


def _read(part: Part, seen: Look, connection: Connection, deadline: float, total: _Sum) -> int:
    """Arrow bytes of the pending rows; `total` learns of the misfits in those read.  Raises `Misfit`.

    All of them where a fraction of a second is enough, else that many, and never less than 1,000.
    """
    window, rows, size = _readable(part, seen, connection), 0, 0
    if not window.rows:
        return 0
    until = min(deadline, time.monotonic() + READING)
    with closing(rows_of(_alone(connection), part.extract, window.lo, window.hi, window.rows)) as batches:
        for batch in batches:
            rows += batch.num_rows
            size += batch.nbytes
            total.misfits += counted(batch, part.extract)
            if rows >= SAMPLED and time.monotonic() >= until:
                break
    total.checked += rows
    return size * seen.window.rows // max(rows, 1)


def _readable(part: Part, seen: Look, connection: Connection) -> ev.Window:
    """The pending rows; of a view the first ones, since all that are asked for are compared at first."""
    if part.extract.table.kind != "view":
        return seen.window
    return ev.window(
        Snapshot(readers=(connection,)), part.extract, seen.window.lo, seen.window.hi, max_rows=SAMPLED
    )


def _replaced(part: Part, standing: Standing, connection: Connection, total: _Sum) -> None:
    """A digest tells whether the slice would change; it reads the table once, as a cycle does."""
    digest, rows, size = Digest(part.extract), 0, 0
    misfits = Misfits()
    for batch in rows_of(_alone(connection), part.extract, None, None, None):
        digest.add(batch)
        misfits += counted(batch, part.extract)
        rows += batch.num_rows
        size += batch.nbytes
    if standing.position is not None and standing.position.digest == digest.hex():
        return
    total.rows, total.checked, total.bytes, total.batches, total.writes = rows, rows, size, 1, True
    total.misfits = misfits
    if standing.position is not None:
        total.act(Action(kind="replace", text="replace"))


# --- what differs by key ----------------------------------------------------------------------------


def _mirrored(
    part: Part,
    standing: Standing,
    connection: Connection,
    total: _Sum,
    opened: AbstractContextManager[Lake],
    deadline: float,
) -> None:
    """What a cycle would write and delete; one range of keys at least, the others within the time."""
    if standing.position is None:
        total.rows = ev.count_rows(connection, part.extract)
        total.writes, total.bytes = True, None
        return
    with opened as lake:
        if lake.table is None:
            return
        for found in differences(part, _alone(connection), lake.table, row_bytes=ROW_BYTES):
            total.rows += found.missing.num_rows + found.changed.num_rows
            total.deleted += found.gone.num_rows
            total.checked += found.missing.num_rows + found.changed.num_rows
            total.bytes = (total.bytes or 0) + found.missing.nbytes + found.changed.nbytes
            for rows in (found.missing, found.changed):
                for batch in rows.to_batches():
                    total.misfits += counted(batch, part.extract)
            if time.monotonic() > deadline:
                total.exact = False
                break
    total.writes = bool(total.rows or total.deleted) or not total.exact


def _swept(
    stream: Stream,
    part: Part,
    standing: Standing,
    connection: Connection,
    total: _Sum,
    opened: AbstractContextManager[Lake],
    deadline: float,
) -> None:
    """Rows that the source no longer has, where keys are due to be compared."""
    rule, position = stream.deletes, standing.position
    if rule is None or position is None or not is_due(rule, position, time.time()):
        return
    rows = 0
    with opened as lake:
        if lake.table is None:
            return
        live = DELETED if rule.mode == "soft" else None
        for found in differences(
            part, _alone(connection), lake.table, row_bytes=KEY_BYTES, content=False, live=live
        ):
            rows += found.lake_rows
            total.deleted += found.gone.num_rows
            if time.monotonic() > deadline:
                return
    check_fraction(part, total.deleted, rows, rule)
    total.writes = total.writes or bool(total.deleted)
