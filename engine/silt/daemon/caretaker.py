"""Upkeep of the tables, in a thread of its own beside the cycles (DESIGN: `maintenance`)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from silt.daemon.workers import joined
from silt.errors import bug
from silt.manifest.diff import Running
from silt.report import failure
from silt.report.events import Line
from silt.report.upkeep import log_line
from silt.state import StateDir

if TYPE_CHECKING:
    from silt.observe import Handles
    from silt.replicate.upkeep import Upkeep

INTERVAL: Final = 30.0
"""Seconds between looks at what is due: a look asks nobody."""


class Caretaker:
    """Compacts, vacuums and cuts logs when it is due, table by table; `running` says what runs now.

    It is never in the way of a cycle: it works through table handles of its own, and what loses a race comes
    again later.
    """

    def __init__(
        self,
        state: StateDir,
        handles: Handles,
        *,
        running: Callable[[], Running],
        emit: Callable[[Line], None],
        interval: float = INTERVAL,
    ) -> None:
        self._state = state
        self._handles = handles
        self._running = running
        self._emit = emit
        self._interval = interval
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look_after, name="silt-upkeep", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self, patience: float) -> bool:
        """Begin nothing more; whether what is under way ended within `patience` seconds.

        A compaction cannot be interrupted, and may be killed at any moment.
        """
        self._stop.set()
        return joined([self._thread], patience)

    def _look_after(self) -> None:
        from silt.replicate.upkeep import Upkeep

        upkeep = Upkeep(self._state)
        while not self._stop.wait(self._interval):
            try:
                self._round(upkeep)
            except BaseException as error:  # noqa: BLE001  # the thread must outlive a bug, and a panic
                words = f"upkeep: {failure.sentence(bug(error))}"
                self._emit(Line(kind="failing", text=words, level="error"))

    def _round(self, upkeep: Upkeep) -> None:
        from silt.replicate.upkeep import chores

        running = self._running()
        handles = self._handles.under(running.manifest)
        for chore in chores(running.manifest, running.streams):
            tasks = upkeep.due(chore, handles)
            for done in upkeep.carry_out(chore, tasks, handles) if tasks else ():
                if (line := log_line(done)) is not None:
                    self._emit(line)
                if self._stop.is_set():
                    return
