"""The order of rows: each schedule of DESIGN 4.3, named after what happened, through real cycles."""

from __future__ import annotations

import random
import re
from pathlib import Path

import kit
import pytest
from outcome import at, held, ok, same, spelled

INSERT = "INSERT INTO t VALUES (?, ?)"


@pytest.fixture
def site(tmp_path: Path) -> kit.Site:
    """A folder without a database."""
    return kit.Site(tmp_path)


@pytest.fixture
def numbered(site: kit.Site) -> kit.Site:
    """Ids 1-10 and 20-30 of an INTEGER PRIMARY KEY, replicated."""
    ids = [*range(1, 11), *range(20, 31)]
    site.sql("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)", (INSERT, [(n, f"a{n}") for n in ids]))
    site.write("  t:\n")
    same(site)
    return site


# --- rowids ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("low", [0, -5, -(2**63)])
def test_rowid_below_the_minimum_holds(numbered: kit.Site, low: int) -> None:
    """It came in behind the position and would be lost; without it the stream goes on."""
    numbered.sql((INSERT, (low, "low")))
    held(numbered, "4.3", str(low))
    numbered.sql(f"DELETE FROM t WHERE id = {low}", (INSERT, (31, "a31")))
    same(numbered)


def test_negative_rowids_that_rise_are_read(site: kit.Site) -> None:
    """Negative ids are ids; the first row is no lead row to be dropped."""
    site.sql("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)", (INSERT, [(-(2**63), "a"), (-5, "b")]))
    site.write("  t:\n")
    same(site)
    site.sql((INSERT, [(-4, "c"), (0, "d"), (7, "e")]))
    same(site)


@pytest.mark.parametrize("when", ["first", "later"])
def test_greatest_rowid_holds(site: kit.Site, when: str) -> None:
    """From 2^63-1 on SQLite picks rowids at random: nothing orders them any more."""
    site.sql("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)", (INSERT, (1, "a")))
    site.write("  t:\n")
    if when == "later":
        same(site)
    site.sql((INSERT, (2**63 - 1, "last")), "INSERT INTO t (v) VALUES ('at random')")
    held(site, "4.3", "9223372036854775807")


def test_rowid_just_below_the_greatest_is_read(numbered: kit.Site) -> None:
    """2^63-2 is a row like others."""
    numbered.sql((INSERT, (2**63 - 2, "late")))
    same(numbered)


def test_id_inserted_into_a_gap_is_not_promised(numbered: kit.Site) -> None:
    """A row below the position is outside append's promise: not read, nor does it disturb what follows."""
    numbered.sql((INSERT, (15, "gap")), (INSERT, (31, "a31")))
    ok(numbered, 1)
    assert sorted(set(range(1, 32)) - set(numbered.column("t", "id"))) == list(range(11, 20))


# --- rowids that VACUUM renumbers -----------------------------------------------------------------


@pytest.fixture
def nameless(site: kit.Site) -> kit.Site:
    """Ten rows of a table without INTEGER PRIMARY KEY, replicated by their declared rowid."""
    site.sql("CREATE TABLE t (v TEXT)", ("INSERT INTO t VALUES (?)", [(f"a{n}",) for n in range(1, 11)]))
    site.write("  t: {cursor: rowid, lineage: [rowid]}\n")
    same(site)
    return site


def test_vacuum_that_renumbers_rowids_holds(nameless: kit.Site) -> None:
    """6-10 became 1-5, and rows inserted after it would be lost."""
    nameless.sql("DELETE FROM t WHERE rowid <= 5", "VACUUM", "INSERT INTO t VALUES ('a11')")
    assert nameless.sql("SELECT max(rowid) FROM t") == [(6,)]
    held(nameless, "4.3", "VACUUM")


def test_vacuum_that_renumbers_past_the_position_holds(nameless: kit.Site) -> None:
    """More rows came than went: the greatest rowid lies past the position, and still other rows bear it."""
    rows = [(f"b{n}",) for n in range(20)]
    nameless.sql("DELETE FROM t WHERE rowid <= 5", ("INSERT INTO t VALUES (?)", rows), "VACUUM")
    assert nameless.sql("SELECT max(rowid) FROM t") == [(25,)]
    held(nameless, "4.3", "VACUUM")


