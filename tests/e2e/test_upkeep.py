"""Upkeep beside everything else: another process that appends, SIGKILL, several streams in one table."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest
from clirun import silt, start
from kit import Site, sql

from silt import manifest, observe
from silt.replicate import upkeep
from silt.replicate.upkeep import Upkeep, Upkept, chores
from silt.state import StateDir
from silt.target import check_at_start

PATIENCE = 90


def carried_out(site: Site) -> list[Upkept]:
    """All that can be done for every table, by this process."""
    loaded = manifest.load(site.manifest)
    state = StateDir(loaded.state_dir, manifest=loaded.name, node=loaded.node)
    with observe.Handles(loaded, mend=False) as handles:
        streams = [plan.stream for plan in observe.look(loaded, handles).streams]
        found = chores(loaded, streams)
        return [d for c in found for d in Upkeep(state).carry_out(c, upkeep.TASKS, handles)]


def compactions(table: Path) -> int:
    """How often files of the table were written together, by its log."""
    entries = (table / "_delta_log").glob("*.json")
    heads = [json.loads(entry.read_text().splitlines()[0])["commitInfo"] for entry in entries]
    return sum(head["operation"] == "OPTIMIZE" for head in heads)


def test_compactions_while_another_process_appends(tmp_path: Path) -> None:
    """A running silt commits, this process writes its files together again and again: no row is lost.

    Cell by cell; and a silt that starts anew finds nothing to do.
    """
    site = Site(tmp_path)
    site.sql(
        "PRAGMA journal_mode=WAL", "CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, v TEXT, x REAL)"
    )
    site.write("  t: {schedule: 20ms, batch: {max_rows: 2}}\n")
    process = start("run", "silt.yaml", cwd=tmp_path)
    table = tmp_path / "lake" / "t"
    deadline = time.monotonic() + PATIENCE
    try:
        number = 0
        while (not table.exists() or compactions(table) < 4) and time.monotonic() < deadline:
            rows = [(f"row {number + i}", (number + i) / 7) for i in range(12)]
            site.sql(("INSERT INTO t (v, x) VALUES (?, ?)", rows))
            number += len(rows)
            assert [d for d in carried_out(site) if d.outcome not in ("done", "nothing", "busy")] == []
    finally:
        process.send_signal(signal.SIGTERM)
        out, problems = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, problems
    assert compactions(table) >= 4, out
    assert "failing" not in out
    assert "held" not in out
    site.one()
    site.expect("t", "t")
    assert site.one().rows == 0
    assert len(site.lake("t")) == number


@pytest.fixture
def large(tmp_path: Path) -> Site:
    """A table of 20 files that takes a while to write together."""
    site = Site(tmp_path)
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400000)"
    site.sql(
        "CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, v TEXT, x REAL)",
        f"INSERT INTO t (v, x) {numbers} SELECT hex(randomblob(20)), i / 7.0 FROM n",
    )
    site.write("  t: {batch: {max_rows: 20_000}}\n")
    assert site.one().batches == 20
    return site


def test_killed_in_the_middle_of_a_compaction(large: Site) -> None:
    """The table is whole, positions stand, the next run finds nothing to do, and the next upkeep does it.

    What was half written goes with a vacuum, once it is old.
    """
    table = large.folder / "lake" / "t"
    before = {path.name for path in table.iterdir()}
    process = start("maintain", "silt.yaml", cwd=large.folder)
    deadline = time.monotonic() + PATIENCE
    while {path.name for path in table.iterdir()} == before and time.monotonic() < deadline:
        time.sleep(0.001)
    process.kill()
    process.communicate(timeout=PATIENCE)
    assert process.returncode == -signal.SIGKILL
    left = {path.name for path in table.iterdir()} - before
    assert left, "it was killed before it had written anything"
    assert compactions(table) == 0
    assert check_at_start(str(table)) == ()
    large.expect("t", "t")
    assert large.one().rows == 0
    compacted, vacuumed = carried_out(large)
    assert (compacted.outcome, compacted.before) == ("done", 20)
    assert vacuumed.outcome == "nothing"
    for name in left:
        os.utime(table / name, (0, 0))
    vacuumed = carried_out(large)[1]
    assert (vacuumed.outcome, vacuumed.before) == ("done", len(left))
    assert not left & {path.name for path in table.iterdir()}
    large.expect("t", "t")
    large.sql("INSERT INTO t (v) VALUES ('one more')")
    assert large.one().rows == 1


def test_several_streams_in_one_table(tmp_path: Path) -> None:
    """Two streams append to one table: their files become one, each goes on at its own position."""
    site = Site(tmp_path)
    site.sql(*(f"CREATE TABLE {name} (id INTEGER PRIMARY KEY AUTOINCREMENT, v TEXT)" for name in "ab"))
    site.write("  a: {into: both, lineage: none}\n  b: {into: both, lineage: none}\n")
    with observe.Handles(manifest.load(site.manifest)) as handles:
        for turn in range(9):
            site.sql(*(f"INSERT INTO {name} (v) VALUES ('{name} {turn}')" for name in "ab"))
            assert [s.rows for s in site.cycle(handles=handles).streams] == [1, 1]
        compacted, _ = carried_out(site)
        assert (compacted.streams, compacted.outcome, compacted.before) == (("a", "b"), "done", 18)
        site.sql("INSERT INTO b (v) VALUES ('b 9')")
        assert [s.rows for s in site.cycle(handles=handles).streams] == [0, 1]
    assert sorted(site.column("both", "v")) == sorted([f"{n} {t}" for n in "ab" for t in range(9)] + ["b 9"])
    assert [s.rows for s in site.cycle().streams] == [0, 0]


def test_slices_that_are_replaced(tmp_path: Path) -> None:
    """Slices of many databases in one file, because somebody asked for it: each is replaced alone."""
    site = Site(tmp_path)
    (tmp_path / "tenants").mkdir()
    names = [f"t{n:02d}" for n in range(14)]
    for name in names:
        sql(tmp_path / "tenants" / f"{name}.db", "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)",
            f"INSERT INTO t VALUES (1, '{name}')")  # fmt: skip
    site.write("  t: {mode: overwrite, maintenance: {compact: true}}\n", source="./tenants/*.db")
    with observe.Handles(manifest.load(site.manifest)) as handles:
        assert site.one(handles=handles).rows == 14
        compacted, _ = carried_out(site)
        assert (compacted.outcome, compacted.before) == ("done", 14)
        sql(tmp_path / "tenants" / "t03.db", "UPDATE t SET v = 'changed'")
        assert site.one(handles=handles).rows == 1
    rows = {row["_silt_database"]: row["v"] for row in site.lake("t")}
    assert rows == {**{name: name for name in names}, "t03": "changed"}
    assert len(site.lake("t")) == 14
    assert site.one().rows == 0


def test_a_verb_beside_a_daemon(tmp_path: Path) -> None:
    """`silt maintain` works while `silt run` does, which goes on."""
    site = Site(tmp_path)
    site.sql("PRAGMA journal_mode=WAL", "CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, v TEXT)",
             ("INSERT INTO t (v) VALUES (?)", [("x",)] * 30))  # fmt: skip
    site.write("  t: {schedule: 50ms, batch: {max_rows: 2}}\n")
    process = start("run", "silt.yaml", cwd=tmp_path)
    try:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if (tmp_path / "lake" / "t" / "_delta_log" / f"{15:020d}.json").exists():
                break
            time.sleep(0.05)
        done = silt("maintain", "silt.yaml", "--json", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["tables"][0]["outcome"] == "done"
        site.sql("INSERT INTO t (v) VALUES ('after')")
        while len(site.lake("t")) < 31 and time.monotonic() < deadline:
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGTERM)
        _, problems = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, problems
    site.expect("t", "t")
