"""Census and cursor: evidence, the choice, its reasons, and refusals."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kit import sql

from silt.errors import UserError
from silt.shapes import CursorChoice, Order, TableCensus
from silt.source import exact
from silt.source.census import census
from silt.source.clone import reflect
from silt.source.cursor import detect
from silt.source.open import connect

Detect = Callable[..., CursorChoice]


@pytest.fixture
def found(tmp_path: Path) -> Detect:
    """`found("create ...", table="t", kind=..., columns=...)`: the choice for a table of a new database."""

    def make(*statements: str | tuple[str, Any], table: str = "t", **rule: Any) -> CursorChoice:
        path = tmp_path / "a.db"
        path.unlink(missing_ok=True)
        sql(path, *statements)
        with connect(str(path), busy_timeout=1) as c:
            seen = next(t for t in reflect(c) if t.name == table)
            return detect(seen, census(c, seen), **rule)

    return make


def times(count: int = 50, step: int = 1, form: str = "2024-01-01T{:02}:{:02}:00") -> list[str]:
    return [form.format(i * step // 60 % 24, i * step % 60) for i in range(count)]


# --- detection ------------------------------------------------------------------------------------


def test_the_integer_primary_key_is_preferred_and_says_why(found):
    """SQLite has one writer, so its order is commit order; the time column is the runner-up (MOCKUPS)."""
    choice = found(
        "create table t(id integer primary key autoincrement, written_at int, who text)",
        ("insert into t(written_at, who) values (?, 'x')", [(1711000000000 + i // 2,) for i in range(62)]),
    )
    assert choice.order == Order(kind="rowid", cursor=("id",))
    assert choice.detected
    assert (
        choice.why
        == "id, because it is INTEGER PRIMARY KEY AUTOINCREMENT: never reused, rows arrive in its order"
    )
    assert [(c.columns, c.why) for c in choice.runners_up] == [
        (("written_at",), "epoch_ms, 31 ties, no index")
    ]


def test_the_seeds_timestamp_column_is_found_and_shown(real_databases):
    """The seed's own input: `timestamp` is the runner-up to the safer id."""
    with connect(str(real_databases / "sensor_readings.db"), busy_timeout=1) as c:
        (table,) = reflect(c)
        choice = detect(table, census(c, table))
    assert choice.order == Order(kind="rowid", cursor=("id",))
    assert choice.runners_up[0].columns == ("timestamp",)
    assert "iso_offset" in choice.runners_up[0].why


def test_without_an_integer_primary_key_a_time_is_chosen_by_evidence(found):
    """A format, no NULLs, rising, an index, few ties; the tie-breaker is what is unique."""
    choice = found(
        "create table t(uuid text not null unique, label text, seen datetime, at datetime)",
        "create index i on t(at)",
        (
            "insert into t values (?, 'x', ?, ?)",
            [(f"u{i * 7 % 50}", None if i == 3 else t, t) for i, t in enumerate(times())],
        ),
    )
    assert choice.order == Order(kind="columns", cursor=("at",), tie=("uuid",), rises=False)
    assert (choice.storage, choice.time_format) == ("text", "iso[T]")
    assert [c.columns for c in choice.runners_up] == [("seen",)]
    assert "1 NULL" in choice.runners_up[0].why
    assert any("lookback" in w for w in choice.warnings)


def test_evidence_goes_before_names(found):
    """A column called created_at that holds no times is no time cursor."""
    choice = found(
        "create table t(k text not null unique, created_at text, n int)",
        (
            "insert into t values (?, ?, ?)",
            [(f"k{i * 3 % 20}", f"word{i * 7 % 13}", 1711000000 + i) for i in range(20)],
        ),
    )
    assert choice.order is not None
    assert choice.order.cursor == ("n",)
    assert choice.time_format is None  # nothing but its size says that it is a time


def test_created_goes_before_updated(found):
    """For append a time of creation is the cursor: a changed row would be read again as new."""
    rows = [(f"k{i * 3 % 20}", t, t) for i, t in enumerate(times(20))]
    choice = found(
        "create table t(k text not null unique, updated_at datetime, created_at datetime)",
        ("insert into t values (?, ?, ?)", rows),
    )
    assert choice.order is not None
    assert choice.order.cursor == ("created_at",)


