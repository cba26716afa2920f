"""Rows through Arrow: each exactly once and cell by cell, or an error that names the value."""

from __future__ import annotations

import math
import re
import threading
import time
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from kit import sql

from silt import types
from silt.errors import Misfit, RetryLater, SiltError, UserError
from silt.shapes import Extract, Field, Key, Order, Table, TableCensus
from silt.source import read
from silt.source.census import census
from silt.source.clone import reflect
from silt.source.cursor import detect
from silt.source.open import Snapshot, connect, find, pair
from silt.source.read import predicate, schema, stream
from silt.source.statement import relation

ROWID = Order(kind="rowid", cursor=("id",))


def tables(path: Path) -> dict[str, Table]:
    with connect(str(path), busy_timeout=5) as c:
        return {t.name: t for t in reflect(c)}


def extract(table: Table, kinds: dict[str, str], order: Order | None = ROWID, **more: Any) -> Extract:
    """An extract of the columns named in `kinds`, each `type` or `type/format`."""
    fields = []
    for name, kind in kinds.items():
        column = table.column(name)
        assert column is not None
        text, _, form = kind.partition("/")
        fields.append(
            Field(
                name=name,
                type=text,
                format=form or None,
                source=name,
                declared=column.declared,
                strict=table.strict,
            )
        )
    return Extract(table=table, fields=(*fields, *more.pop("extra", ())), order=order, **more)


def rows(
    path: Path,
    wanted: Extract,
    lo: Key | None = None,
    hi: Key | None = None,
    expected: int | None = None,
    **more: Any,
) -> list[dict[str, Any]]:
    with connect(str(path), busy_timeout=5) as c, pair(c) as snapshot:
        batches = list(stream(snapshot, wanted, lo, hi, expected, **more))
    assert all(batch.schema == schema(wanted) for batch in batches)
    return [row for batch in batches for row in batch.to_pylist()]


@pytest.fixture
def numbers(tmp_path: Path) -> Path:
    """1,000 rows, id and v equal, s text."""
    path = tmp_path / "n.db"
    sql(
        path,
        "create table t(id integer primary key, v int, s text)",
        ("insert into t values (?, ?, ?)", [(i, i, f"s{i}") for i in range(1, 1001)]),
    )
    return path


# --- the round trip -------------------------------------------------------------------------------

DECLARED = {
    "INTEGER": "bigint",
    "TEXT": "string",
    "REAL": "double",
    "BLOB": "binary",
    "NUMERIC": "double",
    "BOOLEAN": "boolean",
    "DECIMAL(6,2)": "decimal(6,2)",
    "DATE": "date",
    "DATETIME": "timestamp",
    "UUID": "string",
    "": "string/rendered",
    "BIGINT UNSIGNED": "int",
}

NUMBERS = st.one_of(
    st.integers(-5, 5),
    st.integers(-(2**63), 2**63 - 1),
    st.sampled_from(
        [2**53, 2**53 + 1, -(2**53) - 1, 0.5, 12.34, 12.345, 1e300, math.inf, -math.inf, -0.0, 5e-324]
    ),
    st.floats(allow_nan=False),
)
TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=("Cs",)), max_size=8),
    st.sampled_from(
        ["", "5", "1.5", "a\0b", "2024-02-29", "2024-02-30", "2024-01-02T03:04:05", "2024-01-02 03:04:05.25"]
    ),
    st.sampled_from(
        [
            "2024-01-02T03:04:05+02:00",
            "2024-01-02T03:04:05Z",
            "2024-01-02T24:00:00",
            "2024-01-02T03:04:05.1234567",
        ]
    ),
)
CELLS: dict[str, st.SearchStrategy[Any]] = {
    "mostly": st.none(),
    "numbers": NUMBERS,
    "texts": TEXTS,
    "blobs": st.binary(max_size=6),
}
LIKELY = {
    "bigint": st.integers(-(2**63), 2**63 - 1),
    "int": st.integers(-(2**31), 2**31 - 1),
    "boolean": st.integers(0, 1),
    "double": st.floats(allow_nan=False),
    "decimal(6,2)": st.integers(-999999, 999999).map(lambda n: n / 100),
    "string": TEXTS,
    "string/rendered": st.one_of(NUMBERS, TEXTS, st.binary(max_size=6)),
    "binary": st.binary(max_size=6),
    "date": st.dates().map(str),
    "timestamp": st.datetimes().map(lambda d: d.isoformat(sep=" ")),
}


@st.composite
def contents(draw: st.DrawFn) -> tuple[str, str, list[str], list[tuple[Any, ...]]]:
    """(key kind, strictness, declared types, rows): mostly what fits, now and then what does not."""
    key = draw(st.sampled_from(["ipk", "rowid", "without", "index"]))
    declared = draw(st.lists(st.sampled_from(sorted(DECLARED)), min_size=1, max_size=4))
    stray = st.one_of(st.none(), NUMBERS, TEXTS, st.binary(max_size=6))
    clean = draw(st.booleans())
    cells = [
        st.one_of(st.none(), LIKELY[DECLARED[d]]) if clean else st.one_of(LIKELY[DECLARED[d]], stray)
        for d in declared
    ]
    return key, "", declared, draw(st.lists(st.tuples(*cells), max_size=12))


