"""Real Apache Spark beside silt, with Delta's own jars: it reads what silt writes, and writes, too.

`make test-spark`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from clirun import silt
from kit import doubled, lake, sql
from spark import Spark

pytestmark = [pytest.mark.spark, pytest.mark.timeout(1200)]

STREAMS = """\
  readings:
    description: it's what "sensors" said
    columns:
      at: {type: timestamp}
      day: {expr: "date(at)", type: date}
      price: {type: "decimal(10,2)"}
    partition_by: [day]
    lineage: [database, rowid]
  settings: {mode: overwrite}
"""
ROWS = [
    (1, "2026-01-01T10:00:00Z", 1.5, "a", b"\x00\xff", 1, "1.25"),
    (2, "2026-01-01T11:00:00.123456Z", None, "it's", None, 0, None),
    (3, "2026-01-02T00:00:00Z", -2.0, "ü \n x", b"", 1, "99999999.99"),
]


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spark]:
    started = Spark(tmp_path_factory.mktemp("spark"))
    yield started
    started.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    sql(
        tmp_path / "app.db",
        "CREATE TABLE readings (id INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT, v REAL, s TEXT, b BLOB, "
        "ok BOOLEAN, price TEXT)",
        ("INSERT INTO readings VALUES (?, ?, ?, ?, ?, ?, ?)", ROWS),
        "CREATE TABLE settings (name TEXT PRIMARY KEY, n INTEGER)",
        "INSERT INTO settings VALUES ('a', 1), ('b', 9007199254740993)",
    )
    (tmp_path / "silt.yaml").write_text(
        f"version: 1\nname: plant\nsources: {{app: ./app.db}}\ntargets: {{lake: ./lake}}\nstreams:\n{STREAMS}"
    )
    _run(tmp_path)
    return tmp_path


def _run(folder: Path, *, ends: int = 0) -> str:
    done = silt("run", "silt.yaml", "--once", cwd=folder)
    assert done.returncode == ends, done.stdout + done.stderr
    return done.stdout + done.stderr


def _insert(folder: Path, n: int) -> None:
    sql(
        folder / "app.db",
        f"INSERT INTO readings (at, v, s) VALUES ('2026-01-03T00:00:00Z', {n}, 'later {n}')",
    )


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.replace(tzinfo=None).isoformat()
    if isinstance(value, date | Decimal):
        return str(value)
    return value.hex() if isinstance(value, bytes) else value


def _same(spark: Spark, table: Path, clause: str = "") -> dict[str, Any]:
    """Spark sees the very rows that delta-rs does, whatever their order; its answer."""
    found = spark(f"SELECT * FROM delta.`{table}` {clause}")
    names = [name for name, _ in found["types"]]
    wanted = [[_plain(row[name]) for name in names] for row in lake(table)]
    assert Counter(map(repr, found["rows"])) == Counter(map(repr, wanted))
    return found


def test_spark_reads_what_silt_writes(spark: Spark, folder: Path) -> None:
    """Rows, types, partitions, time travel, a column that came later, misfits and replaced tables."""
    table = folder / "lake" / "readings"
    types = dict(_same(spark, table)["types"])
    wanted = (
        "id bigint, at timestamp, v double, s string, b binary, ok boolean, price decimal(10,2), day date"
    )
    names = ("id", "at", "v", "s", "b", "ok", "price", "day")
    assert ", ".join(f"{name} {types[name]}" for name in names) == wanted
    (count,) = spark(f"SELECT count(*) FROM delta.`{table}` WHERE day = DATE'2026-01-01'")["rows"]
    assert count == [2]
    before = spark(f"DESCRIBE HISTORY delta.`{table}`")["rows"][0][0]
    sql(folder / "app.db", "ALTER TABLE readings ADD COLUMN unit TEXT")
    sql(
        folder / "app.db",
        "INSERT INTO readings (at, v, unit) VALUES ('2026-01-04T00:00:00Z', 'no number', 'K')",
    )
    sql(folder / "app.db", "UPDATE settings SET n = 2 WHERE name = 'a'")
    _run(folder)
    assert {"unit", "_rescued_data"} <= {name for name, _ in _same(spark, table)["types"]}
    assert len(spark(f"SELECT * FROM delta.`{table}` VERSION AS OF {before}")["rows"]) == 3
    _same(spark, folder / "lake" / "settings")


def test_spark_carries_out_the_ddl(spark: Spark, folder: Path) -> None:
    """Every statement of `silt ddl` as it is, in Spark's own catalog: tables at their locations, comments."""
    done = silt("ddl", "--catalog", "hive_metastore", "--hive", "--json", cwd=folder)
    found = json.loads(done.stdout)
    for _ in range(2):  # it may be run again
        for statement in found["statements"]:
            spark(statement.replace("`hive_metastore`", "`spark_catalog`"))
    assert len(spark("SELECT * FROM spark_catalog.plant.readings")["rows"]) == 3
    described = {row[0]: row[1] for row in spark("DESCRIBE EXTENDED spark_catalog.plant.readings")["rows"]}
    assert described["Comment"] == 'it\'s what "sensors" said'
    assert described["Location"].removeprefix("file:").lstrip("/") == str(folder / "lake/readings").lstrip(
        "/"
    )
    spark("DROP SCHEMA spark_catalog.plant CASCADE")


def test_spark_writes_between_silts_commits(spark: Spark, folder: Path) -> None:
    """OPTIMIZE, VACUUM and an append of Spark's: positions survive, nothing is lost or doubled."""
    table = folder / "lake" / "readings"
    for n in range(3):
        _insert(folder, n)
        _run(folder)
    spark(f"OPTIMIZE delta.`{table}`")
    _insert(folder, 3)
    _run(folder)
    spark(f"VACUUM delta.`{table}`")
    spark(f"INSERT INTO delta.`{table}` (id, s, day) VALUES (1000, 'of spark', DATE'2026-01-05')")
    _insert(folder, 4)
    _run(folder)
    assert "up to date" in _run(folder)
    rows = lake(table)
    assert doubled(row["id"] for row in rows) == []
    wanted = {row[0] for row in sql(folder / "app.db", "SELECT id FROM readings")}
    assert {row["id"] for row in rows} == wanted | {1000}
    _same(spark, table)


def test_a_delete_of_sparks_holds_the_stream(spark: Spark, folder: Path) -> None:
    """Rows that silt counted are gone: it holds, says who did what, and writes nothing."""
    table = folder / "lake" / "readings"
    spark(f"DELETE FROM delta.`{table}` WHERE id = 2")
    _insert(folder, 0)
    assert "DELETE" in _run(folder, ends=1)
    assert sorted(row["id"] for row in lake(table)) == [1, 3]
