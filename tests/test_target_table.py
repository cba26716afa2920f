"""One handle of a local table: creating, positions, commits, refresh, reading back."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import lake
import pyarrow as pa
import pytest
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, Transaction, write_deltalake

from silt.errors import Contended, Fenced, SiltError, UserError
from silt.position import pack
from silt.target import CHECKPOINT_EVERY, ColumnSpec, Predicate, WriterHints, create_table, open_table

ODD_FOLDERS = ["plain", "a b", "ü 100%", "q?x#y", "it's", "deep/er/one", "percent%zz"]
ODD_NAMES = ["order", 'We"ird', "with space", "naïve", "a.b", "UPPER", "tick`"]
ODD_VALUES = [
    "it's",
    'a"b',
    "50%",
    "100%%",
    "back\\slash",
    "ü",
    "new\nline",
    ":bind",
    "%(x)s",
    "",
    "x' OR '1'='1",
]


# --- opening and creating -------------------------------------------------------------------------


def test_no_folder_is_no_table(tmp_path: Path) -> None:
    """Where there is nothing there is no table, and looking creates nothing."""
    assert open_table(str(tmp_path / "none"), {}) is None
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("folders", ["", "_delta_log"])
def test_empty_folder_is_no_table(tmp_path: Path, folders: str) -> None:
    """An empty folder, or one with an empty log, is a place for a table."""
    (tmp_path / "t" / folders).mkdir(parents=True)
    assert open_table(str(tmp_path / "t"), {}) is None
    assert lake.new(tmp_path / "t").version == 0


def test_other_files_are_no_delta_table(tmp_path: Path) -> None:
    """A folder with other files is refused by name, and so is a file; nothing is written there."""
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"not a Delta table .*notes\.txt") as caught:
        lake.new(tmp_path)
    assert caught.value.hint
    with pytest.raises(UserError, match="it is a file"):
        open_table(str(tmp_path / "notes.txt"), {})
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("name", ODD_FOLDERS)
def test_odd_folders(tmp_path: Path, name: str) -> None:
    """Spaces, unicode, quotes and URL characters in a path mean themselves; parents are created."""
    table = lake.new(tmp_path / name)
    lake.add(table, 1)
    assert (tmp_path / name / "_delta_log").is_dir()
    again = open_table(str(tmp_path / name), {})
    assert again is not None
    assert lake.ids(again) == [1]
    by_url = open_table((tmp_path / name).as_uri(), {}) if "%" not in name else again
    assert by_url is not None


def test_percent_escape_in_a_path_is_refused(tmp_path: Path) -> None:
    """delta-rs creates `a%20b` as one folder and looks for it as another: refused with the way out."""
    with pytest.raises(UserError, match="percent escape") as caught:
        lake.new(tmp_path / "a%20b")
    assert "rename" in caught.value.hint
    assert not list(tmp_path.iterdir())


def test_created_table_is_what_was_asked_for(tmp_path: Path) -> None:
    """Types, comments, partitioning, description, configuration; all nullable, lowest protocol."""
    types = ["bigint", "int", "smallint", "tinyint", "double", "float", "string", "boolean", "binary", "date"]
    columns = tuple(ColumnSpec(name=f"c_{t}", type=t, comment=f"a {t}") for t in [*types, "timestamp"])
    columns += (ColumnSpec(name="d", type="decimal(10,2)"),)
    table = lake.new(
        tmp_path / "t",
        columns=columns,
        partition_by=["c_string"],
        description="what it is",
        configuration={"delta.logRetentionDuration": "interval 7 days", "x.y": "z"},
    )
    assert table.columns == columns
    assert table.partition_by == ("c_string",)
    assert table.description == "what it is"
    assert table.configuration["delta.logRetentionDuration"] == "interval 7 days"
    assert table.configuration["delta.checkpointInterval"] == str(CHECKPOINT_EVERY)
    delta = DeltaTable((tmp_path / "t").as_uri())
    assert (delta.protocol().min_reader_version, delta.protocol().min_writer_version) == (1, 2)
    assert all(field.nullable for field in delta.schema().fields)


def test_unknown_type_is_refused(tmp_path: Path) -> None:
    """A type that Delta does not have is an error that lists those it has, before anything is created."""
    with pytest.raises(UserError, match="varchar") as caught:
        lake.new(tmp_path / "t", columns=[ColumnSpec(name="a", type="varchar")])
    assert "bigint" in caught.value.hint
    assert not (tmp_path / "t" / "_delta_log").exists()


def test_create_takes_an_existing_table(tmp_path: Path) -> None:
    """Creating a table that is there gives that table, as it is."""
    lake.add(lake.new(tmp_path / "t"), 1)
    again = lake.new(tmp_path / "t", columns=[ColumnSpec(name="other", type="int")])
    assert again.columns == lake.COLUMNS
    assert lake.ids(again) == [1]


def test_odd_column_names_and_values(tmp_path: Path) -> None:
    """Names and values are quoted right everywhere: writing, replacing a slice, reading, counting."""
    columns = [ColumnSpec(name=name, type="string") for name in ODD_NAMES]
    table = lake.new(tmp_path / "t", columns=columns)
    batch = pa.table(dict.fromkeys(ODD_NAMES, ODD_VALUES))
    table.append(batch.to_reader(), txns=pack(lake.APP, 1, b""), metadata={})
    for number, (name, value) in enumerate(zip(ODD_NAMES * 2, ODD_VALUES, strict=False), 2):
        mine = Predicate(equals=((name, value),))
        assert table.rows(ODD_NAMES, mine).read_all().to_pylist() == [dict.fromkeys(ODD_NAMES, value)]
        one = batch.slice(ODD_VALUES.index(value), 1)
        table.replace(one.to_reader(), predicate=mine, txns=pack(lake.APP, number, b""), metadata={})
        assert table.count(mine) == 1
    assert table.distinct(ODD_NAMES[0]) == tuple(sorted(ODD_VALUES))


# --- positions ------------------------------------------------------------------------------------


def test_position_comes_back(tmp_path: Path) -> None:
    """What a commit packed is read back by the same handle, a fresh one, and after a shorter position."""
    table = lake.new(tmp_path / "t")
    assert table.position(lake.APP) == (0, b"")
    for batch, payload in enumerate([b"long" * 60, b"s", b"", bytes(range(256))], 1):
        lake.add(table, batch, payload=payload)
        fresh = open_table(str(tmp_path / "t"), {})
        assert fresh is not None
        assert table.position(lake.APP) == fresh.position(lake.APP) == (batch, payload)


def test_one_commit_carries_many_databases(tmp_path: Path) -> None:
    """A group commit moves every database's position in one version."""
    table = lake.new(tmp_path / "t")
    apps = [f"silt/m/n/s/db{i}" for i in range(50)]
    txns = [txn for app in apps for txn in pack(app, 1, app.encode())]
    assert table.append(lake.rows(range(50)), txns=txns, metadata={}) == 1
    assert [table.position(app) for app in apps] == [(1, app.encode()) for app in apps]


