"""A manifest and the world -> a `Plan`: reflects the sources, reads the tables, fills frozen records."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from silt import manifest as manifests
from silt import target
from silt.errors import Contended, RetryLater, SiltError, UserError, Wrong
from silt.manifest.model import Manifest, Source, Stream, Target
from silt.manifest.options import BREAKS_PATHS
from silt.observe import relation
from silt.observe.handles import Handles
from silt.plan import formats
from silt.plan.build import build, failed
from silt.plan.cursor import recorded_rule
from silt.plan.keys import settle
from silt.plan.model import LakeColumn, Plan, Seen, SeenDatabase, SeenLake, StreamPlan
from silt.plan.verdict import definition
from silt.position import Position, app_id, decode, parse_app
from silt.shapes import CursorChoice, Database, Table, TableCensus, ascii_lower
from silt.source import condition, expression
from silt.source.census import census, probed
from silt.source.clone import reflect
from silt.source.cursor import detect
from silt.source.open import Refused, find
from silt.target.failures import Unreachable

Select = Callable[[Stream], bool]

_FIRST_SAMPLE = 1_000
_SAMPLE = 200
"""Rows of a census: many where types and cursor are chosen, few where table and position pin them."""


# --- sources --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reflected:
    """One database with its tables; `error` says why it could not be read."""

    database: Database
    tables: tuple[Table, ...] = ()
    schema_version: int | None = None
    error: SiltError | None = None

    def table(self, name: str) -> Table | None:
        return next((t for t in self.tables if t.name == name), None) or self._folded(name)

    def _folded(self, name: str) -> Table | None:
        return next((t for t in self.tables if ascii_lower(t.name) == ascii_lower(name)), None)


def _reflect(origin: Source, handles: Handles) -> tuple[_Reflected, ...]:
    return tuple(_reflect_one(origin, database, handles) for database in _databases(origin))


def _databases(origin: Source) -> tuple[Database, ...]:
    return find(origin.path, origin.exclude)


def _reflect_one(origin: Source, database: Database, handles: Handles) -> _Reflected:
    try:
        with handles.connection(origin, database.path) as connection:
            version = connection.schema_version()  # before: a change in between shows as one to come
            tables = handles.tables[database.path] = reflect(connection)
            return _Reflected(database=database, tables=tables, schema_version=version)
    except SiltError as error:  # a pattern's streams outlive that their database cannot be read
        known = handles.tables.get(database.path, ())
        return _Reflected(database=database, tables=known, error=error.about("source.path"))


def _patternable(reflected: Sequence[_Reflected]) -> tuple[str, ...]:
    """Names that a pattern may see: ordinary tables, in any of the databases."""
    names = (t.name for r in reflected for t in r.tables if t.kind == "table" and not t.note)
    return tuple(dict.fromkeys(names))


def _names(origin: Source, seen: Sequence[_Reflected] | None, handles: Handles) -> tuple[str, ...]:
    """What a pattern sees; of a source that was not, or cannot be, looked at, what it saw last."""
    if seen is None:
        return handles.patternable.get(origin.path, ())
    names = handles.patternable[origin.path] = _patternable(seen)
    return names


def _left_out(origin: Source, reflected: Sequence[_Reflected]) -> Iterator[str]:
    """A line for each reason why patterns leave tables out, naming them."""
    by: dict[str, dict[str, None]] = {}
    for table in (t for r in reflected for t in r.tables if t.note):
        by.setdefault(table.note, {})[table.name] = None
    yield from (f"{origin.name}: patterns leave out {', '.join(names)}: {why}" for why, names in by.items())


# --- looking --------------------------------------------------------------------------------------


def look_again(plan: StreamPlan, handles: Handles) -> StreamPlan:
    """One stream's plan, made anew; the other sources are taken to be as they were seen last."""
    name = plan.stream.name
    seen = look(handles.manifest, handles, select=lambda s: s.name == name, source=plan.stream.source)
    return next(iter(seen.streams), plan)


def look(
    manifest: Manifest, handles: Handles, *, select: Select | None = None, source: str | None = None
) -> Plan:
    """What would be done for every selected stream, seen from the sources and targets as they are now.

    With `source` no other one is looked at.  Raises `manifest.ManifestInvalid` where expanding patterns
    finds a problem; an error of one source, target or stream is that stream's own.
    """
    reflected, errors = _sources(manifest, handles, source)
    names = {o.name: _names(o, reflected.get(o.name), handles) for o in manifest.sources}
    expansion = manifests.expand(manifest, names)
    if expansion.problems:
        raise manifests.ManifestInvalid(expansion.problems)
    wanted = [s for s in expansion.streams if select is None or select(s)]
    sharing = _sharing(expansion.streams)
    dead: dict[str, SiltError] = {}
    plans = tuple(_plan(s, manifest, handles, reflected, (errors, dead), sharing) for s in wanted)
    notes = [
        note for o in manifest.sources if o.name in reflected for note in _left_out(o, reflected[o.name])
    ]
    later = (r for some in reflected.values() for r in some if isinstance(r.error, RetryLater))
    return Plan(
        manifest=manifest,
        streams=plans,
        all_streams=expansion.streams,
        notes=(*expansion.notes, *notes),
        unread=frozenset(r.database.path for r in later),
    )


