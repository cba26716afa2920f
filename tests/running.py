"""A `silt run` that goes on while a test edits, asks and looks: its JSON log, line by line."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import warm
from clirun import start


class Running:
    """The process and what it has logged so far."""

    def __init__(self, process: warm.Process) -> None:
        self.process = process
        self.lines: list[dict[str, Any]] = []
        self._more = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._more:
                self.lines.append(json.loads(line))
                self._more.notify_all()

    def wait(self, event: str, *, after: int = 0, **fields: Any) -> dict[str, Any]:
        """The first line of that event and these fields, of those after the first `after` lines."""

        def found() -> dict[str, Any] | None:
            asked = {"event": event, **fields}
            return next((e for e in self.lines[after:] if all(e.get(k) == v for k, v in asked.items())), None)

        end = time.monotonic() + 60
        with self._more:
            while (line := found()) is None:
                assert self._more.wait(end - time.monotonic()), (event, fields, self.lines)
        return line


@contextmanager
def silt_run(folder: Path, *arguments: str, **variables: str) -> Iterator[Running]:
    """`silt run ARGUMENTS` in `folder`, ready; ended by SIGTERM, with exit code 0."""
    with start("run", "--log-format", "json", *arguments, cwd=folder, **variables) as process:
        running = Running(process)
        try:
            running.wait("ready")
            yield running
            process.terminate()
            assert process.wait(30) == 0
        finally:
            process.kill()
