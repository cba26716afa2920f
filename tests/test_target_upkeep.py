"""Upkeep of one table: what is written together, what is removed, and that nothing else changes."""

from __future__ import annotations

import os
import time
from datetime import date
from pathlib import Path
from typing import Any

import lake
import pyarrow as pa
import pytest
from deltalake import DeltaTable

from silt.errors import Contended, UserError
from silt.position import pack
from silt.target import (
    ColumnSpec,
    Table,
    Upkeep,
    check_at_start,
    last_done,
    open_table,
    open_upkeep,
    upkeep,
)
from silt.target.log import read_entry
from silt.target.store import LocalFiles

MB = 1024 * 1024
DAY = 86_400.0
ABOUT = {"manifest": "m", "node": "n", "upkeep": "test"}


def grown(path: Path, batches: int, **more: Any) -> Table:
    """A table of one row a batch, each in a file of its own."""
    table = lake.new(path, **more)
    for batch in range(1, batches + 1):
        lake.add(table, batch, payload=b"at %d" % batch)
    return table


def opened(path: Path) -> Upkeep:
    found = open_upkeep(str(path), {})
    assert found is not None
    return found


def files(path: Path) -> list[Path]:
    return sorted(path.rglob("*.parquet"))


def live(path: Path) -> list[int]:
    """The sizes of the files that are in the table."""
    return pa.table(DeltaTable(path.as_uri()).get_add_actions())["size_bytes"].to_pylist()


def aged(*paths: Path, days: float) -> None:
    """As if they had been written so long ago."""
    for path in paths:
        os.utime(path, times=(time.time() - days * DAY,) * 2)


def operations(path: Path) -> list[str]:
    """What each version did."""
    log = LocalFiles(path)
    latest = DeltaTable(path.as_uri()).version()
    return [read_entry(log, version).info["operation"] for version in range(latest + 1)]


# --- compact --------------------------------------------------------------------------------------


def test_compact_keeps_rows_and_positions(tmp_path: Path) -> None:
    """30 files become one; every row is there once, the position and the resident handle go on."""
    table = grown(tmp_path / "t", 30)
    before = sum(live(tmp_path / "t"))
    done = opened(tmp_path / "t").compact(128 * MB, metadata=ABOUT)
    assert (done.before, done.after, done.bytes, done.version) == (30, 1, before, 31)
    assert len(live(tmp_path / "t")) == 1
    table.refresh()
    assert table.position(lake.APP) == (30, b"at 30")
    assert lake.ids(table) == list(range(1, 31))
    assert lake.add(table, 31) == 33
    fresh = open_table(str(tmp_path / "t"), {})
    assert fresh is not None
    assert fresh.position(lake.APP)[0] == 31
    assert lake.ids(fresh) == list(range(1, 32))


def test_compact_is_nothing_that_others_did(tmp_path: Path) -> None:
    """Its entry is silt's, takes no row away, and holds no stream."""
    table = grown(tmp_path / "t", 30)
    opened(tmp_path / "t").compact(128 * MB, metadata=ABOUT)
    opened(tmp_path / "t").vacuum(0, metadata=ABOUT)
    table.refresh()
    assert table.foreign == ()
    assert table.foreign_since(0, mine=("m", "n", "readings")) == ()
    assert operations(tmp_path / "t")[31:] == ["OPTIMIZE", "WRITE", "VACUUM START", "VACUUM END"]


def test_few_files_are_left_alone(tmp_path: Path) -> None:
    """No commit where nothing is to be gained, and again none right after a compaction."""
    table = grown(tmp_path / "t", 8)
    assert opened(tmp_path / "t").compact(128 * MB, metadata=ABOUT).version is None
    for batch in range(9, 20):
        lake.add(table, batch)
    assert opened(tmp_path / "t").compact(128 * MB, metadata=ABOUT).before == 19
    version = opened(tmp_path / "t").version
    assert opened(tmp_path / "t").compact(128 * MB, metadata=ABOUT).version is None
    assert opened(tmp_path / "t").version == version


def test_partitions_stay_apart(tmp_path: Path) -> None:
    """Files of one partition are written together, one of each of the others is left; values stay."""
    columns = (ColumnSpec(name="id", type="bigint"), ColumnSpec(name="day", type="date"))
    table = lake.new(tmp_path / "t", columns=columns, partition_by=["day"])
    schema = pa.schema([("id", pa.int64()), ("day", pa.date32())])
    days = [1, 2, 3] + [4] * 15
    for batch, day in enumerate(days, 1):
        rows = pa.table({"id": [batch], "day": pa.array([day], pa.date32())}, schema=schema)
        table.append(rows.to_reader(), txns=pack(lake.APP, batch, b""), metadata={})
    done = opened(tmp_path / "t").compact(128 * MB, metadata=ABOUT)
    assert (done.before, done.after) == (15, 1)
    table.refresh()
    got = table.rows(["id", "day"]).read_all().to_pylist()
    assert sorted((row["id"], row["day"]) for row in got) == [
        (batch, date(1970, 1, 1 + day)) for batch, day in enumerate(days, 1)
    ]


