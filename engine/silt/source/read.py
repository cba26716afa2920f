"""Rows of one snapshot as Arrow batches in the lake's schema: each exactly once, or an error.

Two readers take ranges of rowids in turn and one queue, bounded by bytes, carries what they convert;
where a scan cannot be cut by rowid, or is small, one reader does it (DESIGN 5).  Whatever the fast
path refuses is read again, from the first row that was not delivered, on the careful path.  What that
cannot carry either is a misfit: kept beside its row where the extract rescues, else a `Misfit`.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from silt import types
from silt.errors import Misfit, RetryLater, SiltError, UserError
from silt.shapes import Extract, Field, Key, Value
from silt.source.channel import Channel
from silt.source.convert import Unfit, converted, repeated
from silt.source.mask import masked
from silt.source.open import Connection, Refused, Snapshot
from silt.source.recipe import Recipe, Slot, arrow_of, key_bounds, predicate, recipe, unproved, way
from silt.source.rescue import Rescue, storage_class
from silt.source.statement import key_column, relation, rowid, written

__all__ = ["predicate", "rowids", "schema", "stream", "whole"]

BATCH_BYTES: Final = 4 * 1024 * 1024
QUEUE_BYTES: Final = 8 * 1024 * 1024
MAX_BATCH_ROWS: Final = 65_536
PIECE_BATCHES: Final = 2
PARALLEL_BATCHES: Final = 3
INLINE_ROWS: Final = 20_000
_TOGETHER: Final = 3
"""Rows of the table, for each that is read, that a scan of their rowids passes sooner than an index finds."""
_SAMPLE_ROWS: Final = 64
_SMALL_FILE: Final = 64 * 1024 * 1024
_LARGE_FILE: Final = 1024 * 1024 * 1024
_CAREFUL_ROWS: Final = 8_192
_PATIENCE: Final = 16
"""Batches, at most, that are read on the careful path before the fast one is tried again."""


def schema(extract: Extract) -> pa.Schema:
    """The Arrow schema of an extract's batches: its fields in their order, all nullable."""
    return pa.schema([pa.field(f.name, types.to_arrow(f.type)) for f in extract.fields])


def stream(
    snapshot: Snapshot,
    extract: Extract,
    lo: Key | None,
    hi: Key | None,
    expected: int | None,
    *,
    only_nulls: tuple[int | None, int] | None = None,
    ends: tuple[int, int] | None = None,
    loaded_at: datetime | None = None,
) -> Generator[pa.RecordBatch, None, None]:
    """The rows with lo < key <= hi (None: unbounded; no order: the whole table) as `schema(extract)`.

    `expected` is their number, counted by the caller in the same snapshot (None: not known, not
    checked).  `only_nulls` reads the rows with a NULL in the order instead, rowids past its first up
    to its second.  `ends` are the least and the greatest rowid of the rows, if the caller asked (`rowids`).
    The order of rows is free.  Close the
    generator: its threads end with it.

    Raises `Misfit` for a value that no path carries and that is not rescued; `UserError` for a refused
    statement, keys out of range or not unique; `RetryLater` for a count that differs; whatever the
    connection raises.
    Nothing may be committed after an error.
    """
    first = snapshot.first
    size = first.size()
    near = _near(extract, ends, expected)
    job = _Job(
        extract=extract,
        schema=schema(extract),
        recipe=recipe(
            extract,
            from_key=lo is not None,
            to_key=hi is not None,
            nulls=only_nulls is not None,
            # offsets overflow silently past 2 GiB in a batch (FACTS), which a file of less than 1 GiB cannot
            # fill: only larger ones pay for a length check
            wide=BATCH_BYTES if size > _LARGE_FILE else None,
            scan="rowid" if near else None,
        ),
        bounds=key_bounds(lo, hi),
        batch_rows=MAX_BATCH_ROWS,
        loaded_at=loaded_at or datetime.now(UTC),
    )
    if unproved(extract) and only_nulls is None:
        _check_unique(first, extract, lo, hi)
    whole = near or _whole_range(first, extract, lo, hi, only_nulls, job.recipe)
    if size > _SMALL_FILE:
        job.batch_rows = _batch_rows(first, job, whole)
    pieces = _pieces(whole, expected, job.batch_rows)
    readers = snapshot.readers if len(pieces) > 1 else (first,)
    inline = expected is not None and expected <= INLINE_ROWS
    rows = 0
    with closing(_inline(first, job, pieces) if inline else _threaded(readers, job, pieces)) as batches:
        for batch in batches:
            rows += batch.num_rows
            yield batch
    if expected is not None and rows != expected:
        raise RetryLater(
            f"{rows:,} rows were read of {extract.table.name} where {expected:,} had been counted",
            on=first.path,
            hint="nothing was written; if it says so again, an index may be corrupt: sqlite3's "
            "`PRAGMA integrity_check` tells",
        )


