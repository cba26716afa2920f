"""What the daemon finds in sources and in an edited manifest: what it tells once, it tells for good."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from kit import Site, sql

from silt import manifest as manifests
from silt import observe
from silt.daemon.job import Prepared
from silt.daemon.replication import Replication
from silt.errors import RetryLater
from silt.manifest.diff import Running


class Following:
    """`Replication` over a site with two sources, and what it found to run there."""

    def __init__(self, site: Site, handles: Any) -> None:
        self.site = site
        self.work = Replication(handles, select=lambda _: True, listen=lambda _: None)
        plan = self.work.look(handles.manifest)
        self.running = Running(manifest=plan.manifest, streams=plan.all_streams)

    def edited(self, **more: str) -> Prepared:
        self.site.manifest.write_text(text(**more))
        return self.work.prepare(self.running, began=0.0, asked=False)

    def planned(self, **more: str) -> tuple[str, ...]:
        """The streams that an edit has planned."""
        prepared = self.edited(**more)
        assert prepared.plan is not None, prepared.problems
        return tuple(p.stream.name for p in prepared.plan.streams)


def text(*, path: str = "./app.db", lake: str = "./lake", rows: str = "1000", where: str = "id > 0") -> str:
    return (
        f"version: 1\nsources: {{app: {path}, other: ./other.db}}\ntargets: {{lake: {lake}}}\n"
        f"streams:\n  t: {{source: app, batch: {{max_rows: {rows}}}, where: {where}}}\n"
        "  u: {source: other}\n"
    )


@pytest.fixture
def following(tmp_path: Path):
    site = Site(tmp_path)
    site.sql("CREATE TABLE t (id INTEGER PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    sql(tmp_path / "other.db", "CREATE TABLE u (id INTEGER PRIMARY KEY)")
    site.manifest.write_text(text())
    with observe.Handles(manifests.load(site.manifest)) as handles:
        yield Following(site, handles)


def test_an_edit_is_planned_where_a_stream_runs_by_another_thing(following):
    """Its own settings, its source or its target: whatever stops it is found before the edit is adopted."""
    assert following.planned() == ()
    assert following.planned(rows="2000") == ("t",)
    assert following.planned(path="{path: ./app.db, busy_timeout: 9s}") == ("t",)
    assert following.planned(lake="./pond") == ("t", "u")


def test_an_edit_is_not_refused_for_a_file_that_is_missing_just_now(following):
    """Nothing in its text can mend that; the stream is failing until the file is back, edit or not."""
    following.site.database.unlink()
    assert following.planned(rows="2000") == ("t",)


def test_an_edit_that_names_a_file_that_is_not_there_is_refused(following):
    """The text can mend it; and so where another setting of a stream over a missing file is wrong."""
    (problem,) = following.edited(path="./ap.db").problems
    assert "ap.db" in problem.message
    assert problem.line == 2
    assert following.edited(where="no_such_column > 0").problems


def test_a_look_that_fails_is_made_again(following, monkeypatch):
    """A new table, a file that is gone: they are found at the next look, and told then."""
    following.site.sql("CREATE TABLE v (id INTEGER PRIMARY KEY)")
    assert raised(following, monkeypatch) == "no memory"
    survey = following.work.survey(following.running)
    assert survey is not None
    assert survey.moved == {"app"}
    assert following.work.survey(following.running) is None


def test_a_database_that_is_locked_after_its_version_was_read_is_looked_at_again(following, monkeypatch):
    """What patterns saw of it is of before the change: the look that comes after the lock finds it moved."""
    following.site.sql("CREATE TABLE v (id INTEGER PRIMARY KEY)")
    with monkeypatch.context() as patch:
        patch.setattr("silt.observe.seen.reflect", locked)
        survey = following.work.survey(following.running)
    assert survey is not None
    assert survey.plan is not None
    assert survey.plan.unread == {str(following.site.database)}
    again = following.work.survey(following.running)
    assert again is not None
    assert again.moved == {"app"}
    assert following.work.survey(following.running) is None


def locked(connection: Any) -> Any:
    if connection.path.endswith("app.db"):
        raise RetryLater("the database is locked", on=connection.path)
    return ()


def raised(following: Following, monkeypatch: Any) -> str:
    """What a look raises that fails for a reason of its own."""

    def fail(*_: Any, **__: Any) -> Any:
        raise MemoryError("no memory")

    with monkeypatch.context() as patch:
        patch.setattr(observe, "look", fail)
        with pytest.raises(MemoryError) as told:
            following.work.survey(following.running)
    return str(told.value)
