"""A result that is shown again and again: in place on a terminal, one after another elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from typing import NoReturn

from silt.cli import console
from silt.errors import SiltError


def again(lines: Callable[[], list[str]], seconds: float) -> NoReturn:
    """Show `lines()` every so many seconds, until a signal ends it (`Interrupted`).

    What fails is shown in their place, unless it is the first time: then it is raised.  Looking takes at
    most half of the time, however long it takes.
    """
    show = _in_place if sys.stdout.isatty() else _one_by_one
    show(_frames(lines, seconds))
    raise AssertionError("only a signal ends it")


def _frames(lines: Callable[[], list[str]], seconds: float) -> Iterator[list[str]]:
    first = True
    while True:
        began = time.monotonic()
        try:
            yield lines()
        except SiltError as error:
            if first:
                raise
            yield _told(error)
        first = False
        took = time.monotonic() - began
        time.sleep(max(seconds - took, took))


def _told(error: SiltError) -> list[str]:
    from silt.report import failure

    return failure.text(error, width=console.width())


def _one_by_one(frames: Iterator[list[str]]) -> None:
    for number, lines in enumerate(frames):
        console.out([*([""] if number else []), *lines])


def _in_place(frames: Iterator[list[str]]) -> None:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    paint = console.coloured if console.colourful(sys.stdout) else str
    terminal = Console(highlight=False, markup=False)
    with Live(console=terminal, auto_refresh=False) as live:
        for lines in frames:
            text = Text.from_ansi("\n".join(map(paint, lines)), no_wrap=True, overflow="ellipsis")
            live.update(text, refresh=True)
