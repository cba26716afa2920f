"""Schedules that no design named: a reviewer found them by losing or doubling rows with them."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake
from kit import Site, sql
from outcome import held, ok

from silt import observe, target
from silt.replicate import append


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def between_windows(monkeypatch: pytest.MonkeyPatch, fault) -> None:
    """`fault` happens once, after the first window of a cycle was committed."""
    real = append.AppendCycle._commit
    state = {"done": False}

    def commit(self, drafts, batches):
        real(self, drafts, batches)
        if not state["done"]:
            state["done"] = True
            fault()

    monkeypatch.setattr(append.AppendCycle, "_commit", commit)


def test_column_added_between_plan_and_read(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plan is of another schema: the stream is planned anew and the new column's values arrive."""
    site.sql("create table t(id integer primary key, v text)", "insert into t(v) values ('a')")
    site.write("  t: {}\n")
    ok(site, 1)
    real = observe.look
    calls = []

    def look(*args, **kwargs):
        plan = real(*args, **kwargs)
        if not calls:
            site.sql(
                "alter table t add column extra text", "insert into t(v, extra) values ('b', 'precious')"
            )
        calls.append(1)
        return plan

    monkeypatch.setattr(observe, "look", look)
    ok(site, 1)
    assert calls
    assert site.column("t", "extra").count("precious") == 1