MISFIT = object()


def fitted(value: Any, kind: str) -> Any:
    """What the lake should hold for a raw value: written anew here, with nothing of silt's."""
    if value is None:
        return None
    if kind == "string/rendered":
        return value
    if kind in ("string", "binary"):
        return value if isinstance(value, str if kind == "string" else bytes) else MISFIT
    if kind in ("date", "timestamp"):
        return _moment(value, kind) if isinstance(value, str) else MISFIT
    if not isinstance(value, int | float):
        return MISFIT
    if kind == "double":
        return value if float(value) == value else MISFIT
    if kind.startswith("decimal"):
        if math.isinf(value) or abs(value) >= 10000:
            return MISFIT
        exact = Decimal(str(value))
        return exact if exact == round(exact, 2) else MISFIT
    if math.isinf(value) or value != int(value):
        return MISFIT
    bounds = {"bigint": (-(2**63), 2**63 - 1), "int": (-(2**31), 2**31 - 1), "boolean": (0, 1)}[kind]
    return value if bounds[0] <= value <= bounds[1] else MISFIT


def _moment(text: str, kind: str) -> Any:
    form = r"\d{4}-\d\d-\d\d" + (
        r"([T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:\d\d)?)?" if kind == "timestamp" else ""
    )
    if not re.fullmatch(form, text):
        return MISFIT
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return MISFIT
    if kind == "date":
        return moment.date()
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def same(got: Any, want: Any, raw: Any, kind: str) -> bool:
    """Equal, and where the value was rendered, equal to what its text says."""
    if kind != "string/rendered" or raw is None:
        return got == want
    if isinstance(raw, bytes):
        return got == f"x'{raw.hex().upper()}'"
    if isinstance(raw, float):
        return float(got.replace("9.0e+999", "inf")) == raw
    return got == str(raw)


def _create(key: str, declared: list[str]) -> list[str]:
    columns = ", ".join(f"c{i} {d}" for i, d in enumerate(declared))
    match key:
        case "ipk":
            return [f"create table t(id integer primary key, {columns})"]
        case "rowid":
            return [f"create table t(id int, {columns})"]
        case "without":
            return [f"create table t(id int primary key, {columns}) without rowid"]
        case _:
            return [f"create table t(id int not null unique, {columns})"]


@settings(max_examples=40)
@given(contents())
def test_any_values_arrive_cell_by_cell_or_the_misfit_is_named(tmp_path_factory, content):
    """What another reader sees of the file is what the batches hold; else a value that misfits is named."""
    key, _, declared, values = content
    path = tmp_path_factory.mktemp("r") / "a.db"
    marks = ", ".join("?" * (len(declared) + 1))
    insert = (f"insert into t values ({marks})", [(i, *v) for i, v in enumerate(values)])
    sql(path, *_create(key, declared), *([insert] if values else []))
    kinds = {f"c{i}": DECLARED[d] for i, d in enumerate(declared)}
    order = {"ipk": ROWID, "rowid": Order(kind="rowid", cursor=("rowid",)), "without": None}.get(
        key, Order(kind="columns", cursor=("id",))
    )
    wanted = extract(tables(path)["t"], {"id": "bigint", **kinds}, order)
    raw = {r[0]: r[1:] for r in sql(path, "select * from t")}
    want = {i: [fitted(v, k) for v, k in zip(r, kinds.values(), strict=True)] for i, r in raw.items()}
    misfits = {(f"c{j}", i) for i, r in want.items() for j, v in enumerate(r) if v is MISFIT}
    try:
        got = {r["id"]: list(r.values())[1:] for r in rows(path, wanted, expected=len(values))}
    except Misfit as error:
        named = re.match(r"t\.(c\d) holds (integer|real|text|blob) ", error.what)
        assert named is not None
        assert named[1] in {name for name, _ in misfits}
    else:
        assert not misfits
        assert got.keys() == raw.keys()
        for i, r in got.items():
            for value, w, stored, kind in zip(r, want[i], raw[i], kinds.values(), strict=True):
                assert same(value, w, stored, kind), (value, w, stored, kind)


