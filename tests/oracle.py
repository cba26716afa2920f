"""What the lake must hold: the source read by stdlib sqlite3 in another process, in the lake's types.

By what DESIGN 6 says of each type, in code that shares nothing with silt.
"""

from __future__ import annotations

import importlib.util
import json
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

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
