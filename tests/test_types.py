"""Types: declared families, formats of time, guards, exact values; and their conversion in Arrow."""

from __future__ import annotations

import itertools
import struct
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kit import sql

from silt import types
from silt.errors import UserError
from silt.shapes import Column, ColumnCensus, Field
from silt.source.convert import Unfit, converted

# --- names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "bigint",
        "int",
        "smallint",
        "tinyint",
        "double",
        "float",
        "string",
        "boolean",
        "binary",
        "date",
        "timestamp",
        "decimal(10,2)",
    ],
)
def test_names_and_arrow_types_are_one_to_one(name):
    """Databricks' names to Arrow and back."""
    assert types.from_arrow(types.to_arrow(name)) == name
    assert str(types.parse(f" {name.upper()} ")) == name


@pytest.mark.parametrize(
    "name", ["", "int64x", "varchar", "decimal(39,2)", "decimal(5,6)", "decimal(0,0)", "decimal(a)"]
)
def test_what_is_no_type_is_refused(name):
    """With the list of those that are."""
    with pytest.raises(UserError, match="is not a type"):
        types.parse(name)


def test_a_timestamp_is_microseconds_in_utc():
    """Never ntz: Spark tables then need another protocol (DESIGN 6)."""
    assert types.to_arrow("timestamp") == pa.timestamp("us", "UTC")
    with pytest.raises(UserError):
        types.from_arrow(pa.null())


# --- declared types -------------------------------------------------------------------------------

DECLARED = [
    "INTEGER",
    "int",
    "BIGINT",
    "UNSIGNED BIG INT",
    "POINT",
    "FLOATING POINT",
    "VARCHAR(10)",
    "NVARCHAR2",
    "CLOB",
    "TEXT",
    "BLOB",
    "",
    "REAL",
    "DOUBLE PRECISION",
    "FLOAT",
    "NUMERIC",
    "DECIMAL(10,2)",
    "BOOLEAN",
    "DATE",
    "DATETIME",
    "STRING",
    "UUID",
    "JSON",
    "ANY",
    "MONEY",
    "CHARINT",
    "BLOBTEXT",
    "DATETIME(6)",
    "TIMESTAMP WITH TIME ZONE",
    "INTEGER_OR_TEXT",
]


def test_affinity_is_sqlites_own(tmp_path: Path):
    """Asked of SQLite itself: what it makes of '5', 5.0 and '5.5' tells a column's affinity."""
    path = tmp_path / "a.db"
    seen = {
        ("integer", "integer", "text"): "INTEGER/NUMERIC",
        ("text", "text", "text"): "TEXT",
        ("real", "real", "text"): "REAL",
    }
    seen[("text", "real", "text")] = "BLOB"
    made = [f"create table t{i}(c {declared})" for i, declared in enumerate(DECLARED)]
    filled = [f"insert into t{i} values ('5'), (5.0), ('x')" for i in range(len(DECLARED))]
    asked = " union all ".join(f"select {i}, typeof(c) from t{i}" for i in range(len(DECLARED)))
    answers = sql(path, *made, *filled, asked)
    for i, declared in enumerate(DECLARED):
        classes = tuple(kind for number, kind in answers if number == i)
        assert types.affinity(declared) in seen[classes].split("/"), declared


@pytest.mark.parametrize(
    ("declared", "family"),
    [
        ("INTEGER", "integer"),
        ("BIGINT UNSIGNED", "integer"),
        ("FLOATING POINT", "unknown"),
        ("VARCHAR(20)", "text"),
        ("UUID", "text"),
        ("STRING", "text"),
        ("JSON", "text"),
        ("TIMESTAMP WITH TIME ZONE", "timestamp"),
        ("DATE", "date"),
        ("DATETIME(6)", "timestamp"),
        ("BOOLEAN", "boolean"),
        ("DECIMAL(10,2)", "decimal"),
        ("MONEY", "decimal"),
        ("", "none"),
        ("BLOB", "blob"),
        ("DOUBLE", "real"),
        ("GEOMETRY", "unknown"),
    ],
)
def test_families_are_what_the_declaration_means(declared, family):
    """Not SQLAlchemy's guess, which calls UUID, STRING and TIMESTAMP WITH TIME ZONE numeric (FACTS)."""
    assert types.family(declared) == family


