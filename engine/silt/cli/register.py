"""`silt register`: makes the lake's tables known to Unity Catalog, through its REST API."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from silt.cli import console
from silt.cli.ddl import CatalogName, SchemaName, tables_of
from silt.cli.options import AsJson, ManifestPath, Select
from silt.cli.paths import load
from silt.cli.select import Selection

if TYPE_CHECKING:
    from silt.databricks import Catalog, Registration


def register(
    path: ManifestPath = None,
    catalog: CatalogName = "main",
    schema: SchemaName = "",
    listing: Annotated[
        bool, typer.Option("--list", help="Only list the schema's tables and where each is stored.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")] = False,
    profile: Annotated[
        str,
        typer.Option("--profile", metavar="NAME", help="A profile of ~/.databrickscfg.", show_default=False),
    ] = "",
    select: Select = None,
    as_json: AsJson = False,
) -> int:
    """Make the tables known to Unity Catalog: the schema, and each external table that is missing.

    Workspace and token come from DATABRICKS_HOST and DATABRICKS_TOKEN, or ~/.databrickscfg. A name
    that the catalog has for another place is left alone, and told; nothing is dropped.

    Examples:  [cyan]silt register plant.yaml --catalog main --schema plant --dry-run[/]
               [cyan]silt register plant.yaml --catalog main --schema plant --list[/]
    """
    from silt import databricks
    from silt.databricks import told

    manifest = load(path)
    at = databricks.Catalog(
        databricks.login(os.environ, profile=profile),
        catalog=catalog,
        schema=schema or databricks.lake.catalog_name(manifest.name),
    )
    if listing:
        return _listed(at, as_json=as_json)
    tables = tables_of(manifest, Selection(select, None))
    made = at.ensure_schema(dry_run=dry_run)
    found = tuple(databricks.register(tables, at, schema_is_new=made.created, dry_run=dry_run))
    ok = all(each.ok for each in found)
    if as_json:
        console.as_json(
            {"schema": made.full_name, "schema_created": made.created, "tables": _data(found), "ok": ok}
        )
    else:
        console.out(told.lines(made, found, dry_run=dry_run))
    return 0 if ok else 1


def _listed(at: Catalog, *, as_json: bool) -> int:
    found = sorted(at.tables())
    if as_json:
        tables = [{"name": name, "storage_location": location} for name, location in found]
        console.as_json({"schema": at.full_name, "tables": tables})
    else:
        width = max((len(name) for name, _ in found), default=0)
        console.out(f"  {name:{width}}  {location}".rstrip() for name, location in found)
        console.out([] if found else [f"no table in {at.full_name}"])
    return 0


def _data(found: tuple[Registration, ...]) -> list[dict[str, object]]:
    return [
        {
            "name": each.name,
            "full_name": each.full_name,
            "location": each.location,
            "outcome": each.outcome,
            "known": each.known,
            "error": str(each.error) if each.error else None,
            "hint": (each.error.hint or None) if each.error else None,
        }
        for each in found
    ]
