"""Four processes that share no lock replicate the same streams: every row is there once (DESIGN 4.2, 4.7)."""

from __future__ import annotations

import json
import re
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest
import warm
from clirun import silt, start
from kit import difference, doubled, lake, sql
from writer import Writer, prepare, tables

RIVALS = 4
STREAMS = """\
version: 1
state_dir: ${STATE_DIR}
sources:
  app: ./app.db
  tenants: ./tenants/*.db
targets:
  lake: ./lake
defaults: {schedule: {every: 50ms}}
streams:
  events: {source: app, batch: {max_rows: 7}}
  ticks: {source: app, cursor: [at, key]}
  notes: {source: app, cursor: rowid}
  settings: {source: app, mode: overwrite}
  items: {source: app, mode: merge, deletes: {mode: hard, max_fraction: 1}}
  orders: {source: tenants}
"""
ONE = """\
version: 1
state_dir: ${STATE_DIR}
sources:
  app: ./app.db
targets:
  lake: ./lake
streams:
  t: {batch: {max_rows: 97}}
"""


def _start(folder: Path, *arguments: str) -> list[warm.Process]:
    """Four rivals, each with a state folder, and so a lock, of its own."""
    command = ("run", "silt.yaml", "--json", *arguments)
    return [start(*command, cwd=folder, STATE_DIR=f"./state{n}") for n in range(RIVALS)]


def _await_all(folder: Path) -> None:
    """Each of them runs: it wrote its status."""
    deadline = time.monotonic() + 60
    while len({path.parent for path in folder.glob("state*/*.status.json")}) < RIVALS:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _in_log(table: Path) -> Iterator[str]:
    for entry in (table / "_delta_log").glob("*.json"):
        actions = map(json.loads, entry.read_text().splitlines())
        yield from (unquote(action["add"]["path"]) for action in actions if "add" in action)


def _discarded(table: Path) -> int:
    """Data files that no commit names: batches of those who came second."""
    return len({path.name for path in table.glob("*.parquet")} - set(_in_log(table)))


def test_four_rivals_load_a_table(tmp_path: Path) -> None:
    """Four `run --once` at the same moment, in batches of 97: one table, each row in it once."""
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)"
    rows = f"INSERT INTO t {numbers} SELECT i, 'v' || i FROM n"
    sql(tmp_path / "app.db", "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)", rows)
    (tmp_path / "silt.yaml").write_text(ONE)
    rivals = _start(tmp_path, "--once")
    reports = [rival.communicate(timeout=100) for rival in rivals]
    assert [rival.returncode for rival in rivals] == [0] * RIVALS, reports
    held = lake(tmp_path / "lake" / "t")
    assert doubled(row["id"] for row in held) == []
    assert difference(sql(tmp_path / "app.db", "SELECT * FROM t"), held) == (0, 0)
    said = [json.loads(out)["streams"][0]["rows"] for out, _ in reports]
    assert sum(said) <= 3000, "two rivals claim the same rows"
    assert _discarded(tmp_path / "lake" / "t") > 0, "nobody ever came second: the test shows nothing"


@pytest.mark.timeout(240)
def test_four_rivals_follow_an_application(tmp_path: Path) -> None:
    """Four daemons on one manifest and node while an application writes: no row is lost, none doubled."""
    prepare(tmp_path)
    (tmp_path / "silt.yaml").write_text(STREAMS)
    with Writer(tmp_path, pause=0.01) as application:
        rivals = _start(tmp_path)
        _await_all(tmp_path)
        time.sleep(3)
        transactions = application.stop()
    time.sleep(0.5)
    for rival in rivals:
        rival.send_signal(signal.SIGTERM)
    logs = [rival.communicate(timeout=60) for rival in rivals]
    assert [rival.returncode for rival in rivals] == [0] * RIVALS, logs
    done = silt("run", "silt.yaml", "--once", cwd=tmp_path, STATE_DIR="./state0")
    assert done.returncode == 0, done.stderr
    found = {name: (len(source), *difference(source, held)) for name, source, held in tables(tmp_path)}
    commits = [Counter(re.findall(r'"event": "(\w+)"', out))["commit"] for out, _ in logs]
    lost = {path.name: _discarded(path) for path in (tmp_path / "lake").iterdir()}
    print(f"\n{transactions} transactions, commits of each rival {commits}, discarded batches {lost}")
    print(f"(rows, missing, doubled): {found}")
    assert [name for name, (_, *wrong) in found.items() if any(wrong)] == []
    assert all(commits), "a rival never committed: the test shows nothing"
    assert sum(lost.values()) > 0, "nobody ever came second: the test shows nothing"
    events = [line for out, _ in logs for line in map(json.loads, out.splitlines())]
    assert [line for line in events if line["event"] in ("failing", "held")] == []


def test_the_second_process_with_the_same_state_is_refused(tmp_path: Path) -> None:
    """Two processes that share `state_dir`: the second exits 1 and names the folder (DESIGN 4.7)."""
    sql(tmp_path / "app.db", "CREATE TABLE t (id INTEGER PRIMARY KEY)")
    (tmp_path / "silt.yaml").write_text(ONE)
    first = start("run", "silt.yaml", cwd=tmp_path, STATE_DIR="./state")
    assert first.stdout is not None
    assert "ready" in first.stdout.readline()
    second = silt("run", "silt.yaml", "--once", cwd=tmp_path, STATE_DIR="./state")
    first.send_signal(signal.SIGTERM)
    first.communicate(timeout=60)
    assert first.returncode == 0
    assert second.returncode == 1
    assert str(first.pid) in second.stderr
    # the lock goes with the process
    assert silt("run", "silt.yaml", "--once", cwd=tmp_path, STATE_DIR="./state").returncode == 0
