"""Months of small commits stay quick: a cycle does the same after hundreds of them (counted, not timed)."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from kit import Site, Sqlite

from silt import manifest, observe
from silt.replicate import upkeep
from silt.replicate.stream import StreamCycle
from silt.replicate.upkeep import Upkeep, chores
from silt.state import StateDir
from silt.target import upkeep as target_upkeep
from silt.target.store import LocalFiles


class Resident:
    """A process that keeps its plan and its handles, and commits a row a cycle."""

    def __init__(self, folder: Path) -> None:
        self._sql = Sqlite()
        self.site = Site(folder)
        self.site.sql("CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, v TEXT)")
        self.site.write("  t: {}\n")
        self.manifest = manifest.load(self.site.manifest)
        self.handles = observe.Handles(self.manifest)
        (self.plan,) = observe.look(self.manifest, self.handles).streams

    def cycle(self) -> None:
        self._sql(self.site.database, "INSERT INTO t (v) VALUES ('one more')")
        result = StreamCycle(self.plan, self.handles, listen=lambda _: None, stop=threading.Event()).run()
        assert result.rows == 1

    def close(self) -> None:
        self.handles.close()
        self._sql.close()


@pytest.fixture
def resident(tmp_path: Path) -> Iterator[Resident]:
    made = Resident(tmp_path)
    yield made
    made.close()


def _counting(monkeypatch: pytest.MonkeyPatch, seen: Counter[str], owner: Any, name: str) -> None:
    real: Callable[..., Any] = getattr(owner, name)

    def counted(*args: Any, **kwargs: Any) -> Any:
        seen[name] += 1
        return real(*args, **kwargs)

    monkeypatch.setattr(owner, name, counted)


def test_a_cycle_does_what_the_first_did(resident: Resident, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files listed, asked for, read and synced, tables opened and brought up to date: the same 20 by 20."""
    seen: Counter[str] = Counter()
    for name in ("names", "read", "open", "stamp"):
        _counting(monkeypatch, seen, LocalFiles, name)
    for name in ("__init__", "update_incremental", "create_checkpoint", "cleanup_metadata"):
        _counting(monkeypatch, seen, DeltaTable, name)
    _counting(monkeypatch, seen, os, "fsync")
    rounds = []
    for _ in range(12):
        seen.clear()
        for _ in range(20):
            resident.cycle()
        rounds.append(dict(seen))
    assert rounds[1] == rounds[-1]
    assert "names" not in rounds[-1]
    assert "update_incremental" not in rounds[-1]
    assert (rounds[-1]["create_checkpoint"], rounds[-1]["__init__"]) == (1, 1)


def test_upkeep_keeps_the_rest_small(resident: Resident, monkeypatch: pytest.MonkeyPatch) -> None:
    """What delta-rs lists and loads for a commit, the log's entries and the table's files, has a bound."""
    monkeypatch.setattr(upkeep, "MANY", 40)
    monkeypatch.setattr(target_upkeep, "MOST_ENTRIES", 60)
    state = StateDir(resident.manifest.state_dir, manifest="default", node="local")
    tender = Upkeep(state)
    (chore,) = chores(resident.manifest, [resident.plan.stream])
    entries, files = [], []
    table = resident.site.folder / "lake" / "t"
    for number in range(240):
        resident.cycle()
        if number % 10 == 0:
            done = list(tender.carry_out(chore, tender.due(chore, resident.handles), resident.handles))
            assert all(d.outcome in ("done", "nothing") for d in done)
            entries.append(len(list((table / "_delta_log").glob("*.json"))))
            files.append(len(DeltaTable(table.as_uri()).file_uris()))
    assert max(entries) <= 60 + 40 + 20 + 20
    assert max(files) <= 40 + 20
    assert len(resident.site.lake("t")) == 240
    resident.site.expect("t", "t")
