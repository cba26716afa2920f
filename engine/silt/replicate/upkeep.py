"""Upkeep of the tables that streams write: what is due, and doing it.

A daemon keeps one `Upkeep` for as long as it lives, and a thread of its own for it, beside the cycles:

    upkeep = Upkeep(state)
    while not stop.wait(30):
        for chore in chores(manifest, streams):                          # those that run now
            tasks = upkeep.due(chore, handles)                           # no I/O
            for done in upkeep.carry_out(chore, tasks, handles):         # seconds to minutes
                emit(silt.report.upkeep.log_line(done))

`carry_out` never raises for what belongs to the table alone.  A compaction cannot be interrupted, and may
be killed at any moment: give it what `grace` leaves, then end the process.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, TypeAlias, get_args

from silt import target
from silt.errors import Contended, SiltError, bug
from silt.manifest.model import Maintenance, Manifest, Stream
from silt.observe import Handles, places, revealed
from silt.state import StateDir
from silt.target import Task, last_done, open_upkeep

MANY: Final = 500
"""Versions after which a table is seen to before its time."""

SETTLING: Final = 900.0
"""Seconds within which a process does first what was due while it did not run: not everything at once."""

AGAIN: Final = 600.0
"""Seconds after which something that failed is tried again."""

TASKS: Final[tuple[Task, ...]] = get_args(Task)

Outcome: TypeAlias = Literal["done", "would", "nothing", "busy", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chore:
    """The upkeep of one Delta table (`into` under the URI of `target`), as the streams that write it say."""

    target: str
    into: str
    streams: tuple[str, ...]
    rule: Maintenance

    def wants(self, task: Task) -> bool:
        return (self.rule.compact if task == "compact" else self.rule.vacuum) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Upkept:
    """What became of a task.

    `nothing`: there was nothing to do; `would`: what a dry run found; `busy`: another silt of this node is
    at it, or somebody else changed the table first.  `before` files were written together, or removed,
    `after` took their place; `bytes` of the former; both None where not known.  `version` is the commit's;
    `entries` of the log were cleaned up by the way, as far as silt did that itself.
    """

    target: str
    into: str
    streams: tuple[str, ...]
    task: Task
    outcome: Outcome
    before: int = 0
    after: int | None = 0
    bytes: int | None = 0
    version: int | None = None
    entries: int = 0
    seconds: float = 0.0
    error: SiltError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """When a table was last seen to, in seconds since the epoch, and its version then."""

    compacted: float
    vacuumed: float
    version: int


def chores(manifest: Manifest, streams: Iterable[Stream]) -> tuple[Chore, ...]:
    """The tables of those of `streams` that run.

    Where streams share one, a task is done if all of them want it, as the most careful of them says.
    """
    found: dict[tuple[str, str], Chore] = {}
    for stream in streams:
        if stream.enabled:
            for into in places(manifest, stream):
                here = stream.target, into
                found[here] = _joined(found.get(here), stream, into)
    return tuple(found.values())


def _joined(chore: Chore | None, stream: Stream, into: str) -> Chore:
    if chore is None:
        return Chore(target=stream.target, into=into, streams=(stream.name,), rule=stream.maintenance)
    both = _most_careful(chore.rule, stream.maintenance)
    return replace(chore, streams=(*chore.streams, stream.name), rule=both)


def _most_careful(one: Maintenance, other: Maintenance) -> Maintenance:
    compact = vacuum = None
    if one.compact and other.compact:
        sizes = max(one.compact.target_size, other.compact.target_size)
        every = min(one.compact.every, other.compact.every)
        compact = replace(one.compact, every=every, target_size=sizes)
    if one.vacuum and other.vacuum:
        retain = max(one.vacuum.retain, other.vacuum.retain)
        vacuum = replace(one.vacuum, every=min(one.vacuum.every, other.vacuum.every), retain=retain)
    return Maintenance(compact=compact, vacuum=vacuum)


def due(rule: Maintenance, memory: Memory, *, version: int, now: float) -> tuple[Task, ...]:
    """What is due at `now` (seconds since the epoch) for a table at `version`.

    One of them comes early where so many versions have come since: with it the log is cut.  A last
    time that lies in the future is none: the clock was wrong then.
    """
    early = version - memory.version >= MANY
    found: list[Task] = []
    if rule.compact is not None and (early or _over(memory.compacted, rule.compact.every, now)):
        found.append("compact")
    early = early and rule.compact is None
    if rule.vacuum is not None and (early or _over(memory.vacuumed, rule.vacuum.every, now)):
        found.append("vacuum")
    return tuple(found)


def _over(last: float, every: float, now: float) -> bool:
    return not 0 <= now - last < every


def first_memory(
    rule: Maintenance, txns: dict[Task, float | None], *, version: int, now: float, share: float
) -> Memory:
    """What a process remembers of a table that it sees for the first time: what the table says.

    What was due while nobody ran comes `share` (0 to 1) of a quarter of an hour later.
    """

    def since(task: Task, every: float) -> float:
        last = txns[task]
        settling = now - every + share * min(every, SETTLING)
        return settling if last is None or _over(last, every, now) else last

    return Memory(
        compacted=since("compact", rule.compact.every) if rule.compact else now,
        vacuumed=since("vacuum", rule.vacuum.every) if rule.vacuum else now,
        version=version,
    )


class Upkeep:
    """Sees to the tables of one process; remembers when, so that a look costs nothing.

    For one thread.  `chance` spreads what was due at the start.
    """

    def __init__(
        self,
        state: StateDir,
        *,
        clock: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._state = state
        self._clock = clock
        self._chance = chance
        self._memory: dict[str, Memory] = {}
        self._versions: dict[str, int] = {}

    def due(self, chore: Chore, handles: Handles) -> tuple[Task, ...]:
        """What is due now; nothing where no cycle has opened the table yet, or one is at it.  No I/O."""
        at = handles.manifest.target(chore.target)
        seen = handles.glance(at, chore.into)
        if seen is None:
            return ()
        version, txns = seen
        now, uri = self._clock(), handles.uri(at, chore.into)
        self._versions[uri] = version
        memory = self._memory.get(uri)
        if memory is None:
            last = {task: last_done(txns, task) for task in TASKS}
            memory = first_memory(chore.rule, last, version=version, now=now, share=self._chance())
            self._memory[uri] = memory
        return due(chore.rule, memory, version=version, now=now)

    def carry_out(self, chore: Chore, tasks: Iterable[Task], handles: Handles) -> Iterator[Upkept]:
        """Do `tasks` of the chore, one result each; the log is cleaned up by the way."""
        wanted = tuple(task for task in tasks if chore.wants(task))
        uri = handles.uri(handles.manifest.target(chore.target), chore.into)
        with self._state.table_lock(uri) as mine:
            for task in wanted:
                done = _tried(chore, task, handles) if mine else _result(chore, task, "busy")
                self._remember(uri, chore, done)
                yield done

    def foresee(self, chore: Chore, handles: Handles) -> Iterator[Upkept]:
        """What `carry_out` of everything would do now; nothing is written."""
        for task in TASKS:
            if chore.wants(task):
                yield _tried(chore, task, handles, dry_run=True)

    def _remember(self, uri: str, chore: Chore, done: Upkept) -> None:
        """When it was seen to; what failed is tried again soon, but not at once."""
        memory = self._memory.get(uri)
        if memory is None:
            return
        rule = chore.rule.compact if done.task == "compact" else chore.rule.vacuum
        assert rule is not None
        soon = done.outcome in ("busy", "failed")
        at = self._clock() - (max(rule.every - AGAIN, 0.0) if soon else 0.0)
        when = {"compacted": at} if done.task == "compact" else {"vacuumed": at}
        self._memory[uri] = replace(memory, **when, version=self._versions[uri])


def _tried(chore: Chore, task: Task, handles: Handles, *, dry_run: bool = False) -> Upkept:
    """One task, whatever comes of it."""
    started = time.monotonic()
    try:
        result = _done(chore, task, handles, dry_run=dry_run)
    except SiltError as error:
        result = _result(chore, task, "busy" if isinstance(error, Contended) else "failed", error=error)
    except Exception as error:  # noqa: BLE001  # one table's upkeep stops no other, not even a bug's
        result = _result(chore, task, "failed", error=bug(error))
    return replace(result, seconds=time.monotonic() - started)


def _done(chore: Chore, task: Task, handles: Handles, *, dry_run: bool) -> Upkept:
    at = handles.manifest.target(chore.target)
    if handles.glance(at, chore.into) is None:
        with handles.lake(at, chore.into):
            pass  # what a power cut tore is mended before anything builds on it (DESIGN 4.6)
    table = open_upkeep(handles.uri(at, chore.into), revealed(at))
    if table is None:
        return _result(chore, task, "nothing")
    if dry_run:
        return _foreseen(chore, task, table)
    about = {"manifest": handles.manifest.name, "node": handles.manifest.node, "upkeep": task}
    done = _compacted(chore, table, about) if task == "compact" else _vacuumed(chore, table, about)
    return replace(done, entries=table.clean_log())


def _compacted(chore: Chore, table: target.Upkeep, about: Mapping[str, str]) -> Upkept:
    assert chore.rule.compact is not None
    done = table.compact(chore.rule.compact.target_size, metadata=about)
    if done.version is None:
        return _result(chore, "compact", "nothing")
    return _result(
        chore, "compact", "done", before=done.before, after=done.after, bytes=done.bytes, version=done.version
    )


def _vacuumed(chore: Chore, table: target.Upkeep, about: Mapping[str, str]) -> Upkept:
    assert chore.rule.vacuum is not None
    done = table.vacuum(chore.rule.vacuum.retain, metadata=about)
    if not done.files:
        return _result(chore, "vacuum", "nothing")
    return _result(chore, "vacuum", "done", before=done.files, bytes=done.bytes, version=done.version)


def _foreseen(chore: Chore, task: Task, table: target.Upkeep) -> Upkept:
    if task == "compact":
        assert chore.rule.compact is not None
        found = table.small(chore.rule.compact.target_size)
        if found is None:
            return _result(chore, task, "nothing")
        return _result(chore, task, "would", before=found.files, after=None, bytes=found.bytes)
    assert chore.rule.vacuum is not None
    expired = table.expired(chore.rule.vacuum.retain)
    return _result(chore, task, "would" if expired else "nothing", before=len(expired), bytes=None)


def _result(chore: Chore, task: Task, outcome: Outcome, **more: Any) -> Upkept:
    return Upkept(
        target=chore.target, into=chore.into, streams=chore.streams, task=task, outcome=outcome, **more
    )
