"""The lake is the state: each schedule of DESIGN 4.1, 4.2, 4.5 and 4.6, named after what happened."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import kit
import pytest
from deltalake import DeltaTable, Field, Schema, write_deltalake
from deltalake.schema import PrimitiveType
from outcome import entry, held, ok, same, version

from silt import target
from silt.errors import RetryLater
from silt.target.log import parse

INSERT = "INSERT INTO t VALUES (?, ?)"


def rows(first: int, last: int) -> list[tuple[int, str]]:
    """Rows with the ids `first` to `last`."""
    return [(n, f"a{n}") for n in range(first, last + 1)]


@pytest.fixture
def site(tmp_path: Path) -> kit.Site:
    """Three batches of ten rows, replicated."""
    site = kit.Site(tmp_path)
    site.sql("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)")
    site.write("  t:\n")
    for batch in range(3):
        site.sql((INSERT, rows(batch * 10 + 1, batch * 10 + 10)))
        ok(site, 10)
    return site


@contextmanager
def resident(site: kit.Site) -> Any:
    """Handles that stay open over cycles, as the daemon's do."""
    from silt import manifest, observe

    with observe.Handles(manifest.load(site.manifest, open_secrets=True)) as handles:
        yield handles


def delta(site: kit.Site) -> DeltaTable:
    """The table as another program opens it."""
    return DeltaTable(str(site.folder / "lake" / "t"))


def arrow(*ids: int) -> Any:
    """Rows as another program would append them."""
    import pyarrow as pa

    return pa.table({"id": list(ids), "v": ["foreign"] * len(ids)})


# --- 4.5: others change the table -----------------------------------------------------------------

SCHEMA = Schema([Field("id", PrimitiveType("long")), Field("v", PrimitiveType("string"))])

TAKEN_AWAY: dict[str, Callable[[DeltaTable], object]] = {
    "RESTORE": lambda table: table.restore(2),
    "CREATE OR REPLACE": lambda table: DeltaTable.create(table.table_uri, SCHEMA, mode="overwrite"),
    "overwrite": lambda table: write_deltalake(table, arrow(99), mode="overwrite"),
    "DELETE": lambda table: table.delete("id = 25"),
    "UPDATE": lambda table: table.update(predicate="id = 25", updates={"v": "'y'"}),
}
HARMLESS: dict[str, Callable[[DeltaTable], object]] = {
    "OPTIMIZE": lambda table: table.optimize.compact(),
    "VACUUM": lambda table: table.vacuum(0, dry_run=False, enforce_retention_duration=False),
    "append": lambda table: write_deltalake(table, arrow(-1, -2), mode="append"),
    "checkpoint": lambda table: table.create_checkpoint(),
    "a property": lambda table: table.alter.set_table_properties({"delta.appendOnly": "false"}),
}


@pytest.mark.parametrize("change", TAKEN_AWAY)
@pytest.mark.parametrize("new", [True, False], ids=["new rows", "nothing new"])
def test_taken_away_by_others_holds_until_reset(site: kit.Site, change: str, new: bool) -> None:
    """After RESTORE the transaction stays: rows in between would never return.  `reset` sends all again."""
    TAKEN_AWAY[change](delta(site))
    if new:
        site.sql((INSERT, rows(31, 33)))
    held(site, "4.5", "version 4")
    held(site, "4.5", "version 4")
    assert site.reset("t").state == "ok"
    same(site)


@pytest.mark.parametrize("change", HARMLESS)
def test_harmless_changes_by_others_go_on(site: kit.Site, change: str) -> None:
    """OPTIMIZE, VACUUM, appends by others between two cycles: positions stand, rows are read once."""
    HARMLESS[change](delta(site))
    site.sql((INSERT, rows(31, 33)))
    ok(site, 3)
    ok(site, 0)
    assert sorted(n for n in site.column("t", "id") if n > 0) == [*range(1, 34)]


