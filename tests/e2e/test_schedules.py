"""Is this still the same source? Each schedule of DESIGN 4.4, named after what happened, through real cycles.

The table "Positions: schedules that lost or doubled rows" of the measured facts is the list of those that
did.  Everywhere: what the lake holds after it is counted row by row, by content.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import kit
import pytest
from outcome import held

from silt.source.open import identity

Rows = list[tuple[int, str]]

TABLE = "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)"
COUNTING = "CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, v TEXT)"
INSERT = "INSERT INTO t (id, v) VALUES (?, ?)"


def rows(first: int, last: int, mark: str = "a") -> Rows:
    """Rows with the ids `first` to `last`; `mark` makes other rows of the same ids."""
    return [(n, f"{mark}{n}") for n in range(first, last + 1)]


def expect(site: kit.Site, *groups: Rows) -> None:
    """The lake holds exactly these rows, each as often as it is named."""
    wanted = Counter(row for group in groups for row in group)
    got = Counter((row["id"], row["v"]) for row in site.lake("t"))
    assert got == wanted


def settled(site: kit.Site, *groups: Rows) -> None:
    """A cycle is ok, leaves exactly these rows, and another one writes nothing more."""
    result = site.one()
    assert result.state == "ok", result.error
    expect(site, *groups)
    version = result.version
    again = site.one()
    assert (again.state, again.rows, again.version) == ("ok", 0, version), again.error
    expect(site, *groups)


@pytest.fixture
def site(tmp_path: Path) -> kit.Site:
    """100 rows, replicated."""
    return _replicated(kit.Site(tmp_path), TABLE)


@pytest.fixture
def counting(tmp_path: Path) -> kit.Site:
    """The same with AUTOINCREMENT."""
    return _replicated(kit.Site(tmp_path), COUNTING)


@pytest.fixture
def restarting(site: kit.Site) -> kit.Site:
    """The same under `on_reset: restart`."""
    site.write("  t: {on_reset: restart}\n")
    return site


def _replicated(site: kit.Site, table: str) -> kit.Site:
    site.sql(table, (INSERT, rows(1, 100)))
    site.write("  t:\n")
    settled(site, rows(1, 100))
    return site


# --- replaced -------------------------------------------------------------------------------------


def _replace(site: kit.Site, *groups: Rows) -> None:
    """Delete the file and create another one, as the sensor program does when it starts."""
    site.database.unlink()
    site.sql(TABLE, *((INSERT, group) for group in groups))


REPLACED: dict[str, tuple[Rows, ...]] = {
    "an equal row at the watermark": (rows(1, 99, "b"), rows(100, 100)),
    "an equal row at the watermark, and more past it": (
        rows(1, 99, "b"),
        rows(100, 100),
        rows(101, 150, "b"),
    ),
    "a gap at the watermark": (rows(1, 99, "b"), rows(101, 150, "b")),
    "other rows up to the watermark": (rows(1, 100, "b"),),
    "few rows, ids begin again at 1": (rows(1, 10, "b"),),
    "one row": (rows(1, 1, "b"),),
}


@pytest.mark.parametrize("fault", REPLACED)
def test_replaced_database_is_held(site: kit.Site, fault: str) -> None:
    """Another database behind the path holds: nothing of it is written, and the old file resumes."""
    old = site.folder / "old.db"
    shutil.copy2(site.database, old)
    _replace(site, *REPLACED[fault])
    held(site, "4.4", "another database")
    held(site, "4.4", "another database")
    old.replace(site.database)
    site.sql((INSERT, rows(101, 103)))
    settled(site, rows(1, 103))


@pytest.mark.parametrize("fault", REPLACED)
def test_replaced_database_under_restart(restarting: kit.Site, fault: str) -> None:
    """`on_reset: restart` reads the new database from its start, once, beside the old rows."""
    site = restarting
    _replace(site, *REPLACED[fault])
    settled(site, rows(1, 100), *REPLACED[fault])
    site.sql((INSERT, rows(151, 160, "b")))
    settled(site, rows(1, 100), *REPLACED[fault], rows(151, 160, "b"))


def test_replaced_file_under_the_old_inode(restarting: kit.Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """ext4 gives a re-created file the old inode: its birth time tells that it is another one."""
    site = restarting
    monkeypatch.setattr("silt.source.evidence.identity", lambda path: replace(identity(path), inode=7))
    site.sql((INSERT, rows(101, 101)))
    settled(site, rows(1, 101))
    _replace(site, rows(1, 10, "b"))
    settled(site, rows(1, 101), rows(1, 10, "b"))


def test_replaced_database_with_the_same_rows_goes_on(site: kit.Site) -> None:
    """A copy, a restored dump: another file with the same rows is the same source."""
    _replace(site, rows(1, 105))
    settled(site, rows(1, 105))


def test_replaced_by_an_empty_database_waits(restarting: kit.Site) -> None:
    """An empty table says nothing; its first row does."""
    site = restarting
    _replace(site)
    assert site.one().state == "waiting"
    expect(site, rows(1, 100))
    site.sql((INSERT, rows(1, 3, "b")))
    settled(site, rows(1, 100), rows(1, 3, "b"))


def test_each_incarnation_is_read_once(restarting: kit.Site) -> None:
    """The sensor program restarts again and again: every database is read once."""
    site = restarting
    for mark in "bcd":
        _replace(site, rows(1, 7, mark))
        assert site.one().state == "ok"
        site.sql((INSERT, rows(8, 12, mark)))
        assert site.one().state == "ok"
    settled(site, rows(1, 100), *(rows(1, 12, mark) for mark in "bcd"))


def test_restart_whose_rows_are_all_filtered_is_committed(tmp_path: Path) -> None:
    """A new incarnation counts though no row of it passes the filter: it is begun only once."""
    site = kit.Site(tmp_path)
    site.sql(TABLE, (INSERT, rows(1, 100)))
    site.write("  t: {on_reset: restart, where: \"v like 'a%'\"}\n")
    assert site.one().rows == 100
    _replace(site, rows(1, 20, "b"))
    settled(site, rows(1, 100))
    site.sql((INSERT, rows(21, 22)))
    settled(site, rows(1, 100), rows(21, 22))


def test_restart_with_nothing_to_read_is_committed(tmp_path: Path) -> None:
    """Every row of the new database lies at or before `initial_value`: it is begun, once, all the same."""
    site = kit.Site(tmp_path)
    site.sql(TABLE, (INSERT, rows(1, 100)))
    site.write("  t: {on_reset: restart, cursor: {column: id, initial_value: 50}}\n")
    assert site.one().rows == 50
    _replace(site, rows(1, 20, "b"))
    result = site.one()
    assert (result.state, result.rows, result.batches) == ("ok", 0, 1)
    settled(site, rows(51, 100))
    site.sql((INSERT, rows(21, 60, "b")))
    settled(site, rows(51, 100), rows(51, 60, "b"))


# --- rewritten in place ---------------------------------------------------------------------------

REWRITTEN: dict[str, tuple[str | tuple[str, Rows], ...]] = {
    "every row updated": ("UPDATE t SET v = 'z' || v",),
    "deleted and filled again": ("DELETE FROM t", (INSERT, rows(1, 30, "b"))),
    "dropped and created again": ("DROP TABLE t", TABLE, (INSERT, rows(1, 120, "b"))),
}


@pytest.mark.parametrize("fault", REWRITTEN)
@pytest.mark.parametrize("on_reset", ["fail", "restart"])
def test_rows_rewritten_in_place_are_held(site: kit.Site, fault: str, on_reset: str) -> None:
    """The very same file (device, inode, birth time) with other rows: held, even under restart."""
    site.write(f"  t: {{on_reset: {on_reset}}}\n")
    site.sql(*REWRITTEN[fault])
    held(site, "4.4", "in place")


def test_without_a_birth_time_a_replaced_database_is_held(
    restarting: kit.Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ext4 gives a re-created file the old inode (10 of 10): without a birth time nobody can tell."""
    site = restarting
    monkeypatch.setattr("silt.source.open._birth", lambda path, seen: None)
    site.sql((INSERT, rows(101, 101)))
    settled(site, rows(1, 101))
    _replace(site, rows(1, 10, "b"))
    held(site, "4.4", "birth time")


