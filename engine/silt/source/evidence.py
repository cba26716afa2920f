"""What one read transaction sees of a (stream, database) before any row is read (DESIGN 4.3, 4.4).

Every question is one small query inside the caller's snapshot.  Witnesses and ties are hashed from
raw storage values by one fixed rendering, without `where`, so that a manifest edit changes no hash.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from silt.position import Position, Value, Witness
from silt.shapes import Evidence, Extract, Found, Key, Order, Sighting, Table, TextShape
from silt.source.clone import sequence
from silt.source.open import identity, machine_id
from silt.source.recipe import null_predicate, predicate
from silt.source.statement import col, relation, written

if TYPE_CHECKING:
    from silt.source.open import Connection

MAX_WITNESS_COLUMNS = 16
GREATEST_ROWID = 2**63 - 1
_NEAR = (0, 1, 2, 4, 8, 16, 32, 64)
_FAR = (256, 1024, 4096, 16384, 65536)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The rows that one batch takes: keys past `lo` up to `hi`; `rows` of them pass the filter.

    `scanned` counts them without the filter; `last` is False when `max_rows` cut the batch short.
    """

    lo: Key | None
    hi: Key | None
    rows: int
    scanned: int
    last: bool


# --- the evidence ---------------------------------------------------------------------------------


def gather(
    connection: Connection,
    extract: Extract,
    position: Position | None,
    *,
    ceiling: Value = None,
    shape: TextShape | None = None,
) -> Evidence:
    """All that `plan.verdict` decides from; `ceiling` is now + max_skew in the cursor's own spelling.

    `shape` is what every text of the cursor looks like (None: it has no text format).
    Raises what the connection raises; reads at most the rows of the position's cursor value.
    """
    order = _ordered(extract)
    table = extract.table
    high = _edge(connection, extract, order, ceiling=ceiling, last=True)
    nulls, last_null = _nulls(connection, table, order)
    empty = high is None and not nulls and not _any_row(connection, table)
    hashed = position is None or set(position.witness_columns) <= {c.name for c in table.columns}
    sightings = () if position is None or empty else _sight(connection, extract, position, hashed=hashed)
    absent = bool(sightings) and all(s.found == "absent" for s in sightings)
    low, exhausted = _rowid_bounds(connection, table, order)
    known = position is not None and position.key is not None
    return Evidence(
        file=identity(connection.path),
        machine=machine_id(),
        schema_version=connection.schema_version(),
        empty=empty,
        sightings=sightings,
        hashed=hashed,
        high=high,
        low=low,
        exhausted=exhausted,
        all_past=absent and known and not _reached(connection, extract, order, position),
        sequence=sequence(connection, table.name) if table.autoincrement and (absent or empty) else None,
        ties=_ties_now(connection, extract, position),
        stray=_stray(connection, extract, order, position, shape),
        nulls=nulls,
        last_null=last_null,
        deferred=_deferred(connection, table, order, ceiling),
    )


def _ordered(extract: Extract) -> Order:
    if extract.order is None:
        raise ValueError(f"{extract.table.name}: evidence is of ordered streams")
    return extract.order


def _columns(table: Table, names: Iterable[str]) -> list[sa.ColumnElement[object]]:
    rel = relation(table)
    return [col(rel, name) for name in names]


def _not_null(
    columns: Sequence[sa.ColumnElement[object]], table: Table, names: Sequence[str]
) -> list[sa.ColumnElement[bool]]:
    return [c.is_not(None) for c, name in zip(columns, names, strict=True) if _may_be_null(table, name)]


def _may_be_null(table: Table, name: str) -> bool:
    if name == table.rowid_alias:
        return False
    column = table.column(name)
    return column is not None and column.nullable


def _edge(
    connection: Connection, extract: Extract, order: Order, *, ceiling: Value = None, last: bool
) -> Key | None:
    """The first or last key (of rows up to `ceiling`), NULLs left out; None when there is none."""
    columns = _columns(extract.table, order.columns)
    wanted = [c.desc() if last else c.asc() for c in columns]
    query = sa.select(*columns).where(*_not_null(columns, extract.table, order.columns))
    if ceiling is not None:
        query = query.where(columns[0] <= ceiling)
    rows = connection.rows(query.order_by(*wanted).limit(1))
    return tuple(rows[0]) if rows else None


def _any_row(connection: Connection, table: Table) -> bool:
    return bool(connection.rows(sa.select(sa.literal(1)).select_from(relation(table)).limit(1)))


def _reached(connection: Connection, extract: Extract, order: Order, position: Position | None) -> bool:
    """Whether a row at or before the position's key is left."""
    first = _edge(connection, extract, order, last=False)
    if first is None or position is None or position.key is None:
        return first is not None
    within = predicate(extract, None, position.key)
    query = sa.select(sa.literal(1)).select_from(relation(extract.table)).where(within).limit(1)
    return bool(connection.rows(query))


