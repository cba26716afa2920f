"""`silt maintain`: compacts and vacuums the Delta tables now, as their `maintenance` says."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated

import typer

from silt.cli import console
from silt.cli.options import AsJson, Exclude, ManifestPath, Select
from silt.cli.paths import load
from silt.cli.select import Selection

if TYPE_CHECKING:
    from silt.manifest.model import Manifest
    from silt.observe import Handles
    from silt.replicate.upkeep import Chore, Upkept
    from silt.state import StateDir


def maintain(
    path: ManifestPath = None,
    select: Select = None,
    exclude: Exclude = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")] = False,
    as_json: AsJson = False,
) -> int:
    """Write small files together and remove what left the tables, now, as [bold]maintenance[/] says.

    A running silt does this by itself, and this may run beside it: rows, their order and positions stay,
    no commit waits, and a table that another silt is at is left to it.

    Examples:  [cyan]silt maintain plant.yaml --dry-run[/]   [cyan]silt maintain --select readings[/]
    """
    from silt.report import upkeep as report
    from silt.state import StateDir

    manifest, selection = load(path), Selection(select, exclude)
    state = StateDir(manifest.state_dir, manifest=manifest.name, node=manifest.node)
    with ExitStack() as stack:
        handles = _handles(manifest, state, stack, dry_run=dry_run)
        found = _chores(handles, selection)
        width = max((len(chore.into) for chore in found), default=0)
        results: list[Upkept] = []
        for chore in found:
            done = list(_results(chore, state, handles, dry_run=dry_run))
            results += done
            if not as_json:
                console.out(report.text(chore, done, name_width=min(width, 40), width=console.width()))
    ok = all(result.outcome != "failed" for result in results)
    if as_json:
        console.as_json({"tables": [report.data(result) for result in results], "ok": ok})
    return 0 if ok else 1


def _handles(manifest: Manifest, state: StateDir, stack: ExitStack, *, dry_run: bool) -> Handles:
    """Beside a running silt nothing is mended: that is for the one that has the lock."""
    from silt.observe import Handles
    from silt.state import AlreadyRunning

    alone = not dry_run
    if alone:
        try:
            lock = stack.enter_context(state.lock(manifest.path))
            console.err([f"warning: {lock.warning}"] if lock.warning else [])
        except AlreadyRunning:
            alone = False
    return stack.enter_context(Handles(manifest, mend=alone))


def _chores(handles: Handles, selection: Selection) -> tuple[Chore, ...]:
    """The tables of the selected streams; one that others write too, as all of them want it."""
    from silt.cli.streams import resolved
    from silt.replicate.upkeep import chores

    streams = resolved(handles.manifest, handles)
    names = {stream.name for stream in streams if selection(stream)}
    console.err(f"warning: {words}" for words in selection.check())
    return tuple(c for c in chores(handles.manifest, streams) if names.intersection(c.streams))


def _results(chore: Chore, state: StateDir, handles: Handles, *, dry_run: bool) -> list[Upkept]:
    from silt.replicate.upkeep import TASKS, Upkeep

    upkeep = Upkeep(state)
    return list(upkeep.foresee(chore, handles) if dry_run else upkeep.carry_out(chore, TASKS, handles))
