"""A folder of recipes, read as one manifest (DESIGN 3, "Folders").

Every file in it whose name ends in `.yaml` or `.yml` is a part.  Hidden ones are not: editors' swap and
lock files are, and what Kubernetes keeps beside a mounted ConfigMap.  Folders inside are not read, as
Terraform does not either: one of them may be the lake, or `state_dir`.  `silt.yaml` comes first, the
others by name; that is the order of the manifest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path as FilePath
from typing import Any, TypeVar

from silt.manifest.document import Document, Path, Plain, pointer
from silt.manifest.model import Problem
from silt.manifest.resolve import SECTIONS, Written, defaults_of

MAIN = ("silt.yaml", "silt.yml")
"""Names of the file whose `defaults` are for all; the first that is there is the one."""

_SHARED = frozenset({"version", "defaults"})
"""Keys that every file may have; so may it those that begin with `x-`."""

_T = TypeVar("_T")


def parts(folder: str) -> tuple[str, ...]:
    """The names of a folder's files, in the manifest's order.  Raises OSError."""
    return in_order(
        entry.name
        for entry in FilePath(folder).expanduser().iterdir()
        if is_part(entry.name) and not entry.is_dir()
    )


def is_part(name: str) -> bool:
    """Whether a file of that name is one of a folder's."""
    return FilePath(name).suffix.lower() in (".yaml", ".yml") and not name.startswith(".")


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """`silt.yaml` first, the others by name."""
    known = list(names)
    main = next((name for name in MAIN if name in known), None)
    return tuple(sorted(known, key=lambda n: (n != main, n)))


def join(written: Sequence[Written]) -> Written:
    """The parts of a folder, in order, as one; a name that two of them declare is a problem of the second.

    The `defaults` of a part that is not `silt.yaml` move to a place of their own, `defaults_of` its file.
    """
    main = FilePath(_file(written[0])).name in MAIN
    moved = [part if main and part is written[0] else _with_own_defaults(part) for part in written]
    twice = list(_twice(moved))
    dropped = {(_file(part), path) for part, path, _ in twice}
    return Written(
        document=_document(moved, dropped),
        data=_together(moved, [part.data for part in moved], dropped),
        secrets={path: secret for part in reversed(moved) for path, secret in part.secrets.items()},
        base=written[0].base,
        problems=[*(p for part in moved for p in part.problems), *(_problem(*found) for found in twice)],
    )


def _file(part: Written) -> str:
    return part.document.mark(()).file


def _with_own_defaults(part: Written) -> Written:
    own = defaults_of(_file(part))

    def moved(values: Mapping[Path, _T]) -> dict[Path, _T]:
        return {
            (own, *path[1:]) if path[:1] == ("defaults",) else path: value for path, value in values.items()
        }

    def renamed(data: Mapping[str, Plain]) -> dict[str, Plain]:
        return {own if key == "defaults" else key: value for key, value in data.items()}

    document = part.document
    names = {(own, *path[1:]): pointer(path) for path in document.marks if path[:1] == ("defaults",)}
    document = replace(
        document,
        data=renamed(document.data),
        marks=moved(document.marks),
        variables=moved(document.variables),
        pointers={**document.pointers, **names},
    )
    return replace(part, document=document, data=renamed(part.data), secrets=moved(part.secrets))


# --- what is declared where -----------------------------------------------------------------------


def _declared(data: Mapping[str, Plain]) -> Iterator[Path]:
    """What a part declares, once for all: its names, and each setting of the manifest itself."""
    for key, body in data.items():
        if key in SECTIONS and isinstance(body, dict):
            yield from ((key, name) for name in body)
        elif key not in SECTIONS and key not in _SHARED and not key.startswith(("x-", "defaults")):
            yield (key,)


def _twice(written: Sequence[Written]) -> Iterator[tuple[Written, Path, Written]]:
    """(a part, what it declares, the part that had done so)."""
    first: dict[Path, Written] = {}
    for part in written:
        for path in _declared(part.document.data):
            other = first.setdefault(path, part)
            if other is not part:
                yield part, path, other


def _problem(part: Written, path: Path, other: Written) -> Problem:
    place = other.document.key_place(path)
    what = "is set in two files" if len(path) == 1 else "is declared in two files"
    hint = "the files of a folder are one manifest: remove one of them"
    return part.document.problem(path, f"{what}: also at {place.file}:{place.line}", hint, at_key=True)


# --- together -------------------------------------------------------------------------------------


def _document(written: Sequence[Written], dropped: set[tuple[str, Path]]) -> Document:
    documents = [part.document for part in written]

    def first(name: str) -> dict[Path, Any]:
        """One of the maps by path, over all documents: where two have a path, the first's."""
        found: dict[Path, Any] = {}
        for part in written:
            for path, value in getattr(part.document, name).items():
                if not any((_file(part), path[:length]) in dropped for length in (1, 2)):
                    found.setdefault(path, value)
        return found

    return Document(
        lines={file: lines for document in documents for file, lines in document.lines.items()},
        data=_together(written, [document.data for document in documents], dropped),
        marks=first("marks"),
        variables=first("variables"),
        pointers=first("pointers"),
    )


def _together(
    written: Sequence[Written], data: Sequence[Mapping[str, Plain]], dropped: set[tuple[str, Path]]
) -> dict[str, Plain]:
    joined: dict[str, Plain] = {}
    for part, own in zip(written, data, strict=True):
        for key, body in own.items():
            if key in SECTIONS and isinstance(body, dict) and isinstance(joined.get(key, {}), dict):
                new = {name: b for name, b in body.items() if (_file(part), (key, name)) not in dropped}
                joined[key] = {**joined.get(key, {}), **new}
            else:
                joined.setdefault(key, body)
    return joined
