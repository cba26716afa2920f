"""Numbers, sizes, durations and moments as people read them."""

from __future__ import annotations

import time
from typing import Final

SIGNS: Final = {"failing": "x", "held": "!", "waiting": ".", "running": "*", "disabled": "-", "ok": " "}
"""The first character of a stream's line, by its state."""

_MINUTE: Final = 60
_HOUR: Final = 3600
_DAY: Final = 86400
_SIZES: Final = (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3))


def count(number: int | None) -> str:
    """`1,204,331`; `?` where it is not known."""
    return "?" if number is None else f"{number:,}"


def counted(number: int, noun: str) -> str:
    """`1 stream`, `2 databases`: every noun here takes an s."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def size(number: float) -> str:
    """A number of bytes, in powers of 1000: `61 MB`, `1.2 GB`."""
    for unit, scale in _SIZES:
        if number >= scale:
            scaled = number / scale
            return f"{scaled:.0f} {unit}" if scaled >= 10 else f"{scaled:.1f} {unit}"
    return f"{number:.0f} bytes"


def duration(seconds: float) -> str:
    """`0.02 s`, `4 s`, `5 m 15 s`, `2 h 11 m`, `3 d`: two units at most."""
    if seconds < 1:
        return f"{seconds:.2f} s"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return _pair(whole, _MINUTE, "m", 1, "s")
    if whole < _DAY:
        return _pair(whole, _HOUR, "h", _MINUTE, "m")
    return _pair(whole, _DAY, "d", _HOUR, "h")


def _pair(whole: int, large: int, name: str, small: int, other: str) -> str:
    rest = whole % large // small
    return f"{whole // large} {name} {rest} {other}" if rest else f"{whole // large} {name}"


def setting(seconds: float) -> str:
    """A duration as a manifest spells it: `200ms`, `5s`, `5m`, `1h`, `1d`."""
    for name, unit in (("d", _DAY), ("h", _HOUR), ("m", _MINUTE), ("s", 1)):
        if seconds >= unit and seconds % unit == 0:
            return f"{int(seconds // unit)}{name}"
    return f"{round(seconds * 1000)}ms"


def clock(moment: float) -> str:
    """A moment (seconds since the epoch) as local time of day."""
    return time.strftime("%H:%M:%S", time.localtime(moment))


def when(moment: float | None, now: float) -> str:
    """A moment as briefly as it stays clear: time of day, else weekday and time, else the date; `-`: none."""
    if moment is None:
        return "-"
    local = time.localtime(moment)
    if now - moment < _DAY / 2 or local[:3] == time.localtime(now)[:3]:
        return time.strftime("%H:%M:%S", local)
    if now - moment < 6 * _DAY:
        return time.strftime("%a %H:%M", local)
    return f"{local.tm_mday} {time.strftime('%b', local)}"


def instant(moment: float | None) -> str | None:
    """A moment for programs: ISO 8601 in UTC with milliseconds, None for none."""
    if moment is None:
        return None
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment))
    return f"{stamp}.{int(moment * 1000) % 1000:03d}Z"
