"""`silt reset`: a stream starts anew; its rows and its position go in one commit."""

from __future__ import annotations

from typing import Annotated

import typer

from silt.cli import console
from silt.cli.options import AsJson, Yes
from silt.cli.paths import load
from silt.cli.streams import resolved
from silt.errors import UserError


def reset(
    path: Annotated[str, typer.Argument(metavar="PATH", help="The manifest.", show_default=False)],
    stream: Annotated[str, typer.Argument(metavar="STREAM", help="The stream's name.", show_default=False)],
    yes: Yes = False,
    as_json: AsJson = False,
) -> int:
    """Remove a stream's rows and its position from the lake, in one commit. The next run refills it.

    Only the rows that this stream of this node wrote go; older versions of the table keep them until it
    is vacuumed. The source is not touched.

    Example:  [cyan]silt reset plant.yaml settings[/]
    """
    from silt import observe, replicate
    from silt.report import plan as report
    from silt.report import run as results
    from silt.state import StateDir

    manifest = load(path)
    with (
        StateDir(manifest.state_dir, manifest=manifest.name, node=manifest.node).lock(manifest.path) as lock,
        observe.Handles(manifest) as handles,
    ):
        if lock.warning:
            console.err([f"warning: {lock.warning}"])
        known = [s.name for s in resolved(manifest, handles)]
        if stream not in known:
            raise _no_such(stream, known)
        planned = observe.look(manifest, handles, select=lambda s: s.name == stream)
        _make_sure(stream, manifest.target(planned.streams[0].stream.target).uri, yes=yes)
        result = replicate.reset(planned, handles, stream, listen=lambda _: None)
    if as_json:
        console.as_json({"stream": results.stream_data(result), "ok": result.error is None})
    elif result.error is not None:
        raise result.error
    elif not result.batches:
        console.out([f"  {stream}: nothing to reset: the lake has no table of it"])
    else:
        again = f"silt run {report.command_path(manifest.path)} --once"
        console.out([f"  {stream}: emptied, v{result.version}", f"  refill it: {again}"])
    return 0 if result.error is None else 1


def _no_such(stream: str, names: list[str]) -> UserError:
    from silt.manifest.problems import did_you_mean, streams_are

    meant = did_you_mean(stream, names)
    return UserError(f"no stream {stream!r}" + (f" ({meant})" if meant else ""), hint=streams_are(names))


def _make_sure(stream: str, uri: str, *, yes: bool) -> None:
    """Ask a person; without one, only `--yes` will do.

    Raises `UserError` for a no.
    """
    from silt.manifest.redact import plain_uri

    if yes:
        return
    if not console.interactive():
        raise UserError(
            f"reset removes the rows of {stream} from {plain_uri(uri)}", hint="--yes does it without asking"
        )
    if not console.ask(f"Remove the rows and the position of {stream} from {plain_uri(uri)}?"):
        raise UserError("not confirmed: nothing was removed")
