"""`silt.daemon.Timetable`: when streams are due, told by a clock that the test moves."""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from silt.daemon import Timetable
from silt.daemon.timetable import JITTER
from silt.manifest.model import OnChange, Schedule
from silt.manifest.schedule import interval, upcoming


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
        timetable.add("a", Schedule(every=3600.0), 100.0)
        due = timetable.next()
        assert due is not None
        assert 100.0 <= due <= 101.0


@given(seed=st.integers(0, 10_000), every=st.floats(0.2, 10_000))
def test_cycles_keep_to_the_grid_with_little_jitter(seed, every):
    """Starts stay within 10% of `every` after their place on the grid, and the grid does not drift."""
    timetable = table(seed)
    timetable.add("a", Schedule(every=every), 0.0)
    take_at(timetable, "a")
    timetable.done("a", 0.0, failed=False)
    for number in range(1, 30):
        due = take_at(timetable, "a")
        assert number * every - 1e-6 <= due <= (number + JITTER) * every + 1e-6
        timetable.done("a", due, failed=False)


def test_stream_never_overlaps_itself():
    """While it runs a stream is not due, however late it is."""
    timetable = table()
    timetable.add("a", Schedule(every=1.0), 0.0)
    take_at(timetable, "a")
    assert timetable.take(1_000_000.0) == ()
    assert timetable.next() is None


def test_missed_ticks_are_one():
    """A cycle that took five intervals is followed by one start, not five."""
    timetable = table()
    timetable.add("a", Schedule(every=1.0), 0.0)
    take_at(timetable, "a")
    timetable.done("a", 5.5, failed=False)
    due = take_at(timetable, "a")
    assert 6.0 <= due <= 6.0 + JITTER
    timetable.done("a", due, failed=False)
    assert take_at(timetable, "a") >= 7.0


def test_failures_back_off_and_success_ends_it():
    """Waits double from 5 s to 5 minutes, each a fifth shorter at most; a success is back on the grid."""
    timetable = table()
    timetable.add("a", Schedule(every=60.0), 0.0)
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
    timetable.add("a", Schedule(every=0.2), 0.0)
    now = take_at(timetable, "a")
    due = timetable.done("a", now, failed=True)
    assert due is not None
    assert 0.8 <= due - now <= 1.0


def test_removed_stream_is_never_due():
    """Neither its place in the heap nor a cycle that ends later brings it back."""
    timetable = table()
    for name in ("a", "b"):
        timetable.add(name, Schedule(every=1.0), 0.0)
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
        timetable.add(name, Schedule(every=every), 0.0)
    turns, now = dict.fromkeys(names, 0), 0.0
    while (due := timetable.next()) is not None and due < 100.0:
        now = max(now, due)
        for name in timetable.take(now):
            turns[name] += 1
            timetable.done(name, now, failed=False)
    for name, every in zip(names, periods, strict=True):
        assert abs(turns[name] - 100.0 / every) <= 2


# --- cron -----------------------------------------------------------------------------------------


def test_cron_waits_for_its_moment_and_then_for_the_next():
    """Five fields, in local time: due at the next full minute, whenever it was added, then a minute later."""
    timetable = table()
    late = time.time() % 60
    timetable.add("a", Schedule(cron="* * * * *"), 1_000.0)
    due = take_at(timetable, "a")
    assert due - 1_000.0 == pytest.approx(60 - late, abs=0.5)
    timetable.done("a", due, failed=False)
    again = timetable.next()
    assert again is not None
    assert 0 < again - due <= 60


def test_cron_backs_off_after_a_failure():
    """A nightly stream that failed does not wait for the next night."""
    timetable = table()
    timetable.add("a", Schedule(cron="0 3 1 1 *"), 0.0)
    take_at(timetable, "a")
    again = timetable.done("a", 0.0, failed=True)
    assert again is not None
    assert 4.0 <= again <= 5.0


