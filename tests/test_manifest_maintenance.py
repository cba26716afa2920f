"""`maintenance`: on where one node writes the table, off or on as written, stacked like every setting."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from silt.manifest import expand, load, show
from silt.manifest.model import Compact, Maintenance, Stream, Vacuum

DAY = 86_400.0
BOTH = Maintenance(compact=Compact(), vacuum=Vacuum())
OFF = Maintenance()
ONE = Maintenance(vacuum=Vacuum())
HEAD = """\
version: 1
node: n1
sources: {plant: ./plant.db}
targets: {lake: ./lake, far: "s3://bucket/lake"}
"""


def streams(folder: Path, body: str, tables: tuple[str, ...] = ()) -> dict[str, Stream]:
    path = folder / "m.yaml"
    path.write_text(HEAD + body)
    expansion = expand(load(path, env={}), {"plant": tables})
    assert expansion.problems == ()
    return {stream.name: stream for stream in expansion.streams}


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        pytest.param("target: lake", BOTH, id="a local target"),
        pytest.param("target: far, into: '{node}/a'", BOTH, id="a remote one, a table a node"),
        pytest.param("target: far", OFF, id="a remote one that nodes share"),
        pytest.param("target: lake, mode: overwrite", ONE, id="overwrite"),
        pytest.param("target: lake, maintenance: false", OFF, id="off"),
        pytest.param("target: far, maintenance: true", BOTH, id="on"),
        pytest.param("target: lake, maintenance: null", BOTH, id="unset"),
        pytest.param("target: lake, maintenance: {compact: false}", ONE, id="one off"),
        pytest.param("target: far, maintenance: {vacuum: true}", ONE, id="one on"),
        pytest.param(
            "target: far, maintenance: {compact: {target_size: 64MB}}",
            Maintenance(compact=Compact(target_size=64 * 1024**2)), id="a written one is on",
        ),
        pytest.param(
            "target: lake, mode: overwrite, maintenance: {compact: {every: 30m}, vacuum: {retain: 1h}}",
            Maintenance(compact=Compact(every=1800), vacuum=Vacuum(retain=3600)), id="all of it",
        ),
    ],
)  # fmt: skip
def test_what_is_done(tmp_path: Path, settings: str, found: Maintenance) -> None:
    """By who writes the table, unless it is written."""
    assert streams(tmp_path, f"streams:\n  a: {{{settings}}}\n")["a"].maintenance == found


def test_it_stacks(tmp_path: Path) -> None:
    """Key by key over defaults and patterns; `false` clears what is below it, `null` what was inherited."""
    found = streams(
        tmp_path,
        """\
defaults: {target: lake, maintenance: {compact: {every: 1h, target_size: 64MB}, vacuum: {retain: 30d}}}
streams:
  "log_*": {maintenance: {compact: {every: 2h}}}
  log_b: {maintenance: {compact: false}}
  log_c: {maintenance: {compact: null, vacuum: {every: 12h}}}
  log_d: {maintenance: false}
""",
        ("log_a",),
    )
    size = 64 * 1024**2
    kept = Vacuum(retain=30 * DAY)
    assert found["log_a"].maintenance == Maintenance(
        compact=Compact(every=7200, target_size=size), vacuum=kept
    )
    assert found["log_b"].maintenance == Maintenance(vacuum=kept)
    assert found["log_c"].maintenance == Maintenance(
        compact=Compact(), vacuum=Vacuum(every=43_200, retain=30 * DAY)
    )
    assert found["log_d"].maintenance == OFF


def test_show_says_what_is_done_and_who_said_so(tmp_path: Path) -> None:
    """Each with its origin; what is off has no details."""
    path = tmp_path / "m.yaml"
    path.write_text(
        HEAD + "streams:\n  a: {target: lake, maintenance: {compact: {every: 1h}, vacuum: false}}\n"
    )
    manifest = load(path, env={})
    (shown,) = json.loads(json.dumps(show(manifest, expand(manifest, {}).streams)))["streams"]
    found: dict[str, Any] = {
        s["key"]: (s["value"], s["origin"].rpartition("/")[2]) for s in shown["settings"]
    }
    assert found["maintenance.compact"] == (True, "default")
    assert found["maintenance.compact.every"] == ("1h", "m.yaml:6")
    assert found["maintenance.compact.target_size"] == ("128MB", "default")
    assert found["maintenance.vacuum"] == (False, "m.yaml:6")
    assert "maintenance.vacuum.retain" not in found