def count(**counts: object) -> ColumnCensus:
    return ColumnCensus(name="c", **counts)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("declared", "census", "choice"),
    [
        ("INTEGER", count(integers=10), ("bigint", None)),
        ("INTEGER", None, ("bigint", None)),
        ("INTEGER", count(integers=50, texts=50), ("string", "rendered")),
        ("INTEGER", count(integers=1998, texts=2), ("bigint", None)),
        ("REAL", count(reals=9), ("double", None)),
        ("TEXT", count(texts=9), ("string", None)),
        ("UUID", count(texts=9), ("string", "rendered")),
        ("BLOB", count(blobs=9), ("binary", None)),
        ("", count(integers=9), ("string", "rendered")),
        ("INTEGER_OR_TEXT", count(integers=4, texts=4), ("string", "rendered")),
        ("BOOLEAN", count(integers=4, fits=("boolean", "double")), ("boolean", None)),
        ("BOOLEAN", count(integers=4, fits=("double",)), ("bigint", None)),
        ("BOOLEAN", None, ("boolean", None)),
        ("BOOLEAN", count(integers=2, texts=2, fits=("boolean",)), ("boolean", "words")),
        ("BOOLEAN", count(integers=2, texts=2), ("string", "rendered")),
        ("DECIMAL(10,2)", count(reals=4, fits=("double", "decimal(10,2)")), ("decimal(10,2)", None)),
        ("DECIMAL(10,2)", count(reals=4, fits=("double",)), ("double", None)),
        ("NUMERIC", count(integers=4), ("bigint", None)),
        ("DATE", count(texts=4, formats=(("date_text", 4),)), ("date", "date_text")),
        ("DATE", count(integers=4, formats=(("epoch_s", 4),)), ("timestamp", "epoch_s")),
        ("DATETIME", count(texts=4, formats=(("iso[T]", 3), ("iso[ ]", 1))), ("timestamp", "iso")),
        ("DATETIME", count(integers=4, formats=(("epoch_ms", 4),)), ("timestamp", "epoch_ms")),
        ("DATETIME", count(reals=4, formats=(("epoch_s", 4),)), ("timestamp", "epoch_s")),
        ("TIMESTAMP", count(integers=4, formats=(("number", 4),)), ("bigint", None)),
        ("TIMESTAMP", count(texts=4, formats=(("text", 4),)), ("string", "rendered")),
        (
            "TIMESTAMP",
            count(integers=2, texts=2, formats=(("epoch_s", 2), ("iso[T]", 2))),
            ("string", "rendered"),
        ),
        ("TIMESTAMP", None, ("timestamp", None)),
        ("GEOMETRY", count(blobs=4), ("binary", None)),
        ("DATETIME", count(texts=400, fine=4, formats=(("iso[T]", 400),)), ("timestamp", "iso")),
        ("DATETIME", count(texts=400, fine=5, formats=(("iso[T]", 400),)), ("string", "rendered")),
    ],
)
def test_choosing_a_type(declared, census, choice):
    """The family decides, a census tells the format and whether classes are mixed (DESIGN 6)."""
    assert types.choose(Column(name="c", declared=declared), census)[:2] == choice


def test_a_choice_that_is_not_plain_says_why():
    """Mixed classes and missing declarations show the census; no value is in it."""
    _, _, warning = types.choose(Column(name="c", declared="INTEGER"), count(integers=50, texts=50))
    assert warning == "declared INTEGER, holds 50 integer, 50 text: text without loss"
    assert "no declared type" in str(types.choose(Column(name="c"), None)[2])
    time = Column(name="c", declared="DATETIME")
    _, _, warning = types.choose(time, count(texts=9, fine=2, formats=(("iso[T]", 9),)))
    assert warning == "declared DATETIME, but 2 of 9 times looked at are finer than a microsecond"
    _, _, warning = types.choose(time, count(integers=9, formats=(("number", 9),)))
    assert str(warning).endswith("`format` names one, apple and filetime too, which are never guessed")


