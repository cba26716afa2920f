"""`silt status`: how every stream stands, from the lake itself and the last status file; no daemon needed."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from silt.cli import console
from silt.cli.again import again
from silt.cli.options import AsJson, Exclude, ManifestPath, Select
from silt.cli.paths import load, manifest_path
from silt.cli.select import Selection
from silt.errors import SiltError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from silt.manifest.model import Manifest
    from silt.observe import Handles
    from silt.plan.model import Outlook, Plan, StreamPlan
    from silt.report.plan import Entry
    from silt.report.status import Standing, Status
    from silt.state import Holder, LastStatus, StateDir, StreamStatus

WATCH = 2.0
DAY = 86400.0
STALE_INTERVALS = 3
STALE_AT_LEAST = 60.0


def status(
    path: ManifestPath = None,
    select: Select = None,
    exclude: Exclude = None,
    every: Annotated[
        bool, typer.Option("--all", help="List streams that are ok too, however many they are.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Look again every two seconds, in place, until Ctrl-C.")
    ] = False,
    as_json: AsJson = False,
    check: Annotated[
        bool, typer.Option("--check", help="Exit 1 when something is failing, held or stale.")
    ] = False,
) -> int:
    """Show how every stream stands: state, lag, rows, last commit. Needs no running silt.

    Reads the lake, counts what is pending in the sources, and adds what a running silt wrote down. Where
    the manifest on disk is invalid, the last one that ran is shown, with what is wrong with the new one.

    Examples:  [cyan]silt status plant.yaml --watch[/]   [cyan]silt status plant.yaml --check --json[/]
    """
    from silt.report import status as report

    selection = Selection(select, exclude)
    if watch:
        if as_json or check:
            raise typer.BadParameter("--watch is for people, and goes with neither --json nor --check")
        again(lambda: report.text(_watched(path, selection), width=console.width(), every=every), WATCH)
    seen = _seen(path, selection, load)
    console.err(f"warning: {words}" for words in selection.check())
    if as_json:
        console.as_json(report.data(seen))
    else:
        console.out(report.text(seen, width=console.width(), every=every))
    return 1 if check and not seen.ok else 0


def _watched(path: str | None, selection: Selection) -> Status:
    """One look of many: warnings would be told every time, and are not told at all."""
    from silt import manifest

    seen = _seen(path, selection, lambda given: manifest.load(manifest_path(given), open_secrets=True))
    selection.check()
    return seen


def _seen(path: str | None, selection: Selection, read: Callable[[str | None], Manifest]) -> Status:
    """By the manifest on disk; where that is invalid by the last that ran, if there is one."""
    from silt.manifest import ManifestInvalid

    try:
        return look(read(path), selection)
    except ManifestInvalid as error:
        kept = _last_good(manifest_path(path))
        if kept is None:
            raise
        return replace(look(kept, selection), on_disk="refused", problems=error.problems)


def _last_good(path: str) -> Manifest | None:
    """The last manifest at `path` that ran; None where none is kept, or it has no variables to run with."""
    from silt import manifest as manifests
    from silt.state import last_good

    good = last_good(manifests.state_dir(path), path)
    if good is None:
        return None
    with suppress(manifests.ManifestInvalid):
        return manifests.load(path, good.texts, open_secrets=True)
    return None


def look(manifest: Manifest, selection: Selection) -> Status:
    """Every selected stream's standing now."""
    from silt import observe
    from silt.cli.held import holding
    from silt.report.plan import entries, place
    from silt.report.status import Status, refused_for
    from silt.state import StateDir

    state = StateDir(manifest.state_dir, manifest=manifest.name, node=manifest.node)
    with observe.Handles(manifest) as handles:
        planned = holding(observe.look(manifest, handles, select=selection), state)
        outlooks = _outlooks(planned, handles)
        holder, last = state.holder(), state.read()
        now = time.time()
        loops = last if last and _loops(holder, last) else None
        found = entries(planned, outlooks)
        ahead = _ahead(state, found, last, now)
        standings = tuple(
            _standing(entry, handles, last, ahead, now=now, running=loops is not None) for entry in found
        )
    return Status(
        path=manifest.path,
        title=place(planned),
        now=now,
        streams=standings,
        pid=holder.pid if holder else None,
        since=holder.since if holder else None,
        generation=loops.generation if loops else None,
        on_disk=_on_disk(manifest, loops) if loops else None,
        problems=refused_for(loops) if loops else (),
        receipts=loops.receipts if loops else (),
    )


def _outlooks(planned: Plan, handles: Handles) -> tuple[Outlook, ...]:
    from silt import observe

    return tuple(observe.outlook(planned, handles))


def _loops(holder: Holder | None, last: LastStatus | None) -> bool:
    """Whether the status file is that of the `silt run` that holds the lock now."""
    return holder is not None and last is not None and last.loop and last.pid == holder.pid


def _on_disk(manifest: Manifest, last: LastStatus) -> str:
    """What the running silt says of the files; `newer` where it has not seen them yet."""
    if last.on_disk != "same":
        return last.on_disk
    return "same" if last.digest == manifest.digest else "newer"


