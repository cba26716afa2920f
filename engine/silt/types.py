"""Types: what a declared SQLite type means in the lake, which values fit, how instants are written.

DESIGN 6: the declared type decides, by its family; a census only tells a format, or that the classes
are mixed.  Types of the lake are named as Databricks SQL names them.  pyarrow is imported only where
an Arrow type is made, so that planning needs none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from decimal import MAX_PREC, Context, Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final, Literal

from silt.errors import UserError
from silt.shapes import Column, ColumnCensus, TextShape, Value, ascii_lower

if TYPE_CHECKING:
    import pyarrow as pa

Affinity = Literal["INTEGER", "TEXT", "BLOB", "REAL", "NUMERIC"]

# --- types of the lake ----------------------------------------------------------------------------

_PLAIN: Final = (
    "bigint", "int", "smallint", "tinyint", "double", "float",
    "string", "boolean", "binary", "date", "timestamp",
)  # fmt: skip
INTEGER_BITS: Final = {"bigint": 64, "int": 32, "smallint": 16, "tinyint": 8}
_DECIMAL: Final = re.compile(r"decimal\s*(?:\(\s*(\d+)\s*(?:,\s*(\d+)\s*)?\))?")
_SYNONYMS: Final = {
    "long": "bigint",
    "integer": "int",
    "short": "smallint",
    "byte": "tinyint",
    "real": "float",
}
_MAX_PRECISION: Final = 38


@dataclass(frozen=True, slots=True, kw_only=True)
class LakeType:
    """A type of the lake; `precision` and `scale` are of decimals only."""

    kind: str
    precision: int = 0
    scale: int = 0

    def __str__(self) -> str:
        return f"decimal({self.precision},{self.scale})" if self.kind == "decimal" else self.kind


def parse(name: str) -> LakeType:
    """The type of a Databricks SQL name; case and spaces do not matter.

    Raises `UserError` for a name that is none.
    """
    text = name.strip().lower()
    text = _SYNONYMS.get(text, text)
    if text in _PLAIN:
        return LakeType(kind=text)
    match = _DECIMAL.fullmatch(text)
    if match is None:
        raise UserError(f"{name!r} is not a type", hint=f"one of {', '.join(_PLAIN)}, decimal(p,s)")
    precision, scale = int(match[1] or 10), int(match[2] or 0)
    if not (1 <= precision <= _MAX_PRECISION and scale <= precision):
        raise UserError(
            f"{name!r} is not a type", hint=f"decimal(p,s) has p from 1 to {_MAX_PRECISION} and s up to p"
        )
    return LakeType(kind="decimal", precision=precision, scale=scale)


def to_arrow(name: str) -> pa.DataType:
    """The Arrow type that is written for a type of the lake; a timestamp is microseconds in UTC."""
    import pyarrow as pa

    kind = parse(name)
    made: dict[str, Any] = {
        "bigint": pa.int64, "int": pa.int32, "smallint": pa.int16, "tinyint": pa.int8,
        "double": pa.float64, "float": pa.float32, "string": pa.string, "boolean": pa.bool_,
        "binary": pa.binary, "date": pa.date32,
    }  # fmt: skip
    if kind.kind == "decimal":
        return pa.decimal128(kind.precision, kind.scale)
    return pa.timestamp("us", "UTC") if kind.kind == "timestamp" else made[kind.kind]()


def from_arrow(arrow: pa.DataType) -> str:
    """The lake's name of an Arrow type.  Raises `UserError` for one that the lake has no name for."""
    import pyarrow as pa

    if pa.types.is_decimal(arrow):
        return f"decimal({arrow.precision},{arrow.scale})"
    if pa.types.is_timestamp(arrow) and arrow.tz is not None:
        return "timestamp"
    names = {to_arrow(name): name for name in _PLAIN}
    names |= {pa.large_string(): "string", pa.string_view(): "string"}
    names |= {pa.large_binary(): "binary", pa.binary_view(): "binary"}
    if arrow not in names:
        raise UserError(f"the type {arrow} has no name in the lake")
    return names[arrow]


# --- declared types -------------------------------------------------------------------------------

