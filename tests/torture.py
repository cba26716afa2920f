"""A torture database: tables of one oddity each, and of several together.

`ODDITIES` are the relations with their rows; `build` makes a database of them and `change` changes it, by
stdlib sqlite3 in another process.  What each must be in the lake is told here and in `oracle`,
which share no code with silt.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import kit

Statement = str | tuple[str, Any]
ALL = frozenset({"append", "overwrite", "merge", "mirror"})
MODES = ("append", "overwrite", "merge", "mirror")
SPARK = str.maketrans(dict.fromkeys(" ,;{}()\n\t=", "_"))
"""What the lake makes of a column's name."""


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


# --- what an oddity is ----------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, eq=False)
class Oddity:
    """A relation to replicate: how it is made and filled, rows that come, rows that change and go.

    `kinds`: lake types that it must have, by the source's name of a column; `how`: what the numbers and
    texts of a column mean where ISO does not say it (`oracle.MOMENTS`); `settings`: of the stream, in every
    mode; `only`: further ones by mode; `refused`: modes that must say so, with a word of what they say.
    `variants`: the encodings that it is about, none named: all; `helpers`: tables that it makes beside it.
    """

    name: str
    make: tuple[Statement, ...]
    first: tuple[Statement, ...] = ()
    later: tuple[Statement, ...] = ()
    edits: tuple[Statement, ...] = ()
    kinds: Mapping[str, str] = field(default_factory=dict)
    how: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    only: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    modes: frozenset[str] = ALL
    refused: Mapping[str, str] = field(default_factory=dict)
    variants: tuple[str, ...] = ()
    helpers: tuple[str, ...] = ()

    def stream(self, mode: str) -> dict[str, Any]:
        """Its stream in the manifest."""
        if mode not in self.modes and mode not in self.refused:
            return {"enabled": False}
        return {"mode": mode, **self.settings, **self.only.get(mode, {})}


MERGED: Mapping[str, Any] = {"cursor": "at", "deletes": {"mode": "hard", "max_fraction": 1}}


def keyed(
    name: str,
    columns: Mapping[str, str],
    rows: Iterable[Sequence[Any]],
    *,
    later: Iterable[Sequence[Any]] | None = None,
    key: str = "id INTEGER PRIMARY KEY",
    suffix: str = "",
    **more: Any,
) -> Oddity:
    """A table of an `id`, an `at` that rises with each change, and the odd columns.

    The rows come once at first and once later (or `later`); then each row of the first takes the values
    of its neighbour, and the second goes.
    """
    rows = [tuple(row) for row in rows]
    after = rows[::-1] if later is None else [tuple(row) for row in later]
    body = ", ".join([key, "at INTEGER NOT NULL", *(f"{quoted(n)} {d}" for n, d in columns.items())])
    own = {"merge": MERGED, **more.pop("only", {})}
    insert = [_insert(name, columns, i + 1, row) for i, row in enumerate(rows)]
    more_rows = [_insert(name, columns, len(rows) + i + 1, row) for i, row in enumerate(after)]
    neighbours = list(zip(range(1, len(rows) + 1), [*rows[1:], *rows[:1]], strict=True))
    edits: list[Statement] = [_update(name, columns, i, row) for i, row in neighbours]
    edits.append(f"DELETE FROM {quoted(name)} WHERE id = 2")
    return Oddity(
        name=name,
        make=(f"CREATE TABLE {quoted(name)} ({body}) {suffix}", *more.pop("also", ())),
        first=tuple(insert),
        later=tuple(more_rows),
        edits=tuple(edits),
        only=own,
        **more,
    )


def _insert(name: str, columns: Iterable[str], number: int, row: Sequence[Any]) -> Statement:
    names = ", ".join(["id", "at", *map(quoted, columns)])
    marks, values = _bound(row)
    return (
        f"INSERT INTO {quoted(name)} ({names}) VALUES ({', '.join(['?', '?', *marks])})",
        (number, number, *values),
    )


def _update(name: str, columns: Iterable[str], number: int, row: Sequence[Any]) -> Statement:
    marks, values = _bound(row)
    said = [f"{quoted(n)} = {mark}" for n, mark in zip(columns, marks, strict=True)]
    setting = ", ".join(["at = at + 1000", *said])
    return (f"UPDATE {quoted(name)} SET {setting} WHERE id = ?", (*values, number))


@dataclass(frozen=True)
class Sql:
    """A value that is written as SQL."""

    text: str


def _bound(row: Sequence[Any]) -> tuple[list[str], list[Any]]:
    """Marks and values; a text with bytes that are no UTF-8 goes in by its bytes."""
    marks, values = [], []
    for value in row:
        if isinstance(value, Sql):
            marks.append(value.text)
            continue
        broken = isinstance(value, str) and any("\udc80" <= c <= "\udcff" for c in value)
        marks.append("CAST(? AS TEXT)" if broken else "?")
        values.append(value.encode("utf-8", "surrogateescape") if broken else value)
    return marks, values


def one(name: str, declared: str, values: Iterable[Any], kind: str | None = None, **more: Any) -> Oddity:
    """A table with one odd column `c`."""
    if kind is not None:
        more["kinds"] = {"c": kind, **more.get("kinds", {})}
    later = more.pop("later", None)
    return keyed(
        name,
        {"c": declared},
        [(v,) for v in values],
        later=None if later is None else [(v,) for v in later],
        **more,
    )


def plain(name: str, *make: Statement, **more: Any) -> Oddity:
    """A relation whose statements are all written out."""
    for part in ("first", "later", "edits"):
        said = more.get(part, ())
        more[part] = (said,) if isinstance(said, str) else tuple(said)
    return Oddity(name=name, make=make, **more)


# --- values ---------------------------------------------------------------------------------------

