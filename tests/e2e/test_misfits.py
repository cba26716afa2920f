"""Misfits are rescued: the row arrives, and columns + `_rescued_data` give the source back exactly."""

from __future__ import annotations

import json
import math
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import Any

import kit
import pytest
from clirun import doomed, ended
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from oracle import rescued as value
from outcome import held

from silt.replicate.model import Committed
from silt.report.events import of_event

RESCUED = "_rescued_data"
TABLE = "create table t(id integer primary key, n integer)"


@pytest.fixture
def site(tmp_path: Path) -> kit.Site:
    return kit.Site(tmp_path)


@pytest.fixture(scope="module")
def sqlite() -> Iterator[kit.Sqlite]:
    with closing(kit.Sqlite()) as process:
        yield process


def told(row: dict[str, Any]) -> dict[str, Any]:
    """What `_rescued_data` says of the row's columns."""
    text = row.get(RESCUED)
    return json.loads(text)["columns"] if text is not None else {}


def rescued(site: kit.Site, into: str = "t") -> dict[int, Any]:
    """By id: the rescued value of column n, None where none is."""
    return {row["id"]: value(told(row)["n"]) if told(row) else None for row in site.lake(into)}


# --- every value ----------------------------------------------------------------------------------

COLUMNS = {
    "i": ("integer", "bigint"),
    "small": ("integer", "smallint"),
    "r": ("real", "double"),
    "f": ("real", "float"),
    "m": ("numeric", "decimal(6,2)"),
    "q": ("numeric", "double"),
    "s": ("text", "string"),
    "b": ("blob", "binary"),
    "o": ("boolean", "boolean"),
    "d": ("date", "date"),
    "x": ("blob", "bigint"),
}
BROKEN = st.binary(min_size=1, max_size=4).map(lambda raw: raw.decode("utf-8", "surrogateescape"))
VALUES = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.sampled_from([0, 1, 2**53 + 1, -(2**63), 40_000, 12]),
    st.floats(allow_nan=False),
    st.sampled_from([math.inf, -math.inf, -0.0, 0.1, 2.5, 12.25, 1e300]),
    st.text(max_size=6),
    st.sampled_from(["12", "2024-02-29", "2024-02-30", "0000-01-01", "x'FF'", "a\0b", "\U0001f600", ""]),
    st.sampled_from(["t", "No"]),
    st.binary(max_size=4),
    BROKEN,
)
ROWS = st.lists(st.tuples(*[VALUES for _ in COLUMNS]), min_size=1, max_size=12)


def insert(path: Path, sqlite: kit.Sqlite, rows: list[tuple[Any, ...]]) -> None:
    """Text goes in by its bytes: the module binds none that is no UTF-8."""
    names = ", ".join(f'"{name}" {declared}' for name, (declared, _) in COLUMNS.items())
    statements: list[Any] = [f"create table t(id integer primary key, {names})"]
    for row in rows:
        marks = ", ".join("cast(? as text)" if isinstance(v, str) else "?" for v in row)
        given_ = [v.encode("utf-8", "surrogateescape") if isinstance(v, str) else v for v in row]
        columns = ", ".join(f'"{name}"' for name in COLUMNS)
        statements.append((f"insert into t({columns}) values ({marks})", given_))
    sqlite(path, *statements)


def same(got: Any, stored: Any, kind: str) -> bool:
    """Whether the lake's value is the stored one: a number by value, anything else by class and value."""
    if got is None or stored is None:
        return got is stored
    if kind == "date":
        return bool(got.isoformat() == stored)
    if kind == "boolean" and isinstance(stored, str):
        return stored.lower() in ({"1", "t", "true", "y", "yes"} if got else {"0", "f", "false", "n", "no"})
    if kind == "string" and isinstance(stored, bytes):  # by its sample of mixed classes: rendered, DESIGN 6
        return bool(got == f"x'{stored.hex().upper()}'")
    if kind in ("string", "binary"):
        return type(got) is type(stored) and got == stored
    if kind.startswith("decimal"):
        return float(got) == stored
    numbers = isinstance(stored, int | float) and got == stored
    return numbers and (kind != "double" or repr(float(got)) == repr(float(stored)))


