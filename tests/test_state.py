"""`silt.state`: the lock against a second process, and the last status."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from silt.state import AlreadyRunning, Good, LastStatus, Receipt, StateDir, StreamStatus, Trouble, last_good

HOLD = """
import sys, time
from silt.state import StateDir
with StateDir(sys.argv[1], manifest="plant", node="edge-7").lock("/etc/silt/plant.yaml"):
    print("locked", flush=True)
    time.sleep(60)
"""


def state(folder: Path) -> StateDir:
    return StateDir(str(folder), manifest="plant", node="edge-7")


def status(**changes) -> LastStatus:
    fields = {
        "manifest": "plant.yaml",
        "digest": "d1",
        "generation": 1,
        "pid": 812,
        "started": 1.0,
        "written": 2.0,
        "loop": True,
        "streams": (StreamStatus(name="readings", state="ok", rows=7, version=3),),
    }
    return LastStatus(**{**fields, **changes})


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock in `tmp_path`."""
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        yield process
        process.kill()


def test_second_process_is_refused_with_pid_and_path(tmp_path, holder):
    """The refusal names the process that runs, its manifest, the lock file, and what to do."""
    with pytest.raises(AlreadyRunning) as refused, state(tmp_path).lock("other.yaml"):
        pass
    assert str(holder.pid) in refused.value.what
    assert "/etc/silt/plant.yaml" in refused.value.what
    assert refused.value.on == str(state(tmp_path).lock_path)
    assert "stop that process" in refused.value.hint


def test_killed_holder_leaves_no_lock(tmp_path, holder):
    """SIGKILL of the holder frees the lock: the kernel drops it, no stale file stands in the way."""
    assert state(tmp_path).holder() is not None
    holder.kill()
    holder.wait()
    assert state(tmp_path).holder() is None
    with state(tmp_path).lock("plant.yaml") as lock:
        assert lock.warning == ""


def test_holder_is_seen_from_outside(tmp_path, holder):
    """`holder` names the process without disturbing its lock."""
    seen = state(tmp_path).holder()
    assert seen is not None
    assert seen.pid == holder.pid
    assert seen.manifest == "/etc/silt/plant.yaml"
    assert time.time() - seen.since < 60
    assert state(tmp_path).holder() == seen


def test_other_manifest_or_node_has_a_lock_of_its_own(tmp_path, holder):
    """The lock is of a manifest's name and node: others may share the folder."""
    for manifest, node in (("plant", "edge-8"), ("shop", "edge-7")):
        with StateDir(str(tmp_path), manifest=manifest, node=node).lock("x.yaml") as lock:
            assert lock.warning == ""


def test_looking_at_the_lock_does_not_refuse_a_starting_process(tmp_path):
    """A process that starts in the instant in which `holder` looks waits and gets the lock."""
    looks = "import sys, time\nfrom silt.state import StateDir\n"
    looks += "s = StateDir(sys.argv[1], manifest='plant', node='edge-7')\n"
    looks += "open(sys.argv[1] + '/ready', 'w').close()\n"
    looks += "end = time.time() + 2\nwhile time.time() < end: s.holder()\n"
    with state(tmp_path).lock("plant.yaml"):
        pass
    with subprocess.Popen([sys.executable, "-c", looks, str(tmp_path)]) as process:
        while not (tmp_path / "ready").exists():
            time.sleep(0.01)
        taken = 0
        while process.poll() is None:
            with state(tmp_path).lock("plant.yaml"):
                taken += 1
    assert taken > 10


def test_names_with_odd_characters_stay_inside_the_folder(tmp_path):
    """A name with slashes and dots is percent-encoded: no file lands outside `state_dir`."""
    odd = StateDir(str(tmp_path / "state"), manifest="../a/b", node="x/../../y")
    with odd.lock("m.yaml"):
        assert odd.write(status()) == ""
    assert sorted(p.name for p in tmp_path.iterdir()) == ["state"]
    assert len(list((tmp_path / "state").iterdir())) == 2


