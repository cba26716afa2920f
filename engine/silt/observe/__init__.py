"""The I/O that planning needs: opens what a manifest names, and fills frozen records.

`Handles` own every connection and table handle of a process; `look` turns a manifest into a `Plan`;
`outlook` says what a cycle would do now; `examine` is one database inside its read transaction.
"""

from __future__ import annotations

from silt.observe.claim import check_foreign, predicate, unclaimed
from silt.observe.handles import Handles, Lake, revealed
from silt.observe.look import (
    Known,
    Look,
    Standing,
    check_schema,
    check_slice,
    examine,
    known,
    slice_columns,
)
from silt.observe.outlook import denied, outlook
from silt.observe.places import places
from silt.observe.seen import look, look_again

__all__ = [
    "Handles",
    "Known",
    "Lake",
    "Look",
    "Standing",
    "check_foreign",
    "check_schema",
    "check_slice",
    "denied",
    "examine",
    "known",
    "look",
    "look_again",
    "outlook",
    "places",
    "predicate",
    "revealed",
    "slice_columns",
    "unclaimed",
]
