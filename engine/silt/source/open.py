"""Opening a source: which files a path names, which file each one is, and connections that only read.

One SQLite library per process may open a source file (DESIGN 5): the one inside the Arrow ADBC driver,
used here through its low-level API, because the DBAPI layer costs 200 ms of imports (FACTS, imports).
Only `stat` touches the file otherwise: opening and closing it would drop SQLite's POSIX locks.
"""

from __future__ import annotations

import ctypes
import glob
import hashlib
import os
import re
import stat as stat_bits
import struct
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import quote

from silt.errors import RetryLater, SiltError, SourceChanged, UserError
from silt.shapes import Database, FileIdentity, Value

if TYPE_CHECKING:
    import pyarrow as pa
    from sqlalchemy.sql.base import Executable

_COMPANIONS: Final = ("-wal", "-shm", "-journal")
_WILD: Final = re.compile(r"\*\*/?|\*|\?|\[[^\]]*\]")

# --- which files ----------------------------------------------------------------------------------


def find(path_pattern: str, exclude: Iterable[str] = ()) -> tuple[Database, ...]:
    """The databases that a path or glob names, by name; a path without wildcards is always one.

    A glob's database is named by the text that its wildcards matched, joined by `/` (DESIGN 1);
    `**` crosses folders.  Companion files (-wal, -shm, -journal) never match a glob.

    Raises `UserError` when two files have one name.
    """
    if not _WILD.search(path_pattern):
        return (Database(name=Path(path_pattern).stem, path=_absolute(path_pattern)),)
    pattern = _absolute(path_pattern)
    matcher = _matcher(pattern)
    dropped = [_matcher(_absolute(each)) for each in exclude]
    found = (Database(name=_name(matcher, path), path=path) for path in _files(pattern))
    kept = [db for db in found if not any(d.fullmatch(db.path) for d in dropped)]
    return _distinct(sorted(kept, key=lambda db: (db.name, db.path)), path_pattern)


def _absolute(path: str) -> str:
    """Not `Path.resolve`: a symbolic link keeps its own name, and may come to point elsewhere."""
    return os.path.abspath(path)  # noqa: PTH100


def _files(pattern: str) -> Iterator[str]:
    for path in sorted(set(glob.glob(pattern, recursive=True))):  # noqa: PTH207  (absolute patterns)
        if not path.endswith(_COMPANIONS) and Path(path).is_file():
            yield path


def _matcher(pattern: str) -> re.Pattern[str]:
    """`pattern` as a regular expression with one group for each run of adjacent wildcards."""
    parts: list[str] = []
    end = 0
    for run in re.finditer(rf"(?:{_WILD.pattern})+", pattern):
        parts.append(re.escape(pattern[end : run.start()]))
        parts.append("(" + "".join(_wild(w) for w in _WILD.findall(run.group())) + ")")
        end = run.end()
    parts.append(re.escape(pattern[end:]))
    return re.compile("".join(parts), re.DOTALL)


def _wild(wildcard: str) -> str:
    match wildcard:
        case "**/":
            return "(?:.*/)?"
        case "**":
            return ".*"
        case "*":
            return "[^/]*"
        case "?":
            return "[^/]"
        case _:
            inner = wildcard[1:-1].replace("\\", "\\\\").replace("[", "\\[")
            return f"[^{inner[1:]}]" if inner.startswith("!") else f"[{inner}]"


def _name(matcher: re.Pattern[str], path: str) -> str:
    matched = matcher.fullmatch(path)
    texts = [text.strip("/") for text in matched.groups()] if matched else []
    return "/".join(text for text in texts if text) or Path(path).stem


def _distinct(databases: Sequence[Database], pattern: str) -> tuple[Database, ...]:
    by_name: dict[str, Database] = {}
    for db in databases:
        other = by_name.setdefault(db.name, db)
        if other is not db:
            raise UserError(
                f"two files are one database, {db.name!r}: {other.path} and {db.path}",
                on=pattern,
                hint="a database is named by the text that the wildcards matched: exclude one, "
                "or put a wildcard where the paths differ",
            )
    return tuple(by_name.values())


