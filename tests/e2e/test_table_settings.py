"""`description` and `properties`: planned, set at creation, changed on an existing table (DESIGN 3)."""

from __future__ import annotations

import json
from pathlib import Path

import kit
import pytest
from clirun import silt
from deltalake import DeltaTable
from kit import Site

from silt.manifest import ManifestInvalid, expand, load

TABLE = "create table t (id integer primary key autoincrement, v text)"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path)
    site.sql(TABLE, "insert into t (v) values ('a'), ('b')")
    return site


def told(site: Site) -> tuple[str | None, dict[str, str], int]:
    table = DeltaTable(str(site.folder / "lake" / "t"))
    return table.metadata().description, table.metadata().configuration, table.version()


def planned(site: Site) -> dict:
    (stream,) = json.loads(silt("plan", site.manifest, "--json").stdout)["streams"]
    return {"actions": [a["text"] for a in stream["actions"]], "settings": stream["tables"][0]["settings"]}


def test_set_when_the_table_is_created(site: Site) -> None:
    """Comment and properties are the new table's, in its first commit; the plan shows them before."""
    site.write(
        "  t:\n    description: |\n      what analysts read\n"
        "    properties: {delta.appendOnly: true, delta.checkpointInterval: 7, owner: team-x}\n"
    )
    shown = planned(site)
    assert shown["actions"] == ["create table", "1 commit"]
    assert shown["settings"][0] == {"name": "comment", "value": "what analysts read", "was": None}
    assert {"name": "delta.appendOnly", "value": "true", "was": None} in shown["settings"]
    assert "set  " in silt("plan", site.manifest).stdout
    site.cycle()
    comment, properties, version = told(site)
    assert (comment, version) == ("what analysts read", 1)
    assert properties == {"delta.appendOnly": "true", "delta.checkpointInterval": "7", "owner": "team-x"}
    assert planned(site) == {"actions": [], "settings": []}


def test_changed_on_an_existing_table(site: Site) -> None:
    """What differs is an action of the plan and is set by the next cycle, rows or none; what is left
    out of the manifest, and what others set, stays; the rows are not touched.
    """
    site.write("  t:\n")
    site.cycle()
    assert told(site)[:2] == ("app.t", {"delta.checkpointInterval": "20"})
    DeltaTable(str(site.folder / "lake" / "t")).alter.set_table_properties(
        {"others": "1"}, raise_if_not_exists=False
    )
    site.write("  t: {description: it is t, properties: {delta.logRetentionDuration: interval 90 days}}\n")
    shown = planned(site)
    assert shown["actions"] == ["set comment, 1 property"]
    assert shown["settings"][0] == {"name": "comment", "value": "it is t", "was": "app.t"}
    text = silt("plan", site.manifest).stdout
    assert "it is t (was 'app.t')" in text
    assert "delta.logRetentionDuration = interval 90 days" in text
    assert "1 to alter" in text
    assert silt("plan", site.manifest, "--detailed-exitcode").returncode == 2
    site.cycle()
    comment, properties, version = told(site)
    assert comment == "it is t"
    assert properties == {
        "delta.checkpointInterval": "20",
        "others": "1",
        "delta.logRetentionDuration": "interval 90 days",
    }
    site.write("  t:\n")
    site.cycle()
    assert told(site) == (comment, properties, version)
    site.expect("t", "t")


def test_a_change_beside_new_rows(site: Site) -> None:
    """A cycle that alters the table also brings its rows, and none twice."""
    site.write("  t:\n")
    site.cycle()
    site.sql("insert into t (v) values ('c')")
    site.write("  t: {properties: {delta.enableChangeDataFeed: true}}\n")
    assert planned(site)["actions"] == ["set 1 property", "1 commit"]
    site.cycle()
    site.expect("t", "t")
    assert len(site.lake("t")) == 3
    assert told(site)[1]["delta.enableChangeDataFeed"] == "true"


def test_each_database_has_its_table(site: Site) -> None:
    """Where `into` holds {database}, every table gets them."""
    for name in ("x", "y"):
        kit.sql(site.folder / f"{name}.sqlite", TABLE)
    site.write("  t: {into: 't_{database}', description: one of many}\n", source='"./*.sqlite"')
    site.cycle()
    for name in ("x", "y"):
        assert DeltaTable(str(site.folder / "lake" / f"t_{name}")).metadata().description == "one of many"