def test_a_table_without_any_key_falls_back_to_its_rowid_for_ties(found):
    """The rowid tells ties apart, but VACUUM may renumber it: the order says so."""
    choice = found("create table t(at datetime)", ("insert into t values (?)", [(t,) for t in times()]))
    assert choice.order == Order(kind="columns", cursor=("at",), tie=("rowid",), rises=False, renumbers=True)
    assert any("VACUUM" in w for w in choice.warnings)
    assert any("no index on at" in w for w in choice.warnings)


def test_without_rowid_ties_go_by_the_primary_key(found):
    """Its key does not rise with commits, so the position holds a digest."""
    choice = found(
        "create table t(site text, n int, at datetime not null, primary key(site, n)) without rowid",
        ("insert into t values (?, ?, ?)", [(f"s{i % 3}", i, t) for i, t in enumerate(times())]),
    )
    assert choice.order == Order(kind="columns", cursor=("at",), tie=("site", "n"), rises=False)


@pytest.mark.parametrize(
    ("statements", "why"),
    [
        (
            ["create table t(a text, b text)", "insert into t values ('x', 'y'), ('a', 'b')"],
            "no column that orders its rows safely",
        ),
        (["create table t(a, b)"], "no rows to tell a cursor by"),
        (
            ["create table t(at datetime)", "insert into t values (null), ('2024-01-01')"],
            "no column that orders",
        ),
        (
            [
                "create table t(at datetime)",
                "insert into t values ('2024-01-01 00:00:00'), ('2024-01-01T00:00:00'), (1711000000)",
            ],
            "no column that orders",
        ),
        (
            [
                "create table t(rowid datetime, _rowid_ int, oid int)",
                "insert into t values ('2024-01-01', 1, 1)",
            ],
            "no column that orders",
        ),
    ],
)
def test_where_nothing_is_safe_it_refuses_and_says_what_would_be(found, statements, why):
    """No order, a reason, and what would make it safe."""
    choice = found(*statements)
    assert choice.order is None
    assert why in choice.why
    assert "INTEGER PRIMARY KEY" in choice.why


def test_texts_of_two_formats_are_no_cursor(found):
    """A position '...T00' never sees '... 23' (FACTS): one format or none."""
    mixed = [*times(25), *times(25, form="2024-01-02 {:02}:{:02}:00")]
    choice = found(
        "create table t(k text not null unique, at datetime)",
        ("insert into t values (?, ?)", [(f"k{i * 7 % 50}", t) for i, t in enumerate(mixed)]),
    )
    assert choice.order is None
    assert choice.runners_up[0].why.startswith("texts of 2 formats")


def test_the_choice_is_deterministic(found):
    """Two equal candidates are told apart by their place."""
    statements = (
        "create table t(b datetime, a datetime)",
        ("insert into t values (?, ?)", [(t, t) for t in times()]),
    )
    first = found(*statements)
    assert first == found(*statements)
    assert first.order is not None
    assert first.order.cursor == ("b",)


# --- declared -------------------------------------------------------------------------------------

KEYS = "create table t(id integer primary key, at datetime, code text not null unique, note text)"
FILL = ("insert into t values (?, ?, ?, 'n')", [(i, t, f"c{i}") for i, t in enumerate(times(20), 1)])


@pytest.mark.parametrize(
    ("columns", "order"),
    [
        (("id",), Order(kind="rowid", cursor=("id",))),
        (("ID",), Order(kind="rowid", cursor=("id",))),
        (("rowid",), Order(kind="rowid", cursor=("id",))),
        (("at",), Order(kind="columns", cursor=("at",), tie=("id",))),
        (("at", "id"), Order(kind="columns", cursor=("at",), tie=("id",))),
        (("at", "code"), Order(kind="columns", cursor=("at",), tie=("code",), rises=False)),
        (("code",), Order(kind="columns", cursor=("code",))),
        (("note", "at"), Order(kind="columns", cursor=("note", "at"), tie=("id",))),
    ],
)
def test_declared_columns_get_a_tie_breaker_unless_they_end_in_a_key(found, columns, order):
    """The list is checked against the table; what is unique already is split off as the tie-breaker."""
    choice = found(KEYS, FILL, kind="columns", columns=columns)
    assert choice.order == order
    assert not choice.detected


