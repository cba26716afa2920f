"""A round of a stream's databases over several turns: each is visited once, and none is forgotten."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from kit import Site, sql

from silt import manifest as manifests
from silt import observe
from silt.daemon.job import Job
from silt.daemon.replication import Replication
from silt.replicate.model import Committed


class Brief:
    """A turn that is over as soon as anything was done: it lets one question pass, and no other."""

    def __init__(self) -> None:
        self._asked = 0

    def is_set(self) -> bool:
        self._asked += 1
        return self._asked > 1

    def wait(self, timeout: float) -> bool:
        return True


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Four databases, of which the first, `a`, is a bulk load of five batches."""
    for name, rows in (("a", 50), ("b", 3), ("c", 3), ("d", 3)):
        filled(tmp_path / f"{name}.db", rows)
    here = Site(tmp_path)
    here.write(
        '  t: {into: "{database}", batch: {max_rows: 10}}\n', source="{path: ./*.db, busy_timeout: 100ms}"
    )
    return here


def filled(path: Path, rows: int) -> None:
    values = [(f"{path.stem} {n}",) for n in range(rows)]
    sql(
        path,
        "CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, x)",
        ("INSERT INTO t (x) VALUES (?)", values),
    )


class Turning:
    """A stream of `site` that runs turn after turn, as the daemon runs it."""

    def __init__(self, site: Site, handles: Any) -> None:
        self.events: list[Any] = []
        self._work = Replication(handles, select=lambda _: True, listen=self.events.append)
        (stream,) = self._work.look(handles.manifest).all_streams
        self.job = Job(stream=stream, manifest=handles.manifest)

    def turn(self, stop: Any = None, *, again: bool = False) -> Any:
        report = self._work.cycle(self.job, stop or Brief(), again=again)
        self.job = report.job
        return report

    def round(self, most: int = 30) -> list[Any]:
        """Turns until one is not stopped."""
        turns = [self.turn()]
        while turns[-1].result.stopped:
            assert len(turns) < most
            turns.append(self.turn())
        return turns

    def written(self) -> list[tuple[str, int]]:
        """Table and rows of each commit."""
        return [(e.into, e.rows) for e in self.events if isinstance(e, Committed)]


@pytest.fixture
def turning(site: Site):
    with observe.Handles(manifests.load(site.manifest)) as handles:
        yield Turning(site, handles)


def test_each_turn_does_one_thing_and_the_next_goes_on_there(site, turning):
    """However short the turns: every database has its turn, and a bulk load keeps none of them waiting."""
    turns = turning.round()
    assert turning.written() == [("a", 10), ("b", 3), ("c", 3), ("d", 3), *[("a", 10)] * 4]
    assert [t.result.stopped for t in turns] == [True] * (len(turns) - 1) + [False]
    for name in "abcd":
        rows = sql(site.folder / f"{name}.db", "SELECT id, x FROM t")
        assert Counter(rows) == Counter((r["id"], r["x"]) for r in site.lake(name))


def test_two_bulk_loads_take_turns(site, turning):
    """The one that was left last comes after the other."""
    filled(site.folder / "b.db", 27)
    turning.round()
    loads = [into for into, rows in turning.written() if rows == 10]
    assert loads[:6] == ["a", "b", "a", "b", "a", "b"]


def test_a_round_rests_on_what_was_seen_at_its_start(site, turning):
    """What is written to a database after its visit is read by the next round, which looks."""
    turning.turn()
    turning.turn()
    filled(site.folder / "b.db", 1)  # visited already
    turning.round()
    assert ("b", 1) not in turning.written()
    again = turning.round()
    assert not again[0].quiet
    assert turning.written()[-1] == ("b", 1)


def test_a_round_over_several_turns_may_rest(site, turning):
    """Once all was seen and nothing written since, the next cycle asks nothing."""
    turning.round()
    again = turning.turn(threading.Event())
    assert again.quiet is True


LOCKING = """
import sqlite3, sys
c = sqlite3.connect(sys.argv[1], isolation_level=None)
c.execute("BEGIN EXCLUSIVE"); print("mine", flush=True); sys.stdin.read()
"""


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another process holds the database EXCLUSIVE."""
    command = [sys.executable, "-S", "-c", LOCKING, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"mine\n"
        yield


def test_an_error_of_an_early_turn_is_the_round_s(site, turning):
    """The last turn says what failed in the first, though it is mended: nobody has looked there since."""
    turning.round()
    for name in "abcd":
        filled(site.folder / f"{name}.db", 1)
    before = len(turning.written())
    with locked(site.folder / "a.db"):
        first = turning.turn()
    turns = [first, *turning.round()]
    assert {t.result.state for t in turns} == {"failing"}
    assert {str(site.folder / "a.db")} == {t.result.error.on for t in turns}
    assert [into for into, _ in turning.written()[before:]] == ["b", "c", "d"]


def test_a_new_plan_does_not_begin_the_round_again(site, turning):
    """Planned anew at each turn, as after a failure, it comes to its end all the same."""
    for _ in range(8):
        turning.turn(again=True)
    assert [into for into, _ in turning.written()[:4]] == ["a", "b", "c", "d"]
    assert sum(rows for _, rows in turning.written()) == 59


def test_a_database_that_comes_within_a_round_is_visited_in_it(site, turning):
    turning.turn()
    filled(site.folder / "e.db", 2)
    turning.turn(again=True)
    turning.round()
    assert Counter(into for into, _ in turning.written()) == Counter("aaaaa") + Counter("bcde")


def test_a_lost_race_leaves_its_databases_to_the_next_turn(site, turning, monkeypatch):
    """A table that somebody else moved when the turn was over was not visited."""
    from silt.errors import Contended
    from silt.replicate.ledger import Ledger

    commit, lost = Ledger.commit, []

    def racing(self, drafts, write):
        if not lost:
            lost.append(drafts[0].part.database.name)
            raise Contended("somebody was first", on="t")
        return commit(self, drafts, write)

    monkeypatch.setattr(Ledger, "commit", racing)
    turns = turning.round()
    assert lost == ["a"]
    assert all(t.result.state == "ok" for t in turns)
    assert sum(rows for _, rows in turning.written()) == 59


def test_a_table_s_race_hides_no_error_of_another(site, turning, monkeypatch):
    """A second try of the second table says nothing about what the first one met."""
    from silt.errors import Contended
    from silt.replicate.ledger import Ledger

    (site.folder / "a.db").write_bytes(b"no database" * 1000)
    commit, lost = Ledger.commit, []

    def racing(self, drafts, write):
        if not lost:
            lost.append(drafts)
            raise Contended("somebody was first", on="t")
        return commit(self, drafts, write)

    monkeypatch.setattr(Ledger, "commit", racing)
    report = turning.turn(threading.Event())
    assert lost
    assert report.result.state == "failing"
    assert report.result.rows == 9


def test_a_round_ends_where_its_stream_begins_anew(site, turning):
    """Disabled and enabled, removed and back, or reset: what was visited before is visited again."""
    turning.turn()
    turning.turn()
    filled(site.folder / "b.db", 1)
    turning.job = replace(turning.job, number=turning.job.number + 1)
    turning.round()
    assert ("b", 1) in turning.written()