def test_an_append_beside_a_compaction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that come between its look and its commit are kept, and the append is not in its way."""
    table = grown(tmp_path / "t", 12)
    mine = opened(tmp_path / "t")
    lake.add(table, 13)
    done = mine.compact(128 * MB, metadata=ABOUT)
    assert done.before == 12
    assert lake.add(table, 14) > 13
    table.refresh()
    assert lake.ids(table) == list(range(1, 15))
    assert table.position(lake.APP)[0] == 14


def test_a_compaction_that_loses_gives_up(tmp_path: Path) -> None:
    """An overwrite, or another compaction, came first: nothing was done, the table is as that left it."""
    table = grown(tmp_path / "t", 12)
    first, second, third = (opened(tmp_path / "t") for _ in range(3))
    assert first.compact(128 * MB, metadata=ABOUT).before == 12
    with pytest.raises(Contended):
        second.compact(128 * MB, metadata=ABOUT)
    table.refresh()
    assert lake.ids(table) == list(range(1, 13))
    table.replace(lake.rows([7]), predicate=None, txns=pack(lake.APP, 13, b""), metadata={})
    with pytest.raises(Contended):
        third.compact(128 * MB, metadata=ABOUT)
    table.refresh()
    assert lake.ids(table) == [7]


def test_an_overwrite_that_loses_says_so(tmp_path: Path) -> None:
    """A cycle that replaces what was just written together is contended, and tries again on the new files."""
    table = grown(tmp_path / "t", 12)
    opened(tmp_path / "t").compact(128 * MB, metadata=ABOUT)
    replaced = {"predicate": None, "txns": pack(lake.APP, 13, b""), "metadata": {}}
    with pytest.raises(Contended):
        table.replace(lake.rows([7]), **replaced)
    table.refresh()
    table.replace(lake.rows([7]), **replaced)
    assert lake.ids(table) == [7]


def test_when_it_was_done_is_in_the_table(tmp_path: Path) -> None:
    """A new device reads it there, after checkpoints and with the log's old entries gone; the time is now."""
    began = int(time.time())
    table = grown(tmp_path / "t", 15)
    assert last_done(table.txns, "compact") is None
    opened(tmp_path / "t").compact(128 * MB, metadata=ABOUT)
    opened(tmp_path / "t").vacuum(0, metadata=ABOUT)
    delta = DeltaTable((tmp_path / "t").as_uri())
    delta.create_checkpoint()
    for version in range(delta.version()):
        lake.entry(tmp_path / "t", version).unlink()
    fresh = open_table(str(tmp_path / "t"), {})
    assert fresh is not None
    for task in ("compact", "vacuum"):
        done = last_done(fresh.txns, task)
        assert done is not None
        assert began <= done <= time.time()


def test_a_log_that_says_nothing_else(tmp_path: Path) -> None:
    """The transactions of upkeep are none of a stream's: positions, streams and resets do not see them."""
    from silt.position import parse_app

    table = grown(tmp_path / "t", 15)
    opened(tmp_path / "t").compact(128 * MB, metadata=ABOUT)
    table.refresh()
    assert [app for app in table.txns if app.startswith("silt-upkeep/")]
    assert {parse_app(app) for app in table.txns if app.startswith("silt-upkeep/")} == {None}


def test_an_append_only_table(tmp_path: Path) -> None:
    """OPTIMIZE changes no row, so `delta.appendOnly` allows it."""
    grown(tmp_path / "t", 15, configuration={"delta.appendOnly": "true"})
    assert opened(tmp_path / "t").compact(128 * MB, metadata=ABOUT).before == 15


