"""The verdict on evidence: each row of DESIGN 4.3 and 4.4 as one case, pure."""

from __future__ import annotations

from dataclasses import replace

import pytest

from silt.plan.verdict import GoOn, Hold, ReRead, Restart, Wait, definition, verdict
from silt.position import Position, Witness
from silt.shapes import Evidence, FileIdentity, Order, Sighting

ROWID = Order(kind="rowid", cursor=("id",))
TIES = Order(kind="columns", cursor=("ts",), tie=("key",), rises=False)
PLAIN_ROWID = Order(kind="rowid", cursor=("rowid",), renumbers=True)
FILE = FileIdentity(device=1, inode=2, birth=3)
OTHER = FileIdentity(device=1, inode=9, birth=8)


def position(order: Order = ROWID, **changes) -> Position:
    base = Position(
        definition=definition(order),
        key=(100,) if len(order.columns) == 1 else ("t", 100),
        low=1,
        rows=100,
        machine="m",
        file=(1, 2, 3),
        schema_version=5,
        witnesses=tuple(Witness(key=(k,), hash=k, ordinal=k) for k in (100, 99, 96, 80, 1)),
    )
    return replace(base, **changes)


def evidence(found: str = "mmmmm", **changes) -> Evidence:
    names = {"m": "match", "d": "differs", "a": "absent"}
    keys = (100, 99, 96, 80, 1)
    sightings = tuple(Sighting(key=(k,), found=names[f]) for k, f in zip(keys, found, strict=False))
    base = Evidence(file=FILE, machine="m", schema_version=5, sightings=sightings, high=(100,), low=1)
    return replace(base, **changes)


def judge(evidence: Evidence, position: Position | None, order: Order = ROWID, on_reset="fail", **more):
    return verdict(position, evidence, order, on_reset=on_reset, **more)


def test_the_first_cycle_goes_on() -> None:
    """Without a position there is nothing to compare."""
    assert judge(evidence(""), None) == GoOn()


def test_the_same_source_goes_on() -> None:
    """The last witness matches and none differs."""
    assert judge(evidence(), position()) == GoOn()


@pytest.mark.parametrize("found", ["maaaa", "mdmmm", "mddmm", "mmaaa"])
def test_updates_and_purges_of_old_rows_go_on(found: str) -> None:
    """Rows below the position may be purged, a minority of them updated."""
    assert judge(evidence(found), position()) == GoOn()


@pytest.mark.parametrize(
    ("found", "after"), [("dmmmm", 99), ("ammmm", 99), ("aammm", 96), ("ddmmm", 96), ("dddmm", 80)]
)
def test_a_changed_tail_is_read_again_after_the_highest_match(found: str, after: int) -> None:
    """Update or delete of the last row, or a rewind: only what follows the highest match is in doubt."""
    judged = judge(evidence(found), position())
    assert isinstance(judged, ReRead)
    assert judged.after == (after,)
    assert not judged.at_ties


@pytest.mark.parametrize("found", ["ddddd", "mdddd", "dmddd"])
def test_a_replaced_database_is_not_taken_for_the_same(found: str) -> None:
    """An equal row at the position proves nothing when its elders differ (measured: 99 of 100 lost)."""
    judged = judge(evidence(found, file=OTHER), position())
    assert isinstance(judged, Hold)
    assert judged.rule == "4.4"
    assert isinstance(judge(evidence(found, file=OTHER), position(), on_reset="restart"), Restart)


def test_rows_rewritten_in_place_hold_even_under_restart() -> None:
    """Device, inode and birth time are those recorded: no other database, but other rows."""
    judged = judge(evidence("ddddd"), position(), on_reset="restart")
    assert isinstance(judged, Hold)
    assert "in place" in judged.why


def test_without_a_birth_time_a_replacement_cannot_be_told() -> None:
    """ext4 gives a re-created file the old inode (10 of 10); then only a birth time tells."""
    nameless = FileIdentity(device=1, inode=2, birth=None)
    judged = judge(evidence("ddddd", file=nameless), position(), on_reset="restart")
    assert isinstance(judged, Hold)
    assert "birth" in judged.why


