"""`silt.databricks`: locations, SQL, the login and the catalog, without a manifest."""

from __future__ import annotations

import json

import pytest
from unity import unity_server

from silt.databricks import Catalog, LakeTable, login, register, statements
from silt.databricks.catalog import same_place
from silt.databricks.ddl import name, text
from silt.databricks.lake import catalog_name, location
from silt.databricks.rest import Rest
from silt.errors import RetryLater, Secret, UserError
from silt.manifest.model import Target
from silt.target import ColumnSpec


def _target(uri: str, **options: str | Secret) -> Target:
    return Target(name="lake", uri=uri, storage_options=options)


def _lake(named: str = "t", **more: object) -> LakeTable:
    given: dict[str, object] = {
        "name": named,
        "location": f"s3://b/x/{named}",
        "root": "s3://b/x",
        "target": "lake",
        "streams": (named,),
        "version": 3,
        "columns": (
            ColumnSpec(name="id", type="bigint", comment="the key"),
            ColumnSpec(name="day", type="date"),
        ),
        **more,
    }
    return LakeTable(**given)  # type: ignore[arg-type]


# --- where ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "spelt"),
    [
        (_target("/data/my lake"), "file:///data/my lake"),
        (_target("s3://b/delta"), "s3://b/delta"),
        (_target("s3a://b/delta"), "s3://b/delta"),
        (_target("gs://b/delta"), "gs://b/delta"),
        (_target("abfss://c@acc.dfs.core.windows.net/x"), "abfss://c@acc.dfs.core.windows.net/x"),
        (_target("abfs://c@acc.dfs.core.windows.net"), "abfss://c@acc.dfs.core.windows.net"),
        (_target("az://c/x/y", azure_storage_account_name="acc"), "abfss://c@acc.dfs.core.windows.net/x/y"),
        (_target("abfss://c/x", ACCOUNT_NAME="acc"), "abfss://c@acc.dfs.core.windows.net/x"),
    ],
)
def test_a_location_is_spelt_as_databricks_wants_it(target, spelt):
    """Local as file:///, s3a as s3, Azure with its account."""
    assert location(target) == spelt


def test_azure_without_an_account_is_refused():
    """It is in the location there, and cannot be guessed."""
    with pytest.raises(UserError, match="the storage account of the target is not known") as caught:
        location(_target("az://c/x"))
    assert "azure_storage_account_name" in caught.value.hint


def test_names_and_texts_are_quoted():
    """Backticks, quotes, backslashes and line ends end nothing; Spark replaces no `${name}`."""
    assert name("a`b", "c") == "`a``b`.`c`"
    assert text("it's \\ two\nlines") == "'it\\'s \\\\ two\\nlines'"
    assert text("${user} $1 {x}") == "'\\u0024{user} $1 {x}'"
    assert [catalog_name(each) for each in ("Orders 2024", "Straße", "a.b/c", "")] == [
        "orders_2024",
        "stra_e",
        "a_b_c",
        "_",
    ]


def test_one_place_in_several_spellings():
    """A slash at the end, s3a and file:/ make no difference; another key does."""
    assert same_place("s3a://b/x/", "s3://b/x")
    assert same_place("file:/data/t", "file:///data/t")
    assert not same_place("s3://b/x", "s3://b/y")
    assert not same_place("gs://b/x", "s3://b/x")


# --- SQL ------------------------------------------------------------------------------------------


def test_unity_catalogs_sql():
    """External location, schema, tables, then what syncs columns; nothing for a table that is not there."""
    found = statements(
        [_lake("a", comment="it's"), _lake("b", version=None)],
        catalog="main",
        schema="plant",
        credential="cred",
    )
    table = "`main`.`plant`.`a`"
    assert [each.sql for each in found if each.sql] == [
        "CREATE EXTERNAL LOCATION IF NOT EXISTS `silt_lake` URL 's3://b/x' WITH (STORAGE CREDENTIAL `cred`)",
        "CREATE SCHEMA IF NOT EXISTS `main`.`plant`",
        f"CREATE TABLE IF NOT EXISTS {table}\n  USING DELTA\n  LOCATION 's3://b/x/a'\n  COMMENT 'it\\'s'",
        "REPAIR TABLE `main`.`plant`.`a` SYNC METADATA",
    ]
    notes = "\n".join(note for each in found for note in each.notes)
    assert "b: nothing is at s3://b/x/b yet" in notes
    assert "storage-credentials" not in notes


