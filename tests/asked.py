"""What readers of tables are asked: of the torture database, and of every recipe before and after changes."""

from __future__ import annotations

import json
from pathlib import Path

import torture
from cookbook import Cook, names
from kit import Site
from readers import Ask, cells, delta_rs


def of_torture(folder: Path) -> dict[str, Ask]:
    """Every table of the torture database, by modes in turn, changed once."""
    site, variant = Site(folder), torture.VARIANTS["wal"]
    assigned = torture.in_turn(variant.oddities)
    torture.build(site.database, variant, tuple(assigned))
    site.manifest.write_text(torture.manifest(assigned))
    site.cycle()
    torture.change(site.database, assigned)
    results = {result.name: result for result in site.cycle().streams}
    return {o.name: Ask(str(site.folder / "lake" / results[o.name].into)) for o in assigned}


def of_recipe(folder: Path, name: str, sensors: Path) -> dict[str, Ask]:
    """The tables of a recipe, after a column came, rows went and others came; as before; by partitions."""
    cook = Cook(folder, name, sensors)
    cook.run()
    before = {table: (_version(path), delta_rs(Ask(str(path)))) for table, path in cook.tables().items()}
    assert before, name
    cook.change()
    cook.run()
    asks: dict[str, Ask] = {}
    for table, path in cook.tables().items():
        asks[f"{name} {table}"] = Ask(str(path))
        version, rows = before[table]
        then = asks[f"{name} {table} before"] = Ask(str(path), version=version)
        assert cells(delta_rs(then)) == cells(rows)
        asks |= {f"{name} {table} {where}": Ask(str(path), where=where) for where in _partitions(path)}
    return asks


def check_recipes(asks: dict[str, Ask]) -> None:
    """None is missing, nor are earlier versions and partitions."""
    assert {name.split(" ")[0] for name in asks} == set(names())
    assert sum(" before" in name for name in asks) >= 20
    assert {name.split("`")[1] for name in asks if "`" in name} >= {"day", "month", "_silt_database"}


def _version(table: Path) -> int:
    return max(int(entry.stem) for entry in (table / "_delta_log").glob("*.json"))


def _partitions(table: Path) -> set[str]:
    """A condition for each partition, by what the log says of its files."""
    found = set()
    for entry in (table / "_delta_log").glob("*.json"):
        for line in entry.read_text().splitlines():
            values = json.loads(line).get("add", {}).get("partitionValues", {})
            found |= {f"`{name}` = '{value}'" for name, value in values.items() if value is not None}
    return found
