"""Several processes, and processes that are killed: no row is lost, none is doubled."""

from __future__ import annotations

import random
import time
from pathlib import Path

import lake
import pytest
import rivals

from silt.target import check_at_start, open_table


def test_one_of_six_creators_wins(tmp_path: Path) -> None:
    """Six processes create each of ten tables at once: one CREATE TABLE, and everybody has that table."""
    rivals.race_to_create(str(tmp_path), {}, creators=6, tables=10)


def test_four_rivals_append_each_row_once(tmp_path: Path) -> None:
    """Four processes bring one stream forward by DESIGN 4.2: every row is there once."""
    lake.new(tmp_path / "t")
    running = [rivals.start("append", uri=str(tmp_path / "t"), upto=150, seed=n) for n in range(4)]
    reports = [rivals.report(rival) for rival in running]
    table = open_table(str(tmp_path / "t"), {})
    assert table is not None
    assert lake.ids(table) == list(range(1, 151))
    assert table.position(lake.APP)[0] == sum(r["mine"] for r in reports)
    assert sum(r["contended"] for r in reports) > 0, "nobody was ever contended: the test shows nothing"
    assert table.foreign_since(-1) == ()


def test_killed_during_commits(tmp_path: Path) -> None:
    """A process killed at random moments, again and again, leaves a table that the next one takes on."""
    lake.new(tmp_path / "t")
    chance, killed, upto = random.Random(7), 0, 400
    for _ in range(12):
        rival = rivals.start("append", uri=str(tmp_path / "t"), upto=upto, seed=killed)
        _wait_for_growth(tmp_path / "t", rival)
        time.sleep(chance.random() / 10)
        rival.kill()
        rival.communicate(timeout=20)
        killed += rival.returncode == -9
        assert check_at_start(str(tmp_path / "t")) == ()
    rivals.report(rivals.start("append", uri=str(tmp_path / "t"), upto=upto, seed=99))
    table = open_table(str(tmp_path / "t"), {})
    assert table is not None
    assert lake.ids(table) == list(range(1, upto + 1))
    assert killed >= 5, "the process ended before it was killed: the test shows nothing"


def _wait_for_growth(path: Path, rival: object) -> None:
    before, deadline = len(lake.log_names(path)), time.monotonic() + 20
    while len(lake.log_names(path)) == before and time.monotonic() < deadline:
        if rival.poll() is not None:  # type: ignore[attr-defined]
            return
        time.sleep(0.005)


@pytest.mark.nightly
def test_ten_rivals(tmp_path: Path) -> None:
    """The same with ten processes and more rows."""
    lake.new(tmp_path / "t")
    running = [rivals.start("append", uri=str(tmp_path / "t"), upto=400, seed=n) for n in range(10)]
    for rival in running:
        rivals.report(rival)
    assert lake.ids(open_table(str(tmp_path / "t"), {})) == list(range(1, 401))  # type: ignore[arg-type]
