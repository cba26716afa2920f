"""The whole way to S3, through the command: a real server that honours If-None-Match (moto)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clirun import silt, start
from deltalake import DeltaTable
from kit import difference, doubled, lake, sql
from servers import S3, faulty_proxy, free_port, losing_proxy, s3_options, s3_server, silent_server


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    with s3_server() as server:
        yield server


TENANTS = ("acme", "bolt", "cyan")
STREAMS = """\
  t: {source: app, batch: {max_rows: 100}}
  settings: {source: app, mode: overwrite}
  orders: {source: tenants}
"""


def _write(folder: Path, root: str, options: dict[str, str], streams: str = STREAMS) -> None:
    """A manifest whose target is on S3."""
    given = "".join(f"      {name}: '{value}'\n" for name, value in options.items()) or "      {}\n"
    (folder / "silt.yaml").write_text(
        "version: 1\nname: plant\nnode: ${NODE_ID:?set NODE_ID}\n"
        "sources:\n  app: ./app.db\n  tenants: ./tenants/*.db\n"
        f"targets:\n  lake:\n    uri: s3://lake/{root}\n    storage_options:\n{given}"
        f"streams:\n{streams}"
    )


def _databases(folder: Path, rows: int = 250) -> None:
    numbers = f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})"
    sql(
        folder / "app.db",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)",
        f"INSERT INTO t {numbers} SELECT i, 'v' || i FROM n",
        "CREATE TABLE settings (name TEXT PRIMARY KEY, value REAL)",
        "INSERT INTO settings VALUES ('a', 1.5), ('b', NULL)",
    )
    (folder / "tenants").mkdir()
    for name in TENANTS:
        sql(
            folder / "tenants" / f"{name}.db",
            "CREATE TABLE orders (id INTEGER PRIMARY KEY, item TEXT)",
            f"INSERT INTO orders (item) VALUES ('{name} 1'), ('{name} 2')",
        )


def _run(folder: Path, node: str = "n1", **variables: str) -> dict[str, Any]:
    """`silt run --once`: its streams by name."""
    done = silt("run", "silt.yaml", "--once", "--json", cwd=folder, NODE_ID=node, **variables)
    assert done.returncode == 0, done.stdout + done.stderr
    return {stream["name"]: stream for stream in json.loads(done.stdout)["streams"]}


def _rows(s3: S3, root: str, table: str) -> list[dict[str, Any]]:
    return lake(f"s3://lake/{root}/{table}", s3.options)


def test_append_group_commit_overwrite_and_a_wiped_device(s3: S3, tmp_path: Path) -> None:
    """All modes arrive once, with their node; a device without its state goes on from the lake."""
    first = tmp_path / "first"
    first.mkdir()
    _databases(first)
    _write(first, "life", s3.options)
    ran = _run(first)
    assert [ran[name]["batches"] for name in ("t", "settings", "orders")] == [3, 1, 1]
    assert {row["_silt_node"] for table in ran for row in _rows(s3, "life", table)} == {"n1"}
    second = tmp_path / "second"  # another folder: no state, no path in common
    shutil.copytree(first / "tenants", second / "tenants")
    shutil.copy(first / "app.db", second)
    _write(second, "life", s3.options)
    assert [stream["rows"] for stream in _run(second).values()] == [0, 0, 0]
    sql(second / "app.db", "INSERT INTO t (v) VALUES ('new')", "DELETE FROM settings WHERE name = 'a'")
    sql(second / "tenants" / "bolt.db", "INSERT INTO orders (item) VALUES ('bolt 3')")
    assert {name: stream["rows"] for name, stream in _run(second).items()} == {
        "t": 1,
        "settings": 1,
        "orders": 1,
    }
    for table in ("t", "settings"):
        assert difference(sql(second / "app.db", f"SELECT * FROM {table}"), _rows(s3, "life", table)) == (
            0,
            0,
        )
    orders = sorted((row["_silt_database"], row["id"], row["item"]) for row in _rows(s3, "life", "orders"))
    assert orders == sorted([*((n, i, f"{n} {i}") for n in TENANTS for i in (1, 2)), ("bolt", 3, "bolt 3")])


def test_two_nodes_share_tables(s3: S3, tmp_path: Path) -> None:
    """Two machines write to the same tables: each replaces, and goes on from, its own slice only.

    One signs in by options, the other by its environment.
    """
    for node, options, variables in (("n1", s3.options, {}), ("n2", {}, s3.options)):
        (tmp_path / node).mkdir()
        _databases(tmp_path / node, rows=3)
        _write(tmp_path / node, "shared", options)
        _run(tmp_path / node, node, **variables)
    sql(tmp_path / "n2" / "app.db", "DELETE FROM settings", "INSERT INTO settings VALUES ('z', 0.0)")
    _run(tmp_path / "n2", "n2", **s3.options)
    rows = _rows(s3, "shared", "settings")
    assert sorted((row["_silt_node"], row["name"]) for row in rows) == [("n1", "a"), ("n1", "b"), ("n2", "z")]
    assert doubled((row["_silt_node"], row["id"]) for row in _rows(s3, "shared", "t")) == []
    assert len(_rows(s3, "shared", "t")) == 6


def test_a_node_is_required(s3: S3, tmp_path: Path) -> None:
    """A remote target without a node: exit 1, one problem, nothing written."""
    _databases(tmp_path, rows=3)
    _write(tmp_path, "nobody", s3.options)
    unset = silt("run", "silt.yaml", "--once", cwd=tmp_path)
    assert (unset.returncode, "set NODE_ID" in unset.stderr) == (1, True)
    text = (tmp_path / "silt.yaml").read_text()
    (tmp_path / "silt.yaml").write_text(text.replace("node: ${NODE_ID:?set NODE_ID}\n", ""))
    absent = silt("run", "silt.yaml", "--once", cwd=tmp_path)
    assert absent.returncode == 1
    assert "node" in absent.stderr
    assert not DeltaTable.is_deltatable("s3://lake/nobody/t", storage_options=s3.options)


def test_four_processes_create_and_fill_a_table(s3: S3, tmp_path: Path) -> None:
    """Four `run --once` at the same moment with states of their own: one table, each row in it once."""
    _databases(tmp_path)
    _write(tmp_path, "race", s3.options, "  t: {source: app, batch: {max_rows: 100}}\n")
    manifest = (tmp_path / "silt.yaml").read_text()
    (tmp_path / "silt.yaml").write_text(f"state_dir: ${{STATE_DIR}}\n{manifest}")
    command = ("run", "silt.yaml", "--once", "--json")
    rivals = [start(*command, cwd=tmp_path, NODE_ID="n1", STATE_DIR=f"./state{n}") for n in range(4)]
    reports = [rival.communicate(timeout=100) for rival in rivals]
    assert [rival.returncode for rival in rivals] == [0] * 4, reports
    assert difference(sql(tmp_path / "app.db", "SELECT * FROM t"), _rows(s3, "race", "t")) == (0, 0)
    history = DeltaTable("s3://lake/race/t", storage_options=s3.options).history()
    assert [entry["operation"] for entry in history].count("CREATE TABLE") == 1
    assert len(history) == 4, "a commit more than the batches need"


def test_a_lost_reply(s3: S3, tmp_path: Path) -> None:
    """The store commits, the answer is lost: the client's retry is refused, the rows are there once."""
    _databases(tmp_path)
    with losing_proxy(s3.port, path=f"/t/_delta_log/{2:020d}.json") as proxy:
        _write(tmp_path, "lost", s3_options(proxy.port), "  t: {source: app, batch: {max_rows: 100}}\n")
        ran = _run(tmp_path)
    assert proxy.faults == [f"lost 200 /lake/lost/t/_delta_log/{2:020d}.json"]
    assert (ran["t"]["rows"], ran["t"]["version"]) == (250, 3)
    assert difference(sql(tmp_path / "app.db", "SELECT * FROM t"), _rows(s3, "lost", "t")) == (0, 0)


