"""After a commit everything it wrote is on the disk: a recorder sees every path (DESIGN 4.6)."""

from __future__ import annotations

from pathlib import Path

import lake
import pytest
from deltalake import write_deltalake

from silt.position import pack
from silt.target import fsync_path, sync
from silt.target.store import LocalFiles


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The paths that were synced, in order; they really are."""
    seen: list[Path] = []

    def record(path: Path) -> None:
        fsync_path(path)
        seen.append(path)

    monkeypatch.setattr("silt.target.durable.fsync_path", record)
    return seen


def test_every_path_of_a_commit(tmp_path: Path, synced: list[Path]) -> None:
    """Data file, log entry, the log's folder, the table's and its parent: files before folders."""
    root = tmp_path / "deep" / "t"
    table = lake.new(root)
    synced.clear()
    version = lake.add(table, 1)
    (data,) = root.glob("*.parquet")
    expected = [data, lake.entry(root, 1), root / "_delta_log", root, root.parent]
    assert sync(table, version - 1, version) == tuple(synced) == tuple(expected)


def test_new_folders_are_synced_in_their_parents(tmp_path: Path, synced: list[Path]) -> None:
    """Creating `a/b/t` syncs each new folder's entry, outermost first."""
    lake.new(tmp_path / "a" / "b" / "t")
    assert synced[:3] == [tmp_path, tmp_path / "a", tmp_path / "a" / "b"]


def test_partition_folders(tmp_path: Path, synced: list[Path]) -> None:
    """Folders of partitions are synced too, odd values and all."""
    table = lake.new(tmp_path / "t", partition_by=["name"])
    table.append(lake.rows([1], "a b%"), txns=pack(lake.APP, 1, b""), metadata={})
    paths = sync(table, -1, 1)
    (data,) = (tmp_path / "t").rglob("name=*/*.parquet")
    assert {data, data.parent, tmp_path / "t"} <= set(paths)


def test_checkpoints(tmp_path: Path, synced: list[Path]) -> None:
    """A checkpoint that the commit brought is synced with `_last_checkpoint`."""
    table = lake.new(tmp_path / "t")
    for batch in range(1, 21):
        lake.add(table, batch)
    paths = sync(table, 19, 20)
    log = tmp_path / "t" / "_delta_log"
    assert {lake.checkpoint_file(tmp_path / "t", 20), log / "_last_checkpoint", log} <= set(paths)
    assert lake.entry(tmp_path / "t", 19) not in paths


def test_foreign_entries_since_the_last_sync(tmp_path: Path, synced: list[Path]) -> None:
    """What others committed before us is synced before we build on it; vacuumed files are passed over."""
    table = lake.new(tmp_path / "t")
    write_deltalake((tmp_path / "t").as_uri(), lake.rows([1]), mode="append")
    write_deltalake((tmp_path / "t").as_uri(), lake.rows([2]), mode="append")
    table.refresh()
    first, second = sorted((tmp_path / "t").glob("*.parquet"))
    first.unlink()
    paths = set(sync(table, 0, table.version))
    assert {second, lake.entry(tmp_path / "t", 1), lake.entry(tmp_path / "t", 2)} <= paths
    assert first not in paths


def test_nothing_new_nothing_synced(tmp_path: Path, synced: list[Path]) -> None:
    """No new version: no file is touched."""
    table = lake.new(tmp_path / "t")
    synced.clear()
    assert sync(table, 0, 0) == ()
    assert synced == []


def test_cleaned_up_entries_are_passed_over(tmp_path: Path, synced: list[Path]) -> None:
    """An entry that clean-up took is in a checkpoint, which is synced."""
    table = lake.new(tmp_path / "t")
    for batch in (1, 2, 3):
        lake.add(table, batch)
    table.checkpoint()
    lake.entry(tmp_path / "t", 2).unlink()
    paths = sync(table, 1, 3)
    assert lake.checkpoint_file(tmp_path / "t", 3) in paths
    assert lake.entry(tmp_path / "t", 3) in paths


def test_the_log_is_not_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a commit costs does not grow with the entries before it: only files known by name are touched."""
    table = lake.new(tmp_path / "t")
    monkeypatch.setattr(LocalFiles, "names", _listed)
    for batch in range(1, 42):
        lake.add(table, batch)
        paths = sync(table, batch - 1, batch)
    assert lake.entry(tmp_path / "t", 41) in paths


def _listed(self: LocalFiles, folder: str) -> tuple[str, ...]:
    raise AssertionError(f"{folder} was listed")
