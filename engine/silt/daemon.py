"""`silt run` without --once: every stream again and again on its own schedule, until a signal (DESIGN 9).

Thin, on top of the same `replicate` that --once uses.  `Timetable` decides when, and knows no clock but
the moments that it is given; `Ledger` remembers how every stream fared and says what is worth a log
line; `Daemon` runs due streams in a small pool and looks at the sources anew when they change.
"""

from __future__ import annotations

import heapq
import os
import queue
import random
import threading
import time
import traceback
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from silt.errors import SiltError
from silt.manifest.model import Manifest, Source, Stream
from silt.plan.build import state_of
from silt.plan.model import Plan, StreamPlan
from silt.replicate.model import Event, RunResult, StreamResult
from silt.report import events, failure
from silt.report.events import Line
from silt.report.units import count, counted, duration
from silt.state import LastStatus, StateDir, StreamStatus

if TYPE_CHECKING:
    from silt.observe import Handles

Emit: TypeAlias = Callable[[Line], None]

JITTER: Final = 0.1  # of a stream's `every`, at most (DESIGN 3)
WORKERS: Final = 4
_FIRST_BACKOFF: Final = 5.0
_LONGEST_BACKOFF: Final = 300.0
_TICK: Final = 1.0
"""Seconds between looks at the manifest's files and at the sources' file sets."""


# --- when -----------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Slot:
    """A stream's place in the timetable: `slot` is its next moment on the grid, before jitter."""

    every: float
    slot: float
    due: float
    tries: int = 0
    running: bool = False


