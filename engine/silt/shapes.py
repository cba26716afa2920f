"""Frozen records of what was seen: databases, tables, columns, censuses, extracts, evidence.

`observe` fills them, `plan` decides from them, `source` reads by them.  They hold no handle and no
pyarrow object, so they can be compared, cached and printed.  Types of the lake are named here by
their Databricks SQL name (`bigint`, `decimal(10,2)`); `silt.types` gives them meaning.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from silt.errors import Secret

LEAST_ROWID: Final = -(2**63)
GREATEST_ROWID: Final = 2**63 - 1
"""The range of a rowid: a signed 64-bit integer (sqlite.org/rowidtable)."""

Value: TypeAlias = int | float | str | bytes | None
"""A raw SQLite value; the Python type is its storage class."""

Key: TypeAlias = tuple[Value, ...]
"""A value for each column of an `Order`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileIdentity:
    """Which file a path names: `birth` in nanoseconds by statx(2), None where the filesystem keeps none."""

    device: int
    inode: int
    birth: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """One matching file of a source; `name`: the text that the wildcards matched, or the stem (DESIGN 1)."""

    name: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column as SQLite declares it; `key` is its 1-based place in the primary key, 0 outside it."""

    name: str
    declared: str = ""
    nullable: bool = True
    key: int = 0
    generated: bool = False
    collation: str = "BINARY"
    default: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """An index over plain columns; partial and expression indexes are not shown.

    `collations` are its own, a column each (empty: not known); a column's may be another.
    """

    name: str
    columns: tuple[str, ...]
    unique: bool = False
    collations: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """A trigger of a table: the statement that fires it, and the columns of that table which it sets then."""

    name: str
    event: Literal["insert", "update", "delete"]
    sets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """Rows of a table summed up in windows of time, aligned to 1970.

    `time` is the column that tells a row's window; `format` how it is written: `text`, or the format of
    a number (`silt.types`), None where no value shows it; `spelled` the one format that all texts have,
    '' where they have several; `timezone` that of texts without an offset.  `seen`: only values say the
    format, so that numbers which make no plausible instant are no times.  `size` is in microseconds.
    `by` are columns, `measures` (name, SQL with an aggregate function).  `start` and `end` bound the
    windows in microseconds since 1970; `sample` takes only the table's first rows.  Without a format
    `untimely` counts the values that were looked at.
    """

    table: Table
    time: str
    size: int
    by: tuple[str, ...] = ()
    measures: tuple[tuple[str, str], ...] = ()
    where: str | None = None
    format: str | None = None
    spelled: str = ""
    seen: bool = False
    timezone: str | None = None
    start: int | None = None
    end: int | None = None
    sample: int | None = None
    untimely: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table or view of a database, or a relation that a stream defines.

    `rowid_alias` is the column that is the INTEGER PRIMARY KEY; `rowid` the free name among rowid,
    _rowid_, oid (None for WITHOUT ROWID tables and views, or where columns take all three).
    `note` says why a pattern leaves it out (virtual, shadow, not reflectable).  `query` is the SQL whose
    rows a stream's own relation has, `windows` what it sums up: both are read as a view is, under the
    stream's name.
    """

    name: str
    kind: Literal["table", "view", "virtual", "shadow"] = "table"
    columns: tuple[Column, ...] = ()
    rowid_alias: str | None = None
    rowid: str | None = None
    without_rowid: bool = False
    strict: bool = False
    autoincrement: bool = False
    indexes: tuple[Index, ...] = ()
    triggers: tuple[Trigger, ...] = ()
    note: str = ""
    query: str | None = None
    windows: Windows | None = None

    @property
    def is_derived(self) -> bool:
        """Whether a stream defines it: no schema gives its computed columns a type."""
        return self.query is not None or self.windows is not None

    def column(self, name: str) -> Column | None:
        """The column of that name: exact, else by SQLite's rule (ASCII letters fold, others do not)."""
        exact = next((c for c in self.columns if c.name == name), None)
        folded = ascii_lower(name)
        return exact or next((c for c in self.columns if ascii_lower(c.name) == folded), None)

    @property
    def primary_key(self) -> tuple[str, ...]:
        keyed = sorted((c for c in self.columns if c.key), key=lambda c: c.key)
        return tuple(c.name for c in keyed)


