"""What the page and `/api/status` show: the status with its history and receipts, as plain data."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from silt.daemon.history import History, Rows, Underway
from silt.manifest.model import Manifest, Stream
from silt.report import live, status
from silt.report.units import instant
from silt.state import LastStatus, StreamStatus

Data = dict[str, Any]

PATIENCE: Final = 120.0
"""Seconds without a turn after which the loop counts as stuck."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What a reader has: the next `news` says only what differs."""

    status: LastStatus
    underway: Mapping[str, Underway]
    until: float


class Board:
    """Reads a running silt's records; every method may be called from any thread.

    `streams` are those that run now, patterns expanded, for the resolved manifest.
    """

    def __init__(
        self,
        *,
        status: Callable[[], LastStatus],
        manifest: Callable[[], Manifest],
        streams: Callable[[], Iterable[Stream]],
        history: History,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._status = status
        self._manifest = manifest
        self._streams = streams
        self._history = history
        self._clock = clock
        self._turn: tuple[float, float] | None = None

    def data(self) -> tuple[Data, Sent]:
        """Everything, and what a reader of it has then."""
        now = self._now()
        return {**self._told(now), "history": _history(self._history.rows())}, now

    def news(self, sent: Sent) -> tuple[Data, Sent] | None:
        """What `sent` lacks, of the same shape: streams and receipts that differ; None where nothing does.

        `order` names every stream that is there, so that one that is gone is seen, too.
        """
        now = self._now()
        if _shown(now) == _shown(sent):
            return None
        changed = _changed(now, sent)
        told = self._told(now)
        told["streams"] = [s for s in told["streams"] if s["name"] in changed]
        rows = self._history.rows(since=sent.until)
        if now.status.receipts == sent.status.receipts:
            del told["receipts"]
        order = [s.name for s in now.status.streams]
        return {**told, "order": order, "history": _history(rows)}, now

    def manifest(self) -> Data:
        """The resolved manifest, as `silt show` prints it: secrets are `***`."""
        from silt import manifest
        from silt.report import show

        shown = manifest.show(self._manifest(), self._streams())
        return {"generation": self._status().generation, "text": "\n".join(show.text(shown, width=110))}

    def stuck(self, clock: Callable[[], float] = time.monotonic) -> str:
        """Why the loop counts as stuck; empty as long as it turns.  By a clock that nobody sets.

        The first look may take as long as the sources and the lake do: until then `unready` says so.
        """
        last, now = self._status(), clock()
        written = last.written
        if not last.ready:
            return ""
        if self._turn is None or self._turn[0] != written:
            self._turn = (written, now)
        idle = now - self._turn[1]
        return f"the loop has not turned for {idle:.0f} s" if idle > PATIENCE else ""

    def unready(self) -> str:
        """What is still to come before streams run; empty when nothing is."""
        return "" if self._status().ready else "the sources have not been looked at yet"

    def _now(self) -> Sent:
        last = self._status()
        self._history.keep(s.name for s in last.streams)
        return Sent(status=last, underway=self._history.underway(), until=self._clock())

    def _told(self, now: Sent) -> Data:
        """`silt status --json`'s object, with what only a running silt knows."""
        last, node = now.status, self._manifest().node
        woken = {s.name for s in self._streams() if s.schedule.on_change is not None}
        rows = self._history.day()
        told = status.data(live.status_of(last, title=node, now=now.until, rows=rows, on_change=woken))
        known = {s.name: s for s in last.streams}
        for stream in told["streams"]:
            stream.update(_more(known[stream["name"]], now.underway.get(stream["name"])))
        told["manifest"]["node"] = node
        return {**told, "now": instant(now.until), "ready": last.ready}


def _changed(now: Sent, sent: Sent) -> set[str]:
    before = {s.name: s for s in sent.status.streams}
    return {
        s.name
        for s in now.status.streams
        if before.get(s.name) != s or now.underway.get(s.name) != sent.underway.get(s.name)
    }


def _shown(seen: Sent) -> tuple[object, ...]:
    """All of it but the moments."""
    last = seen.status
    return (last.generation, last.on_disk, last.ready, last.receipts, last.streams, seen.underway)


def _more(stream: StreamStatus, cycle: Underway | None) -> Data:
    return {
        "ahead_since": instant(stream.ahead_since),
        "last_cycle": instant(stream.finished),
        "cycle": None if cycle is None else {"rows": cycle.rows, "expected": cycle.expected},
    }


def _history(rows: Rows) -> Data:
    streams: Mapping[str, list[int]] = rows.streams
    return {"start": instant(rows.start), "step_seconds": rows.step, "rows": dict(streams)}