def test_positions_survive_everything(tmp_path: Path) -> None:
    """Checkpoint, log clean-up, vacuum, compaction and restore leave positions as they were."""
    table = lake.new(tmp_path / "t", configuration={"delta.logRetentionDuration": "interval 0 days"})
    for batch in range(1, 8):
        lake.add(table, batch, payload=b"at %d" % batch)
    table.checkpoint()
    delta = DeltaTable((tmp_path / "t").as_uri())
    delta.optimize.compact()
    delta.vacuum(0, dry_run=False, enforce_retention_duration=False)
    time.sleep(0.01)
    delta.create_checkpoint()
    delta.cleanup_metadata()
    assert not lake.entry(tmp_path / "t", 0).exists()
    fresh = open_table(str(tmp_path / "t"), {})
    assert fresh is not None
    assert fresh.position(lake.APP) == (7, b"at 7")
    table.refresh()
    assert table.position(lake.APP) == (7, b"at 7")
    lake.add(table, 8, payload=b"at 8")
    delta.update_incremental()
    delta.restore(table.version - 1)
    table.refresh()
    assert table.position(lake.APP) == (8, b"at 8")
    assert table.txns == open_table(str(tmp_path / "t"), {}).txns  # type: ignore[union-attr]


# --- commits --------------------------------------------------------------------------------------


