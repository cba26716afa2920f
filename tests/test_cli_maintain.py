"""`silt maintain`: small files written together and old ones removed, now."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import lake
import pytest
from clirun import silt
from kit import Site

from silt.state import StateDir

DAY = 86_400.0


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Two tables: `many` with 15 files, `few` with one."""
    made = Site(tmp_path)
    made.sql(
        "CREATE TABLE many (id INTEGER PRIMARY KEY AUTOINCREMENT, v TEXT)",
        "CREATE TABLE few (id INTEGER PRIMARY KEY AUTOINCREMENT, v TEXT)",
        ("INSERT INTO many (v) VALUES (?)", [("x",)] * 15),
        ("INSERT INTO few (v) VALUES (?)", [("x",)] * 3),
    )
    made.write("  many: {batch: {max_rows: 1}}\n  few: {}\n")
    made.cycle()
    return made


def maintain(site: Site, *arguments: str, code: int = 0) -> str:
    done = silt("maintain", "silt.yaml", *arguments, cwd=site.folder)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def words(text: str) -> list[str]:
    return [
        re.sub(r"[\d.,]+ (kB|bytes)|[\d.]+ s$", "#", " ".join(line.split())) for line in text.splitlines()
    ]


def test_a_line_a_table_and_task(site: Site) -> None:
    """What would be done, then what was; then nothing is left; the rows are as they were."""
    assert words(maintain(site, "--dry-run")) == [
        "many 15 small files, # (would)",
        "many vacuum: nothing to do",
        "few compact: nothing to do",
        "few vacuum: nothing to do",
    ]
    assert words(maintain(site))[0] == "many 15 small files, # -> 1 file v16 #"
    assert words(maintain(site))[0] == "many compact: nothing to do"
    site.expect("many", "many")
    site.sql("INSERT INTO many (v) VALUES ('more')")
    assert {s.name: s.rows for s in site.cycle().streams} == {"many": 1, "few": 0}
    site.expect("many", "many")


def test_json_tells_the_same(site: Site) -> None:
    """One object; only the tables of the selected streams."""
    told = json.loads(maintain(site, "--json", "--select", "many"))
    compacted, vacuumed = told["tables"]
    assert told["ok"] is True
    assert (compacted["into"], compacted["streams"], compacted["task"]) == ("many", ["many"], "compact")
    assert (compacted["outcome"], compacted["files_before"], compacted["files_after"]) == ("done", 15, 1)
    assert compacted["version"] == 16
    assert (vacuumed["outcome"], vacuumed["error"]) == ("nothing", None)


def test_what_the_manifest_turns_off_is_left_alone(site: Site) -> None:
    """`maintenance: false`, and what is old goes only where it is wanted."""
    site.write("  many: {maintenance: false}\n  few: {maintenance: {compact: false}}\n")
    for table in ("many", "few"):
        orphan = site.folder / "lake" / table / "part-0-orphan.parquet"
        orphan.write_bytes(b"x")
        os.utime(orphan, (0, 0))
    assert words(maintain(site)) == ["many left alone: maintenance is off", "few 1 file removed, # v3 #"]
    assert (site.folder / "lake" / "many" / "part-0-orphan.parquet").exists()


def test_beside_a_running_silt(site: Site) -> None:
    """It does not wait for its lock; a table that it is at is left to it."""
    state = StateDir(str(site.folder / "state"), manifest="default", node="local")
    with state.lock("silt.yaml"), state.table_lock(f"{site.folder}/lake/few"):
        told = words(maintain(site))
    assert told[0].startswith("many 15 small files")
    assert told[2:] == [
        "few compact: left to another that is at it",
        "few vacuum: left to another that is at it",
    ]


def test_what_fails_is_told(site: Site) -> None:
    """A table that must not be touched is an error of its own, the others are done; exit 1."""
    lake.delete_by_vector(site.folder / "lake" / "few", 2, [0, 1])
    text = maintain(site, code=1)
    assert words(text)[0].startswith("many 15 small files")
    assert "x few" in text
    assert "the table holds deletion vectors" in text
    assert "REORG TABLE" in text
    told = json.loads(maintain(site, "--json", code=1))
    assert told["ok"] is False
    assert [t["outcome"] for t in told["tables"]] == ["nothing", "nothing", "failed", "failed"]
    assert told["tables"][2]["error_kind"] == "user"


def test_help_is_in_the_group_repair() -> None:
    """The verb stands beside reset."""
    told = silt("--help").stdout
    assert told.index("Repair") < told.index("maintain")
