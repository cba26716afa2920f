"""How streams stand by what a running silt says of itself: no lake and no source is looked at."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Final

from silt.report.status import Standing, Status, refused_for
from silt.state import LastStatus, StreamStatus

STATES: Final = ("ok", "running", "waiting", "failing", "held", "disabled")
"""The one set of states (DESIGN 10)."""


def behind(stream: StreamStatus, now: float) -> float | None:
    """Seconds since the source was first seen ahead; 0 when it is not, None before the first cycle."""
    if stream.ahead_since is not None:
        return max(now - stream.ahead_since, 0.0)
    return 0.0 if stream.caught_up is not None else None


def pending(stream: StreamStatus) -> int | None:
    """Rows that wait in the source; None where that is not known."""
    if stream.pending_rows is not None:
        return stream.pending_rows
    return 0 if stream.ahead_since is None and stream.caught_up is not None else None


def status_of(
    last: LastStatus,
    *,
    title: str,
    now: float,
    rows: Mapping[str, int],
    on_change: Container[str] = (),
) -> Status:
    """A running silt's own account: `rows` of 24 hours by stream, `on_change` those that a write wakes."""
    return Status(
        path=last.manifest,
        title=title,
        now=now,
        streams=tuple(
            _standing(s, now, rows.get(s.name, 0), on_change=s.name in on_change) for s in last.streams
        ),
        pid=last.pid,
        since=last.started,
        generation=last.generation,
        on_disk=last.on_disk,
        problems=refused_for(last),
        receipts=last.receipts,
    )


def _standing(stream: StreamStatus, now: float, rows: int, *, on_change: bool) -> Standing:
    return Standing(
        name=stream.name,
        state=stream.state,
        behind_seconds=behind(stream, now),
        pending_rows=pending(stream),
        rows=rows,
        version=stream.version,
        last_commit=stream.committed,
        next=stream.next,
        tries=stream.tries,
        failing_since=stream.failing_since,
        error=stream.error,
        hint=stream.hint,
        notes=stream.notes,
        on_change=on_change,
    )
