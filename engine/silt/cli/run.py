"""`silt run`: carry out the plan, once or again and again."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Final

import typer

from silt.cli import collector, console
from silt.cli.options import AsJson, Exclude, ManifestPath, Select
from silt.cli.paths import load
from silt.cli.select import Selection
from silt.cli.signals import Stop, stop_on_signals

if TYPE_CHECKING:
    from silt.manifest.model import Manifest
    from silt.observe import Handles
    from silt.plan.model import Plan
    from silt.replicate.model import RunResult
    from silt.state import StateDir

_COUNTING: Final = 0.5
"""Seconds that counting pending rows may take before a run on a terminal."""


def run(  # noqa: PLR0913, PLR0917  # a flag each
    path: ManifestPath = None,
    once: Annotated[bool, typer.Option("--once", help="One cycle of every stream, then exit.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be done: silt plan.")
    ] = False,
    watch: Annotated[
        bool, typer.Option(help="Follow edits of the manifest while it runs; not with --once.")
    ] = True,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait for a manifest that is valid; not with --once.")
    ] = False,
    listen: Annotated[
        str | None,
        typer.Option(
            "--listen",
            metavar="HOST:PORT",
            envvar="SILT_LISTEN",
            help="Serve the status page and metrics here, whatever the manifest says; `off` for nowhere.",
        ),
    ] = None,
    select: Select = None,
    exclude: Exclude = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="With --once one JSON object, else log lines as JSON.")
    ] = False,
    log_format: Annotated[
        str,
        typer.Option("--log-format", metavar="human|json", help="How the log is written (not with --once)."),
    ] = "human",
) -> int:
    """Replicate: once, or every stream on its own schedule until a signal ends it.

    Each row arrives exactly once, whatever is killed when. SIGTERM and Ctrl-C finish the commit under
    way; a second one ends at once.

    Examples:  [cyan]silt run plant.yaml --once[/]   [cyan]silt run plant.yaml --log-format json[/]
    """
    if log_format not in ("human", "json"):
        raise typer.BadParameter(f"--log-format is {log_format!r}, and knows human, json")
    selection = Selection(select, exclude)
    if dry_run:
        from silt.cli.plan import show_plan

        return show_plan(path, selection, every=False, as_json=as_json, detailed_exitcode=False)
    if once:
        return _once(path, selection, as_json=as_json)
    from silt.cli.loop import loop

    as_json = as_json or log_format == "json"
    return loop(path, selection, as_json=as_json, watch=watch, wait=wait, listen=listen)


# --- once -----------------------------------------------------------------------------------------


def _once(path: str | None, selection: Selection, *, as_json: bool) -> int:
    from silt.cli.held import accept
    from silt.report import run as report
    from silt.state import StateDir

    manifest = load(path)
    state = StateDir(manifest.state_dir, manifest=manifest.name, node=manifest.node)
    started, began = time.time(), time.monotonic()
    with stop_on_signals() as stop, state.lock(manifest.path) as lock:
        if lock.warning:
            console.err([f"warning: {lock.warning}"])
        planned, result = _cycle(manifest, selection, state, stop, quiet=as_json)
        result = replace(result, seconds=time.monotonic() - began)  # looking is part of it
        if not lock.warning:
            _remember(state, manifest, result, started)
            accept(planned, result, state)
    if as_json:
        console.as_json(report.data(result))
    else:
        console.out(_closing(planned, result, stopped=bool(stop.number)))
    if stop.number:
        return stop.code
    return 0 if result.ok else 1


def _cycle(
    manifest: Manifest, selection: Selection, state: StateDir, stop: Stop, *, quiet: bool
) -> tuple[Plan, RunResult]:
    from silt import observe, replicate
    from silt.cli.held import holding
    from silt.cli.progress import view

    with observe.Handles(manifest) as handles:
        planned = holding(observe.look(manifest, handles, select=selection), state)
        console.err(f"warning: {words}" for words in selection.check())
        collector.started()
        expected = {} if quiet or not sys.stdout.isatty() else _expected(planned, handles)
        with view(planned, expected, quiet=quiet) as listen:
            result = replicate.run(planned, handles, listen=listen, stop=stop.event)
    return planned, result


def _expected(planned: Plan, handles: Handles) -> dict[str, int]:
    """Rows pending by stream, for a person who watches; counted briefly, left out where that takes longer.

    None of modes without a cursor: what they would write is known by reading the whole table.
    """
    from silt import observe

    counted = tuple(p for p in planned.streams if p.stream.has_cursor)
    outlooks = observe.outlook(replace(planned, streams=counted), handles, budget=_COUNTING)
    return {o.stream: o.pending_rows for o in outlooks if o.pending_rows}


def _remember(state: object, manifest: Manifest, result: RunResult, started: float) -> None:
    from silt.daemon import remember
    from silt.state import StateDir

    assert isinstance(state, StateDir)
    warning = remember(state, manifest, result, started=started)
    if warning:
        console.err([f"warning: {warning}"])


def _closing(planned: Plan, result: RunResult, *, stopped: bool) -> list[str]:
    from silt.manifest.redact import plain_uri
    from silt.report import plan as plans
    from silt.report import run as report

    used = dict.fromkeys(p.stream.target for p in planned.streams)
    where = ", ".join(plain_uri(_shown(planned.manifest.target(name).uri)) for name in used)
    biggest = max((s for s in result.streams if s.rows), key=lambda s: s.rows, default=None)
    look = ""
    if biggest is not None:
        manifest = plans.command_path(planned.manifest.path)
        look = f'silt query {manifest} "select * from {_as_table(biggest.name)} limit 5"'  # noqa: S608  # for a person
    return ["", *report.closing(result, target=where, look=look, stopped=stopped)]


def _shown(uri: str) -> str:
    """A local path relative to here where that is shorter."""
    import os

    if "://" in uri:
        return uri
    relative = os.path.relpath(uri)
    return relative if len(relative) < len(uri) else uri


def _as_table(name: str) -> str:
    """A stream's name as SQL takes it: in quotes (escaped for the shell's) unless it is a plain word."""
    return name if name.isidentifier() and name.isascii() else f'\\"{name}\\"'


__all__ = ["AsJson", "run"]
