"""What tables a database has, reflected from an in-memory clone of its schema (DESIGN 5).

Only one SQLite library may open a source file, and SQLAlchemy reflects through Python's own.  So
`sqlite_schema` is read through ADBC, its statements are run again in `:memory:`, and that is
reflected, table by table (`MetaData.reflect()` dies on one bad table; FACTS).
"""

from __future__ import annotations

import re
import sqlite3
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import sqlalchemy as sa
from sqlalchemy.pool import StaticPool

from silt.shapes import Column, Index, Table, Trigger, ascii_lower
from silt.source.statement import exactly

if TYPE_CHECKING:
    from silt.source.open import Connection

Kind = Literal["table", "view", "virtual", "shadow"]

_SCHEMAS = 32
"""Schemas that are remembered: at each edit, and for each database of a glob, all tables are asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A row of sqlite_schema."""

    type: str
    name: str
    table: str
    sql: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What `PRAGMA table_list` of the source's own SQLite says of a table."""

    kind: str
    without_rowid: bool
    strict: bool


def reflect(connection: Connection) -> tuple[Table, ...]:
    """Every table and view of the database by name, SQLite's own (`sqlite_...`) left out.

    Virtual tables, their shadow tables, and what cannot be reflected come with a `note`.
    """
    return _tables(_entries(connection), tuple(_table_list(connection).items()))


@lru_cache(maxsize=_SCHEMAS)
def _tables(entries: tuple[Entry, ...], listed: tuple[tuple[str, Facts], ...]) -> tuple[Table, ...]:
    """A schema, by nothing but its own words: a hundred databases of one program are reflected once."""
    facts, clone = dict(listed), _Clone()
    try:
        clone.build(entries)
        named = [e for e in entries if e.type in ("table", "view")]
        shadows = clone.shadows | _by_name(entries)
        tables = [_table(clone, e, facts.get(ascii_lower(e.name)), shadows, entries) for e in named]
    finally:
        clone.close()
    return tuple(sorted(tables, key=lambda t: t.name))


def result_types(connection: Connection, query: str) -> dict[str, str]:
    """The declared type of each column of `query` that is a plain column, '' of the others.

    Empty where the clone cannot hold the query: it may read a virtual table whose module is not here.
    """
    clone = _Clone()
    name = "silt_query"
    while name in query.lower():
        name += "_"
    try:
        clone.build(_entries(connection))
        clone.run(lambda: clone.handle.execute(f"CREATE TEMP VIEW {name} AS {query}"))
        return {str(row[1]): str(row[2] or "") for row in clone.pragma("table_xinfo", name)}
    except (sqlite3.Error, sa.exc.SQLAlchemyError):
        return {}
    finally:
        clone.close()


def sequence(connection: Connection, table: str) -> int | None:
    """AUTOINCREMENT's last value for `table`; None where it never gave one."""
    schema = sa.table("sqlite_schema", sa.column("name"))
    kept = sa.table("sqlite_sequence", sa.column("name"), sa.column("seq"))
    if not connection.rows(sa.select(schema.c.name).where(schema.c.name == "sqlite_sequence")):
        return None
    found = connection.rows(sa.select(kept.c.seq).where(kept.c.name == table))
    value = found[0][0] if found else None
    return value if isinstance(value, int) else None


def _entries(connection: Connection) -> tuple[Entry, ...]:
    names = ("type", "name", "tbl_name", "sql")
    schema = sa.table("sqlite_schema", *(sa.column(n) for n in names))
    rows = connection.rows(sa.select(*(schema.c[n] for n in names)).where(schema.c.sql.is_not(None)))
    texts = [tuple(str(value) for value in row) for row in rows]
    entries = (Entry(type=t, name=n, table=on, sql=sql) for t, n, on, sql in texts)
    return tuple(e for e in entries if not ascii_lower(e.name).startswith("sqlite_"))


def _table_list(connection: Connection) -> dict[str, Facts]:
    listed = sa.table(
        "pragma_table_list", *(sa.column(n) for n in ("schema", "name", "type", "wr", "strict"))
    )
    rows = connection.rows(
        sa.select(listed.c.name, listed.c.type, listed.c.wr, listed.c.strict).where(listed.c.schema == "main")
    )
    return {
        ascii_lower(str(name)): Facts(kind=str(kind), without_rowid=bool(wr), strict=bool(strict))
        for name, kind, wr, strict in rows
    }