@pytest.mark.parametrize("batch_rows", [1, 4])
def test_misfits_are_found_wherever_they_stand(tmp_path, batch_rows, monkeypatch):
    """In the first batch a misfit changes its column's type, in later ones it may change silently (FACTS)."""
    monkeypatch.setattr(read, "MAX_BATCH_ROWS", batch_rows)
    strays = [
        ("a int", 2.5),
        ("a int", "x"),
        ("a int", b"x"),
        ("a real", "x"),
        ("a real", b"x"),
        ("a numeric", 2**60 + 1),
    ]
    strays += [
        ("a text", b"x"),
        ("a uuid", 5),
        ("a uuid", b""),
        ("a blob", 5),
        ("a blob", "x"),
        ("a blob", 2.5),
    ]
    kinds = {
        "int": "bigint",
        "real": "double",
        "numeric": "double",
        "text": "string",
        "uuid": "string",
        "blob": "binary",
    }
    for place in (1, 10):
        for number, (declared, stray) in enumerate(strays):
            path = tmp_path / f"{place}-{number}.db"
            kind = kinds[declared.split()[1]]
            good = {"bigint": 1, "double": 0.5, "string": "g", "binary": b"g"}[kind]
            values = [(i, stray if i == place else good) for i in range(1, 11)]
            sql(
                path,
                f"create table t(id integer primary key, {declared})",
                ("insert into t values (?, ?)", values),
            )
            with pytest.raises(Misfit, match=rf"^t\.a holds \w+ .* at id {place}: no {kind}$|^t\.a holds"):
                rows(path, extract(tables(path)["t"], {"id": "bigint", "a": kind}))


def test_a_misfit_names_table_column_rowid_class_and_value(tmp_path):
    """And says what to do; long values are shortened."""
    path = tmp_path / "a.db"
    sql(
        path,
        'create table "my t"(id integer primary key, "a b" int)',
        ('insert into "my t" values (?, ?)', [(1, 1), (7, "x" * 500)]),
    )
    with pytest.raises(Misfit) as caught:
        rows(path, extract(tables(path)["my t"], {"id": "bigint", "a b": "bigint"}))
    assert caught.value.what.startswith("my t.a b holds text 'xxx")
    assert caught.value.what.endswith("... at id 7: no bigint")
    assert len(caught.value.what) < 150
    assert caught.value.on == str(path)
    assert "type: string" in caught.value.hint


def test_a_misfit_without_a_rowid_is_named_by_its_key(tmp_path):
    """WITHOUT ROWID tables have no rowid: the key says which row."""
    path = tmp_path / "a.db"
    sql(path, "create table w(k text, n int, v int, primary key(k, n)) without rowid")
    sql(path, ("insert into w values (?, ?, ?)", [("a", 1, 1), ("b", 2, "x"), ("c", 3, 3)]))
    wanted = extract(tables(path)["w"], {"k": "string", "n": "bigint", "v": "bigint"}, None)
    with pytest.raises(Misfit, match=re.escape("w.v holds text 'x' at (k, n) = ('b', 2): no bigint")):
        rows(path, wanted)


def test_text_that_is_no_utf8_is_a_misfit(tmp_path):
    """SQLite checks no encoding; a lake's reader does (DESIGN 5)."""
    path = tmp_path / "a.db"
    sql(
        path,
        "create table t(id integer primary key, s text)",
        "insert into t values (1, 'a'), (2, cast(x'61ff' as text))",
    )
    with pytest.raises(Misfit, match="at id 2: no string") as caught:
        rows(path, extract(tables(path)["t"], {"id": "bigint", "s": "string"}))
    assert "UTF-8" in caught.value.why


def test_what_only_the_careful_path_carries_is_delivered(tmp_path, monkeypatch):
    """Values that the fast path must refuse, but that fit exactly, arrive; every row once."""
    monkeypatch.setattr(read, "MAX_BATCH_ROWS", 10)
    path = tmp_path / "a.db"
    values = [(i, i / 2 if i % 2 else None, f"2024-01-01T00:00:{i % 60:02}", i) for i in range(1, 201)]
    values[99] = (
        100,
        2**60,
        "2024-01-01T00:00:00.1200000000",
        100.0,
    )  # exact as a double; zeros only past 6 digits
    values[149] = (150, 1.0, "2024-01-01T02:00:00.5+02:00", 150)
    sql(
        path,
        "create table t(id integer primary key, d numeric, ts datetime, n)",
        ("insert into t values (?, ?, ?, ?)", values),
    )
    wanted = extract(tables(path)["t"], {"id": "bigint", "d": "double", "ts": "timestamp/iso", "n": "bigint"})
    got = rows(path, wanted, expected=200)
    assert [r["id"] for r in got] == list(range(1, 201))
    assert got[99] == {
        "id": 100,
        "d": float(2**60),
        "ts": datetime(2024, 1, 1, 0, 0, 0, 120000, UTC),
        "n": 100,
    }
    assert got[149]["ts"] == datetime(2024, 1, 1, 0, 0, 0, 500000, UTC)


