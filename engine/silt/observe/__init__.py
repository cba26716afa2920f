"""The I/O that planning needs: opens what a manifest names, and fills frozen records.

`Handles` own every connection and table handle of a process; `look` turns a manifest into a `Plan`;
`outlook` says what a cycle would do now; `examine` is one database inside its read transaction.
"""

from __future__ import annotations

from silt.observe.claim import check_foreign, predicate, unclaimed
from silt.observe.compare import (
    KEY_BYTES,
    ROW_BYTES,
    Difference,
    check_fraction,
    differences,
    fetched,
    is_due,
    is_ranged,
    ordered,
    without_key,
)
from silt.observe.handles import Handles, Lake, revealed
from silt.observe.look import (
    NOTHING,
    Known,
    Look,
    Standing,
    check_schema,
    check_slice,
    examine,
    known,
    renamed_from,
    slice_columns,
)
from silt.observe.outlook import denied, outlook
from silt.observe.places import places
from silt.observe.seen import look, look_again

__all__ = [
    "KEY_BYTES",
    "NOTHING",
    "ROW_BYTES",
    "Difference",
    "Handles",
    "Known",
    "Lake",
    "Look",
    "Standing",
    "check_foreign",
    "check_fraction",
    "check_schema",
    "check_slice",
    "denied",
    "differences",
    "examine",
    "fetched",
    "is_due",
    "is_ranged",
    "known",
    "look",
    "look_again",
    "ordered",
    "outlook",
    "places",
    "predicate",
    "renamed_from",
    "revealed",
    "slice_columns",
    "unclaimed",
    "without_key",
]
