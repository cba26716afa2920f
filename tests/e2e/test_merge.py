"""merge: each row of the lake is the last version of its key that a cycle saw, whatever was read twice."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from itertools import count, islice
from pathlib import Path
from typing import Any

import kit
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keyed import KEYS, Play, plays
from nodes import Nodes

EXAMPLES = 600 if os.environ.get("HYPOTHESIS_PROFILE") == "nightly" else 5


@pytest.fixture(scope="module")
def sqlite() -> Iterator[kit.Sqlite]:
    with closing(kit.Sqlite()) as process:
        yield process


@pytest.fixture
def site(tmp_path: Path) -> kit.Site:
    return kit.Site(tmp_path)


def rows(site: kit.Site, into: str = "t") -> list[tuple[Any, ...]]:
    """The lake's rows, sorted."""
    if not (site.folder / "lake" / into / "_delta_log").is_dir():
        return []
    return sorted((tuple(row.values()) for row in site.lake(into)), key=repr)


# --- every kind of key ----------------------------------------------------------------------------


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(play=st.sampled_from(KEYS).flatmap(plays))
@pytest.mark.timeout(3600)
def test_rows_change_under_keys_of_every_kind(sqlite: kit.Sqlite, play: Play) -> None:
    """After each cycle every key that was ever seen is there once, in its last version that was seen.

    Changes within the second that was read last are seen, too; rows that the source deletes stay.
    """
    key = play.key
    with tempfile.TemporaryDirectory() as folder:
        site = kit.Site(Path(folder))
        sqlite(site.database, *play.ddl())
        declared = f", primary_key: {key.declared}" if key.declared else ""
        site.write(f"  t: {{mode: merge, cursor: at, batch: {{max_rows: {play.max_rows}}}{declared}}}\n")
        with _handles(site, play) as handles:
            _follow(site, sqlite, play, handles)


def _handles(site: kit.Site, play: Play) -> Any:
    from silt import manifest, observe

    return observe.Handles(manifest.load(site.manifest)) if play.resident else nullcontext()


def _follow(site: kit.Site, sqlite: kit.Sqlite, play: Play, handles: Any) -> None:
    seen: dict[Any, tuple[Any, ...]] = {}
    width = len(play.key.columns)
    for turn in range(len(play.rounds)):
        sqlite(site.database, *play.statements(turn))
        for row in sqlite(site.database, "SELECT * FROM t"):
            seen[row[:width]] = play.lake_row(row)
        result = site.one(handles=handles)
        assert result.error is None, f"{result.error} {result.error.why}"
        assert rows(site) == sorted(seen.values(), key=repr)


