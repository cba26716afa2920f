"""What one read transaction sees of a (stream, database) before any row is read (DESIGN 4.3, 4.4).

Every question is one small query inside the caller's snapshot.  Witnesses and ties are hashed from
raw storage values by one fixed rendering, without `where`, so that a manifest edit changes no hash.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import sqlalchemy as sa

from silt.position import Position, Value, Witness
from silt.shapes import GREATEST_ROWID, Evidence, Extract, FileIdentity, Found, Key, Sighting, TextShape
from silt.source.clone import sequence
from silt.source.digest import Digest
from silt.source.open import Snapshot, identity, machine_id
from silt.source.questions import SLOTS, Questions, given, questions, slots
from silt.source.read import INLINE_ROWS, rowids, stream, whole
from silt.source.statement import key_column, nullable, relation, written

if TYPE_CHECKING:
    from silt.source.open import Connection

MAX_WITNESS_COLUMNS = 16
_NEAR = (0, 1, 2, 4, 8, 16, 32, 64)
_FAR = (256, 1024, 4096, 16384, 65536)
_WORTH_TWO = 100_000
"""Rowids of a range from which two readers count it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The rows that one batch takes: keys past `lo` up to `hi`; `rows` of them pass the filter.

    `scanned` counts them without the filter; `last` is False when `max_rows` cut the batch short.
    `rowids` are the least and the greatest of a large window of another order, where rows have them.
    """

    lo: Key | None
    hi: Key | None
    rows: int
    scanned: int
    last: bool
    rowids: tuple[int, int] | None = None


# --- the evidence ---------------------------------------------------------------------------------


def gather(
    connection: Connection,
    extract: Extract,
    position: Position | None,
    *,
    ceiling: Value = None,
    shape: TextShape | None = None,
    moved: bool = True,
) -> Evidence:
    """All that `plan.verdict` decides from; `ceiling` is now + max_skew in the cursor's own spelling.

    `shape` is what every text of the cursor looks like (None: it has no text format): texts past the
    position are left to `stray_in`.  With `moved` a
    witness of a merge is found wherever its row has moved to since.
    Raises what the connection raises; reads at most the rows of the position's cursor value.
    """
    ask = questions(extract)
    table = extract.table
    version = connection.schema_version()
    high = _high(connection, ask, ceiling)
    nulls, last_null = ask.nulls().rows(connection)[0] if ask.nullable else (0, None)
    empty = high is None and not nulls and not ask.any_row().rows(connection)
    hashed = position is None or set(position.witness_columns) <= {c.name for c in table.columns}
    file = identity(connection.path)
    # without the recorded columns a row that is there proves nothing, unless the file is the same
    proof: Found | None = None if hashed else "match" if position and _same(file, position) else "differs"
    sightings: tuple[Sighting, ...] = ()
    if position is not None and not empty:
        by_row = moved and ask.order.moves and bool(ask.order.tie)
        sight = _sight_moved if by_row else partial(_sight, proof=proof)
        sightings = sight(connection, ask, position)
    absent = bool(sightings) and all(s.found == "absent" for s in sightings)
    low, exhausted = _rowid_bounds(connection, ask)
    past = position is not None and position.key is not None and absent
    return Evidence(
        file=file,
        machine=machine_id(),
        schema_version=version,
        empty=empty,
        sightings=sightings,
        hashed=hashed,
        high=high,
        low=low,
        exhausted=exhausted,
        all_past=past and position is not None and not _reached(connection, ask, position),
        sequence_passed=(absent or empty) and _sequence_passed(connection, ask, position),
        ties=_ties_now(connection, extract, position, version),
        stray=_stray(connection, ask, position, shape),
        nulls=nulls,
        last_null=last_null,
        null_row=_null_row(connection, ask, position, proof),
        deferred=0 if ceiling is None else ask.deferred().rows(connection, value=ceiling)[0][0],
    )


def _high(connection: Connection, ask: Questions, ceiling: Value) -> Key | None:
    """The last key that may be read now; None when there is none."""
    if ceiling is None:
        rows = ask.last(ceiling=False).rows(connection)
    else:
        rows = ask.last(ceiling=True).rows(connection, value=ceiling)
    return _key(rows)


def _key(rows: Sequence[Sequence[Value]]) -> Key | None:
    return tuple(rows[0]) if rows else None


def _reached(connection: Connection, ask: Questions, position: Position) -> bool:
    """Whether a row at or before the position's key is left."""
    return bool(ask.reached().rows(connection, **given("hi", position.key)))


