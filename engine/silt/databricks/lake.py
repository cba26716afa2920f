"""The Delta tables of a manifest as a catalog sees them: name, columns, the location that silt writes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import urlsplit

from silt.errors import UserError
from silt.manifest.model import Target
from silt.observe import Handles
from silt.target import ColumnSpec

_OTHERS: Final = re.compile(r"[^a-z0-9_]+")
_AZURE: Final = ("az", "adl", "azure", "abfs", "abfss")


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A Delta table that a stream writes: `name` as in `silt query`, `into` its path below the target."""

    name: str
    into: str
    target: Target


@dataclass(frozen=True, slots=True, kw_only=True)
class LakeTable:
    """A Delta table: `name` for a catalog, `location` as Spark wants it.

    `version` is None where there is no table yet; `root` is the target's URI, spelt as `location` is;
    `target` its name in the manifest.
    """

    name: str
    location: str
    root: str
    target: str
    streams: tuple[str, ...]
    version: int | None = None
    columns: tuple[ColumnSpec, ...] = ()
    partition_by: tuple[str, ...] = ()
    comment: str = ""
    properties: tuple[tuple[str, str], ...] = ()

    @property
    def is_local(self) -> bool:
        return self.location.startswith("file:")


def look(placed: Iterable[Placed], handles: Handles) -> tuple[LakeTable, ...]:
    """The tables, each once, by name; read from their logs.

    A table is named after its stream; one that several streams write, after the last part of its path.
    Raises `UserError` where two tables get one name, and what opening a table raises.
    """
    by_place: dict[tuple[str, str], list[Placed]] = {}
    for each in placed:
        by_place.setdefault((each.target.name, each.into), []).append(each)
    tables = [_table(some, handles) for some in by_place.values()]
    _distinct(tables)
    return tuple(sorted(tables, key=lambda table: table.name))


def _table(writers: list[Placed], handles: Handles) -> LakeTable:
    at, into = writers[0].target, writers[0].into
    root = location(at)
    bare = LakeTable(
        name=catalog_name(writers[0].name if len(writers) == 1 else into.rpartition("/")[2]),
        location=f"{root.rstrip('/')}/{into}",
        root=root,
        target=at.name,
        streams=tuple(sorted(each.name for each in writers)),
    )
    with handles.lake(at, into) as lake:
        if (table := lake.table) is None:
            return bare
        table.refresh()
        return replace(
            bare,
            version=table.version,
            columns=table.columns,
            partition_by=table.partition_by,
            comment=table.description,
            properties=tuple(sorted(table.configuration.items())),
        )


def _distinct(tables: list[LakeTable]) -> None:
    for name, count in Counter(table.name for table in tables).items():
        if count > 1:
            places = " and ".join(table.location for table in tables if table.name == name)
            raise UserError(
                f"two tables would be {name!r} in the catalog: {places}",
                hint="name their streams apart (letters, digits, _; capitals make no difference)",
            )


def catalog_name(text: str) -> str:
    """`text` as the name of a table or schema: lower case, letters, digits and `_`.

    Unity Catalog keeps names in lower case, and takes no blank, dot or slash.
    """
    return _OTHERS.sub("_", text.lower()) or "_"


def location(at: Target) -> str:
    """The root of a target as Databricks spells it.

    A local path is `file:///...` as it is (Hadoop decodes nothing); `s3a` is `s3`; a container of Azure
    is named with its account, which stands in the storage options there.
    """
    if at.is_local:
        return f"file://{at.uri}"
    scheme, _, rest = at.uri.partition("://")
    if scheme == "s3a":
        return f"s3://{rest}"
    if scheme in _AZURE and "@" not in urlsplit(at.uri).netloc:
        container, slash, path = rest.partition("/")
        return f"abfss://{container}@{_account(at)}.dfs.core.windows.net{slash}{path}"
    return f"abfss://{rest}" if scheme in _AZURE else at.uri


def _account(at: Target) -> str:
    options = {name.lower().removeprefix("azure_storage_"): str(v) for name, v in at.storage_options.items()}
    account = options.get("account_name", "")
    if not account:
        raise UserError(
            "the storage account of the target is not known, and Databricks wants it in the location",
            on=at.uri,
            hint="set azure_storage_account_name in its storage_options, or write the uri as "
            "abfss://CONTAINER@ACCOUNT.dfs.core.windows.net/PATH",
        )
    return account
