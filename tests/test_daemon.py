"""`silt run` without --once: the loop with made-up work, then with real processes."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import replace

import pytest
from clirun import environment, silt, sql, start

from silt.daemon import Daemon, Job, Ledger, Prepared, Report, Survey, remember
from silt.daemon.begin import Beginning
from silt.errors import Held, RetryLater
from silt.manifest.model import Manifest, Schedule, Source, Stream, Target
from silt.plan.model import Plan, StreamPlan
from silt.replicate.model import RunResult, StreamResult
from silt.replicate.round import Round
from silt.state import AlreadyRunning, StateDir, StreamStatus

LOCKED = RetryLater("the database is locked", hint="close it there")


def planned(name: str, every: float = 0.05, **changes) -> StreamPlan:
    schedule = Schedule(every=every)
    stream = Stream(name=name, source="s", target="t", table=name, into=name, schedule=schedule)
    return StreamPlan(stream=stream, **{"state": "ok", **changes})


def result(name: str, **changes) -> StreamResult:
    return StreamResult(**{"name": name, "table": name, "into": name, "state": "ok", **changes})


class Work:
    """Streams that a test makes up; `cycle` answers from `answers`, and remembers who ran when."""

    def __init__(self, manifest: Manifest, *streams: StreamPlan) -> None:
        self.made = manifest
        self.streams = list(streams)
        self.ran: list[str] = []
        self.refreshed: list[str] = []
        self.surveys: list[Survey] = []
        self.prepared: list[Prepared] = []
        self.under_way: set[str] = set()
        self.overlaps: list[str] = []
        self.answer = lambda job, stop: result(job.stream.name)

    def look(self, manifest: Manifest) -> Plan:
        return replace(self.plan(), manifest=manifest)

    def plan(self) -> Plan:
        all_streams = tuple(p.stream for p in self.streams)
        return Plan(manifest=self.made, streams=tuple(self.streams), all_streams=all_streams)

    def survey(self, running) -> Survey | None:
        return self.surveys.pop() if self.surveys else None

    def prepare(self, running, *, began: float, asked: bool) -> Prepared:
        return replace(self.prepared.pop(), began=began, asked=asked)

    def cycle(self, job: Job, stop, *, again: bool) -> Report:
        name = job.stream.name
        if again:
            self.refreshed.append(name)
        if name in self.under_way:
            self.overlaps.append(name)
        self.under_way.add(name)
        self.ran.append(name)
        try:
            return Report(job=job, result=self.answer(job, stop), began=time.time())
        finally:
            self.under_way.discard(name)


@pytest.fixture
def manifest(tmp_path):
    path = tmp_path / "silt.yaml"
    path.write_text("version: 1\n")
    return Manifest(
        path=str(path),
        name="m",
        node="n",
        state_dir=str(tmp_path / "state"),
        sources=(Source(name="s", path=str(tmp_path / "s.db")),),
        targets=(Target(name="t", uri=str(tmp_path / "lake")),),
        rules=None,
        digest="d",
    )


@contextmanager
def running(manifest: Manifest, work: Work, state: StateDir | None = None):
    """The daemon in a thread; gives its log lines; stops it at the end."""
    lines, stop = [], threading.Event()
    state = state or StateDir(manifest.state_dir, manifest=manifest.name, node=manifest.node)
    daemon = Daemon(
        Beginning(manifest=manifest, on_disk="d"),
        work,
        emit=lines.append,
        stop=stop,
        state=state,
        watch=False,
    )
    thread = threading.Thread(target=daemon.run)
    thread.start()
    try:
        yield lines
    finally:
        stop.set()
        daemon.wake()
        thread.join(10)
        assert not thread.is_alive()


def until(condition, seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)


def kinds(lines) -> list[str]:
    return [line.kind for line in lines]


# --- the loop -------------------------------------------------------------------------------------


def test_every_stream_runs_again_and_again(manifest):
    """Each on its own `every`; the log says ready and stopped and nothing in between when nothing happens."""
    work = Work(manifest, planned("fast", 0.02), planned("slow", 5.0))
    with running(manifest, work) as lines:
        until(lambda: work.ran.count("fast") >= 10 and "slow" in work.ran)
    assert work.ran.count("slow") == 1
    assert kinds(lines) == ["ready", "stopped"]


def test_slow_stream_delays_no_other_and_never_overlaps_itself(manifest):
    """A cycle that takes long blocks neither the other streams nor meets itself."""
    gate = threading.Event()
    work = Work(manifest, planned("big", 0.01), planned("small", 0.01))
    work.answer = lambda job, stop: (job.stream.name == "big" and gate.wait(10), result(job.stream.name))[1]
    with running(manifest, work):
        until(lambda: work.ran.count("small") >= 20)
        assert work.ran.count("big") == 1
        gate.set()
        until(lambda: work.ran.count("big") >= 3)
    assert work.overlaps == []


def test_stop_waits_for_the_cycle_under_way(manifest):
    """The daemon ends after the commit under way, and says what it waits for."""
    gate, work = threading.Event(), Work(manifest, planned("big", 0.01))
    work.answer = lambda job, stop: (gate.wait(10), result("big", rows=5))[1]
    with running(manifest, work) as lines:
        until(lambda: work.ran == ["big"])
        said = lambda: (until(lambda: "stopping" in kinds(lines)), gate.set())  # noqa: E731
        threading.Thread(target=said).start()
    assert kinds(lines) == ["ready", "stopping", "stopped"]
    assert "big" in lines[1].text
    last = StateDir(manifest.state_dir, manifest="m", node="n").read()
    assert last is not None
    assert last.stopped
    assert last.streams[0].rows == 5


class Panic(BaseException):
    """As pyo3 raises it: what is not even an Exception."""


@pytest.mark.parametrize("bug", [ZeroDivisionError("oops"), Panic("oops")], ids=["exception", "panic"])
def test_bug_in_one_stream_stops_no_other(manifest, bug):
    """An exception that nobody expected is that stream's failure; it is tried again, and no worker ends."""

    def answer(job, stop):
        if job.stream.name == "bad":
            raise bug
        return result(job.stream.name)

    work = Work(manifest, planned("bad", 0.05), planned("good", 0.02))
    work.answer = answer
    with running(manifest, work) as lines:
        until(lambda: work.ran.count("bad") >= 2 and "failing" in kinds(lines))
        before = work.ran.count("good")
        until(lambda: work.ran.count("good") >= before + 10)
    failing = next(line for line in lines if line.kind == "failing")
    assert f"{type(bug).__name__}: oops" in failing.text


