"""Where a table lives: its address as delta-rs wants it, its options with bounds, its small files.

Local files are read directly; remote ones through delta-rs's own file system handler, so that the same
storage options open them.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol, TypeAlias
from urllib.parse import unquote, urlsplit

from silt.errors import UserError
from silt.target.failures import is_secret

Stamp: TypeAlias = tuple[int, ...]
"""What tells a file from another of the same name: size, modification time, inode where there is one."""

# A dead endpoint must not hold a cycle: reading gives up in less than 30 s (one attempt of `timeout`, or
# several within `retry_timeout`).  Uploads get longer for one request, since a slow link is not a dead one.
_BOUNDS = {"connect_timeout": "5s", "max_retries": "3", "retry_timeout": "10s"}
_READ_TIMEOUT = "15s"
_WRITE_TIMEOUT = "120s"


class Files(Protocol):
    """The small files of a table, by their path below it."""

    def names(self, folder: str) -> tuple[str, ...]:
        """Names of what is in `folder`, sorted; none where there is no such folder."""

    def read(self, path: str) -> bytes:
        """The whole file; raises FileNotFoundError."""

    def open(self, path: str) -> IO[bytes] | Any:
        """The file for random access (Parquet); raises FileNotFoundError."""

    def stamp(self, path: str) -> Stamp | None:
        """The file's stamp; None where there is no such file."""


@dataclass(frozen=True, slots=True)
class LocalFiles:
    """Files below a folder."""

    root: Path

    def names(self, folder: str) -> tuple[str, ...]:
        try:
            return tuple(sorted(path.name for path in (self.root / folder).iterdir()))
        except (FileNotFoundError, NotADirectoryError):
            return ()

    def read(self, path: str) -> bytes:
        return (self.root / path).read_bytes()

    def open(self, path: str) -> IO[bytes]:
        return (self.root / path).open("rb")

    def stamp(self, path: str) -> Stamp | None:
        try:
            found = (self.root / path).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return (found.st_size, found.st_mtime_ns, found.st_ino)


@dataclass(frozen=True, slots=True)
class RemoteFiles:
    """Files below a URL, through delta-rs."""

    handler: Any

    def names(self, folder: str) -> tuple[str, ...]:
        from pyarrow.fs import FileSelector

        infos = self.handler.get_file_info_selector(FileSelector(folder, allow_not_found=True))
        return tuple(sorted(info.base_name for info in infos))

    def read(self, path: str) -> bytes:
        with self.handler.open_input_file(path) as file:
            data: bytes = file.read()
        return data

    def open(self, path: str) -> Any:
        return io.BytesIO(self.read(path))

    def stamp(self, path: str) -> Stamp | None:
        from pyarrow.fs import FileType

        (info,) = self.handler.get_file_info([path])
        if info.type != FileType.File:
            return None
        return (info.size, info.mtime_ns or 0)


@dataclass(frozen=True, slots=True)
class Store:
    """A table's place: `uri` as the manifest has it, `folder` for local disks (None: remote)."""

    uri: str
    options: Mapping[str, str] = field(repr=False)
    folder: Path | None = None

    @property
    def url(self) -> str:
        """What delta-rs is given: it reads a plain path with `%` or `?` as a URL."""
        return self.folder.as_uri() if self.folder else self.uri

    def reading(self) -> dict[str, str]:
        """The options, with bounds for short requests where the user set none."""
        return self._bounded(_READ_TIMEOUT)

    def writing(self) -> dict[str, str]:
        """The options, with bounds for uploads where the user set none."""
        return self._bounded(_WRITE_TIMEOUT)

    def _bounded(self, timeout: str) -> dict[str, str]:
        if self.folder:
            return dict(self.options)
        given = {name.lower() for name in self.options}
        bounds = {"timeout": timeout, **_BOUNDS}
        return {**{n: v for n, v in bounds.items() if n not in given}, **self.options}

    def files(self) -> Files:
        """A reader of the small files; nothing is opened yet."""
        if self.folder:
            return LocalFiles(self.folder)
        from deltalake.fs import DeltaStorageHandler

        return RemoteFiles(DeltaStorageHandler(self.uri, self.reading()))

    def shown(self) -> str:
        """The options for people, secrets hidden."""
        return ", ".join(f"{n}={'***' if is_secret(n) else v}" for n, v in sorted(self.options.items()))


def locate(uri: str, options: Mapping[str, str]) -> Store:
    """The store behind `uri`: a path, `file://` or any scheme of delta-rs.

    Raises `UserError` for a local path with a percent escape, which delta-rs decodes (measured: `a%20b`
    is created as one folder and looked for as another).
    """
    scheme = urlsplit(uri).scheme if "://" in uri else ""
    if scheme not in ("", "file"):
        return Store(uri, dict(options))
    path = unquote(urlsplit(uri).path) if scheme else uri
    if re.search(r"%[0-9A-Fa-f]{2}", path):
        raise UserError(
            "a local table's path holds a percent escape, which delta-rs would decode",
            on=path,
            hint="rename the folder, or choose another target path",
        )
    return Store(uri, dict(options), Path(os.path.abspath(path)))  # noqa: PTH100 -- links stay as written
