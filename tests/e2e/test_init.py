"""`silt init` on real and odd databases: its manifest is valid, runs as it is, and the lake is the source."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from clirun import silt
from kit import Site, lake, sql
from oracle import equal, proj, quoted

from silt.author import init
from silt.author.databases import surveyed
from silt.author.draft import draft
from silt.author.origin import origins


def ran(folder: Path) -> dict[str, Any]:
    """A cycle of the manifest, and another, which writes nothing: the first one's streams by their names."""
    site = Site(folder)
    first, again = site.cycle(), site.cycle()
    assert {s.name: s.error for s in first.streams if s.state != "ok"} == {}
    assert [s.name for s in again.streams if s.batches or s.rows or s.state != "ok"] == []
    return {s.name: s for s in first.streams}


def written(folder: Path, *databases: Path | str) -> str:
    """The manifest that init makes of `databases`, kept in `folder`; that it is valid, `ran` shows."""
    text = init.text(draft(origins(surveyed([str(folder / name) for name in databases]))))
    (folder / "silt.yaml").write_text(text, encoding="utf-8")
    return text


def tables(database: Path) -> set[str]:
    """The ordinary tables of a database, by SQLite's own word."""
    listed = "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table'"
    return {name for (name,) in sql(database, listed) if not name.startswith("sqlite_")}


# --- real databases -------------------------------------------------------------------------------

REAL = {
    "chinook.sqlite": "11 tables, 1 append, 10 mirror",
    "home_assistant_2024_3.db": "12 tables, 1 append, 11 mirror",
    "sensor_readings.db": "1 table, 1 append",
    "proj.db": "37 tables, 5 mirror, 32 overwrite",
}