def test_rival_with_the_same_batch_is_fenced(tmp_path: Path) -> None:
    """Of two handles that built the same batch, one commits; the other is told, and reads the winner's."""
    first = lake.new(tmp_path / "t")
    second = open_table(str(tmp_path / "t"), {})
    assert second is not None
    lake.add(first, 1, payload=b"first")
    with pytest.raises(Fenced):
        lake.add(second, 1, payload=b"second")
    assert second.position(lake.APP) == (1, b"first")
    assert lake.ids(second) == [1]
    assert lake.add(second, 2) == 2


def test_a_commit_must_follow_what_the_handle_saw(tmp_path: Path) -> None:
    """A handle opened anew between reading a position and committing would see no conflict: fenced here."""
    first, second = lake.new(tmp_path / "t"), lake.new(tmp_path / "t")
    lake.add(first, 1)
    second.refresh()
    for batch in (1, 3):
        with pytest.raises(Fenced, match="does not follow"):
            lake.add(second, batch)
    assert second.count() == 1


def test_rivals_of_other_streams_do_not_conflict(tmp_path: Path) -> None:
    """Handles of different applications append beside each other, each seeing the other's position."""
    first, second = lake.new(tmp_path / "t"), lake.new(tmp_path / "t")
    for batch in range(1, 6):
        lake.add(first, batch, app="silt/m/n/a/d")
        lake.add(second, batch, app="silt/m/n/b/d")
    first.refresh()
    assert first.version == second.version == 10
    assert first.txns == second.txns
    assert first.position("silt/m/n/b/d")[0] == 5
    assert first.foreign == ()


def test_deltalake_itself_does_not_fence_a_fresh_handle(tmp_path: Path) -> None:
    """FACTS: there is no version check; a fresh handle may commit a lower version. Hence `Table`'s own."""
    table = lake.new(tmp_path / "t")
    lake.add(table, 1)
    delta = DeltaTable((tmp_path / "t").as_uri())
    write_deltalake(
        delta,
        pa.table({"id": [1], "name": ["twice"]}),
        mode="append",
        commit_properties=CommitProperties(app_transactions=[Transaction(lake.APP, 1)]),
    )
    assert delta.version() == 2


def test_the_readers_exception_comes_out_as_itself(tmp_path: Path) -> None:
    """An exception in the middle of the rows is the same object outside; nothing is committed."""
    table = lake.new(tmp_path / "t")
    boom = KeyError("boom")

    def batches():
        yield from lake.rows(range(10))
        yield from lake.rows(range(10, 20))
        raise boom

    reader = pa.RecordBatchReader.from_batches(lake.SCHEMA, batches())
    with pytest.raises(KeyError) as caught:
        table.append(reader, txns=pack(lake.APP, 1, b""), metadata={})
    assert caught.value is boom
    assert (table.version, table.position(lake.APP)[0]) == (0, 0)
    assert lake.add(table, 1) == 1


def test_empty_advances_positions(tmp_path: Path) -> None:
    """A commit without rows moves the position and adds no data file."""
    table = lake.new(tmp_path / "t")
    assert table.empty(txns=pack(lake.APP, 1, b"there"), metadata={"stream": "s"}) == 1
    assert table.position(lake.APP) == (1, b"there")
    assert not list((tmp_path / "t").glob("*.parquet"))


def test_schema_is_compared_before_a_write(tmp_path: Path) -> None:
    """delta-rs would cast 2.5 to 2 in silence: another type is an error that names column and types."""
    table = lake.new(tmp_path / "t")
    wrong = pa.table({"id": [2.5], "name": ["x"], "more": [1]})
    with pytest.raises(UserError, match=r"'id' is int64 in the table, the rows have double.*'more'"):
        table.append(wrong.to_reader(), txns=pack(lake.APP, 1, b""), metadata={})
    assert table.version == 0


