"""Readers of Delta tables that share no code with delta-rs: ClickHouse's engine (chdb) and Sail (pysail).

Both live in `.venv-readers` (`make readers`); each answers many questions in one process.
"""

from __future__ import annotations

import json
import struct
import subprocess
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

PYTHON = Path(__file__).resolve().parents[1] / ".venv-readers" / "bin" / "python"

_CHDB = """
import json, pathlib, sys, chdb
asked = json.load(sys.stdin)
for number, ask in enumerate(asked["asks"]):
    path = ask["path"].replace("\\\\", "\\\\\\\\").replace("'", "\\\\'")
    settings = ["output_format_arrow_string_as_string = 0"]
    settings += [f"delta_lake_snapshot_version = {ask['version']}"] if ask["version"] is not None else []
    where = f" WHERE {ask['where']}" if ask["where"] else ""
    sql = f"SELECT * FROM deltaLakeLocal('{path}'){where} SETTINGS {', '.join(settings)}"
    pathlib.Path(asked["out"], str(number)).write_bytes(chdb.query(sql, "ArrowStream").bytes())
"""

_SAIL = """
import json, pathlib, sys
import pyarrow as pa
from pysail.spark import SparkConnectServer
from pyspark.sql import SparkSession
asked = json.load(sys.stdin)
server = SparkConnectServer("127.0.0.1", 0)
server.start()
spark = SparkSession.builder.remote(f"sc://127.0.0.1:{server.listening_address[1]}").getOrCreate()
def answered(ask):
    reader = spark.read.format("delta")
    reader = reader if ask["version"] is None else reader.option("versionAsOf", ask["version"])
    frame = reader.load(ask["path"])
    return (frame.where(ask["where"]) if ask["where"] else frame).toArrow()

for number, ask in enumerate(asked["asks"]):
    try:
        table = answered(ask)
    except Exception as error:  # it is told as what the table holds
        table = pa.table({"error": [str(error)[:300]]})
    with pa.ipc.new_stream(str(pathlib.Path(asked["out"], str(number))), table.schema) as out:
        out.write_table(table)
spark.stop()
server.stop()
"""

PROGRAMS = {"chdb": _CHDB, "sail": _SAIL}


@dataclass(frozen=True)
class Ask:
    """The rows of a table: of a version, and with a condition that both understand, where they are given."""

    path: str
    version: int | None = None
    where: str = ""


def read(reader: str, asks: Sequence[Ask]) -> list[pa.Table]:
    """What `reader` finds.

    A table is shown by a link with a plain name: chdb takes `*` in a path for a pattern, and Sail finds no
    folder whose name a URL would encode.
    """
    if not PYTHON.exists():
        pytest.skip("no other reader: `make readers` installs them")
    with tempfile.TemporaryDirectory() as folder:
        linked = [replace(ask, path=_linked(Path(folder, f"t{n}"), ask.path)) for n, ask in enumerate(asks)]
        done = subprocess.run(
            [PYTHON, "-c", PROGRAMS[reader]],
            input=json.dumps({"out": folder, "asks": [asdict(ask) for ask in linked]}),
            capture_output=True,
            text=True,
            timeout=600,
            cwd="/",  # chdb reads only below its working folder
            env={"TZ": "UTC", "HOME": folder, "PATH": "/usr/bin:/bin"},
        )
        assert done.returncode == 0, done.stderr[-3000:]
        files = (Path(folder, str(number)).read_bytes() for number in range(len(asks)))
        return [_table(data) for data in files]


def _linked(link: Path, table: str) -> str:
    link.symlink_to(table)
    return str(link)


def _table(data: bytes) -> pa.Table:
    """Of no bytes, too: chdb says nothing where there is no row."""
    return pa.ipc.open_stream(data).read_all() if data else pa.table({})


def delta_rs(ask: Ask) -> pa.Table:
    """The same by delta-rs."""
    from deltalake import DeltaTable, QueryBuilder

    delta = DeltaTable(ask.path, version=ask.version)
    where = f" WHERE {ask.where}".replace("`", '"') if ask.where else ""
    answer = QueryBuilder().register("t", delta).execute(f"SELECT * FROM t{where}")
    return pa.table(pa.RecordBatchReader.from_stream(answer).read_all())


# --- compared -------------------------------------------------------------------------------------


def kinds(table: pa.Table, *, text_is_bytes: bool) -> dict[str, str]:
    """Types by column, however they lie in memory; ClickHouse has one type for text and bytes."""
    return {field.name: _kind(field.type, text_is_bytes=text_is_bytes) for field in table.schema}


def _kind(kind: pa.DataType, *, text_is_bytes: bool) -> str:
    import pyarrow.types as is_

    if is_.is_string(kind) or is_.is_large_string(kind) or is_.is_string_view(kind):
        return "bytes" if text_is_bytes else "text"
    if is_.is_binary(kind) or is_.is_large_binary(kind) or is_.is_binary_view(kind):
        return "bytes"
    if is_.is_decimal(kind):
        return f"decimal({kind.precision},{kind.scale})"
    return str(kind)


def cells(table: pa.Table, *, digits: int | None = None) -> Counter[tuple[Any, ...]]:
    """The rows, as often as they are there: texts by their bytes, floats by their bits, or by some digits."""
    import pyarrow.types as is_

    columns = []
    for column in table.columns:
        if is_.is_timestamp(column.type):
            column = column.cast(pa.timestamp("us", "UTC")).cast(pa.int64())  # noqa: PLW2901
        if is_.is_date(column.type):
            column = column.cast(pa.date32()).cast(pa.int32())  # noqa: PLW2901
        columns.append([_cell(value, digits) for value in column.to_pylist()])
    return Counter(zip(*columns, strict=True)) if columns else Counter()


def _cell(value: Any, digits: int | None) -> Any:
    match value:
        case str():
            return value.encode()
        case float() if digits is not None:
            return f"{value:.{digits}g}"
        case float():
            return struct.pack(">d", value)
        case _:
            return value


def differences(reader: str, asks: dict[str, Ask]) -> list[str]:
    """Where `reader` sees other rows or types than delta-rs does, by the names of the asks."""
    found = []
    for (name, ask), theirs in zip(asks.items(), read(reader, list(asks.values())), strict=True):
        ours = delta_rs(ask)
        clickhouse = reader == "chdb"
        if theirs.num_columns or ours.num_rows:
            types = [kinds(table, text_is_bytes=clickhouse) for table in (ours, theirs)]
            found += [] if types[0] == types[1] else [f"{name}: types {types[1]}, not {types[0]}"]
        # Sail takes a column of one value in a file from the log's statistics, and reads its number a bit off
        mine, other = (cells(table, digits=15 if reader == "sail" else None) for table in (ours, theirs))
        if mine != other:
            lacks, more = ([str(row)[:200] for row in list(d)[:2]] for d in (mine - other, other - mine))
            found.append(f"{name}: {other.total()} rows, not {mine.total()}; lacks {lacks}, has {more}")
    return found
