"""A stream's `query` is one SELECT over its database, or is refused; what it makes is read as a view is."""

from __future__ import annotations

from pathlib import Path

import pytest
from kit import Site, sql

from silt.errors import UserError
from silt.source.open import connect
from silt.source.query import derive, fingerprint


@pytest.fixture
def database(tmp_path: Path) -> Path:
    sql(
        tmp_path / "app.db",
        "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT, price DECIMAL(10,2), at DATETIME)",
        "INSERT INTO t VALUES (1, 'a:b ? @c', 1.25, '2026-01-01T00:00:00'), (2, NULL, 2.5, NULL)",
        'CREATE TABLE "odd ""name"(k INT)',
    )
    return tmp_path / "app.db"


def derived(database: Path, query: str, *, append: bool = False):
    with connect(str(database), busy_timeout=1.0) as connection:
        table = derive(connection, "q", query, append=append)
        return table, connection.rows(_all(table))


def _all(table):
    import sqlalchemy as sa

    from silt.source.statement import relation

    return sa.select(*relation(table).c)


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("SELECT id, v FROM t", [(1, "a:b ? @c"), (2, None)]),
        ("select id from t -- a remark", [(1,), (2,)]),
        ("-- first\n/* second */ SELECT ';' || ':a' AS x, '%(b)s %%' AS y", [(";:a", "%(b)s %%")]),
        (
            "WITH n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3) SELECT i FROM n",
            [(1,), (2,), (3,)],
        ),
        ("SELECT max(id) FROM t", [(2,)]),
        ("SELECT id FROM t UNION ALL SELECT id + 10 FROM t", [(1,), (2,), (11,), (12,)]),
        ("SELECT id AS silt_rows, 1 AS silt_query FROM main.t WHERE id = 1", [(1, 1)]),
        ('SELECT count(*) AS n FROM "odd ""name"', [(0,)]),
        (r"SELECT '\:a \\:b' AS x", [(r"\:a \\:b",)]),
    ],
)
def test_selects_pass(database: Path, query: str, rows: list[tuple[object, ...]]) -> None:
    """Remarks, strings, WITH, odd names: the text is the user's, and stays as it is."""
    assert derived(database, query)[1] == rows


def test_plain_columns_keep_their_declared_type(database: Path) -> None:
    """A result column that is a plain column has its type; a computed one is what its values are."""
    table, _ = derived(database, "SELECT t.price, at AS moment, id * 2 AS twice, count(*) OVER () FROM t")
    assert [(c.name, c.declared) for c in table.columns] == [
        ("price", "DECIMAL(10,2)"),
        ("moment", "DATETIME"),
        ("twice", "ANY"),
        ("count(*) OVER ()", "ANY"),
    ]


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("", "it begins with nothing"),
        ("ATTACH 'x.db' AS x", "it begins with ATTACH"),
        ("PRAGMA user_version", "it begins with PRAGMA"),
        ("/* SELECT */ DELETE FROM t", "it begins with DELETE"),
        ("(SELECT 1)", "it begins with ("),
        ("SELECT 1; DROP TABLE t", "a `;` ends a statement"),
        ("SELECT id FROM t;", "a `;` ends a statement"),
        ("SELECT id FROM t) UNION ALL (SELECT 1", "a `)` has no `(`"),
        ("SELECT (id FROM t", "a `(` has no `)`"),
        ("SELECT 'open FROM t", "the quote ' is not closed"),
        ("SELECT id FROM t WHERE id > ?", "? is a parameter"),
        ("SELECT id FROM t WHERE id > :low", ":low is a parameter"),
        ("WITH gone AS (DELETE FROM t RETURNING id) SELECT * FROM gone", 'near "DELETE": syntax error'),
        ("WITH n AS (SELECT 1) DELETE FROM t", 'near "DELETE": syntax error'),
        ("WITH n AS (SELECT 1) INSERT INTO t SELECT * FROM n", 'near "INSERT": syntax error'),
        ("SELECT id FROM nope", "no such table: nope"),
        ("SELECT nope FROM t", "no such column: nope"),
        ("SELECT my_function(id) FROM t", "no such function: my_function"),
        ("SELECT id FRM t WHERE", "syntax error"),
        ("SELECT id, v AS ID FROM t", "two columns of `query` are called 'id'"),
        ("SELECT id, random() AS r FROM t", "random() is another value each time"),
        ("SELECT id FROM t WHERE id IN (SELECT abs(Random()) FROM t)", "random() is another value each time"),
        ("SELECT hex(randomblob(4)) AS x", "randomblob() is another value each time"),
        ("SELECT id, datetime('now') AS at FROM t", "datetime() of now makes another result"),
        ("SELECT id FROM t WHERE at > date(\"now\", '-1 day')", "date() of now makes another result"),
        ("SELECT unixepoch('subsec') AS at", "unixepoch() of now makes another result"),
        ("SELECT id, current_timestamp AS at FROM t", "current_timestamp makes another result"),
        ("SELECT datetime(at, 'localtime') AS at FROM t", "datetime() of local time makes another result"),
    ],
)
def test_what_is_no_select_is_refused(database: Path, query: str, why: str) -> None:
    """Nothing but one SELECT that reads: SQLite's own words, and where it is written."""
    with pytest.raises(UserError) as caught:
        derived(database, query)
    assert why in caught.value.what
    assert caught.value.setting == "query"
    assert sql(database, "SELECT count(*) FROM t") == [(2,)]