def test_deltalake_casts_in_silence(tmp_path: Path) -> None:
    """FACTS, the canary of the rule above: were this to raise, the comparison could be dropped."""
    lake.new(tmp_path / "t")
    delta = DeltaTable((tmp_path / "t").as_uri())
    write_deltalake(delta, pa.table({"id": [2.5], "name": ["x"]}), mode="append")
    assert lake.ids(open_table(str(tmp_path / "t"), {})) == [2]  # type: ignore[arg-type]


def test_columns_that_only_the_table_has_arrive_null(tmp_path: Path) -> None:
    """Rows may lack columns, and bring them in another order."""
    table = lake.new(tmp_path / "t")
    table.append(pa.table({"name": ["only"]}).to_reader(), txns=pack(lake.APP, 1, b""), metadata={})
    swapped = pa.table({"name": pa.array(["b"], pa.large_string()), "id": [7]})
    table.append(swapped.to_reader(), txns=pack(lake.APP, 2, b""), metadata={})
    found = table.rows(["id", "name"]).read_all().sort_by("name").to_pylist()
    assert found == [{"id": 7, "name": "b"}, {"id": None, "name": "only"}]


def test_replace_a_slice(tmp_path: Path) -> None:
    """Only the slice's rows are replaced; an empty reader empties it, and even that moves the position."""
    table = lake.new(tmp_path / "t")
    table.append(lake.rows([1, 2], "a"), txns=pack(lake.APP, 1, b""), metadata={})
    table.append(lake.rows([3], "b"), txns=pack(lake.APP, 2, b""), metadata={})
    mine = Predicate(equals=(("name", "a"),))
    table.replace(lake.rows([9], "a"), predicate=mine, txns=pack(lake.APP, 3, b""), metadata={})
    assert lake.ids(table) == [3, 9]
    for batch in (4, 5):
        table.replace(lake.rows([]), predicate=mine, txns=pack(lake.APP, batch, b""), metadata={})
        assert (lake.ids(table), table.position(lake.APP)[0]) == ([3], batch)
    table.replace(lake.rows([1]), predicate=None, txns=pack(lake.APP, 6, b""), metadata={})
    assert lake.ids(table) == [1]
    assert table.columns == lake.COLUMNS
    assert table.foreign_since(-1) == ()


def test_predicates_of_several_columns_nulls_and_none(tmp_path: Path) -> None:
    """Every pair must hold; None matches NULL; no pairs are the whole table."""
    table = lake.new(tmp_path / "t")
    table.append(lake.rows([1, 2], "a"), txns=pack(lake.APP, 1, b""), metadata={})
    table.append(pa.table({"id": [1]}).to_reader(), txns=pack(lake.APP, 2, b""), metadata={})
    both, null, every = (
        Predicate(equals=pairs) for pairs in ((("id", 1), ("name", "a")), (("name", None),), ())
    )
    assert [table.count(p) for p in (both, null, every)] == [1, 1, 3]
    assert table.distinct("name", both) == ("a",)
    nothing = lake.rows([])
    table.replace(nothing, predicate=null, txns=pack(lake.APP, 3, b""), metadata={})
    assert table.count() == 2
    table.replace(lake.rows([7], "b"), predicate=every, txns=pack(lake.APP, 4, b""), metadata={})
    assert lake.ids(table) == [7]


def test_replace_refuses_rows_of_another_slice(tmp_path: Path) -> None:
    """Rows outside the slice are never written into it, nor shown in the error."""
    table = lake.new(tmp_path / "t")
    with pytest.raises(SiltError, match="Invalid data found") as caught:
        table.replace(
            lake.rows([9], "hush"),
            predicate=Predicate(equals=(("name", "a"),)),
            txns=pack(lake.APP, 1, b""),
            metadata={},
        )
    assert "hush" not in caught.value.why
    assert table.count() == 0