_TEXT_WORDS: Final = (
    "string",
    "uuid",
    "guid",
    "json",
    "xml",
    "uniqueidentifier",
    "enum",
    "url",
    "inet",
    "name",
)
_EITHER: Final = re.compile(r"(?<![a-z])or(?![a-z])|[/|]")
"""In a declared type such as proj.db's INTEGER_OR_TEXT: two families, so neither."""
_REAL_WORDS: Final = ("number", "numeric", "decimal", "dec", "money", "currency")
Family = Literal[
    "integer", "real", "text", "blob", "boolean", "decimal", "date", "timestamp", "none", "unknown"
]


def affinity(declared: str, *, strict: bool = False) -> Affinity:
    """SQLite's column affinity for a declared type (sqlite.org/datatype3, 3.1); ANY in STRICT has none."""
    upper = declared.upper()
    if strict and upper == "ANY":
        return "BLOB"
    if "INT" in upper:
        return "INTEGER"
    if any(word in upper for word in ("CHAR", "CLOB", "TEXT")):
        return "TEXT"
    if "BLOB" in upper or not upper.strip():
        return "BLOB"
    return "REAL" if any(word in upper for word in ("REAL", "FLOA", "DOUB")) else "NUMERIC"


def is_numeric(declared: str, *, strict: bool = False) -> bool:
    """Whether SQLite makes a number of every text that spells one."""
    return affinity(declared, strict=strict) in ("INTEGER", "REAL", "NUMERIC")


def family(declared: str) -> Family:
    """What a declared type means to its author (DESIGN 6), which is more than its affinity."""
    base = declared.partition("(")[0].strip().lower()
    first = base.split(" ")[0] if base else ""
    if not base or _EITHER.search(base):
        return "none"
    if first.startswith(("datetime", "timestamp")):
        return "timestamp"
    if first == "date":
        return "date"
    if first in ("bool", "boolean"):
        return "boolean"
    by_affinity: dict[str, Family] = {"INTEGER": "integer", "TEXT": "text", "REAL": "real", "BLOB": "blob"}
    if "point" not in base and (found := by_affinity.get(affinity(declared))) is not None:
        return found
    if first in _TEXT_WORDS:
        return "text"
    return "decimal" if first in _REAL_WORDS else "unknown"


def declared_decimal(declared: str) -> LakeType | None:
    """decimal(p,s) as declared; None without a precision, or beyond what the lake can hold."""
    match = re.search(r"\(\s*(\d+)\s*(?:,\s*(\d+)\s*)?\)", declared)
    if family(declared) != "decimal" or match is None:
        return None
    precision, scale = int(match[1]), int(match[2] or 0)
    if not (1 <= precision <= _MAX_PRECISION and scale <= precision):
        return None
    return LakeType(kind="decimal", precision=precision, scale=scale)


# --- choosing a type ------------------------------------------------------------------------------

RENDERED: Final = "rendered"
"""The format of a string column whose values are rendered without loss, blobs as x'hex'."""

WORDS: Final = "words"
"""The format of a boolean column that holds words (`TRUTHS`), beside 0 and 1 or not."""

TRUTHS: Final = {
    **dict.fromkeys(("1", "t", "true", "y", "yes"), True),
    **dict.fromkeys(("0", "f", "false", "n", "no"), False),
}
"""The texts that are booleans, in any case of letters: those that Databricks casts to one."""

MIXED_SHARE: Final = 0.01
"""Classes are mixed where at least this share of sampled values is not of the declared family."""

EXACT: Final = 2**53
"""Every integer up to here, either way, is exact as a double."""

COMPUTED: Final = "EXPRESSION"
"""What stands for the declared type of an expression: a word that says nothing of its values."""

Choice = tuple[str, str | None, str | None]
_FITTING: Final[dict[Family, tuple[str, ...]]] = {
    "integer": ("integers",),
    "real": ("reals", "integers"),
    "decimal": ("reals", "integers"),
    "text": ("texts",),
    "blob": ("blobs",),
}
_TYPE: Final[dict[Family, str]] = {
    "integer": "bigint", "real": "double", "text": "string", "blob": "binary",
}  # fmt: skip