@pytest.mark.parametrize("kind", ["without", "index"])
def test_the_careful_path_takes_up_where_the_fast_one_stopped(tmp_path, monkeypatch, kind):
    """Also where no rowid tells what was delivered: the scan's fixed order and a count do."""
    monkeypatch.setattr(read, "MAX_BATCH_ROWS", 10)
    path = tmp_path / "a.db"
    made = {
        "without": "create table t(k text primary key, d numeric) without rowid",
        "index": "create table t(k text not null unique, d numeric)",
    }
    values = [(f"k{(i * 37) % 100:03}", 2**60 if i == 80 else i) for i in range(100)]
    sql(path, made[kind], ("insert into t values (?, ?)", values))
    order = Order(kind="columns", cursor=("k",))
    got = rows(path, extract(tables(path)["t"], {"k": "string", "d": "double"}, order), ("k004",), None, 95)
    assert sorted((r["k"], r["d"]) for r in got) == sorted((k, float(d)) for k, d in values if k > "k004")


# --- ranges ---------------------------------------------------------------------------------------


def test_the_range_is_half_open(numbers):
    """lo < key <= hi, either may be missing."""
    wanted = extract(tables(numbers)["t"], {"id": "bigint"})
    assert [r["id"] for r in rows(numbers, wanted, (10,), (13,), 3)] == [11, 12, 13]
    assert [r["id"] for r in rows(numbers, wanted, None, (2,), 2)] == [1, 2]
    assert [r["id"] for r in rows(numbers, wanted, (998,), None, 2)] == [999, 1000]
    assert rows(numbers, wanted, (13,), (13,), 0) == []
    assert rows(numbers, wanted, (5000,), None, 0) == []


def test_negative_and_extreme_rowids(tmp_path):
    """A row of id -5 once came before the lead row and was lost with it (FACTS)."""
    path = tmp_path / "a.db"
    ids = [-(2**63), -5, 0, 1, 2**63 - 1]
    sql(
        path,
        "create table t(id integer primary key, v text)",
        ("insert into t values (?, ?)", [(i, str(i)) for i in ids]),
    )
    wanted = extract(tables(path)["t"], {"id": "bigint", "v": "string"})
    assert [r["id"] for r in rows(path, wanted, expected=5)] == ids
    assert [r["id"] for r in rows(path, wanted, (-5,), (1,), 2)] == [0, 1]


def test_an_empty_table_has_no_batches(tmp_path):
    """No row, no error; the schema is known without one."""
    path = tmp_path / "a.db"
    sql(path, "create table t(id integer primary key, v text)")
    wanted = extract(tables(path)["t"], {"id": "bigint", "v": "string"})
    assert rows(path, wanted, expected=0) == []
    assert schema(wanted) == pa.schema([("id", pa.int64()), ("v", pa.string())])


def test_keys_of_several_columns_compare_as_row_values(tmp_path):
    """(ts, id) past the position: ties go by id; NULLs are in no range."""
    path = tmp_path / "a.db"
    values = [(1, "b", 1), (2, "a", 1), (3, "b", 1), (4, "c", 1), (5, None, 1), (6, "b", 1)]
    order = Order(kind="columns", cursor=("ts",), tie=("id",))
    for index in ("", "create index i on t(ts)"):
        sql(path, "drop table if exists t", "create table t(id integer primary key, ts text, v)")
        sql(path, ("insert into t values (?, ?, ?)", values), *([index] if index else []))
        wanted = extract(tables(path)["t"], {"id": "bigint", "ts": "string"}, order)
        assert sorted(r["id"] for r in rows(path, wanted, ("b", 1), ("b", 6), 2)) == [3, 6]
        assert sorted(r["id"] for r in rows(path, wanted, None, None, 5)) == [1, 2, 3, 4, 6]
        assert sorted(r["id"] for r in rows(path, wanted, ("b", 6), None, 1)) == [4]


def test_keys_compare_by_the_columns_own_collation(tmp_path):
    """NOCASE orders as the index does; a collation that only an application has is read as BINARY."""
    path = tmp_path / "a.db"
    sql(path, "create table t(k text collate nocase not null unique, v int)")
    sql(path, ("insert into t values (?, ?)", [("a", 1), ("B", 2), ("c", 3), ("D", 4)]))
    wanted = extract(tables(path)["t"], {"k": "string"}, Order(kind="columns", cursor=("k",)))
    assert [r["k"] for r in rows(path, wanted, ("b",), ("d",), 2)] == ["c", "D"]
    from subprocess import run
    from sys import executable

    other = tmp_path / "b.db"
    script = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]);"
        "c.create_collation('APP', lambda a, b: (a < b) - (a > b));"
        "c.execute('create table t(k text collate APP not null, v int)');"
        "c.executemany('insert into t values (?, 1)', [('a',), ('b',), ('c',)]); c.commit()"
    )
    run([executable, "-c", script, str(other)], check=True)
    wanted = extract(tables(other)["t"], {"k": "string"}, Order(kind="columns", cursor=("k",)))
    assert sorted(r["k"] for r in rows(other, wanted, ("a",), ("c",), 2)) == ["b", "c"]