def _fails(folder: Path, port: int) -> tuple[dict[str, Any], float]:
    _databases(folder, rows=3)
    _write(folder, "dead", s3_options(port), "  t: {source: app}\n")
    started = time.monotonic()
    done = silt("run", "silt.yaml", "--once", "--json", cwd=folder, NODE_ID="n1")
    assert done.returncode == 1
    (stream,) = json.loads(done.stdout)["streams"]
    return stream, time.monotonic() - started


def test_nobody_listens(tmp_path: Path) -> None:
    """An endpoint that refuses connections: exit 1 within 30 s; the error shows no secret."""
    stream, seconds = _fails(tmp_path, free_port())
    assert stream["state"] == "failing"
    assert "the store does not answer" in json.dumps(stream["error"])
    assert "not-to-be-shown" not in json.dumps(stream)
    assert seconds < 30


def test_nobody_answers(tmp_path: Path) -> None:
    """An endpoint that accepts and stays silent: the same, within 30 s."""
    with silent_server() as port:
        stream, seconds = _fails(tmp_path, port)
    assert stream["state"] == "failing"
    assert "the store does not answer" in json.dumps(stream["error"])
    assert seconds < 30


ALL = ("GET", "HEAD", "PUT", "POST", "DELETE")
REFUSALS = {
    "expired": ("400 ExpiredToken", ALL, "the credentials for the store have expired"),
    "no bucket": ("404 NoSuchBucket", ALL, "the bucket or container does not exist"),
    "read only": ("403 AccessDenied", ("PUT",), "the target refuses access"),
    "storm": ("503 SlowDown", ALL, "the store is overloaded and turns requests away"),
}
"""By what is wrong: the answer, the methods that get it, the error."""


