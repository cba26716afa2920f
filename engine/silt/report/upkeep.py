"""What upkeep did: a line a table and task, the object of `silt maintain --json`, a line of the log."""

from __future__ import annotations

from collections.abc import Sequence

from silt.replicate.upkeep import Chore, Upkept
from silt.report import failure
from silt.report.events import Line
from silt.report.layout import clip, pad, paragraph
from silt.report.units import counted, duration, size


def text(chore: Chore, results: Sequence[Upkept], *, name_width: int, width: int = 100) -> list[str]:
    """A table's lines: `  readings  288 small files, 3.1 MB -> 1 file   v300   0.2 s`, or why not."""
    name = f"  {pad(clip(chore.into, name_width), name_width)}  "
    if not results:
        return [f"{name}left alone: maintenance is off"]
    lines: list[str] = []
    for result in results:
        lead = f"x{name[1:]}" if result.outcome == "failed" else name
        lines += paragraph(_sentence(result), width=width, first=lead, rest=" " * len(name))
        if result.error is not None and result.outcome == "failed" and result.error.hint:
            lines += paragraph(result.error.hint, width=width, first=" " * len(name))
    return lines


def _sentence(result: Upkept) -> str:
    match result.outcome:
        case "done":
            version = f"   v{result.version}" if result.version is not None else ""
            return f"{_what(result)}{version}   {duration(result.seconds)}"
        case "would":
            return f"{_what(result)} (would)"
        case "nothing":
            return f"{result.task}: nothing to do"
        case "busy":
            why = f": {failure.sentence(result.error)}" if result.error else ""
            return f"{result.task}: left to another that is at it{why}"
        case "failed":
            assert result.error is not None
            return f"{result.task} failed: {failure.sentence(result.error)}"


def _what(result: Upkept) -> str:
    """`288 small files, 3.1 MB -> 1 file`; `12 files removed, 40 kB`."""
    much = f", {size(result.bytes)}" if result.bytes is not None else ""
    if result.task == "vacuum":
        return f"{counted(result.before, 'file')} removed{much}"
    became = f" -> {counted(result.after, 'file')}" if result.after is not None else ""
    return f"{counted(result.before, 'small file')}{much}{became}"


def log_line(result: Upkept) -> Line | None:
    """The line of a log; None where there is nothing that a reader would want to know."""
    fields = data(result)
    match result.outcome:
        case "done":
            words = " ".join(_sentence(result).split())
            return Line(kind=result.task, text=f"{result.into}: {words}", fields=fields)
        case "failed":
            words = f"{result.into}: {_sentence(result)}"
            return Line(kind=result.task, text=words, level="warning", fields=fields)
        case _:
            return None


def data(result: Upkept) -> dict[str, object]:
    """One task of one table for programs."""
    return {
        "into": result.into,
        "target": result.target,
        "streams": list(result.streams),
        "task": result.task,
        "outcome": result.outcome,
        "files_before": result.before,
        "files_after": result.after,
        "bytes": result.bytes,
        "version": result.version,
        "seconds": round(result.seconds, 6),
        **failure.data(result.error),
    }
