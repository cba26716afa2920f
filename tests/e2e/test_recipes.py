"""Recipes run as they are."""

from __future__ import annotations

import hashlib
import json
import shutil
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from clirun import silt
from kit import lake, sql
from oracle import equal
from servers import s3_server

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


def _once(recipes: Path, name: str, **variables: str) -> None:
    """The recipe runs; run again, it finds nothing to do."""
    done = silt("run", f"recipes/{name}", "--once", cwd=recipes.parent, **variables)
    assert done.returncode == 0, done.stdout + done.stderr
    again = silt("run", f"recipes/{name}", "--once", cwd=recipes.parent, **variables)
    assert "up to date" in again.stdout, again.stdout + again.stderr


def _rows(table: Path) -> list[tuple[object, ...]]:
    return sorted(tuple(row.values()) for row in lake(table))


def test_tenants(recipes: Path) -> None:
    """Every tenant's rows are in one table under its name, and its settings in a table of their own."""
    _once(recipes, "tenants.yaml")
    root = recipes / "lake" / "tenants"
    wanted = []
    for tenant, order in (("acme", "NULL"), ("globex", "purchase_order")):
        query = f"select id, issued_on, round(total * 100), {order} from invoices"
        for id_, day, cents, purchase in sql(recipes / "tenants" / f"{tenant}.db", query):
            wanted.append((id_, date.fromisoformat(day), int(cents), purchase, tenant))
        settings = sql(recipes / "tenants" / f"{tenant}.db", "select name, value from settings order by 1")
        assert _rows(root / "settings" / tenant) == settings
    names = ("id", "issued_on", "total", "purchase_order", "_silt_database")
    got = [[row[name] for name in names] for row in lake(root / "invoices")]
    assert sorted((i, d, int(t * 100), p or "", n) for i, d, t, p, n in got) == sorted(
        (i, d, c, p or "", n) for i, d, c, p, n in wanted
    )


def test_patterns(recipes: Path) -> None:
    """Months come together in one table; what is small is there as it is; what is left out is not."""
    _once(recipes, "patterns.yaml")
    root = recipes / "lake" / "patterns"
    wanted = []
    for month in ("2026-01", "2026-02"):
        query = f"select id, at, level, message, '{month}' from log_{month.replace('-', '_')}"
        wanted += [
            (i, datetime.fromtimestamp(at, UTC), *rest)
            for i, at, *rest in sql(recipes / "patterns.db", query)
        ]
    assert _rows(root / "log") == sorted(wanted)
    for table in ("machines", "shifts"):
        assert _rows(root / table) == sql(recipes / "patterns.db", f"select * from {table} order by 1")
    assert {path.name for path in root.iterdir()} == {"log", "machines", "shifts"}


def test_changes(recipes: Path) -> None:
    """Orders and stock are as the source has them, also once they have changed."""
    _once(recipes, "changes.yaml")
    sql(recipes / "changes.db", "update orders set state = 'paid' where id in (7, 8)")
    sql(recipes / "changes.db", "update stock set pieces = 0, version = 61 where sku = 'SKU-003'")
    sql(
        recipes / "changes.db",
        "delete from stock where sku = 'SKU-004'",
        "delete from prices where price < 2",
    )
    _once(recipes, "changes.yaml")
    for table in ("stock", "prices"):
        equal(recipes / "changes.db", table, recipes / "lake" / "changes" / table)
    wanted = sql(recipes / "changes.db", "select id, state, updated_at from orders order by id")
    orders = sorted(lake(recipes / "lake" / "changes" / "orders"), key=lambda row: row["id"])
    times = [datetime.fromisoformat(at).replace(tzinfo=UTC) for _, _, at in wanted]
    assert [(row["id"], row["state"]) for row in orders] == [row[:2] for row in wanted]
    assert [row["updated_at"] for row in orders] in (times, [at for *_, at in wanted])
    assert {row["_deleted_at"] for row in orders} == {None}


def test_masking(recipes: Path) -> None:
    """No name and no address is anywhere in the lake; digests are those of the salt and the text."""
    _once(recipes, "masking.yaml", SALT="pepper")
    root = recipes / "lake" / "masked"
    people = sql(recipes / "quickstart.db", "select id, name, email, joined_at from customers order by id")
    assert _rows(root / "customers") == [
        (
            id_,
            "[REDACTED]",
            email and hashlib.sha256(f"pepper{email}".encode()).hexdigest(),
            datetime.fromisoformat(joined[:10]).replace(tzinfo=UTC),
        )
        for id_, _, email, joined in people
    ]
    assert {name for row in lake(root / "visits") for name in row} == {"id", "at", "page"}
    written = b"".join(path.read_bytes() for path in root.rglob("*") if path.is_file())
    assert not [email for _, _, email, _ in people if email and email.encode() in written]


def test_s3(recipes: Path) -> None:
    """To a real S3 server: every table of the shop is there, row for row."""
    with s3_server() as s3:
        given = {**s3.options, "NODE_ID": "edge-7", "BUCKET": "lake"}
        _once(recipes, "s3.yaml", **given)
        for table in ("customers", "orders", "order_items", "visits"):
            (wanted,) = sql(recipes / "quickstart.db", f"select count(*) from {table}")
            told = silt(
                "query", "recipes/s3.yaml", f"select * from {table}", "--json", cwd=recipes.parent, **given
            )
            rows = json.loads(told.stdout)["rows"]
            assert len({tuple(sorted((k, str(v)) for k, v in row.items())) for row in rows}) == wanted[0]
            assert {row["_silt_node"] for row in rows} == {"edge-7"}
