"""What a table's log says a stream did lately: for `silt status`, which must work without a daemon."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from silt.errors import SiltError
from silt.target.failures import translated
from silt.target.log import LOG, Entry, entry_versions, read_entry
from silt.target.store import locate

MOST = 2_000
"""Log entries that are read at most: a table with a commit a second has 86,400 in a day."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lately:
    """A stream's own commits since a moment; `rows` None where more entries were there than were read.

    `last` is the moment of its newest commit seen, in seconds since the epoch.
    """

    rows: int | None
    last: float | None = None


def lately(
    uri: str, options: Mapping[str, str], *, stream: tuple[str, str, str], since: float, most: int = MOST
) -> Lately:
    """What `stream` (manifest, node, name) committed to the table since `since` (seconds since the epoch)."""
    files = locate(uri, options).files()
    rows, last = 0, None
    with translated(uri, options):
        versions = entry_versions(files.names(LOG))
        for seen, version in enumerate(reversed(versions)):
            if seen >= most:
                return Lately(rows=None, last=last)
            entry = _entry(files, version)
            moment = _moment(entry)
            if moment is not None and moment < since:
                break
            if entry is not None and _owner(entry.silt) == stream:
                rows += _rows(entry)
                last = last if last is not None else moment
        else:
            if versions and versions[0] > 0:  # clean-up took what came before
                return Lately(rows=None, last=last)
    return Lately(rows=rows, last=last)


def _entry(files: Any, version: int) -> Entry | None:
    try:
        return read_entry(files, version)
    except (FileNotFoundError, SiltError):  # cleaned up meanwhile, or torn: a cycle says so, not we
        return None


def _moment(entry: Entry | None) -> float | None:
    stamp = entry.info.get("timestamp") if entry else None
    return stamp / 1000 if isinstance(stamp, int | float) else None


def _owner(mark: Mapping[str, Any] | None) -> tuple[str, str, str] | None:
    return (str(mark.get("manifest")), str(mark.get("node")), str(mark.get("stream"))) if mark else None


def _rows(entry: Entry) -> int:
    """Rows that an own entry added: as silt says, else as delta-rs counted them."""
    said: Iterable[Any] = ((entry.silt or {}).get("rows"), _metrics(entry).get("num_added_rows"))
    return next((int(value) for value in said if _is_count(value)), 0)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) or (isinstance(value, str) and value.isdigit())


def _metrics(entry: Entry) -> Mapping[str, Any]:
    metrics = entry.info.get("operationMetrics") or {}
    return json.loads(metrics) if isinstance(metrics, str) else metrics
