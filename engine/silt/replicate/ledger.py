"""One Delta table as a cycle sees it: its positions, and commits that are proved before they count.

DESIGN 4.2: a position is known before its write starts; the commit goes through the handle whose
snapshot the position was read at, so that a rival's commit of the same app conflicts; after every
commit or exception what is in memory is forgotten and the table is read again: my nonce there ->
mine, a rival's -> discard, batch unchanged -> the caller tries again from the table's position.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from silt import target
from silt.errors import Fenced, Held, SiltError, Unplaced
from silt.observe import Known, Lake, Standing, check_foreign, known, unclaimed
from silt.plan.model import Part, StreamPlan, TablePlan
from silt.position import Position, Value, decode, encode, pack
from silt.shapes import RESCUED, REWRITTEN_FILE
from silt.source.read import schema

if TYPE_CHECKING:
    import pyarrow as pa

Txns = tuple[tuple[str, int], ...]
Write = Callable[["target.Table", Txns, Mapping[str, str]], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """One database's share of a commit: batch `batch` of `part`, leading to `position`, with `rows` rows.

    `position` None empties it (reset: transactions cannot be removed, DESIGN 4.5).  `late` rows came after
    their window was written, `deleted` rows go.  `needed`: it is worth a commit though no row of the lake
    changes.
    """

    part: Part
    batch: int
    position: Position | None
    rows: int
    late: int = 0
    deleted: int = 0
    needed: bool = True

    @property
    def txns(self) -> Txns:
        return pack(self.part.app, self.batch, encode(self.position) if self.position else b"")


class Ledger:
    """The table of one `TablePlan`, opened or created; everything goes through one handle."""

    def __init__(
        self, lake: Lake, plan: StreamPlan, table_plan: TablePlan, *, manifest: str, node: str
    ) -> None:
        self._lake = lake
        self._plan = plan
        self._table_plan = table_plan
        self._manifest = manifest
        self._node = node
        self.created = False
        self.notes: list[str] = []
        self.unclaimed: dict[str, Held] = {}
        """By app: databases that are held, since nothing says whose the rows of their slice are."""

    @property
    def table(self) -> target.Table:
        if self._lake.table is None:
            raise RuntimeError(f"{self._lake.uri}: used before it was opened")
        return self._lake.table

    @property
    def is_open(self) -> bool:
        return self._lake.table is not None

    def open(self) -> None:
        """The table exists with every planned column, and its handle is at the newest version.

        Raises `Held` where no position explains any database's rows (DESIGN 10), before the table is
        touched (`unclaimed` has the others), and for a foreign commit that positions do not survive
        (DESIGN 4.5); `UserError` for a store that two writers could lose rows in.
        """
        self._lake.prove()
        if self._lake.table is None:
            self._create()
        self.refresh()
        if not self.created:
            self.unclaimed = unclaimed(self.table, self._plan, self._table_plan)
        if missing := self._missing_columns():
            self.table.add_columns(missing, metadata=self._about())
            self.refresh()
        altered = self._alter()
        if self.created or missing or altered:
            self._lake.sync()  # no batch may follow (DESIGN 4.6)
        self.check_foreign(self._table_plan.parts)

    def _create(self) -> None:
        plan, stream = self._table_plan, self._plan.stream
        self._lake.table = target.create_table(
            self._lake.uri,
            self._lake.options,
            columns=[target.ColumnSpec(name=c.name, type=c.type, comment=c.comment) for c in plan.columns],
            partition_by=plan.partition_by,
            description=stream.description or f"{stream.source}.{stream.table}",
            configuration={**_FILES.get(stream.mode, {}), **dict(stream.properties)},
        )
        self.created = True

    def _alter(self) -> bool:
        """Set the comment and the properties that the manifest names; True where something was changed."""
        stream, before = self._plan.stream, self.table.version
        self.table.set_properties(dict(stream.properties), metadata=self._about())
        if stream.description is not None:
            self.table.describe(stream.description, metadata=self._about())
        changed = self.table.version != before
        if changed:
            self.refresh()
        return changed

    def refresh(self) -> None:
        """Forget what is in memory and read the table again; on failure the handle is dropped."""
        try:
            self.table.refresh()
        except SiltError:
            self._lake.table = None
            raise

    def _missing_columns(self) -> list[target.ColumnSpec]:
        have = {c.name for c in self.table.columns}
        wanted = self._table_plan.columns
        return [
            target.ColumnSpec(name=c.name, type=c.type, comment=c.comment)
            for c in wanted
            if c.name not in have
        ]

    def standing(self, part: Part) -> Standing:
        batch, payload = self._lake.stood[part.app] = self.table.position(part.app)
        return Standing(batch=batch, position=decode(payload), known=() if batch else self._known)

    @cached_property
    def _known(self) -> tuple[Known, ...]:
        """Asked for only where a database is new; others' positions do not move while this ledger lives."""
        return known(self.table, self._plan, manifest=self._manifest, node=self._node)

    def owns_slice(self, part: Part) -> bool:
        """Whether the slice's rows are this part's alone: only then may rows be compared with it."""
        plan = self._table_plan
        return not (plan.shared or plan.pooled) and all(
            p.app == part.app or p.slice != part.slice for p in plan.parts
        )

    # --- what others did ---

    def check_foreign(self, parts: Iterable[Part]) -> None:
        """Raise `Held` where somebody took rows away after a position of `parts` was built (DESIGN 4.5).

        Before each batch: the next position is built on what the handle shows now, and would step
        over what happened between two commits of one cycle.
        """
        self.notes.extend(check_foreign(self.table, parts))

    # --- committing ---

    def commit(self, drafts: Sequence[Draft], write: Write) -> int | None:
        """One commit that carries every draft's transactions; the version at which it is seen to stand.

        None where `write` says, by returning False, that nothing was worth one.  Raises what `write` raised
        when the table shows that nothing of it landed, `Fenced` when a rival's batch stands there instead.
        """
        txns = tuple(pair for draft in drafts for pair in draft.txns)
        failure: Exception | None = None
        self._lake.sync()
        try:
            if write(self.table, txns, self._metadata(drafts)) is False:
                return None
        except Exception as error:  # noqa: BLE001  # whatever it was, the table knows whether it landed
            failure = error
        self.refresh()
        if self._landed(drafts, accepted=failure is None):
            self._lake.sync()
            return self.table.version
        if failure is None or self._overtaken(drafts):
            raise Fenced("another process committed this batch first", on=self._lake.uri) from failure
        if isinstance(failure, Unplaced):
            self._add_rescued()
        raise failure

    def _add_rescued(self) -> None:
        """The column of misfits, before the first batch that has one: in a commit of its own."""
        column = target.ColumnSpec(name=RESCUED, type="string", comment=_RESCUED_COMMENT)
        self.table.add_columns([column], metadata=self._about())
        self._lake.sync()

    def _overtaken(self, drafts: Iterable[Draft]) -> bool:
        """Whether a rival's batch stands where one of ours was to be."""
        return any(self.standing(draft.part).batch >= draft.batch for draft in drafts)

    def _landed(self, drafts: Iterable[Draft], *, accepted: bool) -> bool:
        return all(self._is_there(draft, accepted=accepted) for draft in drafts)

    def _is_there(self, draft: Draft, *, accepted: bool) -> bool:
        """Its nonce is there; or it was accepted, and a rival has built on it since."""
        standing = self.standing(draft.part)
        if standing.batch != draft.batch:
            return accepted and standing.batch > draft.batch
        return (standing.position and standing.position.nonce) == (draft.position and draft.position.nonce)

    def _about(self) -> dict[str, str]:
        """Who commits, for people and for whoever reads the log."""
        return {"manifest": self._manifest, "node": self._node, "stream": self._plan.stream.name}

    def _metadata(self, drafts: Sequence[Draft]) -> dict[str, str]:
        """The position once more, for people (DESIGN 4.1); at most a few databases are spelled out."""
        named = {d.part.database.name: shown(d.position) for d in drafts[:_SPELLED_OUT]}
        rows = sum(d.rows for d in drafts)
        late = sum(d.late for d in drafts)
        deleted = sum(d.deleted for d in drafts)
        return {
            **self._about(),
            **({"late_rows": str(late)} if late else {}),
            **({"deleted": str(deleted)} if deleted else {}),
            "rows": str(rows),
            "databases": str(len(drafts)),
            "position": json.dumps(named, ensure_ascii=False),
        }


