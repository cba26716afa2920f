"""`make bench-living`: what a running silt costs, and how soon it follows writes and edits.

Each figure is of one process as a user starts it, on a local disk: CPU by /proc, moments by the log and by
the Delta table's own entries.  With `--check` it ends with 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.benchmarks.__main__ import _command, _target

HEAD = """\
version: 1
listen: false
sources: {{s: "{source}"}}
targets: {{lake: ./lake}}
defaults: {{schedule: {schedule}}}
streams:
"""
_TICKS = os.sysconf("SC_CLK_TCK")

_MAKE = """
import sqlite3, sys
folder, files, tables = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
for file in range(files):
    c = sqlite3.connect(f"{folder}/{file}.db")
    c.execute("PRAGMA journal_mode=wal")
    for table in range(tables):
        name = f"t{file if files > 1 else table}"
        c.execute(f"CREATE TABLE {name} (id INTEGER PRIMARY KEY, at REAL, x TEXT)")
        c.execute(f"INSERT INTO {name} (x) VALUES ('first')")
    c.commit()
    c.close()
"""
_INSERT = """
import sqlite3, sys, time
path, rate, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
c = sqlite3.connect(path, isolation_level=None, timeout=30)
began, made = time.time(), 0
while time.time() - began < seconds:
    c.execute("INSERT INTO t0 (at, x) VALUES (?, 'another row')", (time.time(),))
    made += 1
    time.sleep(max(began + made / rate - time.time(), 0))
"""


@dataclass
class Running:
    """A `silt run`, its log as it comes."""

    folder: Path
    process: subprocess.Popen[str]
    lines: list[dict[str, object]] = field(default_factory=list)

    def cpu(self) -> float:
        """CPU seconds so far, of all its threads."""
        text = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii")
        fields = text.rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def wait(self, event: Callable[[dict[str, object]], bool], seconds: float = 120.0) -> None:
        """Read the log until `event`."""
        end = time.monotonic() + seconds
        while not any(map(event, self.lines)):
            if time.monotonic() > end or self.process.poll() is not None:
                raise SystemExit(f"bench: silt did not get there: {self.lines[-3:]}")
            time.sleep(0.005)
            self._read()

    def _read(self) -> None:
        with (self.folder / "log").open(encoding="utf-8") as log:
            self.lines = [json.loads(line) for line in log if line.endswith("\n")]


@contextmanager
def running(files: int, tables: int, schedule: str, streams: str = '  "*":\n') -> Iterator[Running]:
    """silt over `files` databases of `tables` tables each, once every first row is in the lake."""
    with tempfile.TemporaryDirectory(prefix="silt-living-") as name:
        folder = Path(name)
        subprocess.run([sys.executable, "-S", "-c", _MAKE, name, str(files), str(tables)], check=True)
        source = "./*.db" if files > 1 else "./0.db"
        (folder / "silt.yaml").write_text(HEAD.format(source=source, schedule=schedule) + streams)
        with (folder / "log").open("w") as log:
            process = subprocess.Popen(
                [_command(), "run", "silt.yaml", "--log-format", "json"], cwd=folder, stdout=log, text=True
            )
        here = Running(folder, process)
        try:
            here.wait(lambda line: line["event"] == "ready")
            expected = files * tables if '"*"' in streams else streams.count("\n")
            here.wait(lambda _: sum(line["event"] == "commit" for line in here.lines) >= expected, 300)
            yield here
        finally:
            process.terminate()
            process.wait(60)


def idle(what: str, limit: float, *, files: int, tables: int, schedule: str) -> bool:
    """The share of a core that streams with nothing new take."""
    with running(files, tables, schedule) as here:
        time.sleep(15)  # stamps settle, first grids pass
        began, spent = time.monotonic(), here.cpu()
        time.sleep(30)
        share = (here.cpu() - spent) / (time.monotonic() - began)
    return _target(f"{what}: idle < {limit:.0%} of a core", f"{share:.2%}", ok=share < limit)


def wake(seconds: float = 20.0) -> bool:
    """From a row's insert to the entry of the commit that has it, beside 500 inserts a second."""
    with running(1, 1, "{on_change: {debounce: 100ms}}") as here:
        command = [sys.executable, "-S", "-c", _INSERT, str(here.folder / "0.db"), "500", str(seconds)]
        spent, began = here.cpu(), time.monotonic()
        subprocess.run(command, check=True)
        share = (here.cpu() - spent) / (time.monotonic() - began)
        time.sleep(3)
        lags = sorted(_lags(here.folder / "lake" / "t0"))
    middle, most = lags[len(lags) // 2], lags[int(len(lags) * 0.95)]
    print(f"  {len(lags):,} rows, {share:.0%} of a core")
    met = _target("write to commit, p50 < 0.3 s", f"{middle:.3f} s", ok=middle < 0.3)
    return _target("write to commit, p95 < 1 s", f"{most:.3f} s", ok=most < 1.0) and met


def _lags(table: Path) -> Iterator[float]:
    """Seconds from each row's insert to its commit's entry being there."""
    import pyarrow.parquet as pq

    for entry in (table / "_delta_log").glob("*.json"):
        there = entry.stat().st_mtime
        actions = [json.loads(line) for line in entry.read_text(encoding="utf-8").splitlines()]
        for path in (action["add"]["path"] for action in actions if "add" in action):
            made = pq.read_table(table / path, columns=["at"])["at"].to_pylist()
            yield from (there - moment for moment in made if moment is not None)


def edits(number: int = 40) -> bool:
    """From the save to the receipt; and to the first commit of a stream that the edit adds."""
    taken, first = [], []
    with running(1, number, "5m", '  t0: {tags: ["n"]}\n') as here:
        manifest = here.folder / "silt.yaml"
        for index in range(1, number):
            saved = time.time()
            manifest.write_text(manifest.read_text() + f"  t{index}:\n")
            generation, name = index + 1, f"t{index}"
            here.wait(lambda line, g=generation: line["event"] == "reload" and line.get("generation") == g)
            taken.append(_moment(here, "reload", "generation", generation) - saved)
            here.wait(lambda line, n=name: line["event"] == "commit" and line.get("stream") == n)
            first.append(_moment(here, "commit", "stream", name) - saved)
    slowest = _p95(taken)
    met = _target("edit to effect, p95 < 2 s", f"{slowest:.2f} s", ok=slowest < 2)
    slowest = _p95(first)
    what = "edit to an added stream's first commit, p95 < 3 s"
    return _target(what, f"{slowest:.2f} s", ok=slowest < 3) and met


def _moment(here: Running, event: str, key: str, value: object) -> float:
    from datetime import datetime

    line = next(each for each in here.lines if each["event"] == event and each.get(key) == value)
    return datetime.fromisoformat(str(line["time"])).timestamp()


def _p95(values: Sequence[float]) -> float:
    return sorted(values)[int(len(values) * 0.95)]


def main() -> int:
    """Measure, print a line a target, and with `--check` end with 1 when one is missed."""
    parser = argparse.ArgumentParser(prog="make bench-living", description=__doc__)
    parser.add_argument("--check", action="store_true", help="end with 1 when a target is missed")
    options = parser.parse_args()
    print("\na running silt, on a local disk")
    met = edits()
    met &= wake()
    met &= idle("200 streams on_change", 0.01, files=200, tables=1, schedule="{on_change: {}}")
    met &= idle("1,000 streams every 10s", 0.10, files=1, tables=1000, schedule="10s")
    return 0 if met or not options.check else 1


if __name__ == "__main__":
    sys.exit(main())