def _standing(
    entry: Entry,
    handles: Handles,
    last: LastStatus | None,
    ahead: Mapping[str, float],
    *,
    now: float,
    running: bool,
) -> Standing:
    from silt.report import failure
    from silt.report.status import Standing

    known = last.stream(entry.plan.stream.name) if last else None
    lake = _lake(entry.plan, handles, now)
    met = entry.error
    error, hint = (failure.located(met, entry.place), met.hint or None) if met else (None, None)
    state: str = entry.state
    if error is None and running and known and known.state in ("failing", "held", "running"):
        state, error, hint = known.state, known.error, known.hint  # what a cycle met, planning need not
    behind = _behind(entry.outlook, ahead.get(entry.plan.stream.name), now)
    return Standing(
        name=entry.plan.stream.name,
        state=state,
        behind_seconds=behind,
        pending_rows=entry.outlook.pending_rows if entry.state != "disabled" else None,
        pending_at_least=entry.outlook.pending_at_least,
        rows=lake.rows,
        version=lake.version,
        last_commit=lake.last,
        next=known.next if known and running else None,
        tries=known.tries if known and error else 0,
        failing_since=known.failing_since if known and error else None,
        error=error,
        hint=hint,
        notes=entry.plan.notes if state == "waiting" else (),
        on_change=entry.plan.stream.schedule.on_change is not None,
        stale=_stale(entry, known, lake, now),
    )


def _ahead(state: StateDir, found: Iterable[Entry], last: LastStatus | None, now: float) -> dict[str, float]:
    """By stream, since when its source is seen ahead; this look is remembered for the next, daemon or not."""
    before = state.ahead()
    moments = dict(before)
    for entry in found:
        name = entry.plan.stream.name
        known = last.stream(name) if last else None
        if entry.outlook.pending_rows or entry.outlook.pending_at_least:
            moments[name] = _first_ahead(known, before.get(name), now)
        elif entry.outlook.pending_rows == 0:
            moments.pop(name, None)
    if moments != before:
        state.write_ahead(moments)
    return moments


def _first_ahead(known: StreamStatus | None, seen: float | None, now: float) -> float:
    """The earliest moment that counts: what was ahead before a cycle that left nothing behind is taken."""
    taken = (known.caught_up if known else None) or 0.0
    moments = (known.ahead_since if known else None, seen)
    return min((moment for moment in moments if moment is not None and moment > taken), default=now)


def _behind(outlook: Outlook, since: float | None, now: float) -> float | None:
    """Seconds since the source was first seen ahead; 0 when it is not, None where that is not known."""
    if outlook.pending_rows == 0:
        return 0.0
    if outlook.pending_rows is None and not outlook.pending_at_least:
        return None
    return now - since if since is not None else 0.0


def _stale(entry: Entry, known: StreamStatus | None, lake: _Lake, now: float) -> bool:
    """Rows are pending, and nothing has taken any for longer than three intervals (a minute at least)."""
    pending = entry.outlook.pending_rows or entry.outlook.pending_at_least or 0
    if not pending or entry.state in ("disabled", "waiting"):
        return False
    from silt.manifest.schedule import interval

    seen = [moment for moment in (lake.last, known.caught_up if known else None) if moment is not None]
    limit = max(STALE_INTERVALS * interval(entry.plan.stream.schedule, now), STALE_AT_LEAST)
    return not seen or now - max(seen) > limit


class _Lake:
    """What the lake says of one stream: its table's version, its last commit, its rows of 24 hours."""

    def __init__(self) -> None:
        self.version: int | None = None
        self.last: float | None = None
        self.rows: int | None = 0


def _lake(plan: StreamPlan, handles: Handles, now: float) -> _Lake:
    """Over all tables of the stream; a table that cannot be read leaves its numbers unknown."""
    found = _Lake()
    for table in plan.tables:
        try:
            _add_table(found, plan, table.target, table.into, handles, now)
        except SiltError:  # the outlook of this stream has said it
            found.rows = None
    if plan.error is not None and not plan.tables:
        found.rows = None
    return found


def _add_table(found: _Lake, plan: StreamPlan, target: str, into: str, handles: Handles, now: float) -> None:
    from silt.observe.history import lately
    from silt.position import decode, parse_app

    manifest = handles.manifest
    owner = (manifest.name, manifest.node, plan.stream.name)
    with handles.lake(manifest.target(target), into) as lake:
        if lake.table is None:
            return
        found.version = max(found.version or 0, lake.table.version)
        for app in list(lake.table.txns):
            parts = parse_app(app)
            if parts is not None and (parts.manifest, parts.node, parts.stream) == owner:
                position = decode(lake.table.position(app)[1])
                _latest(found, position.committed_at / 1000 if position and position.committed_at else None)
        recent = lately(lake.uri, lake.options, stream=owner, since=now - DAY)
    _latest(found, recent.last)
    found.rows = None if found.rows is None or recent.rows is None else found.rows + recent.rows


def _latest(found: _Lake, moment: float | None) -> None:
    if moment is not None:
        found.last = max(found.last or 0.0, moment)