def _sequence_passed(connection: Connection, ask: Questions, position: Position | None) -> bool:
    """Whether AUTOINCREMENT has given out the position's id.

    Only where the order is that id: of another cursor its absence says nothing about ids.
    """
    key = position.key if position else None
    if key is None or not ask.table.autoincrement or ask.order.kind != "rowid":
        return False
    given_out, last = sequence(connection, ask.table.name), key[0]
    return given_out is not None and isinstance(last, int) and given_out >= last


def _rowid_bounds(connection: Connection, ask: Questions) -> tuple[int | None, bool]:
    """min(rowid) of a rowid order, and whether 2^63-1 is taken; two index probes."""
    if ask.order.kind != "rowid":
        return None, False
    ((least, greatest),) = ask.rowid_bounds().rows(connection)
    return least, greatest == GREATEST_ROWID


# --- strays ---------------------------------------------------------------------------------------

_DAY_LENGTH = len("2000-01-01")


def _stray(connection: Connection, ask: Questions, position: Position | None, shape: TextShape | None) -> str:
    """In words: a cursor value of another storage class or text format, which the order misplaces."""
    name = ask.order.cursor[0]
    if ask.order.kind == "rowid" or name == ask.table.rowid_alias:
        return ""
    pinned = position.key[0] if position and position.key else None
    example = pinned if pinned is not None else _example(connection, ask)
    for text, rows in _strangers(connection, ask, example, pinned, shape):
        if rows:
            return f"cursor {name} holds {text.format(rows[0][0])}"
    return ""


def _example(connection: Connection, ask: Questions) -> Value:
    rows = ask.first_value().rows(connection)
    return rows[0][0] if rows else None


def first_value(connection: Connection, extract: Extract) -> Value:
    """A value of the cursor's first column; None where there is none."""
    return _example(connection, questions(extract))


def _strangers(
    connection: Connection, ask: Questions, example: Value, pinned: Value, shape: TextShape | None
) -> Iterator[tuple[str, list[tuple[str]]]]:
    """What looks for a stray below the position or of another class, each an index probe."""
    if isinstance(example, str):
        yield "a value of class {} among texts", ask.below_text().rows(connection)
        yield "a value of class {} among texts", ask.blob().rows(connection)
        if shape is not None and isinstance(pinned, str) and len(pinned) > _DAY_LENGTH:
            day, end = pinned[:_DAY_LENGTH], pinned[: _DAY_LENGTH + 1]
            found = ask.in_range().rows(connection, value=day, end=end)
            yield "a {} of another format below the position", found
    elif isinstance(example, bytes):
        yield "a value of class {} among blobs", ask.below_blob().rows(connection)
    elif example is not None:
        yield "a value of class {} among numbers", ask.text_or_blob().rows(connection)


def stray_in(connection: Connection, extract: Extract, window: Window, shape: TextShape | None) -> str:
    """In words: a cursor text of another format among those of `window`, of the last one all past it.

    So each text is looked at once, however many windows there are; what is deferred is none of them.
    """
    order = extract.order
    if shape is None or order is None or order.kind == "rowid":
        return ""
    bounds = {"value": window.lo[0] if window.lo else ""}
    if not window.last and window.hi is not None:
        bounds["end"] = window.hi[0]
    found = questions(extract).unlike(shape, ends="end" in bounds).rows(connection, **bounds)
    return f"cursor {order.cursor[0]} holds a {found[0][0]} of another format" if found else ""


# --- witnesses ------------------------------------------------------------------------------------


def witness_columns(extract: Extract) -> tuple[str, ...]:
    """Which columns a new position's witnesses hash: at most 16, so that a position stays small."""
    return extract.witness[:MAX_WITNESS_COLUMNS]


def _contents(
    connection: Connection, ask: Questions, keys: Sequence[Key], columns: tuple[str, ...]
) -> dict[Key, int]:
    """The hash of the row at each key; a key without a row is left out."""
    found: dict[Key, int] = {}
    for start in range(0, len(keys), SLOTS):
        rows = ask.at_keys(columns).rows(connection, **slots(keys[start : start + SLOTS]))
        found.update({tuple(row[:-1]): zlib.crc32(str(row[-1]).encode()) for row in rows})
    return found


def _same(file: FileIdentity, position: Position) -> bool:
    return file.birth is not None and position.file == (file.device, file.inode, file.birth)


