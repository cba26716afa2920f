"""The loop: due streams get their turns, writes wake them, edits change them; until a signal."""

from __future__ import annotations

import math
import os
import queue
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Final, TypeAlias

from silt.daemon.begin import Beginning
from silt.daemon.edits import Edits
from silt.daemon.job import Job, Prepared, Report, Survey, Work
from silt.daemon.ledger import Ledger
from silt.daemon.receipts import Receipts
from silt.daemon.roster import Roster
from silt.daemon.scout import Scout
from silt.daemon.systemd import Notify
from silt.daemon.turns import Turn
from silt.daemon.workers import Workers
from silt.errors import SiltError, bug
from silt.manifest.diff import Diff, Running
from silt.manifest.model import Manifest, Stream
from silt.plan.build import state_of
from silt.plan.model import Plan
from silt.replicate.model import StreamResult
from silt.report import failure, reload
from silt.report.events import Line
from silt.report.units import counted, duration
from silt.state import LastStatus, Receipt, StateDir

Emit: TypeAlias = Callable[[Line], None]

WORKERS: Final = 4

TICK: Final = 1.0
"""Seconds between writes of the status, and between looks at the sources' file sets."""

PATIENCE: Final = 5.0
"""Seconds that looks under way may take at the end."""

LOOK: Final = 0.05
"""Seconds between looks at whether the first look is done, or a signal came."""


