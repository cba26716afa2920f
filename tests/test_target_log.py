"""Reading the log ourselves: all transactions in one pass, whatever kind of checkpoint holds them."""

from __future__ import annotations

import json
import time
from pathlib import Path

import lake
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from hypothesis import given
from hypothesis import strategies as st

from silt.errors import Held
from silt.target import open_table
from silt.target.log import Torn, checkpoints, entry_versions, parse, read_txns
from silt.target.store import LocalFiles

UUID = "80a083e8-7026-4e79-81be-64bd76c43a11"
TXN = pa.struct([("appId", pa.string()), ("version", pa.int64()), ("lastUpdated", pa.int64())])


def _table(path: Path, commits: int) -> None:
    table = lake.new(path)
    for batch in range(1, commits + 1):
        lake.add(table, batch)


def _txn_file(path: Path, txns: dict[str, int]) -> None:
    """A checkpoint's Parquet file with nothing but transactions, among rows of other actions."""
    values = [{"appId": app, "version": version, "lastUpdated": None} for app, version in txns.items()]
    column = pa.array([None, *values, None], TXN)
    pq.write_table(
        pa.table({"txn": column, "add": pa.nulls(len(column), pa.struct([("path", pa.string())]))}), path
    )


def test_one_pass_agrees_with_delta_rs(tmp_path: Path) -> None:
    """Before, at and after a checkpoint, every transaction is what `transaction_version` says."""
    table = lake.new(tmp_path / "t")
    for batch in range(1, 26):
        lake.add(table, batch)
        delta = DeltaTable((tmp_path / "t").as_uri())
        txns, _ = read_txns(LocalFiles(tmp_path / "t"), delta.version())
        assert txns == {app: delta.transaction_version(app) for app in txns}
        assert len(txns) == 3


def test_twenty_thousand_transactions_are_read_in_one_pass(tmp_path: Path) -> None:
    """20,000 transactions from a checkpoint and the entries after it, in well under a second's CPU."""
    lake.new(tmp_path / "t")
    delta = DeltaTable((tmp_path / "t").as_uri())
    everything = {f"silt/m/n/s/db{i}": i + 1 for i in range(20_000)}
    many = [Transaction(app, version) for app, version in everything.items()]
    none = pa.table({"id": pa.array([], pa.int64()), "name": pa.array([], pa.string())})
    write_deltalake(delta, none, mode="append", commit_properties=CommitProperties(app_transactions=many))
    delta.create_checkpoint()
    last = CommitProperties(app_transactions=[Transaction("silt/m/n/s/db7", 99)])
    write_deltalake(delta, none, mode="append", commit_properties=last)
    started = time.process_time()
    txns, entries = read_txns(LocalFiles(tmp_path / "t"), 2)
    seconds = time.process_time() - started
    assert txns == everything | {"silt/m/n/s/db7": 99}
    assert [entry.version for entry in entries] == [2]
    assert seconds < 1.0, f"measured 0.05 s, took {seconds:.2f}"


def test_checkpoints_of_every_kind(tmp_path: Path) -> None:
    """Single file, several parts, V2 in Parquet and in JSON: transactions come from each."""
    _table(tmp_path / "t", 3)
    files, log = LocalFiles(tmp_path / "t"), tmp_path / "t" / "_delta_log"
    stem = f"{2:020d}.checkpoint"
    for version in (0, 1, 2):
        lake.entry(tmp_path / "t", version).unlink()
    wanted = {"a": 1, "b": 2, **dict(parse(3, lake.entry(tmp_path / "t", 3).read_bytes()).txns)}

    def found() -> dict[str, int]:
        txns, _ = read_txns(files, 3)
        for path in log.glob("*checkpoint*"):
            path.unlink()
        return txns

    _txn_file(log / f"{stem}.parquet", {"a": 1, "b": 2})
    assert found() == wanted
    _txn_file(log / f"{stem}.{1:010d}.{2:010d}.parquet", {"a": 1})
    _txn_file(log / f"{stem}.{2:010d}.{2:010d}.parquet", {"b": 2})
    assert found() == wanted
    _txn_file(log / f"{stem}.{UUID}.parquet", {"a": 1, "b": 2})
    assert found() == wanted
    actions = [
        {"txn": {"appId": "a", "version": 1}},
        {"sidecar": {"path": "x"}},
        {"txn": {"appId": "b", "version": 2}},
    ]
    (log / f"{stem}.{UUID}.json").write_text("\n".join(map(json.dumps, actions)))
    assert found() == wanted
    _txn_file(log / f"{stem}.{1:010d}.{2:010d}.parquet", {"a": 1})
    with pytest.raises(FileNotFoundError):  # one part of two is no checkpoint, and the entries are gone
        read_txns(files, 3)


