"""An append stream's cycle over one Delta table: every row past the positions, each exactly once.

Per database: one read transaction gathers the evidence, `plan.verdict` decides, and the batch is
read from that same snapshot, so a position is known before its write starts (DESIGN 4.2).  Small
ranges of many databases share a commit; a large one is streamed, a commit per `batch.max_rows`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any

from silt import target
from silt.errors import Held
from silt.manifest.model import Source
from silt.observe import Look, examine, slice_columns
from silt.plan import formats
from silt.plan.model import Part
from silt.plan.shaping import shaped
from silt.plan.verdict import REBUILD, Hold, Restart, Wait, definition
from silt.position import Position, Witness, advanced, choose_witnesses
from silt.replicate.cycle import Cycle
from silt.replicate.ledger import Draft, Txns, now_ms, reader
from silt.replicate.model import Committed, Noted
from silt.replicate.reread import less_held
from silt.replicate.tally import Meter
from silt.shapes import Extract, Key, Order
from silt.source import evidence as ev
from silt.source.open import Connection, Snapshot, pair
from silt.source.read import parallel, stream

if TYPE_CHECKING:
    import pyarrow as pa

GROUP_ROWS = 100_000
"""A range of up to this many rows is read into memory and may share a commit with other databases."""

SAMPLED = 1_000
"""Rows of a large window that tell how many of them fit `batch.max_bytes`."""

SAMPLED_BYTES = 8 * 1024 * 1024
"""Bytes after which a sample is enough."""

LARGE_FILE = 64 * 1024 * 1024
"""Bytes from which a database without a position is taken for a large load."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """A draft whose rows are in memory, waiting for others to share its commit."""

    draft: Draft
    batches: tuple[pa.RecordBatch, ...]

    @property
    def bytes(self) -> int:
        return sum(batch.nbytes for batch in self.batches)


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The first batches of a window; `whole` when there are no more."""

    batches: tuple[pa.RecordBatch, ...]
    whole: bool


