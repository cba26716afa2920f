"""What the statistics of a table's files say: which rows they cannot hold, without reading one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from silt.target.model import Predicate

if TYPE_CHECKING:
    import pyarrow as pa


def may_hold(files: pa.Table, predicate: Predicate) -> bool:
    """Whether one of `files` can hold a row that matches; True wherever nothing is known.

    `files` are delta-rs' add actions, flat: `min.<column>` and `max.<column>` bound the values that are not
    NULL (texts by their bytes, and where they are cut off, outwards), `partition.<column>` is all of them.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    possible = pa.repeat(pa.scalar(value=True), files.num_rows)
    for excluded in _excluded(files, predicate):
        possible = pc.and_not(possible, pc.fill_null(excluded, fill_value=False))
    return bool(pc.any(possible, min_count=0).as_py())


def _excluded(files: pa.Table, predicate: Predicate) -> Iterator[Any]:
    """For each bound of `predicate`, by file, whether all values lie beyond it; NULL: that is not known."""
    import pyarrow.compute as pc

    bounds: list[tuple[str, object, object]] = [(name, value, value) for name, value in predicate.equals]
    if predicate.between is not None:
        bounds.append(predicate.between)
    for name, least, greatest in bounds:
        for lowest, highest in ((f"min.{name}", f"max.{name}"), (f"partition.{name}",) * 2):
            yield from _compared(files, lowest, greatest, pc.greater)
            yield from _compared(files, highest, least, pc.less)


def _compared(files: pa.Table, name: str, value: object, compare: Any) -> Iterator[Any]:
    """`compare` of a column and a value; nothing where one of them is not there, or no text or number."""
    import pyarrow as pa
    import pyarrow.types as kinds

    kind = files.schema.field(name).type if name in files.schema.names else pa.null()
    text = isinstance(value, str) and kinds.is_string(kind)
    number = isinstance(value, int) and not isinstance(value, bool) and kinds.is_int64(kind)
    if text or number:
        yield compare(files.column(name), pa.scalar(value, kind))
