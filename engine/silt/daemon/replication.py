"""The real work of the daemon: observes and replicates through handles that live as long as it does."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from silt.daemon.job import Job, Prepared, Report, Survey, without_place
from silt.errors import SiltError, UserError
from silt.manifest.diff import Running, unknown
from silt.manifest.model import Manifest, Problem, Source, Stream
from silt.observe.pulse import Beat, is_steady, stamp, stamps
from silt.plan.model import Plan, StreamPlan, TablePlan
from silt.replicate.model import Listener, Stopping, StreamResult
from silt.replicate.round import Round
from silt.report.problems import problem_of

if TYPE_CHECKING:
    from silt.observe import Handles

_LOG: Final = "_delta_log"

_COUNTING: Final = 0.25
"""Seconds that counting the rows behind a failure may take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rest:
    """What was seen when a stream had nothing left to do: while it is the same, so is that."""

    tables: tuple[TablePlan, ...]
    beats: Mapping[str, Beat]
    lakes: Mapping[str, object]

    def holds(self, plan: StreamPlan, handles: Handles) -> bool:
        """Whether nothing was written to the sources, nor on a local disk to the tables, since."""
        if self.tables is not plan.tables or self.lakes != _lakes(plan, handles):
            return False
        return all(beat.is_same(self.beats[path]) for path, beat in _beats(plan, handles).items())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Begun:
    """A round that a turn's end cut short: of which job and tables, and what was seen at its start."""

    round: Round
    number: int
    tables: tuple[TablePlan, ...]
    beats: Mapping[str, Beat]

    def since(self, plan: StreamPlan) -> Mapping[str, Beat]:
        """What was seen at the start, if it was of the same tables; nothing rests on a round that is not."""
        return self.beats if plan.tables is self.tables else {}


class Replication:
    """The real `Work`: observes and replicates through handles that live as long as the daemon.

    `select` is the selection of the command line; `listen` hears every event of every cycle, from the
    workers' threads.
    """

    def __init__(self, handles: Handles, *, select: Callable[[Stream], bool], listen: Listener) -> None:
        self._handles = handles
        self._select = select
        self._listen = listen
        self._sources: dict[str, object] = {}
        self._surveyed: Manifest | None = None
        self._files: dict[str, object] = {}
        self._asked: set[str] = set()
        self._databases: dict[tuple[str, str], dict[str, int | None]] = {}
        self._rests: dict[str, _Rest] = {}
        self._begun: dict[str, _Begun] = {}

    # --- which streams there are ---

    def look(self, manifest: Manifest) -> Plan:
        from silt import observe

        self._moved(manifest)
        self._surveyed = manifest
        return self._selected(observe.look(manifest, self._handles.under(manifest), select=self._select))

    def survey(self, running: Running) -> Survey | None:
        manifest, shapes, before = running.manifest, self._sources, self._databases
        moved = self._moved(manifest)
        if not moved and manifest is self._surveyed:
            return None  # a new manifest may have been read before what was seen last
        gone = tuple(
            (name, path)
            for (name, pattern), versions in before.items()
            for path in sorted(versions.keys() - self._databases.get((name, pattern), versions).keys())
        )
        try:
            plan = self._planned(manifest, running)
        except BaseException:
            self._sources, self._databases = shapes, before  # the next look finds it moved again
            self._files.clear()
            raise
        self._surveyed = manifest
        self._look_again_at(plan.unread)
        return Survey(manifest=manifest, plan=plan, moved=frozenset(moved), gone=gone)

    def _look_again_at(self, unread: frozenset[str]) -> None:
        """Databases that told their schema's version and were locked then: the next look finds them moved."""
        for (name, _), versions in self._databases.items():
            if unread & versions.keys() & self._asked:
                self._sources.pop(name, None)

    def prepare(self, running: Running, *, began: float, asked: bool) -> Prepared:
        from silt import manifest as manifests

        path = running.manifest.path
        digest = plan = None
        try:
            texts = manifests.texts(path)
            digest = manifests.digest(texts)
            new = manifests.load(path, texts, open_secrets=True)
            plan = self._planned(new, running)
            problems = _problems(plan, running.manifest)
        except manifests.ManifestInvalid as error:
            problems = error.problems
        except (SiltError, OSError) as error:
            problems = (without_place(path, f"cannot be read: {error}"),)
        plan = None if problems else plan
        return Prepared(began=began, asked=asked, digest=digest, plan=plan, problems=problems)

    def _planned(self, manifest: Manifest, running: Running) -> Plan:
        """All streams, with plans of those that do not run yet: by handles that no cycle has to wait for."""
        from silt import observe

        is_unknown = unknown(running, manifest)

        def wanted(stream: Stream) -> bool:
            return self._select(stream) and is_unknown(stream)

        with self._handles.apart(manifest) as handles:
            return self._selected(observe.look(manifest, handles, select=wanted))

    def _selected(self, plan: Plan) -> Plan:
        """Without the streams that the command line leaves out."""
        return replace(plan, all_streams=tuple(s for s in plan.all_streams if self._select(s)))

    def _moved(self, manifest: Manifest) -> set[str]:
        """The sources whose files or schemas are not those of the last look."""
        self._asked.clear()
        shapes = {origin.name: self._shape_of(origin) for origin in manifest.sources}
        moved = {name for name, shape in shapes.items() if shape != self._sources.get(name)}
        self._sources = shapes
        return moved

    def _shape_of(self, origin: Source) -> object:
        """Names, and schema version of each database; what cannot be read now has a shape too."""
        from silt.source.open import find

        try:
            databases = find(origin.path, origin.exclude)
        except SiltError as error:
            return (origin.path, str(error))
        known = self._databases.get((origin.name, origin.path), {})
        versions = {d.path: self._schema_version(origin, d.path, known.get(d.path)) for d in databases}
        self._databases = {**self._databases, (origin.name, origin.path): versions}
        return (origin.path, origin.exclude, *((d.name, d.path, versions[d.path]) for d in databases))

    def _schema_version(self, origin: Source, path: str, known: int | None) -> int | None:
        """Asked where the files have other stamps; of one that cannot be read now it is what it was."""
        seen = stamps(path)
        if self._files.get(path) == seen and known is not None:
            return known
        try:
            with self._handles.connection(origin, path) as connection:
                version = connection.schema_version()
        except SiltError:  # the stream's own cycle says what is wrong with it
            return known if seen[0] is not None else None
        self._asked.add(path)
        if is_steady(seen):  # a later change leaves other stamps
            self._files[path] = seen
        else:
            self._files.pop(path, None)
        return version

    # --- one stream's cycle ---

    def cycle(self, job: Job, stop: Stopping, *, again: bool) -> Report:
        from silt import observe
        from silt.replicate.stream import StreamCycle

        began = time.time()
        handles = self._handles.under(job.manifest)
        rest, begun = self._rests.get(job.stream.name), self._resumed(job)
        plan = job.plan
        if plan is not None and rest is not None and not again and rest.holds(plan, handles):
            return Report(job=job, result=_nothing(plan), began=began, quiet=True)
        if plan is None or again:
            plan = observe.look_again(plan or _unplanned(job.stream), handles)
        beats = _beats(plan, handles) if begun is None else begun.since(plan)
        to_go = begun.round if begun is not None else None
        result = StreamCycle(plan, handles, listen=self._listen, stop=stop, begun=to_go).run()
        self._remember(job, result, plan, beats, handles)
        job = job if plan is job.plan else replace(job, plan=plan)
        return Report(job=job, result=result, began=began, pending_rows=_pending(plan, result, handles))

    def _resumed(self, job: Job) -> _Begun | None:
        """The round that the turn before began; a stream that begins anew begins another."""
        begun = self._begun.pop(job.stream.name, None)
        return begun if begun is not None and begun.number == job.number else None

    def _remember(
        self,
        job: Job,
        result: StreamResult,
        plan: StreamPlan,
        beats: Mapping[str, Beat],
        handles: Handles,
    ) -> None:
        """For the next turn, where the round goes on or what is at rest; `beats` are of the round's start."""
        name, tables = plan.stream.name, plan.tables
        self._rests.pop(name, None)
        if result.rest is not None:
            self._begun[name] = _Begun(round=result.rest, number=job.number, tables=tables, beats=beats)
        elif result.settled and beats:
            self._rests[name] = _Rest(tables=tables, beats=beats, lakes=_lakes(plan, handles))


