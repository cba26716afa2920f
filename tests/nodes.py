"""Nodes that write one Delta table at the same moment, each from a database of its own with the same ids."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import kit
from clirun import silt

MANIFEST = """\
version: 1
node: ${NODE_ID}
state_dir: ./state/${NODE_ID}
sources: {app: "./${NODE_ID}.db"}
targets: {lake: ./lake}
streams:
  t: {MODE, lineage: [node]}
"""
NAMES = tuple(f"n{number}" for number in range(5))


class Nodes:
    """Five nodes whose stream of table `t` is of `mode`; the values of `n` tell whose a row is."""

    def __init__(self, folder: Path, mode: str, statements: Sequence[str]) -> None:
        self._folder = folder
        (folder / "silt.yaml").write_text(MANIFEST.replace("MODE", mode))
        for number, name in enumerate(NAMES):
            self._sql(name, *statements, f"update t set n = n * 10 + {number}")

    def run(self) -> None:
        """One cycle of each, all at once; every one of them ends well."""

        def once(name: str) -> Any:
            return silt("run", "silt.yaml", "--once", "--json", cwd=self._folder, NODE_ID=name)

        with ThreadPoolExecutor(len(NAMES)) as pool:
            done = list(pool.map(once, NAMES))
        assert [one.returncode for one in done] == [0] * len(NAMES), [one.stdout + one.stderr for one in done]

    def equal(self, *columns: str) -> None:
        """The lake holds each node's rows under its name, and no others."""
        chosen = f"select {', '.join(columns)} from t"
        wanted = [(name, *row) for name in NAMES for row in self._sql(name, chosen)]
        there = kit.lake(self._folder / "lake" / "t")
        got = [(row["_silt_node"], *(row[column] for column in columns)) for row in there]
        assert sorted(got) == sorted(wanted)

    def change(self, *statements: str) -> None:
        for name in NAMES:
            self._sql(name, *statements)

    def _sql(self, name: str, *statements: str) -> list[tuple[Any, ...]]:
        return kit.sql(self._folder / f"{name}.db", *statements)
