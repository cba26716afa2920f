"""mirror, and merge with deletes: after each cycle the lake has the rows of the source, and no other."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import kit
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keyed import KEYS, Play, plays
from nodes import Nodes

from silt.observe import compare

EXAMPLES = 600 if os.environ.get("HYPOTHESIS_PROFILE") == "nightly" else 8


@pytest.fixture(scope="module")
def sqlite() -> Iterator[kit.Sqlite]:
    with closing(kit.Sqlite()) as process:
        yield process


@pytest.fixture
def site(tmp_path: Path) -> kit.Site:
    return kit.Site(tmp_path)


@pytest.fixture
def _small_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranges of three rows: tables of a dozen are compared in several."""
    monkeypatch.setattr(compare, "LEAST_ROWS", 3)
    monkeypatch.setattr(compare, "MOST_ROWS", 3)


MODES = {
    "mirror": "mode: mirror",
    "hard": "mode: merge, cursor: at, deletes: {mode: hard, max_fraction: 1}",
    "soft": "mode: merge, cursor: at, deletes: {mode: soft, max_fraction: 1}",
}


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(play=st.sampled_from(KEYS).flatmap(plays), mode=st.sampled_from(tuple(MODES)))
@pytest.mark.usefixtures("_small_ranges")
@pytest.mark.timeout(3600)
def test_rows_come_change_and_go(sqlite: kit.Sqlite, play: Play, mode: str) -> None:
    """Keys of every kind, several ranges: the lake's rows are the source's; soft: those without a mark."""
    with tempfile.TemporaryDirectory() as folder:
        site = kit.Site(Path(folder))
        sqlite(site.database, *play.ddl())
        declared = f", primary_key: {play.key.declared}" if play.key.declared else ""
        site.write(f"  t: {{{MODES[mode]}, batch: {{max_rows: {play.max_rows}}}{declared}}}\n")
        with _handles(site, play) as handles:
            _follow(site, sqlite, play, mode, handles)


def _handles(site: kit.Site, play: Play) -> Any:
    from silt import manifest, observe

    return observe.Handles(manifest.load(site.manifest)) if play.resident else nullcontext()


def _follow(site: kit.Site, sqlite: kit.Sqlite, play: Play, mode: str, handles: Any) -> None:
    seen: dict[Any, tuple[Any, ...]] = {}
    count = len(play.key.columns)
    for turn in range(len(play.rounds)):
        sqlite(site.database, *play.statements(turn))
        now = {r[:count]: play.lake_row(r) for r in sqlite(site.database, "SELECT * FROM t")}
        seen |= now
        result = site.one(handles=handles)
        assert result.error is None, f"{result.error} {result.error.why}"
        lake = site.lake("t") if (site.folder / "lake/t/_delta_log").is_dir() else []
        live = [row for row in lake if row.pop("_deleted_at", None) is None]
        assert _sorted(row.values() for row in live) == _sorted(now.values())
        if mode == "soft":
            assert _sorted(row.values() for row in lake) == _sorted(seen.values())
        again = site.one(handles=handles)
        assert (again.batches, again.error) == (0, None), "a cycle that found nothing new wrote"


def _sorted(rows: Any) -> list[tuple[Any, ...]]:
    return sorted(map(tuple, rows), key=repr)


# --- what a reader of changes sees ----------------------------------------------------------------

ITEMS = (
    "create table t(id integer primary key, n integer, at text)",
    "insert into t values (1, 1, '2026-01-01'), (2, 2, '2026-01-02')",
    "insert into t values (3, 3, '2026-01-03'), (4, 4, '2026-01-04')",
)
FEED = "properties: {delta.enableChangeDataFeed: true}"


def feed(site: kit.Site, version: int) -> list[tuple[Any, ...]]:
    """What a reader of the table's change feed sees from `version` on: (kind of change, id, n)."""
    import pyarrow as pa
    from deltalake import DeltaTable

    changes = pa.table(DeltaTable(str(site.folder / "lake/t")).load_cdf(starting_version=version))
    return sorted((row["_change_type"], row["id"], row["n"]) for row in changes.to_pylist())


