"""Whether a table could be written, asked without writing."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path

from silt.target.failures import translated
from silt.target.log import LOG
from silt.target.store import locate


def check_writable(uri: str, options: Mapping[str, str]) -> None:
    """Raise what a commit to a local table would meet: `UserError` for a folder that may not be written.

    A remote store says only when it is written to whether it allows that.
    """
    folder = locate(uri, options).folder
    if folder is None:
        return
    with translated(uri, options):
        for place in {_nearest(folder), _nearest(folder / LOG)}:
            if not place.is_dir():
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(place))
            if not os.access(place, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(place))


def _nearest(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there: where it would be made."""
    return next(place for place in (folder, *folder.parents) if place.exists())
