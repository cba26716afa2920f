"""The table's transaction log, read by ourselves: what delta-rs does not tell, or tells only slowly.

`transaction_version` re-reads the log for each id; here all transactions come from one pass over the
newest checkpoint's `txn` column and the JSON entries after it (DESIGN 4.1).  Source of the formats:
the Delta transaction protocol, "Delta Log Entries" and "Checkpoints".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from silt.errors import Held
from silt.target.store import Files

LOG = "_delta_log"
LAST_CHECKPOINT = f"{LOG}/_last_checkpoint"
MARK = "silt"
"""The key of commitInfo by which silt knows its own entries; its `txns` says how many follow."""

_ENTRY = re.compile(r"(\d{20})\.json")
_CHECKPOINT = re.compile(
    r"(\d{20})\.checkpoint(?:\.(?P<part>\d{10})\.(?P<parts>\d{10})|\.(?P<uuid>[0-9a-f-]{36}))?\.(?:parquet|json)"
)


def entry_path(version: int) -> str:
    """The path of a version's entry below the table."""
    return f"{LOG}/{version:020d}.json"


class Torn(ValueError):
    """An entry that is not whole: a crash of the machine cut it, or left it empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFile:
    """A file that an entry adds; `path` as the log spells it (percent-encoded), `size` in bytes."""

    path: str
    size: int
    vector: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One version's actions.  `removed` counts files whose rows went away (not those of OPTIMIZE)."""

    version: int
    info: Mapping[str, Any] = field(default_factory=dict)
    txns: tuple[tuple[str, int], ...] = ()
    adds: tuple[DataFile, ...] = ()
    removes: tuple[str, ...] = ()
    removed: int = 0
    metadata: bool = False

    @property
    def silt(self) -> Mapping[str, Any] | None:
        """What silt wrote into its own entry; None for anybody else's."""
        mark = self.info.get(MARK)
        return mark if isinstance(mark, dict) else None


def parse(version: int, data: bytes) -> Entry:
    """The entry in `data`; raises `Torn` where it is empty, does not parse, or lacks silt's transactions.

    An entry cut between two lines parses, and its rows would show without their position: silt's own
    say how many transactions they carry.  A 0-byte entry reads as an empty commit in delta-rs (FACTS).
    """
    try:
        actions = [json.loads(line) for line in data.splitlines() if line.strip()]
    except ValueError as error:
        raise Torn(f"version {version}: {error}") from error
    if not actions or not all(isinstance(action, dict) for action in actions):
        raise Torn(f"version {version}: it is empty")
    entry = _entry(version, actions)
    _check_own(entry)
    return entry


def _entry(version: int, actions: list[dict[str, Any]]) -> Entry:
    adds, removes = _of(actions, "add"), _of(actions, "remove")
    return Entry(
        version=version,
        info=next(iter(_of(actions, "commitInfo")), {}),
        txns=tuple((t["appId"], t["version"]) for t in _of(actions, "txn")),
        adds=tuple(_data_file(add) for add in adds),
        removes=tuple(remove["path"] for remove in removes),
        removed=sum(remove.get("dataChange", True) for remove in removes),
        metadata=bool(_of(actions, "metaData") or _of(actions, "protocol")),
    )