def test_deletion_vectors_are_never_rewritten(tmp_path: Path) -> None:
    """FACTS: 1.6.3 predates fixes for deletion vectors; a rewrite would bring deleted rows back."""
    table = lake.new(tmp_path / "t")
    lake.add(table, 1, range(40))
    lake.delete_by_vector(tmp_path / "t", 2, [3, 4, 7, 11, 18, 29])
    table.refresh()
    assert len(lake.ids(table)) == 34
    with pytest.raises(UserError, match="deletion vectors") as caught:
        table.replace(lake.rows([1]), predicate=None, txns=pack(lake.APP, 2, b""), metadata={})
    assert "PURGE" in caught.value.hint
    assert table.version == 2
    assert lake.add(table, 2) == 3
    assert len(lake.ids(table)) == 35


def test_replace_is_fenced_too(tmp_path: Path) -> None:
    """Two handles replace the same slice from the same position: the second is fenced."""
    first, second = lake.new(tmp_path / "t"), lake.new(tmp_path / "t")
    first.replace(lake.rows([1]), predicate=None, txns=pack(lake.APP, 1, b""), metadata={})
    with pytest.raises(Fenced):
        second.replace(lake.rows([2]), predicate=None, txns=pack(lake.APP, 1, b""), metadata={})
    assert lake.ids(second) == [1]


def test_add_columns_keeps_comments(tmp_path: Path) -> None:
    """New columns are nullable and carry comments; the old ones keep theirs; doing it twice is nothing."""
    table = lake.new(tmp_path / "t")
    lake.add(table, 1)
    more = ColumnSpec(name="extra", type="decimal(5,1)", comment="new")
    table.add_columns([more, lake.COLUMNS[0]], metadata={"stream": "s"})
    version = table.version
    table.add_columns([more], metadata={"stream": "s"})
    assert table.columns == (*lake.COLUMNS, more)
    assert table.version == version == 2
    assert table.rows(["extra"]).read_all()["extra"].to_pylist() == [None]
    assert table.foreign_since(-1) == ()


def test_rivals_add_the_same_column(tmp_path: Path) -> None:
    """A rival's same addition is as good as ours; with another type it is an error that says so."""
    first, second = lake.new(tmp_path / "t"), lake.new(tmp_path / "t")
    first.add_columns([ColumnSpec(name="n", type="int")], metadata={})
    second.add_columns([ColumnSpec(name="n", type="int"), ColumnSpec(name="m", type="int")], metadata={})
    assert [column.name for column in second.columns] == ["id", "name", "n", "m"]
    with pytest.raises(UserError, match="'m' is int, not string"):
        first.add_columns([ColumnSpec(name="m", type="string")], metadata={})


def test_append_beside_a_schema_change_is_contended(tmp_path: Path) -> None:
    """Rows built for the old schema are not committed over a new one; read again, then they are."""
    first, second = lake.new(tmp_path / "t"), lake.new(tmp_path / "t")
    first.add_columns([ColumnSpec(name="n", type="int")], metadata={})
    with pytest.raises(Contended) as caught:
        lake.add(second, 1)
    assert not isinstance(caught.value, Fenced)
    assert second.refresh() is True, "a change that an exception came upon is not forgotten"
    assert lake.add(second, 1) == 2


# --- refresh --------------------------------------------------------------------------------------


def test_refresh_says_when_the_metadata_changed(tmp_path: Path) -> None:
    """Rows by others are no change of metadata; a column or a property is."""
    table, other = lake.new(tmp_path / "t"), lake.new(tmp_path / "t")
    lake.add(other, 1)
    assert table.refresh() is False
    other.add_columns([ColumnSpec(name="n", type="int")], metadata={})
    assert table.refresh() is True
    assert table.columns[-1].name == "n"
    DeltaTable((tmp_path / "t").as_uri()).alter.set_table_properties({"delta.appendOnly": "true"})
    assert table.refresh() is True
    assert table.refresh() is False


@pytest.mark.parametrize("commits", [0, 2, 9])
def test_recreated_table_is_noticed(tmp_path: Path, commits: int) -> None:
    """A table deleted and created anew has no positions, whichever version it has reached."""
    table = lake.new(tmp_path / "t")
    for batch in (1, 2, 3):
        lake.add(table, batch)
    shutil.rmtree(tmp_path / "t")
    new = lake.new(tmp_path / "t", description="new")
    for batch in range(1, commits + 1):
        lake.add(new, batch, app="silt/other/n/s/d")
    assert table.refresh() is True
    assert table.version == commits
    assert table.position(lake.APP) == (0, b"")


