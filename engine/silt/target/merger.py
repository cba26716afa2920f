"""MERGE as delta-rs runs it: names quoted, rows of the table bounded by literals, equal rows left alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from silt.target import query
from silt.target.commits import HOOKS
from silt.target.model import Predicate

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import CommitProperties, DeltaTable, WriterProperties

STREAMED_ROWS = 100_000
"""Rows from which a merge is streamed; smaller ones are held, and by their statistics files are skipped."""

_SOURCE, _TARGET = "silt_source", "silt_target"


def run(
    delta: DeltaTable,
    rows: pa.Table,
    *,
    keys: Sequence[str],
    unlike: Sequence[str],
    within: Predicate,
    writer: WriterProperties,
    commit: CommitProperties,
) -> int:
    """Each of `rows` in the place of the row with the same `keys`: how many were written.

    No commit where nothing changes.
    """
    values = {_quoted(name): _of(_SOURCE, name) for name in rows.schema.names}
    merge = delta.merge(
        rows,
        predicate=" AND ".join(_met(keys, within)),
        source_alias=_SOURCE,
        target_alias=_TARGET,
        streamed_exec=rows.num_rows > STREAMED_ROWS,
        writer_properties=writer,
        commit_properties=commit,
        post_commithook_properties=HOOKS,
    )
    merge.when_matched_update(values, predicate=_differs(unlike)).when_not_matched_insert(values)
    done = merge.execute()
    return int(done["num_target_rows_inserted"]) + int(done["num_target_rows_updated"])


def _met(keys: Sequence[str], within: Predicate) -> Iterator[str]:
    """Literals first: files that hold no such row are not read."""
    yield query.predicate_sql(within, of=_TARGET)
    yield from (f"{_of(_TARGET, name)} = {_of(_SOURCE, name)}" for name in keys)


def _differs(names: Sequence[str]) -> str:
    return " OR ".join(f"({_of(_TARGET, name)} IS DISTINCT FROM {_of(_SOURCE, name)})" for name in names)


def _of(side: str, name: str) -> str:
    return f"{side}.{_quoted(name)}"


def _quoted(name: str) -> str:
    escaped: Any = name.replace('"', '""')
    return f'"{escaped}"'
