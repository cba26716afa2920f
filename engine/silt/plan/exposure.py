"""What keeps a column from the lake, and which computed columns show it all the same (DESIGN 3, privacy)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from silt.shapes import Field, Table, ascii_lower
from silt.source.mentions import aliases, names, origins


def hidden(name: str, fields: Sequence[Field]) -> str:
    """How a source column is kept from the lake: `masked`, `not selected`; `` where it is not."""
    found = [field for field in fields if field.source == name]
    if not found:
        return "not selected"
    return "masked" if any(field.mask is not None for field in found) else ""


def all_hidden(fields: Sequence[Field], table: Table) -> dict[str, str]:
    """How each column of the table that the lake does not show is kept from it."""
    sources = {field.source for field in fields}
    masked = {field.source for field in fields if field.mask is not None}
    kept = {name: "masked" if name in masked else "not selected" for name in (c.name for c in table.columns)}
    return {name: how for name, how in kept.items() if name in masked or name not in sources}


def exposed(fields: Sequence[Field], table: Table) -> Iterator[str]:
    """A sentence for each column without a mask that is computed from one that the lake does not show."""
    kept = all_hidden(fields, table)
    for field in fields:
        if field.mask is None and (name := computed_from(field, kept, table)):
            yield f"{field.name} is computed from {name}, which is {kept[name]}: it shows what {name} holds"


def computed_from(field: Field, kept: Iterable[str], table: Table) -> str:
    """The first of the `kept` columns that its own SQL makes `field` of; `` without one."""
    found = (name for name in kept if name != field.source and _read(field, table) & _known_as(name, table))
    return next(found, "")


def _read(field: Field, table: Table) -> frozenset[str]:
    if field.expr is not None:
        return names(field.expr)
    if field.source is None or table.query is None:
        return frozenset()
    return origins(table.query, field.source)


def _known_as(name: str, table: Table) -> frozenset[str]:
    """An expression reads the result; the query itself may call a column something else."""
    return frozenset({ascii_lower(name)}) if table.query is None else aliases(table.query, name)
