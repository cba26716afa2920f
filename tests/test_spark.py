"""Real Apache Spark beside silt, with Delta's own jars: it reads what silt writes, and writes, too.

`make test-spark`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import asked
import pytest
import torture
from clirun import silt
from cookbook import names
from kit import doubled, lake, sql
from oracle import quoted
from readers import Ask
from spark import Spark, at, differences, script

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


def _same(spark: Spark, table: Path) -> dict[str, str]:
    """Spark sees the very rows that delta-rs does, whatever their order; the types that it sees."""
    assert differences(spark, {"": Ask(str(table))}) == []
    return dict(spark(f"SELECT * FROM {at(table)} LIMIT 0")["types"])


def test_spark_reads_what_silt_writes(spark: Spark, folder: Path) -> None:
    """Rows, types, partitions, time travel, a column that came later, misfits and replaced tables."""
    table = folder / "lake" / "readings"
    types = _same(spark, table)
    wanted = (
        "id bigint, at timestamp, v double, s string, b binary, ok boolean, price decimal(10,2), day date"
    )
    names = ("id", "at", "v", "s", "b", "ok", "price", "day")
    assert ", ".join(f"{name} {types[name]}" for name in names) == wanted
    (count,) = spark(f"SELECT count(*) FROM {at(table)} WHERE day = DATE'2026-01-01'")["rows"]
    assert count == [2]
    before = spark(f"DESCRIBE HISTORY {at(table)}")["rows"][0][0]
    sql(folder / "app.db", "ALTER TABLE readings ADD COLUMN unit TEXT")
    sql(
        folder / "app.db",
        "INSERT INTO readings (at, v, unit) VALUES ('2026-01-04T00:00:00Z', 'no number', 'K')",
    )
    sql(folder / "app.db", "UPDATE settings SET n = 2 WHERE name = 'a'")
    _run(folder)
    assert {"unit", "_rescued_data"} <= _same(spark, table).keys()
    assert len(spark(f"SELECT * FROM {at(table)} VERSION AS OF {before}")["rows"]) == 3
    _same(spark, folder / "lake" / "settings")


def test_spark_carries_out_the_ddl(spark: Spark, folder: Path) -> None:
    """Every statement of `silt ddl` as it is, in Spark's own catalog: tables at their locations, comments."""
    manifest = folder / "silt.yaml"
    manifest.write_text(manifest.read_text().replace('it\'s what "sensors" said', f'"{COMMENT}"'))
    _run(folder)
    assert spark("SELECT '${spark.master}'")["rows"] == [["local[2]"]]  # what a comment must be kept from
    done = silt("ddl", "--hive", "--json", cwd=folder)
    found = json.loads(done.stdout)
    for _ in range(2):  # it may be run again
        for statement in found["statements"]:
            spark(statement.replace("`hive_metastore`", "`spark_catalog`"))
    assert len(spark("SELECT * FROM spark_catalog.plant.readings")["rows"]) == 3
    described = {row[0]: row[1] for row in spark("DESCRIBE EXTENDED spark_catalog.plant.readings")["rows"]}
    assert described["Comment"] == TOLD
    place = str(folder / "lake/readings")
    assert described["Location"].removeprefix("file:").lstrip("/") == place.lstrip("/")
    _insert(folder, 0)
    sql(folder / "app.db", "ALTER TABLE readings ADD COLUMN unit TEXT")
    _run(folder)  # rows and columns are the log's: nothing has to be told again
    seen = spark("SELECT * FROM spark_catalog.plant.readings")
    assert len(seen["rows"]) == 4
    assert "unit" in dict(seen["types"])
    spark("DROP SCHEMA spark_catalog.plant CASCADE")
    assert len(lake(folder / "lake" / "readings")) == 4


COMMENT = 'it\'s \\"said\\"; $${spark.master} -- a \\\\ and\\nanother line'
"""As YAML writes it."""
TOLD = 'it\'s "said"; ${spark.master} -- a \\ and\nanother line'


