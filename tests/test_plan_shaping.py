"""What a position remembers of the settings that gave its rows their form, without any database."""

from __future__ import annotations

from dataclasses import replace

from silt.errors import Secret
from silt.plan.shaping import older, shaped
from silt.position import Position, decode, encode
from silt.shapes import Extract, Field, Mask, Table

PLAIN = Extract(table=Table(name="t"), fields=(Field(name="v", type="string", source="v"),), order=None)


def masked(**how: object) -> Extract:
    mask = Mask(kind="sha256", **{"salt": Secret("a"), **how})  # type: ignore[arg-type]
    return replace(PLAIN, fields=(Field(name="v", type="string", source="v", mask=mask),))


def after(position: Position, extract: Extract, rows: int) -> Position:
    """The position once `rows` have been written under the settings of `extract`."""
    made = replace(position, shaped=shaped(position, extract), written=position.written + rows)
    again = decode(encode(made))
    assert again == made
    return again


def test_an_edit_counts_the_rows_before_it_until_the_next() -> None:
    """Every edit of a setting begins a new count; what never changed is never mentioned."""
    position = after(Position(definition=("rowid", "/")), PLAIN, 10)
    assert older(position, PLAIN) == {}
    assert older(position, masked()) == {"this mask of column v": 10}
    position = after(after(position, masked(), 5), masked(), 5)
    assert older(position, masked()) == {"this mask of column v": 10}
    assert older(position, masked(salt=Secret("b"))) == {"this mask of column v": 20}
    assert older(position, PLAIN) == {"column v lost its mask": 20}
    position = after(position, PLAIN, 1)
    assert older(position, PLAIN) == {"column v lost its mask": 20}
    assert older(position, replace(PLAIN, where="v > 1")) == {
        "column v lost its mask": 20,
        "this `where`": 21,
    }


def test_settings_from_the_start_count_nothing() -> None:
    """A new stream has no rows of before, however it is filtered and masked; nor has one without position."""
    wanted = replace(masked(), where="1")
    assert older(None, wanted) == {}
    assert older(after(Position(definition=("rowid", "/")), wanted, 9), wanted) == {}


def test_a_position_of_before_this_was_recorded_counts_the_rows_it_has_read() -> None:
    """An older silt recorded no settings and no number of rows written."""
    assert older(Position(definition=("rowid", "/"), rows=7), masked()) == {"this mask of column v": 7}


def test_a_position_keeps_no_salt() -> None:
    """A digest of 32 bits tells that a salt changed, not what it is."""
    position = after(Position(definition=("rowid", "/")), masked(salt=Secret("pepper")), 1)
    assert "pepper" not in repr(position)
    assert [len(digest) for _, digest, _ in position.shaped] == [8]
