"""Random tables of every kind of key, rows that arrive in rounds, and what silt must make of them.

`cases(kind)` draws one; the test in e2e/test_exactly_once.py carries it out.  What a case expects is
computed here, from the rows alone: it shares no code with silt.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

GREATEST = 2**63 - 1
NOON = datetime(2024, 3, 1, 12, tzinfo=UTC)
ODD_NAMES = ("order", "a b", 'q"uote', "größe", "select", "x%s", "it's", "日本", "a.b", "semi;colon", "Ä")

Row = dict[str, Any]
Statement = str | tuple[str, Any]


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def lake_name(name: str) -> str:
    """A column's name without what Spark refuses."""
    return "".join("_" if c in " ,;{}()\n\t=" else c for c in name)


# --- kinds of keys --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kind:
    """How a table's rows are keyed: its DDL, its cursor in the manifest, the keys of the next rows.

    `keys` gives the key columns of `n` new rows; `seen` is the greatest cursor value so far.
    `by_rowid`: silt reads in the order of rowids, so that `Expected` knows which ids it must find.
    """

    name: str
    columns: str
    cursor: str = "auto"
    suffix: str = ""
    constraint: str = ""
    by_rowid: str = ""
    keys: Callable[[random.Random, int, int], list[Row]] | None = None
    view: bool = False
    strays: tuple[Any, ...] = ()
    vacuums: bool = False


def _stamp(tick: int) -> str:
    return (NOON + timedelta(seconds=tick)).strftime("%Y-%m-%d %H:%M:%S")


def _ticks(chance: random.Random, n: int, seen: int) -> list[int]:
    """Moments that never fall below `seen`, most of them shared by several rows."""
    ticks = []
    for _ in range(n):
        seen += chance.choice((0, 0, 0, 1, 7))
        ticks.append(seen)
    return ticks


def _texts(chance: random.Random, n: int) -> list[str]:
    return [f"{chance.getrandbits(64):016x}" for _ in range(n)]


def _pairs(chance: random.Random, n: int, seen: int) -> list[Row]:
    keys = zip(_ticks(chance, n, seen), _texts(chance, n), strict=True)
    return [{"a": a, "b": b} for a, b in keys]


def _times(chance: random.Random, n: int, seen: int) -> list[Row]:
    return [{"ts": _stamp(tick), "_tick": tick} for tick in _ticks(chance, n, seen)]


def _keyed_times(chance: random.Random, n: int, seen: int) -> list[Row]:
    keyed = zip(_times(chance, n, seen), _texts(chance, n), strict=True)
    return [{**row, "key": key} for row, key in keyed]


def _late_times(chance: random.Random, n: int, seen: int) -> list[Row]:
    """Up to 50 minutes before the latest, so that a `lookback` of an hour finds each."""
    ticks = [max(seen + chance.randint(-3000, 300), 0) for _ in range(n)]
    base = max([seen, *ticks])
    ticks = [max(tick, base - 3000) for tick in ticks]
    return [{"ts": _stamp(tick), "_tick": tick} for tick in ticks]


def _numbers(chance: random.Random, n: int, seen: int) -> list[Row]:
    return [{"n": tick / 4, "_tick": tick} for tick in _ticks(chance, n, seen)]


KINDS = (
    Kind("integer key", "{id} INTEGER PRIMARY KEY", by_rowid="id", vacuums=True),
    Kind("autoincrement", "{id} INTEGER PRIMARY KEY AUTOINCREMENT", by_rowid="id", vacuums=True),
    Kind("rowid", "w INTEGER", cursor="rowid", by_rowid="rowid"),
    Kind(
        "without rowid",
        "a INTEGER NOT NULL, b TEXT NOT NULL",
        cursor="[a, b]",
        constraint="PRIMARY KEY (a, b)",
        suffix="WITHOUT ROWID",
        keys=_pairs,
        vacuums=True,
    ),
    Kind(
        "composite",
        "a INTEGER NOT NULL, b TEXT NOT NULL",
        cursor="[a, b]",
        constraint="PRIMARY KEY (a, b)",
        keys=_pairs,
        strays=("text",),
        vacuums=True,
    ),
    Kind(
        "declared list",
        "b TEXT NOT NULL, a INTEGER NOT NULL",
        cursor="[a, b]",
        constraint="UNIQUE (b, a)",
        keys=_pairs,
        strays=(b"blob",),
    ),
    Kind(
        "time, integer key",
        "id INTEGER PRIMARY KEY, ts {time}",
        cursor="ts",
        keys=_times,
        strays=(b"blob", 5, "yesterday", None, "2024-03-01T13:00:00Z"),
        vacuums=True,
    ),
    Kind("time, rowid", "ts {time} NOT NULL", cursor="ts", keys=_times, strays=(b"blob",)),
    Kind(
        "time, text key",
        "key TEXT NOT NULL UNIQUE, ts {time}",
        cursor="ts",
        keys=_keyed_times,
        strays=(None, b"blob"),
        vacuums=True,
    ),
    Kind(
        "time with lookback",
        "id INTEGER PRIMARY KEY, ts {time}",
        cursor="{{column: ts, lookback: 1h}}",
        keys=_late_times,
        strays=(None,),
        vacuums=True,
    ),
    Kind("time, detected", "created {time} NOT NULL", keys=_times),
    Kind("number, integer key", "id INTEGER PRIMARY KEY, n REAL", cursor="n", keys=_numbers, strays=("x",)),
    Kind("view", "{id} INTEGER PRIMARY KEY", cursor="[{id}]", view=True),
)