def _rowid_bounds(connection: Connection, table: Table, order: Order) -> tuple[int | None, bool]:
    """min(rowid) of a rowid order, and whether 2^63-1 is taken; two index probes."""
    if order.kind != "rowid":
        return None, False
    (column,) = _columns(table, order.cursor)
    low = sa.select(sa.func.min(column)).scalar_subquery()
    high = sa.select(sa.func.max(column)).scalar_subquery()
    ((least, greatest),) = connection.rows(sa.select(low, high))
    return least, greatest == GREATEST_ROWID


def _nulls(connection: Connection, table: Table, order: Order) -> tuple[int, int | None]:
    """How many rows have a NULL in the order, and the greatest rowid among them."""
    nullable = [name for name in order.columns if _may_be_null(table, name)]
    if not nullable:
        return 0, None
    rowid = table.rowid_alias or table.rowid
    greatest = sa.func.max(col(relation(table), rowid)) if rowid else sa.null()
    condition = sa.or_(*(c.is_(None) for c in _columns(table, nullable)))
    ((count, last),) = connection.rows(
        sa.select(sa.func.count(), greatest).where(condition).select_from(relation(table))
    )
    return count, last


def _deferred(connection: Connection, table: Table, order: Order, ceiling: Value) -> int:
    if ceiling is None:
        return 0
    (column,) = _columns(table, order.cursor[:1])
    ((count,),) = connection.rows(
        sa.select(sa.func.count()).select_from(relation(table)).where(column > ceiling)
    )
    return int(count)


# --- strays ---------------------------------------------------------------------------------------


def _stray(
    connection: Connection,
    extract: Extract,
    order: Order,
    position: Position | None,
    shape: TextShape | None,
) -> str:
    """In words: a cursor value of another storage class or text format, which the order misplaces."""
    name = order.cursor[0]
    if order.kind == "rowid" or name == extract.table.rowid_alias:
        return ""
    (column,) = _columns(extract.table, [name])
    pinned = position.key[0] if position and position.key else None
    example = pinned if pinned is not None else _first_value(connection, column)
    for text, condition in _strangers(column, example, shape, pinned):
        query = sa.select(sa.func.typeof(column)).where(condition).limit(1)
        if rows := connection.rows(query):
            return f"cursor {name} holds {text.format(rows[0][0])}"
    return ""


def _first_value(connection: Connection, column: sa.ColumnElement[object]) -> Value:
    rows = connection.rows(sa.select(column).where(column.is_not(None)).limit(1))
    return rows[0][0] if rows else None


def _strangers(
    column: sa.ColumnElement[object], example: Value, shape: TextShape | None, pinned: Value
) -> Iterable[tuple[str, sa.ColumnElement[bool]]]:
    """Conditions that find a stray, each an index probe but for the formats past the position."""
    empty_blob: sa.ColumnElement[bytes] = sa.literal_column("x''")
    if isinstance(example, str):
        yield "a value of class {} among texts", column < ""
        yield "a value of class {} among texts", column >= empty_blob
        if shape is not None:
            past = column > pinned if pinned is not None else column >= ""
            yield "a {} of another format", sa.and_(past, _unlike(column, shape))
        if shape is not None and isinstance(pinned, str) and len(pinned) > _DAY_LENGTH:
            day, start = pinned[:_DAY_LENGTH], pinned[: _DAY_LENGTH + 1]
            yield "a {} of another format below the position", sa.and_(column >= day, column < start)
    elif isinstance(example, bytes):
        yield "a value of class {} among blobs", column < empty_blob
    elif example is not None:
        yield "a value of class {} among numbers", column >= ""


_DAY_LENGTH = len("2000-01-01")


def _unlike(column: sa.ColumnElement[object], shape: TextShape) -> sa.ColumnElement[bool]:
    odd = [column.op("GLOB")(glob) for glob in shape.unlike]
    return sa.or_(sa.not_(column.op("GLOB")(shape.like)), *odd)


# --- witnesses and ties ---------------------------------------------------------------------------


def _rendered(table: Table, names: Iterable[str]) -> sa.ColumnElement[str]:
    """The row as one text: every value's class and bytes, without loss, whatever its encoding.

    `quote` renders numbers so that they read back the same; texts and blobs go through `hex`,
    since `quote` stops at a NUL character.
    """
    return reduce(lambda a, b: a.concat(",").concat(b), [_rendered_value(c) for c in _columns(table, names)])


