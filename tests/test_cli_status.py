"""`silt status` beside a running silt: what it says of the manifest on disk, and `--watch`."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from clirun import SILT, environment, silt, sql, start
from fakes import applied, refusal, stream

from silt import manifest as manifests
from silt.state import LastStatus, StateDir


@pytest.fixture
def shop(tmp_path) -> Path:
    sql(
        tmp_path / "shop.db",
        "CREATE TABLE orders (id INTEGER PRIMARY KEY, v); INSERT INTO orders VALUES (1, 1)",
    )
    write(tmp_path, "  orders:\n")
    return tmp_path


def write(folder: Path, streams: str, head: str = "") -> None:
    text = f"version: 1\n{head}sources: {{shop: ./shop.db}}\ntargets: {{lake: ./lake}}\nstreams:\n{streams}"
    (folder / "silt.yaml").write_text(text)


@contextmanager
def running(folder: Path, **changes) -> Iterator[None]:
    """What a running silt leaves in its state folder: its lock, its status, its last good manifest."""
    loaded = manifests.load(folder / "silt.yaml")
    state = StateDir(loaded.state_dir, manifest=loaded.name, node=loaded.node)
    with state.lock(loaded.path):
        fields = {
            "manifest": loaded.path,
            "digest": loaded.digest,
            "generation": 17,
            "pid": os.getpid(),
            "started": time.time(),
            "written": time.time(),
            "loop": True,
            "streams": (stream("orders"),),
        }
        state.write(LastStatus(**{**fields, **changes}))
        state.keep_good(str(folder / "silt.yaml"), loaded.texts, digest=loaded.digest, generation=17)
        yield


def told(folder: Path) -> dict:
    done = silt("status", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["manifest"]


def test_what_runs_is_what_is_on_disk(shop):
    """`same`, and no problem; the generation is the running one's."""
    with running(shop):
        seen = told(shop)
    assert (seen["on_disk"], seen["problems"], seen["generation"]) == ("same", [], 17)


def test_the_manifest_on_disk_is_newer(shop):
    """Saved, and not yet taken over: it says so, and which generation runs."""
    with running(shop):
        write(shop, "  orders: {mode: overwrite}\n")
        assert told(shop)["on_disk"] == "newer"
        text = silt("status", cwd=shop).stdout
    assert "! The file on disk is newer than what runs; generation 17 runs on." in text


def test_a_refused_edit_that_reads_well_is_told_with_its_receipt(shop):
    """Where the running silt refused what this process can read, its receipt says why and where."""
    with running(shop, on_disk="refused", receipts=(refusal(17),)):
        seen = told(shop)
        text = silt("status", cwd=shop).stdout
    assert seen["on_disk"] == "refused"
    assert seen["problems"][0]["line"] == 31
    assert re.search(r"! The file on disk is newer and was refused at [\d:]+; generation 17 runs on\.", text)
    assert "plant.yaml:31:11: streams.settings.mode: 'miror' is not one of" in text


def test_the_last_edit_is_told(shop):
    """What was taken over last, as the log told it; in JSON every receipt, the newest first."""
    with running(shop, receipts=(refusal(16), applied(17))):
        text = silt("status", cwd=shop).stdout
        answer = json.loads(silt("status", "--json", cwd=shop).stdout)
    assert re.search(
        r"^[\d:]+ reload generation 17 in 0.21 s: \+ audit_log ~ orders - tmp_x = 1$", text, re.MULTILINE
    )
    assert "refused" not in text
    assert [r["result"] for r in answer["receipts"]] == ["applied", "refused"]


def test_an_invalid_manifest_on_disk_does_not_hide_the_streams(shop):
    """The last good one is shown, with what is wrong with the new one: with a running silt and without."""
    with running(shop):
        write(shop, "  orders: {mode: miror}\n")
        seen = silt("status", "--json", cwd=shop)
        assert seen.returncode == 0, seen.stderr
        answer = json.loads(seen.stdout)
        assert [s["name"] for s in answer["streams"]] == ["orders"]
        (problem,) = answer["manifest"]["problems"]
        assert (problem["line"], problem["column"]) == (5, 18)
    text = silt("status", cwd=shop).stdout
    assert "not running" in text
    assert "! The file on disk is refused; shown is the last that ran." in text
    assert (
        "silt.yaml:5:18: streams.orders.mode: 'miror' is not one of append, merge, mirror, overwrite" in text
    )
    assert re.search(r"^  orders +ok", text, re.MULTILINE)


