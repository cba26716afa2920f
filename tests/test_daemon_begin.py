"""`silt.daemon.begin`: which manifest a run begins with, and where the last good one is found."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from pathlib import Path

import pytest

from silt.daemon.begin import begin, wait_for
from silt.daemon.edits import content
from silt.manifest import ManifestInvalid, expand, load
from silt.manifest.model import Manifest
from silt.report import reload
from silt.state import StateDir

BODY = 'sources: {a: ./a.db}\ntargets: {lake: ./lake}\nstreams: {t: {where: "${W:-ok}"}}\n'
GOOD = f"version: 1\nname: plant\n{BODY}"
INVALID = GOOD.replace("t: {", "t: {mode: miror, ")
NO_YAML = GOOD + "  [\n"


def keep(path: Path) -> Manifest:
    """What a running silt does with a manifest that it takes over."""
    loaded = load(path)
    state = StateDir(loaded.state_dir, manifest=loaded.name, node=loaded.node)
    assert state.keep_good(loaded.path, loaded.texts, digest=loaded.digest, generation=7) == ""
    return loaded


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "plant.yaml"
    path.write_text(GOOD)
    return path


def test_a_valid_manifest_is_the_one_that_runs(file: Path):
    """What is on disk, with no problem, whatever was kept before."""
    keep(file)
    file.write_text(GOOD + "# newer\n")
    found = begin(str(file))
    assert (found.problems, found.kept) == ((), None)
    assert found.manifest.digest == found.on_disk == content(str(file))


@pytest.mark.parametrize(
    "text", [INVALID, NO_YAML, "", "\t", None], ids=["invalid", "torn", "empty", "tab", "gone"]
)
def test_the_last_good_manifest_runs_in_place_of_one_that_cannot(file: Path, text: str | None):
    """Wrong in a value, no YAML, empty, deleted: the last good one runs, and what is wrong is told."""
    before = keep(file)
    if text is None:
        file.unlink()
    else:
        file.write_text(text)
    found = begin(str(file))
    assert found.manifest == before
    assert found.manifest.texts == {"": GOOD.encode()}
    assert found.problems
    assert found.problems[0].file == str(file)
    assert found.on_disk == content(str(file)) != before.digest
    assert found.kept is not None
    assert time.time() - 60 < found.kept <= time.time()


def test_variables_are_those_of_today(file: Path, monkeypatch: pytest.MonkeyPatch):
    """It was kept as written: a variable that has another value now has that."""
    keep(file)
    monkeypatch.setenv("W", "later")
    file.write_text(INVALID)
    rules = begin(str(file)).manifest
    assert [stream.where for stream in expand(rules, {}).streams] == ["later"]


def test_without_a_last_good_manifest_nothing_begins(file: Path):
    """A new manifest that is wrong is refused with its problems; so is one whose state was lost."""
    file.write_text(INVALID)
    with pytest.raises(ManifestInvalid, match="miror"):
        begin(str(file))


def test_a_last_good_manifest_that_cannot_run_either_is_not_blamed(file: Path):
    """Its secret is gone: the problems are those of the manifest on disk, which is the one to mend."""
    secret = 's3://b/l, storage_options: {AWS_SECRET_ACCESS_KEY: "${secret:env:SILT_NONE}"}'
    file.write_text(GOOD.replace("{lake: ./lake}", f"{{lake: {{uri: {secret}}}}}\nnode: n"))
    keep(file)
    file.write_text(INVALID)
    with pytest.raises(ManifestInvalid, match="miror"):
        begin(str(file))


def test_a_damaged_last_good_manifest_does_not_run(file: Path):
    """Bytes that are not those of its digest are none that ever ran."""
    keep(file)
    (kept,) = (file.parent / "state").glob("*.good.json")
    kept.write_text(kept.read_text().replace("plant", "plent"))
    file.write_text(INVALID)
    with pytest.raises(ManifestInvalid):
        begin(str(file))


def test_a_folder_of_recipes_has_a_last_good_one(tmp_path: Path):
    """All of its files as they were, though one is gone and another wrong now."""
    folder = tmp_path / "recipes"
    folder.mkdir()
    (folder / "silt.yaml").write_text(GOOD + "state_dir: ../st\n")
    (folder / "b.yaml").write_text("version: 1\nstreams: {u: }\n")
    before = keep(folder)
    (folder / "b.yaml").write_text("version: 1\nstreams: [u]\n")
    assert begin(str(folder)).manifest == before
    (folder / "b.yaml").write_text("version: 1\nstreams: {u: {source: none}}\n")
    assert list(begin(str(folder)).manifest.texts) == ["silt.yaml", "b.yaml"]


def test_a_pipe_is_not_read_again(tmp_path: Path):
    """What came through a pipe was wrong: nothing waits for a writer that is gone."""
    os.mkfifo(tmp_path / "pipe")
    with subprocess.Popen(["sh", "-c", f"echo version: 2 > {tmp_path}/pipe"]) as writer:
        with pytest.raises(ManifestInvalid, match="is missing"):
            begin(str(tmp_path / "pipe"))
        assert writer.wait(30) == 0


# --- waiting --------------------------------------------------------------------------------------


def test_a_manifest_that_is_waited_for_begins_once_it_is_valid(file: Path):
    """What is wrong is told once a time that it is something else; then it begins."""
    file.write_text(INVALID)
    told: list[str] = []

    def refused(problems) -> None:
        told.append(problems[0].message)
        file.write_text([INVALID.replace("miror", "merg"), GOOD][len(told) - 1])

    found = wait_for(str(file), stop=threading.Event(), refused=refused, tick=0.01)
    assert found is not None
    assert found.manifest.texts == {"": GOOD.encode()}
    assert [message.split(" is not")[0] for message in told] == ["'miror'", "'merg'"]


def test_waiting_ends_when_it_is_stopped(file: Path):
    """A signal ends it, with nothing to run."""
    file.write_text(INVALID)
    stop = threading.Event()
    assert wait_for(str(file), stop=stop, refused=lambda _: stop.set(), tick=0.01) is None


def test_what_runs_in_its_place_is_told_loudly(file: Path):
    """The place of the first problem, and of when the manifest is that runs; or that it is waited for."""
    keep(file)
    file.write_text(INVALID)
    found = begin(str(file))
    line = reload.refused_at_start(found.problems, runs=found.kept, now=time.time())
    assert (line.kind, line.level) == ("refused", "error")
    assert line.text.startswith(f"{file}:5:")
    assert "; the last good manifest of " in line.text
    assert line.text.endswith(" runs")
    waits = reload.refused_at_start(found.problems, runs=None, now=time.time())
    assert waits.text.endswith("; waiting for one that can run")
