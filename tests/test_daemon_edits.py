"""`silt.daemon.edits`: every way in which a manifest's files change is noticed, and told once it has settled.

Each test edits real files; where it says that something is not told, an edit after it is, and alone.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from silt import manifest
from silt.daemon import edits
from silt.daemon.edits import Edits, content
from silt.daemon.notify import FolderEvents

FIRST = "version: 1\nstreams: {first: }\n"
SECOND = "version: 1\nstreams: {second: }\n"
FOREVER = 60.0
"""As patience: a writer is waited for, however slow the machine is."""


class Told:
    """What was handed out: each time the files' texts, read in the thread that hands out."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.texts: list[dict[str, str] | str] = []
        self.seconds: list[float] = []
        self._more = threading.Condition()

    def settled(self, seconds: float) -> None:
        with self._more:
            self.seconds.append(seconds)
            self.texts.append(texts_of(self.path))
            self._more.notify_all()

    def wait_for(self, wanted: dict[str, str] | str) -> None:
        """Until that was handed out, which must be the last there is."""
        with self._more:
            assert self._more.wait_for(lambda: wanted in self.texts, timeout=30), self.texts


def texts_of(path: Path) -> dict[str, str] | str:
    """The text of a file, those of a folder by name; `none` where there is nothing to read."""
    try:
        found = {name: raw.decode() for name, raw in manifest.texts(path).items()}
    except manifest.ManifestInvalid:
        return "none"
    return found[""] if list(found) == [""] else found


@contextmanager
def watching(path: Path, *, patience: float = FOREVER, digest: str | None = None) -> Iterator[Told]:
    told = Told(path)
    running = content(str(path)) if digest is None else digest
    with Edits(str(path), running, told.settled, patience=patience) as watch:
        started = watch._thread
        yield told
        assert started.is_alive()
    assert not started.is_alive()


