"""When each stream is due: on a grid, by cron, or soon after its source changed."""

from __future__ import annotations

import heapq
import math
import random
import time
from dataclasses import dataclass
from typing import Final

from silt.manifest.model import OnChange, Schedule
from silt.manifest.schedule import upcoming

JITTER: Final = 0.1  # of a stream's `every`, at most (DESIGN 3)
_FIRST_BACKOFF: Final = 5.0
_LONGEST_BACKOFF: Final = 300.0
_MOST_STALE: Final = 4
"""Entries of the heap to a stream, of which one is true."""


@dataclass(slots=True)
class _Slot:
    """A stream's place in the timetable: `slot` is its next moment on the grid, before jitter.

    `changed` is when its source was first seen changed and nothing has read it since; `hurried` that it is to
    run again at once; `midway` that its turn ended before its cycle did.
    `moment` is the next one of its cron, by the wall clock.  `bound` is when it is due whatever is written;
    `patient` that it failed, and a write shall not bring it back before that.
    """

    schedule: Schedule
    slot: float
    due: float
    tries: int = 0
    running: bool = False
    changed: float | None = None
    hurried: bool = False
    midway: bool = False
    moment: float = 0.0
    bound: float = 0.0
    patient: bool = True


class Timetable:
    """When each stream is due, in seconds of any one clock; cron asks the wall clock, in local time.

    A stream keeps to a grid of its `every`; jitter moves a start by at most a tenth of that, and
    never the grid.  Moments that passed while it ran are one; it is never due while it runs.  After
    a failure it is due sooner or later than the grid says: 5 s, doubling, up to the greater of 5
    minutes and `every`, shortened by up to a fifth at random so that a fleet does not return at once.
    With `on_change` it is also due `debounce` after the last change that `touch` told of, at most
    `max_delay` after the first.
    """

    def __init__(self, rng: random.Random | None = None) -> None:
        self._random = rng or random.Random()  # noqa: S311  # spreads load, guards nothing
        self._slots: dict[str, _Slot] = {}
        self._heap: list[tuple[float, str]] = []

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self._slots)

    def add(self, name: str, schedule: Schedule, now: float, *, running: bool = False) -> None:
        """A new stream is due at once (a start jitter of at most 1 s aside), one by cron at its moment.

        `running`: an earlier stream of that name still runs, and this one follows it.
        """
        jitter = self._random.uniform(0, min(JITTER * schedule.every, 1.0))
        hurried = running and schedule.cron is None
        slot = _Slot(schedule=schedule, slot=now, due=now + jitter, running=running, hurried=hurried)
        self._slots[name] = slot
        self._set(name, slot, slot.due if schedule.cron is None else _by_cron(slot, now))

    def remove(self, name: str) -> None:
        self._slots.pop(name, None)

    def change(self, name: str, schedule: Schedule, now: float) -> None:
        """`name` was changed: due at once, by cron at its moment; its new schedule holds from now on."""
        slot = self._slots[name]
        slot.schedule, slot.slot, slot.tries = schedule, now, 0
        if schedule.cron is None or slot.midway:
            self.hasten(name, now)
        elif not slot.running:
            self._set(name, slot, _by_cron(slot, now))

    def hasten(self, name: str, now: float) -> None:
        """`name` is due now, or as soon as its cycle under way is done."""
        slot = self._slots.get(name)
        if slot is None:
            return
        slot.hurried = True
        if not slot.running:
            self._set(name, slot, now)

    def touch(self, name: str, now: float) -> None:
        """The source of `name` changed: due soon, where its schedule is `on_change`.

        That never puts off what is due anyway.  A failure that was the source's is tried again 5 s after it
        is written, as what mends it may be; another one waits for its back-off.
        """
        slot = self._slots.get(name)
        if slot is None or slot.schedule.on_change is None:
            return
        slot.changed = now if slot.changed is None else slot.changed
        if slot.running or (slot.tries and slot.patient):
            return
        soon = _soon(slot.schedule.on_change, slot.changed, now)
        self._place(
            name, slot, min(slot.bound, max(soon, slot.changed + _FIRST_BACKOFF) if slot.tries else soon)
        )

    def take(self, now: float) -> tuple[str, ...]:
        """The streams that are due, in the order of their moments; each counts as running from now on."""
        taken = []
        while self._heap and self._heap[0][0] <= now:
            due, name = heapq.heappop(self._heap)
            if self._valid(due, name):
                slot = self._slots[name]
                slot.running, slot.hurried = True, False
                slot.changed = slot.changed if slot.midway else None
                taken.append(name)
        return tuple(taken)

    def done(self, name: str, now: float, *, failed: bool, partly: bool = False) -> float | None:
        """`name` ended its cycle; the moment it is due next (None: it was removed meanwhile).

        `partly`: what failed is of its source, so that other databases of it, and writes to that one, are
        not kept waiting.
        """
        slot = self._slots.get(name)
        if slot is None:
            return None
        slot.running = slot.midway = False
        slot.tries = slot.tries + 1 if failed else 0
        slot.patient = not partly
        due = self._after(slot, now, failed=failed, partly=partly)
        self._set(name, slot, now if slot.hurried else due)
        if not slot.hurried and not failed:
            self._read_changes(name, slot, now)
        return slot.due

    def gave_way(self, name: str, now: float) -> float | None:
        """The turn of `name` ended before its cycle did: it is due again at once (None: it was removed)."""
        slot = self._slots.get(name)
        if slot is None:
            return None
        slot.running, slot.midway = False, True
        self._set(name, slot, now)
        return now

    def began(self, name: str) -> None:
        """The cycle of `name` gets its worker: what changes from now on is for the next one.

        Where it goes on midway, what changed since its first turn may not be read.
        """
        slot = self._slots.get(name)
        if slot is not None and not slot.midway:
            slot.changed = None

    def clock_moved(self, now: float) -> None:
        """The wall clock was set: cron follows it, and a moment that was passed over is due now."""
        for name, slot in self._slots.items():
            waits = not (slot.running or slot.tries or slot.hurried)
            if slot.schedule.cron is not None and waits:
                self._set(name, slot, _by_cron(slot, now, passed=slot.moment))

    def next(self) -> float | None:
        """The moment at which something is due, None where everything runs or nothing is there."""
        while self._heap and not self._valid(*self._heap[0]):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def _after(self, slot: _Slot, now: float, *, failed: bool, partly: bool) -> float:
        if not failed:
            return self._next(slot, now)
        retry = self._after_failure(slot, now)
        return min(retry, self._next(slot, now)) if partly else retry

    def _read_changes(self, name: str, slot: _Slot, now: float) -> None:
        """What changed while it ran may not be read."""
        if slot.schedule.on_change is not None and slot.changed is not None:
            soon = _soon(slot.schedule.on_change, slot.changed, now)
            self._place(name, slot, min(slot.bound, soon))

    def _set(self, name: str, slot: _Slot, due: float) -> None:
        """`due` whatever is written."""
        slot.bound = due
        self._place(name, slot, due)

    def _place(self, name: str, slot: _Slot, due: float) -> None:
        slot.due = due
        heapq.heappush(self._heap, (due, name))
        if len(self._heap) > _MOST_STALE * (len(self._slots) + 1):
            self._heap = [(s.due, n) for n, s in self._slots.items() if not s.running]
            heapq.heapify(self._heap)

    def _valid(self, due: float, name: str) -> bool:
        slot = self._slots.get(name)
        return slot is not None and slot.due == due and not slot.running

    def _next(self, slot: _Slot, now: float) -> float:
        if slot.schedule.cron is not None:
            return _by_cron(slot, now)
        return self._on_grid(slot, now)

    def _on_grid(self, slot: _Slot, now: float) -> float:
        """The next moment of the grid: the one that it ran before still comes."""
        every = slot.schedule.every
        if slot.slot <= now:
            slot.slot += (int((now - slot.slot) // every) + 1) * every
        return slot.slot + self._random.uniform(0, JITTER * every)

    def _after_failure(self, slot: _Slot, now: float) -> float:
        every = slot.schedule.every
        first = min(_FIRST_BACKOFF, max(every, 1.0))
        wait = min(first * 2.0 ** min(slot.tries - 1, 20), max(_LONGEST_BACKOFF, every))
        return now + wait * self._random.uniform(0.8, 1.0)


def _soon(changes: OnChange, first: float, last: float) -> float:
    return min(last + changes.debounce, first + changes.max_delay)


def _by_cron(slot: _Slot, now: float, *, passed: float = math.inf) -> float:
    """The slot's next moment by its cron expression, or the one before that, where it has `passed`."""
    wall = time.time()
    slot.moment = min(upcoming(slot.schedule.cron or "", wall), passed)
    return now + max(slot.moment - wall, 0.0)