def test_vacuum_that_renumbers_nothing_goes_on(nameless: kit.Site) -> None:
    """schema_version rose, but every remembered row stands at its rowid."""
    nameless.sql("VACUUM", "INSERT INTO t VALUES ('a11')")
    same(nameless)


def test_declared_rowid_warns(nameless: kit.Site) -> None:
    """Where VACUUM may renumber, plan says so."""
    (stream,) = nameless.plan().streams
    assert "VACUUM may renumber" in " ".join(stream.cursor.warnings)


def test_auto_takes_no_rowid_that_vacuum_renumbers(site: kit.Site) -> None:
    """Only an INTEGER PRIMARY KEY is taken unasked; a table with nothing safe is refused."""
    site.sql("CREATE TABLE t (v TEXT)", "INSERT INTO t VALUES ('a'), ('a')")
    site.write("  t:\n")
    result = site.one()
    assert result.state == "failing"
    assert "no safe cursor" in str(result.error)


@pytest.fixture
def timed(site: kit.Site) -> kit.Site:
    """Rows ordered by a time, their ties told apart by a rowid that VACUUM renumbers; replicated."""
    site.sql("CREATE TABLE t (ts TEXT, v TEXT)")
    rows = [(f"2024-05-01 10:00:{n // 3:02}", f"a{n}") for n in range(20)]
    site.sql((INSERT, rows))
    site.write("  t: {cursor: ts, lineage: [rowid]}\n")
    same(site)
    return site


def test_vacuum_renumbers_a_tie_breaker(timed: kit.Site) -> None:
    """The time orders; the rows at the position are the same by content under other rowids: go on."""
    timed.sql("DELETE FROM t WHERE rowid <= 5", "VACUUM")
    before = len(timed.lake("t"))
    ok(timed, 0)
    timed.sql((INSERT, [("2024-05-01 10:00:06", "tie"), ("2024-05-01 10:00:07", "next")]))
    ok(timed)
    assert sorted(set(timed.column("t", "v"))) == sorted({*(f"a{n}" for n in range(20)), "tie", "next"})
    assert len(timed.lake("t")) == before + 2
    ok(timed, 0)


def test_vacuum_renumbers_a_tie_breaker_whose_ties_changed(timed: kit.Site) -> None:
    """A row came in at the position's time before VACUUM gave it another rowid: held."""
    tie = ("2024-05-01 10:00:06", "tie")
    timed.sql(
        "DELETE FROM t WHERE rowid <= 5", (INSERT, tie), "VACUUM", (INSERT, ("2024-05-01 10:00:09", "n"))
    )
    held(timed, "4.3", "VACUUM")


# --- times ----------------------------------------------------------------------------------------

TIMED = "CREATE TABLE t (id INTEGER PRIMARY KEY, ts TEXT)"


def _late(site: kit.Site) -> None:
    """Three rows, replicated; then one whose time lies before the last, as a slow writer commits it."""
    site.sql(TIMED, (INSERT, [(n, f"2024-05-01 10:0{n}:00") for n in (1, 2, 3)]))
    ok(site, 3)
    site.sql((INSERT, (4, "2024-05-01 10:02:30")))


def test_late_time_is_seen_in_commit_order(site: kit.Site) -> None:
    """`auto` orders by the INTEGER PRIMARY KEY though a time column exists: by time 60 of 785 were lost."""
    site.write("  t:\n")
    _late(site)
    same(site)


def test_late_time_is_missed_without_lookback_and_plan_warns(site: kit.Site) -> None:
    """A declared time cursor loses it; that is what the warning says."""
    site.write("  t: {cursor: ts}\n")
    _late(site)
    (stream,) = site.plan().streams
    assert "lookback" in " ".join(stream.cursor.warnings)
    ok(site, 0)
    assert site.column("t", "id") == [1, 2, 3]


