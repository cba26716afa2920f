"""Lines that fit a width: aligned tables and wrapped paragraphs."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Iterable, Sequence

Row = Sequence[str]


def columns(text: str) -> int:
    """How many cells of a terminal `text` takes: wide characters take two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(_cells(c) for c in text)


def _cells(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def clip(text: str, width: int) -> str:
    """`text` in at most `width` cells, the cut marked with `..`."""
    if columns(text) <= width:
        return text
    kept, used = [], 0
    for character in text:
        used += _cells(character)
        if used > max(width - 2, 0):
            break
        kept.append(character)
    return "".join(kept) + ".."


def pad(text: str, width: int, *, right: bool = False) -> str:
    """`text` filled with blanks to `width` cells."""
    blanks = " " * max(width - columns(text), 0)
    return blanks + text if right else text + blanks


def table(rows: Sequence[Row], *, right: Iterable[int] = (), width: int = 100, gap: str = "  ") -> list[str]:
    """Aligned lines of `rows` (the first may be a head), all of one length in columns.

    `right` numbers the columns that align right.  Where the lines would be wider than `width`, the
    widest left-aligned columns are clipped, the last one first.
    """
    if not rows:
        return []
    right = frozenset(right)
    widths = [max(columns(row[i]) for row in rows) for i in range(len(rows[0]))]
    widths = _fit(widths, width - len(gap) * (len(widths) - 1), right)
    return [_line(row, widths, right, gap) for row in rows]


def _fit(widths: list[int], room: int, right: frozenset[int]) -> list[int]:
    fitted = list(widths)
    for index in sorted(set(range(len(widths))) - right, key=lambda i: (-widths[i], -i)):
        excess = sum(fitted) - room
        if excess <= 0:
            break
        fitted[index] = max(fitted[index] - excess, min(fitted[index], 12))
    return fitted


def _line(row: Row, widths: Sequence[int], right: frozenset[int], gap: str) -> str:
    cells = (
        pad(clip(text, width), width, right=i in right)
        for i, (text, width) in enumerate(zip(row, widths, strict=True))
    )
    return gap.join(cells).rstrip()


def signed(sign: str, line: str) -> str:
    """A line of a table behind its sign."""
    return f"{sign} {line}".rstrip()


def paragraph(text: str, *, width: int, first: str = "", rest: str | None = None) -> list[str]:
    """`text` wrapped to `width`, the first line behind `first`, the others behind `rest` (blanks by default).

    Lines that are in `text` already are kept apart.
    """
    rest = " " * columns(first) if rest is None else rest
    lines: list[str] = []
    for part in text.splitlines() or [""]:
        lead = rest if lines else first
        lines += textwrap.wrap(
            part,
            width=max(width, columns(lead) + 20),
            initial_indent=lead,
            subsequent_indent=rest,
            break_long_words=False,
            break_on_hyphens=False,
        ) or [lead.rstrip()]
    return lines