INTEGERS = (
    None,
    0,
    1,
    -1,
    127,
    128,
    -129,
    32_768,
    2**31 - 1,
    2**31,
    -(2**31) - 1,
    2**53 - 1,
    2**53,
    2**53 + 1,
    -(2**53) - 1,
    2**63 - 1,
    -(2**63),
)
REALS = (
    None,
    0.0,
    -0.0,
    1.5,
    0.1,
    1 / 3,
    4.35,
    math.pi,
    5e-324,
    -2.2250738585072014e-308,
    1.7976931348623157e308,
    math.inf,
    -math.inf,
    2.0**53,
    2.0**53 + 2,
    1e15,
    1e16,
    123_456_789.123_456_79,
    -1e-7,
)
TEXTS = (
    None,
    "",
    " ",
    "a",
    "NULL",
    "null",
    "1",
    "007",
    "1e3",
    "0x10",
    "a\0b",
    "\0",
    "é",
    "e\u0301",
    "日本語",
    "🐌",
    "\U0010ffff",
    "\ufeffbom",
    "\ufffe",
    "\u202eright",
    "two\r\nlines\n",
    "\t",
    "'",
    '"',
    "`",
    "\\",
    "%s {0} ${VAR}",
    "x'00FF'",
    "--",
    ";",
    "\x7f\x01\x1b[31m",
    "ß",
    "İ",
    "x" * 10_000,
)
BLOBS = (None, b"", b"\0", b"\xff\x00", bytes(range(256)), b"text", b"{}", b"\xf0\x9f\x90\x8c", b"y" * 5_000)
BROKEN = ("\udcff", "a\udcffb", "\udced\udca0\udc80", "\udcc3", "\udcf0\udc9f")
"""Bytes that are no UTF-8: alone, within, a surrogate's, a letter cut off, a snail cut off."""


def some(good: Any, odd: Iterable[Any], among: int = 300) -> list[Any]:
    """So few odd values among good ones that a column keeps its type; they come last."""
    return [good] * among + list(odd)


# --- declared types -------------------------------------------------------------------------------

SPELLED: Mapping[str, tuple[str, Sequence[Any], Sequence[str]]] = {
    "integer": (
        "long",
        (1, -7, 2**63 - 1, None),
        (
            "INT",
            "INTEGER",
            "integer",
            "InTeGeR",
            "TINYINT",
            "SMALLINT",
            "MEDIUMINT",
            "BIGINT",
            "UNSIGNED BIG INT",
            "INT2",
            "INT8",
            "BIGINT UNSIGNED",
            "INTEGER(10)",
            "INT64",
            "UINT32",
            "LONGINT",
        ),
    ),
    "text": (
        "string",
        ("words", "", "12", None),
        (
            "TEXT",
            "CHARACTER(20)",
            "VARCHAR(255)",
            "VARYING CHARACTER(255)",
            "NCHAR(55)",
            "NATIVE CHARACTER(70)",
            "NVARCHAR(100)",
            "CLOB",
            "TINYTEXT",
            "LONGTEXT",
            "CITEXT",
            "CHAR",
            "NVARCHAR2(10)",
            "text",
        ),
    ),
    "text_like": (
        "string",
        ("words", "{}", "a-b", None),
        (
            "STRING",
            "UUID",
            "GUID",
            "JSON",
            "XML",
            "UNIQUEIDENTIFIER",
            "ENUM",
            "URL",
            "INET",
            "NAME",
        ),
    ),
    "real": (
        "double",
        (1.5, -0.25, 2.0, None),
        (
            "REAL",
            "DOUBLE",
            "DOUBLE PRECISION",
            "FLOAT",
            "FLOAT(10)",
            "FLOAT8",
            "real",
        ),
    ),
    "blob": ("binary", (b"\0\xff", b"", b"text", None), ("BLOB", "TINYBLOB", "LONGBLOB", "blob")),
    "boolean": ("boolean", (1, 0, None), ("BOOLEAN", "BOOL", "boolean")),
    "decimal": (
        "decimal(12,2)",
        (1.25, 7, -0.01, None),
        (
            "DECIMAL(12,2)",
            "NUMERIC(12,2)",
            "NUMBER(12, 2)",
            "DEC(12,2)",
            "decimal ( 12 , 2 )",
        ),
    ),
    "number": ("double", (1.25, 7, -0.01, None), ("DECIMAL", "NUMERIC", "NUMBER", "MONEY", "CURRENCY")),
    "date": ("date", ("2024-02-29", "1969-12-31", None), ("DATE", "date")),
    "timestamp": (
        "timestamp",
        ("2024-02-29 23:59:59", "1969-12-31 00:00:00", None),
        (
            "DATETIME",
            "DATETIME(6)",
            "TIMESTAMP",
            "TIMESTAMP WITH TIME ZONE",
            "TIMESTAMPTZ",
            "DATETIME2",
            "timestamp",
        ),
    ),
    "nothing": (
        "string",
        ("words", "x'", None),
        (
            "",
            "ANY",
            "INTEGER_OR_TEXT",
            "GEOMETRY",
            "POINT",
            "VARIANT",
            "TIME",
            '"my type"',
            "[a'b]",
            "BINARY(4)",
            "\u00c4RGER",
        ),
    ),
}
"""Family -> (type of the lake, values, spellings)."""


def _spellings() -> list[Oddity]:
    made = []
    for family, (kind, values, spelled) in SPELLED.items():
        columns = {f"c{i}": declared for i, declared in enumerate(spelled)}
        rows = [[value] * len(spelled) for value in values]
        made.append(keyed(f"spelled_{family}", columns, rows, kinds=dict.fromkeys(columns, kind)))
    return made


# --- times ----------------------------------------------------------------------------------------

