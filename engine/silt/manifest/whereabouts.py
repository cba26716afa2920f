"""Where the state of a manifest is kept, when the manifest itself is too wrong to say so."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from silt.manifest.interpolate import Environment, filled
from silt.manifest.load import STATE_DIR
from silt.manifest.problems import ManifestInvalid
from silt.manifest.resolve import absolute
from silt.manifest.texts import texts

_LINE: Final = re.compile(
    rb"""^state_dir[ \t]*:[ \t]+(?:"([^"\n]*)"|'([^'\n]*)'|([^#\n]*?))[ \t\r]*(?:\#.*)?$""", re.MULTILINE
)


def state_dir(path: str, *, env: Mapping[str, str] | None = None) -> str:
    """The `state_dir` of the manifest at `path`: by its line where one can be read, else the default.

    Never raises, whatever the manifest says, nor where it is not there.
    """
    here = Path(path).expanduser().absolute()
    base = here if here.is_dir() else here.parent
    environment = Environment(variables=os.environ if env is None else env, base=base)
    named = (filled(text, environment) for text in _written(path))
    return absolute(next(filter(None, named), STATE_DIR), base)


def _written(path: str) -> Iterator[str]:
    try:
        files = texts(path)
    except ManifestInvalid:
        return
    for match in (found for raw in files.values() for found in _LINE.finditer(raw)):
        yield next(group for group in match.groups() if group is not None).decode("utf-8", "surrogateescape")
