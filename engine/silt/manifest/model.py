"""The resolved manifest: every default filled in, every value expanded and typed.

"As written" (plain data plus a place for every node) lives in `load`; these are the types that the
rest of silt sees.  Durations are seconds (float), sizes are bytes (int), paths are absolute.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from silt.errors import Secret, SiltError
from silt.shapes import Mask

Scalar = str | int | float | bool | None

_LAST_STEP = re.compile(r"(\[\d+\]|\.[^.]*|[^.]*)\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where something was written: `line` and `column` from 1; `pointer` its dotted name.

    `source_line` is the line itself; `variables` those of the environment that gave the value.
    """

    file: str
    line: int
    column: int
    pointer: str = ""
    source_line: str = field(default="", repr=False)
    variables: tuple[str, ...] = ()

    def problem(self, message: str, hint: str = "") -> Problem:
        """A problem with what is written here."""
        if self.variables:
            message += f" (from the environment: {', '.join(self.variables)})"
        return Problem(
            file=self.file,
            line=self.line,
            column=self.column,
            pointer=self.pointer,
            message=message,
            hint=hint,
            source_line=self.source_line,
        )

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something wrong in a manifest, as a value: rendered as text, JSON or a GitHub annotation.

    `pointer` is dotted (`streams.settings.mode`); `source_line` the line itself; `hint` what to do.
    """

    file: str
    line: int
    column: int
    pointer: str
    message: str
    hint: str = ""
    source_line: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A SQLite database or a glob of them; `busy_timeout` in seconds; `place` is where its path stands.

    `watch` says how writes are noticed: by events of the kernel, or by looking often.
    """

    name: str
    path: str
    exclude: tuple[str, ...] = ()
    busy_timeout: float = 5.0
    immutable: bool = False
    watch: Literal["events", "poll"] = "events"
    place: Place | None = field(default=None, compare=False, repr=False)

    @property
    def is_glob(self) -> bool:
        return any(c in self.path for c in "*?[")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A root URI (a local one is an absolute path) and what opens it; `place` is where the URI stands.

    `allow_unsafe_store`: nobody asks whether the store honours conditional writes.
    """

    name: str
    uri: str
    storage_options: Mapping[str, str | Secret] = field(default_factory=dict)
    allow_unsafe_store: bool = False
    place: Place | None = field(default=None, compare=False, repr=False)

    @property
    def is_local(self) -> bool:
        return "://" not in self.uri


@dataclass(frozen=True, slots=True, kw_only=True)
class CursorRule:
    """The cursor as declared.

    `kind`: `auto` detects; `rowid`; `columns` names them.  `lookback` is in seconds where it was
    written as a duration (`lookback_is_time`), else in the column's own unit; `initial_value` is
    exclusive (rows after it); `max_skew` in seconds.
    """

    kind: Literal["auto", "rowid", "columns"] = "auto"
    columns: tuple[str, ...] = ()
    lookback: float | None = None
    lookback_is_time: bool = False
    on_null: Literal["fail", "include"] = "fail"
    initial_value: int | float | str | None = None
    max_skew: float = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnRule:
    """What a manifest says of one column.

    `name` is the source's name, or the lake's for a `value` or an `expr`: the column is then a new one.
    """

    name: str
    rename: str | None = None
    renamed_from: str | None = None
    type: str | None = None
    format: str | None = None
    timezone: str | None = None
    value: str | None = None
    expr: str | None = None
    mask: Mask | None = None

    @property
    def is_new(self) -> bool:
        """Whether the column is none of the source's."""
        return self.value is not None or self.expr is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """The bounds of one commit; `max_bytes` in bytes of Arrow data."""

    max_rows: int = 1_000_000
    max_bytes: int = 128 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Compact:
    """Small files of a Delta table become files of about `target_size` bytes, `every` seconds at most."""

    every: float = 6 * 3600.0
    target_size: int = 128 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Vacuum:
    """What left a Delta table more than `retain` seconds ago is removed, `every` seconds at most."""

    every: float = 86_400.0
    retain: float = 7 * 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Maintenance:
    """What is done for a Delta table; None: not by us."""

    compact: Compact | None = None
    vacuum: Vacuum | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OnChange:
    """Soon after a write to the source: `debounce` seconds after the last, `max_delay` after the first."""

    debounce: float = 0.2
    max_delay: float = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When a stream runs: `every` so many seconds, by `cron` (five fields, local time), or `on_change`.

    With `on_change` it also runs `every` so often, changed or not: rows deferred to a later moment come
    due without a write.
    """

    every: float = 300.0
    cron: str | None = None
    on_change: OnChange | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Aggregate:
    """Windows of `window` seconds of the column `time`; `lateness` in seconds.

    `measures` are (name, SQL).  `format` (None: found from the values) and `timezone` say how times
    are written.
    """

    time: str
    window: float
    measures: tuple[tuple[str, str], ...]
    by: tuple[str, ...] = ()
    lateness: float = 0.0
    format: str | None = None
    timezone: str | None = None


MAX_FRACTION: Final = 0.5

Mode = Literal["append", "merge", "mirror", "overwrite"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deletes:
    """What becomes of rows that the source deletes, in mode merge: marked in the lake, or deleted there, too.

    Keys are compared `every` so many seconds at most (0: each cycle that finds the database written).  More
    than `max_fraction` of the slice at once holds the stream.
    """

    mode: Literal["soft", "hard"]
    every: float = 0.0
    max_fraction: float = MAX_FRACTION


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """One mapping, resolved: a table of a source to a Delta table of a target.

    `table` is exact here; patterns have been expanded.  A stream with a `query` reads that instead, and
    `table` is its own name.  `into` is the template with `{database}`
    left in it where it was written (`path_for` fills it); `{node}` is filled, and `separates_nodes`
    says that it was there.  `primary_key` names the columns of a merge's key, () the
    table's own.  `lineage` None means the default of
    DESIGN 7; an empty tuple is `lineage: none`.  `description` and `properties` (name, value) are the
    Delta table's; None and () leave what is there.  `places` maps a dotted setting (`cursor`,
    `columns.ts.type`, `select[1]`; `source.path`, `target.uri`; `manifest.name`, `manifest.node`) to where it
    was written, for problems found later; `` is the stream itself.  Streams are equal wherever they stand.
    """

    name: str
    source: str
    target: str
    table: str
    into: str
    query: str | None = None
    aggregate: Aggregate | None = None
    mode: Mode = "append"
    cursor: CursorRule = field(default_factory=CursorRule)
    primary_key: tuple[str, ...] = ()
    deletes: Deletes | None = None
    where: str | None = None
    select: tuple[str, ...] = ("*",)
    columns: tuple[ColumnRule, ...] = ()
    partition_by: tuple[str, ...] = ()
    lineage: tuple[str, ...] | None = None
    description: str | None = None
    properties: tuple[tuple[str, str], ...] = ()
    on_misfit: Literal["rescue", "fail"] = "rescue"
    on_schema_change: Literal["evolve", "ignore", "fail"] = "evolve"
    on_reset: Literal["fail", "restart"] = "fail"
    schedule: Schedule = field(default_factory=Schedule)
    batch: Batch = field(default_factory=Batch)
    maintenance: Maintenance = field(default_factory=Maintenance)
    tags: tuple[str, ...] = ()
    enabled: bool = True
    separates_nodes: bool = False
    places: Mapping[str, Place] = field(default_factory=dict, compare=False, repr=False)

    @property
    def has_cursor(self) -> bool:
        """Whether rows past a position are read: the other modes read all."""
        return self.mode in ("append", "merge")

    @property
    def has_key(self) -> bool:
        """Whether rows are told apart by a primary key."""
        return self.mode in ("merge", "mirror")

    @property
    def separates_databases(self) -> bool:
        return "{database}" in self.into

    def path_for(self, database: str) -> str:
        """The Delta table's path under the target's URI for one database."""
        return self.into.replace("{database}", database)

    def place(self, setting: str) -> Place | None:
        """Where `setting` was written, else what would hold it, else the stream itself."""
        while setting and setting not in self.places:
            setting = _LAST_STEP.sub("", setting)
        return self.places.get(setting)

    def place_of(self, error: SiltError | None) -> Place | None:
        """Where the setting that `error` is about was written; None for one that is about none."""
        return self.place(error.setting) if error is not None and error.setting else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen:
    """Where the status is served: `port` 0 for any that is free.

    `declared`: somebody asked for this address; a default one that is taken is only worth a warning.
    """

    host: str
    port: int
    declared: bool = False

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Everything a run needs; `digest` is of the bytes of all files as written, for "has it changed?".

    `path` is a file or a folder, as it was named; `files` are the absolute paths whose change may change
    the manifest (a folder's own too: files come and go in it), `texts` the bytes that it was made of
    (`silt.manifest.texts`).  `listen` is None where nothing is to be served; `grace` the seconds that a loop
    may take to end.  `rules` are what `expand` needs to make streams out of patterns and are private to
    this package.
    """

    path: str
    name: str
    node: str
    state_dir: str
    sources: tuple[Source, ...]
    targets: tuple[Target, ...]
    rules: object
    digest: str
    grace: float = 30.0
    files: tuple[str, ...] = ()
    texts: Mapping[str, bytes] = field(default_factory=dict, compare=False, repr=False)
    warnings: tuple[Problem, ...] = ()
    is_flat: bool = False
    listen: Listen | None = None

    def source(self, name: str) -> Source:
        return next(s for s in self.sources if s.name == name)

    def target(self, name: str) -> Target:
        return next(t for t in self.targets if t.name == name)
