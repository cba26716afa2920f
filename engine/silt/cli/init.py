"""`silt init`: a commented manifest out of databases, that runs as it is."""

from __future__ import annotations

from silt.cli import console
from silt.cli.files import check_output, redirected, write_output
from silt.cli.options import Databases, Force, Output
from silt.errors import UserError


def init(
    databases: Databases,
    output: Output = None,
    force: Force = False,
) -> int:
    """Write a manifest for databases: every table a stream, its mode and cursor chosen, and why.

    It runs as it is, into ./lake. Databases of one schema in one folder become one source.

    Examples:  [cyan]silt init shop.sqlite -o shop.yaml[/]   [cyan]silt init tenants/*.db > tenants.yaml[/]
    """
    from silt.author import init as author
    from silt.author.databases import surveyed
    from silt.author.draft import draft
    from silt.author.origin import origins

    check_output(output, force=force)
    found = draft(origins(surveyed(databases)))
    if not found.streams:
        raise UserError(
            "there is no table to replicate",
            on=", ".join(databases),
            why="; ".join(f"{n}: {w}" for n, w in found.left_out),
            hint="is this the database that is meant? `silt inspect` shows what one holds",
        )
    text = author.text(found)
    if output is None:
        console.write(text)
    else:
        write_output(output, text)
    written = output or redirected()
    told = f"{author.summary(found)}. Each stream says why."
    if written:
        console.err([f"wrote {written}: {told}", f"next: silt plan {written}"])
    else:
        console.err([f"a manifest for {told}", "next: keep it with -o FILE, then silt plan FILE"])
    return 0
