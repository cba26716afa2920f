"""Every recipe, carried out in a folder of its own: its tables, then its tables after its source changed."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from clirun import silt
from kit import sql
from oracle import quoted

RECIPES = Path(__file__).resolve().parents[1] / "recipes"
OF_SENSORS = {"sensor.yaml", "uploader-config.yaml.example"}
"""Recipes over a sensor's database, which does not come with them."""

_STORE = re.compile(r"s3://.*\n    storage_options:\n(?:      .*\n)+")


def names() -> list[str]:
    """Every recipe there is."""
    return sorted(path.name for path in RECIPES.iterdir() if path.suffix in (".yaml", ".example"))


class Cook:
    """A copy of the recipes in which one is carried out; an S3 recipe's store is a folder."""

    def __init__(self, folder: Path, name: str, sensors: Path) -> None:
        left_out = shutil.ignore_patterns("lake", "state")
        self.folder = Path(shutil.copytree(RECIPES, folder / "recipes", ignore=left_out))
        self.recipe = self.folder / name
        self._sensors = Path(shutil.copyfile(sensors, folder / "sensors.db")) if name in OF_SENSORS else None
        self.recipe.write_text(_STORE.sub("./lake/shop\n", self.recipe.read_text()))

    def run(self) -> None:
        """Once; every stream is well."""
        variables = {"NODE_ID": "edge-7"}
        if self._sensors is not None:
            variables["SQLITE_PATH"] = str(self._sensors)
            variables["TABLE_PATH"] = str(self.folder / "lake" / "sensor_readings")
            variables["STATE_DIR"] = str(self.folder / "state")
        done = silt("run", self.recipe.name, "--once", cwd=self.folder, **variables)
        assert done.returncode == 0, done.stdout + done.stderr

    def tables(self) -> dict[str, Path]:
        """Its Delta tables, by their paths below the folder."""
        found = sorted(log.parent for log in self.folder.rglob("_delta_log"))
        return {str(table.relative_to(self.folder)): table for table in found}

    def change(self) -> None:
        """In each table of each source: a column comes, a row goes, and a row comes where one may."""
        for database in [*self.folder.rglob("*.db"), *([self._sensors] if self._sensors else [])]:
            for table, key in _tables(database):
                sql(
                    database,
                    f"ALTER TABLE {quoted(table)} ADD COLUMN came_later TEXT DEFAULT 'then'",
                    f"DELETE FROM {quoted(table)} WHERE rowid = (SELECT min(rowid) FROM {quoted(table)})",
                )
                if key:
                    _again(database, table, key)


def _tables(database: Path) -> Iterator[tuple[str, str]]:
    """(name, its INTEGER PRIMARY KEY or '') of each table with rowids."""
    query = "SELECT name FROM pragma_table_list WHERE type = 'table' AND wr = 0 AND name NOT LIKE 'sqlite%'"
    for (name,) in sql(database, query):
        key = "SELECT name FROM pragma_table_info(?) WHERE pk AND upper(type) = 'INTEGER'"
        found = sql(database, (key, (name,)))
        yield name, found[0][0] if len(found) == 1 else ""


def _again(database: Path, table: str, key: str) -> None:
    """The last row once more, under the next key; not where another column must be unique."""
    columns = sql(database, ("SELECT name FROM pragma_table_info(?) WHERE name <> ?", (table, key)))
    names_ = ", ".join(quoted(name) for (name,) in columns)
    last = f"SELECT {names_} FROM {quoted(table)} ORDER BY {quoted(key)} DESC LIMIT 1"
    with suppress(AssertionError):
        sql(database, f"INSERT INTO {quoted(table)} ({names_}) {last}")
