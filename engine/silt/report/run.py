"""Results of a run: a line a stream and a closing one, or DESIGN 10's object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from silt.replicate.model import RunResult, StreamResult
from silt.report import failure
from silt.report.layout import clip, pad, paragraph
from silt.report.units import SIGNS, counted, duration

_BAR: Final = 12


def line(result: StreamResult, *, name_width: int, width: int = 100) -> list[str]:
    """How one stream's cycle ended: `  readings  1,204,331 rows   v311   0.9 s`, or why it did not."""
    name = f"{SIGNS[result.state]} {pad(clip(result.name, name_width), name_width)}  "
    if result.error is not None:
        return _failed(result, name, width)
    lines = [name + _outcome(result)]
    for note in result.notes:
        lines += paragraph(note, width=width, first=" " * len(name))
    return lines


def _outcome(result: StreamResult) -> str:
    if result.state in ("waiting", "disabled"):
        return result.state
    if not result.batches:
        return "stopped" if result.stopped else "up to date"
    version = f"v{result.version}" if result.version is not None else ""
    stopped = ", stopped" if result.stopped else ""
    noun = "row" if result.rows == 1 else "rows"
    gone = f", {result.deleted:,} deleted" if result.deleted else ""
    return f"{result.rows:>11,} {noun:<4}   {version:<5}  {duration(result.seconds)}{gone}{stopped}".rstrip()


def _failed(result: StreamResult, name: str, width: int) -> list[str]:
    assert result.error is not None
    word = "held" if result.state == "held" else "failed"
    blank = " " * len(name)
    lines = paragraph(
        f"{word}: {failure.located(result.error, result.place)}", width=width, first=name, rest=blank
    )
    lines += paragraph(_what_was_written(result), width=width, first=blank)
    return lines + (paragraph(result.error.hint, width=width, first=blank) if result.error.hint else [])


def _what_was_written(result: StreamResult) -> str:
    if not result.batches:
        return "Nothing written, none lost."
    return f"{counted(result.rows, 'row')} of it written, none lost; the rest stays pending."


def running(
    name: str, rows: int, expected: int | None, rate: float, *, name_width: int, width: int = 100
) -> str:
    """A stream's line while it is read: `* t  ########----  6,120 / 8,715   71%   48,000 rows/s   eta 1 s`.

    `rate` in rows per second, 0 where it is not known yet.
    """
    speed = f"   {rate:,.0f} rows/s" if rate else ""
    head = f"{SIGNS['running']} {pad(clip(name, name_width), name_width)}  "
    if not expected:
        return clip(f"{head}{rows:>11,} rows{speed}", width)
    share = min(rows / expected, 1.0)
    bar = "#" * round(share * _BAR)
    eta = f"   eta {duration(max(expected - rows, 0) / rate)}" if rate else ""
    return clip(f"{head}{bar:-<{_BAR}}  {rows:,} / {expected:,}   {share:.0%}{speed}{eta}", width)


def closing(result: RunResult, *, target: str, look: str = "", stopped: bool = False) -> list[str]:
    """The last lines of `run --once`: how many streams, rows and commits; where; what to look at."""
    done = [s for s in result.streams if s.state not in ("failing", "held")]
    total = counted(len(result.streams), "stream")
    head = f"  {len(done):,} of {total}" if len(done) < len(result.streams) else f"  {total}"
    rows, commits = sum(s.rows for s in result.streams), sum(s.batches for s in result.streams)
    took = duration(result.seconds)
    if stopped:
        head = f"  stopped: {total}"
    if not commits and result.ok and not stopped:
        return [f"  {_up_to_date(result.streams)}{_also(result.streams)}, {took}"]
    deleted = sum(s.deleted for s in result.streams)
    gone = f", {deleted:,} deleted" if deleted else ""
    did = f"{counted(rows, 'row')}{gone}, {counted(commits, 'commit')}, {took}"
    lines = [f"{head}, {did} -> {target}{_also(result.streams)}"]
    return lines + ([f"  look: {look}"] if look and rows else [])


def _up_to_date(streams: Sequence[StreamResult]) -> str:
    """`11 streams up to date`, and how many of them where others wait or are disabled."""
    idle, total = sum(1 for s in streams if s.state == "ok"), counted(len(streams), "stream")
    if not idle:
        return "nothing to do"
    return f"{total} up to date" if idle == len(streams) else f"{idle:,} of {total} up to date"


def _also(streams: Sequence[StreamResult]) -> str:
    tally = {s: sum(1 for r in streams if r.state == s) for s in ("failing", "held", "waiting", "disabled")}
    names = {"failing": "failed", "held": "held", "waiting": "waiting", "disabled": "disabled"}
    words = ", ".join(f"{number:,} {names[state]}" for state, number in tally.items() if number)
    return f"; {words}" if words else ""


def again(result: StreamResult, read: int, *, width: int = 100) -> list[str]:
    """How reading rows again ended: `  readings: 1,000 rows read again, 12 written, v31`, and its notes."""
    written = (
        f"{result.rows:,} written, v{result.version}" if result.batches else "all are in the lake as they are"
    )
    stopped = "; stopped before the end: the same again goes on" if result.stopped else ""
    written = written if read else "none lies in it"
    noun = "row" if read == 1 else "rows"
    lines = paragraph(
        f"{result.name}: {read:,} {noun} read again, {written}{stopped}", width=width, first="  "
    )
    notes = (*result.notes, *(("nothing to read yet",) if result.state == "waiting" else ()))
    return lines + [line for note in notes for line in paragraph(note, width=width, first="  ")]


def data(result: RunResult) -> dict[str, object]:
    """`{"streams": [{"name", "table", "into", "rows", ...}], "ok"}` of DESIGN 10, notes and hints added."""
    return {
        "streams": [stream_data(s) for s in result.streams],
        "rows": sum(s.rows for s in result.streams),
        "seconds": round(result.seconds, 6),
        "ok": result.ok,
    }


def stream_data(result: StreamResult) -> dict[str, object]:
    """One stream's result for programs; `position` maps each database to its key."""
    return {
        "name": result.name,
        "table": result.table,
        "into": result.into,
        "rows": result.rows,
        "misfits": result.misfits,
        "deleted": result.deleted,
        "databases": result.databases,
        "batches": result.batches,
        "version": result.version,
        "position": positions(result.position),
        "seconds": round(result.seconds, 6),
        "state": result.state,
        "notes": list(result.notes),
        **failure.data(result.error, result.place),
    }


def positions(by_database: Mapping[str, Sequence[object]]) -> dict[str, list[object]]:
    """Positions as JSON has them: a BLOB as SQLite writes it, `x'00ff'`."""
    return {name: [_plain(v) for v in key] for name, key in by_database.items()}


def _plain(value: object) -> object:
    return f"x'{value.hex()}'" if isinstance(value, bytes) else value
