"""Opening sources: names, identities, connections that only read, snapshots."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from kit import sql

from silt.errors import RetryLater, SourceChanged, UserError
from silt.source import open as source
from silt.source.open import Connection, Refused, connect, find, identity, machine_id, pair

T = sa.table("t", sa.column("id"), sa.column("v"))


@pytest.fixture
def db(tmp_path: Path) -> Path:
    path = tmp_path / "a.db"
    sql(
        path,
        "create table t(id integer primary key, v)",
        ("insert into t(v) values (?)", [(i,) for i in range(10)]),
    )
    return path


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def named(pattern: Path | str, *exclude: str) -> list[str]:
    return [d.name for d in find(str(pattern), exclude)]


class TestFind:
    def test_wildcards_name_the_database(self, tmp_path):
        """A database is named by the text that its wildcards matched, joined by a slash."""
        touch(tmp_path, "acme/app.db", "eu/acme/app.db", "eu/b/x.db", "n12.db")
        assert named(tmp_path / "*" / "app.db") == ["acme"]
        assert named(tmp_path / "*" / "*" / "app.db") == ["eu/acme"]
        assert named(tmp_path / "eu" / "*" / "*.db") == ["acme/app", "b/x"]
        assert named(tmp_path / "n[0-9]?.db") == ["12"]

    def test_double_star_crosses_folders(self, tmp_path):
        """`**` matches any depth; with no folder between, the stem is the name."""
        touch(tmp_path, "app.db", "acme/app.db", "eu/acme/app.db")
        assert named(tmp_path / "**" / "app.db") == ["acme", "app", "eu/acme"]

    def test_one_file_is_named_by_its_stem_even_when_missing(self, tmp_path):
        """A path without wildcards is always one database: that it is missing is said on opening."""
        assert named(tmp_path / "plant.db") == ["plant"]

    def test_companions_and_folders_never_match(self, tmp_path):
        """-wal, -shm and -journal files are no databases, nor are folders."""
        touch(tmp_path, "a.db", "a.db-wal", "a.db-shm", "a.db-journal")
        (tmp_path / "b.db").mkdir()
        assert named(tmp_path / "*") == ["a.db"]

    def test_exclude_takes_away(self, tmp_path):
        """Excluded patterns are matched against the whole path."""
        touch(tmp_path, "a/app.db", "tmp1/app.db")
        assert named(tmp_path / "*" / "app.db", str(tmp_path / "tmp*" / "app.db")) == ["a"]

    def test_two_files_of_one_name_are_an_error_that_names_both(self, tmp_path):
        """Where wildcards leave the same text, the two files cannot be told apart."""
        touch(tmp_path, "app.db", "app/app.db")
        with pytest.raises(
            UserError, match=r"'app': .*/app\.db and .*/app/app\.db|'app': .*/app/app\.db and .*/app\.db"
        ):
            find(str(tmp_path / "**" / "app.db"))

    def test_a_glob_that_matches_nothing_is_empty(self, tmp_path):
        """Nothing there yet is no error: the stream waits."""
        assert find(str(tmp_path / "*.db")) == ()

    @settings(max_examples=40)
    @given(st.text(alphabet="ab.+()^$ é-", min_size=1, max_size=8))
    def test_any_file_name_comes_back_as_its_name(self, tmp_path_factory, text):
        """What `*` matched is the name, whatever characters it has."""
        folder = tmp_path_factory.mktemp("f")
        name = text.strip(".") or "x"
        touch(folder, f"{name}.db")
        assert named(folder / "*.db") == ([] if name.startswith(".") else [name])


class TestIdentity:
    def test_a_recreated_file_is_another_one(self, db):
        """Birth time tells a re-created file apart even when the inode is given out again."""
        before = identity(str(db))
        again = identity(str(db))
        content = db.read_bytes()
        db.unlink()
        time.sleep(0.02)
        db.write_bytes(content)
        after = identity(str(db))
        assert again == before
        assert before.birth is None or after != before

    def test_a_missing_file_says_so(self, tmp_path):
        """The identity of what is not there is an error that names the path."""
        with pytest.raises(UserError, match=r"no such database file.*x\.db"):
            identity(str(tmp_path / "x.db"))

    def test_the_machine_is_hashed_and_may_be_unknown(self, tmp_path):
        """The id never shows itself; an empty or missing one turns the rule off."""
        file = tmp_path / "machine-id"
        assert machine_id(str(file)) == ""
        file.write_text("\n")
        assert machine_id(str(file)) == ""
        file.write_text("0123456789abcdef\n")
        assert machine_id(str(file)) not in ("", "0123456789abcdef")
        assert machine_id(str(file)) == machine_id(str(file))


class TestConnect:
    def test_a_missing_file_is_never_created(self, tmp_path):
        """A plain path would make SQLite create the file (FACTS)."""
        with pytest.raises(UserError, match="no such database file"):
            connect(str(tmp_path / "none.db"), busy_timeout=1)
        assert list(tmp_path.iterdir()) == []

    def test_odd_paths_open(self, tmp_path, db):
        """Every character of a path is quoted in the URI."""
        for name in ("a b.db", "q?mode=rwc.db", "50%41.db", "#x.db", "é.db", "x&immutable=1.db"):
            shutil.copy(db, tmp_path / name)
            with connect(str(tmp_path / name), busy_timeout=1) as c:
                assert c.rows(sa.select(sa.func.count()).select_from(T)) == [(10,)]

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"hello world" * 500, "not a SQLite database, or it is encrypted"),
            (os.urandom(8192), "not a SQLite database"),
        ],
    )
    def test_what_is_no_database_says_so(self, tmp_path, content, message):
        """Junk and encrypted files read alike to SQLite, and the message says both."""
        path = tmp_path / "junk.db"
        path.write_bytes(content)
        with pytest.raises(UserError, match=message):
            connect(str(path), busy_timeout=1)

    def test_a_folder_is_no_database(self, tmp_path):
        """A folder is named as what it is."""
        with pytest.raises(UserError, match="not a file"):
            connect(str(tmp_path), busy_timeout=1)

    def test_a_corrupt_file_says_so(self, db):
        """A page of garbage is told as corruption, with a way out."""
        sql(db, ("insert into t(v) values (?)", [("x" * 500,) for _ in range(500)]))
        content = bytearray(db.read_bytes())
        for page in range(2, 20):
            content[page * 4096 : page * 4096 + 4096] = b"\xa5" * 4096
        db.write_bytes(bytes(content))
        with connect(str(db), busy_timeout=1) as c, pytest.raises(UserError, match="corrupt"):
            c.rows(sa.select(sa.func.sum(sa.func.length(T.c.v))))

    def test_it_cannot_write(self, db):
        """The connection is read only, whatever is asked of it."""
        with connect(str(db), busy_timeout=1) as c:
            for statement in ("insert into t(v) values (1)", "drop table t"):
                with pytest.raises(UserError):
                    list(c.execute(statement))
        assert sql(db, "select count(*) from t") == [(10,)]

    def test_an_empty_file_is_an_empty_database(self, tmp_path):
        """SQLite makes nothing of zero bytes: a database without tables."""
        (tmp_path / "e.db").touch()
        with connect(str(tmp_path / "e.db"), busy_timeout=1) as c:
            assert c.schema_version() == 0

    def test_the_busy_timeout_is_in_force(self, db):
        """The driver's own default is no wait at all (measured); ours waits, then says how long."""
        holder = subprocess.Popen(
            [sys.executable, "-c", _HOLD, str(db)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        try:
            started = time.monotonic()
            with pytest.raises(RetryLater, match=r"locked, waited 0\.4 s"):
                connect(str(db), busy_timeout=0.4)
            assert time.monotonic() - started >= 0.35
        finally:
            holder.communicate("\n")

    def test_a_wal_database_that_cannot_open_its_wal_says_what_to_do(self, db):
        """As on a read-only mount (root may write everywhere else): the hint names `immutable`."""
        sql(db, "pragma journal_mode=wal")
        db.with_name(db.name + "-wal").mkdir()
        with pytest.raises(UserError, match="cannot be read") as caught:
            connect(str(db), busy_timeout=1)
        assert "immutable: true" in caught.value.hint

    def test_immutable_opens_it_all_the_same(self, db):
        """`immutable: true` reads a WAL database without its WAL (and misses what only the WAL holds)."""
        sql(db, "pragma journal_mode=wal")
        db.with_name(db.name + "-wal").mkdir()
        with connect(str(db), busy_timeout=1, immutable=True) as c:
            assert len(c.rows(sa.select(T.c.id))) == 10

    def test_what_is_missing_is_named(self, db):
        """A dropped table or column is named, with what to do."""
        with connect(str(db), busy_timeout=1) as c:
            with pytest.raises(Refused, match="no such table: nope"):
                c.rows(sa.select(sa.literal_column("a")).select_from(sa.table("nope")))
            with pytest.raises(Refused, match="no such column"):
                c.rows(sa.select(sa.literal_column("nope").label("x")).select_from(T))


_HOLD = """
import sqlite3, sys
c = sqlite3.connect(sys.argv[1], isolation_level=None)
c.execute("begin exclusive"); print("held", flush=True); sys.stdin.readline()
"""

VALUES = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(st.characters(exclude_categories=("Cs",)), max_size=20),
    st.binary(max_size=20),
)


class TestRows:
    @settings(max_examples=40)
    @given(st.lists(VALUES, min_size=1, max_size=12))
    def test_values_of_any_class_come_back_exactly(self, tmp_path_factory, values):
        """One column may hold every class, infinities, embedded NULs and all 64 bits."""
        path = tmp_path_factory.mktemp("r") / "a.db"
        sql(
            path,
            "create table t(id integer primary key, v)",
            ("insert into t(v) values (?)", [(v,) for v in values]),
        )
        with connect(str(path), busy_timeout=1) as c:
            rows = c.rows(sa.select(T.c.v).order_by(T.c.id))
        assert [(type(v), v) for (v,) in rows] == [(type(v), v) for v in values]

    @pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16le", "UTF-16be"])
    def test_every_encoding_is_read(self, tmp_path, encoding):
        """Text is decoded by the database's encoding."""
        path = tmp_path / "a.db"
        sql(
            path,
            f"pragma encoding='{encoding}'",
            "create table t(id, v)",
            "insert into t values (1, 'aé😀' || char(0) || 'z')",
        )
        with connect(str(path), busy_timeout=1) as c:
            assert c.rows(sa.select(T.c.v)) == [("aé😀\0z",)]

    def test_text_that_is_no_utf8_survives_and_finds_its_row_again(self, db):
        """Broken bytes come as surrogates, and bound again they are the bytes that they were."""
        sql(db, "insert into t(id, v) values (99, cast(x'ff41' as text))")
        with connect(str(db), busy_timeout=1) as c:
            ((value,),) = c.rows(sa.select(T.c.v).where(T.c.id == 99))
            assert value == "\udcffA"
            assert c.rows(sa.select(T.c.id).where(T.c.v == sa.literal(value))) == [(99,)]

    def test_order_and_limit_hold(self, db):
        """The order asked for is the order that comes."""
        with connect(str(db), busy_timeout=1) as c:
            assert c.rows(sa.select(T.c.id).order_by(T.c.id.desc()).limit(3)) == [(10,), (9,), (8,)]

    def test_text_statements_work(self, db):
        """SQL in words, with parameters, an empty result, and a PRAGMA."""
        with connect(str(db), busy_timeout=1) as c:
            assert c.rows(sa.text("select count(*) as n, :a as a from t").bindparams(a=b"x")) == [(10, b"x")]
            assert c.rows(sa.text("select id from t where 0")) == []
            assert c.rows(sa.text("pragma busy_timeout")) == [(1000,)]
            with pytest.raises(UserError, match="one name"):
                c.rows(sa.text("select id, id from t"))


class TestSnapshots:
    def test_a_snapshot_sees_one_commit(self, db):
        """Several queries see the state at `begin`; afterwards the newest is seen (FACTS)."""
        sql(db, "pragma journal_mode=wal")
        count = sa.select(sa.func.count()).select_from(T)
        with connect(str(db), busy_timeout=1) as c:
            with c.snapshot():
                sql(db, "insert into t(v) values (1)")
                assert c.rows(count) == [(10,)]
            assert c.rows(count) == [(11,)]

    def test_data_version_moves_with_other_commits_outside_only(self, db):
        """Inside a transaction it stands still, so asking there is a bug."""
        with connect(str(db), busy_timeout=1) as c:
            before = c.data_version()
            assert c.data_version() == before
            sql(db, "insert into t(v) values (1)")
            assert c.data_version() != before
            with c.snapshot(), pytest.raises(RuntimeError):
                c.data_version()

    def test_another_file_behind_the_path_is_noticed(self, db):
        """A connection sees a deleted file for ever and data_version does not move (FACTS): stat tells."""
        content = db.read_bytes()
        with connect(str(db), busy_timeout=1) as c:
            c.check_same_file()
            new = db.with_suffix(".new")
            new.write_bytes(content)
            new.replace(db)
            with pytest.raises(SourceChanged):
                c.check_same_file()
            with pytest.raises(SourceChanged):
                c.begin()

    def test_a_rollback_journal_file_may_not_change_while_it_is_read(self, db):
        """Written over in place, outside SQLite: its mtime or size tells."""
        with connect(str(db), busy_timeout=1) as c, c.snapshot():
            c.check_same_file()
            os.utime(db, ns=(1, 1))
            with pytest.raises(SourceChanged, match="written over"):
                c.check_same_file()

    def test_a_wal_file_may(self, db):
        """In WAL mode a checkpoint writes the file while it is read, and the snapshot holds."""
        sql(db, "pragma journal_mode=wal")
        with connect(str(db), busy_timeout=1) as c, c.snapshot():
            os.utime(db, ns=(1, 1))
            c.check_same_file()

    def test_two_readers_see_the_same_commit_under_a_fast_writer(self, db):
        """Pairs are proved by a watcher's data_version; unproved ones differ now and then (FACTS)."""
        sql(db, "pragma journal_mode=wal")
        writer = subprocess.Popen([sys.executable, "-c", _WRITE, str(db)], stdin=subprocess.PIPE)
        highest = sa.select(sa.func.max(T.c.id))
        pairs, looks, seen, deadline = 0, 0, set(), time.monotonic() + 60
        try:
            with connect(str(db), busy_timeout=5) as c:
                while looks < 150 or (len(seen) <= 10 and time.monotonic() < deadline):
                    looks += 1
                    with pair(c) as snapshot:
                        found = [reader.rows(highest) for reader in snapshot.readers]
                        assert all(one == found[0] for one in found)
                        pairs += len(found) == 2
                        seen.add(found[0][0])
        finally:
            writer.communicate(b"\n")
        assert pairs > looks / 2
        assert len(seen) > 10  # there was a writer

    def test_a_refused_second_reader_leaves_one(self, db, monkeypatch):
        """BUSY for the second reader is no error: the first goes on alone."""
        with connect(str(db), busy_timeout=1) as c:
            _, second = c.beside()

            def busy() -> None:
                raise RetryLater("the database is locked")

            monkeypatch.setattr(second, "fix", busy)
            with pair(c) as snapshot:
                assert len(snapshot.readers) == 1
                assert snapshot.first.rows(sa.select(sa.func.count()).select_from(T)) == [(10,)]
            assert not c.inside

    def test_everything_closes(self, db):
        """After closing, no descriptor of the file is left open."""

        def held() -> int:
            links = Path("/proc/self/fd").iterdir()
            return sum(os.path.realpath(link).startswith(str(db)) for link in links)

        with connect(str(db), busy_timeout=1) as c:
            with pair(c):
                pass
            stream = c.stream(sa.select(T.c.id), 1)
            next(stream)
            stream.close()
            assert held() > 0
        assert held() == 0

    def test_streams_let_other_threads_run(self, db):
        """SQLite steps with the GIL released: a thread that counts is not stopped by a long query."""
        slow = sa.text(
            "with recursive n(i) as (select 1 union all select i + 1 from n where i < 3000000)"
            " select max(i) as m from n"
        )
        ticks = []
        done = threading.Event()

        def tick() -> None:
            while not done.is_set():
                ticks.append(time.monotonic())
                time.sleep(0.01)

        with connect(str(db), busy_timeout=1) as c:
            thread = threading.Thread(target=tick)
            thread.start()
            started = time.monotonic()
            batches = list(c.stream(slow))
            took = time.monotonic() - started
            done.set()
            thread.join()
        assert batches[0].to_pydict() == {"m": [3000000]}
        gaps = [b - a for a, b in pairwise(ticks)]
        assert max(gaps) < max(took / 2, 0.1)


_WRITE = """
import sqlite3, sys, threading
c = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30); c.execute("pragma synchronous=off")
stop = threading.Event()
threading.Thread(target=lambda: (sys.stdin.readline(), stop.set()), daemon=True).start()
while not stop.is_set(): c.execute("insert into t(v) values (1)"); stop.wait(0.0005)
"""


def test_two_connections_are_independent(db):
    """Closing one leaves the other alone."""
    with connect(str(db), busy_timeout=1) as a:
        b: Connection = connect(str(db), busy_timeout=1)
        b.close()
        b.close()
        assert len(a.rows(sa.select(T.c.id))) == 10


class TestMountedAlone:
    def test_a_file_that_is_a_mount_point(self, tmp_path):
        """By the kernel's table, where blanks are octal; its folder's mount is none of its own."""
        path = tmp_path / "my app.db"
        touch(tmp_path, "my app.db", "b.db")
        escaped = str(path).replace(" ", "\\040")
        line = "36 35 98:0 /mnt1 {} rw,noatime master:1 - ext4 /dev/root rw\n"
        (tmp_path / "table").write_text(line.format(tmp_path) + line.format(escaped))
        assert source.is_mounted_alone(str(path), str(tmp_path / "table"))
        assert not source.is_mounted_alone(str(tmp_path / "b.db"), str(tmp_path / "table"))
        assert not source.is_mounted_alone(str(path), str(tmp_path / "no table"))
        assert not source.is_mounted_alone(str(path))

    def test_it_is_refused_unless_nobody_writes_it(self, tmp_path, make_database, monkeypatch):
        """Rows in its -wal would not be seen; a copy that is declared immutable has none."""
        path = make_database("a.db", "CREATE TABLE t (id INTEGER PRIMARY KEY)")
        monkeypatch.setattr(source, "is_mounted_alone", lambda _: True)
        with pytest.raises(UserError, match="is mounted alone"):
            source.connect(str(path), busy_timeout=1)
        source.connect(str(path), busy_timeout=1, immutable=True).close()
