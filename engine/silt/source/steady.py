"""Whether SQL says the same each time it is asked: by its tokens, remarks left out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

_CHANCE: Final = ("random", "changes", "total_changes", "last_insert_rowid")
"""They take no argument: with one it is a table and its columns."""
_NOW: Final = ("current_timestamp", "current_date", "current_time")
_TIMES: Final = {"date": 0, "time": 0, "datetime": 0, "julianday": 0, "unixepoch": 0, "timediff": 0,
          "strftime": 1}  # fmt: skip
"""SQLite's functions of time and how many arguments they have before they mean now."""
_SUBSEC: Final = ("'subsec'", "'subsecond'")
"""Now, where they stand in place of a time; after one they ask for fractions."""
_LOCAL: Final = ("'localtime'", "'utc'")


def chance(found: Sequence[str]) -> str:
    """What is another value each time it is asked; `` without such."""
    for function, arguments in _calls(_folded(found)):
        if function == "randomblob" or (function in _CHANCE and not arguments):
            return f"{function}() is another value each time"
    return ""


def clock(found: Sequence[str], *, local: bool = True) -> str:
    """What is of now, or with `local` of this machine's time zone; `` without such."""
    folded = _folded(found)
    if word := next((t for t in folded if t in _NOW), None):
        return word
    for function, arguments in _calls(folded):
        if function in _TIMES and _is_now(function, arguments):
            return f"{function}() of now"
        if local and function in _TIMES and any(t in _LOCAL for a in arguments for t in a):
            return f"{function}() of local time"
    return ""


def _folded(found: Sequence[str]) -> list[str]:
    return [token.lower() for token in found if not token.startswith(("--", "/*"))]


def _is_now(function: str, arguments: Sequence[Sequence[str]]) -> bool:
    first = _TIMES[function]
    times = arguments[first : first + (2 if function == "timediff" else 1)]
    said = any(token == "'now'" for argument in arguments for token in argument)
    return not times or said or any(_is_subsec(argument) for argument in times)


def _is_subsec(argument: Sequence[str]) -> bool:
    """Not where it is a modifier of a time inside."""
    return any(t in _SUBSEC for t in argument) and not any(t.strip('"`[]') in _TIMES for t in argument)


def _calls(found: Sequence[str]) -> Iterator[tuple[str, list[list[str]]]]:
    """Every function called, with the tokens of each of its arguments."""
    for place in range(len(found) - 1):
        if found[place + 1] == "(":
            yield found[place].strip('"`[]'), _arguments(found[place + 2 :])


def _arguments(found: Sequence[str]) -> list[list[str]]:
    """The arguments up to the parenthesis that closes; none where there is nothing."""
    arguments: list[list[str]] = [[]]
    depth = 0
    for token in found:
        depth += (token == "(") - (token == ")")
        if depth < 0:
            break
        if token == "," and depth == 0:
            arguments.append([])
        else:
            arguments[-1].append(token)
    return [] if arguments == [[]] else arguments
