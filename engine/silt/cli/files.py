"""The file that a verb writes a manifest to."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from silt.errors import UserError


def check_output(output: str | None, *, force: bool) -> None:
    """Raise `UserError` where the file to write is there already, unless `force`."""
    if output is not None and not force and Path(output).exists():
        raise UserError("the file is there already", on=output, hint="--force replaces it")


def write_output(output: str, text: str) -> None:
    """Write a manifest.  Raises `UserError`."""
    try:
        Path(output).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError("the manifest cannot be written", on=output, why=str(error.strerror)) from None


def redirected() -> str | None:
    """The file that the shell sends stdout to, as a person would name it from here; None for none."""
    try:
        if not stat.S_ISREG(os.fstat(1).st_mode):
            return None
        path = Path("/proc/self/fd/1").readlink()
    except OSError:
        return None
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
