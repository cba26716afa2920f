"""What the lake must hold: the source read by stdlib sqlite3 in another process, in the lake's types.

By what DESIGN 6 says of each type, in code that shares nothing with silt.
"""

from __future__ import annotations

import importlib.util
import json
import re
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from kit import Sqlite, lake

_asker: list[Sqlite] = []


def _asked(database: Path, *statements: Any) -> list[tuple[Any, ...]]:
    """By one process that reads the sources of all tests; `close` ends it."""
    if not _asker:
        _asker.append(Sqlite())
    return _asker[0](database, *statements)


def close() -> None:
    """End the process that reads the sources, if there is one."""
    while _asker:
        _asker.pop().close()


def types_of(path: Path) -> dict[str, str]:
    """The lake's columns with their types, by its log alone."""
    found: dict[str, str] = {}
    for entry in sorted((path / "_delta_log").glob("*.json")):
        for action in map(json.loads, entry.read_text().strip("\n").split("\n")):
            if "metaData" in action:
                fields = json.loads(action["metaData"]["schemaString"])["fields"]
                found = {field["name"]: field["type"] for field in fields}
    return found


def instant(value: Any) -> datetime:
    """Text as ISO says, UTC where it names no offset; a number as what makes it a moment of our days."""
    if isinstance(value, int | float):
        unit = next(unit for unit in (1, 1_000, 1_000_000, 1_000_000_000) if value < unit * 1e10)
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=round(value * (1_000_000 / unit)))
    moment = datetime.fromisoformat(value)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def rendered(value: Any) -> str:
    """Text without loss: numbers as SQLite writes them, blobs as x'hex' with SQLite's own hex()."""
    match value:
        case bytes():
            return f"x'{value.hex().upper()}'"
        case float():
            return repr(value)
        case _:
            return str(value)


def expected(value: Any, kind: str) -> Any:
    """A raw value of the source as the lake's type has it."""
    if value is None:
        return None
    if kind.startswith("decimal"):
        scale = int(kind.rstrip(")").rpartition(",")[2])
        return Decimal(repr(value)).quantize(Decimal(1).scaleb(-scale))
    made = {
        "long": int,
        "double": float,
        "string": rendered,
        "boolean": bool,
        "binary": bytes,
        "date": date.fromisoformat,
        "timestamp": instant,
    }
    return made[kind](value)


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def cells(rows: Iterable[Iterable[Any]]) -> Counter[str]:
    return Counter(repr([v.astimezone(UTC) if isinstance(v, datetime) else v for v in row]) for row in rows)


def equal(database: Path, table: str, into: Path, names: dict[str, str] | None = None) -> int:
    """The lake's table is the source's, cell by cell and as often; the number of rows.

    `names` maps a source's column to the lake's, where that is another.
    """
    kinds = types_of(into)
    columns = {
        column: (names or {}).get(column, column)
        for (column,) in _asked(
            database, ("SELECT name FROM pragma_table_xinfo(?) WHERE hidden <> 1", (table,))
        )
    }
    assert list(kinds) == list(columns.values())
    wanted = _asked(database, f"SELECT {', '.join(map(quoted, columns))} FROM {quoted(table)}")
    there = [[row[name] for name in columns.values()] for row in lake(into)]
    made = [[expected(v, kinds[n]) for v, n in zip(row, columns.values(), strict=True)] for row in wanted]
    assert cells(there) == cells(made)
    return len(wanted)


def proj() -> Path:
    """PROJ's database as pyproj ships it, found without importing it (it brings a SQLite of its own)."""
    spec = importlib.util.find_spec("pyproj")
    assert spec is not None, "pyproj is in the dev group: make dev"
    (folder,) = spec.submodule_search_locations or [""]
    return Path(folder) / "proj_dir" / "share" / "proj" / "proj.db"


# --- values that may not fit ----------------------------------------------------------------------

RESCUED = "_rescued_data"
_ISO = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[T ]([0-9]{2}:[0-9]{2}(?::[0-9]{2})?)(?:[.]([0-9]{1,6})0*)?(Z|[+-][0-9]{2}(?::?[0-9]{2})?)?)?"
)
_REAL = re.compile(r"-?[0-9]+[.][0-9]+(e[+-]?[0-9]+)?")


def _number(value: Any) -> float:
    if not isinstance(value, int | float):
        raise ValueError("no number")  # noqa: TRY004
    return value


def _whole(bits: int) -> Callable[[Any], int]:
    def made(value: Any) -> int:
        if not float(_number(value)).is_integer() and not isinstance(value, int):
            raise ValueError("not whole")
        if not -(2 ** (bits - 1)) <= int(value) < 2 ** (bits - 1):
            raise ValueError("too large")
        return int(value)

    return made


def _double(value: Any) -> float:
    if isinstance(value, int) and Fraction(value) != Fraction(float(value)):
        raise ValueError("not exact")
    return float(_number(value))


