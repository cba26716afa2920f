"""A running silt that is left alone: edits, a writer and a bad store, and it neither grows nor loses a row.

`SILT_SOAK` is how many seconds it is watched: .ci/nightly says an hour.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import warm
from clirun import start
from inserts import TABLES, made, writing
from kit import Sqlite, lake
from servers import FaultyProxy, faulty_proxy, s3_options, s3_server
from test_daemon import Log, until

SECONDS = float(os.environ.get("SILT_SOAK", "25"))
EVERY = 3.0
LONG = SECONDS > 300
IDLE = 90.0
"""Seconds after which a connection that nobody uses is closed."""
CALM = 60
"""Sockets that five streams may keep; 33 were measured, 50 to 138 while edits and faults come."""

MANIFEST = """\
version: 1
node: soak
sources: {{app: ./app.db}}
targets:
  lake:
    uri: s3://lake/soak
    storage_options: {{{options}}}
defaults: {{schedule: 1s, lineage: none}}
streams:
"""


def manifest(port: int, tables: list[str], tag: int) -> str:
    options = ", ".join(f"{name}: '{value}'" for name, value in s3_options(port).items())
    streams = "".join(f"  {name}: {{tags: [n{tag}]}}\n" for name in tables)
    return MANIFEST.format(options=options) + streams


Seen = tuple[float, int, int]
"""MB resident, sockets, other descriptors."""


class Process:
    """What /proc says of a silt."""

    def __init__(self, pid: int) -> None:
        self._proc = Path(f"/proc/{pid}")

    def memory(self) -> int:
        """Resident bytes."""
        return int((self._proc / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def descriptors(self) -> tuple[int, int]:
        """How many are connections and the like, and how many are not."""
        sockets = others = 0
        for each in (self._proc / "fd").iterdir():
            with suppress(FileNotFoundError):
                if str(each.readlink()).startswith("socket:"):
                    sockets += 1
                else:
                    others += 1
        return sockets, others


@pytest.mark.timeout(SECONDS * 2 + 300)
def test_left_alone_it_neither_grows_nor_loses_a_row(tmp_path):
    """Reloads all the time, one request in thirty fails, a writer never stops: memory stays, rows arrive."""
    with made(tmp_path) as sql:
        chance = random.Random(4)
        sound = [False]

        def choose(_method: str, _path: str) -> str:
            if sound[0] or chance.random() > 1 / 30:
                return ""
            return chance.choice(("503 SlowDown", "503 SlowDown", "slow", "lost"))

        with s3_server() as s3, faulty_proxy(s3.port, choose) as proxy:
            (tmp_path / "silt.yaml").write_text(manifest(proxy.port, list(TABLES), 0))
            with start("run", "--log-format", "json", cwd=tmp_path) as process:
                log = Log(process)
                log.wait("ready")
                with writing(tmp_path / "app.db"):
                    seen = watched(tmp_path, process, proxy, chance)
                    left = calmed(process) if LONG else 0
                sound[0] = True
                (tmp_path / "silt.yaml").write_text(manifest(proxy.port, list(TABLES), -1))
                equal(tmp_path, sql, s3.options)
                process.terminate()
                assert process.wait(60) == 0
                assert process.stderr.read() == ""
        assert_flat(seen)
        assert left <= CALM, f"{left} sockets without edits: {[sockets for _, sockets, _ in seen]}"
        faults = proxy.counted()
        assert {"503", "slow", "lost"} <= faults.keys(), faults
        reloads = [line for line in log.lines if line["event"] == "reload"]
        assert len(reloads) >= 2, (
            "edits were taken over; how many depends on how slow the bad store makes each"
        )
        print(f"soak: {len(reloads)} reloads, {dict(faults)}, MB, sockets and other descriptors {seen[-1]}")


def watched(folder: Path, process: warm.Process, proxy: FaultyProxy, chance: random.Random) -> list[Seen]:
    """Edit every few seconds, and look, once an edit."""
    here = Process(process.pid)
    seen: list[Seen] = []
    end, tag = time.monotonic() + SECONDS, 0
    while time.monotonic() < end:
        time.sleep(EVERY)
        assert process.poll() is None
        tag += 1
        tables = chance.sample(TABLES, chance.randint(2, len(TABLES)))
        (folder / "silt.yaml").write_text(manifest(proxy.port, tables, tag))
        seen.append((here.memory() / 1e6, *here.descriptors()))
    return seen


def calmed(process: warm.Process) -> int:
    """The sockets that are open once nobody edits: what reloads and faults left idle is closed by then."""
    here, end = Process(process.pid), time.monotonic() + 3 * IDLE
    while (sockets := here.descriptors()[0]) > CALM and time.monotonic() < end:
        time.sleep(1)
    return sockets


def assert_flat(seen: list[Seen]) -> None:
    """After a warm-up of a third neither the memory nor the descriptors of the rest grow.

    How many sockets are open at a time depends on how fast edits and faults come: `calmed` tells.
    """
    warm = seen[len(seen) // 3 :]
    halves = warm[: len(warm) // 2], warm[len(warm) // 2 :]
    memory, _, others = zip(*(map(max, zip(*half, strict=True)) for half in halves), strict=True)
    assert memory[1] < memory[0] * (1.05 if LONG else 1.25), seen
    assert others[1] <= others[0] + (5 if LONG else 10), seen
    assert max(sockets for _, sockets, _ in seen) <= 200, seen


def equal(folder: Path, sql: Sqlite, options: dict[str, str]) -> None:
    """Every stream's table holds its source's rows, each once."""

    def rows(name: str) -> Counter[tuple[Any, ...]]:
        return Counter((row["id"], row["x"]) for row in lake(f"s3://lake/soak/{name}", options))

    for name in TABLES:
        there = Counter(sql(folder / "app.db", f"SELECT id, x FROM {name}"))
        until(lambda name=name, there=there: rows(name) == there, 120)
