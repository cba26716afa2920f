"""Runs the command `silt` as users do: a process of its own, its exit code, its two streams."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import kit
import warm

SILT = [sys.executable, "-m", "silt"]


def environment(**changes: str) -> dict[str, str]:
    """The machine's environment without what would change silt's output, and with `changes`.

    Nothing is served unless a test asks for it: tests run beside each other.
    """
    left_out = ("SILT_", "COLUMNS", "NO_COLOR", "FORCE_COLOR")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    return {**kept, "PYTHONUNBUFFERED": "1", "SILT_LISTEN": "off", **changes}


def silt(
    *arguments: str | Path, cwd: Path | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    """`silt ARGUMENTS` in `cwd` with these environment variables, a process of its own (see `warm`)."""
    return warm.run(list(map(str, arguments)), cwd=cwd, env=environment(**variables), timeout=90)


def start(*arguments: str | Path, cwd: Path | None = None, **variables: str) -> warm.Process:
    """`silt ARGUMENTS`, running, a process of its own (see `warm`)."""
    return warm.Process(list(map(str, arguments)), cwd=cwd, env=environment(**variables))


def doomed(*arguments: str | Path, cwd: Path, at: str, log: Path) -> warm.Process:
    """`silt ARGUMENTS` that notes where it is, and kills itself at `at` ("place:n"; see `faults`)."""
    return start(*arguments, cwd=cwd, FAULTS_AT=at, FAULTS_LOG=str(log))


def ended(process: warm.Process) -> tuple[int, str]:
    """The exit code, negative for a signal, and what it said on its standard error."""
    _, problems = process.communicate(timeout=300)
    return process.wait(), problems


class Cold(subprocess.Popen[str]):
    """`silt ARGUMENTS` as a shell starts it, imports and all; it ends with the test that failed beside it."""

    def __init__(self, *arguments: str | Path, cwd: Path | None = None, **variables: str) -> None:
        super().__init__(
            [*SILT, *map(str, arguments)],
            cwd=cwd,
            env=environment(**variables),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
        )

    def __exit__(self, kind, value, trace) -> None:
        if kind is not None:
            self.kill()
        super().__exit__(kind, value, trace)


def sql(path: Path, script: str) -> None:
    """Run `script` against a SQLite database, in another process: no second library in this one."""
    kit.script(path, script)