def test_deltalake_stays_at_the_old_version_of_a_recreated_table(tmp_path: Path) -> None:
    """The canary of the rule above: a resident DeltaTable does not see that the table was replaced."""
    lake.add(lake.new(tmp_path / "t"), 1)
    delta = DeltaTable((tmp_path / "t").as_uri())
    shutil.rmtree(tmp_path / "t")
    lake.new(tmp_path / "t")
    delta.update_incremental()
    assert delta.version() == 1


def test_deleted_table_is_gone(tmp_path: Path) -> None:
    """A table that was deleted says so; once it is there again, the same handle goes on."""
    table = lake.new(tmp_path / "t")
    shutil.rmtree(tmp_path / "t")
    with pytest.raises(Contended, match="gone"):
        table.refresh()
    lake.new(tmp_path / "t")
    table.refresh()
    assert table.version == 0


def test_checkpoints_and_reopens_on_its_own(tmp_path: Path) -> None:
    """Every 20 commits a checkpoint appears, and positions stay right across the reopened handle."""
    table, reader = lake.new(tmp_path / "t"), lake.new(tmp_path / "t")
    for batch in range(1, 45):
        lake.add(table, batch, payload=b"%d" % batch)
    checkpoints = [name for name in lake.log_names(tmp_path / "t") if "checkpoint.parquet" in name]
    assert [int(name[:20]) for name in checkpoints] == [20, 40]
    reader.refresh()
    fresh = open_table(str(tmp_path / "t"), {})
    assert fresh is not None
    assert table.txns == reader.txns == fresh.txns
    assert table.position(lake.APP) == (44, b"44")


def test_a_refresh_asks_for_the_next_entry_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """delta-rs lists the log for an update, which costs more with every entry: only where one is newer."""
    table, other = lake.new(tmp_path / "t"), lake.new(tmp_path / "t")
    updates: list[int] = []
    update = DeltaTable.update_incremental

    def counted(delta: DeltaTable) -> None:
        updates.append(delta.version())
        update(delta)

    monkeypatch.setattr(DeltaTable, "update_incremental", counted)
    for batch in range(1, 30):
        lake.add(table, batch)
        table.refresh()
        table.refresh()
    assert updates == []
    other.refresh()
    assert updates == [0]
    assert other.position(lake.APP)[0] == 29


def test_clean_up_comes_with_a_checkpoint_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `delta.logRetentionDuration` lets go goes at the first checkpoint past each so many versions.

    The checkpoint that stands for it is on the disk by then; the table opens, with its positions.
    """
    synced: list[Path] = []
    monkeypatch.setattr("silt.target.table.CLEAN_EVERY", 40)
    monkeypatch.setattr("silt.target.durable.fsync_path", synced.append)
    table = lake.new(tmp_path / "t", configuration={"delta.logRetentionDuration": "interval 0 days"})
    left = []
    for batch in range(1, 62):
        lake.add(table, batch)
        table.refresh()
        left.append(len(list((tmp_path / "t" / "_delta_log").glob("*.json"))))
        assert (lake.checkpoint_file(tmp_path / "t", 40) in synced) == (batch >= 40)
    assert left[38] == 40
    assert left[40] < 5
    assert left[60] > 20
    fresh = open_table(str(tmp_path / "t"), {})
    assert fresh is not None
    assert fresh.position(lake.APP)[0] == 61
    assert lake.ids(fresh) == list(range(1, 62))


def test_checkpoint_of_a_table_that_others_write(tmp_path: Path) -> None:
    """Where the multiples of the interval are other people's commits, a checkpoint comes all the same."""
    table, other = lake.new(tmp_path / "t"), DeltaTable((tmp_path / "t").as_uri())
    hooks = PostCommitHookProperties(create_checkpoint=False)
    for batch in range(1, 22):
        lake.add(table, batch)
        other.update_incremental()
        write_deltalake(
            other, pa.table({"id": [0], "name": ["o"]}), mode="append", post_commithook_properties=hooks
        )
        table.refresh()
    assert [name for name in lake.log_names(tmp_path / "t") if "parquet" in name] == [
        lake.checkpoint_file(tmp_path / "t", 41).name
    ]


