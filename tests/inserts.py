"""Five tables of one database, and a process that keeps inserting into all of them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kit import Sqlite

TABLES = ("t0", "t1", "t2", "t3", "t4")

WRITER = """
import itertools, sqlite3, sys, threading
path, tables = sys.argv[1], sys.argv[2:]
c = sqlite3.connect(path, isolation_level=None, timeout=30)
stop = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
made = 0
for table in itertools.cycle(tables):
    if stop.wait(0.002):
        break
    c.execute(f"INSERT INTO {table} (x) VALUES (?)", (f"row {made}",))
    made += 1
    if made == 1:
        print("writing", flush=True)
print(made)
"""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """A process that inserts into every table in turn, from now on until this ends."""
    command = [sys.executable, "-S", "-c", WRITER, str(path), *TABLES]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            yield
        finally:
            made, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        assert int(made) > 0


@contextmanager
def made(folder: Path) -> Iterator[Sqlite]:
    """The database with its tables, and what writes and reads it in another process."""
    sql = Sqlite()
    create = [f"CREATE TABLE {name} (id INTEGER PRIMARY KEY AUTOINCREMENT, x TEXT)" for name in TABLES]
    sql(folder / "app.db", "PRAGMA journal_mode=wal", *create)
    try:
        yield sql
    finally:
        sql.close()
