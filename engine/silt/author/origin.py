"""Databases that were named -> the sources of a manifest: one each, or one glob for copies of one schema."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path, PurePath

from silt.author.survey import Survey
from silt.errors import SiltError
from silt.source.open import find


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """A source: its `path` as the manifest has it, an absolute path or glob, and what is in its databases."""

    name: str
    path: str
    surveys: tuple[Survey, ...]

    @property
    def is_glob(self) -> bool:
        return any(c in self.path for c in "*?[")


def origins(given: Sequence[tuple[str | None, Sequence[Survey]]]) -> tuple[Origin, ...]:
    """The sources for what was `given`: (glob, its surveys), or (None, the surveys of single files).

    Single files that one glob matches, and no other file, are one source where all have one schema.
    """
    found: list[tuple[str, tuple[Survey, ...]]] = []
    for pattern, surveys in given:
        common = pattern or _common(surveys)
        if common is not None:
            found.append((common, tuple(surveys)))
        else:
            found += [(glob.escape(s.database.path), (s,)) for s in surveys]
    return tuple(_named(found))


def _common(surveys: Sequence[Survey]) -> str | None:
    """The glob of files whose paths differ in one part, where it matches these and no other."""
    paths = [s.database.path for s in surveys]
    if len(paths) < 2 or len({_schema(s) for s in surveys}) != 1 or any(_wild(path) for path in paths):
        return None
    parts = [PurePath(path).parts for path in paths]
    differ = [i for i, column in enumerate(zip(*parts, strict=False)) if len(set(column)) > 1]
    if len({len(p) for p in parts}) != 1 or len(differ) != 1:
        return None
    at = differ[0]
    pattern = str(PurePath(*parts[0][:at], _star([p[at] for p in parts]), *parts[0][at + 1 :]))
    try:
        return pattern if {d.path for d in find(pattern)} == set(paths) else None
    except SiltError:
        return None


def _star(names: Sequence[str]) -> str:
    """A wildcard before the ending that all names share: `*.db`."""
    endings = {PurePath(name).suffix for name in names}
    return f"*{endings.pop()}" if len(endings) == 1 else "*"


def _schema(seen: Survey) -> object:
    """What databases must have alike to be one source."""
    return tuple(
        (t.table.name, t.table.kind, tuple((c.name, c.declared) for c in t.table.columns))
        for t in seen.tables
    )


def _wild(path: str) -> bool:
    return any(c in path for c in "*?[")


# --- names ----------------------------------------------------------------------------------------


def _named(found: Sequence[tuple[str, tuple[Survey, ...]]]) -> list[Origin]:
    taken: set[str] = set()
    named = []
    for path, surveys in found:
        name = next(n for n in _proposals(path, surveys) if n.casefold() not in taken)
        taken.add(name.casefold())
        named.append(Origin(name=name, path=path, surveys=surveys))
    return named


def _proposals(path: str, surveys: Sequence[Survey]) -> Iterator[str]:
    """Names for a source, the plainest first: its file's, its folder's with it, then numbered."""
    stem = surveys[0].database.name if len(surveys) == 1 else _folder(path)
    plain = word(stem) or "source"
    yield plain
    parent = word(Path(path).parent.name)
    if parent:
        yield f"{parent}_{plain}"
    yield from (f"{plain}_{number}" for number in count(2))


def _folder(pattern: str) -> str:
    """The last folder of a glob that has no wildcard: what its files are."""
    parts = [part for part in PurePath(pattern).parts[:-1] if not _wild(part)]
    return parts[-1] if parts else ""


def word(text: str) -> str:
    """`text` as one word of letters, digits and `_`."""
    return re.sub(r"\W+", "_", text).strip("_")
