"""What an edit changes, stream by stream, and which edits hold a stream (DESIGN 9)."""

from __future__ import annotations

from pathlib import Path

import pytest

from silt.errors import Held
from silt.manifest import diff as diffs
from silt.manifest import expand, load
from silt.manifest.diff import Diff, Running
from silt.manifest.identity import identity

PLANT = """\
version: 1
name: plant
node: edge-7
sources:
  plant: {path: ./plant.db, busy_timeout: 5s}
  other: ./other.db
targets:
  lake:
    uri: s3://bucket/lake
    storage_options: {AWS_REGION: eu-west-1, AWS_SECRET_ACCESS_KEY: "${secret:env:KEY}"}
  local: ./lake
defaults: {source: plant, target: lake, schedule: 1m}
streams:
  readings:
    columns: {at: {type: timestamp}, day: {expr: "date(at)", type: date}}
    properties: {delta.appendOnly: true, delta.logRetentionDuration: interval 9 days}
  orders: {tags: [hot]}
  away: {source: other, target: local}
  "log_*": {on_reset: restart}
"""
NAMES = ("readings", "orders", "away", "log_a")


def running(folder: Path, text: str, *, key: str = "k", tables: tuple[str, ...] = ("log_a",)) -> Running:
    path = folder / "plant.yaml"
    path.write_text(text, encoding="utf-8")
    manifest = load(path, env={"KEY": key}, open_secrets=True)
    expansion = expand(manifest, {"plant": tables})
    assert expansion.problems == ()
    return Running(manifest=manifest, streams=expansion.streams)


def edited(folder: Path, *edits: tuple[str, str], text: str = PLANT, **more) -> Diff:
    """The diff from `text` to itself with each (old, new) replaced."""
    after = text
    for old, new in edits:
        assert old in after, old
        after = after.replace(old, new)
    return diffs.diff(running(folder, text), running(folder, after, **more))


@pytest.mark.parametrize(
    "edits",
    [
        pytest.param([("version: 1\n", "# a comment\n\n\nversion: 1  # and one more\n")], id="lines shift"),
        pytest.param([("tags: [hot]", 'tags: ["hot"]'), ("name: plant", "name: 'plant'")], id="quotes"),
        pytest.param([("orders: {tags: [hot]}", "orders:\n    tags:\n      - hot")], id="style"),
        pytest.param(
            [
                (
                    'columns: {at: {type: timestamp}, day: {expr: "date(at)", type: date}}',
                    'columns: {day: {type: date, expr: "date(at)"}, at: {type: timestamp}}',
                )
            ],
            id="order of columns",
        ),
        pytest.param(
            [
                (
                    "{delta.appendOnly: true, delta.logRetentionDuration: interval 9 days}",
                    "{delta.logRetentionDuration: interval 9 days, delta.appendOnly: true}",
                )
            ],
            id="order of properties",
        ),
        pytest.param([("schedule: 1m", "schedule: {every: 60s}")], id="units and shorthand"),
        pytest.param(
            [("away: {source: other,", "away: {mode: append, source: other,")], id="a default, written"
        ),
        pytest.param(
            [("defaults:", "x-a: &a {type: timestamp}\ndefaults:"), ("at: {type: timestamp}", "at: *a")],
            id="an anchor",
        ),
        pytest.param(
            [("  orders: {tags: [hot]}\n", ""), ("streams:\n", "streams:\n  orders: {tags: [hot]}\n")],
            id="order of streams",
        ),
        pytest.param([("schedule: 1m}", "schedule: 1m}\nstate_dir: ./elsewhere")], id="the state folder"),
    ],
)
def test_how_it_is_written_changes_nothing(tmp_path: Path, edits):
    """Comments, lines, quotes, order, anchors, units: every stream is untouched, none is held."""
    seen = edited(tmp_path, *edits)
    assert seen.is_empty
    assert sorted(seen.untouched) == sorted(NAMES)
    assert seen.held == {}