def _single(value: Any) -> float:
    made = _double(value)
    try:
        same = struct.unpack("f", struct.pack("f", made))[0] == made
    except OverflowError:
        same = False
    if not same:
        raise ValueError("not exact")
    return made


WORDS = {"t": True, "true": True, "y": True, "yes": True, "1": True}
WORDS |= {"f": False, "false": False, "n": False, "no": False, "0": False}


def _boolean(value: Any) -> bool:
    if isinstance(value, str) and value.lower() in WORDS:
        return WORDS[value.lower()]
    if _number(value) not in (0, 1):
        raise ValueError("neither 0 nor 1")
    return bool(value)


def _decimal(value: Any, precision: int, scale: int) -> Decimal:
    spelt = isinstance(value, str) and re.fullmatch(r"[+-]?[0-9]+(\.[0-9]+)?", value)
    number = Decimal(value if spelt else repr(_number(value)))
    if not number.is_finite():
        raise ValueError("not finite")
    digits = Fraction(number) * 10**scale
    if digits.denominator != 1 or abs(digits) >= 10**precision:
        raise ValueError("not exact")
    return Decimal(int(digits)).scaleb(-scale)


def _bytes(value: Any) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError("no blob")  # noqa: TRY004
    return value


def _text(value: Any) -> str:
    """As a column of mixed classes has it; a real by its value, however it is spelled."""
    if isinstance(value, float):
        return f"real {value!r}"
    text = rendered(value)
    text.encode()  # UnicodeEncodeError is a ValueError
    return text


# --- moments --------------------------------------------------------------------------------------


def _moment(microseconds: int) -> datetime:
    try:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)
    except OverflowError:
        raise ValueError("out of range") from None


def _iso(value: Any, zone: str = "UTC") -> datetime:
    match = _ISO.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("no ISO time")
    day, clock, fraction, offset = match.groups()
    plain = datetime.fromisoformat(f"{day}T{clock or '00:00'}") + timedelta(
        microseconds=int(f"{fraction or '':0<6}")
    )
    if offset:
        digits = offset.replace(":", "")
        shift = (
            timedelta(0) if offset == "Z" else timedelta(hours=int(digits[1:3]), minutes=int(digits[3:] or 0))
        )
        try:
            return (plain + shift if digits[0] == "-" else plain - shift).replace(tzinfo=UTC)
        except OverflowError:
            raise ValueError("out of range") from None
    there = plain.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
    if there.astimezone(ZoneInfo(zone)).replace(tzinfo=None) != plain:
        raise ValueError("the clocks passed over it")
    return there


def _since(epoch: int, unit: int) -> Callable[[Any], datetime]:
    """Units since `epoch` (seconds from 1970); what is finer than a microsecond is cut from integers."""

    def made(value: Any) -> datetime:
        if _number(value) in (float("inf"), float("-inf")):
            raise ValueError("no moment")
        exact = Fraction(value) * 1_000_000 / unit
        whole = exact.numerator // exact.denominator if isinstance(value, int) else round(exact)
        return _moment(whole + epoch * 1_000_000)

    return made


def _julian(value: Any) -> datetime:
    if _number(value) in (float("inf"), float("-inf")):
        raise ValueError("no moment")
    return _moment(round((Fraction(value) - Fraction("2440587.5")) * 86_400_000) * 1000)


MOMENTS: dict[str, Callable[[Any], datetime]] = {
    "iso": _iso,
    "berlin": lambda value: _iso(value, "Europe/Berlin"),
    "epoch_s": _since(0, 1),
    "epoch_ms": _since(0, 1_000),
    "epoch_us": _since(0, 1_000_000),
    "epoch_ns": _since(0, 1_000_000_000),
    "apple": _since(978_307_200, 1),
    "apple_ns": _since(978_307_200, 1_000_000_000),
    "filetime": _since(-11_644_473_600, 10_000_000),
    "webkit": _since(-11_644_473_600, 1_000_000),
    "julian": _julian,
}
"""What a value means as an instant, by the name of its format."""


def _day(value: Any, how: str) -> date:
    moment = MOMENTS[how](value)
    if moment != datetime(moment.year, moment.month, moment.day, tzinfo=UTC):
        raise ValueError("it has a time of day")
    return moment.date()


def fitting(value: Any, kind: str, how: str = "iso") -> Any:
    """A raw value as the lake's type holds it, exactly; `how`: a moment's format.

    Raises `ValueError` for a misfit.
    """
    if value is None:
        return None
    if kind.startswith("decimal"):
        precision, scale = map(int, kind[8:-1].split(","))
        return _decimal(value, precision, scale)
    made: dict[str, Callable[[Any], Any]] = {
        "long": _whole(64),
        "integer": _whole(32),
        "short": _whole(16),
        "byte": _whole(8),
        "double": _double,
        "float": _single,
        "boolean": _boolean,
        "binary": _bytes,
        "string": _text,
        "date": lambda v: _day(v, how),
        "timestamp": MOMENTS[how],
    }
    return made[kind](value)


