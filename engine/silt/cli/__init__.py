"""The verbs: the only place that prints and picks exit codes (DESIGN 2, 10).

`silt --help` must be quick, so that modules here import nothing heavy at their top: typer, and what
a verb's signature needs; each verb imports what it runs inside its function.
"""

from __future__ import annotations

import sys


def main() -> None:
    """The command `silt`: runs the verb that the arguments name and ends the process with its exit code."""
    from silt.cli import collector

    collector.starting()
    from silt.cli.app import run

    code = run(sys.argv[1:])
    collector.ending()
    sys.exit(code)
