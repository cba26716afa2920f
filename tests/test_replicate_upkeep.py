"""Which tables are seen to, when, and what comes of it."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

import lake
import pytest
from kit import Site

from silt import manifest, observe, target
from silt.errors import Contended, RetryLater
from silt.manifest.model import Compact, Maintenance, Stream, Vacuum
from silt.replicate import upkeep
from silt.replicate.upkeep import MANY, Chore, Memory, Upkeep, Upkept, chores, due, first_memory
from silt.state import StateDir

HOUR, DAY = 3600.0, 86_400.0
NOW = 1_800_000_000.0
BOTH = Maintenance(compact=Compact(), vacuum=Vacuum())


# --- which tables ---------------------------------------------------------------------------------


def stream(name: str, rule: Maintenance = BOTH, **more: Any) -> Stream:
    return Stream(
        **{
            "name": name,
            "source": "app",
            "target": "lake",
            "table": name,
            "into": name,
            **more,
            "maintenance": rule,
        }
    )


@pytest.fixture
def site(tmp_path: Path) -> Site:
    made = Site(tmp_path)
    made.sql("CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT)")
    made.write("  t: {}\n")
    return made


def test_streams_that_share_a_table_are_one_chore(site: Site) -> None:
    """Done where all want it, as often as the most eager, as carefully as the most careful of them says."""
    careful = Maintenance(compact=Compact(every=HOUR, target_size=1), vacuum=Vacuum(every=1, retain=30 * DAY))
    loaded = manifest.load(site.manifest)
    found = chores(loaded, [
        stream("a", into="x"), stream("b", careful, into="x"), stream("c"),
        stream("d", enabled=False), stream("e", Maintenance(vacuum=Vacuum()), into="c"),
    ])  # fmt: skip
    assert [(chore.into, chore.streams) for chore in found] == [("x", ("a", "b")), ("c", ("c", "e"))]
    assert found[0].rule.compact == Compact(every=HOUR, target_size=128 * 1024**2)
    assert found[0].rule.vacuum == Vacuum(every=1, retain=30 * DAY)
    assert [found[1].wants("compact"), found[1].wants("vacuum")] == [False, True]


def test_a_table_a_database(tmp_path: Path) -> None:
    """Where `into` holds {database} each file of the glob has its own; none where the glob matches none."""
    site = Site(tmp_path)
    site.write("  t: {into: '{database}/t'}\n", source="./tenants/*.db")
    one = stream("t", into="{database}/t")
    assert chores(manifest.load(site.manifest), [one]) == ()
    (tmp_path / "tenants").mkdir()
    for name in ("a", "b"):
        (tmp_path / "tenants" / f"{name}.db").touch()
    assert [c.into for c in chores(manifest.load(site.manifest), [one])] == ["a/t", "b/t"]


# --- when -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("memory", "version", "found"),
    [
        pytest.param(Memory(compacted=NOW - HOUR, vacuumed=NOW - HOUR, version=5), 400, (), id="nothing"),
        pytest.param(Memory(compacted=NOW - 6 * HOUR, vacuumed=NOW, version=5), 6, ("compact",), id="hours"),
        pytest.param(Memory(compacted=NOW, vacuumed=NOW - DAY, version=5), 6, ("vacuum",), id="a day"),
        pytest.param(Memory(compacted=0, vacuumed=0, version=5), 6, ("compact", "vacuum"), id="both"),
        pytest.param(Memory(compacted=NOW, vacuumed=NOW, version=5), 5 + MANY, ("compact",), id="commits"),
        pytest.param(Memory(compacted=NOW + DAY, vacuumed=NOW, version=5), 6, ("compact",), id="clock"),
    ],
)  # fmt: skip
def test_what_is_due(memory: Memory, version: int, found: tuple[str, ...]) -> None:
    """By the time since, or by the commits since; a last time in the future is none."""
    assert due(BOTH, memory, version=version, now=NOW) == found
    assert due(Maintenance(), memory, version=version, now=NOW) == ()


def test_a_table_that_only_vacuums_comes_early_too() -> None:
    """After a thousand commits its log is to be cut."""
    memory = Memory(compacted=NOW, vacuumed=NOW, version=0)
    assert due(Maintenance(vacuum=Vacuum()), memory, version=MANY, now=NOW) == ("vacuum",)


def test_what_a_new_process_remembers() -> None:
    """What the table says; what was due meanwhile, or never done, comes within a quarter of an hour."""
    said = {"compact": NOW - HOUR, "vacuum": NOW - 3 * DAY}
    memory = first_memory(BOTH, said, version=7, now=NOW, share=0.5)
    assert memory == Memory(compacted=NOW - HOUR, vacuumed=NOW - DAY + 450, version=7)
    never = first_memory(BOTH, {"compact": None, "vacuum": None}, version=7, now=NOW, share=1.0)
    assert due(BOTH, never, version=7, now=NOW) == ()
    assert due(BOTH, never, version=7, now=NOW + 900) == ("compact", "vacuum")


# --- doing it -------------------------------------------------------------------------------------


class Clock:
    now = time.time()

    def __call__(self) -> float:
        return self.now


class Loop:
    """A resident process as the daemon is: cycles, and upkeep beside them."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.manifest = manifest.load(site.manifest)
        self.handles = observe.Handles(self.manifest)
        self.clock = Clock()
        self.upkeep = self.restarted()

    def restarted(self) -> Upkeep:
        state = StateDir(self.manifest.state_dir, manifest=self.manifest.name, node=self.manifest.node)
        return Upkeep(state, clock=self.clock, chance=lambda: 0.5)

    @property
    def chore(self) -> Chore:
        streams = [plan.stream for plan in observe.look(self.manifest, self.handles).streams]
        (chore,) = chores(self.manifest, streams)
        return chore

    def cycles(self, number: int) -> None:
        for _ in range(number):
            self.site.sql("INSERT INTO t (name) VALUES ('row')")
            assert self.site.one(handles=self.handles).rows == 1

    def tend(self) -> list[Upkept]:
        tasks = self.upkeep.due(self.chore, self.handles)
        return list(self.upkeep.carry_out(self.chore, tasks, self.handles))


