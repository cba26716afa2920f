"""Events of a running silt as log lines: one event a line, the same for people and for programs.

The kinds are those of MOCKUPS (`ready commit failing held ok waiting note changed stopping stopped`);
an event that changes nothing for the reader (a cycle that found no row) makes no line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from silt.errors import Contended
from silt.replicate.model import Committed, Event, Noted, Retrying
from silt.report import failure
from silt.report.units import counted, duration

Level = Literal["info", "warning", "error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a log: `kind` its first word, `text` for people, `fields` for programs."""

    kind: str
    text: str
    level: Level = "info"
    fields: Mapping[str, object] = field(default_factory=dict)


def of_event(event: Event) -> Line | None:
    """The line of an event of `replicate`; None where it is none of a log's business."""
    match event:
        case Committed() if event.rows or event.deleted:
            return _commit(event)
        case Retrying(error=error) if not isinstance(error, Contended):  # races settle themselves
            return _retrying(event)
        case Noted():
            return Line(kind="note", text=f"{event.stream}: {event.text}", fields={"stream": event.stream})
        case _:
            return None


def _commit(event: Committed) -> Line:
    misfits = f", {counted(event.misfits, 'misfit')} rescued" if event.misfits else ""
    several = f" of {counted(event.databases, 'database')}" if event.databases > 1 else ""
    fields = {
        "stream": event.stream,
        "into": event.into,
        "rows": event.rows,
        **({"misfits": event.misfits} if event.misfits else {}),
        **({"deleted": event.deleted} if event.deleted else {}),
        "databases": event.databases,
        "batch": event.batch,
        "version": event.version,
        "seconds": round(event.seconds, 6),
    }
    gone = f" -{event.deleted:,} rows" if event.deleted else ""
    words = f"{event.stream} +{event.rows:,} rows{gone}{several}{misfits}"
    words = f"{words} v{event.version} {duration(event.seconds)}"
    return Line(kind="commit", text=words, fields=fields)


def _retrying(event: Retrying) -> Line:
    words = f"{event.stream}: {failure.sentence(event.error)}, again in {duration(event.seconds)}"
    fields = {
        "stream": event.stream,
        "attempt": event.attempt,
        "seconds": round(event.seconds, 3),
        **failure.data(event.error),
    }
    return Line(kind="retry", text=words, level="warning", fields=fields)
