"""What a table's statistics rule out is never there."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake
from hypothesis import given, settings
from hypothesis import strategies as st

from silt import target
from silt.target.stats import may_hold

NUMBERS = st.one_of(st.none(), st.integers(-3, 3), st.sampled_from((2**63 - 1, -(2**63), 2**53 + 1)))
TEXTS = st.one_of(st.none(), st.sampled_from(("", "a", "A", "ä", "\U0001f600", "z" * 90, "z" * 91, "\uffff")))
ROWS = st.lists(st.tuples(NUMBERS, TEXTS), min_size=1, max_size=3)


def _table(rows: list[tuple[int | None, str | None]]) -> pa.Table:
    ids, texts = zip(*rows, strict=True)
    return pa.table({"id": pa.array(ids, pa.int64()), "db": pa.array(texts, pa.string())})


@settings(max_examples=60, deadline=None)
@given(
    files=st.lists(ROWS, min_size=1, max_size=3),
    partitioned=st.booleans(),
    db=TEXTS,
    bounds=st.tuples(NUMBERS, NUMBERS),
)
def test_a_row_that_is_there_may_be_there(files, partitioned, db, bounds) -> None:
    """Whatever the files hold, a predicate that matches a row is never ruled out, partitioned or not."""
    with TemporaryDirectory() as folder:
        for rows in files:
            found = _table([(i, t or "-") for i, t in rows] if partitioned else rows)
            write_deltalake(folder, found, mode="append", partition_by=["db"] if partitioned else None)
        asked = target.Predicate(equals=(("db", db),), between=("id", *bounds))
        lake = DeltaTable(folder)
        answer = may_hold(pa.table(lake.get_add_actions(flatten=True)), asked)
        kept = lake.to_pyarrow_table().to_pylist()
    low, high = bounds
    there = [r for r in kept if r["db"] == db and r["id"] is not None]
    there = [r for r in there if (low is None or r["id"] >= low) and (high is None or r["id"] <= high)]
    assert answer or not there


def test_what_lies_beyond_every_file_is_ruled_out(tmp_path: Path) -> None:
    """By the key's range or by the slice; without files nothing is, without statistics anything may be."""
    write_deltalake(tmp_path, _table([(1, "a"), (5, "a")]))
    write_deltalake(tmp_path, _table([(3, "b"), (9, None)]), mode="append")
    table = target.open_table(str(tmp_path), {})
    assert table is not None

    def may(db: str | None, low: int | None, high: int | None) -> bool:
        return table.may_hold(target.Predicate(equals=(("db", db),), between=("id", low, high)))

    assert [may("a", 5, 7), may("a", 6, 7), may("b", 9, 20), may("b", 10, 20)] == [True, False, True, False]
    assert [may("c", 1, 9), may(None, 1, 9), may("a", None, 0), may("a", None, 1)] == [
        False,
        True,
        False,
        True,
    ]
    assert table.may_hold(target.Predicate(equals=(("other", "x"),), between=("id", 4, 4)))
    files = pa.table(DeltaTable(tmp_path).get_add_actions(flatten=True))
    assert not may_hold(files.slice(0, 0), target.Predicate(equals=()))