@pytest.mark.parametrize("form", ["text", "epoch"])
def test_late_time_is_found_by_lookback(site: kit.Site, form: str) -> None:
    """`lookback` reads again, and adds what the slice lacks by key: once, and no row within twice."""
    start = 1_714_557_600 if form == "epoch" else None
    kind = "INTEGER" if start else "TEXT"
    spell = (lambda m: start + 60 * m) if start else (lambda m: f"2024-05-01 10:{m:02}:00")
    site.sql(
        f"CREATE TABLE t (id INTEGER PRIMARY KEY, ts {kind})", (INSERT, [(n, spell(n)) for n in range(1, 9)])
    )
    site.write("  t: {cursor: {column: ts, lookback: 5m}}\n")
    ok(site, 8)
    site.sql((INSERT, [(9, spell(5)), (10, spell(1)), (11, spell(12))]))
    ok(site, 2)
    assert sorted(site.column("t", "id")) == [*range(1, 10), 11], "10 lies before the lookback"
    ok(site, 0)


def test_late_time_while_the_last_row_goes(site: kit.Site) -> None:
    """The last row is deleted, one comes in late, and the position jumps: `lookback` still finds it."""
    rows = [(n, f"2024-05-01 10:{n:02}:00") for n in range(1, 21)]
    site.sql(TIMED, (INSERT, rows))
    site.write("  t: {cursor: {column: ts, lookback: 10m}}\n")
    ok(site, 20)
    site.sql("DELETE FROM t WHERE id = 20")
    site.sql((INSERT, [(30, "2024-05-01 10:15:30"), (31, "2024-05-01 12:00:00")]))
    ok(site, 2)
    ok(site, 0)
    assert sorted(site.column("t", "id")) == [*range(1, 21), 30, 31]


def test_lookback_is_not_warned_about(site: kit.Site) -> None:
    """Who declared a lookback needs no advice to declare one."""
    site.sql(TIMED, (INSERT, [(n, f"2024-05-01 10:0{n}:00") for n in (1, 2, 3)]))
    site.write("  t: {cursor: {column: ts, lookback: 1h}}\n")
    (stream,) = site.plan().streams
    assert "`lookback`" not in " ".join(stream.cursor.warnings)


def test_future_times_are_deferred_counted_and_arrive(site: kit.Site) -> None:
    """A row of the far future does not carry the position past those that are still to come."""
    now = 1_714_557_600.0
    site.sql(TIMED, (INSERT, [(1, spelled(now)), (2, spelled(now + 86_400)), (3, spelled(now + 3_600))]))
    site.write("  t: {cursor: ts}\n")
    result = at(site, now)
    assert (result.state, result.rows) == ("ok", 2), result.error
    assert any(re.search(r"\b1 rows? .*future", note) for note in result.notes), result.notes
    site.sql((INSERT, (4, spelled(now + 7_200))))
    result = at(site, now + 7_200)
    assert (result.state, result.rows) == ("ok", 1)
    result = at(site, now + 86_400)
    assert (result.state, result.rows) == ("ok", 1)
    assert sorted(site.column("t", "id")) == [1, 2, 3, 4]


# --- NULLs ----------------------------------------------------------------------------------------


def _with_nulls(site: kit.Site, on_null: str) -> None:
    rows = [(1, "2024-05-01 10:00:00"), (2, None), (3, "2024-05-01 11:00:00"), (4, None)]
    site.sql(TIMED, (INSERT, rows))
    site.write(f"  t: {{cursor: {{column: ts, on_null: {on_null}}}}}\n")


def test_null_cursors_fail_with_their_count(site: kit.Site) -> None:
    """By default they hold the stream: `(ts, id) > (NULL, 3)` is never true, they would never be read."""
    _with_nulls(site, "fail")
    result = site.one()
    assert (result.state, result.rows) == ("held", 0)
    assert "2 rows have NULL" in str(result.error)


def test_null_cursors_that_come_later_fail(site: kit.Site) -> None:
    """They hold though a position exists."""
    site.sql(TIMED, (INSERT, (1, "2024-05-01 10:00:00")))
    site.write("  t: {cursor: ts}\n")
    ok(site, 1)
    site.sql((INSERT, [(2, None), (3, "2024-05-01 11:00:00")]))
    held(site, "4.3", "NULL")