PARTS = ("a b", "a/b", "ü", "%41", "a=b", ":", "it's", '"q"', "a\\b", "#", "?", "{x}", "*", "a\tb", ".", "..")


def test_spark_finds_tables_and_partitions_of_any_name(spark: Spark, tmp_path: Path) -> None:
    """By the DDL's locations: tables called by reserved words, blanks, quotes; partitions of such values."""
    folder = tmp_path / "a place"
    folder.mkdir()
    tables = (*torture.NAMES, "parts")
    sql(
        folder / "app.db",
        *(f"CREATE TABLE {quoted(name)} (id INTEGER PRIMARY KEY, p TEXT)" for name in tables),
        *((f"INSERT INTO {quoted(name)} (p) VALUES (?)", [(part,) for part in PARTS]) for name in tables),
    )
    streams = {**{name: {} for name in torture.NAMES}, "parts": {"partition_by": ["p"]}}
    head = {"version": 1, "name": "odd", "sources": {"app": "./app.db"}, "targets": {"lake": "./lake"}}
    (folder / "silt.yaml").write_text(json.dumps({**head, "streams": streams}))
    _run(folder)
    found = json.loads(silt("ddl", "--hive", "--json", cwd=folder).stdout)
    for statement in found["statements"]:
        spark(statement.replace("`hive_metastore`", "`spark_catalog`"))
    assert len(found["tables"]) == len(tables)
    for table in found["tables"]:
        rows = spark(f"SELECT id, p FROM spark_catalog.odd.`{table['name']}`")["rows"]
        assert sorted(rows) == [[n, part] for n, part in enumerate(PARTS, 1)], table
    spark("DROP SCHEMA spark_catalog.odd CASCADE")


def test_spark_sql_carries_out_the_script(folder: Path) -> None:
    """What `silt ddl` prints is a script: by the program `spark-sql`, comments, semicolons and all."""
    manifest = folder / "silt.yaml"
    manifest.write_text(manifest.read_text().replace('it\'s what "sensors" said', f'"{COMMENT}"'))
    _run(folder)
    ddl = silt("ddl", "--hive", cwd=folder).stdout.replace("`hive_metastore`", "`spark_catalog`")
    asked = (
        "DESCRIBE EXTENDED spark_catalog.plant.readings; SELECT count(*) FROM spark_catalog.plant.readings"
    )
    said = script(folder, f"{ddl}\n{asked};\n")
    assert said.splitlines()[-1] == "3"
    assert TOLD.splitlines()[0] in said


def test_spark_writes_between_silts_commits(spark: Spark, folder: Path) -> None:
    """OPTIMIZE, VACUUM, a column and an append of Spark's: positions survive, nothing is lost or doubled."""
    table = folder / "lake" / "readings"
    for n in range(3):
        _insert(folder, n)
        _run(folder)
    spark(f"OPTIMIZE {at(table)}")
    _insert(folder, 3)
    _run(folder)
    spark(f"VACUUM {at(table)}")
    spark(f"ALTER TABLE {at(table)} ADD COLUMNS (seen_by string COMMENT 'whose')")
    spark(f"INSERT INTO {at(table)} (id, s, day, seen_by) VALUES (1000, 'of spark', DATE'2026-01-05', 'me')")
    _insert(folder, 4)
    _run(folder)
    assert "up to date" in _run(folder)
    rows = lake(table)
    assert doubled(row["id"] for row in rows) == []
    wanted = {row[0] for row in sql(folder / "app.db", "SELECT id FROM readings")}
    assert {row["id"] for row in rows} == wanted | {1000}
    assert _same(spark, table)["seen_by"] == "string"


TAKEN_AWAY = {
    "DELETE": "DELETE FROM {} WHERE id = 2",
    "UPDATE": "UPDATE {} SET s = 'other' WHERE id = 2",
    "MERGE": "MERGE INTO {} t USING (SELECT 2L AS id) s ON t.id = s.id WHEN MATCHED THEN DELETE",
    "RESTORE": "RESTORE TABLE {} TO VERSION AS OF 0",
    "CREATE OR REPLACE": (
        "CREATE OR REPLACE TABLE {0} USING DELTA PARTITIONED BY (day) AS SELECT * FROM {0} WHERE id > 1"
    ),
}


