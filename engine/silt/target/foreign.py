"""What others did to the table, judged from their log entries (DESIGN 4.5)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from silt.target.log import Entry
from silt.target.model import Foreign

REPLACED: Final = "replaced"
"""The key of silt's mark for the slice that an entry replaced: a JSON object, empty for the whole table."""

_REPLACES = ("RESTORE", "REPLACE TABLE", "CLONE")


def judge(entry: Entry) -> Foreign | None:
    """The fact in a foreign entry that silt must not step over; None where it may go on.

    RESTORE and the replacement of the table always count.  Everything else counts when it takes rows
    away: overwrite, DELETE, UPDATE, MERGE, TRUNCATE, or an entry that does not say what it is.  OPTIMIZE,
    VACUUM, appends, new columns and properties go on; so do a DELETE or MERGE that removed nothing.
    An entry of silt's that takes rows away counts for every stream but its own.
    """
    if entry.silt is not None:
        return _by_silt(entry, entry.silt)
    operation = str(entry.info.get("operation", "")).upper()
    replaces = any(word in operation for word in _REPLACES) and not _first(entry)
    if not (replaces or entry.removed):
        return None
    return Foreign(version=entry.version, operation=operation, fact=_fact(entry, operation), severity="hold")


def _by_silt(entry: Entry, mark: Mapping[str, Any]) -> Foreign | None:
    if not entry.removed:
        return None
    manifest, node, stream = (str(mark.get(name)) for name in ("manifest", "node", "stream"))
    replaced = json.loads(mark.get(REPLACED) or "{}")
    return Foreign(
        version=entry.version,
        operation="SILT",
        fact=f"version {entry.version}: stream {stream} of manifest {manifest} (node {node}) replaced "
        f"{_shown(replaced)}, {entry.removed} data files taken out",
        severity="hold",
        owner=(manifest, node, stream),
        replaced=tuple(replaced.items()),
    )


def _shown(replaced: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in replaced.items()) or "the whole table"


def _first(entry: Entry) -> bool:
    return entry.version == 0


def _fact(entry: Entry, operation: str) -> str:
    by = entry.info.get("userName") or entry.info.get("engineInfo") or "somebody else"
    details = _details(entry.info.get("operationParameters"))
    files = f", {entry.removed} data files taken out" if entry.removed else ""
    return f"version {entry.version}: {operation or 'an unnamed operation'}{details} by {by}{files}"


def _details(parameters: Any) -> str:
    known = parameters if isinstance(parameters, dict) else {}
    shown = {k: known[k] for k in ("mode", "predicate", "version") if known.get(k) not in (None, "", "[]")}
    return f" {json.dumps(shown, ensure_ascii=False)}" if shown else ""


def unchecked(first: int, last: int) -> Foreign:
    """The note for entries that were cleaned up before they could be read."""
    which = f"version {first}" if first == last else f"versions {first} to {last}"
    fact = f"{which} could not be checked for foreign changes: the log no longer holds them"
    return Foreign(version=last, operation="", fact=fact, severity="note")
