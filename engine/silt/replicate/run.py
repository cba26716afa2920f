"""All streams of a plan, in a small pool: one stream's failure stops no other."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

from silt.observe import Handles
from silt.plan.model import Plan, StreamPlan
from silt.replicate.model import Listener, RunResult, Stopping, StreamResult
from silt.replicate.stream import StreamCycle

WORKERS = 4
"""Threads: the work is SQLite's and delta-rs's, which both free the GIL."""


def run(
    plan: Plan,
    handles: Handles,
    *,
    listen: Listener,
    stop: Stopping,
    workers: int = WORKERS,
) -> RunResult:
    """One cycle of every stream of `plan`; `stop` set: commits under way finish, no other starts.

    An exception that is no `SiltError` is a bug; it is raised after the other streams are done.
    """
    started = time.monotonic()
    serial = _Serial(listen)
    with ThreadPoolExecutor(
        max_workers=max(1, min(workers, len(plan.streams))), thread_name_prefix="stream"
    ) as pool:
        futures = [pool.submit(_one, stream, handles, serial, stop) for stream in plan.streams]
    results = tuple(future.result() for future in futures)
    return RunResult(streams=results, seconds=time.monotonic() - started)


class _Serial:
    """Passes events on one at a time: listeners need no lock of their own."""

    def __init__(self, listen: Listener) -> None:
        self._listen = listen
        self._lock = threading.Lock()

    def __call__(self, event: object) -> None:
        with self._lock:
            self._listen(event)  # type: ignore[arg-type]  # the union's members are all that is sent


def _one(stream: StreamPlan, handles: Handles, listen: Listener, stop: Stopping) -> StreamResult:
    return StreamCycle(stream, handles, listen=listen, stop=stop).run()
