"""Odd names and shapes of tables, and whole real databases: the lake is the source, cell by cell.

The oracle reads each table by stdlib sqlite3 in another process and turns its raw values into what
DESIGN 6 says of the lake's type, by code of its own.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from clirun import silt
from kit import Site, lake, sql
from oracle import equal, proj, quoted, types_of


def manifest(folder: Path, database: Path, streams: dict[str, Any], name: str = "silt.yaml") -> str:
    data = {
        "version": 1,
        "sources": {"app": str(database)},
        "targets": {"lake": f"./{Path(name).stem}"},
        "streams": streams,
    }
    (folder / name).write_text(json.dumps(data, ensure_ascii=False))
    return name


def run(folder: Path, name: str) -> dict[str, dict[str, Any]]:
    """`silt run NAME --once --json`: the streams by their names."""
    done = silt("run", name, "--once", "--json", cwd=folder)
    assert "Traceback" not in done.stderr
    return {stream["name"]: stream for stream in json.loads(done.stdout)["streams"]}


# --- odd names ------------------------------------------------------------------------------------

ODD = {
    "order": ("group", "select"),
    "two words": ("col umn", "a=b"),
    'quo"te': ('c"d', "e'f"),
    "it's": ("it's", "`"),
    "100%": ("50%", "%s"),
    "%(x)s": ("%(name)s", ":name"),
    "back`tick": ("a`b", "?"),
    "br[ack]et": ("a[0]", "semi;colon"),
    "dot.ted": ("a.b", "-- no comment"),
    "Ärger": ("größe", "rowid"),
    "ärger": ("Größe", "_rowid_"),
    "日本": ("名前", "emoji 🐌"),
    "select * from x; drop table y": ("tab\there", "new\nline"),
}
"""Tables by name, each with an INTEGER PRIMARY KEY `id` and two columns of these names."""

SPARK = str.maketrans(dict.fromkeys(" ,;{}()\n\t=", "_"))


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with app.db, whose tables have the names of `ODD`."""
    folder = tmp_path_factory.mktemp("odd")
    statements: list[Any] = []
    for table, (one, two) in ODD.items():
        key, first, second = quoted("id"), quoted(one), quoted(two)
        statements.append(
            f"CREATE TABLE {quoted(table)}({key} INTEGER PRIMARY KEY, {first} TEXT, {second} INT)"
        )
        statements.append(
            (
                f"INSERT INTO {quoted(table)}({first}, {second}) VALUES (?, ?)",
                [(table, 1), (one, 2), (None, 3)],
            )
        )
    sql(folder / "app.db", *statements)
    return folder


@pytest.mark.parametrize("mode", ["append", "overwrite"])
def test_odd_names_replicate(odd: Path, mode: str) -> None:
    """Reserved words, spaces, quotes, `%`, unicode, names alike but for the case of non-ASCII letters."""
    name = manifest(odd, odd / "app.db", {"*": {"mode": mode}}, f"{mode}.yaml")
    for rows in (3, 5):
        streams = run(odd, name)
        assert set(streams) == set(ODD)
        assert {s["error"] for s in streams.values()} == {None}
        for table, columns in ODD.items():
            renamed = {column: column.translate(SPARK) for column in columns}
            assert equal(odd / "app.db", table, odd / mode / streams[table]["into"], renamed) == rows
        if rows == 3:
            for table, columns in ODD.items():
                insert = f"INSERT INTO {quoted(table)}({quoted(columns[0])}) VALUES ('x'), ('y')"
                sql(odd / "app.db", insert)
    sql(odd / "app.db", *(f"DELETE FROM {quoted(table)} WHERE id > 3" for table in ODD))


def test_names_that_spark_refuses_are_shown_in_plan(odd: Path) -> None:
    """What a column is called in the lake is said where it is not what the source calls it."""
    name = manifest(odd, odd / "app.db", {"two words": {}}, "renamed.yaml")
    text = " ".join(silt("plan", name, cwd=odd).stdout.split())
    assert "column 'col umn' is called 'col_umn' in the lake" in text
    assert "column 'a=b' is called 'a_b' in the lake" in text


GIVEN = """\
  t:
    columns:
      v: {rename: "given name"}
      "of which": {expr: "v || '!'"}
      "made=by": {value: silt}
    partition_by: [made_by]
"""


