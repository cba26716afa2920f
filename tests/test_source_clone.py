"""Reflection from the in-memory clone of the schema: every kind of table, every odd name."""

from __future__ import annotations

from pathlib import Path

import pytest
from kit import sql

from silt.shapes import Table, Trigger
from silt.source import clone
from silt.source.clone import reflect, sequence
from silt.source.open import connect, find


@pytest.fixture
def tables(tmp_path):
    """`tables("create ...", ...)`: the tables of a new database by name."""

    def make(*statements: str) -> dict[str, Table]:
        path = tmp_path / "a.db"
        sql(path, *statements)
        with connect(str(path), busy_timeout=1) as c:
            return {t.name: t for t in reflect(c)}

    return make


ODD = [
    "order",
    "a b",
    'x"y',
    "a'b",
    "%(a)s",
    "a:b",
    "50%",
    "[x]",
    "a.b",
    "?",
    "né",
    "NÉ",
    "new\nline",
    "`",
    "--",
    "select *",
]


def test_every_odd_name_is_reflected(tables):
    """Reserved words, quotes, parameters' look-alikes, names that differ in non-ASCII case only."""
    quoted = ['"' + name.replace('"', '""') + '"' for name in ODD]
    found = tables(*(f"create table {q}({', '.join(f'{c} int' for c in quoted)})" for q in quoted))
    assert sorted(found) == sorted(ODD)
    for table in found.values():
        assert table.note == ""
        assert [c.name for c in table.columns] == ODD


def test_kinds_of_keys(tables):
    """INTEGER PRIMARY KEY is the rowid only where SQLite says so; WITHOUT ROWID tables have none."""
    found = tables(
        "create table auto(id integer primary key autoincrement)",
        "create table plain(a text, id integer, primary key(id))",
        "create table int_(id int primary key)",
        "create table descending(id integer primary key desc)",
        "create table two(a int, b int, primary key(b, a))",
        "create table without(k text, v int, primary key(k)) without rowid",
        "create table none_(a)",
        "create table taken(rowid text, _rowid_ text, oid text)",
        "create table part(rowid text, oid int)",
    )
    aliases = {name: t.rowid_alias for name, t in found.items() if t.rowid_alias}
    assert aliases == {"auto": "id", "plain": "id"}
    assert {name for name, t in found.items() if t.autoincrement} == {"auto"}
    assert {name for name, t in found.items() if t.without_rowid} == {"without"}
    assert found["two"].primary_key == ("b", "a")
    assert found["taken"].rowid is None
    assert found["without"].rowid is None
    assert found["part"].rowid == "_rowid_"
    assert found["none_"].rowid == "rowid"


def test_nullability_is_what_sqlite_enforces(tables):
    """A rowid and a WITHOUT ROWID key are never NULL; an ordinary primary key may be (an old accident)."""
    found = tables(
        "create table a(id integer primary key, b text not null, c text)",
        "create table w(k text primary key, v) without rowid",
        "create table p(k text primary key)",
    )
    nullable = {(t.name, c.name): c.nullable for t in found.values() for c in t.columns}
    assert nullable == {
        ("a", "id"): False,
        ("a", "b"): False,
        ("a", "c"): True,
        ("w", "k"): False,
        ("w", "v"): True,
        ("p", "k"): True,
    }


def test_generated_strict_defaults_and_triggers(tables):
    """Facts of SQLite's own that SQLAlchemy does not tell."""
    found = tables(
        "create table g(id integer primary key, a int default 5, b int as (a*2), c int as (a+1) stored)",
        "create table s(id integer primary key, x any) strict",
        "create trigger touch after update on g begin select 1; end",
    )
    assert [c.generated for c in found["g"].columns] == [False, False, True, True]
    assert found["g"].columns[1].default == "5"
    assert found["g"].triggers == (Trigger(name="touch", event="update"),)
    assert found["s"].strict
    assert not found["g"].strict


def test_collations_are_read_from_the_statement(tables):
    """No PRAGMA tells a column's collation: comments, strings and nested parentheses do not mislead."""
    found = tables(
        'create table c(a text default \'x collate rtrim\', "b ) c" text collate "NoCase" /* collate x */,'
        " d decimal(10,2) collate rtrim, e text check (e collate nocase <> 'q'), -- collate x\n f text)"
    )
    assert [c.collation.lower() for c in found["c"].columns] == [
        "binary",
        "nocase",
        "rtrim",
        "binary",
        "binary",
    ]


def test_autoincrement_is_the_keyword_only(tables):
    """A default or a name that reads so makes no AUTOINCREMENT."""
    found = tables("create table n(id integer primary key, \"autoincrement\" text default 'autoincrement')")
    assert not found["n"].autoincrement


def test_virtual_and_shadow_tables_carry_a_note(tables):
    """Their shadow tables are found by building the clone; neither is a stream's table."""
    found = tables(
        "create virtual table ft using fts5(t)",
        "create virtual table rt using rtree(id, x0, x1)",
        "create table ft_x(a)",
    )
    assert {t.kind for t in found.values()} == {"virtual", "shadow", "table"}
    assert {n for n, t in found.items() if t.kind == "virtual"} == {"ft", "rt"}
    assert {n for n, t in found.items() if t.kind == "table"} == {"ft_x"}
    assert all(t.note for t in found.values() if t.kind != "table")


