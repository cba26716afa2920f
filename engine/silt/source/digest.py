"""An ordered digest of a slice's rows: how a cold process can tell that nothing changed (DESIGN 7)."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from silt.shapes import Extract

if TYPE_CHECKING:
    import pyarrow as pa

_DIGEST_ROWS = 65_536


class Digest:
    """An ordered digest of Arrow rows that does not depend on how they came in batches."""

    def __init__(self, extract: Extract) -> None:
        self._names = [f.name for f in extract.fields if f.lineage != "loaded_at"]
        # misfits count where there are any: a column that only may come changes no digest
        self._rescued = [f.name for f in extract.fields if f.lineage == "rescued"]
        self._plain = [name for name in self._names if name not in self._rescued]
        kinds = [(f.name, f.type) for f in extract.fields if f.lineage != "rescued"]
        self._hash = hashlib.blake2b(repr(kinds).encode(), digest_size=16)
        self._rest: list[pa.RecordBatch] = []
        self._rows = 0

    def add(self, batch: pa.RecordBatch) -> None:
        self._rest.append(batch.select(self._names))
        self._rows += batch.num_rows
        while self._rows >= _DIGEST_ROWS:
            self._hash_rows(_DIGEST_ROWS)

    def _hash_rows(self, count: int) -> None:
        import pyarrow as pa

        table = pa.Table.from_batches(self._rest)
        rows = table.slice(0, count).combine_chunks()
        self._hash_table(rows.select(self._plain))
        if any(rows.column(name).null_count < count for name in self._rescued):
            self._hash_table(rows.select(self._rescued))
        self._rest = table.slice(count).to_batches()
        self._rows -= count

    def _hash_table(self, table: pa.Table) -> None:
        """IPC leaves out what is not data: offsets are rebased, bitmaps without a null dropped."""
        import pyarrow as pa

        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        self._hash.update(sink.getvalue())

    def hex(self) -> str:
        """The digest of all rows so far; nothing may be added after it."""
        if self._rows:
            self._hash_rows(self._rows)
        return self._hash.hexdigest()
