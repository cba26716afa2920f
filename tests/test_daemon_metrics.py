"""`silt.daemon.metrics`: what Prometheus scrapes."""

from __future__ import annotations

import re
import threading
import time
from pathlib import Path

import pytest
from fakes import Fake, refusal, stream
from prometheus_client.parser import text_string_to_metric_families

from silt.errors import RetryLater
from silt.replicate.model import Committed, Finished, Retrying, StreamResult
from silt.report.live import STATES

DOCS = Path(__file__).parents[1] / "docs" / "operating.md"


def finished(name: str, state: str = "ok", seconds: float = 0.2) -> Finished:
    return Finished(result=StreamResult(name=name, table=name, into=name, state=state, seconds=seconds))


def scraped(fake: Fake) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample: (name, labels) -> value."""
    text = fake.metrics.exposition()[0].decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def of(fake: Fake, name: str, **labels: str) -> float | None:
    return scraped(fake).get((name, tuple(sorted(labels.items()))))


def test_commits_are_counted(tmp_path):
    """Rows, bytes, misfits and commits by stream; a stream that did nothing has zeros, not gaps."""
    fake = Fake(tmp_path, stream("orders"), stream("idle"))
    for rows in (3, 4):
        fake.heard(
            Committed(
                stream="orders",
                into="o",
                rows=rows,
                databases=1,
                version=1,
                seconds=0.1,
                bytes=100,
                misfits=1,
            )
        )
    names = ("silt_rows_total", "silt_bytes_total", "silt_misfits_total", "silt_commits_total")
    assert [of(fake, name, stream="orders") for name in names] == [7, 200, 2, 2]
    assert [of(fake, name, stream="idle") for name in names] == [0, 0, 0, 0]


def test_failures_retries_and_durations_are_counted(tmp_path):
    """A failing cycle is a failure, a hold is none; a retry is one; every cycle is in the histogram."""
    fake = Fake(tmp_path, stream("orders"))
    fake.heard(Retrying(stream="orders", error=RetryLater("lost a race"), attempt=1, seconds=0.1))
    fake.heard(finished("orders", "failing", seconds=0.02))
    fake.heard(finished("orders", "held", seconds=3.0))
    fake.heard(finished("orders", seconds=700.0))
    assert of(fake, "silt_failures_total", stream="orders") == 1
    assert of(fake, "silt_retries_total", stream="orders") == 1
    name = "silt_cycle_duration_seconds"
    buckets = {bound: of(fake, f"{name}_bucket", stream="orders", le=bound) for bound in ("0.01", "0.05")}
    assert buckets == {"0.01": 0, "0.05": 1}
    assert of(fake, f"{name}_bucket", stream="orders", le="600.0") == 2
    assert of(fake, f"{name}_bucket", stream="orders", le="+Inf") == 3
    assert of(fake, f"{name}_count", stream="orders") == 3
    assert of(fake, f"{name}_sum", stream="orders") == pytest.approx(703.02)


def test_how_streams_stand(tmp_path):
    """One of the states is 1; lag is 0 when it is not ahead, and no sample where it is unknown."""
    fake = Fake(
        tmp_path,
        stream("ok"),
        stream("late", "failing", ahead_since=time.time() - 60, tries=3),
        stream("new", caught_up=None),
    )
    for name, wanted in (("ok", "ok"), ("late", "failing")):
        states = {s: of(fake, "silt_stream_state", stream=name, state=s) for s in STATES}
        assert states == {s: float(s == wanted) for s in STATES}
    assert of(fake, "silt_lag_seconds", stream="ok") == 0
    assert of(fake, "silt_lag_rows", stream="ok") == 0
    assert of(fake, "silt_lag_seconds", stream="late") == pytest.approx(60, abs=30)
    assert of(fake, "silt_lag_rows", stream="late") is None
    assert of(fake, "silt_lag_seconds", stream="new") is None
    assert of(fake, "silt_tries", stream="late") == 3


def test_streams_that_are_gone_lose_their_series(tmp_path):
    """After a reload without it, no series names the stream; one that comes back begins at zero."""
    fake = Fake(tmp_path, stream("orders"), stream("gone"))
    for name in ("orders", "gone"):
        fake.committed(name, 5)
        fake.heard(finished(name))
    assert any(("stream", "gone") in labels for _, labels in scraped(fake))
    fake.set(streams=(stream("orders"),))
    assert not any(("stream", "gone") in labels for _, labels in scraped(fake))
    fake.set(stream("gone"))
    assert of(fake, "silt_rows_total", stream="gone") == 0
    assert of(fake, "silt_rows_total", stream="orders") == 5


def test_reloads_are_counted(tmp_path):
    """Generation, results of edits, and whether the manifest on disk is one that was refused."""
    fake = Fake(tmp_path, stream("orders"))
    assert of(fake, "silt_manifest_refused") == 0
    fake.metrics.reloaded(refusal(4))
    fake.set(generation=4, on_disk="refused")
    assert of(fake, "silt_manifest_generation") == 4
    assert of(fake, "silt_manifest_refused") == 1
    results = {r: of(fake, "silt_reloads_total", result=r) for r in ("applied", "refused", "unchanged")}
    assert results == {"applied": 0, "refused": 1, "unchanged": 0}


def test_every_name_is_one_of_prometheus(tmp_path):
    """Names begin with silt_ (or are the process's); a label of any text is carried."""
    odd = 'a "b"\\c\nd é'
    fake = Fake(tmp_path, stream(odd))
    assert of(fake, "silt_stream_state", stream=odd, state="ok") == 1
    assert all(re.match(r"(silt|process)_[a-z_]+\Z", name) for name, _ in scraped(fake))


def test_both_formats_are_served(tmp_path):
    """The classic text, and OpenMetrics for a scraper that asks for it."""
    fake = Fake(tmp_path, stream("orders"))
    assert fake.metrics.exposition("")[1].startswith("text/plain")
    body, content_type = fake.metrics.exposition("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")


def test_many_threads_may_tell_it_while_it_is_scraped(tmp_path):
    """No commit is lost, and no scrape fails."""
    fake = Fake(tmp_path, stream("orders"))
    event = Committed(stream="orders", into="o", rows=1, databases=1, version=1, seconds=0.1)
    threads = [threading.Thread(target=lambda: [fake.metrics.heard(event) for _ in range(500)]) for _ in "ab"]
    for thread in threads:
        thread.start()
    for _ in range(5):
        fake.metrics.exposition()
    for thread in threads:
        thread.join()
    assert of(fake, "silt_rows_total", stream="orders") == 1000


def test_the_page_lists_exactly_what_is_exported(tmp_path):
    """docs/operating.md names each metric, its kind and its labels; there are no others."""
    fake = Fake(tmp_path, stream("orders", version=1, committed=time.time(), pending_rows=0))
    text = fake.metrics.exposition()[0].decode()
    exported = {}
    for family in text_string_to_metric_families(text):
        if family.name.startswith("silt_"):
            labels = {label for sample in family.samples for label in sample.labels} - {"le"}
            name = f"{family.name}_total" if family.type == "counter" else family.name
            name = name if family.type != "info" else f"{name}_info"
            exported[name] = (family.type, tuple(sorted(labels)))
    rows = re.findall(
        r"^\| `(silt_\w+)` \| (\w+) \| (.*?) \|", DOCS.read_text(encoding="utf-8"), re.MULTILINE
    )
    listed = {name: (kind, tuple(sorted(re.findall(r"`(\w+)`", labels)))) for name, kind, labels in rows}
    assert listed == {
        name: ("gauge" if name.endswith("_info") else kind, labels)
        for name, (kind, labels) in exported.items()
    }
