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
        _depth(line, column, problem)
        or _tab(line, column, text, problem)
        or _escape(line, column, problem)
        or _first_character(line, column, text, problem, context)
        or _unquoted_variable(error, lines, context)
        or _unclosed(error, lines, context)
        or _after_quote(line, column, text, context)
        or _no_space(error, lines, problem)
        or _second_colon(line, column, lines, problem)
        or _no_key(error, lines)
        or _indent(line, column, shown, problem, context)
        or _second_document(line, problem)
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


def _depth(line: int, column: int, problem: str) -> Slip | None:
    return (line, column, "nested too deep", "is this a manifest?") if "nesting depth" in problem else None


def _escape(line: int, column: int, problem: str) -> Slip | None:
    if "escape" not in problem:
        return None
    return line, column, "a backslash in double quotes begins an escape", "use single quotes, or write \\\\"


def _first_character(line: int, column: int, text: str, problem: str, context: str) -> Slip | None:
    """A value that begins with a character that means something else in YAML."""
    if "alias" in context:
        return line, max(column - 1, 1), "an unquoted * begins an alias in YAML", "quote a pattern: '*'"
    if "anchor" in context:
        return line, max(column - 1, 1), "an unquoted & begins an anchor in YAML", "quote the value"
    if "block scalar" in context:
        begin = max(text.rfind(">", 0, column), text.rfind("|", 0, column)) + 1
        what = f"an unquoted {text[begin - 1 : begin]} at the start of a value begins a block of text in YAML"
        return line, begin, what, "quote the value, or begin it on the next line"
    if "cannot start any token" in problem:
        return line, column, f"a value cannot begin with {text[column - 1 : column]} in YAML", "quote it"
    return None


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


def _unclosed(error: Any, lines: tuple[str, ...], context: str) -> Slip | None:
    opening = getattr(error, "context_mark", None)
    if "flow node" in context:
        return _no_value(error, lines)
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


def _no_value(error: Any, lines: tuple[str, ...]) -> Slip:
    """Nothing where a bracket or a comma wants a value: the text ends, or the next comma follows."""
    line, column = error.problem_mark.line, error.problem_mark.column
    rest = "\n".join((lines[line][column:] if line < len(lines) else "", *lines[line + 1 :]))
    opening = _innermost(lines[: line + 1])
    if opening and not re.sub("#.*", "", rest).strip():
        bracket, closing = (opening[2], {"[": "]", "{": "}"}[opening[2]])
        return opening[0], opening[1], f"this {bracket} is not closed", f"add the {closing}"
    return line + 1, column + 1, f"a value is missing before {rest[:1]!r}", "write it, or remove the comma"


_FLOW = re.compile(r"""'(?:[^']|'')*'|"(?:[^"\\]|\\.)*"|(?:^|\s)\#.*|(?P<bracket>[\[\]{}])""", re.MULTILINE)


def _innermost(lines: tuple[str, ...]) -> tuple[int, int, str] | None:
    """Line, column (from 1) and character of the last bracket that nothing closes."""
    text, openings = "\n".join(lines), list[re.Match[str]]()
    for found in _FLOW.finditer(text):
        if (found["bracket"] or " ") in "[{":
            openings.append(found)
        elif found["bracket"] and openings:
            openings.pop()
    if not openings:
        return None
    before = text[: openings[-1].start()]
    return before.count("\n") + 1, len(before) - before.rfind("\n"), openings[-1]["bracket"]


def _after_quote(line: int, column: int, text: str, context: str) -> Slip | None:
    """`where: "name" = 'x'`: a value that begins with a quote ends with the next one."""
    quoted = re.search(r"""(?:^|:\s|-\s)\s*(["'])(?:(?!\1).)*\1\s*$""", text[: column - 1])
    if "parsing a block" not in context or quoted is None:
        return None
    hint = "put the whole value into the other kind of quotes"
    return line, column, "text after the closing quote of a value", hint


NO_SPACE = "a space is missing after the colon"
_TIGHT = re.compile(r"""\s*(?:-\s+)*[\w.*-]+(:)(?![\s/\\:]|$)""")
"""`mode:append`: one word to YAML; a URI or a drive's path is none of these."""


def tight_colon(text: str) -> int | None:
    """The column, from 1, of a colon behind a key that lacks its space; None where there is none."""
    found = _TIGHT.match(text)
    return found.start(1) + 1 if found and not re.search(r":\s", text[: found.end()]) else None


def _no_space(error: Any, lines: tuple[str, ...], problem: str) -> Slip | None:
    """`mode:append` among the keys of a map: it lacks a value, or takes the next line's for its own."""
    begun = getattr(error, "context_mark", None)
    if "mapping values are not allowed" in problem:
        above = range(error.problem_mark.line - 1, -1, -1)
        number = next((n for n in above if lines[n].strip()), None)
    else:
        number = begun.line if begun and "could not find expected ':'" in problem else None
    column = None if number is None else tight_colon(lines[number])
    if number is None or column is None:
        return None
    key = lines[number][: column - 1].split()[-1]
    return number + 1, column, NO_SPACE, f"write {key}: value"


def _no_key(error: Any, lines: tuple[str, ...]) -> Slip | None:
    """A line among the keys of a map that is none; PyYAML tells where it began, and stops behind it."""
    begun = getattr(error, "context_mark", None)
    if begun is None or "could not find expected ':'" not in str(error.problem) or begun.line >= len(lines):
        return None
    return _out_of_line(begun.line + 1, begun.column + 1, guessed(lines)[begun.line])


def _second_colon(line: int, column: int, lines: tuple[str, ...], problem: str) -> Slip | None:
    """A `: ` where a value goes on: a second one in a line, a line that is too deep, or one above without."""
    if "mapping values are not allowed" not in problem:
        return None
    text = lines[line - 1]
    if re.search(r":\s", text[: column - 1]):
        return line, column, "a second ': ' in one value", "quote a value that holds ': '"
    above = next((n for n in range(line - 1, 0, -1) if lines[n - 1].strip()), line)
    before, begin = lines[above - 1], len(text) - len(text.lstrip())
    if ":" not in before and len(before) - len(before.lstrip()) == begin:
        return above, begin + 1, f"{guessed((before,))[0].strip()!r} lacks its ':'", "write key: value"
    hint = "give it the indentation of the keys that it belongs to"
    return line, begin + 1, "indented too far: the line above has its value already", hint


def _second_document(line: int, problem: str) -> Slip | None:
    if "<document start>" not in problem:
        return None
    return line, 1, "a second document: a manifest is one", "remove the '...' or the directive above"


def _indent(line: int, column: int, text: str, problem: str, context: str) -> Slip | None:
    if "parsing a block" in context or "could not find expected ':'" in problem:
        return _out_of_line(line, column, text)
    return None


def _out_of_line(line: int, column: int, text: str) -> Slip:
    what = f"{text.strip()!r} does not line up with the keys above it, or lacks its ': '"
    return line, column, what, "give keys of one map the same indentation, and write key: value"
