"""What the world sees of a running silt: metrics, history and the page, at the address that is wanted now."""

from __future__ import annotations

from silt.daemon.board import Board
from silt.daemon.history import History
from silt.daemon.http import Server, Unavailable
from silt.daemon.loop import Daemon, Emit
from silt.daemon.metrics import Metrics
from silt.manifest.model import Listen
from silt.replicate.model import Event
from silt.report import failure
from silt.report.events import Line
from silt.state import Receipt


class Front:
    """Hears what the daemon does, and serves it; `address` of the command line goes over the manifest's.

    `listen` raises `Unavailable` where a declared address cannot be had at the start; after an edit what was
    served before is served on.
    """

    def __init__(self, daemon: Daemon, *, emit: Emit, address: Listen | None, fixed: bool) -> None:
        self._daemon = daemon
        self._emit = emit
        self._address = address
        self._fixed = fixed
        self._history = History()
        self.metrics = Metrics(daemon.status)
        board = Board(
            status=daemon.status, manifest=daemon.manifest, streams=daemon.streams, history=self._history
        )
        self._server = Server(board, self.metrics)

    @property
    def url(self) -> str | None:
        return self._server.url

    def heard(self, event: Event) -> None:
        """From the workers' threads."""
        self._history.heard(event)
        self.metrics.heard(event)

    def reloaded(self, receipt: Receipt) -> None:
        """From the loop's thread, after an edit."""
        self.metrics.reloaded(receipt)
        if receipt.result == "applied":
            try:
                self.listen()
            except Unavailable as error:
                self._tell(error)

    def listen(self) -> None:
        """Serve where it is wanted now."""
        at = self._address if self._fixed else self._daemon.manifest().listen
        try:
            self._server.listen(at)
        except Unavailable as error:
            if at is not None and at.declared:
                raise
            self._tell(error)

    def stop(self) -> None:
        self._server.stop()

    def _tell(self, error: Unavailable) -> None:
        words = f"{failure.sentence(error)}; nothing is served there"
        self._emit(Line(kind="note", text=words, level="warning", fields=dict(failure.data(error))))
