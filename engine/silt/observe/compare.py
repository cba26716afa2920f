"""What a slice lacks of its source, holds otherwise, or has too much: by ranges of the key.

Both sides are read range by range, so that memory is bounded whatever the table's size.  A range is cut
where the source's key order cuts it, and told to the lake by the greatest key that came: what lies
between two of them belongs to the later.  So it takes a key that the lake sorts as the source does (numbers,
blobs, texts by their bytes); a slice of another key, and a view, which each range would ask for all of its
rows, are compared whole.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from heapq import heapify, heappop, heappush
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeAlias

from silt import target, types
from silt.errors import Held, UserError
from silt.manifest.model import Deletes
from silt.plan.model import Part
from silt.plan.verdict import REBUILD
from silt.position import Position
from silt.shapes import Extract, Field, Key, Order, ascii_lower
from silt.source import evidence as ev
from silt.source.open import Snapshot
from silt.source.read import schema, stream

if TYPE_CHECKING:
    import pyarrow as pa

RANGE_BYTES = 12 * 1024 * 1024
"""Bytes of Arrow of a range, on each side, by the size of a row as last seen."""

ROW_BYTES, KEY_BYTES = 100, 64
"""Bytes of a row, and of a key, in Arrow, as long as none was seen."""

LEAST_ROWS, MOST_ROWS = 1_000, 500_000
"""Rows of a range at least and at most."""

RUN_ROWS = 256
"""Rows that runs of rising keys hold on average, from which they are put in order as they are."""

Bounds: TypeAlias = tuple[Key | None, Key | None] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One range: rows of the source that the slice lacks (`missing`) or has otherwise (`changed`), keys
    that only the slice has (`gone`); `source_rows` and `lake_rows` were there.  `bounds` are the keys of the
    source between which it lies; None: it is all.
    """

    missing: pa.Table
    changed: pa.Table
    gone: pa.Table
    source_rows: int
    lake_rows: int
    bounds: Bounds = None


