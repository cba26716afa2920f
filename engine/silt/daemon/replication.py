"""The real work of the daemon: observes and replicates through handles that live as long as it does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from silt.daemon.loop import Emit
from silt.daemon.watch import TICK
from silt.errors import SiltError
from silt.manifest.model import Manifest, Source, Stream
from silt.plan.model import Plan, StreamPlan
from silt.replicate.model import Event, StreamResult
from silt.report import events

if TYPE_CHECKING:
    from silt.observe import Handles


class Replication:
    """The real `Work`: observes and replicates through handles that live as long as the daemon."""

    def __init__(
        self,
        manifest: Manifest,
        handles: Handles,
        *,
        select: Callable[[Stream], bool],
        emit: Emit,
        stop: threading.Event,
    ) -> None:
        self._manifest = manifest
        self._handles = handles
        self._select = select
        self._emit = emit
        self._stop = stop
        self._seen: tuple[object, ...] = ()
        self._looked = 0.0

    def look(self) -> Plan:
        from silt import observe

        self._seen = self._shape_of_sources()
        self._looked = time.monotonic()
        return observe.look(self._manifest, self._handles, select=self._select)

    def changed(self) -> bool:
        """Other files match, or `PRAGMA schema_version` moved; looked at once a second at most."""
        now = time.monotonic()
        if now - self._looked < TICK:
            return False
        self._looked = now
        return self._shape_of_sources() != self._seen

    def refresh(self, plan: StreamPlan) -> StreamPlan:
        from silt import observe

        name = plan.stream.name
        seen = observe.look(self._manifest, self._handles, select=lambda stream: stream.name == name)
        return seen.streams[0] if seen.streams else plan

    def cycle(self, plan: StreamPlan) -> StreamResult:
        from silt import replicate

        alone = Plan(manifest=self._manifest, streams=(plan,))
        result = replicate.run(alone, self._handles, listen=self._hear, stop=self._stop, workers=1)
        return result.streams[0]

    def _hear(self, event: Event) -> None:
        line = events.of_event(event)
        if line is not None:
            self._emit(line)

    def _shape_of_sources(self) -> tuple[object, ...]:
        return tuple(self._shape_of(origin) for origin in self._manifest.sources)

    def _shape_of(self, origin: Source) -> tuple[object, ...]:
        """Names, and schema version of each database; what cannot be read now has a shape too."""
        from silt.source.open import find

        try:
            databases = find(origin.path, origin.exclude)
        except SiltError as error:
            return (str(error),)
        return tuple((d.name, d.path, self._schema_version(origin, d.path)) for d in databases)

    def _schema_version(self, origin: Source, path: str) -> int | None:
        try:
            with self._handles.connection(origin, path) as connection:
                return connection.schema_version()
        except SiltError:  # the stream's own cycle says what is wrong with it
            return None
