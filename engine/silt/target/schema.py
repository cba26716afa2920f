"""Schemas: Databricks type names, Delta fields, and whether a batch fits a table exactly.

delta-rs casts silently and lossily on append (2.5 into long becomes 2, FACTS), so rows are compared
with the table before a write, and nothing is cast.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from silt.errors import UserError
from silt.target.model import ColumnSpec

if TYPE_CHECKING:
    from deltalake import Field, Schema

_DELTA = {
    "bigint": "long",
    "int": "integer",
    "smallint": "short",
    "tinyint": "byte",
    "double": "double",
    "float": "float",
    "string": "string",
    "boolean": "boolean",
    "binary": "binary",
    "date": "date",
    "timestamp": "timestamp",
    "timestamp_ntz": "timestamp_ntz",
}
_DATABRICKS = {delta: name for name, delta in _DELTA.items()}
_DECIMAL = re.compile(r"decimal\(\s*(\d+)\s*,\s*(\d+)\s*\)")


def delta_type(name: str) -> str:
    """Delta's name of a Databricks type; raises `UserError` for one that silt cannot write."""
    decimal = _DECIMAL.fullmatch(name)
    if decimal:
        return f"decimal({decimal[1]},{decimal[2]})"
    if name not in _DELTA:
        raise UserError(f"{name} is no type of a Delta column", hint=f"use one of {', '.join(_DELTA)}")
    return _DELTA[name]


def delta_field(column: ColumnSpec) -> Field:
    """A nullable Delta field (a NOT NULL addition breaks readers, FACTS), the comment in its metadata."""
    from deltalake import Field
    from deltalake.schema import PrimitiveType

    metadata = {"comment": column.comment} if column.comment else None
    return Field(column.name, PrimitiveType(delta_type(column.type)), nullable=True, metadata=metadata)


def specs(schema: Schema) -> tuple[ColumnSpec, ...]:
    """A table's columns by their Databricks names; nested types by Delta's JSON."""
    return tuple(
        ColumnSpec(name=f.name, type=_databricks(f.type), comment=str(f.metadata.get("comment", "")))
        for f in schema.fields
    )


def _databricks(kind: Any) -> str:
    name = getattr(kind, "type", "")
    if name in _DATABRICKS:
        return _DATABRICKS[name]
    return str(name) if str(name).startswith("decimal") else str(kind.to_json())


def arrow(schema: Schema) -> Any:
    """The table's schema as a pyarrow.Schema."""
    import pyarrow as pa

    return pa.schema(schema.to_arrow())


def fit(rows: Any, table: Any, *, on: str) -> None:
    """Raise `UserError` unless every column of `rows` is in `table` with exactly its type.

    Both are pyarrow.Schema.  Columns that only the table has arrive NULL.  Widths of string and binary
    offsets are no difference.
    """
    wrong = [_misfit(field, table) for field in rows] + [_absent(field, rows) for field in table]
    problems = [problem for problem in wrong if problem]
    if problems:
        raise UserError(
            "the rows do not fit the table's schema",
            on=on,
            why="; ".join(problems),
            hint="plan shows the difference; choose another table, or align its columns",
        )


def _misfit(field: Any, table: Any) -> str:
    index = table.get_field_index(field.name)
    if index < 0:
        return f"the table has no column {field.name!r}"
    wanted = table.field(index).type
    same = _narrow(field.type) == _narrow(wanted)
    return "" if same else f"column {field.name!r} is {wanted} in the table, the rows have {field.type}"


def _absent(field: Any, rows: Any) -> str:
    missing = not field.nullable and rows.get_field_index(field.name) < 0
    return f"the table's column {field.name!r} may not be NULL and the rows lack it" if missing else ""


def _narrow(kind: Any) -> str:
    return re.sub(r"^(large_)?(string|binary)(_view)?$", r"\2", str(kind))


def missing(wanted: Sequence[ColumnSpec], there: Sequence[ColumnSpec], *, on: str) -> tuple[ColumnSpec, ...]:
    """Those of `wanted` that are not `there`; raises `UserError` where one is there with another type."""
    types = {column.name: column.type for column in there}
    clashes = [
        f"{c.name!r} is {types[c.name]}, not {c.type}" for c in wanted if types.get(c.name, c.type) != c.type
    ]
    if clashes:
        raise UserError("the table has that column with another type", on=on, why="; ".join(clashes))
    return tuple(column for column in wanted if column.name not in types)