@pytest.mark.parametrize(
    ("root", "kind"),
    [("s3://b/x", "aws_iam_role"), ("gs://b/x", "gcp"), ("abfss://c@a.dfs.core.windows.net/x", "azure")],
)
def test_the_credential_of_each_cloud(root, kind):
    """Databricks' SQL makes none; the command that does is told."""
    found = statements([_lake(root=root)], catalog="main", schema="s")
    (told,) = (note for note in found[0].notes if "databricks storage-credentials create silt_lake" in note)
    assert kind in told


def test_the_hive_metastores_sql():
    """No external location, no sync: its tables are read from their logs."""
    found = statements([_lake("a")], catalog="hive_metastore", schema="s")
    assert [each.sql.split(" IF")[0] for each in found] == ["CREATE SCHEMA", "CREATE TABLE"]


# --- the login ------------------------------------------------------------------------------------


def test_the_environment_is_the_login(tmp_path):
    """DATABRICKS_HOST with or without https://; the token never prints itself."""
    given = {
        "DATABRICKS_HOST": "adb-1.azuredatabricks.net/",
        "DATABRICKS_TOKEN": "dapi1",
        **_no_file(tmp_path),
    }
    found = login(given)
    assert found.host == "https://adb-1.azuredatabricks.net"
    assert found.token is not None
    assert found.token.reveal() == "dapi1"
    assert "dapi1" not in repr(found)


def _no_file(folder) -> dict[str, str]:
    return {"DATABRICKS_CONFIG_FILE": str(folder / "nothing")}


def test_a_profile_is_the_login(tmp_path):
    """DEFAULT where the environment says nothing; a profile that is asked for goes before the environment."""
    path = tmp_path / "cfg"
    path.write_text("[DEFAULT]\nhost = https://one\ntoken = t1\n[edge]\nhost = https://two\ntoken = t%2\n")
    file = {"DATABRICKS_CONFIG_FILE": str(path)}
    assert login(file).host == "https://one"
    named = login({**file, "DATABRICKS_HOST": "https://three"}, profile="edge")
    assert (named.host, named.token) == ("https://two", Secret("t%2"))
    assert login({**file, "DATABRICKS_CONFIG_PROFILE": "edge"}).host == "https://two"
    with pytest.raises(UserError, match="no profile 'edg'") as caught:
        login(file, profile="edg")
    assert "edge" in caught.value.hint


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, "no workspace is known"),
        ({"DATABRICKS_HOST": "http://10.0.0.4", "DATABRICKS_TOKEN": "t"}, "sent unencrypted"),
    ],
)
def test_a_login_that_is_none(tmp_path, environment, said):
    """Nothing known, or a token that would travel in plain."""
    with pytest.raises(UserError, match=said):
        login({**environment, **_no_file(tmp_path)})


# --- the catalog ----------------------------------------------------------------------------------


@pytest.fixture
def unity():
    with unity_server() as server:
        yield server


def _catalog(unity, catalog: str = "main") -> Catalog:
    return Catalog(login(unity.environment), catalog=catalog, schema="plant")


