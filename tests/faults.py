"""Silt as a process that says where it is, and can kill itself there.

Every boundary that it passes is one line in the file `$FAULTS_LOG`.  `$FAULTS_AT=place:n` sends the
process SIGKILL the n-th time it is at that place.  Nothing else is changed: faults only.

`python faults.py serve` is a `Nursery`'s process: it has imported what a cold start spends most of its
time on, and forks a silt for each line that it reads.  It has used none of it: delta-rs panics in a
process that was forked after a use (FACTS).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any, Self

PLACES = (
    "planned",  # the plan is made, nothing was read
    "before read",
    "mid-read",  # after a batch came from SQLite
    "mid-write",  # inside delta-rs, after it took a batch
    "before create",
    "created",  # the table is there, without a row
    "before commit",
    "committed",  # the log entry is there, silt does not know it yet
    "before sync",
    "synced",
    "checkpointed",  # before delta-rs cleans up, and before anything is synced
    "reported",  # the cycle is done, the process is not
)

_LOCK = threading.Lock()
_SEEN: Counter[str] = Counter()


def reach(place: str) -> None:
    """Note the place; die there when this is the time."""
    with _LOCK:
        _SEEN[place] += 1
        os.write(_log(), f"{place}\n".encode())
        wanted, _, count = os.environ.get("FAULTS_AT", "").partition(":")
        if wanted == place and _SEEN[place] == int(count or 1):
            os.kill(os.getpid(), signal.SIGKILL)
            threading.Event().wait()


@lru_cache(maxsize=1)
def _log() -> int:
    return os.open(os.environ["FAULTS_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)


def _around(owner: Any, name: str, *, before: str = "", after: str = "") -> None:
    real: Callable[..., Any] = getattr(owner, name)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if before:
            reach(before)
        answer = real(*args, **kwargs)
        if after:
            reach(after)
        return answer

    setattr(owner, name, wrapped)


def _reading(owner: Any) -> None:
    real = owner.stream

    def stream(*args: Any, **kwargs: Any) -> Iterator[Any]:
        reach("before read")
        with closing(real(*args, **kwargs)) as batches:
            for batch in batches:
                reach("mid-read")
                yield batch

    owner.stream = stream


def _writing(owner: Any) -> None:
    real = owner.reader

    def taken(batches: Iterable[Any]) -> Iterator[Any]:
        for batch in batches:
            yield batch
            reach("mid-write")

    owner.reader = lambda part, table, batches: real(part, table, taken(batches))


def install() -> None:
    """Put the marks around silt's boundaries."""
    from silt import observe, replicate, target
    from silt.observe import compare
    from silt.replicate import aggregate, append, changes, interval, merge, mirror, overwrite
    from silt.target import merger, table

    _around(observe, "look", after="planned")
    _around(replicate, "run", after="reported")
    for module in (aggregate, append, compare, interval, merge, mirror, overwrite):
        _reading(module)
    for module in (append, changes, mirror, overwrite):
        _writing(module)
    _around(table, "_create", before="before create", after="created")
    _around(table, "write_deltalake", before="before commit", after="committed")
    _around(merger, "run", before="before commit", after="committed")
    _around(table.DeltaTable, "create_checkpoint", after="checkpointed")
    _around(target, "sync", before="before sync", after="synced")


# --- the nursery ----------------------------------------------------------------------------------


def _serve() -> None:
    from silt.cli import main

    for name in (
        "pyarrow.parquet",
        "sqlalchemy.dialects.sqlite",
        "jsonschema",
        "silt.cli.run",
        "silt.daemon",
    ):
        import_module(name)
    install()
    for line in sys.stdin:
        asked = json.loads(line)
        if "wait" in asked:
            print(os.waitstatus_to_exitcode(os.waitpid(asked["wait"], 0)[1]), flush=True)
            continue
        pid = os.fork()
        if not pid:
            _become(asked, main)
        print(pid, flush=True)


def _become(asked: dict[str, Any], main: Callable[[], None]) -> None:
    os.chdir(asked["folder"])
    os.environ.update(asked["environment"])
    quiet = os.open(os.devnull, os.O_RDWR)
    errors = os.open(asked["errors"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    for descriptor, place in ((quiet, 0), (quiet, 1), (errors, 2)):
        os.dup2(descriptor, place)
    sys.argv = ["silt", *asked["arguments"]]
    code: Any = 1
    try:
        main()
    except SystemExit as end:
        code = end.code
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(int(code or 0))


@dataclass
class Child:
    """A silt that a nursery started."""

    nursery: Nursery
    pid: int
    errors: Path

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> tuple[int, str]:
        """Its exit code, negative for a signal, and what it said on its standard error."""
        return self.nursery.ask({"wait": self.pid}), self.errors.read_text()


class Nursery:
    """Starts silt processes with marks, without the half second that imports take."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, "serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def ask(self, question: dict[str, Any]) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def start(self, folder: Path, *arguments: str, at: str, log: Path) -> Child:
        """`silt ARGUMENTS` in `folder`."""
        errors = folder / "errors.log"
        environment = {"FAULTS_AT": at, "FAULTS_LOG": str(log)}
        asked = {
            "folder": str(folder),
            "arguments": arguments,
            "environment": environment,
            "errors": str(errors),
        }
        return Child(self, self.ask(asked), errors)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=60)


if __name__ == "__main__":
    _serve()