def test_null_cursors_included_advance_two_positions(site: kit.Site) -> None:
    """The last rowid among NULLs and the last (cursor, rowid) go on side by side."""
    _with_nulls(site, "include")
    same(site)
    site.sql((INSERT, (5, None)))
    ok(site, 1)
    site.sql((INSERT, [(6, "2024-05-01 12:00:00"), (7, None)]))
    ok(site, 2)
    site.sql((INSERT, (8, "2024-05-01 13:00:00")))
    ok(site, 1)
    same(site)


def test_only_null_cursors_then_values(site: kit.Site) -> None:
    """A table that begins with nothing but NULLs is not stuck."""
    site.sql(TIMED, (INSERT, [(1, None), (2, None)]))
    site.write("  t: {cursor: {column: ts, on_null: include}}\n")
    same(site)
    site.sql((INSERT, [(3, None), (4, "2024-05-01 12:00:00")]))
    same(site)


# --- one storage class, one format ----------------------------------------------------------------

STRAYS: dict[str, tuple[list[object], object]] = {
    "integer among texts": (["2024-01-01 10:00:00", "2024-01-01 11:00:00"], 1_704_100_000),
    "blob among texts": (["2024-01-01 10:00:00", "2024-01-01 11:00:00"], b"2024"),
    "text among integers": ([1_704_100_000, 1_704_100_060], "2024-01-01 10:00:00"),
    "blob among integers": ([1_704_100_000, 1_704_100_060], b"2024"),
    "blank for T, below": (["2024-01-01T10:00:00", "2024-01-01T11:00:00"], "2024-01-01 23:00:00"),
    "T for blank, above": (["2024-01-01 10:00:00", "2024-01-01 11:00:00"], "2024-01-01T09:00:00"),
    "blank for T, above": (["2024-01-01T10:00:00", "2024-01-01T11:00:00"], "2024-01-02 10:00:00"),
    "with an offset": (["2024-01-01T10:00:00", "2024-01-01T11:00:00"], "2024-01-01T12:00:00+02:00"),
    "a day alone": (["2024-01-01 10:00:00", "2024-01-01 11:00:00"], "2024-01-02"),
    "no time at all": (["2024-01-01 10:00:00", "2024-01-01 11:00:00"], "unknown"),
}


@pytest.mark.parametrize("fault", STRAYS)
@pytest.mark.parametrize("when", ["first cycle", "later"])
def test_stray_cursor_value_holds(site: kit.Site, fault: str, when: str) -> None:
    """Position '2024-01-01T00:00:00' never sees '2024-01-01 23:00:00', nor an integer: held, not lost."""
    values, stray = STRAYS[fault]
    site.sql("CREATE TABLE t (id INTEGER PRIMARY KEY, ts)", (INSERT, list(enumerate(values, 1))))
    site.write("  t: {cursor: ts}\n")
    if when == "later":
        ok(site, 2)
    site.sql((INSERT, (3, stray)))
    held(site, "4.3", "ts")
    site.sql("DELETE FROM t WHERE id = 3")
    ok(site)
    assert len(site.lake("t")) == 2


@pytest.mark.parametrize("declared", ["TEXT", "DATETIME"])
def test_stray_that_is_most_of_what_is_there_holds(site: kit.Site, declared: str) -> None:
    """Position 'unknown' is past every time to come: held, whatever has the majority."""
    site.sql(f"CREATE TABLE t (id INTEGER PRIMARY KEY, ts {declared})")
    site.sql((INSERT, [(1, "2024-01-01 10:00:00"), (2, "unknown"), (3, "later")]))
    site.write("  t: {cursor: ts}\n")
    held(site, "4.3", "ts")
    site.sql("UPDATE t SET ts = '2024-01-01 11:00:00' WHERE id > 1")
    ok(site, 3)
    same(site)


def test_integers_and_reals_are_one_class(site: kit.Site) -> None:
    """SQLite compares them exactly: a cursor may hold both."""
    site.sql("CREATE TABLE t (id INTEGER PRIMARY KEY, ts NUMERIC)", (INSERT, [(1, 10), (2, 10.5), (3, 11)]))
    site.write("  t: {cursor: ts}\n")
    ok(site, 3)
    site.sql((INSERT, [(4, 11.5), (5, 12)]))
    ok(site, 2)


# --- ties -----------------------------------------------------------------------------------------