@pytest.mark.parametrize("mode", ["append", "overwrite"])
def test_no_row_is_read_under_an_old_schema(site: Site, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the mode: what `run` carries out is of the schema that is there."""
    site.sql("create table t(id integer primary key, v text)", "insert into t(v) values ('a')")
    site.write(f"  t: {{mode: {mode}}}\n")
    real = observe.look

    def look(*args, **kwargs):
        plan = real(*args, **kwargs)
        site.sql("alter table t rename column v to w")
        return plan

    monkeypatch.setattr(observe, "look", look)
    ok(site, 1)
    (row,) = site.lake("t")
    assert (row["id"], row["w"]) == (1, "a")


def test_tail_deleted_between_two_windows(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The goal's row is gone and its id is given out again: a position is always a row that was seen."""
    site.sql(
        "create table t(id integer primary key, v text)",
        ("insert into t(v) values (?)", [(f"old{i}",) for i in range(10)]),
    )
    site.write("  t: {batch: {max_rows: 4}}\n")
    between_windows(monkeypatch, lambda: site.sql("delete from t where id > 6"))
    site.one()
    site.sql(("insert into t(v) values (?)", [(f"new{i}",) for i in range(4)]))
    site.one()
    site.expect("t", "t")


def test_replaced_between_two_windows_under_restart(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A restart has a goal of its own: the old database's last id says nothing of the new one."""
    site.sql(
        "create table t(id integer primary key, v text)",
        ("insert into t(v) values (?)", [(f"old{i}",) for i in range(5)]),
    )
    site.write("  t: {on_reset: restart, batch: {max_rows: 2}}\n")
    other = site.folder / "other"
    sql(
        other,
        "create table t(id integer primary key, v text)",
        ("insert into t(v) values (?)", [(f"new{i}",) for i in range(9)]),
    )
    between_windows(monkeypatch, lambda: other.replace(site.database))
    site.one()
    site.one()
    assert {f"new{i}" for i in range(9)} <= set(site.column("t", "v"))
    assert len(site.column("t", "v")) == len(set(site.column("t", "v")))


def test_replaced_by_a_database_without_a_recorded_column(site: Site) -> None:
    """Rows that are there prove nothing when their content cannot be compared, in another file."""
    site.sql(
        "create table t(id integer primary key, v text, w text)",
        ("insert into t(v, w) values (?, 'x')", [(f"old{i}",) for i in range(9)]),
    )
    site.write("  t: {}\n")
    ok(site, 9)
    other = site.folder / "other"
    sql(
        other,
        "create table t(id integer primary key, v text)",
        ("insert into t(v) values (?)", [(f"new{i}",) for i in range(12)]),
    )
    other.replace(site.database)
    held(site, "4.4")


def test_purge_rule_needs_an_order_of_ids(site: Site) -> None:
    """Under another cursor than the id, AUTOINCREMENT's sequence says nothing of what was replicated."""
    table = "create table t(id integer primary key autoincrement, n integer not null, v text)"
    site.sql(table, ("insert into t(n, v) values (?, 'old')", [(i,) for i in range(1, 11)]))
    site.write("  t: {cursor: n}\n")
    ok(site, 10)
    other = site.folder / "other"
    sql(other, table, ("insert into t(n, v) values (?, 'new')", [(i,) for i in range(-9, 3)]))
    other.replace(site.database)
    held(site, "4.4")


def test_low_rowid_while_the_last_row_goes(site: Site) -> None:
    """A row that came in below the minimum holds the stream, whatever happened to the last one."""
    site.sql(
        "create table t(id integer primary key, v text)",
        ("insert into t values (?, 'x')", [(i,) for i in range(10, 21)]),
    )
    site.write("  t: {}\n")
    ok(site, 11)
    site.sql("delete from t where id = 20", "insert into t values (5, 'low')")
    held(site, "4.3", "5 lies below 10")


def test_last_null_row_given_out_again(site: Site) -> None:
    """`on_null: include`: the rowid of a deleted NULL row is another row's now."""
    site.sql(
        "create table t(id integer primary key, ts text, v text)",
        "insert into t values (1, '2024-01-01 00:00:00', 'a'), (2, null, 'n')",
    )
    site.write("  t: {cursor: {column: ts, on_null: include}}\n")
    ok(site, 2)
    site.sql("delete from t where id = 2", "insert into t values (2, null, 'another')")
    held(site, "4.4", "NULL")


def test_null_row_that_is_filled_in_goes_on(site: Site) -> None:
    """A cursor that is set later moves its row past the position: that is no replacement."""
    site.sql(
        "create table t(id integer primary key, ts text, v text)",
        "insert into t values (1, '2024-01-01 00:00:00', 'a'), (2, null, 'n')",
    )
    site.write("  t: {cursor: {column: ts, on_null: include}}\n")
    ok(site, 2)
    site.sql("update t set ts = '2024-01-02 00:00:00' where id = 2", "insert into t values (3, null, 'm')")
    ok(site, 2)


def test_all_null_table_replaced(site: Site) -> None:
    """No row has a cursor, so no witness: the file and the last NULL row speak."""
    table = "create table t(id integer primary key, ts text, v text)"
    site.sql(table, ("insert into t(v) values (?)", [(f"old{i}",) for i in range(5)]))
    site.write("  t: {cursor: {column: ts, on_null: include}}\n")
    ok(site, 5)
    other = site.folder / "other"
    sql(other, table, ("insert into t(v) values (?)", [(f"new{i}",) for i in range(3)]))
    other.replace(site.database)
    held(site, "4.4")


def test_second_row_at_the_position_of_a_view(site: Site) -> None:
    """Nothing keeps a view's declared cursor unique: a later row of the same value is noticed."""
    site.sql(
        "create table b(id integer primary key, ts integer, v text)",
        "create view t as select ts, v from b",
        "insert into b(ts, v) values (1, 'a'), (2, 'b')",
    )
    site.write("  t: {cursor: ts}\n")
    ok(site, 2)
    site.sql("insert into b(ts, v) values (2, 'c')")
    result = site.one()
    assert result.state == "failing"
    assert "does not tell its rows apart" in str(result.error)


def test_rows_before_initial_value_never_come(site: Site) -> None:
    """A change of rows after it is no reason to read those before it."""
    site.sql(
        "create table t(id integer primary key, v text)",
        ("insert into t(v) values (?)", [(f"v{i}",) for i in range(20)]),
    )
    site.write("  t: {cursor: {column: id, initial_value: 10}}\n")
    ok(site, 10)
    site.sql("update t set v = 'changed' where id > 10")
    site.one()
    assert min(site.column("t", "id")) == 11


def test_lookback_takes_its_first_value(site: Site) -> None:
    """`lookback: 1d` finds a row that is one day late, not only one that is less."""
    site.sql(
        "create table t(id integer primary key, d date not null)",
        "insert into t(d) values ('2024-01-09'), ('2024-01-10')",
    )
    site.write("  t: {cursor: {column: d, lookback: 1d}}\n")
    ok(site, 2)
    site.sql("insert into t(d) values ('2024-01-09')")
    ok(site, 1)


def test_nulls_that_the_filter_leaves_out_hold_nothing(site: Site) -> None:
    """`where: ts is not null` answers for the NULLs."""
    site.sql("create table t(id integer primary key, ts integer)", "insert into t(ts) values (1), (null)")
    site.write('  t: {cursor: ts, where: "ts is not null"}\n')
    ok(site, 1)


def test_key_that_is_no_text_travels_in_the_position(site: Site) -> None:
    """A key of bytes that are not UTF-8 is a position like any other."""
    site.sql(
        "create table t(k text primary key, v int) without rowid",
        "insert into t values ('a', 1), (cast(x'63ff' as text), 0)",
    )
    site.write('  t: {cursor: k, where: "v > 0"}\n')
    ok(site, 1)
    ok(site, 0)


def test_overwrite_in_between_holds_append(site: Site) -> None:
    """append -> overwrite -> append: the rows that overwrite brought are not counted by the old position."""
    site.sql("create table t(id integer primary key)", ("insert into t values (?)", [(i,) for i in range(5)]))
    site.write("  t: {}\n")
    ok(site, 5)
    site.write("  t: {mode: overwrite}\n")
    site.sql("insert into t values (5)")
    site.one()
    site.write("  t: {}\n")
    result = site.one()
    assert result.state == "held"
    assert sorted(site.column("t", "id")) == list(range(len(site.lake("t"))))


@pytest.mark.parametrize("mode", ["append", "overwrite"])
def test_slice_told_by_other_columns_holds(site: Site, mode: str) -> None:
    """Rows written without lineage are not found by it: `lineage` is pinned like the cursor."""
    site.sql("create table t(id integer primary key)", ("insert into t values (?)", [(i,) for i in range(5)]))
    site.write(f"  t: {{mode: {mode}}}\n")
    ok(site, 5)
    site.sql("insert into t values (9)")
    site.write(f"  t: {{mode: {mode}, lineage: [database]}}\n")
    result = site.one()
    assert result.state == "held"
    assert result.error.rule == "9"
    assert len(site.lake("t")) == 5


def test_column_added_before_a_rewind_doubles_nothing(site: Site) -> None:
    """Rows are compared by what both sides had when they were written, not by today's columns."""
    site.sql(
        "create table t(id integer primary key, v text)",
        ("insert into t(v) values (?)", [(f"v{i}",) for i in range(20)]),
    )
    site.write("  t: {}\n")
    ok(site, 20)
    site.sql("alter table t add column n int default 7")
    ok(site)
    site.sql("insert into t(v) values ('next')")
    ok(site, 1)
    site.sql("delete from t where id >= 20")
    ok(site, 0)
    assert sorted(site.column("t", "id")) == list(range(1, 22))


def test_lookback_in_a_table_shared_with_others_holds(site: Site) -> None:
    """The other stream's rows have the same keys: what is missing cannot be told."""
    for table in "ab":
        site.sql(
            f"create table {table}(id integer primary key, ts text not null)",
            (f"insert into {table}(ts) values (?)", [(f"2024-01-01 00:00:{i:02}",) for i in range(9)]),
        )
    common = "{into: all, cursor: {column: ts, lookback: 1h}}"
    site.write(f"  a: {common}\n  b: {common}\n")
    site.cycle()
    states = {s.name: s.state for s in site.cycle().streams}
    assert states == {"a": "held", "b": "held"}


def test_each_database_of_a_glob_keeps_its_own_time_format(site: Site) -> None:
    """One writes milliseconds, another seconds: neither arrives in 1970."""
    ddl = "create table t(id integer primary key, at timestamp)"
    sql(
        site.folder / "a.db",
        ddl,
        ("insert into t(at) values (?)", [(1_700_000_000_000 + i,) for i in range(30)]),
    )
    sql(
        site.folder / "b.db", ddl, ("insert into t(at) values (?)", [(1_700_000_000 + i,) for i in range(30)])
    )
    site.write("  t: {}\n", source="./*.db")
    ok(site, 60)
    assert {moment.year for moment in site.column("t", "at")} == {2023}


def test_ids_that_look_like_nanoseconds_are_ids(site: Site) -> None:
    """Snowflake ids are no time of the future: nothing is deferred."""
    site.sql(
        "create table t(id bigint primary key, v text)",
        ("insert into t values (?, 'x')", [(1_900_000_000_000_000_000 + i,) for i in range(50)]),
    )
    site.write("  t: {cursor: id}\n")
    ok(site, 50)


def test_a_few_rows_show_no_order(site: Site) -> None:
    """Two texts that happen to rise are no cursor: `auto` refuses and says what would make it safe."""
    site.sql("create table t(k text primary key, v text)", "insert into t values ('a', 'x'), ('b', 'y')")
    site.write("  t: {}\n")
    result = site.one()
    assert result.state == "failing"
    assert "cursor" in str(result.error)


def test_stream_renamed_in_a_shared_table_holds(site: Site) -> None:
    """Its rows are there under the old name's position: sent again they would be doubled."""
    for table in "ab":
        site.sql(
            f"create table {table}(id integer primary key, v text)",
            (f"insert into {table}(v) values (?)", [(f"{table}{i}",) for i in range(9)]),
        )
    site.write("  a: {into: all}\n  b: {into: all}\n")
    site.cycle()
    site.write("  aa: {table: a, into: all}\n  b: {into: all}\n")
    states = {s.name: s.state for s in site.cycle().streams}
    assert states == {"aa": "held", "b": "ok"}
    assert len(site.lake("all")) == 18


def test_another_table_takes_the_place_of_a_stream_in_a_shared_table(site: Site) -> None:
    """A stream that is gone holds nobody whose rows are others, though they come from the same file."""
    for table in "abc":
        site.sql(
            f"create table {table}(id integer primary key, v text)",
            (f"insert into {table}(v) values (?)", [(f"{table}{i}",) for i in range(9)]),
        )
    site.write("  a: {into: all}\n  b: {into: all}\n")
    site.cycle()
    site.write("  c: {into: all}\n  b: {into: all}\n")
    assert {s.name: s.state for s in site.cycle().streams} == {"c": "ok", "b": "ok"}
    assert len(site.lake("all")) == 27


def test_a_table_with_a_name_of_our_own(site: Site) -> None:
    """No name that statements use hides a table."""
    site.sql(
        "create table silt_rows(id integer primary key, silt_content text)",
        "insert into silt_rows values (1, 'a')",
    )
    site.write("  silt_rows: {}\n")
    ok(site, 1)
    ok(site, 0)


def test_lookback_before_year_one(site: Site) -> None:
    """A window that begins before time does begins with the first row."""
    site.sql(
        "create table t(id integer primary key, d date not null)", "insert into t(d) values ('0001-01-01')"
    )
    site.write("  t: {cursor: {column: d, lookback: 1d}}\n")
    ok(site, 1)
    site.sql("insert into t(d) values ('0001-01-01')")
    ok(site, 1)


@pytest.mark.parametrize("ddl", ["integer primary key, v text)", "int primary key, v text) without rowid"])
def test_where_that_names_rowids_in_no_order(site: Site, ddl: str) -> None:
    """SQLite would seek each side of the OR: rows come in the scan's order all the same."""
    site.sql(f"create table t(id {ddl}", ("insert into t values (?, 'x')", [(i,) for i in range(1, 41)]))
    site.write("  t: {cursor: id, where: \"id = 33 or (id = 2 and v = 'x')\"}\n")
    ok(site, 2)
    site.sql("insert into t values (41, 'y')")
    ok(site, 0)
    assert sorted(site.column("t", "id")) == [2, 33]


def test_one_impossible_database_name_fails_alone(site: Site) -> None:
    """`into: x/{database}`: the others' tables are filled, the error names the one and says what to do."""
    for name in ("a", "b^c", "d%20e"):
        sql(site.folder / f"{name}.db", "create table t(id integer primary key)", "insert into t values (1)")
    site.write("  t: {into: 'x/{database}'}\n", source="./*.db")
    result = site.one()
    assert (result.state, result.rows) == ("failing", 1)
    assert "b^c" in str(result.error)
    assert "rename" in result.error.hint
    assert site.column("x/a", "id") == [1]


def test_manifest_renamed_over_a_shared_table_holds(site: Site) -> None:
    """The rows are there under the old name's positions: sent again they would be doubled."""
    for table in "ab":
        site.sql(
            f"create table {table}(id integer primary key, v text)",
            (f"insert into {table}(v) values (?)", [(f"{table}{i}",) for i in range(9)]),
        )
    streams = "  a: {into: all}\n  b: {into: all}\n"
    site.write(streams, head="name: plant\n")
    site.cycle()
    site.write(streams, head="name: works\n")
    found = site.cycle().streams
    assert {s.name: s.state for s in found} == {"a": "held", "b": "held"}
    assert all("'plant'" in s.error.hint for s in found)
    assert len(site.lake("all")) == 18
    site.write(streams, head="name: plant\n")
    assert {s.state for s in site.cycle().streams} == {"ok"}


def test_another_manifest_over_a_shared_table_goes_on(site: Site) -> None:
    """Streams and databases of the same names, other rows: nothing is doubled, nothing is held."""
    for name, first in (("one", 0), ("two", 100)):
        (site.folder / name).mkdir()
        for table in "ab":
            sql(
                site.folder / name / "app.db",
                f"create table {table}(id integer primary key, v text)",
                (f"insert into {table} values (?, '{name}')", [(first + i,) for i in range(9)]),
            )
        site.write("  a: {into: all}\n  b: {into: all}\n", source=f"./{name}/app.db", head=f"name: {name}\n")
        assert {s.state for s in site.cycle().streams} == {"ok"}
    assert len(site.lake("all")) == 36


def test_overwritten_by_another_manifest_holds(site: Site) -> None:
    """The rows that the position counts are gone: by silt, but not by this stream."""
    table = "create table t(id integer primary key)"
    sql(site.folder / "a.db", table, ("insert into t values (?)", [(i,) for i in range(5)]))
    sql(site.folder / "b.db", table, "insert into t values (77)")
    mine = ("  t: {lineage: [database]}\n", "./a.db", "name: mine\n")
    site.write(mine[0], source=mine[1], head=mine[2])
    ok(site, 5)
    site.write(
        "  w: {table: t, into: t, mode: overwrite, lineage: [database]}\n",
        source="./b*.db",
        head="name: other\n",
    )
    ok(site, 1)
    sql(site.folder / "b.db", "insert into t values (78)")
    ok(site, 2)
    assert len(site.lake("t")) == 7, "another slice, whose rows were replaced"
    site.write(mine[0], source=mine[1], head=mine[2])
    sql(site.folder / "a.db", "insert into t values (5)")
    ok(site, 1)
    lake = target.open_table(str(site.folder / "lake" / "t"), {})
    assert lake is not None
    nothing = pa.RecordBatchReader.from_batches(lake.schema, [])
    about = {"manifest": "third", "node": "local", "stream": "x"}
    lake.replace(nothing, predicate=None, txns=(), metadata=about)
    result = held(site, "4.5", "manifest third")
    assert "into" in result.error.hint


@pytest.mark.parametrize("mode", ["append", "overwrite"])
def test_two_manifests_of_one_name_do_not_share_a_table(site: Site, mode: str) -> None:
    """Another database under the same names: held, also for the first of them after a reset by the second."""
    for name in ("a", "b"):
        sql(site.folder / f"{name}.db", "create table t(id integer primary key, v text)")
        sql(site.folder / f"{name}.db", ("insert into t(v) values (?)", [(name,)] * 3))
    streams = f"  t: {{mode: {mode}}}\n"
    site.write(streams, source="./a.db")
    ok(site, 3)
    site.write(streams, source="./b.db")
    result = held(site, "10", "rows of database a")
    assert "a `name` of its own" in result.error.hint
    site.reset("t")
    ok(site, 3)
    site.write(streams, source="./a.db")
    held(site, "10", "rows of database b")
    assert {row["v"] for row in site.lake("t")} == {"b"}


def test_new_database_of_a_glob_whose_slices_were_given_up(site: Site) -> None:
    """`lineage: none`: the positions of the stream's other databases explain the rows that are there."""
    ddl = "create table t(id integer primary key, v text)"
    for name in ("a", "b"):
        sql(site.folder / f"{name}.db", ddl, (f"insert into t(v) values ('{name}')", [()] * 5))
    site.write("  t: {lineage: none}\n", source="./*.db")
    ok(site, 10)
    sql(site.folder / "c.db", ddl, ("insert into t(v) values ('c')", [()] * 5))
    ok(site, 5)
    (site.folder / "a.db").rename(site.folder / "d.db")
    assert site.one().state == "held", "a renamed one is still told"
    assert len(site.lake("t")) == 15


def test_last_database_of_a_pool_compares_no_rows(site: Site) -> None:
    """Rows of databases that are gone have the same keys: what is missing cannot be told."""
    ddl = "create table t(id integer primary key, v text)"
    for name in ("a", "b"):
        sql(site.folder / f"{name}.db", ddl, (f"insert into t(v) values ('{name}')", [()] * 9))
    site.write("  t: {lineage: none}\n", source="./*.db")
    ok(site, 18)
    (site.folder / "b.db").unlink()
    sql(site.folder / "a.db", "update t set v = 'b' where id = 9")
    result = site.one()
    assert result.state == "held", result.error


def test_only_the_database_with_unclaimed_rows_is_held(site: Site) -> None:
    """Another writer filled the slice of one database before its file came: the others go on."""
    ddl = "create table t(id integer primary key, v text)"
    for name in ("a", "b"):
        sql(site.folder / f"{name}.db", ddl, (f"insert into t(v) values ('{name}')", [()] * 5))
    site.write("  t: {}\n", source="./*.db")
    ok(site, 10)
    write_deltalake(
        site.folder / "lake" / "t",
        pa.table({"id": [1], "v": ["z"], "_silt_database": ["c"]}),
        mode="append",
    )
    sql(site.folder / "c.db", ddl, "insert into t(v) values ('c')")
    sql(site.folder / "a.db", "insert into t(v) values ('more')")
    result = site.one()
    assert (result.state, result.rows) == ("held", 1)
    assert "database c" in str(result.error)
    assert {row["v"] for row in site.lake("t")} == {"a", "b", "z", "more"}


def _late(site: Site, ddl: str, times: list[object]) -> None:
    site.sql(f"create table t({ddl})", ("insert into t(id, ts) values (?, ?)", list(enumerate(times, 1))))


_IN_2023 = 1_700_000_000_000_000_000
KEYED = "ts timestamp not null, id int not null, primary key (ts, id)"


def test_lookback_over_a_key_that_the_lake_cuts_off_is_refused(site: Site) -> None:
    """Two rows of one microsecond have one key in the lake, and one would pass for the other."""
    _late(site, KEYED, [_IN_2023, _IN_2023 + 5000])
    site.sql("update t set id = 1")
    site.write("  t: {cursor: {column: ts, lookback: 1h}}\n")
    result = site.one()
    assert result.state == "failing", "the late row of the same microsecond would be taken for the first"
    assert "nanoseconds" in str(result.error)
    assert "type: string" in result.error.hint


@pytest.mark.parametrize(
    ("ddl", "columns"),
    [
        ("id integer primary key, ts timestamp not null", "{}"),
        (KEYED, "{ts: {type: bigint}}"),
        (KEYED, "{ts: {type: string}}"),
    ],
)
def test_lookback_over_a_key_that_the_lake_keeps_whole(site: Site, ddl: str, columns: str) -> None:
    """By an id of its own, or by the count itself, the late row of the same microsecond is told."""
    _late(site, ddl, [_IN_2023, _IN_2023 + 5000])
    site.write(f"  t: {{columns: {columns}, cursor: {{column: ts, lookback: 1h}}}}\n")
    ok(site, 2)
    site.sql(f"insert into t(id, ts) values (3, {_IN_2023 + 1})")
    ok(site, 1)
    ok(site, 0)
    assert sorted(site.column("t", "id")) == [1, 2, 3]


def test_one_instant_spelled_twice_holds(site: Site) -> None:
    """Two keys of texts are one in the lake: which of the two rows it holds cannot be told."""
    _late(site, KEYED.replace("primary", "v text, primary"), ["2024-01-01 00:00:00.0", "2024-01-01 00:00:30"])
    site.write("  t: {cursor: {column: ts, lookback: 1h}}\n")
    ok(site, 2)
    site.sql("insert into t(ts, id, v) values ('2024-01-01 00:00:00', 1, 'late')")
    held(site, "4.3", "one key in the lake")


def test_rewind_over_a_key_that_the_lake_cuts_off_holds(site: Site) -> None:
    """Without lookback such a stream runs; rows that are in doubt cannot be compared, and are not."""
    _late(site, KEYED, [_IN_2023 + i * 1000 for i in range(20)])
    site.write("  t: {cursor: ts}\n")
    ok(site, 20)
    site.sql("update t set ts = ts + 1 where id = 20")
    held(site, "4.4", "nanoseconds")


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (1_700_000_000_000, 1_700_000_000),  # seconds among milliseconds: 1970
        (1_700_000_000_000_000, 1_700_000_000_000),
        (1_700_000_000, 40_000_000_000),  # the year 3237
        (2_460_000.5, 1.5),  # a Julian day long before Christ
    ],
)
def test_a_number_of_another_unit_is_a_misfit(site: Site, first: float, then: float) -> None:
    """A format that was only seen in values makes no absurd years; said in the manifest it takes all."""
    site.sql(
        "create table t(id integer primary key, at timestamp)",
        ("insert into t(at) values (?)", [(first + i,) for i in range(30)]),
    )
    site.write("  t: {}\n")
    ok(site, 30)
    site.sql(("insert into t(at) values (?)", [(then,)]))
    site.write("  t: {on_misfit: fail}\n")
    result = site.one()
    assert result.state == "failing"
    for word in ("t.at", "at id 31", str(then), "integer" if isinstance(then, int) else "real", "plausible"):
        assert word in str(result.error), word
    assert len(site.lake("t")) == 30
    if isinstance(first, int):
        form = {10: "epoch_s", 13: "epoch_ms", 16: "epoch_us"}[len(str(first))]
        site.write(f"  t: {{columns: {{at: {{format: {form}}}}}}}\n")
        ok(site, 1)


