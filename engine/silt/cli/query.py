"""`silt query`: SQL over the replicated tables, where they are."""

from __future__ import annotations

import csv
import io
import json
import os
import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from silt.cli import console
from silt.cli.options import AsJson
from silt.cli.paths import load
from silt.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa


def query(
    path: Annotated[str, typer.Argument(metavar="PATH", help="The manifest.", show_default=False)],
    sql: Annotated[
        str, typer.Argument(metavar="SQL", help="A query; streams are its tables.", show_default=False)
    ],
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="CSV on stdout, with a head.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Rows to print as a table.")] = 100,
) -> int:
    """Ask the lake: SQL (DataFusion's) over the Delta tables of a manifest. Reads no source table.

    A stream is a table of its own name; one that keeps a Delta table per database has
    [bold]stream__database[/] for each.

    Examples:  [cyan]silt query plant.yaml "select count(*) from readings"[/]
               [cyan]silt query plant.yaml "select * from readings" --csv > readings.csv[/]
    """
    if as_json and as_csv:
        raise typer.BadParameter("--json and --csv do not go together")
    from silt.cli.streams import tables_of
    from silt.target import sql as engine

    _check_order(path, sql)
    manifest = load(path)
    started = time.monotonic()
    engine.check_reads(sql)
    reader = engine.query(tables_of(manifest, sql), sql)
    with _evaluated():
        if as_json:
            console.as_json(_object(reader))
        elif as_csv:
            _csv(reader)
        else:
            _table(reader, limit, started)
    return 0


def _check_order(path: str, sql: str) -> None:
    """Raise `UserError` where the manifest stands in the place of the query, and the query in its place."""
    if not os.access(path, os.F_OK) and os.access(sql, os.F_OK):
        raise UserError("PATH comes first", hint=shlex.join(["silt", "query", sql, path]))


@contextmanager
def _evaluated() -> Iterator[None]:
    """What the engine finds wrong while it reads (a cast that fails) is the query's fault, not a bug."""
    import pyarrow as pa

    try:
        yield
    except pa.ArrowException as error:
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError("the query failed while it ran", why=why) from error


def _rows(reader: pa.RecordBatchReader) -> Iterator[tuple[Any, ...]]:
    for batch in reader:
        columns = [column.to_pylist() for column in batch.columns]
        yield from zip(*columns, strict=True) if columns else ()


def _object(reader: pa.RecordBatchReader) -> dict[str, object]:
    names = reader.schema.names
    fields = [{"name": f.name, "type": str(f.type)} for f in reader.schema]
    rows = [{n: _plain(v) for n, v in zip(names, row, strict=True)} for row in _rows(reader)]
    return {"columns": fields, "rows": rows}


def _plain(value: Any) -> Any:
    """A value as JSON has it: times as ISO 8601, decimals as text (exact), BLOBs as SQLite writes them."""
    if isinstance(value, bytes):
        return f"x'{value.hex()}'"
    if isinstance(value, dict):
        return {key: _plain(v) for key, v in value.items()}
    if isinstance(value, list):
        return [_plain(v) for v in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _csv(reader: pa.RecordBatchReader) -> None:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(reader.schema.names)
    for row in _rows(reader):
        writer.writerow([_cell(v) for v in row])
        if buffer.tell() > 1 << 16:
            console.write(buffer.getvalue())
            buffer.seek(0)
            buffer.truncate()
    console.write(buffer.getvalue())


def _cell(value: Any) -> Any:
    plain = _plain(value)
    return json.dumps(plain, ensure_ascii=False) if isinstance(plain, dict | list) else plain


def _table(reader: pa.RecordBatchReader, limit: int, started: float) -> None:
    import pyarrow as pa

    from silt.report import query as report

    numeric = [
        pa.types.is_integer(f.type) or pa.types.is_floating(f.type) or pa.types.is_decimal(f.type)
        for f in reader.schema
    ]
    rows = _rows(reader)
    shown = list(islice(rows, limit))
    more = next(rows, None) is not None
    console.out(report.text(reader.schema.names, shown, numeric=numeric, width=console.width()))
    seconds = time.monotonic() - started
    console.err([report.closing(len(shown), more=more, seconds=seconds)])
