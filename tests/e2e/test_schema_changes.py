"""Columns that come, go, are renamed or retyped in a source while its stream runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from kit import Site, sql
from outcome import held, ok, version

from silt import manifest as manifests
from silt import observe, replicate
from silt.errors import UserError


@pytest.fixture
def site(tmp_path: Path) -> Site:
    here = Site(tmp_path)
    here.sql(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, temp REAL, note TEXT)",
        ("INSERT INTO t (temp, note) VALUES (?, ?)", [(1.5, "a"), (2.5, "b")]),
    )
    return here


def streams(**settings: Any) -> str:
    return f"  t: {settings!r}\n".replace("'", '"')


def begun(site: Site, **settings: Any) -> None:
    site.write(streams(**settings))
    ok(site)


def rows(site: Site, into: str = "t") -> list[tuple[Any, ...]]:
    """By id, without silt's own columns."""
    found = sorted(site.lake(into), key=lambda row: row["id"])
    return [tuple(v for name, v in row.items() if not name.startswith("_")) for row in found]


def columns(site: Site, into: str = "t") -> dict[str, str]:
    fields = DeltaTable(str(site.folder / "lake" / into)).schema().fields
    return {field.name: str(field.type.type) for field in fields}


def told(site: Site) -> str:
    """What the plan says of the stream beside its figures."""
    (plan,) = site.plan().streams
    return "; ".join(plan.notes)


MODES = ["append", "overwrite", "merge"]


def settings(mode: str) -> dict[str, Any]:
    return {"mode": mode} | ({"cursor": "id"} if mode == "merge" else {})


# --- columns that come ----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_a_new_column_is_added(site, mode):
    """Nullable, with its declared type and where it comes from as its comment; rows before it hold NULL."""
    begun(site, **settings(mode))
    site.sql("ALTER TABLE t ADD COLUMN power INTEGER", "INSERT INTO t (note, power) VALUES ('c', 7)")
    ok(site, 3 if mode == "overwrite" else 1)
    assert rows(site) == [(1, 1.5, "a", None), (2, 2.5, "b", None), (3, None, "c", 7)]
    (field,) = (f for f in DeltaTable(str(site.folder / "lake" / "t")).schema().fields if f.name == "power")
    assert (str(field.type.type), field.nullable) == ("long", True)
    assert field.metadata["comment"] == "power INTEGER"


def test_a_column_without_a_value_has_its_declared_type(site):
    """Never void: no reader opens such a table."""
    site.sql("ALTER TABLE t ADD COLUMN at TIMESTAMP", "ALTER TABLE t ADD COLUMN price DECIMAL(9, 2)")
    begun(site)
    assert {"at": "timestamp", "price": "decimal(9,2)"}.items() <= columns(site).items()


def test_a_new_column_is_left_out(site):
    """`on_schema_change: ignore`: the plan says so; one that the manifest names comes all the same."""
    begun(site, on_schema_change="ignore")
    assert set(columns(site)) == {"id", "temp", "note"}
    site.sql("ALTER TABLE t ADD COLUMN x TEXT", "ALTER TABLE t ADD COLUMN y TEXT")
    site.sql("INSERT INTO t (note, x, y) VALUES ('c', 'no', 'yes')")
    assert told(site) == "x, y are new in the source, and left out"
    ok(site, 1)
    assert rows(site)[-1] == (3, None, "c")
    site.write(streams(on_schema_change="ignore", columns={"y": {"rename": "why"}}))
    site.sql("INSERT INTO t (note, x, y) VALUES ('d', 'no', 'yes')")
    ok(site, 1)
    assert rows(site)[-1] == (4, None, "d", "yes")


# --- columns that go ------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_a_column_that_is_gone_arrives_null(site, mode):
    """Its column stays in the lake, and the plan says that nothing fills it any more."""
    begun(site, **settings(mode))
    site.sql("ALTER TABLE t DROP COLUMN note", "INSERT INTO t (temp) VALUES (3.5)")
    assert told(site) == "note is no longer in the source: NULL from now on"
    ok(site)
    assert rows(site)[-1] == (3, 3.5, None)


def test_a_column_that_somebody_else_added_is_not_gone(site):
    """It never was the source's."""
    begun(site, on_schema_change="fail")
    table = DeltaTable(str(site.folder / "lake" / "t"))
    from deltalake import Field
    from deltalake.schema import PrimitiveType

    table.alter.add_columns([Field("theirs", PrimitiveType("string"))])
    site.sql("INSERT INTO t (temp) VALUES (3.5)")
    ok(site, 1)
    assert told(site) == ""


