"""Reset: a stream's slice and its positions go in one commit; the next cycle reads everything anew.

Transactions cannot be removed, so the position becomes an empty one under the next batch number
(DESIGN 4.5).  It needs no plan that works: a held stream is what it is for.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from silt import target
from silt.errors import Fenced, UserError
from silt.manifest.model import Manifest, Stream
from silt.manifest.problems import streams_are
from silt.observe import Handles, Lake, places
from silt.plan.fields import LINEAGE
from silt.plan.model import Plan
from silt.position import App, pack, parse_app, unpack
from silt.replicate.model import Committed, Listener, StreamResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Owned:
    """What a stream owns in one table: the rows of `predicate` (None: all), the positions of `apps`."""

    predicate: target.Predicate | None
    apps: tuple[str, ...]


def reset(plan: Plan, handles: Handles, stream: str, *, listen: Listener) -> StreamResult:
    """Empty the slice and the positions of `stream`, one commit a table.

    Raises `UserError` where the stream does not exist, or its rows cannot be told from another's.
    """
    started = time.monotonic()
    chosen = _find(plan, stream)
    version: int | None = None
    databases: set[str] = set()
    for into in places(handles.manifest, chosen):
        with handles.lake(handles.manifest.target(chosen.target), into) as lake:
            if lake.table is not None:
                version, emptied = _reset_table(lake, handles.manifest, chosen, into, listen)
                databases |= emptied
    return StreamResult(
        name=chosen.name,
        table=chosen.table,
        into=chosen.into,
        state="ok",
        databases=len(databases),
        batches=int(version is not None),
        version=version,
        seconds=time.monotonic() - started,
    )


def _find(plan: Plan, name: str) -> Stream:
    found = next((p.stream for p in plan.streams if p.stream.name == name), None)
    if found is None:
        raise UserError(f"no stream {name!r}", hint=streams_are([p.stream.name for p in plan.streams]))
    return found


def _reset_table(
    lake: Lake, manifest: Manifest, stream: Stream, into: str, listen: Listener
) -> tuple[int, set[str]]:
    import pyarrow as pa

    started = time.monotonic()
    table = lake.table
    if table is None:
        raise RuntimeError(f"{lake.uri}: reset before it was opened")
    table.refresh()
    owned = _owned(table, manifest, stream)
    wanted = {app: unpack(table.txns, app)[0] + 1 for app in owned.apps}
    txns = tuple(pair for app, batch in wanted.items() for pair in pack(app, batch, b""))
    databases = {app.database for app in map(parse_app, owned.apps) if app}
    about = {"manifest": manifest.name, "node": manifest.node, "stream": stream.name, "reset": "true"}
    lake.sync()
    nothing = pa.RecordBatchReader.from_batches(table.schema, [])
    table.replace(nothing, predicate=owned.predicate, txns=txns, metadata=about)
    table.refresh()
    if any(table.position(app) != (batch, b"") for app, batch in wanted.items()):
        raise Fenced("another process committed meanwhile", on=lake.uri, hint="run the reset again")
    lake.sync()
    seconds = time.monotonic() - started
    listen(
        Committed(
            stream=stream.name,
            into=into,
            rows=0,
            databases=len(databases),
            version=table.version,
            seconds=seconds,
        )
    )
    return table.version, databases


def _owned(table: target.Table, manifest: Manifest, stream: Stream) -> Owned:
    """The stream's rows by lineage; refused where another writer's rows would go with them."""
    names = {column.name for column in table.columns}
    by_node = LINEAGE["node"][0] in names
    mine = [
        name
        for name, app in _apps(table)
        if (app.manifest, app.node, app.stream) == _identity(manifest, stream)
    ]
    others = [
        app for name, app in _apps(table) if name not in mine and (not by_node or app.node == manifest.node)
    ]
    if others:
        first = others[0]
        raise UserError(
            f"the rows of {stream.name} cannot be told from those of stream {first.stream} "
            f"(manifest {first.manifest}, node {first.node}) in the same table",
            hint="give each stream its own `into`",
        )
    slice_ = target.Predicate(equals=((LINEAGE["node"][0], manifest.node),)) if by_node else None
    return Owned(predicate=slice_, apps=tuple(mine))


def _identity(manifest: Manifest, stream: Stream) -> tuple[str, str, str]:
    return manifest.name, manifest.node, stream.name


def _apps(table: target.Table) -> Iterator[tuple[str, App]]:
    for name in table.txns:
        if (app := parse_app(name)) is not None:
            yield name, app