def test_failing_stream_is_looked_at_again_and_its_return_is_told(manifest):
    """What stops a stream may be in its plan: each try after a failure plans anew; `ok` tells how long."""
    failures = [LOCKED]
    work = Work(manifest, planned("a", 0.05))

    def answer(job, stop):
        if failures:
            return result("a", state="failing", error=failures.pop())
        return result("a", rows=7)

    work.answer = answer
    with running(manifest, work) as lines:
        until(lambda: "ok" in kinds(lines))
    assert work.refreshed[:1] == ["a"]
    assert kinds(lines)[:3] == ["ready", "failing", "ok"]
    assert "the database is locked, again in" in lines[1].text
    assert "7 rows caught up" in lines[2].text


def test_a_cycle_that_gave_way_goes_on_at_once(manifest):
    """Its next turn does not wait for the schedule, nor plan anew, and until its end it is behind."""
    work = Work(manifest, planned("a", 3600.0))
    turns = [result("a"), *[result("a", rows=10, batches=1, rest=Round())] * 3]
    behind, state = [], StateDir(manifest.state_dir, manifest="m", node="n")

    def answer(job, stop):
        until(lambda: state.read() is not None)
        behind.append([s.caught_up for s in state.read().streams])
        return turns.pop() if turns else result("a")

    work.answer = answer
    with running(manifest, work):
        until(lambda: not turns)
        until(lambda: state.read().streams[0].caught_up is not None)
    assert work.ran == ["a"] * 4
    assert work.refreshed == []
    assert behind == [[None]] * 4
    assert state.read().streams[0].rows == 30