def test_a_failed_checkpoint_does_not_fail_the_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows are committed by then; the handle reads everything again."""
    table = lake.new(tmp_path / "t")
    monkeypatch.setattr(type(table), "checkpoint", _fail)
    for batch in range(1, 22):
        assert lake.add(table, batch) == batch
        table.refresh()
    assert table.position(lake.APP)[0] == 21
    assert lake.ids(table) == list(range(1, 22))


def _fail(*_: object) -> None:
    raise Contended("a checkpoint failed")


def test_rivals_checkpoint_at_once(tmp_path: Path) -> None:
    """Two handles write the same checkpoint; both go on."""
    first, second = lake.new(tmp_path / "t"), lake.new(tmp_path / "t")
    lake.add(first, 1)
    second.refresh()
    first.checkpoint()
    second.checkpoint()
    assert lake.add(second, 2) == 2
    first.refresh()
    assert first.position(lake.APP)[0] == 2


# --- the writer -----------------------------------------------------------------------------------


def test_writer_properties_arrive_in_the_files(tmp_path: Path) -> None:
    """zstd, integers and times delta-packed, dictionaries for texts that come again, groups by bytes."""
    import pyarrow.parquet as pq

    columns = [
        ColumnSpec(name="i.d", type="bigint"),
        ColumnSpec(name="ts", type="timestamp"),
        ColumnSpec(name="r", type="double"),
        ColumnSpec(name="b", type="binary"),
        ColumnSpec(name="few", type="string"),
        ColumnSpec(name="each", type="string"),
    ]
    table = lake.new(tmp_path / "t", columns=columns)
    n = 20_000
    rows = pa.table(
        {
            "i.d": pa.array(range(n), pa.int64()),
            "ts": pa.array(range(n), pa.timestamp("us", "UTC")),
            "r": [i / 7 for i in range(n)],
            "b": [b"%d" % i for i in range(n)],
            "few": [f"one of {i % 3}" for i in range(n)],
            "each": [f"number {i}" for i in range(n)],
        }
    )
    hints = WriterHints(row_bytes=8_000)
    table.append(rows.to_reader(max_chunksize=5000), txns=pack(lake.APP, 1, b""), metadata={}, writer=hints)
    (file,) = (tmp_path / "t").glob("*.parquet")
    meta = pq.read_metadata(file)
    chunks = {meta.row_group(0).column(i).path_in_schema: meta.row_group(0).column(i) for i in range(6)}
    assert {chunk.compression for chunk in chunks.values()} == {"ZSTD"}
    encodings = {name: set(chunk.encodings) for name, chunk in chunks.items()}
    assert "DELTA_BINARY_PACKED" in encodings["i.d"]
    assert "DELTA_BINARY_PACKED" in encodings["ts"]
    has_dictionary = {
        name for name, found in encodings.items() if {"RLE_DICTIONARY", "PLAIN_DICTIONARY"} & found
    }
    assert has_dictionary == {"few"}
    assert meta.row_group(0).num_rows == 8_192
    actions = map(json.loads, lake.entry(tmp_path / "t", 1).read_text().splitlines())
    (stats,) = (json.loads(action["add"]["stats"]) for action in actions if "add" in action)
    assert (stats["minValues"]["each"], stats["maxValues"]["each"]) == ("number 0", "number 9999")


READ_AHEAD = """
import random, sys, weakref
import pyarrow as pa
from silt.position import pack
from silt.target import ColumnSpec, create_table

table = create_table(sys.argv[1], {}, columns=[ColumnSpec(name="b", type="binary")])
noise, alive, most = random.Random(1).randbytes(1 << 20), set(), 0
offsets = pa.array(range(0, (1 << 20) + 1, 1 << 7), pa.int32()).buffers()[1]

class Bytes(bytearray):
    pass

