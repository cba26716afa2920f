"""What others do to the table: what holds a stream, what it steps over (DESIGN 4.5)."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import lake
import pyarrow as pa
import pytest
from deltalake import DeltaTable, Field, Schema, write_deltalake
from deltalake.schema import PrimitiveType

from silt.errors import Contended
from silt.position import pack
from silt.target import Foreign, Predicate, open_table, open_upkeep

ROWS = pa.table({"id": [1], "name": ["foreign"]})
SCHEMA = Schema([Field("id", PrimitiveType("long")), Field("name", PrimitiveType("string"))])


def _merge(delta: DeltaTable, *, key: int) -> None:
    source = pa.table({"id": [key], "name": ["m"]})
    merger = delta.merge(source, "s.id = t.id", source_alias="s", target_alias="t")
    merger.when_matched_update_all().when_not_matched_insert_all().execute()


DESTROY: dict[str, Callable[[DeltaTable], object]] = {
    "RESTORE": lambda delta: delta.restore(1),
    "CREATE OR REPLACE": lambda delta: DeltaTable.create(delta.table_uri, SCHEMA, mode="overwrite"),
    "Overwrite": lambda delta: write_deltalake(delta, ROWS, mode="overwrite"),
    "id = 1": lambda delta: write_deltalake(delta, ROWS, mode="overwrite", predicate="id = 1"),
    "DELETE": lambda delta: delta.delete("id = 1"),
    "UPDATE": lambda delta: delta.update(predicate="id = 1", updates={"name": "'y'"}),
    "MERGE": lambda delta: _merge(delta, key=1),
}
HARMLESS: dict[str, Callable[[DeltaTable], object]] = {
    "append": lambda delta: write_deltalake(delta, ROWS, mode="append"),
    "optimize": lambda delta: delta.optimize.compact(),
    "vacuum": lambda delta: delta.vacuum(0, dry_run=False, enforce_retention_duration=False),
    "properties": lambda delta: delta.alter.set_table_properties({"delta.appendOnly": "true"}),
    "columns": lambda delta: delta.alter.add_columns([Field("more", PrimitiveType("long"))]),
    "nothing deleted": lambda delta: delta.delete("id = 12345"),
    "merge that only inserts": lambda delta: _merge(delta, key=777),
}


@pytest.mark.parametrize("name", DESTROY)
def test_destruction_holds(tmp_path: Path, name: str) -> None:
    """Whatever takes rows away is a fact to hold for, seen by a resident handle and by a cold start alike."""
    table = lake.new(tmp_path / "t")
    for batch in (1, 2, 3):
        lake.add(table, batch)
    DESTROY[name](DeltaTable((tmp_path / "t").as_uri()))
    table.refresh()
    (fact,) = table.foreign
    assert (fact.version, fact.severity) == (4, "hold")
    assert name in fact.fact
    cold = open_table(str(tmp_path / "t"), {})
    assert cold is not None
    assert cold.foreign == ()
    assert cold.foreign_since(3) == table.foreign_since(-1) == (fact,)
    assert cold.foreign_since(4) == ()


@pytest.mark.parametrize("name", HARMLESS)
def test_harmless_changes_go_on(tmp_path: Path, name: str) -> None:
    """OPTIMIZE, VACUUM, appends, columns, properties, and statements that removed nothing: go on."""
    table = lake.new(tmp_path / "t")
    for batch in (1, 2, 3):
        lake.add(table, batch)
    HARMLESS[name](DeltaTable((tmp_path / "t").as_uri()))
    table.refresh()
    assert table.foreign == ()


def test_silts_own_replacement_is_not_foreign(tmp_path: Path) -> None:
    """A slice replaced by silt, another process of it too, holds nobody."""
    table, other = lake.new(tmp_path / "t"), lake.new(tmp_path / "t")
    lake.add(table, 1)
    mine = Predicate(equals=(("name", "x"),))
    other.refresh()
    other.replace(lake.rows([]), predicate=mine, txns=pack("silt/m/n/s/d", 1, b""), metadata={})
    table.refresh()
    assert (table.version, table.foreign) == (2, ())


def test_deletion_right_before_our_commit(tmp_path: Path) -> None:
    """A foreign deletion that slips in before our commit refuses it, and is seen when all is read again."""
    table = lake.new(tmp_path / "t")
    lake.add(table, 1)
    DeltaTable((tmp_path / "t").as_uri()).delete("id = 1")
    with pytest.raises(Contended):
        lake.add(table, 2)
    assert [fact.version for fact in table.foreign] == [2]
    table.acknowledge()
    assert table.foreign == ()
    assert lake.add(table, 2) == 3


def test_append_right_before_our_commit(tmp_path: Path) -> None:
    """What others appended in between is read with our commit."""
    table = lake.new(tmp_path / "t")
    write_deltalake((tmp_path / "t").as_uri(), ROWS, mode="append")
    assert lake.add(table, 1) == 2
    assert (table.version, table.foreign, table.count()) == (2, (), 2)


def test_an_entry_without_a_word_is_judged_by_what_it_removes(tmp_path: Path) -> None:
    """commitInfo is optional: an entry that removes data holds, one that only rearranges does not."""
    table = lake.new(tmp_path / "t")
    lake.add(table, 1)
    (data,) = (tmp_path / "t").glob("*.parquet")
    gone = {"path": data.name, "dataChange": False, "deletionTimestamp": 1}
    lake.write_entry(tmp_path / "t", 2, {"remove": gone})
    lake.write_entry(tmp_path / "t", 3, {"remove": gone | {"dataChange": True}})
    table.refresh()
    (fact,) = table.foreign
    assert (fact.version, fact.severity) == (3, "hold")
    assert "unnamed" in fact.fact


def test_deletion_vectors_count_as_removal(tmp_path: Path) -> None:
    """Databricks deletes by replacing a file's entry with one that has a deletion vector."""
    table = lake.new(tmp_path / "t")
    lake.add(table, 1)
    (data,) = (tmp_path / "t").glob("*.parquet")
    info = {"operation": "DELETE", "operationParameters": {"predicate": '["(id = 1)"]'}, "userName": "ann"}
    remove = {"path": data.name, "dataChange": True, "deletionTimestamp": 1}
    add = {
        "path": data.name,
        "partitionValues": {},
        "size": data.stat().st_size,
        "modificationTime": 1,
        "dataChange": True,
        "deletionVector": lake.deletion_vector([0, 1]),
    }
    from silt.target.foreign import judge
    from silt.target.log import parse

    lake.write_entry(tmp_path / "t", 2, {"commitInfo": info}, {"remove": remove}, {"add": add})
    entry = parse(2, lake.entry(tmp_path / "t", 2).read_bytes())
    fact = judge(entry)
    assert fact is not None
    assert "DELETE" in fact.fact
    assert "by ann" in fact.fact
    assert entry.adds[0].vector


def test_cleaned_up_entries_are_a_note(tmp_path: Path) -> None:
    """Entries that the log no longer holds cannot be checked: one note names them, and it goes on."""
    table = lake.new(tmp_path / "t", configuration={"delta.logRetentionDuration": "interval 0 days"})
    for batch in range(1, 6):
        lake.add(table, batch)
    time.sleep(0.01)
    table.checkpoint()
    upkeep = open_upkeep(str(tmp_path / "t"), {})
    assert upkeep is not None
    upkeep.clean_log()
    lake.add(table, 6)
    cold = open_table(str(tmp_path / "t"), {})
    assert cold is not None
    oldest = min(int(name[:20]) for name in lake.log_names(tmp_path / "t") if name.endswith(".json"))
    assert oldest > 2
    expected = (
        f"versions 2 to {oldest - 1} could not be checked for foreign changes: the log no longer holds them"
    )
    assert cold.foreign_since(1) == (
        Foreign(version=oldest - 1, operation="", fact=expected, severity="note"),
    )
    assert cold.foreign_since(oldest - 1) == ()
