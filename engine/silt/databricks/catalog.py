"""Making tables known to Unity Catalog: schema and external tables, where they are missing."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

from silt.databricks.lake import LakeTable
from silt.databricks.login import Login
from silt.databricks.rest import Rest
from silt.errors import SiltError, UserError
from silt.target import ColumnSpec

Outcome = Literal["created", "there", "would create", "elsewhere", "empty", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """What became of one table: its `location` in the lake, and `known`, the one that the catalog has."""

    name: str
    full_name: str
    location: str
    outcome: Outcome
    known: str | None = None
    error: SiltError | None = None

    @property
    def ok(self) -> bool:
        return self.outcome in ("created", "there", "would create", "empty")


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """A schema of a catalog, and whether it was made now."""

    full_name: str
    created: bool


_TYPES: Final = {
    "bigint": ("LONG", "long"),
    "int": ("INT", "integer"),
    "smallint": ("SHORT", "short"),
    "tinyint": ("BYTE", "byte"),
    "double": ("DOUBLE", "double"),
    "float": ("FLOAT", "float"),
    "string": ("STRING", "string"),
    "boolean": ("BOOLEAN", "boolean"),
    "binary": ("BINARY", "binary"),
    "date": ("DATE", "date"),
    "timestamp": ("TIMESTAMP", "timestamp"),
    "timestamp_ntz": ("TIMESTAMP_NTZ", "timestamp_ntz"),
}
"""Databricks' name of a type -> the API's, and Spark's in JSON."""


class Catalog:
    """One catalog and schema of a server."""

    def __init__(self, login: Login, *, catalog: str, schema: str) -> None:
        self.catalog: Final = catalog
        self.schema: Final = schema
        self._rest = Rest(login)

    @property
    def full_name(self) -> str:
        return f"{self.catalog}.{self.schema}"

    def ensure_schema(self, *, dry_run: bool = False) -> Schema:
        """Make the schema where it is missing.  Raises `UserError` where the catalog is."""
        if self._rest.get("schemas", self.full_name) is not None:
            return Schema(full_name=self.full_name, created=False)
        if self._rest.get("catalogs", self.catalog) is None:
            raise UserError(
                f"there is no catalog {self.catalog!r}",
                hint="name one with --catalog; silt makes schemas and tables, no catalogs",
            )
        if not dry_run:
            self._rest.post("schemas", body={"name": self.schema, "catalog_name": self.catalog})
        return Schema(full_name=self.full_name, created=True)

    def tables(self) -> Iterator[tuple[str, str]]:
        """(name, storage location) of the schema's tables, as the server lists them."""
        for table in self._rest.pages(
            "tables", key="tables", catalog_name=self.catalog, schema_name=self.schema
        ):
            yield str(table.get("name", "")), str(table.get("storage_location") or "")

    def location(self, name: str) -> str | None:
        """Where the catalog says that a table is; None where it knows none."""
        found = self._rest.get("tables", f"{self.full_name}.{name}")
        return None if found is None else str(found.get("storage_location") or "")

    def create(self, table: LakeTable) -> None:
        """Make `table` known as an external Delta table."""
        body: dict[str, Any] = {
            "name": table.name,
            "catalog_name": self.catalog,
            "schema_name": self.schema,
            "table_type": "EXTERNAL",
            "data_source_format": "DELTA",
            "storage_location": table.location,
            "columns": [_column(c, n, table) for n, c in enumerate(table.columns)],
        }
        if table.comment:
            body["comment"] = table.comment
        if table.properties:
            body["properties"] = dict(table.properties)
        self._rest.post("tables", body=body)


def register(
    tables: Iterable[LakeTable], catalog: Catalog, *, schema_is_new: bool, dry_run: bool
) -> Iterator[Registration]:
    """Make each table known where it is not; one that the catalog has elsewhere is left alone, and told."""
    for table in tables:
        try:
            known = None if dry_run and schema_is_new else catalog.location(table.name)
            outcome = _outcome(table, known, dry_run=dry_run)
            if outcome == "created":
                catalog.create(table)
            yield _registered(catalog, table, outcome, known)
        except SiltError as error:
            yield _registered(catalog, table, "failed", None, error)


def _outcome(table: LakeTable, known: str | None, *, dry_run: bool) -> Outcome:
    if known is not None:
        return "there" if same_place(known, table.location) else "elsewhere"
    if table.version is None:
        return "empty"
    return "would create" if dry_run else "created"


def _registered(
    catalog: Catalog, table: LakeTable, outcome: Outcome, known: str | None, error: SiltError | None = None
) -> Registration:
    return Registration(
        name=table.name,
        full_name=f"{catalog.full_name}.{table.name}",
        location=table.location,
        outcome=outcome,
        known=known,
        error=error,
    )


def same_place(one: str, other: str) -> bool:
    """Whether two locations are one: `s3a` is `s3`, `file:/x` is `file:///x`, a last slash is nothing."""
    return _plain(one) == _plain(other)


def _plain(location: str) -> str:
    scheme, _, rest = location.partition(":")
    path = rest.lstrip("/") if scheme == "file" else rest.removeprefix("//")
    return f"{scheme.removesuffix('a') if scheme == 's3a' else scheme}:{path.rstrip('/')}"


def _column(column: ColumnSpec, position: int, table: LakeTable) -> dict[str, object]:
    if column.type not in _TYPES and not column.type.startswith("decimal("):
        raise UserError(
            f"column {column.name!r} has a type that silt does not write, and cannot register",
            on=table.location,
            why=column.type,
            hint="register that table with SQL: silt ddl",
        )
    kind, spark = _TYPES.get(column.type, ("DECIMAL", column.type))
    described: dict[str, object] = {
        "name": column.name,
        "type_text": column.type,
        "type_name": kind,
        "type_json": json.dumps({"name": column.name, "type": spark, "nullable": True, "metadata": {}}),
        "position": position,
        "nullable": True,
    }
    if kind == "DECIMAL":
        precision, scale = column.type.removeprefix("decimal(").removesuffix(")").split(",")
        described |= {"type_precision": int(precision), "type_scale": int(scale)}
    if column.comment:
        described["comment"] = column.comment
    if column.name in table.partition_by:
        described["partition_index"] = table.partition_by.index(column.name)
    return described