def test_everything_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What compact and vacuum wrote is synced when they return: files, entries, checkpoint, folders."""
    synced: list[Path] = []
    grown(tmp_path / "t", 25)
    monkeypatch.setattr("silt.target.durable.fsync_path", synced.append)
    opened(tmp_path / "t").compact(128 * MB, metadata=ABOUT)
    log = tmp_path / "t" / "_delta_log"
    (large,) = (Path(uri) for uri in DeltaTable(str(tmp_path / "t")).file_uris())
    entries = [lake.entry(tmp_path / "t", version) for version in (26, 27)]
    assert {large, *entries, lake.checkpoint_file(tmp_path / "t", 27), log / "_last_checkpoint"} <= set(
        synced
    )
    assert synced[-3:] == [log, tmp_path / "t", tmp_path]
    synced.clear()
    opened(tmp_path / "t").vacuum(0, metadata=ABOUT)
    assert {lake.entry(tmp_path / "t", version) for version in (28, 29)} <= set(synced)


# --- vacuum ---------------------------------------------------------------------------------------


def test_vacuum_keeps_what_is_younger_than_retain(tmp_path: Path) -> None:
    """A file that left the table just now stays for its readers, however old it is; past `retain` it goes."""
    table = grown(tmp_path / "t", 12)
    old = files(tmp_path / "t")
    size = sum(path.stat().st_size for path in old)
    aged(*old, days=30)
    opened(tmp_path / "t").compact(128 * MB, metadata=ABOUT)
    assert opened(tmp_path / "t").expired(7 * DAY) == ()
    assert opened(tmp_path / "t").vacuum(7 * DAY, metadata=ABOUT).version is None
    assert set(old) <= set(files(tmp_path / "t"))
    reader = DeltaTable((tmp_path / "t").as_uri(), version=12)
    done = opened(tmp_path / "t").vacuum(0, metadata=ABOUT)
    assert (done.files, done.bytes, done.version) == (12, size, 16)
    assert not set(old) & set(files(tmp_path / "t"))
    assert reader.version() == 12
    table.refresh()
    assert lake.ids(table) == list(range(1, 13))
    assert table.position(lake.APP)[0] == 12


def test_vacuum_removes_what_a_crash_left(tmp_path: Path) -> None:
    """A file that never was in the table goes when it is old; a young one may be of a commit under way."""
    grown(tmp_path / "t", 2)
    orphans = [tmp_path / "t" / f"part-0000{n}-orphan.parquet" for n in (1, 2)]
    for orphan in orphans:
        orphan.write_bytes(b"x" * 100)
    aged(orphans[0], days=8)
    assert opened(tmp_path / "t").expired(7 * DAY) == (orphans[0].name,)
    done = opened(tmp_path / "t").vacuum(7 * DAY, metadata=ABOUT)
    assert (done.files, done.bytes) == (1, 100)
    assert [orphan.exists() for orphan in orphans] == [False, True]


def test_vacuum_removes_what_a_crash_left_half_written(tmp_path: Path) -> None:
    """delta-rs writes `name#1` and renames; it lists no such file, so silt removes them itself."""
    grown(tmp_path / "t", 2)
    half = [
        tmp_path / "t" / "part-1.parquet#1",
        tmp_path / "t" / "_delta_log" / "00000000000000000003.json#2",
    ]
    young, other = tmp_path / "t" / "part-2.parquet#1", tmp_path / "t" / "_notes #1"
    for path in (*half, young, other):
        path.write_bytes(b"x" * 50)
    aged(*half, other, days=8)
    assert len(opened(tmp_path / "t").expired(7 * DAY)) == 2
    done = opened(tmp_path / "t").vacuum(7 * DAY, metadata=ABOUT)
    assert (done.files, done.bytes, done.version) == (2, 100, None)
    assert [path.exists() for path in (*half, young, other)] == [False, False, True, True]


def test_vacuum_beside_a_writer_that_renames(tmp_path: Path) -> None:
    """A file that a writer renames while the folder is looked through is none that a crash left half written.

    To whoever looks it is a name without a file: the vacuum of a busy table failed by it, now and then.
    """
    grown(tmp_path / "t", 2)
    (tmp_path / "t" / "part-3.parquet#1").symlink_to("renamed.parquet")
    assert opened(tmp_path / "t").expired(0) == ()
    assert opened(tmp_path / "t").vacuum(0, metadata=ABOUT).files == 0


def test_tombstones_that_a_checkpoint_forgot(tmp_path: Path) -> None:
    """Checkpoints drop what left the table long ago; a vacuum that only knew those would leave the files."""
    path = tmp_path / "t"
    table = grown(path, 12)
    old = files(path)
    opened(path).compact(128 * MB, metadata=ABOUT)
    delta = DeltaTable(path.as_uri())
    delta.alter.set_table_properties({"delta.deletedFileRetentionDuration": "interval 0 hours"})
    time.sleep(0.01)
    delta.create_checkpoint()
    for version in range(delta.version()):
        lake.entry(path, version).unlink()
    aged(*old, days=30)
    assert DeltaTable(path.as_uri()).vacuum(retention_hours=168, full=False) == []
    assert opened(path).vacuum(7 * DAY, metadata=ABOUT).files == 12
    table.refresh()
    assert lake.ids(table) == list(range(1, 13))


def test_the_tables_own_retention_is_a_floor(tmp_path: Path) -> None:
    """`delta.deletedFileRetentionDuration` is what the table's readers were promised: less is not done."""
    grown(tmp_path / "t", 2, configuration={"delta.deletedFileRetentionDuration": "interval 30 days"})
    old, older = (tmp_path / "t" / f"part-0000{n}-orphan.parquet" for n in (1, 2))
    for orphan, days in ((old, 10), (older, 40)):
        orphan.write_bytes(b"x")
        aged(orphan, days=days)
    assert opened(tmp_path / "t").expired(7 * DAY) == (older.name,)
    assert opened(tmp_path / "t").expired(50 * DAY) == ()


