"""What the end-to-end tests share: databases made and read in another process, cycles, lakes.

The source is always written and read by stdlib sqlite3 in a process of its own: a second SQLite
library in this one would corrupt reads (FACTS), and a reader that shares nothing with silt is the
only honest witness.
"""

from __future__ import annotations

import pickle
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"

_SERVER = """
import pickle, sqlite3, sys

def run(path, statements):
    connection = sqlite3.connect(path, isolation_level=None, timeout=30)
    connection.text_factory = lambda b: b.decode("utf-8", "surrogateescape")
    try:
        return answered(connection, statements)
    finally:
        connection.close()

def answered(connection, statements):
    if isinstance(statements, str):
        return connection.executescript(statements).fetchall()
    answer = []
    for statement in statements:
        text, *rest = statement if isinstance(statement, tuple) else (statement,)
        if rest and rest[0] and isinstance(rest[0][0], (tuple, list)):
            connection.execute("BEGIN")
            connection.executemany(text, rest[0])
            connection.execute("COMMIT")
        else:
            answer = connection.execute(text, rest[0] if rest else ()).fetchall()
    return answer

while True:
    try:
        path, statements = pickle.load(sys.stdin.buffer)
    except EOFError:
        break
    try:
        answer = run(path, statements)
    except Exception as error:
        answer = repr(error)
    pickle.dump(answer, sys.stdout.buffer)
    sys.stdout.buffer.flush()
"""


class Sqlite:
    """`sql` through one process that stays; it has a file open only while it answers.  `close()` ends it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-S", "-c", _SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def __call__(
        self, path: Path | str, *statements: str | tuple[str, Sequence[Any]]
    ) -> list[tuple[Any, ...]]:
        return self.ask(path, statements)

    def ask(self, path: Path | str, statements: Any) -> list[tuple[Any, ...]]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        pickle.dump((str(Path(path).absolute()), statements), self._process.stdin)
        self._process.stdin.flush()
        answer: list[tuple[Any, ...]] | str = pickle.load(self._process.stdout)
        assert not isinstance(answer, str), answer
        return answer

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=20)
        self._process.stdout.close()


_idle: list[Sqlite] = []
"""Processes that answer `sql`, each one caller at a time: a new one for each call would take 0.1 s."""


def sql(path: Path | str, *statements: str | tuple[str, Sequence[Any]]) -> list[tuple[Any, ...]]:
    """Run statements on a SQLite file in another process; the rows of the last one.

    A statement is SQL, (SQL, values) or (SQL, [values, ...]), the last in one transaction.
    """
    return _asked(path, statements)


def script(path: Path | str, text: str) -> None:
    """Run a script of statements on a SQLite file in another process."""
    _asked(path, text)


def _asked(path: Path | str, statements: Any) -> list[tuple[Any, ...]]:
    try:
        server = _idle.pop()
    except IndexError:
        server = Sqlite()
    answer: list[tuple[Any, ...]] = []
    try:
        answer = server.ask(path, statements)
    except AssertionError:  # the statement's own error: it answers the next one
        _idle.append(server)
        raise
    except BaseException:
        server.close()
        raise
    _idle.append(server)
    return answer


def close() -> None:
    """End the processes that answer `sql`."""
    while _idle:
        _idle.pop().close()


@dataclass
class Site:
    """A folder with a database, a manifest and a lake; `cycle` runs silt once, as a cold process would."""

    folder: Path
    manifest: Path = field(init=False)
    events: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.manifest = self.folder / "silt.yaml"

    @property
    def database(self) -> Path:
        return self.folder / "app.db"

    def sql(self, *statements: str | tuple[str, Sequence[Any]]) -> list[tuple[Any, ...]]:
        return sql(self.database, *statements)

    def write(self, streams: str, *, source: str = "./app.db", head: str = "") -> None:
        """The manifest: `streams` is the YAML under `streams:`, indented by two."""
        body = f"version: 1\n{head}sources:\n  app: {source}\ntargets:\n  lake: ./lake\nstreams:\n{streams}"
        self.manifest.write_text(body)

    def plan(self) -> Any:
        from silt import manifest, observe

        loaded = manifest.load(self.manifest, open_secrets=True)
        with observe.Handles(loaded) as handles:
            return observe.look(loaded, handles)

    def cycle(self, *, handles: Any = None) -> Any:
        """One `run --once`: a RunResult."""
        from silt import manifest, observe, replicate

        loaded = manifest.load(self.manifest, open_secrets=True)
        stop = threading.Event()
        if handles is not None:
            plan = observe.look(loaded, handles)
            return replicate.run(plan, handles, listen=self.events.append, stop=stop)
        with observe.Handles(loaded) as fresh:
            plan = observe.look(loaded, fresh)
            return replicate.run(plan, fresh, listen=self.events.append, stop=stop)

    def one(self, **more: Any) -> Any:
        """One cycle of a manifest with one stream: its StreamResult."""
        (result,) = self.cycle(**more).streams
        return result

    def reset(self, stream: str) -> Any:
        from silt import manifest, observe, replicate

        loaded = manifest.load(self.manifest, open_secrets=True)
        with observe.Handles(loaded) as handles:
            plan = observe.look(loaded, handles)
            return replicate.reset(plan, handles, stream, listen=self.events.append)

    def lake(self, into: str) -> list[dict[str, Any]]:
        return lake(self.folder / "lake" / into)

    def column(self, into: str, name: str) -> list[Any]:
        return [row[name] for row in self.lake(into)]

    def expect(self, into: str, table: str, *, columns: str = "*") -> None:
        """The lake's rows are the source's, cell by cell and as often, in any order."""
        rows = self.sql(f"SELECT {columns} FROM {table}")
        names = [name for name in (self.lake(into) or [{}])[0] if not name.startswith("_silt_")]
        got = Counter(tuple(map(repr, (row[name] for name in names))) for row in self.lake(into))
        assert got == Counter(tuple(map(repr, row)) for row in rows)


def lake(path: Path | str, options: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
    """Every row of a Delta table.

    Not by `to_pyarrow_table`: its threads call into Rust while the interpreter ends, and abort the
    process ("terminate called without an active exception", deltalake 1.6.3).
    """
    import pyarrow as pa
    from deltalake import DeltaTable, QueryBuilder

    delta = DeltaTable(str(path), storage_options=dict(options or {}))
    answer = QueryBuilder().register("t", delta).execute("select * from t")
    return pa.table(pa.RecordBatchReader.from_stream(answer).read_all()).to_pylist()


def doubled(values: Iterable[Any]) -> list[Any]:
    """Values that are there more than once."""
    return [value for value, count in Counter(values).items() if count > 1]


def difference(source: list[tuple[Any, ...]], rows: list[dict[str, Any]]) -> tuple[int, int]:
    """(rows that are missing in the lake, rows that it has too often)."""
    there = Counter(map(repr, source))
    got = Counter(repr(tuple(v for name, v in row.items() if not name.startswith("_silt"))) for row in rows)
    return (there - got).total(), (got - there).total()