def test_local_time_keeps_six_o_clock_over_the_change_of_clocks(monkeypatch):
    """On 29 March 2026 Berlin goes from UTC+1 to UTC+2: 6 o'clock is 23 hours after 6 o'clock."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        six = datetime(2026, 3, 28, 5, tzinfo=UTC).timestamp()
        assert upcoming("0 6 * * *", six - 1) == six
        assert upcoming("0 6 * * *", six) == six + 23 * 3600
        assert interval(Schedule(cron="0 6 * * *"), six - 1) == 24 * 3600
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    ("jump", "wait"),
    [(1800.0, 1800.0), (3 * 3600.0, 0.0), (26 * 86400.0, 0.0), (-86400.0, 3600.0), (0.0, 3600.0)],
    ids=["nearer", "passed", "weeks", "back", "none"],
)
def test_cron_follows_a_clock_that_is_set(monkeypatch, jump, wait):
    """A device boots with an old or wrong time until it has a network; a moment passed over is now."""
    wall = [datetime(2026, 11, 1, 5, tzinfo=UTC).timestamp()]
    monkeypatch.setattr("silt.daemon.timetable.time.time", lambda: wall[0])
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    timetable = table()
    timetable.add("a", Schedule(cron="0 6 * * *"), 100.0)
    assert timetable.next() == 100.0 + 3600
    wall[0] += jump
    timetable.clock_moved(100.0)
    assert timetable.next() == 100.0 + wait
    monkeypatch.undo()
    time.tzset()


def test_a_clock_that_is_set_moves_no_other_schedule(monkeypatch):
    """`every` counts seconds, a back-off too, and what is to run at once stays so."""
    timetable = table()
    timetable.add("a", Schedule(every=300), 0.0)
    timetable.add("b", Schedule(cron="0 6 * * *"), 0.0)
    timetable.hasten("b", 0.0)
    before = timetable.next()
    monkeypatch.setattr("silt.daemon.timetable.time.time", lambda: 4e9)
    timetable.clock_moved(0.0)
    assert timetable.next() == before
    assert "b" in timetable.take(0.0)
    failed = timetable.done("b", 0.0, failed=True)
    timetable.take(2.0)
    timetable.clock_moved(0.0)
    assert timetable.next() == failed


# --- on change ------------------------------------------------------------------------------------

CHANGES = Schedule(on_change=OnChange(debounce=0.2, max_delay=1.0))


def quiet(schedule: Schedule = CHANGES) -> Timetable:
    """A timetable whose stream has run at 0 and is not due for minutes."""
    timetable = table()
    timetable.add("a", schedule, 0.0)
    take_at(timetable, "a")
    timetable.done("a", 0.0, failed=False)
    assert (timetable.next() or 0) >= 300
    return timetable


def test_a_change_is_followed_by_a_cycle_after_the_debounce():
    """0.2 s after the last write, not before."""
    timetable = quiet()
    timetable.touch("a", 10.0)
    timetable.touch("a", 10.1)
    assert timetable.take(10.25) == ()
    assert timetable.next() == pytest.approx(10.3)
    assert timetable.take(10.3) == ("a",)


def test_writes_in_a_row_put_a_cycle_off_by_max_delay_at_most():
    """A writer that never rests is read all the same."""
    timetable = quiet()
    for tick in range(100):
        timetable.touch("a", 10.0 + tick / 10)
        if timetable.take(10.0 + tick / 10):
            break
    assert tick == 10


def test_a_change_while_it_runs_is_read_afterwards():
    """What was written after the cycle read is not forgotten."""
    timetable = quiet()
    timetable.touch("a", 10.0)
    assert timetable.take(10.2) == ("a",)
    timetable.touch("a", 10.3)
    assert timetable.done("a", 10.9, failed=False) == pytest.approx(11.1)
    assert timetable.take(11.2) == ("a",)
    assert (timetable.done("a", 11.3, failed=False) or 0) > 100


def test_a_change_does_not_shorten_a_back_off():
    """A stream that fails at every write would hammer a store that is down."""
    timetable = quiet()
    timetable.touch("a", 10.0)
    assert timetable.take(10.2) == ("a",)
    again = timetable.done("a", 10.3, failed=True)
    timetable.touch("a", 10.4)
    assert timetable.next() == again
    assert again is not None
    assert again >= 14


def test_a_change_of_another_schedule_wakes_nobody():
    """`every` keeps to its grid; a stream that is gone is none."""
    timetable = quiet(Schedule(every=300))
    before = timetable.next()
    timetable.touch("a", 10.0)
    timetable.touch("gone", 10.0)
    assert timetable.next() == before


def test_a_turn_that_gave_way_is_due_at_once():
    """Whatever its schedule; what changed since its first turn is read once it has come to its end."""
    timetable = quiet()
    timetable.touch("a", 10.0)
    assert timetable.take(10.2) == ("a",)
    timetable.touch("a", 10.3)  # a database that this cycle has visited already, perhaps
    assert timetable.gave_way("a", 10.9) == 10.9
    assert timetable.take(10.9) == ("a",)
    timetable.began("a")
    assert timetable.done("a", 11.0, failed=False) == pytest.approx(11.2)
    assert timetable.take(11.3) == ("a",)
    assert (timetable.done("a", 11.4, failed=False) or 0) > 100


def test_turns_of_a_failing_cycle_keep_its_back_off():
    """The tries are counted by cycles: a turn is neither a failure nor a success."""
    timetable = quiet()
    waits = []
    for now in (1000.0, 2000.0, 3000.0, 4000.0):
        timetable.hasten("a", now)
        assert timetable.take(now) == ("a",)
        timetable.gave_way("a", now)
        assert timetable.take(now) == ("a",)
        waits.append((timetable.done("a", now, failed=True) or 0) - now)
    assert waits == sorted(waits)
    assert waits[-1] > 4 * waits[0]
    timetable.remove("a")
    assert timetable.gave_way("a", 9000.0) is None


def test_a_stream_that_is_woken_often_keeps_its_grid():
    """The cycle that comes in any case comes in time after a thousand others, and nothing is hoarded."""
    timetable = quiet()
    now = 1.0
    for _ in range(1000):
        timetable.touch("a", now)
        now += 0.3
        assert timetable.take(now) == ("a",)
        due = timetable.done("a", now, failed=False)
        assert due is not None
        assert due - now <= 300 * (1 + JITTER)
    assert len(timetable._heap) < 20


def test_a_write_puts_nothing_off_that_is_due_anyway():
    """A new stream, an edited one, a turn that goes on: each is due now, however long a write waits."""
    slow = Schedule(on_change=OnChange(debounce=60.0, max_delay=3600.0))
    timetable = table()
    timetable.add("a", slow, 0.0)
    timetable.touch("a", 0.5)
    assert timetable.take(1.0) == ("a",)
    timetable.gave_way("a", 2.0)
    timetable.touch("a", 2.0)
    assert timetable.take(2.0) == ("a",)
    timetable.done("a", 3.0, failed=False)
    timetable.touch("a", 3.0)
    timetable.hasten("a", 3.0)
    timetable.touch("a", 3.0)
    assert timetable.take(3.0) == ("a",)


def test_a_database_that_fails_keeps_no_other_waiting():
    """Its source's schedule stands, and a write to it, which may mend it, is followed in 5 s."""
    timetable = quiet()
    for tick in range(8):  # its back-off would be minutes
        now = 10.0 + tick * 60
        timetable.touch("a", now)
        due = timetable.next()
        assert due is not None
        assert due <= now + 6.0
        assert timetable.take(due) == ("a",)
        timetable.done("a", due, failed=True, partly=True)
    every = table()
    every.add("b", Schedule(every=10), 0.0)
    for _ in range(8):
        due = take_at(every, "b")
        again = every.done("b", due, failed=True, partly=True)
        assert again is not None
        assert again - due <= 12.0
