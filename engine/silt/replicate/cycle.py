"""What every mode's cycle over one Delta table shares: its parts one by one, failures kept apart."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from silt.errors import Contended, SiltError
from silt.observe import Handles
from silt.plan.model import Part, StreamPlan
from silt.replicate.ledger import Ledger
from silt.replicate.model import Listener, Progress, Stopping
from silt.replicate.tally import Tally

if TYPE_CHECKING:
    import pyarrow as pa


class Cycle(ABC):
    """One pass over one table: every database is visited, or as many as there is time for, at least one."""

    def __init__(
        self,
        plan: StreamPlan,
        parts: Sequence[Part],
        ledger: Ledger,
        handles: Handles,
        *,
        listen: Listener,
        stop: Stopping,
        clock: Callable[[], float],
        tally: Tally,
    ) -> None:
        self._plan = plan
        self._stream = plan.stream
        self._parts = parts
        self._ledger = ledger
        self._handles = handles
        self._listen = listen
        self._stop = stop
        self._clock = clock
        self._tally = tally

    def run(self) -> None:
        for number, part in enumerate(self._parts, 1):
            self._run_part(part)
            rest = [other.app for other in self._parts[number:]]
            if self._tally.stopped or (rest and self._is_stopped()):
                self._tally.leave(rest, midway=self._tally.midway)
                break
        self._finish()

    def _is_stopped(self) -> bool:
        """Whether to leave the rest for the next turn; asked only where something was done and some is left.

        So each turn comes further, however long it took to begin.
        """
        self._tally.stopped = self._stop.is_set()
        return self._tally.stopped

    def _run_part(self, part: Part) -> None:
        """One database's failure stops no other; losing a race is for the caller to try again."""
        try:
            self._advance(part)
        except Contended:
            raise
        except SiltError as error:
            self._tally.errors.append(error)

    def _reported(
        self, part: Part, batches: Iterable[pa.RecordBatch], expected: int
    ) -> Iterator[pa.RecordBatch]:
        """`batches` on their way, told to the listener; how large a row is bounds the next window."""
        rows = size = 0
        for batch in batches:
            rows += batch.num_rows
            size += batch.nbytes
            self._handles.row_bytes[part.app] = max(1, size // max(rows, 1))
            self._listen(Progress(stream=self._stream.name, rows=rows, expected=expected))
            yield batch

    @abstractmethod
    def _advance(self, part: Part) -> None:
        """Bring one database's slice as far as its source is."""

    @abstractmethod
    def _finish(self) -> None:
        """Commit what still waits."""
