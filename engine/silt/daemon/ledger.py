"""How every stream fared: what the status file holds, and what is worth a log line."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final

from silt.manifest.model import Manifest, Stream
from silt.replicate.model import RunResult, StreamResult
from silt.report import failure
from silt.report.events import Line
from silt.report.units import count, counted, duration
from silt.state import LastStatus, StateDir, StreamStatus

LONG: Final = 1.0
"""Seconds after which a cycle under way has rows to read, for all that is known."""

_MOMENTS: Final = ("finished", "caught_up", "ahead_since", "committed", "next", "failing_since")


@dataclass(slots=True)
class Ledger:
    """How every stream fared, in wall-clock seconds: what the status file holds and the log says."""

    streams: dict[str, StreamStatus] = field(default_factory=dict)
    _before: dict[str, StreamStatus] = field(default_factory=dict)
    _began: dict[str, float] = field(default_factory=dict)
    _rounds: dict[str, float] = field(default_factory=dict)

    def keep(self, streams: Iterable[Stream]) -> None:
        """Forget what is not in `streams`, and begin those that are new."""
        self.streams = {s.name: self._kept(s) for s in streams}
        self._before = {name: before for name, before in self._before.items() if name in self.streams}
        running = {name for name, status in self.streams.items() if status.state != "disabled"}
        self._rounds = {name: since for name, since in self._rounds.items() if name in running}

    def _kept(self, stream: Stream) -> StreamStatus:
        known = self.streams.get(stream.name) or StreamStatus(name=stream.name, state="ok")
        if not stream.enabled:
            return replace(known, state="disabled", next=None)
        return replace(known, state="ok") if known.state == "disabled" else known

    def remember(self, last: LastStatus | None) -> None:
        """Take over what the process before knew: since when a stream fails is older than this process."""
        for old in last.streams if last else ():
            if old.name in self.streams and old.failing_since is not None:
                self.streams[old.name] = replace(old, state="ok", next=None)

    def started(self, name: str, now: float) -> None:
        """`name` runs now."""
        self._before[name] = self.streams[name]
        self._began[name] = now
        self.streams[name] = replace(self.streams[name], state="running")

    def standing(self, now: float) -> tuple[StreamStatus, ...]:
        """How every stream stands: one whose cycle takes a while may be behind since it began."""
        return tuple(self._standing(status, now) for status in self.streams.values())

    def _standing(self, status: StreamStatus, now: float) -> StreamStatus:
        began = self._began.get(status.name, now)
        if status.state != "running" or now - began < LONG:
            return status
        return replace(status, ahead_since=status.ahead_since or began, pending_rows=None)

    def shift(self, seconds: float) -> None:
        """The wall clock was set by so much: what was told by the one before moves with it."""
        self.streams = {name: _shifted(status, seconds) for name, status in self.streams.items()}
        self._before = {name: _shifted(status, seconds) for name, status in self._before.items()}
        self._began = {name: moment + seconds for name, moment in self._began.items()}
        self._rounds = {name: moment + seconds for name, moment in self._rounds.items()}

    def ended(
        self,
        result: StreamResult,
        *,
        began: float,
        now: float,
        next_in: float,
        pending_rows: int | None = None,
    ) -> Line | None:
        """Remember `result`; the line that says what changed for the reader, None where nothing did."""
        before = self._before.pop(result.name, self.streams[result.name])  # none: it left, and came back
        self._began.pop(result.name, None)
        since = self._rounds.setdefault(result.name, began)  # of its first turn
        if not result.stopped:
            del self._rounds[result.name]
        after = _status(result, before, began=since, now=now, due=now + next_in)
        after = replace(after, pending_rows=pending_rows)
        self.streams[result.name] = after
        return _transition(result, before, after, next_in)


def _status(
    result: StreamResult, before: StreamStatus, *, began: float, now: float, due: float
) -> StreamStatus:
    bad = result.state in ("failing", "held")
    behind = bad or result.stopped
    error = result.error
    if result.stopped and not bad and before.failing_since is not None:
        return _undecided(result, before, now=now, due=due)
    return StreamStatus(
        name=result.name,
        state="ok" if result.state == "running" else result.state,
        rows=before.rows + result.rows,
        version=result.version if result.version is not None else before.version,
        finished=now,
        committed=now if result.rows else before.committed,
        caught_up=before.caught_up if behind else began,
        ahead_since=(before.ahead_since or began) if behind else None,
        next=due,
        tries=before.tries + (not result.stopped) if bad else 0,
        failing_since=(before.failing_since or began) if bad else None,
        error=failure.located(error, result.place) if error else None,
        hint=error.hint or None if error else None,
        notes=result.notes if result.state == "waiting" else (),
    )


def _shifted(status: StreamStatus, seconds: float) -> StreamStatus:
    told = {name: getattr(status, name) for name in _MOMENTS}
    return replace(status, **{name: at + seconds for name, at in told.items() if at is not None})


def _undecided(result: StreamResult, before: StreamStatus, *, now: float, due: float) -> StreamStatus:
    """A turn of a stream that failed: what failed may not have been visited again yet."""
    return replace(
        before,
        rows=before.rows + result.rows,
        version=result.version if result.version is not None else before.version,
        finished=now,
        committed=now if result.rows else before.committed,
        next=due,
    )


def _transition(
    result: StreamResult, before: StreamStatus, after: StreamStatus, next_in: float
) -> Line | None:
    if after.state in ("failing", "held"):
        return _bad_news(after, next_in) if _is_news(before, after) else None
    fields: dict[str, object] = {"stream": after.name, "rows": result.rows}
    if before.failing_since is not None and after.finished is not None:
        away = after.finished - before.failing_since
        caught = f", {counted(result.rows, 'row')} caught up" if result.rows else ""
        return Line(kind="ok", text=f"{after.name}: back after {duration(away)}{caught}", fields=fields)
    if result.batches > 1:
        words = f"{after.name}: {counted(result.rows, 'row')} in {counted(result.batches, 'commit')}"
        fields |= {"commits": result.batches, "version": after.version, "seconds": round(result.seconds, 6)}
        return Line(kind="cycle", text=f"{words}, {duration(result.seconds)}", fields=fields)
    if after.state == "waiting" and before.state != "waiting":
        why = f": {'; '.join(result.notes)}" if result.notes else ""
        return Line(kind="waiting", text=f"{after.name}{why}", fields=fields)
    return None


def _is_news(before: StreamStatus, after: StreamStatus) -> bool:
    """A new failure is; the same one only at its 2nd, 4th, 8th ... try, and a hold once."""
    if (before.error, before.failing_since is None) != (after.error, False):
        return True
    again = after.tries != before.tries
    return again and after.state == "failing" and after.tries & (after.tries - 1) == 0


def _bad_news(after: StreamStatus, next_in: float) -> Line:
    again = f", again in {duration(next_in)}" if after.state == "failing" else ""
    tries = f" ({count(after.tries)} tries)" if after.tries > 1 and after.state == "failing" else ""
    hint = f". {after.hint}" if after.hint else ""
    return Line(
        kind=after.state,
        text=f"{after.name}: {after.error}{tries}{again}{hint}",
        level="error" if after.state == "held" else "warning",
        fields={"stream": after.name, "tries": after.tries, "error": after.error, "hint": after.hint},
    )


# --- after `run --once` ---------------------------------------------------------------------------


def remember(state: StateDir, manifest: Manifest, result: RunResult, *, started: float) -> str:
    """Write the last status after a single pass; a warning where it cannot be written, else empty.

    Streams that this pass did not select keep what was known of them.
    """
    before = state.read()
    known = {s.name: s for s in before.streams} if before else {}
    now = time.time()
    for one in result.streams:
        old = known.get(one.name) or StreamStatus(name=one.name, state="ok")
        known[one.name] = replace(_status(one, old, began=started, now=now, due=now), next=None)
    status = LastStatus(
        manifest=manifest.path,
        digest=manifest.digest,
        generation=1,
        pid=os.getpid(),
        started=started,
        written=now,
        loop=False,
        stopped=True,
        streams=tuple(known.values()),
    )
    return state.write(status)
