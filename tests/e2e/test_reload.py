"""Edits of a manifest while it runs, as people and tools make them, beside a writer that never stops.

The daemon runs here, in threads, with the real work; the source is written and read by other processes.  The
test keeps a model of its own: what the last valid manifest says, and under which table each stream first ran.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from inserts import TABLES, made, writing
from kit import Sqlite, lake
from test_daemon import until

from silt import manifest as manifests
from silt import observe
from silt.daemon import Daemon, Job, Replication, Report, Turn
from silt.daemon.begin import begin
from silt.replicate.model import Stopping
from silt.state import Receipt, StateDir

EVERY = 0.25


# --- the model of a manifest ----------------------------------------------------------------------


@dataclass
class Model:
    """What the manifest says: a stream's settings by its name, `into` beside the others."""

    streams: dict[str, dict[str, Any]] = field(default_factory=lambda: {name: {} for name in TABLES[:3]})

    def text(self) -> str:
        return json.dumps(  # JSON is YAML
            {
                "version": 1,
                "sources": {"app": "./app.db"},
                "targets": {"lake": "./lake"},
                "defaults": {"schedule": {"every": f"{int(EVERY * 1000)}ms"}},
                "streams": self.streams,
            },
            indent=1,
        )


def put(path: Path, text: str) -> None:
    """As `echo > FILE` does."""
    path.write_text(text)


def exchange(path: Path, text: str) -> None:
    """As editors do: a new file takes the name of the old one."""
    other = path.with_name(".silt.yaml.swp")
    other.write_text(text)
    other.replace(path)