# --- formats of time ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("2024-02-29", "date_text"),
        ("2024-02-30", "text"),
        ("2024-01-01T10:00:00", "iso[T]"),
        ("2024-01-01 10:00", "iso[ ]"),
        ("2024-01-01 10:00:00.123", "iso[ ]"),
        ("2024-01-01T10:00:00+02:00", "iso_offset[T+02:00]"),
        ("2024-01-01T10:00:00Z", "iso_offset[TZ]"),
        ("2024-01-01T10:00:00.123Z", "iso_offset[TZ.3]"),
        ("2024-01-01T10:00Z", "iso_offset[TZm]"),
        ("2024-01-01T24:00:00", "text"),
        ("2024-01-01T10:00:60", "text"),
        ("", "text"),
        ("20240101", "text"),
        (" 2024-01-01", "text"),
        ("hello", "text"),
    ],
)
def test_the_format_of_a_text(text, form):
    """Separator, offset, and before a Z the digits of the fraction."""
    assert types.text_format(text) == form


def between(first: int, last: int) -> st.SearchStrategy[datetime]:
    """Instants from the beginning of one year to that of another."""
    low, high = (datetime.fromisoformat(f"{year}-01-01") for year in (first, last))
    return st.datetimes(low, high, timezones=st.just(UTC))


INSTANTS = between(2000, 2099)
SPELLINGS = [
    lambda d: d.replace(tzinfo=None).isoformat(),
    lambda d: d.replace(tzinfo=None).isoformat(" "),
    lambda d: d.replace(tzinfo=None, microsecond=0).isoformat(),
    lambda d: d.isoformat(),
    lambda d: d.isoformat(" ", "milliseconds"),
    lambda d: d.replace(tzinfo=None).isoformat("T", "milliseconds") + "Z",
    lambda d: d.replace(tzinfo=None).isoformat("T", "seconds") + "Z",
    lambda d: d.date().isoformat(),
]


@given(st.lists(st.tuples(INSTANTS, st.sampled_from(range(len(SPELLINGS)))), min_size=2, max_size=6))
def test_texts_of_one_format_sort_as_the_instants_do(pairs):
    """What the cursor's order rests on; texts of two formats may not."""
    written = [(SPELLINGS[how](instant)) for instant, how in pairs]
    for a, b in itertools.combinations(written, 2):
        if types.text_format(a) == types.text_format(b):
            x, y = (types.exact(t, "timestamp", types.text_format(t)) for t in (a, b))
            assert (x <= y and a <= b) or (x >= y and a >= b), (a, b)


@pytest.mark.parametrize(
    "form",
    [
        "iso[T]",
        "iso[ ]",
        "iso_offset[T+02:00]",
        "iso_offset[ -05:30]",
        "iso_offset[TZ.3]",
        "iso_offset[TZ.6]",
        "iso_offset[TZ]",
        "iso_offset[TZm]",
        "date_text",
    ],
)
@given(instant=INSTANTS)
def test_an_instant_is_spelled_in_the_format_of_the_cursor(form, instant):
    """now + max_skew is written as the column writes, to compare with (DESIGN 4.3)."""
    text = types.spell(instant, form)
    assert types.text_format(text) == form
    back = types.exact(text, "timestamp", form)
    assert timedelta(0) <= instant - back < timedelta(days=1 if form == "date_text" else 1 / 24)


@pytest.mark.parametrize(
    "form",
    ["epoch_s", "epoch_ms", "epoch_us", "epoch_ns", "apple", "apple_ns", "filetime", "webkit", "julian"],
)
@given(instant=between(2011, 2029))
def test_numbers_are_told_by_their_size_and_read_back(form, instant):
    """An epoch is known by the values that it gives between 2010 and 2030; none is another's."""
    number = types.spell(instant, form)
    # what is counted from another year is also an instant long ago, counted from 1970: only a manifest tells
    since, _ = types.epoch(form) if form != "julian" else (0, 1)
    assert types.number_format(number) == ("number" if since else form)
    back = types.exact(number, "timestamp", form)
    assert abs(instant - back) < timedelta(seconds=1)


