"""Which manifest `silt run` begins with (DESIGN 9): the one on disk, else the last good one, as written.

The last good manifest is kept in its `state_dir`, by its PATH (`silt.state.StateDir.keep_good`), since a
manifest that is not valid may tell neither name nor node.  It is found again where the manifest on disk
still tells its `state_dir`, or never named one (`silt.manifest.state_dir`); its variables and secrets are
those of today.  Losing it loses nothing but that silt then does not begin.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from silt import manifest
from silt.daemon.edits import can_change, content
from silt.manifest import ManifestInvalid
from silt.manifest.model import Manifest, Problem
from silt.state import Good, last_good

TICK: Final = 1.0
"""Seconds between looks at a manifest that is waited for."""

AGAIN: Final = 10.0
"""Seconds until it is tried again though its files are the same: a secret's file, say, may have come."""

Problems: TypeAlias = tuple[Problem, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """What runs first.

    `on_disk` is what the files on disk are (`edits.content`), from which an edit is told.  Where those are
    not valid, `problems` say why, and `kept` when the one that runs was last known to be good (seconds
    since the epoch).
    """

    manifest: Manifest
    on_disk: str
    problems: Problems = ()
    kept: float | None = None


def begin(path: str) -> Beginning:
    """The manifest at `path`, secrets opened, else the last good one of that path.

    Raises ManifestInvalid, with what is wrong on disk, where neither can run.
    """
    try:
        found = manifest.load(path, open_secrets=True)
        return Beginning(manifest=found, on_disk=found.digest)
    except ManifestInvalid as error:
        good = _good(path)
        if good is None:
            raise
        return _in_place(path, good, error)


def wait_for(
    path: str, *, stop: threading.Event, refused: Callable[[Problems], None], tick: float = TICK
) -> Beginning | None:
    """`begin`, again and again until it can; None where `stop` was set meanwhile.

    `refused` is told what is wrong, once for the same problems.
    """
    told: Problems = ()
    while not stop.is_set():
        seen, looked = content(path), time.monotonic()
        try:
            return begin(path)
        except ManifestInvalid as error:
            if error.problems != told:
                told = error.problems
                refused(told)
        while not stop.wait(tick) and content(path) == seen and time.monotonic() - looked < AGAIN:
            pass
    return None


def _good(path: str) -> Good | None:
    """The last good manifest of `path`, if it is still whole; a pipe has none, and is read but once."""
    good = last_good(manifest.state_dir(path), path) if can_change(path) else None
    return good if good is not None and manifest.digest(good.texts) == good.digest else None


def _in_place(path: str, good: Good, error: ManifestInvalid) -> Beginning:
    try:
        runs = manifest.load(path, good.texts, open_secrets=True)
    except ManifestInvalid:
        raise error from None  # what the files say is the user's to mend, not what they once said
    return Beginning(manifest=runs, on_disk=content(path), problems=error.problems, kept=good.at)
