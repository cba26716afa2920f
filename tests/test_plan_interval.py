"""`--from` and `--to` as values of the column: a row is in the interval by its moment, not its spelling."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from silt.errors import UserError
from silt.plan.interval import Column, Interval, edges

START = datetime(2026, 1, 30, 22, tzinfo=UTC)
MOMENTS = [
    START + timedelta(hours=h, microseconds=u)
    for h in range(52)
    for u in (0, 1, 500_000, 999_999, 3_599_999_999)
]


def plain(moment: datetime) -> datetime:
    return moment.replace(tzinfo=None)


def spelt(moment: datetime) -> str:
    """With as many digits as there are, as Python and many others write."""
    return plain(moment).isoformat()


TWO = timezone(timedelta(hours=2))
FORMS: dict[str, Callable[[datetime], Any]] = {
    "iso[T]": spelt,
    "iso[ ]": lambda m: spelt(m).replace("T", " "),
    "iso_offset[T+02:00]": lambda m: m.astimezone(TWO).isoformat(),
    "iso_offset[ +02:00]": lambda m: m.astimezone(TWO).isoformat(" ", "microseconds"),
    "iso_offset[TZ.6]": lambda m: plain(m).isoformat("T", "microseconds") + "Z",
    "epoch_s": lambda m: (m - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(seconds=1),
    "epoch_us": lambda m: (m - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1),
    "epoch_ns": lambda m: (m - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000 + 999,
}


def within(form: str, start: str | None, end: str | None, zone: str | None = None) -> list[datetime]:
    """The moments that the edges take, each as the column holds it."""
    column = Column(name="at", example=FORMS[form](START), form=form, timezone=zone)
    low, high = edges(Interval(start=start, end=end), column)
    held = [(moment, FORMS[form](moment)) for moment in MOMENTS]
    return [m for m, v in held if (low is None or v >= low) and (high is None or v <= high)]


@pytest.mark.parametrize("form", FORMS)
def test_a_day_is_all_of_it(form: str) -> None:
    """From its first microsecond to its last, in UTC, in every format."""
    first, after = datetime(2026, 1, 31, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)
    assert within(form, "2026-01-31", "2026-01-31") == [m for m in MOMENTS if first <= m < after]
    assert within(form, "2026-01-31", None) == [m for m in MOMENTS if m >= first]
    assert within(form, None, "2026-01-31") == [m for m in MOMENTS if m < after]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("zone", ["", "+01:00"])
def test_both_ends_are_in_it(form: str, zone: str) -> None:
    """A moment with a time of day is itself, whatever offset it is given in."""
    start, end = f"2026-01-31T03:00:00{zone}", f"2026-01-31 05:00{zone}"
    hours = timedelta(hours=1 if zone else 0)
    first, last = (datetime(2026, 1, 31, h, tzinfo=UTC) - hours for h in (3, 5))
    assert within(form, start, end) == [m for m in MOMENTS if first <= m <= last]


def test_days_are_those_of_the_columns_zone() -> None:
    """Texts without an offset are in the zone of the manifest, and so are the ends."""
    column = Column(name="at", example="2026-07-01T00:00:00", form="iso[T]", timezone="Europe/Berlin")
    assert edges(Interval(start="2026-07-01", end="2026-07-01"), column) == (
        "2026-07-01T00:00",
        "2026-07-01T23:59:59.999999",
    )
    assert edges(Interval(start="2026-07-01T10:00Z", end=None), column) == ("2026-07-01T12:00", None)


def test_dates_are_dates() -> None:
    """A column of dates."""
    column = Column(name="d", example="2026-01-01", form="date_text")
    assert edges(Interval(start="2026-01-31", end="2026-02-01"), column) == ("2026-01-31", "2026-02-01")


def test_the_last_day_of_the_calendar() -> None:
    """There is no day after it."""
    of = Interval(start=None, end="9999-12-31")
    assert edges(of, Column(name="c", example=1, form="epoch_s")) == (None, math.inf)
    texts = Column(name="c", example="2026-01-01T00:00", form="iso[T]")
    assert edges(of, texts) == (None, "9999-12-31T23:59:59.999999")


@pytest.mark.parametrize(
    ("example", "text", "value"),
    [
        (1, "17", 17),
        (1, "-3", -3),
        (1, "1.5", 1.5),
        (1.5, "1e3", 1000.0),
        (1, str(2**63), float(2**63)),
        ("a", "order 7", "order 7"),
        ("a", "", ""),
        (b"a", "x'00FF'", b"\x00\xff"),
    ],
)
def test_other_values_are_as_written(example: Any, text: str, value: Any) -> None:
    """By the class of what the column holds."""
    (low, _) = edges(Interval(start=text, end=None), Column(name="c", example=example))
    assert (type(low), low) == (type(value), value)


@pytest.mark.parametrize(
    ("column", "text", "what"),
    [
        (Column(name="id", example=1), "x", "--from 'x' is no value of id, which holds numbers"),
        (Column(name="id", example=1), "2026-01-31", "--from '2026-01-31' is no value of id"),
        (Column(name="id", example=1), "nan", "--from 'nan' is no value of id"),
        (Column(name="k", example=b""), "00ff", "--from '00ff' is no value of k, which holds blobs"),
        (
            Column(name="at", example="2026-01-01T00:00:00", form="iso[T]"),
            "yesterday",
            "--from 'yesterday' is no value of at, which holds texts (iso)",
        ),
        (
            Column(name="at", example=1, form="epoch_ms"),
            "2026-02-30",
            "--from '2026-02-30' is no value of at, which holds numbers (epoch_ms)",
        ),
    ],
)
def test_what_is_no_value_of_the_column(column: Column, text: str, what: str) -> None:
    """It says what the column holds, and how to write it."""
    with pytest.raises(UserError) as caught:
        edges(Interval(start=text, end=None), column)
    assert caught.value.what.startswith(what)
    assert caught.value.hint.startswith("write ")


@pytest.mark.parametrize(
    ("start", "end", "column"),
    [
        ("9", "3", Column(name="id", example=1)),
        ("b", "a", Column(name="name", example="x")),
        ("b", "B", Column(name="name", example="x")),
        ("b", "A", Column(name="name", example="x", collation="nocase")),
        ("b ", "a", Column(name="name", example="x", collation="RTRIM")),
        ("x'ff'", "x'00'", Column(name="tag", example=b"x")),
        ("2026-01-02", "2026-01-01", Column(name="at", example="2026-01-01T00:00:00", form="iso")),
        ("a", "ā", Column(name="name", example="x", encoding="UTF-16le")),  # 61 00, 01 01
    ],
)
def test_ends_the_wrong_way_round(start: str, end: str, column: Column) -> None:
    """Nothing lies between them."""
    with pytest.raises(UserError, match=f"--from {start} lies past --to {end}"):
        edges(Interval(start=start, end=end), column)


@pytest.mark.parametrize(
    ("start", "end", "column"),
    [
        ("B", "b", Column(name="name", example="x")),
        ("ā", "z", Column(name="name", example="x", encoding="UTF-16le")),
        ("z", "ā", Column(name="name", example="x", encoding="UTF-16be")),
        ("b", "B", Column(name="name", example="x", collation="NoCase")),
        ("a  ", "a", Column(name="name", example="x", collation="RTRIM")),
        ("2026-01-01", "2026-01-01", Column(name="at", example="2026-01-01T00:00:00", form="iso")),
        (
            "2026-01-01T12:00:00",
            "2026-01-01T12:00:00",
            Column(name="at", example="2026-01-01T00", form="iso"),
        ),
    ],
)
def test_ends_in_the_order_of_the_column(start: str, end: str, column: Column) -> None:
    """An interval has its ends in it; which one is the smaller the column's own order says."""
    edges(Interval(start=start, end=end), column)


