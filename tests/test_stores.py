"""Stores beyond moto: an S3 that checks signatures, a careless one, Azure's emulator.  `make test-s3`."""

from __future__ import annotations

import json
import random
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clirun import silt, start
from deltalake import DeltaTable
from kit import difference, doubled, lake, sql
from servers import faulty_proxy, s3_options
from stores import azure, careless_s3, signing_s3

pytestmark = [pytest.mark.s3, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def signing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with signing_s3(tmp_path_factory.mktemp("gateway")) as port:
        yield port


@pytest.fixture(scope="module")
def emulator() -> Iterator[dict[str, str]]:
    with azure() as options:
        yield options


def _write(folder: Path, uri: str, options: dict[str, str], *, more: str = "", rows: int = 120) -> None:
    folder.mkdir(exist_ok=True)
    given = "".join(f"      {name}: '{value}'\n" for name, value in options.items())
    (folder / "silt.yaml").write_text(
        f"version: 1\nname: plant\nnode: ${{NODE_ID}}\nsources: {{app: ./app.db}}\n"
        f"targets:\n  lake:\n    uri: {uri}\n{more}    storage_options:\n{given}"
        "streams:\n  t: {batch: {max_rows: 50}}\n  settings: {mode: overwrite}\n"
    )
    numbers = f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})"
    if not (folder / "app.db").exists():
        sql(
            folder / "app.db",
            "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)",
            f"INSERT INTO t {numbers} SELECT i, 'v' || i FROM n",
            "CREATE TABLE settings (name TEXT PRIMARY KEY, value REAL)",
            "INSERT INTO settings VALUES ('a', 1.5), ('b', NULL)",
        )


def _run(folder: Path, node: str = "n1") -> dict[str, Any]:
    done = silt("run", "silt.yaml", "--once", "--json", cwd=folder, NODE_ID=node)
    assert done.returncode == 0, done.stdout + done.stderr
    return {stream["name"]: stream["rows"] for stream in json.loads(done.stdout)["streams"]}


def _said(folder: Path) -> str:
    """What `run --once` says of a store that it cannot use; the secret is not in it."""
    done = silt("run", "silt.yaml", "--once", cwd=folder, NODE_ID="n1")
    assert done.returncode == 1
    assert "not-to-be-shown" not in done.stdout + done.stderr
    return " ".join((done.stdout + done.stderr).split())


def _lives(tmp_path: Path, root: str, options: dict[str, str]) -> None:
    """Rows arrive once; a device without its state goes on from the lake; a replaced table is replaced."""
    first = tmp_path / "first"
    _write(first, root, options)
    assert _run(first) == {"t": 120, "settings": 2}
    second = tmp_path / "second"
    second.mkdir()
    shutil.copy(first / "app.db", second)
    _write(second, root, options)
    assert _run(second) == {"t": 0, "settings": 0}
    sql(second / "app.db", "INSERT INTO t (v) VALUES ('new')", "DELETE FROM settings WHERE name = 'a'")
    assert _run(second) == {"t": 1, "settings": 1}
    for table in ("t", "settings"):
        rows = sql(second / "app.db", f"SELECT * FROM {table}")
        assert difference(rows, lake(f"{root}/{table}", options)) == (0, 0)


# --- an S3 that checks signatures -----------------------------------------------------------------


def test_life_on_a_signing_s3(signing: int, tmp_path: Path) -> None:
    """The server of container/compose.yaml: the probe passes, all modes arrive, a wiped device goes on."""
    _lives(tmp_path, "s3://lake/life", s3_options(signing))
    files = DeltaTable("s3://lake/life/t", storage_options=s3_options(signing)).file_uris()
    assert files
    assert not [uri for uri in files if "_silt_probe" in uri]


def test_a_wrong_secret(signing: int, tmp_path: Path) -> None:
    """The signature does not match: the target refuses access."""
    _write(tmp_path, "s3://lake/wrong", s3_options(signing) | {"AWS_SECRET_ACCESS_KEY": "wrong"})
    assert "the target refuses access" in _said(tmp_path)


def test_a_missing_bucket(signing: int, tmp_path: Path) -> None:
    """Named as that, not as a missing table that could be made."""
    _write(tmp_path, "s3://no-such-bucket/x", s3_options(signing))
    assert "the bucket or container does not exist" in _said(tmp_path)


def test_five_nodes_and_a_store_that_fails(signing: int, tmp_path: Path) -> None:
    """503s, delays and lost replies between five processes and one table: every row once, faults counted."""
    chance, lock = random.Random(7), threading.Lock()

    def choose(method: str, path: str) -> str:
        with lock:
            share = chance.random()
        if share < 0.02:
            return "503 SlowDown"
        if share < 0.03:
            return "slow"
        return "lost" if share < 0.15 and method == "PUT" else ""

    nodes = [f"n{number}" for number in range(5)]
    started = time.monotonic()
    with faulty_proxy(signing, choose) as proxy:
        for node in nodes:
            _write(tmp_path / node, "s3://lake/five", s3_options(proxy.port), rows=300)
        pending = dict.fromkeys(nodes, 0)
        while pending:
            command = ("run", "silt.yaml", "--once", "--json")
            running = {node: start(*command, cwd=tmp_path / node, NODE_ID=node) for node in pending}
            for node, process in running.items():
                out, err = process.communicate(timeout=600)
                pending[node] += 1
                assert pending[node] < 20, out + err
                if process.returncode == 0:
                    del pending[node]
        faults = dict(proxy.counted())
    print(f"\nfive nodes: {time.monotonic() - started:.0f} s, faults injected: {faults}")
    assert set(faults) == {"503", "slow", "lost"}
    rows = lake("s3://lake/five/t", s3_options(signing))
    assert len(rows) == 5 * 300
    assert doubled((row["_silt_node"], row["id"]) for row in rows) == []
    settings = lake("s3://lake/five/settings", s3_options(signing))
    assert len(settings) == 5 * 2


# --- an S3 that ignores If-None-Match -------------------------------------------------------------


def test_a_careless_s3(tmp_path: Path) -> None:
    """s3rver, the negative control: refused; alone and allowed, it serves."""
    (tmp_path / "store").mkdir()
    with careless_s3(tmp_path / "store") as options:
        _write(tmp_path / "a", "s3://lake/x", options)
        assert "does not honour conditional writes" in _said(tmp_path / "a")
        _write(tmp_path / "a", "s3://lake/x", options, more="    allow_unsafe_store: true\n")
        assert _run(tmp_path / "a") == {"t": 120, "settings": 2}


# --- Azure ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("root", ["az://lake/life", "abfss://lake@plant.dfs.core.windows.net/other"])
def test_life_on_azure(emulator: dict[str, str], tmp_path: Path, root: str) -> None:
    """Azurite, by account and key: in both spellings of the URI."""
    _lives(tmp_path, root, emulator)


def test_azure_refuses_and_misses(emulator: dict[str, str], tmp_path: Path) -> None:
    """A wrong key and a container that is not there: one clear error each."""
    _write(tmp_path / "a", "az://lake/x", emulator | {"AZURE_STORAGE_ACCOUNT_KEY": "d3Jvbmc="})
    assert "the target refuses access" in _said(tmp_path / "a")
    _write(tmp_path / "b", "az://nowhere/x", emulator)
    assert "the bucket or container does not exist" in _said(tmp_path / "b")
