"""`silt.daemon.Turns` and `Turn`: who gets a worker, and for how long."""

from __future__ import annotations

import threading

from hypothesis import given
from hypothesis import strategies as st

from silt.daemon import Turn, Turns


def taken(turns: Turns) -> list[str]:
    """Everybody whose turn it is now."""
    return list(iter(turns.take, None))


def test_no_more_run_than_there_are_workers():
    """The fifth waits until one of four is done."""
    turns = Turns(4)
    turns.know({"a"})
    for number in range(6):
        turns.add(f"s{number}", "a")
    assert taken(turns) == ["s0", "s1", "s2", "s3"]
    assert len(turns) == 2
    turns.done("s1", trouble=False)
    assert taken(turns) == ["s4"]


def test_groups_take_turns():
    """200 streams of one source do not stand before the one of another."""
    turns = Turns(2)
    turns.know({"a", "b"})
    for number in range(200):
        turns.add(f"a{number}", "a")
    turns.add("b0", "b")
    order = []
    for _ in range(4):
        for name in taken(turns):
            order.append(name)
            turns.done(name, trouble=False)
    assert "b0" in order[:3]


def test_one_group_never_has_every_worker():
    """A store that lets each cycle wait for half a minute leaves a worker to the streams of other stores."""
    turns = Turns(4)
    turns.know({"slow", "quick"})
    for number in range(10):
        turns.add(f"slow{number}", "slow")
    assert len(taken(turns)) == 3
    turns.add("quick", "quick")
    assert taken(turns) == ["quick"]


def test_a_group_in_trouble_has_one_worker_until_it_is_over():
    """While a store is gone one stream at a time finds out; when one succeeds all may again."""
    turns = Turns(4)
    turns.know({"gone"})
    turns.add("s0", "gone")
    assert taken(turns) == ["s0"]
    turns.done("s0", trouble=True)
    for number in range(1, 5):
        turns.add(f"s{number}", "gone")
    assert taken(turns) == ["s1"]
    turns.done("s1", trouble=False)
    assert taken(turns) == ["s2", "s3", "s4"]


def test_who_left_is_not_taken():
    """A stream that an edit removes while it waits gets no turn."""
    turns = Turns(1)
    turns.add("a", "g")
    turns.add("b", "g")
    assert turns.remove("a")
    assert not turns.remove("a")
    assert taken(turns) == ["b"]


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=60),
    st.integers(min_value=1, max_value=5),
)
def test_everybody_gets_a_turn_and_nobody_two(comings, workers):
    """Whatever the groups, troubles and workers: each that came is taken exactly once, and it ends."""
    turns = Turns(workers)
    turns.know(set("abc"))
    fates = {}
    for number, (group, trouble) in enumerate(comings):
        fates[f"{group}{number}"] = trouble
        turns.add(f"{group}{number}", group)
    order: list[str] = []
    while len(turns):
        now = taken(turns)
        assert 0 < len(now) <= workers
        order += now
        for name in now:
            turns.done(name, trouble=fates[name])
    assert sorted(order) == sorted(fates)


def test_a_turn_is_over_when_others_wait_long_enough():
    """A long load keeps its worker as long as nobody else wants one."""
    waiting = [False]
    turn = Turn(threading.Event(), lambda: waiting[0], seconds=0.0)
    assert not turn.is_set()
    assert not turn.is_set()
    waiting[0] = True
    assert turn.is_set()


def test_a_turn_begins_with_the_first_question():
    """However long a cycle waited for its table before: it does one batch at least."""
    turn = Turn(threading.Event(), lambda: True, seconds=0.0)
    assert not turn.is_set()
    assert turn.is_set()


def test_a_turn_ends_with_the_daemon_or_its_stream():
    """A signal, and an edit of the stream, end it after the batch under way."""
    stop = threading.Event()
    turn, other = Turn(stop, lambda: False), Turn(stop, lambda: False)
    turn.end()
    assert turn.is_set()
    assert not other.is_set()
    stop.set()
    assert other.is_set()
    assert other.wait(60)
