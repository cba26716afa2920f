"""A source that an application changes in every way, a stream that follows it, and what the lake must hold.

`Follower` is what e2e/test_machine.py drives.  It knows each row of the source by its `serial` (given once)
and `rev` (given with each change), and remembers what every version of it was at the time of a cycle.
"""

from __future__ import annotations

import json
import signal
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clirun import doomed, ended
from kit import Site, Sqlite, lake
from oracle import RESCUED, as_kept, as_stored, quoted, types_of
from torture import SPARK

Version = Mapping[str, Any]
"""A row as the source had it, by the lake's names of its columns."""

RULES = {"4.1", "4.3", "4.4", "4.5"}
"""What may hold a stream: the parts of DESIGN 4 that say so."""


@dataclass(frozen=True)
class Key:
    """How rows are keyed: the columns, how the statement ends, the keys of new rows, the cursor of append."""

    name: str
    columns: str
    names: tuple[str, ...] = ("id",)
    suffix: str = ")"
    append: str = "auto"

    def values(self, number: int) -> tuple[Any, ...]:
        """The key of the row of that serial, where SQLite gives none."""
        return {"text": (f"k{number * 7919 % 1000:03}-{number}",), "pair": (number % 3, f"é{number}")}.get(
            self.name, ()
        )


KEYS = (
    Key("integer", "id INTEGER PRIMARY KEY"),
    Key("autoincrement", "id INTEGER PRIMARY KEY AUTOINCREMENT"),
    Key("text", "k TEXT NOT NULL PRIMARY KEY", names=("k",), append="at"),
    Key(
        "pair",
        "a INTEGER NOT NULL, b TEXT NOT NULL",
        names=("a", "b"),
        suffix=", PRIMARY KEY (a, b)) WITHOUT ROWID",
        append="at",
    ),
)
MODES = {
    "append": "mode: append, cursor: {cursor}",
    "merge": "mode: merge, cursor: at, deletes: {{mode: hard, max_fraction: 1}}",
    "mirror": "mode: mirror",
    "overwrite": "mode: overwrite",
}


def key_of(serial: int) -> str:
    """Which row."""
    return f"serial = {serial}"