def test_a_renamed_anchor_changes_nothing(tmp_path: Path):
    """An anchor's name is nothing that a stream runs by."""
    text = PLANT.replace("defaults:", "x-a: &a {type: timestamp}\ndefaults:")
    text = text.replace("at: {type: timestamp}", "at: *a")
    seen = edited(tmp_path, ("&a", "&b"), ("*a", "*b"), text=text)
    assert seen.is_empty


@pytest.mark.parametrize(
    ("edits", "changed"),
    [
        pytest.param([("tags: [hot]", "description: what is sold")], ("orders",), id="a description"),
        pytest.param([("tags: [hot]", "tags: [hot, new]")], ("orders",), id="a tag"),
        pytest.param([("tags: [hot]", "enabled: false")], ("orders",), id="disabled"),
        pytest.param([("interval 9 days", "interval 8 days")], ("readings",), id="a property"),
        pytest.param([("date(at)", "date(at, '+1 day')")], ("readings",), id="an expression"),
        pytest.param([("on_reset: restart", "on_reset: fail")], ("log_a",), id="a pattern"),
        pytest.param([("./other.db", "./moved.db")], ("away",), id="a source's path"),
        pytest.param(
            [("busy_timeout: 5s", "busy_timeout: 6s")], ("readings", "orders", "log_a"), id="a source"
        ),
        pytest.param([("eu-west-1", "eu-west-2")], ("readings", "orders", "log_a"), id="a target's option"),
        pytest.param([("schedule: 1m", "schedule: 2m")], NAMES, id="a default"),
    ],
)
def test_what_a_stream_runs_by_changes_it_alone(tmp_path: Path, edits, changed):
    """A stream changes with its settings, its source, its target; the others are untouched."""
    seen = edited(tmp_path, *edits)
    assert seen.changed == changed
    assert set(seen.untouched) == set(NAMES) - set(changed)
    assert (seen.added, seen.removed, seen.held) == ((), (), {})


def test_a_rotated_secret_changes_the_streams_that_use_it(tmp_path: Path):
    """The same file with another secret behind it: streams of that target are changed, and not held."""
    before = running(tmp_path, PLANT, key="old")
    seen = diffs.diff(before, running(tmp_path, PLANT, key="new"))
    assert seen.changed == ("readings", "orders", "log_a")
    assert seen.held == {}


def test_streams_come_and_go(tmp_path: Path):
    """A new entry, a removed one, a table that a pattern makes a stream of, one that is gone."""
    seen = edited(tmp_path, ("  orders: {tags: [hot]}\n", "  audit: {}\n"), tables=("log_b",))
    assert seen.added == ("audit", "log_b")
    assert seen.removed == ("orders", "log_a")
    assert seen.untouched == ("readings", "away")
    assert seen.held == {}


@pytest.mark.parametrize(
    ("edit", "words", "pointer"),
    [
        pytest.param(
            ("tags: [hot]", "into: orders2"),
            "into was orders, is orders2: ",
            "streams.orders.into",
            id="into",
        ),
        pytest.param(
            ("tags: [hot]", "target: local"),
            "target was s3://bucket/lake, is ",
            "streams.orders.target",
            id="another target",
        ),
        pytest.param(
            ("tags: [hot]", "table: sold"), "table was orders, is sold: ", "streams.orders.table", id="table"
        ),
        pytest.param(
            ("tags: [hot]", "mode: overwrite"),
            "mode was append, is overwrite: ",
            "streams.orders.mode",
            id="mode",
        ),
    ],
)
def test_an_edit_of_identity_holds_its_stream(tmp_path: Path, edit, words, pointer):
    """The stream alone is held: what it was, what it is, where that stands, and both ways out."""
    seen = edited(tmp_path, edit)
    assert seen.changed == ("orders",)
    ((name, error),) = seen.held.items()
    assert (name, error.rule) == ("orders", "9")
    assert error.what.startswith(words)
    assert error.hint.startswith("undo the edit, or begin anew: silt reset ")
    assert error.hint.endswith("plant.yaml orders")
    after = running(tmp_path, PLANT.replace(*edit)).stream("orders")
    assert after is not None
    place = after.place_of(error)
    assert place is not None
    assert place.pointer == pointer


