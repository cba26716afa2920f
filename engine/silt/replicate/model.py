"""What carrying out a plan yields: events while it runs, one result a stream at the end.

cli and daemon render the same values (DESIGN 2); nothing here prints.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from silt.errors import SiltError
from silt.manifest.model import Place
from silt.plan.model import State
from silt.replicate.round import Round


class Stopping(Protocol):
    """What tells a cycle to end after the commit under way: a threading.Event, or the daemon's `Turn`."""

    def is_set(self) -> bool:
        """Whether it is to end now."""

    def wait(self, timeout: float) -> bool:
        """Sleep for `timeout` seconds, or until it is to end; whether it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A stream's cycle began; `expected` rows are pending, None where they were not counted."""

    stream: str
    expected: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """`rows` have been read so far in this cycle, of `expected` (None: unknown)."""

    stream: str
    rows: int
    expected: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """One Delta commit: `rows` of `databases` databases, `bytes` in Arrow, became `version` in `seconds`.

    `batch` is its number in the stream's position, the highest of its databases'.  `misfits` values did not
    fit their column and are kept in `_rescued_data`.  `deleted` rows were deleted, or marked so.
    """

    stream: str
    into: str
    rows: int
    databases: int
    version: int
    seconds: float
    bytes: int = 0
    batch: int = 0
    misfits: int = 0
    deleted: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrying:
    """A try failed in a way that a later one may not: again in `seconds`."""

    stream: str
    error: SiltError
    attempt: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """A fact worth a line: rows deferred, a purge recognised, a torn entry set aside."""

    stream: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamResult:
    """How one stream's cycle ended.

    `into` is the path under the target's URI (the template where there are several tables);
    `version` the Delta version after the cycle (the highest of several); `position` maps each
    database to its key.  `rows` counts rows written, `misfits` values in them that were rescued, `deleted`
    rows deleted or marked so, `batches` commits.  `rest`: it was told to stop before its end, and the next
    turn goes on after what was visited; such a cycle may have left rows pending.  `settled`: nothing but a
    write to the source, or to the table, can give the next cycle anything to do.  `place`: where the setting
    that `error` is about stands.
    """

    name: str
    table: str
    into: str
    state: State
    rows: int = 0
    misfits: int = 0
    deleted: int = 0
    databases: int = 0
    batches: int = 0
    version: int | None = None
    position: Mapping[str, list[object]] = field(default_factory=dict)
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    error: SiltError | None = None
    place: Place | None = None
    rest: Round | None = None
    settled: bool = False

    @property
    def stopped(self) -> bool:
        """Whether it ended before its end."""
        return self.rest is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A stream's cycle ended."""

    result: StreamResult


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """All streams of one pass; `ok` when none is failing or held (DESIGN 10: waiting is no failure)."""

    streams: tuple[StreamResult, ...]
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        return all(s.state not in ("failing", "held") for s in self.streams)


Event: TypeAlias = Started | Progress | Committed | Retrying | Noted | Finished
Listener: TypeAlias = Callable[[Event], None]
