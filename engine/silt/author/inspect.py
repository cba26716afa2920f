"""Surveys as a person reads them, and as the object that programs get (docs/json.md)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import PurePath

from silt import types
from silt.author.mode import suggest
from silt.author.survey import ColumnSurvey, ForeignKey, Survey, TableSurvey
from silt.errors import SiltError
from silt.report import failure
from silt.report.layout import paragraph, table
from silt.report.plan import cursor_data
from silt.report.units import count, counted, size
from silt.shapes import Candidate, ColumnCensus, TableCensus, Trigger

_LABEL = 12  # columns before the text of a fact: "    cursor  "


def text(surveys: Sequence[Survey], *, width: int = 100, every: bool = True) -> list[str]:
    """What `silt inspect` prints: a line a table (`every`), then each table with its columns."""
    lines: list[str] = []
    for seen in surveys:
        lines += [*([""] if lines else []), *_database(seen, width, every=every)]
    return lines


def _database(seen: Survey, width: int, *, every: bool) -> list[str]:
    name = PurePath(seen.database.path).name
    if seen.error is not None:
        return [f"x {name}", *_error(seen.error, width)] if every else _error(seen.error, width)
    lines = paragraph(f"{name}: {', '.join(_head(seen))}", width=width)
    if every and len(seen.tables) > 1:
        lines += ["", *_overview(seen.tables, width)]
    for one in seen.tables:
        lines += ["", *_table(one, width)]
    return lines


def _error(error: SiltError, width: int) -> list[str]:
    lines = paragraph(failure.sentence(error), width=width, first="    failed  ")
    return lines + (paragraph(error.hint, width=width, first="    do      ") if error.hint else [])


def _head(seen: Survey) -> Iterator[str]:
    yield size(seen.bytes or 0)
    yield "WAL" if seen.journal_mode == "wal" else "rollback journal"
    yield seen.encoding
    yield counted(len(seen.tables), "table") if seen.tables else "no table"


def _overview(tables: Sequence[TableSurvey], width: int) -> list[str]:
    head = ("table", "rows", "size", "key", "cursor", "init writes")
    rows = [head, *((t.table.name, _rows(t), _size(t), _key(t), _cursor(t), _mode(t)) for t in tables)]
    return [
        f"  {line}" for line in table([tuple(map(_line, row)) for row in rows], right={1, 2}, width=width - 2)
    ]


def _line(words: str) -> str:
    """`words` as one line: a name may hold anything."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in words
    )


def _rows(seen: TableSurvey) -> str:
    if seen.rows is not None:
        return count(seen.rows)
    return f">{seen.at_least:,}" if seen.at_least else "-"


def _size(seen: TableSurvey) -> str:
    return "-" if seen.size is None else f"{'~' if seen.size.estimated else ''}{size(seen.size.table)}"


def _key(seen: TableSurvey) -> str:
    return ", ".join(seen.table.primary_key) or "-"


def _cursor(seen: TableSurvey) -> str:
    order = seen.choice.order if seen.choice else None
    return ", ".join(order.cursor) if order else "-"


def _mode(seen: TableSurvey) -> str:
    if seen.table.kind != "table":
        return f"nothing: {seen.table.kind}"
    return "nothing: failed" if seen.error or seen.table.note else suggest(seen).mode


# --- one table ------------------------------------------------------------------------------------


def _table(seen: TableSurvey, width: int) -> list[str]:
    sign = "x" if seen.error else " "
    lines = [_line(f"{sign} {seen.table.name}{_aside(seen)}")]
    if seen.columns:
        lines += [f"    {line}" for line in _column_lines(seen, width - 4)]
    for label, words in _facts(seen):
        lines += paragraph(_line(words), width=width, first=f"    {label:<8}")
    return lines


def _aside(seen: TableSurvey) -> str:
    words: list[str] = [seen.table.kind] if seen.table.kind != "table" else []
    if seen.at_least or seen.rows is not None:
        about = f", about {seen.about:,}" if seen.about and seen.rows is None else ""
        words.append(f"{_rows(seen)} {'row' if seen.rows == 1 else 'rows'}{about}")
    if seen.size is not None:
        indexes = f" and {size(seen.size.indexes)} of indexes" if seen.size.indexes else ""
        words.append(_size(seen) + indexes)
    words += ["WITHOUT ROWID"] if seen.table.without_rowid else []
    words += ["STRICT"] if seen.table.strict else []
    return f"  {', '.join(words)}" if words else ""


def _column_lines(seen: TableSurvey, width: int) -> list[str]:
    rows = [("column", "declared", "lake", "holds"), *(_column(c, seen.census) for c in seen.columns)]
    return table([tuple(map(_line, row)) for row in rows], width=width)


def _column(seen: ColumnSurvey, census: TableCensus | None) -> tuple[str, str, str, str]:
    column = seen.column
    declared = column.declared + ("" if column.nullable else " NOT NULL")
    counts = census.column(column.name) if census else None
    form = f" ({types.base_format(seen.format)})" if seen.format and seen.format != types.RENDERED else ""
    return column.name, declared.strip() or "-", seen.type + form, _holds(counts) if counts else "-"


def _holds(counts: ColumnCensus) -> str:
    """`2,000 text (iso), 12 NULL`: the classes with the formats of time that were seen."""
    forms = dict.fromkeys(types.base_format(name) for name, _ in counts.formats)
    times = [form for form in forms if form in types.TIME_FORMATS]
    return types.described(counts) + (f" ({', '.join(times)})" if times else "")


