"""The loop: due streams in a small pool, the sources looked at anew when they change."""

from __future__ import annotations

import os
import queue
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final, Protocol, TypeAlias

from silt.daemon.ledger import Ledger
from silt.daemon.timetable import Timetable
from silt.daemon.watch import POLL, TICK, FileWatch, ManifestWatch
from silt.errors import SiltError
from silt.manifest.model import Manifest
from silt.plan.build import state_of
from silt.plan.model import Plan, StreamPlan
from silt.replicate.model import StreamResult
from silt.report import failure
from silt.report.events import Line
from silt.report.units import counted, duration
from silt.state import LastStatus, StateDir, StreamStatus

Emit: TypeAlias = Callable[[Line], None]

WORKERS: Final = 4


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
        self._files = FileWatch()
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
                self._collect(timeout=TICK)
        self._write(stopped=True)
        self._emit(Line(kind="stopped", text=f"after {duration(time.time() - self._started)}"))

    def _round(self, pool: ThreadPoolExecutor) -> None:
        now = time.monotonic()
        for name in self._files.look():
            self._timetable.touch(name, now)
        if not self._stale:
            for name in self._timetable.take(now):
                self._start(pool, name)
        due, most = self._timetable.next(), TICK if self._files.is_empty else POLL
        self._collect(timeout=most if due is None else min(max(due - time.monotonic(), 0.0), most))
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
            self._timetable.add(name, enabled[name].stream.schedule, time.monotonic())
            if self._plans:
                self._emit(Line(kind="new", text=f"{name}: a table that appeared", fields={"stream": name}))
        self._plans = dict(enabled)
        self._files.follow(enabled.values())
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
        if now - self._written < TICK and not stopped:
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
