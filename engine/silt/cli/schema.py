"""`silt schema`: the JSON Schema of the manifest, for editors and for people."""

from __future__ import annotations

from typing import Annotated

import typer

from silt.cli import console
from silt.errors import UserError

SCHEMAS = ("manifest", "uploader-config")


def schema(
    name: Annotated[
        str, typer.Argument(metavar="manifest|uploader-config", help="Which schema.")
    ] = "manifest",
) -> int:
    """Print the JSON Schema of the manifest; editors complete and explain keys from it.

    Example:  [cyan]silt schema > manifest.schema.json[/]
    and on the manifest's first line:  [cyan]# yaml-language-server: $schema=manifest.schema.json[/]
    """
    from silt import manifest

    if name not in SCHEMAS:
        raise UserError(f"no schema {name!r}", hint=f"there are: {', '.join(SCHEMAS)}")
    console.out([manifest.schema_text(name).rstrip("\n")])
    return 0
