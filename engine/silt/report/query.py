"""Rows of a query as an aligned table; values as a person reads them, cut where a terminal ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from silt.report.layout import clip, columns, pad
from silt.report.units import counted, duration

_WIDEST: Final = 40  # columns a single value may take before it is cut


def text(
    names: Sequence[str], rows: Sequence[Sequence[object]], *, numeric: Sequence[bool], width: int = 100
) -> list[str]:
    """A head, a rule and a line a row; numbers align right; columns that do not fit become `..`."""
    cells = [[_shown(v) for v in row] for row in rows]
    widths = [
        max([columns(clip(name, _WIDEST)), *(columns(row[i]) for row in cells)])
        for i, name in enumerate(names)
    ]
    kept = _kept(widths, width)
    cut = ["  .."] if kept < len(names) else [""]
    head = _line(names, widths[:kept], numeric) + cut[0]
    rule = "  ".join("-" * w for w in widths[:kept])
    return [head.rstrip(), rule, *((_line(row, widths[:kept], numeric) + cut[0]).rstrip() for row in cells)]


def _kept(widths: Sequence[int], width: int) -> int:
    """How many columns fit; the first always does."""
    used = 0
    for index, wide in enumerate(widths):
        used += wide + (2 if index else 0)
        if used > width and index:
            return index
    return len(widths)


def _line(row: Sequence[str], widths: Sequence[int], numeric: Sequence[bool]) -> str:
    return "  ".join(pad(clip(row[i], w), w, right=numeric[i]) for i, w in enumerate(widths))


def _shown(value: object) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        value = f"x'{value.hex()}'"
    if isinstance(value, float):
        value = f"{value:.12g}"
    return clip("".join(c if c.isprintable() else " " for c in str(value)), _WIDEST)


def closing(rows: int, *, more: bool, seconds: float) -> str:
    """How many rows there were, and whether all of them are shown."""
    if more:
        return f"first {counted(rows, 'row')} (--limit shows more, --json and --csv all), {duration(seconds)}"
    return f"{counted(rows, 'row')}, {duration(seconds)}"