TIMES: Mapping[str, tuple[str, Sequence[Any], str, str]] = {
    "iso_t": ("TIMESTAMP", ("2024-02-29T23:59:59", "1900-01-01T00:00:00"), "timestamp", "iso"),
    "iso_space": ("DATETIME", ("2024-02-29 23:59:59", "2199-12-31 00:00:00"), "timestamp", "iso"),
    "iso_minutes": ("DATETIME", ("2024-02-29 23:59", "2024-03-01 00:00"), "timestamp", "iso"),
    "iso_ms": ("DATETIME", ("2024-02-29 23:59:59.123", "2024-03-01 00:00:00.000"), "timestamp", "iso"),
    "iso_us": ("TIMESTAMP", ("2024-02-29T23:59:59.123456", "2024-03-01T00:00:00.000001"), "timestamp", "iso"),
    "iso_fractions": ("TIMESTAMP", ("2024-02-29T23:59:59", "2024-03-01T00:00:00.5"), "timestamp", "iso"),
    "iso_z": ("TIMESTAMP", ("2024-02-29T23:59:59Z", "2024-03-01T00:00:00Z"), "timestamp", "iso"),
    "iso_z_ms": ("TIMESTAMP", ("2024-02-29T23:59:59.123Z", "2024-03-01T00:00:00.000Z"), "timestamp", "iso"),
    "iso_offset": (
        "TIMESTAMP",
        ("2024-02-29T23:59:59+02:00", "2024-03-01T00:00:00+02:00"),
        "timestamp",
        "iso",
    ),
    "iso_offset_short": (
        "TIMESTAMP",
        ("2024-02-29T23:59:59+0530", "2024-03-01T00:00:00-03"),
        "timestamp",
        "iso",
    ),
    "iso_offsets": ("TIMESTAMP", ("2024-02-29 23:59:59-05:30", "2024-03-01 00:00:00Z"), "timestamp", "iso"),
    "iso_some_offset": (
        "TIMESTAMP",
        ("2024-02-29 23:59:59-05:30", "2024-03-01 00:00:00"),
        "timestamp",
        "iso",
    ),
    "iso_seven_digits": (
        "TIMESTAMP",
        ("2024-02-29 23:59:59.1234560", "2024-03-01 00:00:00.5000000"),
        "timestamp",
        "iso",
    ),
    "date_text": ("DATE", ("2024-02-29", "0001-01-01", "9999-12-31"), "date", "iso"),
    "date_in_timestamp": ("TIMESTAMP", ("2024-02-29", "1900-01-01"), "timestamp", "iso"),
    "time_in_date": ("DATE", ("2024-02-29 12:00:00", "2024-03-01 00:00:00"), "timestamp", "iso"),
    "epoch_s": ("TIMESTAMP", (1_709_251_199, 1_709_251_200), "timestamp", "epoch_s"),
    "epoch_s_real": ("TIMESTAMP", (1_709_251_199.5, 1_709_251_200.25), "timestamp", "epoch_s"),
    "epoch_ms": ("TIMESTAMP", (1_709_251_199_123, 1_709_251_200_000), "timestamp", "epoch_ms"),
    "epoch_us": ("TIMESTAMP", (1_709_251_199_123_456, 1_709_251_200_000_001), "timestamp", "epoch_us"),
    "epoch_ns": (
        "TIMESTAMP",
        (1_709_251_199_123_456_789, 1_709_251_200_000_000_999),
        "timestamp",
        "epoch_ns",
    ),
    "epoch_date": ("DATE", (1_709_164_800, 1_709_251_200), "timestamp", "epoch_s"),
    "julian": ("TIMESTAMP", (2_460_370.5, 2_460_371.25, 2_460_372.0), "timestamp", "julian"),
}
"""Format -> (declared type, values, type of the lake, what they mean)."""

DECLARED_TIMES: Mapping[str, tuple[str, Sequence[Any], Mapping[str, str], str]] = {
    "apple": ("TIMESTAMP", (730_944_000, 730_944_000.5, -1), {"format": "apple"}, "apple"),
    "apple_ns": ("INTEGER", (730_944_000_123_456_789, -1), {"format": "apple_ns"}, "apple_ns"),
    "filetime": ("INTEGER", (133_536_959_991_234_567, -1, 0, 2**63 - 1), {"format": "filetime"}, "filetime"),
    "webkit": ("INTEGER", (13_353_695_999_123_456, -1, 0), {"format": "webkit"}, "webkit"),
    "integer_ms": ("INTEGER", (1_709_251_199_123, -1, 0), {"format": "epoch_ms"}, "epoch_ms"),
    "real_s": ("REAL", (1_709_251_199.5, -0.25), {"format": "epoch_s"}, "epoch_s"),
    "text_iso": (
        "TEXT",
        ("2024-02-29T23:59:59", "soon", "", "2024-02-30 00:00:00"),
        {"format": "iso"},
        "iso",
    ),
    "untyped_iso": ("", ("2024-02-29 23:59", 5, b"\0", "2024-02-29"), {"format": "iso"}, "iso"),
    "berlin": (
        "TEXT",
        ("2024-02-29 12:00:00", "2024-03-31 02:30:00", "2024-10-27 02:30:00", "2024-07-01T12:00:00Z"),
        {"format": "iso", "timezone": "Europe/Berlin"},
        "berlin",
    ),
    "far_seconds": (
        "INTEGER",
        (-62_135_596_800, 253_402_300_799, -62_135_596_801, 253_402_300_800, 2**63 - 1, -(2**63)),
        {"format": "epoch_s"},
        "epoch_s",
    ),
    "far_ns": ("INTEGER", (2**63 - 1, -(2**63), -1, 999), {"format": "epoch_ns"}, "epoch_ns"),
    "far_texts": (
        "TEXT",
        (
            "0001-01-01 00:00:00",
            "9999-12-31T23:59:59.999999",
            "0000-00-00 00:00:00",
            "10000-01-01 00:00:00",
            "-001-01-01",
            "2024-13-01",
            "2023-02-29",
            "2024-02-29 24:00:00",
            "2024-02-29 23:59:60",
            "2024-02-29T23:59:59.1234567",
            "2024-02-29 23:59:59 ",
            "２０２４-02-29",
            "0001-01-01T00:00:00+01:00",
            "9999-12-31T23:59:59-01:00",
        ),
        {"format": "iso"},
        "iso",
    ),
    "far_reals": (
        "REAL",
        (1e300, -1e300, math.inf, 0.0, 253_402_300_799.5),
        {"format": "epoch_s"},
        "epoch_s",
    ),
    "far_julian": (
        "REAL",
        (0.0, 1_721_425.5, 5_373_484.0, 5_373_485.0, 1e300),
        {"format": "julian"},
        "julian",
    ),
}
"""Format -> (declared type, values, what the manifest says of the column, what they mean)."""


