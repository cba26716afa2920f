"""`silt.target.sql`: queries over several tables, names as SQLite's users write them, nothing that writes."""

from __future__ import annotations

import pytest

from silt.errors import UserError
from silt.target import sql


@pytest.fixture
def tables(tmp_path):
    """Delta tables with upper-case, blank and reserved names."""
    import pyarrow as pa
    from deltalake import write_deltalake

    places = {}
    for name, columns in {
        "InvoiceLine": {"Id": [1, 2], "Unit Price": [0.99, 1.99], "order": [5, 6]},
        "orders": {"id": [5, 6], "Note": ["a", None]},
        "eu/acme 1": {"x": [b"\x00\xff"]},
    }.items():
        uri = str(tmp_path / name.replace("/", "_").replace(" ", "_"))
        write_deltalake(uri, pa.table(columns))
        places[name] = (uri, {})
    return places


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("select Id from InvoiceLine order by id", [{"Id": 1}, {"Id": 2}]),
        ('select sum("Unit Price") s from INVOICELINE', [{"s": 2.98}]),
        ('select i.Id, note from invoiceline i join orders o on i."order" = o.id order by 1 desc limit 1',
         [{"Id": 2, "Note": None}]),
        ("select ID from Orders order by iD", [{"id": 5}, {"id": 6}]),
        ("select 'Id' as t, count(*) n from orders -- Id\n", [{"t": "Id", "n": 2}]),
        ('select x from "eu/acme 1"', [{"x": b"\x00\xff"}]),
        ("with a as (select 1 as one) select one from a", [{"one": 1}]),
    ],
)  # fmt: skip
def test_queries(tables, query, rows):
    """Names of tables and columns in any case, joins, odd names in quotes, strings left alone."""
    answer = sql.query(tables, query)
    found = answer.read_all().to_pylist()
    assert [{k: round(v, 2) if isinstance(v, float) else v for k, v in r.items()} for r in found] == rows


@pytest.mark.parametrize(
    "statement",
    [
        "insert into orders values (7, 'x')",
        "INSERT INTO orders VALUES (7, 'x')",
        "with a as (select 7 id, 'x' n) insert into orders select * from a",
        "explain analyze insert into orders values (7, 'x')",
        "delete from orders",
        "update orders set id = 1",
        "copy orders to 'out.csv'",
        "select 1 into orders",
        "create external table t stored as csv location '/etc/passwd'",
        "set datafusion.execution.batch_size = 1",
        "drop table orders",
        "  -- nothing\n",
        "",
    ],
)
def test_nothing_but_queries(tables, statement):
    """The embedded engine would carry these out: they are refused before it sees them."""
    with pytest.raises(UserError):
        sql.query(tables, statement)
    assert sql.query(tables, "select count(*) n from orders").read_all().to_pylist() == [{"n": 2}]


def test_engine_would_write():
    """The trap that `check_reads` is for: DataFusion's COPY writes a file (deltalake 1.6.3)."""
    sql.check_reads("select \"copy\", 'insert into' from t where replace(a, 'b', 'c') = 'drop'")
    with pytest.raises(UserError, match="COPY is no part"):
        sql.check_reads("explain copy t to 'x'")


def test_engine_takes_names_as_they_are_written(tables):
    """The trap that `exact` is for: to the engine `invoiceline` is another name than `InvoiceLine`."""
    import pyarrow as pa
    from deltalake import DeltaTable, QueryBuilder
    from deltalake.exceptions import DeltaError

    builder = QueryBuilder().register('"InvoiceLine"', DeltaTable(tables["InvoiceLine"][0]))
    with pytest.raises(DeltaError, match="not found"):
        pa.RecordBatchReader.from_stream(builder.execute("select * from invoiceline")).read_all()


def test_errors_name_what_is_wrong_and_what_there_is(tables):
    """Unknown columns and tables, and SQL that does not parse: the engine's words, and the tables."""
    for query in ("select nope from orders", "select * from nope", "select * from orders where"):
        with pytest.raises(UserError) as refused:
            sql.query(tables, query)
        assert refused.value.why
        assert "orders" in refused.value.hint


def test_missing_table_is_an_error_of_ours(tmp_path):
    """A stream that was never replicated: no raw error of the library."""
    from silt.errors import SiltError

    with pytest.raises(SiltError):
        sql.query({"orders": (str(tmp_path / "none"), {})}, "select * from orders")


def test_reserved_words_calls_and_ambiguous_names_stay():
    """A column called `Order` or `Sum` leaves ORDER BY and sum() alone; two spellings are two names."""
    names = ["Sum", "Order", "Id", "x", "X"]
    assert (
        sql.exact("select sum(ID), x, X from t order by 1", names)
        == 'select sum("Id"), x, X from t order by 1'
    )


def test_only_tables_that_a_query_names_are_opened(tables):
    """A stream that was never replicated does not stand in the way of a query over another."""
    tables["gone"] = ("/nope/gone", {})
    assert sql.query(tables, "select count(*) n from ORDERS").read_all().to_pylist() == [{"n": 2}]
