"""The loop: due streams get their turns, writes wake them, edits change them; until a signal."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Final, TypeAlias

from silt.daemon.begin import Beginning
from silt.daemon.edits import Edits
from silt.daemon.job import Job, Prepared, Report, Survey, Work
from silt.daemon.ledger import Ledger
from silt.daemon.receipts import Receipts
from silt.daemon.scout import Scout
from silt.daemon.systemd import Notify
from silt.daemon.timetable import Timetable
from silt.daemon.turns import Turn, Turns
from silt.daemon.wake import Wake, Watched
from silt.daemon.workers import Workers
from silt.errors import RetryLater, SiltError, bug
from silt.manifest.diff import Diff, Running, diff, held_streams
from silt.manifest.identity import Identity, identity
from silt.manifest.model import Manifest, Stream
from silt.plan.build import state_of
from silt.plan.model import Plan, StreamPlan
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

GRAIN: Final = 0.02
"""Seconds between answers to writes of sources: at 500 writes a second the loop turns 50 times."""


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
        self._running = Running(manifest=beginning.manifest, streams=())
        self._beginning = beginning
        self._work = work
        self._emit = emit
        self._stop = stop
        self._state = state
        self._number = workers
        self._watch = watch
        self._timetable = Timetable()
        self._turns = Turns(workers)
        self._ledger = Ledger()
        self._jobs: dict[str, Job] = {}
        self._again: set[str] = set()
        self._under_way: dict[str, Turn] = {}
        self._inbox: queue.SimpleQueue[Report | Survey | Prepared | None] = queue.SimpleQueue()
        self._ran: dict[str, Identity] = {**state.ran()}
        self._accepted: dict[str, Identity] = {}
        self._receipts = Receipts(beginning.manifest.digest, refused=beginning.problems)
        self._readers: dict[str, set[str]] = {}
        self._wake = Wake(self.wake)
        self._scout = Scout(work, self._inbox.put)
        self._started = time.time()
        self._written = self._drained = 0.0
        self._ahead = time.time() - time.monotonic()
        self._warned = self._blind = ""
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
        return self._running.manifest

    def running(self) -> Running:
        """The manifest that runs and its streams, for any thread."""
        return self._running

    def streams(self) -> tuple[Stream, ...]:
        """The streams that run, for any thread."""
        return self._running.streams

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
            self._wake.close()
        ended = self._end()
        patience = PATIENCE if ended else 0.0
        self.is_quiet = self._scout.close(patience) & workers.close(patience)
        return ended

    def _first_look(self) -> Plan | None:
        """What the sources and tables are; None where a signal came, and it did not end within `grace`."""
        found: queue.SimpleQueue[Plan | BaseException] = queue.SimpleQueue()

        def look() -> None:
            try:
                found.put(self._work.look(self._running.manifest))
            except BaseException as error:  # noqa: BLE001  # raised where it is waited for
                found.put(error)

        thread = threading.Thread(target=look, name="silt-look", daemon=True)
        thread.start()
        patience = self._running.manifest.grace
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
        path = self._running.manifest.path
        return Edits(path, self._beginning.on_disk, lambda ago: self.reload(seconds=ago, asked=False))

    def _round(self, workers: Workers) -> None:
        now = time.monotonic()
        self._follow_clock(now)
        if now - self._drained >= GRAIN:
            self._drained = now
            for path in self._wake.drain():
                for name in self._readers.get(path, ()):
                    self._timetable.touch(name, now)
        for name in self._timetable.take(now):
            self._turns.add(name, self._jobs[name].group)
        while (turn := self._turns.take()) is not None:
            self._begin(workers, turn)
        self._collect(timeout=self._rest())
        self._write()
        self._systemd.alive()

    def _follow_clock(self, now: float) -> None:
        """A device without a clock of its own sets it once it has a network."""
        ahead = time.time() - now
        if abs(ahead - self._ahead) > TICK:
            self._ahead = ahead
            self._timetable.clock_moved(now)

    def _rest(self) -> float:
        """Seconds until something is to be done without being told."""
        due = self._timetable.next()
        rest = TICK if due is None else min(max(due - time.monotonic(), 0.0), TICK)
        return max(rest, GRAIN) if self._wake.is_pending else rest

    def _begin(self, workers: Workers, name: str) -> None:
        turn = Turn(self._stop, lambda: len(self._turns) > 0)
        self._under_way[name] = turn
        self._timetable.began(name)
        self._ledger.started(name)
        job, again = self._jobs[name], name in self._again
        self._again.discard(name)
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
                if message.manifest is self._running.manifest:
                    self._surveyed(message)
                self._plan_anew(message.moved)  # by an earlier manifest, too: a move is told only once
            case Prepared() if not self._stop.is_set():
                self._prepared(message)

    # --- a cycle ended ---

    def _settle(self, report: Report) -> None:
        result, name = report.result, report.result.name
        del self._under_way[name]
        error = result.error
        self._turns.done(name, trouble=isinstance(error, RetryLater))
        now = time.monotonic()
        if result.stopped:
            due = self._timetable.gave_way(name, now)
        else:
            due = self._timetable.done(name, now, failed=result.state == "failing")
        if due is None:
            return
        self._note_plan(report.job)
        if result.state != "held" and self._jobs[name].stream == report.job.stream:
            self._accept(report.job)
        if result.state != "ok" and not report.quiet and not result.stopped:
            self._again.add(name)  # what stops it may be in the plan: the next try looks again
        line = self._ledger.ended(
            result,
            began=report.began,
            now=time.time(),
            next_in=max(due - now, 0.0),
            pending_rows=report.pending_rows,
        )
        if line is not None and not self._stop.is_set():
            self._written = 0.0
            self._write()  # who reads the line finds the status so
            self._emit(line)

    # --- which streams there are ---

    def _start(self, plan: Plan) -> None:
        running = _running(plan)
        changes = Diff(added=tuple(s.name for s in running.streams), held=held_streams(running, self._ran))
        self._adopt(running, changes, plan)

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
        changes = diff(self._running, running, self._ran)
        for name in changes.removed:
            self._emit(_line("gone", name, "nothing makes this stream any more"))
        for name in changes.added:
            self._emit(_line("new", name, "a table that appeared"))
        self._adopt(running, changes, survey.plan)

    def _plan_anew(self, moved: frozenset[str]) -> None:
        """The streams of sources that moved; those that wait for a write, at once."""
        for name, job in self._jobs.items():
            if job.stream.source in moved:
                self._again.add(name)
                if job.stream.schedule.on_change is not None:  # nobody writes a file that was just added
                    self._timetable.hasten(name, time.monotonic())

    def _prepared(self, prepared: Prepared) -> None:
        """An edit was read: adopt it, or say why not."""
        plan = prepared.plan
        changes = None if plan is None else diff(self._running, _running(plan), self._ran)
        same = prepared.digest == self._receipts.digest  # a secret's file may say something else all the same
        if plan is None or changes is None or (same and changes.is_empty):
            receipt = self._receipts.kept(prepared, streams=len(self._jobs))
        else:
            receipt = self._applied(prepared, plan, changes)
        if receipt is not None:
            self._receipt(receipt)
        else:
            self._systemd.ready(self._ready().text)

    def _applied(self, prepared: Prepared, plan: Plan, changes: Diff) -> Receipt:
        self._adopt(_running(plan), changes, plan)
        receipt = self._receipts.applied(prepared, changes, streams=len(self._jobs))
        self._keep_good()
        if plan.manifest.state_dir != str(self._state.folder):
            words = f"state_dir {plan.manifest.state_dir} takes a restart: {self._state.folder} is in use"
            self._emit(Line(kind="note", text=words, level="warning"))
        return receipt

    def _keep_good(self) -> None:
        """What runs is what a start with an invalid manifest falls back to."""
        manifest = self._running.manifest
        generation = self._receipts.generation
        self._state.keep_good(manifest.path, manifest.texts, digest=manifest.digest, generation=generation)

    def _receipt(self, receipt: Receipt) -> None:
        line = reload.line(receipt)
        self._emit(line)
        self._systemd.ready(line.text)
        self.reloaded(receipt)
        self._written = 0.0  # who asked for it waits for the status file

    def _adopt(self, running: Running, changes: Diff, plan: Plan) -> None:
        """Run `running` from now on: what did not change does not notice."""
        plans = {each.stream.name: each for each in plan.streams}
        self._running = running
        for name in changes.removed:
            self._leave(name)
        for stream in running.streams:
            name, hold = stream.name, changes.held.get(stream.name)
            known = self._jobs.get(name)
            same = name in changes.untouched and known is not None and (known.hold is None) == (hold is None)
            planned = plans.get(name) or (_moved(known, stream) if same else None)
            self._jobs[name] = Job(stream=stream, manifest=running.manifest, plan=planned, hold=hold)
            if not same:
                self._put(stream)
        self._ledger.keep(running.streams)
        self._turns.know({job.group for job in self._jobs.values()})
        self._scout.follow(running)
        self._follow_files()

    def _put(self, stream: Stream) -> None:
        """A stream that is new, or other than it was: into the timetable, the cycle under way ends soon."""
        now, name = time.monotonic(), stream.name
        if (turn := self._under_way.get(name)) is not None:
            turn.end()
        if not stream.enabled:
            self._timetable.remove(name)
            self._turns.remove(name)
        elif name in self._timetable.names:
            self._timetable.change(name, stream.schedule, now)
        else:
            self._timetable.add(name, stream.schedule, now, running=name in self._under_way)

    def _leave(self, name: str) -> None:
        del self._jobs[name]
        self._timetable.remove(name)
        self._turns.remove(name)
        self._again.discard(name)
        if (turn := self._under_way.get(name)) is not None:
            turn.end()

    def _note_plan(self, job: Job) -> None:
        """The plan that a worker made: the next cycle goes by it."""
        name, known = job.stream.name, self._jobs[job.stream.name]
        if known is job:
            return
        if known.manifest is not job.manifest or known.stream != job.stream:
            self._again.add(name)  # what it saw is not in the plan that stands now
            return
        self._jobs[name] = job
        if job.stream.schedule.on_change is not None:
            self._follow_files()

    def _follow_files(self) -> None:
        """Watch the databases of the streams that run on change."""
        readers: dict[str, set[str]] = {}
        polled: dict[str, bool] = {}
        for name, job in self._jobs.items():
            if job.plan is None or job.stream.schedule.on_change is None:
                continue
            poll = job.manifest.source(job.stream.source).watch == "poll"
            for path in job.plan.paths:
                readers.setdefault(path, set()).add(name)
                polled[path] = polled.get(path, False) or poll
        self._readers = readers
        self._wake.follow(Watched(path=path, poll=poll) for path, poll in polled.items())

    # --- holds that end, identities that begin ---

    def _release(self) -> None:
        """Streams that are held for an edit go on where `silt reset` has accepted it since."""
        held = [name for name, job in self._jobs.items() if job.hold is not None]
        if not held:
            return
        self._ran = {**self._state.ran()}
        still = held_streams(self._running, self._ran)
        for name in held:
            if name not in still:
                self._jobs[name] = replace(self._jobs[name], hold=None, plan=None)
                self._timetable.hasten(name, time.monotonic())

    def _accept(self, job: Job) -> None:
        """What a stream is when it runs is what an edit is compared with, also after a restart.

        Written with the status: a thousand new streams are one write.
        """
        now = identity(job.manifest, job.stream)
        if self._ran.get(job.stream.name) != now:
            self._ran[job.stream.name] = self._accepted[job.stream.name] = now

    # --- what is told ---

    def _ready(self) -> Line:
        databases = {path for job in self._jobs.values() if job.plan for path in job.plan.paths}
        streams = sum(1 for job in self._jobs.values() if job.stream.enabled)
        words = f"generation {self._receipts.generation}, {counted(streams, 'stream')}"
        words += f", {counted(len(databases), 'database')}"
        if self._beginning.kept is not None:
            words += f", {reload.last_good(self._beginning.kept, time.time())}"
        url = self.url()
        words += f", {url}" if url else ""
        fields = {
            "generation": self._receipts.generation,
            "streams": streams,
            "databases": len(databases),
            "pid": os.getpid(),
            "url": url,
        }
        return Line(kind="ready", text=words, fields=fields)

    def _end(self) -> bool:
        """Wait for the commits under way, as long as `grace` allows; whether all of them ended."""
        self._systemd.stopping()
        grace = self._running.manifest.grace
        until = time.monotonic() + grace
        if self._under_way:
            names = ", ".join(sorted(self._under_way))
            self._emit(Line(kind="stopping", text=f"after the commit under way: {names}"))
        while self._under_way and time.monotonic() < until:
            self._collect(timeout=min(TICK, max(until - time.monotonic(), 0.0)))
        self._write(stopped=True)
        ran = f"after {duration(time.time() - self._started)}"
        if self._under_way:
            names = ", ".join(sorted(self._under_way))
            words = f"{ran}: {names} did not end within {duration(grace)}; its commit is whole or not there"
            self._emit(Line(kind="stopped", text=words, level="warning"))
            return False
        self._emit(Line(kind="stopped", text=ran))
        return True

    def _current(self, *, stopped: bool) -> LastStatus:
        manifest = self._running.manifest
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
            streams=tuple(self._ledger.streams.values()),
        )

    def _write(self, *, stopped: bool = False) -> None:
        """Write the status, at most once a second; a folder that cannot be written is said once."""
        now = time.time()
        if now - self._written < TICK and not stopped:
            return
        self._written = now
        if self._accepted:
            self._ran = {**self._state.keep_ran(self._accepted)}
            self._accepted = {}
        self._release()
        self._status = self._current(stopped=stopped)
        known = self._told is not None and replace(self._told, written=self._status.written) == self._status
        if known and self._state.status_path.exists():
            return
        self._told = self._status
        warning = self._state.write(self._status)
        if warning and warning != self._warned:
            self._emit(Line(kind="note", text=warning, level="warning"))
        self._warned = warning


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


def _moved(job: Job | None, stream: Stream) -> StreamPlan | None:
    """The plan of an untouched stream, which may stand on other lines now."""
    return replace(job.plan, stream=stream) if job is not None and job.plan is not None else None


def _line(kind: str, name: str, words: str) -> Line:
    return Line(kind=kind, text=f"{name}: {words}", fields={"stream": name})
