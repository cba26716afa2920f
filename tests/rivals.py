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


def race_to_create(uri: str, options: dict[str, str], *, creators: int) -> None:
    """Assert that of `creators` at once exactly one wins, and that all have the winner's table."""
    at = time.time() + 1.0 + 0.3 * creators
    racers = [start("create", uri=uri, options=options, at=at, number=n) for n in range(creators)]
    seen = [report(racer) for racer in racers]
    table = open_table(uri, options)
    assert table is not None
    assert table.version == 0, "more than one CREATE TABLE was committed"
    assert {tuple(columns) for columns in seen} == {tuple(c.name for c in table.columns)}


def create(uri: str, options: dict[str, str], at: float, number: int) -> Any:
    """Create the table at a given moment, with a column of this creator's own."""
    open_table(uri, options)  # imports and connections are made by then
    time.sleep(max(0.0, at - time.time()))
    mine = ColumnSpec(name=f"by_{number}", type="bigint")
    return [column.name for column in create_table(uri, options, columns=[mine]).columns]


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