def test_a_spelling_in_a_timezone():
    """Texts without an offset are local to the declared timezone."""
    summer = datetime(2024, 7, 1, 12, tzinfo=UTC)
    assert types.spell(summer, "iso[ ]", "Europe/Berlin") == "2024-07-01 14:00:00.000000"
    with pytest.raises(UserError, match="no format of time"):
        types.spell(summer, "text")


# --- conversion -----------------------------------------------------------------------------------


def both(raw: list[object], kind: str, form: str | None = None, timezone: str | None = None) -> Any:
    """A column through Arrow and each value by the careful judge: they must agree."""
    field = Field(name="c", type=kind, source="c", format=form, timezone=timezone)
    try:
        fast = converted(pa.array(raw), field).to_pylist()
    except Unfit:
        fast = "misfit"
    try:
        slow = pa.array([types.exact(v, kind, form, timezone) for v in raw], types.to_arrow(kind)).to_pylist()
    except ValueError:
        slow = "misfit"
    assert fast == slow
    return fast


@pytest.mark.parametrize(
    "text",
    [
        "2024-02-30",
        "2024-01-01T24:00:00",
        "2024-01-01T10:00:60",
        "2024-01-01T10:00:00.1234567",
        "x",
        "",
        "2024-13-01",
        "9999-12-31T23:59:59-01:00",
        "0001-01-01T00:00:00+01:00",
    ],
)
def test_what_is_no_time_is_a_misfit(text):
    """SQLite's own functions accept 02-30; Arrow's cast and ours do not (FACTS)."""
    assert both(["2024-01-01", text], "timestamp", "iso") == "misfit"


def test_offsets_of_every_kind_may_be_mixed():
    """A cast refuses the other form, so a mixed column is split by its offsets (FACTS)."""
    raw = [
        "2024-01-01T10:00:00",
        "2024-01-01 10:00:00+02:00",
        None,
        "2024-01-01T10:00:00.5Z",
        "2024-01-01",
        "2024-01-01T10:00-05:30",
    ]
    for form in ("iso", "iso_offset", None):
        hours = [m and (m.day, m.hour, m.minute) for m in both(raw, "timestamp", form)]
        assert hours == [(1, 10, 0), (1, 8, 0), None, (1, 10, 0), (1, 0, 0), (1, 15, 30)]


def test_local_times_go_through_their_timezone():
    """An hour that comes twice is taken the first time; one that the clocks passed over is a misfit."""
    (summer, twice) = both(
        ["2024-07-01 12:00:00", "2024-10-27 02:30:00"], "timestamp", "iso", "Europe/Berlin"
    )
    assert (summer.hour, twice.hour) == (10, 0)
    assert both(["2024-03-31 02:30:00"], "timestamp", "iso", "Europe/Berlin") == "misfit"


@pytest.mark.parametrize(
    ("form", "raw"),
    [
        ("epoch_s", [0, 1711000000, -1]),
        ("epoch_s", [1711000000.25, 0.5]),
        ("epoch_ms", [1711000000123]),
        ("epoch_us", [1711000000123456]),
        ("epoch_ns", [1711000000123456789, -1, -1001]),
        ("apple", [0, 700000000.5]),
        ("apple_ns", [700000000123456789, -1]),
        ("filetime", [133540872001234567, 0, -1, -11, 116444736000000009]),
        ("filetime", [133540872001234560.0, 0.5]),
        ("webkit", [13353695999123456, 0, -1]),
        ("epoch_us", [1711000000123456.0, 0.5, 1.5]),
        ("epoch_ns", [1711000000123456768.0]),
        ("julian", [2440587.5, 2460000.25]),
    ],
)
def test_epochs_agree_on_both_paths(form, raw):
    """Reals to the nearest microsecond, nanoseconds cut towards the past."""
    assert both(raw, "timestamp", form) != "misfit"