def test_register_makes_what_is_missing_once(unity):
    """The published schema takes every body; a second time finds all of it there."""
    kinds = ("bigint", "int", "smallint", "tinyint", "double", "float", "string", "boolean", "binary", "date")
    columns = (
        *(ColumnSpec(name=k, type=k) for k in (*kinds, "timestamp")),
        ColumnSpec(name="d", type="decimal(10,2)"),
    )
    tables = [
        _lake("a", comment="c", partition_by=("day",)),
        _lake("b", columns=columns),
        _lake("c", version=None),
    ]
    at = _catalog(unity)
    assert at.ensure_schema().created
    found = list(register(tables, at, schema_is_new=True, dry_run=False))
    assert [each.outcome for each in found] == ["created", "created", "empty"]
    made = unity.tables["main.plant.a"]
    assert (made["storage_location"], made["table_type"], made["data_source_format"]) == (
        "s3://b/x/a",
        "EXTERNAL",
        "DELTA",
    )
    first, second = made["columns"]
    assert (first["comment"], json.loads(first["type_json"])["type"]) == ("the key", "long")
    assert second["partition_index"] == 0
    decimal = unity.tables["main.plant.b"]["columns"][-1]
    assert (decimal["type_name"], decimal["type_precision"], decimal["type_scale"]) == ("DECIMAL", 10, 2)
    assert not at.ensure_schema().created
    again = list(register(tables, at, schema_is_new=False, dry_run=False))
    assert [each.outcome for each in again] == ["there", "there", "empty"]


def test_register_changes_nothing_that_is_there(unity):
    """A name that lies elsewhere is told; one table's failure stops no other; a dry run asks only."""
    at = _catalog(unity)
    assert [r.outcome for r in register([_lake("a")], at, schema_is_new=True, dry_run=True)] == [
        "would create"
    ]
    assert at.ensure_schema(dry_run=True).created
    assert [asked for asked in unity.asked if asked.startswith("POST")] == []
    at.ensure_schema()
    unity.tables["main.plant.a"] = {"name": "a", "storage_location": "s3://other/a"}
    odd = _lake("n", columns=(ColumnSpec(name="s", type='{"type":"struct"}'),))
    found = list(register([_lake("a"), odd, _lake("z")], at, schema_is_new=False, dry_run=False))
    assert [(each.outcome, each.known) for each in found] == [
        ("elsewhere", "s3://other/a"),
        ("failed", None),
        ("created", None),
    ]
    assert [each.ok for each in found] == [False, False, True]
    assert unity.tables["main.plant.a"]["storage_location"] == "s3://other/a"


def test_a_list_of_several_pages(unity):
    """All pages, and no other schema's tables."""
    for n in range(5):
        unity.tables[f"main.plant.t{n}"] = {"name": f"t{n}", "storage_location": f"s3://b/t{n}"}
    unity.tables["main.other.t"] = {"name": "t"}
    assert list(_catalog(unity).tables()) == [(f"t{n}", f"s3://b/t{n}") for n in range(5)]


def test_a_catalog_that_is_not_there(unity):
    """silt makes no catalogs: told."""
    with pytest.raises(UserError, match="there is no catalog 'nowhere'"):
        _catalog(unity, "nowhere").ensure_schema()


def test_busy_servers_are_asked_again(unity):
    """503 and 429 pass; three of them in a row are told."""
    waits: list[float] = []
    rest = Rest(login(unity.environment), wait=waits.append)
    unity.answers = [(503, {}), (429, {"message": "slow down"})]
    assert rest.get("catalogs", "main") == {"name": "main"}
    assert waits == [1, 2]
    unity.answers = [(503, {"message": "no"})] * 3
    with pytest.raises(RetryLater, match="503: no"):
        rest.get("catalogs", "main")


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (401, "refuses the token"),
        (403, "refuses this"),
        (302, "the host sends elsewhere"),
        (400, "does not take this"),
    ],
)
def test_what_the_server_refuses_is_told_in_its_words(unity, status, said):
    """One error each, at once, without the token; a redirect is not followed with it."""
    unity.answers = [(status, {"message": "because"})]
    with pytest.raises(UserError, match=said) as caught:
        Rest(login(unity.environment)).get("catalogs", "main")
    assert "because" in caught.value.why
    assert "dapi" not in str(caught.value)
    assert len(unity.asked) == 1


def test_nobody_answers(tmp_path):
    """A port where nobody listens: told, with the host."""
    from servers import free_port

    at = login({"DATABRICKS_HOST": f"http://127.0.0.1:{free_port()}", **_no_file(tmp_path)})
    with pytest.raises(RetryLater, match="the catalog does not answer"):
        Rest(at, wait=lambda _: None).get("catalogs", "main")
