"""Times in SQL: every value is the microsecond that its timestamp in the lake is, or a misfit in both."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path

import pytest
import sqlalchemy as sa
from kit import sql

from silt import types
from silt.source.instants import LAST, microseconds, reach
from silt.source.open import connect

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TABLE = sa.table("t", sa.column("v"))

DAYS = [
    "2026-01-02",
    "1969-12-31",
    "0001-01-01",
    "9999-12-31",
    "2024-02-29",
    "2023-02-29",
    "2026-02-30",
    "2026-04-31",
    "0000-01-01",
    "2026-13-01",
    "2026-00-10",
    "2026-1-2",
    "26-01-02",
    "2026-03-29",
    "2026-10-25",
]
CLOCKS = [
    "",
    "T00:00",
    " 23:59",
    "T12:34:56",
    " 02:30:00",
    "T24:00:00",
    "T23:60",
    "T23:59:60",
    "T1:02",
    "t12:00",
    "T12:34:56.",
    "T12:34:56.1",
    "T12:34:56.123456",
    "T12:34:56.1234560",
    "T12:34:56.1234567",
    "T12:30.5",
    "T12:34:56.000001",
    "T12:34:5",
    "  12:34",
    "T12:34:56x",
    "T12:34:56.12a",
]
OFFSETS = [
    "",
    "Z",
    "+02:00",
    "-0530",
    "+14",
    "-23:59",
    "+24:00",
    "+02:60",
    "+2:00",
    "z",
    " ",
    "+02:00:00",
    "UTC",
]
ODD = ("", "x", "2026-01-02\0", "2026-01-02T00:00:00\0Z", " 2026-01-02", "２０２６-01-02", "now", "12:00")
TEXTS = [*(day + clock + offset for day, clock, offset in product(DAYS, CLOCKS, OFFSETS)), *ODD]
OTHERS = [None, b"2026-01-02", 0, 1.5]


def random_numbers(form: str) -> list[int | float]:
    """Around every edge, and anywhere between the years 1 and 9999."""
    rng = random.Random(form)
    since, unit = types.epoch(form)
    edges = [
        0,
        1,
        -1,
        999,
        1000,
        1001,
        -999,
        -1000,
        -1001,
        2**53 + 1,
        -(2**53) - 1,
        2**63 - 1,
        -(2**63),
        253402300799,
    ]
    units = [
        (rng.randrange(-62_135_596_800, LAST // 10**6) - since) * unit + rng.randrange(unit)
        for _ in range(200)
    ]
    wholes = [u for u in (*edges, *units) if -(2**63) <= u < 2**63]
    reals = [rng.uniform(-2, 2) * 1.7e9 * unit for _ in range(200)]
    halves = [0.5, 1.5, -0.5, -1.5, 2.5e-6, 3.5e-6, -2.5e-6, 1e300, -1e300, 1_700_000_000.9999995]
    return [*wholes, *reals, *halves]


def expected(value: object, form: str, timezone: str | None) -> int | None:
    """What the careful path makes of it, in microseconds."""
    try:
        form = "iso" if form == "text" else form
        made = types.exact(value, "timestamp", form, timezone)  # type: ignore[arg-type]
    except (ValueError, OverflowError):
        return None
    return None if made is None else (made - EPOCH) // timedelta(microseconds=1)  # type: ignore[operator]


def seen(folder: Path, values: list[object], form: str, timezone: str | None) -> list[int | None]:
    sql(
        folder / "a.db",
        "CREATE TABLE t(i INTEGER PRIMARY KEY, v)",
        ("INSERT INTO t(v) VALUES (?)", [(v,) for v in values]),
    )
    with connect(str(folder / "a.db"), busy_timeout=1.0) as connection:
        made = microseconds(TABLE.c.v, form, timezone)
        return [
            row[0]
            for row in connection.rows(sa.select(made.label("at")).select_from(TABLE).order_by(sa.text("i")))
        ]


def _compared(values: list[object], got: list[int | None], form: str, timezone: str | None) -> None:
    wrong = [
        (value, found, wanted)
        for value, found in zip(values, got, strict=True)
        if found != (wanted := expected(value, form, timezone)) and not _beyond(value, timezone)
    ]
    assert wrong == []


def _beyond(value: object, timezone: str | None) -> bool:
    """A zone's rules are known from 1900 to 2099; the first and last day may leave years 1 to 9999."""
    years = ("0001", "9999") if timezone is None else ("0", "1969", "9999")
    return isinstance(value, str) and value.startswith(years) and (timezone is not None or value[10:] != "")


