"""Arguments and options that several verbs share, so that they read and behave the same everywhere."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

PATH_HELP = "The manifest: a file, or a folder of them. Without it: $SILT_MANIFEST, then ./silt.yaml."

ManifestPath: TypeAlias = Annotated[
    str | None, typer.Argument(metavar="PATH", help=PATH_HELP, show_default=False)
]

Select: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--select",
        "-s",
        metavar="NAMES",
        help="Only these streams: NAME, tag:T, source:S, target:T, table:T; commas between, * as in a shell.",
        show_default=False,
    ),
]

Exclude: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--exclude", metavar="NAMES", help="All but these; written like --select.", show_default=False
    ),
]

AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="One JSON object on stdout, for programs.")]

Yes: TypeAlias = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]

Databases: TypeAlias = Annotated[
    list[str], typer.Argument(metavar="DB...", help="SQLite files, or globs in quotes.", show_default=False)
]

Output = Annotated[
    str | None,
    typer.Option("--output", "-o", metavar="FILE", help="Write it here, not to stdout.", show_default=False),
]

Force = Annotated[bool, typer.Option("--force", help="Replace FILE if it is there.")]