# --- columns --------------------------------------------------------------------------------------

_INTEGERS = st.one_of(st.none(), st.integers(-(2**63), GREATEST), st.integers(-2, 2))
_REALS = st.one_of(st.none(), st.floats(allow_nan=False, width=64))
_CHARACTERS = st.characters(exclude_categories=("Cs",))
_WORDS = st.one_of(
    st.none(), st.text(_CHARACTERS, max_size=8), st.sampled_from(("", "1", "NULL", "1e3", "a\0b"))
)
_BLOBS = st.one_of(st.none(), st.binary(max_size=8))

TYPES: dict[str, st.SearchStrategy[Any]] = {
    "INTEGER": _INTEGERS,
    "BIGINT": _INTEGERS,
    "REAL": _REALS,
    "DOUBLE PRECISION": _REALS,
    "TEXT": _WORDS,
    "VARCHAR(20)": _WORDS,
    "BLOB": _BLOBS,
    "BOOLEAN": st.sampled_from((None, 0, 1)),
}
STRICT_TYPES = ("INTEGER", "REAL", "TEXT", "BLOB")


@dataclass(frozen=True)
class Payload:
    name: str
    declared: str
    generated: str = ""
    stored: bool = False

    @property
    def ddl(self) -> str:
        how = "STORED" if self.stored else "VIRTUAL"
        made = f" GENERATED ALWAYS AS ({self.generated}) {how}" if self.generated else ""
        return f"{quoted(self.name)} {self.declared}{made}"


# --- cases ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Round:
    """What happens before a cycle: `rows` new ones, ids that are asked for, a stray, a VACUUM."""

    rows: int
    ids: tuple[int, ...] = ()
    stray: int | None = None
    vacuum: bool = False


@dataclass(frozen=True)
class Case:
    kind: Kind
    id: str
    time: str
    payload: tuple[Payload, ...]
    templates: tuple[tuple[Any, ...], ...]
    rounds: tuple[Round, ...]
    max_rows: int
    seed: int
    strict: bool
    wal: bool
    resident: bool
    table: str

    @property
    def read_from(self) -> str:
        return f"view of {self.table}" if self.kind.view else self.table

    @property
    def key_name(self) -> str:
        """The column whose ids `Expected` counts by."""
        return self.id if self.kind.by_rowid == "id" or self.kind.view else "rowid"

    def ddl(self) -> list[str]:
        key = self.kind.columns.format(id=quoted(self.id), time=self.time)
        parts = [key, *(p.ddl for p in self.payload), self.kind.constraint]
        options = ", ".join(o for o in (self.kind.suffix, "STRICT" if self.strict else "") if o)
        body = ", ".join(part for part in parts if part)
        made = [
            f"PRAGMA journal_mode={'wal' if self.wal else 'delete'}",
            f"CREATE TABLE {quoted(self.table)} ({body}) {options}",
        ]
        if self.kind.view:
            made.append(f"CREATE VIEW {quoted(self.read_from)} AS SELECT * FROM {quoted(self.table)}")
        return made

    def manifest(self) -> str:
        cursor = self.kind.cursor.format(id='"' + self.id.replace("\\", "\\\\").replace('"', '\\"') + '"')
        name = '"' + self.read_from.replace("\\", "\\\\").replace('"', '\\"') + '"'
        return f"  s:\n    table: {name}\n    cursor: {cursor}\n    batch: {{max_rows: {self.max_rows}}}\n"


@st.composite
def cases(draw: st.DrawFn, kind: Kind) -> Case:
    strict = draw(st.booleans())
    payload = draw(_payload(strict=strict))
    drawn = [TYPES[p.declared] for p in payload if not p.generated]
    max_rows = draw(st.sampled_from((1, 2, 97, 1000)))
    names = [p.name for p in payload]
    return Case(
        kind=kind,
        id=draw(st.sampled_from([n for n in ("id", "Id", *ODD_NAMES) if n not in names])),
        time="TEXT" if strict else draw(st.sampled_from(("TEXT", "DATETIME"))),
        payload=tuple(payload),
        templates=tuple(draw(st.lists(st.tuples(*drawn), min_size=1, max_size=4))),
        rounds=tuple(draw(st.lists(_round(kind, max_rows, strict=strict), min_size=1, max_size=4))),
        max_rows=max_rows,
        seed=draw(st.integers(0, 2**32)),
        strict=strict,
        wal=draw(st.booleans()),
        resident=draw(st.booleans()),
        table=draw(st.sampled_from(("t", *ODD_NAMES))),
    )


