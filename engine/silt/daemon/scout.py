"""Looks at sources and at an edited manifest in threads of their own: the loop waits for neither."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from silt.daemon.job import Prepared, Survey, Work, without_place
from silt.daemon.workers import joined
from silt.errors import SiltError, bug
from silt.manifest.diff import Running
from silt.report import failure

INTERVAL: Final = 1.0
"""Seconds between looks at the sources' files."""

SHARE: Final = 500.0
"""A look rests this many times as long as it took: 0.2% of a core, however many files there are."""


class Scout:
    """Puts a `Survey` where the sources changed, and a `Prepared` for each reload that is asked for."""

    def __init__(self, work: Work, put: Callable[[Survey | Prepared], None]) -> None:
        self._work = work
        self._put = put
        self._seen: Running | None = None
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=task, name=name, daemon=True)
            for task, name in ((self._survey, "silt-survey"), (self._reload, "silt-reload"))
        ]
        self._asked: queue.SimpleQueue[tuple[float, bool] | None] = queue.SimpleQueue()

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def follow(self, running: Running) -> None:
        """What runs now: plans are made of what differs from it."""
        self._seen = running

    def reload(self, began: float, *, asked: bool) -> None:
        """Read the manifest anew; safe in a signal handler."""
        self._asked.put((began, asked))

    def close(self, patience: float) -> bool:
        """Ask for no more looks; whether those under way ended within `patience` seconds."""
        self._stop.set()
        self._asked.put(None)
        return joined(self._threads, patience)

    def _survey(self) -> None:
        rest = INTERVAL
        while not self._stop.wait(rest) and (running := self._seen) is not None:
            began = time.thread_time()
            try:
                survey = self._work.survey(running)
            except BaseException as error:  # noqa: BLE001  # the thread must outlive a bug, and a panic
                told = error if isinstance(error, SiltError) else bug(error)
                survey = Survey(manifest=running.manifest, error=told)
            if survey is not None and not self._stop.is_set():
                self._put(survey)
            rest = max(INTERVAL, SHARE * (time.thread_time() - began))

    def _reload(self) -> None:
        while (request := self._request()) is not None and (running := self._seen) is not None:
            began, asked = request
            try:
                prepared = self._work.prepare(running, began=began, asked=asked)
            except BaseException as error:  # noqa: BLE001  # the thread must outlive a bug, and a panic
                problem = without_place(running.manifest.path, failure.sentence(bug(error)))
                prepared = Prepared(began=began, asked=asked, problems=(problem,))
            if not self._stop.is_set():
                self._put(prepared)

    def _request(self) -> tuple[float, bool] | None:
        """The next reload; those that came while another was read are one. None at the end."""
        request = self._asked.get()
        with suppress(queue.Empty):
            while request is not None:
                later = self._asked.get_nowait()
                request = later and _one(request, later)
        return request


def _one(first: tuple[float, bool], later: tuple[float, bool]) -> tuple[float, bool]:
    """As old as the first edit; where somebody asked, he knows his receipt by the moment that he did."""
    asked = [moment for moment, is_asked in (first, later) if is_asked]
    return (max(asked), True) if asked else (min(first[0], later[0]), False)
