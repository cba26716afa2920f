"""Small Delta tables for the tests of the target."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa

from silt.position import pack
from silt.target import ColumnSpec, Table, create_table

APP = "silt/plant/node/readings/db"
COLUMNS = (
    ColumnSpec(name="id", type="bigint", comment="the key"),
    ColumnSpec(name="name", type="string"),
)
SCHEMA = pa.schema([("id", pa.int64()), ("name", pa.string())])


def new(path: Path | str, options: dict[str, str] | None = None, **more: Any) -> Table:
    """A table of `COLUMNS`."""
    return create_table(str(path), options or {}, columns=more.pop("columns", COLUMNS), **more)


def rows(ids: Iterable[int], name: str = "x") -> pa.RecordBatchReader:
    """A reader of one row an id."""
    ids = list(ids)
    batch = pa.record_batch([pa.array(ids, pa.int64()), pa.array([name] * len(ids))], schema=SCHEMA)
    return pa.RecordBatchReader.from_batches(SCHEMA, [batch])


def add(table: Table, batch: int, ids: Iterable[int] = (), *, app: str = APP, payload: bytes = b"p") -> int:
    """Append one batch of silt's."""
    return table.append(
        rows(ids or [batch]),
        txns=pack(app, batch, payload),
        metadata={"stream": "readings", "batch": str(batch)},
    )


def ids(table: Table) -> list[int]:
    """The ids in the table, sorted."""
    return sorted(table.rows(["id"]).read_all()["id"].to_pylist())


def entry(path: Path, version: int) -> Path:
    """The file of a version's log entry."""
    return path / "_delta_log" / f"{version:020d}.json"


def checkpoint_file(path: Path, version: int) -> Path:
    """The file of a version's single-file checkpoint."""
    return path / "_delta_log" / f"{version:020d}.checkpoint.parquet"


def write_entry(path: Path, version: int, *actions: dict[str, Any]) -> None:
    """A log entry as another program would write it."""
    entry(path, version).write_text("".join(json.dumps(action) + "\n" for action in actions))


def log_names(path: Path) -> list[str]:
    """What is in the log's folder."""
    return sorted(found.name for found in (path / "_delta_log").iterdir())


_Z85 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"


def deletion_vector(deleted: list[int]) -> dict[str, Any]:
    """An inline deletion vector, as Databricks writes it; an even number of rows below 65,536.

    The Delta protocol, "Deletion Vector Format": magic, a count of bitmaps, each a key and a roaring bitmap.
    """
    values = struct.pack(f"<{len(deleted)}H", *sorted(deleted))
    bitmap = struct.pack("<IIHHI", 12346, 1, 0, len(deleted) - 1, 16) + values
    data = struct.pack("<IQI", 1681511377, 1, 0) + bitmap
    words = struct.unpack(f">{len(data) // 4}I", data)
    text = "".join(_Z85[word // 85**power % 85] for word in words for power in (4, 3, 2, 1, 0))
    size = {"sizeInBytes": len(data), "cardinality": len(deleted)}
    return {"storageType": "i", "pathOrInlineDv": text, **size}


def delete_by_vector(path: Path, version: int, deleted: list[int]) -> None:
    """The next entry of a table with one file: rows of it are deleted as Databricks does, by a vector."""
    (file,) = path.glob("*.parquet")
    features = {"readerFeatures": ["deletionVectors"], "writerFeatures": ["deletionVectors"]}
    protocol = {"minReaderVersion": 3, "minWriterVersion": 7, **features}
    shared = {"path": file.name, "dataChange": True, "partitionValues": {}, "size": file.stat().st_size}
    vector = {"stats": '{"numRecords":40}', "deletionVector": deletion_vector(deleted)}
    write_entry(
        path,
        version,
        {"commitInfo": {"operation": "DELETE"}},
        {"protocol": protocol},
        {"remove": {**shared, "deletionTimestamp": 1}},
        {"add": {**shared, "modificationTime": 1, **vector}},
    )