# --- which file -----------------------------------------------------------------------------------

_STATX_BTIME: Final = 0x800
_AT_FDCWD: Final = -100


def identity(path: str) -> FileIdentity:
    """Which file `path` names now; the birth time is None where the filesystem keeps none.

    Raises `UserError` for a missing file, `RetryLater` where it cannot be looked at.
    """
    seen = _stat(path)
    return FileIdentity(device=seen.st_dev, inode=seen.st_ino, birth=_birth(path, seen))


def _stat(path: str) -> os.stat_result:
    try:
        return Path(path).stat()
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(
            "no such database file", on=path, hint="check the path; silt never creates a source"
        ) from None
    except PermissionError as error:
        raise UserError(
            "the database file may not be looked at", on=path, why=str(error.strerror), hint=_ALLOW
        ) from None
    except OSError as error:
        raise RetryLater("the database file cannot be looked at", on=path, why=str(error.strerror)) from error


def _birth(path: str, seen: os.stat_result) -> int | None:
    stamp = getattr(seen, "st_birthtime_ns", None) or getattr(seen, "st_birthtime", None)
    if stamp is not None:
        return stamp if isinstance(stamp, int) else int(stamp * 1_000_000_000)
    statx = _statx()
    if statx is None:
        return None
    buffer = ctypes.create_string_buffer(256)
    if statx(_AT_FDCWD, os.fsencode(path), 0, _STATX_BTIME, buffer) != 0:
        return None
    (mask,) = struct.unpack_from("=I", buffer, 0)
    seconds, nanoseconds = struct.unpack_from("=qI", buffer, 80)  # stx_btime of struct statx
    return seconds * 1_000_000_000 + nanoseconds if mask & _STATX_BTIME else None


@lru_cache(maxsize=1)
def _statx() -> Any:
    """statx(2) of the C library: os.stat has no birth time on Linux.  None where there is none."""
    with suppress(OSError, AttributeError):
        return ctypes.CDLL(None, use_errno=True).statx
    return None


def machine_id(path: str = "/etc/machine-id") -> str:
    """A hash of the machine's id; '' where it has none, which turns its rule off (DESIGN 4.1)."""
    try:
        text = Path(path).read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
    return hashlib.sha256(b"silt:" + text.encode()).hexdigest()[:16] if text else ""


# --- connections ----------------------------------------------------------------------------------

_PATH: Final = "source.path"
"""The setting that a failure to open or read a database is about."""

_ALLOW: Final = "let the user that runs silt read the file, and write its folder where it is in WAL mode"


