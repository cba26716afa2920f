"""What Prometheus scrapes: counts of what streams did, and how they stand now (docs/operating.md lists all).

Counting is adding to plain numbers; the client library, which takes 0.1 s to import, comes in with the first
scrape.  A stream that is gone from the status loses its series with the next scrape.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from silt.replicate.model import Committed, Event, Finished, Retrying
from silt.report.live import STATES, behind, pending
from silt.state import LastStatus, Receipt, StreamStatus

if TYPE_CHECKING:
    from prometheus_client.core import Metric
    from prometheus_client.registry import CollectorRegistry

BUCKETS: Final = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 120.0, 600.0)
"""Upper bounds of a cycle's seconds."""

RESULTS: Final = ("applied", "refused", "unchanged")


@dataclass(slots=True)
class _Counts:
    rows: int = 0
    misfits: int = 0
    bytes: int = 0
    commits: int = 0
    failures: int = 0
    retries: int = 0
    seconds: float = 0.0
    cycles: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))


class Metrics:
    """Counts what it hears, from any thread; `exposition` is what `/metrics` answers."""

    def __init__(self, status: Callable[[], LastStatus]) -> None:
        self._status = status
        self._lock = threading.Lock()
        self._streams: dict[str, _Counts] = {}
        self._reloads: Counter[str] = Counter()
        self._registry: CollectorRegistry | None = None

    def heard(self, event: Event) -> None:
        with self._lock:
            match event:
                case Committed():
                    self._commit(self._of(event.stream), event)
                case Retrying():
                    self._of(event.stream).retries += 1
                case Finished(result=result) if result.state != "disabled":
                    counts = self._of(result.name)
                    counts.failures += result.state == "failing"
                    counts.seconds += result.seconds
                    counts.cycles[bisect_left(BUCKETS, result.seconds)] += 1

    def reloaded(self, receipt: Receipt) -> None:
        with self._lock:
            self._reloads[receipt.result] += 1

    def exposition(self, accept: str = "") -> tuple[bytes, str]:
        """Everything, in the format that the `Accept` header asks for; and that format's content type."""
        from prometheus_client.exposition import choose_encoder

        encode, content_type = choose_encoder(accept)
        return encode(self._made()), content_type

    def collect(self) -> Iterator[Metric]:
        """Every metric now: what prometheus-client asks its collectors for."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily

        status = self._status()
        yield InfoMetricFamily("silt_build", "The silt that runs.", value={"version": version("siltlake")})
        yield GaugeMetricFamily(
            "silt_manifest_generation",
            "How often a manifest was taken over, the first one included.",
            value=status.generation,
        )
        refused = GaugeMetricFamily(
            "silt_manifest_refused",
            "1 where the manifest on disk was refused and an older one runs on.",
            value=status.on_disk == "refused",
        )
        yield refused
        reloads = CounterMetricFamily("silt_reloads", "Edits of the manifest, by result.", labels=["result"])
        with self._lock:
            for result in RESULTS:
                reloads.add_metric([result], self._reloads[result])
            self._forget({s.name for s in status.streams})
            counted = list(self._counted(status))
        yield reloads
        yield from counted
        yield from _standing(status)

    def _made(self) -> CollectorRegistry:
        from prometheus_client import ProcessCollector
        from prometheus_client.registry import CollectorRegistry

        if self._registry is None:
            registry = CollectorRegistry()
            ProcessCollector(registry=registry)
            registry.register(self)
            self._registry = registry
        return self._registry

    def _of(self, stream: str) -> _Counts:
        return self._streams.setdefault(stream, _Counts())

    def _commit(self, counts: _Counts, event: Committed) -> None:
        counts.commits += 1
        counts.rows += event.rows
        counts.misfits += event.misfits
        counts.bytes += event.bytes

    def _forget(self, there: set[str]) -> None:
        for name in self._streams.keys() - there:
            del self._streams[name]

    def _counted(self, status: LastStatus) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

        counts = {s.name: self._streams.get(s.name) or _Counts() for s in status.streams}
        for name, help_text in _COUNTERS.items():
            family = CounterMetricFamily(f"silt_{name}", help_text, labels=["stream"])
            for stream, counted in counts.items():
                family.add_metric([stream], getattr(counted, name))
            yield family
        durations = HistogramMetricFamily(
            "silt_cycle_duration_seconds", "How long a stream's cycles took.", labels=["stream"]
        )
        for stream, counted in counts.items():
            durations.add_metric([stream], _cumulative(counted.cycles), counted.seconds)
        yield durations


_COUNTERS: Final = {
    "rows": "Rows written.",
    "misfits": "Values that did not fit their column and are kept in _rescued_data.",
    "bytes": "Bytes written, counted in Arrow before compression.",
    "commits": "Delta commits.",
    "failures": "Cycles that ended in a failure.",
    "retries": "Tries within a cycle that were made again, as after a lost race.",
}


def _standing(status: LastStatus) -> Iterator[Metric]:
    """How each stream stands now; what is not known has no sample."""
    from prometheus_client.core import GaugeMetricFamily

    states = GaugeMetricFamily(
        "silt_stream_state", "1 for the state that the stream is in.", labels=["stream", "state"]
    )
    for stream in status.streams:
        for state in STATES:
            states.add_metric([stream.name, state], stream.state == state)
    yield states
    for name, (help_text, read) in _GAUGES.items():
        family = GaugeMetricFamily(f"silt_{name}", help_text, labels=["stream"])
        for stream in status.streams:
            value = read(stream, status.written)
            if value is not None:
                family.add_metric([stream.name], value)
        yield family


_GAUGES: Final[dict[str, tuple[str, Callable[[StreamStatus, float], float | None]]]] = {
    "lag_seconds": ("Since the source was first seen ahead of the lake; 0 when it is not.", behind),
    "lag_rows": ("Rows that wait in the source, where they were counted.", lambda s, _: pending(s)),
    "tries": ("Cycles in a row that failed.", lambda s, _: s.tries),
    "table_version": ("The Delta table's version after the last cycle.", lambda s, _: s.version),
    "last_cycle_timestamp_seconds": ("When the last cycle ended.", lambda s, _: s.finished),
    "last_commit_timestamp_seconds": ("When rows were last written.", lambda s, _: s.committed),
}


def _cumulative(cycles: list[int]) -> list[tuple[str, float]]:
    total = 0
    buckets: list[tuple[str, float]] = []
    for bound, count in zip((*map(str, BUCKETS), "+Inf"), cycles, strict=True):
        total += count
        buckets.append((bound, total))
    return buckets
