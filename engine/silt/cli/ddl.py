"""`silt ddl`: the SQL that makes the lake's tables known in Databricks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from silt.cli import console
from silt.cli.options import AsJson, Exclude, ManifestPath, Select
from silt.cli.paths import load
from silt.cli.select import Selection

if TYPE_CHECKING:
    from silt.databricks import LakeTable
    from silt.manifest.model import Manifest

CatalogName = Annotated[str, typer.Option("--catalog", metavar="NAME", help="The catalog of Unity Catalog.")]
SchemaName = Annotated[
    str, typer.Option("--schema", metavar="NAME", help="The schema; the manifest's name.", show_default=False)
]


def ddl(
    path: ManifestPath = None,
    catalog: CatalogName = "main",
    schema: SchemaName = "",
    hive: Annotated[
        bool, typer.Option("--hive", help="For the Hive metastore, in the place of Unity Catalog.")
    ] = False,
    credential: Annotated[
        str,
        typer.Option(
            "--storage-credential",
            metavar="NAME",
            help="The storage credential that external locations use; without it one is named.",
            show_default=False,
        ),
    ] = "",
    select: Select = None,
    exclude: Exclude = None,
    as_json: AsJson = False,
) -> int:
    """Print the SQL that makes the tables known in Databricks: schema, external tables, where they lie.

    Each LOCATION is the one that silt writes. What is there already is left alone, so the script may
    be run again. Reads the tables' logs, and connects to no workspace ([bold]register[/] does).

    Examples:  [cyan]silt ddl plant.yaml --catalog main --schema plant > plant.sql[/]
               [cyan]silt ddl plant.yaml --hive[/]
    """
    from silt import databricks
    from silt.databricks import told

    manifest = load(path)
    tables = tables_of(manifest, Selection(select, exclude))
    where = "hive_metastore" if hive else catalog
    named = schema or databricks.lake.catalog_name(manifest.name)
    found = databricks.statements(tables, catalog=where, schema=named, credential=credential)
    if not hive and any(table.is_local for table in tables):
        console.err(
            ["warning: Unity Catalog takes no file:// location; --hive is for tables on a local disk"]
        )
    if as_json:
        console.as_json(
            {
                "catalog": where,
                "schema": named,
                "statements": [each.sql for each in found if each.sql],
                "tables": [data(table) for table in tables],
            }
        )
    else:
        head = f"{manifest.path}: manifest {manifest.name}, node {manifest.node}"
        console.out(told.script(found, head=head))
    return 0


def tables_of(manifest: Manifest, selection: Selection) -> tuple[LakeTable, ...]:
    """The Delta tables of the selected streams, disabled ones aside."""
    from silt import databricks, observe
    from silt.cli.streams import resolved, tables_by_name

    with observe.Handles(manifest, mend=False) as handles:
        placed = [
            databricks.Placed(name=name, into=into, target=manifest.target(stream.target))
            for stream in resolved(manifest, handles)
            if stream.enabled and selection(stream)
            for name, into in tables_by_name(manifest, stream)
        ]
        console.err(f"warning: {words}" for words in selection.check())
        return databricks.look(placed, handles)


def data(table: LakeTable) -> dict[str, object]:
    """A table as `--json` shows it."""
    return {
        "name": table.name,
        "location": table.location,
        "version": table.version,
        "streams": list(table.streams),
        "columns": [{"name": c.name, "type": c.type, "comment": c.comment} for c in table.columns],
        "partition_by": list(table.partition_by),
        "comment": table.comment or None,
        "properties": dict(table.properties),
    }