def test_a_column_that_select_leaves_out_is_not_gone(site):
    """The edit says so itself."""
    begun(site)
    site.write(streams(select=["*", "-note"], on_schema_change="fail"))
    site.sql("INSERT INTO t (temp) VALUES (3.5)")
    ok(site, 1)
    assert told(site) == ""


# --- columns that are renamed ---------------------------------------------------------------------


def test_a_renamed_column_is_one_that_goes_and_one_that_comes(site):
    """SQLite tells no more."""
    begun(site)
    site.sql("ALTER TABLE t RENAME COLUMN temp TO celsius", "INSERT INTO t (celsius) VALUES (3.5)")
    ok(site, 1)
    assert rows(site) == [(1, 1.5, "a", None), (2, 2.5, "b", None), (3, None, None, 3.5)]


@pytest.mark.parametrize("mode", MODES)
def test_renamed_from_keeps_it_one_column(site, mode):
    """Under the name that it has in the lake."""
    begun(site, **settings(mode))
    site.sql("ALTER TABLE t RENAME COLUMN temp TO celsius", "INSERT INTO t (celsius) VALUES (3.5)")
    site.write(streams(columns={"celsius": {"renamed_from": "temp"}}, **settings(mode)))
    assert told(site) == ""
    ok(site)
    assert rows(site) == [(1, 1.5, "a"), (2, 2.5, "b"), (3, 3.5, None)]
    ok(site, 0)


def test_a_column_that_was_renamed_before_the_first_cycle_has_its_new_name(site):
    """Where nothing has the old one, nothing is to be kept together."""
    site.sql("ALTER TABLE t RENAME COLUMN temp TO celsius")
    begun(site, columns={"celsius": {"renamed_from": "temp"}})
    assert list(columns(site)) == ["id", "celsius", "note"]


def test_databases_of_a_glob_are_renamed_one_by_one(tmp_path):
    """Whichever of them has which name: one column, all values."""
    for name, column in (("a", "temp"), ("b", "celsius"), ("c", "temp")):
        table = f"CREATE TABLE t (id INTEGER PRIMARY KEY, {column} REAL)"
        sql(tmp_path / f"{name}.db", table, "INSERT INTO t VALUES (1, 1.5)")
    site = Site(tmp_path)
    site.write(streams(columns={"celsius": {"renamed_from": "temp"}}), source="./*.db")
    ok(site, 3)
    sql(tmp_path / "a.db", "ALTER TABLE t RENAME COLUMN temp TO celsius", "INSERT INTO t VALUES (2, 2.5)")
    sql(tmp_path / "c.db", "INSERT INTO t VALUES (2, 2.5)")
    ok(site, 2)
    found = sorted((row["_silt_database"], row["id"], row["temp"]) for row in site.lake("t"))
    assert found == [("a", 1, 1.5), ("a", 2, 2.5), ("b", 1, 1.5), ("c", 1, 1.5), ("c", 2, 2.5)]


def test_a_table_with_both_columns_is_refused(site):
    """Two columns are not one, whatever the manifest says."""
    site.sql("ALTER TABLE t ADD COLUMN celsius REAL")
    site.write(streams(columns={"celsius": {"renamed_from": "temp"}}))
    result = site.one()
    assert isinstance(result.error, UserError)
    assert "renamed from 'temp', but the table has both" in str(result.error)
    assert version(site) == -1


# --- columns of another type ----------------------------------------------------------------------


@pytest.fixture
def untyped(site: Site) -> Site:
    """No value of `temp` yet: another type of it changes no row."""
    site.sql("UPDATE t SET temp = NULL")
    return site


def retyped(site: Site) -> None:
    """`temp` is a text now, by SQLite's own recipe: a new table in the old one's place."""
    site.sql(
        "ALTER TABLE t RENAME TO was",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, temp TEXT, note TEXT)",
        "INSERT INTO t SELECT * FROM was",
        "DROP TABLE was",
        "INSERT INTO t (temp) VALUES ('warm')",
    )


def test_values_of_another_type_are_rescued(untyped):
    """The lake's column keeps its type; the plan says it before."""
    site = untyped
    begun(site)
    retyped(site)
    assert "temp is string in the source now: values that do not fit its column" in told(site)
    ok(site)
    assert columns(site)["temp"] == "double"
    last = max(site.lake("t"), key=lambda row: row["id"])
    assert (last["temp"], '"value": "warm"' in last["_rescued_data"]) == (None, True)


