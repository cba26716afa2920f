"""`silt reload`, and what ends a hold of a running silt: real processes, real databases, real tables."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from clirun import silt, sql
from running import silt_run

from silt.cli import reload as verb
from silt.errors import UserError
from silt.state import Holder, StateDir, running

PLANT = """\
version: 1
name: plant
sources: {plant: ./plant.db}
targets: {lake: ./lake}
defaults: {schedule: 1h}
streams:
  orders:
  readings:
"""
TABLES = "".join(
    f"CREATE TABLE {name} (id INTEGER PRIMARY KEY, x); INSERT INTO {name} VALUES (1, 1), (2, 2);"
    for name in ("orders", "readings", "audit")
)


@pytest.fixture
def plant(tmp_path: Path) -> Path:
    sql(tmp_path / "plant.db", TABLES)
    (tmp_path / "plant.yaml").write_text(PLANT)
    return tmp_path


def edit(plant: Path, old: str, new: str) -> None:
    text = (plant / "plant.yaml").read_text()
    assert old in text
    (plant / "plant.yaml").write_text(text.replace(old, new))


def reload(plant: Path, *, code: int = 0, **variables: str) -> dict:
    done = silt("reload", "plant.yaml", "--json", cwd=plant, **variables)
    assert done.returncode == code, done
    return dict(json.loads(done.stdout))


def rows(plant: Path, name: str) -> int:
    asked = silt("query", "plant.yaml", f"select count(*) n from {name}", "--json", cwd=plant)
    assert asked.returncode == 0, asked
    return int(json.loads(asked.stdout)["rows"][0]["n"])


def test_reload_takes_an_edit_over_and_tells_what_it_changed(plant):
    """Asked for, a silt that does not watch reads its manifest: what is new runs, and the receipt says so."""
    with silt_run(plant, "plant.yaml", "--no-watch") as run:
        run.wait("commit", stream="orders")
        run.wait("commit", stream="readings")
        edit(plant, "  readings:\n", "  audit:\n")
        done = silt("reload", "plant.yaml", cwd=plant)
        assert done.returncode == 0, done
        words = done.stdout.split(": ")
        assert words[0].startswith("reload generation 2 in ")
        assert words[1] == "+ audit - readings = 1\n"
        run.wait("commit", stream="audit")
        receipt = run.wait("reload", generation=2)
        assert (receipt["added"], receipt["removed"], receipt["streams"]) == (["audit"], ["readings"], 2)
        again = reload(plant)
        assert (again["result"], again["generation"], again["streams"]) == ("unchanged", 2, 2)
    assert rows(plant, "audit") == 2


def test_reload_of_an_invalid_edit_is_refused_in_full(plant):
    """Every problem with its place on stderr, exit 1; what runs goes on; the mended file is taken over."""
    with silt_run(plant, "plant.yaml", "--no-watch"):
        edit(plant, "  orders:\n  readings:\n", "  orders: {mode: appendd}\n  readings: {tagz: [x]}\n")
        done = silt("reload", "plant.yaml", cwd=plant)
        assert (done.returncode, done.stdout) == (1, "")
        assert "plant.yaml:7:18: streams.orders.mode: 'appendd'" in done.stderr
        assert "plant.yaml:8:14: streams.readings.tagz" in done.stderr
        assert done.stderr.endswith("refused: generation 1 runs on\n")
        told = reload(plant, code=1)
        assert told["result"] == "refused"
        assert [p["line"] for p in told["problems"]] == [7, 8]
        (plant / "plant.yaml").write_text(PLANT + "  audit:\n")
        assert reload(plant)["added"] == ["audit"]


def test_reload_finds_what_runs_by_its_path(plant, tmp_path):
    """The name was edited, the file is no YAML, a variable is set for the service alone: it is found."""
    edit(plant, "name: plant", "name: ${SITE:?set SITE}")
    with silt_run(plant, "plant.yaml", "--no-watch", SITE="north"):
        assert reload(plant)["result"] == "unchanged"
        (plant / "plant.yaml").write_text("streams: [\n")
        assert reload(plant, code=1)["result"] == "refused"
        (plant / "plant.yaml").write_text(PLANT)
        assert reload(plant)["held"] == ["orders", "readings"]


@pytest.mark.parametrize("path", ["plant.yaml", "none.yaml"])
def test_reload_where_nothing_runs_says_what_to_do(plant, path):
    """Exit 1: who would reload is not there, and how it is started."""
    done = silt("reload", path, cwd=plant)
    assert done.returncode == 1
    assert f"no silt runs {path}" in done.stderr
    assert f"start it: silt run {path}" in done.stderr
    told = silt("reload", path, "--json", cwd=plant)
    assert json.loads(told.stdout)["ok"] is False


HOLD = """
import sys, time
from silt.state import StateDir
with StateDir(sys.argv[1], manifest="plant", node="local").lock(sys.argv[2]):
    print("locked", flush=True)
    time.sleep(60)
