"""The databases that are measured: made once, the same everywhere, kept outside the checkout.

`python -m tests.benchmarks.data narrow 5000000 FILE` writes one (in a process of its own).
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

GENERATION = 1  # raise it when what is written changes: it is part of the file's name
START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """One measured database: `table` of `rows` rows in `path`."""

    shape: str
    table: str
    rows: int
    path: Path

    @property
    def megabytes(self) -> float:
        return self.path.stat().st_size / 1e6


def dataset(shape: str, rows: int) -> Dataset:
    """The database of `shape` ("narrow" or "wide"), made now if the cache has none."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "siltlake-bench"
    path = cache / f"{shape}-{rows}-g{GENERATION}.db"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        made = path.with_suffix(f".{os.getpid()}.tmp")
        subprocess.run([sys.executable, "-m", "tests.benchmarks.data", shape, str(rows), made], check=True)
        made.rename(path)
    _warm(path)
    return Dataset(shape=shape, table=SHAPES[shape][0], rows=rows, path=path)


def _warm(path: Path) -> None:
    """Read the file once: every candidate then reads from the page cache."""
    with path.open("rb", buffering=0) as file:
        while file.read(1 << 24):
            pass


# --- narrow: 8 columns, about 95 bytes a row: a sensor's readings. ---------------------------------------

NARROW = """CREATE TABLE readings (
    id INTEGER PRIMARY KEY AUTOINCREMENT, sensor_id TEXT NOT NULL, timestamp TIMESTAMP NOT NULL,
    temperature REAL, humidity REAL, pressure REAL, quality INTEGER, note TEXT)"""


def _narrow(rows: int) -> Iterator[tuple[object, ...]]:
    random = Random(1)
    tick = timedelta(microseconds=100_003)
    at = START
    sensors = [f"sensor-{n:04d}" for n in range(1000)]
    notes = ["nominal", "calibrating", "door open, see log", None, "battery low"]
    for key in range(1, rows + 1):
        x = random.random()
        yield (
            key,
            sensors[int(x * 1000)],
            at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond:06d}",
            15 + 20 * x,
            30 + 40 * ((x * 7919) % 1),
            990 + 40 * ((x * 104729) % 1),
            int(x * 1e6) % 101,
            notes[key % 5],
        )
        at += tick


# --- wide: 40 columns, mixed, with NULLs, BLOBs and timestamps: about 1,300 bytes a row. -------------------

_WIDE_COLUMNS = (
    ["id INTEGER PRIMARY KEY"]
    + [f"n{i} INTEGER" for i in range(10)]
    + [f"r{i} REAL" for i in range(10)]
    + [f"s{i} TEXT" for i in range(10)]
    + [f"t{i} DATETIME" for i in range(5)]
    + [f"b{i} BLOB" for i in range(4)]
)
WIDE = f"CREATE TABLE mixed ({', '.join(_WIDE_COLUMNS)})"


def _wide(rows: int) -> Iterator[tuple[object, ...]]:
    random = Random(2)
    noise = random.randbytes(1 << 16)
    words = [f"{random.getrandbits(64):016x}"[: 6 + n % 11] * (1 + n % 4) for n in range(4096)]
    times = [(START + timedelta(seconds=n * 977)).strftime("%Y-%m-%d %H:%M:%S.%f") for n in range(4096)]
    for key in range(1, rows + 1):
        bits = random.getrandbits(48)
        x = (bits & 0xFFFFFF) / 0x1000000
        row: list[object] = [key]
        row += [(bits >> (3 * i)) * (i + 1) % (10 ** (i + 1)) for i in range(10)]
        row += [None if (key + i) % 17 == 0 else x * (i + 1) * 1000 for i in range(10)]
        row += [None if (key + i) % 13 == 0 else words[(bits >> i) & 4095] for i in range(10)]
        row += [times[(bits >> (2 * i)) & 4095] for i in range(5)]
        row += [noise[bits & 0x7FFF : (bits & 0x7FFF) + (16 << i)] for i in range(4)]
        yield tuple(row)


SHAPES = {"narrow": ("readings", NARROW, 8, _narrow), "wide": ("mixed", WIDE, 40, _wide)}


def write(shape: str, rows: int, path: Path) -> None:
    """Write the database of `shape` with `rows` rows at `path`."""
    table, create, width, generate = SHAPES[shape]
    connection = sqlite3.connect(path)
    connection.executescript("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;" + create)
    connection.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * width)})", generate(rows))
    connection.commit()
    connection.execute("PRAGMA journal_mode=DELETE")
    connection.close()


if __name__ == "__main__":
    write(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
