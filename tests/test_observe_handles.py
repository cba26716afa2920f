"""Resident connections: used again while what they remember is true, and no longer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from kit import Site, sql
from sqlalchemy import text

from silt import manifest as manifests
from silt.observe import Handles
from silt.source.open import Connection

HOLDER = """
import sqlite3, sys
held = sqlite3.connect(sys.argv[1])
held.execute("INSERT INTO t VALUES (999, 'nine')"); held.commit()
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def handles(tmp_path: Path):
    site = Site(tmp_path)
    made(site.database, "old")
    site.write("  t: {}\n")
    with Handles(manifests.load(site.manifest)) as here:
        yield here


def made(path: Path, text: str) -> None:
    """The same steps leave the same change counter, size and schema version."""
    values = [(n, f"{text} {n}") for n in range(1, 200)]
    sql(path, "CREATE TABLE t (id INTEGER PRIMARY KEY, x TEXT)", ("INSERT INTO t VALUES (?, ?)", values))


def read(handles: Handles, path: Path) -> tuple[int, str]:
    """Which connection answered, and what the first row says."""
    (origin,) = handles.manifest.sources
    with handles.connection(origin, str(path)) as connection:
        return id(connection), first(connection)


def first(connection: Connection) -> Any:
    with connection.snapshot():
        return connection.rows(text("SELECT x FROM t WHERE id = 1"))[0][0]


def test_a_connection_is_used_again(handles, tmp_path):
    path = tmp_path / "app.db"
    assert read(handles, path) == read(handles, path)


def test_a_database_copied_over_the_file_in_place_is_read(handles, tmp_path):
    """Its change counter is the same, so that a connection that read the one before would keep its pages."""
    path, other = tmp_path / "app.db", tmp_path / "other.sqlite"
    made(other, "new")
    assert path.read_bytes()[24:28] == other.read_bytes()[24:28]
    assert read(handles, path)[1] == "old 1"
    before = path.stat()
    with path.open("r+b") as file:
        file.write(other.read_bytes())
    assert path.stat().st_ino == before.st_ino
    assert read(handles, path)[1] == "new 1"


def test_writes_beside_a_wal_open_no_new_connection(handles, tmp_path):
    """There SQLite tells what is true: a checkpoint writes to the file, and changes nothing."""
    path = tmp_path / "app.db"
    sql(path, "PRAGMA journal_mode=wal")
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        one = read(handles, path)
        stamp = path.stat().st_mtime_ns
        sql(path, "PRAGMA wal_checkpoint(PASSIVE)")
        assert path.stat().st_mtime_ns != stamp
        assert read(handles, path) == one
        holder.communicate("")
