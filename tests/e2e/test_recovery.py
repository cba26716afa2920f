"""A running silt that meets trouble says so, backs off, and goes on by itself when the trouble is over."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import warm
from clirun import silt, start
from kit import Sqlite, lake
from servers import faulty_proxy, s3_options, s3_server
from test_daemon import Log, until

HEAD = """\
version: 1
node: n
sources: {{app: {{path: ./app.db, busy_timeout: 200ms}}, other: ./other.db}}
targets:
  lake: {target}
  near: ./near
defaults: {{schedule: 300ms, lineage: none}}
streams:
  t: {{source: app, target: lake}}
  calm: {{source: other, target: near}}
"""

LOCK = """
import sqlite3, sys
c = sqlite3.connect(sys.argv[1], isolation_level=None)
c.execute("INSERT INTO t (x) VALUES ('behind the lock')")  # a stream with nothing new does not look
c.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.read()
c.execute("ROLLBACK")
"""


class Scene:
    """A running silt over two databases: trouble comes to `t`, and `calm` must not notice."""

    def __init__(self, folder: Path, log: Log, sql: Sqlite, process: warm.Process) -> None:
        self.folder, self.log, self.sql, self.process = folder, log, sql, process

    def insert(self, *, database: str = "app.db", table: str = "t", rows: int = 5) -> None:
        self.sql(self.folder / database, (f"INSERT INTO {table} (x) VALUES (?)", [("x",)] * rows))

    def goes_on(self, database: str = "app.db", table: str = "t", path: str = "near", **options: Any) -> None:
        """The table's rows are the source's, each once."""

        def rows() -> Counter[tuple[Any, ...]]:
            uri = path if "://" in path else str(self.folder / path)
            return Counter((row["id"], row["x"]) for row in lake(f"{uri}/{table}", options))

        there = Counter(self.sql(self.folder / database, f"SELECT id, x FROM {table}"))
        until(lambda: rows() == there, 60)

    def calm(self) -> None:
        """The stream that has no part in the trouble still replicates."""
        self.insert(database="other.db", table="calm")
        self.goes_on("other.db", "calm")

    def state(self) -> dict[str, Any]:
        """What `status --json` says of the stream in trouble."""
        told = json.loads(silt("status", "--json", "--select", "t", cwd=self.folder).stdout)
        return told["streams"][0]


@contextmanager
def scene(folder: Path, target: str) -> Iterator[Scene]:
    sql = Sqlite()
    for database, table in (("app.db", "t"), ("other.db", "calm")):
        sql(folder / database, f"CREATE TABLE {table} (id INTEGER PRIMARY KEY AUTOINCREMENT, x TEXT)")
    (folder / "silt.yaml").write_text(HEAD.format(target=target))
    with start("run", "--log-format", "json", cwd=folder) as process:
        here = Scene(folder, Log(process), sql, process)
        here.insert()
        here.insert(database="other.db", table="calm")
        here.log.wait("commit", stream="t")
        here.log.wait("commit", stream="calm")
        try:
            yield here
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
            assert process.stderr.read() == ""
            sql.close()


def test_a_store_that_is_gone_and_comes_back(tmp_path):
    """While no request is answered rows wait, counted; another store's stream goes on; then all is there."""
    gone = [False]
    with s3_server() as s3, faulty_proxy(s3.port, lambda *_: "503 SlowDown" if gone[0] else "") as proxy:
        options = {**s3_options(proxy.port), "max_retries": "1", "retry_timeout": "1s"}
        target = json.dumps({"uri": "s3://lake/x", "storage_options": options})
        with scene(tmp_path, target) as here:
            gone[0] = True
            here.insert(rows=7)
            told = here.log.wait("failing", stream="t")
            assert told["hint"] or told["error"]
            here.calm()
            until(lambda: pending(here) == 7, 60)
            assert proxy.faults
            gone[0] = False
            back = here.log.wait("ok", stream="t")
            assert back["rows"] == 7
            here.goes_on(path="s3://lake/x", **s3.options)


def pending(here: Scene) -> int | None:
    status = next((here.folder / "state").glob("*.status.json"))
    streams = json.loads(status.read_text())["streams"]
    return next(s["pending_rows"] for s in streams if s["name"] == "t")


def test_a_database_that_is_locked(tmp_path):
    """An application that holds its lock makes the stream fail, and nothing else; then it goes on."""
    with scene(tmp_path, "./lake") as here:
        command = [sys.executable, "-S", "-c", LOCK, str(tmp_path / "app.db")]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "locked\n"
            told = here.log.wait("failing", stream="t")
            assert "locked" in told["error"]
            here.calm()
            holder.communicate()
        here.insert()
        here.log.wait("ok", stream="t")
        here.goes_on(path="lake")