def _sight(
    connection: Connection, ask: Questions, position: Position, *, proof: Found | None
) -> tuple[Sighting, ...]:
    """What is found at each witness's key: its row, another one, or none; `proof` where no hash can tell."""
    keys = [w.key for w in position.witnesses]
    found = _contents(connection, ask, keys, () if proof else position.witness_columns)
    return tuple(Sighting(key=w.key, found=_compare(w, found, proof)) for w in position.witnesses)


def _sight_moved(connection: Connection, ask: Questions, position: Position) -> tuple[Sighting, ...]:
    """Whether each witness's row is there, with the same cursor or a later one (DESIGN 4.4)."""
    length = len(ask.order.cursor)
    rows = [w.key[length:] for w in position.witnesses]
    there: dict[Key, Key] = {}
    for start in range(0, len(rows), SLOTS):
        found = ask.cursors_at().rows(connection, **slots(rows[start : start + SLOTS]))
        there.update({tuple(row[length:]): tuple(row[:length]) for row in found})

    def seen(witness: Witness) -> Found:
        now = there.get(witness.key[length:])
        if now is None:
            return "absent"
        return "match" if _is_later(now, witness.key[:length]) else "differs"

    return tuple(Sighting(key=w.key, found=seen(w)) for w in position.witnesses)


def _is_later(now: Key, then: Key) -> bool:
    """Whether a cursor is the same or a later one; of another class it is neither."""
    try:
        return tuple(map(_sortable, now)) >= tuple(map(_sortable, then))
    except TypeError:
        return False


def _sortable(value: Value) -> Value:
    """Texts sort by their bytes, as SQLite's do."""
    return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value


def _compare(witness: Witness, found: Mapping[Key, int], proof: Found | None) -> Found:
    if witness.key not in found:
        return "absent"
    return proof or ("match" if found[witness.key] == witness.hash else "differs")


def _null_row(
    connection: Connection, ask: Questions, position: Position | None, proof: Found | None
) -> Found | None:
    """What stands at the position's last NULL row; None where it has none."""
    if position is None or position.nulls is None:
        return None
    rows = ask.null_row(() if proof else position.witness_columns).rows(connection, value=position.nulls)
    if not rows:
        return "absent"
    return proof or ("match" if zlib.crc32(str(rows[0][0]).encode()) == position.null_hash else "differs")


def null_hash(connection: Connection, extract: Extract, rowid: int) -> int | None:
    """The hash of the row with a NULL cursor at `rowid`, by today's witness columns; None without one."""
    rows = questions(extract).null_row(witness_columns(extract)).rows(connection, value=rowid)
    return zlib.crc32(str(rows[0][0]).encode()) if rows else None


def witnesses(
    connection: Connection, extract: Extract, window: Window, *, ordinal: int, first: bool
) -> tuple[Witness, ...]:
    """Candidates up to `window.hi`: rows at doubling distances from it, and the oldest when `first`.

    `ordinal` is that of the last row.  Distances beyond 64 rows are looked up only at a first read;
    later ones carry the witnesses of the position before (position.choose_witnesses).
    """
    if window.hi is None:
        return ()
    ask = questions(extract)
    keys = _near_keys(connection, ask, window, ordinal)
    if first:
        keys |= _far_keys(connection, ask, window, ordinal)
    return _hashed(connection, extract, keys)


def rehash(connection: Connection, extract: Extract, kept: Sequence[Witness]) -> tuple[Witness, ...]:
    """`kept`, hashed by today's columns; a row that is gone is left out, one that moves has no hash."""
    if extract.order is not None and extract.order.moves and extract.order.tie:
        return tuple(kept)
    return _hashed(connection, extract, {w.key: w.ordinal for w in kept})


def _hashed(connection: Connection, extract: Extract, ordinals: Mapping[Key, int]) -> tuple[Witness, ...]:
    """A witness for each key whose row is there."""
    if not ordinals:
        return ()
    found = _contents(connection, questions(extract), list(ordinals), witness_columns(extract))
    return tuple(Witness(key=k, hash=h, ordinal=ordinals[k]) for k, h in found.items() if k in ordinals)


def _back(connection: Connection, ask: Questions, window: Window, *, limit: int, offset: int) -> list[Key]:
    """Keys from `window.hi` backwards."""
    rows = ask.back().rows(connection, limit=limit, offset=offset, **given("hi", window.hi))
    return [tuple(row) for row in rows]


