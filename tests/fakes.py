"""A running silt that is none: records that a test changes, served by the real listener."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from silt import manifest
from silt.daemon.board import Board
from silt.daemon.history import History
from silt.daemon.http import Server
from silt.daemon.metrics import Metrics
from silt.manifest.model import Listen
from silt.replicate.model import Committed, Event
from silt.state import LastStatus, Receipt, StreamStatus, Trouble

ANYWHERE = Listen(host="127.0.0.1", port=0, declared=True)


def stream(name: str, state: str = "ok", **more: Any) -> StreamStatus:
    """A stream that is up to date, unless `more` says otherwise."""
    now = time.time()
    fields = {"caught_up": now, "finished": now, "next": now + 40} if state != "held" else {}
    return StreamStatus(**{**fields, "name": name, "state": state, **more})


def refusal(generation: int = 1) -> Receipt:
    """The receipt of an edit with one mistake, at line 31, column 11."""
    trouble = Trouble(
        file="plant.yaml",
        line=31,
        column=11,
        pointer="streams.settings.mode",
        message="'miror' is not one of append, overwrite",
        hint="did you mean 'overwrite'?",
    )
    at = time.time()
    return Receipt(
        generation=generation, digest="d1", at=at, seconds=0.1, result="refused", problems=(trouble,)
    )


def applied(generation: int, **changes: Any) -> Receipt:
    """The receipt of an edit that was taken over."""
    names = {"added": ("audit_log",), "changed": ("orders",), "removed": ("tmp_x",)}
    fields = {"digest": "d2", "at": time.time(), "seconds": 0.21, "result": "applied", "streams": 3, **names}
    return Receipt(**{**fields, "generation": generation, **changes})


class Fake:
    """What the daemon hands to the listener; `set` swaps the status as the daemon does."""

    def __init__(self, folder: Path, *streams: StreamStatus, body: str = "  orders: {}\n") -> None:
        path = folder / "plant.yaml"
        if not path.exists():
            head = "version: 1\nsources: {plant: ./plant.db}\ntargets:\n  lake: ./lake\nstreams:\n"
            path.write_text(head + body, encoding="utf-8")
        self.manifest = manifest.load(path, open_secrets=True)
        self.status = LastStatus(
            manifest="plant.yaml",
            digest="d0",
            generation=1,
            pid=812,
            started=time.time() - 3600,
            written=time.time(),
            loop=True,
            streams=streams,
        )
        self.history = History()
        self.metrics = Metrics(lambda: self.status)
        self.board = Board(
            status=lambda: self.status,
            manifest=lambda: self.manifest,
            streams=lambda: manifest.expand(self.manifest, {}).streams,
            history=self.history,
        )
        self.server = Server(self.board, self.metrics)

    def heard(self, event: Event) -> None:
        self.history.heard(event)
        self.metrics.heard(event)

    def set(self, *streams: StreamStatus, **changes: Any) -> None:
        """The status with these streams in place of those of their names, and these fields changed."""
        known = {s.name: s for s in self.status.streams} | {s.name: s for s in streams}
        fields = {"streams": tuple(known.values()), "written": time.time(), **changes}
        self.status = replace(self.status, **fields)

    def committed(self, name: str, rows: int, version: int = 1) -> None:
        """A commit of a stream, heard and in its status."""
        self.heard(
            Committed(
                stream=name, into=name, rows=rows, databases=1, version=version, seconds=0.02, bytes=80 * rows
            )
        )
        known = self.status.stream(name) or stream(name)
        self.set(replace(known, rows=known.rows + rows, version=version, committed=time.time()))
