"""`silt reset`: a stream starts anew; its rows and its position go in one commit."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Annotated, Final

import typer

from silt.cli import console
from silt.cli.options import AsJson, Yes
from silt.cli.paths import load
from silt.cli.signals import stop_on_signals
from silt.cli.streams import resolved
from silt.errors import UserError

if TYPE_CHECKING:
    from silt.manifest.model import Manifest
    from silt.observe import Handles
    from silt.plan.model import Plan
    from silt.state import StateDir

PATIENCE: Final = 3.0
"""Seconds until a stream that may be held must have been tried: the status is written once a second."""

HELD: Final = "A stream that silt holds can be reset while it runs"


def reset(
    path: Annotated[str, typer.Argument(metavar="PATH", help="The manifest.", show_default=False)],
    stream: Annotated[str, typer.Argument(metavar="STREAM", help="The stream's name.", show_default=False)],
    start: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="X", help="Only read rows again: those from this value of the cursor."
        ),
    ] = None,
    end: Annotated[
        str | None,
        typer.Option("--to", metavar="Y", help="Up to this value, itself in it; of a time also a day."),
    ] = None,
    allow_duplicates: Annotated[
        bool,
        typer.Option(
            "--allow-duplicates", help="With --from or --to: append rows that no key tells apart, too."
        ),
    ] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> int:
    """Remove a stream's rows and its position from the lake, in one commit. The next run refills it.

    Only the rows that this stream of this node wrote go; older versions of the table keep them until it
    is vacuumed. The source is not touched. While the manifest runs, a stream that is held can be reset:
    that ends the hold, and the stream begins anew as the manifest has it now.

    With --from or --to nothing is removed: rows of that interval of the cursor (of the primary key, in mode
    mirror), as far as they were read already, are read again and written in their places, by key. Rows that
    the source no longer has stay.

    Examples:  [cyan]silt reset plant.yaml settings[/]   [cyan]silt reset plant.yaml log --from 2026-01-31[/]
    """
    if start is not None or end is not None:
        return _read_again(path, stream, start, end, duplicates=allow_duplicates, yes=yes, as_json=as_json)
    if allow_duplicates:
        raise typer.BadParameter("--allow-duplicates goes with --from or --to")
    return _empty(path, stream, yes=yes, as_json=as_json)


def _empty(path: str, stream: str, *, yes: bool, as_json: bool) -> int:
    from silt import observe, replicate
    from silt.manifest.identity import identity
    from silt.manifest.redact import plain_uri
    from silt.report import run as results
    from silt.state import StateDir

    manifest = load(path)
    state = StateDir(manifest.state_dir, manifest=manifest.name, node=manifest.node)
    with _alone(state, manifest.path, stream), observe.Handles(manifest) as handles:
        planned = _planned(manifest, handles, stream)
        chosen = planned.streams[0].stream
        uri = plain_uri(manifest.target(chosen.target).uri)
        _make_sure(
            f"reset removes the rows of {stream} from {uri}",
            f"Remove the rows and the position of {stream} from {uri}?",
            yes=yes,
        )
        result = replicate.reset(planned, handles, stream, listen=lambda _: None)
        if result.error is None:
            state.keep_ran({stream: identity(manifest, chosen)})
            state.keep_reset(stream)
    if as_json:
        console.as_json({"stream": results.stream_data(result), "range": None, "ok": result.error is None})
    elif result.error is not None:
        raise result.error
    elif not result.batches:
        console.out([f"  {stream}: nothing to reset: the lake has no table of it", _next(state, manifest)])
    else:
        console.out([f"  {stream}: emptied, v{result.version}", _next(state, manifest)])
    return 0 if result.error is None else 1


def _planned(manifest: Manifest, handles: Handles, stream: str) -> Plan:
    """The plan of that one stream.  Raises `UserError` where there is none of that name."""
    from silt import observe

    known = [s.name for s in resolved(manifest, handles)]
    if stream not in known:
        raise _no_such(stream, known)
    return observe.look(manifest, handles, select=lambda s: s.name == stream)


# --- an interval ----------------------------------------------------------------------------------


def _read_again(
    path: str,
    stream: str,
    start: str | None,
    end: str | None,
    *,
    duplicates: bool,
    yes: bool,
    as_json: bool,
) -> int:
    from silt import observe, replicate
    from silt.cli.held import holding
    from silt.manifest.redact import plain_uri
    from silt.plan.interval import Interval
    from silt.report import run as results
    from silt.state import StateDir

    interval = Interval(start=start, end=end, duplicates=duplicates)
    manifest = load(path)
    state = StateDir(manifest.state_dir, manifest=manifest.name, node=manifest.node)
    with stop_on_signals() as stop, state.lock(manifest.path) as lock, observe.Handles(manifest) as handles:
        if lock.warning:
            console.err([f"warning: {lock.warning}"])
        (plan,) = holding(_planned(manifest, handles, stream), state).streams
        replicate.check_interval(plan.stream)
        uri = plain_uri(manifest.target(plan.stream.target).uri)
        _make_sure(
            f"reset writes rows of {stream} in {uri} anew ({interval})",
            f"Read the rows of {stream} {interval} again, and write them in {uri}?",
            yes=yes,
        )
        again = replicate.read_again(plan, handles, interval, listen=lambda _: None, stop=stop.event)
    result, code = again.result, stop.code if stop.number else int(again.result.error is not None)
    if as_json:
        told = {"from": start, "to": end, "read": again.read}
        console.as_json({"stream": results.stream_data(result), "range": told, "ok": result.error is None})
    elif result.error is not None:
        raise result.error
    else:
        console.out(results.again(result, again.read, width=console.width()))
    return code


# --- shared ---------------------------------------------------------------------------------------


@contextmanager
def _alone(state: StateDir, path: str, stream: str) -> Iterator[None]:
    """The lock; or, where a running silt has it and holds `stream`, nothing: it does not write that.

    Should it do so all the same (its hold ends in that moment), one of the two commits is refused, as
    between any two writers (DESIGN 4.2).  Raises `AlreadyRunning` where the stream is not held.
    """
    from silt.state import AlreadyRunning

    with ExitStack() as opened:
        try:
            lock = opened.enter_context(state.lock(path))
        except AlreadyRunning as error:
            if not _holds(state, stream):
                raise AlreadyRunning(error.what, on=error.on, hint=f"{error.hint}. {HELD}") from None
        else:
            if lock.warning:
                console.err([f"warning: {lock.warning}"])
        yield


def _holds(state: StateDir, stream: str) -> bool:
    """Whether the silt that runs says that it holds `stream`; one that is being tried again is waited for."""
    end = time.monotonic() + PATIENCE
    while True:
        holder, status = state.holder(), state.read()
        if holder is None or status is None or not status.loop or status.pid != holder.pid:
            return False
        known = status.stream(stream)
        if known is None or known.state != "running" or time.monotonic() >= end:
            return known is not None and known.state == "held"
        time.sleep(0.05)


def _no_such(stream: str, names: list[str]) -> UserError:
    from silt.manifest.problems import did_you_mean, streams_are

    meant = did_you_mean(stream, names)
    return UserError(f"no stream {stream!r}" + (f" ({meant})" if meant else ""), hint=streams_are(names))


def _next(state: StateDir, manifest: Manifest) -> str:
    """What fills the table again: the silt that runs, or one that is to be started."""
    from silt.report.plan import command_path

    if state.holder() is not None:
        return "  the running silt refills it"
    return f"  refill it: silt run {command_path(manifest.path)} --once"


def _make_sure(fact: str, question: str, *, yes: bool) -> None:
    """Ask a person; without one, only `--yes` will do.

    Raises `UserError` for a no.
    """
    if yes:
        return
    if not console.interactive():
        raise UserError(fact, hint="--yes does it without asking")
    if not console.ask(question):
        raise UserError("not confirmed: nothing was changed")