def test_a_missing_module_is_skipped_with_a_note(tables, tmp_path):
    """A module that is not compiled in breaks neither its table nor its neighbours."""
    found = tables(
        "create table ok(id integer primary key)",
        "pragma writable_schema=1",
        "insert into sqlite_schema(type, name, tbl_name, rootpage, sql) values"
        " ('table', 'geo', 'geo', 0, 'CREATE VIRTUAL TABLE geo USING nomodule(a)')",
    )
    assert found["ok"].rowid_alias == "id"
    assert found["geo"].kind == "virtual"
    assert "nomodule" in found["geo"].note


def test_an_applications_collation_and_function_get_stubs(tmp_path):
    """What only the application registers is stubbed in the clone, and the table reflects whole."""
    path = tmp_path / "a.db"
    from subprocess import run
    from sys import executable

    script = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]);"
        "c.create_collation('APP', lambda a, b: (a > b) - (a < b));"
        "c.create_function('app_f', 1, lambda x: x, deterministic=True);"
        "c.execute('create table t(id integer primary key, a text collate APP, b int check (app_f(b) > 0))');"
        "c.execute('create index i on t(a)'); c.execute('create view v as select a, app_f(b) as z from t')"
    )
    run([executable, "-c", script, str(path)], check=True)
    with connect(str(path), busy_timeout=1) as c:
        found = {t.name: t for t in reflect(c)}
    assert found["t"].note == ""
    assert found["t"].column("a").collation == "APP"
    assert [i.columns for i in found["t"].indexes] == [("a",)]
    assert [c.name for c in found["v"].columns] == ["a", "z"]


def test_one_bad_table_spoils_no_other(tables):
    """A dangling foreign key, a view of a missing table, a nameless column: the rest is reflected."""
    found = tables(
        "create table a(id integer primary key, b references nowhere(x))",
        'create table bad("" int)',
        "create table gone(x)",
        "create view broken as select x from gone",
        "drop table gone",
    )
    assert found["a"].rowid_alias == "id"
    assert "cannot be reflected" in found["bad"].note
    assert "cannot be reflected" in found["broken"].note


def test_indexes_partial_and_expression_are_left_out(tables):
    """Only whole indexes over plain columns can order or prove anything."""
    found = tables(
        "create table t(a int, b text unique, c int)",
        "create unique index u on t(a, c)",
        "create index part on t(a) where a > 5",
        "create index expr on t(a + 1)",
    )
    assert {(i.columns, i.unique) for i in found["t"].indexes} == {(("b",), True), (("a", "c"), True)}


def test_views_have_columns_and_no_rowid(tables):
    """A view's columns carry the declared types of what they show."""
    found = tables(
        "create table t(id integer primary key, a text)",
        "create view v as select id, a, a || 'x' as z from t",
    )
    view = found["v"]
    assert (view.kind, view.rowid, view.rowid_alias) == ("view", None, None)
    assert [(c.name, c.declared) for c in view.columns] == [("id", "INTEGER"), ("a", "TEXT"), ("z", "")]


def test_the_sequence_of_autoincrement(tmp_path):
    """The last id that AUTOINCREMENT gave, also when its row is gone; None without one."""
    path = tmp_path / "a.db"
    sql(path, "create table p(id integer primary key)")
    with connect(str(path), busy_timeout=1) as c:
        assert sequence(c, "p") is None
    sql(
        path,
        "create table t(id integer primary key autoincrement)",
        "insert into t values (7)",
        "delete from t",
    )
    with connect(str(path), busy_timeout=1) as c:
        assert sequence(c, "t") == 7
        assert sequence(c, "p") is None


def test_real_databases_reflect_whole(real_databases):
    """Every table of the real databases is reflected, with its columns."""
    counts = {}
    for path in (Path(d.path) for d in find(str(real_databases / "*"))):
        with connect(str(path), busy_timeout=1) as c:
            found = reflect(c)
        assert all(t.columns and not t.note for t in found)
        counts[path.name] = len(found)
    assert counts == {"chinook.sqlite": 11, "home_assistant_2024_3.db": 12, "sensor_readings.db": 1}


def test_a_schema_is_reflected_once(tmp_path, monkeypatch):
    """Databases of one program have one schema; another one, though by one word, is another."""
    clones = []
    build = clone._Clone.build
    monkeypatch.setattr(
        clone._Clone, "build", lambda self, entries: (clones.append(1), build(self, entries))[1]
    )
    schema = "create table once(id integer primary key, only_here text)"
    for name, text in (("a", schema), ("b", schema), ("c", schema.replace("text", "blob"))):
        sql(tmp_path / f"{name}.db", text)
    shapes = []
    for name in ("a", "b", "a", "c"):
        with connect(str(tmp_path / f"{name}.db"), busy_timeout=5) as connection:
            shapes.append(reflect(connection))
    assert len(clones) == 2
    assert shapes[0] == shapes[1] == shapes[2] != shapes[3]
    sql(tmp_path / "a.db", "alter table once add column later int")
    with connect(str(tmp_path / "a.db"), busy_timeout=5) as connection:
        assert [c.name for c in reflect(connection)[0].columns] == ["id", "only_here", "later"]