def choose(column: Column, census: ColumnCensus | None) -> Choice:
    """(type, format, warning) of a column of the source: its declared family, tried by the census.

    Deterministic.  A format is None where the type needs none; a warning is None where all is plain.
    No declared type, or mixed classes, give a string rendered without loss (DESIGN 6).
    """
    seen = census or ColumnCensus(name=column.name)
    kind = family(column.declared)
    match kind:
        case "none":
            what = f"declared {column.declared}" if column.declared.strip() else "no declared type"
            return "string", RENDERED, f"{what}: text without loss ({described(seen)})"
        case "unknown":
            return _by_class(column, seen)
        case "timestamp" | "date":
            return _temporal(column, seen, kind)
        case "decimal":
            return _number(column, seen)
        case "boolean" if _count(seen) and "boolean" not in seen.fits:
            return _by_class(column, seen)
        case "boolean":
            return "boolean", WORDS if seen.texts else None, None
        case _:
            turned = kind == "text" and affinity(column.declared) != "TEXT"
            return _unless_mixed(column, seen, _TYPE[kind], RENDERED if turned else None)


def computed(census: ColumnCensus) -> Choice:
    """(type, format, warning) of an expression, which no declared type describes: by its sampled values."""
    if not _count(census):
        return "string", RENDERED, "no value seen: text, unless `type` says another"
    kind, form, warning = _by_class(Column(name=census.name, declared=COMPUTED), census)
    mixed = f"its values are {described(census)}: text without loss"
    return kind, form, mixed if warning else None


def described(census: ColumnCensus) -> str:
    """A census in words: `1,998 integer, 2 text, 10 NULL`; no value in it."""
    counts = (
        (census.integers, "integer"), (census.reals, "real"), (census.texts, "text"),
        (census.blobs, "blob"), (census.nulls, "NULL"),
    )  # fmt: skip
    return ", ".join(f"{count:,} {name}" for count, name in counts if count) or "no value seen"


def _count(census: ColumnCensus) -> int:
    return census.integers + census.reals + census.texts + census.blobs


def _unless_mixed(column: Column, seen: ColumnCensus, kind: str, form: str | None) -> Choice:
    """`kind`, unless at least 1 in 100 values is of another class."""
    fitting = sum(getattr(seen, attribute) for attribute in _FITTING[family(column.declared)])
    total = _count(seen)
    strange = total - fitting
    if strange and strange >= MIXED_SHARE * total:
        return _mixed(column, seen)
    warning = (
        f"{strange:,} of {total:,} values looked at are no {kind} ({described(seen)})" if strange else None
    )
    return kind, form, warning


def _mixed(column: Column, seen: ColumnCensus) -> Choice:
    return "string", RENDERED, f"declared {column.declared}, holds {described(seen)}: text without loss"


def _by_class(column: Column, seen: ColumnCensus) -> Choice:
    """A declared type that says nothing of its values: the one class that is there, else text."""
    match seen.classes:
        case () | ("text",):
            return "string", RENDERED, None  # SQLite may turn a text of digits into a number there
        case ("integer",):
            return "bigint", None, None
        case ("real",) | ("integer", "real") if "double" in seen.fits:
            return "double", None, None
        case ("blob",):
            return "binary", None, None
        case _:
            return _mixed(column, seen)


def _number(column: Column, seen: ColumnCensus) -> Choice:
    """Decimal where every value is one exactly, else double; integers past 2^53 are no doubles."""
    exact = declared_decimal(column.declared)
    if exact is not None and (not _count(seen) or str(exact) in seen.fits):
        return _unless_mixed(column, seen, str(exact), None)
    if seen.integers and "double" not in seen.fits:
        return _by_class(column, seen)
    kind, form, warning = _unless_mixed(column, seen, "double", None)
    inexact = f"declared {column.declared}, but not every value is exact so"
    return kind, form, warning or (inexact if exact is not None and kind == "double" else None)


def _temporal(column: Column, seen: ColumnCensus, kind: Literal["timestamp", "date"]) -> Choice:
    """A format that at least 99 in 100 of the values have, else what their class says."""
    total = _count(seen)
    if not total:
        return (
            kind,
            "date_text" if kind == "date" else None,
            "no value seen: ISO text is expected",
        )
    bases = _bases(seen.formats)
    strange = total - sum(bases.values()) + seen.fine
    if not bases or strange > MIXED_SHARE * total:
        return _untimely(column, seen)
    if set(bases) == {"date_text"} and kind == "date":
        return "date", "date_text", _strays(strange, total)
    texts = set(bases) <= TEXT_FORMATS
    if len(bases) > 1 and not texts:
        return _untimely(column, seen)
    form = max(bases, key=lambda name: (bases[name], name))
    cut = CUT if is_cut(form) else None
    return "timestamp", form, _strays(strange, total) or cut