class Daemon:
    """The loop.  `run` returns when `stop` is set and every commit under way is done, or `grace` is over.

    One thread owns everything here: workers, the scout and the watchers only put values into the inbox.
    """

    def __init__(
        self,
        beginning: Beginning,
        work: Work,
        *,
        emit: Emit,
        stop: threading.Event,
        state: StateDir,
        workers: int = WORKERS,
        watch: bool = True,
    ) -> None:
        self._roster = Roster(beginning.manifest, workers=workers, state=state, woken=self.wake)
        self._beginning = beginning
        self._work = work
        self._emit = emit
        self._stop = stop
        self._state = state
        self._number = workers
        self._watch = watch
        self._ledger = Ledger()
        self._inbox: queue.SimpleQueue[Report | Survey | Prepared | None] = queue.SimpleQueue()
        self._receipts = Receipts(beginning.manifest.digest, refused=beginning.problems)
        self._scout = Scout(work, self._inbox.put)
        self._started = time.time()
        self._written = -math.inf
        self._ahead = time.time() - time.monotonic()
        self._warned = self._unlocked = self._blind = ""
        self._is_ready = self.is_quiet = False
        self._systemd = Notify()
        self.reloaded: Callable[[Receipt], None] = lambda _: None
        """Called in the loop's thread for each receipt."""
        self.url: Callable[[], str | None] = lambda: None
        """Where the status is served."""
        self._status = self._current(stopped=False)
        self._told: LastStatus | None = None  # what the status file says

    # --- from other threads, and signal handlers ---

    def wake(self) -> None:
        """Make a waiting loop look round now; safe in a signal handler (SimpleQueue.put is reentrant)."""
        self._inbox.put(None)

    def reload(self, *, seconds: float = 0.0, asked: bool = True) -> None:
        """Read the manifest anew, noticed `seconds` ago; `asked` for, it leaves a receipt whatever it finds.

        Safe in a signal handler.
        """
        self._systemd.reloading()
        self._scout.reload(time.monotonic() - seconds, asked=asked)

    def status(self) -> LastStatus:
        """How every stream stands: a record as of the last round, for any thread."""
        return self._status

    def manifest(self) -> Manifest:
        """The manifest that runs, for any thread."""
        return self._roster.running.manifest

    def running(self) -> Running:
        """The manifest that runs and its streams, for any thread."""
        return self._roster.running

    def streams(self) -> tuple[Stream, ...]:
        """The streams that run, for any thread."""
        return self._roster.running.streams

    # --- the loop itself ---

    def run(self, check: Callable[[], None] = lambda: None) -> bool:
        """Look, `check` what was seen, say `ready`, and go round until `stop` is set.

        False where the commit under way did not end within the manifest's `grace`.
        """
        before = self._state.read()
        plan = self._first_look()
        if plan is None:
            return True
        self._start(plan)
        check()
        self._ledger.remember(before)
        self._is_ready = True
        self._status = self._current(stopped=False)
        ready = self._ready()
        self._emit(ready)
        self._systemd.ready(ready.text)
        if not self._beginning.problems:
            self._keep_good()
        workers = Workers(self._number)
        self._scout.start()
        try:
            with self._edits():
                while not self._stop.is_set():
                    self._round(workers)
        finally:
            self._roster.close()
        ended = self._end()
        patience = PATIENCE if ended else 0.0
        self.is_quiet = self._scout.close(patience) & workers.close(patience)
        return ended

    def _first_look(self) -> Plan | None:
        """What the sources and tables are; None where a signal came, and it did not end within `grace`."""
        found: queue.SimpleQueue[Plan | BaseException] = queue.SimpleQueue()

        def look() -> None:
            try:
                found.put(self._work.look(self._roster.running.manifest))
            except BaseException as error:  # noqa: BLE001  # raised where it is waited for
                found.put(error)

        thread = threading.Thread(target=look, name="silt-look", daemon=True)
        thread.start()
        patience = self._roster.running.manifest.grace
        while thread.is_alive() and patience > 0:
            thread.join(LOOK)
            patience -= LOOK if self._stop.is_set() else 0.0
        if found.empty():
            return None
        seen = found.get()
        if isinstance(seen, BaseException):
            raise seen
        return seen

    def _edits(self) -> AbstractContextManager[object]:
        """The watch over the manifest's files, where it is wanted."""
        if not self._watch:
            return nullcontext()
        path = self._roster.running.manifest.path
        return Edits(path, self._beginning.on_disk, lambda ago: self.reload(seconds=ago, asked=False))

    def _round(self, workers: Workers) -> None:
        now = time.monotonic()
        self._follow_clock(now)
        self._roster.line_up(now)
        for job, turn, again in self._roster.turns(partial(Turn, self._stop)):
            self._begin(workers, job, turn, again=again)
        self._collect(timeout=self._roster.rest(time.monotonic(), TICK))
        self._write()
        self._systemd.alive()

    def _follow_clock(self, now: float) -> None:
        """A device without a clock of its own sets it once it has a network."""
        ahead = time.time() - now
        if abs(ahead - self._ahead) > TICK:
            self._ledger.shift(ahead - self._ahead)
            self._ahead = ahead
            self._roster.timetable.clock_moved(now)

    def _begin(self, workers: Workers, job: Job, turn: Turn, *, again: bool) -> None:
        self._ledger.started(job.stream.name, time.time())
        workers.submit(lambda: self._inbox.put(carried_out(self._work, job, turn, again=again)))

    def _collect(self, *, timeout: float) -> None:
        """Take one message if one comes within `timeout`, then those that are there already."""
        try:
            message = self._inbox.get(timeout=timeout)
            while True:
                self._heed(message)
                message = self._inbox.get_nowait()
        except queue.Empty:
            return

    def _heed(self, message: Report | Survey | Prepared | None) -> None:
        match message:
            case Report():
                self._settle(message)
            case Survey() if not self._stop.is_set():
                if message.manifest is self._roster.running.manifest:
                    self._surveyed(message)
                self._roster.plan_anew(message.moved)  # by an earlier manifest, too: a move is told only once
            case Prepared() if not self._stop.is_set():
                self._prepared(message)

    # --- a cycle ended ---

    def _settle(self, report: Report) -> None:
        now = time.monotonic()
        due = self._roster.ended(report, now)
        if due is None:
            return
        line = self._ledger.ended(
            report.result,
            began=report.began,
            now=time.time(),
            next_in=max(due - now, 0.0),
            pending_rows=report.pending_rows,
        )
        if line is not None and not self._stop.is_set():
            self._written = -math.inf
            self._write()  # who reads the line finds the status so
            self._emit(line)

    # --- which streams there are ---

    def _start(self, plan: Plan) -> None:
        self._roster.begin(_running(plan), plan)
        self._adopted()

    def _adopted(self) -> None:
        running = self._roster.running
        self._ledger.keep(running.streams)
        self._scout.follow(running)

    def _surveyed(self, survey: Survey) -> None:
        """Streams come and go with the sources' tables."""
        for source, database in survey.gone:
            words = f"{source}: {database} is there no more; its rows in the lake stay"
            self._emit(Line(kind="gone", text=words, level="warning", fields={"database": database}))
        if survey.error is None:
            self._blind = ""
        elif (told := str(survey.error)) != self._blind:
            self._blind = told
            words = f"cannot look at the sources again: {failure.sentence(survey.error)}"
            fields = dict(failure.data(survey.error))
            self._emit(Line(kind="failing", text=words, level="error", fields=fields))
        if survey.plan is None:
            return
        running = _running(survey.plan)
        changes = self._roster.changes(running)
        for name in changes.removed:
            self._emit(_line("gone", name, "nothing makes this stream any more"))
        for name in changes.added:
            self._emit(_line("new", name, "a table that appeared"))
        self._roster.adopt(running, changes, survey.plan)
        self._adopted()

    def _prepared(self, prepared: Prepared) -> None:
        """An edit was read: adopt it, or say why not."""
        plan = prepared.plan
        changes = None if plan is None else self._roster.changes(_running(plan))
        same = prepared.digest == self._receipts.digest  # a secret's file may say something else all the same
        if plan is None or changes is None or (same and changes.is_empty):
            receipt = self._receipts.kept(prepared, streams=len(self._roster.jobs))
        else:
            receipt = self._applied(prepared, plan, changes)
        if receipt is not None:
            self._receipt(receipt)
        else:
            self._systemd.ready(self._ready().text)

    def _applied(self, prepared: Prepared, plan: Plan, changes: Diff) -> Receipt:
        self._roster.adopt(_running(plan), changes, plan)
        self._adopted()
        receipt = self._receipts.applied(prepared, changes, streams=len(self._roster.jobs))
        self._keep_good()
        if plan.manifest.state_dir != str(self._state.folder):
            words = f"state_dir {plan.manifest.state_dir} takes a restart: {self._state.folder} is in use"
            self._emit(Line(kind="note", text=words, level="warning"))
        return receipt

    def _keep_good(self) -> None:
        """What runs is what a start with an invalid manifest falls back to."""
        manifest = self._roster.running.manifest
        generation = self._receipts.generation
        self._state.keep_good(manifest.path, manifest.texts, digest=manifest.digest, generation=generation)

    def _receipt(self, receipt: Receipt) -> None:
        line = reload.line(receipt)
        self._emit(line)
        self._systemd.ready(line.text)
        self.reloaded(receipt)
        self._written = -math.inf  # who asked for it waits for the status file

    # --- what is told ---

    def _ready(self) -> Line:
        databases = self._roster.databases
        streams = sum(1 for job in self._roster.jobs.values() if job.stream.enabled)
        words = f"generation {self._receipts.generation}, {counted(streams, 'stream')}"
        words += f", {counted(databases, 'database')}"
        if self._beginning.kept is not None:
            words += f", {reload.last_good(self._beginning.kept, time.time())}"
        url = self.url()
        words += f", {url}" if url else ""
        fields = {
            "generation": self._receipts.generation,
            "streams": streams,
            "databases": databases,
            "pid": os.getpid(),
            "url": url,
        }
        return Line(kind="ready", text=words, fields=fields)

    def _end(self) -> bool:
        """Wait for the commits under way, as long as `grace` allows; whether all of them ended."""
        self._systemd.stopping()
        grace = self._roster.running.manifest.grace
        until = time.monotonic() + grace
        if self._roster.under_way:
            names = ", ".join(self._roster.under_way)
            self._emit(Line(kind="stopping", text=f"after the commit under way: {names}"))
        while self._roster.under_way and time.monotonic() < until:
            self._collect(timeout=min(TICK, max(until - time.monotonic(), 0.0)))
        self._write(stopped=True)
        ran = f"after {duration(time.time() - self._started)}"
        if self._roster.under_way:
            names = ", ".join(self._roster.under_way)
            words = f"{ran}: {names} did not end within {duration(grace)}; its commit is whole or not there"
            self._emit(Line(kind="stopped", text=words, level="warning"))
            return False
        self._emit(Line(kind="stopped", text=ran))
        return True

    def _current(self, *, stopped: bool) -> LastStatus:
        manifest = self._roster.running.manifest
        return LastStatus(
            manifest=manifest.path,
            digest=manifest.digest,
            generation=self._receipts.generation,
            pid=os.getpid(),
            started=self._started,
            written=time.time(),
            loop=True,
            stopped=stopped,
            ready=self._is_ready,
            on_disk=self._receipts.on_disk,
            receipts=self._receipts.last,
            streams=self._ledger.standing(time.time()),
        )

    def _write(self, *, stopped: bool = False) -> None:
        """Write the status, at most once a second; a folder that cannot be written is said once."""
        now = time.monotonic()
        if now - self._written < TICK and not stopped:
            return
        self._written = now
        self._roster.keep()
        self._roster.release()
        self._status = self._current(stopped=stopped)
        self._unlocked = self._caution(self._state.renew_lock(), self._unlocked)
        lost = self._told is not None and not self._state.is_there
        if lost:  # somebody removed `state_dir`: what it held shall be there again
            self._keep_good()
            self._state.keep_ran({})
        elif self._told is not None and replace(self._told, written=self._status.written) == self._status:
            return
        self._told = self._status
        self._warned = self._caution(self._state.write(self._status), self._warned)

    def _caution(self, warning: str, before: str) -> str:
        """Say a warning, once as long as it lasts; gives it back, to be the one before."""
        if warning not in ("", before, self._warned, self._unlocked):
            self._emit(Line(kind="note", text=warning, level="warning"))
        return warning


def carried_out(work: Work, job: Job, stop: Turn, *, again: bool) -> Report:
    """In a worker: whatever happens, a report comes back, or the stream would never run again."""
    began = time.time()
    try:
        if job.hold is not None:
            return Report(job=job, result=ended(job.stream, job.hold), began=began)
        return work.cycle(job, stop, again=again)
    except BaseException as error:  # noqa: BLE001  # a panic of native code is one, and ends no worker
        return Report(job=job, result=ended(job.stream, error), began=began)


def ended(stream: Stream, error: BaseException) -> StreamResult:
    """The result of a cycle that `error` ended; one that is no `SiltError` is a bug, and says so."""
    error = error if isinstance(error, SiltError) else bug(error)
    return StreamResult(
        name=stream.name,
        table=stream.table,
        into=stream.into,
        state=state_of(error),
        error=error,
        place=stream.place_of(error),
    )


def _running(plan: Plan) -> Running:
    return Running(manifest=plan.manifest, streams=plan.all_streams)


def _line(kind: str, name: str, words: str) -> Line:
    return Line(kind=kind, text=f"{name}: {words}", fields={"stream": name})