def _times() -> list[Oddity]:
    found = [
        one(f"time_{name}", declared, (*values, None), kind, how={"c": how})
        for name, (declared, values, kind, how) in TIMES.items()
    ]
    for name, (declared, values, rule, how) in DECLARED_TIMES.items():
        columns = {"columns": {"c": {"type": "timestamp", **rule}}}
        found.append(
            one(f"time_{name}", declared, (*values, None), "timestamp", how={"c": how}, settings=columns)
        )
    dates = (
        "2024-02-29",
        "2024-02-30",
        "0000-00-00",
        "",
        "2024-02-29 00:00:00",
        "2024-02-29 01:00:00",
        5,
        None,
    )
    settings = {"columns": {"c": {"type": "date", "format": "date_text"}}}
    found.append(one("date_odd", "DATE", dates, "date", settings=settings))
    return found


# --- values of every class ------------------------------------------------------------------------

MIXED = (None, 1, -(2**63), 2.5, math.inf, "words", "", "12", b"\0\xff", b"", 2**53 + 1, "a\0b", 1e300, 0.1)
DECLARED = {
    "integer": ("INTEGER", "bigint"),
    "small": ("INTEGER", "smallint"),
    "real": ("REAL", "double"),
    "single": ("REAL", "float"),
    "text": ("TEXT", "string"),
    "blob": ("BLOB", "binary"),
    "boolean": ("BOOLEAN", "boolean"),
    "decimal": ("DECIMAL(9,3)", "decimal(9,3)"),
    "untyped_integer": ("", "bigint"),
    "untyped_real": ("", "double"),
}
OF = {"bigint": "long", "smallint": "short"}
"""What the log calls a type, where that is another word."""


def _mixed() -> list[Oddity]:
    """All classes in each declared type: as its census makes it, by a type that is declared, and rarely."""
    columns = {name: declared for name, (declared, _) in DECLARED.items() if name not in ("small", "single")}
    found = [keyed("mixed_by_census", columns, [[value] * len(columns) for value in MIXED])]
    for name, (declared, kind) in DECLARED.items():
        found.append(
            one(
                f"mixed_{name}",
                declared,
                (*MIXED, 0, 1, -0.0, 40_000, 16_777_217, 12.125),
                OF.get(kind, kind),
                settings={"columns": {"c": {"type": kind}}},
            )
        )
    good = {"integer": 7, "real": 0.5, "text": "words", "blob": b"b", "boolean": 1, "decimal": 1.125}
    for name, value in good.items():
        declared, kind = DECLARED[name]
        rows = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1500)"
        found.append(
            plain(
                f"rare_{name}",
                f"CREATE TABLE rare_{name} (id INTEGER PRIMARY KEY, at INTEGER NOT NULL, c {declared})",
                first=((f"INSERT INTO rare_{name} {rows} SELECT i, i, ? FROM n", (value,)),),
                later=[
                    (f"INSERT INTO rare_{name} (at, c) VALUES (1500 + ?, ?)", (i, odd))
                    for i, odd in enumerate(MIXED)
                ],
                edits=[
                    (
                        f"UPDATE rare_{name} SET at = 3000, c = ? WHERE id = 700",
                        ("odd" if name != "text" else b"odd",),
                    ),
                    f"DELETE FROM rare_{name} WHERE id BETWEEN 100 AND 200",
                ],
                kinds={"c": OF.get(kind, kind)},
                only={"merge": MERGED},
            )
        )
    return found