@pytest.mark.parametrize(
    "timezone", [None, "Europe/Berlin", "America/St_Johns", "Pacific/Apia", "Africa/Cairo"]
)
def test_texts(tmp_path: Path, timezone: str | None) -> None:
    """Every form of ISO text, in every zone; hours that never come, 30 February and 24:00 are no time."""
    values: list[object] = [*TEXTS, *OTHERS]
    _compared(values, seen(tmp_path, values, "text", timezone), "text", timezone)


@pytest.mark.parametrize(
    "timezone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Monrovia"]
)
def test_clocks_that_change(tmp_path: Path, timezone: str) -> None:
    """Around every change of a zone's clocks: an hour that comes twice is the first one."""
    rng = random.Random(timezone)
    starts = [
        datetime(rng.randrange(1970, 2090), month, day, hour)  # noqa: DTZ001  (a clock on a wall)
        for month in (3, 4, 10, 11)
        for day in range(1, 31)
        for hour in (0, 1, 2, 3)
    ]
    values: list[object] = [
        moment.isoformat(rng.choice("T "), rng.choice(("minutes", "seconds"))) for moment in starts
    ]
    values += [f"{year}-{day}" for year in range(1970, 2090) for day in ("03-25", "10-30")]
    _compared(values, seen(tmp_path, values, "text", timezone), "text", timezone)


FORMS = ("epoch_s", "epoch_ms", "epoch_us", "epoch_ns", "apple", "apple_ns", "filetime", "webkit")


@pytest.mark.parametrize("form", FORMS)
def test_numbers(tmp_path: Path, form: str) -> None:
    """Integers floor, also before 1970; reals round as Arrow does; beyond year 9999 is no time."""
    values: list[object] = [*random_numbers(form), *OTHERS[:2], "2026-01-02"]
    _compared(values, seen(tmp_path, values, form, None), form, None)


def test_julian_days(tmp_path: Path) -> None:
    """To the millisecond, which is what a double holds."""
    rng = random.Random(1)
    values: list[object] = [
        2440587.5,
        2440587,
        0,
        1721425.5,
        *(rng.uniform(1_721_426, 5_373_484) for _ in range(500)),
    ]
    got = seen(tmp_path, values, "julian", None)
    for value, found in zip(values, got, strict=True):
        wanted = expected(value, "julian", None)
        assert found == wanted or (found and wanted and abs(found - wanted) <= 1000), value


SPELLED = "iso[T]|iso[ ]@Europe/Berlin||date_text|iso_offset[T+02:00]|iso_offset[ Z.3]|iso_offset[T-0530]"
RANGES = [("text", *each.partition("@")[::2]) for each in SPELLED.split("|")]
RANGES += [(form, "", "") for form in ("epoch_s", "epoch_ms", "epoch_ns", "julian", "apple", "filetime")]


@pytest.mark.parametrize(("form", "spelled", "zone"), RANGES)
def test_the_range_of_an_index(tmp_path: Path, form: str, spelled: str, zone: str) -> None:
    """What lies in [start, end) by its instant lies in it by its value; and little more does."""
    rng, timezone = random.Random(spelled + form), zone or None
    moments = [
        datetime(2026, 10, 24, tzinfo=UTC) + timedelta(milliseconds=rng.randrange(3 * 86_400_000))
        for _ in range(400)
    ]
    values: list[object] = [_written(m, form, spelled, timezone, rng) for m in moments]
    got = seen(tmp_path, values, form, timezone)
    start = (datetime(2026, 10, 24, 22, 30, tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)
    end = start + 5 * 3_600_000_000
    within = [at for at in got if at is not None and start <= at < end]
    with connect(str(tmp_path / "a.db"), busy_timeout=1.0) as connection:
        near = reach(TABLE.c.v, form, spelled, timezone, start, end)
        at = microseconds(TABLE.c.v, form, timezone)
        rows = connection.rows(sa.select(at.label("at")).select_from(TABLE).where(*near))
    assert len([row for row in rows if start <= row[0] < end]) == len(within)
    if spelled.startswith("iso") and timezone is None:
        assert all(start - 120_000_000 <= row[0] < end + 120_000_000 for row in rows)


def _written(moment: datetime, form: str, spelled: str, timezone: str | None, rng: random.Random) -> object:
    if form != "text":
        value = types.spell(moment, form)
        return value if isinstance(value, int) or form == "julian" else float(value)  # type: ignore[arg-type]
    forms = ("iso[T]", "iso[ ]", "iso_offset[T+02:00]", "iso_offset[TZ.3]", "iso_offset[ -0530]", "date_text")
    return types.spell(moment, spelled or rng.choice(forms), timezone)
