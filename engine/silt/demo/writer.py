"""The demo's sensors: a process of its own that keeps writing to a SQLite database, as an application would.

The table is that of the sensor program that feeds the first uploader: ISO timestamps of which many rows
share one, columns that are always NULL, WAL.  It runs as `python -m silt.demo.writer`, because two SQLite
libraries in one process must not open the same file (FACTS).
"""

from __future__ import annotations

import argparse
import datetime as dt
import hashlib
import json
import random
import select
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from typing import Final

SITES: Final = (
    ("New York", 40.7128, -74.006, "-05:00"),
    ("Lisbon", 38.7223, -9.1393, "+00:00"),
    ("Nairobi", -1.2921, 36.8219, "+03:00"),
    ("Osaka", 34.6937, 135.5023, "+09:00"),
)
SENSORS: Final = tuple(f"SENSOR_{site[0][:2].upper()}_{n:04d}" for site in SITES for n in (1, 2))
COMMIT_EVERY: Final = 0.05
"""Seconds between the writer's transactions."""

_LARGEST: Final = 2_000
"""Rows of one transaction at most: a machine that stood still is not paid back in one."""

_SCHEMA: Final = """
CREATE TABLE sensor_readings (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    timestamp TEXT NOT NULL,
    sensor_id TEXT NOT NULL,
    temperature REAL, humidity REAL, pressure REAL, vibration REAL, voltage REAL,
    status_code INTEGER,
    anomaly_flag INTEGER DEFAULT 0,
    anomaly_type TEXT,
    firmware_version TEXT, model TEXT, manufacturer TEXT,
    location TEXT, latitude REAL, longitude REAL, original_timezone TEXT,
    serial_number TEXT, manufacture_date TEXT,
    deployment_type TEXT, installation_date TEXT,
    height_meters REAL, orientation_degrees REAL,
    instance_id TEXT, sensor_type TEXT
);
CREATE INDEX idx_timestamp ON sensor_readings(timestamp);
CREATE INDEX idx_sensor_id ON sensor_readings(sensor_id);
CREATE TABLE sensors (
    sensor_id TEXT PRIMARY KEY, location TEXT, last_seen TEXT, readings INTEGER
) WITHOUT ROWID;
"""

Row = tuple[object, ...]


def write(path: str, *, first: int, rate: float, stop: Callable[[float], bool], seed: int = 7) -> int:
    """Create the database at `path` with `first` rows, then add `rate` a second until `stop`; all rows.

    `stop(seconds)` waits that long and says whether to end.
    """
    rng = random.Random(seed)  # noqa: S311  # sensors, not secrets
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.executescript(_SCHEMA)
    written = _insert(connection, rng, first)
    print("ready", flush=True)  # noqa: T201  # a process of its own: this is how it talks to the demo
    last = time.monotonic()
    while not stop(COMMIT_EVERY):
        now = time.monotonic()
        written += _insert(connection, rng, min(round((now - last) * rate), _LARGEST))
        last = now
    connection.close()
    return written


def _told(seconds: float) -> bool:
    """Wait for `seconds`; True as soon as whoever started this process closes its end of stdin, or dies."""
    readable, _, _ = select.select([sys.stdin], [], [], seconds)
    return bool(readable)


def _insert(connection: sqlite3.Connection, rng: random.Random, number: int) -> int:
    """Add `number` rows in one transaction, and bring the small table `sensors` up to date."""
    rows = list(_rows(rng, number))
    marks = ", ".join("?" * 25)
    connection.execute("BEGIN IMMEDIATE")
    insert = f"INSERT INTO sensor_readings VALUES (NULL, {marks})"  # noqa: S608  # question marks only
    connection.executemany(insert, rows)
    connection.execute(
        "INSERT OR REPLACE INTO sensors SELECT sensor_id, location, max(timestamp), count(*) "
        "FROM sensor_readings GROUP BY sensor_id"
    )
    connection.execute("COMMIT")
    return len(rows)


def _rows(rng: random.Random, number: int) -> Iterator[Row]:
    now = dt.datetime.now(dt.UTC)
    for i in range(number):
        moment = now + dt.timedelta(milliseconds=i // 5)  # five readings share a millisecond
        yield _row(rng, moment.isoformat(timespec="milliseconds"))


def _row(rng: random.Random, stamp: str) -> Row:
    index = rng.randrange(len(SENSORS))
    place, latitude, longitude, offset = SITES[index // 2]
    anomaly = rng.choice(("spike", "drift", "noise", "trend")) if rng.random() < 0.1 else None
    measured = (
        rng.gauss(60, 8),
        rng.uniform(0, 100),
        rng.gauss(12, 1),
        rng.expovariate(2),
        rng.gauss(12, 0.2),
    )
    return (
        stamp,
        SENSORS[index],
        *(round(value, 6) for value in measured),
        int(anomaly is not None),
        int(anomaly is not None),
        anomaly,
        *("2.1.0", "WeatherStation Pro", "SensorCorp"),
        *(place, latitude, longitude, offset),
        *(f"SENSOR-{index:06X}", None),  # manufacture_date is never known
        *("stationary_unit", "2026-08-26", 2.5, None, None, None),
    )


def fingerprint(rows: Iterator[Row]) -> tuple[int, int, str]:
    """(rows, distinct ids, digest of every cell) of rows in the order of their first column, the id."""
    digest, count, ids = hashlib.sha256(), 0, set()
    for row in rows:
        digest.update(json.dumps(row, ensure_ascii=False).encode() + b"\n")
        ids.add(row[0])
        count += 1
    return count, len(ids), digest.hexdigest()[:16]


def of_source(path: str) -> tuple[int, int, str]:
    """The fingerprint of `sensor_readings` in the database at `path`."""
    connection = sqlite3.connect(path)
    try:
        return fingerprint(iter(connection.execute("SELECT * FROM sensor_readings ORDER BY id")))
    finally:
        connection.close()


def main() -> None:
    """`write PATH` until stdin is closed, or `fingerprint PATH`; the result is one JSON line on stdout."""
    parser = argparse.ArgumentParser(prog="silt.demo.writer")
    parser.add_argument("verb", choices=("write", "fingerprint"))
    parser.add_argument("path")
    parser.add_argument("--first", type=int, default=20_000)
    parser.add_argument("--rate", type=float, default=2_000)
    given = parser.parse_args()
    if given.verb == "write":
        found: object = write(given.path, first=given.first, rate=given.rate, stop=_told)
    else:
        found = of_source(given.path)
    print(json.dumps(found), flush=True)  # noqa: T201  # see above


if __name__ == "__main__":
    main()