class Connection:
    """A connection that only reads, to one SQLite file, through ADBC.

    Outside `snapshot()` each statement sees the newest commit; inside, all see one.  Not for use by
    two threads at once.  `close()` it, or use it as a context manager.
    """

    def __init__(self, path: str, *, busy_timeout: float, immutable: bool) -> None:
        self.path: Final = path
        self.busy_timeout: Final = busy_timeout
        self.immutable: Final = immutable
        self._seen = _stat(path)
        self._began = self._seen
        self.companions: tuple[Connection, Connection] | None = None
        self._opened: list[Any] = []
        self.inside = False
        self._open_handles()

    def _open_handles(self) -> None:
        import adbc_driver_sqlite
        from adbc_driver_manager import Error, _lib

        driver = adbc_driver_sqlite._driver_path()  # noqa: SLF001  (pinned and tested)
        try:
            database = _lib.AdbcDatabase(driver=driver, uri=_uri(self.path, immutable=self.immutable))
            self._opened.append(database)
            self._handle = _lib.AdbcConnection(database)
            self._opened.append(self._handle)
        except Error as error:
            self.close()
            raise _cannot_open(self.path, str(error)) from None
        try:
            self._prepare()
        except BaseException:
            self.close()
            raise

    def _prepare(self) -> None:
        # the driver's own default is no wait at all (measured: PRAGMA busy_timeout is 0)
        self._pragma(f"PRAGMA busy_timeout={max(int(self.busy_timeout * 1000), 1)}")
        self._pragma("PRAGMA query_only=1")
        self.journal_mode = str(self._pragma("PRAGMA journal_mode"))
        self.encoding = str(self._pragma("PRAGMA encoding"))
        self.schema_version()  # reads a page: what is no database says so here
        if _file(_stat(self.path)) != _file(self._seen):
            raise _changed(self.path)

    # --- statements -------------------------------------------------------------------------------

    def rows(self, statement: Executable) -> list[tuple[Any, ...]]:
        """All rows of a small result as exact `Value`s; the Python type is the storage class.

        ADBC types a column by its first batch, so each value travels as its class plus one column a
        class.  Text that is not UTF-8 comes as a str with surrogate escapes.
        """
        from silt.source import exact

        return exact.rows(self, statement)

    def stream(
        self, statement: Executable, batch_rows: int = 65_536
    ) -> Generator[pa.RecordBatch, None, None]:
        """The result as Arrow batches of at most `batch_rows` rows, typed by its first batch."""
        from silt.source.statement import compiled

        sql, values = compiled(statement)
        return self.execute(sql, values, batch_rows)

    def execute(
        self, sql: str, values: Sequence[Value] = (), batch_rows: int = 65_536
    ) -> Generator[pa.RecordBatch, None, None]:
        """Batches of a compiled statement; the GIL is free while SQLite steps.  Close the generator.

        Raises what `explained` makes of SQLite's error.
        """
        with self._reader(sql, values, batch_rows) as reader:
            while (batch := _next(reader)) is not None:
                yield batch

    def names(self, sql: str, values: Sequence[Value] = ()) -> tuple[str, ...]:
        """The column names of a compiled statement; at most one row is read."""
        with self._reader(sql, values, 1) as reader:
            return tuple(reader.schema.names)

    @contextmanager
    def _reader(
        self, sql: str, values: Sequence[Value], batch_rows: int
    ) -> Generator[pa.RecordBatchReader, None, None]:
        import pyarrow as pa
        from adbc_driver_manager import Error, _lib

        work = _lib.AdbcStatement(self._handle)
        reader: pa.RecordBatchReader | None = None
        try:
            work.set_options(**{"adbc.sqlite.query.batch_rows": str(batch_rows)})
            work.set_sql_query(sql)
            if values:
                from silt.source.statement import bound

                work.prepare()
                work.bind_stream(bound(values))
            handle, _ = work.execute_query()
            reader = pa.RecordBatchReader.from_stream(handle)
            yield reader
        except (Error, pa.ArrowException, OSError) as error:
            raise explained(error, self) from error
        finally:
            if reader is not None:
                reader.close()
            work.close()

    def _pragma(self, sql: str) -> int | str | None:
        found = [value for batch in self.execute(sql) for value in batch.column(0).to_pylist()]
        return found[0] if found else None

    def schema_version(self) -> int:
        """PRAGMA schema_version: rises with each change of the schema, and with VACUUM."""
        return int(self._pragma("PRAGMA schema_version") or 0)

    def data_version(self) -> int:
        """PRAGMA data_version: changes when another connection commits.  Outside a snapshot only."""
        if self.inside:
            raise RuntimeError("data_version stands still inside a read transaction")
        return int(self._pragma("PRAGMA data_version") or 0)

    def size(self) -> int:
        """The database's size in bytes, by its page count."""
        pages = int(self._pragma("PRAGMA page_count") or 0)
        return pages * int(self._pragma("PRAGMA page_size") or 0)

    # --- transactions -----------------------------------------------------------------------------

    def begin(self) -> None:
        """Begin a read transaction and take its snapshot now, not at the first row read."""
        self.enter()
        self.fix()

    def enter(self) -> None:
        """Begin a read transaction whose snapshot `fix` takes."""
        self._began = _stat(self.path)
        if _file(self._began) != _file(self._seen):
            raise _changed(self.path)
        self._handle.set_autocommit(False)
        self.inside = True

    def fix(self) -> None:
        """Take the snapshot of the transaction that was entered: SQLite does so at its first read."""
        try:
            self._pragma("SELECT 1 FROM sqlite_schema LIMIT 1")
        except BaseException:
            self.rollback()
            raise

    def rollback(self) -> None:
        """End the read transaction; harmless outside one."""
        if self.inside:
            self.inside = False
            # an error may have ended the transaction already; then there is nothing to end
            with suppress(Exception):
                self._handle.rollback()
            self._handle.set_autocommit(True)

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """One read transaction: every statement inside sees the same commit."""
        self.begin()
        try:
            yield self
        finally:
            self.rollback()

    def check_same_file(self) -> None:
        """Raise `SourceChanged` unless the path still names the file that was opened (DESIGN 5).

        Outside WAL mode its size and mtime must not have changed since `begin` either.
        """
        now = _stat(self.path)
        if _file(now) != _file(self._seen):
            raise _changed(self.path)
        still = self.journal_mode == "wal" or not self.inside or _content(now) == _content(self._began)
        if not still:
            raise SourceChanged(
                "the database file was written over while it was read",
                on=self.path,
                hint="the next cycle reads anew",
            )

    def close(self) -> None:
        """Close it and the readers that `pair` opened beside it; harmless when closed."""
        for other in self.companions or ():
            other.close()
        self.companions = None
        for handle in self._opened[::-1]:
            handle.close()
        self._opened.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def beside(self) -> tuple[Connection, Connection]:
        """A watcher and a second reader of the same file, opened once and closed with this one."""
        if self.companions is None:
            watcher = self._another()
            try:
                self.companions = (watcher, self._another())
            except BaseException:
                watcher.close()
                raise
        return self.companions

    def _another(self) -> Connection:
        return connect(self.path, busy_timeout=self.busy_timeout, immutable=self.immutable)


