"""Every value that SQLite holds, and every way in which people store times, dates, truths and decimals.

From a source written by stdlib sqlite3 in another process to the lake's cells.  What is expected stands here
in words of its own, or is the source as that module reads it.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from kit import Site
from oracle import rendered, types_of

from silt.source import read


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture
def careful(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tables that were read value by value."""
    tables: list[str] = []
    _watch(monkeypatch, tables)
    return tables


def _watch(patch: pytest.MonkeyPatch, tables: list[str]) -> None:
    plain = read._careful
    patch.setattr(
        read, "_careful", lambda *given: tables.append(given[1].extract.table.name) or plain(*given)
    )


# --- times ----------------------------------------------------------------------------------------

SECOND, FINE = "2024-03-21T05:46:40", "2024-03-21T05:46:40.123456"
LATER = "2024-11-05T00:00:00"
TIMES: dict[str, tuple[str, str, list[Any], list[str]]] = {
    "iso_t": ("DATETIME", "", [SECOND, "2024-03-21T05:46"], [SECOND, "2024-03-21T05:46:00"]),
    "iso_space": ("TIMESTAMP", "", ["2024-03-21 05:46:40", "2024-11-05 00:00"], [SECOND, LATER]),
    "iso_fraction": (
        "DATETIME",
        "",
        ["2024-03-21 05:46:40.123456", f"{SECOND}.5"],
        [FINE, f"{SECOND}.500000"],
    ),
    "iso_z": ("DATETIME", "", [f"{SECOND}Z", f"{FINE}Z"], [SECOND, FINE]),
    "iso_offset": (
        "TIMESTAMP WITH TIME ZONE",
        "",
        ["2024-03-21T07:46:40+02:00", "2024-03-20 23:46:40.123456-0600"],
        [SECOND, FINE],
    ),
    "iso_any": (
        "DATETIME",
        "",
        [SECOND, "2024-03-21 05:46:40", f"{SECOND}Z", "2024-03-21 06:46:40+01", "2024-11-05"],
        [SECOND, SECOND, SECOND, SECOND, LATER],
    ),
    "iso_local": (
        "DATETIME",
        "timezone: Europe/Berlin",
        ["2024-03-21 06:46:40", "2024-07-01T12:00:00", f"{SECOND}Z"],
        [SECOND, "2024-07-01T10:00:00", SECOND],
    ),
    "iso_text": ("TEXT", "type: timestamp", [SECOND, FINE], [SECOND, FINE]),
    "s_integer": ("DATETIME", "", [1711000000, 1730764800], [SECOND, LATER]),
    "s_real": ("DATETIME", "", [1711000000.5, 1711000000.123456], [f"{SECOND}.500000", FINE]),
    "s_both": ("TIMESTAMP", "", [1711000000, 1711000000.5], [SECOND, f"{SECOND}.500000"]),
    "s_declared": (
        "INTEGER",
        "type: timestamp, format: epoch_s",
        [1711000000, 0, -1, -62135596800],
        [SECOND, "1970-01-01T00:00:00", "1969-12-31T23:59:59", "0001-01-01T00:00:00"],
    ),
    "ms_integer": ("DATETIME", "", [1711000000123, 1730764800000], [f"{SECOND}.123000", LATER]),
    "ms_real": ("DATETIME", "", [1711000000123.5, 1730764800000.0], [f"{SECOND}.123500", LATER]),
    "us_integer": ("DATETIME", "", [1711000000123456, 1730764800000000], [FINE, LATER]),
    "us_real": (
        "REAL",
        "type: timestamp, format: epoch_us",
        [1711000000123456.0, 1730764800000000.0],
        [FINE, LATER],
    ),
    "ns_integer": ("DATETIME", "", [1711000000123456789, 1730764800000000000], [FINE, LATER]),
    "ns_real": (
        "REAL",
        "type: timestamp, format: epoch_ns",
        [1711000000123456000.0, 1730764800000000000.0],
        [FINE, LATER],
    ),
    "julian_real": ("DATETIME", "", [2460390.740740741, 2460619.5], [SECOND, LATER]),
    "julian_integer": ("DATETIME", "", [2460391, 2460390], ["2024-03-21T12:00:00", "2024-03-20T12:00:00"]),
    "apple": (
        "TIMESTAMP",
        "format: apple",
        [732692800, 732692800.5, 0],
        [SECOND, f"{SECOND}.500000", "2001-01-01T00:00:00"],
    ),
    "apple_ns": ("INTEGER", "type: timestamp, format: apple_ns", [732692800123456789], [FINE]),
    "filetime": (
        "INTEGER",
        "type: timestamp, format: filetime",
        [133554736001234567, 133752384000000000, 0],
        [FINE, LATER, "1601-01-01T00:00:00"],
    ),
    "filetime_declared": ("DATETIME", "format: filetime", [133554736000000000], [SECOND]),
}
DATES: dict[str, tuple[str, str, list[Any], list[str]]] = {
    "d_text": (
        "DATE",
        "",
        ["2024-02-29", "0001-01-01", "9999-12-31"],
        ["2024-02-29", "0001-01-01", "9999-12-31"],
    ),
    "d_plain": ("TEXT", "type: date", ["2024-02-29"], ["2024-02-29"]),
    "d_midnight": ("DATE", "type: date", ["2024-02-29 00:00:00"], ["2024-02-29"]),
    "d_epoch": ("INTEGER", "type: date, format: epoch_s", [1730764800, -86400], ["2024-11-05", "1969-12-31"]),
    "d_filetime": ("INTEGER", "type: date, format: filetime", [133752384000000000], ["2024-11-05"]),
}
EVERY = TIMES | DATES


