"""A reader that shares no code with delta-rs (chdb, ClickHouse's engine) sees what silt wrote."""

from __future__ import annotations

import json
import subprocess
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from kit import Site, lake, sql

READER = Path(__file__).resolve().parents[2] / ".venv-readers" / "bin" / "python"
_PROGRAM = """
import json, sys, chdb
options = " SETTINGS output_format_json_quote_64bit_integers = 0, output_format_json_quote_decimals = 0"
answer = {}
for name, path in json.load(sys.stdin).items():
    text = str(chdb.query(f"SELECT * FROM deltaLakeLocal('{path}')" + options, "JSONEachRow"))
    answer[name] = [json.loads(line) for line in text.splitlines()]
json.dump(answer, sys.stdout)
"""


def _read(tables: dict[str, Path]) -> dict[str, list[dict[str, Any]]]:
    """The rows of Delta tables as chdb reads them."""
    if not READER.exists():
        pytest.skip("no other reader: `make readers` installs one")
    done = subprocess.run(
        [READER, "-c", _PROGRAM],
        input=json.dumps({name: str(path) for name, path in tables.items()}),
        capture_output=True,
        text=True,
        timeout=100,
        cwd="/",  # chdb reads only below its working folder
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _plain(value: Any) -> Any:
    """A value as both readers' JSON can say it."""
    match value:
        case datetime():
            return value.strftime("%Y-%m-%d %H:%M:%S.%f")
        case Decimal():
            return float(value)
        case float() if value.is_integer():
            return int(value)  # chdb's JSON has no 7.0
        case _:
            return value


def _sorted(rows: list[dict[str, Any]]) -> list[str]:
    return sorted(json.dumps({n: _plain(v) for n, v in row.items()}, sort_keys=True) for row in rows)


def test_chinook(tmp_path: Path, real_databases: Path) -> None:
    """Every table of chinook: as many rows as the source has, and the same cells in both readers."""
    site = Site(tmp_path)
    site.write('  "*": {mode: overwrite}\n', source=str(real_databases / "chinook.sqlite"))
    results = {result.name: result for result in site.cycle().streams}
    assert {result.state for result in results.values()} == {"ok"}
    there = _read({name: tmp_path / "lake" / result.into for name, result in results.items()})
    assert len(there) >= 11
    for name, result in results.items():
        ((count,),) = sql(real_databases / "chinook.sqlite", f'SELECT count(*) FROM "{name}"')
        assert len(there[name]) == count, name
        assert _sorted(there[name]) == _sorted(lake(tmp_path / "lake" / result.into)), name


SENSOR_ROWS = 25_325


@pytest.fixture(scope="module")
def sensor(tmp_path_factory: pytest.TempPathFactory, real_databases: Path) -> Path:
    """The sensor database, replicated in batches of 97 rows."""
    folder = tmp_path_factory.mktemp("sensor")
    site = Site(folder)
    source = real_databases / "sensor_readings.db"
    site.write("  sensor_readings: {batch: {max_rows: 97}}\n", source=str(source))
    result = site.one()
    assert (result.state, result.rows, result.batches) == ("ok", SENSOR_ROWS, -(-SENSOR_ROWS // 97))
    return folder / "lake" / "sensor_readings"


def test_sensor_in_batches_of_97(sensor: Path, real_databases: Path) -> None:
    """25,325 rows, all distinct, the ids those of the source."""
    ids = [row["id"] for row in lake(sensor)]
    source = sql(real_databases / "sensor_readings.db", "SELECT id FROM sensor_readings ORDER BY id")
    assert len(set(ids)) == len(ids) == SENSOR_ROWS
    assert sorted(ids) == [number for (number,) in source]


def test_sensor_by_another_reader(sensor: Path) -> None:
    """The other reader, which has the same 25,325 rows, cell by cell."""
    rows = _read({"sensor": sensor})["sensor"]
    assert len(rows) == SENSOR_ROWS
    assert _sorted(rows) == _sorted(lake(sensor))