@pytest.mark.parametrize(
    ("form", "raw"),
    [
        ("epoch_s", 2**62),
        ("epoch_s", 1e300),
        ("epoch_s", float("inf")),
        ("epoch_ms", 10**17),
        ("epoch_s", -(10**12)),
        ("filetime", 2**63 - 1),
        ("filetime", -(2**63)),
        ("apple_ns", float("-inf")),
    ],
)
def test_instants_beyond_the_years_of_a_calendar_are_misfits(form, raw):
    """Year 10000 has no reader; overflow does not wrap."""
    assert both([raw], "timestamp", form) == "misfit"


@given(st.lists(st.integers(-(10**8), 10**8), max_size=5), st.integers(0, 6))
def test_decimals_that_were_written_come_back_exactly(numbers, scale):
    """Every decimal of 15 digits survives its way through a double."""
    raw = [float(Decimal(n).scaleb(-scale)) for n in numbers]
    got = both(raw, f"decimal(15,{scale})") if raw else []
    assert got == [Decimal(n).scaleb(-scale) for n in numbers]


@pytest.mark.parametrize("raw", [0.125, 1e9, 1 / 3, float("inf"), 99999999.999])
def test_what_no_decimal_of_the_type_is_exactly_is_a_misfit(raw):
    """Digits past the scale or the precision."""
    assert both([1.5, raw], "decimal(10,2)") == "misfit"


@given(st.floats(allow_nan=False))
def test_floats_hold_only_what_they_hold(value):
    """A double that is no single-precision float is a misfit for `float`."""
    try:
        exact = struct.unpack("f", struct.pack("f", value))[0] == value
    except OverflowError:
        exact = False
    assert (both([value], "float") != "misfit") == exact


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [("int", 2**31 - 1, 2**31), ("smallint", -(2**15), 2**15), ("tinyint", 127, -129), ("boolean", 1, 2)],
)
def test_narrow_integers_never_wrap(kind, good, bad):
    """Out of range is a misfit."""
    assert both([good, None], kind)[1] is None
    assert both([bad], kind) == "misfit"


@pytest.mark.parametrize(
    ("form", "number", "moment"),
    [
        ("epoch_s", 1711000000, "2024-03-21T05:46:40"),
        ("epoch_ms", 1711000000123, "2024-03-21T05:46:40.123"),
        ("epoch_us", 1711000000123456, "2024-03-21T05:46:40.123456"),
        ("epoch_ns", 1711000000123456789, "2024-03-21T05:46:40.123456"),
        ("julian", 2460390.740740741, "2024-03-21T05:46:40"),
        ("apple", 732692800.5, "2024-03-21T05:46:40.5"),
        ("apple_ns", 732692800123456789, "2024-03-21T05:46:40.123456"),
        ("filetime", 133554736001234567, "2024-03-21T05:46:40.123456"),
        ("filetime", 0, "1601-01-01T00:00:00"),
    ],
)
def test_what_a_number_counts(form, number, moment):
    """From 1970, 2001 (Apple), 1601 (Windows) or noon of the first Julian day, in the unit of the format."""
    assert both([number], "timestamp", form) == [datetime.fromisoformat(moment).replace(tzinfo=UTC)]


WORDS = ["true", "TRUE", "t", "T", "yes", "Y", "1", "false", "False", "f", "no", "N", "0"]


def test_words_for_true_and_false():
    """In any case of ASCII letters; another text is a misfit, as is a number that is none of the two."""
    assert [types.exact(word, "boolean") for word in WORDS] == [True] * 7 + [False] * 6
    for other in ("", "on", "tr", "true ", "t\0", "ｔ", "\u212a", 2, 0.5, b"t"):
        with pytest.raises(ValueError, match=r"no word|neither|not whole|not a number"):
            types.exact(other, "boolean")


@pytest.mark.parametrize("text", ["12.34", "-0.5", "+7", "007", "12.3400", "0", "99999999999999.99", "-0.00"])
def test_decimals_written_as_text_are_exact(text):
    """Text keeps the digits that a real would lose; zeros at either end say nothing."""
    assert both([text, None], "decimal(16,2)") == [Decimal(text), None]