class Timetable:
    """When each stream is due, in seconds of any one clock.

    A stream keeps to a grid of its `every`; jitter moves a start by at most a tenth of that, and
    never the grid.  Moments that passed while it ran are one; it is never due while it runs.  After
    a failure it is due sooner or later than the grid says: 5 s, doubling, up to the greater of 5
    minutes and `every`, shortened by up to a fifth at random so that a fleet does not return at once.
    """

    def __init__(self, rng: random.Random | None = None) -> None:
        self._random = rng or random.Random()  # noqa: S311  # spreads load, guards nothing
        self._slots: dict[str, _Slot] = {}
        self._heap: list[tuple[float, str]] = []

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self._slots)

    def add(self, name: str, every: float, now: float) -> None:
        """A new stream is due at once, but for a start jitter of at most a second."""
        due = now + self._random.uniform(0, min(JITTER * every, 1.0))
        self._slots[name] = _Slot(every=every, slot=now, due=due)
        heapq.heappush(self._heap, (due, name))

    def remove(self, name: str) -> None:
        self._slots.pop(name, None)

    def take(self, now: float) -> tuple[str, ...]:
        """The streams that are due, in the order of their moments; each counts as running from now on."""
        taken = []
        while self._heap and self._heap[0][0] <= now:
            due, name = heapq.heappop(self._heap)
            if self._valid(due, name):
                self._slots[name].running = True
                taken.append(name)
        return tuple(taken)

    def done(self, name: str, now: float, *, failed: bool) -> float | None:
        """`name` ended its cycle; the moment it is due next (None: it was removed meanwhile)."""
        slot = self._slots.get(name)
        if slot is None:
            return None
        slot.running = False
        slot.tries = slot.tries + 1 if failed else 0
        slot.due = self._after_failure(slot, now) if failed else self._on_grid(slot, now)
        heapq.heappush(self._heap, (slot.due, name))
        return slot.due

    def next(self) -> float | None:
        """The moment at which something is due, None where everything runs or nothing is there."""
        while self._heap and not self._valid(*self._heap[0]):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def _valid(self, due: float, name: str) -> bool:
        slot = self._slots.get(name)
        return slot is not None and slot.due == due and not slot.running

    def _on_grid(self, slot: _Slot, now: float) -> float:
        missed = max(int((now - slot.slot) // slot.every), 0)
        slot.slot += (missed + 1) * slot.every
        return slot.slot + self._random.uniform(0, JITTER * slot.every)

    def _after_failure(self, slot: _Slot, now: float) -> float:
        first = min(_FIRST_BACKOFF, max(slot.every, 1.0))
        wait = min(first * 2.0 ** min(slot.tries - 1, 20), max(_LONGEST_BACKOFF, slot.every))
        return now + wait * self._random.uniform(0.8, 1.0)


# --- how it went ----------------------------------------------------------------------------------


@dataclass(slots=True)
class Ledger:
    """How every stream fared, in wall-clock seconds: what the status file holds and the log says."""

    streams: dict[str, StreamStatus] = field(default_factory=dict)

    def keep(self, names: Iterable[str]) -> None:
        """Forget the streams that are not in `names`, and begin those that are new."""
        self.streams = {n: self.streams.get(n) or StreamStatus(name=n, state="ok") for n in names}

    def started(self, name: str) -> StreamStatus:
        """`name` runs now; how it stood before."""
        before = self.streams[name]
        self.streams[name] = replace(before, state="running")
        return before

    def ended(
        self, result: StreamResult, before: StreamStatus, *, began: float, now: float, next_in: float
    ) -> Line | None:
        """Remember `result`; the line that says what changed for the reader, None where nothing did."""
        after = _status(result, before, began=began, now=now, due=now + next_in)
        self.streams[result.name] = after
        return _transition(result, before, after, next_in)


def _status(
    result: StreamResult, before: StreamStatus, *, began: float, now: float, due: float
) -> StreamStatus:
    bad = result.state in ("failing", "held")
    error = result.error
    return StreamStatus(
        name=result.name,
        state="ok" if result.state == "running" else result.state,
        rows=before.rows + result.rows,
        version=result.version if result.version is not None else before.version,
        finished=now,
        caught_up=before.caught_up if bad else began,
        ahead_since=(before.ahead_since or began) if bad else None,
        next=due,
        tries=before.tries + 1 if bad else 0,
        failing_since=(before.failing_since or began) if bad else None,
        error=failure.located(error, result.place) if error else None,
        hint=error.hint or None if error else None,
    )


def _transition(
    result: StreamResult, before: StreamStatus, after: StreamStatus, next_in: float
) -> Line | None:
    if after.state in ("failing", "held"):
        return _bad_news(after, next_in) if _is_news(before, after) else None
    fields: dict[str, object] = {"stream": after.name, "rows": result.rows}
    if before.failing_since is not None and after.finished is not None:
        away = after.finished - before.failing_since
        caught = f", {counted(result.rows, 'row')} caught up" if result.rows else ""
        return Line(kind="ok", text=f"{after.name}: back after {duration(away)}{caught}", fields=fields)
    if after.state == "waiting" and before.state != "waiting":
        why = f": {'; '.join(result.notes)}" if result.notes else ""
        return Line(kind="waiting", text=f"{after.name}{why}", fields=fields)
    return None


def _is_news(before: StreamStatus, after: StreamStatus) -> bool:
    """A new failure is; the same one only at its 2nd, 4th, 8th ... try, and a hold once."""
    if (before.error, before.failing_since is None) != (after.error, False):
        return True
    return after.state == "failing" and after.tries & (after.tries - 1) == 0


def _bad_news(after: StreamStatus, next_in: float) -> Line:
    again = f", again in {duration(next_in)}" if after.state == "failing" else ""
    tries = f" ({count(after.tries)} tries)" if after.tries > 1 and after.state == "failing" else ""
    hint = f". {after.hint}" if after.hint else ""
    return Line(
        kind=after.state,
        text=f"{after.name}: {after.error}{tries}{again}{hint}",
        level="error" if after.state == "held" else "warning",
        fields={"stream": after.name, "tries": after.tries, "error": after.error, "hint": after.hint},
    )


# --- what is run ----------------------------------------------------------------------------------


class Work(Protocol):
    """What the daemon drives: the real one is `Replication`, tests bring their own."""

    def look(self) -> Plan:
        """Look at every source and table; only called while no cycle runs."""

    def changed(self) -> bool:
        """Whether the last look is out of date: other files match, or a schema changed."""

    def refresh(self, plan: StreamPlan) -> StreamPlan:
        """Look at one stream again; called by its worker, while other streams' cycles run."""

    def cycle(self, plan: StreamPlan) -> StreamResult:
        """One cycle of one stream, by its worker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a worker hands back: the plan it ran, the result, and when the cycle began (wall clock)."""

    plan: StreamPlan
    result: StreamResult
    began: float


class Daemon:
    """The loop.  `run` returns when `stop` is set and every commit under way is done."""

    def __init__(
        self,
        manifest: Manifest,
        work: Work,
        *,
        emit: Emit,
        stop: threading.Event,
        state: StateDir,
        workers: int = WORKERS,
    ) -> None:
        self._manifest = manifest
        self._work = work
        self._emit = emit
        self._stop = stop
        self._state = state
        self._workers = workers
        self._timetable = Timetable()
        self._ledger = Ledger()
        self._plans: dict[str, StreamPlan] = {}
        self._again: set[str] = set()
        self._reports: queue.SimpleQueue[Report | None] = queue.SimpleQueue()
        self._before: dict[str, StreamStatus] = {}
        self._watch = ManifestWatch(manifest)
        self._started = time.time()
        self._written = 0.0
        self._warned = ""
        self._stale = False

    def wake(self) -> None:
        """Make a waiting loop look at `stop` now; safe in a signal handler (SimpleQueue.put is reentrant)."""
        self._reports.put(None)

    def run(self, check: Callable[[], None] = lambda: None) -> None:
        """Look, `check` what was seen, say `ready`, and go round until `stop` is set."""
        before = self._state.read()
        self._adopt(self._work.look())
        check()
        self._remember(before)
        self._emit(self._ready())
        with ThreadPoolExecutor(self._workers, thread_name_prefix="silt") as pool:
            while not self._stop.is_set():
                self._round(pool)
            if self._before:
                names = ", ".join(sorted(self._before))
                self._emit(Line(kind="stopping", text=f"after the commit under way: {names}"))
            while self._before:
                self._collect(timeout=_TICK)
        self._write(stopped=True)
        self._emit(Line(kind="stopped", text=f"after {duration(time.time() - self._started)}"))

    def _round(self, pool: ThreadPoolExecutor) -> None:
        now = time.monotonic()
        if not self._stale:
            for name in self._timetable.take(now):
                self._start(pool, name)
        due = self._timetable.next()
        self._collect(timeout=_TICK if due is None else min(max(due - time.monotonic(), 0.0), _TICK))
        self._look_around()
        self._write()

    def _start(self, pool: ThreadPoolExecutor, name: str) -> None:
        self._before[name] = self._ledger.started(name)
        pool.submit(self._cycle, self._plans[name], again=name in self._again)
        self._again.discard(name)

    def _cycle(self, plan: StreamPlan, *, again: bool) -> None:
        """In a worker: whatever happens, a report comes back, or the stream would never run again."""
        began = time.time()
        try:
            plan = self._work.refresh(plan) if again else plan
            result = self._work.cycle(plan)
        except Exception as error:  # noqa: BLE001  # whatever it is, it must not stop the other streams
            result = unfinished(plan, error)
        self._reports.put(Report(plan=plan, result=result, began=began))

    def _collect(self, *, timeout: float) -> None:
        """Take one report if one comes within `timeout`, then those that are there already."""
        try:
            report = self._reports.get(timeout=timeout)
            while True:
                if report is not None:
                    self._settle(report)
                report = self._reports.get_nowait()
        except queue.Empty:
            return

    def _settle(self, report: Report) -> None:
        result = report.result
        before = self._before.pop(result.name)
        now = time.monotonic()
        due = self._timetable.done(result.name, now, failed=result.state == "failing")
        if due is None:
            return
        self._plans[result.name] = report.plan
        line = self._ledger.ended(
            result, before, began=report.began, now=time.time(), next_in=max(due - now, 0.0)
        )
        if result.state != "ok":
            self._again.add(result.name)  # what stops it may be in the plan: the next try looks again
        if line is not None and not self._stop.is_set():
            self._emit(line)

    def _look_around(self) -> None:
        """Notice an edited manifest, and look at the sources again when they changed."""
        if (line := self._watch.look()) is not None:
            self._emit(line)
        if not self._stale and not self._work.changed():
            return
        self._stale = True
        if self._before or self._stop.is_set():
            return  # a look shares connections with the cycles: it waits for those under way
        self._stale = False
        try:
            self._adopt(self._work.look())
        except SiltError as error:
            words = f"cannot look at the sources again: {failure.sentence(error)}"
            self._emit(Line(kind="failing", text=words, level="error", fields=dict(failure.data(error))))

    def _adopt(self, plan: Plan) -> None:
        """Run `plan` from now on: new streams join the timetable, streams that are gone leave it."""
        enabled = {p.stream.name: p for p in plan.streams if p.state != "disabled"}
        for name in self._timetable.names - enabled.keys():
            self._timetable.remove(name)
            self._emit(
                Line(kind="gone", text=f"{name}: nothing makes this stream any more", fields={"stream": name})
            )
        for name in enabled.keys() - self._timetable.names:
            self._timetable.add(name, enabled[name].stream.schedule.every, time.monotonic())
            if self._plans:
                self._emit(Line(kind="new", text=f"{name}: a table that appeared", fields={"stream": name}))
        self._plans = dict(enabled)
        self._ledger.keep(enabled)

    def _remember(self, before: LastStatus | None) -> None:
        """Take over what the process before knew: since when a stream fails is older than this process."""
        for old in before.streams if before else ():
            if old.name in self._ledger.streams and old.failing_since is not None:
                kept = replace(old, state="ok", next=None, tries=old.tries)
                self._ledger.streams[old.name] = kept

    def _ready(self) -> Line:
        databases = {part.database.path for p in self._plans.values() for t in p.tables for part in t.parts}
        words = f"generation 1, {counted(len(self._plans), 'stream')}, {counted(len(databases), 'database')}"
        fields = {
            "generation": 1,
            "streams": len(self._plans),
            "databases": len(databases),
            "pid": os.getpid(),
        }
        return Line(kind="ready", text=words, fields=fields)

    def _write(self, *, stopped: bool = False) -> None:
        """Write the status, at most once a second; a folder that cannot be written is said once."""
        now = time.time()
        if now - self._written < _TICK and not stopped:
            return
        self._written = now
        status = LastStatus(
            manifest=self._manifest.path,
            digest=self._manifest.digest,
            generation=1,
            pid=os.getpid(),
            started=self._started,
            written=now,
            loop=True,
            stopped=stopped,
            streams=tuple(self._ledger.streams.values()),
        )
        warning = self._state.write(status)
        if warning and warning != self._warned:
            self._emit(Line(kind="note", text=warning, level="warning"))
        self._warned = warning


def unfinished(plan: StreamPlan, error: Exception) -> StreamResult:
    """The result of a cycle that `error` ended; one that is no `SiltError` is a bug, and says so."""
    if not isinstance(error, SiltError):
        error = SiltError(
            f"silt has a bug: {type(error).__name__}: {error}",
            why=traceback.format_exc() if os.environ.get("SILT_DEBUG") else "",
            hint="SILT_DEBUG=1 shows the traceback: please report it",
        )
    stream = plan.stream
    return StreamResult(
        name=stream.name, table=stream.table, into=stream.into, state=state_of(error), error=error
    )


# --- the manifest on disk -------------------------------------------------------------------------


class ManifestWatch:
    """Says once per edit that the manifest on disk is not the one that runs."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._seen = self._stamp()
        self._looked = time.monotonic()

    def look(self) -> Line | None:
        """A stat of each file, at most once a second; a line when what they say has changed."""
        now = time.monotonic()
        if now - self._looked < _TICK:
            return None
        self._looked = now
        stamp = self._stamp()
        if stamp == self._seen:
            return None
        self._seen = stamp
        return self._line()

    def _line(self) -> Line | None:
        from silt import manifest
        from silt.manifest import ManifestInvalid
        from silt.report import problems

        path = self._manifest.path
        try:
            digest = manifest.load(path).digest
        except ManifestInvalid as error:
            words = f"{problems.headline(error.problems[0])}; generation 1 runs on"
            return Line(kind="refused", text=words, level="error", fields={"manifest": path})
        except (SiltError, OSError) as error:
            words = f"{path} cannot be read ({error}); generation 1 runs on"
            return Line(kind="refused", text=words, level="error", fields={"manifest": path})
        if digest == self._manifest.digest:
            return None
        words = f"{path} was edited: restart silt to apply it; generation 1 runs on"
        return Line(kind="changed", text=words, level="warning", fields={"manifest": path})

    def _stamp(self) -> tuple[object, ...]:
        return tuple(_file_stamp(path) for path in self._manifest.files or (self._manifest.path,))


def _file_stamp(path: str) -> tuple[int, int, int] | None:
    try:
        seen = os.stat(path)  # noqa: PTH116  # a stat and nothing else
    except OSError:
        return None
    return (seen.st_mtime_ns, seen.st_size, seen.st_ino)


# --- the real work --------------------------------------------------------------------------------


class Replication:
    """The real `Work`: observes and replicates through handles that live as long as the daemon."""

    def __init__(
        self,
        manifest: Manifest,
        handles: Handles,
        *,
        select: Callable[[Stream], bool],
        emit: Emit,
        stop: threading.Event,
    ) -> None:
        self._manifest = manifest
        self._handles = handles
        self._select = select
        self._emit = emit
        self._stop = stop
        self._seen: tuple[object, ...] = ()
        self._looked = 0.0

    def look(self) -> Plan:
        from silt import observe

        self._seen = self._shape_of_sources()
        self._looked = time.monotonic()
        return observe.look(self._manifest, self._handles, select=self._select)

    def changed(self) -> bool:
        """Other files match, or `PRAGMA schema_version` moved; looked at once a second at most."""
        now = time.monotonic()
        if now - self._looked < _TICK:
            return False
        self._looked = now
        return self._shape_of_sources() != self._seen

    def refresh(self, plan: StreamPlan) -> StreamPlan:
        from silt import observe

        name = plan.stream.name
        seen = observe.look(self._manifest, self._handles, select=lambda stream: stream.name == name)
        return seen.streams[0] if seen.streams else plan

    def cycle(self, plan: StreamPlan) -> StreamResult:
        from silt import replicate

        alone = Plan(manifest=self._manifest, streams=(plan,))
        result = replicate.run(alone, self._handles, listen=self._hear, stop=self._stop, workers=1)
        return result.streams[0]

    def _hear(self, event: Event) -> None:
        line = events.of_event(event)
        if line is not None:
            self._emit(line)

    def _shape_of_sources(self) -> tuple[object, ...]:
        return tuple(self._shape_of(origin) for origin in self._manifest.sources)

    def _shape_of(self, origin: Source) -> tuple[object, ...]:
        """Names, and schema version of each database; what cannot be read now has a shape too."""
        from silt.source.open import find

        try:
            databases = find(origin.path, origin.exclude)
        except SiltError as error:
            return (str(error),)
        return tuple((d.name, d.path, self._schema_version(origin, d.path)) for d in databases)

    def _schema_version(self, origin: Source, path: str) -> int | None:
        try:
            with self._handles.connection(origin, path) as connection:
                return connection.schema_version()
        except SiltError:  # the stream's own cycle says what is wrong with it
            return None


# --- after `run --once` ---------------------------------------------------------------------------


def remember(state: StateDir, manifest: Manifest, result: RunResult, *, started: float) -> str:
    """Write the last status after a single pass; a warning where it cannot be written, else empty.

    Streams that this pass did not select keep what was known of them.
    """
    before = state.read()
    known = {s.name: s for s in before.streams} if before else {}
    now = time.time()
    for one in result.streams:
        old = known.get(one.name) or StreamStatus(name=one.name, state="ok")
        known[one.name] = replace(_status(one, old, began=started, now=now, due=now), next=None)
    status = LastStatus(
        manifest=manifest.path,
        digest=manifest.digest,
        generation=1,
        pid=os.getpid(),
        started=started,
        written=now,
        loop=False,
        stopped=True,
        streams=tuple(known.values()),
    )
    return state.write(status)