TIES = {
    "WITHOUT ROWID": "CREATE TABLE t (key TEXT PRIMARY KEY, ts TEXT) WITHOUT ROWID",
    "a random text key": "CREATE TABLE t (key TEXT PRIMARY KEY NOT NULL, ts TEXT)",
    "a view": "CREATE TABLE base (key TEXT PRIMARY KEY, ts TEXT) WITHOUT ROWID",
}


@pytest.mark.parametrize("fault", TIES)
def test_ties_whose_tie_breaker_does_not_rise(site: kit.Site, fault: str) -> None:
    """Random keys, times in seconds: rows keep coming in below the last key (5,525 of 5,931 lost)."""
    table = "base" if fault == "a view" else "t"
    site.sql(TIES[fault], *(["CREATE VIEW t AS SELECT key, ts FROM base"] if table == "base" else []))
    site.write("  t: {cursor: [ts, key]}\n" if table == "base" else "  t: {cursor: ts}\n")
    chance = random.Random(4)
    for cycle in range(6):
        second = f"2024-05-01 10:00:{cycle // 3:02}"
        rows = [(f"{chance.getrandbits(64):016x}", second) for _ in range(20)]
        site.sql((f"INSERT INTO {table} VALUES (?, ?)", rows))
        ok(site, 20)
    same(site)


def test_tie_that_went_away(site: kit.Site) -> None:
    """A deleted row at the position's cursor value: what is left is held already, nothing is added."""
    site.sql(TIES["WITHOUT ROWID"], (INSERT, [(k, "2024-05-01 10:00:00") for k in "abcdef"]))
    site.write("  t: {cursor: ts}\n")
    same(site)
    site.sql("DELETE FROM t WHERE key = 'c'")
    ok(site, 0)
    site.sql((INSERT, ("bb", "2024-05-01 10:00:00")))
    ok(site, 1)
    assert sorted(site.column("t", "key")) == ["a", "b", "bb", "c", "d", "e", "f"]


@pytest.mark.parametrize("second", ["00", "01"], ids=["last second", "earlier second"])
def test_tie_that_comes_while_the_last_row_goes(site: kit.Site, second: str) -> None:
    """The last row is deleted, and another comes in below what is left at its time: read once."""
    rows = [(f"{second}{k}", f"2024-05-01 10:00:{second}") for k in "aceg"]
    gone = [("z", "2024-05-01 10:00:01")]
    site.sql(TIES["WITHOUT ROWID"], (INSERT, rows), (INSERT, gone))
    site.write("  t: {cursor: ts}\n")
    ok(site, 5)
    site.sql("DELETE FROM t WHERE key = 'z'", (INSERT, (f"{second}b", f"2024-05-01 10:00:{second}")))
    ok(site, 1)
    site.sql((INSERT, ("y", "2024-05-01 10:00:05")))
    ok(site, 1)
    ok(site, 0)
    assert sorted(site.column("t", "key")) == sorted([k for k, _ in rows] + [f"{second}b", "y", "z"])


def test_ties_without_their_key_in_the_lake_are_held(site: kit.Site) -> None:
    """Which of the rows at the position's value are new cannot be told: held, not doubled."""
    site.sql("CREATE TABLE t (key TEXT PRIMARY KEY, ts TEXT, v TEXT) WITHOUT ROWID")
    site.sql(("INSERT INTO t VALUES (?, ?, 'v')", [(k, "2024-05-01 10:00:00") for k in "bdf"]))
    site.write('  t: {cursor: ts, select: ["*", "-key"]}\n')
    result = site.one()
    if result.state == "ok":  # a tie-breaker may be left out of the lake until it is needed
        site.sql("INSERT INTO t VALUES ('c', '2024-05-01 10:00:00', 'v')")
        held(site, "4.4", "key")
    else:
        assert "key" in str(result.error)


def test_guarded_expression_does_not_become_the_order(site: kit.Site) -> None:
    """Keys are ordered and compared as the column stores them, whatever the reader wraps around it."""
    site.sql("CREATE TABLE t (key TEXT COLLATE NOCASE PRIMARY KEY, ts TEXT) WITHOUT ROWID")
    site.write("  t: {cursor: ts}\n")
    for keys in ("Aa", "bc", "Cd", "dE"):
        site.sql((INSERT, [(keys, "2024-05-01 10:00:00"), (keys + "x", "2024-05-01 10:00:00")]))
        ok(site, 2)
    same(site)