def _values() -> list[Oddity]:
    return [
        one("integers", "INTEGER", INTEGERS, "long"),
        one("reals", "REAL", REALS, "double"),
        one("texts", "TEXT", TEXTS, "string"),
        one("blobs", "BLOB", BLOBS, "binary"),
        one("untyped_reals", "", REALS, "string"),
        one("doubles_without_affinity", "", REALS, "double", settings={"columns": {"c": {"type": "double"}}}),
        one("numeric_integers", "NUMERIC", INTEGERS),
        one("past_2_53", "DECIMAL(20,0)", (1, 2**53 + 1, 2**63 - 1, -(2**63), None)),
        one(
            "exact_decimals", "DECIMAL(38,10)", (0, 1, 0.1, 0.5, 1e10, -0.0000000001, None), "decimal(38,10)"
        ),
        one("no_decimals", "DECIMAL(5,2)", (0.001, 1000, 99_999.99, math.inf, None)),
        one("wide_decimals", "DECIMAL(40,2)", (1.25, None), "double"),
        one("broken_texts", "TEXT", (*BROKEN, None), "string", variants=("utf-8",)),
        one("broken_untyped", "", (*BROKEN, 1, None), variants=("utf-8",)),
        one(
            "half_characters",
            "TEXT",
            (Sql("CAST(x'00d8' AS TEXT)"), Sql("CAST(x'410000dc4200' AS TEXT)"), "whole"),
            "string",
            variants=("utf-16le",),
        ),
        one("booleans", "BOOLEAN", (0, 1, None), "boolean"),
        one("spelled_booleans", "BOOLEAN", ("true", "false", "t", "f", 1, 0, "yes", None), "boolean"),
        one("odd_booleans", "BOOLEAN", ("true", "f", 1, "maybe", 2, None), "string"),
        one(
            "large_blobs",
            "BLOB",
            (Sql("zeroblob(10000000)"), Sql("randomblob(10)"), b""),
            "binary",
            later=(Sql("CAST(zeroblob(3000000) AS BLOB)"),),
        ),
        one(
            "large_texts",
            "TEXT",
            (Sql("hex(zeroblob(5000000))"), "", "🐌" * 300_000),
            "string",
            later=("small",),
        ),
        one("all_null_integer", "INTEGER", (None, None, None), "long"),
        keyed(
            "all_null",
            {f"c{i}": d for i, d in enumerate(("TEXT", "BLOB", "REAL", "DATE", "TIMESTAMP", "BOOLEAN", ""))},
            [[None] * 7] * 3,
        ),
        one("one_row", "TEXT", ("only",), "string"),
        one("one_null", "TEXT", (None,), "string", later=()),
        one("never_a_row", "TEXT", (), "string", later=()),
        one("rows_come_later", "REAL", (), "double", later=(1.5, None, "x")),
        one("turns_to_text", "INTEGER", (1, 2, 3), "long", later=("four", 5.5, b"6", None)),
        one(
            "turns_to_number",
            "TIMESTAMP",
            ("2024-02-29 10:00:00", "2024-02-29 11:00:00"),
            "timestamp",
            later=(1_709_251_199, "later", None),
        ),
    ]


# --- shapes of tables -----------------------------------------------------------------------------


