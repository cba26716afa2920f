"""The streams that run: each one's job, when it is due, whether it is under way, which files wake it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from typing import Final

from silt.daemon.job import Job, Report
from silt.daemon.timetable import Timetable
from silt.daemon.turns import Turn, Turns
from silt.daemon.wake import Wake, Watched
from silt.errors import RetryLater
from silt.manifest.diff import Diff, Running, diff, held_streams
from silt.manifest.identity import Identity, identity
from silt.manifest.model import Manifest, Stream
from silt.plan.model import Plan, StreamPlan
from silt.state import StateDir

GRAIN: Final = 0.02
"""Seconds between answers to writes of sources: at 500 writes a second the loop turns 50 times."""


class Roster:
    """Which streams run, by which definition and plan; it belongs to the loop's thread.

    `woken` is called, from any thread, when a source was written.
    """

    def __init__(
        self, manifest: Manifest, *, workers: int, state: StateDir, woken: Callable[[], None]
    ) -> None:
        self.running = Running(manifest=manifest, streams=())
        self.jobs: dict[str, Job] = {}
        self.timetable = Timetable()
        self._turns = Turns(workers)
        self._wake = Wake(woken)
        self._state = state
        self._under_way: dict[str, Turn] = {}
        self._again: set[str] = set()
        self._readers: dict[str, set[str]] = {}
        self._ran: dict[str, Identity] = {**state.ran()}
        self._accepted: dict[str, Identity] = {}
        self._resets = state.resets()
        self._numbers = count(1)
        self._drained = 0.0

    def close(self) -> None:
        self._wake.close()

    @property
    def under_way(self) -> tuple[str, ...]:
        """The streams whose cycle runs now, or ran when its stream left."""
        return tuple(sorted(self._under_way))

    @property
    def databases(self) -> int:
        return len({path for job in self.jobs.values() if job.plan for path in job.plan.paths})

    # --- from moment to moment ---

    def rest(self, now: float, most: float) -> float:
        """Seconds, at most `most`, until something is to be done without being told."""
        due = self.timetable.next()
        rest = most if due is None else min(max(due - now, 0.0), most)
        return max(rest, GRAIN) if self._wake.is_pending else rest

    def line_up(self, now: float) -> None:
        """What is due, and what a write woke, waits for a worker from now on."""
        if now - self._drained >= GRAIN:
            self._drained = now
            for path in self._wake.drain():
                for name in self._readers.get(path, ()):
                    self.timetable.touch(name, now)
        for name in self.timetable.take(now):
            self._turns.add(name, self.jobs[name].group)

    def turns(self, turn: Callable[[Callable[[], bool]], Turn]) -> Iterator[tuple[Job, Turn, bool]]:
        """Who gets a free worker now: its job, its turn, whether it is to be planned anew.

        `turn` makes one, given what tells whether others wait.
        """
        while (name := self._turns.take()) is not None:
            self._under_way[name] = turn(lambda: len(self._turns) > 0)
            self.timetable.began(name)
            again = name in self._again
            self._again.discard(name)
            yield self.jobs[name], self._under_way[name], again

    def ended(self, report: Report, now: float) -> float | None:
        """A cycle or its turn ended; when the stream is due next, None where it has left meanwhile."""
        result, name = report.result, report.result.name
        del self._under_way[name]
        self._turns.done(name, trouble=isinstance(result.error, RetryLater))
        if result.stopped:
            due = self.timetable.gave_way(name, now)
        else:
            partly = result.error is not None and result.error.on in _paths(report.job)
            due = self.timetable.done(name, now, failed=result.state == "failing", partly=partly)
        if due is not None:
            self._learn(report)
        return due

    def _learn(self, report: Report) -> None:
        result, job = report.result, report.job
        self._note_plan(job)
        if result.state != "held" and self.jobs[result.name].stream == job.stream:
            self._accept(job)
        if result.state != "ok" and not report.quiet and not result.stopped:
            self._again.add(result.name)  # what stops it may be in the plan: the next try looks again

    def _note_plan(self, job: Job) -> None:
        """The plan that a worker made: the next cycle goes by it."""
        name, known = job.stream.name, self.jobs[job.stream.name]
        if known is job:
            return
        if known.number != job.number or known.manifest is not job.manifest:
            self._again.add(name)  # what it saw is not in the plan that stands now
            return
        self.jobs[name] = job
        if job.stream.schedule.on_change is not None:
            self._follow_files()

    # --- which streams there are ---

    def changes(self, running: Running) -> Diff:
        """What `running` would change."""
        return diff(self.running, running, self._ran)

    def begin(self, running: Running, plan: Plan) -> None:
        """The first streams, all of them new."""
        added = tuple(stream.name for stream in running.streams)
        self.adopt(running, Diff(added=added, held=held_streams(running, self._ran)), plan)

    def adopt(self, running: Running, changes: Diff, plan: Plan) -> None:
        """Run `running` from now on: what did not change does not notice."""
        plans = {each.stream.name: each for each in plan.streams}
        self.running = running
        for name in changes.removed:
            self._leave(name)
        for stream in running.streams:
            name, hold = stream.name, changes.held.get(stream.name)
            known = self.jobs.get(name)
            same = name in changes.untouched and known is not None and (known.hold is None) == (hold is None)
            planned = plans.get(name) or (_moved(known, stream) if same else None)
            number = known.number if same and known is not None else next(self._numbers)
            self.jobs[name] = Job(
                stream=stream, manifest=running.manifest, plan=planned, hold=hold, number=number
            )
            if not same:
                self._put(stream)
        self._turns.know({job.group for job in self.jobs.values()})
        self._follow_files()

    def plan_anew(self, moved: frozenset[str]) -> None:
        """The streams of sources that moved; those that wait for a write, at once."""
        for name, job in self.jobs.items():
            if job.stream.source in moved:
                self._again.add(name)
                if job.stream.schedule.on_change is not None:  # nobody writes a file that was just added
                    self.timetable.hasten(name, time.monotonic())

    def _put(self, stream: Stream) -> None:
        """A stream that is new, or other than it was: into the timetable, the cycle under way ends soon."""
        now, name = time.monotonic(), stream.name
        if (turn := self._under_way.get(name)) is not None:
            turn.end()
        if not stream.enabled:
            self.timetable.remove(name)
            self._turns.remove(name)
        elif name in self.timetable.names:
            self.timetable.change(name, stream.schedule, now)
        else:
            self.timetable.add(name, stream.schedule, now, running=name in self._under_way)

    def _leave(self, name: str) -> None:
        del self.jobs[name]
        self.timetable.remove(name)
        self._turns.remove(name)
        self._again.discard(name)
        if (turn := self._under_way.get(name)) is not None:
            turn.end()

    def _follow_files(self) -> None:
        """Watch the databases of the streams that run on change."""
        readers: dict[str, set[str]] = {}
        polled: dict[str, bool] = {}
        for name, job in self.jobs.items():
            if job.plan is None or job.stream.schedule.on_change is None:
                continue
            poll = job.manifest.source(job.stream.source).watch == "poll"
            for path in job.plan.paths:
                readers.setdefault(path, set()).add(name)
                polled[path] = polled.get(path, False) or poll
        self._readers = readers
        self._wake.follow(Watched(path=path, poll=poll) for path, poll in polled.items())

    # --- holds that end, identities that begin ---

    def release(self) -> None:
        """Streams that `silt reset` has accepted an edit of, or emptied, since: they begin anew, at once."""
        held = {name for name, job in self.jobs.items() if job.hold is not None}
        if held:
            self._ran = {**self._state.ran()}
            held -= held_streams(self.running, self._ran).keys()
        for name in held | self._emptied():
            self.jobs[name] = replace(self.jobs[name], hold=None, plan=None, number=next(self._numbers))
            self.timetable.hasten(name, time.monotonic())

    def _emptied(self) -> set[str]:
        """The streams that `silt reset` has emptied since it was last asked, of those that run."""
        before, self._resets = self._resets, self._state.resets()
        emptied = {name for name, moment in self._resets.items() if before.get(name) != moment}
        return {name for name in emptied & self.jobs.keys() if self.jobs[name].hold is None}

    def keep(self) -> None:
        """Write down what streams are since they ran: a thousand new ones are one write."""
        if self._accepted:
            self._ran = {**self._state.keep_ran(self._accepted)}
            self._accepted = {}

    def _accept(self, job: Job) -> None:
        """What a stream is when it runs is what an edit is compared with, also after a restart."""
        now = identity(job.manifest, job.stream)
        if self._ran.get(job.stream.name) != now:
            self._ran[job.stream.name] = self._accepted[job.stream.name] = now


def _paths(job: Job) -> tuple[str, ...]:
    return job.plan.paths if job.plan is not None else ()


def _moved(job: Job | None, stream: Stream) -> StreamPlan | None:
    """The plan of an untouched stream, which may stand on other lines now."""
    return replace(job.plan, stream=stream) if job is not None and job.plan is not None else None