def _bases(formats: Iterable[tuple[str, int]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for name, count in formats:
        if (base := base_format(name)) in TIME_FORMATS:
            found[base] = found.get(base, 0) + count
    return found


def _strays(strange: int, total: int) -> str | None:
    return f"{strange:,} of {total:,} values looked at are in no known format" if strange else None


def _untimely(column: Column, seen: ColumnCensus) -> Choice:
    kind, form, warning = _by_class(column, seen)
    return kind, form, warning or f"declared {column.declared}, but {_no_time(seen)}"


def _no_time(seen: ColumnCensus) -> str:
    if seen.fine:
        return f"{seen.fine:,} of {_count(seen):,} times looked at are finer than a microsecond"
    said = "" if seen.texts else ": `format` names one, apple and filetime too, which are never guessed"
    return f"its values are no known format of time{said}"


# --- formats of time ------------------------------------------------------------------------------

TEXT_FORMATS: Final = frozenset({"iso", "iso_offset", "date_text"})
_EPOCHS: Final = {
    "epoch_s": (0, 1), "epoch_ms": (0, 1_000), "epoch_us": (0, 1_000_000), "epoch_ns": (0, 1_000_000_000),
    "apple": (978_307_200, 1), "apple_ns": (978_307_200, 1_000_000_000),
    "filetime": (-11_644_473_600, 10_000_000), "webkit": (-11_644_473_600, 1_000_000),
}  # fmt: skip
"""Where a format counts from, in seconds since 1970, and its units in a second; two count from 1601."""

NUMBER_FORMATS: Final = frozenset({*_EPOCHS, "julian"})
TIME_FORMATS: Final = TEXT_FORMATS | NUMBER_FORMATS
JULIAN_EPOCH: Final = 2_440_587.5  # the Julian day of 1970-01-01 00:00 UTC
_DAY: Final = 86_400
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECONDS: Final = 1_000_000
_MICRO_DIGITS: Final = 6
CUT: Final = "nanoseconds are cut to microseconds"

_ISO: Final = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d)"
    r"(?:(?P<sep>[T ])(?P<minute>\d\d:\d\d)(?P<second>:\d\d)?(?:\.(?P<fraction>\d+))?"
    r"(?P<offset>Z|[+-]\d\d:?\d\d|[+-]\d\d)?)?"
)


_SEEN: Final = "[seen]"
PLAUSIBLE: Final = (31_536_000_000_000, 7_258_118_400_000_000)
"""1971 to 2199 in microseconds since 1970: a day of 2000 to 2100, counted in another unit, lies outside."""


def as_seen(form: str) -> str:
    """`form`, marked where it counts and only the values said so."""
    base = base_format(form)
    return base + _SEEN if base in NUMBER_FORMATS else form


def is_seen(form: str | None) -> bool:
    """Whether only the values said so."""
    return form is not None and form.endswith(_SEEN)


def plausible(moment: int) -> bool:
    """Whether microseconds since 1970 are an instant that a format which was only seen may make.

    0 is the same instant in every unit, and means "never" in many tables.
    """
    return moment == 0 or PLAUSIBLE[0] <= moment < PLAUSIBLE[1]


def text_format(value: str) -> str:
    """The format of a text, fine enough that texts of one format sort as the instants do.

    `date_text`; `iso[T]` or `iso[ ]` by the separator; `iso_offset[T+02:00]` by the offset too. Before a
    `Z`, which sorts after digits and dots, the number of fraction digits counts as well
    (`iso_offset[TZ.3]`, `iso_offset[TZm]` without seconds).  Anything else is `text` (DESIGN 4.3).
    """
    match = _ISO.fullmatch(value)
    if match is None or not _is_real(match):
        return "text"
    separator, offset, fraction = match["sep"], match["offset"], match["fraction"]
    if separator is None:
        return "date_text"
    if offset is None:
        return f"iso[{separator}]"
    length = (f".{len(fraction)}" if fraction else "" if match["second"] else "m") if offset == "Z" else ""
    return f"iso_offset[{separator}{offset}{length}]"