@pytest.mark.parametrize("change", ["RESTORE", "DELETE"])
def test_taken_away_under_a_resident_handle_holds(site: kit.Site, change: str) -> None:
    """The entry between two cycles of one process is read, too."""
    with resident(site) as handles:
        ok(site, 0, handles=handles)
        TAKEN_AWAY[change](delta(site))
        site.sql((INSERT, rows(31, 33)))
        held(site, "4.5", "version 4", handles=handles)
        held(site, "4.5", "version 4", handles=handles)


def test_plan_shows_what_is_held(site: kit.Site) -> None:
    """`plan` says what `run` would: held, with the fact."""
    from silt import manifest, observe

    delta(site).restore(2)
    loaded = manifest.load(site.manifest, open_secrets=True)
    with observe.Handles(loaded) as handles:
        (seen,) = observe.outlook(observe.look(loaded, handles), handles)
    assert seen.state == "held"
    assert "RESTORE" in str(seen.error)


@pytest.mark.parametrize("cold", [True, False], ids=["cold", "resident"])
def test_deleted_table_is_sent_again(site: kit.Site, cold: bool) -> None:
    """A re-created table has no transactions: everything is sent again, once."""
    site.sql((INSERT, rows(31, 33)))
    with resident(site) as handles:
        ok(site, 3, handles=handles)
        shutil.rmtree(site.folder / "lake" / "t")
        ok(site, 33, handles=None if cold else handles)
    same(site)


@pytest.mark.parametrize("cold", [True, False], ids=["cold", "resident"])
def test_table_created_anew_by_others(site: kit.Site, cold: bool) -> None:
    """Deleted, and created again by somebody else, empty: everything is sent again, once."""
    with resident(site) as handles:
        ok(site, 0, handles=handles)
        shutil.rmtree(site.folder / "lake" / "t")
        DeltaTable.create(str(site.folder / "lake" / "t"), SCHEMA)
        ok(site, 30, handles=None if cold else handles)
    same(site)


def test_log_cleaned_up_past_the_position_goes_on_with_a_note(site: kit.Site) -> None:
    """Entries already cleaned up cannot be checked for foreign changes: said, and gone on."""
    table = delta(site)
    table.alter.set_table_properties({"delta.logRetentionDuration": "interval 0 days"})
    for _ in range(3):
        write_deltalake(table, arrow(), mode="append")
    table.create_checkpoint()
    table.cleanup_metadata()
    write_deltalake(table, arrow(), mode="append")
    assert not entry(site.folder / "lake" / "t", 4).exists()
    site.sql((INSERT, rows(31, 33)))
    result = ok(site, 3)
    assert any("could not be checked" in note for note in result.notes), result.notes
    same(site)


def test_position_survives_checkpoint_and_clean_up(site: kit.Site) -> None:
    """It lives in the table's own state, not in the log entry that carried it."""
    table = delta(site)
    table.alter.set_table_properties({"delta.logRetentionDuration": "interval 0 days"})
    table.create_checkpoint()
    table.cleanup_metadata()
    table.optimize.compact()
    table.vacuum(0, dry_run=False, enforce_retention_duration=False)
    site.sql((INSERT, rows(31, 33)))
    ok(site, 3)
    same(site)


# --- reset ----------------------------------------------------------------------------------------


def test_reset_commits_the_next_batch_with_an_empty_position(site: kit.Site) -> None:
    """Transactions cannot be removed: batch b+1, an empty position, no row left; the next cycle refills."""
    app = "silt/default/local/t/app"
    before = _position(site, app)
    assert site.reset("t").state == "ok"
    assert _position(site, app) == (before[0] + 1, b"")
    assert site.lake("t") == []
    ok(site, 30)
    assert _position(site, app)[0] == before[0] + 2
    same(site)


def _position(site: kit.Site, app: str) -> tuple[int, bytes]:
    table = target.open_table(str(site.folder / "lake" / "t"), {})
    assert table is not None
    return table.position(app)


# --- 4.1: the lake is the state -------------------------------------------------------------------


