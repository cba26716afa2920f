"""What a terminal is told: width, colour, lines, JSON; results on stdout, errors and warnings on stderr."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
from collections.abc import Iterable
from typing import Final, TextIO

from silt.cli.signals import Interrupted

_WIDTH: Final = 100  # where the output is no terminal

# The sign or word that begins a line says what colour it gets; colour adds nothing that is not there.
_STYLES: Final = (
    (re.compile(r"^(\+) (\S+)"), "32"),
    (re.compile(r"^(~) (\S+)"), "33"),
    (re.compile(r"^(>) (\S+)"), "36"),
    (re.compile(r"^(!) (\S+)"), "1;33"),
    (re.compile(r"^(x) (\S+)"), "1;31"),
    (re.compile(r"^(error:)"), "1;31"),
    (re.compile(r"^(warning:)"), "1;33"),
)


def width(stream: TextIO | None = None) -> int:
    """How many columns there are: the terminal's, $COLUMNS, or 100 where the output is a file or a pipe."""
    stream = stream or sys.stdout
    if "COLUMNS" not in os.environ and not stream.isatty():
        return _WIDTH
    return max(shutil.get_terminal_size((_WIDTH, 24)).columns, 40)


def colourful(stream: TextIO) -> bool:
    """Whether `stream` gets colours: a terminal, unless NO_COLOR is set or TERM is dumb; FORCE_COLOR wins."""
    if os.environ.get("FORCE_COLOR"):
        return True
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def coloured(line: str) -> str:
    """`line` with its sign and first word in the sign's colour."""
    for pattern, code in _STYLES:
        found = pattern.match(line)
        if found:
            return f"\x1b[{code}m{line[: found.end()]}\x1b[0m{line[found.end() :]}"
    return line


def out(lines: Iterable[str]) -> None:
    """Result lines, to stdout."""
    _write(sys.stdout, lines)


def err(lines: Iterable[str]) -> None:
    """Errors and warnings, to stderr."""
    sys.stdout.flush()
    _write(sys.stderr, lines)


def as_json(value: object) -> None:
    """One JSON object, to stdout: indented on a terminal, on one line elsewhere."""
    text = json.dumps(value, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None, default=str)
    _write(sys.stdout, [text])


def _write(stream: TextIO, lines: Iterable[str]) -> None:
    paint = coloured if colourful(stream) else str
    write("".join(paint(line) + "\n" for line in lines), stream)


def write(text: str, stream: TextIO | None = None) -> None:
    """`text` as it is.  Raises `Interrupted` by SIGPIPE when nobody reads any more (`... | head`)."""
    stream = stream or sys.stdout
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        raise Interrupted(signal.SIGPIPE) from None


def prepare() -> None:
    """Let both streams carry any text: a file name that is no text is escaped, never an exception."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def interactive() -> bool:
    """Whether a person can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def ask(question: str) -> bool:
    """A yes or no from a person, no by default."""
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")
