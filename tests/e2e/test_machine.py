"""A machine of random steps: a source of any schema that anything happens to, a stream that is killed.

append: every row that was there at a cycle is in the lake once, as it was at a cycle, or the stream is held
by a rule of DESIGN 4.  merge, mirror, overwrite: the lake is the source.  In each, columns and
`_rescued_data` give every value back.
"""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, event, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from kit import Site, Sqlite
from machine import KEYS, MODES, Follower

NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"
EXAMPLES = int(os.environ.get("SILT_MACHINES", "300" if NIGHTLY else "12"))
STEPS = 40 if NIGHTLY else 14
PLACES = (
    "planned",
    "mid-read",
    "mid-write",
    "before create",
    "created",
    "before commit",
    "committed",
    "synced",
)

BROKEN = "a\udcffb"
VALUES = st.sampled_from(
    (
        None,
        0,
        1,
        -7,
        2**53 + 1,
        -(2**63),
        2**63 - 1,
        0.5,
        -0.0,
        2.25,
        1e300,
        float("inf"),
        "",
        "a",
        "12",
        "ü\0🐌",
        "x'00'",
        BROKEN,
        b"",
        b"\0\xff",
        "2024-02-29 10:00:00",
        "2024-02-30",
        "2024-02-29",
    )
)
DECLARED = st.sampled_from(
    ("INTEGER", "REAL", "TEXT", "BLOB", "", "BOOLEAN", "DECIMAL(9,2)", "NUMERIC", "TIMESTAMP", "DATE", "JSON")
)
DEFAULTS = st.sampled_from(("", " DEFAULT 7", " DEFAULT 'x'", " NOT NULL DEFAULT 1.5", " DEFAULT NULL"))
NAMES = st.sampled_from(("c", "größe ", "select", "C;", 'q"', "日"))
LOOKS = st.sampled_from(("cycle",) * 6 + PLACES)
THEN = st.one_of(st.just(""), LOOKS)
"""Whether silt looks after a step, and where it is killed."""
ROW = st.lists(VALUES, min_size=6, max_size=6)
CRASHES: Counter[str] = Counter()


class Machine(RuleBasedStateMachine):
    """One table, one stream, one run of steps."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()

    @initialize(
        key=st.sampled_from(KEYS),
        mode=st.sampled_from(tuple(MODES)),
        declared=st.lists(DECLARED, max_size=4),
        max_rows=st.sampled_from((1, 3, 1000)),
        wal=st.booleans(),
        resident=st.booleans(),
        rows=st.lists(ROW, max_size=4),
    )
    def begin(
        self,
        key: Any,
        mode: str,
        declared: list[str],
        max_rows: int,
        wal: bool,
        resident: bool,
        rows: list[Any],
    ) -> None:
        """A table of any schema, in any mode, with some rows."""
        folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        sqlite = self.stack.enter_context(closing(Sqlite()))
        columns = {f"c{i}": kind for i, kind in enumerate(declared)}
        self.it = Follower(Site(folder), sqlite, key, mode, max_rows, columns)
        self.it.begin(wal=wal)
        if resident:
            from silt import manifest, observe

            self.it.handles = self.stack.enter_context(observe.Handles(manifest.load(self.it.site.manifest)))
        for row in rows:
            self.it.insert(row)

    @rule(rows=st.lists(ROW, min_size=1, max_size=5), upsert=st.booleans(), then=THEN)
    def insert(self, rows: list[Any], upsert: bool, then: str) -> None:
        """Rows come; an upsert may meet one that is there."""
        for row in rows:
            self.it.insert(row, upsert=upsert)
        self._look(then)

    @rule(which=st.integers(0, 50), row=ROW, last=st.booleans(), then=THEN)
    def update(self, which: int, row: list[Any], last: bool, then: str) -> None:
        """A row changes, the last one as often as all others."""
        if alive := self.it.alive():
            self.it.update(alive[-1] if last else alive[which % len(alive)], row)
        self._look(then)

    @rule(which=st.integers(0, 50), last=st.booleans(), then=THEN)
    def delete(self, which: int, last: bool, then: str) -> None:
        """A row goes."""
        if alive := self.it.alive():
            self.it.sql(f"DELETE FROM t WHERE serial = {alive[-1] if last else alive[which % len(alive)]}")
        self._look(then)

    @rule(kept=st.integers(0, 3))
    def purge(self, kept: int) -> None:
        """All go but the last ones."""
        alive = self.it.alive()
        gone = alive[: len(alive) - kept] if kept else alive
        self.it.sql(f"DELETE FROM t WHERE serial IN ({', '.join(map(str, gone)) or 'NULL'})")

    @rule()
    def vacuum(self) -> None:
        """The file is written anew."""
        self.it.sql("VACUUM")

    @rule()
    def wait(self) -> None:
        """Time goes on; until then changes share a moment."""
        self.it.tick += 1

    @precondition(lambda self: len(self.it.columns) < 6)
    @rule(name=NAMES, declared=DECLARED, default=DEFAULTS)
    def add_column(self, name: str, declared: str, default: str) -> None:
        """A column comes, with a default for rows that are there."""
        self.it.add(name, declared, default)

    @precondition(lambda self: self.it.columns)
    @rule(which=st.integers(0, 5))
    def drop_column(self, which: int) -> None:
        """A column goes."""
        self.it.drop(list(self.it.columns)[which % len(self.it.columns)])

    @precondition(lambda self: self.it.columns)
    @rule(which=st.integers(0, 5), to=NAMES)
    def rename_column(self, which: int, to: str) -> None:
        """A column has another name."""
        self.it.rename(list(self.it.columns)[which % len(self.it.columns)], to)

    @rule(look=LOOKS)
    def look(self, look: str) -> None:
        """silt looks; it may be killed."""
        self._look(look)

    def _look(self, look: str) -> None:
        if look == "cycle":
            event(f"{self.it.mode} {self.it.cycle()}")
        elif look:
            place, _, count = look.partition(":")
            landed = self.it.crash(place, int(count or 1))
            event(f"killed {look}" if landed else f"ended before {look}")

    @precondition(lambda self: self.it.held)
    @rule()
    def reset(self) -> None:
        """A person rebuilds what is held."""
        self.it.reset()

    def teardown(self) -> None:
        """Whatever happened, a last cycle holds or is right."""
        try:
            if hasattr(self, "it"):
                self.it.cycle()
                CRASHES.update(self.it.killed)
        finally:
            self.stack.close()


@pytest.mark.timeout(7200)
def test_whatever_happens() -> None:
    """Random schemas, changes of rows and columns, modes, cycles and SIGKILLs in between."""
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            phases=[Phase.explicit, Phase.generate],  # shrinking takes minutes
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert sum(CRASHES.values()) > 0, "no process was killed"
