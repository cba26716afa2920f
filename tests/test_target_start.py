"""What a power cut leaves in a local table, and what the check at start makes of it (DESIGN 4.6).

Each fault is a named function that damages a good table as a crash of the machine would.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import lake
import pytest
from deltalake import DeltaTable, write_deltalake

from silt.errors import Held
from silt.target import check_at_start, open_table

VERSIONS = 5


def _good(path: Path) -> Path:
    table = lake.new(path)
    for batch in range(1, VERSIONS + 1):
        lake.add(table, batch)
    return path


def _data_of(path: Path, version: int) -> Path:
    from silt.target.log import parse

    return path / parse(version, lake.entry(path, version).read_bytes()).adds[0].path


def _cut_before_txns(entry: Path) -> None:
    lines = entry.read_text().splitlines(keepends=True)
    entry.write_text("".join(line for line in lines if '{"txn"' not in line))


def _zeros(file: Path) -> None:
    file.write_bytes(b"\0" * file.stat().st_size)


def _half(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


TORN: dict[str, Callable[[Path, int], object]] = {
    "entry of 0 bytes": lambda path, v: lake.entry(path, v).write_bytes(b""),
    "entry cut in a line": lambda path, v: _half(lake.entry(path, v)),
    "entry cut before its txns": lambda path, v: _cut_before_txns(lake.entry(path, v)),
    "entry of zeros": lambda path, v: _zeros(lake.entry(path, v)),
    "data file missing": lambda path, v: _data_of(path, v).unlink(),
    "data file of 0 bytes": lambda path, v: _data_of(path, v).write_bytes(b""),
    "data file cut": lambda path, v: _half(_data_of(path, v)),
    "data file of zeros": lambda path, v: _zeros(_data_of(path, v)),
}


def test_nothing_wrong_nothing_said(tmp_path: Path) -> None:
    """A good table, with and without checkpoints, passes and is left as it is; no table is no fault."""
    assert check_at_start(str(tmp_path / "none")) == ()
    assert check_at_start("s3://lake/elsewhere") == ()
    path = _good(tmp_path / "t")
    names = lake.log_names(path)
    assert check_at_start(str(path)) == ()
    assert lake.log_names(path) == names
    DeltaTable(path.as_uri()).create_checkpoint()
    lake.add(lake.new(path), VERSIONS + 1)
    assert check_at_start(str(path)) == ()


@pytest.mark.parametrize("fault", TORN)
def test_torn_last_entry_is_set_aside(tmp_path: Path, fault: str) -> None:
    """The last entry goes aside, position and rows are those before it, and the batch can be sent again."""
    path = _good(tmp_path / "t")
    TORN[fault](path, VERSIONS)
    (note,) = check_at_start(str(path))
    assert "set aside" in note
    assert lake.entry(path, VERSIONS).with_suffix(".json.torn").exists()
    table = open_table(str(path), {})
    assert table is not None
    assert (table.version, table.position(lake.APP)[0], lake.ids(table)) == (4, 4, [1, 2, 3, 4])
    assert lake.add(table, VERSIONS) == VERSIONS
    assert lake.ids(table) == [1, 2, 3, 4, 5]
    assert check_at_start(str(path)) == ()


@pytest.mark.parametrize("fault", TORN)
def test_torn_earlier_entry_holds(tmp_path: Path, fault: str) -> None:
    """A torn entry that newer ones build on leaves nothing to guess: held, named, nothing moved."""
    path = _good(tmp_path / "t")
    names = lake.log_names(path)
    TORN[fault](path, 3)
    with pytest.raises(Held, match=f"{3:020d}") as caught:
        check_at_start(str(path))
    assert caught.value.hint
    assert lake.log_names(path) == names


@pytest.mark.parametrize("fault", TORN)
def test_faults_behind_a_good_checkpoint_do_not_matter_to_the_log(tmp_path: Path, fault: str) -> None:
    """Entries that a good checkpoint replaces are not looked at."""
    path = _good(tmp_path / "t")
    DeltaTable(path.as_uri()).create_checkpoint()
    TORN[fault](path, VERSIONS)
    assert check_at_start(str(path)) == ()


def test_torn_foreign_entry_is_set_aside(tmp_path: Path) -> None:
    """The last entry goes aside whoever wrote it, with the checksum files of other writers."""
    path = _good(tmp_path / "t")
    write_deltalake(path.as_uri(), lake.rows([9]), mode="append")
    crc = path / "_delta_log" / f"{6:020d}.crc"
    crc.write_text("{}")
    lake.entry(path, 6).write_bytes(b"")
    (note,) = check_at_start(str(path))
    assert "set aside" in note
    assert not crc.exists()
    assert open_table(str(path), {}).version == VERSIONS  # type: ignore[union-attr]


def test_second_torn_entry_of_the_same_version(tmp_path: Path) -> None:
    """An entry torn again keeps both remains."""
    path = _good(tmp_path / "t")
    for _ in range(2):
        lake.entry(path, VERSIONS).write_bytes(b"")
        assert check_at_start(str(path))
        lake.add(lake.new(path), VERSIONS)
    assert sum(name.endswith(".torn") for name in lake.log_names(path)) == 2


def test_first_entry_torn(tmp_path: Path) -> None:
    """A table cut while it was created is no table, and can be created."""
    lake.new(tmp_path / "t")
    lake.entry(tmp_path / "t", 0).write_bytes(b"")
    assert check_at_start(str(tmp_path / "t"))
    assert open_table(str(tmp_path / "t"), {}) is None
    assert lake.new(tmp_path / "t").version == 0


def test_missing_entry_holds(tmp_path: Path) -> None:
    """A gap in the log is held."""
    path = _good(tmp_path / "t")
    lake.entry(path, 2).unlink()
    with pytest.raises(Held, match="missing"):
        check_at_start(str(path))


def test_files_that_were_removed_later_are_not_missed(tmp_path: Path) -> None:
    """Compacted and vacuumed files are no fault of the entries that once added them."""
    path = _good(tmp_path / "t")
    delta = DeltaTable(path.as_uri())
    delta.optimize.compact()
    delta.vacuum(0, dry_run=False, enforce_retention_duration=False)
    assert check_at_start(str(path)) == ()


def test_partitioned_files_with_odd_values(tmp_path: Path) -> None:
    """Paths in the log are percent-encoded: files of odd partition values are found."""
    table = lake.new(tmp_path / "t", partition_by=["name"])
    from silt.position import pack

    for batch, name in enumerate(["a b", "50%", "ü", "x=y/z", "it's"], 1):
        table.append(lake.rows([batch], name), txns=pack(lake.APP, batch, b""), metadata={})
    assert check_at_start(str(tmp_path / "t")) == ()


# --- checkpoints ----------------------------------------------------------------------------------

CHECKPOINT_FAULTS: dict[str, Callable[[Path], object]] = {
    "0 bytes": lambda file: file.write_bytes(b""),
    "cut": _half,
    "zeros": _zeros,
}


@pytest.mark.parametrize("fault", CHECKPOINT_FAULTS)
def test_torn_checkpoint_is_dropped(tmp_path: Path, fault: str) -> None:
    """The table does not open with a torn checkpoint; without it, by its entries, it does."""
    path = _good(tmp_path / "t")
    DeltaTable(path.as_uri()).create_checkpoint()
    CHECKPOINT_FAULTS[fault](lake.checkpoint_file(path, VERSIONS))
    with pytest.raises(Exception, match=r"(?i)checkpoint|parquet"):
        DeltaTable(path.as_uri())
    notes = check_at_start(str(path))
    assert "torn, and was removed" in notes[0]
    table = open_table(str(path), {})
    assert table is not None
    assert (table.position(lake.APP)[0], table.count()) == (VERSIONS, VERSIONS)
    assert lake.log_names(path) == [lake.entry(path, v).name for v in range(VERSIONS + 1)]


def test_torn_checkpoint_over_an_older_good_one(tmp_path: Path) -> None:
    """The older checkpoint and the entries after it are enough, even where older entries are gone."""
    path = _good(tmp_path / "t")
    delta = DeltaTable(path.as_uri())
    delta.create_checkpoint()
    lake.add(lake.new(path), 6)
    delta.update_incremental()
    delta.create_checkpoint()
    for version in range(3):
        lake.entry(path, version).unlink()
    lake.checkpoint_file(path, 6).write_bytes(b"")
    assert check_at_start(str(path))
    table = open_table(str(path), {})
    assert table is not None
    assert (table.position(lake.APP)[0], table.count()) == (6, 6)


def test_torn_checkpoint_without_its_entries_holds(tmp_path: Path) -> None:
    """Where entries were cleaned up, dropping the checkpoint would lose the table: held, nothing removed."""
    path = _good(tmp_path / "t")
    DeltaTable(path.as_uri()).create_checkpoint()
    lake.entry(path, 1).unlink()
    lake.checkpoint_file(path, VERSIONS).write_bytes(b"")
    names = lake.log_names(path)
    with pytest.raises(Held, match="checkpoint") as caught:
        check_at_start(str(path))
    assert caught.value.hint
    assert lake.log_names(path) == names


@pytest.mark.parametrize("text", ["", '{"versi', '{"version": 77, "size": 1}'])
def test_torn_last_checkpoint_is_removed(tmp_path: Path, text: str) -> None:
    """A hint that leads nowhere goes; the checkpoint itself stays."""
    path = _good(tmp_path / "t")
    DeltaTable(path.as_uri()).create_checkpoint()
    (path / "_delta_log" / "_last_checkpoint").write_text(text)
    (note,) = check_at_start(str(path))
    assert "_last_checkpoint" in note
    assert lake.checkpoint_file(path, VERSIONS).exists()
    assert open_table(str(path), {}).version == VERSIONS  # type: ignore[union-attr]
    assert check_at_start(str(path)) == ()


def test_all_is_synced_before_it_is_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """os.sync() comes first: what is in the page cache only would pass the check and not survive."""
    calls: list[str] = []
    monkeypatch.setattr("os.sync", lambda: calls.append("sync"))
    path = _good(tmp_path / "t")
    check_at_start(str(path))
    assert calls == ["sync"]