def _rendered_value(column: sa.ColumnElement[object]) -> sa.ColumnElement[str]:
    kind = sa.func.typeof(column)
    return sa.case(
        (kind == "text", sa.literal("t").concat(sa.func.hex(column))),
        (kind == "blob", sa.literal("b").concat(sa.func.hex(column))),
        else_=sa.func.quote(column),
    )


def witness_columns(extract: Extract) -> tuple[str, ...]:
    """Which columns a new position's witnesses hash: at most 16, so that a position stays small."""
    return extract.witness[:MAX_WITNESS_COLUMNS]


def _row_query(extract: Extract, hashed_columns: Sequence[str]) -> sa.Select[Any]:
    order = _ordered(extract)
    content = _rendered(extract.table, hashed_columns) if hashed_columns else sa.literal("")
    return sa.select(*_columns(extract.table, order.columns), content.label("content"))


def _sight(
    connection: Connection, extract: Extract, position: Position, *, hashed: bool
) -> tuple[Sighting, ...]:
    """What is found at each witness's key: its row, another one, or none."""
    if not position.witnesses:
        return ()
    order = _ordered(extract)
    columns = _columns(extract.table, order.columns)
    keys = [w.key for w in position.witnesses]
    query = _row_query(extract, position.witness_columns if hashed else ())
    rows = connection.rows(query.where(_any_key(columns, keys)))
    found = {tuple(row[:-1]): zlib.crc32(str(row[-1]).encode()) for row in rows}
    return tuple(
        Sighting(key=w.key, found=_compare(w, found if hashed else dict.fromkeys(found, w.hash)))
        for w in position.witnesses
    )


def _any_key(columns: Sequence[sa.ColumnElement[object]], keys: Sequence[Key]) -> sa.ColumnElement[bool]:
    if len(columns) == 1:
        return columns[0].in_([key[0] for key in keys])
    return sa.or_(*(sa.and_(*(c == v for c, v in zip(columns, key, strict=True))) for key in keys))


def _compare(witness: Witness, found: Mapping[Key, int]) -> Found:
    if witness.key not in found:
        return "absent"
    return "match" if found[witness.key] == witness.hash else "differs"


def witnesses(
    connection: Connection, extract: Extract, window: Window, *, ordinal: int, first: bool
) -> tuple[Witness, ...]:
    """Candidates up to `window.hi`: rows at doubling distances from it, and the oldest when `first`.

    `ordinal` is that of the last row.  Distances beyond 64 rows are looked up only at a first read;
    later ones carry the witnesses of the position before (position.choose_witnesses).
    """
    if window.hi is None:
        return ()
    keys = _near_keys(connection, extract, window, ordinal)
    if first:
        keys |= _far_keys(connection, extract, window, ordinal)
    if not keys:
        return ()
    return _hashed(connection, extract, keys)


def _hashed(connection: Connection, extract: Extract, ordinals: Mapping[Key, int]) -> tuple[Witness, ...]:
    """A witness for each key whose row is there."""
    columns = _columns(extract.table, _ordered(extract).columns)
    query = _row_query(extract, witness_columns(extract)).where(_any_key(columns, list(ordinals)))
    return tuple(
        Witness(key=key, hash=zlib.crc32(str(content).encode()), ordinal=ordinals[key])
        for *parts, content in connection.rows(query)
        if (key := tuple(parts)) in ordinals
    )


def _keys_back(
    connection: Connection, extract: Extract, window: Window, *, limit: int, offset: int = 0
) -> list[Key]:
    """Keys from `window.hi` backwards."""
    columns = _columns(extract.table, _ordered(extract).columns)
    query = sa.select(*columns).where(predicate(extract, None, window.hi))
    rows = connection.rows(query.order_by(*(c.desc() for c in columns)).limit(limit).offset(offset))
    return [tuple(row) for row in rows]


def _near_keys(connection: Connection, extract: Extract, window: Window, ordinal: int) -> dict[Key, int]:
    """Only rows of this window: those before it are witnesses of the position already."""
    keys = _keys_back(connection, extract, window, limit=min(_NEAR[-1] + 1, max(window.scanned, 1)))
    return {keys[d]: ordinal - d for d in _NEAR if d < len(keys)}


def _far_keys(connection: Connection, extract: Extract, window: Window, ordinal: int) -> dict[Key, int]:
    far = [d for d in _FAR if d < window.scanned]
    found = {
        key: ordinal - d for d in far for key in _keys_back(connection, extract, window, limit=1, offset=d)
    }
    oldest = _edge(connection, extract, _ordered(extract), last=False)
    return found if oldest is None else {oldest: ordinal - window.scanned + 1, **found}


