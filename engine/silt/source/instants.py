"""Microseconds since 1970 in SQL, by the very rules of `types.exact`: what it calls a misfit is NULL here.

Windows are cut where the rows are, so that SQLite sums them up; a time must then fall into the window
that its timestamp in the lake would.  Every term is built of literals: SQLite takes two parameters for
two expressions, and an aggregate would not be the one it is grouped by.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.sql.elements import ColumnElement

from silt import types
from silt.source.questions import unlike

FIRST: Final = -62_135_596_800_000_000
LAST: Final = 253_402_300_799_999_999
"""Years 1 to 9999 in microseconds."""

TEXT: Final = "text"
"""The format of a time that is written as text: each value says which of the text formats it has."""

_SECOND: Final = 1_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ZONES: Final = (datetime(1900, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))

_PRODUCT: Final = 8
"""The precedence of `*` and `/` in SQLAlchemy, so that sums beside them get parentheses."""

SQL = ColumnElement[Any]


def number(value: float) -> SQL:
    """A number as it stands in SQL."""
    return sa.literal_column(repr(value))


def divided(value: SQL, by: SQL) -> SQL:
    """SQLite's own division, of integers towards zero; SQLAlchemy's `/` makes reals of them."""
    return value.op("/", precedence=_PRODUCT)(by)


def _text(value: str) -> SQL:
    """A text of this module's own; none holds a quote."""
    return sa.literal_column(f"'{value}'")


def microseconds(value: SQL, form: str, timezone: str | None) -> SQL:
    """`value` as microseconds since 1970, an integer; NULL where it is no time of `form`.

    `form` is `text`, or the format of a number; `timezone` is that of texts without an offset.
    """
    kind = sa.func.typeof(value)
    if form == TEXT:
        return sa.case((kind == _text("text"), _of_text(value, timezone)))
    whole, real = (_julian, _julian) if form == "julian" else (_of_integer, _of_real)
    return sa.case((kind == _text("integer"), whole(value, form)), (kind == _text("real"), real(value, form)))


def plausible(moment: SQL) -> SQL:
    """`moment` where a format that was only seen may make it, else NULL (`types.plausible`)."""
    low, high = types.PLAUSIBLE
    return sa.case((sa.or_(moment.between(number(low), number(high - 1)), moment == number(0)), moment))


# --- numbers --------------------------------------------------------------------------------------


