"""Every bad input, through the real command: one clear error, the rest goes on, nothing is lost.

One manifest holds everything that can be wrong with a source or a stream at once, beside one good
stream; targets, permissions, full disks and what breaks between a plan and its run have runs of their own.
"""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from clirun import SILT, environment, silt
from kit import Site, lake, sql

ROWS = 3_000
READINGS = (
    "CREATE TABLE readings(id INTEGER PRIMARY KEY, v TEXT NOT NULL)",
    (
        "WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < 3000) "
        "INSERT INTO readings SELECT i, printf('%050d', i) FROM s"
    ),
)
IDS = list(range(1, ROWS + 1))


def make(path: Path, *more: str) -> Path:
    """A database with the table `readings`, ids 1 to 3,000."""
    sql(path, *READINGS, *more)
    return path


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Another process holds the database EXCLUSIVE."""
    code = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None);"
        "c.execute('BEGIN EXCLUSIVE'); print('mine', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    assert holder.stdin is not None
    assert holder.stdout.readline() == b"mine\n"
    try:
        yield
    finally:
        holder.stdin.close()
        holder.wait(timeout=20)
        holder.stdout.close()


def plain(text: str) -> str:
    """Printed text with its line breaks and indents gone."""
    return " ".join(text.split())


def ids(path: Path) -> list[int]:
    return sorted(row["id"] for row in lake(path))


# --- sources and streams --------------------------------------------------------------------------


@dataclass(frozen=True)
class Bad:
    """A stream that must fail: its source, its settings, and what is said of it ({} is the folder)."""

    source: str
    settings: str
    error: str
    hint: str
    kind: str = "user"


CHECK = "check the path; silt never creates a source"
MALFORMED = r"the database is corrupt \({{}}/{}.db, .*malformed\)"
RECOVER = "sqlite3's `.recover` or a backup restores it"
BAD = {
    "missing_file": Bad("nowhere.db", "", "no such database file ({}/nowhere.db)", CHECK),
    "missing_folder": Bad("no/where.db", "", "no such database file ({}/no/where.db)", CHECK),
    "below_a_file": Bad("note.txt/x.db", "", "no such database file ({}/note.txt/x.db)", CHECK),
    "not_a_database": Bad(
        "note.txt",
        "",
        "this is not a SQLite database, or it is encrypted ({}/note.txt)",
        "check the path; of an encrypted database silt reads a plain copy only",
    ),
    "encrypted": Bad(
        "encrypted.db",
        "",
        "this is not a SQLite database, or it is encrypted ({}/encrypted.db)",
        "check the path; of an encrypted database silt reads a plain copy only",
    ),
    "corrupt_pages": Bad(
        "corrupt.db", "", r"the database is corrupt \({}/corrupt.db, .*malformed\)", RECOVER
    ),
    "cut_off": Bad("short.db", "", MALFORMED.format("short"), RECOVER),
    "folder": Bad(
        "folder.db",
        "",
        "this is not a file ({}/folder.db)",
        "a source is a SQLite file, or a glob such as /data/*.db",
    ),
    "empty_file": Bad(
        "empty.db", "", "no table 'readings' ({}/empty.db)", "`silt plan` lists the streams of a pattern"
    ),
    "no_table": Bad("app.db", "table: reading", "no table 'reading' ({}/app.db)", "did you mean 'readings'?"),
    "no_cursor": Bad(
        "app.db",
        "cursor: idd",
        "the cursor names 'idd', which is no column of readings",
        r"did you mean 'id'\?",
    ),
    "no_column": Bad(
        "app.db",
        "columns: {w: {rename: x}}",
        "columns names column 'w', which table 'readings' does not have",
        "",
    ),
    "no_selected": Bad(
        "app.db",
        "select: [id, vv]",
        "select names column 'vv', which table 'readings' does not have",
        "did you mean 'v'?",
    ),
    "no_partition": Bad(
        "app.db",
        "partition_by: [day]",
        "partition_by names 'day', which is no column of the lake",
        "",
    ),
    "where_column": Bad(
        "app.db",
        'where: "quality > 0"',
        "`where` is refused by SQLite: no such column: quality (quality > 0; {}/app.db)",
        "",
    ),
    "where_syntax": Bad(
        "app.db",
        'where: "id >"',
        '`where` is refused by SQLite: near ")": syntax error (id >; {}/app.db)',
        "",
    ),
    "where_breaks_out": Bad(
        "app.db",
        "where: \"v = 'a') or (1\"",
        "`where` is not one condition: a `)` has no `(` (v = 'a') or (1)",
        "",
    ),
    "where_quotes": Bad(
        "app.db",
        """where: '"vv" > 0'""",
        '`where` is not one condition: "vv" is no column of readings, and a text stands in single quotes '
        '("vv" > 0)',
        "",
    ),
    "where_parameter": Bad(
        "app.db",
        'where: "id > ?"',
        "`where` is not one condition: ? is a parameter, and nothing is bound to it (id > ?)",
        "",
    ),
    "misfit": Bad(
        "misfit.db",
        "on_misfit: fail",
        r"readings\.n holds text 'twelve' at id 900: no bigint \({}/misfit.db, not a number\)",
        r"mend the value, or give the column another type: columns: \{n: \{type: string\}\}",
    ),
    "type": Bad(
        "app.db",
        "on_misfit: fail, columns: {v: {type: date}}",
        r"readings\.v holds text '0+1' at id 1: no date \({}/app.db, .+\)",
        r"mend the value, or give the column another type: columns: \{v: \{type: string\}\}",
    ),
    "locked": Bad(
        "locked.db",
        "",
        "the database is locked, waited 0.3 s ({}/locked.db)",
        "another program is writing; a longer `busy_timeout` on the source waits longer",
        kind="retry",
    ),
}


def bad_sources(folder: Path) -> None:
    """Every file that `BAD` names and that is there."""
    make(folder / "app.db")
    (folder / "note.txt").write_text("this is a note, and long enough to hold a header: " + "x" * 100)
    (folder / "encrypted.db").write_bytes(os.urandom(16_384))
    (folder / "empty.db").write_bytes(b"")
    (folder / "folder.db").mkdir()
    make(folder / "locked.db")
    for name in ("corrupt.db", "short.db"):
        shutil.copyfile(folder / "app.db", folder / name)
    with (folder / "corrupt.db").open("r+b") as file:
        file.seek(8_192)
        file.write(os.urandom(65_536))
    with (folder / "short.db").open("r+b") as file:
        file.truncate(40_000)
    make(
        folder / "misfit.db",
        "ALTER TABLE readings ADD COLUMN n INTEGER",
        "UPDATE readings SET n = id",
        "UPDATE readings SET n = 'twelve' WHERE id = 900",
    )


def bad_manifest(folder: Path) -> Path:
    sources = sorted({bad.source for bad in BAD.values()})
    names = {source: f"s{number}" for number, source in enumerate(sources)}
    lines = ["version: 1", "sources:"]
    lines += [f"  {names[s]}: {{path: ./{s}, busy_timeout: 300ms}}" for s in sources]
    lines += [
        "targets:",
        "  lake: ./lake",
        "streams:",
        f"  good: {{source: {names['app.db']}, table: readings}}",
    ]
    for name, bad in BAD.items():
        table = "" if "table:" in bad.settings else "table: readings"
        settings = ", ".join(filter(None, (f"source: {names[bad.source]}", table, bad.settings)))
        lines.append(f"  {name}: {{{settings}}}")
    path = folder / "silt.yaml"
    path.write_text("\n".join(lines) + "\n")
    return path


@dataclass(frozen=True)
class Told:
    """What the commands said of the manifest in which everything is wrong."""

    folder: Path
    run: dict[str, Any]
    run_code: int
    run_stderr: str
    text: str
    text_code: int
    plan: dict[str, Any]
    plan_code: int
    plan_text: str
    before: set[str]

    def stream(self, name: str) -> dict[str, Any]:
        return next(s for s in self.run["streams"] if s["name"] == name)

    def planned(self, name: str) -> dict[str, Any]:
        return next(s for s in self.plan["streams"] if s["name"] == name)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    folder = tmp_path_factory.mktemp("bad")
    bad_sources(folder)
    bad_manifest(folder)
    before = {str(p.relative_to(folder)) for p in folder.rglob("*")}
    with writing(folder / "locked.db"):
        plan = silt("plan", "silt.yaml", "--json", cwd=folder)
        plan_text = silt("plan", "silt.yaml", cwd=folder)
        run = silt("run", "silt.yaml", "--once", "--json", cwd=folder)
        text = silt("run", "silt.yaml", "--once", cwd=folder)
    return Told(
        folder=folder,
        run=json.loads(run.stdout),
        run_code=run.returncode,
        run_stderr=run.stderr,
        text=text.stdout + text.stderr,
        text_code=text.returncode,
        plan=json.loads(plan.stdout),
        plan_code=plan.returncode,
        plan_text=plan_text.stdout + plan_text.stderr,
        before=before,
    )


def says(pattern: str, text: str | None, folder: Path) -> bool:
    """Whether `text` is `pattern`: plain words, or a regular expression where it holds a backslash."""
    wanted = pattern.replace("{}", re.escape(str(folder)) if "\\" in pattern else str(folder))
    return text is not None and (
        re.fullmatch(wanted, text) is not None if "\\" in pattern else text == wanted
    )


@pytest.mark.parametrize("name", BAD)
def test_each_bad_input_fails_its_stream_with_one_clear_error(told: Told, name: str) -> None:
    """State failing; the error names the thing and what was got, the hint what to do; no row, no table."""
    stream = told.stream(name)
    assert stream["state"] == "failing"
    assert says(BAD[name].error, stream["error"], told.folder), stream["error"]
    assert says(BAD[name].hint, stream["hint"] or "", told.folder), stream["hint"]
    assert stream["error_kind"] == BAD[name].kind
    assert (stream["rows"], stream["batches"]) == (0, 0)
    assert not (told.folder / "lake" / name / "_delta_log" / f"{1:020}.json").exists()


@pytest.mark.parametrize("name", BAD)
def test_plan_says_the_same_before_anything_is_written(told: Told, name: str) -> None:
    """The plan's error is the run's, and what it cannot know is null."""
    planned = told.planned(name)
    assert planned["state"] == "failing"
    assert (planned["error"], planned["hint"]) == (told.stream(name)["error"], told.stream(name)["hint"])
    assert planned["pending_rows"] is None


@pytest.mark.parametrize("name", BAD)
def test_the_text_says_it_too(told: Told, name: str) -> None:
    """A person reads on the terminal what a program reads in the JSON."""
    stream = told.stream(name)
    said = plain(told.text)
    assert (
        f"x {name} failed: {shown(stream)}{plain(stream['error'])} Nothing written, none lost. "
        f"{plain(stream['hint'] or '')}"
    ).strip() in said


def shown(stream: dict[str, Any]) -> str:
    """The place as text has it before a sentence; nothing of what may be right by itself later."""
    place = stream["place"]
    if place is None or stream["error_kind"] == "retry":
        return ""
    return f"{place['file']}:{place['line']}:{place['column']}: "


@pytest.mark.parametrize("name", BAD)
def test_the_place_is_where_the_manifest_names_it(told: Told, name: str) -> None:
    """Run and plan point at the very word: the source's path, the table, the column, the condition."""
    bad, stream = BAD[name], told.stream(name)
    assert stream["place"] == told.planned(name)["place"]
    lines = (told.folder / "silt.yaml").read_text().splitlines()
    place = stream["place"]
    here = lines[place["line"] - 1][place["column"] - 1 :]
    wanted = POINTS_AT.get(name, f"./{bad.source}")
    assert here.startswith(wanted), here