def connect(path: str, *, busy_timeout: float, immutable: bool = False) -> Connection:
    """Open `path` for reading only; `busy_timeout` in seconds.  A missing file is never created.

    Raises `UserError` for what is missing, forbidden, corrupt or no SQLite database, `RetryLater` for
    what is locked.
    """
    path = _absolute(path)
    seen = _stat(path)
    if not stat_bits.S_ISREG(seen.st_mode):
        raise UserError(
            "this is not a file", on=path, hint="a source is a SQLite file, or a glob such as /data/*.db"
        )
    if not os.access(path, os.R_OK):
        raise UserError("the database file may not be read", on=path, hint=_ALLOW)
    if not immutable and is_mounted_alone(path):
        raise UserError(
            "the database file is mounted alone, so that its -wal or -journal is not beside it",
            on=path,
            hint="mount its folder; for a copy that nobody writes, set `immutable: true` on the source",
            setting=_PATH,
        )
    return Connection(path, busy_timeout=busy_timeout, immutable=immutable)


_ESCAPED: Final = re.compile(r"\\([0-7]{3})")


def is_mounted_alone(path: str, mounts: str = "/proc/self/mountinfo") -> bool:
    """Whether the file is a mount point itself, as a container's `-v FILE:FILE` makes it.

    What the application writes to -wal is then not seen (measured: "no such table", or old rows), and a -shm
    of one's own locks nobody out.  `mounts` is Linux's table; False where there is none.
    """
    try:
        table = Path(mounts).read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return False
    real = os.path.realpath(path)
    points = (line.split(" ")[4] for line in table.splitlines())
    return any(_unescaped(point) == real for point in points)


