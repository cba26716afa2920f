"""Recipes run as they are."""

from __future__ import annotations

import hashlib
import shutil
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from clirun import silt
from kit import lake, sql

RECIPES = Path(__file__).resolve().parents[2] / "recipes"


@pytest.fixture
def recipes(tmp_path: Path) -> Path:
    """A copy, so that a run leaves nothing behind."""
    return Path(
        shutil.copytree(RECIPES, tmp_path / "recipes", ignore=shutil.ignore_patterns("lake", "state"))
    )


def test_routing(recipes: Path) -> None:
    """One table goes raw, filtered and sanitized into three targets, cell by cell as the recipe says."""
    done = silt("run", "recipes/routing.yaml", "--once", cwd=recipes.parent)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = sql(recipes / "routing.db", "select *, date(at) from readings order by id")
    at = {row[0]: datetime.fromisoformat(row[1]).replace(tzinfo=UTC) for row in rows}

    def got(target: str) -> list[tuple[object, ...]]:
        table = lake(recipes / "lake" / target / "readings")
        return [tuple(row.values()) for row in sorted(table, key=lambda row: row["id"])]

    assert got("vault") == [row[:8] for row in rows]
    assert got("analysts") == [
        (id_, at[id_], device, lat, lon, degrees, date.fromisoformat(day))
        for id_, _, device, _, lat, lon, degrees, quality, day in rows
        if quality and degrees is not None
    ]
    assert got("partners") == [
        (
            id_,
            at[id_].replace(hour=0, minute=0, second=0),
            hashlib.sha256(f"change me{device}".encode()).hexdigest(),
            carrier and "[REDACTED]",
            round(lat, 2),
            round(lon, 2),
            degrees,
            quality,
        )
        for id_, _, device, carrier, lat, lon, degrees, quality, _ in rows
        if quality
    ]
    again = silt("run", "recipes/routing.yaml", "--once", cwd=recipes.parent)
    assert "3 streams up to date" in again.stdout