@pytest.fixture(params=["events", "looks"])
def how(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Once with the kernel's events, once on a machine that gives no inotify instance."""
    if request.param == "looks":
        without_events(monkeypatch)
    return str(request.param)


def without_events(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_args: object, **_options: object) -> None:
        raise OSError(24, "inotify instance limit reached")

    monkeypatch.setattr("watchdog.observers.inotify.InotifyObserver.__init__", refused)
    monkeypatch.setattr(edits, "TICK", 0.3)  # only for the tests' sake


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "conf" / "plant.yaml"
    path.parent.mkdir()
    path.write_text(FIRST)
    return path


@pytest.fixture
def recipes(tmp_path: Path) -> Path:
    folder = tmp_path / "recipes"
    folder.mkdir()
    (folder / "silt.yaml").write_text(FIRST)
    (folder / "a.yaml").write_text("a: 1\n")
    return folder


# --- the ways of one file -------------------------------------------------------------------------


def in_place(path: Path) -> None:
    path.write_text(SECOND)


def by_rename(path: Path) -> None:
    beside = path.with_name(".plant.yaml.tmp")
    beside.write_text(SECOND)
    beside.replace(path)


def from_elsewhere(path: Path) -> None:
    """As configuration management does: made in another folder, then moved here."""
    beside = path.parent.parent / "staged"
    beside.write_text(SECOND)
    beside.replace(path)


def deleted_and_made_again(path: Path) -> None:
    path.unlink()
    path.write_text(SECOND)


def by_vim(path: Path) -> None:
    """`backupcopy=no`: the file becomes the backup, a new one is written under its name, the backup goes."""
    backup = path.with_name("plant.yaml~")
    path.rename(backup)
    path.write_text(SECOND)
    backup.unlink()


def by_sed(path: Path) -> None:
    subprocess.run(["sed", "-i", "s/first/second/", str(path)], check=True)


def by_hard_link(path: Path) -> None:
    beside = path.with_name("other")
    beside.write_text(SECOND)
    path.unlink()
    path.hardlink_to(beside)


def folder_made_again(path: Path) -> None:
    shutil.rmtree(path.parent)
    path.parent.mkdir()
    path.write_text(SECOND)


def folder_exchanged(path: Path) -> None:
    fresh = path.parent.with_name("fresh")
    fresh.mkdir()
    (fresh / path.name).write_text(SECOND)
    path.parent.rename(path.parent.with_name("old"))
    fresh.rename(path.parent)


WAYS = [
    in_place,
    by_rename,
    from_elsewhere,
    deleted_and_made_again,
    by_vim,
    by_sed,
    by_hard_link,
    folder_made_again,
    folder_exchanged,
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_each_way_to_save_a_file_is_noticed(file: Path, way: Callable[[Path], None], how: str):
    """However a file is saved, what it says then is handed out, and a further save after it."""
    with watching(file, patience=edits.PATIENCE) as told:
        way(file)
        told.wait_for(SECOND)
        file.write_text(FIRST)
        told.wait_for(FIRST)
    assert told.texts[-1] == FIRST


def test_a_burst_of_saves_ends_in_the_last(file: Path, how: str):
    """Fifty saves one after another: never the same content twice in a row, and the last is the last."""
    with watching(file) as told:
        for number in range(50):
            file.write_text(f"{SECOND}# {number}\n")
        told.wait_for(f"{SECOND}# 49\n")
    assert told.texts[-1] == f"{SECOND}# 49\n"
    assert all(one != other for one, other in zip(told.texts, told.texts[1:], strict=False))


def test_what_settled_is_told_with_the_seconds_since_it_was_noticed(file: Path):
    """The seconds begin when the edit was first noticed, so they hold what it took to settle."""
    with watching(file) as told:
        in_place(file)
        told.wait_for(SECOND)
    (seconds,) = told.seconds
    assert seconds >= edits.QUIET


def test_a_file_that_goes_and_comes_back_is_told_both_times(file: Path, how: str):
    """A manifest that is gone is an edit like another: it cannot be read."""
    with watching(file) as told:
        file.unlink()
        told.wait_for("none")
        file.write_text(FIRST)
        told.wait_for(FIRST)
    assert told.texts == ["none", FIRST]


def test_a_file_that_comes_later_is_noticed(tmp_path: Path, how: str):
    """Neither the file nor its folder is there yet."""
    path = tmp_path / "later" / "plant.yaml"
    with watching(path, patience=edits.PATIENCE) as told:
        path.parent.mkdir()
        path.write_text(FIRST)
        told.wait_for(FIRST)


# --- what is no edit ------------------------------------------------------------------------------


def test_touching_and_saving_the_same_is_no_edit(file: Path, how: str):
    """touch, chmod, the same text again in place and by a rename: nothing is told but the edit after them."""
    with watching(file) as told:
        for quiet in (file.touch, lambda: file.chmod(0o600), lambda: file.write_text(FIRST)):
            quiet()
            time.sleep(2 * edits.QUIET)
        beside = file.with_name("beside")
        beside.write_text(FIRST)
        beside.replace(file)
        time.sleep(2 * edits.QUIET)
        in_place(file)
        told.wait_for(SECOND)
    assert told.texts == [SECOND]


def test_other_files_beside_it_are_none_of_it(file: Path):
    """A database that grows beside the manifest, another manifest, swap files: nothing is told."""
    with watching(file) as told:
        for name in ("app.db", "app.db-wal", ".plant.yaml.swp", "other.yaml", "plant.yaml~"):
            with (file.parent / name).open("ab") as other:
                other.write(b"x" * 4096)
        in_place(file)
        told.wait_for(SECOND)
    assert told.texts == [SECOND]


def test_an_edit_before_the_watch_began_is_told(file: Path):
    """What runs is told from what the file says by the digest, so nothing is missed in between."""
    running = content(str(file))
    in_place(file)
    with watching(file, digest=running) as told:
        told.wait_for(SECOND)
    assert told.texts == [SECOND]


def test_a_pipe_is_not_watched(tmp_path: Path):
    """`silt run <(...)`: a pipe can be read once, so nothing reads it again."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with Edits(str(path), "", lambda _: pytest.fail("told")) as watch:
        assert not watch._thread.is_alive()


# --- writers that take their time -----------------------------------------------------------------

SLOW = """
import sys, time
with open(sys.argv[1], sys.argv[2]) as file:
    for line in sys.argv[3].splitlines(keepends=True):
        file.write(line); file.flush(); time.sleep(0.7)
"""


def slowly(path: Path, *, mode: str = "w") -> None:
    """Another process writes SECOND line by line, longer than both quiet times together."""
    subprocess.run([sys.executable, "-S", "-c", SLOW, str(path), mode, SECOND + "# end\n"], check=True)


@pytest.mark.parametrize("mode", ["w", "r+"])
def test_a_slow_writer_is_waited_for(file: Path, mode: str):
    """Truncated, or overwritten in place, then written with pauses: no half of it is handed out."""
    with watching(file) as told:
        slowly(file, mode=mode)
        told.wait_for(SECOND + "# end\n")
    assert told.texts == [SECOND + "# end\n"]


def test_a_slow_writer_of_a_new_file_is_waited_for(file: Path):
    """Deleted, then written anew with pauses: it is handed out when its writer closed it."""
    with watching(file) as told:
        file.unlink()
        slowly(file)
        told.wait_for(SECOND + "# end\n")
    assert [text for text in told.texts if text != "none"] == [SECOND + "# end\n"]


def test_a_writer_that_never_closes_is_not_waited_for_longer(file: Path):
    """After `patience` what is there counts; what comes when the file is closed is another edit."""
    with watching(file, patience=0.5) as told, file.open("w") as writer:
        writer.write(SECOND)
        writer.flush()
        told.wait_for(SECOND)
        writer.write("# end\n")
        writer.close()
        told.wait_for(SECOND + "# end\n")
    assert told.texts == [SECOND, SECOND + "# end\n"]


# --- links ----------------------------------------------------------------------------------------


def mounted(folder: Path, text: str) -> None:
    """The ConfigMap way: a folder of that version, `..data` exchanged for a link to it by a rename."""
    version = folder / f"..{len(text)}_{time.monotonic_ns()}"
    version.mkdir()
    (version / "plant.yaml").write_text(text)
    link = folder / "..data_tmp"
    link.symlink_to(version.name)
    before = (folder / "..data").resolve()
    link.rename(folder / "..data")
    if before.name != "..data":
        shutil.rmtree(before)


@pytest.mark.parametrize("as_folder", [False, True])
def test_a_config_map_that_is_exchanged_is_noticed(tmp_path: Path, as_folder: bool, how: str):
    """`plant.yaml -> ..data/plant.yaml`, `..data -> ..version`, swapped by a rename, again and again."""
    mounted(tmp_path, FIRST)
    (tmp_path / "plant.yaml").symlink_to("..data/plant.yaml")
    path = tmp_path if as_folder else tmp_path / "plant.yaml"
    texts = (SECOND, FIRST, SECOND)
    with watching(path) as told:
        for text in texts:
            mounted(tmp_path, text)
            told.wait_for({"plant.yaml": text} if as_folder else text)
            told.texts.clear()


def test_a_file_behind_links_is_noticed(tmp_path: Path, how: str):
    """A link in another folder to a link to the file: an edit of the file, a link that is led elsewhere."""
    real, other, way = tmp_path / "real", tmp_path / "other", tmp_path / "way"
    for folder in (real, other, way):
        folder.mkdir()
    (real / "plant.yaml").write_text(FIRST)
    (other / "plant.yaml").write_text(SECOND + "# other\n")
    (tmp_path / "current").symlink_to("real")
    (way / "plant.yaml").symlink_to("../current/plant.yaml")
    with watching(way / "plant.yaml") as told:
        (real / "plant.yaml").write_text(SECOND)
        told.wait_for(SECOND)
        (tmp_path / "next").symlink_to("other")
        (tmp_path / "next").rename(tmp_path / "current")
        told.wait_for(SECOND + "# other\n")
        (other / "plant.yaml").write_text(FIRST)
        told.wait_for(FIRST)


def test_a_loop_of_links_harms_nobody(tmp_path: Path):
    """A link to itself cannot be read; once it is a file, it is."""
    path = tmp_path / "plant.yaml"
    path.symlink_to("plant.yaml")
    with watching(path, patience=edits.PATIENCE) as told:
        path.unlink()
        path.write_text(FIRST)
        told.wait_for(FIRST)


# --- a folder of recipes --------------------------------------------------------------------------


def test_recipes_come_change_move_and_go(recipes: Path, how: str):
    """A new recipe, an edited one, a renamed one, a removed one, each told once."""
    with watching(recipes) as told:
        (recipes / "b.yaml").write_text("b: 1\n")
        told.wait_for({"silt.yaml": FIRST, "a.yaml": "a: 1\n", "b.yaml": "b: 1\n"})
        (recipes / "b.yaml").write_text("b: 2\n")
        told.wait_for({"silt.yaml": FIRST, "a.yaml": "a: 1\n", "b.yaml": "b: 2\n"})
        (recipes / "b.yaml").rename(recipes / "c.yml")
        told.wait_for({"silt.yaml": FIRST, "a.yaml": "a: 1\n", "c.yml": "b: 2\n"})
        (recipes / "a.yaml").unlink()
        told.wait_for({"silt.yaml": FIRST, "c.yml": "b: 2\n"})
    assert len(told.texts) == 4


def test_what_is_no_recipe_is_no_edit(recipes: Path, how: str):
    """Folders inside, hidden files, files of another name are not read: nothing is told of them."""
    with watching(recipes) as told:
        (recipes / "lake").mkdir()
        (recipes / "lake" / "x.yaml").write_text("x: 1\n")
        (recipes / "sub.yaml").mkdir()
        (recipes / ".hidden.yaml").write_text("x: 1\n")
        (recipes / "notes.txt").write_text("x: 1\n")
        time.sleep(2 * edits.QUIET)
        (recipes / "a.yaml").write_text("a: 2\n")
        told.wait_for({"silt.yaml": FIRST, "a.yaml": "a: 2\n"})
    assert len(told.texts) == 1


def test_several_recipes_at_once_are_one_edit(recipes: Path):
    """A checkout writes one file after another: what is told is all of it."""
    with watching(recipes) as told:
        for number in range(20):
            (recipes / f"r{number:02}.yaml").write_text(f"r: {number}\n")
        whole = texts_of(recipes)
        told.wait_for(whole)
    assert told.texts[-1] == whole


def test_a_folder_of_recipes_that_is_made_again_is_noticed(recipes: Path, how: str):
    """The folder goes, and is there again with other recipes; edits in it are noticed then, too."""
    with watching(recipes) as told:
        shutil.rmtree(recipes)
        told.wait_for("none")
        recipes.mkdir()
        (recipes / "silt.yaml").write_text(SECOND)
        told.wait_for({"silt.yaml": SECOND})
        (recipes / "silt.yaml").write_text(FIRST)
        told.wait_for({"silt.yaml": FIRST})


# --- robust ---------------------------------------------------------------------------------------


def test_without_inotify_it_says_so(file: Path, monkeypatch: pytest.MonkeyPatch):
    """Where no instance is left, looks do, and `note` says why."""
    without_events(monkeypatch)
    told = Told(file)
    with Edits(str(file), content(str(file)), told.settled) as watch:
        in_place(file)
        told.wait_for(SECOND)
        assert watch.note == "files are looked at once a second: inotify instance limit reached"


def test_a_callback_that_fails_ends_nothing(file: Path):
    """The thread outlives whatever is raised in it."""
    told = Told(file)

    def fails_once(seconds: float) -> None:
        told.settled(seconds)
        if len(told.texts) == 1:
            raise RuntimeError("once")

    with Edits(str(file), content(str(file)), fails_once):
        in_place(file)
        told.wait_for(SECOND)
        file.write_text(FIRST)
        told.wait_for(FIRST)


def test_folders_are_followed_as_long_as_they_are_asked_for(tmp_path: Path):
    """A folder that is no longer followed is silent; one that is not there is not followed."""
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    seen: list[str] = []
    more = threading.Event()

    def put(change) -> None:
        seen.append(change.path)
        more.set()

    events = FolderEvents(put)
    try:
        assert events.follow([str(one), str(tmp_path / "none")])
        assert not events.follow([str(one)])
        assert events.follow([str(two)])
        (one / "x").write_text("x")
        (two / "y").write_text("y")
        assert more.wait(30)
        assert set(seen) == {str(two / "y")}
    finally:
        events.close()
