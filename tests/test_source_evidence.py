"""Windows: where the next batch ends, and how many rows it holds."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kit import sql

from silt.shapes import Extract, Field, Order
from silt.source import evidence as ev
from silt.source.clone import reflect
from silt.source.open import Snapshot, connect, pair

LEAST, GREATEST = -(2**63), 2**63 - 1
BLOCKS = st.lists(
    st.tuples(st.sampled_from((LEAST, -300, -3, 0, 5, 90, 10**12, GREATEST - 45)), st.integers(1, 40)),
    min_size=1,
    max_size=5,
)
"""Where runs of ids without a gap begin, and how long they are."""


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("windows") / "a.db"


@settings(max_examples=60)
@given(
    BLOCKS,
    st.integers(1, 50),
    st.sampled_from((1, 2)),
    st.none() | st.integers(0, 200),
    st.sampled_from((None, "id % 3 = 0")),
)
def test_windows_of_ids(path, blocks, max_rows, number, begin, where):
    """Whatever gaps ids have, and whoever counts them: a window holds the next `max_rows` rows, counted."""
    ids = sorted({start + place for start, length in blocks for place in range(length)})
    sql(path, "drop table if exists t", "create table t(id integer primary key)")
    sql(path, ("insert into t values (?)", [(each,) for each in ids]))
    lo = None if begin is None else (ids[min(begin, len(ids) - 1)],)
    left = [each for each in ids if lo is None or each > lo[0]]
    with pytest.MonkeyPatch.context() as patch, connect(str(path), busy_timeout=5) as connection:
        patch.setattr(ev, "_WORTH_TWO", 3)
        table = next(t for t in reflect(connection) if t.name == "t")
        shown = Field(name="id", type="bigint", source="id")
        extract = Extract(
            table=table, fields=(shown,), order=Order(kind="rowid", cursor=("id",)), where=where
        )
        with pair(connection) as both:
            assert len(both.readers) == 2
            found = list(windows(Snapshot(readers=both.readers[:number]), extract, lo, (ids[-1],), max_rows))
    expected = [left[at : at + max_rows] for at in range(0, len(left), max_rows)] or [[]]
    assert [(w.hi[0], w.scanned) for w in found if w.hi] == [
        (b[-1], len(b)) if b else (lo[0], 0) for b in expected
    ]
    assert [w.rows for w in found] == [sum(where is None or each % 3 == 0 for each in b) for b in expected]
    assert [w.last for w in found] == [False] * (len(expected) - 1) + [True]


def windows(snapshot, extract, lo, high, max_rows):
    while True:
        window = ev.window(snapshot, extract, lo, high, max_rows=max_rows)
        yield window
        if window.last:
            return
        lo = window.hi