"""


def test_another_verb_that_holds_the_lock_is_not_ended_by_a_reload(plant, monkeypatch):
    """SIGHUP would end a `silt reset`: whoever has not said that it is a loop gets none."""
    monkeypatch.chdir(plant)
    monkeypatch.setattr(verb, "BEGINNING", 0.2)
    command = [sys.executable, "-c", HOLD, str(plant / "state"), "plant.yaml"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        with pytest.raises(UserError, match="is no silt run that could reload"):
            verb.reload("plant.yaml")
        ((state, holder),) = running(plant / "state", "plant.yaml")
        assert state.is_held_by(holder.pid)
        assert not state.is_held_by(os.getpid())
        assert process.poll() is None
        process.kill()


def test_a_number_of_another_container_gets_no_signal(tmp_path, monkeypatch):
    """The process of that number here has not the lock: it is another one, and is left alone."""
    state = StateDir(str(tmp_path), manifest="plant", node="local")
    monkeypatch.setattr(os, "kill", lambda *_: pytest.fail("a signal"))
    with state.lock("plant.yaml"), subprocess.Popen(["sleep", "60"]) as stranger:
        holder = Holder(pid=stranger.pid, manifest="/x/plant.yaml", since=0.0)
        with pytest.raises(UserError, match="in another container") as refused:
            verb._hang_up(state, holder)
        assert "SIGHUP" in refused.value.hint
        monkeypatch.undo()
        stranger.kill()


# --- what ends a hold -----------------------------------------------------------------------------


def until_running(plant: Path, name: str, state: str) -> None:
    """Until the running silt's status says that `name` is in that state."""
    status = StateDir(str(plant / "state"), manifest="plant", node="local")
    end = time.monotonic() + 60
    while True:
        known = status.read()
        stream = known.stream(name) if known else None
        if stream is not None and stream.state == state:
            return
        assert time.monotonic() < end, known
        time.sleep(0.05)


def test_an_edit_of_identity_is_held_until_a_reset(plant):
    """`into` was edited: the stream alone is held, until `silt reset` beside the running silt ends that."""
    with silt_run(plant, "plant.yaml", "--no-watch") as run:
        run.wait("commit", stream="orders")
        run.wait("commit", stream="readings")
        edit(plant, "  orders:\n", "  orders: {into: sold}\n")
        assert reload(plant)["held"] == ["orders"]
        until_running(plant, "orders", "held")
        until_running(plant, "readings", "ok")
        line = run.wait("held", stream="orders")
        assert "into was orders, is sold: " in line["message"]
        assert "silt reset plant.yaml orders" in line["message"]
        busy = silt("reset", "plant.yaml", "readings", "--yes", cwd=plant)
        assert busy.returncode == 1
        assert "are being run by process" in busy.stderr
        assert "A stream that silt holds can be reset while it runs" in " ".join(busy.stderr.split())
        done = silt("reset", "plant.yaml", "orders", "--yes", cwd=plant)
        assert done.returncode == 0, done
        assert "the running silt refills it" in done.stdout
        run.wait("commit", stream="orders", into="sold")
    assert rows(plant, "orders") == 2
    assert (plant / "lake" / "orders" / "_delta_log").is_dir()  # the old table stays


