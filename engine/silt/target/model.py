"""Frozen records that the target speaks in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Owner: TypeAlias = tuple[str, str, str]
"""(manifest, node, stream): who of silt's wrote an entry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnSpec:
    """A column of a Delta table: `type` by its Databricks SQL name (`bigint`, `decimal(10,2)`)."""

    name: str
    type: str
    comment: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Predicate:
    """The rows where every column equals its value (None: is NULL): a slice, DESIGN 7.

    `between` is (column, least, greatest), ends included, to read no more of a slice than is needed;
    a bound of None, or of a type without an order in SQL text, is no bound.
    """

    equals: tuple[tuple[str, str | int | None], ...]
    between: tuple[str, object, object] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterHints:
    """What the writer cannot tell from the types.

    `row_bytes` is the size of a row in Arrow, 0 to take it from the first batch; `file_bytes` the
    size at which the next data file begins.
    """

    row_bytes: int = 0
    file_bytes: int = 128_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreign:
    """What somebody else did to the table at `version` (DESIGN 4.5).

    `hold`: rows that positions count may be gone or changed; `note`: worth a line, go on.  `owner` is
    the (manifest, node, stream) of a silt that did it, and `replaced` the slice that it replaced, as
    column = value pairs (none: the whole table).
    """

    version: int
    operation: str
    fact: str
    severity: Literal["hold", "note"]
    owner: Owner | None = None
    replaced: tuple[tuple[str, str], ...] = ()