# --- in the manifest ------------------------------------------------------------------------------


def problems(site: Site, streams: str) -> list[str]:
    site.write(streams)
    with pytest.raises(ManifestInvalid) as caught:
        load(site.manifest, env={})
    return [f"{p.pointer.partition('properties.')[2]}: {p.message} ({p.hint})" for p in caught.value.problems]


def test_names_and_values_are_checked(site: Site) -> None:
    """delta-rs takes anything in silence: a wrong name, value or mode is a problem here."""
    found = problems(
        site,
        "  t:\n    mode: overwrite\n    properties:\n"
        "      delta.logRetentionDuraton: interval 1 day\n"
        "      LogRetentionDuration: interval 1 day\n"
        "      delta.appendonly: true\n"
        "      delta.appendOnly: true\n"
        "      delta.deletedFileRetentionDuration: 30d\n"
        "      delta.checkpointInterval: 0\n"
        "      delta.enableChangeDataFeed: maybe\n"
        "      delta.isolationLevel: serializable\n"
        "      delta.columnMapping.mode: name\n"
        "      delta.targetFileSize: 10 MB\n",
    )
    assert found == [
        "'delta.logRetentionDuraton': unknown key (did you mean 'delta.logRetentionDuration'?)",
        (
            "LogRetentionDuration: 'LogRetentionDuration' means nothing to Delta "
            "(did you mean 'delta.logRetentionDuration'?)"
        ),
        "'delta.appendonly': unknown key (did you mean 'delta.appendOnly'?)",
        "'delta.appendOnly': mode overwrite replaces rows, which an append-only table refuses (remove it)",
        "'delta.deletedFileRetentionDuration': '30d' is not an interval (write interval 30 days)",
        "'delta.checkpointInterval': must be at least 1, got 0 ()",
        "'delta.enableChangeDataFeed': 'maybe' is not one of true, false ()",
        (
            "'delta.isolationLevel': 'serializable' is not one of Serializable, WriteSerializable "
            "(did you mean 'Serializable'?)"
        ),
        (
            "'delta.columnMapping.mode': unknown key "
            "(it asks for a table feature that silt does not write: remove it)"
        ),
        "'delta.targetFileSize': '10 MB' is not a file size (for example 104857600, 128mb)",
    ]


def test_they_stack(site: Site) -> None:
    """Properties merge by name, null unsets one, and the more exact entry's description wins."""
    site.write(
        '  "*": {description: any, properties: {a: 1, b: 2}}\n'
        "  t: {description: mine, properties: {b: null, c: 3}}\n"
    )
    found = {s.name: s for s in expand(load(site.manifest, env={}), {"app": ("t", "u")}).streams}
    assert (found["t"].description, dict(found["t"].properties)) == ("mine", {"a": "1", "c": "3"})
    assert (found["u"].description, dict(found["u"].properties)) == ("any", {"a": "1", "b": "2"})


def test_two_streams_of_one_table_agree(site: Site) -> None:
    """Two streams that share a table would set it in turn for ever: differing wishes are a problem."""
    shared = "  a: {{table: t, into: x, {0}}}\n  b: {{table: t, into: x, {1}}}\n"
    for one, other, name in (
        ("description: p", "description: q", "description"),
        ("properties: {o: 1}", "properties: {o: 2}", "o"),
    ):
        site.write(shared.format(one, other))
        with pytest.raises(ManifestInvalid) as caught:
            load(site.manifest, env={})
        (problem,) = caught.value.problems
        assert problem.message.endswith(f"they say different things of the table: {name}")
    site.write(shared.format("description: p", "properties: {o: 2}"))
    load(site.manifest, env={})


def test_a_description_is_of_bounded_length(site: Site) -> None:
    """delta-rs refuses a comment of more than 4,000 characters: so does the manifest."""
    (found,) = problems(site, f"  t: {{description: {'x' * 4001}}}\n")
    assert "is longer than 4,000 characters" in found