@pytest.fixture(scope="module")
def times(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A table for each way, its values and a NULL; one cycle of all, and which were read value by value."""
    site = Site(tmp_path_factory.mktemp("times"))
    for name, (declared, _, values, _) in EVERY.items():
        site.sql(
            f"CREATE TABLE {name}(id INTEGER PRIMARY KEY, c {declared})",
            (f"INSERT INTO {name}(c) VALUES (?)", [(value,) for value in (*values, None)]),
        )
    streams = (
        f"  {n}: {{columns: {{c: {{{how}}}}}}}" if how else f"  {n}:" for n, (_, how, *_) in EVERY.items()
    )
    site.write("\n".join(streams) + "\n")
    careful: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        _watch(patch, careful)
        results = {result.name: result for result in site.cycle().streams}
    return {"site": site, "results": results, "careful": careful}


@pytest.mark.parametrize("name", EVERY)
def test_times_and_dates_as_people_store_them(times: dict[str, Any], name: str) -> None:
    """Detected, or declared where two formats could explain a value: the lake holds that moment."""
    _, _, values, moments = EVERY[name]
    result = times["results"][name]
    assert (result.state, result.rows, result.misfits) == ("ok", len(values) + 1, 0), result.error
    kind = "timestamp" if name in TIMES else "date"
    assert types_of(times["site"].folder / "lake" / name)["c"] == kind
    rows = sorted(times["site"].lake(name), key=lambda row: row["id"])
    made = (datetime.fromisoformat(m).replace(tzinfo=UTC) for m in moments)
    wanted = list(made) if kind == "timestamp" else [date.fromisoformat(m) for m in moments]
    assert [row["c"] for row in rows] == [*wanted, None]


def test_times_are_read_by_the_batch(times: dict[str, Any]) -> None:
    """No way of storing a time costs a table the fast path."""
    assert times["careful"] == []


@pytest.mark.parametrize(
    ("value", "kind"), [(732692800, "bigint"), (732692800.5, "double"), (133554736001234567, "bigint")]
)
def test_what_two_formats_could_explain_is_not_guessed(site: Site, value: float, kind: str) -> None:
    """Apple's seconds are also of the 1990s, FILETIME also nanoseconds of 1974: a number, and a note."""
    site.sql(
        "CREATE TABLE t(id INTEGER PRIMARY KEY, at DATETIME)", ("INSERT INTO t(at) VALUES (?)", (value,))
    )
    site.write("  t:\n")
    result = site.one()
    assert site.column("t", "at") == [value]
    assert types_of(site.folder / "lake" / "t")["at"] == {"bigint": "long"}.get(kind, kind)
    assert "`format` names one, apple and filetime too, which are never guessed" in " ".join(result.notes)


def test_times_finer_than_the_lake_s_are_text(site: Site) -> None:
    """.NET writes seven digits, more than a timestamp has: nothing is cut; `type` keeps what fits."""
    values = ["2024-03-21 05:46:40.1234567", "2024-03-21 05:46:40.1234560"]
    site.sql(
        "CREATE TABLE t(id INTEGER PRIMARY KEY, at DATETIME)",
        ("INSERT INTO t(at) VALUES (?)", [(v,) for v in values]),
    )
    site.write("  t:\n  u: {table: t, columns: {at: {type: timestamp}}}\n")
    one, two = site.cycle().streams
    assert sorted(site.column("t", "at")) == sorted(values)
    assert "declared DATETIME, but 1 of 2 times looked at are finer than a microsecond" in " ".join(one.notes)
    first, second = sorted(site.lake("u"), key=lambda row: row["id"])
    assert (first["at"], second["at"]) == (None, datetime.fromisoformat(FINE).replace(tzinfo=UTC))
    kept = {"columns": {"at": {"class": "text", "value": values[0]}}, "rowid": 1}
    assert (two.misfits, json.loads(first["_rescued_data"])) == (1, kept)


BEYOND: dict[str, tuple[str, Any, Any]] = {
    "epoch_s": ("INTEGER", 1711000000, 253402300800),
    "epoch_ms": ("INTEGER", 1711000000000, 2**63 - 1),
    "epoch_us": ("REAL", 1711000000000000.0, 1e300),
    "epoch_ns": ("REAL", 1711000000000000000.0, -math.inf),
    "julian": ("REAL", 2460390.5, 5373484.6),
    "apple": ("REAL", 732692800.5, math.inf),
    "filetime": ("INTEGER", 133554736000000000, 2650467744000000000),
    "iso": ("TEXT", SECOND, "10000-01-01T00:00:00"),
}


@pytest.mark.parametrize("form", BEYOND)
def test_times_beyond_the_calendar_are_rescued(site: Site, form: str) -> None:
    """Before year 1, past 9999, an infinity: no moment that a reader knows; the raw value stays."""
    declared, good, bad = BEYOND[form]
    site.sql(
        f"CREATE TABLE t(id INTEGER PRIMARY KEY, at {declared})",
        ("INSERT INTO t(at) VALUES (?)", [(good,), (bad,), (good,)]),
    )
    site.write(f"  t: {{columns: {{at: {{type: timestamp, format: {form}}}}}}}\n")
    result = site.one()
    assert (result.state, result.misfits) == ("ok", 1), result.error
    rows = sorted(site.lake("t"), key=lambda row: row["id"])
    assert [row["at"] is None for row in rows] == [False, True, False]
    (entry,) = json.loads(rows[1]["_rescued_data"])["columns"].values()
    assert type(bad)(entry["value"]) == bad


# --- truths ---------------------------------------------------------------------------------------

TRUE, FALSE = [1, "true", "t", "TRUE", "yes", "y"], [0, "false", "f", "False", "no", "n"]


@pytest.mark.parametrize(
    ("declared", "how"), [("BOOLEAN", ""), ("TEXT", "type: boolean"), ("", "type: boolean")]
)
def test_booleans_as_people_store_them(site: Site, careful: list[str], declared: str, how: str) -> None:
    """0 and 1, and the words for them, in one column: read by the batch."""
    site.sql(
        f"CREATE TABLE t(id INTEGER PRIMARY KEY, c {declared})",
        ("INSERT INTO t(c) VALUES (?)", [(value,) for value in (*TRUE, *FALSE, None)]),
    )
    site.write(f"  t: {{columns: {{c: {{{how}}}}}}}\n" if how else "  t:\n")
    result = site.one()
    assert (result.state, result.rows, result.misfits) == ("ok", 13, 0), result.error
    assert types_of(site.folder / "lake" / "t")["c"] == "boolean"
    assert Counter(site.column("t", "c")) == {True: 6, False: 6, None: 1}
    assert careful == []


def test_a_word_after_numbers_alone_is_a_truth_too(site: Site) -> None:
    """Which words mean what does not hang on the sample; what is neither is rescued as it was written."""
    site.sql("CREATE TABLE t(id INTEGER PRIMARY KEY, c BOOLEAN)", "INSERT INTO t(c) VALUES (0), (1)")
    site.write("  t:\n")
    assert site.one().rows == 2
    site.sql("INSERT INTO t(c) VALUES ('t'), ('maybe'), (2), (x'01'), (CAST(x'74ff' AS TEXT)), ('f')")
    assert (site.one().misfits, len(site.lake("t"))) == (4, 8)
    rows = {row["id"]: row for row in site.lake("t")}
    assert [rows[i]["c"] for i in range(1, 9)] == [False, True, True, None, None, None, None, False]
    told = [json.loads(rows[i]["_rescued_data"])["columns"]["c"]["value"] for i in range(4, 8)]
    assert told == ["maybe", "2", "x'01'", "x'74FF'"]
    site.sql("INSERT INTO t(c) VALUES ('no')")
    assert (site.one().misfits, site.column("t", "c").count(False)) == (0, 3)


def test_a_mirror_follows_a_truth_that_is_spelt_anew(site: Site) -> None:
    """`1` and `'true'` are the same in the lake: nothing is written for it."""
    site.sql("CREATE TABLE t(id INTEGER PRIMARY KEY, c BOOLEAN)", "INSERT INTO t(c) VALUES (0), (1)")
    site.write("  t: {mode: mirror}\n")
    assert site.one().rows == 2
    site.sql("UPDATE t SET c = 'true' WHERE c = 1")
    assert (site.one().rows, site.column("t", "c").count(True)) == (0, 1)
    site.sql("UPDATE t SET c = 'f' WHERE id = 2")
    assert (site.one().rows, site.column("t", "c")) == (1, [False, False])


def test_words_in_a_key_are_refused(site: Site) -> None:
    """`1` and `'t'` are two keys and one truth: at plan where a word was seen, else where it is read."""
    site.sql(
        "CREATE TABLE t(n INT, c BOOLEAN, PRIMARY KEY(n, c)) WITHOUT ROWID",
        "INSERT INTO t VALUES (1, 1), (1, 't')",
    )
    site.write("  t: {mode: mirror}\n")
    refused = site.one()
    assert (refused.state, refused.error.why) == ("failing", "c: words that mean the same are one")
    rows = "WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < 5000)"
    site.sql("DELETE FROM t", f"{rows} INSERT INTO t SELECT i, 1 FROM s", "INSERT INTO t VALUES (2500, 't')")
    stopped = site.one()
    assert stopped.state == "failing"
    assert stopped.error.what == "t.c holds text 't' at (n, c) = (2500, 't'): no boolean"
    assert site.lake("t") == []


# --- decimals -------------------------------------------------------------------------------------


def test_decimals_are_exact(site: Site, careful: list[str]) -> None:
    """What was written comes back digit by digit; where a real cannot say it, the column is a double."""
    cents = ["0.01", "0.10", "-0.29", "1.15", "19.99", "1234567.89", "99999999.99"]
    site.sql(
        "CREATE TABLE t(id INTEGER PRIMARY KEY, c DECIMAL(10,2), whole NUMERIC(18,0), rate DECIMAL(4,2))",
        *(f"INSERT INTO t(c, whole, rate) VALUES ({c}, {10**17 + 1}, 1.125)" for c in cents),
    )
    site.write("  t:\n")
    result = site.one()
    kinds = types_of(site.folder / "lake" / "t")
    assert (kinds["c"], kinds["whole"], kinds["rate"]) == ("decimal(10,2)", "decimal(18,0)", "double")
    assert sorted(site.column("t", "c")) == sorted(map(Decimal, cents))
    assert set(site.column("t", "whole")) == {Decimal(10**17 + 1)}
    assert set(site.column("t", "rate")) == {1.125}
    assert "rate: declared DECIMAL(4,2), but not every value is exact so" in result.notes
    assert set(careful) == {"t"}  # an integer past 2^53


def test_decimals_written_as_text_are_exact(site: Site, careful: list[str]) -> None:
    """The one way in which SQLite keeps more than 15 digits: 38 of them arrive, by the batch."""
    money = ["0.0000000001", "-9999999999999999999999999999.9999999999", "+12.5", "007", "0"]
    site.sql(
        "CREATE TABLE t(id INTEGER PRIMARY KEY, c TEXT)",
        ("INSERT INTO t(c) VALUES (?)", [(m,) for m in (*money, None)]),
    )
    site.write("  t: {columns: {c: {type: 'decimal(38,10)'}}}\n")
    assert (site.one().misfits, careful) == (0, [])
    rows = sorted(site.lake("t"), key=lambda row: row["id"])
    assert [row["c"] for row in rows] == [*map(Decimal, money), None]
    bad = ["1e3", "1,5", "0.00000000001", "1" * 29, "", "five"]
    site.sql(("INSERT INTO t(c) VALUES (?)", [(text,) for text in bad]))
    assert site.one().misfits == len(bad)
    kept = [json.loads(text)["columns"]["c"]["value"] for text in site.column("t", "_rescued_data") if text]
    assert sorted(kept) == sorted(bad)


def test_texts_that_spell_one_number_are_no_key_of_decimals(site: Site) -> None:
    """`7` and `007` are two rows: as text they are two, as decimals they would be one."""
    site.sql("CREATE TABLE t(k TEXT PRIMARY KEY, v INT)", "INSERT INTO t VALUES ('7', 1), ('007', 2)")
    site.write("  t: {mode: mirror, columns: {k: {type: 'decimal(9,2)'}}}\n")
    assert site.one().error.why == "k: texts that spell one number are one"
    site.write("  t: {mode: mirror}\n")
    assert (site.one().rows, sorted(site.column("t", "k"))) == (2, ["007", "7"])


def test_a_format_that_came_late_leaves_a_table_as_it_is(site: Site) -> None:
    """The lake's column is text without loss by then: `format` makes no misfits of what is in it."""
    site.sql("CREATE TABLE t(id INTEGER PRIMARY KEY, c DATETIME)", "INSERT INTO t(c) VALUES (5), ('x'), (6)")
    site.write("  t:\n")
    assert site.one().rows == 3
    site.sql("INSERT INTO t(c) VALUES (7)")
    site.write("  t: {columns: {c: {format: apple}}}\n")
    assert (site.one().misfits, sorted(site.column("t", "c"))) == (0, ["5", "6", "7", "x"])


# --- every other value ----------------------------------------------------------------------------

ROWS: list[dict[str, Any]] = [
    {"i": 2**63 - 1, "r": math.inf, "t": "a\0b", "b": b"", "n": 2**53 + 1},
    {"i": -(2**63), "r": -math.inf, "t": "\U0001f40c 日本 é", "b": b"\0\xff", "n": -(2**53) - 1},
    {"i": 2**53 + 1, "r": -0.0, "t": "", "b": bytes(range(256)), "n": 0.1},
    {"i": 0, "r": 5e-324, "t": "\0", "b": b"\0", "n": 1.7976931348623157e308},
    {"i": -1, "r": 1.7976931348623157e308, "t": "x" * 70_000, "b": b"\xf0\x9f", "n": "words"},
    {"i": None, "r": 2.5, "t": "\ufeff\u202e\ufffd\ud7ff", "b": None, "n": b"\x00"},
    {"i": 42, "r": math.nan, "t": "NULL", "b": b"NULL", "n": -0.0},
    {"i": 1, "r": 0.0, "t": " e\u0301 ", "b": b" ", "n": math.inf},
]
"""Of an INTEGER, a REAL, a TEXT, a BLOB, and a column that declares nothing."""


@pytest.mark.parametrize("mode", ["append", "overwrite", "mirror", "merge"])
@pytest.mark.parametrize("strict", [False, True])
def test_every_value_in_every_mode(site: Site, careful: list[str], mode: str, strict: bool) -> None:
    """Extremes, infinities, NaN (stored as NULL), NUL, 4-byte UTF-8, nothing at all: as they are."""
    columns = "i INTEGER, r REAL, t TEXT, b BLOB, n ANY" if strict else "i INTEGER, r REAL, t TEXT, b BLOB, n"
    names = "i, r, t, b, n"
    site.sql(
        f"CREATE TABLE t(id INTEGER PRIMARY KEY, {columns}){' STRICT' if strict else ''}",
        (f"INSERT INTO t({names}) VALUES (?, ?, ?, ?, ?)", [tuple(row.values()) for row in ROWS]),
    )
    cursor = ", cursor: id" if mode == "merge" else ""
    site.write(f"  t: {{mode: {mode}{cursor}}}\n")
    result = site.one()
    assert (result.state, result.rows, result.misfits) == ("ok", len(ROWS), 0), result.error
    source = {
        key: (*row, "9.0e+999" if n == math.inf else rendered(n))
        for key, *row, n in site.sql(f"SELECT id, {names} FROM t")
    }
    lake = {row["id"]: tuple(row[name] for name in names.split(", ")) for row in site.lake("t")}
    assert {key: repr(row) for key, row in lake.items()} == {key: repr(row) for key, row in source.items()}
    assert careful == []
    assert (site.one().rows, site.one().rows) == (0, 0)
    notes = " ".join(result.notes)
    assert "text without loss" in notes
    assert "2 integer, 4 real, 1 text, 1 blob" in notes


def test_a_blob_of_ten_megabytes_and_a_text(site: Site) -> None:
    """And smaller ones beside them: byte for byte, in commits that are bounded by bytes."""
    size = 10 * 1024 * 1024
    site.sql(
        "CREATE TABLE t(id INTEGER PRIMARY KEY, b BLOB, t TEXT)",
        f"INSERT INTO t(b, t) VALUES (randomblob({size}), 'small'), (x'', ''), (x'00', NULL),"
        f" (NULL, hex(randomblob({size // 2}))), (NULL, 'é')",
    )
    site.write("  t: {batch: {max_bytes: 16MB}}\n  m: {table: t, mode: mirror}\n")
    assert {(r.state, r.rows) for r in site.cycle().streams} == {("ok", 5)}
    source = {row[0]: digests(*row[1:]) for row in site.sql("SELECT * FROM t")}
    for into in ("t", "m"):
        assert {row["id"]: digests(row["b"], row["t"]) for row in site.lake(into)} == source
    assert {r.rows for r in site.cycle().streams} == {0}


def digests(blob: bytes | None, text: str | None) -> tuple[str | None, str | None]:
    whole = (blob, None if text is None else text.encode())
    first, second = (
        None if raw is None else f"{len(raw)} {hashlib.sha256(raw).hexdigest()}" for raw in whole
    )
    return first, second
