"""`silt migrate`: from the flat config of old to a manifest, without losing the place."""

from __future__ import annotations

from typing import Annotated

import typer

from silt.cli import console
from silt.cli.files import check_output, redirected, write_output
from silt.cli.options import Force, Output


def migrate(
    config: Annotated[str, typer.Argument(metavar="CONFIG", help="The flat file: sqlite, table_path, ...")],
    output: Output = None,
    force: Force = False,
) -> int:
    """Turn the flat config (sqlite, table_path, interval) into a manifest that goes on where it stands.

    Same node, stream and table, so the position in the lake counts. Where there is none yet, the state
    file of the old program (last_upload.json in state_dir) says where to begin.

    Example:  [cyan]silt migrate uploader-config.yaml -o silt.yaml[/]
    """
    from silt.author.migrate import migrate as migrated
    from silt.cli.paths import load

    check_output(output, force=force)
    made = migrated(load(config))
    if output is None:
        console.write(made.text)
    else:
        write_output(output, made.text)
    written = output or redirected()
    console.err(
        [
            f"wrote {written or 'a manifest'}: {made.start.why}.",
            f"next: silt plan {written or 'FILE'}",
        ]
    )
    return 0