@pytest.mark.parametrize("what", TAKEN_AWAY)
def test_what_spark_takes_away_holds_the_stream(spark: Spark, folder: Path, what: str) -> None:
    """Rows that silt counted are gone: it holds, says who did what, writes nothing; reset sends all anew."""
    table = folder / "lake" / "readings"
    spark(TAKEN_AWAY[what].format(at(table)))
    left = sorted((row["id"], row["s"]) for row in lake(table))
    assert len(left) < 3 or what == "UPDATE"
    _insert(folder, 0)
    assert what.split(maxsplit=1)[0] in _run(folder, ends=1)
    assert sorted((row["id"], row["s"]) for row in lake(table)) == left
    assert silt("reset", "silt.yaml", "readings", "--yes", cwd=folder).returncode == 0
    _run(folder)
    wanted = sql(folder / "app.db", "SELECT id, s FROM readings ORDER BY id")
    assert sorted((row["id"], row["s"]) for row in lake(table)) == wanted
    _same(spark, table)


def _newest(table: Path) -> int:
    return max(int(entry.stem) for entry in (table / "_delta_log").glob("*.json"))


def test_spark_reads_the_change_feed(spark: Spark, tmp_path: Path) -> None:
    """Of a mirror and a merge: what changed in the source, and nothing else."""
    for name in ("a", "b"):
        sql(
            tmp_path / "app.db",
            f"CREATE TABLE {name} (id INTEGER PRIMARY KEY, at INTEGER NOT NULL, v TEXT)",
            f"INSERT INTO {name} VALUES (1, 1, 'x'), (2, 2, 'y'), (3, 3, 'z')",
        )
    (tmp_path / "silt.yaml").write_text(
        "version: 1\nsources: {app: ./app.db}\ntargets: {lake: ./lake}\n"
        "defaults: {properties: {delta.enableChangeDataFeed: true}}\nstreams:\n"
        "  a: {mode: mirror}\n  b: {mode: merge, cursor: at, deletes: {mode: hard, max_fraction: 1}}\n"
    )
    _run(tmp_path)
    for name in ("a", "b"):
        sql(
            tmp_path / "app.db",
            f"UPDATE {name} SET v = 'new', at = 9 WHERE id = 1",
            f"DELETE FROM {name} WHERE id = 2",
            f"INSERT INTO {name} VALUES (4, 10, 'w')",
        )
    first = {name: _newest(tmp_path / "lake" / name) for name in ("a", "b")}
    _run(tmp_path)
    for name, version in first.items():
        path = tmp_path / "lake" / name
        said = f"SELECT id, v, _change_type FROM table_changes_by_path('{path}', {version + 1})"
        changes = sorted(map(tuple, spark(said)["rows"]))
        assert changes == [
            (1, "new", "update_postimage"),
            (1, "x", "update_preimage"),
            (2, "y", "delete"),
            (4, "w", "insert"),
        ]


def test_spark_reads_what_every_recipe_writes(
    spark: Spark, tmp_path_factory: pytest.TempPathFactory, real_databases: Path
) -> None:
    """Rows, types, partitions, time travel, after columns came and rows went."""
    sensors = real_databases / "sensor_readings.db"
    found = [asked.of_recipe(tmp_path_factory.mktemp("cook"), name, sensors) for name in names()]
    asks = {name: ask for some in found for name, ask in some.items()}
    asked.check_recipes(asks)
    assert differences(spark, asks) == []


def test_spark_reads_the_torture_database(spark: Spark, tmp_path: Path) -> None:
    """Every type, value, key and name, by modes in turn, after rows came, changed and went."""
    asks = asked.of_torture(tmp_path)
    assert len(asks) >= 60
    assert differences(spark, asks) == []
