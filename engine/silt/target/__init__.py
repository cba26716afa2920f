"""Delta tables: opening, creating, committing rows with their positions, syncing, checking at start.

Importing this package imports deltalake (20 ms); pyarrow and SQLAlchemy are imported by the functions
that need them.
"""

# ruff: noqa: E402 -- what delta-rs reads when it is loaded has to be there before
from silt.target import runtime

runtime.settle()

from silt.target.access import check_writable
from silt.target.durable import fsync_path, sync
from silt.target.merger import Merge, Merged
from silt.target.model import ColumnSpec, Foreign, Owner, Predicate, WriterHints
from silt.target.proof import prove
from silt.target.start import check_at_start
from silt.target.table import CHECKPOINT_EVERY, Table, create_table, open_table
from silt.target.upkeep import Task, Upkeep, last_done, open_upkeep

__all__ = [
    "CHECKPOINT_EVERY",
    "ColumnSpec",
    "Foreign",
    "Merge",
    "Merged",
    "Owner",
    "Predicate",
    "Table",
    "Task",
    "Upkeep",
    "WriterHints",
    "check_at_start",
    "check_writable",
    "create_table",
    "fsync_path",
    "last_done",
    "open_table",
    "open_upkeep",
    "prove",
    "sync",
]