def test_rows_with_a_null_cursor_are_read_by_rowid(tmp_path):
    """`only_nulls` reads what no range holds, past one rowid up to another."""
    path = tmp_path / "a.db"
    sql(path, "create table t(id integer primary key, ts text)")
    sql(path, ("insert into t values (?, ?)", [(i, None if i % 3 == 0 else "x") for i in range(1, 31)]))
    wanted = extract(
        tables(path)["t"],
        {"id": "bigint", "ts": "string"},
        Order(kind="columns", cursor=("ts",), tie=("id",)),
    )
    assert [r["id"] for r in rows(path, wanted, expected=5, only_nulls=(None, 15))] == [3, 6, 9, 12, 15]
    assert [r["id"] for r in rows(path, wanted, expected=2, only_nulls=(6, 12))] == [9, 12]


def test_counts_by_the_predicate_are_the_rows_read(numbers):
    """Evidence counts with the very condition that the reader reads by."""
    table = tables(numbers)["t"]
    wanted = extract(table, {"id": "bigint"}, Order(kind="columns", cursor=("v",), tie=("id",)))
    count = (
        sa.select(sa.func.count()).select_from(relation(table)).where(predicate(wanted, (10, 10), (20, 20)))
    )
    with connect(str(numbers), busy_timeout=1) as c:
        assert c.rows(count) == [(10,)]
    assert len(rows(numbers, wanted, (10, 10), (20, 20), 10)) == 10


@pytest.mark.parametrize("expected", [999, 1001, 0])
def test_another_number_of_rows_than_was_counted_is_an_error(numbers, expected):
    """A swallowed error once lost half a table with exit code 0 (FACTS): the count tells."""
    with pytest.raises(RetryLater, match=rf"1,000 rows were read of t where {expected:,} had been counted"):
        rows(numbers, extract(tables(numbers)["t"], {"id": "bigint"}), expected=expected)


# --- where ----------------------------------------------------------------------------------------


def test_where_filters_and_may_end_in_a_comment(numbers):
    """It is parenthesised, and a trailing comment eats no parenthesis."""
    table = tables(numbers)["t"]
    where = "v % 2 = 0 or v = 1 -- even, and the first"
    assert [r["id"] for r in rows(numbers, extract(table, {"id": "bigint"}, where=where), None, (5,), 3)] == [
        1,
        2,
        4,
    ]
    colon = "s <> ':v' and s not like '%(x)s'"
    assert len(rows(numbers, extract(table, {"id": "bigint"}, where=colon), None, (5,), 5)) == 5


@pytest.mark.parametrize("order", [ROWID, Order(kind="columns", cursor=("v",), tie=("id",))])
def test_a_where_that_breaks_out_of_its_parentheses_reads_nothing_outside_the_range(numbers, order):
    """Rows outside the range would be read twice by the next cycle."""
    wanted = extract(tables(numbers)["t"], {"id": "bigint", "v": "bigint"}, order, where="v = 1) or (v = 2")
    lo, hi = ((10,), (20,)) if order is ROWID else ((10, 10), (20, 20))
    assert rows(numbers, wanted, lo, hi) == []
    assert len(rows(numbers, wanted, None, hi)) == 2


def test_the_scan_goes_by_rowid_whatever_index_there_is(numbers):
    """A rowid range in the order of another index could not be taken up after a refusal: NOT INDEXED."""
    sql(numbers, "update t set v = -id", "create index i on t(v, s)")
    wanted = extract(tables(numbers)["t"], {"id": "bigint", "v": "bigint"}, where="v in (-3, -1, -2)")
    assert [r["id"] for r in rows(numbers, wanted, None, None, 3)] == [1, 2, 3]


def test_a_where_that_does_not_parse_is_the_users(numbers):
    """The statement's own error, with the `where` in the hint: no misfit."""
    with pytest.raises(UserError, match="no such column: nope") as caught:
        rows(numbers, extract(tables(numbers)["t"], {"id": "bigint"}, where="nope > 5"))
    assert not isinstance(caught.value, Misfit)
    assert "nope > 5" in caught.value.hint


def test_a_table_dropped_since_is_named(numbers):
    """Planned, then dropped: an error that says so, whichever statement meets it first."""
    wanted = extract(tables(numbers)["t"], {"id": "bigint"})
    sql(numbers, "drop table t")
    for expected in (None, 1000):
        with pytest.raises(UserError, match=r"no such table|cannot be read"):
            rows(numbers, wanted, expected=expected)


# --- views, lineage, constants --------------------------------------------------------------------


def test_views_are_read_whole_and_by_their_declared_key(numbers):
    """A view's columns have no affinity to trust: each value goes by its own class."""
    sql(numbers, "create view w as select v as k, s, v + 0.0 as r, null as z from t where v <= 5")
    view = tables(numbers)["w"]
    kinds = {"k": "bigint", "s": "string", "r": "double", "z": "string/rendered"}
    assert rows(numbers, extract(view, kinds, None), expected=5)[4] == {
        "k": 5,
        "s": "s5",
        "r": 5.0,
        "z": None,
    }
    order = Order(kind="columns", cursor=("k",), rises=False)
    assert [r["k"] for r in rows(numbers, extract(view, kinds, order), (2,), (4,), 2)] == [3, 4]