def _ties_now(connection: Connection, extract: Extract, position: Position | None) -> tuple[int, int] | None:
    """The ties as they are now; where rowids renumber they matter only once schema_version moved."""
    order = _ordered(extract)
    if position is None or position.key is None:
        return None
    if order.renumbers and position.schema_version == connection.schema_version():
        return position.ties
    return ties(connection, extract, position.key, upto=not order.renumbers)


def ties(connection: Connection, extract: Extract, key: Key, *, upto: bool = True) -> tuple[int, int] | None:
    """(count, sum of 64-bit key hashes) of the rows at the cursor value of `key`, `upto` that key or all.

    None where the order rises: then a later commit is always past the key.  Where VACUUM renumbers
    rowids the hashes are of the content.
    """
    order = _ordered(extract)
    if (order.rises and not order.renumbers) or not order.tie:
        return None
    names = witness_columns(extract) if order.renumbers else order.columns
    at_value = [c == v for c, v in zip(_columns(extract.table, order.cursor), key, strict=False)]
    bound = (predicate(extract, None, key),) if upto else ()
    rows = connection.rows(sa.select(_rendered(extract.table, names)).where(*at_value, *bound))
    return len(rows), sum(_hash64(str(row[0])) for row in rows) % 2**64


def _hash64(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


# --- windows --------------------------------------------------------------------------------------


def window(
    connection: Connection, extract: Extract, lo: Key | None, high: Key | None, *, max_rows: int
) -> Window:
    """The next batch past `lo`, at most `max_rows` rows, none past `high`.

    The rows are counted in the same snapshot, by the predicate that reads them.
    """
    if high is None:
        return Window(lo=lo, hi=lo, rows=0, scanned=0, last=True)
    hi = _cut(connection, extract, lo, high, max_rows)
    rows = count(connection, extract, lo, hi or high)
    scanned = rows if extract.where is None else _count(connection, extract, lo, hi or high, None)
    return Window(lo=lo, hi=hi or high, rows=rows, scanned=scanned, last=hi is None)


def _cut(connection: Connection, extract: Extract, lo: Key | None, high: Key, max_rows: int) -> Key | None:
    """The key of row `max_rows` past `lo`; None when `high` comes first."""
    order = _ordered(extract)
    start = lo[0] if lo else None
    if (
        order.kind == "rowid"
        and isinstance(start, int)
        and isinstance(high[0], int)
        and high[0] - start <= max_rows
    ):
        return None
    columns = _columns(extract.table, order.columns)
    query = sa.select(*columns).where(predicate(extract, lo, high)).order_by(*columns)
    rows = connection.rows(query.limit(1).offset(max_rows - 1))
    return tuple(rows[0]) if rows and tuple(rows[0]) != high else None


def count(connection: Connection, extract: Extract, lo: Key | None, hi: Key | None) -> int:
    """How many rows the stream would read past `lo` up to `hi`."""
    return _count(connection, extract, lo, hi, extract.where)


def _count(
    connection: Connection, extract: Extract, lo: Key | None, hi: Key | None, where: str | None
) -> int:
    query = sa.select(sa.func.count()).select_from(relation(extract.table)).where(predicate(extract, lo, hi))
    if where is not None:
        query = query.where(written(where))
    ((found,),) = connection.rows(query)
    return int(found)


def before(connection: Connection, extract: Extract, value: Value, *, inclusive: bool) -> Key | None:
    """The last key whose cursor lies below `value` (or at it): where a re-read begins after."""
    order = _ordered(extract)
    columns = _columns(extract.table, order.columns)
    below = columns[0] <= value if inclusive else columns[0] < value
    rows = connection.rows(sa.select(*columns).where(below).order_by(*(c.desc() for c in columns)).limit(1))
    return tuple(rows[0]) if rows else None


def passed(connection: Connection, extract: Extract, key: Key) -> bool:
    """Whether a row past `key` exists."""
    query = sa.select(sa.literal(1)).select_from(relation(extract.table)).where(predicate(extract, key, None))
    return bool(connection.rows(query.limit(1)))


def rehash(connection: Connection, extract: Extract, kept: Sequence[Witness]) -> tuple[Witness, ...]:
    """`kept`, hashed by today's witness columns; a row that is gone is left out."""
    if not kept:
        return ()
    ordinals = {w.key: w.ordinal for w in kept}
    return _hashed(connection, extract, ordinals)


def count_nulls(connection: Connection, extract: Extract, after: int | None, upto: int) -> int:
    """How many rows with a NULL in the order the stream would read, rowids past `after` up to `upto`."""
    query = sa.select(sa.func.count()).select_from(relation(extract.table))
    query = query.where(null_predicate(extract, after, upto))
    if extract.where is not None:
        query = query.where(written(extract.where))
    ((found,),) = connection.rows(query)
    return int(found)