@pytest.mark.timeout(300)  # five commands over up to 74,568 rows of 37 tables
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.nightly] * (name == "proj.db")) for name in REAL]
)
def test_a_newcomers_path(request: pytest.FixtureRequest, tmp_path: Path, name: str) -> None:
    """init, validate, plan, run, query on a real database: all tables equal cell by cell; again: nothing."""
    origin = proj() if name == "proj.db" else request.getfixturevalue("real_databases") / name
    shutil.copyfile(origin, tmp_path / name)
    done = silt("init", name, "-o", "m.yaml", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.splitlines() == [
        f"wrote m.yaml: {REAL[name]}. Each stream says why.",
        "next: silt plan m.yaml",
    ]
    assert silt("validate", "m.yaml", cwd=tmp_path).stdout == "m.yaml: valid\n"
    assert silt("plan", "m.yaml", cwd=tmp_path).returncode == 0
    done = silt("run", "m.yaml", "--once", "--json", cwd=tmp_path)
    streams = {stream["name"]: stream for stream in json.loads(done.stdout)["streams"]}
    assert ({s["error"] for s in streams.values()}, done.returncode) == ({None}, 0)
    assert set(streams) == tables(tmp_path / name)
    for table, stream in streams.items():
        assert equal(tmp_path / name, table, tmp_path / "lake" / stream["into"]) == stream["rows"]
    counts = " union all ".join(f"select '{t}' as t, count(*) as n from {quoted(t)}" for t in streams)
    asked = json.loads(silt("query", "m.yaml", counts, "--json", cwd=tmp_path).stdout)["rows"]
    assert {row["t"]: row["n"] for row in asked} == {t: s["rows"] for t, s in streams.items()}
    again = silt("run", "m.yaml", "--once", cwd=tmp_path)
    assert re.search(rf"{len(streams)} streams? up to date", again.stdout)


# --- odd names ------------------------------------------------------------------------------------

ODD = (
    *("order", "two words", 'quo"te', "it's", "100%", "back`tick", "br[ack]et", "star*", "what?", "dot.ted"),
    *("yes", "null", "1.5", "2024", "- dash", "key: value", "# no comment", "{flow}", "&anchor", "*", "~"),
    *("$HOME", "${HOME}", "$$", "a/b", "a_b", "..", "_delta_log", "Ärger", "ärger", "日本", "tab\there"),
    *("new\nline", " ", " lead", "x" * 300, "select * from x; drop table y", "!tag", "%dir", "@at"),
    *("line\u2028separator", "\ufeffmark", "🐌"),
)
"""Names of tables that YAML, SQL, paths or patterns take for something else."""


def test_tables_of_any_name_are_written_so_that_they_are_read_back(tmp_path: Path) -> None:
    """Each becomes a stream of its own with a folder of its own, and the lake equals it."""
    statements: list[Any] = []
    for name in ODD:
        statements.append(f"CREATE TABLE {quoted(name)}(id INTEGER PRIMARY KEY AUTOINCREMENT, v TEXT)")
        statements.append((f"INSERT INTO {quoted(name)}(v) VALUES (?)", [(name,), (None,)]))
    sql(tmp_path / "odd.db", *statements)
    written(tmp_path, "odd.db")
    streams = ran(tmp_path)
    assert {s.table for s in streams.values()} == set(ODD)
    assert len({s.into.casefold() for s in streams.values()}) == len(streams) == len(ODD)
    for stream in streams.values():
        assert equal(tmp_path / "odd.db", stream.table, tmp_path / "lake" / stream.into) == 2


COLUMNS = {
    "a b, a_b, a,b": {"a_b": "a_b_2", "a,b": "a_b_3"},
    "größe, GRÖßE": {"GRÖßE": "GRÖßE_2"},
    "yes, - x, # y, null, *, ${HOME}": {},
    "a, a_2, a=2": {"a=2": "a_2_2"},
}


@pytest.mark.parametrize("names", COLUMNS)
def test_columns_that_would_be_one_in_the_lake_are_renamed(tmp_path: Path, names: str) -> None:
    """What Spark refuses becomes `_`; a second column of that name, whatever its case, gets a number.

    Each holds seconds since 1970 in a DATETIME, which only a setting of that very column can tell.
    """
    columns = [f"{quoted(name)} DATETIME" for name in names.split(", ")]
    sql(
        tmp_path / "a.db",
        f"CREATE TABLE t(id INTEGER PRIMARY KEY, {', '.join(columns)})",
        f"INSERT INTO t VALUES (1{', 1711000000' * len(columns)})",
    )
    written(tmp_path, "a.db")
    ran(tmp_path)
    spark = {
        name: name.translate(str.maketrans(dict.fromkeys(" ,;{}()\n\t=", "_"))) for name in names.split(", ")
    }
    assert equal(tmp_path / "a.db", "t", tmp_path / "lake" / "t", spark | COLUMNS[names]) == 1


# --- odd contents ---------------------------------------------------------------------------------

CONTENTS = {
    "no_row": ("id INTEGER PRIMARY KEY, at DATETIME, n INT, x", ""),
    "stray": ("id INTEGER PRIMARY KEY, n INT", "i, CASE i WHEN 700 THEN 'seven' ELSE i END"),
    "real_in_int": ("id INTEGER PRIMARY KEY, n INT", "i, CASE i WHEN 3 THEN 2.5 ELSE i END"),
    "text_in_real": ("id INTEGER PRIMARY KEY, r REAL", "i, CASE i WHEN 3 THEN 'n/a' ELSE i / 2.0 END"),
    "no_boolean": ("id INTEGER PRIMARY KEY, b BOOLEAN", "i, i % 3"),
    "no_decimal": ("id INTEGER PRIMARY KEY, d DECIMAL(6,2)", "i, i / 8.0"),
    "epoch_in_datetime": ("id INTEGER PRIMARY KEY, at DATETIME", "i, 1711000000 + i / 8.0"),
    "milliseconds": ("id INTEGER PRIMARY KEY, at TIMESTAMP", "i, 1711000000000 + i"),
    "words_in_date": (
        "id INTEGER PRIMARY KEY, d DATE",
        "i, CASE i WHEN 9 THEN 'never' ELSE '2024-01-01' END",
    ),
    "time_in_date": ("id INTEGER PRIMARY KEY, d DATE", "i, '2024-01-01 12:00:00'"),
    "unheard_of": ("id INTEGER PRIMARY KEY, m MONEY, g GEOMETRY", "i, i / 4.0, x'00' || CAST(i AS BLOB)"),
    "untyped": ("id INTEGER PRIMARY KEY, x", "i, CASE i % 3 WHEN 0 THEN 'a' WHEN 1 THEN i ELSE x'ff' END"),
    "no_key": ("a TEXT, b INT", "'r' || i, i"),
    "ends": ("id INTEGER PRIMARY KEY, v", "9223372036854775807 - 1500 + i, i"),
}
"""Tables by name: their columns, and what each holds in row `i` of 1,500."""


def test_what_a_declaration_does_not_say_is_pinned_so_that_it_runs(tmp_path: Path) -> None:
    """Strays, times as numbers, no or unheard-of types: each stream runs, and the lake equals its table."""
    series = "WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < 1500)"
    statements = []
    for table, (columns, values) in CONTENTS.items():
        statements.append(f"CREATE TABLE {table}({columns})")
        statements += [f"INSERT INTO {table} {series} SELECT {values} FROM s"] if values else []
    sql(tmp_path / "a.db", *statements)
    text = written(tmp_path, "a.db")
    assert "at: {type: timestamp, format: epoch_ms}" in text
    streams = ran(tmp_path)
    for table, (_, values) in CONTENTS.items():
        rows = equal(tmp_path / "a.db", table, tmp_path / "lake" / table)
        assert rows == streams[table].rows == (1500 if values else 0)


def test_what_cannot_be_replicated_is_a_comment_with_its_reason(tmp_path: Path) -> None:
    """Views, virtual and shadow tables are named, and do not become streams."""
    sql(
        tmp_path / "a.db",
        "CREATE TABLE t(id INTEGER PRIMARY KEY)",
        'CREATE VIEW "v\nw" AS SELECT id FROM t',
        "CREATE VIRTUAL TABLE words USING fts5(body)",
    )
    text = written(tmp_path, "a.db")
    assert set(ran(tmp_path)) == {"t"}
    left_out = text.split("# Left out:")[1]
    assert "#   v\\nw: a view: a stream of mode overwrite replicates what it shows\n" in left_out
    assert "#   words: a virtual table\n" in left_out
    assert "#   words_data: a shadow table: the storage of a virtual table\n" in left_out


def test_a_damaged_table_is_left_out_and_the_others_run(tmp_path: Path) -> None:
    """Its page overwritten with rubbish: a comment says that it is corrupt, and the rest runs without it."""
    path = tmp_path / "a.db"
    for table in ("good", "hurt"):
        sql(
            path,
            f"CREATE TABLE {table}(id INTEGER PRIMARY KEY, v TEXT)",
            f"INSERT INTO {table}(v) VALUES ('x')",
        )
    ((root,),) = sql(path, "SELECT rootpage FROM sqlite_schema WHERE name = 'hurt'")
    with path.open("r+b") as file:
        file.seek((root - 1) * 4096)
        file.write(b"\xff" * 4096)
    text = written(tmp_path, "a.db")
    assert "#   hurt: the database is corrupt\n" in text
    assert {n: s.rows for n, s in ran(tmp_path).items()} == {"good": 1}


# --- several databases ----------------------------------------------------------------------------

SHOP = "CREATE TABLE orders(id INTEGER PRIMARY KEY AUTOINCREMENT, at DATETIME, total DECIMAL(8,2))"


def shop(path: Path, rows: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    fill = (
        "INSERT INTO orders(at, total) VALUES (?, ?)",
        [("2024-01-01 00:00:00", i / 4) for i in range(rows)],
    )
    sql(path, SHOP, *([fill] if rows else []))
    return path


@pytest.mark.parametrize("places", ["{}.db", "{}/app.db"])
def test_copies_of_one_schema_become_one_source(tmp_path: Path, places: str) -> None:
    """Files in one folder, or one in each folder: a glob, so that a new one is picked up; each its slice."""
    paths = [shop(tmp_path / "shops" / places.format(name), n) for name, n in (("acme", 3), ("bolt", 0))]
    text = written(tmp_path, *paths)
    assert f'  shops: "{tmp_path}/shops/{places.format("*")}"\n' in text
    assert "3 rows in 2 databases; append: rows are only added" in text
    assert ran(tmp_path)["orders"].databases == 2
    shop(tmp_path / "shops" / places.format("cyan"), 4)
    assert ran(tmp_path)["orders"].rows == 4
    got = sorted((row["_silt_database"], row["id"]) for row in lake(tmp_path / "lake" / "orders"))
    assert got == [("acme", 1), ("acme", 2), ("acme", 3), *(("cyan", i) for i in range(1, 5))]


def test_a_glob_that_would_take_in_another_file_is_not_written(tmp_path: Path) -> None:
    """Only what was named becomes a source; streams of one name are told apart by their source."""
    paths = [shop(tmp_path / f"{name}.db", n) for name, n in (("acme", 1), ("bolt", 2), ("other", 3))]
    text = written(tmp_path, *paths[:2])
    assert "*.db" not in text
    streams = ran(tmp_path)
    assert {n: (s.table, s.rows) for n, s in streams.items()} == {
        "acme_orders": ("orders", 1),
        "bolt_orders": ("orders", 2),
    }


def test_a_glob_is_kept_as_it_was_written(tmp_path: Path) -> None:
    """A pattern in quotes is the source; databases may differ, a broken one among them is told, not lost."""
    shop(tmp_path / "d" / "one.db", 2)
    sql(
        tmp_path / "d" / "two.db",
        SHOP,
        "CREATE TABLE extra(k TEXT PRIMARY KEY, n INT)",
        "INSERT INTO extra VALUES ('a', 1)",
    )
    text = written(tmp_path, "d/*.db")
    assert f'  d: "{tmp_path}/d/*.db"\n' in text
    assert {n: s.rows for n, s in ran(tmp_path).items()} == {"orders": 2, "extra": 1}
    (tmp_path / "d" / "three.db").write_text("no database, but as long as the header of one would be. " * 4)
    left_out = " ".join(written(tmp_path, "d/*.db").split("# Left out:")[1].replace("#", "").split())
    assert left_out == f"{tmp_path}/d/three.db: this is not a SQLite database, or it is encrypted"


def test_sources_of_one_stem_and_paths_with_wildcards(tmp_path: Path) -> None:
    """Each source has a name of its own; a file called like a pattern is itself and nothing else."""
    first = shop(tmp_path / "a" / "app.db", 1)
    sql(
        tmp_path / "b.db",
        "CREATE TABLE users(id INTEGER PRIMARY KEY AUTOINCREMENT)",
        "INSERT INTO users VALUES (1)",
    )
    (tmp_path / "b").mkdir()
    second = (tmp_path / "b.db").rename(tmp_path / "b" / "app.db")
    shop(tmp_path / "x1.db", 5)
    odd = shop(tmp_path / "x[1].db", 2)
    text = written(tmp_path, first, second, odd, first)
    assert [line.split(":")[0] for line in text.splitlines() if line.endswith('.db"')] == [
        "  app",
        "  b_app",
        "  x_1",
    ]
    assert {n: s.rows for n, s in ran(tmp_path).items()} == {"app_orders": 1, "users": 1, "x_1_orders": 2}


def test_a_type_that_databases_do_not_agree_on_is_text(tmp_path: Path) -> None:
    """An undeclared kind of number is one in one file and text in another: what holds both is written."""
    for name, value in (("one", "7"), ("two", "'seven'")):
        path = tmp_path / "d" / f"{name}.db"
        path.parent.mkdir(exist_ok=True)
        sql(path, "CREATE TABLE t(id INTEGER PRIMARY KEY, x ODD)", f"INSERT INTO t VALUES (1, {value})")
    assert "x: {type: string}" in written(tmp_path, "d/*.db")
    ran(tmp_path)
    assert sorted(row["x"] for row in lake(tmp_path / "lake" / "t")) == ["7", "seven"]


# --- the verb -------------------------------------------------------------------------------------


def test_the_manifest_goes_to_stdout_and_the_rest_to_stderr(tmp_path: Path) -> None:
    """The same bytes each time, and the next step by the name of the file that the shell writes."""
    shop(tmp_path / "a.db", 2)
    first, second = (silt("init", "a.db", cwd=tmp_path) for _ in range(2))
    assert first.stdout == second.stdout
    assert first.stdout.startswith("# What `silt init` found in a.db: 1 table, 1 append.\n")
    assert "a manifest for 1 table, 1 append" in first.stderr
    assert first.stderr.splitlines()[-1] == "next: keep it with -o FILE, then silt plan FILE"
    with (tmp_path / "shop.yaml").open("w") as file:
        command = [sys.executable, "-m", "silt", "init", "a.db"]
        done = subprocess.run(
            command, stdout=file, stderr=subprocess.PIPE, cwd=tmp_path, text=True, check=True
        )
    assert done.stderr.splitlines()[-1] == "next: silt plan shop.yaml"
    assert (tmp_path / "shop.yaml").read_text() == first.stdout


def test_a_table_without_a_name_is_left_out(tmp_path: Path) -> None:
    """SQLite takes `create table ""`; a manifest does not, so the others are written and it is noted."""
    sql(tmp_path / "a.db", 'create table ""(a)', "create table t(id integer primary key)")
    done = silt("init", "a.db", "-o", "m.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert '"": a table without a name' in (tmp_path / "m.yaml").read_text()
    checked = silt("validate", "m.yaml", "--connect", cwd=tmp_path)
    assert (checked.returncode, checked.stdout) == (0, "m.yaml: valid\n")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        ("", "this is not a SQLite database, or it is encrypted"),
        ("empty", "there is no table to replicate (a.db)"),
        ("missing", "no such database file"),
        ("folder", "this is not a file"),
        ("glob", "no file matches (*.nothing)"),
        ("there", "the file is there already (m.yaml)"),
    ],
)
def test_what_init_cannot_do_is_said_and_nothing_is_written(tmp_path: Path, make: str, words: str) -> None:
    """Exit 1, one sentence, no manifest; a file that is there is replaced by --force alone."""
    database = tmp_path / "a.db"
    match make:
        case "":
            database.write_text("this is text, and longer than the header of a database is: " * 3)
        case "empty":
            database.write_bytes(b"")
        case "folder":
            database.mkdir()
        case "there":
            shop(database, 1)
            (tmp_path / "m.yaml").write_text("mine")
    done = silt("init", "*.nothing" if make == "glob" else "a.db", "-o", "m.yaml", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: {words}")
    if make != "there":
        assert not (tmp_path / "m.yaml").exists()
        return
    assert (tmp_path / "m.yaml").read_text() == "mine"
    assert silt("init", "a.db", "-o", "m.yaml", "--force", cwd=tmp_path).returncode == 0
    assert silt("validate", "m.yaml", cwd=tmp_path).returncode == 0