POINTS_AT = {
    "empty_file": "readings}",
    "no_table": "reading}",
    "no_cursor": "idd}",
    "no_column": "w: {",
    "no_selected": "vv]",
    "no_partition": "day]",
    **{name: bad.settings.removeprefix("where: ") for name, bad in BAD.items() if name.startswith("where")},
    "misfit": "misfit:",
    "type": "date}",
}
"""What stands at the place of a bad stream's error, where that is not its source's path."""


def test_the_good_stream_goes_on(told: Told) -> None:
    """The stream beside them replicates whole in the first run, and the second adds nothing to it."""
    good = told.stream("good")
    assert (good["state"], good["rows"], good["error"]) == ("ok", ROWS, None)
    assert ids(told.folder / "lake" / "good") == IDS


def test_one_error_a_stream_and_exit_1(told: Told) -> None:
    """As many failures as bad streams, no traceback, no bug, and every verb exits 1."""
    assert (told.run_code, told.text_code, told.plan_code) == (1, 1, 1)
    assert told.run["ok"] is False
    assert told.text.count(" failed: ") == len(BAD)
    assert f"1 of {len(BAD) + 1} streams, 0 rows, 0 commits" in plain(told.text)
    for text in (told.text, told.plan_text, told.run_stderr):
        assert "Traceback" not in text
        assert "bug" not in text


