"""Windows of time: each once, whole, as the rows were when it closed; late rows counted, one by one.

What must come of it is computed from instants that the rows carry beside their time, in another process,
by stdlib sqlite3: it shares no code with silt, neither how a time is read nor how windows are cut.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from clirun import doomed, ended, silt
from hypothesis import given, settings
from hypothesis import strategies as st
from kit import Site, Sqlite, lake, sql
from outcome import at

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SECOND = 1_000_000
INSERT = "INSERT INTO r (sensor, at, v, us) VALUES (?, ?, ?, ?)"

SUMS = """
SELECT start, start + {size} AS finish, sensor, count(*), sum(v), max(v)
FROM (SELECT us - ((us % {size}) + {size}) % {size} AS start, sensor, v FROM r WHERE v < 90)
WHERE start >= {low} AND start + {size} <= {high}
GROUP BY start, sensor
"""


def text(us: int) -> str:
    return (EPOCH + timedelta(microseconds=us)).replace(tzinfo=None).isoformat()


def berlin(us: int) -> str:
    """A time of a clock on a wall; never of the hour that comes twice, which nobody could tell apart."""
    return (
        (EPOCH + timedelta(microseconds=us))
        .astimezone(ZoneInfo("Europe/Berlin"))
        .replace(tzinfo=None)
        .isoformat(" ")
    )


def mixed(us: int) -> str:
    """Three formats, two offsets, by the instant."""
    moment = EPOCH + timedelta(microseconds=us)
    zones = (UTC, ZoneInfo("Asia/Kolkata"), None)
    zone = zones[us // SECOND % 3]
    return text(us) if zone is None else moment.astimezone(zone).isoformat("T" if us % 2 else " ")


FORMATS: dict[str, tuple[str, Any, int, str]] = {
    "iso": ("TEXT", text, 1, ""),
    "berlin": ("TEXT", berlin, 1, ", timezone: Europe/Berlin"),
    "mixed": ("TEXT", mixed, 1, ""),
    "epoch_s": ("INTEGER", lambda us: us // SECOND, SECOND, ", format: epoch_s"),
    "epoch_s_real": ("REAL", lambda us: us / SECOND, 1000, ", format: epoch_s"),
    "epoch_ms": ("INTEGER", lambda us: us // 1000, 1000, ", format: epoch_ms"),
    "epoch_ns": ("INTEGER", lambda us: us * 1000, 1, ", format: epoch_ns"),
    "julian": ("REAL", lambda us: 2440587.5 + us / 86_400e6, SECOND, ", format: julian"),
}
"""Name -> declared type, how an instant is written, the instants that it can write, what is declared."""

TABLES = {
    "key": "id INTEGER PRIMARY KEY",
    "counting": "id INTEGER PRIMARY KEY AUTOINCREMENT",
    "rowid": "id TEXT",
}
"""How late rows are told: by the last rowid, or by counts where there is no INTEGER PRIMARY KEY."""


@dataclass
class World:
    """A source, its stream, and what the lake must hold."""

    site: Site
    sql: Sqlite
    form: str
    size: int
    lateness: int
    batch: int = 1_000_000
    key: int | None = None
    late: int = 0
    fresh: list[int] = field(default_factory=list)
    wanted: Counter[tuple[Any, ...]] = field(default_factory=Counter)

    def begin(self, table: str, *, indexed: bool) -> None:
        declared, _, _, extra = FORMATS[self.form]
        self.sql(
            self.site.database,
            f"CREATE TABLE r ({TABLES[table]}, sensor INT, at {declared}, v INT, us INT)",
            *(["CREATE INDEX r_at ON r (at)"] if indexed else []),
        )
        self.site.write(
            f"  w:\n    table: r\n    where: v < 90\n    batch: {{max_rows: {self.batch}}}\n"
            f"    aggregate: {{time: at, window: {self.size // 1000}ms, by: [sensor],\n"
            f"      lateness: {self.lateness // 1000}ms{extra},\n"
            "      measures: {n: count(*), total: sum(v), greatest: max(v)}}\n"
        )

    def insert(self, rows: list[tuple[int, int, int]]) -> None:
        """(sensor, value, instant): committed now."""
        _, spell, grain, _ = FORMATS[self.form]
        exact = [(sensor, v, us // grain * grain) for sensor, v, us in rows]
        if exact:
            self.sql(self.site.database, (INSERT, [(s, spell(us), v, us) for s, v, us in exact]))
        self.fresh += [us for _, v, us in exact if v < 90]

    def expect_cycle(self, now: int) -> None:
        """A cycle at `now`: what is late by now, and what closes."""
        if self.key is not None:
            self.late += sum(us < self.key for us in self.fresh)
        self.fresh.clear()
        high = (now - self.lateness) // self.size * self.size
        for row in self._sums(self.key if self.key is not None else -(10**17), high):
            self.wanted[row] += 1
            self.key = max(self.key or row[1], row[1])

    def _sums(self, low: int, high: int) -> list[tuple[Any, ...]]:
        return self.sql(self.site.database, SUMS.format(size=self.size, low=low, high=high))

    def check(self) -> None:
        assert self.lake() == self.wanted

    def lake(self) -> Counter[tuple[Any, ...]]:
        rows = self.site.lake("w")
        return Counter(
            (_us(r["window_start"]), _us(r["window_end"]), r["sensor"], r["n"], r["total"], r["greatest"])
            for r in rows
        )

    def reported(self) -> int:
        """Late rows by the metadata of every commit."""
        log = sorted((self.site.folder / "lake" / "w" / "_delta_log").glob("*.json"))
        marks = (
            json.loads(line).get("commitInfo", {}).get("silt")
            for path in log
            for line in path.read_text().splitlines()
        )
        return sum(int(mark.get("late_rows", 0)) for mark in marks if mark)


def _us(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1)


@pytest.fixture(scope="module")
def database() -> Iterator[Sqlite]:
    worker = Sqlite()
    yield worker
    worker.close()


# --- random schedules -----------------------------------------------------------------------------

ORIGINS = (0, -3 * 3_600 * SECOND, 1_767_225_600 * SECOND, 1_774_746_000 * SECOND)
"""1970, before it, 2026, and the night of March in which Berlin's clocks pass over an hour."""