def test_a_target_that_moved_holds_all_of_its_streams(tmp_path: Path):
    """`uri` of a target: every stream there is held, those of another target run on."""
    seen = edited(tmp_path, ("s3://bucket/lake", "s3://bucket/lake2"))
    assert set(seen.held) == {"readings", "orders", "log_a"}
    error = seen.held["orders"]
    assert "target was s3://bucket/lake, is s3://bucket/lake2: " in error.what
    assert seen.untouched == ("away",)


def test_another_file_of_the_same_name_edits_nothing(tmp_path: Path):
    """Two manifests that both are `default`, each with a lake of its own, share a `state_dir`: none holds."""
    (tmp_path / "other").mkdir()
    old = running(tmp_path, PLANT)
    new = running(tmp_path / "other", PLANT.replace("s3://bucket/lake", "s3://bucket/lake2"))
    ran = {stream.name: identity(old.manifest, stream) for stream in old.streams}
    assert diffs.held_streams(new, ran) == {}
    moved = running(tmp_path, PLANT.replace("s3://bucket/lake", "s3://bucket/lake2"))
    assert set(diffs.held_streams(moved, ran)) == {"readings", "orders", "log_a"}


def test_a_secret_in_a_uri_is_neither_told_nor_an_edit(tmp_path: Path):
    """User and password of a URI may be rotated; where the place moves, too, they are not shown."""
    text = PLANT.replace("s3://bucket/lake", "s3://me:secret@bucket/lake")
    rotated = edited(tmp_path, ("me:secret", "me:other"), text=text)
    assert rotated.held == {}
    assert "orders" in rotated.changed
    moved = edited(tmp_path, ("secret@bucket", "secret@tub"), text=text)
    assert "secret" not in moved.held["orders"].what


@pytest.mark.parametrize(
    ("edit", "pointer"), [(("name: plant\n", "name: shop\n"), "name"), (("edge-7", "edge-8"), "node")]
)
def test_another_name_or_node_holds_every_stream(tmp_path: Path, edit, pointer):
    """All are held, those that the same edit adds too, at the place of `name` or `node`."""
    seen = edited(tmp_path, edit, ("streams:\n", "streams:\n  fresh:\n"))
    assert set(seen.held) == {*NAMES, "fresh"}
    after = running(tmp_path, PLANT.replace(*edit)).stream("orders")
    assert after is not None
    place = after.place_of(seen.held["orders"])
    assert place is not None
    assert place.pointer == pointer
    assert "end this silt and start it" in seen.held["orders"].hint


def test_a_hold_outlives_edits_until_one_undoes_it(tmp_path: Path):
    """By what it last ran as: still held after another edit, free after the undo, free after a reset."""
    first = running(tmp_path, PLANT)
    ran = {s.name: identity(first.manifest, s) for s in first.streams}
    moved = running(tmp_path, PLANT.replace("tags: [hot]", "into: orders2"))
    again = running(tmp_path, PLANT.replace("tags: [hot]", "into: orders2, tags: [x]"))
    assert set(diffs.diff(moved, again, ran).held) == {"orders"}
    assert diffs.diff(moved, first, ran).held == {}
    stream = again.stream("orders")
    assert stream is not None
    assert diffs.diff(moved, again, {**ran, "orders": identity(again.manifest, stream)}).held == {}


def test_a_disabled_stream_is_not_held(tmp_path: Path):
    """What does not run needs nobody; it is held once it is enabled."""
    ran = {"orders": {"into": "orders"}}
    off = running(tmp_path, PLANT.replace("tags: [hot]", "into: orders2, enabled: false"))
    assert diffs.held_streams(off, ran) == {}
    on = running(tmp_path, PLANT.replace("tags: [hot]", "into: orders2"))
    assert isinstance(diffs.held_streams(on, ran)["orders"], Held)


def test_a_query_has_no_table(tmp_path: Path):
    """A stream that reads a query, or replaces its slice, may read another table without a hold."""
    text = PLANT.replace("tags: [hot]", "mode: overwrite, table: a")
    assert edited(tmp_path, ("table: a", "table: b"), text=text).held == {}
