"""How far a time cursor may read now, and how far back it looks again: in the cursor's own spelling.

A time cursor never passes now + max_skew: a row of the far future would carry the position past
every row that is still to come (DESIGN 4.3).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import ceil

from silt import types
from silt.errors import UserError
from silt.manifest.model import CursorRule
from silt.plan.model import Part
from silt.shapes import CursorChoice, Key, TextShape, Value

_LEAST = -(2**63)


def ceiling(part: Part, rule: CursorRule, now: float) -> Value:
    """now + max_skew as the cursor spells it; None for a cursor that is no time.  `now` in seconds."""
    form = part.cursor.time_format if part.cursor else None
    if form is None:
        return None
    return types.spell(_moment(now) + timedelta(seconds=rule.max_skew), form, _timezone(part))


def window_start(part: Part, rule: CursorRule, key: Key) -> Value:
    """The cursor value after which `lookback` reads again; None without a lookback."""
    if rule.lookback is None or part.cursor is None:
        return None
    start = _back(part, key[0], rule, rule.lookback)
    first = rule.initial_value
    # never before where the stream was told to begin
    return first if isinstance(first, type(start)) and first > start else start  # type: ignore[operator]


def check_unit(rule: CursorRule, choice: CursorChoice) -> None:
    """Raise `UserError` for a duration back from plain numbers, or a number back from texts.

    Before a value was seen nothing can be said.
    """
    if rule.lookback is None or choice.order is None or choice.storage is None:
        return
    numbers = choice.storage in ("integer", "real")
    if rule.lookback_is_time and choice.time_format is None:
        raise _no_time(choice.order.cursor[0], numbers=numbers)
    if not rule.lookback_is_time and not numbers:
        raise _no_unit(choice.order.cursor[0], rule.lookback)


def _no_time(name: str, *, numbers: bool) -> UserError:
    kind = "plain numbers" if numbers else "values in no known format of time"
    how = f"`columns: {{{name}: {{format: epoch_ms}}}}` says in which format they are times"
    return UserError(
        f"lookback is a duration, and cursor {name} holds {kind}",
        hint=f"{'write a number in their own unit, or ' if numbers else ''}{how}",
        setting="cursor",
    )


def _no_unit(name: str, lookback: float) -> UserError:
    return UserError(
        f"lookback {lookback:g} is a number, and cursor {name} holds no numbers",
        hint=f"write a duration: {lookback:g}s",
        setting="cursor",
    )


def _back(part: Part, value: Value, rule: CursorRule, lookback: float) -> Value:
    form = part.cursor.time_format if part.cursor else None
    name = part.extract.order.cursor[0] if part.extract.order else ""
    if not rule.lookback_is_time:
        if not isinstance(value, int | float):
            raise _no_unit(name, lookback)
        return max(value - ceil(lookback), _LEAST) if isinstance(value, int) else value - lookback
    if form is None:
        raise _no_time(name, numbers=isinstance(value, int | float))
    moment = types.exact(value, "timestamp", form, _timezone(part))
    if not isinstance(moment, datetime):
        return value
    try:
        return types.spell(moment - timedelta(seconds=lookback), form, _timezone(part))
    except OverflowError:  # before year 1: from the first text, or number, there can be
        return "" if isinstance(value, str) else _LEAST


def _moment(now: float) -> datetime:
    return datetime.fromtimestamp(now, UTC)


def _timezone(part: Part) -> str | None:
    """The timezone that the manifest gives the cursor's column."""
    order = part.extract.order
    if order is None:
        return None
    return next((f.timezone for f in part.extract.fields if f.source == order.cursor[0]), None)


def shape(part: Part) -> TextShape | None:
    """What every text of the cursor looks like, as GLOB patterns; None where it has no text format.

    Texts of one shape sort as the instants do (`types.text_format`).
    """
    form = part.cursor.time_format if part.cursor else None
    return types.shape_of(form) if form else None