def _within(value: SQL, form: str, made: SQL) -> SQL:
    """`made` where `value` lies in years 1 to 9999: beyond, integers would overflow to reals."""
    since, unit = types.epoch(form)
    low, high = ((at - since * _SECOND) * unit // _SECOND for at in (FIRST, LAST))
    return sa.case((value.between(number(max(low, -(2**63))), number(min(high, 2**63 - 1))), made))


def _of_integer(value: SQL, form: str) -> SQL:
    since, unit = types.epoch(form)
    if unit <= _SECOND:
        made = value * number(_SECOND // unit)
    else:
        step = number(unit // _SECOND)
        below = sa.case((value % step < number(0), number(1)), else_=number(0))
        made = divided(value, step) - below  # SQLite divides towards zero
    return _within(value, form, made + number(since * _SECOND))


def _of_real(value: SQL, form: str) -> SQL:
    since, unit = types.epoch(form)
    return _within(value, form, _nearest(value * number(_SECOND / unit)) + number(since * _SECOND))


def _julian(value: SQL, form: str) -> SQL:  # noqa: ARG001  # one signature for all
    days = (value - number(types.JULIAN_EPOCH)) * number(86_400_000.0)
    first, last = (types.JULIAN_EPOCH + at / 86_400e6 for at in (FIRST, LAST))
    return sa.case((value.between(number(first), number(last)), _nearest(days) * number(1_000)))


def _nearest(value: SQL) -> SQL:
    """To the nearest integer, halves to the even one, as Python and Arrow round; SQLite's rounds them up."""
    whole = sa.cast(value, sa.Integer())
    even = sa.cast(sa.func.round(divided(value, number(2.0))), sa.Integer()) * number(2)
    nearest = sa.cast(sa.func.round(value), sa.Integer())
    return sa.case((sa.func.abs(value - whole) == number(0.5), even), else_=nearest)


# --- texts ----------------------------------------------------------------------------------------

_DIGITS: Final = "0123456789"
_DAY: Final = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]*"
_OFFSETS: Final = ("[+-][0-9][0-9]", "[+-][0-9][0-9][0-9][0-9]", "[+-][0-9][0-9]:[0-9][0-9]")


def _part(value: SQL, start: int, length: int) -> SQL:
    return sa.func.substr(value, number(start), number(length))


def _integer(value: SQL) -> SQL:
    return sa.cast(value, sa.Integer())


def _like(value: SQL, *globs: str) -> ColumnElement[bool]:
    return sa.or_(*(value.op("GLOB", is_comparison=True)(_text(glob)) for glob in globs))


def _of_text(value: SQL, timezone: str | None) -> SQL:
    """`2026-01-02`, then `T` or a space and `03:04`, then seconds, a fraction, an offset: all optional."""
    day, length = _part(value, 1, 10), sa.func.length(value)
    real = sa.and_(
        _like(value, _DAY),
        sa.func.strftime(_text("%Y-%m-%d"), day) == day,  # SQLite takes 02-30 for 03-02
        value >= _text("0001"),
        sa.func.instr(value, sa.func.char(number(0))) == number(0),
    )
    midnight = _integer(sa.func.strftime(_text("%s"), day)) * number(_SECOND)
    bare = midnight - _zone_offset(value, timezone)
    return sa.case((sa.and_(real, length == number(10)), bare), (real, _of_moment(value, midnight, timezone)))


def _of_moment(value: SQL, midnight: SQL, timezone: str | None) -> SQL:
    """A text with a time of day, whose date is right."""
    has_second = _part(value, 17, 1) == _text(":")
    second = sa.case((has_second, _part(value, 18, 2)), else_=_text("00"))
    rest = sa.func.substr(value, sa.case((has_second, number(20)), else_=number(17)))
    has_fraction = _part(rest, 1, 1) == _text(".")
    after = sa.func.ltrim(sa.func.substr(rest, number(2)), _text(_DIGITS))
    digits = sa.func.substr(rest, number(2), sa.func.length(rest) - number(1) - sa.func.length(after))
    fraction = sa.case((has_fraction, digits), else_=_text("0"))
    offset = sa.case((has_fraction, after), else_=rest)
    right = sa.and_(
        _part(value, 11, 1).in_([_text("T"), _text(" ")]),
        _like(_part(value, 12, 5), "[0-2][0-9]:[0-5][0-9]"),
        _part(value, 12, 2) < _text("24"),
        _like(second, "[0-5][0-9]"),
        fraction != _text(""),
        sa.func.length(sa.func.rtrim(fraction, _text("0"))) <= number(6),
    )
    clock = (
        _integer(_part(value, 12, 2)) * number(3_600)
        + _integer(_part(value, 15, 2)) * number(60)
        + _integer(second)
    )
    micros = _integer(_part(fraction.concat(_text("000000")), 1, 6))
    local = midnight + clock * number(_SECOND) + micros
    return sa.case((right, local - _offset(value, offset, timezone)))


def _offset(value: SQL, offset: SQL, timezone: str | None) -> SQL:
    """Microseconds that a text's clock is ahead of UTC; NULL where its end is no offset."""
    hours, minutes = _part(offset, 2, 2), sa.func.substr(offset, number(-2))
    short = sa.func.length(offset) == number(3)
    size = _integer(hours) * number(60) + sa.case((short, number(0)), else_=_integer(minutes))
    signed = sa.case((_part(offset, 1, 1) == _text("-"), number(-1)), else_=number(1)) * size
    right = sa.and_(_like(offset, *_OFFSETS), hours < _text("24"), sa.or_(short, minutes < _text("60")))
    return sa.case(
        (offset == _text(""), _zone_offset(value, timezone)),
        (offset == _text("Z"), number(0)),
        (right, signed * number(60 * _SECOND)),
    )


# --- time zones -----------------------------------------------------------------------------------


def _zone_offset(value: SQL, timezone: str | None) -> SQL:
    if timezone is None or timezone == "UTC":
        return number(0)
    dated = sa.case(
        (sa.func.length(value) == number(10), value.concat(_text(" 00:00"))), else_=_part(value, 1, 19)
    )
    return _chosen(sa.func.replace(dated, _text("T"), _text(" ")), _pieces(timezone))


def _chosen(clock: SQL, pieces: Sequence[tuple[str, int | None]]) -> SQL:
    """The offset of the last piece that begins at or before `clock`: a tree of comparisons."""
    if len(pieces) == 1:
        offset = pieces[0][1]
        return sa.literal_column("NULL") if offset is None else number(offset)
    middle = len(pieces) // 2
    before = (clock < _text(pieces[middle][0]), _chosen(clock, pieces[:middle]))
    return sa.case(before, else_=_chosen(clock, pieces[middle:]))


@lru_cache(maxsize=64)
def _pieces(timezone: str) -> tuple[tuple[str, int | None], ...]:
    """(clock from which on, microseconds ahead of UTC), None where clocks passed over; 1900 to 2099.

    An hour that comes twice is taken the first time, as the lake's timestamps are.
    """
    zone = ZoneInfo(timezone)
    at, end = _ZONES
    ahead = _ahead(zone, at)
    found: list[tuple[str, int | None]] = [("", None), (_clock(at, ahead), ahead)]
    step = timedelta(hours=12)
    while at < end:
        after = _ahead(zone, at + step)
        if after != ahead:
            moment = _change(zone, at, at + step)
            if after > ahead:
                found.append((_clock(moment, ahead), None))
            found.append((_clock(moment, max(ahead, after)), after))
            ahead = after
        at += step
    return (*found, (_clock(end, ahead), None))


def _ahead(zone: ZoneInfo, moment: datetime) -> int:
    return (moment.astimezone(zone).utcoffset() or timedelta()) // timedelta(microseconds=1)


def _change(zone: ZoneInfo, low: datetime, high: datetime) -> datetime:
    """The first whole second of the new offset."""
    before = _ahead(zone, low)
    while high - low > timedelta(seconds=1):
        middle = low + timedelta(seconds=(high - low).total_seconds() // 2)
        low, high = (middle, high) if _ahead(zone, middle) == before else (low, middle)
    return high


def _clock(moment: datetime, ahead: int) -> str:
    """How clocks read at `moment`, as short as texts of that minute begin."""
    local = (moment + timedelta(microseconds=ahead)).replace(tzinfo=None)
    return local.isoformat(" ", "seconds" if local.second else "minutes")


# --- ranges ---------------------------------------------------------------------------------------


def reach(
    value: SQL, form: str, spelled: str, timezone: str | None, start: int | None, end: int | None
) -> list[SQL]:
    """Conditions that hold for every time in [start, end), and that an index on the column serves.

    They let a little more through, never less.  Of texts they are whole days, since any may have another
    separator or offset than the others; those of the one format that nearly all have (`spelled`, as
    `types.text_format` tells them, or '') are then told by a comparison, which is quicker than their instant.
    """
    near = (_bounds(value, form, at, spelled, timezone, side) for at, side in ((start, -1), (end, 1)))
    return [condition for conditions in near for condition in conditions]


def _bounds(
    value: SQL, form: str, at: int | None, spelled: str, timezone: str | None, side: int
) -> list[SQL]:
    if at is None or not FIRST <= at <= LAST:
        return []
    if form != TEXT:
        raw = _raw(at, form, side)
        return [] if raw is None else [_beyond(value, raw, side)]
    day, clock = _days(at, side), _clocks(at, spelled, timezone, side)
    shape = types.shape_of(spelled) if spelled else None
    return [
        *([] if day is None else [_beyond(value, _text(day), side)]),
        *(
            []
            if clock is None or shape is None
            else [sa.or_(_beyond(value, _text(clock), side), unlike(value, shape))]
        ),
    ]


def _beyond(value: SQL, raw: SQL, side: int) -> SQL:
    return value >= raw if side < 0 else value < raw


def _raw(at: int, form: str, side: int) -> SQL | None:
    if form == "julian":
        return number(types.JULIAN_EPOCH + at / 86_400e6 + side * 1e-6)
    since, unit = types.epoch(form)
    made = (at - since * _SECOND + side) * unit // _SECOND + 2 * side
    return number(made) if abs(made) < 2**63 else None


def _days(at: int, side: int) -> str | None:
    """A day off, since no clock is further from UTC; after the end one more: texts sort after their date."""
    try:
        return (_EPOCH + timedelta(microseconds=at, days=2 if side > 0 else -1)).date().isoformat()
    except OverflowError:
        return None


def _clocks(at: int, spelled: str, timezone: str | None, side: int) -> str | None:
    """A minute off, where texts of a format sort as the instants do; hours where clocks are set back."""
    if not spelled or types.base_format(spelled) == "date_text":
        return None
    slack = timedelta(minutes=1) if timezone is None else timedelta(hours=4)
    try:
        return str(types.spell(_EPOCH + timedelta(microseconds=at) + side * slack, spelled, timezone))[:16]
    except OverflowError:
        return None
