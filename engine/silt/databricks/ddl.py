"""SQL for Databricks: schema, external tables at the very locations that silt writes, and what they rest on.

A table's columns, partitions and properties are in its own log, and Databricks takes them from there; named
again in CREATE TABLE they would have to match to the letter, so they are told in comments.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from silt.databricks.lake import LakeTable, catalog_name

_HIVE: Final = "hive_metastore"


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One SQL statement, or none; `notes` are told above it as comments."""

    sql: str = ""
    notes: tuple[str, ...] = ()


def statements(
    tables: Sequence[LakeTable], *, catalog: str, schema: str, credential: str = ""
) -> tuple[Statement, ...]:
    """What makes `tables` known as `catalog.schema.*`; for `hive_metastore` without Unity Catalog's parts.

    `credential` names the storage credential of the external locations; without it one is named after
    each target, with how to make it.  What is there already is left alone, so all of it may be run again.
    """
    unity = catalog != _HIVE
    ready = [table for table in tables if table.version is not None]
    found = list(_storage(ready, credential)) if unity else []
    found.append(Statement(sql=f"CREATE SCHEMA IF NOT EXISTS {name(catalog, schema)}"))
    found += [_table(table, name(catalog, schema, table.name)) for table in tables]
    if unity and ready:
        found += list(_synced(name(catalog, schema, table.name) for table in ready))
    return tuple(found)


def name(*parts: str) -> str:
    """A qualified name, each part quoted."""
    return ".".join("`" + part.replace("`", "``") + "`" for part in parts)


_ESCAPED: Final = str.maketrans({"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r"})


def text(value: str) -> str:
    """A string literal of Spark's SQL, which puts settings in the place of `${name}` before it reads it."""
    escaped = value.translate(_ESCAPED).replace("${", "\\u0024{")
    return f"'{escaped}'"


def _storage(tables: Iterable[LakeTable], credential: str) -> Iterator[Statement]:
    """The external location of each remote target."""
    roots = sorted({(table.target, table.root) for table in tables if not table.is_local})
    for target, root in roots:
        own = f"silt_{catalog_name(target)}"
        notes: tuple[str, ...] = ("once for the storage, by somebody who may CREATE EXTERNAL LOCATION:",)
        if not credential:
            notes += (f"(the storage credential itself: {_credential(own, root)})",)
        yield Statement(
            sql=f"CREATE EXTERNAL LOCATION IF NOT EXISTS {name(own)} URL {text(root)} "
            f"WITH (STORAGE CREDENTIAL {name(credential or own)})",
            notes=notes,
        )


Cloud = Literal["aws", "azure", "gcp"]
_MADE_BY: Final[dict[Cloud, str]] = {
    "aws": '{"aws_iam_role": {"role_arn": "arn:aws:iam::ACCOUNT:role/ROLE"}}',
    "azure": '{"azure_managed_identity": {"access_connector_id": "/.../accessConnectors/NAME"}}',
    "gcp": '{"databricks_gcp_service_account": {}}',
}


def _credential(own: str, root: str) -> str:
    cloud: Cloud = "aws" if root.startswith("s3://") else "gcp" if root.startswith("gs://") else "azure"
    return f"databricks storage-credentials create {own} --json '{_MADE_BY[cloud]}'"


def _table(table: LakeTable, qualified: str) -> Statement:
    if table.version is None:
        return Statement(notes=(f"{table.name}: nothing is at {table.location} yet; run silt first",))
    comment = f"\n  COMMENT {text(table.comment)}" if table.comment else ""
    place = f"\n  USING DELTA\n  LOCATION {text(table.location)}"
    return Statement(sql=f"CREATE TABLE IF NOT EXISTS {qualified}{place}{comment}", notes=tuple(_told(table)))


def _told(table: LakeTable) -> Iterator[str]:
    yield f"{table.name}, version {table.version}: " + ", ".join(f"{c.name} {c.type}" for c in table.columns)
    if table.partition_by:
        yield f"partitioned by {', '.join(table.partition_by)}"
    for key, value in table.properties:
        yield f"property {key} = {value}"


def _synced(names: Iterable[str]) -> Iterator[Statement]:
    """Unity Catalog keeps a copy of the columns, which does not hear of commits made outside."""
    note: tuple[str, ...] = (
        "after a change of columns, so that the catalog's copy follows the table's log:",
    )
    for qualified in names:
        yield Statement(sql=f"REPAIR TABLE {qualified} SYNC METADATA", notes=note)
        note = ()