@pytest.mark.parametrize(
    ("kind", "value", "what"), [("DECIMAL(10,2)", "-0.5", "is decimal(10,2)"), ("BLOB", "x'00'", "is binary")]
)
def test_what_no_partition_can_be_is_refused_at_plan(
    tmp_path: Path, kind: str, value: str, what: str
) -> None:
    """Binary, which readers corrupt, and decimals with a fraction, which delta-rs spells wrongly."""
    site = Site(tmp_path)
    site.sql(f"CREATE TABLE t(id INTEGER PRIMARY KEY, v {kind})", f"INSERT INTO t VALUES (1, {value})")
    site.write("  t: {partition_by: [v]}\n")
    assert f"partition_by 'v' {what}" in str(site.one().error)
    assert not (tmp_path / "lake" / "t").exists()


def test_a_decimal_is_a_partition_as_text(tmp_path: Path) -> None:
    """The way out that the refusal names."""
    site = Site(tmp_path)
    site.sql("CREATE TABLE t(id INTEGER PRIMARY KEY, v DECIMAL(10,2))", "INSERT INTO t VALUES (1, -0.5)")
    site.write("  t: {partition_by: [v], columns: {v: {type: string}}}\n")
    assert site.one().state == "ok"
    assert [row["v"] for row in site.lake("t")] == ["-0.5"]


def test_names_that_the_manifest_gives_are_those_that_spark_takes(tmp_path: Path) -> None:
    """Renamed, computed and constant columns too: plan says so, and the columns stay the same ones."""
    site = Site(tmp_path)
    site.sql("CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT)", "INSERT INTO t VALUES (1, 'a')")
    site.write(GIVEN)
    (stream,) = site.plan().streams
    called = {"given name": "given_name", "of which": "of_which", "made=by": "made_by"}
    for wanted, name in called.items():
        assert f"column {wanted!r} is called {name!r} in the lake" in "; ".join(stream.notes)
    assert site.one().state == "ok"
    row = {"id": 1, "given_name": "a", "of_which": "a!", "made_by": "silt"}
    assert site.lake("t") == [row]
    site.sql("INSERT INTO t VALUES (2, 'b')")
    assert site.one().state == "ok"
    rows = sorted(site.lake("t"), key=lambda row: row["id"])
    assert rows == [row, {**row, "id": 2, "given_name": "b", "of_which": "b!"}]


def test_a_table_that_has_a_name_which_spark_refuses_keeps_it(tmp_path: Path) -> None:
    """Values go on in the column that they are in."""
    from deltalake import DeltaTable, Field, Schema
    from deltalake.schema import PrimitiveType

    site = Site(tmp_path)
    site.sql("CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT)", "INSERT INTO t VALUES (1, 'a')")
    columns = [Field("id", PrimitiveType("long")), Field("given name", PrimitiveType("string"))]
    DeltaTable.create(str(tmp_path / "lake" / "t"), Schema(columns))
    site.write('  t: {columns: {v: {rename: "given name"}}}\n')
    assert site.one().state == "ok"
    assert site.lake("t") == [{"id": 1, "given name": "a"}]


def test_two_given_names_that_spark_would_have_alike_are_refused(tmp_path: Path) -> None:
    """Each becomes `a_b`: the error names both, and what would tell them apart."""
    site = Site(tmp_path)
    site.sql("CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT, a_b TEXT)", "INSERT INTO t VALUES (1, 'a', 'b')")
    site.write('  t: {columns: {v: {rename: "a b"}}}\n')
    error = site.one().error
    assert error.what == "two columns are called a_b in the lake: 'v' and 'a_b'"
    assert error.setting == "columns.a_b.rename"


def test_odd_names_are_queried_and_reset_by_their_names(odd: Path) -> None:
    """A stream of any name can be asked for, selected and reset on the command line."""
    name = manifest(odd, odd / "app.db", {"日本": {}, "order": {}}, "asked.yaml")
    assert silt("run", name, "--once", "--select", "日本,order", cwd=odd).returncode == 0
    done = silt("query", name, 'select "名前" from "日本" where id = 1', "--json", cwd=odd)
    assert json.loads(done.stdout)["rows"] == [{"名前": "日本"}]
    assert silt("reset", name, "日本", "--yes", cwd=odd).returncode == 0
    assert run(odd, name)["日本"]["rows"] == 3