def _shapes() -> list[Oddity]:
    wide = {f"c{i}": ("INTEGER", "TEXT", "REAL", "BLOB", "")[i % 5] for i in range(300)}
    strict = {"i": "INT", "r": "REAL", "t": "TEXT", "b": "BLOB", "a": "ANY"}
    strict_rows = [
        (1, 1.0, "t", b"\0", "any"),
        (None,) * 5,
        (2**63 - 1, math.inf, "", b"", 7),
        (0, 1, "x", b"x", b"x"),
    ]
    return [
        keyed("wide", wide, [[i] * 300 for i in (1, 2)] + [[None] * 300]),
        keyed(
            "strict_table",
            strict,
            strict_rows,
            suffix="STRICT",
            kinds={"i": "long", "r": "double", "a": "string"},
        ),
        keyed(
            "strict_no_rowid",
            {"v": "ANY"},
            [(1,), ("x",), (b"y",)],
            suffix="STRICT, WITHOUT ROWID",
            only={"append": {"cursor": "at"}},
        ),
        keyed(
            "autoincrement",
            {"v": "TEXT"},
            [("a",), ("b",), (None,)],
            key="id INTEGER PRIMARY KEY AUTOINCREMENT",
        ),
        keyed(
            "defaults",
            {"d": "TEXT DEFAULT 'quoted ''default'''", "n": "REAL DEFAULT (1.0 / 3)"},
            [("x", 1.0), (None, None)],
            also=("INSERT INTO defaults (at) VALUES (1)", "DELETE FROM defaults"),
        ),
        keyed(
            "generated",
            {"a": "INTEGER", "twice": "INTEGER GENERATED ALWAYS AS (a * 2) VIRTUAL"},
            [],
            later=[],
        ),
        plain(
            "generated_both",
            "CREATE TABLE generated_both (id INTEGER PRIMARY KEY, at INTEGER NOT NULL DEFAULT 0, a INT,"
            " twice INT GENERATED ALWAYS AS (a * 2) VIRTUAL,"
            " label TEXT GENERATED ALWAYS AS ('n' || a) STORED,"
            " odd GENERATED ALWAYS AS (CASE a % 3 WHEN 0 THEN a WHEN 1 THEN 'one' ELSE x'02' END))",
            first=["INSERT INTO generated_both (at, a) VALUES (1, 1), (2, 2), (3, NULL), (4, 3)"],
            later=["INSERT INTO generated_both (at, a) VALUES (5, 7), (6, 9223372036854775807)"],
            edits=[
                "UPDATE generated_both SET a = a + 1, at = at + 10 WHERE a < 9",
                "DELETE FROM generated_both WHERE id = 3",
            ],
            kinds={"twice": "long", "label": "string", "odd": "string"},
            only={"merge": MERGED},
        ),
        plain(
            "altered",
            "CREATE TABLE altered (id INTEGER PRIMARY KEY, at INTEGER NOT NULL, gone TEXT, was TEXT)",
            "INSERT INTO altered VALUES (1, 1, 'gone', 'was'), (2, 2, NULL, NULL)",
            "ALTER TABLE altered ADD COLUMN added INTEGER NOT NULL DEFAULT 7",
            "ALTER TABLE altered ADD COLUMN more REAL DEFAULT -0.0",
            "ALTER TABLE altered DROP COLUMN gone",
            "ALTER TABLE altered RENAME COLUMN was TO now",
            first=["INSERT INTO altered VALUES (3, 3, 'now', 8, 1.5)"],
            later=["INSERT INTO altered VALUES (4, 4, NULL, 9, NULL)"],
            edits=["UPDATE altered SET added = 0, at = 10 WHERE id = 1", "DELETE FROM altered WHERE id = 2"],
            kinds={"added": "long", "more": "double"},
            only={"merge": MERGED},
        ),
        plain(
            "guarded",
            "CREATE TABLE guarded_parent (id INTEGER PRIMARY KEY, v TEXT UNIQUE)",
            "INSERT INTO guarded_parent VALUES (1, 'p'), (2, 'q')",
            "CREATE TABLE guarded (id INTEGER PRIMARY KEY, at INTEGER NOT NULL, n INTEGER CHECK (n < 100),"
            " parent INTEGER REFERENCES guarded_parent (id) ON DELETE CASCADE, v TEXT COLLATE NOCASE,"
            " UNIQUE (n, v), FOREIGN KEY (v) REFERENCES nowhere (x))",
            "CREATE INDEX guarded_part ON guarded (v) WHERE n > 2",
            "CREATE UNIQUE INDEX guarded_made ON guarded (n + 1, lower(v))",
            "CREATE TABLE guarded_log (id INTEGER PRIMARY KEY, what TEXT)",
            "CREATE TRIGGER guarded_told AFTER UPDATE ON guarded BEGIN"
            " INSERT INTO guarded_log (what) VALUES (new.v); END",
            first=["INSERT INTO guarded VALUES (1, 1, 1, 1, 'A'), (2, 2, 2, 2, 'b'), (3, 3, 3, NULL, NULL)"],
            later=["INSERT INTO guarded VALUES (4, 4, 4, 1, 'D')"],
            edits=["UPDATE guarded SET v = 'a', at = 10 WHERE id = 1", "DELETE FROM guarded WHERE id = 2"],
            helpers=("guarded_parent", "guarded_log"),
            only={"merge": MERGED},
        ),
        plain(
            "collated",
            "CREATE TABLE collated (id INTEGER PRIMARY KEY, at INTEGER NOT NULL,"
            " a TEXT COLLATE NOCASE UNIQUE,"
            " b TEXT COLLATE RTRIM, c TEXT COLLATE NOCASE)",
            "PRAGMA writable_schema = ON",
            "UPDATE sqlite_schema SET sql ="
            " replace(sql, 'c TEXT COLLATE NOCASE', 'c TEXT COLLATE application')"
            " WHERE name = 'collated'",
            "PRAGMA writable_schema = OFF",
            first=[
                "INSERT INTO collated VALUES (1, 1, 'A', 'x  ', 'c'), (2, 2, 'b', 'x', 'C')",
                "INSERT INTO collated VALUES (3, 3, NULL, '', NULL)",
            ],
            later=["INSERT INTO collated VALUES (4, 4, 'C', 'x ', '')"],
            edits=[
                "UPDATE collated SET a = 'a', b = 'x', at = 10 WHERE id = 1",
                "DELETE FROM collated WHERE id = 2",
            ],
            only={"merge": MERGED},
        ),
        plain(
            "bare",
            "CREATE TABLE bare (v TEXT, n)",
            first=["INSERT INTO bare VALUES ('a', 1), ('a', 1), (NULL, NULL), ('b', x'00')"],
            later=["INSERT INTO bare VALUES ('a', 1), ('c', 2.5)"],
            edits=["UPDATE bare SET v = 'z' WHERE rowid = 1", "DELETE FROM bare WHERE rowid = 3"],
            only={"append": {"cursor": "rowid"}, "mirror": {"lineage": ["rowid"]}},
            refused={"merge": "bare has no primary key"},
            modes=ALL - {"merge"},
        ),
        plain(
            "no_rowid_left",
            'CREATE TABLE no_rowid_left (rowid TEXT, "_rowid_" TEXT, oid TEXT, v INT)',
            first=["INSERT INTO no_rowid_left VALUES ('x', 'y', 'z', 1), (NULL, NULL, NULL, 2)"],
            later=["INSERT INTO no_rowid_left VALUES ('x', 'y', 'z', 1)"],
            edits=["UPDATE no_rowid_left SET v = 3 WHERE v = 2"],
            modes=frozenset({"overwrite"}),
            refused={"append": "no safe cursor", "mirror": "no primary key"},
        ),
        plain(
            "rowid_taken",
            "CREATE TABLE rowid_taken (rowid TEXT, at INTEGER, oid INTEGER PRIMARY KEY)",
            first=["INSERT INTO rowid_taken VALUES ('x', 1, 1), (NULL, 2, 5)"],
            later=["INSERT INTO rowid_taken VALUES ('y', 3, 7)"],
            edits=[
                "UPDATE rowid_taken SET rowid = 'z', at = 10 WHERE oid = 5",
                "DELETE FROM rowid_taken WHERE oid = 1",
            ],
            only={"merge": MERGED},
        ),
        plain(
            "only_a_key",
            "CREATE TABLE only_a_key (id INTEGER PRIMARY KEY)",
            first=["INSERT INTO only_a_key VALUES (-9223372036854775808), (-1), (0), (9223372036854775805)"],
            later=["INSERT INTO only_a_key VALUES (9223372036854775806)"],
            edits=["DELETE FROM only_a_key WHERE id IN (0, -1)"],
            only={"merge": {"cursor": "id", "deletes": {"mode": "hard", "max_fraction": 1}}},
        ),
        plain(
            "odd_ids",
            "CREATE TABLE odd_ids (id INTEGER PRIMARY KEY, at INTEGER NOT NULL, v TEXT)",
            first=[
                "INSERT INTO odd_ids VALUES (-9223372036854775808, 1, 'least'), (0, 2, 'zero')",
                "INSERT INTO odd_ids VALUES (9007199254740993, 3, 'odd')",
            ],
            later=[
                "INSERT INTO odd_ids VALUES (9007199254740994, 4, 'even')",
                "INSERT INTO odd_ids VALUES (9223372036854775806, 5, 'last but one')",
            ],
            edits=[
                "UPDATE odd_ids SET v = 'x', at = 10 WHERE id = 9007199254740993",
                "DELETE FROM odd_ids WHERE id = 0",
            ],
            only={"merge": MERGED},
        ),
    ]