def test_another_machine_with_other_rows_holds() -> None:
    """Two machines that share one node would each undo the other."""
    judged = judge(evidence("ddddd", file=OTHER, machine="else"), position(), on_reset="restart")
    assert isinstance(judged, Hold)
    assert "machine" in judged.why


def test_another_machine_with_the_same_rows_goes_on() -> None:
    """A moved disk is no identity change."""
    assert judge(evidence(machine="else", file=OTHER), position()) == GoOn()


@pytest.mark.parametrize("facts", [{"sequence_passed": True}, {"all_past": True}])
def test_a_purge_is_recognised(facts: dict) -> None:
    """No witness is there, but AUTOINCREMENT remembers, or every row left lies past the position."""
    judged = judge(evidence("aaaaa", low=101, **facts), position())
    assert isinstance(judged, GoOn)
    assert "purged" in judged.note


def test_rows_that_begin_again_below_the_position_hold() -> None:
    """No witness, a sequence that begins anew: another database behind the path."""
    judged = judge(evidence("aaaaa", file=OTHER), position())
    assert isinstance(judged, Hold)


def test_an_emptied_table_waits_for_a_row() -> None:
    """The next row tells whether it is the same table."""
    assert isinstance(judge(evidence("", empty=True, high=None, low=None), position()), Wait)


def test_an_emptied_table_that_counts_on_goes_on() -> None:
    """DELETE FROM t under AUTOINCREMENT: ids never return."""
    assert isinstance(
        judge(evidence("", empty=True, high=None, low=None, sequence_passed=True), position()), GoOn
    )


def test_a_rowid_below_the_minimum_holds() -> None:
    """It came in behind the position and would be lost."""
    judged = judge(evidence(low=-3), position())
    assert isinstance(judged, Hold)
    assert judged.rule == "4.3"
    assert "-3" in judged.why


def test_the_greatest_rowid_holds() -> None:
    """From 2^63-1 on SQLite picks rowids at random."""
    assert isinstance(judge(evidence(exhausted=True), position()), Hold)


def test_a_stray_cursor_value_holds() -> None:
    """Another storage class or format sorts elsewhere."""
    assert isinstance(
        judge(evidence(stray="cursor ts holds a value of class integer among texts"), None), Hold
    )


def test_null_cursors_hold_unless_included() -> None:
    """`(ts, id) > (NULL, 3)` is never true: they would never be read."""
    assert isinstance(judge(evidence(nulls=4), None, TIES), Hold)
    assert judge(evidence(nulls=4), None, TIES, include_nulls=True) == GoOn()


def test_another_cursor_than_the_recorded_one_holds() -> None:
    """`auto` never flips under a position."""
    judged = judge(evidence(), position(), TIES)
    assert isinstance(judged, Hold)
    assert judged.rule == "4.1"


def test_changed_ties_are_read_again_by_key() -> None:
    """Where the tie-breaker does not rise, rows at the position's cursor value may come in behind it."""
    at = position(TIES, ties=(2, 77))
    assert judge(evidence(ties=(2, 77)), at, TIES) == GoOn()
    judged = judge(evidence(ties=(3, 99)), at, TIES)
    assert isinstance(judged, ReRead)
    assert judged.at_ties


def test_renumbered_rowids_hold() -> None:
    """VACUUM raised schema_version and a witness is gone from its rowid."""
    assert isinstance(judge(evidence("ammmm", schema_version=6), position(PLAIN_ROWID), PLAIN_ROWID), Hold)


def test_a_schema_change_without_renumbering_goes_on() -> None:
    """ADD COLUMN raises schema_version too; every witness stands where it stood."""
    assert judge(evidence(schema_version=6), position(PLAIN_ROWID), PLAIN_ROWID) == GoOn()


def test_renumbered_tie_breakers_are_rebased_when_the_ties_are_the_same() -> None:
    """The cursor value orders; the rows at it are the same by content, under new rowids."""
    order = Order(kind="columns", cursor=("ts",), tie=("rowid",), rises=True, renumbers=True)
    judged = judge(evidence("aaaaa", schema_version=6, ties=(2, 7)), position(order, ties=(2, 7)), order)
    assert isinstance(judged, GoOn)
    assert judged.rebase
    judged = judge(evidence("aaaaa", schema_version=6, ties=(3, 8)), position(order, ties=(2, 7)), order)
    assert isinstance(judged, Hold)
