"""Ranges of slice and source, put in order and laid side by side."""

from __future__ import annotations

import time
from itertools import chain
from pathlib import Path
from typing import Any

import kit
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from silt.observe import compare
from silt.replicate.changes import Changes


@given(
    numbers=st.lists(st.integers(0, 60), max_size=60, unique=True).map(sorted),
    text=st.booleans(),
    pieces=st.lists(st.integers(0, 3), min_size=60, max_size=60),
    shuffled=st.booleans(),
    run=st.sampled_from((1, 4, 256)),
)
def test_rows_that_come_in_turns_are_put_in_the_order_of_their_key(
    numbers: list[int], text: bool, pieces: list[int], shuffled: bool, run: int
) -> None:
    """Whichever reader brought which, each row is there once, in order: by runs, or one by one."""
    turns = [[n for n, piece in zip(numbers, pieces, strict=False) if piece == each] for each in range(4)]
    keys = [*chain.from_iterable(reversed(turns) if shuffled else turns)]
    named = [chr(300 + key) if text else key for key in keys]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compare, "RUN_ROWS", run)
        table = pa.table(
            {"k": named, "v": keys},
            schema=pa.schema({"k": pa.string() if text else pa.int64(), "v": pa.int64()}),
        )
        assert compare._sorted(table, ("k",)).column("v").to_pylist() == numbers


def test_floats_that_are_no_number_sort_one_by_one() -> None:
    """NaN rises and falls to nothing; no row is lost to it."""
    table = pa.table({"k": [2.0, float("nan"), 1.0, 3.0] * 600})
    assert len(compare._sorted(table, ("k",))) == 2_400


def test_the_table_is_nobody_else_s_while_a_range_is_looked_at(tmp_path: Path, monkeypatch: Any) -> None:
    """A commit of a mirror goes through the handle that the slice is read by: never both at once."""
    site, busy = kit.Site(tmp_path), []
    read, take = compare._Slice.rows, Changes.take

    def reading(self: Any, *bounds: Any) -> Any:
        busy.append(1)
        time.sleep(0.005)
        found = read(self, *bounds)
        busy.pop()
        return found

    def taking(self: Changes, found: Any) -> None:
        time.sleep(0.005)
        assert not busy
        take(self, found)

    monkeypatch.setattr(compare, "LEAST_ROWS", 1)
    monkeypatch.setattr(compare, "RANGE_BYTES", 1)
    site.sql("CREATE TABLE t (id INTEGER PRIMARY KEY, v INTEGER)")
    site.sql(("INSERT INTO t VALUES (?, ?)", [(n, n) for n in range(20)]))
    site.write("  t: {mode: mirror, batch: {max_rows: 2}}\n")
    assert site.one().rows == 20
    monkeypatch.setattr(compare._Slice, "rows", reading)
    monkeypatch.setattr(Changes, "take", taking)
    site.sql("UPDATE t SET v = v + 1 WHERE id % 5 = 0")
    result = site.one()
    assert (result.error, result.rows, result.batches) == (None, 4, 2)
    site.expect("t", "t")