def test_a_state_folder_that_is_removed_comes_back(manifest):
    """Losing it loses nothing: all that it held is there again though nothing happens, the lock too."""
    work, state = Work(manifest, planned("a", 3600.0)), StateDir(manifest.state_dir, manifest="m", node="n")
    with state.lock(manifest.path), running(manifest, work, state):
        until(lambda: state.read() is not None and state.read().streams[0].finished)
        until(state.ran_path.exists)
        before = {path.name for path in state.folder.iterdir()}
        ran = state.ran_path.read_text()
        shutil.rmtree(state.folder)
        until(lambda: state.read() is not None)
        assert {path.name for path in state.folder.iterdir()} >= before
        assert json.loads(state.ran_path.read_text()) == json.loads(ran)
        with pytest.raises(AlreadyRunning), StateDir(manifest.state_dir, manifest="m", node="n").lock("x"):
            pass


def test_who_took_the_lock_of_a_removed_state_folder_keeps_it(manifest):
    """Two run then; the daemon says so, once, and does not wait for the lock again."""
    work, state = Work(manifest, planned("a", 3600.0)), StateDir(manifest.state_dir, manifest="m", node="n")
    with state.lock(manifest.path), running(manifest, work, state) as lines:
        until(lambda: state.read() is not None and state.read().streams[0].finished)
        rival = StateDir(f"{manifest.state_dir}-rival", manifest="m", node="n")
        with rival.lock(manifest.path):
            rival.lock_path.replace(state.lock_path)  # the old one is gone, and this one there, at one moment
            until(lambda: [line for line in lines if "being run by process" in line.text])
            state.status_path.unlink()
            until(state.status_path.exists)
        until(lambda: rival.holder() is None and state.holder() is not None)  # it has it again
        said = [line for line in lines if "being run by process" in line.text]
    assert [line.level for line in said] == ["warning"]


def test_a_clock_that_is_set_back_stops_no_status(manifest, monkeypatch):
    """The status goes on being written, by a clock that nobody sets."""
    wall = [4e9]
    monkeypatch.setattr("silt.daemon.loop.time.time", lambda: wall[0])
    work, state = Work(manifest, planned("a", 0.05)), StateDir(manifest.state_dir, manifest="m", node="n")
    with running(manifest, work):
        until(lambda: state.read() is not None and state.read().streams[0].finished)
        wall[0] -= 1e6
        until(lambda: state.read().written == wall[0])
        assert state.read().streams[0].finished <= wall[0]


def test_a_reset_beside_the_loop_is_heeded_at_once(manifest):
    """What `silt reset` emptied is planned anew and read again, whenever it would have been due."""
    work, state = Work(manifest, planned("a", 3600.0)), StateDir(manifest.state_dir, manifest="m", node="n")
    numbers = []
    work.answer = lambda job, stop: (numbers.append(job.number), result("a"))[1]
    state.keep_reset("a")  # before it began: long done
    with running(manifest, work):
        until(lambda: work.ran == ["a"])
        state.keep_reset("a")
        until(lambda: work.ran == ["a"] * 2)
        time.sleep(1.5)
    assert work.ran == ["a"] * 2
    assert len(set(numbers)) == 2


def test_a_stream_that_was_away_begins_anew(manifest):
    """Disabled and enabled, or gone and back, it does not go on with what its turns did before."""
    work = Work(manifest, planned("a", 3600.0), planned("b", 0.05))
    numbers = []
    work.answer = lambda job, stop: (numbers.append((job.stream.name, job.number)), result(job.stream.name))[
        1
    ]
    on = work.streams
    off = [replace(on[0], stream=replace(on[0].stream, enabled=False)), on[1]]
    with running(manifest, work):
        until(lambda: "a" in work.ran)
        for streams in (off, on):
            work.streams = streams
            work.surveys = [Survey(manifest=manifest, plan=work.plan())]
            until(lambda: not work.surveys)
        until(lambda: work.ran.count("a") == 2)
    assert len({n for name, n in numbers if name == "a"}) == 2
    assert len({n for name, n in numbers if name == "b"}) == 1


