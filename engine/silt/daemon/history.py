"""Rows over time, a stream: what the page draws, kept in memory and bounded."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from silt.replicate.model import Committed, Event, Finished, Progress, Started

STEP: Final = 30
"""Seconds of one point of the last hour."""

POINTS: Final = 120

_COARSE: Final = 900
"""Seconds of one step of the last day."""

_DAY: Final = 96


class Steps:
    """Counts by steps of time, those of the last `length` steps; a step without any takes no room."""

    def __init__(self, seconds: int, length: int) -> None:
        self._seconds = seconds
        self._length = length
        self._counts: deque[tuple[int, int]] = deque(maxlen=length)

    def add(self, count: int, now: float) -> None:
        step = int(now // self._seconds)
        if self._counts and self._counts[-1][0] >= step:  # a clock that was set back counts where it was
            step, before = self._counts.pop()
            count += before
        self._counts.append((step, count))

    def since(self, first: int, now: float) -> list[int]:
        """The counts of each step from `first` to now's."""
        counts = dict(self._counts)
        return [counts.get(step, 0) for step in range(first, int(now // self._seconds) + 1)]

    def total(self, now: float) -> int:
        first = int(now // self._seconds) - self._length + 1
        return sum(count for step, count in self._counts if step >= first)


@dataclass(frozen=True, slots=True, kw_only=True)
class Underway:
    """A cycle that runs: rows read so far, of `expected` (None: not counted)."""

    rows: int = 0
    expected: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Rows a step: `start` is the first step's beginning in seconds since the epoch.

    A stream that wrote nothing since then is not in `streams`.
    """

    start: float
    step: int
    streams: Mapping[str, list[int]]


@dataclass(slots=True)
class _Stream:
    hour: Steps = field(default_factory=lambda: Steps(STEP, POINTS))
    day: Steps = field(default_factory=lambda: Steps(_COARSE, _DAY))
    underway: Underway | None = None


class History:
    """What streams wrote in the last hour and day, by the events that `heard` is told; any thread may call.

    It begins with the process: what an earlier one wrote is in the lake, and `silt status` counts it there.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._streams: dict[str, _Stream] = {}

    def heard(self, event: Event) -> None:
        with self._lock:
            match event:
                case Started():
                    self._of(event.stream).underway = Underway(expected=event.expected)
                case Progress():
                    self._of(event.stream).underway = Underway(rows=event.rows, expected=event.expected)
                case Committed(rows=rows) if rows:
                    self._add(self._of(event.stream), rows)
                case Finished():
                    self._of(event.result.name).underway = None

    def keep(self, names: Iterable[str]) -> None:
        """Forget every stream but those named."""
        with self._lock:
            self._streams = {name: self._streams[name] for name in names if name in self._streams}

    def rows(self, since: float = 0.0) -> Rows:
        """Rows by steps of `STEP` seconds, from the one that holds `since`, the last hour at most."""
        now = self._clock()
        first = max(int(now // STEP) - POINTS + 1, int(since // STEP))
        with self._lock:
            counts = {name: stream.hour.since(first, now) for name, stream in self._streams.items()}
        found = {name: steps for name, steps in counts.items() if any(steps)}
        return Rows(start=float(first * STEP), step=STEP, streams=found)

    def day(self) -> dict[str, int]:
        """By stream, the rows of the last 24 hours."""
        now = self._clock()
        with self._lock:
            return {name: stream.day.total(now) for name, stream in self._streams.items()}

    def underway(self) -> dict[str, Underway]:
        """By stream, how far the cycle is that runs now."""
        with self._lock:
            return {name: s.underway for name, s in self._streams.items() if s.underway is not None}

    def _of(self, name: str) -> _Stream:
        return self._streams.setdefault(name, _Stream())

    def _add(self, stream: _Stream, rows: int) -> None:
        now = self._clock()
        stream.hour.add(rows, now)
        stream.day.add(rows, now)
