"""Rows that are read again, less those that the slice holds (DESIGN 4.3, 4.4).

Compared by key, or by key and content, on the lake's own values: both sides are Arrow of one schema.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from silt import target
from silt.errors import Held
from silt.plan.keys import merged
from silt.plan.model import Part
from silt.plan.verdict import REBUILD
from silt.shapes import RESCUED, Field
from silt.source.rescue import canonical

if TYPE_CHECKING:
    import pyarrow as pa


def key_fields(part: Part) -> tuple[Field, ...]:
    """The lake's columns that hold the order's key.

    Raises `Held` where one of them is not in the lake, or cut off there: then what the slice holds
    cannot be told.
    """
    order = part.extract.order
    names = order.columns if order else ()
    if order is not None and order.renumbers:
        raise Held(
            "rows must be compared with the slice, but VACUUM may give them other rowids",
            rule="4.3",
            why=f"{part.extract.table.name} has no INTEGER PRIMARY KEY",
            hint=f"declare a cursor with a key of its own; {REBUILD}",
        )
    found = [_field_of(part, name) for name in names]
    if not found or None in found:
        missing = [name for name, field in zip(names, found, strict=True) if field is None]
        raise Held(
            "rows must be compared with the slice, but it does not hold their key",
            rule="4.4",
            why=f"no column for {', '.join(missing)}",
            hint=f"`lineage: [rowid]` or the key column keeps it; {REBUILD}",
        )
    fields = tuple(field for field in found if field is not None)
    if order is not None and (reason := merged(order.columns, fields, part.extract.table)):
        raise Held(
            "rows must be compared with the slice, but rows of two keys may have one there",
            rule="4.4",
            why=reason,
            hint=REBUILD,
        )
    return fields


def _field_of(part: Part, name: str) -> Field | None:
    for field in part.extract.fields:
        if field.source == name or (field.lineage == "rowid" and name == part.extract.table.rowid):
            return field
    return None


def content_fields(part: Part, columns: Sequence[str]) -> tuple[Field, ...]:
    """The lake's columns that tell whether a row is the one that was written: `columns`, and the key.

    `columns` are the source columns that the position's witnesses hash: what both sides had when the
    rows were written.  Constants and lineage are none: they change with the manifest.
    Raises `Held` where one of them is not in the lake under the name it was written by, or masked since.
    """
    fields = part.extract.fields
    by_source = {f.source: f for f in fields if f.source is not None and f.mask is None}
    idle = {
        f.name
        for f in fields
        if f.source is None and f.expr is None and f.value is None and f.lineage is None
    }
    lost = [name for name in columns if name not in by_source or (name in idle)]
    if lost:
        raise Held(
            "rows must be compared with the slice, but a column is not in the lake as it was written",
            rule="4.4",
            why=", ".join(lost),
            hint=REBUILD,
        )
    return tuple(dict.fromkeys((*key_fields(part), *(by_source[name] for name in columns))))


def fingerprints(batch: pa.RecordBatch, names: Sequence[str]) -> list[tuple[Hashable, ...]]:
    """One hashable per row; floats by their bits' text, so that NaN equals NaN and 0.0 is not -0.0.

    Of what was rescued only these columns count: others may have come, or changed, since.
    """
    columns = [_compared(batch, name, names) for name in names]
    return [tuple(repr(v) if isinstance(v, float) else v for v in row) for row in zip(*columns, strict=True)]


def _compared(batch: pa.RecordBatch, name: str, names: Sequence[str]) -> list[Any]:
    values = batch.column(batch.schema.get_field_index(name)).to_pylist()
    return [canonical(value, names) for value in values] if name == RESCUED else values


def less_held(
    batches: Iterable[pa.RecordBatch],
    table: target.Table,
    part: Part,
    *,
    content: Sequence[str] | None,
) -> list[pa.RecordBatch]:
    """The rows of `batches` that the slice lacks, by key, and by these source columns unless None.

    Memory is bounded by a batch and what is kept.
    """
    keys = [field.name for field in key_fields(part)]
    names = keys if content is None else [field.name for field in content_fields(part, content)]
    if content is not None and part.extract.rescues:
        names.append(RESCUED)
    kept = []
    for batch in batches:
        held = _held(table, part, batch, keys[0], names)
        if content is None:
            _check_told(fingerprints(batch, names), held, table)
        if (left := _without(batch, held, names)).num_rows:
            kept.append(left)
    return kept


def _held(
    table: target.Table, part: Part, batch: pa.RecordBatch, first_key: str, names: Sequence[str]
) -> Counter[Hashable]:
    """What the slice holds within the range of the batch's first key column."""
    import pyarrow.compute as pc

    if not batch.num_rows:
        return Counter()
    span = pc.min_max(batch.column(batch.schema.get_field_index(first_key)))
    within = (first_key, span["min"].as_py(), span["max"].as_py())
    there = [name for name in names if name != RESCUED or any(c.name == RESCUED for c in table.columns)]
    rows = table.rows(there, target.Predicate(equals=part.slice.equals, between=within))
    # a table without the column of misfits holds none
    more = (None,) * (len(names) - len(there))
    return Counter((*print_, *more) for piece in rows for print_ in fingerprints(piece, there))


def _check_told(found: Iterable[Hashable], held: Counter[Hashable], table: target.Table) -> None:
    """Raise `Held` where several rows of the source have one key in the lake, which holds some of them.

    Texts that spell one instant differently do, and `1` beside `'1'`: which of them is there cannot be told.
    """
    if any(number > 1 and 0 < held[key] < number for key, number in Counter(found).items()):
        raise Held(
            "rows of different keys in the source have one key in the lake, which holds only some of them",
            rule="4.3",
            on=table.uri,
            hint=f"`type: string` keeps texts as they are; {REBUILD}",
        )


def _without(batch: pa.RecordBatch, held: Counter[Hashable], names: Sequence[str]) -> pa.RecordBatch:
    """Each held row takes one equal row away, so that true duplicates stay as many as they are."""
    import pyarrow as pa

    left = []
    for print_ in fingerprints(batch, names):
        left.append(held[print_] <= 0)
        held[print_] -= 1
    return batch.filter(pa.array(left, pa.bool_()))