def check(site: kit.Site, sqlite: kit.Sqlite) -> None:
    """Every cell of the source is in the lake: in its column, or in `_rescued_data` with NULL there."""
    names = list(COLUMNS)
    columns = ", ".join(f'"{name}"' for name in names)
    source = {
        row[0]: dict(zip(names, row[1:], strict=True))
        for row in sqlite(site.database, f"select id, {columns} from t")
    }
    lake = site.lake("t")
    assert Counter(row["id"] for row in lake) == Counter(source.keys())
    for row in lake:
        kept = told(row)
        if kept:
            assert json.loads(row[RESCUED])["rowid"] == row["id"]
        for name, (_, kind) in COLUMNS.items():
            stored = source[row["id"]][name]
            if name in kept:
                assert row[name] is None
                back = value(kept[name])
                assert (type(back), repr(back)) == (type(stored), repr(stored)), (name, kept[name])
            else:
                assert same(row[name], stored, kind), (name, row[name], stored)


@settings(max_examples=30, phases=[Phase.explicit, Phase.generate])  # shrinking takes minutes
@given(rows=ROWS, batch=st.sampled_from([1, 3, 65_536]), mode=st.sampled_from(["append", "overwrite"]))
def test_columns_and_rescued_data_give_every_value_back(
    tmp_path_factory: pytest.TempPathFactory,
    sqlite: kit.Sqlite,
    rows: list[tuple[Any, ...]],
    batch: int,
    mode: str,
) -> None:
    """Random values of every class in columns of every type, in batches of one row, of three, of all."""
    site = kit.Site(tmp_path_factory.mktemp("m"))
    insert(site.database, sqlite, rows)
    types = ", ".join(f"{name}: {{type: '{kind}'}}" for name, (_, kind) in COLUMNS.items())
    site.write(
        f"  t: {{mode: {mode}, columns: {{{types}, d: {{type: date, format: iso}}}}}}\n".replace(
            "d: {type: 'date'}, ", ""
        )
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("silt.source.read.MAX_BATCH_ROWS", batch)
        result = site.one()
        assert (result.state, result.rows) == ("ok", len(rows)), result.error
        check(site, sqlite)
        assert site.one().rows == 0
    assert result.misfits == sum(len(told(row)) for row in site.lake("t"))


ODD = {
    "text in an integer": ("integer", "bigint", "'twelve'", {"class": "text", "value": "twelve"}),
    "real in an integer": ("integer", "bigint", "2.5", {"class": "real", "value": "2.5"}),
    "an infinity in an integer": ("integer", "bigint", "-9e999", {"class": "real", "value": "-Infinity"}),
    "blob in an integer": ("integer", "bigint", "x'00ff'", {"class": "blob", "value": "x'00FF'"}),
    "integer past a smallint": ("integer", "smallint", "40000", {"class": "integer", "value": "40000"}),
    "integer past 2^53": (
        "numeric",
        "double",
        "9007199254740993",
        {"class": "integer", "value": "9007199254740993"},
    ),
    "text in a real": ("real", "double", "'n/a'", {"class": "text", "value": "n/a"}),
    "blob in a text": ("text", "string", "x'ff'", {"class": "blob", "value": "x'FF'"}),
    "no UTF-8": (
        "text",
        "string",
        "cast(x'41ff' as text)",
        {"class": "text", "value": "x'41FF'", "utf8": False},
    ),
    "a text that spells a blob": ("blob", "binary", "'x''41FF'''", {"class": "text", "value": "x'41FF'"}),
    "text in a blob": ("blob", "binary", "'words'", {"class": "text", "value": "words"}),
    "two in a boolean": ("boolean", "boolean", "2", {"class": "integer", "value": "2"}),
    "a day that never was": ("date", "date", "'2023-02-29'", {"class": "text", "value": "2023-02-29"}),
    "the year 0": ("date", "date", "'0000-01-01'", {"class": "text", "value": "0000-01-01"}),
    "a word for a time": ("timestamp", "timestamp", "'soon'", {"class": "text", "value": "soon"}),
    "a word that is no truth": ("boolean", "boolean", "'maybe'", {"class": "text", "value": "maybe"}),
    "a fraction of a microsecond": (
        "timestamp",
        "timestamp",
        "'2024-01-01 10:00:00.0000001'",
        {"class": "text", "value": "2024-01-01 10:00:00.0000001"},
    ),
    "the year 10000": (
        "timestamp",
        "timestamp",
        "'10000-01-01 00:00:00'",
        {"class": "text", "value": "10000-01-01 00:00:00"},
    ),
    "no decimal": ("numeric", "decimal(6,2)", "0.001", {"class": "real", "value": "0.001"}),
}


@pytest.mark.parametrize("name", ODD)
def test_each_class_in_each_type(tmp_path: Path, name: str) -> None:
    """The spelling of one value: name, storage class, value and rowid; the column is NULL."""
    declared, kind, literal, entry = ODD[name]
    site = kit.Site(tmp_path)
    good = {"text": "words", "date": "2024-01-01", "timestamp": "2024-01-01 10:00:00", "blob": b"b"}.get(
        declared, 1
    )
    site.sql(
        f"create table t(id integer primary key, c {declared})",
        ("insert into t values (?, ?)", [(i, good) for i in range(100, 300)]),
        f"insert into t values (1, null), (7, {literal})",
    )
    site.write(f"  t: {{columns: {{c: {{type: '{kind}'}}}}}}\n")
    assert (site.one().state, sorted(row["id"] for row in site.lake("t") if row["c"] is None)) == (
        "ok",
        [1, 7],
    )
    assert [json.loads(text) for text in site.column("t", RESCUED) if text] == [
        {"columns": {"c": entry}, "rowid": 7}
    ]


def test_a_zero_below_zero_keeps_its_sign_as_text(tmp_path: Path) -> None:
    """In a column without a type, which is text in the lake: SQLite's own functions spell -0.0 as 0.0."""
    site = kit.Site(tmp_path)
    values = [(1, -0.0), (2, 0.0), (3, 0), (4, "x"), (5, -1.5), (6, -5e-324)]
    site.sql("create table t(id integer primary key, c)", ("insert into t values (?, ?)", values))
    site.write("  t: {}\n")
    assert site.one().state == "ok"
    found = {row["id"]: row["c"] for row in site.lake("t")}
    assert [found[i] for i in (1, 2, 3, 4, 5)] == ["-0.0", "0.0", "0", "x", "-1.5"]
    assert float(found[6]) == -5e-324


# --- killed ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["append", "overwrite"])
@pytest.mark.parametrize("place", ["mid-write", "before commit", "committed", "synced"])
def test_killed_before_the_column_comes_and_after(tmp_path: Path, place: str, mode: str) -> None:
    """The second batch needs the column: killed on either side of adding it, no row is lost or doubled."""
    killed = 0
    for count in (1, 2, 3):
        site = kit.Site(tmp_path / str(count))
        site.folder.mkdir()
        many(site, 30, r20="x")
        site.write(f"  t: {{mode: {mode}, batch: {{max_rows: 12}}, columns: {{n: {{type: bigint}}}}}}\n")
        log = site.folder / "places.log"
        ask = ("run", "silt.yaml", "--once")
        code, problems = ended(doomed(*ask, cwd=site.folder, at=f"{place}:{count}", log=log))
        assert code in (0, -signal.SIGKILL), problems
        killed += code != 0
        assert site.one().state == "ok"
        assert sorted((row["id"], row["n"]) for row in site.lake("t")) == [
            (i, None if i == 20 else i) for i in range(1, 31)
        ]
        assert rescued(site) == {**dict.fromkeys(range(1, 31)), 20: "x"}
        assert site.one().rows == 0
    assert killed


# --- one table, cycle by cycle --------------------------------------------------------------------


def many(site: kit.Site, rows: int, **strays: Any) -> None:
    """Ids from 1 with n = id, but for those that `strays` names (`r7="x"`)."""
    values = [(i, strays.get(f"r{i}", i)) for i in range(1, rows + 1)]
    site.sql(TABLE, ("insert into t values (?, ?)", values))


def test_the_column_comes_with_the_first_misfit(site: kit.Site) -> None:
    """A table of fitting values has none; then it comes in a commit of its own, before the batch."""
    many(site, 10)
    site.write("  t: {}\n")
    assert (site.one().version, RESCUED in site.lake("t")[0]) == (1, False)
    site.sql("insert into t values (11, 'eleven'), (12, 12)")
    result = site.one()
    assert (result.rows, result.version, result.misfits) == (2, 3, 1)
    assert rescued(site) == {**dict.fromkeys(range(1, 13)), 11: "eleven"}
    assert "1 of 2 values of n is text: NULL, kept in _rescued_data" in result.notes
    site.sql("insert into t values (13, 13)")
    result = site.one()
    assert (result.rows, result.version, result.misfits, result.notes) == (1, 4, 0, ())
    (event,) = [e for e in site.events if isinstance(e, Committed) and e.misfits]
    assert (event.rows, event.misfits) == (2, 1)
    line = of_event(event)
    assert line is not None
    assert "t +2 rows, 1 misfit rescued v3" in line.text


def test_a_misfit_late_in_a_streamed_load(site: kit.Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The write is given up, the column added, every row arrives once; only batches with one are slow."""
    monkeypatch.setattr("silt.source.read.MAX_BATCH_ROWS", 500)
    monkeypatch.setattr("silt.source.read.INLINE_ROWS", 100)
    monkeypatch.setattr("silt.replicate.append.GROUP_ROWS", 1_000)
    slow: list[int] = []
    reading = import_module("silt.source.read")
    judged = reading._judged
    monkeypatch.setattr(reading, "_judged", lambda *a: slow.append(a[2].num_rows) or judged(*a))
    many(site, 20_000, r15000="x")
    site.write("  t: {columns: {n: {type: bigint}}, batch: {max_rows: 8000}}\n")
    result = site.one()
    assert (result.state, result.rows, result.misfits) == ("ok", 20_000, 1)
    assert [(k, v) for k, v in sorted(rescued(site).items()) if v] == [(15_000, "x")]
    assert sorted(v for v in site.column("t", "n") if v) == [i for i in range(1, 20_001) if i != 15_000]
    assert sum(slow) < 4_000


def test_fail_stops_the_stream(site: kit.Site) -> None:
    """`on_misfit: fail`: nothing is written; undone, the row arrives."""
    many(site, 3, r2="two")
    site.write("  t: {on_misfit: fail, columns: {n: {type: bigint}}}\n")
    failed = site.one()
    assert (failed.state, failed.error.what) == ("failing", "t.n holds text 'two' at id 2: no bigint")
    assert site.lake("t") == []
    site.write("  t: {columns: {n: {type: bigint}}}\n")
    assert site.one().rows == 3
    assert rescued(site) == {1: None, 2: "two", 3: None}


def test_a_cursor_is_not_rescued(site: kit.Site) -> None:
    """Without it the row could not be told again: the stream stops, as ever."""
    site.sql(
        "create table t(k integer, n integer, primary key(k)) without rowid",
        "insert into t values (1, 1), (2, 'x')",
    )
    site.write("  t: {cursor: k, columns: {n: {type: bigint}}}\n")
    assert site.one().rows == 2
    (row,) = [row for row in site.lake("t") if row[RESCUED]]
    assert json.loads(row[RESCUED]) == {"columns": {"n": {"class": "text", "value": "x"}}}
    site.sql("insert into t values ('k', 3)")
    stopped = site.one()
    assert stopped.state in ("held", "failing")
    assert len(site.lake("t")) == 2


def test_a_misfit_in_the_key_stops_the_stream(site: kit.Site) -> None:
    """It is a fine key in the source, and none in the lake: NULL there would tell no row apart."""
    site.sql("create table t(k integer primary key, n) without rowid", "insert into t values (1, 1)")
    site.write("  t: {cursor: k, columns: {k: {type: smallint}}}\n")
    assert site.one().rows == 1
    site.sql("insert into t values (40000, 2)")
    failed = site.one()
    assert (failed.state, failed.error.what) == (
        "failing",
        "t.k holds integer 40000 at (k) = (40000): no smallint",
    )
    assert site.column("t", "k") == [1]


@pytest.mark.parametrize("rescue_first", [True, False])
def test_rows_read_again_compare_with_what_was_rescued(site: kit.Site, rescue_first: bool) -> None:
    """A rewound source: rows that stand are not doubled, one whose misfit changed is another row."""
    many(site, 50, **({"r40": "forty"} if rescue_first else {}))
    site.write("  t: {columns: {n: {type: bigint}}}\n")
    assert site.one().rows == 50
    for said in ("changed", "again"):
        site.sql(f"update t set n = '{said}' where id >= 49")
        assert site.one().rows == 2
    got = Counter(
        (row["id"], row["n"], value(told(row)["n"]) if told(row) else None) for row in site.lake("t")
    )
    before = [(i, i, None) for i in range(1, 51) if not (rescue_first and i == 40)]
    fresh = [(id_, None, said) for id_ in (49, 50) for said in ("changed", "again")]
    assert got == Counter(before + ([(40, None, "forty")] if rescue_first else []) + fresh)
    assert site.one().rows == 0


def test_a_column_that_came_later_makes_no_row_another(site: kit.Site) -> None:
    """Its misfits are none of what the rows before it are compared by."""
    many(site, 20, r17="x")
    site.write('  t: {columns: {n: {type: bigint}, m: {expr: "n", type: bigint}}}\n')
    assert site.one().rows == 20
    site.write("  t: {columns: {n: {type: bigint}, m: {expr: \"n || 'm'\", type: bigint}}}\n")
    site.sql("update t set n = id + 100 where id in (16, 18, 19, 20)")
    assert (site.one().rows, len(site.lake("t"))) == (4, 24)


def test_an_overwritten_slice_follows_its_misfits(site: kit.Site) -> None:
    """A digest sees a misfit come, change and go; where nothing changed nothing is written."""
    many(site, 10)
    site.write("  t: {mode: overwrite, columns: {n: {type: bigint}}}\n")
    assert site.one().rows == 10
    for said in ("x", "y", None):
        site.sql(("update t set n = ? where id = 5", (said or 5,)))
        assert site.one().rows == 10
        assert rescued(site) == {**dict.fromkeys(range(1, 11)), 5: said}
        again = site.one()
        assert (again.rows, again.batches, again.misfits) == (0, 0, 0)


def test_what_is_masked_or_left_out_never_shows(site: kit.Site) -> None:
    """Only that something was there: a class; a rowid that is left out is not told."""
    site.sql(
        "create table t(id integer primary key, a integer, b real, n integer, gone integer)",
        "insert into t values (77, 'secret a', x'5ec7e7', 'open', 'secret gone')",
    )
    site.write(
        "  t: {mode: overwrite, select: ['*', '-id', '-gone'],"
        " columns: {a: {type: bigint, mask: round, digits: -2}, b: {type: double, mask: round},"
        " n: {type: bigint}, c: {expr: 'gone', type: bigint}}}\n"
    )
    result = site.one()
    (row,) = site.lake("t")
    assert json.loads(row[RESCUED]) == {
        "columns": {
            "a": {"class": "text"},
            "b": {"class": "blob"},
            "n": {"class": "text", "value": "open"},
            "c": {"class": "text"},
        }
    }
    files = [f.read_bytes() for f in site.folder.rglob("*") if f.is_file() and f != site.database]
    assert not any(b"secret" in raw or b"5ec7e7" in raw.lower() for raw in files)
    assert "secret" not in str(result)


def test_a_number_that_rounding_takes_out_of_its_type(site: kit.Site) -> None:
    """It is a misfit of the mask's: NULL, and a class."""
    site.sql(TABLE, f"insert into t values (1, 7), (2, {2**63 - 1})")
    site.write("  t: {columns: {n: {type: bigint, mask: round, digits: -1}}}\n")
    assert site.one().state == "ok"
    assert sorted((row["id"], row["n"], told(row)) for row in site.lake("t")) == [
        (1, 10, {}),
        (2, None, {"n": {"class": "integer"}}),
    ]


def test_a_partition_column_may_hold_one(site: kit.Site) -> None:
    """Its row lies in the partition of NULL."""
    many(site, 3, r2="x")
    site.write("  t: {partition_by: [n], columns: {n: {type: bigint}}}\n")
    assert site.one().rows == 3
    assert sorted((row["id"], row["n"]) for row in site.lake("t")) == [(1, 1), (2, None), (3, 3)]
    assert rescued(site) == {1: None, 2: "x", 3: None}


def test_a_view_and_an_aggregate(site: kit.Site) -> None:
    """Whatever is read arrives: rows of a query, and windows whose group or measure does not fit."""
    site.sql(
        "create table t(id integer primary key, at text, g integer)",
        "insert into t values (1, '2024-01-01 00:00:10', 'x'), (2, '2024-01-01 00:00:20', 4)",
        "insert into t values (3, '2024-01-02', 5)",
    )
    site.write(
        "  q: {query: 'select id, g from t', mode: overwrite, columns: {g: {type: bigint}}}\n"
        "  w: {table: t, aggregate: {time: at, window: 1m, by: [g], measures: {n: count(*)}},"
        " columns: {g: {type: bigint}}}\n"
    )
    assert [(r.name, r.state, r.misfits) for r in site.cycle().streams] == [("q", "ok", 1), ("w", "ok", 1)]
    for into in ("q", "w"):
        kept = [json.loads(text) for text in site.column(into, RESCUED) if text]
        assert kept == [{"columns": {"g": {"class": "text", "value": "x"}}}]
        assert {row["g"] for row in site.lake(into)} >= {None, 4}


def test_a_column_of_that_name_is_refused_where_it_would_be_taken(site: kit.Site) -> None:
    """The source's own `_rescued_data` must be called otherwise; under `fail` it need not."""
    site.sql("create table t(id integer primary key, _rescued_data text)", "insert into t values (1, 'mine')")
    site.write("  t: {}\n")
    (plan,) = site.plan().streams
    assert (plan.state, plan.error.setting) == ("failing", "on_misfit")
    assert "rename" in plan.error.hint
    site.write("  t: {on_misfit: fail}\n")
    assert site.one().rows == 1
    assert site.column("t", RESCUED) == ["mine"]


def test_a_key_whose_misfit_stands_in_a_declared_cursor_holds(site: kit.Site) -> None:
    """A time cursor of another class is no misfit to rescue: rows past it would be lost."""
    site.sql(
        "create table t(id integer primary key, at text)",
        ("insert into t(at) values (?)", [(f"2024-01-{i:02} 00:00:00",) for i in range(1, 20)]),
    )
    site.write("  t: {cursor: at}\n")
    assert site.one().rows == 19
    site.sql("insert into t(at) values (x'00')")
    held(site, "4.3")
