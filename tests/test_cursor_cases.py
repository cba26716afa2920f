"""Cursor detection on real and made tables: the choice, its sentence, and what init makes of it."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kit import Sqlite, sql
from oracle import proj

from silt.author.mode import suggest
from silt.author.survey import survey
from silt.shapes import Database
from silt.source.census import census, probed
from silt.source.clone import reflect
from silt.source.cursor import detect
from silt.source.open import connect

CASES: list[dict[str, Any]] = tomllib.loads(
    (Path(__file__).parent / "cursors.toml").read_text(encoding="utf-8")
)["case"]


@pytest.fixture(scope="module")
def made() -> Iterator[Sqlite]:
    process = Sqlite()
    yield process
    process.close()


@pytest.fixture
def database(request: pytest.FixtureRequest, case: dict[str, Any], made: Sqlite, tmp_path: Path) -> Path:
    """The case's database: made by its statements, or a copy of a real one."""
    path = tmp_path / "t.db"
    if "make" in case:
        made(path, *case["make"])
    elif case["database"] == "proj.db":
        shutil.copyfile(proj(), path)
    else:
        shutil.copyfile(request.getfixturevalue("real_databases") / case["database"], path)
    return path


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_the_choice_and_its_reasons(case: dict[str, Any], database: Path) -> None:
    """What tests/cursors.toml says of the case: cursor, tie-breaker, sentence, runners-up, warnings, mode."""
    table = case.get("table", "t")
    (seen,) = survey(Database(name="t", path=str(database)), only=[table]).tables
    choice = seen.choice
    assert choice is not None
    order = choice.order
    assert {
        "cursor": list(order.cursor) if order else [],
        "tie": list(order.tie) if order else [],
        "why": choice.why,
        "next": [f"{', '.join(c.columns)} ({c.why})" for c in choice.runners_up[:3]],
        "warns": list(choice.warnings),
        "created": seen.created.columns[0] if seen.created else None,
        "changed": [c.columns[0] for c in seen.changed],
        "mode": suggest(seen).mode if seen.census else "",
    } == {
        "cursor": case["cursor"],
        "tie": case.get("tie", []),
        "why": case["why"],
        "next": case.get("next", []),
        "warns": case.get("warns", []),
        "created": case.get("created"),
        "changed": case.get("changed", []),
        "mode": case["mode"],
    }


def test_the_table_of_cases_is_large_and_varied() -> None:
    """At least 40, each of its own name; refusals, real databases and every kind of doubt among them."""
    assert len({case["name"] for case in CASES}) == len(CASES) >= 40
    assert sum(not case["cursor"] for case in CASES) >= 10
    assert {case.get("database") for case in CASES} >= {"chinook.sqlite", "proj.db"}


# --- how much is read -----------------------------------------------------------------------------

SHAPES = {
    "integer key": "id INTEGER PRIMARY KEY, at DATETIME, s TEXT",
    "rowid and an index": "k TEXT, at DATETIME, s TEXT",
    "without rowid": "k TEXT PRIMARY KEY, at DATETIME, s TEXT) WITHOUT ROWID; --",
}
ROWS = 300_000


def read_so_far() -> int:
    """Bytes that this process has read from files, by the kernel's count."""
    lines = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith("rchar")).split()[1])


@pytest.mark.parametrize("shape", SHAPES)
def test_a_large_table_is_sampled_never_scanned(tmp_path: Path, shape: str) -> None:
    """Reflecting, census, probes and choice read at most a 20th of 300,000 rows, by the kernel's count.

    (10 million rows of each shape, 1.6 GB: 0.25 s and less than 310 kB each, measured.)
    """
    path = tmp_path / "a.db"
    series = f"WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < {ROWS})"
    key = "i" if shape == "integer key" else "printf('%08x', i * 2654435761 % 4294967296)"
    sql(
        path,
        "PRAGMA synchronous=OFF",
        f"CREATE TABLE t({SHAPES[shape]})",
        f"INSERT INTO t {series} SELECT {key}, 1711000000 + i, 'some text of a row' FROM s",
        "CREATE INDEX by_time ON t(at)",
    )
    with connect(str(path), busy_timeout=1) as connection:
        before = read_so_far()
        (table,) = reflect(connection)
        counts = probed(connection, table, census(connection, table))
        choice = detect(table, counts)
        read = read_so_far() - before
    assert (counts.complete, 1_500 <= counts.rows <= 2_000, choice.order is not None) == (False, True, True)
    assert read < path.stat().st_size / 20
