"""What DESIGN 4.6 names is on the disk before a cycle says that it is done, and before it is built upon."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pytest
from deltalake import write_deltalake
from kit import Site

from silt import manifest, observe
from silt.replicate.model import Committed, Finished
from silt.target import table as target_table

State = object


class Recorder:
    """Every `os.fsync`, with what the file or folder held at that moment; `os.sync` stands for all."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._synced: dict[Path, State] = {}
        self.whole_disk = 0
        fsync, sync = os.fsync, os.sync

        def recorded(descriptor: int) -> None:
            fsync(descriptor)
            path = Path(f"/proc/self/fd/{descriptor}").readlink()
            self._synced[path] = self._state(path)

        def everything() -> None:
            sync()
            self.whole_disk += 1

        monkeypatch.setattr(os, "fsync", recorded)
        monkeypatch.setattr(os, "sync", everything)

    def _state(self, path: Path) -> State:
        if path.is_dir():
            return frozenset(found.name for found in path.iterdir())
        seen = path.stat()
        return seen.st_ino, seen.st_size, seen.st_mtime_ns

    def lacking(self, paths: Iterator[Path]) -> list[Path]:
        """Those that were not synced, or that changed since."""
        return [path for path in paths if self._synced.get(path) != self._state(path)]


def _entries(table: Path, after: int) -> list[Path]:
    found = sorted((table / "_delta_log").glob("*.json"))
    return [path for path in found if path.stem.isdigit() and int(path.stem) > after]


def _written(table: Path, after: int = -1) -> Iterator[Path]:
    """All that the versions after one wrote, and the folders that name it, up to the table's parent."""
    files: list[Path] = []
    for entry in _entries(table, after):
        actions = [json.loads(line) for line in entry.read_text().splitlines()]
        files += [table / unquote(action["add"]["path"]) for action in actions if "add" in action]
        files.append(entry)
        files += (table / "_delta_log").glob(f"{entry.stem}.checkpoint*.parquet")
    files += (table / "_delta_log").glob("_last_checkpoint")
    folders = {parent for path in files for parent in path.parents if parent.is_relative_to(table)}
    yield from files
    yield from folders
    yield table.parent


class Watch(list[Any]):
    """A site's events; whenever a commit or a stream is said to be done, all must be on the disk."""

    def __init__(self, recorder: Recorder, table: Path) -> None:
        super().__init__()
        self._recorder = recorder
        self._table = table
        self.checks = 0

    def append(self, event: Any) -> None:
        if isinstance(event, Committed | Finished):
            assert self._recorder.lacking(_written(self._table)) == []
            self.checks += 1
        super().append(event)


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    return Recorder(monkeypatch)


def _site(folder: Path, rows: int, stream: str) -> Site:
    site = Site(folder)
    numbers = f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})"
    site.sql(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, kind TEXT)",
        *([f"INSERT INTO t {numbers} SELECT i, 'kind ' || i % 3 FROM n"] if rows else []),
    )
    site.write(f"  t: {stream}\n")
    return site


def _add(site: Site, rows: int) -> None:
    site.sql(("INSERT INTO t (kind) VALUES (?)", [("x",)] * rows))


def test_a_first_load(tmp_path: Path, recorder: Recorder) -> None:
    """Data files, log entries, folders, and every folder made for them, of each commit before it is told."""
    site = _site(tmp_path, 10, "{into: deep/er/t, partition_by: [kind], batch: {max_rows: 4}}")
    watch = site.events = Watch(recorder, tmp_path / "lake" / "deep" / "er" / "t")
    assert site.one().batches == 3
    assert watch.checks == 4
    made = (tmp_path, tmp_path / "lake", tmp_path / "lake" / "deep")
    assert recorder.lacking(iter(made[1:])) == []
    assert recorder.whole_disk == 0, "os.sync() would hide what is not synced by name"


def test_an_empty_table(tmp_path: Path, recorder: Recorder) -> None:
    """A table that was only created is on the disk too."""
    site = _site(tmp_path, 0, "{}")
    watch = site.events = Watch(recorder, tmp_path / "lake" / "t")
    assert site.one().state == "ok"
    assert watch.checks == 1
    assert _entries(tmp_path / "lake" / "t", -1)


def test_an_overwrite(tmp_path: Path, recorder: Recorder) -> None:
    """A replaced slice, in the first cycle and in a later one."""
    site = _site(tmp_path, 5, "{mode: overwrite}")
    with observe.Handles(manifest.load(site.manifest)) as handles:
        watch = site.events = Watch(recorder, tmp_path / "lake" / "t")
        site.one(handles=handles)
        _add(site, 1)
        assert site.one(handles=handles).batches == 1
        assert watch.checks == 4
        assert recorder.whole_disk == 0


def test_checkpoints(tmp_path: Path, recorder: Recorder) -> None:
    """A checkpoint and `_last_checkpoint`, as they are when the commit that made them is done."""
    site = _site(tmp_path, 45, "{batch: {max_rows: 1}}")
    watch = site.events = Watch(recorder, tmp_path / "lake" / "t")
    assert site.one().batches == 45
    assert watch.checks == 46
    assert len(list((tmp_path / "lake" / "t" / "_delta_log").glob("*.checkpoint.parquet"))) == 2
    assert recorder.whole_disk == 0


def test_entries_of_others(tmp_path: Path, recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    """What others committed is on the disk before silt's next commit is written on top of it."""
    site = _site(tmp_path, 3, "{}")
    table = tmp_path / "lake" / "t"
    built_on: list[int] = []
    write = target_table.write_deltalake

    def checked(*arguments: Any, **named: Any) -> None:
        assert recorder.lacking(_written(table)) == []
        built_on.append(len(_entries(table, -1)) - 1)
        write(*arguments, **named)

    monkeypatch.setattr(target_table, "write_deltalake", checked)
    with observe.Handles(manifest.load(site.manifest)) as handles:
        site.one(handles=handles)
        for _ in range(2):
            write_deltalake(table.as_uri(), pa.table({"id": [900], "kind": ["other"]}), mode="append")
        assert recorder.lacking(_written(table)) != []
        _add(site, 2)
        watch = site.events = Watch(recorder, table)
        assert site.one(handles=handles).rows == 2
    assert built_on == [0, 3]
    assert watch.checks == 2
    assert recorder.whole_disk == 0


def test_a_cold_start_syncs_the_whole_disk(tmp_path: Path, recorder: Recorder) -> None:
    """A process that finds a table cannot know what an earlier one had synced when it was killed."""
    site = _site(tmp_path, 3, "{}")
    site.one()
    assert recorder.whole_disk == 0
    site.one()
    assert recorder.whole_disk == 1


def test_an_added_column(tmp_path: Path, recorder: Recorder) -> None:
    """A commit that only changes the table's schema is on the disk too."""
    site = _site(tmp_path, 3, "{}")
    with observe.Handles(manifest.load(site.manifest)) as handles:
        site.one(handles=handles)
        site.sql("ALTER TABLE t ADD COLUMN extra TEXT")
        watch = site.events = Watch(recorder, tmp_path / "lake" / "t")
        result = site.one(handles=handles)
        assert (result.rows, result.version) == (0, 2)
        assert watch.checks == 1
        assert recorder.whole_disk == 0