# --- keys -----------------------------------------------------------------------------------------

KEYS: Mapping[str, tuple[str, str, Sequence[Sequence[Any]]]] = {
    "text": ("k TEXT NOT NULL PRIMARY KEY", "", [(t,) for t in TEXTS if t is not None]),
    "text_no_rowid": ("k TEXT PRIMARY KEY", "WITHOUT ROWID", [(t,) for t in TEXTS if t is not None]),
    "blob": ("k BLOB NOT NULL PRIMARY KEY", "", [(b,) for b in BLOBS if b is not None]),
    "blob_no_rowid": ("k BLOB PRIMARY KEY", "WITHOUT ROWID", [(b,) for b in BLOBS if b is not None]),
    "real": ("k REAL NOT NULL PRIMARY KEY", "", [(r,) for r in REALS if r is not None and repr(r) != "-0.0"]),
    "descending": ("k INTEGER PRIMARY KEY DESC NOT NULL", "", [(1,), (2,), (3,), (-(2**63),), (2**63 - 1,)]),
    "int_not_integer": ("k INT PRIMARY KEY NOT NULL", "", [(1,), (2,), (3,)]),
    "nocase": ("k TEXT NOT NULL COLLATE NOCASE PRIMARY KEY", "", [("A",), ("b",), ("C",), ("ä",), ("Ä",)]),
    "rtrim": ("k TEXT NOT NULL COLLATE RTRIM PRIMARY KEY", "", [("A ",), ("b",), (" C  ",), ("",)]),
    "composite": (
        "a INTEGER NOT NULL, b TEXT NOT NULL",
        ", PRIMARY KEY (a, b))",
        [(1, "x"), (1, ""), (2, "x"), (-1, "ü")],
    ),
    "composite_desc": (
        "a TEXT NOT NULL, b INTEGER NOT NULL",
        ", PRIMARY KEY (a DESC, b ASC)) WITHOUT ROWID",
        [("x", 1), ("x", 2), ("", 5), ("y", -5)],
    ),
    "of_blob_and_real": (
        "a BLOB NOT NULL, b REAL NOT NULL",
        ", PRIMARY KEY (a, b)) WITHOUT ROWID",
        [(b"", 1.5), (b"\0", 1.5), (b"\0", math.inf), (b"\xff", -1.5)],
    ),
    "date": ("k DATE NOT NULL PRIMARY KEY", "", [("2024-02-29",), ("2024-03-01",), ("0001-01-01",)]),
    "time": ("k TIMESTAMP NOT NULL PRIMARY KEY", "", [("2024-02-29 10:00:00",), ("2024-02-29 10:00:01",)]),
    "epoch_ms": ("k TIMESTAMP NOT NULL PRIMARY KEY", "", [(1_709_251_199_123,), (1_709_251_199_124,)]),
    "boolean": ("k BOOLEAN NOT NULL PRIMARY KEY", "", [(0,), (1,)]),
    "decimal": ("k DECIMAL(9,2) NOT NULL PRIMARY KEY", "", [(0.01,), (1.25,), (-7,)]),
    "untyped": ("k NOT NULL PRIMARY KEY", "", [("a",), ("b",), ("ü",)]),
}
"""Name -> (columns of the key, how the statement ends, keys)."""


_EPOCH_KEY: Mapping[str, Any] = {
    "how": {"k": "epoch_ms"},
    "modes": frozenset({"append", "overwrite"}),
    "refused": dict.fromkeys(("merge", "mirror"), "rows of two keys may have one in the lake"),
}
"""A column without affinity to integers may hold fractions of a millisecond, which the lake rounds."""


def _keys() -> list[Oddity]:
    return [_by_key(f"key_{name}", *told) for name, told in KEYS.items()]


def _by_key(name: str, columns: str, suffix: str, keys: Sequence[Sequence[Any]]) -> Oddity:
    """Keys that are there from the start, every other one; the others come, some change, one goes.

    Append goes by `at`, which rises: the keys themselves do not.
    """
    end = suffix if suffix.startswith(",") else f") {suffix}"
    names = [part.split()[0] for part in columns.split(", ")]
    marks = ", ".join("?" * (len(names) + 2))

    def rows(chosen: Sequence[Sequence[Any]], since: int) -> list[Statement]:
        insert = f"INSERT INTO {name} ({', '.join(names)}, at, v) VALUES ({marks})"
        return [(insert, (*key, since + i, f"v{i}")) for i, key in enumerate(chosen)]

    where = " AND ".join(f"{n} = ?" for n in names)
    first = keys[::2]
    edits: list[Statement] = [
        (f"UPDATE {name} SET v = 'changed', at = 1000 + at WHERE {where}", tuple(key)) for key in first[::2]
    ]
    edits.append((f"DELETE FROM {name} WHERE {where}", tuple(keys[1])))
    return plain(
        name,
        f"CREATE TABLE {name} ({columns}, at INTEGER NOT NULL, v TEXT{end}",
        first=rows(first, 1),
        later=rows(keys[1::2], 500),
        edits=edits,
        only={"append": {"cursor": "at"}, "merge": MERGED},
        **(_EPOCH_KEY if name == "key_epoch_ms" else {}),
    )


# --- names ----------------------------------------------------------------------------------------