def test_v2_checkpoint_that_last_checkpoint_names(tmp_path: Path) -> None:
    """`_last_checkpoint` leads straight to parts and to V2 files."""
    _table(tmp_path / "t", 1)
    log = tmp_path / "t" / "_delta_log"
    _txn_file(log / f"{1:020d}.checkpoint.{UUID}.parquet", {"v2": 5})
    hint = {"version": 1, "size": 1, "v2Checkpoint": {"path": f"{1:020d}.checkpoint.{UUID}.parquet"}}
    (log / "_last_checkpoint").write_text(json.dumps(hint))
    assert read_txns(LocalFiles(tmp_path / "t"), 1)[0] == {"v2": 5}
    _txn_file(log / f"{1:020d}.checkpoint.{1:010d}.{1:010d}.parquet", {"parts": 6})
    (log / "_last_checkpoint").write_text(json.dumps({"version": 1, "size": 1, "parts": 1}))
    assert read_txns(LocalFiles(tmp_path / "t"), 1)[0] == {"parts": 6}


@pytest.mark.parametrize("hint", ["", "{", "[]", "{}", '{"version": 99, "size": 1}', '{"version": "x"}'])
def test_useless_last_checkpoint(tmp_path: Path, hint: str) -> None:
    """A hint that is torn, or names nothing that is there, is ignored: the log is listed."""
    _table(tmp_path / "t", 22)
    (tmp_path / "t" / "_delta_log" / "_last_checkpoint").write_text(hint)
    txns, entries = read_txns(LocalFiles(tmp_path / "t"), 22)
    assert txns[lake.APP] == 22
    assert [entry.version for entry in entries] == [21, 22]


def test_older_version_ignores_newer_checkpoints(tmp_path: Path) -> None:
    """Transactions as of a version come from checkpoints up to it."""
    _table(tmp_path / "t", 22)
    assert read_txns(LocalFiles(tmp_path / "t"), 7)[0][lake.APP] == 7


def test_names_in_the_log() -> None:
    """Entries and checkpoints are told from everything else that lies in a log."""
    names = [
        f"{7:020d}.json",
        f"{7:020d}.json.torn",
        f".{7:020d}.json.crc",
        f"{7:020d}.crc",
        f"{3:020d}.{7:020d}.compacted.json",
        "_last_checkpoint",
        "_sidecars",
        f"{6:020d}.checkpoint.parquet",
        f"{8:020d}.checkpoint.{1:010d}.{2:010d}.parquet",
    ]
    assert entry_versions(names) == (7,)
    assert [c.version for c in checkpoints(names)] == [6]


def test_entries_cut_anywhere_are_torn(tmp_path: Path) -> None:
    """Whatever the length at which a silt entry was cut, it does not pass for whole.

    An entry cut between its data and its transactions parses as JSON: rows without a position (FACTS).
    """
    _table(tmp_path / "t", 1)
    whole = lake.entry(tmp_path / "t", 1).read_bytes()
    assert parse(1, whole).txns[0] == (lake.APP, 1)
    for length in range(len(whole.rstrip())):
        with pytest.raises(Torn):
            parse(1, whole[:length])


@given(st.binary(max_size=200))
def test_junk_is_torn(data: bytes) -> None:
    """Anything that is not lines of JSON objects is torn, never another exception."""
    try:
        entry = parse(1, data)
    except Torn:
        return
    assert entry.txns == ()


def test_torn_entry_holds_a_refresh(tmp_path: Path) -> None:
    """delta-rs reads a 0-byte entry as an empty commit; a resident handle is held, naming the entry."""
    table, other = lake.new(tmp_path / "t"), lake.new(tmp_path / "t")
    lake.add(other, 1)
    lake.entry(tmp_path / "t", 1).write_bytes(b"")
    assert DeltaTable((tmp_path / "t").as_uri()).version() == 1
    with pytest.raises(Held, match=r"0001\.json") as caught:
        table.refresh()
    assert (caught.value.rule, bool(caught.value.hint)) == ("4.6", True)
    with pytest.raises(Held):
        open_table(str(tmp_path / "t"), {})


def test_one_silt_entry_is_known_by_its_mark(tmp_path: Path) -> None:
    """A foreign value under silt's key is nobody's mark."""
    line = json.dumps({"commitInfo": {"operation": "WRITE", "silt": "text"}}).encode()
    assert parse(1, line).silt is None
    assert parse(0, b'{"commitInfo":{"silt":{"txns":0}}}').silt == {"txns": 0}
