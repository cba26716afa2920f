"""`silt demo`: see silt work, with nothing to set up."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from silt.cli import console


def demo(
    folder: Annotated[
        Path | None,
        typer.Option(
            "--dir", metavar="FOLDER", help="A new or empty folder; else a temporary one.", show_default=False
        ),
    ] = None,
    seconds: Annotated[
        float, typer.Option("--seconds", min=1.0, max=300.0, help="How long to watch, about.")
    ] = 6.0,
    kills: Annotated[
        int, typer.Option("--kills", min=0, max=20, help="How often silt is killed on purpose.")
    ] = 2,
) -> int:
    """See silt work: a live database, replicated while it grows, killed on purpose, compared cell by cell.

    Takes about 20 seconds and leaves its folder for you to play with.
    """
    from silt import demo as demonstration

    outcome = demonstration.run(folder, say=console.out, seconds=seconds, kills=kills, command=_command())
    return 0 if outcome.ok else 1


def _command() -> str:
    """How this silt is called: `silt` where the shell would find this one, else its path."""
    own = Path(sys.argv[0])
    found = shutil.which("silt")
    if own.name != "silt":
        return f"{Path(sys.executable).name} -m silt"
    if found and os.path.realpath(found) == os.path.realpath(own):  # either may be a link
        return "silt"
    return str(own.absolute())