def _unescaped(point: str) -> str:
    return _ESCAPED.sub(lambda octal: chr(int(octal[1], 8)), point) if "\\" in point else point


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One or two connections inside read transactions that see one and the same commit."""

    readers: tuple[Connection, ...]

    @property
    def first(self) -> Connection:
        return self.readers[0]


_TRIES: Final = 8


@contextmanager
def pair(connection: Connection) -> Iterator[Snapshot]:
    """Two readers of one *proved* snapshot; one reader where that cannot be had.

    A watcher reads data_version before and after both have begun: equal means that nobody committed
    between the two (FACTS, two readers: 23 of 1,000 unproved pairs differed).  A second reader that is
    refused (BUSY) leaves one.
    """
    try:
        yield Snapshot(readers=_begin_both(connection))
    finally:
        for each in (connection, *(connection.companions or ())):
            each.rollback()


def _begin_both(connection: Connection) -> tuple[Connection, ...]:
    try:
        watcher, second = connection.beside()
        for _ in range(_TRIES):
            connection.enter()
            second.enter()
            before = watcher.data_version()
            connection.fix()
            second.fix()
            if watcher.data_version() == before:
                return connection, second
            second.rollback()
            connection.rollback()
    except SourceChanged:
        raise
    except RetryLater:
        for each in (connection, *(connection.companions or ())):
            each.rollback()
    connection.begin()
    return (connection,)


def _uri(path: str, *, immutable: bool) -> str:
    return f"file:{quote(os.fsencode(path))}?mode=ro" + ("&immutable=1" if immutable else "")


def _next(reader: pa.RecordBatchReader) -> pa.RecordBatch | None:
    try:
        return reader.read_next_batch()
    except StopIteration:
        return None


def _file(seen: os.stat_result) -> tuple[int, int]:
    return seen.st_dev, seen.st_ino


def _content(seen: os.stat_result) -> tuple[int, int]:
    return seen.st_size, seen.st_mtime_ns


# --- errors ---------------------------------------------------------------------------------------


class Refused(UserError):
    """SQLite or the driver refused a statement for what it says or for the values it met.

    The reader answers it with its careful path; to others it is the user's to fix.
    """


_MISSING: Final = re.compile(r"no such (?:table|column|function|collation sequence): [^\n]+")


def _changed(path: str) -> SourceChanged:
    return SourceChanged("the path names another file now", on=path, hint="the next cycle opens the new one")


def _cannot_open(path: str, why: str) -> SiltError:
    return UserError("the database cannot be opened", on=path, why=_tidy(why), hint=_ALLOW)


_SHOWN_VALUE: Final = re.compile(r"(Failed to step query: [^'\"]*)['\"].*", re.DOTALL)
"""A function that fails on a row may quote a value of it (`bad JSON path: 'x'`), and that may be private."""


def _tidy(message: str) -> str:
    text = message.partition("\nquery:")[0].removeprefix("INVALID_ARGUMENT: ").removeprefix("IO: ")
    return _SHOWN_VALUE.sub(r"\1...", text)


def explained(error: BaseException, connection: Connection) -> SiltError:
    """SQLite's error as one of ours, by the words that SQLite uses (ADBC passes no result code on)."""
    text = str(error)
    path = connection.path
    if "database is locked" in text or "locking protocol" in text or "database is busy" in text:
        return RetryLater(
            f"the database is locked, waited {connection.busy_timeout:g} s",
            on=path,
            hint="another program is writing; a longer `busy_timeout` on the source waits longer",
            setting=_PATH,
        )
    if "file is not a database" in text:
        return UserError(
            "this is not a SQLite database, or it is encrypted",
            on=path,
            hint="check the path; of an encrypted database silt reads a plain copy only",
            setting=_PATH,
        )
    if "malformed" in text and "JSON" not in text:
        return UserError(
            "the database is corrupt",
            on=path,
            why=_tidy(text),
            hint="sqlite3's `.recover` or a backup restores it",
            setting=_PATH,
        )
    if "unable to open database file" in text or "readonly" in text:
        why = _why_unopened(path)
        return UserError("the database cannot be read", on=path, why=why, hint=_UNOPENED, setting=_PATH)
    if "disk I/O error" in text:
        return RetryLater("reading the database failed", on=path, why="disk I/O error", setting=_PATH)
    missing = _MISSING.search(text)
    if missing is not None:
        return Refused(
            missing[0], on=path, why=_tidy(text), hint="it may have been dropped or renamed: plan again"
        )
    return Refused("the statement was refused", on=path, why=_tidy(text))


def _why_unopened(path: str) -> str:
    if not Path(path).exists():
        return "the file is gone"
    if not os.access(Path(path).parent, os.W_OK):
        return "it is in WAL mode, and its -shm file can be neither opened nor created in a read-only folder"
    return "its -wal or -shm file cannot be opened"


_UNOPENED: Final = (
    "a WAL database needs its folder writable, or a writer that keeps it open; "
    "for a copy that nobody writes, set `immutable: true` on the source"
)