def test_a_change_feed_of_a_mirror_is_the_source_s(site: kit.Site) -> None:
    """Exactly the rows that were inserted, updated and deleted; a row written as it was is no change."""
    site.sql(*ITEMS)
    site.write(f"  t: {{mode: mirror, {FEED}}}\n")
    assert site.one().rows == 4
    site.sql(
        "update t set n = 20 where id = 2",
        "update t set n = n where id = 1",
        "delete from t where id = 3",
        "insert into t values (5, 5, null)",
        "delete from t where id = 4",
        "insert into t values (4, 4, '2026-01-04')",
    )
    done = site.one()
    assert (done.rows, done.deleted, done.batches) == (2, 1, 1)
    assert feed(site, done.version) == [
        ("delete", 3, 3),
        ("insert", 5, 5),
        ("update_postimage", 2, 20),
        ("update_preimage", 2, 2),
    ]


# --- deletes of a merge ---------------------------------------------------------------------------


def test_a_source_that_looks_wiped_holds_the_stream(site: kit.Site) -> None:
    """More than half of the slice gone at once: nothing is deleted until a person says so."""
    site.sql(*ITEMS)
    site.write("  t: {mode: merge, cursor: at, deletes: hard}\n")
    site.one()
    site.sql("delete from t where id > 1")
    held = site.one()
    assert held.state == "held"
    assert "3 of 4 rows are gone from t" in held.error.what
    assert len(site.lake("t")) == 4
    site.sql("delete from t")
    assert "4 of 4 rows" in site.one().error.what
    site.write("  t: {mode: merge, cursor: at, deletes: {mode: hard, max_fraction: 1}}\n")
    assert site.one().deleted == 4
    assert site.lake("t") == []


def test_another_database_deletes_nothing(site: kit.Site) -> None:
    """An empty file in the source's place tells nothing about rows; one with other rows holds."""
    site.sql(*ITEMS)
    site.write("  t: {mode: merge, cursor: at, deletes: {mode: hard, max_fraction: 1}}\n")
    site.one()
    site.database.unlink()
    site.sql(ITEMS[0])
    assert (site.one().state, len(site.lake("t"))) == ("waiting", 4)
    site.sql("insert into t values (9, 9, '2025-01-01')")
    assert (site.one().state, len(site.lake("t"))) == ("held", 4)


def test_keys_are_compared_as_often_as_the_manifest_says(site: kit.Site) -> None:
    """`every` is counted from the last comparison, which the lake remembers; until then it is not settled."""
    site.sql(*ITEMS)
    site.write("  t: {mode: merge, cursor: at, deletes: {mode: soft, every: 1h}}\n")
    site.one()
    site.sql("delete from t where id = 2")
    early = site.one()
    assert (early.deleted, early.settled) == (0, False)
    site.write("  t: {mode: merge, cursor: at, deletes: soft}\n")
    late = site.one()
    assert (late.deleted, late.settled) == (1, True)


def test_a_row_that_comes_back_is_no_longer_marked(site: kit.Site) -> None:
    """With a new time, or with its old one; in both cases it is one row."""
    site.sql(*ITEMS)
    site.write("  t: {mode: merge, cursor: at, deletes: soft, lineage: [loaded_at]}\n")
    site.one()
    site.sql("delete from t where id < 3")
    assert site.one().deleted == 2
    site.sql("insert into t values (1, 1, '2026-01-01'), (2, 22, '2026-02-01')")
    assert site.one().rows == 2
    assert sorted((row["id"], row["n"], row["_deleted_at"]) for row in site.lake("t")) == [
        (1, 1, None),
        (2, 22, None),
        (3, 3, None),
        (4, 4, None),
    ]


# --- what is refused ------------------------------------------------------------------------------