def test_a_failure_to_look_is_told_once(manifest):
    """A thousand looks that find the same: one line."""
    work = Work(manifest, planned("a", 3600.0))
    surveys = [Survey(manifest=manifest, error=RetryLater("no file descriptors"))] * 3
    work.surveys = [Survey(manifest=manifest), *surveys]
    with running(manifest, work) as lines:
        until(lambda: not work.surveys)
    assert kinds(lines).count("failing") == 1


def test_new_tables_and_files_are_picked_up(manifest):
    """When the sources changed the daemon looks again: new streams run, streams that are gone do not."""
    work = Work(manifest, planned("old", 0.02), planned("gone", 0.02))
    with running(manifest, work) as lines:
        until(lambda: "old" in work.ran)
        work.streams = [planned("old", 0.02), planned("new", 0.02)]
        work.surveys = [Survey(manifest=manifest, plan=work.plan(), moved=frozenset({"s"}))]
        until(lambda: "new" in work.ran)
        seen = len(work.ran)
        until(lambda: work.ran.count("new") >= 10)
        assert "gone" not in work.ran[seen:]
    assert "old" in work.refreshed
    assert [line.kind for line in lines if line.fields.get("stream") in ("new", "gone")] == ["gone", "new"]


def test_a_move_that_was_seen_under_the_manifest_before_is_heeded(manifest):
    """A file or table that came while an edit was adopted: a survey tells it once, so nobody may drop it."""
    work = Work(manifest, planned("old", 0.02))
    with running(manifest, work):
        until(lambda: "old" in work.ran)
        assert work.refreshed == []
        work.surveys = [Survey(manifest=replace(manifest), moved=frozenset({"s"}))]
        until(lambda: work.refreshed == ["old"])


def test_stream_that_leaves_and_comes_back_while_its_cycle_runs(manifest):
    """The new one waits for the old one's end, and then runs: never both, and never none."""
    gate = threading.Event()
    work = Work(manifest, planned("a", 0.02), planned("b", 0.02))
    work.answer = lambda job, stop: (job.stream.name == "a" and gate.wait(10), result(job.stream.name))[1]
    with running(manifest, work) as lines:
        until(lambda: "a" in work.ran)
        both = work.streams
        for streams, told in ((both[1:], "gone"), (both, "new")):
            work.streams = streams
            work.surveys = [Survey(manifest=manifest, plan=work.plan())]
            until(lambda told=told: kinds(lines)[-1] == told)
        seen = work.ran.count("b")
        until(lambda: work.ran.count("b") >= seen + 5)  # time enough for a second one
        assert work.ran.count("a") == 1
        gate.set()
        until(lambda: work.ran.count("a") >= 3)
    assert work.overlaps == []


def test_disabled_and_enabled_again(manifest):
    """`enabled: false` while it runs rests a stream, and `true` wakes it."""
    work = Work(manifest, planned("a", 0.02), planned("b", 0.02))
    on = work.streams
    off = [replace(on[0], stream=replace(on[0].stream, enabled=False)), on[1]]
    with running(manifest, work):
        until(lambda: work.ran.count("a") >= 2)
        for streams, moves in ((off, False), (on, True)):
            work.streams = streams
            work.surveys = [Survey(manifest=manifest, plan=work.plan())]
            until(lambda: not work.surveys)
            seen = work.ran.count("b")
            until(lambda seen=seen: work.ran.count("b") >= seen + 20)
            before, b = work.ran.count("a"), work.ran.count("b")
            until(lambda b=b: work.ran.count("b") >= b + 10)
            assert (work.ran.count("a") > before) is moves


