"""Problems as text, and the error that carries all of them at once."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Final

from silt.errors import UserError
from silt.manifest.model import Problem

MAX_PROBLEMS: Final = 200
"""So many of one kind are told: a file with more is no manifest that somebody mistyped."""

LISTED: Final = 10
"""So many names are told in a hint."""


class ManifestInvalid(UserError):
    """A manifest that cannot run: `problems` holds everything found, sorted by place."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = in_order(problems)
        count = len(self.problems)
        first = self.problems[0]
        super().__init__(
            f"the manifest has {count} problem{'' if count == 1 else 's'}",
            why=_headline(first),
            hint=first.hint if count == 1 else "",
        )


def in_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Each problem once, sorted by file, line, column, pointer."""
    return tuple(
        sorted(dict.fromkeys(problems), key=lambda p: (p.file, p.line, p.column, p.pointer, p.message))
    )


def problems_text(problems: Iterable[Problem]) -> str:
    """`file:line:column: pointer: message (hint)` with the source line and a caret under it (DESIGN 3)."""
    return "\n".join(_text(problem) for problem in in_order(problems))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`did you mean 'mirror'?` for the closest of `known`, or nothing."""
    names = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), names, n=1, cutoff=0.6)
    return f"did you mean '{names[close[0]]}'?" if close else ""


def streams_are(names: Sequence[str]) -> str:
    """`streams are: a, b`: the first ten, and how many more there are."""
    more = f" and {len(names) - LISTED:,} more" if len(names) > LISTED else ""
    return f"streams are: {', '.join(names[:LISTED])}{more}" if names else "the manifest makes no stream"


def _text(problem: Problem) -> str:
    hint = f" ({problem.hint})" if problem.hint else ""
    line = problem.source_line.replace("\t", " ")
    if not line.strip():
        return _headline(problem) + hint
    begin = max(problem.column - 80, 0) if len(line) > 120 else 0
    caret = " " * (problem.column - 1 - begin) + "^"
    return f"{_headline(problem)}{hint}\n    {line[begin : begin + 120]}\n    {caret}"


def _headline(problem: Problem) -> str:
    pointer = f"{problem.pointer}: " if problem.pointer else ""
    return f"{problem.file}:{problem.line}:{problem.column}: {pointer}{problem.message}"
