"""`silt reload`: the running silt reads its manifest now, and says what became of it."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, Final

from silt.cli import console
from silt.cli.options import AsJson, ManifestPath
from silt.cli.paths import manifest_path
from silt.errors import RetryLater, UserError

if TYPE_CHECKING:
    from silt.state import Holder, LastStatus, Receipt, StateDir

PATIENCE: Final = 60.0
"""Seconds until a receipt must have come: new streams are looked at before they are adopted."""

BEGINNING: Final = 10.0
"""Seconds until a process that holds the lock must have said that it is a `silt run`."""

_POLL: Final = 0.05


def reload(path: ManifestPath = None, as_json: AsJson = False) -> int:
    """Have the process that runs a manifest read it now; print what that changed, or why it was refused.

    It follows edits by itself; this does it at once, also with --no-watch or where a secret's file
    changed, and tells how it ended. The same as SIGHUP.

    Examples:  [cyan]silt reload plant.yaml[/]   [cyan]silt reload plant.yaml --json[/]
    """
    from silt.report import reload as report

    receipts = _reloaded(manifest_path(path))
    if as_json:
        console.as_json(report.data(receipts[-1]))
    elif receipts[-1].result == "refused":
        console.err(report.text(receipts[-1]))
    else:
        console.out(line for receipt in receipts for line in report.text(receipt))
    return 1 if receipts[-1].result == "refused" else 0


def _reloaded(path: str) -> tuple[Receipt, ...]:
    """The receipts of a reload that is asked for now, the last one its own."""
    state, holder = _running(path)
    _loop_of(state, holder)
    asked = time.time()
    _hang_up(state, holder)
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        status = state.read()
        fresh = [r for r in status.receipts if r.at >= asked] if status else []
        if any(r.at - r.seconds >= asked - _POLL for r in fresh):
            return tuple(fresh)
        if state.holder() is None:
            raise UserError(f"process {holder.pid} ended before it had reloaded {path}", hint="see its log")
        time.sleep(_POLL)
    raise RetryLater(
        f"no receipt of process {holder.pid} within {PATIENCE:.0f} s", on=path, hint=f"silt status {path}"
    )


def _running(path: str) -> tuple[StateDir, Holder]:
    """The one process that runs the manifest at `path`.  Raises `UserError`."""
    from silt import manifest
    from silt.report.plan import command_path
    from silt.state import running

    folder = manifest.state_dir(path)
    found = running(folder, path)
    if not found:
        hint = f"start it: silt run {command_path(path)}"
        raise UserError(f"no silt runs {path}: nobody holds its lock in {folder}", hint=hint)
    if len(found) > 1:
        numbers = ", ".join(f"{holder.pid}" for _, holder in found)
        raise UserError(f"several silts run {path}: processes {numbers}", hint="send SIGHUP to the one meant")
    return found[0]


def _loop_of(state: StateDir, holder: Holder) -> LastStatus:
    """What the loop of `silt run` wrote; one that has just begun is waited for.

    Raises `UserError` for another verb that holds the lock: SIGHUP would end it.
    """
    end = time.monotonic() + BEGINNING
    while True:
        status = state.read()
        if status is not None and status.loop and status.pid == holder.pid:
            return status
        if time.monotonic() >= end or state.holder() is None:
            raise UserError(f"process {holder.pid} is no silt run that could reload", on=holder.manifest)
        time.sleep(_POLL)


def _hang_up(state: StateDir, holder: Holder) -> None:
    """Send SIGHUP, if it is that process that has the lock: numbers of another container are not ours."""
    try:
        if not state.is_held_by(holder.pid):
            raise UserError(
                f"silt runs in another container, or on another machine (as process {holder.pid} there)",
                on=holder.manifest,
                hint="send it SIGHUP there; unless it runs with --no-watch it follows edits by itself",
            )
        os.kill(holder.pid, signal.SIGHUP)
    except PermissionError:
        raise UserError(
            f"process {holder.pid} belongs to another user", on=holder.manifest, hint="reload as that user"
        ) from None
    except ProcessLookupError:
        raise UserError(f"process {holder.pid} has just ended", on=holder.manifest) from None