def _sources(
    manifest: Manifest, handles: Handles, only: str | None
) -> tuple[dict[str, tuple[_Reflected, ...]], dict[str, SiltError]]:
    reflected: dict[str, tuple[_Reflected, ...]] = {}
    errors: dict[str, SiltError] = {}
    for origin in manifest.sources:
        if only not in (None, origin.name):
            continue
        try:
            reflected[origin.name] = _reflect(origin, handles)
        except SiltError as error:
            errors[origin.name] = error.about("source.path")
    return reflected, errors


def _sharing(streams: Sequence[Stream]) -> dict[tuple[str, str], list[str]]:
    """(target, into) -> the enabled streams that write there."""
    by: dict[tuple[str, str], list[str]] = {}
    for stream in streams:
        if stream.enabled:
            by.setdefault((stream.target, stream.into), []).append(stream.name)
    return by


def _plan(
    stream: Stream,
    manifest: Manifest,
    handles: Handles,
    reflected: Mapping[str, tuple[_Reflected, ...]],
    known: tuple[Mapping[str, SiltError], dict[str, SiltError]],
    sharing: Mapping[tuple[str, str], list[str]],
) -> StreamPlan:
    """One stream's plan; `known` are the sources and the targets that cannot be reached, by name.

    A store that does not answer is asked once: sixty streams would wait for it sixty times.
    """
    errors, dead = known
    origin = manifest.source(stream.source)
    at = manifest.target(stream.target)
    wrong = Wrong()
    if stream.enabled and stream.source in errors:
        wrong.add(errors[stream.source])
    seen = reflected.get(stream.source, ())
    found = _lakes(stream, at, handles, seen, dead) if stream.enabled else {}
    databases = tuple(_see(stream, r, manifest, origin, handles, found) for r in seen)
    others = tuple(n for n in sharing.get((stream.target, stream.into), ()) if n != stream.name)
    planned = build(
        Seen(
            stream=stream,
            manifest=manifest.name,
            node=manifest.node,
            remote=not at.is_local,
            several=origin.is_glob,
            databases=databases,
            lakes={into: lake if isinstance(lake, SeenLake) else _ABSENT for into, lake in found.items()},
            shared=others,
        )
    )
    return failed(stream, (*wrong.errors, *planned.errors)) if wrong.errors else planned


_ABSENT = SeenLake(uri="")
"""In the place of a table that cannot be seen: what the stream says is checked as if there were none yet."""


def _lakes(
    stream: Stream,
    at: Target,
    handles: Handles,
    reflected: Sequence[_Reflected],
    dead: dict[str, SiltError],
) -> dict[str, SeenLake | SiltError]:
    """Each table of the stream by its path, or why it cannot be seen: that stops its databases alone."""
    paths = dict.fromkeys(stream.path_for(r.database.name) for r in reflected)
    return {into: dead.get(stream.target) or _lake_or_error(at, into, handles, dead) for into in paths}


def _lake_or_error(
    at: Target, into: str, handles: Handles, dead: dict[str, SiltError]
) -> SeenLake | SiltError:
    broken = next((c for c in into if c in BREAKS_PATHS), None)
    if broken is not None:
        what = f"the table's path {into!r} holds {broken!r}, which delta-rs cannot have in a path"
        hint = "rename the database's file, or leave {database} out of `into`"
        return UserError(what, hint=hint, setting="into")
    try:
        return _see_lake(at, into, handles)
    except Unreachable as silent:
        known = Unreachable(silent.what, on=at.uri, why=silent.why, hint=silent.hint)
        dead[at.name] = known.about("target.uri")
        return silent.about("target.uri")
    except SiltError as error:
        return error.about("into")


def _see_lake(at: Target, into: str, handles: Handles) -> SeenLake:
    with handles.lake(at, into) as lake:
        if lake.table is None:
            return SeenLake(uri=lake.uri)
        try:
            lake.table.refresh()
        except Contended:  # deleted under a resident handle
            lake.table = target.open_table(lake.uri, lake.options)
        if lake.table is None:
            return SeenLake(uri=lake.uri)
        positions = _positions(lake.table)
        return SeenLake(
            uri=lake.uri,
            version=lake.table.version,
            columns=tuple(
                LakeColumn(name=c.name, type=c.type, comment=c.comment) for c in lake.table.columns
            ),
            partition_by=tuple(lake.table.partition_by),
            description=lake.table.description,
            properties=lake.table.configuration,
            definitions={app: at.definition if at else () for app, at in positions.items()},
            formats={app: at.formats for app, at in positions.items() if at is not None},
        )


