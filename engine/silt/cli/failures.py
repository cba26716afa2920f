"""From an exception to what a person reads on stderr and the exit code of DESIGN 10."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any, Final

import typer

from silt.cli import console
from silt.cli.signals import Interrupted
from silt.errors import SiltError

FAILED: Final = 1
"""Failed, invalid or misused."""


# typer brings its own copy of click or imports it, depending on its version.
Misuse: type[Any] = typer.BadParameter.__mro__[1]


def misused(error: Any) -> int:
    """A mistyped flag, a missing argument: the fact, the verb's usage, exit 1."""
    message = str(error.format_message())
    lines = [f"error: {message[:1].lower()}{message[1:].rstrip('.')}"]
    context = getattr(error, "ctx", None)
    if context is not None:
        lines += [f"       {context.get_usage().strip()}", f"       {context.command_path} --help tells more"]
    console.err(lines)
    return FAILED


def told(error: SiltError, *, as_json: bool = False) -> int:
    """An error of silt's own tree: what failed, on what, why, what to do; exit 1."""
    from silt.report import failure, problems

    listed = getattr(error, "problems", None)
    width = console.width(sys.stderr)
    if listed is not None:
        console.err([*problems.text(listed), problems.summary(1, listed)])
    else:
        console.err(failure.text(error, width=width))
    if as_json:
        more = {"problems": problems.data(listed)["problems"]} if listed is not None else {}
        console.as_json({"ok": False, **failure.data(error), **more})
    return FAILED


def bug(error: Exception) -> int:
    """Anything else is a bug of silt's: named as one, with no traceback unless SILT_DEBUG is set."""
    if os.environ.get("SILT_DEBUG"):
        raise error
    console.err(
        [
            f"error: silt has a bug: {type(error).__name__}: {error}",
            "       nothing is lost: the lake is as its last commit left it",
            "       SILT_DEBUG=1 shows the traceback: please report it",
        ]
    )
    return FAILED


def ended(by: Interrupted) -> int:
    """128 + the signal's number; where nobody reads our output any more, without a word at exit either."""
    if by.number == signal.SIGPIPE:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 128 + by.number
