"""The threads that carry out cycles."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable


class Workers:
    """A fixed number of threads, which die with the process: the loop waits for what must not be cut off.

    concurrent.futures would wait for them at exit, for ever if a file system hangs.
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

    def close(self) -> None:
        """The threads end after the tasks under way; nobody waits for them."""
        for _ in self._threads:
            self._tasks.put(None)

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            task()
