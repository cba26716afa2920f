"""Globs of databases: added, removed, renamed, read into one commit (DESIGN 1, 4.2, 4.4)."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import kit
import pytest
from outcome import held, ok, version

TABLE = "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)"
INSERT = "INSERT INTO t VALUES (?, ?)"


class Fleet(kit.Site):
    """Databases `db/<name>.db`, all in one Delta table."""

    def path(self, name: str) -> Path:
        return self.folder / "db" / f"{name}.db"

    def add(self, name: str, last: int, *, first: int = 1, mark: str | None = None) -> None:
        """Rows `first` to `last`, marked by the database's name."""
        self.path(name).parent.mkdir(exist_ok=True)
        create = [] if self.path(name).exists() else [TABLE]
        kit.sql(
            self.path(name), *create, (INSERT, [(n, f"{mark or name}{n}") for n in range(first, last + 1)])
        )

    def counts(self) -> dict[str, int]:
        """Rows a database in the lake; no row is there twice."""
        lake = self.lake("t")
        assert not kit.doubled((row["_silt_database"], row["id"], row["v"]) for row in lake)
        return dict(Counter(row["_silt_database"] for row in lake))


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    """Databases a, b, c with 20 rows each, replicated."""
    fleet = Fleet(tmp_path)
    for name in "abc":
        fleet.add(name, 20)
    fleet.write("  t:\n", source="./db/*.db")
    ok(fleet, 60)
    return fleet


def test_several_databases_share_one_commit(fleet: Fleet) -> None:
    """One commit per stream and cycle carries all of its databases, each with its own position."""
    at = version(fleet)
    for name in "abc":
        fleet.add(name, 25, first=21)
    result = ok(fleet, 15)
    assert (result.batches, version(fleet)) == (1, at + 1)
    assert result.position == {"a": [25], "b": [25], "c": [25]}
    assert fleet.counts() == {"a": 25, "b": 25, "c": 25}
    ok(fleet, 0)
    assert version(fleet) == at + 1


def test_only_those_with_something_new_are_committed(fleet: Fleet) -> None:
    """An idle database's position stays as it is, and holds nobody up."""
    fleet.add("b", 22, first=21)
    result = ok(fleet, 2)
    assert result.position == {"a": [20], "b": [22], "c": [20]}
    assert fleet.counts() == {"a": 20, "b": 22, "c": 20}


def test_database_added(fleet: Fleet) -> None:
    """A new file is picked up and read from its start; the others go on."""
    fleet.add("d", 7)
    fleet.add("a", 21, first=21)
    ok(fleet, 8)
    assert fleet.counts() == {"a": 21, "b": 20, "c": 20, "d": 7}


def test_database_removed_and_put_back(fleet: Fleet) -> None:
    """Its rows and its position stay; when the file returns it goes on where it was."""
    aside = fleet.folder / "aside"
    fleet.path("b").rename(aside)
    ok(fleet, 0)
    fleet.add("a", 21, first=21)
    ok(fleet, 1)
    aside.rename(fleet.path("b"))
    fleet.add("b", 23, first=21)
    ok(fleet, 3)
    assert fleet.counts() == {"a": 21, "b": 23, "c": 20}


RENAMED = {
    "as it was": lambda fleet, name: None,
    "with new rows": lambda fleet, name: fleet.add(name, 25, first=21, mark="b"),
    "with its last row updated": lambda fleet, name: kit.sql(
        fleet.path(name), "UPDATE t SET v = 'x' WHERE id = 20"
    ),
    "with its last rows deleted": lambda fleet, name: kit.sql(
        fleet.path(name), "DELETE FROM t WHERE id > 18"
    ),
}


@pytest.mark.parametrize("state", RENAMED)
def test_renamed_database_is_held(fleet: Fleet, state: str) -> None:
    """Its rows are those of a database whose file is gone: sent under another name they would be doubled."""
    fleet.path("b").rename(fleet.path("berta"))
    RENAMED[state](fleet, "berta")
    before = fleet.counts()
    result = held(fleet, "4.4", "'b'")
    assert "renamed" in str(result.error)
    assert "silt reset" in result.error.hint
    fleet.path("berta").rename(fleet.path("b"))
    assert ok(fleet).state == "ok"
    assert fleet.counts().keys() == before.keys()


def test_renamed_database_holds_no_other(fleet: Fleet) -> None:
    """The others go on, in the same cycle."""
    fleet.path("b").rename(fleet.path("berta"))
    fleet.add("a", 22, first=21)
    result = fleet.one()
    assert (result.state, result.rows) == ("held", 2)
    assert fleet.counts() == {"a": 22, "b": 20, "c": 20}