def test_zero_is_the_same_instant_in_every_unit(site: Site) -> None:
    """`0` means "never" in many tables: it arrives as 1970-01-01."""
    site.sql(
        "create table t(id integer primary key, at timestamp)",
        ("insert into t(at) values (?)", [(1_700_000_000_000 + i,) for i in range(200)]),
        "insert into t(at) values (0)",
    )
    site.write("  t: {}\n")
    ok(site, 201)
    assert min(site.column("t", "at")).year == 1970


@pytest.mark.parametrize("mode", ["append", "overwrite"])
def test_a_format_that_was_seen_is_pinned(site: Site, mode: str) -> None:
    """Another sample of the values reads the column no other way, on a wiped device neither."""
    site.sql(
        "create table t(id integer primary key, at timestamp)",
        ("insert into t(at) values (?)", [(1_700_000_000 + i,) for i in range(10)]),
    )
    site.write(f"  t: {{mode: {mode}, on_misfit: fail}}\n")
    ok(site, 10)
    site.sql(("insert into t(at) values (?)", [(1_700_000_000_000 + i,) for i in range(2000)]))
    result = site.one()
    assert (result.state, len(site.lake("t"))) == ("failing", 10)
    assert "t.at" in str(result.error)
    site.sql("delete from t where id > 10", "insert into t(at) values (1700000100)")
    site.one()
    assert {moment.year for moment in site.column("t", "at")} == {2023}
    assert len(site.lake("t")) == 11


