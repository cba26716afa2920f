"""`silt demo`: end to end, as a newcomer runs it; and what it compares by."""

from __future__ import annotations

import json
import re
import resource
import subprocess
import sys
import time

import pytest
from clirun import silt, sql

from silt import demo
from silt.demo.writer import fingerprint

COLUMNS = 26  # of sensor_readings, as the sensor program makes it


def test_demo_end_to_end(tmp_path):
    """A live database, commits while it grows, two SIGKILLs, an equal digest, a query's answer.

    What it leaves behind can be played with as it says.  It is to take less than 30 s; what is bounded here
    is its CPU time, which other work on the machine does not change.
    """
    began = cpu()
    done = silt("demo", "--dir", tmp_path / "demo", "--seconds", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert cpu() - began < 25
    assert done.stdout.count("kill -9 ") >= 2
    assert len(re.findall(r" s  commit ", done.stdout)) >= 3
    source, lake = (
        re.search(rf"^  {name} +([\d,]+) +([\d,]+)  (\w+)$", done.stdout, re.MULTILINE)
        for name in ("SQLite", "Delta")
    )
    assert source is not None
    assert lake is not None
    assert source.groups() == lake.groups()
    assert int(lake[1].replace(",", "")) > demo.FIRST_ROWS
    assert "no row lost, none twice" in done.stdout
    for place in ("Lisbon", "Nairobi", "New York", "Osaka"):
        assert re.search(rf"^    {place} +\d+", done.stdout, re.MULTILINE)
    _play(tmp_path / "demo")


def cpu() -> float:
    """CPU seconds of the processes that ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _play(folder):
    """What the demo says to try next works, and new rows arrive."""
    sql(
        folder / "sensors.db", "INSERT INTO sensor_readings (timestamp, sensor_id) VALUES ('2026-01-01', 'X')"
    )
    assert silt("plan", "demo.yaml", "--detailed-exitcode", cwd=folder).returncode == 2
    assert silt("run", "demo.yaml", "--once", cwd=folder).returncode == 0
    assert silt("status", "demo.yaml", "--check", cwd=folder).returncode == 0
    query = "select count(*) n from sensor_readings where sensor_id = 'X'"
    answer = json.loads(silt("query", "demo.yaml", query, "--json", cwd=folder).stdout)
    assert answer["rows"] == [{"n": 1}]


def test_demo_refuses_a_folder_with_files(tmp_path):
    """--dir of a folder that holds something: nothing in it is touched."""
    (tmp_path / "mine").write_text("x")
    done = silt("demo", "--dir", tmp_path)
    assert done.returncode == 1
    assert "not an empty folder" in " ".join(done.stderr.split())
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]


def test_comparison_finds_every_kind_of_difference():
    """A lost, doubled, swapped or changed row changes the fingerprint."""
    rows = [(i, f"t{i // 3}", 0.5 * i, None) for i in range(1, 9)]
    whole = fingerprint(iter(rows))
    assert whole[:2] == (8, 8)
    others = [
        rows[:-1],
        [*rows, rows[-1]],
        [*rows[:3], rows[4], rows[3], *rows[5:]],
        [*rows[:-1], (8, "t2", 4.0000001, None)],
        [*rows[:-1], (8, "t2", 4.0, 0)],
    ]
    assert len({whole[2], *(fingerprint(iter(other))[2] for other in others)}) == 6


def test_demo_that_differs_fails(tmp_path):
    """The comparison decides the exit code: a lake that lacks a row is not called the same."""
    one = demo.Fingerprint(rows=2, distinct=2, digest="a")
    for other in (
        demo.Fingerprint(rows=1, distinct=1, digest="b"),
        demo.Fingerprint(rows=2, distinct=2, digest="b"),
        demo.Fingerprint(rows=3, distinct=2, digest="a"),
    ):
        outcome = demo.Outcome(folder=tmp_path, source=one, lake=other, commits=1, kills=0, seconds=1.0)
        assert not outcome.ok


ASK = """
import json, sqlite3, sys
print(json.dumps(sqlite3.connect(sys.argv[1]).execute(sys.argv[2]).fetchall()))
"""


def ask(path, query: str) -> list:
    command = [sys.executable, "-c", ASK, str(path), query]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A database of the demo's writer."""
    path = tmp_path_factory.mktemp("writer") / "sensors.db"
    command = [sys.executable, "-m", "silt.demo.writer", "write", str(path), "--first", "500"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.3)
        out, _ = process.communicate(timeout=20)  # closes its stdin: the writer ends
    assert process.returncode == 0
    assert ask(path, "SELECT count(*) FROM sensor_readings") == [[json.loads(out)]]
    return path


def test_writer_writes_what_the_sensor_program_does(written):
    """26 columns, WAL, timestamps with many ties and their offset, columns that are always NULL."""
    assert len(ask(written, "SELECT * FROM pragma_table_info('sensor_readings')")) == COLUMNS
    assert ask(written, "PRAGMA journal_mode") == [["wal"]]
    rows, stamps = ask(written, "SELECT count(*), count(DISTINCT timestamp) FROM sensor_readings")[0]
    assert rows > 500
    assert stamps <= rows // 3
    (stamp,) = ask(written, "SELECT min(timestamp) FROM sensor_readings")[0]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", stamp)
    never = "count(manufacture_date) + count(orientation_degrees) + count(instance_id) + count(sensor_type)"
    assert ask(written, f"SELECT {never} FROM sensor_readings") == [[0]]
