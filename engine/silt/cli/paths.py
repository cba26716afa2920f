"""Which manifest a verb means, and how it is loaded."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from silt.cli import console
from silt.errors import UserError

if TYPE_CHECKING:
    from silt.manifest.model import Manifest

DEFAULT: Final = "silt.yaml"


def manifest_path(given: str | None) -> str:
    """PATH where it was given, else $SILT_MANIFEST, else ./silt.yaml; a file or a folder.

    Raises `UserError` where there is none.
    """
    path = given or os.environ.get("SILT_MANIFEST") or ""
    if path == "-":
        raise UserError("silt reads no manifest from standard input", hint="name a file")
    if not path and not Path(DEFAULT).exists():
        raise UserError(
            "no manifest: PATH was not given, SILT_MANIFEST is not set, and there is no ./silt.yaml here",
            hint="name the file or folder, as in `silt plan plant.yaml`; `silt demo` shows one at work",
        )
    return path or DEFAULT


def load(given: str | None, *, open_secrets: bool = True) -> Manifest:
    """The manifest that a verb is to work on, its warnings told on stderr.

    Raises `ManifestInvalid` with all of its problems, or `UserError` where there is none.
    """
    from silt import manifest
    from silt.report import problems

    loaded = manifest.load(manifest_path(given), open_secrets=open_secrets)
    console.err(problems.text(loaded.warnings, level="warning"))
    return loaded
