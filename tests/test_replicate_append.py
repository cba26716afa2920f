"""The append cycle: how much one commit holds, whose rows share it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from kit import Site

from silt.replicate.model import Committed


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def commits(site: Site) -> list[Committed]:
    return [event for event in site.events if isinstance(event, Committed)]


def blobs(count: int, size: int) -> list[tuple[Any, ...]]:
    return [(bytes([i % 251]) * size,) for i in range(count)]


def test_a_commit_holds_about_max_bytes(site: Site) -> None:
    """A window of large rows is cut by their size, not only by their number."""
    site.sql(
        "create table t(id integer primary key, b blob)", ("insert into t(b) values (?)", blobs(3000, 10_000))
    )
    site.write("  t: {batch: {max_bytes: 4MB}}\n")
    assert site.one().rows == 3000
    assert len(commits(site)) >= 7
    assert max(c.rows for c in commits(site)) * 10_000 < 6 * 1024 * 1024
    assert sorted(site.column("t", "id")) == list(range(1, 3001))


def test_every_window_of_a_load_of_wide_rows_has_two_readers(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A window holds `max_bytes`: how many rows that is does not decide whether two readers are worth it."""
    from silt.replicate import append

    site.sql(
        "create table t(id integer primary key, b blob)",
        ("insert into t(b) values (?)", blobs(6000, 10_000)),
    )
    site.write("  t: {batch: {max_bytes: 20MB}}\n")
    monkeypatch.setattr(append, "LARGE_FILE", 0)
    readers: list[int] = []
    plain = append.stream

    def watched(snapshot: Any, *args: Any, **more: Any) -> Any:
        readers.append(len(snapshot.readers))
        return plain(snapshot, *args, **more)

    monkeypatch.setattr(append, "stream", watched)
    assert site.one().rows == 6000
    assert readers == [2, 2, 2, 2]  # the sample, then three windows
    assert sorted(site.column("t", "id")) == list(range(1, 6001))


def test_rows_larger_than_a_commit_go_one_by_one(site: Site) -> None:
    """One row is the least that a commit holds."""
    site.sql(
        "create table t(id integer primary key, b blob)",
        ("insert into t(b) values (?)", blobs(12, 2_000_000)),
    )
    site.write("  t: {batch: {max_bytes: 1MB}}\n")
    assert site.one().rows == 12
    assert [c.rows for c in commits(site)] == [1] * 12
    assert sorted(site.column("t", "id")) == list(range(1, 13))


def test_databases_share_a_commit_up_to_max_rows(site: Site) -> None:
    """Group commit: small databases of one glob go together, as many as fit."""
    from kit import sql

    for name in "abcdef":
        sql(
            site.folder / f"{name}.db",
            "create table t(id integer primary key)",
            ("insert into t values (?)", [(i,) for i in range(10)]),
        )
    site.write("  t: {batch: {max_rows: 35}}\n", source="./*.db")
    assert site.one().rows == 60
    assert [c.databases for c in commits(site)] == [3, 3]