def _of(actions: Iterable[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [action[kind] for action in actions if action.get(kind) is not None]


def _data_file(add: Mapping[str, Any]) -> DataFile:
    return DataFile(path=add["path"], size=add["size"], vector=add.get("deletionVector") is not None)


def _check_own(entry: Entry) -> None:
    promised = (entry.silt or {}).get("txns", 0)
    if len(entry.txns) < promised:
        raise Torn(f"version {entry.version}: {len(entry.txns)} of its {promised} transactions are there")


def read_entry(files: Files, version: int) -> Entry:
    """The entry of `version`; raises FileNotFoundError, or `Held` for a torn one."""
    data = files.read(entry_path(version))
    try:
        return parse(version, data)
    except Torn as error:
        raise Held(
            "a log entry of the table is torn",
            rule="4.6",
            on=entry_path(version),
            why=str(error),
            hint="restart silt: its check at start sets a torn last entry aside",
        ) from error


# --- checkpoints ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A complete checkpoint; `paths` are its files below the table (several: multi-part)."""

    version: int
    paths: tuple[str, ...]


def entry_versions(names: Iterable[str]) -> tuple[int, ...]:
    """The versions that have a JSON entry among the log's `names`, rising."""
    return tuple(sorted(int(m[1]) for m in map(_ENTRY.fullmatch, names) if m))


def checkpoints(names: Iterable[str]) -> tuple[Checkpoint, ...]:
    """The complete checkpoints among the log's `names`, newest first."""
    groups: dict[tuple[int, str], list[str]] = {}
    for match in filter(None, map(_CHECKPOINT.fullmatch, names)):
        kind = match["parts"] or match["uuid"] or "single"
        groups.setdefault((int(match[1]), kind), []).append(f"{LOG}/{match[0]}")
    whole = [
        Checkpoint(version=version, paths=tuple(sorted(paths)))
        for (version, kind), paths in groups.items()
        if not (kind.isdigit() and len(paths) < int(kind))
    ]
    return tuple(sorted(whole, key=lambda c: (c.version, c.paths), reverse=True))


def hinted(files: Files) -> Checkpoint | None:
    """The checkpoint that `_last_checkpoint` names; None without a usable one (the log is listed then)."""
    try:
        hint = json.loads(files.read(LAST_CHECKPOINT))
        version, parts = int(hint["version"]), int(hint.get("parts") or 0)
        v2 = hint.get("v2Checkpoint") or {}
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return None
    stem = f"{version:020d}.checkpoint"
    names = [f"{stem}.{i + 1:010d}.{parts:010d}.parquet" for i in range(parts)] or [f"{stem}.parquet"]
    if v2.get("path"):
        names = [str(v2["path"]).rsplit("/", 1)[-1]]
    return Checkpoint(version=version, paths=tuple(f"{LOG}/{name}" for name in names))


def checkpoint_txns(files: Files, checkpoint: Checkpoint) -> dict[str, int]:
    """Every transaction in a checkpoint; sidecars hold only files, so they are left alone."""
    found: dict[str, int] = {}
    for path in checkpoint.paths:
        found.update(_json_txns(files.read(path)) if path.endswith(".json") else _parquet_txns(files, path))
    return found


def _json_txns(data: bytes) -> dict[str, int]:
    actions = [json.loads(line) for line in data.splitlines() if line.strip()]
    return {t["appId"]: t["version"] for t in _of(actions, "txn")}


def _parquet_txns(files: Files, path: str) -> dict[str, int]:
    import pyarrow.parquet as pq

    with files.open(path) as file:
        parquet = pq.ParquetFile(file)
        if "txn" not in parquet.schema_arrow.names:
            return {}
        column = parquet.read(columns=["txn.appId", "txn.version"], use_threads=False)["txn"]
    kept = column.drop_null().combine_chunks()
    return dict(zip(kept.field("appId").to_pylist(), kept.field("version").to_pylist(), strict=True))


def read_txns(files: Files, version: int) -> tuple[dict[str, int], tuple[Entry, ...]]:
    """Every transaction as of `version`, and the entries read for it (those after the checkpoint).

    Raises FileNotFoundError where an entry that is needed is gone (cleaned up while we read: try again),
    and `Held` for a torn entry.
    """
    start = _checkpoint_for(files, version)
    txns = checkpoint_txns(files, start) if start else {}
    first = start.version + 1 if start else 0
    entries = tuple(read_entry(files, v) for v in range(first, version + 1))
    for entry in entries:
        txns.update(entry.txns)
    return txns, entries


def _checkpoint_for(files: Files, version: int) -> Checkpoint | None:
    hint = hinted(files)
    if hint and hint.version <= version and all(files.stamp(path) for path in hint.paths):
        return hint
    found = checkpoints(files.names(LOG))
    return next((c for c in found if c.version <= version), None)
