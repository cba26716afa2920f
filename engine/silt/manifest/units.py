"""Durations and sizes as a manifest spells them (DESIGN 3): `200ms 5s 5m 1h 1d`, `64MB`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_WORDS = {
    "ms": 0.001, "m": 60.0, "s": 1.0, "h": 3600.0, "d": 86400.0, "w": 604800.0,
    "millisecond": 0.001, "msec": 0.001, "sec": 1.0, "second": 1.0, "min": 60.0, "minute": 60.0,
    "hr": 3600.0, "hour": 3600.0, "day": 86400.0, "week": 604800.0,
}  # fmt: skip
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


def meant_duration(text: str) -> str:
    """`5m` for `5 minutes`, `90m` for `1h30m`, `1s` for `1 S`; nothing for what is no duration at all."""
    parts = re.findall(r"([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]+)", text)
    if not parts or re.sub(r"[0-9.]+\s*[A-Za-z]+|[\s,]|and", "", text):
        return ""
    seconds = [float(number) * _WORDS.get(word.lower().rstrip("s") or "s", 0.0) for number, word in parts]
    return duration_text(sum(seconds)) if all(seconds) else ""


def meant_size(text: str) -> str:
    """`64MB` for `64 mb`, `64MiB` or `64m`; nothing for what is no size at all."""
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([kmg]?)i?b?", text.strip().lower())
    return f"{found[1]}{found[2].upper()}B" if found else ""


def meant_interval(text: str) -> str:
    """`interval 30 days` for `30d`, `30 days` or `INTERVAL 30 DAYS`: as Delta spells a duration."""
    short = meant_duration(re.sub("(?i)^interval ", "", text))
    found = re.fullmatch("([0-9]+)([mhd]|ms|s)", short)
    units = {"ms": "milliseconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
    return f"interval {found[1]} {units[found[2]]}" if found else ""


def meant_address(text: str) -> str:
    """`127.0.0.1:8585` for `8585`, `:8585` or `http://127.0.0.1:8585/`; `[::1]:8585` for `::1:8585`."""
    bare = re.sub(r"^[a-z]+://|/.*$", "", text.strip().lower())
    if found := re.fullmatch(r":?([0-9]{1,5})", bare):
        return f"127.0.0.1:{found[1]}"
    if found := re.fullmatch(r"([0-9a-f:]+:):?([0-9a-f]*):([0-9]{1,5})", bare):
        return f"[{found[1]}{found[2]}]:{found[3]}"
    if re.fullmatch(r"[a-z0-9._-]+(:[0-9]{1,5})?", bare) and ("." in bare or bare.startswith("localhost")):
        return bare if ":" in bare else f"{bare}:8585"
    return ""


MEANT: Mapping[str, Callable[[str], str]] = {
    "duration": meant_duration,
    "size": meant_size,
    "interval": meant_interval,
    "address": meant_address,
}
"""What somebody meant who wrote a text of another form, by the form's noun; empty where that is not clear."""


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
