"""What a YAML error means, in a sentence, at the place where the slip was made (DESIGN 3)."""

from __future__ import annotations

import re
from typing import Any

from silt.manifest.redact import guessed

Slip = tuple[int, int, str, str]
"""Line, column (from 1), what is wrong, what to do."""


def explain(error: Any, lines: tuple[str, ...]) -> Slip:
    """An error of PyYAML -> where and what; `lines` are the text's.

    Only the common slips are recognised; any other error keeps the library's own words.
    """
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is None:
        return _unreadable(error, lines)
    line, column = mark.line + 1, mark.column + 1
    text, shown = (each[mark.line] if mark.line < len(each) else "" for each in (lines, guessed(lines)))
    problem, context = str(getattr(error, "problem", "") or ""), str(getattr(error, "context", "") or "")
    return (
        _tab(line, column, text, problem)
        or _star(line, column, context)
        or _unquoted_variable(error, lines, context)
        or _unclosed(error, context)
        or _unfinished(lines, context)
        or _indent(line, column, shown, problem, context)
        or (line, column, f"not YAML: {problem or context}", "")
    )


def _unreadable(error: Any, lines: tuple[str, ...]) -> Slip:
    """A character that YAML does not allow; PyYAML gives its position in the text."""
    position = getattr(error, "position", None)
    character = getattr(error, "character", "")
    if not isinstance(position, int):
        return 1, 1, f"not YAML: {str(error).splitlines()[0] if str(error) else type(error).__name__}", ""
    line = 1
    for written in lines:
        if position <= len(written):
            break
        position, line = position - len(written) - 1, line + 1
    code = character if isinstance(character, int) else ord(character or "\0")
    return line, position + 1, f"the control character U+{code:04X} is not allowed in YAML", "remove it"


def _tab(line: int, column: int, text: str, problem: str) -> Slip | None:
    if "\t" not in text[:column] or not (
        "\\t" in problem or "token" in problem or text[: column - 1].strip() == ""
    ):
        return None
    return line, text.index("\t") + 1, "a tab: YAML is indented with spaces", "replace it with spaces"


def _star(line: int, column: int, context: str) -> Slip | None:
    if "alias" not in context:
        return None
    return line, max(column - 1, 1), "an unquoted * begins an alias in YAML", "quote a pattern: '*'"


def _unquoted_variable(error: Any, lines: tuple[str, ...], context: str) -> Slip | None:
    """`{path: ${X}}`: inside { } and [ ], YAML ends a plain value at the brace."""
    opening = getattr(error, "context_mark", None)
    if opening is None or "flow" not in context:
        return None
    for number in range(opening.line, min(error.problem_mark.line + 1, len(lines))):
        begin = opening.column if number == opening.line else 0
        found = re.search(r"[:,\[]\s*(\$\{)", lines[number][begin:])
        if found:
            column = begin + found.start(1) + 1
            return number + 1, column, "a value with ${ } inside { } or [ ] must be quoted", 'write "${...}"'
    return None


def _unclosed(error: Any, context: str) -> Slip | None:
    opening = getattr(error, "context_mark", None)
    if opening is None:
        return None
    if "flow mapping" in context or "flow sequence" in context:
        bracket, closing = ("{", "}") if "mapping" in context else ("[", "]")
        return (
            opening.line + 1,
            opening.column + 1,
            f"this {bracket} is not closed",
            f"add the {closing}, or a comma",
        )
    if "quoted scalar" in context:
        return opening.line + 1, opening.column + 1, "this quote is not closed", "add the closing quote"
    return None


_FLOW = re.compile(r"""'(?:[^']|'')*'|"(?:[^"\\]|\\.)*"|(?:^|\s)\#.*|(?P<bracket>[\[\]{}])""", re.MULTILINE)


def _unfinished(lines: tuple[str, ...], context: str) -> Slip | None:
    """The text ends where `[` or `{` waits for a value: libyaml gives the end, and no opening."""
    if "flow node" not in context:
        return None
    text, openings = "\n".join(lines), list[re.Match[str]]()
    for found in _FLOW.finditer(text):
        if (found["bracket"] or " ") in "[{":
            openings.append(found)
        elif found["bracket"] and openings:
            openings.pop()
    if not openings:
        return None
    before, bracket = text[: openings[-1].start()], openings[-1]["bracket"]
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    return line, column, f"this {bracket} is not closed", f"add the {']' if bracket == '[' else '}'}"


def _indent(line: int, column: int, text: str, problem: str, context: str) -> Slip | None:
    if "mapping values are not allowed" in problem:
        return (
            line,
            column,
            "a second ': ' in one value, or a line indented too far",
            "quote a value that holds ': '",
        )
    if "parsing a block" in context or "could not find expected ':'" in problem:
        what = f"{text.strip()!r} does not line up with the keys above it, or lacks its ': '"
        return line, column, what, "give keys of one map the same indentation, and write key: value"
    return None
