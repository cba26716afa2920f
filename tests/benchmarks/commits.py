"""What a small cycle costs after thousands of them: a resident process, a row a cycle, upkeep beside it.

The last hundred cycles take turns with the first hundred of another table, so that a slow minute of the
machine hits both.  `--no-upkeep` shows what would become of it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from tests.benchmarks.__main__ import ROOT, _target

sys.path.insert(0, str(ROOT / "tests"))

from kit import Site, Sqlite

from silt import manifest, observe
from silt.replicate.stream import StreamCycle
from silt.replicate.upkeep import Upkeep, chores
from silt.state import StateDir

RATIO = 1.5
SOME = 100


class Table:
    """One table as a daemon holds it: the plan and the handles stay."""

    def __init__(self, folder: Path, sql: Sqlite) -> None:
        folder.mkdir()
        self._sql, self._site = sql, Site(folder)
        sql(
            self._site.database,
            "PRAGMA journal_mode=WAL",
            "CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT, x REAL)",
        )
        self._site.write("  t: {}\n")
        self.manifest = manifest.load(self._site.manifest)
        self.handles = observe.Handles(self.manifest)
        (self._plan,) = observe.look(self.manifest, self.handles).streams
        self.cycles = 0

    def cycle(self) -> float:
        """One row more, and the seconds until it is in the lake, on the disk."""
        self._sql(
            self._site.database, ("INSERT INTO t (at, x) VALUES (datetime('now'), ?)", (self.cycles / 7,))
        )
        began = time.perf_counter()
        result = StreamCycle(self._plan, self.handles, listen=lambda _: None, stop=threading.Event()).run()
        seconds = time.perf_counter() - began
        self.cycles += 1
        if result.rows != 1:
            raise SystemExit(f"bench: a cycle wrote {result.rows} rows: {result.error}")
        return seconds

    @contextmanager
    def tended(self) -> Iterator[None]:
        """Upkeep in a thread of its own, as a daemon has it."""
        stop = threading.Event()
        thread = threading.Thread(target=self._tend, args=(stop,))
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def _tend(self, stop: threading.Event) -> None:
        state = StateDir(self.manifest.state_dir, manifest=self.manifest.name, node=self.manifest.node)
        upkeep = Upkeep(state)
        (chore,) = chores(self.manifest, [self._plan.stream])
        while not stop.wait(0.5):
            for done in upkeep.carry_out(chore, upkeep.due(chore, self.handles), self.handles):
                if done.outcome == "failed":
                    print(f"  {done.task} failed: {done.error}")

    def check(self) -> None:
        if len(self._site.lake("t")) != self.cycles:
            raise SystemExit("bench: rows are missing or doubled: the times mean nothing")
        self.handles.close()


def measure(commits: int, folder: Path, *, upkeep: bool) -> float:
    """Print p50 of the first and of the last hundred cycles; the ratio beside a new table."""
    sql = Sqlite()
    old, new = Table(folder / "old", sql), Table(folder / "new", sql)
    some = min(SOME, commits // 2)
    with old.tended() if upkeep else _alone():
        first = [old.cycle() for _ in range(commits - some)][:some]
        turns = [(old.cycle(), new.cycle()) for _ in range(some)]
    last, beside = (median(side) * 1000 for side in zip(*turns, strict=True))
    log = len(list((folder / "old" / "lake" / "t" / "_delta_log").iterdir()))
    for table in (old, new):
        table.check()
    sql.close()
    print(f"\n{commits:,} commits of a row, {'with' if upkeep else 'without'} upkeep; p50 of {some} cycles")
    print(f"  {'first':<30} {median(first) * 1000:6.1f} ms")
    print(f"  {'last':<30} {last:6.1f} ms  ({log:,} files in the log)")
    print(f"  {'first of another, beside them':<30} {beside:6.1f} ms")
    return last / beside


@contextmanager
def _alone() -> Iterator[None]:
    yield


def main() -> int:
    """Measure, print, and with `--check` end with 1 when the target is missed."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.commits", description=__doc__)
    parser.add_argument("--commits", type=int, default=5_000)
    parser.add_argument("--no-upkeep", dest="upkeep", action="store_false")
    parser.add_argument("--check", action="store_true", help="end with 1 when the target is missed")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        ratio = measure(options.commits, Path(folder), upkeep=options.upkeep)
    met = _target(f"last <= {RATIO} x first", f"{ratio:.2f}", ok=ratio <= RATIO)
    return 0 if met or not options.check else 1


if __name__ == "__main__":
    sys.exit(main())