def test_a_table_inside_a_table(tmp_path: Path) -> None:
    """delta-rs takes another table's files for litter: refused, nothing is removed."""
    grown(tmp_path / "t", 2)
    grown(tmp_path / "t" / "inner", 12)
    aged(*(path for path in (tmp_path / "t" / "inner").rglob("*") if path.is_file()), days=30)
    with pytest.raises(UserError, match="another Delta table") as caught:
        opened(tmp_path / "t").vacuum(7 * DAY, metadata=ABOUT)
    assert caught.value.why == "inner"
    assert "vacuum: false" in caught.value.hint
    assert len(files(tmp_path / "t" / "inner")) == 12
    assert opened(tmp_path / "t" / "inner").vacuum(7 * DAY, metadata=ABOUT).version is None


def test_deletion_vectors_are_left_alone(tmp_path: Path) -> None:
    """FACTS: deltalake 1.6.3 would bring deleted rows back, and takes a vector's file for litter."""
    table = lake.new(tmp_path / "t")
    lake.add(table, 1, range(40))
    lake.delete_by_vector(tmp_path / "t", 2, [3, 4, 7, 11, 18, 29])
    table.refresh()
    for batch in range(2, 20):
        lake.add(table, batch, [100 + batch])
    for refused in (
        lambda: opened(tmp_path / "t").compact(128 * MB, metadata=ABOUT),
        lambda: opened(tmp_path / "t").vacuum(0, metadata=ABOUT),
        lambda: opened(tmp_path / "t").expired(0),
    ):
        with pytest.raises(UserError, match="deletion vectors"):
            refused()
    table.refresh()
    assert len(lake.ids(table)) == 34 + 18


# --- the log --------------------------------------------------------------------------------------


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A log that may keep 30 entries."""
    monkeypatch.setattr(upkeep, "MOST_ENTRIES", 30)


def entries(path: Path) -> list[int]:
    return sorted(
        int(name[:20]) for name in lake.log_names(path) if name.endswith(".json") and name[0] == "0"
    )


def test_a_long_log_is_cut_at_a_checkpoint(tmp_path: Path, short: None) -> None:
    """Entries with enough newer ones go, up to a checkpoint that has them: every version left can be read."""
    table = grown(tmp_path / "t", 75)
    assert opened(tmp_path / "t").clean_log() == 40
    assert entries(tmp_path / "t") == list(range(40, 76))
    assert [n[:20].lstrip("0") for n in lake.log_names(tmp_path / "t") if "checkpoint." in n] == ["40", "60"]
    assert opened(tmp_path / "t").clean_log() == 0
    table.refresh()
    assert lake.add(table, 76) == 76
    old = open_table(str(tmp_path / "t"), {})
    assert old is not None
    assert [DeltaTable((tmp_path / "t").as_uri(), version=v).count() for v in (40, 45, 76)] == [40, 45, 76]
    assert old.position(lake.APP) == table.position(lake.APP)
    assert lake.ids(old) == list(range(1, 77))
    assert check_at_start(str(tmp_path / "t")) == ()


@pytest.mark.parametrize(
    "configuration",
    [{"delta.logRetentionDuration": "interval 30 days"}, {"delta.enableExpiredLogCleanup": "false"}],
)
def test_a_log_whose_retention_is_written(tmp_path: Path, short: None, configuration: dict[str, str]) -> None:
    """What the table says of its log is all that is done."""
    grown(tmp_path / "t", 75, configuration=configuration)
    assert opened(tmp_path / "t").clean_log() == 0
    assert entries(tmp_path / "t") == list(range(76))


def test_a_written_retention_is_kept(tmp_path: Path, short: None) -> None:
    """Entries past `delta.logRetentionDuration` go, young ones stay, however many there are."""
    grown(tmp_path / "t", 75, configuration={"delta.logRetentionDuration": "interval 1 days"})
    aged(*(lake.entry(tmp_path / "t", version) for version in range(25)), days=2)
    opened(tmp_path / "t").clean_log()
    left = entries(tmp_path / "t")
    assert left[-1] == 75
    assert 20 <= left[0] <= 25
