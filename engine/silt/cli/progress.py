"""What a person sees of `run --once`: a line a stream as it ends; on a terminal the running ones in place."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
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
    """A stream under way: rows read since `began`, of `expected`."""

    began: float
    rows: int = 0
    expected: int | None = None
    told: float = 0.0

    def rate(self, now: float) -> float:
        """Rows per second; 0 within the first half second, which says nothing."""
        past = now - self.began
        return self.rows / past if past > 0.5 else 0.0


class _View:
    """Keeps what runs, and prints what ended."""

    def __init__(self, plan: Plan, say: Callable[[list[str]], None]) -> None:
        self._width = console.width()
        self._say = say
        self._lock = threading.Lock()
        self._quiet_streams = len(plan.streams) > 12
        names = [len(p.stream.name) for p in plan.streams]
        self.name_width = min(max(names, default=0), _NAME)
        self.running: dict[str, _Running] = {}

    def hear(self, event: Event) -> None:
        """One event of `replicate`, from any thread."""
        from silt.replicate.model import Finished, Progress, Started

        with self._lock:
            match event:
                case Started():
                    self.running[event.stream] = _Running(began=time.monotonic(), expected=event.expected)
                case Progress():
                    self._progress(event.stream, event.rows, event.expected)
                case Finished():
                    self.running.pop(event.result.name, None)
                    self._finished(event.result)

    def _progress(self, name: str, rows: int, expected: int | None) -> None:
        at = self.running.setdefault(name, _Running(began=time.monotonic()))
        at.rows, at.expected = rows, expected or at.expected

    def _finished(self, result: StreamResult) -> None:
        from silt.report import run as report

        idle = result.error is None and not result.batches and not result.notes and result.state == "ok"
        if idle and self._quiet_streams:
            return
        self._say(report.line(result, name_width=self.name_width, width=self._width))

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

    def _progress(self, name: str, rows: int, expected: int | None) -> None:
        from silt.report import run as report

        super()._progress(name, rows, expected)
        at, now = self.running[name], time.monotonic()
        if now - max(at.told, at.began) < _EVERY:
            return
        at.told = now
        line = report.running(
            name, rows, at.expected, at.rate(now), name_width=self.name_width, width=self._width
        )
        self._say([line])


@contextmanager
def view(plan: Plan, *, quiet: bool) -> Iterator[Callable[[Event], None]]:
    """A listener that shows progress while the context is open; `quiet` shows nothing."""
    if quiet:
        yield lambda _event: None
    elif sys.stdout.isatty():
        with _live(plan) as listen:
            yield listen
    else:
        yield _Plain(plan, console.out).hear


@contextmanager
def _live(plan: Plan) -> Iterator[Callable[[Event], None]]:
    from rich.console import Console, Group
    from rich.live import Live
    from rich.text import Text

    terminal = Console(highlight=False, markup=False)

    def say(lines: list[str]) -> None:
        paint = console.coloured if console.colourful(sys.stdout) else str
        for line in lines:
            terminal.print(Text.from_ansi(paint(line)), soft_wrap=True)

    shown = _View(plan, say)

    def render() -> Any:
        return Group(*(Text(line) for line in shown.lines()))

    with Live(console=terminal, get_renderable=render, refresh_per_second=8, transient=True):
        yield shown.hear