class AppendCycle(Cycle):
    """One pass over one table; `run` returns when every database is as far as it was at the start."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._group: list[Load] = []
        self._files = target.WriterHints()

    def _finish(self) -> None:
        self._flush()

    # --- one database ---

    def _advance(self, part: Part) -> None:
        goal: Key | None = None
        large: bool | None = None
        while True:
            look = self._step(part, goal, paired=large)
            if look is None or look.window.last:
                return
            self._flush()
            if self._is_stopped():
                self._tally.midway = part.app
                return
            begun = goal is None or isinstance(look.verdict, Restart)
            goal = look.evidence.high if begun else goal
            large = parallel(look.rows, self._handles.row_bytes.get(part.app, 1))

    def _step(self, part: Part, goal: Key | None, *, paired: bool | None) -> Look | None:
        """One window of one database, read into the group or committed at once; None: nothing to read."""
        opened = self._handles.connection(self._origin(), part.database.path)
        with opened as connection, self._snapshot(part, connection, paired=paired) as snapshot:
            look = self._bounded(part, snapshot, goal)
            while look is not None and not self._take(part, snapshot, look):
                look = self._bounded(part, snapshot, goal)
        return look

    @contextmanager
    def _snapshot(self, part: Part, connection: Connection, *, paired: bool | None) -> Iterator[Snapshot]:
        """One read transaction, or two on one proved snapshot (None: where it looks like a first load)."""
        if paired is None:
            paired = connection.size() >= LARGE_FILE and self._ledger.standing(part).position is None
        if paired:
            with pair(connection) as snapshot:
                yield snapshot
        else:
            with connection.snapshot():
                yield Snapshot(readers=(connection,))

    def _origin(self) -> Source:
        return self._handles.manifest.source(self._stream.source)

    def _note(self, text: str) -> None:
        if self._tally.note(text):
            self._listen(Noted(stream=self._stream.name, text=text))

    def _bounded(self, part: Part, snapshot: Snapshot, goal: Key | None) -> Look | None:
        """What to read, at most `batch.max_rows` rows and about `batch.max_bytes`."""
        sizes = self._handles.row_bytes
        if part.app not in sizes and snapshot.first.size() > self._stream.batch.max_bytes:
            sizes[part.app] = self._sampled(part, snapshot, self._first_rows(part, snapshot))
        return self._look(part, snapshot, goal, self._most_rows(part))

    def _most_rows(self, part: Part) -> int:
        batch = self._stream.batch
        each = self._handles.row_bytes.get(part.app)
        return batch.max_rows if each is None else max(1, min(batch.max_rows, batch.max_bytes // each))

    def _sampled(self, part: Part, snapshot: Snapshot, first: ev.Window) -> int:
        """Arrow bytes of a row, by the rows of `first`; at least 1."""
        rows = size = 0
        with closing(stream(snapshot, part.extract, first.lo, first.hi, None)) as batches:
            for batch in batches if first.rows else ():
                rows += batch.num_rows
                size += batch.nbytes
                if size > SAMPLED_BYTES:
                    break
        return max(1, size // max(rows, 1))

    def _first_rows(self, part: Part, snapshot: Snapshot) -> ev.Window:
        """A few rows past the position; counting them costs no scan."""
        position = self._ledger.standing(part).position
        last = ev.last_key(snapshot.first, part.extract)
        return ev.window(snapshot, part.extract, position.key if position else None, last, max_rows=SAMPLED)

    def _look(self, part: Part, snapshot: Snapshot, goal: Key | None, max_rows: int) -> Look | None:
        """What to read; None when there is nothing.  Raises `Held` on a hold."""
        self._ledger.check_foreign([part])
        look = examine(
            part,
            self._stream,
            snapshot,
            self._ledger.standing(part),
            now=self._clock(),
            max_rows=max_rows,
            goal=goal,
        )
        self._heed(part, look)
        return look if look.moves or look.again else None

    def _heed(self, part: Part, look: Look) -> None:
        """Tell the notes and what is waited for.  Raises `Held` on a hold."""
        self._tally.deferred |= bool(look.evidence.deferred)
        for note in look.notes:
            self._note(f"{part.database.name}: {note}")
        match look.verdict:
            case Hold(why=why, rule=rule, hint=hint):
                raise Held(why, rule=rule, on=part.database.path, hint=hint)
            case Wait(why=why):
                self._tally.waiting.append(f"{part.database.name}: {why}")

    # --- the position that the batch leads to ---

    def _next_position(self, part: Part, connection: Connection, look: Look) -> Position:
        """It never moves back: while a source stands behind it, rows are compared with the slice."""
        base = self._base(part, look)
        extract, window, evidence = remembering(part, base), look.window, look.evidence
        moved = bool(window.scanned) or look.rebased
        key = window.hi if moved else base.key
        rows = base.rows + window.scanned + look.null_rows
        return advanced(
            base,
            key=key,
            nulls=look.nulls[1] if look.nulls else base.nulls,
            null_hash=self._null_hash(extract, connection, look, base),
            low=evidence.low,
            rows=rows,
            built_on=self._ledger.table.version,
            schema_version=evidence.schema_version,
            ties=ev.ties(connection, extract, key) if key else None,
            witnesses=self._witnesses(extract, connection, look, base, rows)
            if moved or look.nulls
            else base.witnesses,
            witness_columns=extract.witness if moved or look.nulls else base.witness_columns,
            shaped=shaped(base, part.extract),
            slice=slice_columns(part),
            file=(evidence.file.device, evidence.file.inode, evidence.file.birth),
            machine=evidence.machine,
            committed_at=now_ms(),
            formats=formats.of(part, base.formats),
        )

    def _null_hash(self, extract: Extract, connection: Connection, look: Look, base: Position) -> int | None:
        """By the columns that the position's witnesses are hashed by from now on."""
        last = look.nulls[1] if look.nulls else base.nulls
        return None if last is None else ev.null_hash(connection, extract, last)

    def _base(self, part: Part, look: Look) -> Position:
        fresh = Position(definition=definition(order_of(part)))
        old = look.standing.position
        if old is None:
            return fresh
        if isinstance(look.verdict, Restart):
            kept = replace(fresh, written=old.written, shaped=old.shaped)  # the old rows stay in the lake
            return replace(kept, incarnation=old.incarnation + 1)
        return old

    def _witnesses(
        self, extract: Extract, connection: Connection, look: Look, base: Position, ordinal: int
    ) -> tuple[Witness, ...]:
        """Rows of this window beside those remembered that were seen again, hashed by today's columns."""
        if look.rebased:  # none of those remembered stands where it stood: all are chosen anew
            whole = replace(look.window, scanned=ordinal)
            return choose_witnesses(
                ev.witnesses(connection, extract, whole, ordinal=ordinal, first=True), ordinal
            )
        fresh = ev.witnesses(connection, extract, look.window, ordinal=ordinal, first=base.key is None)
        seen = {s.key for s in look.evidence.sightings if s.found == "match"}
        kept = tuple(w for w in base.witnesses if w.key in seen)
        if base.witness_columns != extract.witness:
            kept = ev.rehash(connection, extract, kept)
        return choose_witnesses((*kept, *fresh), ordinal)

    # --- reading and committing ---

    def _batches(self, part: Part, snapshot: Snapshot, look: Look) -> Generator[pa.RecordBatch, None, None]:
        """New rows: past the position, and NULL cursors."""
        window = look.window
        if window.rows:
            yield from stream(snapshot, part.extract, window.lo, window.hi, window.rows, ends=window.rowids)
        if look.nulls and look.null_rows:
            yield from stream(snapshot, part.extract, None, None, look.null_rows, only_nulls=look.nulls)
        snapshot.first.check_same_file()

    def _lacking(self, part: Part, snapshot: Snapshot, look: Look) -> list[pa.RecordBatch]:
        """Rows read again that the slice lacks."""
        lacking = []
        if look.again and not self._ledger.owns_slice(part):
            raise Held(
                "rows must be compared with the slice, but it holds rows of others, too",
                rule="7",
                on=part.database.path,
                hint=f"`lineage: [database]`, or an `into` of its own, tells them apart; {REBUILD}",
            )
        for again in look.again:
            window = again.window
            with closing(stream(snapshot, part.extract, window.lo, window.hi, window.rows)) as batches:
                lacking += less_held(
                    batches, self._ledger.table, part, content=None if again.by_key else _content(look)
                )
        return lacking

    def _draft(self, part: Part, snapshot: Snapshot, look: Look, rows: int) -> Draft:
        position = self._next_position(part, snapshot.first, look)
        position = replace(position, written=position.written + rows)
        needed = _is_news(position, look.standing.position)
        return Draft(part=part, batch=look.standing.batch + 1, position=position, rows=rows, needed=needed)

    def _take(self, part: Part, snapshot: Snapshot, look: Look) -> bool:
        """Read a window: into memory, to share a commit with others, or as a commit of its own.

        False when its rows turn out too large for one commit: then a smaller window is next.

        The position comes first: what it asks of the connection is asked before rows stream from it.
        """
        lacking = self._lacking(part, snapshot, look)
        rows = look.rows + sum(b.num_rows for b in lacking)
        if not rows and not look.moves:
            return True
        draft = self._draft(part, snapshot, look, rows)
        with closing(self._batches(part, snapshot, look)) as read:
            batches = chain(lacking, read)
            head = self._head(batches) if rows <= GROUP_ROWS else Head(batches=(), whole=False)
            if head.whole:
                self._join(Load(draft=draft, batches=head.batches))
            elif self._too_large(part, look, head):
                return False
            else:
                self._flush()
                self._commit([draft], lambda: self._reported(part, chain(head.batches, batches), rows))
        return True

    def _too_large(self, part: Part, look: Look, head: Head) -> bool:
        """Whether the head showed for the first time that the window must be smaller."""
        read = sum(batch.num_rows for batch in head.batches)
        sizes = self._handles.row_bytes
        if not read or part.app in sizes:
            return False
        sizes[part.app] = max(1, sum(batch.nbytes for batch in head.batches) // read)
        return look.window.rows > self._most_rows(part)

    def _head(self, batches: Iterable[pa.RecordBatch]) -> Head:
        """As many batches as one commit may hold; whole when that is all of them."""
        kept: list[pa.RecordBatch] = []
        held = 0
        for batch in batches:
            kept.append(batch)
            held += batch.nbytes
            if held > self._stream.batch.max_bytes:
                return Head(batches=tuple(kept), whole=False)
        return Head(batches=tuple(kept), whole=True)

    def _join(self, load: Load) -> None:
        """Into the group, which is committed before it outgrows a batch."""
        batch = self._stream.batch
        held = self._group
        if held and (
            sum(g.bytes for g in held) + load.bytes > batch.max_bytes
            or sum(g.draft.rows for g in held) + load.draft.rows > batch.max_rows
        ):
            self._flush()
        self._group.append(load)

    def _flush(self) -> None:
        if self._group:
            group, self._group = self._group, []
            self._commit([g.draft for g in group], lambda: (b for g in group for b in g.batches))

    def _commit(self, drafts: Sequence[Draft], batches: Callable[[], Iterator[pa.RecordBatch]]) -> None:
        started = self._clock()
        rows = sum(d.rows for d in drafts)
        meter = Meter(drafts[0].part.extract)
        written: int | None = rows

        def write(table: target.Table, txns: Txns, metadata: Mapping[str, str]) -> bool:
            nonlocal written
            if rows:
                read = reader(drafts[0].part, table, meter.metered(batches()))
                written = self._write(drafts, table, read, txns, metadata)
            else:
                table.empty(txns=txns, metadata=metadata)
            return written is not None

        version = self._ledger.commit(drafts, write)
        if version is None or written is None:
            return
        self._tally.commit([d.part.database.name for d in drafts], written, meter.misfits)
        self._listen(
            Committed(
                stream=self._stream.name,
                into=self._stream.path_for(drafts[0].part.database.name),
                rows=written,
                databases=len(drafts),
                version=version,
                bytes=meter.bytes,
                misfits=meter.misfits.total(),
                batch=max(d.batch for d in drafts),
                seconds=self._clock() - started,
            )
        )

    def _write(
        self,
        drafts: Sequence[Draft],
        table: target.Table,
        rows: pa.RecordBatchReader,
        txns: Txns,
        metadata: Mapping[str, str],
    ) -> int | None:
        """Write the rows of a commit: how many were; None where none was worth one."""
        table.append(rows, txns=txns, metadata=metadata, writer=self._files)
        return sum(draft.rows for draft in drafts)


def _is_news(position: Position, old: Position | None) -> bool:
    """Whether a position says more of the source than the one before it did."""
    return old is None or any(
        getattr(position, name) != getattr(old, name) for name in ("key", "nulls", "ties", "incarnation")
    )


def remembering(part: Part, base: Position) -> Extract:
    """The extract with the columns that witnesses hash: those of the position, as long as they are there.

    A column that comes later is none of them: rows written before it hold NULL in the lake.
    """
    kept = tuple(name for name in base.witness_columns if name in part.extract.witness)
    return replace(part.extract, witness=kept or ev.witness_columns(part.extract))


def _content(look: Look) -> tuple[str, ...]:
    """The source columns by which a row read again is the row that was written."""
    return look.standing.position.witness_columns if look.standing.position else ()


def order_of(part: Part) -> Order:
    """The order of an append stream's part."""
    if part.extract.order is None:
        raise ValueError(f"{part.extract.table.name}: an append stream has an order")
    return part.extract.order
