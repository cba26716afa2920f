"""`silt inspect`: what is in a database, before any manifest names it."""

from __future__ import annotations

from typing import Annotated

import typer

from silt.cli import console
from silt.cli.options import AsJson, Databases


def inspect(
    databases: Databases,
    tables: Annotated[
        list[str] | None,
        typer.Option(
            "--table", "-t", metavar="NAME", help="Only this table; may be repeated.", show_default=False
        ),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Show what is in databases: tables, sizes, keys, types, what the values are, safe cursors and why.

    Reads a bounded sample of each table, however large it is. Writes nothing.

    Examples:  [cyan]silt inspect shop.sqlite[/]   [cyan]silt inspect shop.sqlite --table Invoice --json[/]
    """
    from silt.author import inspect as report
    from silt.author.databases import named
    from silt.author.survey import check_tables, survey

    surveys = tuple(survey(database, only=tables or ()) for database in named(databases))
    check_tables(surveys, tables or ())
    if as_json:
        console.as_json(report.data(surveys))
    else:
        console.out(report.text(surveys, width=console.width(), every=not tables))
    return 0 if report.data(surveys)["ok"] else 1
