"""Misfits kept beside their row: what `_rescued_data` says of a value that its column cannot hold (DESIGN 6).

`{"columns": {"n": {"class": "text", "value": "twelve"}}, "rowid": 901}`.  `class` is SQLite's storage
class, `value` always a text: of a text itself, of an integer its digits, of a real the shortest spelling
that reads back as the same double (`Infinity`, `-Infinity`), of a blob x'HEX'.  A text that is not UTF-8
is x'HEX' with `"utf8": false`, so that it is told from one that says so.  What may not be shown
(DESIGN 3, privacy) has a class and no value.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from silt.shapes import RESCUED, Extract, Field, Value

if TYPE_CHECKING:
    import pyarrow as pa

Misfits = Counter[tuple[str, str]]
"""How many values were rescued, by the lake's column and their storage class."""


def storage_class(value: Value) -> str:
    """SQLite's word for the class of a value."""
    names: dict[type[Any], str] = {int: "integer", float: "real", str: "text", bytes: "blob"}
    return names.get(type(value), "null")


class Rescue:
    """The misfits of one batch, by row."""

    def __init__(self) -> None:
        self._kept: dict[int, dict[str, dict[str, object]]] = {}

    def __bool__(self) -> bool:
        return bool(self._kept)

    def keep(self, row: int, field: Field, value: Value) -> None:
        """Keep `value`, which is no value of the field's type, for a row of the batch."""
        self._kept.setdefault(row, {})[field.name] = _told(value, field)

    def column(self, rows: int, rowids: pa.Array | None) -> pa.Array:
        """`_rescued_data` of the batch: NULL where all fits; `rowids` None where none may be told."""
        import pyarrow as pa

        texts: list[str | None] = [None] * rows
        for row, columns in self._kept.items():
            place = {} if rowids is None else {"rowid": rowids[row].as_py()}
            texts[row] = json.dumps({"columns": columns, **place}, ensure_ascii=False)
        return pa.array(texts, pa.string())


def _told(value: Value, field: Field) -> dict[str, object]:
    told: dict[str, object] = {"class": storage_class(value)}
    return told if field.private or field.mask is not None else told | _spelled(value)


def _spelled(value: Value) -> dict[str, object]:
    match value:
        case bytes():
            return {"value": _hex(value)}
        case str() if not _is_utf8(value):
            return {"value": _hex(value.encode("utf-8", "surrogateescape")), "utf8": False}
        case float() if abs(value) == float("inf"):
            return {"value": "Infinity" if value > 0 else "-Infinity"}
        case _:
            return {"value": str(value)}


def _hex(raw: bytes) -> str:
    return f"x'{raw.hex().upper()}'"


def _is_utf8(text: str) -> bool:
    """Bytes that are no UTF-8 came as surrogates."""
    return not any("\ud800" <= c <= "\udfff" for c in text)


# --- what was rescued, read again -----------------------------------------------------------------


def counted(batch: pa.RecordBatch, extract: Extract) -> Misfits:
    """The misfits of a batch; none where the extract rescues none, whatever a column is called."""
    found: Misfits = Counter()
    for text in _texts(batch) if extract.rescues else ():
        columns: Mapping[str, Mapping[str, str]] = json.loads(text)["columns"]
        found.update((name, told["class"]) for name, told in columns.items())
    return found


def _texts(batch: pa.RecordBatch) -> Iterable[str]:
    column = batch.column(batch.schema.get_field_index(RESCUED))
    return () if column.null_count == len(column) else column.drop_null().to_pylist()


def sentences(misfits: Misfits, rows: int, *, pending: bool = False) -> Iterator[str]:
    """`2 of 12,004 values of at are text: NULL, kept in _rescued_data`, for each column and class."""
    which = "pending values" if pending else "values"
    for (column, kind), count in sorted(misfits.items()):
        verb = "is" if count == 1 else "are"
        yield f"{count:,} of {rows:,} {which} of {column} {verb} {kind}: NULL, kept in {RESCUED}"


def canonical(text: str | None, names: Collection[str]) -> str | None:
    """What the misfits of a row in these columns are compared by: VACUUM may renumber rowids."""
    if text is None:
        return None
    found = {name: told for name, told in json.loads(text)["columns"].items() if name in names}
    return json.dumps(found, sort_keys=True) if found else None