_SPELLED_OUT = 8

_SMALL = {"delta.targetFileSize": str(REWRITTEN_FILE)}
_FILES: Mapping[str, Mapping[str, str]] = {"merge": _SMALL, "mirror": _SMALL}
"""What a new table is told of the size of its files; MERGE goes by it."""


_RESCUED_COMMENT = "values that do not fit their column, which is NULL there: column, storage class, value"


def reader(part: Part, table: target.Table, batches: Iterator[pa.RecordBatch]) -> pa.RecordBatchReader:
    """`batches` as one Arrow stream in the lake's schema.

    While the table has no column of misfits they go without it: it raises `Unplaced` at the first one.
    """
    import pyarrow as pa

    whole = schema(part.extract)
    if not part.extract.rescues or any(c.name == RESCUED for c in table.columns):
        return pa.RecordBatchReader.from_batches(whole, batches)
    names = [name for name in whole.names if name != RESCUED]
    fitting = pa.schema([whole.field(name) for name in names])
    return pa.RecordBatchReader.from_batches(fitting, (_fitting(batch, names) for batch in batches))


def _fitting(batch: pa.RecordBatch, names: list[str]) -> pa.RecordBatch:
    if batch.column(batch.schema.get_field_index(RESCUED)).null_count < batch.num_rows:
        raise Unplaced(f"the table has no column {RESCUED} yet")
    return batch.select(names)


def shown(position: Position | None) -> list[object]:
    """A position's key as JSON shows it: bytes as hex, text that is no UTF-8 with its bytes spelled out."""
    key = (position.key if position else None) or ()
    return [_plain(value) for value in key]


def _plain(value: Value) -> object:
    if isinstance(value, bytes):
        return value.hex()
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


def now_ms() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000
