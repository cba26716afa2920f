"""Which rows `silt reset --from --to` reads again: two texts as values of the column that orders the rows.

A text is what the source holds, or, of a time, that moment in ISO text: a day alone is all of it.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from silt import types
from silt.errors import UserError
from silt.shapes import Value, ascii_lower

EXACT: Final = 2**53
_INTEGER: Final = re.compile(r"[+-]?[0-9]+")
_NUMBER: Final = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_BLOB: Final = re.compile(r"[xX]'((?:[0-9a-fA-F]{2})*)'")
_TICK: Final = timedelta(microseconds=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST: Final = datetime.min.replace(tzinfo=UTC)
_LAST: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """`start` and `end` as written, both in it (None: no bound); at least one is given.

    `duplicates`: rows that nothing tells apart may be written once more.
    """

    start: str | None
    end: str | None
    duplicates: bool = False

    def __str__(self) -> str:
        start = "" if self.start is None else f"from {self.start}"
        return f"{start} {'' if self.end is None else f'to {self.end}'}".strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """The column that bounds an interval: a value that it holds, how its times are written, its order."""

    name: str
    example: Value
    form: str | None = None
    timezone: str | None = None
    collation: str = "BINARY"
    encoding: str = "UTF-8"


def edges(interval: Interval, column: Column) -> tuple[Value, Value]:
    """The least and the greatest value in the interval, as the column holds them; None for no bound.

    Raises `UserError` for a text that is no value of the column, and where nothing lies between the two.
    """
    low = None if interval.start is None else _edge(interval.start, column, "--from", last=False)
    high = None if interval.end is None else _edge(interval.end, column, "--to", last=True)
    if low is not None and high is not None and _ranked(low, column) > _ranked(high, column):
        raise UserError(
            f"--from {interval.start} lies past --to {interval.end}", hint="the smaller one is --from"
        )
    return low, high


def _ranked(value: Value, column: Column) -> Any:
    """What sorts as SQLite sorts it: by bytes; its own collations fold, and know UTF-8 alone.

    An application's are not asked for: there the statements say BINARY.
    """
    if not isinstance(value, str):
        return value
    match ascii_lower(column.collation):
        case "nocase":
            return ascii_lower(value).encode("utf-8", "surrogatepass")
        case "rtrim":
            return value.rstrip(" ").encode("utf-8", "surrogatepass")
    return value.encode(column.encoding, "surrogatepass")


def _edge(text: str, column: Column, option: str, *, last: bool) -> Value:
    moment = _moment(text, column)
    match column.example:
        case int() | float():
            number = _number(text) if moment is None else _counted(text, moment, column, last=last)
            if number is not None:
                return number
        case bytes():
            if (blob := _BLOB.fullmatch(text)) is not None:
                return bytes.fromhex(blob[1])
        case _:
            if column.form is None:
                return text
            if moment is not None:
                return _spelt(text, moment, column.form, column.timezone, last=last)
    raise _no_value(text, column, option)


def _no_value(text: str, column: Column, option: str) -> UserError:
    kinds = {int: "numbers", float: "numbers", bytes: "blobs"}
    kind = kinds.get(type(column.example), "texts")
    ways = {"numbers": "a number", "blobs": "x'00ff'", "texts": "2026-01-31, or 2026-01-31T12:00:00"}
    day = " or a day, as 2026-01-31" if kind == "numbers" and column.form is not None else ""
    return UserError(
        f"{option} {text!r} is no value of {column.name}, which holds {kind}"
        + (f" ({types.base_format(column.form)})" if column.form else ""),
        hint=f"write {ways[kind]}{day}",
    )


def _number(text: str) -> Value:
    if _INTEGER.fullmatch(text) and -(2**63) <= int(text) < 2**63:
        return int(text)
    return float(text) if _NUMBER.fullmatch(text) else None


# --- moments --------------------------------------------------------------------------------------


def _moment(text: str, column: Column) -> datetime | None:
    """The moment that an ISO text names, where the column holds times; a day's first one."""
    if column.form is None or types.text_format(text) == "text":
        return None
    try:
        made = types.exact(text, "timestamp", "iso", column.timezone)
    except ValueError:
        return None
    return made if isinstance(made, datetime) else None


def _is_day(text: str) -> bool:
    return types.text_format(text) == "date_text"


def _next_day(text: str, column: Column) -> datetime | None:
    """The first moment after a day; None after the last one of the calendar."""
    day = datetime.fromisoformat(text)
    if day.date() == date.max:
        return None
    return _moment((day + timedelta(days=1)).date().isoformat(), column)


def _counted(text: str, moment: datetime, column: Column, *, last: bool) -> Value:
    """A moment as the column counts it; of a day's end the greatest number before the next one."""
    form = column.form or ""
    if not last:
        return _count(moment, form)
    if _is_day(text):
        following = _next_day(text, column)
    elif types.is_cut(form):  # to the end of the microsecond
        following = None if moment >= _LAST else moment + _TICK
    else:
        return _count(moment, form)
    return math.inf if following is None else _before(_count(following, form))


def _before(number: float) -> float:
    """The greatest number below; of what is infinite, itself."""
    if math.isinf(number):
        return number
    whole = isinstance(number, int) and abs(number) >= EXACT
    return number - 1 if whole else math.nextafter(float(number), -math.inf)


def _count(moment: datetime, form: str) -> float:
    """A moment as a format counts it, its fraction too; beyond what SQLite's integers hold, infinite."""
    if types.base_format(form) == "julian":
        return float(types.spell(moment, form))  # type: ignore[arg-type]  # it counts
    since, unit = types.epoch(form)
    passed = (moment - _EPOCH - timedelta(seconds=since)) // _TICK * unit
    if abs(passed) >= 2**63 * 1_000_000:
        return math.copysign(math.inf, passed)
    number, fraction = divmod(passed, 1_000_000)
    return passed / 1_000_000 if fraction else number


def _spelt(text: str, moment: datetime, form: str, timezone: str | None, *, last: bool) -> Value:
    """A moment as a text that sorts before, or after, all that spell it in this format.

    They have fractions of any length, or no seconds; before a `Z` all are of one length.
    """
    if last and _is_day(text) and types.base_format(form) != "date_text":
        column = Column(name="", example="", form=form, timezone=timezone)
        following = _next_day(text, column)
        moment, timezone = (_LAST, "UTC") if following is None else (following - _TICK, timezone)
    try:
        spelt = str(types.spell(moment, form, timezone))
    except OverflowError:  # the calendar ends there: its last moment, or first, in any zone
        spelt = str(types.spell(_LAST if last else _FIRST, form, "UTC"))
    return spelt if last or "Z" in form else _shortest(spelt)


def _shortest(spelt: str) -> str:
    """Without zeros at the end of its fraction, and without seconds that are none."""
    clock, dot, rest = spelt.partition(".")
    digits = re.match(r"[0-9]*", rest)
    fraction = (digits[0] if digits else "").rstrip("0")
    offset = rest[digits.end() :] if digits else ""
    if fraction:
        return f"{clock}.{fraction}{offset}"
    return (clock.removesuffix(":00") if dot and clock.count(":") == 2 else clock) + offset
