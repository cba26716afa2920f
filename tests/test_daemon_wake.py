"""`silt.daemon.Wake`: writes to databases are told, by events or by looking, and nothing else is."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
from kit import Sqlite
from test_daemon import until

from silt.daemon import Wake, Watched
from silt.daemon import wake as module
from silt.source.open import connect


@contextmanager
def waking(*watched: Watched):
    """A `Wake` that follows `watched`, and the paths that it told, in a set that grows."""
    told: set[str] = set()
    calls = []
    wake = Wake(lambda: calls.append(1))
    wake.follow(watched)
    stop = threading.Event()

    def drain() -> None:
        while not stop.wait(0.01):
            told.update(wake.drain())

    thread = threading.Thread(target=drain)
    thread.start()
    try:
        yield told, wake, calls
    finally:
        stop.set()
        thread.join()
        wake.close()


@pytest.fixture(params=["delete", "wal"])
def database(request, tmp_path):
    """A database in either journal mode, written by another process."""
    path = tmp_path / "a.db"
    sql = Sqlite()
    sql(path, f"PRAGMA journal_mode={request.param}", "CREATE TABLE t (id INTEGER PRIMARY KEY)")
    yield path, sql
    sql.close()


@pytest.mark.parametrize("poll", [False, True], ids=["events", "poll"])
def test_each_write_is_told(database, poll):
    """A commit wakes, in WAL mode too; by events, and by looking where there are none."""
    path, sql = database
    with waking(Watched(path=str(path), poll=poll)) as (told, _, _):
        for key in range(3):
            told.clear()
            sql(path, f"INSERT INTO t VALUES ({key})")
            until(lambda: told == {str(path)})


def test_reading_is_no_write(database, monkeypatch):
    """silt's own reading makes and removes an empty -wal: that would wake it for ever."""
    path, _ = database
    monkeypatch.setattr(module, "SAFETY", 0.05)
    other = path.with_name("b.db")
    other.write_bytes(b"")
    with waking(Watched(path=str(path)), Watched(path=str(other))) as (told, _, _):
        for _ in range(3):
            with connect(str(path), busy_timeout=1.0) as connection:
                connection.data_version()
        other.write_bytes(b"x")  # told after everything before it
        until(lambda: str(other) in told)
        assert told == {str(other)}


def test_no_event_and_still_told(database, monkeypatch):
    """A write that makes no event here (another machine's) is found by looking every now and then."""
    path, sql = database
    monkeypatch.setattr(module, "SAFETY", 0.05)
    with waking(Watched(path=str(path))) as (told, wake, _):
        wake._folders.close()  # the fault: no events
        sql(path, "INSERT INTO t VALUES (1)")
        until(lambda: told == {str(path)})


def test_a_folder_that_cannot_be_watched_is_polled(tmp_path):
    """A database whose folder comes later is told once it is there."""
    path = tmp_path / "later" / "a.db"
    with waking(Watched(path=str(path))) as (told, _, _):
        path.parent.mkdir()
        path.write_bytes(b"x")
        until(lambda: told == {str(path)})


def test_a_link_is_followed(tmp_path):
    """A database behind a symbolic link is told under the name that the manifest has for it."""
    (tmp_path / "real").mkdir()
    real, link = tmp_path / "real" / "a.db", tmp_path / "link.db"
    real.write_bytes(b"x")
    link.symlink_to(real)
    with waking(Watched(path=str(link))) as (told, _, _):
        real.with_name("a.db-wal").write_bytes(b"frame")
        until(lambda: told == {str(link)})


def test_who_listens_is_called_once_until_it_asks(tmp_path):
    """500 writes a second must not be 500 calls."""
    path = tmp_path / "a.db"
    path.write_bytes(b"x")
    calls = []
    wake = Wake(lambda: calls.append(1))
    try:
        wake.follow([Watched(path=str(path))])
        for number in range(20):
            Path(path).write_bytes(b"x" * number)
        until(lambda: bool(calls))
        assert len(calls) == 1
        assert wake.drain() == {str(path)}
    finally:
        wake.close()


def test_what_is_no_longer_followed_is_not_told(tmp_path):
    """After an edit that removes a stream its database wakes nobody."""
    one, two = tmp_path / "one.db", tmp_path / "two.db"
    for path in (one, two):
        path.write_bytes(b"x")
    with waking(Watched(path=str(one)), Watched(path=str(two))) as (told, wake, _):
        wake.follow([Watched(path=str(two))])
        one.write_bytes(b"xx")
        two.write_bytes(b"xx")
        until(lambda: str(two) in told)
        assert told == {str(two)}
