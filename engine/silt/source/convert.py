"""Columns as SQLite stores them to columns of the lake, in Arrow, without loss or not at all.

`Unfit` is raised where a column holds anything that the lake's type cannot carry exactly; the careful
path then judges value by value (`silt.types.exact`).  Costs are in FACTS, timestamps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc

from silt import types
from silt.source.mask import masked

if TYPE_CHECKING:
    from silt.shapes import Field, Mask

_US: Final = pa.timestamp("us")
UTC: Final = pa.timestamp("us", "UTC")
_CLOCK: Final = r":\d\d(\.\d+)?(Z|[+-]\d\d(:?\d\d)?)$"
_FIRST: Final = -62_135_596_800_000_000  # 0001-01-01 in microseconds
_LAST: Final = 253_402_300_799_999_999  # 9999-12-31
_EXACT_POWER: Final = 22  # 10**22 is the last power of ten that a double holds exactly


class Unfit(Exception):
    """A column holds a value that its type cannot carry exactly."""


def converted(raw: pa.Array, field: Field) -> pa.Array:
    """`raw` (int64, double, string or binary, as `stored_class` says) as the field's type, masked.

    Raises `Unfit`.
    """
    if field.mask is not None:
        return _masked(raw, field, field.mask)
    return _unmasked(raw, field)


def _masked(raw: pa.Array, field: Field, how: Mask) -> pa.Array:
    # what is hashed was rendered in SQL and needs no type, nor to be UTF-8
    made = raw if how.kind == "sha256" else _unmasked(raw, field)
    try:
        return masked(made, how)
    except pa.ArrowInvalid as error:
        raise Unfit("rounding passes what its type holds") from error


def _unmasked(raw: pa.Array, field: Field) -> pa.Array:
    try:
        return _converted(raw, field)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise Unfit(str(error)) from error


def _converted(raw: pa.Array, field: Field) -> pa.Array:
    lake = types.parse(field.type)
    match lake.kind:
        case "bigint" | "double" | "binary":
            return raw
        case "int" | "smallint" | "tinyint":
            return raw.cast(types.to_arrow(field.type))
        case "string":
            raw.validate(full=True)  # UTF-8: SQLite never checks it
            return raw
        case "float":
            return _same(raw.cast(pa.float32(), safe=False), raw)
        case "boolean":
            return _booleans(raw)
        case "decimal":
            return _decimals(raw, lake)
        case "date":
            return _dates(raw, field)
        case _:
            return _instants(raw, field)


def _same(made: pa.Array, raw: pa.Array) -> pa.Array:
    _all(pc.equal(made.cast(raw.type), raw), "not exact as a float")
    return made


def _all(condition: pa.BooleanArray, why: str) -> None:
    if pc.all(condition, min_count=0).as_py() is False:
        raise Unfit(why)


def _booleans(raw: pa.Array) -> pa.Array:
    _all(pc.is_in(raw, value_set=pa.array([0, 1, None], pa.int64())), "neither 0 nor 1")
    return raw.cast(pa.bool_())


def _decimals(raw: pa.Array, lake: types.LakeType) -> pa.Array:
    if not pa.types.is_string(raw.type):
        return _decimals_of_reals(raw, lake.precision, lake.scale)
    _all(pc.match_substring_regex(raw, f"^{types.PLAIN_DECIMAL}$"), "no plain decimal")
    return raw.cast(types.to_arrow(str(lake)))


def _decimals_of_reals(raw: pa.Array, precision: int, scale: int) -> pa.Array:
    """Reals as the decimals that they were written as.

    n / 10^s is the double nearest to the decimal n x 10^-s while n and 10^s are exact as doubles, so
    equality with the value proves n; what lies beyond is left to the careful path.
    """
    if scale > _EXACT_POWER:
        raise Unfit("too fine a scale to prove in doubles")
    power = float(10**scale)
    scaled = pc.round(pc.multiply(raw, power))
    _all(pc.equal(pc.divide(scaled, power), raw), "not exact")
    _all(pc.less(pc.abs(scaled), float(min(10**precision, types.EXACT))), "too many digits")
    whole = scaled.cast(pa.int64()).cast(pa.decimal128(19, 0))
    return pa.Array.from_buffers(
        pa.decimal128(precision, scale), len(whole), whole.buffers(), offset=whole.offset
    )


def _dates(raw: pa.Array, field: Field) -> pa.Array:
    if types.base_format(field.format or "date_text") == "date_text":
        return _in_range(raw.cast(pa.date32()).cast(_US)).cast(pa.date32())
    moments = _instants(raw, field)
    days = moments.cast(pa.timestamp("us")).cast(pa.date32(), safe=False)
    _all(pc.equal(days.cast(_US), moments.cast(_US)), "it has a time of day")
    return days


# --- instants -------------------------------------------------------------------------------------


def _instants(raw: pa.Array, field: Field) -> pa.Array:
    base = types.base_format(field.format or "iso")
    if base in types.TEXT_FORMATS:
        return _in_range(_from_text(raw, aware=base == "iso_offset", timezone=field.timezone))
    moments = _in_range(_from_number(raw, base))
    return _plausible(moments) if types.is_seen(field.format) else moments


def _plausible(moments: pa.Array) -> pa.Array:
    """`moments`: a format that was only seen in the values may make no absurd ones of others."""
    whole = moments.view(pa.int64())
    low, high = types.PLAUSIBLE
    bounds = pc.min_max(whole)
    if bounds["min"].is_valid and (bounds["min"].as_py() < low or bounds["max"].as_py() >= high):
        within = pc.and_(pc.greater_equal(whole, low), pc.less(whole, high))
        _all(pc.or_(within, pc.equal(whole, 0)), "no plausible instant")
    return moments


def _in_range(moments: pa.Array) -> pa.Array:
    """Years 1 to 9999: what other readers of the lake can hold."""
    bounds = pc.min_max(moments.view(pa.int64()))
    low, high = bounds["min"].as_py(), bounds["max"].as_py()
    if low is not None and (low < _FIRST or high > _LAST):
        raise Unfit("out of range")
    return moments


def _from_text(raw: pa.Array, *, aware: bool, timezone: str | None) -> pa.Array:
    """ISO texts; one form is tried whole, since a cast refuses the other; then each apart."""
    try:
        return _with_offset(raw) if aware else _without_offset(raw, timezone)
    except pa.ArrowInvalid:
        marked = pc.match_substring_regex(raw, _CLOCK)
        offset = _with_offset(pc.if_else(marked, raw, None))
        return pc.coalesce(offset, _without_offset(pc.if_else(marked, None, raw), timezone))


def _with_offset(raw: pa.Array) -> pa.Array:
    return raw.cast(UTC)


def _without_offset(raw: pa.Array, timezone: str | None) -> pa.Array:
    plain = raw.cast(_US)
    if timezone is None:
        return plain.cast(UTC)
    # an hour that comes twice is taken the first time; one that never comes is a misfit
    return pc.assume_timezone(plain, timezone, ambiguous="earliest", nonexistent="raise").cast(UTC)


def _from_number(raw: pa.Array, base: str) -> pa.Array:
    if base == "julian":
        days = pc.multiply(pc.subtract(raw.cast(pa.float64()), types.JULIAN_EPOCH), 86_400_000.0)
        return pc.multiply_checked(pc.round(days).cast(pa.int64()), 1000).view(_US).cast(UTC)
    since, unit = types.epoch(base)
    whole = _scaled_reals(raw, unit) if pa.types.is_floating(raw.type) else _scaled_integers(raw, unit)
    return pc.add_checked(whole, since * 1_000_000).view(_US).cast(UTC)


def _scaled_reals(raw: pa.Array, unit: int) -> pa.Array:
    """To the nearest microsecond: at 1.7e9 seconds a double holds no more."""
    return pc.round(pc.multiply(raw, 1_000_000 / unit)).cast(pa.int64())


def _scaled_integers(raw: pa.Array, unit: int) -> pa.Array:
    if unit <= 1_000_000:
        return pc.multiply_checked(raw, 1_000_000 // unit)
    step = unit // 1_000_000
    cut = pc.divide(raw, step)  # towards zero; one less where that lies above
    above = pc.greater(pc.multiply(cut, step), raw)
    return pc.subtract(cut, above.cast(pa.int64()))


# --- constants ------------------------------------------------------------------------------------


def repeated(value: object, kind: str, length: int) -> pa.Array:
    """A column of one value."""
    arrow = types.to_arrow(kind)
    if value is None:
        return pa.nulls(length, arrow)
    return pa.repeat(pa.scalar(value, arrow), length)