# --- the job and its pieces -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Piece:
    """A range of rowids, both ends in it; for scans of another order the one piece is all of it."""

    lo: int
    hi: int


@dataclass(slots=True, kw_only=True)
class _Job:
    """What all readers of one read share; `batch_rows` follows the size of the rows that come."""

    extract: Extract
    schema: pa.Schema
    recipe: Recipe
    bounds: dict[str, Value]
    loaded_at: datetime
    batch_rows: int
    constants: dict[str, pa.Array] = field(default_factory=dict)

    def adapt(self, batch: pa.RecordBatch) -> None:
        """Fit `batch_rows` to the bytes of a row as last seen."""
        self.batch_rows = _fitting(batch)


def _fitting(batch: pa.RecordBatch) -> int:
    return _rows_of(int(batch.nbytes) // max(int(batch.num_rows), 1))


def parallel(rows: int, row_bytes: int) -> bool:
    """Whether so many rows of `row_bytes` bytes of Arrow are worth two readers."""
    return rows >= PARALLEL_BATCHES * _rows_of(row_bytes)


def _rows_of(row_bytes: int) -> int:
    return max(1, min(MAX_BATCH_ROWS, BATCH_BYTES // max(row_bytes, 1)))


def _near(extract: Extract, ends: tuple[int, int] | None, expected: int | None) -> _Piece | None:
    """The piece between the rowids of a window; None where an index finds its rows sooner than a scan.

    Measured, a million rows: an index is read by one reader, a scan, which is no dearer, by two.
    """
    scan = way(extract)
    if ends is None or scan not in ("index", "rowid"):
        return None
    low, high = ends
    if scan == "index" and high - low >= _TOGETHER * (expected or 0):
        return None
    return _Piece(lo=low, hi=high)


def rowids(
    connection: Connection, extract: Extract, lo: Key | None, hi: Key | None
) -> tuple[int, int] | None:
    """The least and the greatest rowid of the rows with lo < key <= hi; None without one, or in its order.

    Whole keys are compared only of rows with a bound's own cursor: of each row it takes three times as long.
    """
    rel = relation(extract.table)
    number = rowid(rel, extract.table)
    order = extract.order
    if number is None or order is None or order.kind == "rowid" or extract.table.kind == "view":
        return None
    lead = key_column(rel, extract.table, order.columns[0])
    between = [*([lead > lo[0]] if lo else []), *([lead < hi[0]] if hi else [])]
    at_bounds = lead.in_([key[0] for key in (lo, hi) if key])
    ends = sa.select(sa.func.min(number), sa.func.max(number)).select_from(rel)
    found = (
        *connection.rows(ends.where(predicate(extract, None, None), *between)),
        *connection.rows(ends.where(predicate(extract, lo, hi), at_bounds)),
    )
    taken = [int(end) for row in found for end in row if end is not None]
    return (min(taken), max(taken)) if taken else None


def _whole_range(
    connection: Connection,
    extract: Extract,
    lo: Key | None,
    hi: Key | None,
    nulls: tuple[int | None, int] | None,
    how: Recipe,
) -> _Piece | None:
    """All that may be read, as one piece; None where there is nothing."""
    if how.way != "rowid":
        return _Piece(lo=0, hi=0)
    bounds = _bounds(connection, extract, lo, hi, nulls)
    return None if bounds is None else _Piece(lo=bounds[0], hi=bounds[1])


def _pieces(whole: _Piece | None, expected: int | None, batch_rows: int) -> Sequence[_Piece]:
    """`whole`, cut where it is large so that two readers have work; a piece is some batches."""
    if whole is None:
        return []
    rows = expected or 0
    pairs = -(-rows // (2 * PIECE_BATCHES * batch_rows))  # an even number: two readers end together
    count = 2 * pairs if rows >= PARALLEL_BATCHES * batch_rows else 1
    step = max(1, -(-(whole.hi - whole.lo + 1) // count))
    starts = range(whole.lo, whole.hi + 1, step)
    return [_Piece(lo=at, hi=min(at + step - 1, whole.hi)) for at in starts]


def _bounds(
    connection: Connection,
    extract: Extract,
    lo: Key | None,
    hi: Key | None,
    nulls: tuple[int | None, int] | None,
) -> tuple[int, int] | None:
    """The least and greatest rowid that may be read; None when there is none."""
    if (
        nulls is None
        and extract.order is not None
        and extract.order.kind == "rowid"
        and lo is not None
        and hi is not None
    ):
        return (whole(lo) + 1, whole(hi)) if whole(lo) < whole(hi) else None
    number = rowid(relation(extract.table), extract.table)
    least, greatest = (sa.select(f(number)).scalar_subquery() for f in (sa.func.min, sa.func.max))
    ((low, high),) = connection.rows(sa.select(least, greatest))
    if low is None:
        return None
    if nulls is not None:
        low, high = max(low, low if nulls[0] is None else nulls[0] + 1), min(high, nulls[1])
    elif extract.order is not None and extract.order.kind == "rowid":
        low = low if lo is None else max(low, whole(lo) + 1)
        high = high if hi is None else min(high, whole(hi))
    return (low, high) if low <= high else None


def whole(key: Key) -> int:
    """The rowid that is a key of a rowid order."""
    if len(key) != 1 or not isinstance(key[0], int):
        raise ValueError(f"a rowid's key is one integer, not {key!r}")
    return int(key[0])


def _batch_rows(connection: Connection, job: _Job, whole: _Piece | None) -> int:
    """How many rows fit a batch, by a few of them."""
    if whole is None or job.recipe.way == "any":
        return _CAREFUL_ROWS
    values = job.recipe.fast.values(job.bounds, whole.lo, whole.hi)
    try:
        with closing(connection.execute(job.recipe.fast.sql, values, _SAMPLE_ROWS)) as batches:
            first = next(batches, None)
    except Refused:
        return _CAREFUL_ROWS
    return MAX_BATCH_ROWS if first is None or first.num_rows < _SAMPLE_ROWS else _fitting(first)


def _check_unique(connection: Connection, extract: Extract, lo: Key | None, hi: Key | None) -> None:
    """Raise unless the order's columns tell a view's rows apart: two of one key would be lost or doubled."""
    names = extract.order.columns if extract.order else ()
    rel = relation(extract.table)
    keys = [key_column(rel, extract.table, name) for name in names]
    query = sa.select(sa.literal(1)).select_from(rel).where(predicate(extract, lo, hi))
    if extract.where is not None:
        query = query.where(written(extract.where))
    if connection.rows(query.group_by(*keys).having(sa.func.count() > 1).limit(1)):
        raise UserError(
            f"the cursor ({', '.join(names)}) of {extract.table.name} does not tell its rows apart",
            on=connection.path,
            hint="declare columns that are unique together, the time first",
        )


# --- running --------------------------------------------------------------------------------------


def _inline(
    connection: Connection, job: _Job, pieces: Sequence[_Piece]
) -> Generator[pa.RecordBatch, None, None]:
    for piece in pieces:
        yield from _read(connection, job, piece)


def _threaded(
    readers: Sequence[Connection], job: _Job, pieces: Sequence[_Piece]
) -> Generator[pa.RecordBatch, None, None]:
    """The pieces, each taken by the next free reader; one reader means a prefetch.

    The channel re-raises a reader's error and, when the consumer stops, stops the readers.
    """
    waiting = iter(pieces)
    with Channel(QUEUE_BYTES) as channel:
        for reader in readers:
            channel.work(partial(_serve, reader, job, channel, waiting))
        yield from channel


def _serve(connection: Connection, job: _Job, channel: Channel, waiting: Iterator[_Piece]) -> None:
    while (piece := channel.take(waiting)) is not None:
        with closing(_read(connection, job, piece)) as batches:
            for batch in batches:
                if not channel.put(batch):
                    return


# --- one piece ------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Progress:
    """How far a piece has come: rows delivered, and the last rowid of a scan by rowid.

    `patience`: how many batches go on the careful path, the more the oftener the fast one was refused.
    """

    rows: int = 0
    last: int | None = None
    patience: int = 1


def _read(connection: Connection, job: _Job, piece: _Piece) -> Generator[pa.RecordBatch, None, None]:
    """A piece on the fast path; from where that is refused, on the careful one as long as it is needed."""
    progress = _Progress()
    whole = False
    while not whole:
        if job.recipe.way != "any":
            try:
                yield from _fast(connection, job, piece, progress)
            except (Refused, Unfit) as refusal:
                _explain_statement(refusal, connection, job)
            else:
                return
        whole = yield from _careful(connection, job, piece, progress)


def _explain_statement(refusal: Exception, connection: Connection, job: _Job) -> None:
    """A statement that cannot be prepared at all is the user's to fix, no misfit."""
    why = refusal.why if isinstance(refusal, Refused) else ""
    if "prepare" in why:
        raise UserError(
            f"{job.extract.table.name} cannot be read", on=connection.path, why=why, hint=_hint(job.extract)
        ) from refusal


def _hint(extract: Extract) -> str:
    said = [f"`where: {extract.where}`"] if extract.where is not None else []
    said += [f"`{f.name}: {{expr: {f.expr}}}`" for f in extract.fields if f.expr is not None]
    check = f"check {', '.join(said)}; " if said else ""
    return check + "the table may have changed since it was planned: plan again"


def _start(job: _Job, piece: _Piece, progress: _Progress) -> int:
    """Where a statement begins: a rowid, or the number of rows to pass over."""
    if job.recipe.way != "rowid":
        return progress.rows
    return piece.lo if progress.last is None else progress.last + 1


def _fast(
    connection: Connection, job: _Job, piece: _Piece, progress: _Progress
) -> Generator[pa.RecordBatch, None, None]:
    how = job.recipe
    values = how.fast.values(job.bounds, _start(job, piece, progress), piece.hi)
    with closing(connection.execute(how.fast.sql, values, job.batch_rows)) as batches:
        for raw in _rows(batches, how.arrow):
            made = _assembled(
                job, raw.column(0), [converted(raw.column(i + 1), s.field) for i, s in enumerate(how.slots)]
            )
            _advance(job, piece, raw.column(0), progress)
            yield made
            job.adapt(raw)


def _rows(batches: Iterator[pa.RecordBatch], wanted: tuple[pa.DataType, ...]) -> Iterator[pa.RecordBatch]:
    """Batches without the lead row.  Raises `Unfit` where a misfit in the first batch changed a type."""
    for number, batch in enumerate(batches):
        if number == 0:
            if tuple(batch.schema.types) != wanted:
                raise Unfit("a misfit among the first rows changed a column's type")
            batch = batch.slice(1)  # noqa: PLW2901  (the lead row ends here)
        if batch.num_rows:
            yield batch


def _advance(job: _Job, piece: _Piece, keys: pa.Array, progress: _Progress) -> None:
    """Note how far the piece has come; rowids must rise strictly inside it, so none comes twice."""
    if job.recipe.way == "rowid":
        first, last = keys[0].as_py(), keys[-1].as_py()
        floor = piece.lo if progress.last is None else progress.last + 1
        rising = len(keys) == 1 or pc.all(pc.greater(keys[1:], keys[:-1])).as_py()
        if not (rising and first >= floor and last <= piece.hi):
            raise _out_of_range(job)
        progress.last = last
    progress.rows += len(keys)


def _out_of_range(job: _Job) -> SiltError:
    return UserError(
        f"rows outside the range asked for came from {job.extract.table.name}",
        hint="nothing was written; if it says so again, an index may be corrupt: sqlite3's "
        "`PRAGMA integrity_check` tells",
    )


def _assembled(
    job: _Job, keys: pa.Array, columns: Sequence[pa.Array], rescue: Rescue | None = None
) -> pa.RecordBatch:
    """The lake's columns in their order; `columns` are those of the recipe's slots."""
    read = {slot.place: column for slot, column in zip(job.recipe.slots, columns, strict=True)}
    if rescue:
        kept = rescue.column(len(keys), keys if _rowid_shown(job) else None)
        read |= {i: kept for i, f in enumerate(job.extract.fields) if f.lineage == "rescued"}
    fields = enumerate(job.extract.fields)
    made = [read[i] if i in read else _unread(job, f, keys) for i, f in fields]
    return pa.RecordBatch.from_arrays(made, schema=job.schema)


def _unread(job: _Job, f: Field, keys: pa.Array) -> pa.Array:
    """A column that no slot reads: the rowid, which is column 0 already, or a constant."""
    table = job.extract.table
    has_rowid = job.recipe.way != "any" and (table.rowid_alias or table.rowid) is not None
    if f.is_read or (f.lineage == "rowid" and has_rowid):
        return keys
    return _constant(job, f, len(keys))


def _constant(job: _Job, f: Field, length: int) -> pa.Array:
    """A slice of one long column of the constant, made once and lengthened when needed."""
    known = job.constants.get(f.name)
    if known is None or len(known) < length:
        known = job.constants[f.name] = repeated(_constant_value(job, f), f.type, length)
    return known.slice(0, length)


def _constant_value(job: _Job, f: Field) -> object:
    match f.lineage:
        case "node":
            return job.extract.node
        case "database":
            return job.extract.database
        case "loaded_at":
            return job.loaded_at
        case _:
            return types.constant(f.value, f.type)


# --- the careful path -----------------------------------------------------------------------------

_PARTS: Final = ("integer", "real", "text", "blob")


def _careful(
    connection: Connection, job: _Job, piece: _Piece, progress: _Progress
) -> Generator[pa.RecordBatch, None, bool]:
    """What is left of a piece, each value by its own class: delivered if the type holds it exactly.

    False where it ended before the piece: a scan by rowid goes back to the fast path, which a batch's
    rows may have been refused for one of them, once that many are read and the last ones all fit.
    """
    prepared = job.recipe.careful
    enough = progress.rows + job.batch_rows * progress.patience
    progress.patience = min(2 * progress.patience, _PATIENCE)
    values = prepared.values(job.bounds, _start(job, piece, progress), piece.hi)
    wanted = (pa.int64(), pa.int64(), *((pa.string(), *map(arrow_of, _PARTS)) * len(job.recipe.slots)))
    try:
        with closing(connection.execute(prepared.sql, values, min(job.batch_rows, _CAREFUL_ROWS))) as batches:
            for raw in _rows(batches, wanted):
                if pc.min(raw.column(1)).as_py() != 1:
                    raise _out_of_range(job)
                rescue = Rescue()
                columns = [
                    _judged(connection, job, raw, i, progress.rows, rescue)
                    for i in range(len(job.recipe.slots))
                ]
                made = _assembled(job, raw.column(0), columns, rescue)
                _advance(job, piece, raw.column(0), progress)
                yield made
                if job.recipe.way == "rowid" and progress.rows >= enough and not rescue:
                    return False
    except Refused as refusal:
        raise UserError(
            f"{job.extract.table.name} cannot be read",
            on=connection.path,
            why=refusal.why,
            hint=_hint(job.extract),
        ) from refusal
    return True


def _judged(
    connection: Connection, job: _Job, raw: pa.RecordBatch, index: int, before: int, rescue: Rescue
) -> pa.Array:
    """A column as its field's type: whole where all is of the expected class, else value by value.

    What does not fit is NULL there, and in `rescue`.
    """
    slot = job.recipe.slots[index]
    kinds, *parts = (raw.column(2 + 5 * index + i) for i in range(5))
    by_class = dict(zip(_PARTS, parts, strict=True))
    if set(pc.unique(kinds).to_pylist()) <= {slot.stored, "null"}:
        try:
            return converted(by_class[slot.stored], slot.field)
        except Unfit:
            pass
    made: list[object] = []
    for row in range(raw.num_rows):
        value, f = _value(by_class, row), slot.field
        try:
            made.append(_exact(job, f, value))
        except ValueError as error:
            if not _rescues(job, f):
                at = _where(connection, job, raw.column(0)[row].as_py(), before + row)
                raise _misfit(connection, job, slot, value, at, str(error)) from None
            rescue.keep(row, f, value)
            made.append(None)
    column = pa.array(made, types.to_arrow(slot.field.type))
    if slot.field.mask is None:
        return column
    try:
        return masked(column, slot.field.mask)
    except pa.ArrowInvalid:
        values = [_value(by_class, row) for row in range(raw.num_rows)]
        return _masked_apart(connection, job, slot.field, column, values, rescue)


def _exact(job: _Job, f: Field, value: Value) -> object:
    """`value` as the lake has it.

    Raises `ValueError` for a misfit: in a key also for a word beside 0 and 1.
    """
    if f.type == "boolean" and isinstance(value, str) and f.source in job.extract.finds:
        raise ValueError("a word would be one with the number that it means, and this column is of the key")
    return types.exact(value, f.type, f.format, f.timezone)


def _rescues(job: _Job, f: Field) -> bool:
    """Whether a misfit of the field is kept beside its row: not one of the key, which finds the row again."""
    return job.extract.rescues and f.source not in job.extract.finds


def _masked_apart(
    connection: Connection,
    job: _Job,
    f: Field,
    made: pa.Array,
    values: Sequence[Value],
    rescue: Rescue,
) -> pa.Array:
    """`made`, `values` as the field's type, each masked by itself: rounding one of them leaves the type."""
    assert f.mask is not None
    columns = []
    for row, value in enumerate(values):
        try:
            columns.append(masked(made.slice(row, 1), f.mask))
        except pa.ArrowInvalid:
            if not _rescues(job, f):
                raise _rounded_away(connection, job, f) from None
            rescue.keep(row, f, value)
            columns.append(pa.nulls(1, made.type))
    return pa.concat_arrays(columns)


def _rounded_away(connection: Connection, job: _Job, f: Field) -> Misfit:
    return Misfit(
        f"{job.extract.table.name}.{f.source or f.name} holds a number that, rounded, is no {f.type}",
        on=connection.path,
        hint="give the column a wider type, or another mask",
    )


def _value(parts: dict[str, pa.Array], row: int) -> Value:
    for name, array in parts.items():
        if array[row].is_valid:
            return _text(array, row) if name == "text" else array[row].as_py()
    return None


def _text(array: pa.Array, row: int) -> str:
    """The text of a row, bytes that are no UTF-8 as surrogates."""
    raw: bytes = array.slice(row, 1).view(pa.binary())[0].as_py()
    return raw.decode("utf-8", "surrogateescape")


_SHOWN: Final = 60


def _misfit(connection: Connection, job: _Job, slot: Slot, value: Value, at: str, why: str) -> Misfit:
    name = slot.field.source or slot.field.name
    other = (
        ""
        if slot.field.type == "string"
        else f", or give the column another type: columns: {{{name}: {{type: string}}}}"
    )
    hidden = slot.field.private
    held = f"{storage_class(value)}{'' if hidden else ' ' + shown(value)}{at}"
    return Misfit(
        f"{job.extract.table.name}.{name} holds {held}: no {slot.field.type}",
        on=connection.path,
        why="" if hidden else _plainly(value, why),
        hint=f"mend the value{other}",
        setting=f"columns.{name}.type",
    )


def _where(connection: Connection, job: _Job, rowid_: int, number: int) -> str:
    """Which row, in words: by its rowid, else by its key, looked up by the row's place in the scan.

    Columns that are masked or left out tell nothing: then by its number alone, where rows are counted.
    """
    table, exposed = job.extract.table, job.extract.exposed
    names = job.recipe.key_names
    if job.recipe.way != "any" and (own := table.rowid_alias or table.rowid):
        return f" at {own} {rowid_}" if _rowid_shown(job) else ""
    if not names or not exposed.issuperset(names):
        return f" in row {number + 1}"
    ((*key,),) = connection.rows(job.recipe.key_at(job.bounds, number))
    return f" at ({', '.join(names)}) = ({', '.join(shown(v) for v in key)})"


def _rowid_shown(job: _Job) -> bool:
    """Whether a row has a rowid, and no column that is masked or left out shows in it."""
    table = job.extract.table
    if job.recipe.way == "any" or (table.rowid_alias or table.rowid) is None:
        return False
    return table.rowid_alias is None or table.rowid_alias in job.extract.exposed


def _plainly(value: Value, why: str) -> str:
    broken = isinstance(value, str) and any("\udc80" <= c <= "\udcff" for c in value)
    return "its bytes are not UTF-8" if broken else why


def shown(value: Value) -> str:
    """A value for an error message, shortened; blobs and broken text by their bytes."""
    match value:
        case bytes():
            return f"x'{value[:20].hex()}'" + ("..." if len(value) > 20 else "")
        case str():
            text = ascii(value) if any("\udc80" <= c <= "\udcff" for c in value) else repr(value)
            return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}{text[0]}..."
        case _:
            return repr(value)