def _is_real(match: re.Match[str]) -> bool:
    """Whether there is such a day and time: SQLite's own date functions accept 02-30 (FACTS)."""
    clock = (match["minute"] or "00:00") + (match["second"] or ":00")
    try:
        datetime.fromisoformat(f"{match['date']}T{clock}")
    except ValueError:
        return False
    return True


def base_format(form: str) -> str:
    """A format without the details of how its texts are written: `iso[T]` -> `iso`."""
    return form.partition("[")[0]


_DAY_GLOB: Final = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]"
_MINUTE_GLOB: Final = "[0-9][0-9]:[0-9][0-9]"


def shape_of(form: str) -> TextShape | None:
    """What every text of a format looks like, as GLOB patterns; None for the format of a number."""
    if base_format(form) not in TEXT_FORMATS:
        return None
    base, _, detail = form.rstrip("]").partition("[")
    if base == "date_text":
        return TextShape(like=_DAY_GLOB)
    moment = f"{_DAY_GLOB}{detail[:1] or '?'}{_MINUTE_GLOB}"
    if base == "iso":
        return TextShape(like=f"{moment}*[0-9]", unlike=("*+*", "???????????*-*"))
    offset = detail[1:]
    if not offset.startswith("Z"):
        return TextShape(like=f"{moment}*{offset}")
    return TextShape(like=moment + _after_minutes(offset[1:]) + "Z")


def _after_minutes(detail: str) -> str:
    """What stands between the minutes and a Z: `m` nothing, `` seconds, `.n` seconds and n digits."""
    if detail == "m":
        return ""
    digits = int(detail[1:]) if detail.startswith(".") else 0
    return ":[0-9][0-9]" + ("." + "[0-9]" * digits if digits else "")


def number_format(value: float) -> str:
    """The epoch that makes `value` an instant between 2000 and 2100; `number` where none does.

    The ranges do not overlap.  What counts from another year than 1970 is never guessed, the manifest
    declares it: Apple's seconds of today are those of the 1980s and 1990s counted from 1970, Windows'
    FILETIME of today is nanoseconds of 1974, and Apple's of 2005; WebKit's counts from the same year.
    """
    ranges = (
        ("julian", 2_451_544.5, 2_488_070.0),
        ("epoch_s", 9.466e8, 4.1025e9),
        ("epoch_ms", 9.466e11, 4.1025e12),
        ("epoch_us", 9.466e14, 4.1025e15),
        ("epoch_ns", 9.466e17, 4.1025e18),
    )
    return next((name for name, low, high in ranges if low <= value < high), "number")


def value_format(value: Value) -> str | None:
    """The format of a sampled value, None for a blob or NULL."""
    match value:
        case str():
            return text_format(value)
        case int() | float():
            return number_format(value)
        case _:
            return None


def is_fine(value: Value) -> bool:
    """Whether a text is a time with more digits than a microsecond has: no timestamp holds it."""
    if not isinstance(value, str) or (match := _ISO.fullmatch(value)) is None:
        return False
    return len((match["fraction"] or "").rstrip("0")) > _MICRO_DIGITS


def epoch(form: str) -> tuple[int, int]:
    """(seconds from 1970 to where it counts from, units in a second) of an epoch format."""
    return _EPOCHS[base_format(form)]


def is_cut(form: str) -> bool:
    """Whether a format counts in less than microseconds, which is what the lake holds."""
    base = base_format(form)
    return base in _EPOCHS and _EPOCHS[base][1] > _MICROSECONDS


def spell(instant: datetime, form: str, timezone: str | None = None) -> Value:
    """How `instant` (aware) is written in a format, to compare a cursor's values with.

    Texts without an offset are written in `timezone` (UTC without one).  Raises `UserError` for a
    format that is none of time.
    """
    base = base_format(form)
    utc = instant.astimezone(UTC)
    if base in _EPOCHS:
        since, unit = _EPOCHS[base]
        whole = (utc - datetime(1970, 1, 1, tzinfo=UTC) - timedelta(seconds=since)) // timedelta(
            microseconds=1
        )
        return whole * unit // 1_000_000
    if base == "julian":
        return JULIAN_EPOCH + utc.timestamp() / _DAY
    if base not in TEXT_FORMATS:
        raise UserError(f"{format!r} is no format of time", hint=f"one of {', '.join(sorted(TIME_FORMATS))}")
    return _spell_text(utc, form, timezone)


