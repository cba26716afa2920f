"""What the Parquet writer cannot tell from the types (FACTS, "Writer")."""

from __future__ import annotations

from silt import target
from silt.plan.model import Part


def hints(part: Part) -> target.WriterHints:
    """Integers of the cursor and of keys have about as many values as rows: packed, without a dictionary."""
    table = part.extract.table
    unique = (index.columns for index in table.indexes if index.unique)
    order = part.extract.order.columns if part.extract.order else ()
    keys = {*order, *table.primary_key, *(name for columns in unique for name in columns)}
    packed = (f.name for f in part.extract.fields if f.source in keys or f.lineage == "rowid")
    return target.WriterHints(packed=tuple(packed))
