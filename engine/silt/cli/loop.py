"""`silt run` without --once: begins, loops and ends, and tells of it in the log."""

from __future__ import annotations

import time
from collections.abc import Callable
from signal import SIGPIPE
from typing import TYPE_CHECKING

from silt.cli import collector, console
from silt.cli.log import emitter
from silt.cli.paths import manifest_path
from silt.cli.select import Selection
from silt.cli.signals import Interrupted, Stop, leave, stop_on_signals
from silt.daemon import Daemon, Replication
from silt.daemon.begin import Beginning, Problems, begin, wait_for
from silt.daemon.caretaker import Caretaker
from silt.daemon.front import Front
from silt.daemon.loop import PATIENCE
from silt.manifest.listen import parse
from silt.report import problems, reload
from silt.report.events import of_event
from silt.state import StateDir

if TYPE_CHECKING:
    from silt.manifest.model import Listen
    from silt.replicate.model import Event
    from silt.report.events import Line

    Emit = Callable[[Line], None]


def loop(
    path: str | None, selection: Selection, *, as_json: bool, watch: bool, wait: bool, listen: str | None
) -> int:
    """Every stream on its own schedule, until a signal; `listen` goes over the manifest's."""
    address = parse(listen) if listen else None
    with stop_on_signals() as stop:
        emit = emitter(as_json=as_json, gone=stop.hang_up)
        beginning = _begin(manifest_path(path), emit, stop, wait=wait)
        if beginning is not None:
            _run(beginning, selection, emit, stop, watch=watch, served=(address, listen is not None))
    if stop.number == SIGPIPE:
        raise Interrupted(SIGPIPE)
    return 0


def _begin(path: str, emit: Emit, stop: Stop, *, wait: bool) -> Beginning | None:
    """The manifest to begin with; None where a signal came while it was waited for."""

    def refused(found: Problems) -> None:
        emit(reload.refused_at_start(found, runs=None, now=time.time()))

    beginning = wait_for(path, stop=stop.event, refused=refused) if wait else begin(path)
    if beginning is not None and beginning.problems:
        emit(reload.refused_at_start(beginning.problems, runs=beginning.kept, now=time.time()))
    return beginning


def _run(
    beginning: Beginning,
    selection: Selection,
    emit: Emit,
    stop: Stop,
    *,
    watch: bool,
    served: tuple[Listen | None, bool],
) -> None:
    from silt import observe

    manifest = beginning.manifest
    address, fixed = served
    console.err(problems.text(manifest.warnings, level="warning"))
    state = StateDir(manifest.state_dir, manifest=manifest.name, node=manifest.node)
    with state.lock(manifest.path) as lock, observe.Handles(manifest) as handles:
        if lock.warning:
            console.err([f"warning: {lock.warning}"])

        def hear(event: Event) -> None:
            front.heard(event)
            if (line := of_event(event)) is not None:
                emit(line)

        work = Replication(handles, select=selection, listen=hear)
        daemon = Daemon(beginning, work, emit=emit, stop=stop.event, state=state, watch=watch)
        front = Front(daemon, emit=emit, address=address, fixed=fixed)
        front.listen()
        daemon.reloaded, daemon.url = front.reloaded, lambda: front.url
        stop.wake, stop.hang = daemon.wake, daemon.reload
        caretaker = Caretaker(state, handles, running=daemon.running, emit=emit)
        caretaker.start()
        collector.started()
        try:
            ended = daemon.run(check=lambda: console.err(f"warning: {w}" for w in selection.check()))
        finally:
            front.stop()
            kept = caretaker.close(PATIENCE)
        if not (kept and daemon.is_quiet):
            # A thread is in native code: the interpreter must not end under it.
            leave(0 if ended else 1)