def test_state_dir_deleted_between_any_two_runs(tmp_path: Path) -> None:
    """Losing it loses nothing: no row is read twice, none is missed."""
    site = kit.Site(tmp_path)
    site.sql("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)")
    site.write("  t:\n", head="state_dir: ./state\n")
    for batch in range(3):
        site.sql((INSERT, rows(batch * 10 + 1, batch * 10 + 10)))
        done = subprocess.run(
            [sys.executable, "-m", "silt", "run", "--once", str(site.manifest)],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        shutil.rmtree(tmp_path / "state", ignore_errors=True)
    same(site)


def test_wiped_device_resumes_from_the_lake(site: kit.Site) -> None:
    """A fresh folder, a copied database, the same lake: only what is new is sent."""
    fresh = kit.Site(site.folder / "fresh")
    fresh.folder.mkdir()
    shutil.copy(site.database, fresh.database)
    site.database.unlink()
    (fresh.folder / "lake").symlink_to(site.folder / "lake")
    fresh.write("  t:\n")
    fresh.sql((INSERT, rows(31, 34)))
    ok(fresh, 4)
    same(fresh)


def test_slice_with_rows_but_no_position_is_held(tmp_path: Path) -> None:
    """Rows that nobody's position accounts for: appending would double or mix them; `reset` rebuilds."""
    site = kit.Site(tmp_path)
    write_deltalake(str(tmp_path / "lake" / "t"), arrow(1, 2, 3))
    site.sql("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)", (INSERT, rows(1, 3)))
    site.write("  t:\n")
    held(site, "10", "no position")
    assert site.reset("t").state == "ok"
    same(site)


def test_renamed_stream_into_the_same_table_is_held(site: kit.Site) -> None:
    """Another stream name is another identity: its rows would be sent twice."""
    site.write("  other: {table: t, into: t}\n")
    held(site, "10", "no position")


def test_two_streams_append_to_one_table(tmp_path: Path) -> None:
    """Each has its own position there; neither sees the other's commits as foreign."""
    site = kit.Site(tmp_path)
    for name in "ab":
        site.sql(f"CREATE TABLE {name} (id INTEGER PRIMARY KEY, v TEXT)")
    site.write("  a: {into: both}\n  b: {into: both}\n")
    for batch in range(3):
        site.sql((f"INSERT INTO {'ab'[batch % 2]} (v) VALUES (?)", [(f"{batch}:{n}",) for n in range(5)]))
        results = site.cycle().streams
        assert [r.state for r in results] == ["ok", "ok"], [r.error for r in results]
        assert sum(r.rows for r in results) == 5
    assert sum(r.rows for r in site.cycle().streams) == 0
    assert sorted(site.column("both", "v")) == sorted(f"{b}:{n}" for b in range(3) for n in range(5))


# --- 4.2: commits ---------------------------------------------------------------------------------


def _wrapped(monkeypatch: pytest.MonkeyPatch, around: Callable[..., int]) -> None:
    """Puts `around(append, table, reader, **more)` in the place of the first append, once."""
    append, calls = target.Table.append, []

    def once(self: target.Table, reader: Any, **more: Any) -> int:
        calls.append(1)
        if len(calls) > 1:
            return append(self, reader, **more)
        return around(append, self, reader, **more)

    monkeypatch.setattr(target.Table, "append", once)


def test_commit_whose_reply_is_lost(site: kit.Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was applied, and an error came back: the nonce in the table says that it was mine."""

    def lost(append: Any, table: target.Table, reader: Any, **more: Any) -> int:
        append(table, reader, **more)
        raise RetryLater("the connection was closed before the reply came")

    _wrapped(monkeypatch, lost)
    site.sql((INSERT, rows(31, 40)))
    ok(site, 10)
    same(site)


def test_commit_that_never_happened(site: kit.Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error and no commit: said, nothing counted, and the next cycle writes it."""

    def refused(append: Any, table: target.Table, reader: Any, **more: Any) -> int:
        raise RetryLater("the store does not answer")

    _wrapped(monkeypatch, refused)
    site.sql((INSERT, rows(31, 40)))
    result = site.one()
    assert (result.state, result.rows) == ("failing", 0)
    ok(site, 10)
    same(site)


@pytest.mark.parametrize("lost", [False, True], ids=["conflict", "reply lost"])
def test_rival_commits_between_read_and_commit(
    site: kit.Site, monkeypatch: pytest.MonkeyPatch, lost: bool
) -> None:
    """A rival's batch b+1 stands there: mine is discarded and rebuilt from the table's position."""
    by_rival: list[int] = []
    site.sql((INSERT, rows(31, 40)))

    def overtaken(append: Any, table: target.Table, reader: Any, **more: Any) -> int:
        rival = kit.Site(site.folder)
        rival.sql((INSERT, rows(41, 45)))
        by_rival.append(ok(rival).rows)
        if lost:
            raise RetryLater("the connection was closed before the reply came")
        return append(table, reader, **more)

    _wrapped(monkeypatch, overtaken)
    mine = ok(site).rows
    assert (by_rival, mine) == ([15], 0)
    same(site)


def test_rival_commits_right_after_mine(site: kit.Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mine was accepted and a rival has built on it before the table is read again: both count their own."""
    by_rival: list[int] = []
    site.sql((INSERT, rows(31, 40)))

    def followed(append: Any, table: target.Table, reader: Any, **more: Any) -> int:
        at = append(table, reader, **more)
        rival = kit.Site(site.folder)
        rival.sql((INSERT, rows(41, 45)))
        by_rival.append(ok(rival).rows)
        return int(at)

    _wrapped(monkeypatch, followed)
    mine = ok(site).rows
    assert (mine, by_rival) == (10, [5])
    same(site)


def test_rival_under_a_stale_handle(site: kit.Site) -> None:
    """Two processes that each keep a handle and take turns: a cached position is never believed."""
    with resident(site) as one, resident(site) as two:
        for turn in range(6):
            site.sql((INSERT, rows(31 + turn * 3, 33 + turn * 3)))
            ok(site, 3, handles=(one, two)[turn % 2])
        ok(site, 0, handles=one)
    same(site)


def test_an_accepted_commit_whose_entry_is_a_rivals(site: kit.Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that lets two commits write one entry says yes to both: only what stands there counts."""
    write = target.table.write_deltalake

    def overwritten(*args: Any, **more: Any) -> None:
        write(*args, **more)
        monkeypatch.setattr("silt.target.table.write_deltalake", write)
        entry(site.folder / "lake" / "t", version(site)).unlink()
        rival = kit.Site(site.folder)
        rival.sql((INSERT, rows(41, 45)))
        ok(rival, 15)

    site.sql((INSERT, rows(31, 40)))
    with resident(site) as handles:
        monkeypatch.setattr("silt.target.table.write_deltalake", overwritten)
        ok(site, 0, handles=handles)
        site.sql((INSERT, rows(46, 50)))
        ok(site, 5, handles=handles)
    same(site)


def test_rival_creates_the_table_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planned without a table, committed beside a rival's: its rows are seen, none is doubled."""
    site = kit.Site(tmp_path)
    site.sql("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)", (INSERT, rows(1, 10)))
    site.write("  t:\n")
    create = target.create_table

    def overtaken(*args: Any, **more: Any) -> target.Table:
        monkeypatch.setattr(target, "create_table", create)
        ok(kit.Site(tmp_path), 10)
        return create(*args, **more)

    monkeypatch.setattr(target, "create_table", overtaken)
    ok(site, 0)
    same(site)


def test_rival_creates_the_table_after_we_looked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between our look and our CREATE TABLE: the rival's table is taken as it is, its rows stay."""
    site = kit.Site(tmp_path)
    site.sql("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)", (INSERT, rows(1, 10)))
    site.write("  t:\n")
    looked = target.table.open_table

    def overtaken(uri: str, options: Any) -> None:
        monkeypatch.setattr("silt.target.table.open_table", looked)
        ok(kit.Site(tmp_path), 10)

    monkeypatch.setattr("silt.target.table.open_table", overtaken)
    ok(site, 0)
    same(site)


def test_a_filter_that_lets_nothing_through_still_advances(site: kit.Site) -> None:
    """The position moves by an empty append; rows that were passed over are not counted again."""
    site.write("  t: {where: \"v <> 'skip'\"}\n")
    site.sql((INSERT, [(n, "skip") for n in range(31, 41)]))
    assert ok(site, 0).position == {"app": [40]}
    at = version(site)
    ok(site, 0)
    assert version(site) == at


def test_bulk_load_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit every `batch.max_rows`; after a failure the rest follows, nothing is read twice."""
    site = kit.Site(tmp_path)
    site.sql("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)", (INSERT, rows(1, 95)))
    site.write("  t: {batch: {max_rows: 10}}\n")
    append, calls = target.Table.append, []

    def fails_at_four(self: target.Table, reader: Any, **more: Any) -> int:
        calls.append(1)
        if len(calls) == 4:
            raise RetryLater("the store does not answer")
        return append(self, reader, **more)

    monkeypatch.setattr(target.Table, "append", fails_at_four)
    result = site.one()
    assert (result.state, result.rows, result.batches) == ("failing", 30, 3)
    assert (ok(site, 65).batches) == 7
    same(site)


def test_rows_that_come_during_a_bulk_load_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cycle ends where the table ended when it began, however fast rows arrive; the next takes them."""
    site = kit.Site(tmp_path)
    site.sql("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)", (INSERT, rows(1, 30)))
    site.write("  t: {batch: {max_rows: 10}}\n")
    append, calls = target.Table.append, []

    def writer(self: target.Table, reader: Any, **more: Any) -> int:
        site.sql((INSERT, rows(31 + 10 * len(calls), 40 + 10 * len(calls))))
        calls.append(1)
        return append(self, reader, **more)

    monkeypatch.setattr(target.Table, "append", writer)
    ok(site, 30)
    monkeypatch.setattr(target.Table, "append", append)
    same(site)


# --- 4.6: power cuts ------------------------------------------------------------------------------


def _cut_before_txns(path: Path) -> None:
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if '{"txn"' not in line))


def _half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _data(table: Path, number: int) -> Path:
    """The data file that a version added."""
    return table / parse(number, entry(table, number).read_bytes()).adds[0].path


TORN: dict[str, Callable[[Path, int], object]] = {
    "entry of 0 bytes": lambda table, last: entry(table, last).write_bytes(b""),
    "entry cut in a line": lambda table, last: _half(entry(table, last)),
    "entry cut before its txns": lambda table, last: _cut_before_txns(entry(table, last)),
    "data file of 0 bytes": lambda table, last: _data(table, last).write_bytes(b""),
    "data file missing": lambda table, last: _data(table, last).unlink(),
}


@pytest.mark.parametrize("fault", TORN)
@pytest.mark.parametrize("new", [False, True], ids=["nothing new", "new rows"])
def test_torn_last_entry_is_redone(site: kit.Site, fault: str, new: bool) -> None:
    """Its rows were never acknowledged: set aside, said, sent again; none is lost, none is doubled."""
    TORN[fault](site.folder / "lake" / "t", version(site))
    if new:
        site.sql((INSERT, rows(31, 33)))
    result = ok(site, 13 if new else 10)
    assert any("set aside" in note for note in result.notes), result.notes
    same(site)


@pytest.mark.parametrize("fault", ["entry of 0 bytes", "entry cut before its txns", "data file of 0 bytes"])
def test_torn_entry_that_others_build_on_is_held(site: kit.Site, fault: str) -> None:
    """Nothing can be guessed: held, in the next cycle of the same process too, until it is mended."""
    table = site.folder / "lake" / "t"
    damaged = {path: path.read_bytes() for path in (_data(table, 2), entry(table, 2))}
    TORN[fault](table, 2)
    names = sorted(path.name for path in table.rglob("*"))
    site.sql((INSERT, rows(31, 33)))
    with resident(site) as handles:
        for _ in range(2):
            result = site.one(handles=handles)
            assert (result.state, result.rows) == ("held", 0), (result.state, result.error)
            assert result.error.rule == "4.6"
    assert sorted(path.name for path in table.rglob("*")) == names, "nothing is moved"
    for path, whole in damaged.items():
        path.write_bytes(whole)
    ok(site, 3)
    same(site)


@pytest.mark.parametrize("size", [0, 100])
def test_torn_checkpoint_is_dropped(site: kit.Site, size: int) -> None:
    """A table does not open with it; its entries are all there."""
    delta(site).create_checkpoint()
    (checkpoint,) = (site.folder / "lake" / "t" / "_delta_log").glob("*.checkpoint.parquet")
    checkpoint.write_bytes(checkpoint.read_bytes()[:size])
    site.sql((INSERT, rows(31, 33)))
    result = ok(site, 3)
    assert any("checkpoint" in note for note in result.notes), result.notes
    same(site)


def test_everything_is_on_disk_before_a_cycle_counts_as_done(
    site: kit.Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """delta-rs never syncs: data file, log entry and folders are synced after the commit."""
    synced: list[str] = []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        fsync(descriptor)

    site.sql((INSERT, rows(31, 33)))
    with resident(site) as handles:
        ok(site, 3, handles=handles)
        monkeypatch.setattr("os.fsync", noted)
        site.sql((INSERT, rows(34, 36)))
        ok(site, 3, handles=handles)
    table = site.folder / "lake" / "t"
    names = {str(Path(path).relative_to(site.folder)) for path in synced}
    assert {f"lake/t/{_data(table, version(site)).name}", "lake/t", "lake/t/_delta_log", "lake"} <= names
    assert f"lake/t/_delta_log/{version(site):020d}.json" in names


# --- 4.7 ------------------------------------------------------------------------------------------


def test_two_processes_without_a_shared_lock_are_fenced(site: kit.Site) -> None:
    """Where the lock is not shared (other `state_dir`s), commits fence: each row is there once."""
    code = (
        "import sys, kit, pathlib\n"
        "site = kit.Site(pathlib.Path(sys.argv[1]))\n"
        "rows = 0\n"
        "for _ in range(15):\n"
        "    result = site.one()\n"
        "    assert result.state == 'ok', result.error\n"
        "    rows += result.rows\n"
        "print(rows)\n"
    )
    path = os.pathsep.join(sys.path)
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(site.folder)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
        )
        for _ in range(2)
    ]
    for batch in range(40):
        site.sql((INSERT, rows(31 + batch * 5, 35 + batch * 5)))
    counted = [int(process.communicate(timeout=60)[0]) for process in running]
    last = ok(site).rows
    assert sum(counted) + last == 200, "a batch was counted by somebody whose it was not"
    same(site)


def test_a_position_of_a_newer_silt_is_held(site: kit.Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """What this silt cannot read it does not overwrite."""
    monkeypatch.setattr("silt.position.FORMAT", 2)
    site.sql((INSERT, rows(31, 33)))
    ok_or_held = site.one()
    assert ok_or_held.state == "held"
    assert "format 1" in str(ok_or_held.error)


def test_positions_are_packed_again_when_they_shrink(tmp_path: Path) -> None:
    """A shorter position leaves chunks of a longer one behind it: they do not disturb."""
    from silt.position import Position, decode, encode, nonce, pack, unpack

    long = replace(Position(definition=("rowid", "id", "/")), machine="x" * 400, nonce=nonce())
    short = replace(long, machine="", nonce=nonce())
    txns = dict(pack("silt/a/b/c/d", 1, encode(long)))
    txns.update(pack("silt/a/b/c/d", 2, encode(short)))
    batch, payload = unpack(txns, "silt/a/b/c/d")
    assert (batch, decode(payload)) == (2, short)