def _near_keys(connection: Connection, ask: Questions, window: Window, ordinal: int) -> dict[Key, int]:
    """Only rows of this window: those before it are witnesses of the position already."""
    limit = min(_NEAR[-1] + 1, max(window.scanned, 1))
    keys = _back(connection, ask, window, limit=limit, offset=0)
    return {keys[d]: ordinal - d for d in _NEAR if d < len(keys)}


def _far_keys(connection: Connection, ask: Questions, window: Window, ordinal: int) -> dict[Key, int]:
    far = [d for d in _FAR if d < window.scanned]
    found = {key: ordinal - d for d in far for key in _back(connection, ask, window, limit=1, offset=d)}
    oldest = _key(_first_past(connection, ask, window))
    return found if oldest is None else {oldest: ordinal - window.scanned + 1, **found}


def _first_past(connection: Connection, ask: Questions, window: Window) -> list[tuple[Value, ...]]:
    """The first key of the window: rows before it are none of the stream's."""
    bounds = {**given("lo", window.lo), **given("hi", window.hi)}
    return ask.cut(lo=window.lo is not None).rows(connection, offset=0, **bounds)


# --- ties -----------------------------------------------------------------------------------------


def _ties_now(
    connection: Connection, extract: Extract, position: Position | None, schema_version: int
) -> tuple[int, int] | None:
    """The ties as they are now; where rowids renumber they matter only once schema_version moved."""
    order = questions(extract).order
    if position is None or position.key is None:
        return None
    if order.moves:
        return content_of_ties(connection, extract, position.key)
    if order.renumbers and position.schema_version == schema_version:
        return position.ties
    return ties(connection, extract, position.key, upto=not order.renumbers)


def ties(connection: Connection, extract: Extract, key: Key, *, upto: bool = True) -> tuple[int, int] | None:
    """(count, sum of 64-bit key hashes) of the rows at the cursor value of `key`, `upto` that key or all.

    None where the order rises: then a later commit is always past the key.  Where VACUUM renumbers
    rowids the hashes are of the content.
    """
    ask = questions(extract)
    if ask.order.moves:
        return content_of_ties(connection, extract, key)
    unique = not ask.order.tie and ask.table.kind != "view"  # nothing keeps a view's declared key unique
    if (ask.order.rises and not ask.order.renumbers) or unique:
        return None
    names = witness_columns(extract) if ask.order.renumbers else ask.order.columns
    bounds = given("hi", key) if upto else {}
    rows = ask.ties(names, upto=upto).rows(connection, **given("lo", key), **bounds)
    return len(rows), sum(_hash64(str(row[0])) for row in rows) % 2**64


def content_of_ties(connection: Connection, extract: Extract, key: Key) -> tuple[int, int] | None:
    """(count, digest) of the rows at the cursor value of `key` up to it, as the lake holds them.

    A row may change and keep its place, in a clock's tick.  Masked columns count by their masks.
    """
    if not questions(extract).order.tie:
        return None
    lo = before(connection, extract, key[0], inclusive=False)
    rows = count(connection, extract, lo, key)
    digest = Digest(extract)
    with closing(stream(Snapshot(readers=(connection,)), extract, lo, key, rows)) as batches:
        for batch in batches:
            digest.add(batch)
    return rows, int(digest.hex()[:15], 16)


