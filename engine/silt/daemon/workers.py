"""The threads that carry out cycles."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable


class Workers:
    """A fixed number of threads.  concurrent.futures would wait for them at exit, for ever if a store hangs.

    A thread in native code while the interpreter ends is a crash (measured: SIGSEGV in delta-rs), so whoever
    ends the process looks at what `close` says.
    """

    def __init__(self, number: int) -> None:
        self._tasks: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, name=f"silt-{n}", daemon=True) for n in range(number)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, task: Callable[[], None]) -> None:
        """`task` is run by the next thread that is free; it must not raise."""
        self._tasks.put(task)

    def close(self, patience: float) -> bool:
        """The threads end after the tasks under way; whether they did within `patience` seconds."""
        for _ in self._threads:
            self._tasks.put(None)
        return joined(self._threads, patience)

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            task()


def joined(threads: Iterable[threading.Thread], patience: float) -> bool:
    """Wait for threads, `patience` seconds in all; whether they have ended."""
    until = time.monotonic() + patience
    for thread in threads:
        if thread.ident is not None:
            thread.join(max(until - time.monotonic(), 0.0))
    return not any(thread.is_alive() for thread in threads)
