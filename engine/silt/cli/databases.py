"""Which databases the arguments `DB...` of a verb name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from silt.errors import UserError

if TYPE_CHECKING:
    from silt.shapes import Database

Databases: TypeAlias = Annotated[
    list[str], typer.Argument(metavar="DB...", help="SQLite files, or globs in quotes.", show_default=False)
]


def named(given: list[str]) -> tuple[Database, ...]:
    """Every database once, in the order given; a glob's by name.

    Raises `UserError` for a glob that matches nothing.
    """
    found = [database for text in given for database in _named(text)]
    return tuple({database.path: database for database in found}.values())


def _named(text: str) -> tuple[Database, ...]:
    from silt.source.open import find

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
    from silt.shapes import Database

    return Database(name=path.stem, path=str(path))