def test_a_declared_time_knows_its_format(found):
    """It decides how now + max_skew is spelled."""
    choice = found(KEYS, FILL, kind="columns", columns=("at",))
    assert (choice.storage, choice.time_format) == ("text", "iso[T]")


def test_a_declared_column_that_is_not_there_is_an_error(found):
    """With a guess."""
    with pytest.raises(UserError, match="'att', which is no column of t") as caught:
        found(KEYS, FILL, kind="columns", columns=("att",))
    assert "'at'" in caught.value.hint


def test_a_column_named_twice_is_an_error(found):
    """In any case of its letters."""
    with pytest.raises(UserError, match="twice"):
        found(KEYS, FILL, kind="columns", columns=("at", "AT"))


def test_a_declared_rowid_without_a_key_warns(found):
    """Rowid order is commit order only for INTEGER PRIMARY KEY: elsewhere VACUUM renumbers."""
    choice = found("create table t(a)", kind="rowid")
    assert choice.order == Order(kind="rowid", cursor=("rowid",), renumbers=True)
    assert any("VACUUM" in w for w in choice.warnings)
    other = found("create table t(rowid text, a)", kind="rowid")
    assert other.order == Order(kind="rowid", cursor=("_rowid_",), renumbers=True)


@pytest.mark.parametrize(
    ("create", "why"),
    [
        ("create table t(k text primary key) without rowid", "WITHOUT ROWID"),
        ("create table t(rowid, _rowid_, oid)", "take all the names"),
        ("create view t as select 1 as a", "is a view"),
    ],
)
def test_a_declared_rowid_that_is_not_there_is_refused(found, create, why):
    """It says why, and what to declare."""
    choice = found(create, kind="rowid")
    assert choice.order is None
    assert why in choice.why


def test_views_need_declared_columns(found):
    """`auto` refuses a view; declared columns are its order, checked when they are read."""
    view = "create view v as select at, id from t"
    assert found(KEYS, FILL, view, table="v").order is None
    choice = found(KEYS, FILL, view, table="v", kind="columns", columns=("at", "id"))
    assert choice.order == Order(kind="columns", cursor=("at",), tie=("id",), rises=False)
    assert any("unique together" in w for w in choice.warnings)


def test_overwrite_needs_no_cursor(found):
    """The whole table is read."""
    assert found(KEYS, FILL, mode="overwrite").order is None


# --- census ---------------------------------------------------------------------------------------


@pytest.fixture
def counted(tmp_path: Path) -> Callable[..., TableCensus]:
    def make(*statements: str | tuple[str, Any], sample: int = 2000) -> TableCensus:
        path = tmp_path / "c.db"
        sql(path, *statements)
        with connect(str(path), busy_timeout=1) as c:
            return census(c, next(t for t in reflect(c) if t.name == "t"), sample)

    return make


def test_a_census_counts_classes_formats_and_fits(counted):
    """Every storage class, the formats of texts and numbers, what narrower type all fit."""
    seen = counted(
        "create table t(id integer primary key, a, d decimal(6,2), b boolean)",
        "insert into t values (1, 1, 1.25, 0), (2, 2.5, 3, 1), (3, 'x', null, 1), (4, x'00', 7.5, 0)",
        "insert into t values (5, null, 1, 1)",
        "insert into t values (6, '2024-01-01', 1, 1)",
    )
    assert (seen.rows, seen.complete) == (6, True)
    a, d, b = (seen.column(n) for n in ("a", "d", "b"))
    assert (a.integers, a.reals, a.texts, a.blobs, a.nulls) == (1, 1, 2, 1, 1)
    assert dict(a.formats) == {"number": 2, "text": 1, "date_text": 1}
    assert d.fits == ("double", "decimal(6,2)")
    assert "boolean" in b.fits
    assert seen.column("id").monotonic
    assert seen.column("id").distinct == 6
    assert not b.monotonic


@pytest.mark.parametrize(
    "create",
    [
        "create table t(k integer primary key, v)",
        "create table t(k int, v)",
        "create table t(k int primary key, v) without rowid",
    ],
)
def test_the_sample_holds_both_ends_and_stays_bounded(counted, create):
    """At most `sample` rows, the first and the last among them, whatever the key."""
    seen = counted(
        create,
        ("insert into t values (?, ?)", [(i, "first" if i == 1 else "x") for i in range(1, 5001)]),
        sample=200,
    )
    assert 150 <= seen.rows <= 200
    assert not seen.complete
    assert seen.column("v").distinct == 2