# --- the clone ------------------------------------------------------------------------------------

_MISSING_COLLATION = re.compile(r"no such collation sequence: (.+)")
_MISSING_FUNCTION = re.compile(r"(?:no such|unknown) function: (.+?)(?:\(\))?$")
_MISSING_MODULE = re.compile(r"no such module: (.+)")
_RETRIES = 50


@dataclass(slots=True)
class _Clone:
    """The schema in `:memory:`: no source file, so Python's own SQLite may open it."""

    handle: sqlite3.Connection = field(
        default_factory=lambda: sqlite3.connect(":memory:", check_same_thread=False)
    )
    engine: sa.Engine | None = None
    shadows: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)
    stubs: set[str] = field(default_factory=set)

    def build(self, entries: Iterable[Entry]) -> None:
        """Run the schema again: tables before indexes before views, whatever their order in the file."""
        ranked = sorted(entries, key=lambda e: ("table", "index", "view", "trigger").index(e.type))
        for entry in ranked:
            if entry.type != "trigger":
                self._create(entry)

    def _create(self, entry: Entry) -> None:
        try:
            self.run(lambda: self.handle.execute(entry.sql))
        except sqlite3.Error as error:
            if "already exists" in str(error) and entry.type == "table":
                self.shadows.add(ascii_lower(entry.name))
            else:
                self.failed[ascii_lower(entry.name)] = str(error)

    def run(self, work: Callable[[], Any]) -> Any:
        """Do `work`, registering a stub for each collation or function that it lacks."""
        for _ in range(_RETRIES):
            try:
                return work()
            except sqlite3.Error as error:
                if not self._stub(str(error)):
                    raise
        return work()

    def _stub(self, message: str) -> bool:
        collation, function = _MISSING_COLLATION.search(message), _MISSING_FUNCTION.search(message)
        found = collation or function
        if found is None or message in self.stubs:
            return False
        name = found[1]
        self.stubs.add(message)
        if collation:
            self.handle.create_collation(name, lambda a, b: (a > b) - (a < b))
        else:
            self.handle.create_function(name, -1, lambda *_: None, deterministic=True)
        return True

    def pragma(self, name: str, argument: str) -> list[tuple[Any, ...]]:
        """A table-valued PRAGMA (`table_xinfo`, `index_list`), its argument bound."""
        call: sa.Select[Any] = sa.select(sa.literal_column("*")).select_from(
            getattr(sa.func, f"pragma_{name}")(argument)
        )
        compiled = call.compile(dialect=self.bind().dialect)
        values = [compiled.params[p] for p in compiled.positiontup or ()]
        rows: list[tuple[Any, ...]] = self.run(lambda: self.handle.execute(str(compiled), values).fetchall())
        return rows

    def bind(self) -> sa.Engine:
        if self.engine is None:
            self.engine = sa.create_engine("sqlite://", creator=lambda: self.handle, poolclass=StaticPool)
        return self.engine

    def close(self) -> None:
        if self.engine is not None:
            self.engine.dispose()
        self.handle.close()


_SHADOW_SUFFIXES = {
    "fts3": ("content", "segments", "segdir", "docsize", "stat"),
    "fts4": ("content", "segments", "segdir", "docsize", "stat"),
    "fts5": ("data", "idx", "content", "docsize", "config"),
    "rtree": ("node", "parent", "rowid"),
    "rtree_i32": ("node", "parent", "rowid"),
    "geopoly": ("node", "parent", "rowid"),
}
_USING = re.compile(r"^\s*create\s+virtual\s+table\b.*?\busing\s+([\"'`\[]?)(\w+)", re.IGNORECASE | re.DOTALL)


def _by_name(entries: Iterable[Entry]) -> set[str]:
    """Shadow tables by the names that SQLite's own modules give them, for builds that lack the module."""
    found = set()
    for entry in entries:
        module = _USING.match(entry.sql)
        for suffix in _SHADOW_SUFFIXES.get(module.group(2).lower(), ()) if module else ():
            found.add(ascii_lower(f"{entry.name}_{suffix}"))
    return found


# --- one table ------------------------------------------------------------------------------------


