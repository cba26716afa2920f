"""A queue between reading threads and one consumer, bounded by bytes, that loses no error."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Self, TypeVar

if TYPE_CHECKING:
    import pyarrow as pa

T = TypeVar("T")


class Channel:
    """Batches from workers to whoever iterates; leaving the `with` block ends every worker.

    A worker's error is raised to the consumer: one that was swallowed once lost half a table with exit
    code 0 (FACTS).
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._bytes = 0
        self._batches: deque[pa.RecordBatch] = deque()
        self._error: BaseException | None = None
        self._closed = False
        self._working = 0
        self._threads: list[threading.Thread] = []
        self._changed = threading.Condition()

    def work(self, task: Callable[[], None]) -> None:
        """Run `task` on a thread of its own."""
        with self._changed:
            self._working += 1
        thread = threading.Thread(target=self._run, args=(task,), name="silt-reader", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _run(self, task: Callable[[], None]) -> None:
        error: BaseException | None = None
        try:
            task()
        except BaseException as raised:  # noqa: BLE001  (handed to the consumer, whatever it is)
            error = raised
        with self._changed:
            self._working -= 1
            self._error = self._error or error
            self._changed.notify_all()

    def take(self, waiting: Iterator[T]) -> T | None:
        """The next of `waiting`, for one worker only; None at its end, on an error, or once closed."""
        with self._changed:
            return None if self._closed or self._error is not None else next(waiting, None)

    def put(self, batch: pa.RecordBatch) -> bool:
        """Hand a batch over, waiting while the queue is full; False when nobody will read it."""
        size = batch.nbytes
        with self._changed:
            self._changed.wait_for(
                lambda: self._closed or not self._batches or self._bytes + size <= self._limit
            )
            if self._closed:
                return False
            self._batches.append(batch)
            self._bytes += size
            self._changed.notify_all()
            return True

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        while (batch := self._get()) is not None:
            yield batch

    def _get(self) -> pa.RecordBatch | None:
        with self._changed:
            self._changed.wait_for(lambda: self._batches or self._error is not None or not self._working)
            if self._error is not None:
                raise self._error
            if not self._batches:
                return None
            batch = self._batches.popleft()
            self._bytes -= batch.nbytes
            self._changed.notify_all()
            return batch

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        with self._changed:
            self._closed = True
            self._batches.clear()
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
