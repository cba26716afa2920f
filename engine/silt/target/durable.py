"""Onto the disk: delta-rs never syncs (FACTS), so a power cut could take a commit back (DESIGN 4.6)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from silt.target.log import LAST_CHECKPOINT, DataFile, entry_path, hinted, parse
from silt.target.store import LocalFiles


class _Local(Protocol):
    @property
    def folder(self) -> Path | None: ...


def fsync_path(path: Path) -> None:
    """Sync one file or folder; raises FileNotFoundError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def data_path(folder: Path, file: DataFile) -> Path | None:
    """Where a data file of the log lies on the local disk; None where it is on no local disk."""
    parts = urlsplit(file.path)
    if parts.scheme not in ("", "file"):
        return None
    return folder / unquote(parts.path if parts.scheme else file.path)


def sync(table: _Local, from_version: int, to_version: int) -> tuple[Path, ...]:
    """Sync all that the versions after `from_version`, up to `to_version`, wrote; the paths synced, in order.

    `from_version` -1 begins with the table's creation.  Data files, log entries, the checkpoint that
    `_last_checkpoint` names and that file, then the folders, up to the table's parent.  Nothing for a remote
    table.  Files that a later version's vacuum removed are passed over.
    """
    folder = table.folder
    if folder is None or to_version <= from_version:
        return ()
    files = dict.fromkeys(_files(folder, from_version, to_version))
    synced = [path for path in files if _synced(path)]
    folders = dict.fromkeys(parent for path in synced for parent in _folders(path, folder))
    deepest_first = sorted({**folders, folder: None, folder.parent: None}, key=lambda p: -len(p.parts))
    synced += [path for path in deepest_first if _synced(path)]
    return tuple(synced)


def _files(folder: Path, first: int, last: int) -> Iterator[Path]:
    for version in range(first + 1, last + 1):
        yield from _of_version(folder, version)
    hint = hinted(LocalFiles(folder))  # the log is not listed: that would cost more with every commit
    if hint is not None and first < hint.version <= last:
        yield from (folder / path for path in hint.paths)
        yield folder / LAST_CHECKPOINT


def _of_version(folder: Path, version: int) -> Iterator[Path]:
    path = folder / entry_path(version)
    if not path.exists():
        return  # cleaned up, so a checkpoint holds it
    adds = parse(version, path.read_bytes()).adds
    if any(add.vector for add in adds):
        os.sync()  # deletion vectors are files of their own, named in a code of their own
    yield from filter(None, (data_path(folder, add) for add in adds))
    yield path


def _folders(path: Path, table: Path) -> Iterator[Path]:
    """The folders of a file, up to the table's own."""
    if table in path.parents:
        yield from takewhile(lambda parent: parent != table.parent, path.parents)


def _synced(path: Path) -> bool:
    try:
        fsync_path(path)
    except FileNotFoundError:
        return False
    return True