def _spell_text(utc: datetime, form: str, timezone: str | None) -> str:
    base, _, detail = form.rstrip("]").partition("[")
    if base != "iso_offset":
        local = _in_zone(utc, timezone).replace(tzinfo=None)
        if base == "date_text":
            return local.date().isoformat()
        return local.isoformat(sep=detail[:1] or "T", timespec="microseconds")
    separator, offset = detail[:1] or "T", detail[1:] or "+00:00"
    if not offset.startswith("Z"):
        return (
            utc.astimezone(_fixed(offset)).replace(tzinfo=None).isoformat(separator, "microseconds") + offset
        )
    plain = utc.replace(tzinfo=None)
    digits = int(offset[2:]) if offset.startswith("Z.") else 0
    if offset == "Zm":
        return plain.isoformat(separator, "minutes") + "Z"
    fraction = f".{plain.microsecond:06d}{'0' * digits}"[: digits + 1] if digits else ""
    return plain.isoformat(separator, "seconds")[: len("2000-01-01T00:00:00")] + fraction + "Z"


def _in_zone(utc: datetime, timezone: str | None) -> datetime:
    if timezone is None:
        return utc
    from zoneinfo import ZoneInfo

    return utc.astimezone(ZoneInfo(timezone))


def _fixed(offset: str) -> tzinfo | None:
    return datetime.strptime(offset if len(offset) > 3 else offset + "00", "%z").tzinfo


# --- guards ---------------------------------------------------------------------------------------

Guard = Literal["none", "inexact", "not_text", "not_text_affine", "not_blob"]


def guard(stored: str, column_affinity: Affinity, *, strict: bool = False) -> Guard:
    """Which values of a column the fast path would change silently, by the class that it reads as.

    `stored` is `integer`, `real`, `text` or `blob`.  With `k = (+c COLLATE BINARY)`, where classes
    sort NULL < number < text < blob (FACTS, guards: 3,696 cases):
    `inexact`: an integer beyond 2^53 either way; `not_text_affine`: `k >= x''`; `not_text`:
    `k < '' OR k >= x''`; `not_blob`: `k < x''`.  A STRICT column that is read as it is declared
    needs none.
    """
    if stored == "integer":
        return "none"
    if strict and {"REAL": "real", "TEXT": "text"}.get(column_affinity) == stored:
        return "none"
    if stored == "real":
        return "none" if column_affinity == "REAL" else "inexact"
    if stored == "text":
        return "not_text_affine" if column_affinity == "TEXT" else "not_text"
    return "not_blob"


def stored_class(kind: str, form: str | None, column_affinity: Affinity) -> str:
    """The class that the fast path reads a column as: integer, real, text or blob."""
    base = base_format(form or "")
    lake = parse(kind)
    if lake.kind in INTEGER_BITS or lake.kind == "boolean":
        return "integer"
    if lake.kind == "decimal":
        return "text" if column_affinity == "TEXT" else "real"
    if lake.kind in ("double", "float"):
        return "real"
    if lake.kind in ("string", "binary"):
        return "text" if lake.kind == "string" else "blob"
    if base not in NUMBER_FORMATS:
        return "text"
    # whatever an INTEGER column holds is read as integers, and counts of so small a unit, unless SQLite
    # makes reals of them
    small = base in _EPOCHS and _EPOCHS[base][1] >= _MICROSECONDS
    whole = column_affinity == "INTEGER" or (small and column_affinity != "REAL")
    return "integer" if whole else "real"


# --- constants and single values ------------------------------------------------------------------


def constant(text: str | None, kind: str) -> object:
    """A manifest's `value` as Python holds it, by the type's own spelling.

    Raises `UserError` when the text is no such value.
    """
    if text is None:
        return None
    try:
        return _constant(text, parse(kind))
    except (ValueError, InvalidOperation, OverflowError):
        raise UserError(f"{text!r} is no {kind}", hint="write the value as the type spells it") from None