def test_signal_during_the_first_look(manifest):
    """A first look that hangs (a dead store) is left after `grace`: nothing is under way yet."""
    gate, lines, stop = threading.Event(), [], threading.Event()
    work = Work(manifest)
    work.look = lambda _: (gate.wait(30), work.plan())[1]
    quick = replace(manifest, grace=0.1)
    state = StateDir(manifest.state_dir, manifest="m", node="n")
    beginning = Beginning(manifest=quick, on_disk="d")
    daemon = Daemon(beginning, work, emit=lines.append, stop=stop, state=state, watch=False)
    stop.set()
    assert daemon.run()
    assert not daemon.is_quiet
    assert lines == []
    gate.set()


def test_disabled_streams_do_not_run(manifest):
    """`enabled: false` is left alone."""
    off = planned("off", 0.02, state="disabled")
    work = Work(manifest, planned("on", 0.02), replace(off, stream=replace(off.stream, enabled=False)))
    with running(manifest, work):
        until(lambda: work.ran.count("on") >= 5)
    assert "off" not in work.ran


# --- what the log says ----------------------------------------------------------------------------


def tell(results: list[StreamResult]) -> list[str | None]:
    """The kinds of lines for successive cycles of a stream, ten seconds apart."""
    ledger, told = Ledger(), []
    ledger.keep([planned(results[0].name).stream])
    for number, one in enumerate(results):
        ledger.started(one.name, 0.0)
        now = 1000.0 + 10 * number
        line = ledger.ended(one, began=now - 1, now=now, next_in=5.0)
        told.append(line.kind if line else None)
    return told


def test_same_failure_is_told_at_doubling_tries():
    """Tries 1, 2, 4, 8 of the same failure are told, another failure at once, the return once."""
    locked, other = result("a", state="failing", error=LOCKED), RetryLater("no answer")
    assert tell([locked] * 9) == ["failing", "failing", None, "failing", None, None, None, "failing", None]
    assert tell([locked, locked, result("a", state="failing", error=other), result("a"), result("a")]) == [
        "failing",
        "failing",
        "failing",
        "ok",
        None,
    ]


def test_hold_is_told_once():
    """A held stream needs a person, not a line every five minutes."""
    held = result("a", state="held", error=Held("rows were rewritten", rule="4.4"))
    assert tell([held, held, held, result("a")]) == ["held", None, None, "ok"]


def test_waiting_is_told_once():
    """A glob that matches nothing is told when it begins."""
    waiting = result("a", state="waiting", notes=("no file matches yet",))
    assert tell([waiting, waiting, result("a"), waiting]) == ["waiting", None, None, "waiting"]


def test_ledger_remembers_since_when_a_stream_is_behind():
    """`ahead_since` is the start of the first cycle that failed, until one leaves nothing behind."""
    ledger = Ledger()
    ledger.keep([planned("a").stream])
    moments = []
    for now, one in ((10.0, LOCKED), (20.0, LOCKED), (30.0, None)):
        ledger.started("a", 0.0)
        state = "failing" if one else "ok"
        ledger.ended(result("a", state=state, error=one), began=now - 1, now=now, next_in=1.0)
        status = ledger.streams["a"]
        moments.append((status.ahead_since, status.failing_since, status.tries, status.caught_up))
    assert moments == [(9.0, 9.0, 1, None), (9.0, 9.0, 2, None), (None, None, 0, 29.0)]


def test_a_bulk_load_that_takes_turns_is_behind_until_its_end():
    """Its lag is counted from its first turn, and ends with its last."""
    ledger = Ledger({"a": StreamStatus(name="a", state="ok", caught_up=5.0)})
    for began, rest in ((10.0, Round()), (20.0, Round())):
        ledger.started("a", 0.0)
        ledger.ended(result("a", rows=3, rest=rest), began=began, now=began + 2, next_in=0.0)
        assert (ledger.streams["a"].caught_up, ledger.streams["a"].ahead_since) == (5.0, 10.0)
    ledger.started("a", 0.0)
    ledger.ended(result("a", rows=3), began=30.0, now=32.0, next_in=60.0)
    assert (ledger.streams["a"].caught_up, ledger.streams["a"].ahead_since) == (10.0, None)
    assert ledger.streams["a"].rows == 9


