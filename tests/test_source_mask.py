"""What each mask makes of each value, on arrays and in SQL."""

from __future__ import annotations

import hashlib
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy as sa
from kit import sql

from silt.errors import Secret
from silt.shapes import Mask
from silt.source.mask import canonical, masked
from silt.source.open import connect


def sha(text: str, salt: str = "pepper") -> str:
    return hashlib.sha256((salt + text).encode()).hexdigest()


SHA = Mask(kind="sha256", salt=Secret("pepper"))


def test_sha256_is_over_the_salt_and_the_text() -> None:
    """`sha256(salt || text)` in lower hexadecimal, as any other system computes it; NULL stays NULL."""
    texts = ["ann@example.com", None, "", "日本", "ann@example.com"]
    made = masked(pa.array(texts, pa.string()), SHA)
    assert made.type == pa.string()
    assert made.to_pylist() == [None if t is None else sha(t) for t in texts]
    sliced = pa.array(["x", *texts, "y"], pa.string()).slice(1, 5)
    assert masked(sliced, SHA).equals(made)
    assert masked(pa.array([], pa.string()), SHA).to_pylist() == []
    assert masked(pa.array([None], pa.string()), SHA).to_pylist() == [None]


def test_sha256_takes_bytes_that_are_no_text() -> None:
    """A text that is not UTF-8 is no misfit under sha256: its bytes are hashed."""
    raw = pa.array([b"\xff\xfe"], pa.binary())
    broken = pa.Array.from_buffers(pa.string(), 1, raw.buffers())
    assert masked(broken, SHA).to_pylist() == [hashlib.sha256(b"pepper\xff\xfe").hexdigest()]


@pytest.mark.parametrize(
    ("literal", "text"),
    [
        ("'42'", "42"),
        ("42", "42"),
        ("42.0", "42"),
        ("-0.0", "0"),
        ("0.5", "0.5"),
        ("9007199254740992.0", "9007199254740992"),
        ("9223372036854775807", "9223372036854775807"),
        ("1e100", "1.0e+100"),
        ("9e999", "9.0e+999"),
        ("x'00ff'", "x'00FF'"),
        ("'a' || char(0) || 'b'", "a\0b"),
        ("NULL", None),
    ],
)
def test_one_value_is_one_text_whatever_its_type(tmp_path: Path, literal: str, text: str | None) -> None:
    """An id hashes alike where one table declares it INTEGER, another REAL or TEXT."""
    sql(tmp_path / "a.db", f"CREATE TABLE t AS SELECT {literal} AS v")
    with connect(str(tmp_path / "a.db"), busy_timeout=1.0) as connection:
        table = sa.table("t", sa.column("v"))
        assert connection.rows(sa.select(canonical(table.c.v).label("v"))) == [(text,)]


@pytest.mark.parametrize(
    ("array", "how", "expected"),
    [
        (pa.array(["日本語文", "ab", "", None]), {"length": 3}, ["日本語", "ab", "", None]),
        (pa.array(["12345"]), {"length": 1}, ["1"]),
        (
            pa.array([datetime(1969, 12, 31, 23, 59, 59, 1, tzinfo=UTC), None], pa.timestamp("us", "UTC")),
            {},
            [datetime(1969, 12, 31, tzinfo=UTC), None],
        ),
        (pa.array([date(1980, 5, 17), None]), {}, [date(1980, 5, 1), None]),
    ],
)
def test_truncate(array: pa.Array, how: dict[str, int], expected: list[Any]) -> None:
    """A text keeps its first characters, an instant its day in UTC, a date its month."""
    made = masked(array, Mask(kind="truncate", **how))
    assert (made.to_pylist(), made.type) == (expected, array.type)


@pytest.mark.parametrize(
    ("array", "digits", "expected"),
    [
        (pa.array([52.520006, -0.005, 1.005, 1e300, None]), 2, [52.52, -0.01, 1.0, 1e300, None]),
        (pa.array([52.5, -1.5]), 0, [53.0, -2.0]),
        (pa.array([1499, 1500, -1500]), -3, [1000, 2000, -2000]),
        (pa.array([127], pa.int8()), -1, None),
        (pa.array([2**63 - 1]), -3, None),
        (pa.array([Decimal("1.235"), Decimal("-1.235")], pa.decimal128(5, 3)), 2, ["1.240", "-1.240"]),
        (pa.array([Decimal("9.999")], pa.decimal128(4, 3)), 2, None),
    ],
)
def test_round(array: pa.Array, digits: int, expected: list[Any] | None) -> None:
    """Halves go away from zero; what its type cannot hold any more raises."""
    mask = Mask(kind="round", digits=digits)
    if expected is None:
        with pytest.raises(pa.ArrowInvalid):
            masked(array, mask)
        return
    made = masked(array, mask)
    assert [str(v) if isinstance(v, Decimal) else v for v in made.to_pylist()] == expected
    assert made.type == array.type


def test_a_mask_never_prints_its_salt() -> None:
    """A repr of anything that holds the mask shows no secret."""
    assert "pepper" not in repr(SHA)
