"""A column's `expr` is one steady expression over a row, or it is refused before anything is read by it."""

from __future__ import annotations

from pathlib import Path

import pytest
from kit import sql

from silt.errors import UserError
from silt.source.clone import reflect
from silt.source.expression import check
from silt.source.open import connect


@pytest.fixture
def database(tmp_path: Path) -> Path:
    sql(
        tmp_path / "a.db",
        'CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT, ts TEXT, "odd name" INT, "now" TEXT)',
        "CREATE TABLE u(w INT)",
    )
    return tmp_path / "a.db"


def tried(database: Path, expr: str) -> None:
    with connect(str(database), busy_timeout=1.0) as connection:
        (table,) = (t for t in reflect(connection) if t.name == "t")
        check(connection, table, "made", expr)


@pytest.mark.parametrize(
    "expr",
    [
        "date(ts)",
        "v",
        "upper(v) || ' (' -- a remark with ) and '",
        "case v when 'now' then 1 else \"odd name\" end",
        "json_extract(v, '$.a')",
        "strftime('%Y-%m', ts)",
        "datetime(ts, '+1 day')",
        "coalesce(nullif(v, ''), 'a select from now()')",
        "octet_length(v)",
        "rowid * 2",
        "v in ('a', 'b')",
        "now",
        "max(id, 1)",
        "v = 'subsec'",
        "unixepoch(ts, 'subsec')",
        "strftime('%f', ts, 'subsecond')",
        "unixepoch(datetime(ts, 'subsec'))",
    ],
)
def test_expressions_pass(database: Path, expr: str) -> None:
    """Whatever SQLite computes of one row alone, remarks and texts as they are."""
    tried(database, expr)


@pytest.mark.parametrize(
    ("expr", "why"),
    [
        ("id), (1", "a `)` has no `(`"),
        ("(id", "a `(` has no `)`"),
        ("id; drop table t", "a `;` ends a statement"),
        ("id + :low", ":low is a parameter"),
        ("v || 'open", "the quote ' is not closed"),
        ('"vv"', '"vv" is no column of t'),
        ("vv", "no such column: vv"),
        ("datee(ts)", "no such function: datee"),
        ("date(ts", "a `(` has no `)`"),
        ("id, v", "row value misused"),
        ("", "syntax error"),
        ("-- nothing", "syntax error"),
        ("count(*)", "misuse of aggregate"),
        ("max(id)", "misuse of aggregate"),
        ("row_number() over ()", "misuse of window function"),
        ("(select max(w) from u)", "a subquery reads other rows"),
        ("id in (select w from u)", "a subquery reads other rows"),
        ("exists (SELECT 1)", "a subquery reads other rows"),
        ("id in u", "a subquery reads other rows"),
        ("random()", "random() is another value each time"),
        ("abs(random ( ))", "random() is another value each time"),
        ("hex(randomblob(8))", "randomblob() is another value each time"),
        ("current_timestamp", "current_timestamp tells when"),
        ("date()", "date() of now"),
        ("strftime('%s')", "strftime() of now"),
        ("julianday('NOW') - julianday(ts)", "julianday() of now"),
        ("datetime(ts, 'localtime')", "datetime() of local time"),
        ("unixepoch('subsec')", "unixepoch() of now"),
        ("datetime( ('SUBSECOND') )", "datetime() of now"),
        ("strftime('%f', 'subsec')", "strftime() of now"),
        ("julianday(ts) - julianday('subsec', '+1 day')", "julianday() of now"),
        ("timediff(ts, 'subsec')", "timediff() of now"),
    ],
)
def test_what_is_no_steady_expression_is_refused(database: Path, expr: str, why: str) -> None:
    """What would change the statement around it, other rows, chance, now: said with where it is written."""
    with pytest.raises(UserError) as caught:
        tried(database, expr)
    assert why in caught.value.what
    assert caught.value.setting == "columns.made.expr"


@pytest.mark.parametrize(("expr", "meant"), [("idd + 1", "'id'"), ("uper(v)", "'upper'")])
def test_a_misspelt_name_gets_a_suggestion(database: Path, expr: str, meant: str) -> None:
    """Of the table's columns, and of the functions that this SQLite has."""
    with pytest.raises(UserError) as caught:
        tried(database, expr)
    assert f"did you mean {meant}?" in caught.value.hint
