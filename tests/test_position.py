"""Positions: names, packing into transactions, encoding, choosing witnesses (DESIGN 4.1, 4.4)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from silt.errors import Held
from silt.position import (
    App,
    Position,
    Witness,
    app_id,
    choose_witnesses,
    decode,
    encode,
    pack,
    parse_app,
    unpack,
)

names = st.one_of(st.text(min_size=1, max_size=12), st.text("a/#%2F", min_size=1, max_size=6))
values = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(max_size=20),
    st.binary(max_size=20),
)
keys = st.lists(values, min_size=1, max_size=3).map(tuple)
witnesses = st.builds(Witness, key=keys, hash=st.integers(0, 2**32 - 1), ordinal=st.integers(0, 10**9))
positions = st.builds(
    Position,
    definition=st.lists(names, min_size=1, max_size=4).map(tuple),
    key=st.none() | keys,
    nulls=st.none() | st.integers(0, 2**62),
    low=st.none() | st.integers(-(2**63), 2**63 - 1),
    rows=st.integers(0, 2**40),
    nonce=names,
    built_on=st.integers(-1, 2**31),
    ties=st.none() | st.tuples(st.integers(0, 99), st.integers(0, 2**64 - 1)),
    witnesses=st.lists(witnesses, max_size=8).map(tuple),
    witness_columns=st.lists(names, max_size=4).map(tuple),
    file=st.none() | st.tuples(st.integers(0, 9), st.integers(0, 2**40), st.none() | st.integers(0, 2**62)),
    machine=names,
    digest=names,
)


@given(positions)
def test_a_position_comes_back_as_it_went(position: Position) -> None:
    """Encoding loses nothing: classes of values, reals to the bit, order."""
    assert decode(encode(position)) == position


@given(st.binary(max_size=300), st.integers(1, 2**40))
def test_packing_is_reversible(payload: bytes, batch: int) -> None:
    """Any payload comes back from signed 64-bit integers, with its batch number."""
    txns = pack("app", batch, payload)
    assert all(-(2**63) <= number < 2**63 for _, number in txns)
    assert unpack(dict(txns), "app") == (batch, payload)


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_a_shorter_position_leaves_old_chunks_behind_unharmed(first: bytes, second: bytes) -> None:
    """The length in chunk 0 tells how many chunks count; transactions are never removed."""
    left = {**dict(pack("app", 1, first)), **dict(pack("app", 2, second))}
    assert unpack(left, "app") == (2, second)


def test_no_transaction_is_no_position() -> None:
    """An app that never committed is at batch 0."""
    assert unpack({}, "app") == (0, b"")


@pytest.mark.parametrize("damage", ["missing", "changed"])
def test_a_damaged_position_holds(damage: str) -> None:
    """A chunk that is gone or altered is told, never read as another position."""
    txns = dict(pack("app", 3, b"a payload of several chunks"))
    if damage == "missing":
        del txns["app#2"]
    else:
        txns["app#2"] ^= 1
    with pytest.raises(Held) as caught:
        unpack(txns, "app")
    assert caught.value.rule == "4.1"


def test_a_newer_format_holds() -> None:
    """A position that a newer silt wrote is not guessed at."""
    import json
    import zlib

    with pytest.raises(Held, match="format 2"):
        decode(zlib.compress(json.dumps({"format": 2}).encode()))


def test_an_empty_payload_is_no_position() -> None:
    """After a reset the batch number stands and the position is empty."""
    assert decode(b"") is None


@given(names, names, names, names)
def test_names_are_reversible_and_never_look_like_chunks(m: str, n: str, s: str, d: str) -> None:
    """Each part is percent-encoded: slashes and # in a name cannot shift the parts."""
    app = app_id(manifest=m, node=n, stream=s, database=d)
    assert parse_app(app) == App(manifest=m, node=n, stream=s, database=d)
    assert "#" not in app
    assert parse_app(f"{app}#0") is None


def test_foreign_transactions_are_not_ours() -> None:
    """Structured Streaming and others keep transactions in the same table."""
    assert parse_app("d4f0-query-id") is None


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=60, unique=True))
def test_witnesses_keep_the_newest_and_the_oldest(ordinals: list[int]) -> None:
    """At most eight, newest first, the newest and the oldest always among them."""
    pool = [Witness(key=(o,), hash=o, ordinal=o) for o in ordinals]
    chosen = choose_witnesses(pool, max(ordinals))
    assert len(chosen) <= 8
    assert [w.ordinal for w in chosen] == sorted((w.ordinal for w in chosen), reverse=True)
    assert chosen[0].ordinal == max(ordinals)
    assert chosen[-1].ordinal == min(ordinals)


def test_witnesses_stand_at_growing_distances() -> None:
    """Over many small batches the carried witnesses spread over the whole past."""
    kept: tuple[Witness, ...] = ()
    for last in range(1, 5000):
        kept = choose_witnesses((*kept, Witness(key=(last,), hash=0, ordinal=last)), last)
    distances = [4999 - w.ordinal for w in kept]
    assert distances[0] == 0
    assert distances[-1] == 4998
    assert len(distances) >= 6
    assert sum(d < 600 for d in distances) >= 3