def test_renamed_database_whose_name_was_taken_is_held(fleet: Fleet) -> None:
    """Rotated as logs are: the new `b` is another database, and the old one is known by its very file."""
    fleet.path("b").rename(fleet.path("b-old"))
    fleet.add("b", 5, mark="new")
    fleet.add("a", 22, first=21)
    for _ in range(2):
        result = fleet.one()
        assert result.state == "held"
        assert "another database is behind the path" in str(result.error)
        assert fleet.counts() == {"a": 22, "b": 20, "c": 20}


def test_renamed_database_after_reset(fleet: Fleet) -> None:
    """`reset` empties the slices and positions of all names; what is there now is read."""
    fleet.path("b").rename(fleet.path("berta"))
    held(fleet, "4.4", "renamed")
    assert fleet.reset("t").state == "ok"
    ok(fleet, 60)
    assert fleet.counts() == {"a": 20, "berta": 20, "c": 20}


def test_plan_shows_that_a_database_was_renamed(fleet: Fleet) -> None:
    """`plan` says what `run` would."""
    from silt import manifest, observe

    fleet.path("b").rename(fleet.path("berta"))
    loaded = manifest.load(fleet.manifest, open_secrets=True)
    with observe.Handles(loaded) as handles:
        (seen,) = observe.outlook(observe.look(loaded, handles), handles)
    assert seen.state == "held"
    assert "'b'" in str(seen.error)


def test_copied_database_is_a_database_of_its_own(fleet: Fleet) -> None:
    """The file that it was copied from is still there: nothing was renamed."""
    shutil.copy(fleet.path("b"), fleet.path("copy"))
    ok(fleet, 20)
    assert fleet.counts() == {"a": 20, "b": 20, "c": 20, "copy": 20}


def test_database_from_the_same_template_is_no_renamed_one(fleet: Fleet) -> None:
    """One is removed, another begins with the same few rows: most remembered rows are not there."""
    fleet.path("b").unlink()
    fleet.add("d", 2, mark="b")
    fleet.add("d", 20, first=3)
    ok(fleet, 20)
    assert fleet.counts() == {"a": 20, "b": 20, "c": 20, "d": 20}


def test_replaced_database_holds_no_other(fleet: Fleet) -> None:
    """One database is another one now: held; its siblings go on."""
    fleet.path("b").unlink()
    fleet.add("b", 20, mark="other")
    fleet.add("a", 22, first=21)
    result = fleet.one()
    assert (result.state, result.rows) == ("held", 2)
    assert fleet.path("b").name in str(result.error)
    assert fleet.counts() == {"a": 22, "b": 20, "c": 20}


def test_database_without_the_table_is_a_note(fleet: Fleet) -> None:
    """Databases of one stream may differ."""
    kit.sql(fleet.path("e"), "CREATE TABLE u (x)")
    fleet.add("a", 21, first=21)
    result = ok(fleet, 1)
    assert any("no table 't' in e" in note for note in result.notes)


def test_group_is_cut_by_max_rows(fleet: Fleet) -> None:
    """Databases share a commit only up to `batch.max_rows`."""
    fleet.write("  t: {batch: {max_rows: 12}}\n", source="./db/*.db")
    for name in "abc":
        fleet.add(name, 26, first=21)
    result = ok(fleet, 18)
    assert result.batches == 2
    assert fleet.counts() == {"a": 26, "b": 26, "c": 26}


def test_two_files_of_one_name_are_an_error(tmp_path: Path) -> None:
    """A database is named by what the wildcards matched: two of one name would share a position."""
    fleet = Fleet(tmp_path)
    for name in ("_a", "a_"):
        kit.sql(tmp_path / f"{name}.db", TABLE, (INSERT, (1, name)))
    fleet.write("  t:\n", source="./*_*.db")
    result = fleet.one()
    assert (result.state, result.rows) == ("failing", 0)
    assert "two files are one database, 'a'" in str(result.error)


def test_databases_whose_names_hold_slashes(tmp_path: Path) -> None:
    """`a/b` of one stream is not the stream `a` of database `b`: parts of an identity are encoded."""
    fleet = Fleet(tmp_path)
    for region, name in (("eu", "acme"), ("us", "acme"), ("us", "50%")):
        (tmp_path / region).mkdir(exist_ok=True)
        rows = [(n, f"{region}{name}{n}") for n in range(1, 6)]
        kit.sql(tmp_path / region / f"{name}.db", TABLE, (INSERT, rows))
    fleet.write("  t:\n", source="./?[us]/*.db")
    ok(fleet, 15)
    ok(fleet, 0)
    assert fleet.counts() == {"eu/acme": 5, "us/acme": 5, "us/50%": 5}