@pytest.mark.parametrize(
    "query",
    [
        "SELECT id, v FROM t ORDER BY at DESC LIMIT 2",
        "WITH n AS (SELECT id FROM t) SELECT id FROM n limit 1 offset 1",
        "SELECT id FROM t UNION ALL SELECT id + 10 FROM t LIMIT 3",
    ],
)
def test_a_limit_is_refused_for_append(database: Path, query: str) -> None:
    """Rows that come later push others out, which no position would count; what is replaced may be cut."""
    with pytest.raises(UserError) as caught:
        derived(database, query, append=True)
    assert "`query` has a LIMIT, and a mode with a position would miss the rows" in caught.value.what
    assert caught.value.setting == "query"
    derived(database, query)


@pytest.mark.parametrize(
    "query",
    [
        'SELECT id, (SELECT k FROM "odd ""name" LIMIT 1) AS k FROM t',
        "SELECT id, ' limit 1' AS \"limit\" FROM t -- LIMIT 2",
        "WITH changes(id) AS (SELECT id FROM t) SELECT id, date(id) AS d, 'now' AS w FROM changes",
    ],
)
def test_what_only_looks_like_it_passes(database: Path, query: str) -> None:
    """A LIMIT within, names and texts that are spelled like a word of SQL's."""
    derived(database, query, append=True)


def test_an_edit_is_another_query() -> None:
    """White space around a query is none of it; anything inside is."""
    assert fingerprint(" SELECT 1\n") == fingerprint("SELECT 1")
    assert fingerprint("SELECT 1") != fingerprint("SELECT 2")


# --- streams --------------------------------------------------------------------------------------


@pytest.fixture
def site(tmp_path: Path) -> Site:
    made = Site(tmp_path)
    made.sql(
        "CREATE TABLE readings(id INTEGER PRIMARY KEY, sensor INT, at TEXT, v REAL)",
        "CREATE TABLE sensors(id INTEGER PRIMARY KEY, place TEXT)",
        "INSERT INTO sensors VALUES (1, 'roof'), (2, 'hall')",
        (
            "INSERT INTO readings VALUES (?, ?, ?, ?)",
            [(i, i % 2 + 1, f"2026-01-01T00:00:{i:02d}", i / 4) for i in range(20)],
        ),
    )
    return made


JOIN = "SELECT r.id, r.at, s.place, r.v * 2 AS twice FROM readings r JOIN sensors s ON s.id = r.sensor"


def test_append(site: Site) -> None:
    """Rows past the position, each once, by the cursor that was declared."""
    site.write(f"  q:\n    query: {JOIN}\n    cursor: id\n    where: twice > 1\n")
    assert site.one().rows == 17
    site.sql("INSERT INTO readings VALUES (20, 1, '2026-01-01T00:01:00', 9)")
    assert site.one().rows == 1
    assert site.one().rows == 0
    site.expect("q", f"({JOIN}) WHERE twice > 1")


def test_ties_that_come_late_are_found(site: Site) -> None:
    """A row at the position's cursor value that commits later is seen by the digest of ties."""
    site.write(f"  q:\n    query: {JOIN}\n    cursor: [at, id]\n")
    site.one()
    site.sql("INSERT INTO readings VALUES (-5, 1, '2026-01-01T00:00:19', 9)")
    assert site.one().rows == 1
    site.expect("q", f"({JOIN})")


def test_a_cursor_that_does_not_tell_rows_apart_stops_the_stream(site: Site) -> None:
    """Two rows of one key would be lost or doubled: nothing is written."""
    site.write(f"  q:\n    query: {JOIN}\n    cursor: place\n")
    result = site.one()
    assert result.state == "failing"
    assert "does not tell its rows apart" in str(result.error)
    assert site.lake("q") == []


