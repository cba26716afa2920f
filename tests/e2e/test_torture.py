"""Every table of a torture database, in every mode: the lake is the source, cell by cell.

What a column cannot hold is in `_rescued_data`: both together give every value of the source back.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import torture
from kit import Site, sql
from oracle import Shown, proj, quoted, types_of
from torture import MODES, ODDITIES, VARIANTS, Oddity

Assigned = Mapping[Oddity, str]
"""Each oddity with its mode."""


def _wrong(site: Site, oddity: Oddity, result: Any, mode: str) -> list[str]:
    """What is wrong with a stream after a cycle."""
    said = f"{result.state}: {result.error} ({result.error and result.error.why})"
    if mode in oddity.refused:
        return [] if oddity.refused[mode] in said else [f"not refused: {said}"]
    if mode not in oddity.modes:
        return [] if result.state == "disabled" else [f"not disabled: {said}"]
    if result.state != "ok":
        return [said]
    into = site.folder / "lake" / result.into
    names = {
        name: name.translate(torture.SPARK) for name in Shown(site.database, oddity.name, into).columns()
    }
    shown = Shown(site.database, oddity.name, into, names, oddity.how)
    return [*_types(shown, oddity), *shown.differences()]


def _types(shown: Shown, oddity: Oddity) -> list[str]:
    kinds = types_of(shown.into)
    found = {name: kinds.get(shown.names.get(name, name)) for name in oddity.kinds}
    return [f"{n} is {found[n]}, not {kind}" for n, kind in oddity.kinds.items() if found[n] != kind]


def _cycle(site: Site, assigned: Assigned, handles: Any) -> None:
    """A cycle: every stream is what it should be."""
    results = {result.name: result for result in site.cycle(handles=handles).streams}
    helpers = {name for oddity in assigned for name in oddity.helpers}
    assert set(results) == {oddity.name for oddity in assigned} | helpers
    found = {o.name: _wrong(site, o, results[o.name], mode) for o, mode in assigned.items()}
    assert "\n".join(f"{name}: {line}" for name, lines in found.items() for line in lines) == ""


def _handles(site: Site) -> AbstractContextManager[Any]:
    from silt import manifest, observe

    return observe.Handles(manifest.load(site.manifest))


HALVES = 2


@pytest.mark.parametrize("half", range(HALVES))
@pytest.mark.timeout(600)
def test_every_table_in_one_mode(tmp_path: Path, half: int) -> None:
    """A running silt: rows that were there, then rows that came, changed and went; modes take turns."""
    chosen = VARIANTS["wal"].oddities[half::HALVES]
    assigned = torture.in_turn(chosen)
    site = Site(tmp_path)
    torture.build(site.database, VARIANTS["wal"], chosen)
    site.manifest.write_text(torture.manifest(assigned))
    with _handles(site) as handles:
        _cycle(site, assigned, handles)
        torture.change(site.database, assigned)
        _cycle(site, assigned, handles)


@pytest.mark.nightly
@pytest.mark.parametrize("resident", [True, False], ids=["running", "once"])
@pytest.mark.parametrize("kind", VARIANTS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.timeout(3600)
def test_every_table_in_every_mode(tmp_path: Path, mode: str, kind: str, resident: bool) -> None:
    """UTF-8 and UTF-16, small pages and large ones; and in the end there is nothing left to do."""
    site, variant = Site(tmp_path), VARIANTS[kind]
    assigned = dict.fromkeys(variant.oddities, mode)
    torture.build(site.database, variant, variant.oddities)
    site.manifest.write_text(torture.manifest(assigned))
    with _handles(site) if resident else nullcontext() as handles:
        _cycle(site, assigned, handles)
        torture.change(site.database, assigned)
        _cycle(site, assigned, handles)
        again = {result.name: result.batches for result in site.cycle(handles=handles).streams}
    assert {name: batches for name, batches in again.items() if batches} == {}


def test_there_are_enough_of_them() -> None:
    """At least sixty tables, no two of one name; every mode is tried with nearly all of them."""
    names = [oddity.name.lower() for oddity in ODDITIES]
    assert len(set(names)) == len(names) >= 60
    for mode in MODES:
        assert sum(mode in oddity.modes for oddity in ODDITIES) > 0.9 * len(ODDITIES)


# --- real databases -------------------------------------------------------------------------------

REAL = {"proj.db": 37, "chinook.sqlite": 11, "home_assistant_2024_3.db": 12, "sensor_readings.db": 1}
"""How many tables each has."""


class _Real:
    """A table of a real database: a third of its rows are taken out, and come back later."""

    def __init__(self, database: Path, name: str) -> None:
        ask = "SELECT name, pk, hidden, type FROM pragma_table_xinfo(?)"
        found = sql(database, (ask, (name,)))
        ((self.without_rowid,),) = sql(database, ("SELECT wr FROM pragma_table_list WHERE name = ?", (name,)))
        self.name, self.table = name, quoted(name)
        self.key = [column for column, pk, *_ in sorted(found, key=lambda row: row[1]) if pk]
        self.columns = [column for column, _, hidden, _ in found if not hidden]
        alias = len(self.key) == 1 and any(pk and kind.upper() == "INTEGER" for _, pk, _, kind in found)
        self.order = self.key if self.without_rowid or alias else ["rowid"]
        nulls = " OR ".join(f"{quoted(column)} IS NULL" for column in self.key) or "0"
        ((self.keyless,),) = sql(database, f"SELECT count(*) FROM {self.table} WHERE {nulls}")

    def stream(self, mode: str) -> dict[str, Any]:
        """Its stream: by the rowid, or the primary key where it has none; merge and mirror by that key."""
        ordered = {"cursor": self.order[0] if len(self.order) == 1 else self.order}
        deletes = {"mode": "hard", "max_fraction": 1}
        more: dict[str, dict[str, Any]] = {
            "append": ordered,
            "merge": {**ordered, "deletes": deletes} if self.key else {"enabled": False},
            "mirror": {} if self.key else {"lineage": ["rowid"]},
        }
        return {"mode": mode, **more.get(mode, {})}

    def take(self) -> str:
        """The last third by its order."""
        key, falls = (
            ", ".join(map(self._quoted, self.order)),
            ", ".join(f"{self._quoted(n)} DESC" for n in self.order),
        )
        last = (
            f"SELECT {key} FROM {self.table} ORDER BY {falls} LIMIT (SELECT count(*) / 3 FROM {self.table})"
        )
        return f"DELETE FROM {self.table} WHERE ({key}) IN ({last})"

    def bring(self) -> str:
        """They are there again, by their rowids where those order them."""
        names = ", ".join(dict.fromkeys(map(self._quoted, [*self.order, *self.columns])))
        there = f"SELECT 1 FROM {self.table} AS t WHERE " + " AND ".join(
            f"t.{self._quoted(n)} IS o.{self._quoted(n)}" for n in self.order
        )
        lacking = f"SELECT {names} FROM whole.{self.table} AS o WHERE NOT EXISTS ({there})"
        return f"INSERT INTO {self.table} ({names}) {lacking}"

    def spoil(self) -> list[str]:
        """Some rows go; in others a column that is no key becomes NULL, where the table lets it."""
        first = f"SELECT {self._quoted(self.order[0])} FROM {self.table} ORDER BY 1 LIMIT 5"
        gone = f"DELETE FROM {self.table} WHERE {self._quoted(self.order[0])} IN ({first})"
        plain = [name for name in self.columns if name not in self.key]
        return [gone, *(f"UPDATE OR IGNORE {self.table} SET {quoted(n)} = NULL" for n in plain[-1:])]

    def _quoted(self, name: str) -> str:
        return name if name == "rowid" else quoted(name)


@pytest.mark.nightly
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", REAL)
@pytest.mark.timeout(3600)
def test_real_databases_in_every_mode(tmp_path: Path, real_databases: Path, name: str, mode: str) -> None:
    """Every table of PROJ's database and of three applications', with rows that come, change and go."""
    site, whole = Site(tmp_path), tmp_path / "whole.db"
    shutil.copyfile(proj() if name == "proj.db" else real_databases / name, whole)
    _without_triggers(whole)
    shutil.copyfile(whole, site.database)
    tables = [_Real(whole, table) for table in _tables(whole)]
    assert len(tables) == REAL[name]
    sql(site.database, *(table.take() for table in tables))
    site.manifest.write_text(
        json.dumps(
            {
                "version": 1,
                "sources": {"app": "./app.db"},
                "targets": {"lake": "./lake"},
                "streams": {table.name: table.stream(mode) for table in tables},
            }
        )
    )
    _same_as_real(site, tables, mode)
    sql(site.database, f"ATTACH '{whole}' AS whole", *(table.bring() for table in tables))
    if mode in ("mirror", "overwrite"):
        sql(site.database, *(statement for table in tables for statement in table.spoil()))
    _same_as_real(site, tables, mode)
    assert {result.name: result.batches for result in site.cycle().streams if result.batches} == {}


def _tables(database: Path) -> list[str]:
    ask = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY name"
    return [name for (name,) in sql(database, ask)]


def _without_triggers(database: Path) -> None:
    """They check each other's tables, which lack rows here."""
    triggers = sql(database, "SELECT name FROM sqlite_schema WHERE type = 'trigger'")
    sql(database, *(f"DROP TRIGGER {quoted(name)}" for (name,) in triggers))


def _same_as_real(site: Site, tables: list[_Real], mode: str) -> None:
    results = {result.name: result for result in site.cycle().streams}
    problems = []
    for table in tables:
        result = results[table.name]
        if mode == "merge" and not table.key:
            assert result.state == "disabled"
            continue
        if mode in ("merge", "mirror") and table.keyless:  # SQLite lets a primary key be NULL
            assert "rows of usage have NULL in the primary key" in result.error.what
            continue
        assert result.state == "ok", f"{table.name}: {result.error}"
        problems += [
            f"{table.name}: {p}"
            for p in Shown(site.database, table.name, site.folder / "lake" / result.into).differences()
        ]
    assert problems == []