def test_an_invalid_manifest_that_never_ran_is_an_error(shop):
    """Nothing is known: the problems, and exit 1."""
    write(shop, "  orders: {mode: miror}\n")
    done = silt("status", cwd=shop)
    assert done.returncode == 1
    assert "'miror' is not one of" in done.stderr


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("", "state"),
        ("state_dir: ./elsewhere\n", "elsewhere"),
        ("state_dir: elsewhere  # here\n", "elsewhere"),
        ('state_dir: "${WHERE:-there}"\n', "there"),
        ("state_dir: '${STATE}/silt'\n", "given/silt"),
        ("state_dir: ${UNSET}\n", "state"),
        ("state_dir:\n", "state"),
    ],
)
def test_where_the_state_is_of_a_manifest_that_is_wrong(tmp_path, line, found):
    """By the line of `state_dir`, however wrong the lines around it are."""
    (tmp_path / "m.yaml").write_text(f"version: 1\n{line}streams: [\n  oh: {{\n")
    assert manifests.state_dir(str(tmp_path / "m.yaml"), env={"STATE": "given"}) == str(tmp_path / found)


def test_where_the_state_is_of_a_manifest_that_is_gone(tmp_path):
    """The default, beside where it would be; in a folder without one."""
    assert manifests.state_dir(str(tmp_path / "gone.yaml")) == str(tmp_path / "state")
    assert manifests.state_dir(str(tmp_path)) == str(tmp_path / "state")


# --- --watch --------------------------------------------------------------------------------------


class Terminal:
    """`silt ARGUMENTS` on a terminal of its own; `until` reads what it draws."""

    def __init__(self, *arguments: str, cwd: Path) -> None:
        self._own, theirs = pty.openpty()
        variables = environment(COLUMNS="100", LINES="30", TERM="xterm")
        self.process = subprocess.Popen(
            [*SILT, *arguments], cwd=cwd, env=variables, stdin=theirs, stdout=theirs, stderr=theirs
        )
        os.close(theirs)
        self.drawn = ""

    def until(self, pattern: str) -> str:
        deadline = time.monotonic() + 60
        while not re.search(pattern, self.drawn) and time.monotonic() < deadline:
            if select.select([self._own], [], [], 0.2)[0]:
                self.drawn += os.read(self._own, 65536).decode("utf-8", "replace")
        assert re.search(pattern, self.drawn), self.drawn[-2000:]
        return self.drawn

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(timeout=30)
        os.close(self._own)


def test_watch_redraws_in_place(shop):
    """Rows that come are seen without asking again; the lines are drawn over; Ctrl-C ends it with 130."""
    terminal = Terminal("status", "--watch", cwd=shop)
    try:
        terminal.until(r"stale +\S+ s +1 ")
        sql(shop / "shop.db", "INSERT INTO orders VALUES (2, 2), (3, 3)")
        drawn = terminal.until(r"stale +\S+ s +3 ")
        assert "\x1b[1A" in drawn
        write(shop, "  orders: {mode: miror}\n")
        terminal.until("'miror' is not one of")
        write(shop, "  orders: {mode: overwrite}\n")
        terminal.drawn = ""
        terminal.until("stale")
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.process.wait(timeout=60) == 130
    finally:
        terminal.close()


def test_watch_elsewhere_prints_one_after_another(shop):
    """Into a pipe each look is printed whole, apart by an empty line; SIGTERM ends it with 143."""
    process = start("status", "--watch", cwd=shop)
    try:
        assert process.stdout is not None
        seen = []
        while seen.count("1 ok, 1 stale\n") < 2:
            line = process.stdout.readline()
            assert line, process.stderr and process.stderr.read()
            seen.append(line)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 143
    finally:
        process.kill()
        process.communicate(timeout=30)


def test_watch_says_at_once_what_it_cannot_do(shop):
    """A selection of nothing, a manifest that is not there, --json: an error and exit 1, no empty screen."""
    for arguments in (["--select", "nothing"], ["nowhere.yaml"], ["--json"], ["--check"]):
        done = silt("status", "--watch", *arguments, cwd=shop)
        assert done.returncode == 1
        assert done.stderr
