"""Rows into their slices by key: appended where no key is there, else each in the place of the one before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from silt import target
from silt.plan.model import Part
from silt.replicate.ledger import Txns
from silt.shapes import REWRITTEN_FILE, Extract

if TYPE_CHECKING:
    import pyarrow as pa

REWRITTEN = target.WriterHints(file_bytes=REWRITTEN_FILE)
"""Files of a table whose rows change are small: each that holds one is written anew."""


def upsert(
    table: target.Table,
    parts: Sequence[Part],
    rows: pa.Table,
    *,
    txns: Txns,
    metadata: Mapping[str, str],
) -> int:
    """Write `rows`, of the slices of `parts`, in one commit; how many differ from the lake's: 0 makes none.

    Of several rows with one key the last version counts.  What the lake holds of other slices is not read.
    """
    extract = parts[0].extract
    within = _within(parts)
    keys = (*(name for name, _ in parts[0].slice.equals), *extract.key_fields)
    if not all(part.extract.distinct for part in parts):
        rows = last_versions(rows, extract, keys)
    within = target.Predicate(equals=within.equals, between=span(rows, extract.key_fields[0]))
    if not _is_any_there(table, rows.select(keys), within):
        table.append(rows.to_reader(), txns=txns, metadata=metadata, writer=REWRITTEN)
        return int(rows.num_rows)
    merge = target.Merge(rows=rows, keys=keys, unlike=unlike(extract, rows), within=within)
    return table.merge(merge, txns=txns, metadata=metadata).written


def unlike(extract: Extract, rows: pa.Table) -> tuple[str, ...]:
    """The columns that make a row another one."""
    names = set(rows.schema.names)
    return tuple(f.name for f in extract.fields if f.lineage != "loaded_at" and f.name in names)


def _within(parts: Sequence[Part]) -> target.Predicate:
    """What the slices have in common."""
    first, *others = (dict(part.slice.equals) for part in parts)
    shared = {name: value for name, value in first.items() if all(o.get(name) == value for o in others)}
    return target.Predicate(equals=tuple(shared.items()))


def span(rows: pa.Table, name: str) -> tuple[str, object, object]:
    """The range of a column, as a predicate's `between`."""
    import pyarrow.compute as pc

    span = pc.min_max(rows.column(name))
    return name, span["min"].as_py(), span["max"].as_py()


def _is_any_there(table: target.Table, keys: pa.Table, within: target.Predicate) -> bool:
    """Whether the slice holds a row of one of the keys; memory is bounded by a batch of the lake's keys."""
    import pyarrow as pa

    for batch in table.rows(keys.schema.names, within):
        there = pa.Table.from_batches([batch]).cast(keys.schema)
        if there.join(keys, keys=keys.schema.names, join_type="left semi").num_rows:
            return True
    return False


def last_versions(rows: pa.Table, extract: Extract, keys: Sequence[str]) -> pa.Table:
    """Of each key the row with the greatest cursor, and of those the last that was read."""
    import pyarrow as pa
    import pyarrow.compute as pc

    places = pa.arange(0, rows.num_rows)
    by = [f(rows.column(name)) for name in _cursor(extract) for f in (pc.is_valid, lambda column: column)]
    numbered = pa.table([*by, places], names=[str(i) for i in range(len(by) + 1)])  # a NULL comes first
    ordered = pc.sort_indices(numbered, sort_keys=[(name, "ascending") for name in numbered.schema.names])
    ranked = rows.select(keys).take(ordered).append_column("silt_rank", places)
    last = ranked.group_by(list(keys)).aggregate([("silt_rank", "max")])
    return rows.take(ordered.take(last.column("silt_rank_max")))


def _cursor(extract: Extract) -> list[str]:
    """The lake's columns of the order; a rowid without one of its own is the order of reading."""
    by = {f.source: f.name for f in extract.fields if f.source is not None and f.mask is None}
    return [by[name] for name in (extract.order.columns if extract.order else ()) if name in by]
