"""What became of the edits of the manifest: generations and receipts (DESIGN 9)."""

from __future__ import annotations

import time
from typing import Final

from silt.daemon.job import Prepared
from silt.manifest.diff import Diff
from silt.manifest.model import Problem
from silt.state import Receipt, Trouble

REMEMBERED: Final = 20
"""Receipts that are kept for the status."""

_NONE: Final = Diff()


class Receipts:
    """The generation that runs, and the receipts of the last edits, the newest last.

    `digest` is of the files that run; `on_disk` is `same`, or `refused` where the newest edit was.
    """

    def __init__(self, digest: str, *, refused: tuple[Problem, ...] = ()) -> None:
        self.digest = digest
        self.generation = 1
        self.on_disk = "same"
        self.last: tuple[Receipt, ...] = ()
        if refused:
            self._refuse(Prepared(began=time.monotonic(), problems=refused), 0)

    def kept(self, prepared: Prepared, *, streams: int) -> Receipt | None:
        """The manifest on disk is refused, or runs already; None where nobody asked and nothing is new."""
        if prepared.problems:
            return self._refuse(prepared, streams)
        news = self.on_disk != "same"
        self.on_disk = "same"
        return self._add(prepared, "unchanged", streams) if prepared.asked or news else None

    def applied(self, prepared: Prepared, changes: Diff, *, streams: int) -> Receipt:
        """The manifest on disk runs from now on, as the next generation."""
        self.generation += 1
        self.digest = prepared.digest or ""
        self.on_disk = "same"
        return self._add(prepared, "applied", streams, changes)

    def _refuse(self, prepared: Prepared, streams: int) -> Receipt:
        self.on_disk = "refused"
        return self._add(prepared, "refused", streams)

    def _add(self, prepared: Prepared, result: str, streams: int, changes: Diff = _NONE) -> Receipt:
        receipt = Receipt(
            generation=self.generation,
            digest=prepared.digest or "",
            at=time.time(),
            seconds=round(time.monotonic() - prepared.began, 3),
            result=result,
            streams=streams,
            added=changes.added,
            changed=changes.changed,
            removed=changes.removed,
            held=tuple(changes.held),
            problems=tuple(map(_trouble, prepared.problems)),
        )
        self.last = (*self.last, receipt)[-REMEMBERED:]
        return receipt


def _trouble(problem: Problem) -> Trouble:
    return Trouble(
        file=problem.file,
        line=problem.line,
        column=problem.column,
        pointer=problem.pointer,
        message=problem.message,
        hint=problem.hint,
    )
