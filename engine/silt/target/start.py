"""The check of a local table at start: what a power cut may have left behind (DESIGN 4.6)."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path

from silt.errors import Held
from silt.target import durable
from silt.target.durable import data_path
from silt.target.log import (
    LAST_CHECKPOINT,
    LOG,
    Checkpoint,
    DataFile,
    Entry,
    Torn,
    checkpoint_txns,
    checkpoints,
    entry_path,
    entry_versions,
    hinted,
    parse,
)
from silt.target.store import LocalFiles, locate

_MAGIC = b"PAR1"
_TRIES = 3


def check_at_start(uri: str, options: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Check every entry since the last good checkpoint; notes on what was repaired, none when all is well.

    A torn last entry is set aside (`<entry>.torn`), whoever wrote it: its rows were never acknowledged, or
    are sent again.  A torn checkpoint is dropped, with `_last_checkpoint`, where the entries before it are
    there.  Raises `Held` for anything else.  Nothing to do for a remote table, or where there is none.
    """
    folder = locate(uri, options or {}).folder
    if folder is None or not (folder / LOG).is_dir():
        return ()
    os.sync()
    notes = _drop_torn_checkpoints(folder)
    for _ in range(_TRIES):
        last = _last(folder)
        fault = _first_fault(folder)
        moved_on = last != _last(folder)
        if fault is None:
            break
        if not moved_on:  # else a rival is at work, and may have vacuumed what looked missing
            notes.append(_settle(folder, *fault, last))
    return tuple(notes)


# --- checkpoints ----------------------------------------------------------------------------------


def _drop_torn_checkpoints(folder: Path) -> list[str]:
    files = LocalFiles(folder)
    names = files.names(LOG)
    versions = set(entry_versions(names))
    found = checkpoints(names)
    torn = _torn_ahead(folder, found)
    if torn:
        _entries_replace(torn, versions, _good(folder, found))
    notes = [_drop(folder, checkpoint) for checkpoint in torn]
    hint = hinted(files)
    if (folder / LAST_CHECKPOINT).exists() and not (hint and all(files.stamp(p) for p in hint.paths)):
        (folder / LAST_CHECKPOINT).unlink(missing_ok=True)  # or another silt of this node was faster
        notes.append(f"{LAST_CHECKPOINT} named no checkpoint that is there, and was removed")
    if notes:
        durable.fsync_path(folder / LOG)
    return notes


def _torn_ahead(folder: Path, found: tuple[Checkpoint, ...]) -> list[Checkpoint]:
    """The torn checkpoints newer than the newest good one."""
    torn = []
    for checkpoint in found:
        if _reads(folder, checkpoint):
            break
        torn.append(checkpoint)
    return torn


def _good(folder: Path, found: tuple[Checkpoint, ...]) -> int:
    """The version of the newest good checkpoint, -1 without."""
    return next((c.version for c in found if _reads(folder, c)), -1)


def _reads(folder: Path, checkpoint: Checkpoint) -> bool:
    """Whether every part has its footer and its pages decompress."""
    from pyarrow import ArrowException
    from pyarrow.parquet import read_table

    try:
        checkpoint_txns(LocalFiles(folder), checkpoint)
        rows = [
            read_table(folder / path, columns=["add", "protocol", "metaData"]).num_rows
            for path in checkpoint.paths
            if path.endswith(".parquet")
        ]
    except (ArrowException, OSError, ValueError):
        return False
    return all(rows)


def _entries_replace(torn: list[Checkpoint], versions: set[int], good: int) -> None:
    newest = max([*versions, *(c.version for c in torn)])
    gone = [version for version in range(good + 1, newest + 1) if version not in versions]
    if gone:
        raise Held(
            "a checkpoint of the table is torn, and log entries that it replaced are gone",
            rule="4.6",
            on=torn[0].paths[0],
            why=f"version {gone[0]} has no entry",
            hint="restore _delta_log from a backup, or move the table away to send everything again",
        )


def _drop(folder: Path, checkpoint: Checkpoint) -> str:
    for path in checkpoint.paths:
        (folder / path).unlink(missing_ok=True)
    return (
        f"the checkpoint of version {checkpoint.version} was torn, and was removed: its entries are all there"
    )


# --- entries --------------------------------------------------------------------------------------


def _first_fault(folder: Path) -> tuple[int, str] | None:
    """The first entry since the last good checkpoint that is torn, or whose live files are; and why."""
    names = LocalFiles(folder).names(LOG)
    good = next((c.version for c in checkpoints(names)), -1)
    versions = [version for version in entry_versions(names) if version > good]
    if versions and versions != list(range(good + 1, versions[-1] + 1)):
        missing = next(v for v in range(good + 1, versions[-1]) if v not in versions)
        raise _held(folder, missing, "it is missing")
    entries: list[Entry] = []
    for version in versions:
        try:
            entries.append(parse(version, (folder / entry_path(version)).read_bytes()))
        except Torn as error:
            return version, str(error)
    return _torn_data(folder, entries)


def _torn_data(folder: Path, entries: list[Entry]) -> tuple[int, str] | None:
    live: dict[str, tuple[int, DataFile]] = {}
    for entry in entries:
        for path in entry.removes:
            live.pop(path, None)
        live.update({add.path: (entry.version, add) for add in entry.adds})
    for version, file in live.values():
        why = _data_fault(folder, file)
        if why:
            return version, f"version {version}: {why}"
    return None


def _data_fault(folder: Path, file: DataFile) -> str:
    path = data_path(folder, file)
    if path is None:
        return ""
    try:
        with path.open("rb") as opened:
            size = opened.seek(0, os.SEEK_END)
            opened.seek(max(0, size - len(_MAGIC)))
            footer = opened.read()
    except FileNotFoundError:
        return f"its data file {file.path} is missing"
    if size != file.size:
        return f"its data file {file.path} has {size:,} bytes, not {file.size:,}"
    return "" if footer == _MAGIC else f"its data file {file.path} has no Parquet footer"


def _last(folder: Path) -> int:
    return max(entry_versions(LocalFiles(folder).names(LOG)), default=-1)


def _settle(folder: Path, version: int, why: str, last: int) -> str:
    if version != last:
        raise _held(folder, version, why)
    aside = _set_aside(folder / entry_path(version))
    for companion in (f"{version:020d}.crc", f".{version:020d}.json.crc"):
        (folder / LOG / companion).unlink(missing_ok=True)  # checksums by other writers, of the torn entry
    durable.fsync_path(folder / LOG)
    return f"the last log entry was torn and is set aside as {aside.name}: {why}; its rows are sent again"


def _set_aside(path: Path) -> Path:
    aside = path.with_name(f"{path.name}.torn")
    if aside.exists():
        aside = path.with_name(f"{path.name}.{time.time_ns()}.torn")
    return path.rename(aside)


def _held(folder: Path, version: int, why: str) -> Held:
    return Held(
        "a log entry of the table is torn, and newer ones build on it",
        rule="4.6",
        on=str(folder / entry_path(version)),
        why=why,
        hint="restore the file from a backup, or move the table away to send everything again",
    )
