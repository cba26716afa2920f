"""The state of every stream now: as text in MOCKUPS' tone, or as DESIGN 10's object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from silt.manifest.model import Problem
from silt.report import reload
from silt.report.layout import Row, paragraph, signed, table
from silt.report.problems import headline, plain
from silt.report.units import SIGNS, count, counted, duration, instant, when
from silt.state import LastStatus, Receipt, Trouble

SHOWN_QUIET: Final = 12
"""Up to so many streams are all listed; of more, those that are ok share a line."""

TOLD: Final = 10
"""So many problems of a manifest that was refused are told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How one stream stands.

    Moments in seconds since the epoch; `behind_seconds` since the source was first seen ahead (0:
    the lake has every row; None: not known); `rows` were written in the last 24 hours.  `stale`:
    behind for longer than three of its intervals.  `notes`: what a waiting stream waits for.
    `on_change`: a write to the source wakes it, so `next` is only the latest moment.
    """

    name: str
    state: str
    behind_seconds: float | None = None
    pending_rows: int | None = None
    pending_at_least: int | None = None
    rows: int | None = None
    version: int | None = None
    last_commit: float | None = None
    next: float | None = None
    tries: int = 0
    failing_since: float | None = None
    error: str | None = None
    hint: str | None = None
    notes: tuple[str, ...] = ()
    on_change: bool = False
    stale: bool = False

    @property
    def ok(self) -> bool:
        return self.state not in ("failing", "held") and not self.stale


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Every stream's standing, and what runs them.

    `pid` is the process that holds the lock, None when none does; `generation` the manifest's in
    that process; `on_disk` is `same` where it runs what the file says, `newer` where it has not taken that
    over, `refused` where it did not want to, for these `problems` (None: nothing runs, and nothing is wrong
    with it).  `receipts` are those of edits, the newest last.
    """

    path: str
    title: str
    now: float
    streams: tuple[Standing, ...]
    pid: int | None = None
    since: float | None = None
    generation: int | None = None
    on_disk: str | None = None
    problems: tuple[Problem | Trouble, ...] = ()
    receipts: tuple[Receipt, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return all(s.ok for s in self.streams)


def refused_for(last: LastStatus) -> tuple[Trouble, ...]:
    """Why the manifest on disk does not run, by the newest receipt; nothing where it was not refused."""
    newest = last.receipts[-1] if last.on_disk == "refused" and last.receipts else None
    return newest.problems if newest else ()


# --- text -----------------------------------------------------------------------------------------


def text(status: Status, *, width: int = 100, every: bool = False) -> list[str]:
    """What `silt status` prints: who runs it, a line a stream, what is wrong, a count of states.

    `every` gives each stream a line of its own, however many are ok.
    """
    loud = [s for s in status.streams if not s.ok or s.state == "waiting"]
    shown = status.streams if every or len(status.streams) <= SHOWN_QUIET else tuple(loud)
    troubles = [line for standing in loud for line in _trouble(standing, status, width)]
    blocks = (_head(status, width), _table(status, shown, width), troubles, [_tally(status)])
    return "\n\n".join("\n".join(block) for block in blocks if block).split("\n")


def _head(status: Status, width: int) -> list[str]:
    if status.pid is None:
        lines = [f"{status.title}: not running"]
    else:
        since = f" since {when(status.since, status.now)}" if status.since else ""
        generation = f", generation {status.generation}" if status.generation else ""
        lines = [f"{status.title}: running{since} (pid {status.pid}){generation}"]
    lines += _last_edit(status, width)
    lines += _on_disk(status, width)
    for note in status.notes:
        lines += paragraph(note, width=width, first="note  ")
    return lines


def _last_edit(status: Status, width: int) -> list[str]:
    """The last edit that was taken over, as the log told it."""
    applied = next((r for r in reversed(status.receipts) if r.result == "applied"), None)
    if applied is None:
        return []
    first, *_ = reload.text(applied)
    return paragraph(first, width=width, first=f"{when(applied.at, status.now)} ")


def _on_disk(status: Status, width: int) -> list[str]:
    """What is to be said of a manifest that is not the one that runs."""
    if status.on_disk not in ("newer", "refused"):
        return []
    refusals = [r.at for r in status.receipts if r.result == "refused"]
    at = f" at {when(refusals[-1], status.now)}" if refusals else ""
    if status.generation is None:
        words = "The file on disk is refused; shown is the last that ran."
    elif status.on_disk == "refused":
        words = f"The file on disk is newer and was refused{at}; generation {status.generation} runs on."
    else:
        words = f"The file on disk is newer than what runs; generation {status.generation} runs on."
    more = len(status.problems) - TOLD
    told = [headline(p) for p in status.problems[:TOLD]]
    told += [f"and {counted(more, 'more problem')}: silt validate tells all"] if more > 0 else []
    lines = paragraph(words, width=width, first="! ")
    return lines + [line for each in told for line in paragraph(each, width=width, first="  ")]


def _table(status: Status, shown: Sequence[Standing], width: int) -> list[str]:
    rest = [s for s in status.streams if s not in shown]
    if not status.streams:
        return ["  no streams"]
    head: Row = ("stream", "state", "behind", "pending", "rows 24 h", "last commit", "next")
    rows = [head, *(_cells(s, status) for s in shown)]
    if rest:
        rows.append(_others(rest, status))
    drawn = table(rows, right={3, 4}, width=width - 2)
    signs = [" ", *(_sign(s) for s in shown), *([" "] if rest else [])]
    return [signed(sign, line) for sign, line in zip(signs, drawn, strict=True)]


def _sign(standing: Standing) -> str:
    return "!" if standing.stale and standing.state in ("ok", "running") else SIGNS.get(standing.state, " ")


def _cells(s: Standing, status: Status) -> Row:
    state = "stale" if s.stale and s.state == "ok" else s.state
    last = when(s.last_commit, status.now)
    return (s.name, state, _behind(s), _pending(s), count(s.rows), last, _next(s, status))


def _behind(s: Standing) -> str:
    if s.behind_seconds is None:
        return "?"
    ahead = s.behind_seconds or s.pending_rows or s.pending_at_least
    return duration(s.behind_seconds) if ahead else "-"


def _pending(s: Standing) -> str:
    if s.pending_rows is None and s.pending_at_least:
        return f">{s.pending_at_least:,}"
    return count(s.pending_rows)


def _next(s: Standing, status: Status) -> str:
    if s.state == "held":
        return "needs you"
    if status.pid is None or s.next is None:
        return "-"
    if s.on_change and s.state in ("ok", "running"):
        return "on change"
    return f"in {duration(s.next - status.now)}" if s.next > status.now + 1 else "now"


def _others(rest: Sequence[Standing], status: Status) -> Row:
    known = [s.rows for s in rest if s.rows is not None]
    commits = [s.last_commit for s in rest if s.last_commit is not None]
    pending = sum(s.pending_rows or 0 for s in rest)
    behind = max((s.behind_seconds or 0 for s in rest), default=0.0)
    return (
        f"{len(rest):,} more",
        "ok",
        duration(behind) if behind else "-",
        count(pending),
        count(sum(known) if known else None),
        when(max(commits, default=None), status.now),
        "",
    )


def _trouble(s: Standing, status: Status, width: int) -> list[str]:
    first = f"{_sign(s)} {s.name}  "
    if s.error is not None:
        tries = f"{s.tries} tries since {when(s.failing_since, status.now)}: " if s.tries > 1 else ""
        return paragraph(f"{tries}{s.error}" + (f". {s.hint}" if s.hint else ""), width=width, first=first)
    if s.notes:
        return paragraph("; ".join(s.notes), width=width, first=first)
    if s.stale:
        words = "rows are pending and nothing has taken them for longer than three of its intervals"
        return paragraph(words, width=width, first=first)
    return []


def _tally(status: Status) -> str:
    names = ("ok", "running", "waiting", "failing", "held", "disabled")
    tally = [(sum(1 for s in status.streams if s.state == n), n) for n in names]
    words = [f"{number:,} {name}" for number, name in tally if number]
    stale = sum(1 for s in status.streams if s.stale)
    return ", ".join(words + ([f"{stale:,} stale"] if stale else [])) or "nothing to run"


# --- JSON -----------------------------------------------------------------------------------------


def data(status: Status) -> dict[str, Any]:
    """`{"manifest": {"generation", "on_disk", "problems"}, "streams": [...], "ok"}` of DESIGN 10."""
    return {
        "manifest": {
            "path": status.path,
            "generation": status.generation,
            "on_disk": status.on_disk,
            "problems": [plain(p) for p in status.problems],
            "pid": status.pid,
            "running_since": instant(status.since),
        },
        "streams": [_stream(s) for s in status.streams],
        "receipts": [reload.data(r) for r in reversed(status.receipts)],
        "notes": list(status.notes),
        "ok": status.ok,
    }


def _stream(s: Standing) -> dict[str, object]:
    return {
        "name": s.name,
        "state": s.state,
        "stale": s.stale,
        "behind_seconds": None if s.behind_seconds is None else round(s.behind_seconds, 3),
        "pending_rows": s.pending_rows,
        "pending_at_least": s.pending_at_least,
        "rows": s.rows,
        "version": s.version,
        "last_commit": instant(s.last_commit),
        "next": instant(s.next),
        "tries": s.tries,
        "failing_since": instant(s.failing_since),
        "error": s.error,
        "hint": s.hint,
        "notes": list(s.notes),
        "on_change": s.on_change,
    }
