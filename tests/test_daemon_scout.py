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


def test_edits_that_come_while_one_is_read_are_one():
    """A file saved again and again is read as often as reading takes, not as often as it was saved."""
    work, found = Work(), []
    scout = Scout(work, found.append)
    scout.follow(running())
    scout.start()
    scout.reload(1.0, asked=False)
    until(lambda: work.begun == [1.0])
    for number in range(2, 50):
        scout.reload(float(number), asked=number == 20)
    work.go.set()
    until(lambda: len(found) == 2)
    assert scout.close(5)
    assert work.begun == [1.0, 2.0]  # the first of them is as old as the wait was long
    assert [each.asked for each in found] == [False, True]  # somebody waits for this one's receipt


def test_the_end_comes_before_edits_that_wait():
    """A daemon that ends reads no more manifests."""
    work, found = Work(), []
    scout = Scout(work, found.append)
    scout.follow(running())
    scout.start()
    scout.reload(1.0, asked=True)
    until(lambda: work.begun == [1.0])
    for number in range(2, 9):
        scout.reload(float(number), asked=True)
    assert not scout.close(0.05)  # one is under way
    work.go.set()
    assert scout.close(5)
    assert work.begun == [1.0]
    assert found == []
