"""Canaries: what silt builds on in deltalake. One that fails says which rule must be thought over.

`pyproject.toml` pins deltalake to the minor version that these were measured with.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import lake
import pyarrow as pa
import pytest
from deltalake import CommitProperties, DeltaTable, Field, Schema, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError
from deltalake.schema import PrimitiveType

ROWS = pa.table({"id": [1], "name": ["x"]})


def _new(path: Path) -> DeltaTable:
    lake.new(path)
    return DeltaTable(path.as_uri())


def _txn(number: int) -> CommitProperties:
    return CommitProperties(app_transactions=[Transaction("app", number)])


def test_overlapping_optimize_fails(tmp_path: Path) -> None:
    """Two stale handles compact: the second must fail. 1.6.4 to 1.6.6 let both commit: rows are doubled."""
    table = _new(tmp_path / "t")
    for _ in range(4):
        write_deltalake(table, ROWS, mode="append")
    first, second = DeltaTable((tmp_path / "t").as_uri()), DeltaTable((tmp_path / "t").as_uri())
    first.optimize.compact()
    with pytest.raises(CommitFailedError):
        second.optimize.compact()
    table.update_incremental()
    assert table.count() == 4


def test_optimize_packs_next_to_next_and_loses_its_transactions(tmp_path: Path) -> None:
    """Files of the size and more stay and part the others: hence `packing`, and a commit that notes."""
    table = _new(tmp_path / "t")
    text = pa.table({"id": list(range(3000)), "name": [f"{n * 7919 % 99991:09d}" * 9 for n in range(3000)]})
    for rows in (ROWS, ROWS, text, ROWS, ROWS):
        write_deltalake(table, rows, mode="append")
    done = table.optimize.compact(target_size=30_000, commit_properties=_txn(7))
    assert (done["numFilesRemoved"], done["numFilesAdded"]) == (4, 2)
    assert DeltaTable((tmp_path / "t").as_uri()).transaction_version("app") is None


def test_vacuum_notes_its_transactions_in_the_second_of_its_entries(tmp_path: Path) -> None:
    """Hence silt's mark in them promises none, or the first would count as torn. Nothing to do: no entry."""
    table = _new(tmp_path / "t")
    vacuum = {"retention_hours": 0, "dry_run": False, "enforce_retention_duration": False, "full": True}
    table.vacuum(**vacuum, commit_properties=_txn(7))
    assert table.version() == 0
    write_deltalake(table, ROWS, mode="append")
    write_deltalake(table, ROWS, mode="overwrite")
    table.vacuum(**vacuum, commit_properties=_txn(7))
    entries = [lake.entry(tmp_path / "t", version).read_text() for version in (3, 4)]
    assert ["VACUUM START" in entries[0], "VACUUM END" in entries[1]] == [True, True]
    assert ["txn" in json.loads(line) for entry in entries for line in entry.splitlines()] == [
        False,
        False,
        True,
    ]


def test_a_full_vacuum_spares_young_tombstones_and_young_strangers(tmp_path: Path) -> None:
    """By when a file left the table, though it is old; by its own age where the table never knew it."""
    table = _new(tmp_path / "t")
    write_deltalake(table, ROWS, mode="append")
    (old,) = (tmp_path / "t").glob("*.parquet")
    os.utime(old, (0, 0))
    write_deltalake(table, ROWS, mode="overwrite")
    young, stale = tmp_path / "t" / "young.parquet", tmp_path / "t" / "stale.parquet"
    for path in (young, stale):
        path.write_bytes(b"x")
    os.utime(stale, (0, 0))
    assert table.vacuum(retention_hours=168, full=True) == [stale.name]
    assert table.vacuum(retention_hours=168, full=False) == []


def test_conflict_of_transactions_is_by_the_handle(tmp_path: Path) -> None:
    """A handle that saw batch 0 cannot commit batch 1 after a rival did; the message is what we look for."""
    first = _new(tmp_path / "t")
    second = DeltaTable((tmp_path / "t").as_uri())
    write_deltalake(first, ROWS, mode="append", commit_properties=_txn(1))
    with pytest.raises(CommitFailedError, match="Concurrent transaction"):
        write_deltalake(second, ROWS, mode="append", commit_properties=_txn(1))