ROWS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 99), st.integers(-40_000, 30_000)), max_size=12)
STEPS = st.lists(st.tuples(ROWS, st.integers(0, 45_000)), min_size=2, max_size=5)


@settings(max_examples=int(os.environ.get("SILT_AGGREGATES", "4")))
@given(data=st.data())
def test_random_rows_windows_and_cycles(
    database: Sqlite, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Whatever format, window, lateness and moments of cold cycles: no window twice, none missing."""
    form = data.draw(st.sampled_from(sorted(FORMATS)))
    now = data.draw(st.sampled_from(ORIGINS if form != "julian" else ORIGINS[2:]))
    world = World(
        site=Site(tmp_path_factory.mktemp("windows")),
        sql=database,
        form=form,
        size=data.draw(st.sampled_from((500, 7_000, 60_000, 3_600_000))) * 1000,
        lateness=data.draw(st.sampled_from((0, 1, 5_000, 30_000))) * 1000,
        batch=data.draw(st.sampled_from((1, 3, 1_000_000))),
    )
    world.begin(data.draw(st.sampled_from(sorted(TABLES))), indexed=data.draw(st.booleans()))
    world.insert([(0, 1, now - 2 * 3_600_000 * 1000)])
    for rows, pause in data.draw(STEPS):
        world.insert([(sensor, v, now + offset * 1000 + 7) for sensor, v, offset in rows])
        now += pause * 1000
        world.expect_cycle(now)
        result = at(world.site, now / SECOND)
        assert result.state == "ok", result.error
        world.check()
        assert world.reported() == world.late
    result = at(world.site, now / SECOND)
    assert (result.rows, result.batches) == (0, 0)


# --- killed ---------------------------------------------------------------------------------------

CREATING = ("before create", "created")
PLACES = (
    *("planned", "before read", "mid-read", "mid-write", "before commit"),
    *("committed", "before sync", "synced", "reported"),
)
AGAIN = {"mid-read": 2, "committed": 2, "before commit": 3}
"""Which time it dies there; a cycle has several commits."""

RUN = ("run", "silt.yaml", "--once", "--json")


@pytest.mark.timeout(400)
def test_killed_at_every_boundary(database: Sqlite, tmp_path: Path) -> None:
    """SIGKILL at every boundary, several commits a cycle: windows once, whole; late rows counted once."""
    rng = random.Random(7)
    world = World(site=Site(tmp_path), sql=database, form="epoch_ms", size=10 * SECOND, lateness=0, batch=4)
    world.begin("counting", indexed=True)
    now, landed = 1_767_225_600 * SECOND, Counter[str]()
    for place in (*CREATING, *PLACES):
        behind = [(rng.randrange(3), rng.randrange(80), now - rng.randrange(60 * SECOND)) for _ in range(4)]
        ahead = [(rng.randrange(3), rng.randrange(80), now + rng.randrange(120 * SECOND)) for _ in range(25)]
        world.insert([*behind, *ahead])
        now += 120 * SECOND
        log = tmp_path / "places.log"
        log.write_text("")
        at = f"{place}:{AGAIN.get(place, 1)}"
        code, problems = ended(doomed(*RUN, cwd=tmp_path, at=at, log=log))
        assert code in (0, -signal.SIGKILL), problems
        landed[place] += code != 0
        if place == "before create":
            continue
        world.expect_cycle(now * 10)
        assert not (_lake_after(world) - world.wanted), "a window that nobody asked for, or half of one"
        done = silt(*RUN, cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        world.check()
        assert world.reported() == world.late
    assert all(landed[place] for place in (*CREATING, *PLACES)), landed
    assert world.late > 15


def _lake_after(world: World) -> Counter[tuple[Any, ...]]:
    """What a killed process left; nothing where it died before there was a table."""
    log = world.site.folder / "lake" / "w" / "_delta_log" / f"{0:020d}.json"
    return world.lake() if log.exists() else Counter()


# --- the recipe -----------------------------------------------------------------------------------

RECIPES = Path(__file__).parents[2] / "recipes"


def test_the_recipe_runs_as_it_is(tmp_path: Path) -> None:
    """recipes/aggregates.yaml: its tables hold what stdlib sqlite3 makes of the same database."""
    for name in ("aggregates.yaml", "quickstart.db"):
        shutil.copy(RECIPES / name, tmp_path)
    done = silt("run", "aggregates.yaml", "--once", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    visits = sql(
        tmp_path / "quickstart.db",
        "SELECT strftime('%Y-%m-%d %H', at), page, count(*), avg(seconds), max(seconds)"
        " FROM visits WHERE seconds IS NOT NULL GROUP BY 1, 2",
    )
    assert _rows(tmp_path, "visits_per_hour", "visits", "mean_seconds", "longest", key="page") == Counter(
        visits
    )
    joined = "order_items i JOIN products p USING (sku)"
    revenue = f"SELECT p.sku, sum(quantity), sum(quantity * price) FROM {joined} GROUP BY 1"
    got = Counter(
        (r["sku"], r["sold"], float(r["revenue"])) for r in lake(tmp_path / "lake/aggregates/revenue")
    )
    assert got == Counter(
        (sku, sold, float(sum_)) for sku, sold, sum_ in sql(tmp_path / "quickstart.db", revenue)
    )
    ((items,),) = sql(tmp_path / "quickstart.db", "SELECT count(*) FROM order_items")
    assert len(lake(tmp_path / "lake/aggregates/ordered_items")) == items
    again = silt("run", "aggregates.yaml", "--once", "--json", cwd=tmp_path)
    assert [s["rows"] for s in json.loads(again.stdout)["streams"]] == [0, 0, 0, 0]


def _rows(folder: Path, table: str, *names: str, key: str) -> Counter[tuple[Any, ...]]:
    rows = lake(folder / "lake" / "aggregates" / table)
    return Counter((f"{r['window_start']:%Y-%m-%d %H}", r[key], *(r[name] for name in names)) for r in rows)