@pytest.mark.parametrize(
    "text", ["1e2", ".5", "5.", "", "NaN", " 1", "1.255", "1_0", "1,5", "999999999.99", "١"]
)
def test_texts_that_are_no_decimal_of_the_type(text):
    """An exponent, a comma, a digit too many."""
    assert both(["1.5", text], "decimal(10,2)") == "misfit"


def test_decimals_of_38_digits():
    """The lake's widest: Python's own arithmetic would round at 28."""
    whole, cents = "9" * 38, "9" * 36 + ".99"
    assert both([whole], "decimal(38,0)") == [Decimal(whole)]
    assert both([cents, "-" + cents], "decimal(38,2)") == [Decimal(cents), Decimal("-" + cents)]
    assert both(["1" * 30 + ".125"], "decimal(38,2)") == "misfit"
    assert both(["1" + "0" * 38], "decimal(38,0)") == "misfit"


@pytest.mark.parametrize(
    ("text", "fine"),
    [("2024-01-01T10:00:00.1234567", True), ("2024-01-01T10:00:00.1234560Z", False), ("2024-01-01", False)],
)
def test_times_finer_than_a_microsecond(text, fine):
    """A digit that is not zero, after the sixth."""
    assert types.is_fine(text) is fine


def test_dates_hold_no_time_of_day():
    """Midnight is a date; ten o'clock would lose its hours."""
    assert both(["2024-02-29", None], "date", "date_text") == [date(2024, 2, 29), None]
    assert both(["2024-02-29T00:00:00"], "date", "iso") == [date(2024, 2, 29)]
    assert both(["2024-02-29T10:00:00"], "date", "iso") == "misfit"
    assert both([86400], "date", "epoch_s") == [date(1970, 1, 2)]


def test_broken_text_is_refused_by_both_paths():
    """UTF-8 is checked in full."""
    broken = pa.Array.from_buffers(pa.string(), 1, pa.array([b"a\xff"], pa.binary()).buffers())
    with pytest.raises(Unfit):
        converted(broken, Field(name="c", type="string", source="c"))
    with pytest.raises(ValueError, match="surrogates"):
        types.exact("a\udcff", "string")


# --- constants and guards -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("5", "bigint", 5),
        ("x", "string", "x"),
        ("1.50", "decimal(5,2)", Decimal("1.50")),
        ("TRUE", "boolean", True),
        ("2024-01-02", "date", date(2024, 1, 2)),
        ("2024-01-02T03:04:05", "timestamp", datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("0.5", "double", 0.5),
        (None, "bigint", None),
    ],
)
def test_constants_are_written_as_their_type_spells_them(text, kind, value):
    """A manifest's `value`."""
    assert types.constant(text, kind) == value


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("x", "bigint"),
        ("1.555", "decimal(5,2)"),
        ("yes", "boolean"),
        ("300", "tinyint"),
        ("2024-02-30", "date"),
    ],
)
def test_a_constant_that_does_not_fit_says_so(text, kind):
    """The user's to fix."""
    with pytest.raises(UserError, match=f"is no {kind}".replace("(", r"\(").replace(")", r"\)")):
        types.constant(text, kind)


@pytest.mark.parametrize(
    ("stored", "affinity", "strict", "guard"),
    [
        ("integer", "TEXT", False, "none"),
        ("real", "REAL", False, "none"),
        ("real", "NUMERIC", False, "inexact"),
        ("text", "TEXT", False, "not_text_affine"),
        ("text", "NUMERIC", False, "not_text"),
        ("blob", "BLOB", False, "not_blob"),
        ("text", "TEXT", True, "none"),
        ("real", "REAL", True, "none"),
        ("text", "BLOB", True, "not_text"),
    ],
)
def test_guards_are_only_where_the_fast_path_would_change_a_value(stored, affinity, strict, guard):
    """The table of FACTS, guards."""
    assert types.guard(stored, affinity, strict=strict) == guard