def _pending(plan: StreamPlan, result: StreamResult, handles: Handles) -> int | None:
    """How many rows wait after a cycle that failed: counted briefly, from where the table stood last."""
    from silt import observe

    error = result.error
    if error is None or error.on in plan.paths:  # what cannot be read cannot be counted
        return None
    try:
        (seen,) = observe.outlook(Plan(manifest=handles.manifest, streams=(plan,)), handles, budget=_COUNTING)
    except SiltError:
        return None
    return seen.pending_rows or seen.pending_at_least


def _beats(plan: StreamPlan, handles: Handles) -> dict[str, Beat]:
    origin = handles.manifest.source(plan.stream.source)
    return {path: handles.pulse.take(origin, path) for path in plan.paths}


def _lakes(plan: StreamPlan, handles: Handles) -> dict[str, object]:
    """What a local table's log looks like; a remote one is not asked (no request where nothing is new)."""
    local = {t.uri for t in plan.tables if handles.manifest.target(t.target).is_local}
    return {uri: stamp(f"{uri}/{_LOG}") for uri in local}


def _nothing(plan: StreamPlan) -> StreamResult:
    stream = plan.stream
    return StreamResult(
        name=stream.name,
        table=stream.table,
        into=stream.into,
        state="waiting" if plan.state == "waiting" else "ok",
        databases=plan.databases,
        settled=True,
    )


def _unplanned(stream: Stream) -> StreamPlan:
    return StreamPlan(stream=stream, state="ok")


def _problems(plan: Plan, before: Manifest) -> tuple[Problem, ...]:
    """What would stop a stream that the edit adds or changes, and that its text can mend."""
    found = ((p.stream, error) for p in plan.streams for error in p.errors)
    return tuple(
        problem_of(stream, error)
        for stream, error in found
        if isinstance(error, UserError)
        and stream.place_of(error) is not None
        and not _stood_before(error, stream, plan.manifest, before)
    )


def _stood_before(error: UserError, stream: Stream, now: Manifest, before: Manifest) -> bool:
    """Whether it is about a source or target that the edit left alone: a file that is missing just now."""
    match error.setting.partition("."):
        case "source", ".", _:
            return now.source(stream.source) in before.sources
        case "target", ".", _:
            return now.target(stream.target) in before.targets
    return False