def test_a_cycle_that_takes_a_while_is_behind_since_it_began():
    """Lag is never 0 while rows are read; a cycle of an instant is no news."""
    ledger = Ledger({"a": StreamStatus(name="a", state="ok", caught_up=5.0, pending_rows=0)})
    ledger.started("a", 100.0)
    (soon,), (later,) = ledger.standing(100.5), ledger.standing(104.0)
    assert (soon.state, soon.ahead_since) == ("running", None)
    assert (later.state, later.ahead_since, later.pending_rows) == ("running", 100.0, None)
    ledger.ended(result("a", rows=3), began=100.0, now=105.0, next_in=60.0)
    (after,) = ledger.standing(500.0)
    assert (after.state, after.ahead_since, after.caught_up) == ("ok", None, 100.0)


def test_moments_move_with_the_clock():
    """A device that sets its clock by years did not fail for years."""
    ledger = Ledger(
        {"a": StreamStatus(name="a", state="failing", failing_since=10.0, finished=20.0, next=30.0)}
    )
    ledger.shift(1e8)
    assert ledger.streams["a"].failing_since == 1e8 + 10
    assert ledger.streams["a"].next == 1e8 + 30
    assert ledger.streams["a"].committed is None


def test_a_turn_of_a_stream_that_failed_decides_nothing():
    """What failed may not have been visited again: it is back when the whole cycle was ok, and said once."""
    ledger = Ledger({"a": StreamStatus(name="a", state="ok")})

    def ended(**changes):
        ledger.started("a", 0.0)
        line = ledger.ended(result("a", **changes), began=10.0, now=12.0, next_in=1.0)
        return line.kind if line is not None else None, ledger.streams["a"].state, ledger.streams["a"].tries

    assert ended(state="failing", error=LOCKED) == ("failing", "failing", 1)
    assert ended(rest=Round()) == (None, "failing", 1)
    assert ended(state="failing", error=LOCKED, rest=Round()) == (None, "failing", 1)
    assert ended(state="failing", error=LOCKED) == ("failing", "failing", 2)
    assert ended(rest=Round(), rows=5) == (None, "failing", 2)
    assert ended(rows=4) == ("ok", "ok", 0)
    assert ledger.streams["a"].rows == 9


def test_run_once_keeps_what_was_known_of_other_streams(tmp_path, manifest):
    """`run --once --select a` does not make `status` forget b."""
    state = StateDir(str(tmp_path), manifest="m", node="n")
    for one in (result("a", rows=1), result("b", rows=2)):
        assert remember(state, manifest, RunResult(streams=(one,)), started=1.0) == ""
    last = state.read()
    assert last is not None
    assert {s.name: s.rows for s in last.streams} == {"a": 1, "b": 2}
    assert isinstance(last.stream("a"), StreamStatus)
    assert not last.loop


# --- real processes -------------------------------------------------------------------------------

MANIFEST = """\
version: 1
sources: {shop: "./db/*.db"}
targets: {lake: ./lake}
defaults: {schedule: {every: 200ms}}
streams:
  "*": {mode: append}
"""


@pytest.fixture
def shop(tmp_path):
    (tmp_path / "db").mkdir()
    sql(
        tmp_path / "db" / "a.db",
        "CREATE TABLE orders (id INTEGER PRIMARY KEY, x); INSERT INTO orders VALUES (1, 1)",
    )
    (tmp_path / "silt.yaml").write_text(MANIFEST)
    return tmp_path


