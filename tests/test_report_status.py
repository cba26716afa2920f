"""`silt.report.status`: how streams stand, as text and as JSON."""

from __future__ import annotations

import time

import pytest

from silt.report import status as report
from silt.report.status import Standing, Status

NOW = time.mktime((2026, 11, 20, 10, 42, 12, 0, 0, -1))

ORDERS = Standing(
    name="orders",
    state="failing",
    behind_seconds=7_860,
    pending_rows=14_220,
    rows=98_400,
    version=88,
    last_commit=NOW - 7_870,
    next=NOW + 40,
    tries=9,
    failing_since=NOW - 7_737,
    error="cannot reach s3://corp/plant (connection refused)",
    hint="silt tries again",
)
SETTINGS = Standing(
    name="settings", state="held", behind_seconds=259_200, error="rows were rewritten in place"
)
READINGS = Standing(
    name="readings",
    state="ok",
    behind_seconds=0.0,
    pending_rows=0,
    rows=864_000,
    version=311,
    last_commit=NOW - 1,
    next=NOW + 300,
    on_change=True,
)


def status(*streams: Standing, **changes) -> Status:
    fields = {"path": "plant.yaml", "title": "plant.yaml, node edge-7", "now": NOW, "streams": streams}
    return Status(**{**fields, **changes})


GOLDEN = """\
plant.yaml, node edge-7: running since 10:00:00 (pid 812), generation 1
! The file on disk is newer than what runs; generation 1 runs on.

  stream    state    behind    pending  rows 24 h  last commit  next
x orders    failing  2 h 11 m   14,220     98,400  08:31:02     in 40 s
! settings  held     3 d             ?          ?  -            needs you
  readings  ok       -               0    864,000  10:42:11     on change

x orders  9 tries since 08:33:15: cannot reach s3://corp/plant (connection refused). silt tries
          again
! settings  rows were rewritten in place

1 ok, 1 failing, 1 held
"""


def test_text_is_golden():
    """Who runs it, a line a stream, what is wrong and since when, a count of states."""
    since = time.mktime((2026, 11, 20, 10, 0, 0, 0, 0, -1))
    seen = status(ORDERS, SETTINGS, READINGS, pid=812, since=since, generation=1, on_disk="newer")
    assert "\n".join(report.text(seen)) + "\n" == GOLDEN


def test_all_well_is_short():
    """Nothing wrong: head, table, count."""
    lines = report.text(status(READINGS))
    assert lines[0] == "plant.yaml, node edge-7: not running"
    assert lines[-1] == "1 ok"
    assert len(lines) == 6


def test_many_quiet_streams_share_a_line():
    """Fifty-eight that are ok take one line, with their sum."""
    quiet = [
        Standing(name=f"s{i}", state="ok", behind_seconds=0.0, pending_rows=0, rows=10) for i in range(58)
    ]
    lines = report.text(status(ORDERS, *quiet))
    assert any(line.split()[:3] == ["58", "more", "ok"] and "580" in line for line in lines)
    assert lines[-1] == "58 ok, 1 failing"
    named = [line.split()[0] for line in report.text(status(ORDERS, *quiet), every=True) if " ok " in line]
    assert named == [s.name for s in quiet]


@pytest.mark.parametrize(
    ("standing", "ok"),
    [
        (READINGS, True),
        (Standing(name="a", state="waiting"), True),
        (Standing(name="a", state="disabled"), True),
        (Standing(name="a", state="ok", stale=True, pending_rows=5), False),
        (ORDERS, False),
        (SETTINGS, False),
    ],
)
def test_ok_is_no_failing_held_or_stale(standing, ok):
    """What `--check` decides by; a stale stream is marked by its sign and word, not by a colour only."""
    assert status(standing).ok is ok
    assert report.data(status(standing))["ok"] is ok
    if standing.stale:
        assert "! a       stale" in "\n".join(report.text(status(standing)))


def test_json_has_the_fields_of_the_contract():
    """Every field of DESIGN 10, moments in ISO 8601, null where not known."""
    data = report.data(status(ORDERS, SETTINGS))
    assert {"generation", "on_disk", "problems"} <= set(data["manifest"])  # type: ignore[arg-type]
    orders, settings = data["streams"]  # type: ignore[misc]
    wanted = {
        "name",
        "state",
        "behind_seconds",
        "pending_rows",
        "rows",
        "version",
        "last_commit",
        "next",
        "error",
    }
    assert wanted <= set(orders)
    assert orders["behind_seconds"] == 7_860
    assert orders["next"].endswith("Z")
    assert settings["pending_rows"] is None
    assert settings["last_commit"] is None
    assert data["ok"] is False
