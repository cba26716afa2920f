"""`silt validate`: is a manifest right? All problems at once, nothing written, and touched only if asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from silt.cli import console
from silt.cli.options import AsJson
from silt.cli.paths import manifest_path

if TYPE_CHECKING:
    from silt.manifest.model import Manifest, Problem


def validate(
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PATH...",
            help="Manifests: files or folders. Without one: $SILT_MANIFEST, then ./silt.yaml.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
    form: Annotated[
        str, typer.Option("--format", metavar="text|json|github", help="How to print problems.")
    ] = "text",
    connect: Annotated[
        bool,
        typer.Option(
            "--connect", help="Look at sources and targets too, without writing: what plan refuses."
        ),
    ] = False,
    no_env: Annotated[
        bool, typer.Option("--no-env", help="Accept ${VARIABLES} that are not set here, as in CI.")
    ] = False,
) -> int:
    """Check manifests: every problem at once, with its line and what to write instead.

    Touches no source, target or secret, unless --connect: then names of tables and columns, cursors,
    conditions, types and what the lake holds are checked as well.

    Examples:  [cyan]silt validate plant.yaml --connect[/]   [cyan]silt validate *.yaml --format github[/]
    """
    if form not in ("text", "json", "github"):
        raise typer.BadParameter(f"--format is {form!r}, and knows text, json, github")
    if connect and no_env:
        raise typer.BadParameter("--connect needs the variables that --no-env does without")
    named = paths or [manifest_path(None)]
    checked = [_check(path, require_env=not no_env, connect=connect) for path in named]
    _tell(checked, "json" if as_json else form)
    return 1 if any(each.problems for each in checked) else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Checked:
    """What is wrong in the manifest at `path`, and what is only worth a warning.

    `unseen`: its sources and targets were to be looked at, and could not be for its problems.
    """

    path: str
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    unseen: bool = False


def _check(path: str, *, require_env: bool, connect: bool) -> _Checked:
    from silt import manifest
    from silt.errors import SiltError
    from silt.manifest.model import Problem
    from silt.manifest.problems import ManifestInvalid
    from silt.report import failure

    try:
        loaded = manifest.load(manifest_path(path), require_env=require_env, open_secrets=connect)
        refused = _refused(loaded) if connect else ()
        return _Checked(path=path, problems=refused, warnings=loaded.warnings)
    except ManifestInvalid as error:
        return _Checked(path=path, problems=error.problems, unseen=connect)
    except SiltError as error:
        words = failure.sentence(error)
        problem = Problem(file=path, line=0, column=0, pointer="", message=words, hint=error.hint)
        return _Checked(path=path, problems=(problem,))


def _refused(loaded: Manifest) -> tuple[Problem, ...]:
    """What planning refuses, seen from the sources and targets as they are; nothing is written."""
    from silt import observe
    from silt.report import problems

    with observe.Handles(loaded, mend=False) as handles:
        planned = observe.look(loaded, handles)
        outlooks = observe.outlook(planned, handles, budget=0)
        return problems.of_plan(planned, outlooks, observe.denied(planned))


def _tell(checked: list[_Checked], form: str) -> None:
    from silt.report import problems as report

    problems = [problem for each in checked for problem in each.problems]
    warnings = [warning for each in checked for warning in each.warnings]
    if form == "json":
        console.as_json(report.data(problems, warnings))
        return
    if form == "github":
        console.out([*report.github(problems), *report.github(warnings, level="warning")])
        return
    console.err([*report.text(warnings, level="warning"), *report.text(problems)])
    console.out([f"{each.path}: valid" for each in checked if not each.problems])
    unseen = [each.path for each in checked if each.unseen]
    console.err([f"{path}: sources and targets were not looked at: mend these first" for path in unseen])
    if problems or len(checked) > 1:
        summary = report.summary(len(checked), problems)
        (console.err if problems else console.out)([summary])
