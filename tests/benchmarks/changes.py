"""What rows that change cost: merge, deletes by comparing keys, mirror; a resident process, 5,000,000 rows.

Each table is loaded anew into a lake of its own; the rows that change are spread over all of it, which is
the worst case of tables whose files are written again.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path
from random import Random
from statistics import median

from deltalake import DeltaTable

from tests.benchmarks.__main__ import ROOT, _target
from tests.benchmarks.data import Dataset, dataset

sys.path.insert(0, str(ROOT / "tests"))

from kit import Site, Sqlite

from silt import manifest, observe
from silt.daemon import Job, Replication
from silt.daemon.turns import Turn

INDEX = "CREATE INDEX by_time ON readings (timestamp)"  # an application that asks for what is new has one


class Table:
    """One table as a daemon holds it; `cycle` gives the seconds that one takes."""

    def __init__(self, data: Dataset, folder: Path, sql: Sqlite, settings: str) -> None:
        folder.mkdir()
        self._sql, self._site = sql, Site(folder)
        shutil.copy(data.path, self._site.database)
        self.sql(INDEX)
        self._site.write(f"  readings: {settings}\n")
        made = manifest.load(self._site.manifest)
        self._handles = observe.Handles(made)
        (plan,) = observe.look(made, self._handles).streams
        self._job = Job(stream=plan.stream, manifest=made, plan=plan)
        self._work = Replication(self._handles, select=lambda _: True, listen=lambda _: None)
        print(f"  {settings:<58} {self.cycle(data.rows):8.2f} s  {data.rows:,} rows loaded", flush=True)

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

    def close(self, rows: int) -> None:
        """Drop the lake; it must have held so many rows."""
        if (held := DeltaTable(str(self._site.folder / "lake" / "readings")).count()) != rows:
            raise SystemExit(f"bench: the lake holds {held:,} rows, not {rows:,}: the times mean nothing")
        self._handles.close()
        shutil.rmtree(self._site.folder)


def _update(table: Table, data: Dataset, number: int) -> None:
    """Other values for `number` rows, later than any other."""
    ids = Random(7).sample(range(1, data.rows + 1), number)
    change = "UPDATE readings SET temperature = temperature + 1, timestamp = ? WHERE id = ?"
    table.sql((change, [("2026-02-01T00:00:00.000000", each) for each in ids]))


def merging(data: Dataset, folder: Path, sql: Sqlite) -> bool:
    table = Table(data, folder / "merge", sql, "{mode: merge, cursor: timestamp}")
    changed = min(1_000, data.rows)
    _update(table, data, changed)
    seconds = table.cycle(changed)
    table.close(data.rows)
    return _target(f"merge of {changed:,} changed rows < 0.6 s", f"{seconds:.2f} s", ok=seconds < 0.6)


def deleting(data: Dataset, folder: Path, sql: Sqlite) -> bool:
    table = Table(data, folder / "deletes", sql, "{mode: merge, cursor: timestamp, deletes: hard}")
    gone = min(1_000, data.rows // 10)
    ids = Random(8).sample(range(1, data.rows + 1), gone)
    table.sql(("DELETE FROM readings WHERE id = ?", [(each,) for each in ids]))
    seconds = table.cycle(0, deleted=gone)
    table.close(data.rows - gone)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    met = _target(f"{gone:,} deletes by all keys < 5 s", f"{seconds:.2f} s", ok=seconds < 5)
    return met & _target("its peak, with the loads before it < 500 MB", f"{peak:.0f} MB", ok=peak < 500)


def mirroring(data: Dataset, folder: Path, sql: Sqlite) -> bool:
    table = Table(data, folder / "mirror", sql, "{mode: mirror}")
    table.cycle(0)
    still = median(table.cycle(0) for _ in range(20))
    _update(table, data, min(100, data.rows))
    seconds = table.cycle(min(100, data.rows))
    table.close(data.rows)
    met = _target("mirror of what did not change < 5 ms", f"{still * 1000:.2f} ms", ok=still < 0.005)
    return met & _target("mirror with 100 changed rows < 8 s", f"{seconds:.2f} s", ok=seconds < 8)


def main() -> int:
    """Measure, print, and with `--check` end with 1 when a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.changes", description=__doc__)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--check", action="store_true", help="end with 1 when a target is missed")
    options = parser.parse_args()
    data, sql = dataset("narrow", options.rows), Sqlite()
    print(f"\nrows that change, among {data.rows:,}, in a running silt, on a local disk")
    with tempfile.TemporaryDirectory() as folder:
        met = [measure(data, Path(folder), sql) for measure in (merging, deleting, mirroring)]
    sql.close()
    return 0 if all(met) or not options.check else 1


if __name__ == "__main__":
    sys.exit(main())