def _table(
    clone: _Clone, entry: Entry, facts: Facts | None, shadows: set[str], entries: tuple[Entry, ...]
) -> Table:
    kind = _kind(entry, facts, shadows)
    if kind in ("virtual", "shadow"):
        return Table(name=entry.name, kind=kind, note=_left_out(entry, kind, clone))
    if (why := clone.failed.get(ascii_lower(entry.name))) is not None:
        return Table(name=entry.name, kind=kind, note=f"it cannot be reflected: {why}")
    try:
        return _reflected(clone, entry, kind, facts, entries)
    except (sqlite3.Error, sa.exc.SQLAlchemyError) as error:
        return Table(name=entry.name, kind=kind, note=f"it cannot be reflected: {_first_line(error)}")


def _kind(entry: Entry, facts: Facts | None, shadows: set[str]) -> Kind:
    if _USING.match(entry.sql):
        return "virtual"
    if ascii_lower(entry.name) in shadows or (facts is not None and facts.kind == "shadow"):
        return "shadow"
    return "view" if entry.type == "view" else "table"


def _left_out(entry: Entry, kind: Kind, clone: _Clone) -> str:
    if kind == "shadow":
        return "a shadow table: the storage of a virtual table"
    why = clone.failed.get(ascii_lower(entry.name), "")
    missing = _MISSING_MODULE.search(why)
    return (
        f"a virtual table of the module {missing.group(1)}, which is not here"
        if missing
        else "a virtual table"
    )


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0]


def _reflected(
    clone: _Clone, entry: Entry, kind: Kind, facts: Facts | None, entries: tuple[Entry, ...]
) -> Table:
    shown = clone.run(lambda: _by_sqlalchemy(clone, entry.name))
    info = clone.pragma("table_xinfo", entry.name)
    listed = clone.pragma("index_list", entry.name)
    without_rowid = bool(facts and facts.without_rowid)
    alias = _rowid_alias(info, listed, without_rowid=without_rowid) if kind == "table" else None
    collations = _collations(entry.sql, [str(row[1]) for row in info])
    columns = tuple(
        _column(row, shown, alias, without_rowid=without_rowid, collations=collations)
        for row in info
        if row[6] != 1
    )
    return Table(
        name=entry.name,
        kind=kind,
        columns=columns,
        rowid_alias=alias,
        rowid=_free_rowid(columns) if kind == "table" and not without_rowid else None,
        without_rowid=without_rowid,
        strict=bool(facts and facts.strict),
        autoincrement=alias is not None and "autoincrement" in _words(entry.sql),
        indexes=tuple(_indexes(clone, listed)),
        triggers=tuple(_triggers(entry.name, entries)),
    )


def _by_sqlalchemy(clone: _Clone, name: str) -> dict[str, sa.Column[Any]]:
    with warnings.catch_warnings():  # an expression index is left out here, and that is no news to a user
        warnings.simplefilter("ignore", sa.exc.SAWarning)
        table = sa.Table(exactly(name), sa.MetaData(), autoload_with=clone.bind(), resolve_fks=False)
    return {str(c.name): c for c in table.columns}


def _column(
    row: tuple[Any, ...],
    shown: dict[str, sa.Column[Any]],
    alias: str | None,
    *,
    without_rowid: bool,
    collations: dict[str, str],
) -> Column:
    _, name, declared, not_null, default, key, hidden = row[:7]
    reflected = shown.get(name)
    refuses_null = bool(not_null) or name == alias or (without_rowid and key)
    return Column(
        name=name,
        declared=declared or "",
        nullable=not refuses_null and (reflected is None or bool(reflected.nullable) or bool(key)),
        key=int(key),
        generated=hidden in (2, 3),
        collation=collations.get(ascii_lower(name), "BINARY"),
        default=None if default is None else str(default),
    )


def _rowid_alias(
    info: list[tuple[Any, ...]], indexes: list[tuple[Any, ...]], *, without_rowid: bool
) -> str | None:
    """The INTEGER PRIMARY KEY: the one key column that SQLite made no index for.

    So `INTEGER PRIMARY KEY DESC`, which is no alias by an old accident of SQLite's, is none here.
    """
    keyed = [row for row in info if row[5]]
    if without_rowid or len(keyed) != 1 or ascii_lower(str(keyed[0][2])) != "integer":
        return None
    return None if any(row[3] == "pk" for row in indexes) else str(keyed[0][1])


def _free_rowid(columns: Iterable[Column]) -> str | None:
    taken = {ascii_lower(c.name) for c in columns}
    return next((name for name in ("rowid", "_rowid_", "oid") if name not in taken), None)