def test_an_edit_of_identity_that_is_undone_is_no_hold(plant):
    """The stream goes on where it was: no row twice, no table anew."""
    with silt_run(plant, "plant.yaml", "--no-watch") as run:
        run.wait("commit", stream="orders")
        edit(plant, "  orders:\n", "  orders: {into: sold}\n")
        assert reload(plant)["held"] == ["orders"]
        until_running(plant, "orders", "held")
        sql(plant / "plant.db", "INSERT INTO orders VALUES (3, 3)")
        edit(plant, "  orders: {into: sold}\n", "  orders:\n")
        assert reload(plant)["held"] == []
        run.wait("commit", stream="orders", rows=1)
    assert rows(plant, "orders") == 3
    assert not (plant / "lake" / "sold").exists()


def test_a_hold_outlives_a_restart(plant):
    """Edited while nothing ran: the next run holds it, too; `silt reset` without a running silt ends that."""
    with silt_run(plant, "plant.yaml") as run:
        run.wait("commit", stream="orders")
        run.wait("commit", stream="readings")
    edit(plant, "  orders:\n", "  orders: {into: sold}\n")
    with silt_run(plant, "plant.yaml") as run:
        run.wait("held", stream="orders")
    sql(plant / "plant.db", "INSERT INTO readings VALUES (3, 3)")
    done = silt("reset", "plant.yaml", "orders", "--yes", cwd=plant)
    assert done.returncode == 0, done
    assert "refill it: silt run plant.yaml --once" in done.stdout
    with silt_run(plant, "plant.yaml") as run:
        run.wait("commit", stream="orders", into="sold", rows=2)
        run.wait("commit", stream="readings", rows=1)


def test_another_table_under_an_old_position_is_held(plant):
    """`table` was edited to one with other columns, which no witness can tell: none of its rows is lost."""
    sql(plant / "plant.db", "CREATE TABLE other (id INTEGER PRIMARY KEY, y); INSERT INTO other VALUES (1, 1)")
    with silt_run(plant, "plant.yaml", "--no-watch") as run:
        run.wait("commit", stream="orders")
        edit(plant, "  orders:\n", "  orders: {table: other}\n")
        assert reload(plant)["held"] == ["orders"]
        run.wait("held", stream="orders")
        assert silt("reset", "plant.yaml", "orders", "--yes", cwd=plant).returncode == 0
        run.wait("commit", stream="orders", rows=1)
    assert rows(plant, "orders") == 1


def test_sighup_does_the_same(plant):
    """The signal alone: the log has the receipt."""
    with silt_run(plant, "plant.yaml", "--no-watch") as run:
        edit(plant, "  readings:\n", "  readings:\n  audit:\n")
        run.process.send_signal(signal.SIGHUP)
        assert run.wait("reload")["added"] == ["audit"]
        run.wait("commit", stream="audit")


def test_run_once_plan_and_status_hold_the_same(plant):
    """One pass after an edit of `into`: exit 1, nothing written there; the undo, or a reset, ends it."""
    assert silt("run", "plant.yaml", "--once", cwd=plant).returncode == 0
    edit(plant, "  orders:\n", "  orders: {into: sold}\n")
    sql(plant / "plant.db", "INSERT INTO readings VALUES (3, 3)")
    for verb_, field in ((["plan"], "error"), (["status"], "error"), (["run", "--once"], "error")):
        done = silt(verb_[0], "plant.yaml", *verb_[1:], "--json", cwd=plant)
        streams = {s["name"]: s for s in json.loads(done.stdout)["streams"]}
        assert streams["orders"]["state"] == "held", (verb_, streams["orders"])
        assert "into was orders, is sold: " in streams["orders"][field]
        assert streams["readings"]["state"] == "ok"
        assert done.returncode == (0 if verb_ == ["status"] else 1)
    assert not (plant / "lake" / "sold").exists()
    assert rows(plant, "readings") == 3
    edit(plant, "  orders: {into: sold}\n", "  orders:\n")
    assert silt("run", "plant.yaml", "--once", cwd=plant).returncode == 0
    edit(plant, "  orders:\n", "  orders: {into: sold}\n")
    assert silt("reset", "plant.yaml", "orders", "--yes", cwd=plant).returncode == 0
    assert silt("run", "plant.yaml", "--once", cwd=plant).returncode == 0
    assert rows(plant, "orders") == 2
