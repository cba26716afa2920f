"""SIGKILL at random moments and at every boundary, while an application writes: no row lost, none doubled."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import warm
from clirun import Cold, doomed, ended, silt
from faults import PLACES
from kit import difference, lake, sql
from writer import TENANTS, Writer, prepare, tables

KILLS = int(os.environ.get("SILT_KILLS", "40"))
RUN = ("run", "silt.yaml", "--once", "--json")

MANIFEST = """\
version: 1
sources:
  app: ./app.db
  tenants: ./tenants/*.db
targets:
  lake: ./lake
streams:
  events: {source: app, batch: {max_rows: 7}}
  ticks: {source: app, cursor: [at, key]}
  notes: {source: app, cursor: rowid, batch: {max_rows: 5}}
  settings: {source: app, mode: overwrite}
  items: {source: app, mode: merge, batch: {max_rows: 7}, deletes: {mode: hard, max_fraction: 1}}
  mirrored: {source: app, table: items, mode: mirror, batch: {max_rows: 7}}
  orders: {source: tenants}
"""


# --- a process that is killed ---------------------------------------------------------------------


@dataclass
class Campaign:
    """Runs `silt run --once` again and again, kills it, and counts where it was."""

    folder: Path
    landed: Counter[str] = field(default_factory=Counter)
    finished: int = 0

    @property
    def kills(self) -> int:
        return sum(self.landed.values())

    @property
    def log(self) -> Path:
        return self.folder / "places.log"

    def _start(self, *options: str, at: str = "") -> warm.Process:
        self.log.write_text("")
        return doomed(*RUN, *options, cwd=self.folder, at=at, log=self.log)

    def at(self, place: str, count: int = 1, *options: str) -> bool:
        """A run that kills itself at the place; False when it ended before it came there."""
        return self._ended(ended(self._start(*options, at=f"{place}:{count}")), place)

    def amid(self, chance: random.Random) -> None:
        """A run that is killed from outside, some time after its plan is made; counted by its last place."""
        process = self._start()
        deadline = time.monotonic() + 30
        while not self.log.read_text() and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(chance.random() * 0.3)
        process.kill()
        last = (self.log.read_text().splitlines() or ["start"])[-1]
        self._ended(ended(process), f"after {last!r}")

    def anywhen(self, chance: random.Random) -> None:
        """A run of the untouched program that is killed from outside, at any moment of its life."""
        process = Cold(*RUN, cwd=self.folder)
        time.sleep(0.1 + chance.random() * 1.2)
        process.kill()
        _, problems = process.communicate(timeout=100)
        self._ended((process.returncode, problems), "any moment")

    def _ended(self, how: tuple[int, str], place: str) -> bool:
        code, problems = how
        if code == -signal.SIGKILL:
            self.landed[place] += 1
            return True
        assert code == 0, problems
        self.finished += 1
        return False

    def finish(self) -> None:
        """A run that nobody kills; then another, which finds nothing to do."""
        for _ in range(2):
            done = silt(*RUN, cwd=self.folder)
            assert done.returncode == 0, done.stdout + done.stderr
        assert sum(s["rows"] for s in json.loads(done.stdout)["streams"]) == 0


# --- what came of it ------------------------------------------------------------------------------


def _commits(table: Path) -> Iterator[dict[str, Any]]:
    """What silt wrote about each of its commits."""
    for path in sorted((table / "_delta_log").glob("*.json")):
        for line in path.read_text().splitlines():
            mark = json.loads(line).get("commitInfo", {}).get("silt")
            if mark and "rows" in mark:
                yield mark


# --- the tests ------------------------------------------------------------------------------------


CREATING = ("before create", "created")
OFTEN = ("before read", "mid-read", "mid-write", "before commit", "committed")
MORE = ("planned", "before sync", "synced", "checkpointed", "reported")


@pytest.mark.timeout(max(300, KILLS * 8))
def test_killed_while_an_application_writes(tmp_path: Path) -> None:
    """Killed at every boundary and at random moments, in every mode: no row is missing, none is doubled.

    Small batches, a tie-breaker that does not rise, no key at all, a glob in one commit, an overwrite,
    rows that change in the second that was read last, and are deleted, in a merge and in a mirror.
    """
    prepare(tmp_path)
    (tmp_path / "silt.yaml").write_text(MANIFEST)
    chance, campaign = random.Random(KILLS), Campaign(tmp_path)
    with Writer(tmp_path, pause=0.03) as application:
        time.sleep(0.3)
        for place in CREATING:
            assert campaign.at(place)
        for turn in range(KILLS * 3):
            if campaign.kills >= KILLS and all(campaign.landed[place] for place in MORE):
                break
            _kill(campaign, chance, turn)
        transactions = application.stop()
    campaign.finish()
    found = {name: (len(source), *difference(source, rows)) for name, source, rows in tables(tmp_path)}
    print(f"\n{campaign.kills} kills ({campaign.finished} runs ended first), {transactions} transactions")
    print(f"where: {dict(campaign.landed)}\n(rows, missing, doubled): {found}")
    assert [
        (name, missing, doubled) for name, (_, missing, doubled) in found.items() if missing or doubled
    ] == []
    assert campaign.kills >= KILLS
    assert all(campaign.landed[place] for place in (*CREATING, *OFTEN, *MORE)), campaign.landed
    outside = sum(n for place, n in campaign.landed.items() if place not in PLACES)
    assert outside >= KILLS // 3
    assert max(int(mark["databases"]) for mark in _commits(tmp_path / "lake" / "orders")) == len(TENANTS)
    assert all(rows for rows, *_ in found.values())


def _kill(campaign: Campaign, chance: random.Random, turn: int) -> None:
    """Half of all at random moments, some of those of the untouched program; the others at boundaries."""
    if turn % 16 == 0:
        campaign.anywhen(chance)
    elif turn % 2 == 0:
        campaign.amid(chance)
    elif turn % 8 == 1:
        campaign.at(MORE[turn // 8 % len(MORE)])
    else:
        campaign.at(OFTEN[turn // 2 % len(OFTEN)], chance.randint(1, 4))


BULK = """\
version: 1
sources:
  app: ./app.db
targets:
  lake: ./lake
streams:
  chunks: {table: big, batch: {max_rows: 110_000}}
  whole: {table: big}
  copy: {table: big, mode: overwrite, batch: {max_bytes: 1MB}}
"""
ROWS = 240_000
FIRST_LOAD = (
    ("chunks", "before create", 1),
    ("chunks", "mid-read", 1),
    ("chunks", "mid-write", 2),
    ("chunks", "before commit", 1),
    ("chunks", "committed", 1),
    ("chunks", "mid-write", 1),
    ("chunks", "committed", 1),
    ("whole", "created", 1),
    ("whole", "mid-read", 2),
    ("whole", "mid-write", 3),
    ("whole", "before commit", 1),
    ("whole", "committed", 1),
    ("copy", "before read", 2),
    ("copy", "mid-write", 2),
    ("copy", "before commit", 1),
    ("copy", "committed", 1),
)


@pytest.mark.timeout(300)
def test_killed_during_a_first_load(tmp_path: Path) -> None:
    """A load of several commits, one by two readers, an overwrite past memory: each resumes, and is whole."""
    numbers = f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS})"
    sql(
        tmp_path / "app.db",
        "PRAGMA journal_mode=wal",
        "CREATE TABLE big (id INTEGER PRIMARY KEY, name TEXT, value REAL)",
        f"INSERT INTO big {numbers} SELECT i, 'name ' || i, i / 3.0 FROM n",
    )
    (tmp_path / "silt.yaml").write_text(BULK)
    campaign = Campaign(tmp_path)
    for stream, place, count in FIRST_LOAD:
        assert campaign.at(place, count, "--select", stream), f"{stream} ended before it was {place}"
    campaign.finish()
    source = sql(tmp_path / "app.db", "SELECT * FROM big")
    found = {name: difference(source, lake(tmp_path / "lake" / name)) for name in ("chunks", "whole", "copy")}
    print(f"\n{campaign.kills} kills, where: {dict(campaign.landed)}\n(missing, doubled): {found}")
    assert found == {"chunks": (0, 0), "whole": (0, 0), "copy": (0, 0)}
    assert len(source) == ROWS
    assert len(list(_commits(tmp_path / "lake" / "chunks"))) >= 3
