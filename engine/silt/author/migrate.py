"""`silt migrate`: the flat config of the uploader that silt grew from, as a manifest of the same identity.

Name, node, stream, database and `into` are those that the config is lifted to (`manifest.flat`), so that
the manifest goes on from the position that a run of the config left in the lake.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import sqlalchemy as sa

from silt import observe, types
from silt.author.init import comment, scalar
from silt.author.survey import TableSurvey, survey
from silt.author.uploader import Uploaded, timestamp_column, uploaded
from silt.errors import UserError
from silt.manifest import ManifestInvalid, expand
from silt.manifest.model import Manifest, Source, Stream
from silt.position import app_id
from silt.report.units import counted
from silt.shapes import Column, Table, Value
from silt.source.cursor import times
from silt.source.open import connect, find
from silt.source.statement import relation

_TOP = """\
# What `silt migrate` made of {path}: the same table, the same place, the same position.
# The environment still wins: SQLITE_PATH, STATE_DIR, UPLOAD_INTERVAL, NODE_ID; TABLE_PATH does not, it
# became the target's path and `into`.
version: 1
node: ${{NODE_ID:-default}}
state_dir: {state_dir}

sources:
  source: {source}
targets:
  lake: {lake}

streams:
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Where the stream begins: after `value` of `column`; `why` says it, `rows` lie behind.

    `column` None: where the position in the lake, or the table's first row, says.
    """

    why: str
    column: str | None = None
    value: Value = None
    apart: bool = False
    """Whether rows of the old program are in the lake, from which silt's must be told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """The manifest's text and what a person should know, in a sentence."""

    text: str
    start: Start


def migrate(config: Manifest) -> Migration:
    """The manifest that says what the flat `config` does.

    Raises `UserError` for a manifest that is none, `ManifestInvalid` where the database does not hold
    exactly one table, and what opening the source, the state file or the lake raises.
    """
    if not config.is_flat:
        raise UserError("this is a manifest already", on=config.path, hint="`silt run` runs it")
    source = config.sources[0]
    (database,) = find(source.path)
    seen = survey(database)
    if seen.error is not None:
        raise seen.error
    stream = _the_stream(config, [t for t in seen.tables if t.table.kind == "table" and not t.table.note])
    table = next(t for t in seen.tables if t.table.name == stream.table)
    start = _start(config, stream, database.name, source, table)
    return Migration(text="".join(_text(config, stream, start)), start=start)


def _the_stream(config: Manifest, tables: list[TableSurvey]) -> Stream:
    expansion = expand(config, {config.sources[0].name: tuple(t.table.name for t in tables)})
    if expansion.problems:
        raise ManifestInvalid(expansion.problems)
    return expansion.streams[0]


# --- where it begins ------------------------------------------------------------------------------


def _start(config: Manifest, stream: Stream, database: str, source: Source, table: TableSurvey) -> Start:
    last = uploaded(config.state_dir)
    if last is None:
        return Start(
            why="no state file of the old program: the position in the lake says, else the first row"
        )
    app = app_id(manifest=config.name, node=config.node, stream=stream.name, database=database)
    with (
        observe.Handles(config, mend=False) as handles,
        handles.lake(config.target(stream.target), stream.into) as lake,
    ):
        if lake.table is not None and lake.table.position(app)[0]:
            return Start(why=f"the lake holds a position of silt's, which {last.file} does not change")
        apart = lake.table is not None
    return _after(last, source, table, apart=apart)


def _after(last: Uploaded, source: Source, seen: TableSurvey, *, apart: bool) -> Start:
    """After the last timestamp: by the id that `auto` orders by, where ids and times agree there."""
    table, column = seen.table, timestamp_column(seen.table)
    form = times(table, seen.census).get(column.name) if column is not None and seen.census else None
    if column is None or form is None:
        raise UserError(
            f"no column of {table.name} can be compared with the old program's last timestamp",
            on=last.file,
            hint="its times must have one format; without the file all rows are sent",
        )
    moment = types.spell(last.until, form)
    said = f"{last.file} says that all was sent up to {last.until.isoformat()}"
    key = table.rowid_alias
    if (
        key is not None
        and seen.choice is not None
        and seen.choice.order
        and seen.choice.order.kind == "rowid"
    ):
        highest, later = _ids(source, table, column, key, moment)
        if highest is None:
            return Start(why=f"{said}, and no row is as old", apart=apart)
        if not later:
            why = f"{said}: the highest {key} at or before that is {highest}"
            return Start(why=why, column=key, value=highest, apart=apart)
        said += f"; {counted(later, 'row')} of a lower {key} came later, so {column.name} orders"
    return Start(why=said, column=column.name, value=moment, apart=apart)


def _ids(source: Source, table: Table, column: Column, key: str, moment: Value) -> tuple[int | None, int]:
    """The highest id at or before `moment`, and how many rows up to it are later."""
    rel = relation(table)
    highest = sa.select(sa.func.max(rel.c[key])).where(rel.c[column.name] <= moment)
    with connect(source.path, busy_timeout=source.busy_timeout) as connection, connection.snapshot():
        ((found,),) = connection.rows(highest)
        if found is None:
            return None, 0
        later = sa.select(sa.func.count()).where(rel.c[key] <= found, rel.c[column.name] > moment)
        ((rows,),) = connection.rows(later)
    return int(found), int(rows)


# --- as text --------------------------------------------------------------------------------------


def _text(config: Manifest, stream: Stream, start: Start) -> Iterator[str]:
    source, lake = config.sources[0], config.target(stream.target)
    yield _TOP.format(
        path=config.path,
        state_dir=_variable("STATE_DIR", config.state_dir),
        source=_variable("SQLITE_PATH", source.path),
        lake=scalar(_plain(lake.uri), quoted=True),
    )
    yield f"  {scalar(stream.name)}:\n"
    yield from (f"{line}\n" for line in comment(f"begins where: {start.why}.", "    "))
    if start.column is not None:
        value = (
            start.value
            if isinstance(start.value, int | float)
            else scalar(_plain(str(start.value)), quoted=True)
        )
        yield f"    cursor: {{column: {scalar(start.column)}, initial_value: {value}}}\n"
    if start.apart:
        words = "The table holds rows of the old program already; silt's are told from them by _silt_node."
        yield from (f"{line}\n" for line in comment(words, "    "))
        yield "    lineage: [node]\n"
    yield f"    into: {scalar(_plain(stream.into))}\n"
    yield f'    schedule: "${{UPLOAD_INTERVAL:-{stream.schedule.every:g}}}s"\n'


def _plain(value: str) -> str:
    """`value` with `$` written so that it begins no variable (DESIGN 3, expansion)."""
    return value.replace("$", "$$")


def _variable(name: str, value: str) -> str:
    """The variable with what it is now as its default; the value alone where that could not be told apart."""
    if any(c in value for c in "$}\n"):
        return scalar(_plain(value), quoted=True)
    return scalar(f"${{{name}:-{value}}}", quoted=True)