def test_another_machine_with_other_rows_is_held(
    restarting: kit.Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two machines share one `node`: the second must not restart what the first replicates."""
    site = restarting
    monkeypatch.setattr("silt.source.evidence.machine_id", lambda: "another machine")
    _replace(site, rows(1, 10, "b"))
    held(site, "4.4", "machine")


def test_another_machine_with_the_same_rows_goes_on(site: kit.Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that moved to another machine is no other source."""
    monkeypatch.setattr("silt.source.evidence.machine_id", lambda: "another machine")
    site.sql((INSERT, rows(101, 104)))
    settled(site, rows(1, 104))


# --- rewound --------------------------------------------------------------------------------------

REGROWN: dict[str, tuple[Rows, Rows]] = {
    "the same rows": (rows(61, 110), rows(101, 110)),
    "other rows": (rows(61, 110, "c"), rows(61, 110, "c")),
    "other rows, not so many": (rows(61, 75, "c"), rows(61, 75, "c")),
    "some of both": (
        rows(61, 80) + rows(81, 120, "c"),
        rows(81, 120, "c"),
    ),
}


@pytest.mark.parametrize("regrown", REGROWN)
@pytest.mark.parametrize("between", [True, False], ids=["seen behind", "unseen"])
def test_rewind_from_a_backup(tmp_path: Path, regrown: str, between: bool) -> None:
    """A copy of the file at 60 rows is put back, and grows again: only what the lake lacks is added."""
    site = kit.Site(tmp_path)
    site.sql(TABLE, (INSERT, rows(1, 60)))
    site.write("  t:\n")
    backup = tmp_path / "backup.db"
    shutil.copy(site.database, backup)
    site.sql((INSERT, rows(61, 100)))
    settled(site, rows(1, 100))
    backup.replace(site.database)
    if between:
        settled(site, rows(1, 100))
    again, lacking = REGROWN[regrown]
    for start in range(0, len(again), 20):
        site.sql((INSERT, again[start : start + 20]))
        assert site.one().state == "ok"
    settled(site, rows(1, 100), lacking)


def test_rewind_of_rows_that_have_no_lasting_key_is_held(tmp_path: Path) -> None:
    """Where VACUUM may renumber rowids, which rows the lake lacks cannot be told: held, nothing doubled."""
    site = kit.Site(tmp_path)
    site.sql("CREATE TABLE t (v TEXT)", ("INSERT INTO t VALUES (?)", [(f"a{n}",) for n in range(1, 101)]))
    site.write("  t: {cursor: rowid}\n")
    assert site.one().rows == 100
    site.sql("DELETE FROM t WHERE rowid > 90", "INSERT INTO t VALUES ('new')")
    held(site, "4.3", "rowids")
    assert len(site.lake("t")) == 100


# --- the last row ---------------------------------------------------------------------------------


def test_update_of_the_last_row(site: kit.Site) -> None:
    """One new version of one row is added, once; the 99 before it are not (99 doubled in a prototype)."""
    site.sql("UPDATE t SET v = 'changed' WHERE id = 100")
    settled(site, rows(1, 100), [(100, "changed")])
    site.sql((INSERT, rows(101, 110)))
    settled(site, rows(1, 110), [(100, "changed")])


def test_delete_of_the_last_row_then_the_same_then_another(site: kit.Site) -> None:
    """SQLite gives the id out again: the same row is held already, another one under the same id is not."""
    site.sql("DELETE FROM t WHERE id = 100")
    settled(site, rows(1, 100))
    site.sql((INSERT, rows(100, 100)))
    settled(site, rows(1, 100))
    site.sql("DELETE FROM t WHERE id = 100", (INSERT, rows(100, 100, "b")))
    settled(site, rows(1, 100), rows(100, 100, "b"))
    site.sql((INSERT, rows(101, 120)))
    settled(site, rows(1, 120), rows(100, 100, "b"))


def test_delete_of_the_last_rows_and_new_ones_past_them(site: kit.Site) -> None:
    """Deleted rows stay in an append table; what follows them is read."""
    site.sql("DELETE FROM t WHERE id > 95", (INSERT, rows(101, 103)))
    settled(site, rows(1, 103))


def test_changes_to_and_fro(site: kit.Site) -> None:
    """The same row, changed and changed back: each state that was seen is there once."""
    for _ in range(2):
        site.sql("UPDATE t SET v = 'x' WHERE id = 100")
        settled(site, rows(1, 100), [(100, "x")])
        site.sql("UPDATE t SET v = 'a100' WHERE id = 100")
        settled(site, rows(1, 100), [(100, "x")])


# --- the schema changes ---------------------------------------------------------------------------


def test_add_column(site: kit.Site) -> None:
    """An added column changes no hash of old rows: nothing is read again (100 doubled in a prototype)."""
    site.sql("ALTER TABLE t ADD COLUMN w INTEGER DEFAULT 7")
    settled(site, rows(1, 100))
    site.sql("INSERT INTO t VALUES (101, 'a101', 8)")
    settled(site, rows(1, 101))
    by_id = {row["id"]: row["w"] for row in site.lake("t")}
    assert (by_id[100], by_id[101]) == (None, 8)
    site.sql("UPDATE t SET w = 9 WHERE id <= 50")
    settled(site, rows(1, 101))


def test_drop_column(tmp_path: Path) -> None:
    """A dropped column arrives NULL; witnesses that hashed it tell by presence until new ones are made."""
    site = kit.Site(tmp_path)
    site.sql("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT, w TEXT)")
    site.sql(("INSERT INTO t VALUES (?, ?, 'w')", rows(1, 100)))
    site.write("  t:\n")
    settled(site, rows(1, 100))
    site.sql("ALTER TABLE t DROP COLUMN w")
    settled(site, rows(1, 100))
    site.sql((INSERT, rows(101, 105)))
    settled(site, rows(1, 105))
    by_id = {row["id"]: row["w"] for row in site.lake("t")}
    assert (by_id[100], by_id[101]) == ("w", None)
    site.sql("UPDATE t SET v = 'changed' WHERE id = 105")
    settled(site, rows(1, 105), [(105, "changed")])


def test_a_later_filter_changes_no_witness(site: kit.Site) -> None:
    """Witnesses are hashed without `where`: an edited filter looks like no other database."""
    site.write("  t: {where: \"v <> 'a102'\"}\n")
    site.sql((INSERT, rows(101, 103)))
    settled(site, rows(1, 101), rows(103, 103))


def test_a_later_selection_changes_no_witness(tmp_path: Path) -> None:
    """A column left out later does not look like other rows."""
    site = kit.Site(tmp_path)
    site.sql("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT, w TEXT)")
    site.sql(("INSERT INTO t VALUES (?, ?, 'w')", rows(1, 100)))
    site.write("  t:\n")
    settled(site, rows(1, 100))
    site.write('  t: {select: ["*", "-w"]}\n')
    site.sql((INSERT, rows(101, 103)))
    settled(site, rows(1, 103))


def test_a_column_left_out_is_in_no_witness(tmp_path: Path) -> None:
    """An unselected column may change without looking like other rows (and stands in no position)."""
    site = kit.Site(tmp_path)
    site.sql("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT, seen TEXT)")
    site.sql(("INSERT INTO t VALUES (?, ?, 'no')", rows(1, 100)))
    site.write('  t: {select: ["*", "-seen"]}\n')
    settled(site, rows(1, 100))
    site.sql("UPDATE t SET seen = 'yes'", (INSERT, rows(101, 103)))
    settled(site, rows(1, 103))


# --- purged, emptied ------------------------------------------------------------------------------


def test_purge_of_old_rows(site: kit.Site) -> None:
    """Old rows go away behind the position: go on."""
    site.sql("DELETE FROM t WHERE id <= 95", (INSERT, rows(101, 105)))
    settled(site, rows(1, 105))


@pytest.mark.parametrize("kept", ["all past", "none yet"])
def test_purge_of_every_row_that_was_read(counting: kit.Site, kept: str) -> None:
    """No witness is left, but AUTOINCREMENT's sequence stands at or past the position."""
    site = counting
    if kept == "all past":
        site.sql((INSERT, rows(101, 105)))
    site.sql("DELETE FROM t WHERE id <= 100")
    settled(site, rows(1, 100), rows(101, 105) if kept == "all past" else [])
    site.sql((INSERT, rows(106, 110)))
    settled(site, rows(1, 100), rows(101, 105) if kept == "all past" else [], rows(106, 110))


def test_purge_of_every_row_that_was_read_without_autoincrement(site: kit.Site) -> None:
    """No witness is left, but every row that is left lies past the position."""
    site.sql((INSERT, rows(101, 105)), "DELETE FROM t WHERE id <= 103")
    settled(site, rows(1, 100), rows(104, 105))
    assert any("purged" in event.text for event in site.events if hasattr(event, "text"))


def test_purge_where_a_row_at_the_position_came_back(site: kit.Site) -> None:
    """No witness is left and rows stand below the position: that is no purge."""
    site.sql("DELETE FROM t", (INSERT, [(40, "b"), (120, "b")]))
    held(site, "4.4", "in place")


def test_replaced_counting_database_is_no_purge(counting: kit.Site) -> None:
    """AUTOINCREMENT's sequence begins anew with another database."""
    site = counting
    site.database.unlink()
    site.sql(COUNTING, (INSERT, rows(1, 99, "b")), "DELETE FROM t WHERE id NOT IN (2, 3)")
    held(site, "4.4", "another database")


EMPTIED: dict[str, tuple[Rows, Callable[[kit.Site], None]]] = {
    "the same rows": (rows(1, 102), lambda site: settled(site, rows(1, 102))),
    "other rows": (rows(1, 3, "b"), lambda site: held(site, "4.4", "in place")),
    "rows past the position": (rows(101, 103), lambda site: settled(site, rows(1, 103))),
}


@pytest.mark.parametrize("then", EMPTIED)
def test_emptied_table_waits(site: kit.Site, then: str) -> None:
    """DELETE FROM t: the next row tells whether it is the same table."""
    site.sql("DELETE FROM t")
    result = site.one()
    assert (result.state, result.rows) == ("waiting", 0)
    assert any("empty" in note for note in result.notes)
    expect(site, rows(1, 100))
    again, outcome = EMPTIED[then]
    site.sql((INSERT, again))
    outcome(site)


def test_emptied_table_that_counts_on(counting: kit.Site) -> None:
    """DELETE FROM t under AUTOINCREMENT: ids never return, so it goes on at once."""
    site = counting
    site.sql("DELETE FROM t")
    assert site.one().state == "ok"
    site.sql("INSERT INTO t (v) VALUES ('a101'), ('a102')")
    settled(site, rows(1, 102))


# --- the file itself ------------------------------------------------------------------------------


def test_replaced_file_under_a_resident_connection(site: kit.Site) -> None:
    """A resident connection would see the deleted file's rows for ever: it is opened anew."""
    from silt import manifest, observe

    with observe.Handles(manifest.load(site.manifest, open_secrets=True)) as handles:
        assert site.one(handles=handles).state == "ok"
        _replace(site, rows(1, 100), rows(101, 110))
        assert site.one(handles=handles).rows == 10
        site.sql((INSERT, rows(111, 112)))
        assert site.one(handles=handles).rows == 2
    settled(site, rows(1, 112))


def test_moved_file_is_no_other_source(site: kit.Site) -> None:
    """A path that changes is no identity change; the name is, and it stayed."""
    moved = site.folder / "elsewhere"
    moved.mkdir()
    shutil.copy(site.database, moved / "app.db")
    site.database.unlink()
    site.write("  t:\n", source="./elsewhere/app.db")
    kit.sql(moved / "app.db", (INSERT, rows(101, 103)))
    settled(site, rows(1, 103))