@pytest.mark.parametrize(
    ("form", "example", "bounds", "edges_"),
    [
        ("epoch_ns", 1769860800000000000, ("0001-01-01", "2999-12-31"), (-math.inf, math.inf)),
        ("apple_ns", 791553600000000000, ("1600-01-01", "2400-01-01"), (-math.inf, math.inf)),
        ("epoch_ns", 1, (None, "9999-12-31T23:59:59.999999"), (None, math.inf)),
        (
            "epoch_s",
            1769860800.5,
            ("2026-01-31T12:00:00.25", "2026-01-31T12:00:00.75"),
            (1769860800.25, 1769860800.75),
        ),
        ("epoch_ms", 1.5, ("2026-01-31T12:00:00.0005", None), (1769860800000.5, None)),
        ("epoch_s", 1769860800, ("2026-01-31T12:00:00", "2026-01-31T12:00:00"), (1769860800, 1769860800)),
    ],
)
def test_moments_are_counted_to_their_fraction_and_beyond_what_is_counted(form, example, bounds, edges_):
    """A row between two fractions of a second is in the interval, one before is not; far off is no bound."""
    assert (
        edges(Interval(start=bounds[0], end=bounds[1]), Column(name="at", example=example, form=form))
        == edges_
    )


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/New_York", None])
@pytest.mark.parametrize("form", ["iso", "date_text"])
def test_the_end_of_the_calendar(form: str, zone: str | None) -> None:
    """The last day that there is bounds texts in any zone: nothing lies beyond it."""
    column = Column(name="at", example="2026-01-01T00:00:00", form=form, timezone=zone)
    _, high = edges(Interval(start=None, end="9999-12-31"), column)
    assert str(high).replace("T", " ") >= "9999-12-31 23:59:59"[: len(str(high))]


def test_a_moment_that_its_zone_would_put_past_the_calendar() -> None:
    """It bounds texts as the calendar's last moment."""
    column = Column(name="at", example="2026-01-01T00:00:00", form="iso", timezone="Asia/Tokyo")
    _, high = edges(Interval(start=None, end="9999-12-31T23:59:59Z"), column)
    assert str(high).startswith("9999-12-31")