def _constant(text: str, lake: LakeType) -> object:
    if lake.kind in INTEGER_BITS:
        return _whole(int(text), lake.kind)
    match lake.kind:
        case "double" | "float":
            return float(text)
        case "decimal":
            return _decimal(Decimal(text), lake)
        case "boolean":
            return _truth(text)
        case "binary":
            return text.encode()
        case "date":
            return date.fromisoformat(text)
        case "timestamp":
            moment = datetime.fromisoformat(text)
            return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        case _:
            return text


def _truth(text: str) -> bool:
    known = {"true": True, "false": False}
    if text.lower() not in known:
        raise ValueError(text)
    return known[text.lower()]


def _whole(number: int, kind: str) -> int:
    if not -(2 ** (INTEGER_BITS[kind] - 1)) <= number < 2 ** (INTEGER_BITS[kind] - 1):
        raise OverflowError(kind)
    return number


_UNROUNDED: Final = Context(prec=MAX_PREC)
"""Python's own context rounds to 28 digits."""


def _decimal(number: Decimal, lake: LakeType) -> Decimal:
    """`number` at the type's scale, exactly.  Raises `InvalidOperation` where it does not fit."""
    if not number.is_finite():
        raise InvalidOperation(str(number))
    scaled = number.scaleb(lake.scale, _UNROUNDED)
    if scaled != scaled.to_integral_value() or scaled.copy_abs() >= 10**lake.precision:
        raise InvalidOperation(str(number))
    return number


def exact(value: Value, kind: str, form: str | None = None, timezone: str | None = None) -> object:
    """`value` as a value of the lake's type, without loss, for `pyarrow.array`.

    The careful path's judge, one value at a time.  Raises `ValueError` for a misfit.
    """
    if value is None:
        return None
    lake = parse(kind)
    if lake.kind == "string":
        return _only(value, str)
    if lake.kind == "binary":
        return _only(value, bytes)
    if lake.kind == "timestamp":
        return _instant(value, form, timezone)
    if lake.kind == "date":
        return _day(value, form, timezone)
    return _exact_number(value, lake)


def _only(value: Value, kind: type) -> Value:
    if not isinstance(value, kind):
        raise ValueError("not text" if kind is str else "not a blob")  # noqa: TRY004
    if isinstance(value, str):
        value.encode()  # UnicodeEncodeError, a ValueError, for what was no UTF-8
    return value


def _exact_number(value: Value, lake: LakeType) -> object:
    if isinstance(value, str) and lake.kind in _OF_TEXTS:
        return _OF_TEXTS[lake.kind](value, lake)
    if not isinstance(value, int | float):
        raise ValueError("not a number")  # noqa: TRY004
    if lake.kind in INTEGER_BITS or lake.kind == "boolean":
        if value != value or abs(value) == float("inf") or int(value) != value:  # noqa: PLR0124
            raise ValueError("not whole")
        return _as_bool(int(value)) if lake.kind == "boolean" else _fitting(int(value), lake.kind)
    if lake.kind == "decimal":
        return _decimal_of(value, lake)
    made = float(value)
    if isinstance(value, int) and int(made) != value:
        raise ValueError("not exact as a double")
    if lake.kind == "float" and not _is_single(made):
        raise ValueError("not exact as a float")
    return made


def _word(value: str, lake: LakeType) -> bool:
    if (meant := TRUTHS.get(ascii_lower(value))) is None:
        raise ValueError(f"no word for a {lake}")
    return meant


def _decimal_text(value: str, lake: LakeType) -> Decimal:
    """The decimal that a text spells: digits, a sign, a point; no exponent."""
    try:
        return _decimal(Decimal(value if re.fullmatch(PLAIN_DECIMAL, value) else "nan"), lake)
    except InvalidOperation:
        raise ValueError(f"not exact as {lake}") from None


PLAIN_DECIMAL: Final = r"[+-]?[0-9]+(?:\.[0-9]+)?"
_OF_TEXTS: Final[Mapping[str, Callable[[str, LakeType], object]]] = {
    "boolean": _word,
    "decimal": _decimal_text,
}