def test_rows_that_another_type_converted_are_other_rows(site):
    """1.5 became '1.5' in every row: they were rewritten in place, and that holds."""
    begun(site)
    retyped(site)
    assert held(site, "4.4", "rewritten in place")


def test_another_type_stops_a_stream_that_rescues_nothing(untyped):
    """Nothing is written, and it says which type the column could be given."""
    site = untyped
    begun(site, on_misfit="fail")
    retyped(site)
    result = site.one()
    assert result.state == "failing"
    assert "column temp is double there, the source's is string" in str(result.error)
    assert version(site) == 1


# --- streams that stop at a change ----------------------------------------------------------------

FAULTS = {
    "x new": ("ALTER TABLE t ADD COLUMN x TEXT", "INSERT INTO t (note) VALUES ('c')"),
    "note gone": ("ALTER TABLE t DROP COLUMN note", "INSERT INTO t (temp) VALUES (3.5)"),
    "celsius new; temp gone": (
        "ALTER TABLE t RENAME COLUMN temp TO celsius",
        "INSERT INTO t (note) VALUES ('c')",
    ),
}


@pytest.mark.parametrize("said", FAULTS)
def test_fail_stops_the_stream_until_a_person_decides(site, said):
    """Nothing is written meanwhile, and no row is lost."""
    begun(site, on_schema_change="fail")
    site.sql(*FAULTS[said])
    at = version(site)
    result = site.one()
    assert result.state == "failing"
    assert f"the columns of t changed in the source: {said}" in str(result.error)
    assert "`on_schema_change: evolve`" in (result.error.hint or "")
    assert version(site) == at
    site.write(streams())
    ok(site, 1)
    assert len(rows(site)) == 3


def test_fail_stops_at_another_type(untyped):
    site = untyped
    begun(site, on_schema_change="fail")
    retyped(site)
    assert "temp is string now" in str(site.one().error)


# --- two nodes ------------------------------------------------------------------------------------


def test_one_node_adds_a_column_while_another_appends(tmp_path):
    """Both write one table, by handles that know it as it was: both go on, and no row is lost."""
    nodes = [Site(tmp_path / name) for name in ("n1", "n2")]
    for here in nodes:
        here.folder.mkdir()
        here.sql("CREATE TABLE t (id INTEGER PRIMARY KEY, x TEXT)", "INSERT INTO t VALUES (1, 'a')")
        text = "  t: {lineage: [node]}\n"
        here.write(text, head=f"node: {here.folder.name}\n")
        here.manifest.write_text(here.manifest.read_text().replace("./lake", f"{tmp_path}/lake"))
    loaded = [manifests.load(here.manifest) for here in nodes]
    with observe.Handles(loaded[0]) as first, observe.Handles(loaded[1]) as second:
        plans = [observe.look(m, h) for m, h in zip(loaded, (first, second), strict=True)]
        both = list(zip(plans, (first, second), strict=True))
        for plan, handles in both:
            assert run(plan, handles) == ["ok"]
        nodes[0].sql("ALTER TABLE t ADD COLUMN y TEXT", "INSERT INTO t VALUES (2, 'b', 'new')")
        nodes[1].sql("INSERT INTO t VALUES (2, 'b')")
        for plan, handles in both:
            assert run(plan, handles) == ["ok"]
        nodes[1].sql("ALTER TABLE t ADD COLUMN z TEXT", "INSERT INTO t VALUES (3, 'c', 'more')")
        nodes[0].sql("INSERT INTO t VALUES (3, 'c', 'new')")
        for plan, handles in reversed(both):
            assert run(plan, handles) == ["ok"]
    table = Site(tmp_path).lake("t")
    found = sorted((r["_silt_node"], r["id"], r["x"], r["y"], r["z"]) for r in table)
    assert found == [
        ("n1", 1, "a", None, None),
        ("n1", 2, "b", "new", None),
        ("n1", 3, "c", "new", None),
        ("n2", 1, "a", None, None),
        ("n2", 2, "b", None, None),
        ("n2", 3, "c", None, "more"),
    ]


def run(plan: Any, handles: Any) -> list[str]:
    import threading

    done = replicate.run(plan, handles, listen=lambda _: None, stop=threading.Event())
    return [s.state if s.error is None else str(s.error) for s in done.streams]
