"""`silt inspect`: what it tells of ordinary, odd and broken databases, to people and to programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from clirun import silt
from kit import sql

SHOP = (
    "CREATE TABLE customer(id INTEGER PRIMARY KEY, name TEXT NOT NULL, updated_at DATETIME)",
    (
        "CREATE TRIGGER touch AFTER UPDATE ON customer BEGIN"
        " UPDATE customer SET updated_at = current_timestamp WHERE id = new.id; END"
    ),
    (
        "CREATE TABLE sale(id INTEGER PRIMARY KEY AUTOINCREMENT, customer_id INT REFERENCES customer(id),"
        " shop INT REFERENCES shops(id), at DATETIME, paid BOOLEAN, note)"
    ),
    "CREATE INDEX sale_by_time ON sale(at)",
    "CREATE VIEW paid AS SELECT id FROM sale WHERE paid",
    "CREATE VIRTUAL TABLE words USING fts5(body)",
    "INSERT INTO customer VALUES (1, 'a', NULL), (2, 'b', '2024-01-01 00:00:00')",
    "INSERT INTO sale(customer_id, at, paid, note) VALUES (1, 1711000000, 1, 'x'), (2, 1711000001, 0, 7)",
)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("shop") / "shop.db"
    sql(path, *SHOP)
    return path


def told(path: Path, *arguments: str, code: int = 0) -> dict[str, Any]:
    done = silt("inspect", path, "--json", *arguments)
    assert done.returncode == code, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_text_reads_at_80_columns(shop: Path) -> None:
    """A line a table, then each with its columns, what they hold, cursor, triggers, keys; nothing wider."""
    done = silt("inspect", shop, COLUMNS="80")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].endswith("rollback journal, UTF-8, 9 tables")
    assert [line.split() for line in lines[2:5]] == [
        ["table", "rows", "size", "key", "cursor", "init", "writes"],
        ["customer", "2", "4.1", "kB", "id", "id", "mirror"],
        ["paid", "-", "-", "-", "-", "nothing:", "view"],
    ]
    text = " ".join(done.stdout.split())
    assert "at DATETIME timestamp (epoch_s) 2 integer (epoch_s)" in text
    assert "updated_at DATETIME timestamp (iso) 1 text, 1 NULL (iso)" in text
    assert "trigger touch on update, sets updated_at" in text
    assert "changes updated_at (1 NULL of 2, no ties, no index, set by trigger touch)" in text
    assert "refers customer_id -> customer(id)" in text
    assert "refers shop -> shops(id), which is not there" in text
    assert "note note: no declared type: text without loss (1 integer, 1 text)" in text
    assert "words virtual note a virtual table" in text
    assert "init mirror: rows change: updated_at says when" in text


def test_json_says_the_same_to_programs(shop: Path) -> None:
    """Counts, keys, census, types, cursor with reasons; never a value."""
    (database,) = told(shop)["databases"]
    assert (database["name"], database["path"], database["error"]) == ("shop", str(shop), None)
    tables = {table["name"]: table for table in database["tables"]}
    assert {n: t["kind"] for n, t in tables.items() if not n.startswith("words_")} == {
        "customer": "table",
        "paid": "view",
        "sale": "table",
        "words": "virtual",
    }
    sale = tables["sale"]
    assert (sale["rows"], sale["rows_at_least"], sale["sampled"], sale["autoincrement"]) == (2, 2, 2, True)
    assert sale["bytes"] == sale["index_bytes"] == 4096
    assert sale["cursor"]["columns"] == ["id"]
    assert (sale["mode"], tables["customer"]["mode"], tables["paid"]["mode"]) == ("append", "mirror", None)
    assert tables["customer"]["changed"][0]["columns"] == ["updated_at"]
    assert tables["customer"]["triggers"] == [{"name": "touch", "event": "update", "sets": ["updated_at"]}]
    assert [key["missing"] for key in sorted(sale["foreign_keys"], key=lambda key: key["table"])] == [
        False,
        True,
    ]
    (at,) = (column for column in sale["columns"] if column["name"] == "at")
    assert (at["type"], at["format"], at["census"]["formats"]) == ("timestamp", "epoch_s", {"epoch_s": 2})
    (updated,) = (c for c in tables["customer"]["columns"] if c["name"] == "updated_at")
    assert updated["census"]["null_share"] == 0.5
    assert "1711000000" not in json.dumps(database)


def test_one_table_of_many(shop: Path) -> None:
    """--table, whatever the case of its letters; a name that is none gets the nearest."""
    assert [t["name"] for t in told(shop, "--table", "SALE")["databases"][0]["tables"]] == ["sale"]
    text = silt("inspect", shop, "-t", "sale").stdout
    assert "init writes" not in text
    assert "customer_id" in text
    wrong = silt("inspect", shop, "--table", "sales")
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert "no table is called 'sales'" in wrong.stderr
    assert "did you mean 'sale'?" in wrong.stderr


def test_an_empty_database_and_empty_tables(tmp_path: Path) -> None:
    """No table is a fact, no error; a table without rows is told by its declaration."""
    (tmp_path / "none.db").write_bytes(b"")
    assert (
        silt("inspect", tmp_path / "none.db").stdout
        == "none.db: 0 bytes, rollback journal, UTF-8, no table\n"
    )
    sql(tmp_path / "a.db", "CREATE TABLE t(id INTEGER PRIMARY KEY, at DATETIME)")
    (table,) = told(tmp_path / "a.db")["databases"][0]["tables"]
    assert (table["rows"], table["columns"][1]["type"]) == (0, "timestamp")
    assert table["columns"][1]["census"]["null_share"] is None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"not a database at all, and longer than a header is " * 4, "this is not a SQLite database"),
        (None, "no such database file"),
    ],
)
def test_what_is_no_database_is_told_beside_those_that_are(
    shop: Path, tmp_path: Path, content: bytes | None, words: str
) -> None:
    """Exit 1, the reason and what to do; the others are shown all the same."""
    broken = tmp_path / "broken.db"
    if content:
        broken.write_bytes(content)
    done = silt("inspect", broken, shop)
    assert done.returncode == 1
    assert f"x broken.db\n    failed  {words}" in done.stdout
    assert "customer" in done.stdout
    answer = told(broken, code=1)
    assert (answer["ok"], answer["databases"][0]["tables"]) == (False, [])
    assert words in answer["databases"][0]["error"]
    assert not (broken.exists() and content is None)


def test_a_damaged_table_does_not_hide_the_others(tmp_path: Path) -> None:
    """Pages overwritten with rubbish: that table fails and says so, the rest is told."""
    path = tmp_path / "a.db"
    rows = "WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < 500)"
    for table in ("good", "hurt"):
        sql(path, f"CREATE TABLE {table}(id INTEGER PRIMARY KEY, v TEXT)",
            f"INSERT INTO {table} {rows} SELECT i, 'some text of the row ' || i FROM s")  # fmt: skip
    ((root,),) = sql(path, "SELECT rootpage FROM sqlite_schema WHERE name = 'hurt'")
    with path.open("r+b") as file:
        file.seek((root - 1) * 4096)
        file.write(b"\xff" * 4096)
    good, hurt = told(path, code=1)["databases"][0]["tables"]
    assert (good["rows"], good["error"], good["mode"]) == (500, None, "mirror")
    assert hurt["error"].startswith("the database is corrupt")
    assert (hurt["mode"], hurt["hint"]) == (None, "sqlite3's `.recover` or a backup restores it")
    text = silt("inspect", path).stdout
    assert "x hurt" in text
    assert "nothing: failed" in text


def test_names_that_would_break_a_line_are_escaped(tmp_path: Path) -> None:
    """A table and a column with line breaks stay on one line each."""
    sql(tmp_path / "a.db", 'CREATE TABLE "two\nlines"(id INTEGER PRIMARY KEY, "a\tb" TEXT)')
    text = silt("inspect", tmp_path / "a.db").stdout
    assert "two\\nlines" in text
    assert "a\\tb" in text


def test_counting_stops(tmp_path: Path) -> None:
    """Beyond 200,000 rows the number is a bound; ids without gaps say about how many there are."""
    rows = "WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < 250000)"
    sql(tmp_path / "a.db", "PRAGMA synchronous=OFF", "CREATE TABLE t(id INTEGER PRIMARY KEY)",
        f"INSERT INTO t {rows} SELECT i FROM s")  # fmt: skip
    (table,) = told(tmp_path / "a.db")["databases"][0]["tables"]
    assert (table["rows"], table["rows_at_least"], table["rows_about"]) == (None, 200_000, 250_000)
    assert ">200,000 rows, about 250,000" in silt("inspect", tmp_path / "a.db").stdout


MODES = {
    "id integer primary key, v": ("mirror", "nothing shows that rows are only added"),
    "id integer primary key autoincrement, v": ("append", "AUTOINCREMENT gives no id again"),
    "k text not null primary key, v": ("mirror", "no column orders its rows safely"),
    "a int not null, b blob not null, v, primary key (a, b)": ("mirror", "no column orders its rows safely"),
    "v": ("overwrite", "it has no primary key"),
    "k text primary key, v": ("overwrite", "the primary key (k) may hold NULL"),
    "k text collate nocase not null primary key, v": ("overwrite", "has another order in the lake"),
    "k boolean not null primary key, v": ("overwrite", "has another order in the lake"),
}


@pytest.mark.parametrize("columns", MODES)
def test_a_table_is_compared_by_its_key_where_that_will_do(tmp_path: Path, columns: str) -> None:
    """Else it is replaced whole: what init writes runs as it is, in bounded memory."""
    path = tmp_path / "a.db"
    sql(path, f"CREATE TABLE t({columns})")
    (table,) = told(path)["databases"][0]["tables"]
    mode, why = MODES[columns]
    assert (table["mode"], why in table["why"]) == (mode, True), table["why"]
