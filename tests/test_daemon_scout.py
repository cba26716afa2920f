"""Looks at an edited manifest: one at a time, and no more of them than say something new."""

from __future__ import annotations

import threading

from test_daemon import until

from silt.daemon.job import Prepared
from silt.daemon.scout import Scout
from silt.manifest.diff import Running
from silt.manifest.model import Manifest


class Work:
    """Reads a manifest as long as a test wants."""

    def __init__(self) -> None:
        self.begun: list[float] = []
        self.go = threading.Event()

    def prepare(self, running: Running, *, began: float, asked: bool) -> Prepared:
        self.begun.append(began)
        self.go.wait(10)
        return Prepared(began=began, asked=asked)

    def survey(self, running: Running) -> None:
        return None


def running() -> Running:
    made = Manifest(
        path="m", name="m", node="n", state_dir="s", sources=(), targets=(), rules=None, digest="d"
    )
    return Running(manifest=made, streams=())


def started() -> tuple[Scout, Work, list[Prepared]]:
    """A scout at work, what it has read, and what it found."""
    work, found = Work(), []
    scout = Scout(work, found.append)
    scout.follow(running())
    scout.start()
    return scout, work, found


def test_edits_that_come_while_one_is_read_are_one():
    """A file saved again and again is read as often as reading takes, not as often as it was saved."""
    scout, work, found = started()
    scout.reload(1.0, asked=False)
    until(lambda: work.begun == [1.0])
    for number in range(2, 50):
        scout.reload(float(number), asked=False)
    work.go.set()
    until(lambda: len(found) == 2)
    assert scout.close(5)
    assert work.begun == [1.0, 2.0]  # the first of them is as old as the wait was long
    assert [each.asked for each in found] == [False, False]


def test_who_asks_for_a_reload_among_edits_knows_its_receipt():
    """It began no earlier than the last of those who wait for it asked."""
    scout, work, found = started()
    scout.reload(1.0, asked=False)
    until(lambda: work.begun == [1.0])
    for number, asked in ((2.0, False), (3.0, True), (4.0, True), (5.0, False)):
        scout.reload(number, asked=asked)
    work.go.set()
    until(lambda: len(found) == 2)
    assert scout.close(5)
    assert [(each.began, each.asked) for each in found] == [(1.0, False), (4.0, True)]


def test_the_end_comes_before_edits_that_wait():
    """A daemon that ends reads no more manifests."""
    scout, work, found = started()
    scout.reload(1.0, asked=True)
    until(lambda: work.begun == [1.0])
    for number in range(2, 9):
        scout.reload(float(number), asked=True)
    assert not scout.close(0.05)  # one is under way
    work.go.set()
    assert scout.close(5)
    assert work.begun == [1.0]
    assert found == []