def test_a_views_key_must_tell_its_rows_apart(numbers):
    """No schema promises it, so each read checks: two rows of one key would be lost or doubled."""
    sql(numbers, "create view w as select v % 10 as k, v from t")
    order = Order(kind="columns", cursor=("k",), rises=False)
    wanted = extract(tables(numbers)["w"], {"k": "bigint", "v": "bigint"}, order)
    with pytest.raises(UserError, match="does not tell its rows apart"):
        rows(numbers, wanted)
    whole = extract(
        tables(numbers)["w"],
        {"k": "bigint", "v": "bigint"},
        Order(kind="columns", cursor=("k",), tie=("v",), rises=False),
    )
    assert len(rows(numbers, whole, expected=1000)) == 1000


def test_lineage_constants_and_missing_columns(numbers):
    """Node, database, rowid, the moment; values in their type; what the table lacks arrives NULL."""
    moment = datetime(2024, 5, 6, 7, 8, 9, 10, UTC)
    extra = (
        Field(name="_silt_node", type="string", lineage="node"),
        Field(name="_silt_database", type="string", lineage="database"),
        Field(name="_silt_rowid", type="bigint", lineage="rowid"),
        Field(name="_silt_loaded_at", type="timestamp", lineage="loaded_at"),
        Field(name="site", type="string", value="é"),
        Field(name="price", type="decimal(5,2)", value="1.50"),
        Field(name="day", type="date", value="2024-01-02"),
        Field(name="gone", type="double"),
    )
    wanted = extract(tables(numbers)["t"], {"s": "string"}, node="edge", database="eu/acme", extra=extra)
    assert rows(numbers, wanted, (4,), (5,), 1, loaded_at=moment) == [
        {
            "s": "s5",
            "_silt_node": "edge",
            "_silt_database": "eu/acme",
            "_silt_rowid": 5,
            "_silt_loaded_at": moment,
            "site": "é",
            "price": Decimal("1.50"),
            "day": date(2024, 1, 2),
            "gone": None,
        }
    ]


def test_two_equal_extracts_read_alike(numbers):
    """Recipes are cached by value: an extract made anew must not meet the fields of another object."""
    for _ in range(2):
        table = tables(numbers)["t"]
        assert rows(numbers, extract(table, {"v": "bigint", "s": "string"}), (4,), (5,), 1) == [
            {"v": 5, "s": "s5"}
        ]


def test_every_odd_name_is_read(tmp_path):
    """Names reach SQL quoted by SQLAlchemy, and nothing takes them for parameters."""
    odd = ["order", "a b", 'x"y', "%(a)s", "a:b", "?", "é", "É", "new\nline"]
    path = tmp_path / "a.db"
    quoted = ['"' + n.replace('"', '""') + '"' for n in odd]
    values = list(range(len(odd)))
    for q in quoted:
        sql(
            path,
            f"create table {q}({', '.join(f'{c} int' for c in quoted)})",
            (f"insert into {q} values ({','.join('?' * len(odd))})", [values]),
        )
    for name, table in tables(path).items():
        order = Order(kind="columns", cursor=(odd[0],), tie=("rowid",), rises=False, renumbers=True)
        for how in (order, Order(kind="rowid", cursor=("rowid",)), None):
            assert rows(path, extract(table, dict.fromkeys(odd, "bigint"), how), expected=1) == [
                dict(zip(odd, values, strict=True))
            ], name


# --- threads and batches --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """300,000 rows with gaps in their ids, in WAL mode."""
    path = tmp_path_factory.mktemp("many") / "m.db"
    sql(
        path,
        "pragma journal_mode=wal",
        "create table t(id integer primary key, v int, s text)",
        "with recursive n(i) as (select 1 union all select i + 1 from n where i < 300000)"
        " insert into t select i * 3 + (i > 150000) * 1000000, i, 'text ' || i from n",
    )
    return path


