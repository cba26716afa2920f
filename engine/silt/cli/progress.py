"""What a person sees of `run --once`: a line a stream as it ends; on a terminal the running ones in place."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from silt.cli import console

if TYPE_CHECKING:
    from silt.plan.model import Plan
    from silt.replicate.model import Event, StreamResult

_EVERY: Final = 10.0
"""Seconds between progress lines of a stream where the output is no terminal."""

_NAME: Final = 32
"""Columns a stream's name may take at most."""


@dataclass(slots=True)
class _Running:
    """A stream under way since `began`: `done` rows are committed, `reading` are in the batch under way.

    `expected` is the whole cycle's number of rows, None where it was not counted.
    """

    began: float
    done: int = 0
    reading: int = 0
    expected: int | None = None
    told: float = 0.0

    @property
    def rows(self) -> int:
        return self.done + self.reading

    def rate(self, now: float) -> float:
        """Rows per second; 0 within the first half second, which says nothing."""
        past = now - self.began
        return self.rows / past if past > 0.5 else 0.0


class _View:
    """Keeps what runs, and prints what ended."""

    def __init__(self, plan: Plan, expected: Mapping[str, int], say: Callable[[list[str]], None]) -> None:
        self._expected = expected
        self._width = console.width()
        self._say = say
        self._lock = threading.Lock()
        self._quiet_streams = len(plan.streams) > 12
        names = [len(p.stream.name) for p in plan.streams]
        self.name_width = min(max(names, default=0), _NAME)
        self.running: dict[str, _Running] = {}

    def hear(self, event: Event) -> None:
        """One event of `replicate`, from any thread.

        It speaks without the lock: rich has one of its own, which it holds while it asks for `lines`.
        """
        with self._lock:
            said = self._noted(event)
        if said:
            self._say(said)

    def _noted(self, event: Event) -> list[str]:
        """Take note of an event; what is to be said of it."""
        from silt.replicate.model import Committed, Finished, Progress, Started

        match event:
            case Started():
                self._at(event.stream)
            case Progress():
                self._at(event.stream).reading = event.rows
                return self._moved(event.stream)
            case Committed():
                at = self._at(event.stream)
                at.done, at.reading = at.done + event.rows, 0
                return self._moved(event.stream)
            case Finished():
                self.running.pop(event.result.name, None)
                return self._finished(event.result)
        return []

    def _at(self, name: str) -> _Running:
        fresh = _Running(began=time.monotonic(), expected=self._expected.get(name))
        return self.running.setdefault(name, fresh)

    def _moved(self, name: str) -> list[str]:  # noqa: ARG002  # `_Plain` needs it
        """What is to be said when rows of `name` were read or committed: nothing where `lines` are shown."""
        return []

    def _finished(self, result: StreamResult) -> list[str]:
        from silt.report import run as report

        idle = result.error is None and not result.batches and not result.notes and result.state == "ok"
        if idle and self._quiet_streams:
            return []
        return report.line(result, name_width=self.name_width, width=self._width)

    def lines(self) -> list[str]:
        """A line for each stream that runs now."""
        from silt.report import run as report

        now = time.monotonic()
        with self._lock:
            return [
                report.running(
                    name, at.rows, at.expected, at.rate(now), name_width=self.name_width, width=self._width
                )
                for name, at in self.running.items()
                if at.rows
            ]


class _Plain(_View):
    """Where the output is no terminal: a line every ten seconds for a stream that takes that long."""

    def _moved(self, name: str) -> list[str]:
        from silt.report import run as report

        at, now = self.running[name], time.monotonic()
        if now - max(at.told, at.began) < _EVERY:
            return []
        at.told, rate = now, at.rate(now)
        return [
            report.running(name, at.rows, at.expected, rate, name_width=self.name_width, width=self._width)
        ]


@contextmanager
def view(plan: Plan, expected: Mapping[str, int], *, quiet: bool) -> Iterator[Callable[[Event], None]]:
    """A listener that shows progress while the context is open; `quiet` shows nothing.

    `expected` are the rows of each stream's cycle, as far as they were counted.
    """
    if quiet:
        yield lambda _event: None
    elif sys.stdout.isatty():
        with _live(plan, expected) as listen:
            yield listen
    else:
        yield _Plain(plan, expected, console.out).hear


@contextmanager
def _live(plan: Plan, expected: Mapping[str, int]) -> Iterator[Callable[[Event], None]]:
    from rich.console import Console, Group
    from rich.live import Live
    from rich.text import Text

    terminal = Console(highlight=False, markup=False)

    def say(lines: list[str]) -> None:
        paint = console.coloured if console.colourful(sys.stdout) else str
        for line in lines:
            terminal.print(Text.from_ansi(paint(line)), soft_wrap=True)

    shown = _View(plan, expected, say)

    def render() -> Any:
        return Group(*(Text(line) for line in shown.lines()))

    with Live(console=terminal, get_renderable=render, refresh_per_second=8, transient=True):
        yield shown.hear
