"""Run a command as a cold process and say what it cost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median


class Failed(Exception):
    """The command ended with another code than was wanted; the text is the end of what it wrote."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Wall and CPU time in seconds, peak resident memory in MB (10**6 bytes), and what was printed."""

    wall: float
    cpu: float
    peak: float
    output: str


_LAUNCHER = """
import json, os, resource, subprocess, sys, time
begun = time.perf_counter()
code = subprocess.call(sys.argv[2:], stdout=sys.stderr, stderr=subprocess.STDOUT)
wall = time.perf_counter() - begun
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
with open(sys.argv[1], "w") as told:
    json.dump([code, wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss], told)
"""


def run(command: Sequence[str | Path], env: Mapping[str, str] | None = None, *, code: int = 0) -> Cost:
    """Run `command` and wait for it to end with `code`; the peak covers the process and its children.

    Linux counts the parent's memory at the moment of the fork into a child's peak, so a small launcher
    forks it, whoever calls this.
    """
    with tempfile.TemporaryFile() as output, tempfile.NamedTemporaryFile("r") as told:
        subprocess.run(
            [sys.executable, "-S", "-c", _LAUNCHER, told.name, *map(str, command)],
            stderr=output,
            env={**_environment(), **(env or {})},
            check=True,
        )
        ended, wall, cpu, peak = json.load(told)
        output.seek(0)
        text = output.read().decode(errors="replace")
    if ended != code:
        raise Failed(f"{command[0]} ended with {ended}:\n{text[-2000:]}")
    unit = 1 if sys.platform == "darwin" else 1024
    return Cost(wall=wall, cpu=cpu, peak=peak * unit / 1e6, output=text)


def _environment() -> dict[str, str]:
    """This process's, but bytecode may be kept: nobody's tool compiles itself at every start."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def middle(costs: Sequence[Cost]) -> Cost:
    """The run of median wall time's figures: median wall and CPU, the highest peak."""
    return Cost(
        wall=median(c.wall for c in costs),
        cpu=median(c.cpu for c in costs),
        peak=max(c.peak for c in costs),
        output=costs[-1].output,
    )
