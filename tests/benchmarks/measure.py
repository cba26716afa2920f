"""Run a command as a cold process and say what it cost."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median


class Failed(Exception):
    """The command ended with another code than 0; the text is the end of what it wrote."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Wall and CPU time in seconds, peak resident memory in MB (10**6 bytes), and what was printed."""

    wall: float
    cpu: float
    peak: float
    output: str


def run(command: Sequence[str | Path], env: Mapping[str, str] | None = None) -> Cost:
    """Run `command` and wait for it with wait4(2), whose peak covers the process and its children.

    Linux counts the parent's memory at the moment of the fork into a child's peak, so this process
    must stay small: it imports nothing but the standard library.
    """
    with tempfile.TemporaryFile() as output:
        begun = time.perf_counter()
        child = subprocess.Popen(
            [str(part) for part in command],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
        )
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.perf_counter() - begun
        child.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read().decode(errors="replace")
    if child.returncode:
        raise Failed(f"{command[0]} ended with {child.returncode}:\n{text[-2000:]}")
    unit = 1 if sys.platform == "darwin" else 1024
    return Cost(
        wall=wall, cpu=usage.ru_utime + usage.ru_stime, peak=usage.ru_maxrss * unit / 1e6, output=text
    )


def middle(costs: Sequence[Cost]) -> Cost:
    """The run of median wall time's figures: median wall and CPU, the highest peak."""
    return Cost(
        wall=median(c.wall for c in costs),
        cpu=median(c.cpu for c in costs),
        peak=max(c.peak for c in costs),
        output=costs[-1].output,
    )