NAMES: Mapping[str, tuple[str, ...]] = {
    "order": ("group", "select", "from", "where", "index"),
    "two words": ("col umn", "a=b", " leading", "trailing "),
    'quo"te': ('c"d', "e'f", "g`h", "i\\j"),
    "100%": ("50%", "%s", "%(name)s", ":name", "?", "$1", "{0}", "@x"),
    "br[ack]et": ("a[0]", "semi;colon", "a.b", "a,b", "(c)", "{d}"),
    "dot.ted": ("-- no comment", "/* none */", "1st", "_", "__", "-"),
    "Ärger": ("größe", "ŉ", "emoji 🐌", "e\u0301", "名前", "\u202ertl"),
    "SELECT * FROM x": ("tab\there", "new\nline", "cr\rhere"),
    "silt": (
        "silt_lo",
        "silt_mine",
        "silt_source",
        "silt_scan",
        "silt_rows",
        "c0",
        "k",
        "_silt_gone",
        "silt",
    ),
    "CamelCase": ("ID2", "camelCase", "UPPER", "lower_case", "MiXeD wOrDs"),
    "a/b": ("path/to", "..", "a%2Fb", "#hash", "&amp;", "<b>"),
    "null": ("NULL", "true", "Infinity", "NaN", "int", "timestamp"),
    "x" * 120: ("y" * 200, "z" * 200),
    "delta": (
        "_change_type",
        "_commit_version",
        "_metadata",
        "_delta_log",
        "__index_level_0__",
        "add",
        "remove",
    ),
}
"""Tables by name, with the names of their columns."""


def _named() -> list[Oddity]:
    return [
        keyed(table, dict.fromkeys(names, "TEXT"), [[f"{n}{i}" for n in names] for i in range(3)])
        for table, names in NAMES.items()
    ]


# --- views ----------------------------------------------------------------------------------------


def _views() -> list[Oddity]:
    """Named, with a declared cursor, over a table of every class."""
    deletes = {"mode": "hard", "max_fraction": 1}
    return [
        plain(
            "seen_through",
            "CREATE TABLE seen_base (id INTEGER PRIMARY KEY, at INTEGER NOT NULL, c)",
            "CREATE VIEW seen_through AS SELECT id, at, c, typeof(c) AS k, c || '' AS made FROM seen_base",
            first=["INSERT INTO seen_base VALUES (1, 1, 1), (2, 2, 'one'), (3, 3, x'01'), (4, 4, NULL)"],
            later=["INSERT INTO seen_base VALUES (5, 5, 'x'), (6, 6, 7)"],
            edits=[
                "UPDATE seen_base SET c = 'y', at = 10 WHERE id = 1",
                "DELETE FROM seen_base WHERE id = 2",
            ],
            helpers=("seen_base",),
            only={
                "append": {"cursor": "id"},
                "merge": {"primary_key": ["id"], "cursor": "at", "deletes": deletes},
                "mirror": {"primary_key": ["id"]},
            },
        ),
    ]


def _left_out() -> list[Statement]:
    """What a pattern must leave out, and says so."""
    return [
        "CREATE VIRTUAL TABLE words USING fts5(body)",
        "INSERT INTO words VALUES ('hello')",
        "CREATE VIRTUAL TABLE places USING rtree(id, least, most)",
        "CREATE VIEW unnamed_view AS SELECT 1 AS x",
        "ANALYZE",
    ]


def _oddities() -> tuple[Oddity, ...]:
    groups: tuple[Callable[[], list[Oddity]], ...] = (
        _spellings,
        _times,
        _mixed,
        _values,
        _shapes,
        _keys,
        _named,
        _views,
    )
    return tuple(oddity for group in groups for oddity in group())


ODDITIES = _oddities()

# --- databases ------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A kind of database file, by what it is set to before its first table."""

    name: str
    encoding: str
    pragmas: tuple[str, ...]

    @property
    def oddities(self) -> tuple[Oddity, ...]:
        """What it holds."""
        return tuple(o for o in ODDITIES if not o.variants or self.encoding in o.variants)


VARIANTS = {
    variant.name: variant
    for variant in (
        Variant(name="wal", encoding="utf-8", pragmas=("journal_mode = wal",)),
        Variant(name="utf-16", encoding="utf-16le", pragmas=("encoding = 'UTF-16le'", "page_size = 65536")),
        Variant(
            name="big-endian",
            encoding="utf-16be",
            pragmas=("encoding = 'UTF-16be'", "page_size = 512", "auto_vacuum = full"),
        ),
    )
}


def in_turn(oddities: Sequence[Oddity]) -> dict[Oddity, str]:
    """Each with a mode that it takes: modes take turns."""
    modes = [[mode for mode in MODES if mode in oddity.modes] for oddity in oddities]
    return {o: able[i % len(able)] for i, (o, able) in enumerate(zip(oddities, modes, strict=True))}


def manifest(assigned: Mapping[Oddity, str]) -> str:
    """Each oddity by its name, with its mode; and a pattern for whatever else is there."""
    streams = {"*": {"mode": "overwrite"}, **{o.name: o.stream(mode) for o, mode in assigned.items()}}
    data = {"version": 1, "sources": {"app": "./app.db"}, "targets": {"lake": "./lake"}, "streams": streams}
    return json.dumps(data, ensure_ascii=False)


def build(path: Path, variant: Variant, oddities: Sequence[Oddity]) -> None:
    """The database with the first rows of its oddities."""
    pragmas = [f"PRAGMA {pragma}" for pragma in variant.pragmas]
    kit.sql(path, *pragmas, *_transaction(s for o in oddities for s in (*o.make, *o.first)))
    kit.sql(path, *_left_out())


def change(path: Path, oddities: Mapping[Oddity, str]) -> None:
    """Rows come; where the mode takes it, others change and go.  `oddities`: each with its mode."""
    kit.sql(path, *_transaction(s for o in oddities for s in o.later))
    edited = (o for o, mode in oddities.items() if mode != "append")
    kit.sql(path, *_transaction(s for o in edited for s in o.edits))


def _transaction(statements: Iterable[Statement]) -> list[Statement]:
    return ["BEGIN", *statements, "COMMIT"]
