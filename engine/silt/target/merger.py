"""MERGE as delta-rs runs it: names quoted, rows of the table bounded by literals, equal rows left alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge:
    """What a merge does: each of `rows` in the place of the row with the same `keys`, where one of the
    columns `unlike` differs; rows with the keys `gone` are deleted, or marked in the column `mark` with the
    time `at`.

    `within` bounds the rows of the table that are met.  No two of `rows` and `gone` have one key, none a NULL
    in it.
    """

    rows: pa.Table
    keys: tuple[str, ...]
    unlike: tuple[str, ...]
    within: Predicate
    gone: pa.Table | None = None
    mark: str | None = None
    at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """How many rows a merge wrote and deleted (or marked)."""

    written: int = 0
    deleted: int = 0


def run(delta: DeltaTable, merge: Merge, *, writer: WriterProperties, commit: CommitProperties) -> Merged:
    """Carry `merge` out in one commit; none where nothing changes."""
    going = _free_name(merge.rows.schema.names)
    source = _source(merge, going)
    values = {_quoted(name): _of(_SOURCE, name) for name in merge.rows.schema.names}
    merger = delta.merge(
        source,
        predicate=" AND ".join(_met(merge.keys, merge.within)),
        source_alias=_SOURCE,
        target_alias=_TARGET,
        streamed_exec=source.num_rows > STREAMED_ROWS,
        writer_properties=writer,
        commit_properties=commit,
        post_commithook_properties=HOOKS,
    )
    if merge.gone is None:
        merger.when_matched_update(values, predicate=_differs(merge.unlike)).when_not_matched_insert(values)
        done = merger.execute()
        return Merged(written=_count(done, "inserted") + _count(done, "updated"))
    goes, comes = f"{_of(_SOURCE, going)}", f"NOT {_of(_SOURCE, going)}"
    if merge.mark is not None:
        marked = {_quoted(merge.mark): _of(_SOURCE, merge.mark)}
        merger.when_matched_update(marked, predicate=f"{goes} AND {_of(_TARGET, merge.mark)} IS NULL")
    else:
        merger.when_matched_delete(predicate=goes)
    merger.when_matched_update(values, predicate=f"{comes} AND ({_differs(merge.unlike)})")
    merger.when_not_matched_insert(values, predicate=comes)
    done = merger.execute()
    marked_ = merge.gone.num_rows if merge.mark is not None else 0
    deleted = marked_ or _count(done, "deleted")
    return Merged(written=_count(done, "inserted") + _count(done, "updated") - marked_, deleted=deleted)


def _count(done: Mapping[str, Any], what: str) -> int:
    return int(done[f"num_target_rows_{what}"])


def _free_name(names: Sequence[str]) -> str:
    """A column's name that is none of `names`, in whatever case."""
    taken, name = {n.lower() for n in names}, "_silt_gone"
    while name in taken:
        name += "_"
    return name


def _source(merge: Merge, name: str) -> pa.Table:
    """The rows, and the keys of those that go, told apart by a column of this name."""
    import pyarrow as pa

    if (keys := merge.gone) is None:
        return merge.rows
    schema, gone = merge.rows.schema, keys.num_rows

    def column(field: pa.Field) -> Any:
        if field.name in keys.schema.names:
            return keys.column(field.name).cast(field.type)
        if field.name == merge.mark:
            return pa.repeat(pa.scalar(merge.at, field.type), gone)
        return pa.nulls(gone, field.type)

    padded = pa.table([column(field) for field in schema], schema=schema)
    flags = pa.array([False] * merge.rows.num_rows + [True] * gone, pa.bool_())
    return pa.concat_tables([merge.rows, padded]).append_column(name, flags)


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
