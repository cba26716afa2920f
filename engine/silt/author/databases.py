"""Which databases the arguments `DB...` of a verb name: files, and globs that silt reads itself."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from silt.author.survey import Survey, survey
from silt.errors import UserError
from silt.shapes import Database
from silt.source.open import find


def named(given: Iterable[str]) -> tuple[Database, ...]:
    """Every database once, in the order given; a glob's by name.

    Raises `UserError` for a glob that matches nothing.
    """
    found = [database for text in given for database in _named(text)]
    return tuple({database.path: database for database in found}.values())


def _named(text: str) -> tuple[Database, ...]:
    if is_glob(text):
        matched = find(text)
        if not matched:
            raise UserError(
                "no file matches", on=text, hint="check the path; quote a glob for silt to read it"
            )
        return matched
    path = Path(text).expanduser().absolute()
    return find(str(path)) if not _wild(str(path)) else (_exactly(path),)


def is_glob(text: str) -> bool:
    """Whether an argument is a glob: it has wildcards, and no file is called so."""
    return _wild(text) and not Path(text).expanduser().exists()


def _wild(text: str) -> bool:
    return any(c in text for c in "*?[")


def _exactly(path: Path) -> Database:
    return Database(name=path.stem, path=str(path))


def surveyed(arguments: Iterable[str]) -> list[tuple[str | None, list[Survey]]]:
    """(glob, the surveys of its databases) for each glob, and (None, those of single files).

    Raises the error of a single file that cannot be read; a glob's stands in its survey, unless all failed.
    """
    globs = [text for text in arguments if is_glob(text)]
    files = [text for text in arguments if text not in globs]
    given: list[tuple[str | None, list[Survey]]] = [
        (str(Path(text).expanduser().absolute()), [survey(d) for d in named([text])]) for text in globs
    ]
    if files:
        given.append((None, [survey(d) for d in named(files)]))
    for pattern, surveys in given:
        broken = [s.error for s in surveys if s.error is not None]
        if broken and (pattern is None or len(broken) == len(surveys)):
            raise broken[0]
    return given
