"""The command line: its verbs in the groups of DESIGN 10, and how each one ends."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from typing import Annotated, Any, Final

import typer

from silt.cli import (
    console,
    ddl,
    demo,
    failures,
    init,
    inspect,
    maintain,
    migrate,
    plan,
    query,
    register,
    reload,
    reset,
    schema,
    show,
    status,
    validate,
)
from silt.cli import run as run_verb
from silt.cli.overview import Overview
from silt.cli.signals import Interrupted, raise_on_signals
from silt.errors import SiltError

AUTHOR: Final = "Author a manifest"
RUN: Final = "Run it"
REPAIR: Final = "Repair"
DATABRICKS: Final = "Databricks"

ABOUT: Final = """\
[bold]silt[/] is what SQLite leaves in the Delta.

It replicates many tables of many SQLite databases into Delta Lake,
incrementally and exactly once, as one YAML manifest says. Start here:

  [cyan]silt demo[/]                           see it work, in 20 seconds
  [cyan]silt init app.db -o plant.yaml[/]      a manifest for your own database
  [cyan]silt validate plant.yaml[/]            is the manifest right?
  [cyan]silt plan plant.yaml[/]                what would be done, and why
  [cyan]silt run plant.yaml --once[/]          do it once
  [cyan]silt run plant.yaml[/]                 keep doing it
  [cyan]silt query plant.yaml "select .."[/]   ask the lake
"""

app: Final = typer.Typer(
    name="silt",
    cls=Overview,
    help=ABOUT,
    rich_markup_mode="rich",
    add_completion=False,
    no_args_is_help=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 failed or misused; 2 only from plan --detailed-exitcode: changes pending.",
)


def _version(value: bool) -> None:
    if value:
        import silt

        console.out([f"silt {silt.__version__}"])
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Shown by the group's own help (`ABOUT`)."""


app.command(rich_help_panel=AUTHOR)(init.init)
app.command(rich_help_panel=AUTHOR)(inspect.inspect)
app.command(rich_help_panel=AUTHOR)(validate.validate)
app.command(rich_help_panel=AUTHOR)(plan.plan)
app.command(rich_help_panel=AUTHOR)(show.show)
app.command(rich_help_panel=AUTHOR)(schema.schema)
app.command(rich_help_panel=AUTHOR)(migrate.migrate)
app.command(rich_help_panel=RUN)(run_verb.run)
app.command(rich_help_panel=RUN)(status.status)
app.command(rich_help_panel=RUN)(reload.reload)
app.command(rich_help_panel=RUN)(query.query)
app.command(rich_help_panel=RUN)(demo.demo)
app.command(rich_help_panel=REPAIR)(reset.reset)
app.command(rich_help_panel=REPAIR)(maintain.maintain)
app.command(rich_help_panel=DATABRICKS)(ddl.ddl)
app.command(rich_help_panel=DATABRICKS)(register.register)


def run(arguments: Sequence[str]) -> int:
    """Carry out one command line; the exit code of DESIGN 10. An exception leaves only under SILT_DEBUG."""
    console.prepare()
    raise_on_signals()
    try:
        return _carry_out(list(arguments) or ["--help"])
    except Interrupted as signalled:
        return failures.ended(signalled)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _carry_out(arguments: list[str]) -> int:
    command: Any = typer.main.get_command(app)
    try:
        coloured = console.colourful(sys.stdout)
        code = command.main(args=arguments, prog_name="silt", standalone_mode=False, color=coloured)
    except failures.Misuse as error:
        return failures.misused(error)
    except typer.Abort:
        return 128 + signal.SIGINT
    except SiltError as error:
        return failures.told(error, as_json="--json" in arguments)
    except Exception as error:  # noqa: BLE001  # the last stop before a person
        return failures.bug(error)
    return int(code or 0)