@st.composite
def _payload(draw: st.DrawFn, *, strict: bool) -> list[Payload]:
    names = draw(st.lists(st.sampled_from(("p", "v", *ODD_NAMES)), unique_by=lambda n: n.lower(), max_size=4))
    declared = st.sampled_from(STRICT_TYPES if strict else tuple(TYPES))
    payload = [Payload(name, draw(declared)) for name in names]
    whole = [p for p in payload if p.declared == "TEXT"]
    if whole and draw(st.booleans()):
        length = f"length({quoted(whole[0].name)})"
        payload.append(Payload("made", "INTEGER", length, stored=draw(st.booleans())))
    return payload


@st.composite
def _round(draw: st.DrawFn, kind: Kind, max_rows: int, *, strict: bool) -> Round:
    most = {1: 5, 2: 9, 97: 250, 1000: 1200}[max_rows]
    rowids = kind.by_rowid or kind.view
    near = st.integers(-3, 40)
    asked = (
        st.lists(st.one_of(near, near, st.integers(-(2**63), GREATEST)), max_size=3)
        if rowids
        else st.just([])
    )
    rare = st.integers(0, 7).map(lambda n: n == 7)
    return Round(
        rows=draw(st.one_of(st.integers(0, 4), st.integers(0, most))),
        ids=tuple(draw(asked)) if draw(st.booleans()) else (),
        stray=draw(st.integers(0, 7)) if kind.strays and not strict and draw(rare) else None,
        vacuum=kind.vacuums and draw(rare),
    )


# --- what a case does and expects -----------------------------------------------------------------


@dataclass
class Play:
    """A case under way: the statements of its next round, and what the lake must then hold."""

    case: Case
    chance: random.Random = field(init=False)
    inserted: int = 0
    seen: int = 0
    ids: set[int] = field(default_factory=set)
    missed: set[int] = field(default_factory=set)
    low: int | None = None
    high: int | None = None
    held: bool = False
    strayed: bool = False

    def __post_init__(self) -> None:
        self.chance = random.Random(self.case.seed)

    def statements(self, turn: Round) -> list[Statement]:
        made: list[Statement] = []
        rows = self._rows(turn)
        if turn.stray is not None and self.inserted:
            rows.append(self._stray(turn.stray))
            self.strayed = True
        by_names: dict[tuple[str, ...], list[tuple[Any, ...]]] = {}
        for row in rows:
            shown = {name: value for name, value in row.items() if name != "_tick"}
            by_names.setdefault(tuple(shown), []).append(tuple(shown.values()))
        for names, values in by_names.items():
            made.append((self._insert(names), values) if names else (self._default(), [()] * len(values)))
        if turn.vacuum:
            made.append("VACUUM")
        return made

    def _insert(self, names: tuple[str, ...]) -> str:
        columns = ", ".join(map(quoted, names))
        marks = ", ".join("?" * len(names))
        return f"INSERT OR IGNORE INTO {quoted(self.case.table)} ({columns}) VALUES ({marks})"

    def _default(self) -> str:
        return f"INSERT INTO {quoted(self.case.table)} DEFAULT VALUES"

    def _rows(self, turn: Round) -> list[Row]:
        full = self.case.kind.name == "autoincrement" and max(self.ids, default=0) > GREATEST // 2
        made = [dict[str, Any]() for _ in range(0 if full else turn.rows)]  # AUTOINCREMENT never goes back
        if self.case.kind.keys:
            made = self.case.kind.keys(self.chance, turn.rows, self.seen)
            self.seen = max([self.seen, *(row.get("_tick", row.get("a", 0)) for row in made)])
        made += [{self.case.key_name: number} for number in turn.ids]
        return [self._filled(row) for row in made]

    def _filled(self, row: Row) -> Row:
        plain = [p.name for p in self.case.payload if not p.generated]
        template = self.case.templates[self.inserted % len(self.case.templates)]
        self.inserted += 1
        renamed = {
            "created" if n == "ts" and "created" in self.case.kind.columns else n: v for n, v in row.items()
        }
        return {**renamed, **dict(zip(plain, template, strict=True))}

    def _stray(self, number: int) -> Row:
        strays = self.case.kind.strays
        name = next(n for n in ("ts", "n", "a") if f"{n} " in self.case.kind.columns)
        row = {name: strays[number % len(strays)]}
        if "key" in self.case.kind.columns:
            row["key"] = "stray"
        if name == "a":
            row["b"] = "stray"
        return self._filled(row)

    def expect(self, ids: list[int]) -> None:
        """Note the ids of all rows as the coming cycle finds them (kinds that are read by rowid)."""
        new = set(ids) - self.ids
        self.ids |= new
        if not ids:
            return
        lowest, highest = min(ids), max(ids)
        if highest == GREATEST and not self.case.kind.view:
            self.held = True
        if self.low is not None and lowest < self.low and not self.case.kind.view:
            self.held = True
        if self.held:
            self.missed |= new
            return
        if self.high is not None:
            self.missed |= {number for number in new if number < self.high}
        self.low, self.high = lowest, max(highest, self.high or highest)
