"""Readers that share no code with delta-rs see what silt wrote: ClickHouse's engine (chdb) and Sail."""

from __future__ import annotations

from pathlib import Path

import asked
import pytest
import readers
from cookbook import names
from kit import Site, lake, sql
from readers import PROGRAMS, Ask, delta_rs, differences

pytestmark = pytest.mark.timeout(900)

SENSOR_ROWS = 25_325
CHINOOK_TABLES = 11


@pytest.mark.parametrize("reader", PROGRAMS)
def test_chinook(tmp_path: Path, real_databases: Path, reader: str) -> None:
    """Every table of chinook: as many rows as the source has, and the same cells and types."""
    site = Site(tmp_path)
    site.write('  "*": {mode: overwrite}\n', source=str(real_databases / "chinook.sqlite"))
    results = {result.name: result for result in site.cycle().streams}
    assert {result.state for result in results.values()} == {"ok"}
    asks = {name: Ask(str(tmp_path / "lake" / result.into)) for name, result in results.items()}
    assert len(asks) == CHINOOK_TABLES
    assert differences(reader, asks) == []
    for name, ask in asks.items():
        ((count,),) = sql(real_databases / "chinook.sqlite", f'SELECT count(*) FROM "{name}"')
        assert delta_rs(ask).num_rows == count, name


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


@pytest.mark.parametrize("reader", PROGRAMS)
def test_sensor_by_another_reader(sensor: Path, reader: str) -> None:
    """The other reader, which has the same 25,325 rows, cell by cell; and those of an earlier version."""
    asks = {"now": Ask(str(sensor)), "then": Ask(str(sensor), version=100)}
    assert differences(reader, asks) == []
    assert [table.num_rows for table in readers.read(reader, list(asks.values()))] == [SENSOR_ROWS, 100 * 97]


# --- every table of the torture database ----------------------------------------------------------


@pytest.fixture(scope="module")
def tortured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ask]:
    """All of them, by modes in turn, changed once."""
    return asked.of_torture(tmp_path_factory.mktemp("tortured"))


@pytest.mark.nightly
@pytest.mark.parametrize("reader", PROGRAMS)
def test_the_torture_database(tortured: dict[str, Ask], reader: str) -> None:
    """Every type, value, key and name, as append, overwrite, merge and mirror wrote them."""
    assert len(tortured) >= 60
    assert differences(reader, tortured) == []


# --- every recipe ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cooked(tmp_path_factory: pytest.TempPathFactory, real_databases: Path) -> dict[str, Ask]:
    """The tables of every recipe, and what is to be asked of them."""
    sensors = real_databases / "sensor_readings.db"
    asks = (asked.of_recipe(tmp_path_factory.mktemp("cook"), name, sensors) for name in names())
    return {name: ask for found in asks for name, ask in found.items()}


@pytest.mark.nightly
@pytest.mark.parametrize("reader", PROGRAMS)
def test_every_recipe(cooked: dict[str, Ask], reader: str) -> None:
    """Rows, types, partitions, time travel of what each recipe writes, after columns came and rows went."""
    asked.check_recipes(cooked)
    assert differences(reader, cooked) == []