def test_two_readers_read_each_row_once(many):
    """Pieces of the key's range on two threads are the union that one reader sees."""
    wanted = extract(tables(many)["t"], {"id": "bigint", "v": "bigint"})
    names: set[str] = set()
    plain = read._fast

    def watched(*args: Any) -> Any:
        names.add(threading.current_thread().name)
        return plain(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(read, "_fast", watched)
        with connect(str(many), busy_timeout=5) as c, pair(c) as snapshot:
            assert len(snapshot.readers) == 2
            batches = list(stream(snapshot, wanted, None, None, 300_000))
    got = pa.Table.from_batches(batches)
    assert sorted(got["v"].to_pylist()) == list(range(1, 300_001))
    assert len(batches) > 4


@pytest.mark.parametrize("index", ["", "create index by_v on t(v)"])
@pytest.mark.parametrize("step", [1, 7, 15_013])
def test_a_window_of_another_order_is_read_between_its_rowids(tmp_path, step, index):
    """Its rows are the same whether they lie together, so that two readers scan them, or far apart."""
    path, count = tmp_path / "w.db", 60_000
    sql(path, "create table t(id integer primary key, v int, s text)", *([index] if index else []))
    sql(
        path,
        f"with recursive n(i) as (select 1 union all select i + 1 from n where i < {count})"
        f" insert into t select i, (i * {step}) % {count + 1} / 2, 'text ' || i from n",
    )
    order = Order(kind="columns", cursor=("v",), tie=("id",))
    wanted = extract(tables(path)["t"], {"id": "bigint", "v": "bigint", "s": "string"}, order=order)
    lo, hi = (1_000, 77), (9_000, 50_000)
    there = sql(path, ("select * from t where (v, id) > (?, ?) and (v, id) <= (?, ?)", (*lo, *hi)))
    with connect(str(path), busy_timeout=5) as c, pair(c) as snapshot:
        ends = read.rowids(c, wanted, lo, hi)
        batches = list(stream(snapshot, wanted, lo, hi, len(there), ends=ends))
    assert ends == (min(row[0] for row in there), max(row[0] for row in there))
    got = pa.Table.from_batches(batches)
    assert sorted(zip(*got.to_pydict().values(), strict=True)) == sorted(there)


def test_an_error_in_a_reader_reaches_the_consumer(many, monkeypatch):
    """Whatever is raised in a thread is raised here; nothing ends quietly."""
    wanted = extract(tables(many)["t"], {"id": "bigint", "v": "bigint"})
    plain, calls = read._fast, []

    def failing(*args: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise RetryLater("the database is locked")
        return plain(*args)

    monkeypatch.setattr(read, "_fast", failing)
    with (
        connect(str(many), busy_timeout=5) as c,
        pair(c) as snapshot,
        pytest.raises(RetryLater, match="locked"),
    ):
        list(stream(snapshot, wanted, None, None, 300_000))


def test_two_readers_work_at_once_on_few_but_wide_rows(tmp_path, monkeypatch):
    """What is worth two readers is decided by bytes: 2,000 of 10 kB are.  One reader took half longer."""
    monkeypatch.setattr(read, "_SMALL_FILE", 0)
    monkeypatch.setattr(read, "INLINE_ROWS", 0)
    path = tmp_path / "a.db"
    sql(
        path,
        "create table t(id integer primary key, b blob)",
        ("insert into t values (?, ?)", [(i, bytes([i % 251]) * 10_000) for i in range(1, 2001)]),
    )
    wanted = extract(tables(path)["t"], {"id": "bigint", "b": "binary"})
    both = threading.Barrier(2, timeout=30)
    first = iter([True, True])
    plain = read._fast

    def together(*args: Any) -> Any:
        if next(first, False):
            both.wait()  # broken, and with it the read, unless a second reader is there
        return plain(*args)

    monkeypatch.setattr(read, "_fast", together)
    with connect(str(path), busy_timeout=5) as c, pair(c) as snapshot:
        got = pa.Table.from_batches(stream(snapshot, wanted, None, None, 2000))
    assert sorted(got["id"].to_pylist()) == list(range(1, 2001))


@pytest.mark.parametrize("rows", [10, 600, 2_400, 100_000])
def test_pieces_cover_the_range_once_and_come_in_pairs(rows):
    """Each rowid lies in one piece; an odd piece at the end would leave one reader idle."""
    pieces = read._pieces(read._Piece(lo=-7, hi=rows - 8), rows, 100)
    assert [n for p in pieces for n in range(p.lo, p.hi + 1)] == list(range(-7, rows - 7))
    assert len(pieces) == 1 or len(pieces) % 2 == 0
    assert (len(pieces) > 1) == (rows > 300)


@pytest.mark.parametrize("take", [0, 1, 3])
def test_threads_end_when_the_consumer_stops(many, take):
    """Closing the generator ends its readers, and the connections can be used again."""
    wanted = extract(tables(many)["t"], {"id": "bigint", "s": "string"})
    before = threading.active_count()
    with connect(str(many), busy_timeout=5) as c, pair(c) as snapshot:
        batches = stream(snapshot, wanted, None, None, 300_000)
        for _ in range(take):
            next(batches)
        batches.close()
        assert threading.active_count() == before
        assert snapshot.first.rows(sa.select(sa.func.count()).select_from(relation(wanted.table))) == [
            (300_000,)
        ]


def test_a_slow_consumer_bounds_what_is_held(many, monkeypatch):
    """The queue is bounded by bytes: readers wait for the consumer."""
    monkeypatch.setattr(read, "QUEUE_BYTES", 200_000)
    monkeypatch.setattr(read, "MAX_BATCH_ROWS", 2_000)
    made: list[int] = []
    plain = read._read

    def counted(*args: Any) -> Any:
        for batch in plain(*args):
            made.append(batch.nbytes)
            yield batch

    monkeypatch.setattr(read, "_read", counted)
    wanted = extract(tables(many)["t"], {"id": "bigint", "s": "string"})
    with connect(str(many), busy_timeout=5) as c, pair(c) as snapshot:
        batches = stream(snapshot, wanted, None, None, 300_000)
        next(batches)
        time.sleep(0.5)
        held = sum(made)
        rest = sum(b.num_rows for b in batches)
    assert held < 600_000 < sum(made)  # the queue, what was taken, and a batch in each reader's hand
    assert rest > 290_000


def test_batches_follow_the_bytes_of_rows(tmp_path, monkeypatch):
    """Wide rows make short batches: memory follows bytes, not rows."""
    monkeypatch.setattr(read, "_SMALL_FILE", 0)
    monkeypatch.setattr(read, "BATCH_BYTES", 200_000)
    path = tmp_path / "a.db"
    sql(path, "create table t(id integer primary key, b blob)")
    sql(
        path,
        "with recursive n(i) as (select 1 union all select i + 1 from n where i < 400)"
        " insert into t select i, randomblob(20000) from n",
    )
    wanted = extract(tables(path)["t"], {"id": "bigint", "b": "binary"})
    with connect(str(path), busy_timeout=5) as c, pair(c) as snapshot:
        sizes = [b.nbytes for b in stream(snapshot, wanted, None, None, 400)]
    assert max(sizes) <= 300_000
    assert len(sizes) >= 25


def test_an_outlier_among_small_rows_is_refused_and_read_carefully(tmp_path, monkeypatch):
    """In a large file a value past a batch's bytes leaves the fast path: a batch must never near 2 GiB."""
    monkeypatch.setattr(read, "_LARGE_FILE", 0)
    monkeypatch.setattr(read, "BATCH_BYTES", 50_000)
    monkeypatch.setattr(read, "_SMALL_FILE", 0)
    path = tmp_path / "a.db"
    sql(path, "create table t(id integer primary key, b blob)")
    sql(
        path,
        ("insert into t values (?, ?)", [(i, b"x" * (100_000 if i == 150 else 10)) for i in range(1, 201)]),
    )
    wanted = extract(tables(path)["t"], {"id": "bigint", "b": "binary"})
    carefully = []
    plain = read._careful
    monkeypatch.setattr(read, "_careful", lambda *args: carefully.append(1) or plain(*args))
    got = rows(path, wanted, expected=200)
    assert [len(r["b"]) for r in got if r["id"] == 150] == [100_000]
    assert carefully


# --- real databases -------------------------------------------------------------------------------


def test_real_databases_read_whole(real_databases):
    """Every table of the real databases arrives with every row and as the types that a census chooses."""
    total = 0
    for path in (Path(d.path) for d in find(str(real_databases / "*"))):
        for table in tables(path).values():
            with connect(str(path), busy_timeout=5) as c:
                seen = census(c, table)
                wanted = Extract(table=table, fields=_chosen(table, seen), order=detect(table, seen).order)
                with c.snapshot() as reader:
                    batches = list(stream(Snapshot(readers=(reader,)), wanted, None, None, None))
            # counted by another library in another process
            assert sum(b.num_rows for b in batches) == sql(path, f'select count(*) from "{table.name}"')[0][0]
            total += sum(b.num_rows for b in batches)
    assert total > 41_000


def _chosen(table: Table, seen: TableCensus) -> tuple[Field, ...]:
    chosen = [(c, *types.choose(c, seen.column(c.name))) for c in table.columns]
    return tuple(
        Field(name=c.name, type=kind, format=form, source=c.name, declared=c.declared)
        for c, kind, form, _ in chosen
    )


def test_a_locked_database_is_for_later(numbers):
    """Nothing of the reader's own turns a lock into a misfit."""
    wanted = extract(tables(numbers)["t"], {"id": "bigint"})
    with connect(str(numbers), busy_timeout=0.1) as c:
        from subprocess import PIPE, Popen
        from sys import executable

        hold = (
            "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None);"
            "c.execute('begin exclusive'); print(1, flush=True); sys.stdin.read()"
        )
        holder = Popen([executable, "-c", hold, str(numbers)], stdin=PIPE, stdout=PIPE)
        assert holder.stdout is not None
        holder.stdout.readline()
        try:
            with pytest.raises(RetryLater, match="locked"):
                list(stream(Snapshot(readers=(c,)), wanted, None, None, 1000))
        finally:
            holder.communicate()


def test_errors_are_one_tree():
    """Whatever the reader raises is one of silt's, so a caller needs no list."""
    assert issubclass(Misfit, SiltError)
