"""Durations and sizes as a manifest spells them (DESIGN 3): `200ms 5s 5m 1h 1d`, `64MB`."""

from __future__ import annotations

import re

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {"B": 1, "KB": 1024, "MB": 1024**2, "GB": 1024**3}
_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?)([A-Za-z]+)\Z")


def duration(text: str) -> float:
    """`5m` -> 300.0 seconds.  The schema has checked the form."""
    number, unit = _split(text)
    return round(number * _SECONDS[unit], 6)


def size(text: str) -> int:
    """`64MB` -> bytes, by 1024.  The schema has checked the form."""
    number, unit = _split(text)
    return int(number * _BYTES[unit])


def duration_text(seconds: float) -> str:
    """300.0 -> `5m`: in the largest unit that gives a whole number."""
    for unit in ("d", "h", "m", "s"):
        if seconds >= _SECONDS[unit] and seconds % _SECONDS[unit] == 0:
            return f"{int(seconds // _SECONDS[unit])}{unit}"
    return f"{seconds * 1000:g}ms"


def size_text(count: int) -> str:
    """134217728 -> `128MB`: in the largest unit that gives a whole number."""
    for unit in ("GB", "MB", "KB"):
        if count >= _BYTES[unit] and count % _BYTES[unit] == 0:
            return f"{count // _BYTES[unit]}{unit}"
    return f"{count}B"


def _split(text: str) -> tuple[float, str]:
    found = _QUANTITY.match(text)
    assert found is not None, text
    return float(found[1]), found[2]
