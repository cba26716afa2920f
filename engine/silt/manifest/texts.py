"""A manifest's files as bytes: what is read is what is checked, compared and kept."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, TypeAlias

from silt.manifest import folder
from silt.manifest.document import MAX_BYTES
from silt.manifest.model import Problem
from silt.manifest.problems import ManifestInvalid

Texts: TypeAlias = Mapping[str, bytes]
"""The bytes of each file by its name in the folder, in the manifest's order; `` is PATH itself, a file."""

_SQLITE: Final = b"SQLite format 3\0"
"""How a database's file begins (https://sqlite.org/fileformat.html)."""


def texts(path: str | Path) -> Texts:
    """The files of the manifest at `path` as they are now.

    Raises ManifestInvalid where one cannot be read, or is none of a manifest.
    """
    name = str(path)
    return _in_folder(name) if Path(name).expanduser().is_dir() else {"": _read(name)}


def is_folder(given: Texts) -> bool:
    """Whether they are those of a folder."""
    return "" not in given


def base_of(path: str, given: Texts) -> Path:
    """The folder that relative paths in a manifest start from: PATH itself, or the one that it is in."""
    here = Path(path).expanduser().absolute()
    return here if is_folder(given) else here.parent


def sorted_texts(given: Texts) -> Texts:
    """The same, in the manifest's order."""
    return {name: given[name] for name in folder.in_order(given)}


def file_name(path: str, name: str) -> str:
    """A file's path as problems name it: PATH, or in it."""
    return str(Path(path) / name) if name else path


def digest(given: Texts) -> str:
    """Of the bytes of the one file; of the names and bytes of all, where they are a folder's."""
    if not is_folder(given):
        return hashlib.sha256(given[""]).hexdigest()
    lines = (f"{hashlib.sha256(raw).hexdigest()}  {name}\n" for name, raw in given.items())
    return hashlib.sha256("".join(lines).encode(errors="surrogateescape")).hexdigest()


def decoded(raw: bytes, name: str) -> str:
    """Raises ManifestInvalid for bytes that are not UTF-8."""
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        line = before.count(b"\n") + 1
        column = len(before.rpartition(b"\n")[2].decode("utf-8", "replace")) + 1
        message = f"is not UTF-8: byte 0x{raw[error.start]:02x}"
        raise _refused(name, message, "save the file as UTF-8", line, column) from None


def _in_folder(name: str) -> Texts:
    """The files of a folder, which together may be as large as one file."""
    found: dict[str, bytes] = {}
    problems: list[Problem] = []
    for file in _parts(name):
        try:
            found[file] = _read(file_name(name, file), regular=True)
        except ManifestInvalid as error:
            problems += error.problems
        if sum(map(len, found.values())) > MAX_BYTES:
            raise _refused(
                name, f"its files are larger than {MAX_BYTES // 1024**2} MB", "are these manifests?"
            )
    if problems:
        raise ManifestInvalid(problems)
    return found


def _parts(name: str) -> Iterable[str]:
    try:
        parts = folder.parts(name)
    except OSError as error:
        raise _refused(name, f"cannot be read: {error.strerror}") from None
    if not parts:
        hint = "a folder's manifests are its files *.yaml and *.yml; folders inside it are not read"
        raise _refused(name, "is a folder without a manifest", hint)
    return parts


def _read(name: str, *, regular: bool = False) -> bytes:
    """At most MAX_BYTES of a file; of a pipe too, unless it must be `regular`."""
    path = Path(name).expanduser()
    try:
        if regular and path.exists() and not path.is_file():
            raise _refused(name, "is no file", "move it out of the folder")
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        hint = "check the path" if isinstance(error, FileNotFoundError) else ""
        raise _refused(name, f"cannot be read: {error.strerror}", hint) from None
    if raw.startswith(_SQLITE):
        written = shlex.join(["silt", "init", name, "-o", str(path.with_suffix(".yaml"))])
        raise _refused(name, "this is a SQLite database", f"{written} writes a manifest for it")
    if len(raw) > MAX_BYTES:
        raise _refused(name, f"is larger than {MAX_BYTES // 1024**2} MB", "is this a manifest?")
    return raw


def _refused(name: str, message: str, hint: str = "", line: int = 1, column: int = 1) -> ManifestInvalid:
    problem = Problem(file=name, line=line, column=column, pointer="", message=message, hint=hint)
    return ManifestInvalid([problem])
