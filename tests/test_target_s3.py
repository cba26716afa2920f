"""The target on S3: a real server that honours If-None-Match (moto)."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import lake
import pytest
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError
from rivals import race_to_create
from servers import S3, faulty_proxy, s3_options, s3_server

from silt.errors import Fenced, UserError
from silt.position import pack
from silt.target import Predicate, check_at_start, open_table, sync


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    with s3_server() as server:
        yield server


def test_life_of_a_table(s3: S3) -> None:
    """Absent, created, appended to, replaced, checkpointed, reopened: as on a local disk."""
    uri = f"{s3.uri}/life/of a table"
    assert open_table(uri, s3.options) is None
    table = lake.new(uri, s3.options, description="d")
    for batch in range(1, 24):
        lake.add(table, batch, payload=b"%d" % batch)
    fresh = open_table(uri, s3.options)
    assert fresh is not None
    assert fresh.txns == table.txns
    assert fresh.position(lake.APP) == (23, b"23")
    assert lake.ids(fresh) == list(range(1, 24))
    mine = Predicate(equals=(("name", "x"),))
    fresh.replace(lake.rows([5]), predicate=mine, txns=pack(lake.APP, 24, b""), metadata={})
    assert table.refresh() is False
    assert lake.ids(table) == [5]
    assert table.foreign == ()
    assert table.folder is None
    assert sync(table, 0, table.version) == ()
    assert check_at_start(uri) == ()


def test_rival_is_fenced(s3: S3) -> None:
    """Two handles, one batch: one of them commits."""
    first = lake.new(f"{s3.uri}/fence", s3.options)
    second = open_table(f"{s3.uri}/fence", s3.options)
    assert second is not None
    lake.add(first, 1)
    with pytest.raises(Fenced):
        lake.add(second, 1)
    assert lake.ids(second) == [1]


def test_foreign_change_and_new_table(s3: S3) -> None:
    """A deletion by others is seen; a table deleted and created anew is noticed."""
    uri = f"{s3.uri}/foreign"
    table = lake.new(uri, s3.options)
    lake.add(table, 1)
    delta = DeltaTable(uri, storage_options=s3.options)
    delta.delete("id = 1")
    table.refresh()
    assert [fact.severity for fact in table.foreign] == ["hold"]
    for version in range(3):
        table._files.handler.delete_file(f"_delta_log/{version:020d}.json")  # type: ignore[attr-defined]
    with pytest.raises(UserError, match="not a Delta table"):  # its data files are still there
        open_table(uri, s3.options)


def test_only_an_empty_log_is_absence(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    """FACTS: without permission delta-rs says "not found"; that is never "there is no table"."""

    def refuse(_: object) -> None:
        raise TableNotFoundError("Not a Delta table: PermissionDenied")

    monkeypatch.setattr("silt.target.table._load", refuse)
    with pytest.raises(UserError, match="refuses access"):
        open_table(f"{s3.uri}/nothing/here", s3.options)


def test_other_files_are_no_delta_table(s3: S3) -> None:
    """A prefix with other objects is refused."""
    lake.new(f"{s3.uri}/parent/child", s3.options)
    with pytest.raises(UserError, match="not a Delta table"):
        open_table(f"{s3.uri}/parent", s3.options)


def test_one_of_six_creators_wins(s3: S3) -> None:
    """Six processes create each of three tables at once: one CREATE TABLE, and everybody has that table."""
    race_to_create(f"{s3.uri}/race", s3.options, creators=6, tables=3)


# --- threads --------------------------------------------------------------------------------------

WRITERS_AND_A_READER = """
import os, sys, tempfile, threading, time
import pyarrow as pa
from deltalake import write_deltalake
from deltalake.fs import DeltaStorageHandler

if sys.argv[1] == "silt":
    import silt.target
else:
    os.environ["TOKIO_WORKER_THREADS"] = "2"  # as many as two cores have
options, schema = eval(sys.argv[2]), pa.schema([("a", pa.int64())])

def rows():
    for number in range(40):
        time.sleep(0.05)
        yield pa.record_batch([pa.array([number])], schema=schema)

def write(path):
    write_deltalake(path, pa.RecordBatchReader.from_batches(schema, rows()))

folder = tempfile.mkdtemp()
writers = [threading.Thread(target=write, args=(f"{folder}/{n}",), daemon=True) for n in range(4)]
for writer in writers:
    writer.start()
time.sleep(0.3)
DeltaStorageHandler("s3://lake/read", options).open_input_file("_delta_log/00000000000000000000.json")
for writer in writers:
    writer.join()
print("done", flush=True)
os._exit(0)
"""


def test_streams_that_write_leave_threads_to_who_reads(s3):
    """A call that keeps the GIL until a slow store answers, beside four streams that feed rows by Python."""
    lake.new("s3://lake/read", s3.options)
    with faulty_proxy(s3.port, lambda _method, _path: "slow") as proxy:

        def ran(how: str, seconds: float) -> str:
            command = [sys.executable, "-c", WRITERS_AND_A_READER, how, repr(s3_options(proxy.port))]
            return subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=True).stdout

        assert ran("silt", 60) == "done\n"
        with pytest.raises(subprocess.TimeoutExpired):  # the fault itself: they wait for each other
            ran("as it comes", 9)