# --- pinned ---------------------------------------------------------------------------------------

PINNED: dict[str, tuple[str, ...]] = {
    "an index": ("CREATE INDEX by_when ON t (made)",),
    "a unique index on the cursor": ("CREATE UNIQUE INDEX one ON t (ts)",),
    "a better column": ("ALTER TABLE t ADD COLUMN created_at TEXT", "UPDATE t SET created_at = ts"),
}


@pytest.mark.parametrize("appears", PINNED)
def test_auto_does_not_flip_under_a_position(site: kit.Site, appears: str) -> None:
    """What detection would choose today does not matter: the position's cursor stays."""
    site.sql("CREATE TABLE t (ts TEXT NOT NULL, made TEXT NOT NULL)")
    site.sql((INSERT, [(f"2024-05-01 10:00:{n:02}", f"2024-05-01 10:00:{n:02}") for n in range(10)]))
    site.write("  t:\n")
    same(site)
    (before,) = site.plan().streams
    site.sql(*PINNED[appears])
    ok(site, 0)
    site.sql("INSERT INTO t (ts, made) VALUES ('2024-05-01 10:01:00', '2024-05-01 10:01:00')")
    ok(site, 1)
    (after,) = site.plan().streams
    assert after.cursor.order.cursor == before.cursor.order.cursor


def test_declared_cursor_that_changes_holds(site: kit.Site) -> None:
    """The position counts by the old one: held until the edit is undone."""
    site.sql(TIMED, (INSERT, [(n, f"2024-05-01 10:00:0{n}") for n in range(1, 6)]))
    site.write("  t:\n")
    same(site)
    site.write("  t: {cursor: ts}\n")
    site.sql((INSERT, (6, "2024-05-01 10:00:06")))
    held(site, "4.1", "cursor")
    site.write("  t: {cursor: rowid}\n")
    same(site)


def test_key_that_goes_away_holds(site: kit.Site) -> None:
    """The table is made anew without its INTEGER PRIMARY KEY, rows kept: the cursor is not the same."""
    site.sql(TIMED, (INSERT, [(n, f"2024-05-01 10:00:0{n}") for n in range(1, 6)]))
    site.write("  t:\n")
    same(site)
    site.sql("CREATE TABLE u (id INT, ts TEXT)", "INSERT INTO u SELECT * FROM t", "DROP TABLE t")
    site.sql("ALTER TABLE u RENAME TO t", "INSERT INTO t VALUES (6, '2024-05-01 10:00:06')")
    held(site, "4.1", "cursor")


# --- what a read proves ---------------------------------------------------------------------------


def test_view_whose_declared_key_is_not_unique_is_refused(site: kit.Site) -> None:
    """No schema promises it; the reader checks it, and nothing is committed."""
    site.sql("CREATE TABLE base (key TEXT, ts TEXT)", "CREATE VIEW t AS SELECT key, ts FROM base")
    site.sql(("INSERT INTO base VALUES (?, ?)", [("a", "2024-05-01 10:00:00")] * 2))
    site.write("  t: {cursor: [ts, key]}\n")
    result = site.one()
    assert result.state in ("held", "failing")
    assert result.rows == 0
    assert site.lake("t") == []


def test_rows_that_get_lost_while_they_are_read(site: kit.Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader counts: where fewer rows come than the snapshot holds, nothing is committed."""
    site.sql(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)", (INSERT, [(n, f"a{n}") for n in range(1, 21)])
    )
    site.write("  t:\n")
    from silt.source import read

    assembled = read._assembled

    def loses_one(job: object, keys: object, columns: object) -> object:
        batch = assembled(job, keys, columns)
        return batch.slice(1)

    monkeypatch.setattr(read, "_assembled", loses_one)
    result = site.one()
    assert (result.state, result.rows) == ("failing", 0)
    assert "19 rows were read of t where 20 had been counted" in str(result.error)
    monkeypatch.setattr(read, "_assembled", assembled)
    same(site)