def test_a_store_that_refuses_loses_nothing(s3: S3, tmp_path: Path) -> None:
    """Before the table is there and after: one clear error each, and once it ends every row is there once."""
    _databases(tmp_path, rows=3)
    wrong = [""]

    def refuse(method: str, path: str) -> str:
        answer, methods, _ = REFUSALS.get(wrong[0], ("", (), ""))
        return answer if method in methods else ""

    with faulty_proxy(s3.port, refuse) as proxy:
        _write(tmp_path, "refused", {**s3_options(proxy.port), "max_retries": "1"}, "  t: {source: app}\n")
        for name, (answer, _, said) in REFUSALS.items():
            wrong[0] = name
            done = silt("run", "silt.yaml", "--once", "--json", cwd=tmp_path, NODE_ID="n1")
            assert "not-to-be-shown" not in done.stdout + done.stderr
            (stream,) = json.loads(done.stdout)["streams"]
            assert (done.returncode, stream["state"]) == (1, "failing"), name
            assert stream["error"].startswith(f"{said} (s3://lake/refused"), name
            assert stream["hint"]
            assert proxy.counted()[answer[:3]] > 0
            wrong[0] = ""
            assert _run(tmp_path)["t"]["state"] == "ok"
            wanted = sql(tmp_path / "app.db", "SELECT * FROM t")
            assert difference(wanted, _rows(s3, "refused", "t")) == (0, 0)
            sql(tmp_path / "app.db", "INSERT INTO t (v) VALUES ('new'), ('new')")


QUIET = """\
import pathlib, sys
from kit import Site
from silt import manifest, observe
from test_replicate_round import Turning
site = Site(pathlib.Path(sys.argv[1]))
with observe.Handles(manifest.load(site.manifest)) as handles:
    turning = Turning(site, handles)
    for _ in range(2):
        turning.round()
    print("settled", flush=True)
    sys.stdin.readline()
    print(all(turning.turn().quiet for _ in range(20)), flush=True)
    sys.stdin.readline()
    print(turning.round()[-1].result.rows, flush=True)
"""


def test_nothing_new_is_no_request(s3: S3, tmp_path: Path) -> None:
    """A running silt's cycle over a database that nobody wrote to asks the store nothing."""
    _databases(tmp_path, rows=3)
    asked: list[str] = []

    def note(method: str, path: str) -> str:
        asked.append(f"{method} {path}")
        return ""

    with faulty_proxy(s3.port, note) as proxy:
        _write(tmp_path, "quiet", s3_options(proxy.port), "  t: {source: app}\n")
        command = [sys.executable, "-c", QUIET, str(tmp_path)]
        env = {**os.environ, "NODE_ID": "n1", "PYTHONPATH": os.pathsep.join(sys.path)}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        with subprocess.Popen(command, env=env, **pipes) as running:
            assert running.stdout is not None
            assert running.stdin is not None
            assert running.stdout.readline() == "settled\n"
            before = len(asked)
            running.stdin.write("\n")
            running.stdin.flush()
            assert (before > 0, running.stdout.readline()) == (True, "True\n")
            assert asked[before:] == []
            sql(tmp_path / "app.db", "INSERT INTO t (v) VALUES ('new')")
            running.stdin.write("\n")
            running.stdin.flush()
            assert running.stdout.readline() == "1\n"
        assert len(asked) > before
    assert len(_rows(s3, "quiet", "t")) == 4


def test_a_store_without_conditional_writes(s3: S3, tmp_path: Path) -> None:
    """Refused before anything is written, with what to do; used where the manifest allows it."""
    _databases(tmp_path, rows=3)

    def forget(method: str, path: str) -> str:
        return "unconditional" if method == "PUT" else ""

    with faulty_proxy(s3.port, forget) as proxy:
        _write(tmp_path, "unsafe", s3_options(proxy.port), "  t: {source: app}\n")
        done = silt("run", "silt.yaml", "--once", cwd=tmp_path, NODE_ID="n1")
        assert done.returncode == 1
        said = " ".join((done.stdout + done.stderr).split())
        assert "the store does not honour conditional writes (If-None-Match)" in said
        assert "allow_unsafe_store: true" in said
        assert not DeltaTable.is_deltatable("s3://lake/unsafe/t", storage_options=s3.options)
        text = (tmp_path / "silt.yaml").read_text()
        allowed = text.replace("    storage_options:", "    allow_unsafe_store: true\n    storage_options:")
        (tmp_path / "silt.yaml").write_text(allowed)
        assert _run(tmp_path)["t"]["rows"] == 3
    assert len(_rows(s3, "unsafe", "t")) == 3
