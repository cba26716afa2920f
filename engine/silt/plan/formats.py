"""How a database writes its instants: as the manifest says, its position remembers, or its values show.

A format that only the values show is pinned by the first position (DESIGN 4.1): another sample must not
read the same column another way.  It is marked as seen, and then values that make no plausible instant
of it are misfits (`types.plausible`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from silt import types
from silt.manifest.model import Stream
from silt.plan.model import Part
from silt.shapes import Field, TableCensus, ascii_lower

Formats = tuple[tuple[str, str], ...]
"""(source column, format) pairs, as a position keeps them."""


def said(stream: Stream) -> dict[str, str]:
    """The formats that the manifest says, by lower-cased source column."""
    return {ascii_lower(r.name): r.format for r in stream.columns if r.format and not r.is_new}


def told(census: TableCensus, stream: Stream, recorded: Formats) -> TableCensus:
    """`census` with the formats of numbers that need not be detected: what is said, else what is recorded."""
    known = {ascii_lower(name): form for name, form in recorded} | said(stream)
    bases = {name: types.base_format(form) for name, form in known.items()}
    numbers = {name: base for name, base in bases.items() if base in types.NUMBER_FORMATS}
    if not numbers:
        return census
    columns = (replace(c, told=numbers.get(ascii_lower(c.name))) for c in census.columns)
    return replace(census, columns=tuple(columns))


def settled(field: Field, stream: Stream, recorded: Mapping[str, str]) -> str | None:
    """The format that `field` is read by."""
    if field.type not in ("timestamp", "date") or _is_said(field, stream):
        return field.format
    form = recorded.get(field.source or "", field.format)
    return None if form is None else types.as_seen(form)


def _is_said(field: Field, stream: Stream) -> bool:
    if field.expr is not None:
        return any(rule.format and rule.expr == field.expr for rule in stream.columns)
    return ascii_lower(field.source or "") in said(stream)


def of(part: Part, before: Formats) -> Formats:
    """The formats that the part's next position keeps: those of `before`, and by which it is read now."""
    times = [f for f in part.extract.fields if f.type in ("timestamp", "date")]
    now = {f.source: f.format for f in times if f.source is not None and f.format is not None}
    choice = part.cursor
    if choice is not None and choice.order is not None and choice.time_format is not None:
        now.setdefault(choice.order.cursor[0], types.base_format(choice.time_format))
    return tuple(sorted((dict(before) | now).items()))
