"""`silt ddl` and `silt register`: a manifest's own tables, in Databricks' words."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from clirun import silt
from kit import sql
from unity import unity_server

STREAMS = """\
  orders:
    description: what was "ordered", it's all here
    columns: {day: {expr: "date(at)", type: date}}
    partition_by: [day]
    properties: {delta.appendOnly: "false"}
  Late: {table: orders, into: late/orders}
  both_a: {table: orders, into: shared/both}
  both_b: {table: orders, into: shared/both, where: "id > 1"}
  off: {table: orders, enabled: false}
  t: {source: tenants, into: "by/{database}"}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two sources and a lake with a blank in its name; `Late` has not been replicated."""
    sql(
        tmp_path / "a.db",
        "CREATE TABLE orders (id INTEGER PRIMARY KEY, at TEXT)",
        "INSERT INTO orders VALUES (1, '2026-01-01')",
    )
    for name in ("x", "y"):
        (tmp_path / "tenants").mkdir(exist_ok=True)
        sql(
            tmp_path / "tenants" / f"{name}.db",
            "CREATE TABLE t (id INTEGER PRIMARY KEY)",
            "INSERT INTO t VALUES (1)",
        )
    (tmp_path / "silt.yaml").write_text(
        "version: 1\nname: Plant 7\nsources: {a: ./a.db, tenants: ./tenants/*.db}\n"
        f"targets: {{lake: './my lake'}}\ndefaults: {{source: a}}\nstreams:\n{STREAMS}"
    )
    done = silt("run", "--once", "--exclude", "Late", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    return tmp_path


def test_ddl_for_hive(folder: Path) -> None:
    """Each table once, at the very folder that silt wrote, as file:///; its comment; what is not there."""
    done = silt("ddl", "silt.yaml", "--hive", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    locations = re.findall(r"LOCATION '(file:///[^']+)'", done.stdout)
    assert sorted(locations) == sorted(
        f"file://{folder}/my lake/{into}" for into in ("orders", "shared/both", "by/x", "by/y")
    )
    for each in locations:
        assert Path(each.removeprefix("file://"), "_delta_log").is_dir()
    assert "CREATE SCHEMA IF NOT EXISTS `hive_metastore`.`plant_7`;" in done.stdout
    assert "CREATE TABLE IF NOT EXISTS `hive_metastore`.`plant_7`.`both`" in done.stdout
    assert "`plant_7`.`t__x`" in done.stdout
    assert "COMMENT 'what was \"ordered\", it\\'s all here'" in done.stdout
    assert f"-- late: nothing is at file://{folder}/my lake/late/orders yet; run silt first" in done.stdout
    assert "-- partitioned by day" in done.stdout
    assert "-- property delta.appendOnly = false" in done.stdout
    assert "`off`" not in done.stdout


def test_ddl_as_json(folder: Path) -> None:
    """One object: statements in order, and each table with its columns."""
    done = silt("ddl", "--catalog", "c", "--schema", "s", "--select", "orders", "--json", cwd=folder)
    assert "Unity Catalog takes no file:// location" in done.stderr
    found = json.loads(done.stdout)
    assert (found["catalog"], found["schema"]) == ("c", "s")
    assert [each.split("`")[0].strip() for each in found["statements"]] == [
        "CREATE SCHEMA IF NOT EXISTS",
        "CREATE TABLE IF NOT EXISTS",
        "REPAIR TABLE",
    ]
    (table,) = found["tables"]
    assert [(c["name"], c["type"]) for c in table["columns"]][:2] == [("id", "bigint"), ("at", "string")]
    assert (table["streams"], table["partition_by"]) == (["orders"], ["day"])


def test_register_and_list(folder: Path) -> None:
    """Missing tables are made once; `--list` shows where each is stored; a table elsewhere is exit 1."""
    with unity_server() as unity:
        given = {**unity.environment, "DATABRICKS_CONFIG_FILE": str(folder / "none")}
        dry = silt("register", "--dry-run", cwd=folder, **given)
        assert (dry.returncode, "would create" in dry.stdout, unity.tables) == (0, True, {})
        first = silt("register", "--json", cwd=folder, **given)
        assert first.returncode == 0, first.stdout + first.stderr
        made = json.loads(first.stdout)
        assert (made["schema"], made["schema_created"]) == ("main.plant_7", True)
        assert {each["name"]: each["outcome"] for each in made["tables"]} == {
            **dict.fromkeys(("both", "orders", "t__x", "t__y"), "created"),
            "late": "empty",
        }
        listed = silt("register", "--list", cwd=folder, **given)
        assert f"  orders  file://{folder}/my lake/orders\n" in listed.stdout
        unity.tables["main.plant_7.orders"]["storage_location"] = "s3://elsewhere/orders"
        again = silt("register", cwd=folder, **given)
        assert again.returncode == 1
        assert (
            "! main.plant_7.orders  is another table: the catalog has it at s3://elsewhere/orders"
            in again.stdout
        )
        assert "5 tables, 1 not registered" in again.stdout
        assert unity.token not in first.stdout + listed.stdout + again.stdout


def test_two_tables_of_one_name_are_refused(folder: Path) -> None:
    """Capitals make no difference in a catalog: both places are named."""
    with (folder / "silt.yaml").open("a") as file:
        file.write("  LATE: {table: orders, into: other}\n")
    done = silt("ddl", cwd=folder)
    assert done.returncode == 1
    assert "two tables would be 'late' in the catalog" in done.stderr


def test_register_without_a_workspace(folder: Path) -> None:
    """Told, with the usual places."""
    done = silt("register", cwd=folder, DATABRICKS_CONFIG_FILE=str(folder / "none"), DATABRICKS_HOST="")
    assert (done.returncode, "no workspace is known" in done.stderr) == (1, True)
    assert "DATABRICKS_HOST" in done.stderr