@pytest.mark.parametrize(
    ("form", "unit"), [("epoch_ms", 1_000), ("epoch_us", 1_000_000), ("apple_ns", 1_000_000_000)]
)
def test_lookback_counts_in_the_format_that_the_manifest_says(site: Site, form: str, unit: int) -> None:
    """A duration back from an integer cursor whose name and type say nothing of time."""
    since = 978_307_200 if form.startswith("apple") else 0
    start = (1_700_000_000 - since) * unit
    site.sql(
        "create table t(id integer primary key, n int not null)",
        ("insert into t values (?, ?)", [(i, start + i * 60 * unit) for i in range(30)]),
    )
    site.write(f"  t: {{columns: {{n: {{format: {form}}}}}, cursor: {{column: n, lookback: 10m}}}}\n")
    ok(site, 30)
    site.sql(
        ("insert into t values (100, ?)", (start + 20 * 60 * unit + 1,)),
        ("insert into t values (101, ?)", (start + 10 * 60 * unit,)),
    )
    ok(site, 1)
    assert 100 in site.column("t", "id")
    assert 101 not in site.column("t", "id"), "before the look-back"


@pytest.mark.parametrize(
    ("ddl", "value", "lookback", "word"),
    [
        ("n int not null", 7, "10m", "plain numbers"),
        ("n text not null", "2024-01-01 00:00:00", "600", "holds no numbers"),
        ("n text not null", "b", "10m", "no known format"),
    ],
)
def test_lookback_in_a_unit_that_the_cursor_has_not(
    site: Site, ddl: str, value: object, lookback: str, word: str
) -> None:
    """A duration of plain integers, a number of texts: refused, with what to write instead."""
    site.sql(
        f"create table t(id integer primary key, {ddl})", ("insert into t(n) values (?)", [(value,)] * 3)
    )
    site.write(f"  t: {{cursor: {{column: n, lookback: {lookback}}}}}\n")
    result = site.one()
    assert result.state == "failing"
    assert word in str(result.error)
    assert "write a" in result.error.hint or "format" in result.error.hint


def test_lookback_of_plain_numbers(site: Site) -> None:
    """`lookback: 5` of a column that counts reads the last five numbers again."""
    site.sql(
        "create table t(id integer primary key, n int not null)",
        ("insert into t(n) values (?)", [(i * 2,) for i in range(20)]),
    )
    site.write("  t: {cursor: {column: n, lookback: 5}}\n")
    ok(site, 20)
    site.sql("insert into t(n) values (33), (31)")
    ok(site, 1)
    assert 33 in site.column("t", "n")