def _positions(table: target.Table) -> dict[str, Position | None]:
    apps = [app for app in table.txns if parse_app(app) is not None]
    return {app: decode(table.position(app)[1]) for app in apps}


def _see(
    stream: Stream,
    reflected: _Reflected,
    manifest: Manifest,
    origin: Source,
    handles: Handles,
    lakes: Mapping[str, SeenLake | SiltError],
) -> SeenDatabase:
    database = reflected.database
    if reflected.error is not None or not stream.enabled:
        return SeenDatabase(database=database, error=reflected.error)
    table = None if stream.query is not None else reflected.table(stream.table)
    if table is None and stream.query is None:
        others = tuple(t.name for t in reflected.tables if t.kind in ("table", "view"))
        return SeenDatabase(database=database, others=others)
    if table is not None and (table.kind in ("virtual", "shadow") or (table.note and not table.columns)):
        return SeenDatabase(database=database, error=_unreadable(table, database))
    try:
        found = lakes[stream.path_for(database.name)]
        lake = found if isinstance(found, SeenLake) else _ABSENT
        app = app_id(manifest=manifest.name, node=manifest.node, stream=stream.name, database=database.name)
        seen = _examine(stream, database, table, origin, handles, lake, app)
        if isinstance(found, SiltError):
            return replace(seen, error=found, also=seen.errors)
        return replace(seen, schema_version=reflected.schema_version)
    except SiltError as error:
        return SeenDatabase(database=database, error=error)


def _unreadable(table: Table, database: Database) -> SiltError:
    return UserError(
        f"table {table.name!r} cannot be read as a stream",
        on=database.path,
        why=table.note or table.kind,
        setting="table",
    )


def _examine(
    stream: Stream,
    database: Database,
    named: Table | None,
    origin: Source,
    handles: Handles,
    lake: SeenLake,
    app: str,
) -> SeenDatabase:
    recorded = lake.definitions.get(app, ())
    wrong = Wrong()
    choice: CursorChoice | None = None
    with handles.connection(origin, database.path) as connection:
        table = relation.derived(stream, connection, named, recorded)
        with wrong:
            if stream.where is not None and table.windows is None:
                condition.check(connection, table, stream.where, append=stream.has_cursor)
        expressions = tuple((rule.name, rule.expr) for rule in stream.columns if rule.expr is not None)
        for name, expr in expressions:
            with wrong:
                expression.check(connection, table, name, expr)
        if wrong.errors:  # the census asks for the values of every expression
            expressions = ()
        pinned = lake.exists and bool(recorded)
        sample = _SAMPLE if pinned else _FIRST_SAMPLE
        try:
            counts = census(connection, relation.sampled(table), sample, expressions)
        except Refused:
            with wrong:
                expression.blame(connection, relation.sampled(table), sample, expressions)
            counts = census(connection, relation.sampled(table), sample)
        if stream.has_cursor and not pinned:
            counts = probed(connection, table, counts)
        if table.windows is not None:
            choice = relation.by_windows(stream, connection, table.windows)
    counts = formats.told(counts, stream, lake.formats.get(app, ()))
    with wrong:
        if stream.has_cursor and table.windows is None:
            choice = _choose(stream, table, counts, recorded)
    return SeenDatabase(
        database=database,
        table=table,
        census=counts,
        choice=choice,
        error=next(iter(wrong.errors), None),
        also=tuple(wrong.errors[1:]),
    )


def _choose(stream: Stream, table: Table, counts: TableCensus, recorded: tuple[str, ...]) -> CursorChoice:
    """The cursor as declared or detected; `auto` keeps to the cursor of a position (DESIGN 4.1)."""
    rule = stream.cursor
    back = rule.lookback is not None
    declared = recorded if rule.kind != "auto" else ()
    key = settle(stream, table) if stream.mode == "merge" else ()
    detected = partial(detect, table, counts, mode=stream.mode, lookback=back, key=key)
    choice = detected(kind=rule.kind, columns=rule.columns, recorded=declared)
    if stream.query is not None:
        return relation.pinned(stream, choice)
    known = recorded[:1] in (("rowid",), ("columns",))
    if rule.kind != "auto" or not known or (choice.order and definition(choice.order) == recorded):
        return choice
    kind, columns = recorded_rule(recorded)
    pinned = detected(kind=kind, columns=columns, recorded=recorded)
    now = f"; detection would now choose {', '.join(choice.order.cursor)}" if choice.order else ""
    return replace(pinned, detected=True, why=f"{', '.join(columns) or kind}, pinned by the position{now}")
