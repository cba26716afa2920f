"""What a stream's cycle has come to so far, over all of its tables and tries."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from silt.errors import Held, SiltError
from silt.replicate.round import Round
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
    """Counts of commits that stand; errors and waits of single databases, which stop no other.

    A pass visits the databases of one table: `errors`, `waiting`, `deferred`, `left` and `midway` are what
    the one under way found, and `round` what those before it did.
    """

    round: Round = field(default_factory=Round)
    rows: int = 0
    misfits: Misfits = field(default_factory=Misfits)
    deleted: int = 0
    batches: int = 0
    databases: set[str] = field(default_factory=set)
    waiting: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    errors: list[SiltError] = field(default_factory=list)
    deferred: bool = False
    """Rows wait for the clock: they lie in the future."""
    stopped: bool = False
    """It was told to stop, and left something undone."""
    left: frozenset[str] = frozenset()
    """The databases that a pass did not come to, by app."""
    midway: str | None = None
    """The one that it left before its end."""

    def commit(self, databases: Iterable[str], rows: int, misfits: Misfits, deleted: int = 0) -> None:
        self.rows += rows
        self.deleted += deleted
        self.misfits += misfits
        self.batches += 1
        self.databases.update(databases)

    def note(self, text: str) -> bool:
        """Remember `text`; False when it was said before."""
        if text in self.notes:
            return False
        self.notes.append(text)
        return True

    def worst(self, planned: SiltError | None) -> SiltError | None:
        """The error to show, of those met and the plan's: a hold, which needs a person, first."""
        errors = (*self.round.errors, *(() if planned is None else (planned,)))
        held = (error for error in errors if isinstance(error, Held))
        return next(held, errors[0] if errors else None)

    def leave(self, apps: Iterable[str], *, midway: str | None = None) -> None:
        """The pass ends before these databases, and before the end of `midway`."""
        self.stopped = True
        self.left = frozenset(apps)
        self.midway = midway

    def another_try(self) -> None:
        """Forget what the pass found: it is made again; what was committed stays counted."""
        self.deferred = self.stopped = False
        self.left, self.midway = frozenset(), None
        self.waiting.clear()
        self.errors.clear()

    def stands(self, visited: Iterable[str]) -> None:
        """The pass over these databases stands, and the next one begins."""
        missed = self.left if self.midway is None else self.left | {self.midway}
        before, stopped = self.round, self.stopped
        self.round = Round(
            done=before.done | (frozenset(visited) - missed),
            later=self.midway if self.midway is not None else before.later,
            errors=(*before.errors, *self.errors),
            waiting=(*before.waiting, *self.waiting),
            deferred=before.deferred or self.deferred,
        )
        self.another_try()
        self.stopped = stopped
