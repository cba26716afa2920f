"""The plan: per stream, what would be done and why; `run` carries out this very object.

Pure values.  A `Plan` lives until the manifest's generation, a source's schema_version or a table's
metadata changes; what changes with every cycle (pending rows, verdicts) is in `Outlook`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from silt.errors import SiltError
from silt.manifest.model import Manifest, Stream
from silt.shapes import CursorChoice, Database, Extract, Table, TableCensus

COMMENT: Final = "comment"
"""The name of a `Setting` that is the table's comment and no property."""

State = Literal["ok", "running", "waiting", "failing", "held", "disabled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LakeColumn:
    """A column of a Delta table: `type` by its Databricks SQL name."""

    name: str
    type: str
    comment: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What is set on a Delta table: its `comment`, or the property `name`; `was` is what is there now."""

    name: str
    value: str
    was: str | None = None


# --- what observe saw -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenDatabase:
    """One database as a stream sees it: its table, or the error, or neither (no such table there).

    With both, the table is there and something that the stream says of it is wrong; `also` is what else
    is.  `others` are the names of what is there instead of the table.
    """

    database: Database
    table: Table | None = None
    census: TableCensus | None = None
    choice: CursorChoice | None = None
    schema_version: int | None = None
    error: SiltError | None = None
    also: tuple[SiltError, ...] = ()
    others: tuple[str, ...] = ()

    @property
    def errors(self) -> tuple[SiltError, ...]:
        return (*(() if self.error is None else (self.error,)), *self.also)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenLake:
    """A Delta table as found; `definitions` maps an app to its position's cursor definition.

    An app whose position is empty (after a reset, or for overwrite) maps to ().  `formats` maps it to the
    formats that its position keeps.  `version` is None
    where there is no table yet.
    """

    uri: str
    version: int | None = None
    columns: tuple[LakeColumn, ...] = ()
    partition_by: tuple[str, ...] = ()
    description: str = ""
    properties: Mapping[str, str] = field(default_factory=dict)
    definitions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    formats: Mapping[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)

    @property
    def exists(self) -> bool:
        return self.version is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """All that planning one stream needs; `lakes` by the path under the target's URI.

    `shared` names the other streams that append to the same table; `several` is True for a glob.
    """

    stream: Stream
    manifest: str
    node: str
    remote: bool
    several: bool
    databases: tuple[SeenDatabase, ...]
    lakes: Mapping[str, SeenLake]
    shared: tuple[str, ...] = ()


# --- what would be done ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """The rows of one (stream, node, database) in a Delta table, as lineage column = value pairs.

    No pairs: the whole table.
    """

    equals: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One database's part of a Delta table: what to read there, and under which transaction id.

    `cursor` is what was settled for this database (None for overwrite); `schema_version` the source's
    when it was planned, since a column that came later would be replicated without its values.
    """

    database: Database
    app: str
    extract: Extract
    slice: Slice
    cursor: CursorChoice | None = None
    schema_version: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TablePlan:
    """One Delta table of a stream (several where `into` holds `{database}`).

    `columns` is the table's schema once the plan is carried out; `add` are those that an existing
    table lacks.  `settings` are the comment and the properties that the manifest names and that differ;
    `shared` names the other streams that append to it; `pooled` where all databases fill one slice
    (`lineage: none` over a glob).
    """

    into: str
    uri: str
    target: str
    exists: bool
    columns: tuple[LakeColumn, ...]
    add: tuple[LakeColumn, ...] = ()
    partition_by: tuple[str, ...] = ()
    settings: tuple[Setting, ...] = ()
    parts: tuple[Part, ...] = ()
    shared: tuple[str, ...] = ()
    pooled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One thing that would be done: `text` is the phrase that a person reads ("create table")."""

    kind: Literal[
        "create", "alter", "write", "replace", "delete", "restart", "reread", "hold", "wait", "defer"
    ]
    text: str
    destructive: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamPlan:
    """One stream, decided: its cursor, its tables; or the error that stops it.

    `error` with state `held` or `failing` says why nothing is done; `notes` are facts worth
    reading; a stream whose source matches no file yet, or no such table yet, is `waiting`.  `also` is
    what else is wrong: `error` is what a person reads first, `errors` all of it.
    `found` names every database of the source, those without the table or with an error too.
    """

    stream: Stream
    state: State
    cursor: CursorChoice | None = None
    tables: tuple[TablePlan, ...] = ()
    notes: tuple[str, ...] = ()
    error: SiltError | None = None
    also: tuple[SiltError, ...] = ()
    found: tuple[str, ...] = ()

    @property
    def errors(self) -> tuple[SiltError, ...]:
        return (*(() if self.error is None else (self.error,)), *self.also)

    @property
    def paths(self) -> tuple[str, ...]:
        """The databases that it reads, by path."""
        return tuple(dict.fromkeys(part.database.path for table in self.tables for part in table.parts))

    @property
    def databases(self) -> int:
        return sum(len(table.parts) for table in self.tables)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What a cycle would do now: rows and bytes pending, and the actions in order.

    `pending_rows` None with `pending_at_least` where the time budget ran out first; `batches` is
    the number of commits expected.  `pending_deletes` are rows of the lake that would be deleted, or marked
    so.  `also` is what else is wrong beside `error`.
    """

    stream: str
    state: State
    pending_rows: int | None = None
    pending_at_least: int | None = None
    pending_bytes: int | None = None
    pending_deletes: int = 0
    batches: int = 0
    actions: tuple[Action, ...] = ()
    notes: tuple[str, ...] = ()
    error: SiltError | None = None
    also: tuple[SiltError, ...] = ()

    @property
    def errors(self) -> tuple[SiltError, ...]:
        return (*(() if self.error is None else (self.error,)), *self.also)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Every selected stream of a manifest, in the manifest's order; `all_streams` has the others, too.

    `unread` are the databases that could not be read just now, by path: what patterns saw there last stands.
    """

    manifest: Manifest
    streams: tuple[StreamPlan, ...]
    all_streams: tuple[Stream, ...] = ()
    notes: tuple[str, ...] = ()
    unread: frozenset[str] = frozenset()