def slowly(path: Path, text: str) -> None:
    """Truncated, then written in pieces, by one writer that keeps the file open."""
    with path.open("w") as file:
        for start in range(0, len(text), len(text) // 3 + 1):
            file.write(text[start : start + len(text) // 3 + 1])
            file.flush()
            time.sleep(0.15)


def anew(path: Path, text: str) -> None:
    """Deleted, and made again a moment later."""
    path.unlink()
    time.sleep(0.05)
    path.write_text(text)


def burst(path: Path, text: str) -> None:
    """Saved fifty times in a row, the last time as it is meant."""
    for number in range(49):
        path.write_text(text + f"\n# {number}\n")
    path.write_text(text)


SAVES = (put, exchange, slowly, anew, burst)


@dataclass(frozen=True)
class Edit:
    """One edit: of which stream, what, and how it is saved."""

    kind: str
    table: str
    save: Callable[[Path, str], None]

    def apply(self, model: Model) -> str:
        """The manifest's text after this edit; `model` follows where it is valid."""
        streams = model.streams
        match self.kind:
            case "add":
                streams.setdefault(self.table, {})
            case "remove" if len(streams) > 1:
                streams.pop(self.table, None)
            case "touch" if self.table in streams:
                tags = streams[self.table].get("tags", [])
                streams[self.table] = {**streams[self.table], "tags": [f"n{len(tags) + 1}", *tags]}
            case "batch" if self.table in streams:
                rows = streams[self.table].get("batch", {}).get("max_rows", 1)
                streams[self.table] = {**streams[self.table], "batch": {"max_rows": rows + 5}}
            case "elsewhere" if self.table in streams:
                streams[self.table] = {**streams[self.table], "into": f"{self.table}_elsewhere"}
            case "back" if self.table in streams:
                streams[self.table].pop("into", None)
            case "broken":
                return model.text()[:-5] + "["
            case "wrong":
                bad = Model(streams={**streams, self.table: {"mode": "miror"}})
                return bad.text()
            case "refused":  # valid for the schema: SQLite alone knows that it is not
                bad = Model(streams={**streams, self.table: {"where": "nothing_like_it > 1"}})
                return bad.text()
        return model.text()

    @property
    def is_valid(self) -> bool:
        return self.kind not in ("broken", "wrong", "refused")


KINDS = ("add", "remove", "touch", "batch", "elsewhere", "back", "broken", "wrong", "refused")
EDITS = st.lists(
    st.builds(Edit, st.sampled_from(KINDS), st.sampled_from(TABLES), st.sampled_from(SAVES)),
    min_size=3,
    max_size=7,
)


# --- the daemon, watched --------------------------------------------------------------------------


@dataclass(frozen=True)
class Tick:
    """A cycle that ended: of which stream, as which job, at which moment of its grid, cut short or not."""

    name: str
    number: int
    slot: float
    cut: bool


class Logged(Replication):
    """The real work, with a log of its own."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.daemon: Daemon | None = None
        self.ticks: list[Tick] = []

    def cycle(self, job: Job, stop: Stopping, *, again: bool) -> Report:
        assert self.daemon is not None
        slot = self.daemon._roster.timetable._slots.get(job.stream.name)  # its grid is nowhere else
        report = super().cycle(job, stop, again=again)
        if slot is not None:
            assert isinstance(stop, Turn)
            self.ticks.append(Tick(job.stream.name, job.number, slot.slot, stop._ended))
        return report


@dataclass
class House:
    """A running daemon over a folder, and what a test asks of it."""

    folder: Path
    daemon: Daemon
    work: Logged
    receipts: list[Receipt]
    lines: list[Any]

    @property
    def file(self) -> Path:
        return self.folder / "silt.yaml"

    def settle(self) -> Receipt:
        """Wait until the daemon has decided about the files as they are now."""
        digest = manifests.digest(manifests.texts(str(self.file)))
        until(lambda: any(r.digest == digest for r in self.receipts[-1:]), 60)
        return self.receipts[-1]


@contextmanager
def house(folder: Path, text: str | None) -> Iterator[House]:
    """The daemon on a manifest of `text`, or on what is there; it must end by itself when it is told to."""
    file = folder / "silt.yaml"
    if text is not None:
        file.write_text(text)
    beginning = begin(str(folder if text is None and not file.is_symlink() else file))
    loaded = beginning.manifest
    stop, lines, receipts = threading.Event(), [], []
    state = StateDir(loaded.state_dir, manifest=loaded.name, node=loaded.node)
    with observe.Handles(loaded) as handles:
        work = Logged(handles, select=lambda _: True, listen=lambda _: None)
        daemon = Daemon(beginning, work, emit=lines.append, stop=stop, state=state)
        daemon.reloaded = receipts.append
        work.daemon = daemon
        thread = threading.Thread(target=daemon.run)
        thread.start()
        try:
            until(lambda: any(line.kind == "ready" for line in lines), 60)
            yield House(folder, daemon, work, receipts, lines)
        finally:
            stop.set()
            daemon.wake()
            thread.join(60)
            assert not thread.is_alive()


def rows_of(path: Path) -> Counter[tuple[Any, ...]]:
    return Counter((row["id"], row["x"]) for row in lake(path)) if path.exists() else Counter()


# --- random edits ---------------------------------------------------------------------------------


@settings(max_examples=int(os.environ.get("SILT_RELOADS", "4")), phases=[Phase.explicit, Phase.generate])
@given(edits=EDITS)
def test_what_runs_is_what_the_last_valid_manifest_says(tmp_path_factory, edits):
    """Whatever is edited, however it is saved: what was said last runs, and no row is lost or doubled."""
    folder = tmp_path_factory.mktemp("reload")
    with made(folder) as sql:
        model = Model()
        homes = {name: name for name in model.streams}  # the table that each stream first ran into
        with writing(folder / "app.db"), house(folder, model.text()) as here:
            last = model.text()
            running = set(model.streams)
            for edit in edits:
                before, text = last, edit.apply(model)
                ticks = len(here.work.ticks)
                stays = set(running)
                edit.save(here.file, text)
                if text != here.file.read_text() or text == before:
                    continue
                last = text
                receipt = here.settle()
                assert receipt.result in (("applied", "unchanged") if edit.is_valid else ("refused",)), (
                    receipt
                )
                said = said_by(model, here)
                assert said == {s.name: s.tags for s in here.daemon.streams()}
                for name in model.streams:
                    homes.setdefault(name, model.streams[name].get("into", name))
                held = {n for n, s in model.streams.items() if s.get("into", n) != homes[n]}
                assert held_now(here) == held
                touched = set(receipt.added) | set(receipt.changed) | set(receipt.removed)
                untouched_keep_their_grid(here, stays - touched, ticks)
                running = set(model.streams)
        finish(folder, sql, homes, model)


def said_by(model: Model, here: House) -> dict[str, tuple[str, ...]]:
    """The streams of the last valid manifest, by the test's own model."""
    return {name: tuple(settings_.get("tags", ())) for name, settings_ in model.streams.items()}


def held_now(here: House) -> set[str]:
    return {name for name, job in here.daemon._roster.jobs.items() if job.hold is not None}


def untouched_keep_their_grid(here: House, names: set[str], since: int) -> None:
    """A stream that an edit does not touch runs on the grid that it had, and no cycle of it is cut short.

    Its job has had its number since its own last edit: what ran under another is not asked about.
    """
    now = {(name, here.daemon._roster.jobs[name].number) for name in names - held_now(here)}
    until(lambda: {(tick.name, tick.number) for tick in here.work.ticks[since:]} >= now, 60)
    for job in now:
        ticks = [tick for tick in here.work.ticks if (tick.name, tick.number) == job]
        steps = [(tick.slot - ticks[0].slot) / EVERY for tick in ticks]
        assert all(abs(step - round(step)) < 1e-3 for step in steps)
        assert not any(tick.cut for tick in ticks)


def finish(folder: Path, sql: Sqlite, homes: dict[str, str], model: Model) -> None:
    """The writer has stopped: under the first manifest's tables every row is there exactly once."""
    final = Model(streams={name: {"into": into} for name, into in homes.items()})
    file = folder / "silt.yaml"
    file.write_text(final.text())
    loaded = manifests.load(str(file))
    with observe.Handles(loaded) as handles:
        from silt import replicate

        result = replicate.run(
            observe.look(loaded, handles), handles, listen=lambda _: None, stop=threading.Event()
        )
    assert result.ok, result
    for name, into in homes.items():
        there = Counter(sql(folder / "app.db", f"SELECT id, x FROM {name}"))
        assert rows_of(folder / "lake" / into) == there


# --- the other ways in which manifests change -----------------------------------------------------


def test_a_configmap_is_exchanged(tmp_path):
    """Kubernetes swaps the link `..data`; the file itself is a link through it, and never written."""
    with made(tmp_path):
        mount = tmp_path / "mount"

        def publish(number: int, model: Model) -> None:
            (mount / f"..{number}").mkdir(parents=True)
            text = model.text().replace("./", f"{tmp_path}/")
            (mount / f"..{number}" / "silt.yaml").write_text(text)
            (mount / "..data_tmp").symlink_to(f"..{number}")
            (mount / "..data_tmp").replace(mount / "..data")

        publish(1, Model(streams={"t0": {}}))
        (mount / "silt.yaml").symlink_to("..data/silt.yaml")
        with house(mount, None) as here:
            publish(2, Model(streams={"t0": {}, "t1": {}}))
            until(lambda: [s.name for s in here.daemon.streams()] == ["t0", "t1"], 60)
            publish(3, Model(streams={"t0": {"mode": "miror"}}))
            until(lambda: [r.result for r in here.receipts[-1:]] == ["refused"], 60)
            assert [s.name for s in here.daemon.streams()] == ["t0", "t1"]
            assert here.receipts[-1].problems[0].pointer == "streams.t0.mode"


def test_recipes_come_and_go_in_a_folder(tmp_path):
    """A new recipe starts, a renamed one goes on, a removed one ends; one in a sub-folder is none."""
    with made(tmp_path):
        recipes = tmp_path / "recipes"
        recipes.mkdir()
        common = Model(streams={"t0": {}}).text().replace("./", f"{tmp_path}/")
        (recipes / "silt.yaml").write_text(common)
        with house(recipes, None) as here:

            def runs(*names: str) -> None:
                until(lambda: tuple(sorted(s.name for s in here.daemon.streams())) == names, 60)

            (recipes / "more.yaml").write_text("version: 1\nstreams: {t1: }\n")
            runs("t0", "t1")
            (recipes / "more.yaml").rename(recipes / "other.yaml")
            until(lambda: len(here.receipts) == 2, 60)
            assert here.receipts[-1].changed == here.receipts[-1].removed == ()
            (recipes / "sub").mkdir()
            (recipes / "sub" / "deep.yaml").write_text("version: 1\nstreams: {t2: }\n")
            (recipes / "other.yaml").unlink()
            runs("t0")
            (recipes / "bad.yaml").write_text("version: 1\nstreams: {t0: }\n")
            until(lambda: [r.result for r in here.receipts[-1:]] == ["refused"], 60)
            assert "silt.yaml" in here.receipts[-1].problems[0].message


def test_a_removed_stream_ends_after_its_batch(tmp_path):
    """A long load is cut at a batch when its stream goes; its rows stay, and it goes on when it is back."""
    with made(tmp_path) as sql:
        rows = [(f"row {n}",) for n in range(40_000)]
        sql(tmp_path / "app.db", ("INSERT INTO t0 (x) VALUES (?)", rows))
        slow = Model(streams={"t0": {"batch": {"max_rows": 50}}, "t1": {}})
        with house(tmp_path, slow.text()) as here:
            into = tmp_path / "lake" / "t0"
            until(lambda: len(list((into / "_delta_log").glob("*.json"))) > 3, 60)
            here.file.write_text(Model(streams={"t1": {}}).text())
            until(lambda: bool(here.receipts) and here.receipts[-1].removed == ("t0",), 60)
            until(lambda: any(tick.name == "t0" and tick.cut for tick in here.work.ticks), 60)
            there = rows_of(into)
            assert 0 < there.total() < len(rows)
            assert there.total() % 50 == 0
            here.file.write_text(Model(streams={"t0": {}, "t1": {}}).text())
            until(lambda: rows_of(into) == Counter(sql(tmp_path / "app.db", "SELECT id, x FROM t0")), 60)


def test_a_changed_stream_goes_on_under_its_new_definition(tmp_path):
    """The batch under way ends under the old definition; the next one is of the new, and no row is lost."""
    with made(tmp_path) as sql:
        rows = [(f"row {n}",) for n in range(40_000)]
        sql(tmp_path / "app.db", ("INSERT INTO t0 (x) VALUES (?)", rows))
        model = Model(streams={"t0": {"batch": {"max_rows": 50}}})
        with house(tmp_path, model.text()) as here:
            into = tmp_path / "lake" / "t0"
            until(lambda: len(list((into / "_delta_log").glob("*.json"))) > 3, 60)
            here.file.write_text(Model(streams={"t0": {"batch": {"max_rows": 50_000}}}).text())
            until(lambda: bool(here.receipts) and here.receipts[-1].changed == ("t0",), 60)
            until(lambda: rows_of(into) == Counter(sql(tmp_path / "app.db", "SELECT id, x FROM t0")), 60)
            assert len(list((into / "_delta_log").glob("*.json"))) < 40_000 / 50


def test_an_edit_that_sqlite_refuses_changes_nothing(tmp_path):
    """Valid for the schema, wrong for the database: refused with its place; the stream runs on as it was."""
    with made(tmp_path) as sql, house(tmp_path, Model(streams={"t0": {}}).text()) as here:
        here.file.write_text(Model(streams={"t0": {"where": "nothing_like_it > 1"}, "t1": {}}).text())
        until(lambda: [r.result for r in here.receipts] == ["refused"], 60)
        (problem,) = here.receipts[0].problems
        assert problem.pointer == "streams.t0.where"
        assert problem.line > 1
        assert [(s.name, s.where) for s in here.daemon.streams()] == [("t0", None)]
        sql(tmp_path / "app.db", "INSERT INTO t0 (x) VALUES ('goes on')")
        into = tmp_path / "lake" / "t0"
        until(lambda: rows_of(into) == Counter(sql(tmp_path / "app.db", "SELECT id, x FROM t0")), 60)