def _indexes(clone: _Clone, listed: list[tuple[Any, ...]]) -> Iterator[Index]:
    """Whole indexes over plain columns, primary keys included, by name."""
    for _, name, unique, _, partial in sorted((row[:5] for row in listed), key=lambda row: str(row[1])):
        keyed = [row for row in clone.pragma("index_xinfo", name) if row[5]]
        if not partial and all(row[1] >= 0 for row in keyed):
            yield Index(
                name=name,
                columns=tuple(str(row[2]) for row in keyed),
                unique=bool(unique),
                collations=tuple(str(row[4]) for row in keyed),
            )


def _triggers(table: str, entries: Iterable[Entry]) -> Iterator[Trigger]:
    """The triggers on `table`, each with the columns of it that its body's UPDATE statements set."""
    for entry in entries:
        if entry.type != "trigger" or ascii_lower(entry.table) != ascii_lower(table):
            continue
        tokens = list(_tokens(entry.sql))
        words = [ascii_lower(token) for token in tokens]
        begin = words.index("begin") if "begin" in words else len(words)
        event = next((e for e in _EVENTS if e in words[:begin]), _EVENTS[0])
        yield Trigger(name=entry.name, event=event, sets=tuple(_set_by(tokens[begin:], table)))


_EVENTS: tuple[Literal["insert", "update", "delete"], ...] = ("insert", "update", "delete")


def _set_by(body: list[str], table: str) -> Iterator[str]:
    """The columns that `UPDATE table SET a = ..., (b, c) = ...` names, in any statement of a body."""
    names = [ascii_lower(_unquoted(token)) for token in body]
    for at, token in enumerate(body):
        ahead = names[at + 1 : at + 5]
        if token.lower() == "update" and ascii_lower(table) in ahead and "set" in ahead:
            start = at + 1 + ahead.index("set") + 1
            end = next((i for i in range(start, len(body)) if body[i].lower() in _AFTER_SET), len(body))
            yield from _assigned(body[start:end])


_AFTER_SET = ("where", "from", "returning", "end", "update", "insert", "delete", "select", ";")


def _assigned(tokens: list[str]) -> Iterator[str]:
    """The names before each `=` at the outermost level of a SET list."""
    depth = 0
    before: list[str] = []
    for token in tokens:
        depth += (token == "(") - (token == ")")
        if token == "," and depth == 0:
            before = []
        elif token == "=" and depth == 0 and before:
            yield from (_unquoted(name) for name in before)
            before = [""]
        elif token not in "()," and "" not in before:
            before.append(token)


# --- a little SQL reading -------------------------------------------------------------------------

_TOKENS = re.compile(
    r"--[^\n]*|/\*.*?(?:\*/|$)|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`(?:[^`]|``)*`|\[[^\]]*\]|[\w$]+|[(),=;]",
    re.DOTALL,
)
_QUOTES = {'"': '"', "`": "`", "[": "]", "'": "'"}


def _tokens(sql: str) -> Iterator[str]:
    return (t for t in _TOKENS.findall(sql) if not t.startswith(("--", "/*")))


def _words(sql: str) -> set[str]:
    """The bare words of a statement, lower case: no strings, quoted names or comments."""
    return {t.lower() for t in _tokens(sql) if t[0] not in _QUOTES}


def _unquoted(token: str) -> str:
    close = _QUOTES.get(token[0])
    return token[1:-1].replace(close * 2, close) if close else token


def _collations(sql: str, names: list[str]) -> dict[str, str]:
    """The COLLATE of each column by its name folded: no PRAGMA tells it for a column without an index."""
    known = {ascii_lower(name) for name in names}
    found: dict[str, str] = {}
    for item in _items(sql):
        name = ascii_lower(_unquoted(item[0]))
        words = [t.lower() for t in item]
        if name in known and "collate" in words[1:-1]:
            found[name] = _unquoted(item[words.index("collate", 1) + 1])
    return found


def _items(sql: str) -> Iterator[list[str]]:
    """The comma-separated items of a CREATE TABLE's outer parenthesis, as tokens at that depth."""
    depth = 0
    item: list[str] = []
    for token in _tokens(sql):
        depth += (token == "(") - (token == ")")
        if depth == 0 and item:
            yield item
            return
        if depth == 1 and token == ",":
            if item:
                yield item
            item = []
        elif depth == 1 and token not in "()":
            item.append(token)
