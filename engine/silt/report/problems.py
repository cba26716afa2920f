"""Problems of manifests: as text with the line itself, as JSON, as GitHub annotations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal

from silt.errors import SiltError
from silt.manifest.model import Problem, Stream
from silt.manifest.problems import in_order
from silt.plan.model import Outlook, Plan
from silt.report import failure
from silt.report.layout import columns
from silt.report.plan import entries
from silt.report.units import counted
from silt.state import Trouble

Level = Literal["error", "warning"]

EXCERPT: Final = 76
"""So many characters of a line are shown: a manifest of one long line must not flood the terminal."""


def headline(problem: Problem | Trouble) -> str:
    """`plant.yaml:31:11: streams.settings.mode: 'miror' is not one of ... (hint)`."""
    place = f"{problem.file}:{problem.line}:{problem.column}" if problem.line else problem.file
    pointer = f"{problem.pointer}: " if problem.pointer else ""
    hint = f" ({problem.hint})" if problem.hint else ""
    return f"{place}: {pointer}{problem.message}{hint}"


def text(problems: Sequence[Problem], *, level: Level = "error") -> list[str]:
    """Each problem's headline, the line that it is on, and a mark under its column."""
    lead = "warning: " if level == "warning" else ""
    lines: list[str] = []
    for problem in problems:
        lines.append(lead + headline(problem))
        lines += _excerpt(problem)
    return lines


def _excerpt(problem: Problem) -> list[str]:
    source = problem.source_line.rstrip("\n")
    if not source.strip():
        return []
    number = f"{problem.line:>5} | "
    source, before = _around(source, max(problem.column - 1, 0))
    # A tab stays a tab under it, so that the mark stands under its character whatever a tab's width is.
    blank = "".join("\t" if c == "\t" else " " * columns(c) for c in before)
    return [number + source, " " * 5 + " | " + blank + "^"]


def _around(source: str, index: int) -> tuple[str, str]:
    """What is shown of a line, EXCERPT characters around `index`, and what of it is before."""
    begin = max(index - EXCERPT // 2, 0) if len(source) > EXCERPT else 0
    end = begin + EXCERPT
    head, tail = ".." if begin else "", ".." if end < len(source) else ""
    return head + source[begin:end] + tail, head + source[begin:index]


def of_plan(plan: Plan, outlooks: Sequence[Outlook], denied: Mapping[str, SiltError]) -> tuple[Problem, ...]:
    """Everything that planning refuses, each at the place that it is about, else at its stream; once each.

    `denied` are the streams whose tables could not be written.
    """
    found = [
        problem_of(entry.plan.stream, error)
        for entry in entries(plan, outlooks)
        for error in (*entry.errors, *filter(None, [denied.get(entry.plan.stream.name)]))
    ]
    return in_order(found)


def problem_of(stream: Stream, error: SiltError) -> Problem:
    """An error of a stream as a problem of its manifest."""
    place = stream.place(error.setting)
    assert place is not None  # the stream itself stands somewhere
    return place.problem(failure.sentence(error), error.hint)


def summary(paths: int, problems: Sequence[Problem]) -> str:
    """How a validation of `paths` manifests ended, in one line."""
    if not problems:
        return f"{counted(paths, 'manifest')} valid"
    files = len({problem.file for problem in problems})
    return f"{counted(len(problems), 'problem')} in {counted(files, 'file')}"


def data(problems: Sequence[Problem], warnings: Sequence[Problem] = ()) -> dict[str, object]:
    """`{"valid", "problems": [{"file", "line", "column", "pointer", "message", "hint"}]}` (DESIGN 10)."""
    return {
        "valid": not problems,
        "problems": [plain(p) for p in problems],
        "warnings": [plain(p) for p in warnings],
    }


def plain(problem: Problem | Trouble) -> dict[str, object]:
    """One problem as `--json` has it."""
    return {
        "file": problem.file,
        "line": problem.line or None,
        "column": problem.column or None,
        "pointer": problem.pointer,
        "message": problem.message,
        "hint": problem.hint or None,
    }


def github(problems: Sequence[Problem], *, level: Level = "error") -> list[str]:
    """Workflow commands: one annotation a problem, at its line."""
    return [_annotation(p, level) for p in problems]


def _annotation(problem: Problem, level: Level) -> str:
    fields = {"file": problem.file, "title": f"silt: {problem.pointer}" if problem.pointer else "silt"}
    if problem.line:
        fields |= {"line": str(problem.line), "col": str(problem.column)}
    written = ",".join(f"{name}={_escape(value, ':,')}" for name, value in fields.items())
    hint = f" ({problem.hint})" if problem.hint else ""
    return f"::{level} {written}::{_escape(problem.message + hint)}"


def _escape(value: str, more: str = "") -> str:
    """`value` with the characters percent-encoded that GitHub's workflow commands reserve."""
    return "".join(f"%{ord(c):02X}" if c in "%\r\n" + more else c for c in value)
