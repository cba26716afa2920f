"""A stream's `where` is one condition over its table, or it is refused before anything is read by it."""

from __future__ import annotations

from pathlib import Path

import pytest
from kit import sql

from silt.errors import UserError
from silt.source.clone import reflect
from silt.source.condition import check
from silt.source.open import connect


@pytest.fixture
def database(tmp_path: Path) -> Path:
    sql(
        tmp_path / "a.db",
        'CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT, "odd name" INT)',
        "CREATE TABLE u(w INT)",
    )
    return tmp_path / "a.db"


def tried(database: Path, where: str, *, append: bool = True) -> None:
    with connect(str(database), busy_timeout=1.0) as connection:
        (table,) = (t for t in reflect(connection) if t.name == "t")
        check(connection, table, where, append=append)


@pytest.mark.parametrize(
    "where",
    [
        "id > 1",
        "v = 'a) or (b'",
        "v = ':a ? ;' -- a remark with ) and '",
        "v LIKE '%''%' /* ) */ AND (id + 1) * 2 > 3",
        '"odd name" = 1 and "t"."ID" > 0 and "rowid" > 0',
        "[odd name] = 1 or `v` = 'x'",
        'id in (select "w" from u)',
        "v = '日本'",
        "v = 'now' or date(v) > '2026-01-01' or date(v, 'localtime') > '2026-01-01'",
    ],
)
def test_conditions_pass(database: Path, where: str) -> None:
    """Quotes, remarks, subqueries and odd names are the user's SQL, and stay as they are."""
    tried(database, where)


@pytest.mark.parametrize(
    ("where", "why"),
    [
        ("id > 1) or (1", "a `)` has no `(`"),
        ("(id > 1", "a `(` has no `)`"),
        ("id > 1; drop table t", "a `;` ends a statement"),
        ("id > ?", "? is a parameter"),
        ("id > :low", ":low is a parameter"),
        ("id > @low", "@low is a parameter"),
        ("id > $low", "$low is a parameter"),
        ("id > ?2", "?2 is a parameter"),
        ("v = 'open", "the quote ' is not closed"),
        ('"vv" > 1', '"vv" is no column of t'),
        ("vv > 1", "no such column: vv"),
        ("id >", "syntax error"),
        ("count(*) > 1", "misuse of aggregate"),
        ("", "syntax error"),
        ("id % 2 = random() % 2", "random() is another value each time"),
        ("v > datetime('now', '-1 day')", "datetime() of now would take or leave the same row"),
        ("v > unixepoch('subsec')", "unixepoch() of now would"),
        ("v < CURRENT_TIMESTAMP", "current_timestamp would"),
        ("id in (select w from u where w > unixepoch())", "unixepoch() of now would"),
    ],
)
def test_what_is_no_condition_is_refused(database: Path, where: str, why: str) -> None:
    """What would change the statement around it, and what SQLite refuses: said with where it is written."""
    with pytest.raises(UserError) as caught:
        tried(database, where)
    assert why in caught.value.what
    assert caught.value.setting == "where"


def test_a_condition_on_the_clock_is_for_overwrite(database: Path) -> None:
    """What is replaced whole may be a window that moves; chance would replace it every cycle."""
    tried(database, "v > datetime('now', '-1 day')", append=False)
    with pytest.raises(UserError) as caught:
        tried(database, "id > random()", append=False)
    assert "random() is another value" in caught.value.what