class Log:
    """The JSON log of a running silt, line by line as it comes."""

    def __init__(self, process) -> None:
        self.lines: list[dict] = []
        self._reader = threading.Thread(target=self._read, args=(process.stdout,), daemon=True)
        self._reader.start()

    def _read(self, stream) -> None:
        for line in stream:
            self.lines.append(json.loads(line))

    def wait(self, event: str, **fields) -> dict:
        def found():
            return [
                e for e in self.lines if e["event"] == event and all(e.get(k) == v for k, v in fields.items())
            ]

        until(lambda: bool(found()), 60)
        return found()[0]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_loop_replicates_and_ends_0_on_a_signal(shop, number):
    """Rows, a new database of the glob and a new table arrive while it runs; a signal ends it with 0."""
    with start("run", "--log-format", "json", cwd=shop) as process:
        log = Log(process)
        log.wait("ready", databases=1, streams=1)
        log.wait("commit", stream="orders", rows=1)
        sql(shop / "db" / "a.db", "INSERT INTO orders VALUES (2, 2), (3, 3)")
        log.wait("commit", stream="orders", rows=2)
        script = "CREATE TABLE orders (id INTEGER PRIMARY KEY, x); INSERT INTO orders VALUES (7, 7)"
        sql(
            shop / "db" / "b.db",
            script + "; CREATE TABLE items (id INTEGER PRIMARY KEY); INSERT INTO items VALUES (1)",
        )
        log.wait("new", stream="items")
        log.wait("commit", stream="items", rows=1)
        until(lambda: sum(e["rows"] for e in log.lines if e["event"] == "commit") == 5)
        process.send_signal(number)
        assert process.wait(20) == 0
        assert process.stderr.read() == ""
        log.wait("stopped")
    told = json.loads(silt("query", "silt.yaml", "select count(*) n from orders", "--json", cwd=shop).stdout)
    assert told["rows"] == [{"n": 4}]
    assert all(set(e) >= {"time", "level", "event", "message"} for e in log.lines)


def test_on_change_runs_soon_after_a_write_and_only_then(shop):
    """A stream that is looked at every 5 minutes otherwise follows each write, in WAL mode too."""
    database = shop / "db" / "a.db"
    sql(database, "PRAGMA journal_mode=wal")
    schedule = "schedule: {on_change: {debounce: 50ms, max_delay: 1s}}"
    (shop / "silt.yaml").write_text(MANIFEST.replace("schedule: {every: 200ms}", schedule))
    assert schedule in (shop / "silt.yaml").read_text()
    with start("run", "--log-format", "json", cwd=shop) as process:
        log = Log(process)
        log.wait("commit", stream="orders", rows=1)
        for key in (2, 3):
            sql(database, f"INSERT INTO orders VALUES ({key}, 1)")
            until(lambda key=key: sum(e["rows"] for e in log.lines if e["event"] == "commit") == key, 20)
        process.terminate()
        assert process.wait(20) == 0


def test_log_that_nobody_reads_ends_the_loop(shop):
    """`silt run | head -1` ends as a program does that SIGPIPE ends, after the commit under way."""
    with start("run", cwd=shop) as process:
        assert process.stdout.readline().split()[1] == "ready"
        process.stdout.close()
        sql(shop / "db" / "a.db", "INSERT INTO orders VALUES (2, 2)")
        assert process.wait(30) == 141
        assert process.stderr.read() == ""
    told = json.loads(silt("query", "silt.yaml", "select count(*) n from orders", "--json", cwd=shop).stdout)
    assert told["rows"][0]["n"] in (1, 2)


def test_second_signal_ends_at_once(shop):
    """Whoever cannot wait for the commit under way sends the signal again."""
    code = (
        "import sys, time, signal, os\nfrom silt import replicate\nfrom silt.cli.app import run\n"
        "from silt.replicate.stream import StreamCycle\n"
        "def stuck(*a, **k):\n    print('stuck', flush=True)\n    time.sleep(60)\n"
        "StreamCycle.run = stuck\nsys.exit(run(['run', 'silt.yaml', '--log-format', 'json']))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=shop, env=environment(), stdout=subprocess.PIPE, text=True
    ) as process:
        lines = iter(process.stdout.readline, "")
        assert any(line == "stuck\n" for line in lines)
        process.terminate()
        assert any('"event": "stopping"' in line for line in lines)  # two at once would be one
        assert process.poll() is None
        process.terminate()
        assert process.wait(20) == 143


def test_invalid_at_start_is_1(shop):
    """A manifest that does not validate ends the loop before it begins."""
    (shop / "silt.yaml").write_text("version: 1\nstreams: {a: {mode: miror}}\n")
    done = silt("run", cwd=shop)
    assert done.returncode == 1
    assert "miror" in done.stderr