def test_a_table_without_a_key_says_what_to_do(site: kit.Site) -> None:
    """At plan; by its rowid, where the lake is to have it, it is mirrored, also after a VACUUM."""
    site.sql("create table t(n integer)", "insert into t values (1), (2), (2), (null)")
    site.write("  t: {mode: mirror}\n")
    (planned,) = site.plan().streams
    assert planned.error is not None
    assert "t has no primary key, and mode mirror goes by one" in planned.error.what
    assert "`lineage: [rowid]`" in planned.error.hint
    site.write("  t: {mode: mirror, lineage: [rowid]}\n")
    assert site.one().rows == 4
    site.sql("delete from t where n = 1", "insert into t values (3)", "vacuum")
    assert site.one().error is None
    assert sorted(map(str, site.column("t", "n"))) == ["2", "2", "3", "None"]


def test_keys_that_do_not_tell_rows_apart_are_refused_with_their_count(site: kit.Site) -> None:
    """A declared key that repeats, a primary key that is NULL: nothing is written."""
    site.sql(
        "create table t(k text primary key, n integer)", "insert into t values ('a', 1), (null, 1), (null, 2)"
    )
    site.write("  t: {mode: mirror}\n")
    assert "2 rows of t have NULL in the primary key (k)" in site.one().error.what
    site.write("  t: {mode: mirror, primary_key: n}\n")
    assert "1 rows of t have the primary key (n) of another row" in site.one().error.what
    assert site.lake("t") == []


# --- more than one commit, more than one slice ----------------------------------------------------


@pytest.mark.usefixtures("_small_ranges")
def test_changes_beyond_a_batch_are_several_commits(site: kit.Site) -> None:
    """Each is whole; stopped between two of them, the next cycle finds the rest."""
    site.sql(*ITEMS)
    site.write("  t: {mode: mirror, batch: {max_rows: 2}}\n")
    site.one()
    site.sql("update t set n = n * 10", "insert into t select id + 10, n, at from t")
    assert site.one().batches > 1
    site.expect("t", "t")


def test_a_column_that_comes_and_a_value_that_does_not_fit(site: kit.Site) -> None:
    """The column is added and filled in old rows; a misfit is kept beside its row, and goes with it."""
    site.sql(*ITEMS)
    site.write("  t: {mode: mirror}\n")
    site.one()
    site.sql("alter table t add column more real default 0.5", "update t set n = 'x' where id = 2")
    assert site.one().error is None
    assert site.column("t", "more") == [0.5] * 4
    (second,) = [row for row in site.lake("t") if row["id"] == 2]
    assert second["n"] is None
    assert '"value": "x"' in second["_rescued_data"]
    assert site.one().batches == 0
    site.sql("update t set n = 2 where id = 2")
    site.one()
    assert site.column("t", "_rescued_data") == [None] * 4


@pytest.mark.timeout(240)
def test_five_processes_mirror_into_one_table(tmp_path: Path) -> None:
    """Five nodes with the same ids, at once, in the same files: none deletes or writes another's row."""
    nodes = Nodes(tmp_path, "mode: mirror", ITEMS)
    for turn in range(2):
        nodes.run()
        nodes.equal("id", "n")
        nodes.change(f"delete from t where id = {turn + 1}", "update t set n = n + 100")


# --- plan -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stream", "acts"),
    [
        ("mode: mirror", ["delete 1 row", "1 commit"]),
        ("mode: merge, cursor: at, deletes: soft", ["mark 1 row deleted", "1 commit"]),
    ],
    ids=["mirror", "soft"],
)
def test_plan_tells_what_would_be_written_and_deleted(site: kit.Site, stream: str, acts: list[str]) -> None:
    """Rows by number, and that rows would go; after the run there is nothing left to do."""
    from silt import manifest, observe

    site.sql(*ITEMS)
    site.write(f"  t: {{{stream}}}\n")

    def outlook() -> Any:
        with observe.Handles(manifest.load(site.manifest)) as handles:
            return observe.outlook(site.plan(), handles)[0]

    assert outlook().pending_rows == 4
    site.one()
    assert outlook().actions == ()
    site.sql("update t set n = 5, at = '2026-02-01' where id = 4", "delete from t where id = 1")
    seen = outlook()
    assert (seen.pending_rows, seen.pending_deletes) == (1, 1)
    assert [action.text for action in seen.actions] == acts
    site.one()
    assert outlook().actions == ()