@dataclass
class Follower:
    """A table `t`, its stream, and the versions of its rows."""

    site: Site
    sqlite: Sqlite
    key: Key
    mode: str
    max_rows: int
    columns: dict[str, str]
    required: set[str] = field(default_factory=set)
    handles: Any = None
    tick: int = 1
    serials: int = 0
    revs: int = 0
    named: int = 0
    held: bool = False
    killed: Counter[str] = field(default_factory=Counter)
    versions: dict[tuple[int, int], list[Version]] = field(default_factory=dict)

    def begin(self, *, wal: bool) -> None:
        """Make the table and the manifest."""
        self.named = len(self.columns)
        body = ", ".join(f"{quoted(n)} {d}" for n, d in self.columns.items())
        silts = "serial INTEGER NOT NULL, rev INTEGER NOT NULL, at INTEGER NOT NULL"
        parts = ", ".join(part for part in (self.key.columns, silts, body) if part)
        journal = f"PRAGMA journal_mode = {'wal' if wal else 'delete'}"
        self.sql(journal, f"CREATE TABLE t ({parts}{self.key.suffix}")
        mode = MODES[self.mode].format(cursor=self.key.append)
        self.site.write(f"  t: {{{mode}, batch: {{max_rows: {self.max_rows}}}}}\n")

    def sql(self, *statements: Any) -> list[tuple[Any, ...]]:
        """What the application does."""
        return self.sqlite(self.site.database, *statements)

    # --- what the application does ----------------------------------------------------------------

    def insert(self, row: Iterable[Any], *, upsert: bool = False) -> None:
        """A new row; or, where one of its key is there, its new values."""
        self.serials += 1
        self.revs += 1
        values = self._values(row)
        keys = dict(zip(self.key.names, self.key.values(self.serials), strict=False))
        if upsert and (old := self.sql(f"SELECT {', '.join(self.key.names)} FROM t ORDER BY rev LIMIT 1")):
            keys = dict(zip(self.key.names, old[0], strict=True))
        given = {**keys, "serial": self.serials, "rev": self.revs, "at": self.tick, **values}
        names = ", ".join(map(quoted, given))
        changed = ", ".join(f"{quoted(n)} = excluded.{quoted(n)}" for n in ("rev", "at", *values))
        clash = f" ON CONFLICT ({', '.join(self.key.names)}) DO UPDATE SET {changed}" if upsert else ""
        marks, bound = marked(given.values())
        self.sql((f"INSERT INTO t ({names}) VALUES ({', '.join(marks)}){clash}", bound))

    def update(self, serial: int, row: Iterable[Any]) -> None:
        """New values for a row."""
        self.revs += 1
        given = {"rev": self.revs, "at": self.tick, **self._values(row)}
        marks, bound = marked(given.values())
        sets = ", ".join(f"{quoted(n)} = {mark}" for n, mark in zip(given, marks, strict=True))
        self.sql((f"UPDATE t SET {sets} WHERE {key_of(serial)}", bound))

    def _values(self, row: Iterable[Any]) -> dict[str, Any]:
        """`row` by its columns; one that takes no NULL has 0 for it."""
        values = dict(zip(self.columns, row, strict=False))
        return {n: 0 if value is None and n in self.required else value for n, value in values.items()}

    def alive(self) -> list[int]:
        """The rows that are there, by age."""
        return [serial for (serial,) in self.sql("SELECT serial FROM t ORDER BY serial")]

    def add(self, name: str, declared: str, default: str) -> None:
        """A new column, of a name that none had before."""
        self.named += 1
        name = f"{name}{self.named}"
        self.sql(f"ALTER TABLE t ADD COLUMN {quoted(name)} {declared}{default}")
        self.columns[name] = declared
        self.required |= {name} if "NOT NULL" in default else set()

    def drop(self, name: str) -> None:
        """A column goes."""
        self.sql(f"ALTER TABLE t DROP COLUMN {quoted(name)}")
        del self.columns[name]

    def rename(self, name: str, to: str) -> None:
        """A column gets a name that none had before."""
        self.named += 1
        to = f"{to}{self.named}"
        self.sql(f"ALTER TABLE t RENAME COLUMN {quoted(name)} TO {quoted(to)}")
        self.columns = {to if n == name else n: declared for n, declared in self.columns.items()}
        self.required = {to if n == name else n for n in self.required}

    # --- what silt does ---------------------------------------------------------------------------

    def source(self) -> list[Version]:
        """The rows that are there now, remembered as versions that a cycle may have seen."""
        names = [name for (name,) in self.sql("SELECT name FROM pragma_table_info('t')")]
        rows: list[Version] = [
            {name.translate(SPARK): value for name, value in zip(names, row, strict=True)}
            for row in self.sql("SELECT * FROM t")
        ]
        for row in rows:
            known = self.versions.setdefault((row["serial"], row["rev"]), [])
            if row not in known:
                known.append(row)
        return rows

    def cycle(self) -> str:
        """One cycle, and what the lake must hold after it; the stream's state."""
        before, rows = self.lake(), self.source()
        result = self.site.one(handles=self.handles)
        told = f"{result.state}: {result.error} ({result.error and result.error.why})"
        if result.state == "held":
            assert result.error.rule in RULES, told
            # a column that came to the source may have come to the lake, NULL in each row
            assert _valued(self.lake()) == _valued(before), f"rows were written, though held ({told})"
        elif result.state == "waiting":
            assert not rows, told
        else:
            assert result.state == "ok", told
            self.check(rows)
            again = self.site.one(handles=self.handles)
            assert again.batches == 0, "nothing is new"
            assert again.state == "ok" or (again.state == "waiting" and not rows), f"{again.error}"
        self.held = result.state == "held"
        return str(result.state)

    def crash(self, place: str, count: int) -> bool:
        """A cycle of a process that is killed the n-th time it is at a place; whether it came there."""
        self.source()
        log = self.site.folder / "places.log"
        log.write_text("")
        arguments = ("run", "silt.yaml", "--once")
        code, problems = ended(doomed(*arguments, cwd=self.site.folder, at=f"{place}:{count}", log=log))
        landed = log.read_text().splitlines().count(place) >= count
        assert (code == -signal.SIGKILL) == landed, f"{code}, at {place} {landed}: {problems}"
        assert landed or code in (0, 1), problems
        self.killed.update([place] if landed else [])
        return landed

    def reset(self) -> None:
        """`silt reset`: the slice begins anew."""
        self.site.reset("t")
        self.held = False

    # --- what the lake must hold ------------------------------------------------------------------

    @property
    def into(self) -> Path:
        """The stream's table."""
        return self.site.folder / "lake" / "t"

    def lake(self) -> list[dict[str, Any]]:
        """Its rows, in an order of their own."""
        rows = lake(self.into) if (self.into / "_delta_log").is_dir() else []
        return sorted(rows, key=repr)

    def check(self, rows: list[Version]) -> None:
        """The lake after a cycle that is ok, over these rows of the source."""
        there = self.lake()
        kinds = types_of(self.into) if there else {}  # rows that left the source stay, in append
        seen = Counter((row["serial"], row["rev"]) for row in there)
        assert [version for version, count in seen.items() if count > 1] == [], "a version is there twice"
        for row in there:
            known = self.versions.get((row["serial"], row["rev"]), [])
            assert any(same(row, version, kinds) for version in known), f"{row} never was: {known}"
        now = {(row["serial"], row["rev"]): row for row in rows}
        if self.mode == "append":
            missing = {serial for serial, _ in now} - {serial for serial, _ in seen}
            assert not missing, f"rows {missing} are not in the lake"
            return
        assert set(seen) == set(now), f"lacks {set(now) - set(seen)}, has {set(seen) - set(now)} too much"
        if self.mode != "merge":
            old = [row for row in there if not same(row, now[row["serial"], row["rev"]], kinds)]
            assert old == [], "rows are not as they are now"


def _valued(rows: list[dict[str, Any]]) -> list[str]:
    return sorted(repr({name: value for name, value in row.items() if value is not None}) for row in rows)


def same(row: Mapping[str, Any], version: Version, kinds: Mapping[str, str]) -> bool:
    """Columns and `_rescued_data` give the version back; what it lacked is NULL."""
    told = json.loads(row[RESCUED])["columns"] if row.get(RESCUED) else {}
    for name in kinds:
        if name == RESCUED or name.startswith("_silt"):
            continue
        if name not in version and (row[name] is not None or name in told):
            return False
        if name in version and as_kept(row[name], told.get(name), kinds[name]) != as_stored(
            version[name], kinds[name]
        ):
            return False
    return all(name in kinds for name in version)


def marked(values: Iterable[Any]) -> tuple[list[str], list[Any]]:
    """Marks and values of a statement; a text with bytes that are no UTF-8 goes in by its bytes."""
    marks, bound = [], []
    for value in values:
        broken = isinstance(value, str) and any("\udc80" <= c <= "\udcff" for c in value)
        marks.append("CAST(? AS TEXT)" if broken else "?")
        bound.append(value.encode("utf-8", "surrogateescape") if broken else value)
    return marks, bound