def _as_bool(value: int) -> bool:
    if value not in (0, 1):
        raise ValueError("neither 0 nor 1")
    return bool(value)


def _fitting(value: int, kind: str) -> int:
    try:
        return _whole(value, kind)
    except OverflowError:
        raise ValueError(f"too large for {kind}") from None


def _decimal_of(value: float, lake: LakeType) -> Decimal:
    """The decimal that a real was written as: its shortest form, which reads back as the same real."""
    try:
        return _decimal(Decimal(value) if isinstance(value, int) else Decimal(repr(value)), lake)
    except InvalidOperation:
        raise ValueError(f"not exact as {lake}") from None


def _is_single(value: float) -> bool:
    import struct

    try:
        return value != value or struct.unpack("f", struct.pack("f", value))[0] == value  # noqa: PLR0124
    except OverflowError:
        return False


def _instant(value: Value, form: str | None, timezone: str | None) -> datetime:
    base = base_format(form or "iso")
    if base in TEXT_FORMATS:
        return _text_instant(value, timezone)
    if not isinstance(value, int | float) or (isinstance(value, float) and value - value != 0):
        raise ValueError("not a number")
    moment = microseconds(value, base)
    if is_seen(form) and not plausible(moment):
        raise ValueError(f"no plausible {base}, the format found in other values; `format: {base}` takes it")
    try:
        return _EPOCH + timedelta(microseconds=moment)
    except OverflowError:
        raise ValueError("out of range") from None


def microseconds(value: float, base: str) -> int:
    """An epoch's value as microseconds since 1970; reals round to the nearest, nanoseconds are cut."""
    if base == "julian":
        return round((value - JULIAN_EPOCH) * _DAY * 1000) * 1000  # a double holds a Julian day to 0.04 ms
    since, unit = _EPOCHS[base]
    whole = value * _MICROSECONDS // unit if isinstance(value, int) else round(value * (_MICROSECONDS / unit))
    return int(whole) + since * _MICROSECONDS


def _text_instant(value: Value, timezone: str | None) -> datetime:
    match = _ISO.fullmatch(value) if isinstance(value, str) else None
    if match is None or not _is_real(match):
        raise ValueError("not an ISO time")
    fraction = (match["fraction"] or "").rstrip("0")
    if len(fraction) > _MICRO_DIGITS:
        raise ValueError("finer than a microsecond")
    clock = (match["minute"] or "00:00") + (match["second"] or ":00")
    plain = datetime.fromisoformat(f"{match['date']}T{clock}.{fraction or '0':0<6}")
    offset = match["offset"]
    try:
        if offset is not None:
            return plain.replace(tzinfo=UTC if offset == "Z" else _fixed(offset)).astimezone(UTC)
        return _from_zone(plain, timezone)
    except OverflowError:  # in UTC it is before the year 1, or after 9999
        raise ValueError("out of range") from None


def _from_zone(plain: datetime, timezone: str | None) -> datetime:
    if timezone is None:
        return plain.replace(tzinfo=UTC)
    from zoneinfo import ZoneInfo

    moment = plain.replace(tzinfo=ZoneInfo(timezone)).astimezone(UTC)
    if moment.astimezone(ZoneInfo(timezone)).replace(tzinfo=None) != plain:
        raise ValueError(f"the clocks of {timezone} passed over it")
    return moment


def _day(value: Value, form: str | None, timezone: str | None) -> date:
    moment = _instant(value, form or "date_text", None if isinstance(value, str) else timezone)
    if (moment.hour, moment.minute, moment.second, moment.microsecond) != (0, 0, 0, 0):
        raise ValueError("it has a time of day")
    return moment.date()


def fits(values: Iterable[Value], column: Column) -> tuple[str, ...]:
    """For which narrower types all values are exact: `boolean`, `date`, `double`, the declared decimal."""
    seen = [v for v in values if v is not None]
    decimal = declared_decimal(column.declared)
    tried = ["boolean", "date", "double", *([str(decimal)] if decimal else [])]
    return tuple(kind for kind in tried if seen and all(_fits(v, kind) for v in seen))


def _fits(value: Value, kind: str) -> bool:
    try:
        exact(value, kind)
    except ValueError:
        return False
    return True