def test_status_comes_back_as_it_was_written(tmp_path):
    """What is written is read back equal, streams and receipts included."""
    trouble = Trouble(
        file="plant.yaml", line=31, column=11, pointer="streams.settings.mode", message="'miror'"
    )
    refused = Receipt(
        generation=1,
        digest="d2",
        at=3.0,
        seconds=0.2,
        result="refused",
        added=("a", "b"),
        problems=(trouble,),
    )
    written = status(on_disk="refused", receipts=(refused,))
    assert state(tmp_path).write(written) == ""
    assert state(tmp_path).read() == written


def test_text_that_is_not_utf_8_is_written(tmp_path):
    """An error may quote a file's name, which holds any bytes: the status is written all the same."""
    odd = StreamStatus(name="readings", state="failing", error="no such file: /data/\udcff.db")
    assert state(tmp_path).write(status(streams=(odd,))) == ""
    assert state(tmp_path).read() == status(streams=(odd,))


def test_no_status_and_broken_status_read_as_none(tmp_path):
    """Losing or damaging the file loses nothing: it reads as if there were none."""
    here = state(tmp_path)
    assert here.read() is None
    here.write(status())
    whole = here.status_path.read_text()
    for damaged in ("", whole[: len(whole) // 2], "[]", "null", json.dumps({"format": 1}), '{"format": 99}'):
        here.status_path.write_text(damaged)
        assert here.read() is None


def test_status_of_a_newer_silt_is_read(tmp_path):
    """Fields that this version does not know are ignored."""
    here = state(tmp_path)
    here.write(status())
    data = json.loads(here.status_path.read_text())
    data["later"] = 1
    data["streams"][0]["later"] = 2
    here.status_path.write_text(json.dumps(data))
    assert here.read() == status()


def test_readers_never_see_half_a_status(tmp_path):
    """The file is replaced whole: a reader beside a writer sees one of the statuses, never a part."""
    here = state(tmp_path)
    here.write(status())
    code = (
        "import sys\nfrom silt.state import *\ns = StateDir(sys.argv[1], manifest='plant', node='edge-7')\n"
    )
    code += "assert all(s.read() is not None for _ in range(2000))\n"
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)]) as reader:
        number = 0
        while reader.poll() is None:
            number += 1
            here.write(status(pid=number, manifest="p" * (number % 5000)))
    assert reader.returncode == 0
    assert number > 10


def test_unwritable_folder_is_a_warning(tmp_path):
    """Without a writable `state_dir` the lock and the status say so, and nothing fails."""
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    here = state(in_the_way / "state")
    with here.lock("plant.yaml") as lock:
        assert "cannot be written" in lock.warning
        assert str(in_the_way / "state") in lock.warning
    assert "cannot be written" in here.write(status())
    assert here.read() is None
    assert here.holder() is None


# --- the last good manifest -----------------------------------------------------------------------

TEXTS = {
    "silt.yaml": b"version: 1\r\nkey: ${secret:env:KEY}\n",
    "b.yaml": "\ufeffä\n".encode(),
    "c.yaml": b"\xff",
}


def kept(folder: Path, path: str, texts=TEXTS, digest: str = "d", generation: int = 3) -> Good:
    assert state(folder).keep_good(path, texts, digest=digest, generation=generation) == ""
    good = last_good(folder, path)
    assert good is not None
    return good


def test_the_last_good_manifest_comes_back_byte_for_byte(tmp_path):
    """What was kept is found by PATH, with its bytes, their order, digest, generation and moment."""
    good = kept(tmp_path / "st", "/etc/silt/recipes")
    assert good.texts == TEXTS
    assert list(good.texts) == list(TEXTS)
    assert (good.path, good.digest, good.generation) == ("/etc/silt/recipes", "d", 3)
    assert time.time() - 60 < good.at <= time.time()
    assert kept(tmp_path / "st", "/etc/silt/recipes", {"": b"x"}, "e", 4).texts == {"": b"x"}