def differences(
    part: Part,
    snapshot: Snapshot,
    table: target.Table,
    *,
    row_bytes: int,
    content: bool = True,
    live: str | None = None,
) -> Iterator[Difference]:
    """The source's rows beside the slice's, range by range of the key; ranges without a difference, too.

    Without `content` only keys are compared, and `missing` holds keys.  Of the slice those rows count whose
    column `live` is NULL.  While the source's next range is read, a thread reads and compares the slice's;
    it is idle whenever a range is yielded, so `table` is the caller's then.

    Raises `UserError` for a key that is NULL or there twice, `Held` for one that the slice holds twice.
    """
    if nulls := ev.count_without_key(snapshot.first, part.extract):
        raise without_key(part, nulls)
    rows = max(LEAST_ROWS, min(MOST_ROWS, RANGE_BYTES // max(row_bytes, 1)))
    slice_ = _Slice(part, table, content=content, live=live)

    def compared(source: pa.Table, bounds: Bounds, least: Key | None, greatest: Key | None) -> Difference:
        return replace(_difference(part, source, slice_.rows(least, greatest), slice_), bounds=bounds)

    least: Key | None = None
    before: Future[Difference] | None = None
    with ThreadPoolExecutor(1, thread_name_prefix="silt-slice") as pool:
        for source, bounds, last in _ranges(part, snapshot, slice_.extract, rows):
            if before is not None:
                yield before.result()
            greatest = None if last else _greatest(source, slice_.keys)
            before = pool.submit(compared, source, bounds, least, greatest)
            least = greatest
        if before is not None:
            yield before.result()


def fetched(part: Part, snapshot: Snapshot, found: Difference) -> pa.Table:
    """The whole rows of which `found.missing` holds the keys, in the snapshot that it was found in."""
    names = part.extract.key_fields
    if not found.missing.num_rows:
        return schema(part.extract).empty_table()
    if found.bounds is None:
        rows = _read(snapshot, replace(part.extract, order=None), None, None, None, names)
    else:
        rows = _read(snapshot, ordered(part.extract), *found.bounds, None, names)
    return rows.filter(_places(rows.select(names), found.missing.select(names)).is_valid())


def is_due(rule: Deletes, position: Position, now: float) -> bool:
    """Whether keys are to be compared again; `now` in seconds since 1970."""
    return now * 1000 >= position.swept + rule.every * 1000


def check_fraction(part: Part, gone: int, rows: int, rule: Deletes) -> None:
    """Raise `Held` where so much of a slice would go at once that the source looks wiped."""
    if gone > rule.max_fraction * rows:
        raise Held(
            f"{gone:,} of {rows:,} rows are gone from {part.extract.table.name}: more than max_fraction "
            f"{rule.max_fraction:g} of them, so it looks wiped",
            rule="7",
            on=part.database.path,
            hint="put the rows back; or let them go: `deletes: {max_fraction: 1}`",
            setting="deletes",
        )


def without_key(part: Part, rows: int) -> UserError:
    """Rows whose key is NULL can be no row of the lake."""
    extract = part.extract
    return UserError(
        f"{rows:,} rows of {extract.table.name} have NULL in the primary key ({', '.join(extract.key)}): "
        "nothing tells which row of the lake is theirs",
        on=part.database.path,
        hint="give them a key, leave them out with `where`, or declare another `primary_key`",
        setting="primary_key",
    )


# --- the source, by ranges ------------------------------------------------------------------------


def _ranges(
    part: Part, snapshot: Snapshot, extract: Extract, rows: int
) -> Iterator[tuple[pa.Table, Bounds, bool]]:
    """The source's rows in ranges of about `rows`, each sorted by the key: rows, bounds, whether the last.

    A range of which a filter takes every row is part of the next one.
    """
    names = part.extract.key_fields
    if not is_ranged(part.extract, snapshot.first.encoding):
        whole = replace(extract, order=None)
        yield _read(snapshot, whole, None, None, None, names), None, True
        return
    by_key = ordered(extract)
    high = ev.last_key(snapshot.first, by_key)
    lo: Key | None = None
    before: Key | None = None
    while True:
        window = ev.window(snapshot, by_key, lo, high, max_rows=rows)
        read = _read(snapshot, by_key, window.lo, window.hi, window.rows, names)
        if read.num_rows or window.last:
            if before is not None and read.num_rows and not _key_at(read, names, 0) > before:
                raise _disordered(part)
            before = _greatest(read, names) if read.num_rows else before
            yield read, (window.lo, window.hi), window.last
        if window.last:
            return
        lo = window.hi


def is_ranged(extract: Extract, encoding: str) -> bool:
    """Whether the lake sorts the key as the source does, and a range of it can be asked for."""
    by = {f.name: f for f in extract.fields}
    fields = [by[name] for name in extract.key_fields]
    return extract.table.kind == "table" and all(_sorts_alike(f, extract, encoding) for f in fields)


def _sorts_alike(field: Field, extract: Extract, encoding: str) -> bool:
    kind = types.parse(field.type).kind
    column = extract.table.column(field.source or "")
    if kind == "string":
        plain = column is not None and ascii_lower(column.collation) == "binary"
        return plain and encoding == "UTF-8" and field.format != types.RENDERED
    if kind in ("timestamp", "date"):
        return types.base_format(field.format or "") in types.NUMBER_FORMATS
    if kind == "decimal":
        return types.is_numeric(field.declared, strict=extract.table.strict)
    return kind != "boolean"


def ordered(extract: Extract) -> Extract:
    """The extract in the order of its key."""
    table, alone = extract.table, extract.key[0] if len(extract.key) == 1 else None
    is_rowid = alone is not None and alone == (table.rowid_alias or table.rowid)
    return replace(extract, order=Order(kind="rowid" if is_rowid else "columns", cursor=extract.key))


def _read(
    snapshot: Snapshot,
    extract: Extract,
    lo: Key | None,
    hi: Key | None,
    rows: int | None,
    keys: Sequence[str],
) -> pa.Table:
    import pyarrow as pa

    with closing(stream(snapshot, extract, lo, hi, rows)) as batches:
        read = pa.Table.from_batches(batches, schema(extract))
    return _sorted(read, keys)


def _sorted(rows: pa.Table, keys: Sequence[str]) -> pa.Table:
    import pyarrow.compute as pc

    if len(keys) == 1:
        rows = _in_runs(rows, keys[0])
        if _rises(rows.column(keys[0]).combine_chunks()):
            return rows
    return rows.take(pc.sort_indices(rows, sort_keys=[(name, "ascending") for name in keys]))


def _in_runs(rows: pa.Table, key: str) -> pa.Table:
    """`rows` with their runs of rising keys merged, where they are long; else as they are.

    Readers, and the pieces of a file, come in turns; taking each row anew costs a third of reading it.
    """
    import pyarrow as pa

    values = rows.column(key).combine_chunks()
    slices: list[pa.Table] = []
    runs = _runs(values)
    heapify(runs)
    while runs and (len(runs) + len(slices)) * RUN_ROWS <= len(values):
        _, start, end = heappop(runs)
        cut = end
        if runs:
            cut = bisect_right(range(end), runs[0][0], start, key=lambda place: values[place].as_py())
        slices.append(rows.slice(start, cut - start))
        if cut < end:
            heappush(runs, (values[cut].as_py(), cut, end))
    return rows if runs or not slices else pa.concat_tables(slices)


def _runs(values: pa.Array) -> list[tuple[Any, int, int]]:
    """Where the values rise: the first one, its place, the place after the last; as many as are worth it."""
    import pyarrow.compute as pc

    count = len(values)
    falls = pc.indices_nonzero(pc.less(values.slice(1), values.slice(0, max(count - 1, 0))))
    starts = [0, *(place + 1 for place in falls.slice(0, count // RUN_ROWS + 1).to_pylist())]
    return [(values[at].as_py(), at, end) for at, end in pairwise([*starts, count])] if count else []


def _rises(values: pa.Array) -> bool:
    """Whether they are in order already, as rows mostly come."""
    import pyarrow.compute as pc

    count = len(values) - 1
    return count < 1 or bool(pc.all(pc.greater(values.slice(1), values.slice(0, count))).as_py())


def _disordered(part: Part) -> UserError:
    return UserError(
        f"rows of {part.extract.table.name} do not come in the order of their key",
        on=part.database.path,
        hint="nothing was written; if it says so again, an index may be corrupt: sqlite3's "
        "`PRAGMA integrity_check` tells",
    )


def _greatest(rows: pa.Table, keys: Sequence[str]) -> Key:
    return _key_at(rows, keys, rows.num_rows - 1)


def _key_at(rows: pa.Table, keys: Sequence[str], index: int) -> Key:
    return tuple(rows.column(name)[index].as_py() for name in keys)


# --- the slice ------------------------------------------------------------------------------------


class _Slice:
    """The lake's rows of a part, as the source's are."""

    def __init__(self, part: Part, table: target.Table, *, content: bool, live: str | None) -> None:
        fields = part.extract.fields
        self.keys = part.extract.key_fields
        shown = [f for f in fields if content or f.name in self.keys]
        self.extract = replace(part.extract, fields=tuple(shown))
        self._schema = schema(self.extract)
        self._table = table
        there = {column.name for column in table.columns}
        self._names = [f.name for f in shown if f.name in there]
        marks = () if live is None else ((live, None),)
        self._equals = (*part.slice.equals, *marks)

    @property
    def compared(self) -> tuple[str, ...]:
        """The columns that make a row another one."""
        left = ("loaded_at", "node", "database")
        fields = (f for f in self.extract.fields if f.lineage not in left)
        return tuple(f.name for f in fields if f.name not in self.keys)

    def rows(self, least: Key | None, greatest: Key | None) -> pa.Table:
        """Those past `least` up to `greatest` (None: all from there), sorted by the key."""
        import pyarrow as pa

        same = _shared(self.keys, least, greatest)
        bounds = _between(self.keys[len(same) :], least, greatest, len(same))
        within = target.Predicate(equals=(*self._equals, *same), between=bounds)
        batches = [
            _within(pa.Table.from_batches([batch]), self.keys, least, greatest)
            for batch in self._table.rows(self._names, within)
        ]
        rows = pa.concat_tables(batches) if batches else self._schema.empty_table().select(self._names)
        return _sorted(self._conformed(rows), self.keys)

    def _conformed(self, rows: pa.Table) -> pa.Table:
        """In the source's schema; a column that the table lacks yet is NULL."""
        import pyarrow as pa

        columns = [
            rows.column(f.name).cast(f.type) if f.name in self._names else pa.nulls(rows.num_rows, f.type)
            for f in self._schema
        ]
        return pa.table(columns, schema=self._schema)


def _shared(
    keys: Sequence[str], least: Key | None, greatest: Key | None
) -> tuple[tuple[str, int | str], ...]:
    """The leading columns in which both bounds are one value."""
    same: list[tuple[str, int | str]] = []
    for name, low, high in zip(keys[:-1], least or (), greatest or (), strict=False):
        if low != high or isinstance(low, bool) or not isinstance(low, int | str):
            break
        same.append((name, low))
    return tuple(same)


def _between(
    keys: Sequence[str], least: Key | None, greatest: Key | None, place: int
) -> tuple[str, object, object]:
    """By one column alone: what is read too much is left out by `_within`."""
    return keys[0], least[place] if least else None, greatest[place] if greatest else None


def _within(rows: pa.Table, keys: Sequence[str], least: Key | None, greatest: Key | None) -> pa.Table:
    import pyarrow.compute as pc

    if least is not None:
        rows = _filtered(rows, _past(rows, keys, least))
    if greatest is not None:
        rows = _filtered(rows, pc.invert(_past(rows, keys, greatest)))
    return rows


def _filtered(rows: pa.Table, wanted: Any) -> pa.Table:
    """Mostly all of them, which then are not copied."""
    import pyarrow.compute as pc

    return rows if pc.all(wanted).as_py() else rows.filter(wanted)


def _past(rows: pa.Table, keys: Sequence[str], key: Key) -> Any:
    """Whether each row's key lies past `key`."""
    import pyarrow as pa
    import pyarrow.compute as pc

    *before, (name, value) = zip(keys, key, strict=True)
    column = rows.column(name)
    past = pc.greater(column, pa.scalar(value, column.type))
    for name, value in reversed(before):
        column = rows.column(name)
        bound = pa.scalar(value, column.type)
        past = pc.or_(pc.greater(column, bound), pc.and_(pc.equal(column, bound), past))
    return past


# --- side by side ---------------------------------------------------------------------------------


def _difference(part: Part, source: pa.Table, lake: pa.Table, slice_: _Slice) -> Difference:
    """Both sides are sorted by the key."""
    import pyarrow.compute as pc

    keys = list(slice_.keys)
    mine, theirs = source.select(keys), lake.select(keys)
    if mine.equals(theirs):  # what is mostly so
        nothing = source.slice(0, 0)
        changed = source.filter(_differs(source, lake, slice_.compared))
        _check_single(part, mine, theirs)
        return Difference(
            missing=nothing,
            changed=changed,
            gone=mine.slice(0, 0),
            source_rows=source.num_rows,
            lake_rows=lake.num_rows,
        )
    _check_single(part, mine, theirs)
    place = _places(mine, theirs)
    both = pc.is_valid(place)
    met = source.filter(both)
    other = lake.take(place.drop_null())
    gone = pc.is_null(pc.inverse_permutation(place.drop_null(), max_index=lake.num_rows - 1))
    return Difference(
        missing=source.filter(pc.invert(both)),
        changed=met.filter(_differs(met, other, slice_.compared)),
        gone=theirs.filter(gone),
        source_rows=source.num_rows,
        lake_rows=lake.num_rows,
    )


def _places(mine: pa.Table, theirs: pa.Table) -> pa.Array:
    """For each key of `mine` its place in `theirs`; NULL where it is not there."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if mine.num_columns == 1:
        values = theirs.column(0).combine_chunks()
        return pc.index_in(mine.column(0).combine_chunks(), value_set=values).cast(pa.int64())
    numbered = [
        side.append_column(name, pa.arange(0, side.num_rows))
        for side, name in ((mine, "silt_mine"), (theirs, "silt_theirs"))
    ]
    joined = numbered[0].join(numbered[1], keys=mine.schema.names, join_type="left outer")
    ordered = joined.take(pc.sort_indices(joined.column("silt_mine")))
    return ordered.column("silt_theirs").combine_chunks()


def _differs(mine: pa.Table, theirs: pa.Table, names: Sequence[str]) -> pa.Array:
    """Whether each row differs from the one at its place in a column of `names`."""
    import pyarrow as pa
    import pyarrow.compute as pc

    found = pa.repeat(pa.scalar(value=False), mine.num_rows)
    for name in names:
        a, b = (_comparable(side.column(name).combine_chunks()) for side in (mine, theirs))
        if a.equals(b):
            continue
        unlike = pc.fill_null(pc.not_equal(a, b), fill_value=False)
        found = pc.or_(found, pc.or_(unlike, pc.xor(pc.is_valid(a), pc.is_valid(b))))
    return found


def _comparable(values: Any) -> Any:
    """Floats by their bits, so that 0.0 is not -0.0 and NaN is itself."""
    import pyarrow as pa
    import pyarrow.types as kinds

    bits = {pa.float64(): pa.int64(), pa.float32(): pa.int32()}
    return values.view(bits[values.type]) if kinds.is_floating(values.type) else values


def _check_single(part: Part, mine: pa.Table, theirs: pa.Table) -> None:
    """Raise where a key is there twice, on either side; both are sorted."""
    if twice := _twice(mine):
        raise UserError(
            f"{twice:,} rows of {part.extract.table.name} have the primary key "
            f"({', '.join(part.extract.key)}) of another row",
            on=part.database.path,
            hint="declare a `primary_key` that tells rows apart; `mode: overwrite` needs none",
            setting="primary_key",
        )
    if twice := _twice(theirs):
        raise Held(
            f"{twice:,} rows of the slice have the key of another row in it",
            rule="7",
            on=part.database.path,
            hint=REBUILD,
        )


def _twice(keys: pa.Table) -> int:
    """How many rows have the key of the one before."""
    import pyarrow.compute as pc

    rows = keys.num_rows
    if rows < 2:
        return 0
    same = None
    for column in keys.columns:
        values = column.combine_chunks()
        equal = pc.equal(values.slice(1), values.slice(0, rows - 1))
        same = equal if same is None else pc.and_(same, equal)
    return int(pc.sum(same).as_py() or 0)