@settings(
    max_examples=EXAMPLES * 2,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(
    play=st.sampled_from(KEYS).flatmap(plays),
    at_once=st.integers(1, 3),
    lookback=st.sampled_from(("0s", "2s")),
    failing=st.frozensets(st.tuples(st.integers(1, 4), st.sampled_from(("before", "after"))), max_size=2),
)
@pytest.mark.timeout(3600)
def test_a_first_load_in_windows_beside_changes_and_failures(
    sqlite: kit.Sqlite, play: Play, at_once: int, lookback: str, failing: frozenset[tuple[int, str]]
) -> None:
    """A load whose windows are each large: rows change between two of them, commits fail before and after.

    What no file of the slice can hold is appended as it streams; no key is there twice for it, none is lost.
    """
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        site = kit.Site(Path(folder))
        sqlite(site.database, *play.ddl(), *play.statements(0))
        declared = f", primary_key: {play.key.declared}" if play.key.declared else ""
        cursor = f"{{column: at, lookback: {lookback}}}"
        site.write(f"  t: {{mode: merge, cursor: {cursor}, batch: {{max_rows: {at_once}}}{declared}}}\n")
        rounds = iter(range(1, len(play.rounds)))
        _between_windows(
            patch, lambda: [sqlite(site.database, *play.statements(n)) for n in islice(rounds, 1)]
        )
        _large_windows(patch)
        _failing(patch, dict(failing))
        while (result := site.one()).error is not None or result.rows:
            assert result.error is None or "pulled" in str(result.error), f"{result.error} {result.error.why}"
        there = {row[: len(play.key.columns)]: row for row in rows(site)}
        assert len(there) == len(rows(site))
        now = [play.lake_row(row) for row in sqlite(site.database, "SELECT * FROM t")]
        assert [row for row in now if there.get(row[: len(play.key.columns)]) != row] == []


@pytest.mark.parametrize(
    ("cursor", "change"),
    [
        ("{column: at, lookback: 1m}", "SELECT 1"),
        ("{column: at, on_null: include}", "UPDATE t SET at = NULL WHERE id = 19"),
    ],
)
def test_a_large_window_beside_rows_that_are_there(
    site: kit.Site, monkeypatch: pytest.MonkeyPatch, cursor: str, change: str
) -> None:
    """New keys do not stream where rows come with them that may be there: the lookback's, those of NULL."""
    _large_windows(monkeypatch)
    site.sql("CREATE TABLE t (id INTEGER PRIMARY KEY, at TEXT)")
    site.sql("INSERT INTO t VALUES (1, NULL)" if "NULL" in change else "SELECT 1")
    site.sql(("INSERT INTO t VALUES (?, ?)", [(n, f"2026-03-01 10:00:{n}") for n in range(10, 23)]))
    site.write(f"  t: {{mode: merge, cursor: {cursor}}}\n")
    assert site.one().error is None
    site.sql(change, "INSERT INTO t VALUES (40, '2026-03-01 10:00:40')")
    assert site.one().error is None
    assert sorted(site.column("t", "id")) == [row[0] for row in site.sql("SELECT id FROM t ORDER BY id")]


def test_a_large_window_beside_rows_that_came_again(site: kit.Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row that changes during the first load comes again in a later window, and is there once."""
    _large_windows(monkeypatch)
    site.sql(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, at INTEGER)", "INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)"
    )
    site.write("  t: {mode: merge, cursor: at, batch: {max_rows: 1}}\n")
    changes = iter(["UPDATE t SET at = 4 WHERE id = 1", "UPDATE t SET at = 3 WHERE id = 2"])
    _between_windows(monkeypatch, lambda: [site.sql(change) for change in islice(changes, 1)])
    while site.one().rows:
        pass
    assert rows(site) == [(1, 4), (2, 3), (3, 3)]


def _between_windows(patch: pytest.MonkeyPatch, do: Callable[[], object]) -> None:
    from silt.replicate.merge import MergeCycle

    asked = MergeCycle._is_stopped

    def asking(self: Any) -> bool:
        do()
        return asked(self)

    patch.setattr(MergeCycle, "_is_stopped", asking)


def _large_windows(patch: pytest.MonkeyPatch) -> None:
    """Each row is as many as a window that streams."""
    from silt.replicate import append, merge
    from silt.source import evidence

    for module, name in ((append, "GROUP_ROWS"), (merge, "GROUP_ROWS"), (evidence, "INLINE_ROWS")):
        patch.setattr(module, name, 0)


def _failing(patch: pytest.MonkeyPatch, when: dict[int, str]) -> None:
    """The commits of these numbers fail, before or after they are in the log."""
    from silt.target import Table

    append, numbers = Table.append, count(1)

    def failing(self: Any, *args: Any, **more: Any) -> int:
        place = when.get(next(numbers))
        if place == "before":
            raise OSError("the plug was pulled")
        version = append(self, *args, **more)
        if place == "after":
            raise OSError("the plug was pulled")
        return version

    patch.setattr(Table, "append", failing)


# --- what is told, and refused --------------------------------------------------------------------

ITEMS = (
    "create table t(id integer primary key, n integer, updated_at text)",
    "insert into t values (1, 1, '2026-01-01 00:00:01')",
    "insert into t values (2, 2, '2026-01-01 00:00:02'), (3, 3, '2026-01-01 00:00:03')",
)
MERGED = "  t: {mode: merge}\n"


def test_the_cursor_is_the_column_that_says_when_a_row_changed(site: kit.Site) -> None:
    """`auto` takes updated_at, says why, and needs no `primary_key` where the table has its own."""
    site.sql(*ITEMS)
    site.write(MERGED)
    (planned,) = site.plan().streams
    assert planned.cursor.order.columns == ("updated_at", "id")
    assert "it is written again when a row changes" in planned.cursor.why
    assert planned.cursor.warnings == (
        "rows that commit with an earlier updated_at than the last are missed: `lookback` reads them again",
        "no index on updated_at: each cycle reads the whole table",
    )


@pytest.mark.parametrize(
    ("table", "stream", "what", "hint"),
    [
        (
            "create table t(id integer primary key, n integer)",
            "mode: merge",
            "no safe cursor in t",
            "`mode: overwrite` needs no cursor",
        ),
        (
            "create table t(mail text not null unique, updated_at text)",
            "mode: merge, cursor: updated_at",
            "t has no primary key, and mode merge goes by one",
            "primary_key: [mail]",
        ),
        (
            "create table t(id integer primary key, updated_at text)",
            "mode: merge, cursor: updated_at, primary_key: [idd]",
            "primary_key names 'idd', which is no column of t",
            "did you mean 'id'?",
        ),
        (
            "create table t(id integer primary key, updated_at text)",
            "mode: merge, cursor: updated_at, columns: {id: {mask: redact}}",
            "key column id is masked",
            "another `primary_key`",
        ),
        (
            "create table t(at integer primary key, updated_at text)",
            "mode: merge, cursor: updated_at, columns: {at: {type: timestamp, format: epoch_ns}}",
            "rows of two keys may have one in the lake",
            "keeps the key whole",
        ),
    ],
    ids=["no cursor", "no key", "unknown column", "masked key", "a key that is cut"],
)
def test_what_cannot_be_merged_is_refused_at_plan(
    site: kit.Site, table: str, stream: str, what: str, hint: str
) -> None:
    """A table without a column of changes, or whose rows the lake could not tell apart."""
    site.sql(table)
    site.write(f"  t: {{{stream}}}\n")
    (planned,) = site.plan().streams
    assert planned.error is not None
    assert what in planned.error.what
    assert hint in planned.error.hint


def test_rows_without_a_key_are_refused_with_their_count(site: kit.Site) -> None:
    """SQLite lets a primary key be NULL; no row of the lake could be theirs.  `where` leaves them out."""
    site.sql(
        "create table t(k text primary key, v text, seq integer not null)",
        "insert into t values (null, 'a', 1), ('x', 'b', 2), (null, 'c', 3)",
    )
    site.write("  t: {mode: merge, cursor: seq}\n")
    refused = site.one()
    assert refused.state == "held"
    assert refused.error is not None
    assert "2 rows have NULL" in refused.error.what
    site.write("  t: {mode: merge, cursor: [seq], primary_key: [k, v]}\n")
    refused = site.one()
    assert refused.error is not None
    assert "2 rows" in refused.error.what
    site.write("  t: {mode: merge, cursor: seq, where: k is not null}\n")
    assert site.one().error is None
    assert rows(site) == [("x", "b", 2)]


def test_of_several_versions_in_one_batch_the_last_counts(site: kit.Site) -> None:
    """A log of states by a declared key that repeats: the lake has the latest state of each device."""
    site.sql(
        "create table log(id integer primary key, device text not null, state text)",
        "insert into log(device, state) values ('a', 'on'), ('b', 'on'), ('a', 'off'), ('a', 'on again')",
    )
    site.write("  log: {mode: merge, cursor: id, primary_key: device, batch: {max_rows: 3}}\n")
    assert site.one().error is None
    assert rows(site, "log") == [(2, "b", "on"), (4, "a", "on again")]
    site.sql("insert into log(device, state) values ('b', 'x'), ('b', 'off'), ('c', 'on')")
    assert site.one().rows == 2
    assert rows(site, "log") == [(4, "a", "on again"), (6, "b", "off"), (7, "c", "on")]


def test_the_position_advances_though_no_row_changed(site: kit.Site) -> None:
    """Rows that a filter leaves out, or that are there already, are not read a third time."""
    site.sql(*ITEMS)
    site.write("  t: {mode: merge, where: n < 10}\n")
    site.one()
    site.sql("insert into t values (9, 99, '2026-01-01 00:00:09')")
    moved = site.one()
    assert (moved.rows, moved.batches, moved.position) == (0, 1, {"app": ["2026-01-01 00:00:09", 9]})
    again = site.one()
    assert (again.batches, again.version) == (0, moved.version)


def test_a_lookback_writes_only_what_differs(site: kit.Site) -> None:
    """A row that commits with an earlier time is found; the others of the window make no commit."""
    site.sql(*ITEMS)
    site.write("  t: {mode: merge, cursor: {column: updated_at, lookback: 1h}}\n")
    site.one()
    first = site.one()
    assert first.batches == 0
    site.sql("update t set n = 20, updated_at = '2026-01-01 00:00:01' where id = 2")
    found = site.one()
    assert (found.rows, found.batches) == (1, 1)
    assert [row[1] for row in rows(site)] == [1, 20, 3]


def test_rows_with_a_null_cursor_are_merged_where_they_are_included(site: kit.Site) -> None:
    """`on_null: include`: a row that was never changed has no time; once it has one, it is one row still."""
    site.sql(*ITEMS, "update t set updated_at = null where id < 3")
    site.write("  t: {mode: merge, cursor: {column: updated_at, on_null: include}}\n")
    assert site.one().rows == 3
    site.sql(
        "insert into t values (4, 4, null)", "update t set n = 5, updated_at = '2026-02-01' where id = 2"
    )
    site.sql("update t set updated_at = '2026-02-01 00:00:00' where id = 2")
    assert site.one().rows == 2
    assert [row[:2] for row in rows(site)] == [(1, 1), (2, 5), (3, 3), (4, 4)]


def test_misfits_are_rescued(site: kit.Site) -> None:
    """A value that does not fit is kept beside its row, and goes when the row is mended."""
    site.sql(*ITEMS)
    site.write(MERGED)
    site.one()
    site.sql("update t set n = 'two', updated_at = '2026-01-01 00:00:04' where id = 2")
    assert site.one().misfits == 1
    (_, second, _) = sorted(site.lake("t"), key=lambda row: row["id"])
    assert second["n"] is None
    assert '"value": "two"' in second["_rescued_data"]
    site.sql("update t set n = 22, updated_at = '2026-01-01 00:00:05' where id = 2")
    site.one()
    (_, second, _) = sorted(site.lake("t"), key=lambda row: row["id"])
    assert (second["n"], second["_rescued_data"]) == (22, None)


# --- another source -------------------------------------------------------------------------------


def test_a_database_made_anew_is_merged_from_its_start(site: kit.Site) -> None:
    """The same ids with later times are the same rows, changed; what has no such row holds, or restarts."""
    site.sql(*ITEMS)
    site.write(MERGED)
    site.one()
    site.database.unlink()
    site.sql(ITEMS[0], "insert into t values (1, 100, '2026-06-01 00:00:00')")
    assert site.one().error is None
    assert [row[:2] for row in rows(site)] == [(1, 100), (2, 2), (3, 3)]
    site.database.unlink()
    site.sql(ITEMS[0], "insert into t values (7, 7, '2025-01-01 00:00:00')")
    held = site.one()
    assert held.state == "held"
    assert "another database is behind the path" in held.error.what
    site.write("  t: {mode: merge, on_reset: restart}\n")
    assert site.one().rows == 1
    assert [row[:2] for row in rows(site)] == [(1, 100), (2, 2), (3, 3), (7, 7)]


def test_a_restored_backup_goes_on(site: kit.Site) -> None:
    """A counter that falls behind the position is followed: what comes below it is read."""
    site.sql(
        "create table t(id integer primary key, n integer, version integer not null)",
        "insert into t values (1, 1, 1), (2, 2, 2), (3, 3, 3), (4, 4, 4)",
    )
    site.write("  t: {mode: merge, cursor: version}\n")
    site.one()
    backup = site.database.read_bytes()
    site.sql("update t set n = 30, version = 5 where id = 3", "insert into t values (5, 5, 6)")
    site.one()
    site.database.write_bytes(backup)
    site.sql("update t set n = 40, version = 5 where id = 4")
    assert site.one().error is None
    assert [row[:2] for row in rows(site)] == [(1, 1), (2, 2), (3, 3), (4, 40), (5, 5)]


def test_an_edit_of_mode_or_key_holds(site: kit.Site) -> None:
    """Rows in the lake are of the other mode, or keyed another way; undone, it goes on."""
    site.sql(*ITEMS)
    site.write(MERGED)
    site.one()
    for stream, said in (
        ("mode: append", "the mode was merge"),
        ("mode: merge, primary_key: [n]", "the primary key was [id], is [n]"),
    ):
        site.write(f"  t: {{{stream}}}\n")
        held = site.one()
        assert held.state == "held"
        assert said in held.error.what
    site.write(MERGED)
    assert site.one().error is None


# --- slices ---------------------------------------------------------------------------------------


def test_databases_of_one_table_keep_to_their_slices(site: kit.Site) -> None:
    """Tenants with the same ids share a table and a commit: none writes another's row."""
    for name, factor in (("a", 1), ("b", 10)):
        path = site.folder / "tenants" / f"{name}.db"
        path.parent.mkdir(exist_ok=True)
        kit.sql(path, *ITEMS, f"update t set n = n * {factor}")
    site.write(MERGED, source="./tenants/*.db")
    assert site.one().rows == 6
    for name in "ab":
        change = "update t set n = n + 1, updated_at = '2026-01-01 00:00:04' where id = 2"
        kit.sql(site.folder / "tenants" / f"{name}.db", change)
    changed = site.one()
    assert (changed.rows, changed.batches) == (2, 1)
    got = sorted((row["_silt_database"], row["id"], row["n"]) for row in site.lake("t"))
    assert got == [("a", 1, 1), ("a", 2, 3), ("a", 3, 3), ("b", 1, 10), ("b", 2, 21), ("b", 3, 30)]


def test_a_change_feed_shows_only_what_changed(site: kit.Site) -> None:
    """With `delta.enableChangeDataFeed` a reader sees each real insert and update, no other."""
    site.sql(*ITEMS)
    site.write(
        "  t: {mode: merge, cursor: {column: updated_at, lookback: 1h},"
        " properties: {delta.enableChangeDataFeed: true}}\n"
    )
    site.one()
    site.sql(
        "update t set n = 20, updated_at = '2026-01-01 00:00:04' where id = 2",
        "insert into t values (4, 4, '2026-01-01 00:00:04')",
    )
    assert site.one().rows == 2
    assert feed(site, 2) == [("insert", 4, 4), ("update_postimage", 2, 20), ("update_preimage", 2, 2)]


def feed(site: kit.Site, version: int) -> list[tuple[Any, ...]]:
    """What a reader of the table's change feed sees from `version` on: (kind of change, id, n)."""
    import pyarrow as pa
    from deltalake import DeltaTable

    changes = pa.table(DeltaTable(str(site.folder / "lake" / "t")).load_cdf(starting_version=version))
    return sorted((row["_change_type"], row["id"], row["n"]) for row in changes.to_pylist())


@pytest.mark.timeout(240)
def test_five_processes_merge_into_one_table(tmp_path: Path) -> None:
    """Five nodes with the same ids write one table at once, in the same files: each keeps to its own rows."""
    nodes = Nodes(tmp_path, "mode: merge", ITEMS)
    for turn in range(2):
        nodes.run()
        nodes.equal("id", "n", "updated_at")
        later = f"2026-01-0{turn + 2} 00:00:00"
        nodes.change(f"update t set n = n + 100, updated_at = '{later}' where id <> {turn}")


def test_columns_may_be_called_as_those_that_a_merge_adds(site: kit.Site) -> None:
    """A source with silt's own words for names, in whatever case: its rows change and go like any other."""
    columns = '"_SILT_gone" integer, silt_source integer, silt_mine integer, at integer'
    site.sql(
        f"create table t(id integer primary key, {columns})",
        "insert into t values (1, 1, 1, 1, 1), (2, 2, 2, 2, 2), (3, 3, 3, 3, 3)",
    )
    site.write("  t: {mode: merge, cursor: at, deletes: {mode: hard, max_fraction: 1}}\n")
    assert site.one().rows == 3
    site.sql(
        'update t set "_SILT_gone" = 10, at = 10 where id = 1',
        "delete from t where id = 2",
        "insert into t values (4, 4, 4, 4, 11)",
    )
    assert site.one().error is None
    site.expect("t", "t")
