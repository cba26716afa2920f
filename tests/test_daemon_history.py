"""`silt.daemon.history`: rows over time, bounded."""

from __future__ import annotations

import threading

from silt.daemon.history import POINTS, STEP, History, Underway
from silt.replicate.model import Committed, Finished, Progress, Started, StreamResult

NOON = 1_790_000_000 // STEP * STEP


class Clock:
    def __init__(self) -> None:
        self.now = float(NOON)

    def __call__(self) -> float:
        return self.now


def commit(stream: str, rows: int) -> Committed:
    return Committed(stream=stream, into=stream, rows=rows, databases=1, version=1, seconds=0.1)


def test_rows_are_counted_by_their_step():
    """Commits of one step are one point; steps without any are zeros; the last point is now's."""
    clock = Clock()
    history = History(clock)
    history.heard(commit("a", 3))
    history.heard(commit("a", 4))
    clock.now += 3 * STEP
    history.heard(commit("a", 5))
    history.heard(commit("b", 0))
    told = history.rows()
    assert told.step == STEP
    assert told.start == NOON + (3 - POINTS + 1) * STEP
    assert len(told.streams["a"]) == POINTS
    assert told.streams["a"][-4:] == [7, 0, 0, 5]
    assert set(told.streams) == {"a"}


def test_only_what_is_newer_is_told():
    """A reader that has everything up to a moment is told from the step that holds it."""
    clock = Clock()
    history = History(clock)
    history.heard(commit("a", 3))
    clock.now += 2 * STEP
    history.heard(commit("b", 1))
    told = history.rows(since=clock.now - STEP)
    assert (told.start, dict(told.streams)) == (NOON + STEP, {"b": [0, 1]})


def test_an_hour_and_a_day_are_kept_and_no_more():
    """What is older than an hour leaves the points, what is older than a day the sum; memory is bounded."""
    clock = Clock()
    history = History(clock)
    for _ in range(3000):
        history.heard(commit("a", 1))
        clock.now += STEP
    assert sum(history.rows().streams["a"]) == POINTS - 1
    assert 24 * 120 - 2 * 30 <= history.day()["a"] <= 24 * 120
    clock.now += 90_000
    assert history.rows().streams == {}
    assert history.day() == {"a": 0}
    assert len(history._streams["a"].hour._counts) <= POINTS


def test_a_clock_that_is_set_back_loses_no_row():
    """Rows that come while the clock stands before the last step are counted in that one."""
    clock = Clock()
    history = History(clock)
    history.heard(commit("a", 3))
    clock.now -= 10 * STEP
    history.heard(commit("a", 4))
    clock.now += 10 * STEP
    assert history.rows().streams["a"][-1] == 7


def test_how_far_a_cycle_is():
    """Rows read and expected from a cycle's first event to its last."""
    history = History(Clock())
    history.heard(Started(stream="a"))
    assert history.underway() == {"a": Underway()}
    history.heard(Progress(stream="a", rows=10, expected=40))
    assert history.underway() == {"a": Underway(rows=10, expected=40)}
    history.heard(Finished(result=StreamResult(name="a", table="a", into="a", state="ok")))
    assert history.underway() == {}


def test_streams_that_are_gone_are_forgotten():
    """`keep` leaves what it names."""
    history = History(Clock())
    history.heard(commit("a", 1))
    history.heard(commit("b", 1))
    history.keep(["b", "c"])
    assert history.day() == {"b": 1}


def test_many_threads_may_tell_it():
    """No commit is lost among threads that tell at once."""
    history = History(Clock())
    tell = lambda: [history.heard(commit("a", 1)) for _ in range(500)]  # noqa: E731
    threads = [threading.Thread(target=tell) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert history.day() == {"a": 4000}