def ascii_lower(text: str) -> str:
    """`text` with only A-Z lowered: how SQLite compares identifiers (sqlite3_stricmp)."""
    return "".join(chr(ord(c) + 32) if "A" <= c <= "Z" else c for c in text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What an index says of a whole column, for the price of three rows.

    `index`: the one by which SQLite reads the rows past a value, by EXPLAIN QUERY PLAN; '' where it
    reads them all.  `nulls`: whether any row holds NULL.  `ends`: storage class and format (as
    `silt.types.value_format`) of the least and the greatest value; classes sort NULL, number, text, blob.
    """

    index: str
    nulls: bool = False
    ends: tuple[tuple[str, str | None], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ids:
    """Which values an INTEGER PRIMARY KEY has: least, greatest, and the median step between sampled rows."""

    low: int
    high: int
    step: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnCensus:
    """How many sampled values of a column are of each storage class, and which text formats they have.

    `formats` are (format name of `silt.types`, count), most frequent first.  No value is kept: a
    census may be printed, a masked column's value may not.  `fits` says for which narrower types
    every sampled value is exact (`decimal(10,2)`, `boolean`, `date`).  `falls` counts the steps from one
    sampled row to the next at which the value is smaller, in the order of the rowid.  `probe` is what
    the column's index adds, None where it was not asked.  `told` is the format in which its numbers are
    times where the manifest or a position says so.  `fine` are texts that are times finer than a microsecond.
    """

    name: str
    nulls: int = 0
    integers: int = 0
    reals: int = 0
    texts: int = 0
    blobs: int = 0
    formats: tuple[tuple[str, int], ...] = ()
    fits: tuple[str, ...] = ()
    monotonic: bool = False
    falls: int = 0
    distinct: int = 0
    probe: Probe | None = None
    told: str | None = None
    fine: int = 0

    @property
    def classes(self) -> tuple[str, ...]:
        """The storage classes seen, NULL left out: of integer, real, text, blob."""
        counts = {"integer": self.integers, "real": self.reals, "text": self.texts, "blob": self.blobs}
        return tuple(name for name, count in counts.items() if count)


@dataclass(frozen=True, slots=True, kw_only=True)
class TableCensus:
    """A census of a bounded sample; `rows` were looked at, `complete` when that is the whole table.

    `ids` is None where there is no INTEGER PRIMARY KEY, or no row.
    `computed` are those of expressions, by the name that their column has in the lake.
    """

    table: str
    rows: int
    complete: bool
    columns: tuple[ColumnCensus, ...] = ()
    ids: Ids | None = None
    computed: tuple[ColumnCensus, ...] = ()

    def column(self, name: str) -> ColumnCensus | None:
        return next((c for c in self.columns if c.name == name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a stream's rows are read in the order of: the cursor's columns, then a tie-breaker.

    `kind`: `rowid` (one column, the rowid or its alias) or `columns`.  `cursor` and `tie` are source
    column names (`rowid`, `_rowid_` or `oid` where a rowid has no alias).  `rises`: a row committed
    later at the same cursor value always has a greater tie-breaker (INTEGER PRIMARY KEY only); where
    it does not, the position holds a digest of the rows at its cursor value (DESIGN 4.3).
    `renumbers`: VACUUM may give rows other rowids, so the position also holds PRAGMA schema_version.
    `relation` tells a query, an aggregate or a merge's key from any other (empty for tables that are
    appended): the position is pinned to it.
    `moves`: a row that changes moves in the order, and what is read again is written once (merge).
    """

    kind: Literal["rowid", "columns"]
    cursor: tuple[str, ...]
    tie: tuple[str, ...] = ()
    rises: bool = True
    renumbers: bool = False
    relation: str = ""
    moves: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        return self.cursor + self.tie


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A column that could be the cursor, with the sentence that says why (or why not)."""

    columns: tuple[str, ...]
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CursorChoice:
    """The outcome of cursor detection or declaration (DESIGN 8).

    `order` is None when nothing is safe; then `why` is the refusal and what would make it safe.
    `time_format` is the text or epoch format of a time cursor (`silt.types`), None for others:
    it decides how now + max_skew and `lookback` are spelled.
    """

    order: Order | None
    detected: bool
    why: str
    runners_up: tuple[Candidate, ...] = ()
    warnings: tuple[str, ...] = ()
    storage: str | None = None
    time_format: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mask:
    """How a column's values are hidden before they leave the source (`silt.source.mask` does it).

    `salt` is of sha256, `digits` (decimals that are kept) of round, `length` (characters that are kept)
    of truncate.
    """

    kind: Literal["sha256", "redact", "truncate", "round"]
    salt: Secret | None = None
    digits: int = 2
    length: int = 3


RESCUED: Final = "_rescued_data"
"""The lake's column of values that do not fit theirs, by lineage `rescued`; `source.rescue` spells it."""


REWRITTEN_FILE: Final = 4 * 1024 * 1024
"""Bytes of a file of a table whose rows change: a merge writes each file anew that holds one."""

DELETED: Final = "_deleted_at"
"""The lake's column that says when a row was first missing in its source; NULL while it is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One column of the lake and where its values come from.

    Exactly one of `source` (a source column's name), `expr` (SQL over the source's row), `value` (a
    constant, text in the type's own spelling) and `lineage` is set.  `type` is the lake's type; `format`
    and `timezone` say how to read a timestamp or date; `declared` is the source's declared type (for
    guards and comments).  `private`: no message may show what the source holds there, since it is
    masked, or computed of a column that is masked or left out.  `formerly` is the name that the source
    column had before; where a table still has that one, it is meant.
    """

    name: str
    type: str
    source: str | None = None
    formerly: str | None = None
    expr: str | None = None
    mask: Mask | None = None
    private: bool = False
    declared: str = ""
    strict: bool = False
    format: str | None = None
    timezone: str | None = None
    value: str | None = None
    lineage: Literal["node", "database", "rowid", "loaded_at", "rescued", "deleted_at"] | None = None

    @property
    def is_read(self) -> bool:
        """Whether a value of the source is read for it: redacted, only a text leaves a mark, others NULL."""
        nothing = self.mask is not None and self.mask.kind == "redact" and self.type != "string"
        return (self.source is not None or self.expr is not None) and not nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Extract:
    """What to read from one database: a table's rows as the fields of the lake.

    `order` is None for overwrite (the table's own order).  `fields` are in the lake's order; a
    field whose source column this database lacks has `source` None and `value` None: it arrives NULL.
    `witness` are the source columns that witnesses hash (no masked, no unselected ones).
    `key` are the source columns that tell its rows apart in the lake (of merge and mirror), or its rowid;
    `distinct` where the schema of the source promises that they do.
    `node`, `database` fill the lineage fields.
    """

    table: Table
    fields: tuple[Field, ...]
    order: Order | None
    where: str | None = None
    witness: tuple[str, ...] = ()
    key: tuple[str, ...] = ()
    distinct: bool = True
    node: str = ""
    database: str = ""

    @property
    def rescues(self) -> bool:
        """Whether a row with a misfit arrives, NULL in its column, rather than stop the read."""
        return any(f.lineage == "rescued" for f in self.fields)

    @property
    def key_fields(self) -> tuple[str, ...]:
        """The lake's columns that hold the key."""
        by = {f.source: f.name for f in self.fields if f.source is not None and f.mask is None}
        rowids = [f.name for f in self.fields if f.lineage == "rowid"]
        return tuple(by[name] if name in by else rowids[0] for name in self.key)

    @property
    def finds(self) -> frozenset[str]:
        """The source columns by which a row is found again: those of the order and of the key."""
        return frozenset((*(self.order.columns if self.order else ()), *self.key))

    @property
    def exposed(self) -> frozenset[str]:
        """The source columns whose values the lake holds as they are, so that a message may show them."""
        return frozenset(f.source for f in self.fields if f.source is not None and f.mask is None)


@dataclass(frozen=True, slots=True, kw_only=True)
class TextShape:
    """The one format of a text cursor as GLOB patterns: every text is `like`, none is `unlike`."""

    like: str
    unlike: tuple[str, ...] = ()


Found = Literal["match", "differs", "absent"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """What a read found at a witness's key."""

    key: Key
    found: Found


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What one read transaction saw of a (stream, database), before any row is read (DESIGN 4.3, 4.4).

    `sightings` go from the newest witness to the oldest; with `hashed` False the recorded columns
    are gone and a sighting tells only presence.  `high` is the last key that may be read now (None:
    nothing), `low` min(rowid) of a rowid order, `exhausted` that rowid 2^63-1 is taken.  `all_past`:
    every row left lies past the position.  `sequence_passed`: AUTOINCREMENT has given out the
    position's id.  `ties` is
    (count, digest) of the rows at the position's cursor value up to its key.  `stray` says in words
    what broke the cursor's storage class or format.  `nulls` counts rows with a NULL in the order,
    `last_null` is the greatest rowid among them; `null_row` is what stands at the position's own last
    NULL row: "absent" also where its cursor has been filled in since.  `deferred` rows lie past
    now + max_skew.
    """

    file: FileIdentity
    machine: str
    schema_version: int
    empty: bool = False
    sightings: tuple[Sighting, ...] = ()
    hashed: bool = True
    high: Key | None = None
    low: int | None = None
    exhausted: bool = False
    all_past: bool = False
    sequence_passed: bool = False
    ties: tuple[int, int] | None = None
    stray: str = ""
    nulls: int = 0
    last_null: int | None = None
    null_row: Found | None = None
    deferred: int = 0
