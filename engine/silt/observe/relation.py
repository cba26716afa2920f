"""What a stream reads of one database: a table or view, the rows of its query, or windows of a table."""

from __future__ import annotations

from dataclasses import replace

from silt.errors import UserError
from silt.manifest.model import Aggregate, Stream
from silt.shapes import CursorChoice, Table, Windows, ascii_lower
from silt.source import condition, query, windows
from silt.source.census import census
from silt.source.open import Connection

FIRST_SAMPLE = 1_000
"""Rows of a table that show how its times are written, and the types of its sums."""


def derived(stream: Stream, connection: Connection, table: Table | None, recorded: tuple[str, ...]) -> Table:
    """The relation of the stream, over `table` where it names one; `recorded` is its position's cursor.

    Raises `UserError` for SQL that is none.
    """
    if stream.query is not None:
        return query.derive(connection, stream.name, stream.query, append=stream.has_cursor)
    if table is None:
        raise ValueError(f"{stream.name}: neither a table nor a query")
    if stream.aggregate is None:
        return table
    return _aggregated(stream, stream.aggregate, connection, table, recorded)


def _aggregated(
    stream: Stream, rule: Aggregate, connection: Connection, table: Table, recorded: tuple[str, ...]
) -> Table:
    if stream.where is not None:
        condition.check(connection, table, stream.where, append=True)
    what = Windows(
        table=table,
        time=rule.time,
        size=round(rule.window * 1_000_000),
        by=rule.by,
        measures=rule.measures,
        where=stream.where,
        timezone=rule.timezone,
    )
    _check_masked(stream, rule)
    made = windows.derive(connection, what, stream.name)
    return replace(made, windows=_dated(made.windows or what, rule, connection, recorded))


def _check_masked(stream: Stream, rule: Aggregate) -> None:
    """A mask is of the column that stands in the lake; a measure would carry the value past it."""
    masked = {ascii_lower(column.name) for column in stream.columns if column.mask is not None}
    for name, text in rule.measures:
        said = {ascii_lower(token.strip('"`[]')) for token in condition.tokens(text)}
        if found := next(iter(sorted(masked & said)), None):
            raise UserError(
                f"measure {name} is made of column {found}, which is masked",
                on=text,
                hint="under `by` its mask holds",
                setting="aggregate",
            )


def _dated(what: Windows, rule: Aggregate, connection: Connection, recorded: tuple[str, ...]) -> Windows:
    """How times are written: as declared, as the position recorded it, or as the values show."""
    seen = census(connection, what.table, FIRST_SAMPLE)
    form, spelled = windows.time_format(seen, what.time)
    said = windows.kind_of(rule.format) if rule.format else windows.pinned_format(recorded)
    return replace(
        what,
        seen=not rule.format,
        format=said or form,
        spelled=spelled if (said or form) == form else "",
        untimely=0 if said or form else seen.rows,
    )


def sampled(table: Table) -> Table:
    """What a census reads of it: of windows, those of the table's first rows."""
    if table.windows is None:
        return table
    return replace(table, windows=replace(table.windows, sample=FIRST_SAMPLE))


def pinned(stream: Stream, choice: CursorChoice) -> CursorChoice:
    """A query's cursor is pinned together with the query."""
    if stream.query is None or choice.order is None:
        return choice
    relation = "; ".join(filter(None, (query.fingerprint(stream.query), choice.order.relation)))
    return replace(choice, order=replace(choice.order, relation=relation))


def by_windows(stream: Stream, connection: Connection, what: Windows) -> CursorChoice:
    """The cursor of an aggregate: the end of its windows."""
    lateness = stream.aggregate.lateness if stream.aggregate else 0
    when = f"{lateness:g} s after its end" if lateness else "at its end"
    warnings = []
    if windows.large_without_index(connection, what):
        warnings.append(f"no index on {what.time}: each cycle reads the whole table for its open windows")
    if what.table.rowid_alias is None:
        warnings.append(
            f"{what.table.name} has no INTEGER PRIMARY KEY: each cycle counts its rows to find late ones"
        )
    return CursorChoice(
        order=windows.order(what),
        detected=False,
        why=f"window_end, because a window is written once: whole, {when} by the clock",
        warnings=tuple(warnings),
        storage="integer",
    )
