"""What `plan` says of rows that a cycle would read."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest
from kit import Site

from silt import manifest, observe


def outlook(site: Site):
    """The one stream's outlook."""
    loaded = manifest.load(site.manifest, open_secrets=True)
    with observe.Handles(loaded) as handles:
        (found,) = observe.outlook(observe.look(loaded, handles), handles)
    return found


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """3,000 rows, the last of them no number."""
    site = Site(tmp_path)
    site.sql(
        "create table t(id integer primary key, n integer)",
        ("insert into t(n) values (?)", [(i,) for i in range(2999)]),
        "insert into t(n) values ('x')",
    )
    site.write("  t: {columns: {n: {type: bigint}}}\n")
    return site


def test_a_misfit_far_behind_the_first_rows_shows_in_the_plan(site: Site) -> None:
    """As many pending rows are read as a fraction of a second allows, not a fixed few."""
    found = outlook(site)
    assert "1 of 3,000 pending values of n is text: NULL, kept in _rescued_data" in found.notes
    site.write("  t: {on_misfit: fail, columns: {n: {type: bigint}}}\n")
    found = outlook(site)
    assert found.state == "failing"
    assert "t.n holds text 'x' at id 3000" in str(found.error)


def test_the_plan_says_that_a_column_will_come(site: Site) -> None:
    """A table without the column of misfits gets one with the first; those of a slice are counted, too."""
    site.sql("update t set n = 3000 where id = 3000")
    site.one()
    site.sql("insert into t values (3001, 'y')")
    found = outlook(site)
    assert [a.text for a in found.actions] == ["add column _rescued_data", "1 commit"]
    site.write("  t: {mode: overwrite, into: u, columns: {n: {type: bigint}}}\n")
    assert "1 of 3,001 pending values of n is text: NULL, kept in _rescued_data" in outlook(site).notes


def test_the_plan_says_how_many_of_the_pending_rows_it_read(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there was no time for all: a misfit may be among the others."""
    monkeypatch.setattr(import_module("silt.observe.outlook"), "READING", 0.0)
    monkeypatch.setattr("silt.source.read.MAX_BATCH_ROWS", 1_000)
    found = outlook(site)
    assert (found.state, found.pending_rows) == ("ok", 3000)
    (note,) = (note for note in found.notes if "pending rows" in note)
    assert note.startswith("1,")
    site.sql("delete from t where id > 900")
    assert not any("pending rows" in note for note in outlook(site).notes)
