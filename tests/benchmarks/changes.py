"""What rows that change cost: merge, deletes by comparing keys, mirror; a resident process, 5,000,000 rows.

Each table is loaded anew into a lake of its own.  Rows that change are the newest, as an application's mostly
are, or spread over all of the table, the worst case: each file holds one, and is written anew.  Beside that
stands its floor, all files of the table read and written once.  Deletes run in a process that loaded nothing.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from random import Random
from statistics import median

import pyarrow as pa
from deltalake import DeltaTable, QueryBuilder, write_deltalake

from tests.benchmarks.__main__ import ROOT, _target
from tests.benchmarks.data import Dataset, dataset
from tests.benchmarks.measure import run

sys.path.insert(0, str(ROOT / "tests"))

from kit import Site, Sqlite

from silt import manifest, observe
from silt.daemon import Job, Replication
from silt.daemon.turns import Turn
from silt.replicate.upsert import REWRITTEN
from silt.target.feed import writer_properties

INDEX = "CREATE INDEX by_time ON readings (timestamp)"  # an application that asks for what is new has one


class Table:
    """One table as a daemon holds it; `cycle` gives the seconds that one takes."""

    def __init__(self, folder: Path, sql: Sqlite) -> None:
        """What `loaded` left in `folder`."""
        self._sql, self._site = sql, Site(folder)
        made = manifest.load(self._site.manifest)
        self._handles = observe.Handles(made)
        (plan,) = observe.look(made, self._handles).streams
        self._job = Job(stream=plan.stream, manifest=made, plan=plan)
        self._work = Replication(self._handles, select=lambda _: True, listen=lambda _: None)

    def sql(self, *statements: object) -> None:
        self._sql(self._site.database, *statements)

    def cycle(self, rows: int, *, deleted: int = 0) -> float:
        """Seconds of one cycle, which must have written and deleted so many rows."""
        began = time.perf_counter()
        report = self._work.cycle(self._job, Turn(threading.Event(), lambda: False), again=False)
        seconds = time.perf_counter() - began
        result = report.result
        if result.error is not None or (result.rows, result.deleted) != (rows, deleted):
            raise SystemExit(f"bench: {result.rows} rows, {result.deleted} deleted: {result.error}")
        return seconds

    def floor(self) -> float:
        """Seconds that all files take to be read and written once, as delta-rs does both."""
        lake, copy = self._site.folder / "lake" / "readings", self._site.folder / "copy"
        rows = QueryBuilder().register("t", DeltaTable(lake)).execute("SELECT * FROM t")
        reader = pa.RecordBatchReader.from_stream(rows)
        began = time.perf_counter()
        properties = writer_properties(reader.schema, REWRITTEN, 100)
        write_deltalake(copy, reader, target_file_size=REWRITTEN.file_bytes, writer_properties=properties)
        seconds = time.perf_counter() - began
        shutil.rmtree(copy)
        return seconds

    def leave(self) -> None:
        self._handles.close()

    def close(self, rows: int) -> None:
        """Drop the lake; it must have held so many rows."""
        if (held := DeltaTable(str(self._site.folder / "lake" / "readings")).count()) != rows:
            raise SystemExit(f"bench: the lake holds {held:,} rows, not {rows:,}: the times mean nothing")
        self.leave()
        shutil.rmtree(self._site.folder)


def loaded(data: Dataset, folder: Path, sql: Sqlite, settings: str) -> Table:
    """A copy of `data` and its first load."""
    folder.mkdir()
    site = Site(folder)
    shutil.copy(data.path, site.database)
    sql(site.database, INDEX)
    site.write(f"  readings: {settings}\n")
    table = Table(folder, sql)
    print(f"  {settings:<58} {table.cycle(data.rows):8.2f} s  {data.rows:,} rows loaded", flush=True)
    return table


def _update(table: Table, ids: Iterable[int], day: int) -> None:
    """Other values for the rows of `ids`, later than any other."""
    change = "UPDATE readings SET temperature = temperature + 1, timestamp = ? WHERE id = ?"
    table.sql((change, [(f"2026-02-{day:02}T00:00:00.000000", each) for each in ids]))


def _newest(data: Dataset, number: int) -> range:
    return range(data.rows - number + 1, data.rows + 1)


def _scattered(data: Dataset, number: int) -> list[int]:
    return Random(7).sample(range(1, data.rows + 1), number)


def merging(data: Dataset, folder: Path, sql: Sqlite) -> bool:
    table = loaded(data, folder / "merge", sql, "{mode: merge, cursor: timestamp}")
    changed = min(1_000, data.rows)
    took = []
    for day, ids in enumerate([_newest, _scattered, _newest], start=1):
        _update(table, ids(data, changed), day)
        took.append(table.cycle(changed))
    floor = table.floor()
    table.close(data.rows)
    newest, scattered, again = took
    print(f"  {changed:,} rows that lie anywhere: {scattered:.2f} s; all files rewritten: {floor:.2f} s")
    print(f"  {changed:,} newest rows again, after those: {again:.2f} s")
    return _target(f"merge of {changed:,} changed rows < 0.6 s", f"{newest:.2f} s", ok=newest < 0.6)


def deleting(data: Dataset, folder: Path, sql: Sqlite) -> bool:
    loaded(data, folder / "deletes", sql, "{mode: merge, cursor: timestamp, deletes: hard}").leave()
    cost = run(
        [sys.executable, "-m", "tests.benchmarks.changes", "--rows", str(data.rows), "--deletes", folder]
    )
    seconds = float(cost.output)
    gone = min(1_000, data.rows // 10)
    met = _target(f"{gone:,} deletes by all keys < 5 s", f"{seconds:.2f} s", ok=seconds < 5)
    return met & _target("its peak, of the whole process < 500 MB", f"{cost.peak:.0f} MB", ok=cost.peak < 500)


def delete(data: Dataset, folder: Path, sql: Sqlite) -> float:
    """Seconds of the cycle that deletes, in a process that has run one before; the lake is dropped."""
    table = Table(folder / "deletes", sql)
    table.cycle(0)
    gone = min(1_000, data.rows // 10)
    ids = Random(8).sample(range(1, data.rows + 1), gone)
    table.sql(("DELETE FROM readings WHERE id = ?", [(each,) for each in ids]))
    seconds = table.cycle(0, deleted=gone)
    table.close(data.rows - gone)
    return seconds


def mirroring(data: Dataset, folder: Path, sql: Sqlite) -> bool:
    table = loaded(data, folder / "mirror", sql, "{mode: mirror}")
    table.cycle(0)
    still = median(table.cycle(0) for _ in range(20))
    changed = min(100, data.rows)
    _update(table, _scattered(data, changed), 1)
    seconds = table.cycle(changed)
    table.close(data.rows)
    met = _target("mirror of what did not change < 5 ms", f"{still * 1000:.2f} ms", ok=still < 0.005)
    return met & _target(f"mirror with {changed} changed rows < 8 s", f"{seconds:.2f} s", ok=seconds < 8)


def main() -> int:
    """Measure, print, and with `--check` end with 1 when a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.changes", description=__doc__)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--check", action="store_true", help="end with 1 when a target is missed")
    parser.add_argument("--deletes", type=Path, help="the folder of a table that is loaded: delete from it")
    options = parser.parse_args()
    data, sql = dataset("narrow", options.rows), Sqlite()
    if options.deletes:
        print(delete(data, options.deletes, sql))
        sql.close()
        return 0
    print(f"\nrows that change, among {data.rows:,}, in a running silt, on a local disk")
    with tempfile.TemporaryDirectory() as folder:
        met = [measure(data, Path(folder), sql) for measure in (merging, deleting, mirroring)]
    sql.close()
    return 0 if all(met) or not options.check else 1


if __name__ == "__main__":
    sys.exit(main())
