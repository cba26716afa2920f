"""Who gets a free worker next: streams take turns, sources and targets do, and a long load gives way."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from typing import Final

TURN: Final = 2.0
"""Seconds that a cycle may keep its worker while others wait; it goes on at its next turn."""


class Turns:
    """The streams that are due and wait for a worker, by groups that share a fate (a source and a target).

    Groups are served in turn, each in the order of coming.  While there are several, none takes the last
    worker, so that a store which lets every cycle wait half a minute stops no other store's streams; a
    group in `trouble` takes one worker only.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._waiting: OrderedDict[Hashable, deque[str]] = OrderedDict()
        self._running: dict[str, Hashable] = {}
        self._groups: set[Hashable] = set()
        self._trouble: set[Hashable] = set()

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def know(self, groups: set[Hashable]) -> None:
        """The groups that there are, whether they wait or not."""
        self._groups = groups
        self._trouble &= groups

    def add(self, name: str, group: Hashable) -> None:
        """`name` is due: it waits at the end of its group."""
        self._waiting.setdefault(group, deque()).append(name)

    def take(self) -> str | None:
        """Whose turn it is, if a worker is free for it; it counts as running until `done`."""
        if len(self._running) >= self._workers:
            return None
        for group, names in self._waiting.items():
            if self._busy(group) < self._most(group):
                name = names.popleft()
                del self._waiting[group]
                if names:
                    self._waiting[group] = names  # behind the others
                self._running[name] = group
                return name
        return None

    def done(self, name: str, *, trouble: bool) -> None:
        """`name` gave its worker back; `trouble` that what it shares with its group may be out of reach."""
        group = self._running.pop(name)
        if trouble:
            self._trouble.add(group)
        else:
            self._trouble.discard(group)

    def remove(self, name: str) -> bool:
        """`name` no longer waits; False where it does not."""
        for group, names in self._waiting.items():
            if name in names:
                names.remove(name)
                if not names:
                    del self._waiting[group]
                return True
        return False

    def _busy(self, group: Hashable) -> int:
        return sum(1 for other in self._running.values() if other == group)

    def _most(self, group: Hashable) -> int:
        if group in self._trouble:
            return 1
        return max(1, self._workers - 1) if len(self._groups) > 1 else self._workers


class Turn:
    """One cycle's time at a worker, as `replicate` asks about it: a cycle ends after the batch under way.

    It ends with the daemon, by `end` (its stream was changed or removed), or `TURN` seconds after it was
    first asked while other streams wait.
    """

    def __init__(self, stop: threading.Event, crowded: Callable[[], bool], *, seconds: float = TURN) -> None:
        self._stop = stop
        self._crowded = crowded
        self._seconds = seconds
        self._until: float | None = None
        self._ended = False

    def end(self) -> None:
        self._ended = True

    def is_set(self) -> bool:
        if self._stop.is_set() or self._ended:
            return True
        now = time.monotonic()
        if self._until is None:
            self._until = now + self._seconds
        return now > self._until and self._crowded()

    def wait(self, timeout: float) -> bool:
        self._stop.wait(timeout)
        return self.is_set()