def test_an_edited_query_holds_an_append_stream(site: Site) -> None:
    """The query is the stream's identity: what a position counted is of the query before."""
    site.write(f"  q:\n    query: {JOIN}\n    cursor: id\n")
    site.one()
    site.write(f"  q:\n    query: {JOIN} WHERE s.id > 0\n    cursor: id\n")
    result = site.one()
    assert result.state == "held"
    assert "the query was edited" in str(result.error)
    assert "silt reset" in result.error.hint
    site.write(f"  q:\n    query: {JOIN}\n    cursor: id\n")
    assert site.one().state == "ok"


def test_overwrite(site: Site) -> None:
    """The whole result again, when it changed; an edit is another result."""
    joined = "FROM readings r JOIN sensors s ON s.id = r.sensor"
    count = f"SELECT place, count(*) AS n, avg(v) AS mean {joined} GROUP BY place"
    site.write(f"  q: {{mode: overwrite, query: '{count}'}}\n")
    assert site.one().rows == 2
    assert site.one().batches == 0
    site.sql("INSERT INTO readings VALUES (20, 1, '2026-01-01T00:01:00', 9)")
    assert site.one().rows == 2
    site.expect("q", f"({count})")
    site.write(f"  q: {{mode: overwrite, query: '{count} LIMIT 1'}}\n")
    assert site.one().rows == 1


def test_columns_are_those_of_the_query(site: Site) -> None:
    """`select`, `columns`, `partition_by` and lineage speak of the result."""
    site.write(
        f"  q:\n    query: {JOIN}\n    mode: overwrite\n    select: ['*', '-twice']\n"
        "    columns: {at: {rename: moment, type: timestamp}, site: {value: berlin}}\n"
        "    partition_by: [place]\n    lineage: [database]\n"
    )
    assert site.one().rows == 20
    assert set(site.lake("q")[0]) == {"id", "moment", "place", "site", "_silt_database"}
    site.write(f"  q:\n    query: {JOIN}\n    mode: overwrite\n    columns: {{nope: {{rename: x}}}}\n")
    assert "columns names column 'nope'" in str(site.one().error)


def test_an_error_says_where_it_is_written(site: Site) -> None:
    """SQLite's words, and the place in the manifest."""
    site.write("  q:\n    mode: overwrite\n    query: SELECT nope FROM readings\n")
    result = site.one()
    assert "no such column: nope" in str(result.error)
    assert (result.place.line, result.place.column) == (9, 12)


@pytest.mark.parametrize("mode", ["overwrite", "append, cursor: id"])
def test_a_query_of_chance_is_refused_at_plan(site: Site, mode: str) -> None:
    """It would be written anew every cycle, or never found again: nothing is written, and it says where."""
    site.write(f"  q: {{query: 'select id, random() r from readings', mode: {mode}}}\n")
    result = site.one()
    assert result.state == "failing"
    assert "random() is another value each time" in str(result.error)
    assert (result.place.line, result.place.column) == (7, 14)
    assert not (site.folder / "lake" / "q").exists()


def test_no_row_shows_no_type(site: Site) -> None:
    """A table made of computed columns without a value would have text where numbers come: it waits."""
    query = "SELECT sensor, sum(v) AS total FROM readings WHERE sensor > 5 GROUP BY sensor"
    site.write(f"  q: {{mode: overwrite, query: '{query}'}}\n")
    result = site.one()
    assert result.state == "waiting"
    assert "no row yet shows the types of total" in result.notes[0]
    assert not (site.folder / "lake" / "q").exists()
    site.sql("INSERT INTO readings VALUES (20, 6, '2026-01-01T00:01:00', 9)")
    assert site.one().rows == 1
    assert site.lake("q") == [{"sensor": 6, "total": 9.0}]


def test_each_database_of_a_glob(site: Site) -> None:
    """A query reads one database: each of a glob gives its own rows; one without rows yet stops no other."""
    table = "CREATE TABLE t(id INTEGER PRIMARY KEY, v INT)"
    sql(site.folder / "one.db", table, "INSERT INTO t VALUES (1, 10), (2, 20)")
    sql(site.folder / "two.db", table)
    site.write("  q: {query: 'SELECT id, v * 2 AS w FROM t', cursor: id}\n", source="'./[ot][nw][eo].db'")
    assert site.one().rows == 2
    sql(site.folder / "two.db", "INSERT INTO t VALUES (1, 5)")
    assert site.one().rows == 1
    assert {(r["_silt_database"], r["w"]) for r in site.lake("q")} == {("one", 20), ("one", 40), ("two", 10)}
