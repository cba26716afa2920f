"""`python writer.py FOLDER PAUSE`: an application that keeps inserting until its standard input closes.

Every transaction is one that a real program makes: a few rows in one table, committed.  At the end it
says how many transactions it made.  `prepare` makes the databases that it writes.
"""

from __future__ import annotations

import random
import select
import sqlite3  # noqa: TID251  -- a process of its own
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

SCHEMA = """
PRAGMA journal_mode=wal;
CREATE TABLE events (id INTEGER PRIMARY KEY, name TEXT, value REAL);
CREATE TABLE ticks (at TEXT NOT NULL, key TEXT NOT NULL, n INTEGER, PRIMARY KEY (at, key)) WITHOUT ROWID;
CREATE TABLE notes (body TEXT, n INTEGER);
CREATE TABLE settings (name TEXT PRIMARY KEY, value INTEGER);
CREATE TABLE items (id INTEGER PRIMARY KEY, n INTEGER, updated_at TEXT NOT NULL);
"""
TENANT = """
PRAGMA journal_mode=wal;
CREATE TABLE orders (id INTEGER PRIMARY KEY AUTOINCREMENT, item TEXT, n INTEGER);
"""
TENANTS = ("acme", "bolt", "cyan")


def _open(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None, timeout=30)


def _prepare(folder: Path) -> None:
    (folder / "tenants").mkdir(parents=True, exist_ok=True)
    for path, script in [
        (folder / "app.db", SCHEMA),
        *((folder / "tenants" / f"{t}.db", TENANT) for t in TENANTS),
    ]:
        connection = _open(path)
        connection.executescript(script)
        connection.close()


class Application:
    """Inserts of every kind that the manifest's streams follow."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._chance = random.Random(seed)
        self._app = _open(folder / "app.db")
        self._tenants = [_open(folder / "tenants" / f"{name}.db") for name in TENANTS]
        self.made = 0

    def step(self) -> None:
        """One transaction, or one in each tenant's database."""
        kind = self._chance.choice(("events", "ticks", "notes", "settings", "orders", "items"))
        for connection in self._tenants if kind == "orders" else [self._app]:
            connection.execute("BEGIN IMMEDIATE")
            for _ in range(self._chance.randint(1, 4)):
                self.made += 1
                getattr(self, f"_{kind}")(connection)
            connection.execute("COMMIT")

    def _events(self, connection: sqlite3.Connection) -> None:
        values = (f"event {self.made}", self.made / 7)
        connection.execute("INSERT INTO events (name, value) VALUES (?, ?)", values)

    def _ticks(self, connection: sqlite3.Connection) -> None:
        """Many rows a second under random keys: the tie-breaker does not rise with commits."""
        key = f"{self._chance.getrandbits(48):012x}"
        connection.execute("INSERT INTO ticks VALUES (strftime('%Y-%m-%d %H:%M:%S'), ?, ?)", (key, self.made))

    def _notes(self, connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO notes VALUES (?, ?)", (f"note {self.made}", self.made))

    def _settings(self, connection: sqlite3.Connection) -> None:
        name = f"setting {self._chance.randint(0, 9)}"
        connection.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (name, self.made))

    def _items(self, connection: sqlite3.Connection) -> None:
        """One of forty rows is written again, or deleted, mostly in the second of the last cycle."""
        if self._chance.random() < 0.2:
            connection.execute("DELETE FROM items WHERE id = ?", (self._chance.randint(1, 40),))
            return
        connection.execute(
            "INSERT INTO items VALUES (?, ?, strftime('%Y-%m-%d %H:%M:%S'))"
            " ON CONFLICT (id) DO UPDATE SET n = excluded.n, updated_at = excluded.updated_at",
            (self._chance.randint(1, 40), self.made),
        )

    def _orders(self, connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO orders (item, n) VALUES (?, ?)", (f"item {self.made}", self.made))


def main(folder: Path, pause: float, seed: int) -> None:
    application = Application(folder, seed)
    print("writing", flush=True)
    transactions = 0
    while not select.select([sys.stdin], [], [], 0)[0]:
        application.step()
        transactions += 1
        time.sleep(pause)
    print(transactions, flush=True)


# --- for the tests --------------------------------------------------------------------------------


def prepare(folder: Path) -> None:
    """Make the databases, in another process."""
    subprocess.run([sys.executable, __file__, "prepare", str(folder)], check=True)


def tables(folder: Path) -> Iterator[tuple[str, list[tuple[Any, ...]], list[dict[str, Any]]]]:
    """(name, rows of the source, rows of the lake) of everything that the application writes."""
    from kit import lake, sql

    for name in ("events", "ticks", "notes", "settings", "items"):
        yield name, sql(folder / "app.db", f"SELECT * FROM {name}"), lake(folder / "lake" / name)
    if (folder / "lake" / "mirrored").is_dir():
        yield "mirrored", sql(folder / "app.db", "SELECT * FROM items"), lake(folder / "lake" / "mirrored")
    orders = lake(folder / "lake" / "orders")
    for tenant in TENANTS:
        mine = [row for row in orders if row["_silt_database"] == tenant]
        yield tenant, sql(folder / "tenants" / f"{tenant}.db", "SELECT * FROM orders"), mine
    assert {row["_silt_database"] for row in orders} == set(TENANTS)


class Writer:
    """The application as a running process; `stop` ends it and says how many transactions it made."""

    def __init__(self, folder: Path, *, pause: float, seed: int = 0) -> None:
        command = [sys.executable, __file__, "write", str(folder), str(pause), str(seed)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "writing\n"

    def stop(self) -> int:
        out, _ = self._process.communicate(timeout=60)
        assert self._process.returncode == 0
        return int(out)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate(timeout=20)


if __name__ == "__main__":
    if sys.argv[1] == "prepare":
        _prepare(Path(sys.argv[2]))
    else:
        main(Path(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]))