def test_a_file_that_goes_and_comes_back(tmp_path):
    """Moved away, it is missing and told; moved back, the stream goes on where it was."""
    with scene(tmp_path, "./lake") as here:
        (tmp_path / "app.db").rename(tmp_path / "away.db")
        told = here.log.wait("failing", stream="t")
        assert "no such database file" in told["error"]
        here.calm()
        (tmp_path / "away.db").rename(tmp_path / "app.db")
        here.insert()
        here.log.wait("ok", stream="t")
        here.goes_on(path="lake")


def test_a_disk_that_is_full_and_is_freed(tmp_path):
    """Nothing is half written; with space again every row is there once."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no tmpfs may be mounted here")
    try:
        with scene(tmp_path, "./disk/lake") as here:
            fill = disk / "filler"
            fill.write_bytes(b"x" * free(disk))
            here.insert(rows=3_000)
            told = here.log.wait("failing", stream="t")
            assert "full" in told["error"]
            here.calm()
            fill.unlink()
            here.log.wait("ok", stream="t")
            here.goes_on(path="disk/lake")
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)


def free(folder: Path) -> int:
    import os

    seen = os.statvfs(folder)
    return seen.f_bavail * seen.f_frsize


def test_a_glob_whose_file_is_deleted(tmp_path):
    """It is told that the database is there no more; its rows stay, the others go on, a new one starts."""
    sql = Sqlite()
    for name in "ab":
        sql(
            tmp_path / f"{name}.db",
            "CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, x TEXT)",
            "INSERT INTO t (x) VALUES ('first')",
        )
    (tmp_path / "silt.yaml").write_text(
        'version: 1\nsources: {s: "./*.db"}\ntargets: {lake: ./lake}\nstreams: {t: {schedule: 300ms}}\n'
    )
    with start("run", "--log-format", "json", cwd=tmp_path) as process:
        log = Log(process)
        log.wait("commit", stream="t", databases=2)
        (tmp_path / "a.db").unlink()
        told = log.wait("gone")
        assert told["database"] == str(tmp_path / "a.db")
        sql(tmp_path / "b.db", "INSERT INTO t (x) VALUES ('second')")
        sql(
            tmp_path / "c.db",
            "CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, x TEXT)",
            "INSERT INTO t (x) VALUES ('third')",
        )
        expected = Counter([("a", "first"), ("b", "first"), ("b", "second"), ("c", "third")])
        seen = lambda: Counter((r["_silt_database"], r["x"]) for r in lake(tmp_path / "lake" / "t"))  # noqa: E731
        until(lambda: seen() == expected, 60)
        process.terminate()
        assert process.wait(20) == 0
    sql.close()


def test_what_is_not_done_within_grace_is_left(tmp_path):
    """A commit that hangs longer than `grace` is left: 1 instead of 0; the next run has every row once."""
    gone, hanging = [False], []

    def choose(method: str, path: str) -> str:
        if gone[0] and method == "PUT":
            hanging.append(path)
            time.sleep(8)
        return ""

    with s3_server() as s3, faulty_proxy(s3.port, choose) as proxy:
        sql = Sqlite()
        table = "CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, x TEXT)"
        sql(tmp_path / "app.db", table, "INSERT INTO t (x) VALUES ('a')")
        options = json.dumps({"uri": "s3://lake/g", "storage_options": s3_options(proxy.port)})
        head = f"version: 1\nnode: n\ngrace: 1s\nsources: {{app: ./app.db}}\ntargets: {{lake: {options}}}\n"
        (tmp_path / "silt.yaml").write_text(head + "streams: {t: {schedule: 300ms, lineage: none}}\n")
        with start("run", "--log-format", "json", cwd=tmp_path) as process:
            log = Log(process)
            log.wait("commit", stream="t")
            gone[0] = True
            sql(tmp_path / "app.db", "INSERT INTO t (x) VALUES ('b')")
            until(lambda: bool(hanging), 30)
            process.terminate()
            assert process.wait(20) == 1
            assert "did not end within" in log.wait("stopped")["message"]
        gone[0] = False
        until(lambda: silt("run", "--once", cwd=tmp_path).returncode == 0, 60)
        rows = Counter((row["id"], row["x"]) for row in lake("s3://lake/g/t", s3.options))
        assert rows == Counter(sql(tmp_path / "app.db", "SELECT id, x FROM t"))
        sql.close()
