"""`silt.daemon.Timetable`: when streams are due, told by a clock that the test moves."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from silt.daemon import JITTER, Timetable


def table(seed: int = 1) -> Timetable:
    return Timetable(random.Random(seed))


def take_at(timetable: Timetable, name: str) -> float:
    """Take the only due stream at the moment that it is due; that moment."""
    due = timetable.next()
    assert due is not None
    assert timetable.take(due) == (name,)
    return due


def test_new_stream_is_due_within_a_second():
    """The first cycle comes at once, but for a start jitter of at most a second."""
    for seed in range(50):
        timetable = table(seed)
        timetable.add("a", 3600.0, 100.0)
        due = timetable.next()
        assert due is not None
        assert 100.0 <= due <= 101.0


@given(seed=st.integers(0, 10_000), every=st.floats(0.2, 10_000))
def test_cycles_keep_to_the_grid_with_little_jitter(seed, every):
    """Starts stay within 10% of `every` after their place on the grid, and the grid does not drift."""
    timetable = table(seed)
    timetable.add("a", every, 0.0)
    take_at(timetable, "a")
    timetable.done("a", 0.0, failed=False)
    for number in range(1, 30):
        due = take_at(timetable, "a")
        assert number * every - 1e-6 <= due <= (number + JITTER) * every + 1e-6
        timetable.done("a", due, failed=False)


def test_stream_never_overlaps_itself():
    """While it runs a stream is not due, however late it is."""
    timetable = table()
    timetable.add("a", 1.0, 0.0)
    take_at(timetable, "a")
    assert timetable.take(1_000_000.0) == ()
    assert timetable.next() is None


def test_missed_ticks_are_one():
    """A cycle that took five intervals is followed by one start, not five."""
    timetable = table()
    timetable.add("a", 1.0, 0.0)
    take_at(timetable, "a")
    timetable.done("a", 5.5, failed=False)
    due = take_at(timetable, "a")
    assert 6.0 <= due <= 6.0 + JITTER
    timetable.done("a", due, failed=False)
    assert take_at(timetable, "a") >= 7.0


def test_failures_back_off_and_success_ends_it():
    """Waits double from 5 s to 5 minutes, each a fifth shorter at most; a success is back on the grid."""
    timetable = table()
    timetable.add("a", 60.0, 0.0)
    now, waits = take_at(timetable, "a"), []
    for _ in range(10):
        due = timetable.done("a", now, failed=True)
        assert due is not None
        waits.append(due - now)
        now = take_at(timetable, "a")
    for wait, full in zip(waits, [5, 10, 20, 40, 80, 160, 300, 300, 300, 300], strict=True):
        assert 0.8 * full - 1e-6 <= wait <= full + 1e-6
    assert len(set(waits[-4:])) > 1  # jittered: a fleet does not come back at once
    due = timetable.done("a", now, failed=False)
    assert due is not None
    assert now < due <= now + 66.0


def test_frequent_stream_backs_off_from_its_own_interval():
    """A stream of every 200 ms is tried again after a second, not after five."""
    timetable = table()
    timetable.add("a", 0.2, 0.0)
    now = take_at(timetable, "a")
    due = timetable.done("a", now, failed=True)
    assert due is not None
    assert 0.8 <= due - now <= 1.0


def test_removed_stream_is_never_due():
    """Neither its place in the heap nor a cycle that ends later brings it back."""
    timetable = table()
    for name in ("a", "b"):
        timetable.add(name, 1.0, 0.0)
    timetable.remove("a")
    assert timetable.take(10.0) == ("b",)
    timetable.remove("b")
    assert timetable.done("b", 10.0, failed=False) is None
    assert timetable.next() is None
    assert timetable.names == frozenset()


@given(st.lists(st.floats(0.5, 30), min_size=1, max_size=8), st.integers(0, 1000))
def test_every_stream_gets_its_turns(periods, seed):
    """Over a long time each stream runs as often as its `every` says, whatever the others do."""
    timetable = table(seed)
    names = [f"s{i}" for i in range(len(periods))]
    for name, every in zip(names, periods, strict=True):
        timetable.add(name, every, 0.0)
    turns, now = dict.fromkeys(names, 0), 0.0
    while (due := timetable.next()) is not None and due < 100.0:
        now = max(now, due)
        for name in timetable.take(now):
            turns[name] += 1
            timetable.done(name, now, failed=False)
    for name, every in zip(names, periods, strict=True):
        assert abs(turns[name] - 100.0 / every) <= 2
