"""SIGINT and SIGTERM: the first asks a verb to end, the second ends it at once."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Final

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class Interrupted(BaseException):
    """A signal ended a verb; not an `Exception`, so that nothing on the way takes it for a failure."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def raise_on_signals() -> None:
    """The default for verbs: a signal raises `Interrupted`, so that files and tables are closed."""

    def handler(number: int, _frame: FrameType | None) -> None:
        _at_once_from_now_on()
        raise Interrupted(number)

    _install(handler)


class Stop:
    """What the first signal sets: `event` for those who poll, `number` for the exit code.

    `wake` is called for it, `hang` for each SIGHUP; both in the signal handler.
    """

    def __init__(self) -> None:
        self.event = threading.Event()
        self.number = 0
        self.wake: Callable[[], None] = lambda: None
        self.hang: Callable[[], None] = lambda: None

    @property
    def code(self) -> int:
        return 128 + self.number

    def hang_up(self) -> None:
        """Nobody reads our output any more: end as on a signal."""
        self.number = signal.SIGPIPE
        self.event.set()
        self.wake()


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """The first signal sets the event (a commit under way is finished), the second ends the process."""
    stop = Stop()

    def handler(number: int, _frame: FrameType | None) -> None:
        _at_once_from_now_on()
        stop.number = number
        stop.event.set()
        stop.wake()

    numbers = (*SIGNALS, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    _install(handler)
    signal.signal(signal.SIGHUP, lambda _number, _frame: stop.hang())
    try:
        yield stop
    finally:
        for number, old in zip(numbers, before, strict=True):
            signal.signal(number, old)


def leave(code: int) -> None:
    """End the process now: threads in native code cannot be asked.  Their commit is whole, or not there."""
    with suppress(OSError, ValueError):
        sys.stdout.flush()
    os._exit(code)


def _install(handler: Callable[[int, FrameType | None], None]) -> None:
    for number in SIGNALS:
        signal.signal(number, handler)


def _at_once_from_now_on() -> None:
    # os._exit: threads in native code cannot be asked.  A commit of theirs is whole, or not there.
    _install(lambda number, _frame: os._exit(128 + number))