# --- a table, with what was rescued ---------------------------------------------------------------


def rescued(entry: Mapping[str, Any]) -> Any:
    """A value that `_rescued_data` keeps; bytes that are no UTF-8 as surrogates."""
    text: str = entry["value"]
    match entry["class"]:
        case "integer":
            return int(text)
        case "real":
            return float(text)
        case "blob":
            return bytes.fromhex(text[2:-1])
        case _ if entry.get("utf8") is False:
            return bytes.fromhex(text[2:-1]).decode("utf-8", "surrogateescape")
        case _:
            return text


@dataclass(frozen=True)
class Shown:
    """A table of the source and the lake's table of it.

    `names`: a source's column -> the lake's, where that is another; `how`: formats of moments, by the
    source's column.
    """

    database: Path
    table: str
    into: Path
    names: Mapping[str, str] = field(default_factory=dict)
    how: Mapping[str, str] = field(default_factory=dict)

    def columns(self) -> list[str]:
        """Those of the source, in their order."""
        ask = "SELECT name FROM pragma_table_xinfo(?) WHERE hidden <> 1"
        return [name for (name,) in _asked(self.database, (ask, (self.table,)))]

    def differences(self) -> list[str]:
        """What is not as in the source, a sentence each; none: every value of the source can be had back.

        A value that the column's type holds is in the column, any other in `_rescued_data`, with NULL there.
        """
        columns, kinds = self.columns(), types_of(self.into)
        named = [self.names.get(name, name) for name in columns]
        missing = [name for name in named if name not in kinds]
        more = [n for n in kinds if n not in named and n != RESCUED and not n.startswith("_silt_")]
        if missing or more:
            return [f"columns: lacks {missing}, has {more} too much"]
        how = [(kinds[there], self.how.get(name, "iso")) for name, there in zip(columns, named, strict=True)]
        there, said = [], []
        for row in lake(self.into):
            told = json.loads(row[RESCUED])["columns"] if row.get(RESCUED) else {}
            said += self._wrongly_told(told, row, dict(zip(named, how, strict=True)))
            there.append([as_kept(row[name], told.get(name), *h) for name, h in zip(named, how, strict=True)])
        return [*said[:3], *_unequal(self._wanted(columns, how), there)]

    def _wrongly_told(
        self, told: Mapping[str, Any], row: Mapping[str, Any], how: Mapping[str, tuple[str, str]]
    ) -> list[str]:
        found = [
            f"{name}: {row[name]!r} beside {entry}" for name, entry in told.items() if row[name] is not None
        ]
        for name, entry in told.items():
            value, (kind, meant) = rescued(entry), how[name]
            if kind != "string" and not _is_misfit(value, kind, meant):
                found.append(f"{name}: {value!r} is a {kind}, and was rescued")
        return found

    def _wanted(self, columns: Sequence[str], how: Sequence[tuple[str, str]]) -> list[list[str]]:
        names = ", ".join(map(quoted, columns))
        rows = _asked(self.database, f"SELECT {names} FROM {quoted(self.table)}")
        return [[as_stored(value, *h) for value, h in zip(row, how, strict=True)] for row in rows]


def _is_misfit(value: Any, kind: str, how: str) -> bool:
    try:
        fitting(value, kind, how)
    except ValueError:
        return True
    return False


def as_stored(value: Any, kind: str, how: str = "iso") -> str:
    """A value of the source: as its type has it, or as the misfit that it is."""
    if _is_misfit(value, kind, how):
        return f"misfit {type(value).__name__} {value!r}"
    return _plainly(fitting(value, kind, how))


def as_kept(value: Any, entry: Mapping[str, Any] | None, kind: str, how: str = "iso") -> str:
    """A value of the lake, or what was rescued of it, spelled as `as_stored` does."""
    return _plainly(value) if entry is None else as_stored(rescued(entry), kind, how)


def _plainly(value: Any) -> str:
    match value:
        case datetime():
            return repr(value.astimezone(UTC))
        case Decimal():
            return f"decimal {value.normalize() + 0}"
        case str() if _REAL.fullmatch(value):
            return f"'real {float(value)!r}'"
        case _:
            return repr(value)


def _unequal(wanted: list[list[str]], there: list[list[str]]) -> list[str]:
    """Rows that only one of both sides has, in few words."""
    source, found = Counter(map(tuple, wanted)), Counter(map(tuple, there))
    if source == found:
        return []
    few = [
        f"{side} {tuple(cell[:60] for cell in row)[:6]}"
        for side, rows in (("misses", source - found), ("has", found - source))
        for row in list(rows.elements())[:2]
    ]
    return [f"{len(wanted)} rows in the source, {len(there)} in the lake", *few]