def batch(i):
    global most
    raw = Bytes(noise)
    alive.add(i)
    weakref.finalize(raw, alive.discard, i)
    most = max(most, len(alive))
    column = pa.Array.from_buffers(pa.binary(), 1 << 13, [None, offsets, pa.py_buffer(raw)])
    return pa.record_batch([column], names=["b"])

batches = (batch(i) for i in range(60))
table.append(pa.RecordBatchReader.from_batches(table.schema, batches), txns=pack("a", 1, b""), metadata={})
print(most)
"""


def test_the_writer_reads_a_few_batches_ahead(tmp_path: Path) -> None:
    """Few batches wait in delta-rs for its one writer: about 8 are under way, 16 and more by its default."""
    done = subprocess.run(
        [sys.executable, "-c", READ_AHEAD, str(tmp_path / "t")], capture_output=True, text=True, check=True
    )
    assert 2 <= int(done.stdout) <= 12


def test_rows_are_split_into_files(tmp_path: Path) -> None:
    """`file_bytes` bounds data files; it is all one commit."""
    table = lake.new(tmp_path / "t")

    def scattered(part: int) -> list[int]:  # ids in a row would pack into next to nothing
        return [(i * 0x9E3779B97F4A7C15) % 2**62 for i in range(part * 50_000, (part + 1) * 50_000)]

    source = (batch for i in range(8) for batch in lake.rows(scattered(i), "x" * 9))
    reader = pa.RecordBatchReader.from_batches(lake.SCHEMA, source)
    hints = WriterHints(file_bytes=100_000, row_bytes=64_000_000 // 10_000)
    assert table.append(reader, txns=pack(lake.APP, 1, b""), metadata={}, writer=hints) == 1
    assert len(list((tmp_path / "t").glob("*.parquet"))) > 2
    assert table.count() == 400_000


def test_history_shows_the_metadata(tmp_path: Path) -> None:
    """DESCRIBE HISTORY shows who wrote what: `silt` for programs, `userMetadata` for people."""
    table = create_table(str(tmp_path / "t"), {}, columns=lake.COLUMNS)
    lake.add(table, 1)
    last = DeltaTable((tmp_path / "t").as_uri()).history(1)[0]
    assert last["silt"] == {"stream": "readings", "batch": "1", "txns": 3}
    assert last["userMetadata"] == "silt stream=readings batch=1"


# --- comment and properties -----------------------------------------------------------------------


def test_settings_are_changed_once(tmp_path: Path) -> None:
    """Only what differs makes a commit; the rest of the configuration stays; a resident handle sees it."""
    table = lake.new(tmp_path / "t", description="before", configuration={"a": "1", "b": "2"})
    table.set_properties({"a": "1", "b": "3", "c": "4"}, metadata={})
    table.describe("after", metadata={})
    assert table.version == 2
    table.set_properties({"b": "3"}, metadata={})
    table.describe("after", metadata={})
    assert table.version == 2
    assert table.description == "after"
    assert dict(table.configuration) == {
        "a": "1", "b": "3", "c": "4", "delta.checkpointInterval": str(CHECKPOINT_EVERY),
    }  # fmt: skip
    assert lake.add(table, 1) == 3
    assert table.foreign == ()


def test_rivals_set_the_same_property(tmp_path: Path) -> None:
    """A rival's same change is as good as ours; another of its changes is kept."""
    first, second = lake.new(tmp_path / "t"), lake.new(tmp_path / "t")
    first.set_properties({"a": "1"}, metadata={})
    second.set_properties({"a": "1", "b": "2"}, metadata={})
    second.describe("told", metadata={})
    first.refresh()
    assert {name: first.configuration[name] for name in ("a", "b")} == {"a": "1", "b": "2"}
    assert first.description == "told"


def test_deltalake_takes_any_property(tmp_path: Path) -> None:
    """The fact that makes the manifest check names and values: delta-rs accepts all, in silence."""
    table = lake.new(tmp_path / "t", configuration={"delta.logRetentionDuration": "30 days", "delta.x": "1"})
    assert table.configuration["delta.logRetentionDuration"] == "30 days"