def _hash64(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


# --- windows --------------------------------------------------------------------------------------


def window(
    snapshot: Snapshot, extract: Extract, lo: Key | None, high: Key | None, *, max_rows: int
) -> Window:
    """The next batch past `lo`, at most `max_rows` rows, none past `high`.

    The rows are counted in the same snapshot, by the predicate that reads them.
    """
    if high is None:
        return Window(lo=lo, hi=lo, rows=0, scanned=0, last=True)
    cut = _cut(snapshot, questions(extract), lo, high, max_rows)
    hi = cut or high
    # the cut is the key of row `max_rows`: those rows have been counted on the way to it
    scanned = max_rows if cut else _scanned(snapshot, questions(extract), lo, hi)
    rows = scanned if extract.where is None else count(snapshot.first, extract, lo, hi)
    return Window(
        lo=lo,
        hi=hi,
        rows=rows,
        scanned=scanned,
        last=cut is None,
        rowids=rowids(snapshot.first, extract, lo, hi) if scanned > INLINE_ROWS else None,
    )


def _cut(snapshot: Snapshot, ask: Questions, lo: Key | None, high: Key, max_rows: int) -> Key | None:
    """The key of row `max_rows` past `lo`; None when `high` comes first."""
    passed = 0
    if ask.order.kind == "rowid":
        least = whole(lo) if lo else _before_first(snapshot.first, ask)
        if whole(high) - least <= max_rows:
            return None
        # so many ids lie up to there, and mostly all are taken: two readers count sooner than one walks
        end = (least + max_rows,)
        passed = _scanned(snapshot, ask, lo, end)
        if passed == max_rows:
            return end
        lo = end
    bounds = {**given("lo", lo), **given("hi", high)}
    asked = ask.cut(lo=lo is not None)
    found = _key(asked.rows(snapshot.first, offset=max_rows - passed - 1, **bounds))
    return None if found == high else found


def _before_first(connection: Connection, ask: Questions) -> int:
    """The rowid before the least one."""
    least, _ = _rowid_bounds(connection, ask)
    return 0 if least is None else least - 1


def _scanned(snapshot: Snapshot, ask: Questions, lo: Key | None, hi: Key) -> int:
    """How many rows lie past `lo` up to `hi`, whatever a filter says; of many, each reader counts a half."""

    def counted(reader: Connection, lo: Key | None, hi: Key) -> int:
        asked = ask.count(lo=lo is not None, hi=True, filtered=False)
        ((found,),) = asked.rows(reader, **given("lo", lo), **given("hi", hi))
        return int(found)

    first, *others = snapshot.readers
    middle = _middle(snapshot.first, ask, lo, hi) if others else None
    if middle is None:
        return counted(first, lo, hi)
    with ThreadPoolExecutor(1, thread_name_prefix="silt-count") as pool:
        rest = pool.submit(counted, others[0], middle, hi)
        return counted(first, lo, middle) + rest.result()


def _middle(connection: Connection, ask: Questions, lo: Key | None, hi: Key) -> tuple[int] | None:
    """The rowid half way from `lo` to `hi`; None where that is no way to halve the work, or it is little."""
    if ask.order.kind != "rowid":
        return None
    low, high = whole(lo) if lo else _before_first(connection, ask), whole(hi)
    return (low + (high - low) // 2,) if high - low > _WORTH_TWO else None


def count(connection: Connection, extract: Extract, lo: Key | None, hi: Key | None) -> int:
    """How many rows the stream would read past `lo` up to `hi`."""
    asked = questions(extract).count(lo=lo is not None, hi=hi is not None, filtered=True)
    ((found,),) = asked.rows(connection, **given("lo", lo), **given("hi", hi))
    return int(found)


def last_key(connection: Connection, extract: Extract) -> Key | None:
    """The last key that a row has."""
    return _key(questions(extract).last(ceiling=False).rows(connection))


def last_upto(connection: Connection, extract: Extract, key: Key) -> Key | None:
    """The last key at or before `key` that a row has."""
    return _key(questions(extract).back().rows(connection, limit=1, offset=0, **given("hi", key)))


def before(connection: Connection, extract: Extract, value: Value, *, inclusive: bool) -> Key | None:
    """The last key whose cursor lies below `value` (or at it): where a re-read begins after."""
    return _key(questions(extract).before(inclusive=inclusive).rows(connection, value=value))


def count_without_key(connection: Connection, extract: Extract) -> int:
    """How many rows that the stream reads have NULL in the key."""
    rel = relation(extract.table)
    names = [name for name in extract.key if nullable(extract.table, name)]
    if not names:
        return 0
    missing = sa.or_(sa.false(), *(key_column(rel, extract.table, name).is_(None) for name in names))
    counted = sa.select(sa.func.count()).select_from(rel).where(missing)
    if extract.where is not None:
        counted = counted.where(written(extract.where))
    ((found,),) = connection.rows(counted)
    return int(found)


def count_rows(connection: Connection, extract: Extract) -> int:
    """How many rows the stream reads."""
    counted = sa.select(sa.func.count()).select_from(relation(extract.table))
    if extract.where is not None:
        counted = counted.where(written(extract.where))
    ((found,),) = connection.rows(counted)
    return int(found)


def count_nulls(connection: Connection, extract: Extract, after: int | None, upto: int) -> int:
    """How many rows with a NULL in the order the stream would read, rowids past `after` up to `upto`."""
    asked = questions(extract).count_nulls(after=after is not None)
    ((found,),) = asked.rows(connection, value=after, end=upto)
    return int(found)
