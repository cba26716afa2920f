"""`silt --help`: the page that a newcomer reads first, in the look of the verbs' own.

Those are typer's, set by rich, whose import (markdown, syntax, tracebacks) takes a third of what a
person waits for here (measured: 0.12 of 0.35 s); this one needs nothing but what is imported already.
"""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, TextIO

import typer.core

from silt.cli import console

Row = tuple[str, str]
"""A name, and what it is."""

_MARKUP: Final = re.compile(r"\[(bold|cyan)\](.*?)\[/\]", re.DOTALL)
_CODES: Final = {"bold": "1", "cyan": "36", "dim": "2", "name": "1;36"}


class Overview(typer.core.TyperGroup):
    """The group of all verbs: usage, what silt is, then a box of options and one of each group of verbs."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the page; `color` of the context says whether its colours are kept."""
        page = "\n".join(self._lines(ctx, min(console.width(), _WIDEST)))
        formatter.write(page if _draws(sys.stdout) else page.translate(_PLAIN))

    def _lines(self, ctx: Any, width: int) -> Iterator[str]:
        yield from ("", f" {_styled('bold', self.get_usage(ctx))}", "")
        yield from (f" {_marked(line)}".rstrip() for line in str(self.help).splitlines())
        yield ""
        boxes = {"Options": self._options(ctx), **self._verbs(ctx)}
        names = max(len(name) for rows in boxes.values() for name, _ in rows)
        for title, rows in boxes.items():
            yield from _box(title, rows, names, width)
        yield ""
        yield from (f" {line}" for line in textwrap.wrap(str(self.epilog), width - 2))

    def _options(self, ctx: Any) -> list[Row]:
        records = (parameter.get_help_record(ctx) for parameter in self.get_params(ctx))
        return [record for record in records if record is not None]

    def _verbs(self, ctx: Any) -> dict[str, list[Row]]:
        """The verbs that are shown, by group, in the order in which they were added."""
        groups: dict[str, list[Row]] = {}
        for name in self.list_commands(ctx):
            verb: Any = self.get_command(ctx, name)
            if verb is not None and not verb.hidden:
                groups.setdefault(verb.rich_help_panel, []).append((name, _first(str(verb.help))))
        return groups


_WIDEST: Final = 100
_PLAIN: Final = str.maketrans("╭╮╰╯─│", "++++-|")


def _draws(stream: TextIO) -> bool:
    return (stream.encoding or "").lower().replace("-", "") == "utf8"


def _first(text: str) -> str:
    """The first paragraph, on one line."""
    return " ".join(text.strip().split("\n\n")[0].split())


def _box(title: str, rows: Iterable[Row], names: int, width: int) -> Iterator[str]:
    yield _styled("dim", f"╭─ {title} {'─' * (width - len(title) - 5)}╮")
    for name, text in rows:
        yield from _cells(name, textwrap.wrap(_unmarked(text), width - names - 6) or [""], names, width)
    yield _styled("dim", f"╰{'─' * (width - 2)}╯")


def _cells(name: str, lines: Sequence[str], names: int, width: int) -> Iterator[str]:
    edge = _styled("dim", "│")
    for i, line in enumerate(lines):
        told = _styled("name", f"{name if i == 0 else '':<{names}}")
        yield f"{edge} {told}  {line:<{width - names - 6}} {edge}"


def _marked(text: str) -> str:
    return _MARKUP.sub(lambda found: _styled(found[1], found[2]), text)


def _unmarked(text: str) -> str:
    return _MARKUP.sub(r"\2", text)


def _styled(style: str, text: str) -> str:
    return f"\x1b[{_CODES[style]}m{text}\x1b[0m"