def test_columns_that_differ_in_case_only_are_told_apart_by_renaming(tmp_path: Path) -> None:
    """Delta takes one of them: the error says which, and the renaming that it proposes works."""
    site = Site(tmp_path)
    site.sql(
        'CREATE TABLE t(id INTEGER PRIMARY KEY, "größe" TEXT, "GRÖßE" TEXT)',
        "INSERT INTO t VALUES (1, 'a', 'b')",
    )
    site.write("  t:\n")
    error = site.one().error
    assert error.what == "columns 'größe' and 'GRÖßE' differ only in case, which Delta refuses"
    assert error.hint == "`columns: {GRÖßE: {rename: another_name}}`"
    site.write('  t: {columns: {"GRÖßE": {rename: another_name}}}\n')
    assert site.one().state == "ok"
    assert site.lake("t") == [{"id": 1, "größe": "a", "another_name": "b"}]


# --- odd shapes -----------------------------------------------------------------------------------

SHAPES: dict[str, tuple[str, dict[str, Any], list[str]]] = {
    "generated": (
        (
            "CREATE TABLE generated(id INTEGER PRIMARY KEY, a INT, "
            "twice INT GENERATED ALWAYS AS (a * 2) VIRTUAL, "
            "label TEXT GENERATED ALWAYS AS ('n' || a) STORED)"
        ),
        {},
        ["INSERT INTO generated(a) VALUES (1), (2), (NULL)", "INSERT INTO generated(a) VALUES (7)"],
    ),
    "strict_one": (
        "CREATE TABLE strict_one(id INTEGER PRIMARY KEY, i INT, r REAL, t TEXT, b BLOB, a ANY) STRICT",
        {},
        [
            "INSERT INTO strict_one VALUES (1, 1, 1, 't', x'00ff', 'any'), (2, NULL, NULL, NULL, NULL, 7)",
            "INSERT INTO strict_one VALUES (3, -9223372036854775808, 1e300, '', x'', x'ab')",
        ],
    ),
    "no_rowid": (
        "CREATE TABLE no_rowid(k TEXT, n INT, v REAL, PRIMARY KEY(k, n)) WITHOUT ROWID",
        {"cursor": ["k", "n"]},
        [
            "INSERT INTO no_rowid VALUES ('a', 1, .5), ('a', 2, .25), ('b', 1, 1)",
            "INSERT INTO no_rowid VALUES ('c', 0, 0)",
        ],
    ),
    "composite": (
        "CREATE TABLE composite(a INT NOT NULL, b TEXT NOT NULL, v TEXT, PRIMARY KEY(a, b))",
        {"cursor": ["a", "b"]},
        [
            "INSERT INTO composite VALUES (1, 'x', 'p'), (1, 'y', 'q')",
            "INSERT INTO composite VALUES (1, 'z', 'r'), (2, '', '')",
        ],
    ),
    "by_rowid": (
        "CREATE TABLE by_rowid(v TEXT)",
        {"cursor": "rowid"},
        ["INSERT INTO by_rowid VALUES ('a'), ('a'), (NULL)", "INSERT INTO by_rowid VALUES ('b')"],
    ),
    "names_of_rowid": (
        "CREATE TABLE names_of_rowid(rowid TEXT, oid TEXT, v INT)",
        {"mode": "overwrite"},
        [
            "INSERT INTO names_of_rowid VALUES ('x', 'y', 1)",
            "INSERT INTO names_of_rowid VALUES ('z', 'w', 2)",
        ],
    ),
    "negative": (
        "CREATE TABLE negative(id INTEGER PRIMARY KEY, v TEXT)",
        {},
        [
            "INSERT INTO negative VALUES (-9223372036854775808, 'least'), (-1, 'm'), (0, 'z')",
            "INSERT INTO negative VALUES (5, 'p')",
        ],
    ),
    "only_a_key": (
        "CREATE TABLE only_a_key(id INTEGER PRIMARY KEY)",
        {},
        ["INSERT INTO only_a_key VALUES (1), (2)", "INSERT INTO only_a_key VALUES (3)"],
    ),
    "collated": (
        "CREATE TABLE collated(id INTEGER PRIMARY KEY, a TEXT COLLATE NOCASE UNIQUE, b TEXT COLLATE RTRIM)",
        {},
        [
            "INSERT INTO collated VALUES (1, 'A', 'x  '), (2, 'b', 'y')",
            "INSERT INTO collated VALUES (3, 'C', NULL)",
        ],
    ),
    "untyped": (
        "CREATE TABLE untyped(id INTEGER PRIMARY KEY, x)",
        {},
        [
            "INSERT INTO untyped VALUES (1, 1), (2, 'two'), (3, 3.5), (4, x'04'), (5, NULL)",
            "INSERT INTO untyped VALUES (6, 'six')",
        ],
    ),
    "either": (
        "CREATE TABLE either(id INTEGER PRIMARY KEY, code INTEGER_OR_TEXT)",
        {},
        ["INSERT INTO either VALUES (1, 4326), (2, 17)", "INSERT INTO either VALUES (3, 'EXTENT_2008')"],
    ),
    "wide": (
        "CREATE TABLE wide(id INTEGER PRIMARY KEY, " + ", ".join(f"c{i} INT" for i in range(300)) + ")",
        {},
        ["INSERT INTO wide(c0, c299) VALUES (1, 2), (3, 4)", "INSERT INTO wide(c150) VALUES (9)"],
    ),
}


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Two cycles of every shape by the command, new rows between them; what the lake held after each."""
    folder = tmp_path_factory.mktemp("shapes")
    database = folder / "app.db"
    sql(database, *(create for create, _, _ in SHAPES.values()))
    name = manifest(folder, database, {table: settings for table, (_, settings, _) in SHAPES.items()})
    cycles = []
    for batch in (0, 1):
        sql(database, *(inserts[batch] for _, _, inserts in SHAPES.values()))
        streams = run(folder, name)
        shutil.copytree(folder / "silt", folder / f"lake{batch}")
        shutil.copyfile(database, folder / f"app{batch}.db")
        cycles.append(streams)
    return {"folder": folder, "cycles": cycles}


@pytest.mark.parametrize("table", SHAPES)
def test_odd_shapes_replicate(shapes: dict[str, Any], table: str) -> None:
    """Generated columns, STRICT, WITHOUT ROWID, composite keys, rowid, negative ids, no type at all ..."""
    for number, streams in enumerate(shapes["cycles"]):
        assert (streams[table]["state"], streams[table]["error"]) == ("ok", None)
        folder = shapes["folder"]
        assert equal(folder / f"app{number}.db", table, folder / f"lake{number}" / table) > 0


def test_a_column_that_is_called_as_one_of_the_change_feed_is_refused_with_one(tmp_path: Path) -> None:
    """Neither Spark nor delta-rs can tell the two apart; renamed, or without a feed, it is one as any."""
    site = Site(tmp_path)
    site.sql('CREATE TABLE t(id INTEGER PRIMARY KEY, "_Change_Type" TEXT)', "INSERT INTO t VALUES (1, 'a')")
    feed = "properties: {delta.enableChangeDataFeed: true}"
    site.write(f"  t: {{mode: mirror, {feed}}}\n")
    error = site.one().error
    assert error.what == "column _Change_Type is called as one of the change feed's own"
    assert error.hint.startswith("`columns: {_Change_Type: {rename: another_name}}`, or leave delta.")
    site.write("  t: {mode: mirror}\n")
    assert site.one().state == "ok"
    site.write(f"  t: {{mode: mirror, {feed}, into: u, columns: {{_Change_Type: {{rename: kind}}}}}}\n")
    assert site.one().state == "ok"
    site.sql("UPDATE t SET _Change_Type = 'b'")
    assert site.one().state == "ok"
    assert site.lake("u") == [{"id": 1, "kind": "b"}]


def test_a_view_with_a_declared_cursor_is_a_stream(tmp_path: Path) -> None:
    """A view replicates by a cursor that is unique; a pattern does not take it up."""
    site = Site(tmp_path)
    site.sql(
        "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT)",
        "CREATE VIEW big AS SELECT id, v || '!' AS loud FROM t WHERE id > 1",
        "INSERT INTO t(v) VALUES ('a'), ('b'), ('c')",
    )
    site.write('  big: {cursor: id}\n  "*": {}\n')
    assert {r.name: r.state for r in site.cycle().streams} == {"big": "ok", "t": "ok"}
    site.sql("INSERT INTO t(v) VALUES ('d')")
    assert site.cycle().ok
    assert sorted((r["id"], r["loud"]) for r in site.lake("big")) == [(2, "b!"), (3, "c!"), (4, "d!")]
    site.write("  undeclared: {table: big}\n")
    assert "declare `cursor:`" in site.one().error.hint


def test_virtual_and_shadow_tables_are_left_out_with_a_note(tmp_path: Path) -> None:
    """A pattern sees ordinary tables; plan says what it leaves out and why; named, one is refused by name."""
    site = Site(tmp_path)
    site.sql(
        "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT)",
        "CREATE VIRTUAL TABLE words USING fts5(body)",
        "INSERT INTO words VALUES ('hello')",
        "CREATE VIRTUAL TABLE places USING rtree(id, least, most)",
    )
    site.write('  "*": {}\n')
    assert [s["name"] for s in run(tmp_path, "silt.yaml").values()] == ["t"]
    text = " ".join(silt("plan", "silt.yaml", cwd=tmp_path).stdout.split())
    assert "app: patterns leave out places, words: a virtual table" in text
    assert "words_data" in text
    assert "a shadow table: the storage of a virtual table" in text
    site.write("  words: {cursor: rowid}\n")
    done = silt("run", "silt.yaml", "--once", cwd=tmp_path)
    assert done.returncode == 1
    assert "table 'words' cannot be read as a stream" in done.stdout


def test_an_empty_table_becomes_an_empty_delta_table(tmp_path: Path) -> None:
    """Exit 0, the columns and types that it will have, no row, in both modes; its first rows fit."""
    site = Site(tmp_path)
    columns = "v TEXT, n INTEGER, r REAL, b BLOB, d DATE, ts TIMESTAMP, flag BOOLEAN, price DECIMAL(10,2), x"
    site.sql(
        f"CREATE TABLE one(id INTEGER PRIMARY KEY, {columns})",
        f"CREATE TABLE two(id INTEGER PRIMARY KEY, {columns})",
    )
    site.write("  one:\n  two: {mode: overwrite}\n")
    done = silt("run", "silt.yaml", "--once", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    for table in ("one", "two"):
        assert site.lake(table) == []
        assert types_of(tmp_path / "lake" / table) == {
            "id": "long",
            "v": "string",
            "n": "long",
            "r": "double",
            "b": "binary",
            "d": "date",
            "ts": "timestamp",
            "flag": "boolean",
            "price": "decimal(10,2)",
            "x": "string",
        }
        values = "'v', 1, 1.5, x'00', '2024-02-29', '2024-02-29 12:00:00', 1, 9.99, 'x'"
        site.sql(f"INSERT INTO {table} VALUES (1, {values})")
    assert site.cycle().ok
    for table in ("one", "two"):
        assert equal(site.database, table, tmp_path / "lake" / table) == 1


# --- misfits --------------------------------------------------------------------------------------

MISFITS = {
    "text_in_integer": ("INTEGER", "'twelve'", "text 'twelve'", "bigint"),
    "real_in_integer": ("INTEGER", "2.5", "real 2.5", "bigint"),
    "blob_in_integer": ("INTEGER", "x'0102'", "blob x'0102'", "bigint"),
    "text_in_real": ("REAL", "'n/a'", "text 'n/a'", "double"),
    "blob_in_text": ("TEXT", "x'ff00'", "blob x'ff00'", "string"),
    "bytes_in_text": ("TEXT", "CAST(x'41ff42' AS TEXT)", "text 'A\\udcffB'", "string"),
    "text_in_blob": ("BLOB", "'words'", "text 'words'", "binary"),
    "no_date": ("DATE", "'2024-02-30'", "text '2024-02-30'", "date"),
    "no_instant": ("TIMESTAMP", "'soon'", "text 'soon'", "timestamp"),
}
GOOD = {
    "INTEGER": "i",
    "REAL": "i + 0.5",
    "TEXT": "'t' || i",
    "BLOB": "x'00'",
    "DATE": "'2024-01-01'",
    "TIMESTAMP": "'2024-01-01 00:00:00'",
}


@pytest.fixture(scope="module")
def misfits(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, dict[str, Any]]]:
    """A table for each misfit, in row 701 of 1,000, beside one with none; one run of all."""
    folder = tmp_path_factory.mktemp("misfits")
    rows = "WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < 1000)"
    statements = [
        "CREATE TABLE fine(id INTEGER PRIMARY KEY, c INTEGER)",
        f"{rows} INSERT INTO fine SELECT i, i FROM s",
    ]
    for table, (declared, value, _, _) in MISFITS.items():
        statements += [
            f"CREATE TABLE {table}(id INTEGER PRIMARY KEY, c {declared})",
            f"{rows} INSERT INTO {table} SELECT i, {GOOD[declared]} FROM s",
            f"UPDATE {table} SET c = {value} WHERE id = 701",
        ]
    sql(folder / "app.db", *statements)
    return folder, run(folder, manifest(folder, folder / "app.db", {"*": {"on_misfit": "fail"}}))


@pytest.mark.parametrize("table", MISFITS)
def test_a_misfit_fails_its_stream_and_is_named(misfits: tuple[Path, dict[str, Any]], table: str) -> None:
    """The error names table, column, rowid, storage class and value; nothing is written, nothing lost."""
    folder, streams = misfits
    _, _, shown, kind = MISFITS[table]
    stream = streams[table]
    assert (stream["state"], stream["rows"], stream["error_kind"]) == ("failing", 0, "user")
    assert stream["error"].startswith(f"{table}.c holds {shown} at id 701: no {kind} (")
    assert "mend the value" in stream["hint"]
    assert lake(folder / "silt" / table) == []
    assert (streams["fine"]["state"], streams["fine"]["rows"]) == ("ok", 1000)


def test_mended_misfits_arrive(misfits: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    """Once the value is mended, or its column made text, every row of the table is there, once."""
    folder, _ = misfits
    for name in ("app.db", "silt.yaml"):
        shutil.copyfile(folder / name, tmp_path / name)
    shutil.copytree(folder / "silt", tmp_path / "silt")
    database = tmp_path / "app.db"
    for table, (declared, _, _, _) in MISFITS.items():
        sql(
            database,
            f"UPDATE {table} SET c = (SELECT {GOOD[declared]} FROM (SELECT 701 AS i)) WHERE id = 701",
        )
    streams = run(tmp_path, manifest(tmp_path, database, {"*": {"on_misfit": "fail"}}))
    for table in MISFITS:
        assert (streams[table]["error"], streams[table]["rows"]) == (None, 1000)
        assert equal(database, table, tmp_path / "silt" / table) == 1000


# --- real databases -------------------------------------------------------------------------------

HOME = "home_assistant_2024_3.db"
NO_CURSOR = {"chinook.sqlite": {"PlaylistTrack"}, HOME: set(), "sensor_readings.db": set()}
TABLES = {"chinook.sqlite": 11, HOME: 12, "sensor_readings.db": 1}


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("mode", ["overwrite", "append"])
def test_real_databases_replicate_whole(real_databases: Path, tmp_path: Path, name: str, mode: str) -> None:
    """Every table by one pattern, equal cell by cell; append refuses where no cursor is safe."""
    shutil.copyfile(real_databases / name, tmp_path / "app.db")
    streams = run(tmp_path, manifest(tmp_path, tmp_path / "app.db", {"*": {"mode": mode}}))
    refused = NO_CURSOR[name] if mode == "append" else set()
    assert len(streams) == TABLES[name]
    assert {table for table, stream in streams.items() if stream["state"] == "failing"} == refused
    for table in set(streams) - refused:
        assert (
            equal(tmp_path / "app.db", table, tmp_path / "silt" / streams[table]["into"])
            == streams[table]["rows"]
        )
    for table in refused:
        assert streams[table]["error"].startswith(f"no safe cursor in {table} (")
        assert "`mode: overwrite` needs no cursor" in streams[table]["hint"]


@pytest.mark.nightly
def test_proj_replicates_whole(tmp_path: Path) -> None:
    """37 tables, 28 of them WITHOUT ROWID, with composite keys and INTEGER_OR_TEXT: equal cell by cell."""
    shutil.copyfile(proj(), tmp_path / "app.db")
    tables = {n for (n,) in sql(tmp_path / "app.db", "SELECT name FROM sqlite_schema WHERE type = 'table'")}
    tables -= {"sqlite_stat1", "sqlite_stat4", "sqlite_sequence"}
    name = manifest(tmp_path, tmp_path / "app.db", {"*": {"mode": "overwrite"}})
    streams = run(tmp_path, name)
    assert set(streams) == tables
    assert {stream["error"] for stream in streams.values()} == {None}
    total = sum(equal(tmp_path / "app.db", table, tmp_path / "silt" / table) for table in tables)
    assert total == sum(stream["rows"] for stream in streams.values()) > 70_000
    assert {stream["batches"] for stream in run(tmp_path, name).values()} == {0}