def test_no_source_is_created_or_changed(told: Told) -> None:
    """Beside the lake and the state folder nothing new is there: no database, no journal."""
    now = {str(p.relative_to(told.folder)) for p in told.folder.rglob("*")}
    assert {p for p in now - told.before if not p.startswith(("lake", "state"))} == set()
    assert (told.folder / "empty.db").stat().st_size == 0


def test_mended_inputs_arrive_whole(tmp_path: Path) -> None:
    """A stream that failed goes on by itself once its input is right, and holds every row once."""
    site = Site(tmp_path)
    site.write("  readings:\n")
    assert silt("run", "silt.yaml", "--once", cwd=tmp_path).returncode == 1
    make(site.database)
    with writing(site.database):
        site.write("  readings:\n", source="{path: ./app.db, busy_timeout: 50ms}")
        assert silt("run", "silt.yaml", "--once", cwd=tmp_path).returncode == 1
    done = silt("run", "silt.yaml", "--once", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert ids(tmp_path / "lake" / "readings") == IDS


def test_busy_timeout_is_what_a_locked_database_costs(tmp_path: Path) -> None:
    """Not less than the timeout, and not many times it; a writer that ends in time costs no error."""
    site = Site(tmp_path)
    make(site.database)
    site.write("  readings:\n", source="{path: ./app.db, busy_timeout: 1s}")
    with writing(site.database):
        began = time.monotonic()
        error = site.one().error
        took = time.monotonic() - began
    assert error is not None
    assert error.what == "the database is locked, waited 1 s"
    assert 0.9 < took < 4


def test_a_writer_that_ends_in_time_costs_no_error(tmp_path: Path) -> None:
    """A cycle that meets a lock waits for it up to `busy_timeout`, and goes on when it is gone."""
    site = Site(tmp_path)
    make(site.database)
    site.write("  readings:\n", source="{path: ./app.db, busy_timeout: 20s}")
    result: list[Any] = []
    cycle = threading.Thread(target=lambda: result.append(site.one()))
    with writing(site.database):
        cycle.start()
        time.sleep(0.5)
        assert not result
    cycle.join(timeout=30)
    assert (result[0].state, result[0].rows) == ("ok", ROWS)


def test_one_bad_database_of_a_glob_stops_no_other(tmp_path: Path) -> None:
    """Its stream fails by its name; the rows of its siblings arrive, once."""
    (tmp_path / "g").mkdir()
    for name in ("acme", "cyan"):
        make(tmp_path / "g" / f"{name}.db")
    (tmp_path / "g" / "bolt.db").write_text("not a database, and longer than a header is: " + "x" * 100)
    Site(tmp_path).write("  readings:\n", source='"./g/*.db"')
    for rows in (2 * ROWS, 0):
        done = silt("run", "silt.yaml", "--once", "--json", cwd=tmp_path)
        (stream,) = json.loads(done.stdout)["streams"]
        assert (done.returncode, stream["state"], stream["rows"]) == (1, "failing", rows)
        assert stream["error"] == f"this is not a SQLite database, or it is encrypted ({tmp_path}/g/bolt.db)"
    got = sorted((row["_silt_database"], row["id"]) for row in lake(tmp_path / "lake" / "readings"))
    assert got == [(name, i) for name in ("acme", "cyan") for i in IDS]
    text = plain(silt("run", "silt.yaml", "--once", cwd=tmp_path).stdout)
    assert "x readings failed: silt.yaml:3:8: this is not a SQLite database" in text


# --- between plan and run -------------------------------------------------------------------------


def carried_out(site: Site, between: Callable[[], object]) -> dict[str, Any]:
    """A plan, then `between`, then the run of that very plan: the results by name."""
    from silt import manifest, observe, replicate

    loaded = manifest.load(site.manifest, open_secrets=True)
    with observe.Handles(loaded) as handles:
        plan = observe.look(loaded, handles)
        between()
        done = replicate.run(plan, handles, listen=site.events.append, stop=threading.Event())
    return {result.name: result for result in done.streams}


TWO = "  readings:\n  other:\n"
OTHER = ("CREATE TABLE other(id INTEGER PRIMARY KEY, w TEXT)", "INSERT INTO other(w) VALUES ('a'), ('b')")


@pytest.mark.parametrize(
    ("change", "said", "back"),
    [
        ("DROP TABLE readings", "no such table: readings", READINGS),
        (
            "ALTER TABLE readings RENAME TO old",
            "no such table: readings",
            ("ALTER TABLE old RENAME TO readings",),
        ),
    ],
)
def test_what_is_gone_between_plan_and_run_fails_its_stream(
    tmp_path: Path, change: str, said: str, back: tuple[str, ...]
) -> None:
    """The error names what is missing and says to plan again; the other stream goes on; nothing is lost."""
    site = Site(tmp_path)
    make(site.database, *OTHER)
    site.write(TWO)
    done = carried_out(site, lambda: site.sql(change))
    error = done["readings"].error
    assert done["readings"].state == "failing"
    assert said in str(error)
    assert "plan again" in error.hint
    assert (done["other"].state, done["other"].rows) == ("ok", 2)
    site.sql(*back)
    assert site.cycle().ok
    assert sorted(site.column("readings", "id")) == IDS


def test_a_column_renamed_between_plan_and_run_is_planned_anew(tmp_path: Path) -> None:
    """Every row is there once under the column's new name: nothing is read by the old plan."""
    site = Site(tmp_path)
    make(site.database)
    site.write("  readings:\n")
    done = carried_out(site, lambda: site.sql("ALTER TABLE readings RENAME COLUMN v TO w"))
    assert (done["readings"].error, done["readings"].rows) == (None, ROWS)
    rows = site.lake("readings")
    assert sorted(row["id"] for row in rows) == IDS
    assert all(row["w"] == f"{row['id']:050}" for row in rows)
    assert {row.get("v") for row in rows} == {None}
    assert site.one().rows == 0


def test_a_lock_between_plan_and_run_is_said_and_costs_nothing(tmp_path: Path) -> None:
    """Locked when the rows are read: retry, with the time waited; the next cycle brings every row."""
    site = Site(tmp_path)
    make(site.database)
    site.write("  readings:\n", source="{path: ./app.db, busy_timeout: 200ms}")
    holder = writing(site.database)
    done = carried_out(site, holder.__enter__)
    holder.__exit__(None, None, None)
    assert str(done["readings"].error) == f"the database is locked, waited 0.2 s ({site.database})"
    assert (site.one().rows, sorted(site.column("readings", "id"))) == (ROWS, IDS)


def test_a_file_deleted_between_plan_and_run_is_not_created(tmp_path: Path) -> None:
    """It fails as a missing file does, and stays missing."""
    site = Site(tmp_path)
    make(site.database)
    site.write("  readings:\n")
    done = carried_out(site, site.database.unlink)
    assert done["readings"].error.what == "no such database file"
    assert not site.database.exists()


# --- targets --------------------------------------------------------------------------------------


def foreign(path: Path, schema: dict[str, str], rows: int) -> None:
    """A Delta table that silt did not make, written by another process."""
    code = (
        "import sys, json, pyarrow as pa, deltalake\n"
        "path, schema, rows = json.loads(sys.argv[1])\n"
        "types = {'long': pa.int64(), 'int': pa.int32(), 'text': pa.string(), 'double': pa.float64()}\n"
        "fields = pa.schema([(n, types[t]) for n, t in schema.items()])\n"
        "made = pa.table({n: pa.nulls(rows, f.type) for n, f in zip(schema, fields)}, schema=fields)\n"
        "deltalake.write_deltalake(path, made)\n"
    )
    subprocess.run([sys.executable, "-c", code, json.dumps([str(path), schema, rows])], check=True)


DEAD = {
    "AWS_ALLOW_HTTP": "true",
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "hunter2-hunter2",
    "AWS_REGION": "us-east-1",
    "timeout": "1s",
    "connect_timeout": "1s",
}

TARGETS = {
    "a_file": (
        r"a file is in the place of a folder of the target \({}/file/a_file, .*Not a directory.*\)",
        "correct the target's uri or `into`",
    ),
    "other_files": (
        "this is not a Delta table ({}/other/other_files, it holds 'data.csv')",
        "choose an empty place for the table",
    ),
    "other_schema": (
        "the table has another schema: column v is int there, the source's is string",
        "`columns: {v: {type: int}}` keeps the table's type where values fit; or write `into` another table",
    ),
    "others_rows": (
        (
            "the slice already holds rows, but no position says where they came from "
            "({}/rows/others_rows, stream others_rows, database app)"
        ),
        "write `into` another table, or rebuild: `silt reset` empties the slice and reads the table anew",
    ),
    "nobody_there": (
        r"the store does not answer \(s3://bucket/x/nobody_there, .*Connection refused.*\)",
        "check the endpoint and the network; on a slow link raise `timeout` in storage_options",
    ),
    "never_answers": (
        r"the store does not answer \(s3://bucket/x/never_answers, .*timed out.*\)",
        "check the endpoint and the network; on a slow link raise `timeout` in storage_options",
    ),
}


@contextmanager
def mute() -> Iterator[int]:
    """A port that takes connections and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(64)
        yield server.getsockname()[1]


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A run and a plan of one stream for each bad target beside a good one."""
    folder = tmp_path_factory.mktemp("targets")
    make(folder / "app.db")
    (folder / "file").write_text("no folder")
    (folder / "other" / "other_files").mkdir(parents=True)
    (folder / "other" / "other_files" / "data.csv").write_text("1,2\n")
    foreign(folder / "schema" / "other_schema", {"id": "long", "v": "int"}, 0)
    foreign(folder / "rows" / "others_rows", {"id": "long", "v": "text", "more": "double"}, 2)
    with mute() as port:
        stores = {
            "nobody_there": {**DEAD, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}"},
            "never_answers": {**DEAD, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"},
        }
        uris = {
            "a_file": "./file",
            "other_files": "./other",
            "other_schema": "./schema",
            "others_rows": "./rows",
        }
        entries: dict[str, object] = {"good": "./lake", **uris}
        entries |= {
            name: {"uri": "s3://bucket/x", "storage_options": options} for name, options in stores.items()
        }
        manifest = {
            "version": 1,
            "node": "edge",
            "sources": {"app": "./app.db"},
            "targets": entries,
            "streams": {
                name: {
                    "table": "readings",
                    "target": name,
                    "into": name,
                }
                for name in entries
            },
        }
        (folder / "silt.yaml").write_text(json.dumps(manifest))
        began = time.monotonic()
        run = silt("run", "silt.yaml", "--once", "--json", cwd=folder)
        took = time.monotonic() - began
        text = silt("run", "silt.yaml", "--once", cwd=folder)
    streams = {s["name"]: s for s in json.loads(run.stdout)["streams"]}
    return {"folder": folder, "streams": streams, "took": took, "run": run, "text": text}


@pytest.mark.parametrize("name", TARGETS)
def test_each_bad_target_fails_its_stream_with_one_clear_error(targets: dict[str, Any], name: str) -> None:
    """What is in the way, whose it is, and what to do; nothing of it is touched."""
    error, hint = TARGETS[name]
    stream, folder = targets["streams"][name], targets["folder"]
    assert says(error, stream["error"], folder), stream["error"]
    assert says(hint, stream["hint"], folder), stream["hint"]
    assert stream["state"] == ("held" if name == "others_rows" else "failing")
    assert (stream["rows"], stream["batches"]) == (0, 0)
    assert plain(stream["error"])[:40] in plain(targets["text"].stdout)


def test_bad_targets_stop_no_other_and_are_left_as_they_were(targets: dict[str, Any]) -> None:
    """The good stream arrives whole; strangers' files, tables and logs are as before; no secret is said."""
    folder = targets["folder"]
    assert (targets["run"].returncode, targets["text"].returncode) == (1, 1)
    assert ids(folder / "lake" / "good") == IDS
    assert (folder / "file").read_text() == "no folder"
    assert [p.name for p in (folder / "other" / "other_files").iterdir()] == ["data.csv"]
    for table in ("schema/other_schema", "rows/others_rows"):
        assert len(list((folder / table / "_delta_log").glob("*.json"))) == 1
    for done in (targets["run"], targets["text"]):
        assert "hunter2" not in done.stdout + done.stderr
        assert "Traceback" not in done.stdout + done.stderr


def test_dead_stores_are_bounded(targets: dict[str, Any]) -> None:
    """Two stores that do not answer cost seconds, not minutes."""
    assert targets["took"] < 40


def test_a_dead_store_costs_its_time_once(tmp_path: Path) -> None:
    """Six streams to one store that never answers wait for it once (some 5 s), not six times."""
    site = Site(tmp_path)
    sql(site.database, *(f"CREATE TABLE t{i}(id INTEGER PRIMARY KEY)" for i in range(6)))
    with mute() as port:
        options = {**DEAD, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}
        manifest = {
            "version": 1,
            "node": "edge",
            "sources": {"app": "./app.db"},
            "targets": {"lake": {"uri": "s3://bucket/x", "storage_options": options}},
            "streams": {"*": {}},
        }
        site.manifest.write_text(json.dumps(manifest))
        began = time.monotonic()
        done = site.cycle()
        took = time.monotonic() - began
    assert {result.error.what for result in done.streams} == {"the store does not answer"}
    assert len(done.streams) == 6
    assert took < 15


# --- permissions ----------------------------------------------------------------------------------

_AS_OTHERS = """
import ctypes, os, sys
libc = ctypes.CDLL(None)
for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH: root minds permissions too
    libc.prctl(24, capability, 0, 0, 0)
os.execv(sys.executable, [sys.executable, "-m", "silt", *sys.argv[1:]])
"""


def as_others(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """`silt`, bound by permissions even where the tests run as root."""
    return subprocess.run(
        [sys.executable, "-c", _AS_OTHERS, *arguments],
        cwd=cwd,
        env=environment(),
        text=True,
        capture_output=True,
        timeout=90,
        check=False,
    )


PERMISSIONS = {
    "unreadable": (
        "the database file may not be read ({}/secret.db)",
        "let the user that runs silt read the file, and write its folder where it is in WAL mode",
    ),
    "wal_without_shm": (
        (
            "the database cannot be read ({}/ro/wal.db, it is in WAL mode, and its -shm file can be neither "
            "opened nor created in a read-only folder)"
        ),
        (
            "a WAL database needs its folder writable, or a writer that keeps it open; for a copy that "
            "nobody writes, set `immutable: true` on the source"
        ),
    ),
    "wal_with_rows_in_it": (
        (
            "the database cannot be read ({}/ro/live.db, it is in WAL mode, and its -shm file can be neither "
            "opened nor created in a read-only folder)"
        ),
        (
            "a WAL database needs its folder writable, or a writer that keeps it open; for a copy that "
            "nobody writes, set `immutable: true` on the source"
        ),
    ),
    "unwritable": (
        r"the target refuses access \({}/shut/unwritable, .*Permission denied.*\)",
        "check its permissions and credentials",
    ),
}


@pytest.fixture(scope="module")
def permissions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """A run in which a file, two folders of WAL databases and a target are closed to silt."""
    folder = tmp_path_factory.mktemp("permissions")
    (folder / "ro").mkdir()
    (folder / "shut").mkdir()
    make(folder / "app.db")
    make(folder / "secret.db")
    make(folder / "ro" / "plain.db")
    make(folder / "ro" / "wal.db", "PRAGMA journal_mode = WAL")
    _live_copy(folder)
    (folder / "secret.db").chmod(0)
    (folder / "ro").chmod(0o555)
    (folder / "shut").chmod(0o555)
    names = {
        "good": "app.db",
        "read_only_folder": "ro/plain.db",
        "unreadable": "secret.db",
        "wal_without_shm": "ro/wal.db",
        "wal_with_rows_in_it": "ro/live.db",
        "unwritable": "app.db",
    }
    manifest = {
        "version": 1,
        "sources": {
            **{name: f"./{path}" for name, path in names.items()},
            "immutable": {"path": "./ro/wal.db", "immutable": True},
        },
        "targets": {"lake": "./lake", "shut": "./shut"},
        "streams": {
            name: {"table": "readings", "source": name, "target": "shut" if name == "unwritable" else "lake"}
            for name in (*names, "immutable")
        },
    }
    (folder / "silt.yaml").write_text(json.dumps(manifest))
    run = as_others("run", "silt.yaml", "--once", "--json", cwd=folder)
    yield {
        "folder": folder,
        "run": run,
        "streams": {s["name"]: s for s in json.loads(run.stdout or '{"streams": []}')["streams"]},
    }
    for closed in ("ro", "shut"):
        (folder / closed).chmod(0o755)


def _live_copy(folder: Path) -> None:
    """A copy of a WAL database whose rows are still in its -wal, taken while a connection held it."""
    subprocess.run(
        [sys.executable, "-c", _COPY, str(folder / "live0.db"), str(folder / "ro" / "live.db")], check=True
    )


_COPY = """
import shutil, sqlite3, sys
here, there = sys.argv[1:]
connection = sqlite3.connect(here)
connection.execute("PRAGMA journal_mode = WAL")
connection.execute("CREATE TABLE readings(id INTEGER PRIMARY KEY, v)")
connection.execute("INSERT INTO readings(v) VALUES (1)")
connection.commit()
for suffix in ("", "-wal"):
    shutil.copyfile(here + suffix, there + suffix)
"""


@pytest.mark.parametrize("name", PERMISSIONS)
def test_what_silt_may_not_touch_is_said_with_the_way_out(permissions: dict[str, Any], name: str) -> None:
    """An unreadable file, WAL in a read-only folder without -shm, an unwritable target: one error each."""
    error, hint = PERMISSIONS[name]
    stream = permissions["streams"][name]
    assert says(error, stream["error"], permissions["folder"]), stream["error"]
    assert stream["hint"] == hint
    assert stream["state"] == "failing"


@pytest.mark.parametrize("name", ["good", "read_only_folder", "immutable"])
def test_what_can_be_read_without_writing_is(permissions: dict[str, Any], name: str) -> None:
    """A rollback-journal database in a read-only folder replicates, and a WAL one said to be immutable."""
    assert permissions["run"].returncode == 1
    assert "Traceback" not in permissions["run"].stderr
    assert (permissions["streams"][name]["state"], permissions["streams"][name]["rows"]) == ("ok", ROWS)
    assert ids(permissions["folder"] / "lake" / name) == IDS


def test_an_unwritable_state_folder_is_a_warning(tmp_path: Path) -> None:
    """The lake is the state (DESIGN 4.1): without its folder silt still replicates, and says so."""
    site = Site(tmp_path)
    make(site.database)
    (tmp_path / "shut").mkdir()
    (tmp_path / "shut").chmod(0o555)
    site.write("  readings:\n", head="state_dir: ./shut/state\n")
    done = as_others("run", "silt.yaml", "--once", cwd=tmp_path)
    assert done.returncode == 0
    assert "warning: " in done.stderr
    assert f"{tmp_path}/shut/state" in plain(done.stderr)
    assert ids(tmp_path / "lake" / "readings") == IDS


# --- full disks -----------------------------------------------------------------------------------

FULL = "the disk of the target is full"


def limited(size: int) -> Callable[[], None]:
    """No file of the process grows beyond `size` bytes: the fault that a full disk is."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return limit


def test_a_write_that_the_disk_refuses_loses_nothing(tmp_path: Path) -> None:
    """The stream says that the disk is full; the small one goes on; with space every row is there once."""
    site = Site(tmp_path)
    make(site.database, "CREATE TABLE blobs(id INTEGER PRIMARY KEY, b BLOB)", *OTHER)
    site.sql(
        "WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < 40) "
        "INSERT INTO blobs SELECT i, randomblob(20000) FROM s"
    )
    site.write("  blobs:\n  other:\n")
    full = subprocess.run(
        [*SILT, "run", "silt.yaml", "--once", "--json"],
        cwd=tmp_path,
        env=environment(),
        text=True,
        capture_output=True,
        timeout=90,
        check=False,
        preexec_fn=limited(200_000),
    )
    streams = {s["name"]: s for s in json.loads(full.stdout)["streams"]}
    assert full.returncode == 1
    assert streams["blobs"]["error"].startswith(FULL)
    assert streams["blobs"]["hint"] == "free some space; nothing is lost, the next cycle goes on"
    assert (streams["other"]["state"], streams["other"]["rows"]) == ("ok", 2)
    assert site.cycle().ok
    assert sorted(site.column("blobs", "id")) == list(range(1, 41))
    assert sorted(site.column("other", "id")) == [1, 2]


@contextmanager
def small_disk(size: str) -> Iterator[Path]:
    """A tmpfs of `size`; skips where none may be mounted."""
    folder = Path(tempfile.mkdtemp(prefix="silt-small-"))
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True, check=False
    )
    try:
        if mounted.returncode:
            pytest.skip("no tmpfs may be mounted here")
        yield folder
    finally:
        if not mounted.returncode:
            subprocess.run(["umount", "-l", str(folder)], check=False)
        with suppress(OSError):
            folder.rmdir()


def test_a_disk_that_fills_up_between_commits_loses_nothing(tmp_path: Path) -> None:
    """A real full disk in the middle of many commits: an error, then space, then every row once."""
    site = Site(tmp_path)
    make(site.database, "CREATE TABLE blobs(id INTEGER PRIMARY KEY, b BLOB)")
    site.sql(
        "WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < 60) "
        "INSERT INTO blobs SELECT i, randomblob(20000) FROM s"
    )
    with small_disk("600k") as disk:
        site.write("  blobs: {batch: {max_rows: 10}}\n")
        site.manifest.write_text(site.manifest.read_text().replace("lake: ./lake", f"lake: {disk}/lake"))
        full = silt("run", "silt.yaml", "--once", "--json", cwd=tmp_path)
        (stream,) = json.loads(full.stdout)["streams"]
        assert full.returncode == 1
        assert stream["error"].startswith(FULL), stream["error"]
        assert 0 < stream["rows"] < 60
        subprocess.run(["mount", "-o", "remount,size=16m", str(disk)], check=True)
        assert silt("run", "silt.yaml", "--once", cwd=tmp_path).returncode == 0
        assert ids(disk / "lake" / "blobs") == list(range(1, 61))
