"""Tables with keys of every kind whose rows come, change and go; for the modes that follow changes.

`plays()` draws a key, a table and rounds of changes.  What the source holds is kept as stdlib sqlite3 read
it, in the lake's types: it shares no code with silt.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

Row = tuple[Any, ...]
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Key:
    """How rows are keyed: columns, a constraint, the key number `n`, and how the lake has its values."""

    name: str
    columns: tuple[str, ...]
    make: Callable[[int], tuple[Any, ...]]
    constraint: str = ""
    suffix: str = ""
    declared: str = ""
    lake: Callable[[Any], Any] = lambda value: value

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.split()[0] for column in self.columns)


def _stamp(n: int) -> str:
    return (NOON + timedelta(seconds=n)).strftime("%Y-%m-%d %H:%M:%S")


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


TEXTS = ("", "a", "A", "ä", "a'b", 'q"', "\U0001f600", "%_", "a b", "zz", "0", "b", "~")

KEYS = (
    Key("integer", ("id INTEGER PRIMARY KEY",), lambda n: (n - 6,)),
    Key("far integers", ("id INTEGER PRIMARY KEY",), lambda n: ((n - 6) * 2**59,)),
    Key("text", ("k TEXT PRIMARY KEY",), lambda n: (TEXTS[n],)),
    Key("blob", ("k BLOB NOT NULL PRIMARY KEY",), lambda n: (bytes([n * 20]) * (n % 3),)),
    Key("real", ("k REAL PRIMARY KEY",), lambda n: ((n - 6) / 3,)),
    Key("text without case", ("k TEXT COLLATE NOCASE PRIMARY KEY",), lambda n: ("aBcDeFgHiJkLm"[n],)),
    Key("instant", ("k DATETIME PRIMARY KEY",), lambda n: (_stamp(n * 7),), lake=_instant),
    Key("day", ("k DATE PRIMARY KEY",), lambda n: (f"2026-01-{n + 1:02}",), lake=date.fromisoformat),
    Key(
        "money",
        ("k DECIMAL(10,2) PRIMARY KEY",),
        lambda n: ((n - 6) / 4,),
        lake=lambda value: Decimal(repr(value)).quantize(Decimal("0.01")),
    ),
    Key(
        "composite",
        ("a INTEGER NOT NULL", "b TEXT NOT NULL"),
        lambda n: (n % 3, TEXTS[n]),
        constraint="PRIMARY KEY (a, b)",
        suffix="WITHOUT ROWID",
    ),
    Key(
        "composite, rowid",
        ("b TEXT NOT NULL", "a INTEGER NOT NULL"),
        lambda n: (TEXTS[n // 2], n % 2),
        constraint="PRIMARY KEY (a, b)",
    ),
    Key("declared", ("mail TEXT NOT NULL UNIQUE",), lambda n: (f"m{n}@x",), declared="[mail]"),
)


@dataclass(frozen=True)
class Change:
    """`put` a row (insert or update) or take it away; `tick`: the clock's second moves on before it."""

    n: int
    kind: str
    value: Row = (None, None)
    tick: bool = False


@dataclass(frozen=True)
class Play:
    key: Key
    rounds: tuple[tuple[Change, ...], ...]
    max_rows: int
    resident: bool
    wal: bool
    vacuums: frozenset[int]

    def ddl(self) -> list[str]:
        body = ", ".join(
            part for part in (*self.key.columns, "v TEXT", "x REAL", "at TEXT", self.key.constraint) if part
        )
        return [
            f"PRAGMA journal_mode={'wal' if self.wal else 'delete'}",
            f"CREATE TABLE t ({body}) {self.key.suffix}",
            "CREATE INDEX t_at ON t (at)",
        ]

    def statements(self, turn: int) -> list[Any]:
        """The changes of a round; seconds go on from round to round, but not always."""
        tick = sum(change.tick for earlier in self.rounds[:turn] for change in earlier)
        made: list[Any] = []
        for change in self.rounds[turn]:
            tick += change.tick
            made.append(self._statement(change, _stamp(tick)))
        return [*made, *(["VACUUM"] if turn in self.vacuums else [])]

    def _statement(self, change: Change, at: str) -> Any:
        key, names = self.key.make(change.n), self.key.names
        if change.kind == "take":
            return (f"DELETE FROM t WHERE ({', '.join(names)}) = ({', '.join('?' * len(names))})", key)
        columns = (*names, "v", "x", "at")
        sets = "v = excluded.v, x = excluded.x, at = excluded.at"
        sql = (
            f"INSERT INTO t ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))}) "
            f"ON CONFLICT ({', '.join(names)}) DO UPDATE SET {sets}"
        )
        return (sql, (*key, *change.value, at))

    def lake_row(self, row: Row) -> Row:
        """A row of the source as the lake has it."""
        count = len(self.key.columns)
        return (*(self.key.lake(v) if i == 0 else v for i, v in enumerate(row[:count])), *row[count:])


_VALUES = st.tuples(
    st.one_of(st.none(), st.sampled_from(("", "a", "b", "ü", "a\0b"))),
    st.one_of(st.none(), st.sampled_from((0.0, 0.5, -1.5, 1e300, float("inf")))),
)


@st.composite
def plays(draw: st.DrawFn, key: Key) -> Play:
    changes = st.builds(
        Change,
        n=st.integers(0, 12),
        kind=st.sampled_from(("put", "put", "put", "take")),
        value=_VALUES,
        tick=st.booleans(),
    )
    rounds = draw(st.lists(st.lists(changes, max_size=8).map(tuple), min_size=2, max_size=4))
    return Play(
        key=key,
        rounds=tuple(rounds),
        max_rows=draw(st.sampled_from((1, 3, 1000))),
        resident=draw(st.booleans()),
        wal=draw(st.booleans()),
        vacuums=draw(st.frozensets(st.integers(0, 3), max_size=1)),
    )
