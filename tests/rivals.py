"""Processes that compete for one table; `python rivals.py ROLE JSON` is one of them.

They are started anew, never forked: delta-rs panics after a fork (FACTS).
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import lake
import pyarrow as pa

from silt.errors import RetryLater
from silt.position import nonce, pack
from silt.target import ColumnSpec, Table, create_table, open_table


def start(role: str, **arguments: Any) -> subprocess.Popen[str]:
    """One rival; its standard output is its report."""
    return subprocess.Popen(
        [sys.executable, str(Path(__file__)), role, json.dumps(arguments)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
    )


def report(rival: subprocess.Popen[str]) -> Any:
    """What a rival that ended well said."""
    out, _ = rival.communicate(timeout=100)
    assert rival.returncode == 0, out
    return json.loads(out.splitlines()[-1])


# --- creating -------------------------------------------------------------------------------------


def race_to_create(root: str, options: dict[str, str], *, creators: int, tables: int) -> None:
    """Assert that of `creators` at once exactly one wins each table, and that all have the winner's."""
    at = time.time() + 1.0 + 0.3 * creators
    given = {"root": root, "options": options, "at": at, "tables": tables}
    racers = [start("create", number=n, **given) for n in range(creators)]
    seen = [report(racer) for racer in racers]
    for number in range(tables):
        table = open_table(f"{root}/{number}", options)
        assert table is not None
        assert table.version == 0, "more than one CREATE TABLE was committed"
        assert {columns[number] for columns in seen} == {table.columns[0].name}


def create(root: str, options: dict[str, str], at: float, tables: int, number: int) -> Any:
    """Create tables at given moments, each with a column of this creator's own; the columns they have."""
    open_table(f"{root}/nothing", options)  # imports and connections are made by then
    mine = [ColumnSpec(name=f"by_{number}", type="bigint")]
    return [_create_at(f"{root}/{table}", options, at + table * 0.15, mine) for table in range(tables)]


def _create_at(uri: str, options: dict[str, str], at: float, columns: list[ColumnSpec]) -> str:
    while time.time() < at:
        pass
    return create_table(uri, options, columns=columns).columns[0].name


# --- appending ------------------------------------------------------------------------------------


def append(uri: str, upto: int, seed: int) -> Any:
    """Bring a table to the ids 1..upto by the protocol of DESIGN 4.2; how often we were contended.

    The position is the last id and a nonce.  After every commit or exception all is read again.
    """
    table = open_table(uri, {})
    assert table is not None
    chance, contended, mine = random.Random(seed), 0, 0
    while True:
        table.refresh()
        batch, payload = table.position(lake.APP)
        last = json.loads(payload)["last"] if payload else 0
        if last >= upto:
            return {"contended": contended, "mine": mine}
        name = nonce()
        try:
            _send(table, batch + 1, last, min(upto, last + chance.randint(1, 3)), name)
        except RetryLater:
            contended += 1
            time.sleep(chance.random() / 50)
        _, payload = table.position(lake.APP)  # after a commit: our own; after an exception: read again
        mine += bool(payload) and json.loads(payload)["nonce"] == name


def _send(table: Table, batch: int, last: int, high: int, name: str) -> None:
    position = json.dumps({"last": high, "nonce": name}).encode()
    reader = lake.rows(range(last + 1, high + 1), name)
    assert isinstance(reader, pa.RecordBatchReader)
    table.append(reader, txns=pack(lake.APP, batch, position), metadata={"rows": str(high - last)})


if __name__ == "__main__":
    print(
        json.dumps({"create": create, "append": append}[sys.argv[1]](**json.loads(sys.argv[2]))), flush=True
    )