def test_a_delete_that_changes_nothing_makes_no_commit(tmp_path: Path) -> None:
    """Hence the empty append that advances positions, which does make one."""
    table = _new(tmp_path / "t")
    table.delete("id = 5", commit_properties=_txn(1))
    assert (table.version(), table.transaction_version("app")) == (0, None)
    write_deltalake(table, ROWS.slice(0, 0), mode="append", commit_properties=_txn(1))
    assert (table.version(), table.transaction_version("app")) == (1, 1)


def test_restore_does_not_roll_transactions_back(tmp_path: Path) -> None:
    """After RESTORE the position says more than the table holds: hence the hold."""
    table = _new(tmp_path / "t")
    write_deltalake(table, ROWS, mode="append", commit_properties=_txn(1))
    table.restore(0)
    assert (table.count(), table.transaction_version("app")) == (0, 1)


def test_an_entry_of_0_bytes_reads_as_an_empty_commit(tmp_path: Path) -> None:
    """Without an error: hence the check at start, and our own reading of entries."""
    table = _new(tmp_path / "t")
    write_deltalake(table, ROWS, mode="append")
    lake.entry(tmp_path / "t", 1).write_bytes(b"")
    torn = DeltaTable((tmp_path / "t").as_uri())
    assert (torn.version(), torn.count()) == (1, 0)


def test_overwrite_beside_an_append_is_refused_or_keeps_it(tmp_path: Path) -> None:
    """A stale handle's overwrite does not take away rows that it never saw."""
    first = _new(tmp_path / "t")
    second = DeltaTable((tmp_path / "t").as_uri())
    write_deltalake(first, ROWS, mode="append")
    write_deltalake(second, pa.table({"id": [2], "name": ["y"]}), mode="overwrite")
    first.update_incremental()
    assert first.count() == 2


def test_an_exception_of_the_source_makes_no_commit(tmp_path: Path) -> None:
    """It arrives as text inside a DeltaError: hence `Feed`, which keeps it."""
    table = _new(tmp_path / "t")

    def batches():
        yield ROWS.to_batches()[0]
        raise KeyError("boom")

    with pytest.raises(DeltaError, match="boom"):
        write_deltalake(table, pa.RecordBatchReader.from_batches(ROWS.schema, batches()), mode="append")
    assert DeltaTable((tmp_path / "t").as_uri()).version() == 0


def test_column_names_that_differ_in_case_are_rejected() -> None:
    """Names are the planner's to settle before."""
    with pytest.raises(DeltaError, match="case-insensitive"):
        Schema([Field("a", PrimitiveType("long")), Field("A", PrimitiveType("long"))])


def test_fork_after_use_panics(tmp_path: Path) -> None:
    """Hence processes are spawned, never forked."""
    code = (
        "import os, sys; from deltalake import DeltaTable; DeltaTable(sys.argv[1]); pid = os.fork()\n"
        "if pid:\n    sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0)\n"
        "try:\n    DeltaTable(sys.argv[1])\nexcept BaseException:\n    os._exit(7)\nos._exit(0)\n"
    )
    _new(tmp_path / "t")
    done = subprocess.run(
        [sys.executable, "-c", code, (tmp_path / "t").as_uri()], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, "a forked child could use delta-rs"


def test_a_partition_of_a_negative_fraction_is_spelt_wrongly(tmp_path: Path) -> None:
    """-0.5 becomes `0.-50`, and the table is read no more: hence no decimals with a scale in partition_by."""
    rows = pa.table({"m": pa.array([Decimal("-0.50")], pa.decimal128(10, 2)), "id": [1]})
    with pytest.raises(DeltaError, match=r"0\.-50"):
        write_deltalake((tmp_path / "t").as_uri(), rows, partition_by=["m"])
    assert '"m":"0.-50"' in lake.entry(tmp_path / "t", 0).read_text()
