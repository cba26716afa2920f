"""What a stream's cycle has come to so far, over all of its tables and tries."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from silt.errors import Held, SiltError
from silt.source.rescue import Misfits, counted

if TYPE_CHECKING:
    import pyarrow as pa

    from silt.shapes import Extract


class Meter:
    """Bytes (Arrow) and misfits of the batches that passed; a commit tried again counts its last try."""

    def __init__(self, extract: Extract) -> None:
        self._extract = extract
        self.bytes = 0
        self.misfits: Misfits = Misfits()

    def metered(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        self.bytes = 0
        self.misfits = Misfits()
        for batch in batches:
            self.bytes += batch.nbytes
            self.misfits += counted(batch, self._extract)
            yield batch


@dataclass(slots=True)
class Tally:
    """Counts of commits that stand; errors and waits of single databases, which stop no other."""

    rows: int = 0
    misfits: Misfits = field(default_factory=Misfits)
    batches: int = 0
    databases: set[str] = field(default_factory=set)
    waiting: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    errors: list[SiltError] = field(default_factory=list)
    stopped: bool = False
    """It was told to stop, and left something undone."""
    deferred: bool = False
    """Rows wait for the clock: they lie in the future."""

    def commit(self, databases: Iterable[str], rows: int, misfits: Misfits) -> None:
        self.rows += rows
        self.misfits += misfits
        self.batches += 1
        self.databases.update(databases)

    def note(self, text: str) -> bool:
        """Remember `text`; False when it was said before."""
        if text in self.notes:
            return False
        self.notes.append(text)
        return True

    def worst(self) -> SiltError | None:
        """The error to show: a hold, which needs a person, before a failure."""
        held = (error for error in self.errors if isinstance(error, Held))
        return next(held, self.errors[0] if self.errors else None)

    def another_try(self) -> None:
        """Forget what the tables will be asked again; what was committed stays counted."""
        self.deferred = False
        self.waiting.clear()
        self.errors.clear()
