"""How far a time cursor may read now, and how far back it looks again: in the cursor's own spelling.

A time cursor never passes now + max_skew: a row of the far future would carry the position past
every row that is still to come (DESIGN 4.3).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from silt import types
from silt.manifest.model import CursorRule
from silt.plan.model import Part
from silt.shapes import Key, TextShape, Value

_LEAST = -(2**63)
_DAY = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]"
_MINUTE = "[0-9][0-9]:[0-9][0-9]"


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
    start = _back(part, key[0], rule.lookback)
    first = rule.initial_value
    # never before where the stream was told to begin
    return first if isinstance(first, type(start)) and first > start else start  # type: ignore[operator]


def _back(part: Part, value: Value, lookback: float) -> Value:
    form = part.cursor.time_format if part.cursor else None
    if form is None:
        return value - type(value)(lookback) if isinstance(value, int | float) else value
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
    if form is None or types.base_format(form) not in types.TEXT_FORMATS:
        return None
    base, _, detail = form.rstrip("]").partition("[")
    if base == "date_text":
        return TextShape(like=_DAY)
    moment = f"{_DAY}{detail[:1] or '?'}{_MINUTE}"
    if base == "iso":
        return TextShape(like=f"{moment}*[0-9]", unlike=("*+*", "???????????*-*", "*Z"))
    offset = detail[1:]
    if not offset.startswith("Z"):
        return TextShape(like=f"{moment}*{offset}")
    return TextShape(like=moment + _after_minutes(offset[1:]) + "Z")


def _after_minutes(detail: str) -> str:
    """What stands between the minutes and a Z: `m` nothing, `` seconds, `.n` seconds and n digits."""
    if detail == "m":
        return ""
    digits = int(detail[1:]) if detail.startswith(".") else 0
    return ":[0-9][0-9]" + ("." + "[0-9]" * digits if digits else "")