def test_only_its_owner_may_read_the_last_good_manifest(tmp_path):
    """It may hold a secret in plain: mode 0600, no other file left behind, and its repr tells nothing."""
    good = kept(tmp_path, "m.yaml", {"": b"password: hunter2"})
    (file,) = tmp_path.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert "hunter2" not in repr(good)


def test_the_last_good_manifest_is_of_its_path(tmp_path, monkeypatch):
    """The same PATH spelled otherwise finds it, another PATH does not: manifests may share a folder."""
    monkeypatch.chdir(tmp_path)
    kept(tmp_path / "st", "plant.yaml", {"": b"plant"})
    kept(tmp_path / "st", "shop.yaml", {"": b"shop"})
    for path in ("plant.yaml", "./x/../plant.yaml", str(tmp_path / "plant.yaml")):
        good = last_good(tmp_path / "st", path)
        assert good is not None
        assert good.texts == {"": b"plant"}
    assert last_good(tmp_path / "st", "other.yaml") is None


def test_a_damaged_last_good_manifest_is_none(tmp_path):
    """Losing or damaging it loses nothing: it reads as if there were none."""
    kept(tmp_path, "m.yaml")
    (file,) = tmp_path.iterdir()
    whole = file.read_text()
    for damaged in ("", whole[: len(whole) // 2], "[]", "null", "{}", '{"texts": 3}'):
        file.write_text(damaged)
        assert last_good(tmp_path, "m.yaml") is None


def test_a_last_good_manifest_that_cannot_be_kept_is_a_warning(tmp_path):
    """A folder that cannot be written is said, and nothing fails."""
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    assert "cannot be written" in state(in_the_way / "st").keep_good("m", {"": b""}, digest="", generation=1)
    assert last_good(in_the_way / "st", "m") is None


# --- what each stream was when it last ran --------------------------------------------------------

RAN = {"orders": {"into": "orders", "node": "edge-7"}, "readings": {"into": "readings", "node": "edge-7"}}
NOTE = """
import sys
from silt.state import StateDir
here = StateDir(sys.argv[1], manifest="plant", node="edge-7")
for number in range(50):
    here.keep_ran({f"{sys.argv[2]}{number}": {"into": "x"}})
"""


def test_what_streams_were_is_known_to_the_next_process(tmp_path):
    """Notes are added to those that are there, and the newest of a stream counts."""
    assert state(tmp_path / "st").ran() == {}
    assert state(tmp_path / "st").keep_ran(RAN) == RAN
    other = state(tmp_path / "st")
    assert other.ran() == RAN
    moved = {"orders": {"into": "orders2", "node": "edge-7"}}
    assert other.keep_ran(moved) == {**RAN, **moved}
    assert state(tmp_path / "st").ran() == {**RAN, **moved}


def test_a_reset_beside_a_running_silt_is_seen_by_it(tmp_path):
    """What another process notes replaces what this one knew."""
    mine = state(tmp_path)
    mine.keep_ran(RAN)
    state(tmp_path).keep_ran({"orders": {"into": "orders2"}})
    assert mine.ran()["orders"] == {"into": "orders2"}
    assert mine.keep_ran({"audit": {"into": "audit"}})["orders"] == {"into": "orders2"}


def test_two_processes_lose_none_of_their_notes(tmp_path):
    """Both write again and again: what either noted is there."""
    commands = [[sys.executable, "-c", NOTE, str(tmp_path), name] for name in "ab"]
    processes = [subprocess.Popen(command) for command in commands]
    assert [process.wait(60) for process in processes] == [0, 0]
    assert state(tmp_path).ran().keys() == {f"{name}{number}" for name in "ab" for number in range(50)}


def test_without_a_folder_a_process_knows_its_own_notes(tmp_path):
    """Where nothing can be written, or what was written is damaged, this process still knows."""
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    here = state(in_the_way / "st")
    assert here.keep_ran(RAN) == RAN
    assert here.ran() == RAN
    there = state(tmp_path / "st")
    there.keep_ran(RAN)
    there.ran_path.write_text("[3]")
    assert there.ran() == RAN
    assert state(tmp_path / "st").ran() == {}
