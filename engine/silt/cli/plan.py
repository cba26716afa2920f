"""`silt plan`: what would be done, and why. `silt run --dry-run` is the same."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from silt.cli import console
from silt.cli.options import AsJson, Exclude, ManifestPath, Select
from silt.cli.paths import load
from silt.cli.select import Selection

if TYPE_CHECKING:
    from silt.plan.model import Outlook, Plan

CHANGES_PENDING = 2  # from --detailed-exitcode only (DESIGN 10)


def plan(
    path: ManifestPath = None,
    select: Select = None,
    exclude: Exclude = None,
    every: Annotated[bool, typer.Option("--all", help="List streams that are up to date too.")] = False,
    as_json: AsJson = False,
    detailed_exitcode: Annotated[
        bool, typer.Option("--detailed-exitcode", help="Exit 2 when a run would write something.")
    ] = False,
) -> int:
    """Show what a run would do and why: cursors, schemas, rows pending. Writes nothing.

    Signs: [green]+[/] create  [yellow]~[/] alter  [cyan]>[/] write  [yellow]![/] held  [red]x[/] failing

    Examples:  [cyan]silt plan plant.yaml[/]   [cyan]silt plan plant.yaml --select tag:hot --all[/]
    """
    return show_plan(
        path, Selection(select, exclude), every=every, as_json=as_json, detailed_exitcode=detailed_exitcode
    )


def show_plan(
    path: str | None, selection: Selection, *, every: bool, as_json: bool, detailed_exitcode: bool
) -> int:
    """Print the plan; 1 when a stream fails or is held, 2 as `--detailed-exitcode` says, else 0."""
    from silt.report import plan as report

    started = time.monotonic()
    planned, outlooks = look(path, selection)
    seconds = time.monotonic() - started
    if as_json:
        console.as_json(report.data(planned, outlooks))
    else:
        console.out(report.text(planned, outlooks, seconds=seconds, every=every, width=console.width()))
    entries = report.entries(planned, outlooks)
    if any(entry.state in ("failing", "held") for entry in entries):
        return 1
    return CHANGES_PENDING if detailed_exitcode and report.changes(planned, outlooks) else 0


def look(path: str | None, selection: Selection) -> tuple[Plan, tuple[Outlook, ...]]:
    """The plan of the selected streams and what a cycle would do now."""
    from silt import observe
    from silt.cli.held import holding
    from silt.state import StateDir

    manifest = load(path)
    state = StateDir(manifest.state_dir, manifest=manifest.name, node=manifest.node)
    with observe.Handles(manifest) as handles:
        planned = holding(observe.look(manifest, handles, select=selection), state)
        console.err(f"warning: {words}" for words in selection.check())
        return planned, tuple(observe.outlook(planned, handles))
