"""`silt.observe.history`: what a table's log says a stream did lately."""

from __future__ import annotations

import json
import time

import pytest

from silt.observe.history import Lately, lately

OWNER = ("plant", "edge-7", "readings")


@pytest.fixture
def log(tmp_path):
    """Writes entries of `seconds` ago, with or without silt's mark, as a log folder has them."""
    folder = tmp_path / "_delta_log"
    folder.mkdir()

    def write(version: int, ago: float, owner: tuple[str, str, str] | None = OWNER, **rows) -> None:
        info: dict[str, object] = {"timestamp": int((time.time() - ago) * 1000), "operation": "WRITE"}
        if owner is not None:
            info["silt"] = {**dict(zip(("manifest", "node", "stream"), owner, strict=True)), **rows}
        else:
            info["operationMetrics"] = {"num_added_rows": 999}
        (folder / f"{version:020d}.json").write_text(json.dumps({"commitInfo": info}) + "\n")

    return write


def look(tmp_path, **changes) -> Lately:
    return lately(str(tmp_path), {}, stream=OWNER, since=time.time() - 86_400, **changes)


def test_rows_of_the_last_day_are_summed(tmp_path, log):
    """Own commits since yesterday count; older ones do not; the newest one is the last commit."""
    log(0, 90_000, rows=1_000)
    log(1, 80_000, rows=10)
    log(2, 50, rows="7")
    found = look(tmp_path)
    assert found.rows == 17
    assert found.last is not None
    assert 49 < time.time() - found.last < 60


def test_others_commits_do_not_count(tmp_path, log):
    """Another stream, another node, a foreign writer: not this stream's rows."""
    log(0, 30, rows=5)
    log(1, 20, owner=("plant", "edge-8", "readings"), rows=100)
    log(2, 15, owner=("plant", "edge-7", "orders"), rows=100)
    log(3, 10, owner=None)
    assert look(tmp_path).rows == 5


def test_too_many_entries_leave_the_sum_unknown(tmp_path, log):
    """A part is not told as the whole."""
    for version in range(6):
        log(version, 60 - version, rows=1)
    assert look(tmp_path, most=3).rows is None
    assert look(tmp_path, most=3).last is not None
    assert look(tmp_path, most=6).rows == 6


def test_a_log_that_was_cut_leaves_the_sum_unknown(tmp_path, log):
    """Where clean-up took entries of today, those that are left are a part; else they are the whole."""
    log(40, 50, rows=3)
    log(41, 40, rows=4)
    assert look(tmp_path).rows is None
    assert look(tmp_path).last is not None
    log(39, 90_000, rows=1_000)
    assert look(tmp_path).rows == 7


def test_empty_log(tmp_path, log):
    """No entry: no row and no last commit."""
    assert look(tmp_path) == Lately(rows=0)
