"""The same as text: a script of SQL, and how each table stands in the catalog."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from silt.databricks.catalog import Registration, Schema
from silt.databricks.ddl import Statement
from silt.report.units import counted


def script(found: Iterable[Statement], *, head: str) -> Iterator[str]:
    """SQL that may be run as it is, notes as comments."""
    yield f"-- {head}"
    for each in found:
        yield ""
        yield from (f"-- {_one_line(note)}" for note in each.notes)
        if each.sql:
            yield f"{each.sql};"


def _one_line(note: str) -> str:
    return " ".join(note.split())


def lines(schema: Schema, found: Sequence[Registration], *, dry_run: bool) -> Iterator[str]:
    """A line a table, and a closing one."""
    if schema.created:
        yield f"+ {schema.full_name}  {'would create the schema' if dry_run else 'schema created'}"
    width = max((len(each.full_name) for each in found), default=0)
    for each in found:
        yield from _line(each, width)
    bad = sum(not each.ok for each in found)
    yield ""
    yield counted(len(found), "table") + (f", {bad:,} not registered" if bad else "")


def _line(each: Registration, width: int) -> Iterator[str]:
    name = each.full_name.ljust(width)
    blank = " " * (width + 4)
    match each.outcome:
        case "created" | "would create":
            yield f"+ {name}  {each.outcome}: {each.location}"
        case "there":
            yield f"  {name}  there: {each.location}"
        case "empty":
            yield f"  {name}  nothing is at {each.location} yet; run silt first"
        case "elsewhere":
            yield f"! {name}  is another table: the catalog has it at {each.known}"
            yield f"{blank}the lake is at {each.location}; drop the other, or choose another --schema"
        case "failed":
            yield f"x {name}  failed: {each.error}"
            if each.error is not None and each.error.hint:
                yield f"{blank}{each.error.hint}"
