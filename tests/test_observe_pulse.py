"""`silt.observe.pulse`: whether a database was written since, without reading a row."""

from __future__ import annotations

from pathlib import Path

import pytest
from kit import Sqlite

from silt.manifest.model import Source
from silt.observe import pulse as module
from silt.observe.pulse import Beat, Pulse, stamps


@pytest.fixture
def sql():
    made = Sqlite()
    yield made
    made.close()


@pytest.fixture(params=["delete", "wal"])
def database(request, tmp_path, sql):
    """The path of a database in either journal mode."""
    path = tmp_path / "a.db"
    sql(path, f"PRAGMA journal_mode={request.param}", "CREATE TABLE t (id INTEGER PRIMARY KEY, x)")
    return str(path)


@pytest.fixture
def pulse():
    made = Pulse()
    yield made
    made.close()


def origin(path: str) -> Source:
    return Source(name="s", path=path)


def test_nothing_written_is_the_same(database, pulse):
    """Two looks between which nobody wrote."""
    first = pulse.take(origin(database), database)
    assert pulse.take(origin(database), database).is_same(first)


def test_every_commit_is_another(database, pulse, sql):
    """Each of many quick commits, also those that leave size and time of the files as they were."""
    before = pulse.take(origin(database), database)
    for number in range(20):
        sql(database, f"INSERT OR REPLACE INTO t VALUES (1, {number})")
        now = pulse.take(origin(database), database)
        assert not now.is_same(before)
        before = now


def test_a_checkpoint_is_no_write(tmp_path, pulse, sql):
    """It moves rows from the -wal into the file: the file changes, the data does not."""
    path = str(tmp_path / "a.db")
    sql(path, "PRAGMA journal_mode=wal", "CREATE TABLE t (id INTEGER PRIMARY KEY)")
    held = Pulse()  # a connection that stays keeps the -wal there
    held.take(origin(path), path)
    sql(path, "INSERT INTO t VALUES (1)")
    before = pulse.take(origin(path), path)
    sql(path, "PRAGMA wal_checkpoint(PASSIVE)")
    now = pulse.take(origin(path), path)
    assert now.files != before.files
    assert now.is_same(before)
    held.close()


def test_another_file_under_the_name_is_another(database, pulse, sql, tmp_path):
    """A database that was replaced, whatever its data_version."""
    before = pulse.take(origin(database), database)
    sql(tmp_path / "b.db", "CREATE TABLE t (id INTEGER PRIMARY KEY, x)")
    (tmp_path / "b.db").replace(database)
    assert not pulse.take(origin(database), database).is_same(before)


def test_another_database_copied_over_the_file_is_another(tmp_path, pulse, sql):
    """The same file to the system, with the same counters inside: its stamps tell."""
    for name in "ab":
        sql(
            tmp_path / f"{name}.db",
            "CREATE TABLE t (id INTEGER PRIMARY KEY, x)",
            "INSERT INTO t VALUES (1, 1)",
        )
    path = str(tmp_path / "a.db")
    before = pulse.take(origin(path), path)
    (tmp_path / "a.db").write_bytes((tmp_path / "b.db").read_bytes())
    now = pulse.take(origin(path), path)
    assert now.files[0][:2] == before.files[0][:2]
    assert not now.is_same(before)


def test_a_missing_file_is_another(database, pulse):
    """And none again is the same, once its stamps are old enough."""
    before = pulse.take(origin(database), database)
    Path(database).unlink()
    gone = pulse.take(origin(database), database)
    assert not gone.is_same(before)
    assert pulse.take(origin(database), database).is_same(gone)


def test_stamps_decide_only_when_they_are_old():
    """Two writes in one tick of a coarse clock leave one stamp: so soon after a write it proves nothing."""
    files = ((1, 1, 4096, 10, 10), None, None)
    settled, fresh = Beat(files, None, True), Beat(files, None, False)
    assert fresh.is_same(settled)
    assert not settled.is_same(fresh)


def test_versions_of_two_connections_are_not_compared():
    """data_version counts what its own connection saw."""
    files = ((1, 1, 4096, 10, 10), None, None)
    one, other = Beat(files, (1, 7), True), Beat(((1, 1, 8192, 11, 11), None, None), (2, 7), True)
    assert not other.is_same(one)


def test_more_databases_than_connections(tmp_path, pulse, sql, monkeypatch):
    """Beyond so many the stamps tell, and nobody's connection is taken away in turn."""
    monkeypatch.setattr(module, "MOST_RESIDENT", 2)
    paths = [str(tmp_path / f"{n}.db") for n in range(4)]
    for path in paths:
        sql(path, "CREATE TABLE t (id INTEGER PRIMARY KEY)")
    for _ in range(3):
        beats = [pulse.take(origin(path), path) for path in paths]
        assert [beat.version is not None for beat in beats] == [True, True, False, False]
    assert [beat.version for beat in beats[:2]] == [(0, beats[0].version[1]), (1, beats[1].version[1])]
    monkeypatch.setattr(module, "_UNUSED", 0.0)
    assert pulse.take(origin(paths[3]), paths[3]).version is not None


def test_an_empty_wal_is_none(tmp_path):
    """Whoever reads a database in WAL mode first makes one: that is no write."""
    path = tmp_path / "a.db"
    path.write_bytes(b"x")
    before = stamps(str(path))
    (tmp_path / "a.db-wal").touch()
    assert stamps(str(path)) == before
    (tmp_path / "a.db-wal").write_bytes(b"frame")
    assert stamps(str(path)) != before