def watched(sizes: list[int]) -> Callable[..., Any]:
    """The decoder of small results, noting the bytes that it is given."""
    plain = exact._decoded

    def decode(batch: Any, encoding: str) -> Any:
        sizes.append(batch.nbytes)
        return plain(batch, encoding)

    return decode


def test_large_values_are_not_fetched(counted, monkeypatch):
    """A blob is counted by its class, a long text by its beginning: what is fetched is small."""
    monkeypatch.setattr("silt.source.exact._decoded", watched(sizes := []))
    seen = counted(
        "create table t(id integer primary key, b blob, s text)",
        "with recursive n(i) as (select 1 union all select i + 1 from n where i < 10)"
        " insert into t select i, zeroblob(5000000), '2024-01-01' || hex(zeroblob(1000)) from n",
    )
    assert seen.column("b").blobs == 10
    assert dict(seen.column("s").formats) == {"text": 10}
    assert sum(sizes) < 100_000


def test_a_large_table_is_not_scanned(tmp_path):
    """Many rows take about as much CPU as ten thousand: rows are reached by their key."""
    took = {}
    for rows in (10_000, 400_000):
        path = tmp_path / f"{rows}.db"
        sql(
            path,
            "pragma synchronous=off",
            "create table t(id integer primary key, at int, s text)",
            f"with recursive n(i) as (select 1 union all select i + 1 from n where i < {rows})"
            " insert into t select i, 1711000000 + i, 'text' || i from n",
        )
        with connect(str(path), busy_timeout=1) as c:
            (table,) = reflect(c)
            best = []
            for _ in range(3):
                started = time.process_time()
                seen = census(c, table)
                best.append(time.process_time() - started)
            took[rows] = min(best)
            assert seen.rows <= 2000
    assert took[400_000] < 5 * took[10_000]


def test_integers_that_look_like_times_are_none_without_a_word_for_it(found):
    """A key of 19 digits is no time: a ceiling of now + max_skew would defer its rows for years."""
    rows = [(1_990_000_000_000_000_000 + i * 1000, 1711000000 + i) for i in range(20)]
    create = "create table t(id bigint not null primary key, at int not null)"
    key = found(create, ("insert into t values (?, ?)", rows), kind="columns", columns=("id",))
    assert key.time_format is None
    declared = found(create, ("insert into t values (?, ?)", rows), kind="columns", columns=("at",))
    assert declared.time_format == "epoch_s"


def test_one_date_among_words_makes_no_time(found):
    """A text cursor is a time only where all its texts are: else later words would be deferred."""
    rows = [(f"a{i}",) for i in range(9)] + [("2024-01-01",)]
    create = "create table t(k text not null primary key) without rowid"
    choice = found(create, ("insert into t values (?)", rows), kind="columns", columns=("k",))
    assert choice.time_format is None


@pytest.mark.parametrize(
    "statements",
    [
        ("create table t(k text collate nocase not null)", "create unique index u on t(k collate binary)"),
        ("create table t(k text collate nocase not null, primary key(k collate binary)) without rowid",),
    ],
)
def test_an_index_under_another_collation_is_no_key(found, statements):
    """'b' and 'B' are two to the index and one to the order: by it alone one would be lost."""
    choice = found(*statements, "insert into t values ('a'), ('b'), ('B')", kind="columns", columns=("k",))
    assert choice.order is None or choice.order.tie == ("rowid",)


def test_a_text_primary_key_tells_ties_apart_though_it_may_hold_null(found):
    """SQLite lets `id TEXT PRIMARY KEY` hold NULL; it is still a better tie-breaker than a rowid."""
    create = "create table t(id text primary key, at text not null)"
    some = "insert into t values ('a', '2024-01-01T00:00:00'), ('b', '2024-01-01T00:00:01')"
    choice = found(create, some, kind="columns", columns=("at",))
    assert choice.order == Order(kind="columns", cursor=("at",), tie=("id",), rises=False)
    nulls = found(create, some, "insert into t values (null, '2024')", kind="columns", columns=("at",))
    assert nulls.order is not None
    assert nulls.order.tie == ("rowid",)