def _facts(seen: TableSurvey) -> Iterator[tuple[str, str]]:
    """What there is to say of a table, as (label, sentence)."""
    if seen.error is not None:
        yield "failed", failure.sentence(seen.error)
        if seen.error.hint:
            yield "do", seen.error.hint
    if seen.table.note:
        yield "note", seen.table.note
    if seen.census is not None and not seen.census.complete:
        yield "sample", f"{seen.census.rows:,} rows looked at, from both ends and between"
    yield from (("note", f"{c.column.name}: {c.warning}") for c in seen.columns if c.warning)
    if seen.choice is not None:
        yield "cursor" if seen.choice.order else "refused", seen.choice.why
        yield from (("next", _candidate(c)) for c in seen.choice.runners_up[:3])
        yield from (("warning", words) for words in seen.choice.warnings)
    yield from (("changes", _candidate(c)) for c in seen.changed)
    yield from (("trigger", _trigger(t)) for t in seen.table.triggers)
    yield from (("refers", _foreign(key)) for key in seen.foreign)
    if seen.census is not None and not seen.error:
        told = suggest(seen)
        yield "init", f"{told.mode}: {told.why}"


def _candidate(seen: Candidate) -> str:
    return f"{', '.join(seen.columns)} ({seen.why})"


def _trigger(seen: Trigger) -> str:
    sets = f", sets {', '.join(seen.sets)}" if seen.sets else ""
    return f"{seen.name} on {seen.event}{sets}"


def _foreign(key: ForeignKey) -> str:
    to = f"({', '.join(key.references)})" if key.references else ""
    return f"{', '.join(key.columns)} -> {key.table}{to}{', which is not there' if key.missing else ''}"


# --- data -----------------------------------------------------------------------------------------


def data(surveys: Sequence[Survey]) -> dict[str, object]:
    """`{"databases": [...], "ok"}`; docs/json.md has the fields."""
    whole = all(s.error is None and all(t.error is None for t in s.tables) for s in surveys)
    return {"databases": [_database_data(s) for s in surveys], "ok": whole}


def _database_data(seen: Survey) -> dict[str, object]:
    return {
        "name": seen.database.name,
        "path": seen.database.path,
        "bytes": seen.bytes,
        "journal_mode": seen.journal_mode or None,
        "encoding": seen.encoding or None,
        "tables": [_table_data(t) for t in seen.tables],
        **failure.data(seen.error),
    }


def _table_data(seen: TableSurvey) -> dict[str, object]:
    table, told = seen.table, suggest(seen) if seen.census and not seen.error else None
    return {
        "name": table.name,
        "kind": table.kind,
        "rows": seen.rows,
        "rows_at_least": seen.at_least,
        "rows_about": seen.about,
        "bytes": seen.size.table if seen.size else None,
        "index_bytes": seen.size.indexes if seen.size else None,
        "bytes_estimated": seen.size.estimated if seen.size else None,
        "primary_key": list(table.primary_key),
        "rowid_alias": table.rowid_alias,
        "autoincrement": table.autoincrement,
        "without_rowid": table.without_rowid,
        "strict": table.strict,
        "columns": [_column_data(c, seen.census) for c in seen.columns],
        "sampled": None if seen.census is None else seen.census.rows,
        "indexes": [{"name": i.name, "columns": list(i.columns), "unique": i.unique} for i in table.indexes],
        "triggers": [{"name": t.name, "event": t.event, "sets": list(t.sets)} for t in table.triggers],
        "foreign_keys": [_foreign_data(key) for key in seen.foreign],
        "cursor": cursor_data(seen.choice, detected=True) if seen.choice else None,
        "created": _candidate_data(seen.created) if seen.created else None,
        "changed": [_candidate_data(c) for c in seen.changed],
        "mode": told.mode if told else None,
        "why": told.why if told else None,
        "note": table.note or None,
        **failure.data(seen.error),
    }


def _candidate_data(seen: Candidate) -> dict[str, object]:
    return {"columns": list(seen.columns), "why": seen.why}


def _foreign_data(key: ForeignKey) -> dict[str, object]:
    return {
        "columns": list(key.columns),
        "table": key.table,
        "references": list(key.references),
        "missing": key.missing,
    }


def _column_data(seen: ColumnSurvey, census: TableCensus | None) -> dict[str, object]:
    column, counts = seen.column, census.column(seen.column.name) if census else None
    rendered = seen.format == types.RENDERED
    return {
        "name": column.name,
        "declared": column.declared,
        "nullable": column.nullable,
        "key": column.key or None,
        "generated": column.generated,
        "type": seen.type,
        "format": None if rendered or seen.format is None else types.base_format(seen.format),
        "warning": seen.warning,
        "census": None if counts is None or census is None else _census_data(counts, census.rows),
    }


def _census_data(counts: ColumnCensus, rows: int) -> dict[str, object]:
    return {
        "nulls": counts.nulls,
        "null_share": counts.nulls / rows if rows else None,
        "integers": counts.integers,
        "reals": counts.reals,
        "texts": counts.texts,
        "blobs": counts.blobs,
        "distinct": counts.distinct,
        "formats": dict(counts.formats),
    }