@pytest.fixture
def loop(site: Site) -> Any:
    made = Loop(site)
    yield made
    made.handles.close()


def test_a_tables_life(loop: Loop) -> None:
    """Due after its time; done once, and not again before the next; a new device reads when it was."""
    loop.cycles(14)
    assert loop.tend() == []
    loop.clock.now += 900
    compacted, vacuumed = loop.tend()
    assert (compacted.task, compacted.outcome, compacted.before, compacted.after) == (
        "compact",
        "done",
        14,
        1,
    )
    assert (vacuumed.task, vacuumed.outcome) == ("vacuum", "nothing")
    assert loop.tend() == []
    loop.cycles(14)
    loop.clock.now += 3 * HOUR
    loop.upkeep = loop.restarted()
    assert loop.tend() == []
    loop.clock.now += 3 * HOUR
    assert [(done.task, done.before) for done in loop.tend()] == [("compact", 15), ("vacuum", 0)]
    loop.cycles(1)
    loop.site.expect("t", "t")


def test_many_commits_bring_it_forward(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small files of many quick commits do not wait for their hour."""
    monkeypatch.setattr(upkeep, "MANY", 20)
    loop.cycles(5)
    assert loop.tend() == []
    loop.cycles(20)
    assert [(done.task, done.before) for done in loop.tend()] == [("compact", 25)]
    loop.cycles(10)
    assert loop.tend() == []


def test_a_look_costs_nothing(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is due is known without opening the table, and without waiting for a cycle that is at it."""
    loop.cycles(2)
    chore = loop.chore
    loop.clock.now += DAY
    monkeypatch.setattr(target.table, "_load", _no_io)
    monkeypatch.setattr("silt.target.store.LocalFiles.stamp", _no_io)
    assert loop.upkeep.due(chore, loop.handles) == ()
    loop.clock.now += DAY
    busy, done = threading.Event(), threading.Event()

    def cycle() -> None:
        at = loop.manifest.target("lake")
        lake = loop.handles._lake(at, "t")
        with lake.lock:
            busy.set()
            done.wait(60)

    thread = threading.Thread(target=cycle)
    thread.start()
    assert busy.wait(60)
    assert loop.upkeep.due(chore, loop.handles) == ()
    done.set()
    thread.join()
    assert loop.upkeep.due(chore, loop.handles) == ("compact", "vacuum")


def _no_io(*_: object) -> None:
    raise AssertionError("asked the disk")


def test_another_process_has_the_table(loop: Loop) -> None:
    """One at a time, by whatever process of the node: the other leaves it, and comes again soon."""
    loop.cycles(14)
    loop.tend()
    loop.clock.now += DAY
    uri = loop.handles.uri(loop.manifest.target("lake"), "t")
    other = StateDir(loop.manifest.state_dir, manifest="another", node="n2")
    with other.table_lock(uri) as mine:
        assert mine
        assert {done.outcome for done in loop.tend()} == {"busy"}
        assert loop.tend() == []
    loop.clock.now += upkeep.AGAIN
    assert [done.outcome for done in loop.tend()] == ["done", "nothing"]


@pytest.mark.parametrize(
    ("error", "outcome"),
    [(Contended("another"), "busy"), (RetryLater("no answer"), "failed"), (ValueError("?"), "failed")],
)  # fmt: skip
def test_what_fails_is_told_and_tried_again(
    loop: Loop, monkeypatch: pytest.MonkeyPatch, error: Exception, outcome: str
) -> None:
    """It never raises: one table's upkeep stops no other; ten minutes later it is tried again."""

    def fail(*_: object, **__: object) -> None:
        raise error

    loop.cycles(14)
    loop.tend()
    loop.clock.now += DAY
    with monkeypatch.context() as patch:
        patch.setattr(target.Upkeep, "compact", fail)
        first, second = loop.tend()
        assert (first.outcome, second.outcome) == (outcome, "nothing")
        assert first.error is not None
        loop.clock.now += upkeep.AGAIN - 1
        assert loop.tend() == []
    loop.clock.now += 1
    assert [(done.task, done.outcome) for done in loop.tend()] == [("compact", "done")]


def test_a_dry_run_writes_nothing(loop: Loop) -> None:
    """What would be written together and removed; the version stays."""
    loop.cycles(14)
    (compacted, vacuumed) = loop.upkeep.foresee(loop.chore, loop.handles)
    assert (compacted.outcome, compacted.before, compacted.after) == ("would", 14, None)
    assert vacuumed.outcome == "nothing"
    delta = loop.site.folder / "lake" / "t"
    assert len(list((delta / "_delta_log").glob("*.json"))) == 15
    orphan = delta / "part-0-orphan.parquet"
    orphan.write_bytes(b"x")
    os.utime(orphan, (0, 0))
    (_, vacuumed) = loop.upkeep.foresee(loop.chore, loop.handles)
    assert (vacuumed.outcome, vacuumed.before, vacuumed.bytes) == ("would", 1, None)
    assert orphan.exists()


def test_where_there_is_no_table(loop: Loop) -> None:
    """Nothing to do, and nothing is made."""
    done = list(loop.upkeep.carry_out(loop.chore, ("compact", "vacuum"), loop.handles))
    assert [d.outcome for d in done] == ["nothing", "nothing"]
    assert not (loop.site.folder / "lake" / "t").exists()


def test_a_torn_entry_is_mended_before_anything_builds_on_it(loop: Loop) -> None:
    """delta-rs takes an entry of 0 bytes for an empty commit (FACTS): a cold `silt maintain` checks first."""
    loop.cycles(14)
    loop.handles.close()
    torn = lake.entry(loop.site.folder / "lake" / "t", 14)
    torn.write_bytes(b"")
    with observe.Handles(loop.manifest) as fresh:
        (done,) = loop.upkeep.carry_out(loop.chore, ("compact",), fresh)
        assert (done.outcome, done.before, done.version) == ("done", 13, 14)
        assert loop.site.one(handles=fresh).rows == 1
    loop.site.expect("t", "t")
