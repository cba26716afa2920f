"""Masks: what a column's values become before a batch leaves the source (DESIGN 3, privacy).

`sha256` and `redact` begin in SQL: the one reads a canonical text (`canonical`), whatever the class of
the value, the other no value at all.  `truncate` and `round` work on values of the lake's type.  NULL
stays NULL under every mask.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa
from sqlalchemy.sql.elements import ColumnElement

from silt import types

if TYPE_CHECKING:
    from silt.shapes import Field, Mask

REDACTED: Final = "[REDACTED]"
_DIGEST: Final = 64
"""Hexadecimal digits of a SHA-256."""


def in_sql(value: ColumnElement[Any], field: Field) -> ColumnElement[Any] | None:
    """The text that is read in place of `value`; None where the mask needs the value itself."""
    match field.mask and field.mask.kind:
        case "sha256":
            return canonical(value)
        case "redact":
            return sa.case((value.is_not(None), sa.literal_column(f"'{REDACTED}'")))
        case _:
            return None


def canonical(value: ColumnElement[Any]) -> ColumnElement[Any]:
    """A value as the text that is hashed, the same whatever type a column declares.

    A text is itself; an integer its decimal digits; a real that is a whole number up to 2^53 is that
    integer, any other as SQLite's `quote` spells it (`0.5`, `1.0e+100`); a blob is x'HEX' in capitals.
    """
    kind = sa.func.typeof(value)
    whole = sa.cast(value, sa.BIGINT())
    is_whole = sa.and_(
        sa.func.abs(value) <= sa.literal_column(f"{types.EXACT}.0"), value == sa.cast(whole, sa.REAL())
    )
    blob = sa.literal_column("'x'''").concat(sa.func.hex(value)).concat(sa.literal_column("''''"))
    return sa.case(
        (kind == sa.literal_column("'blob'"), blob),
        (
            kind == sa.literal_column("'real'"),
            sa.case((is_whole, sa.cast(whole, sa.TEXT())), else_=sa.func.quote(value)),
        ),
        else_=sa.cast(value, sa.TEXT()),
    )


def masked(made: pa.Array, mask: Mask) -> pa.Array:
    """`made`, values of the lake's type (for sha256: the canonical texts), masked; the type stays.

    Raises `pa.ArrowInvalid` where a whole number cannot be rounded within its type.
    """
    match mask.kind:
        case "sha256":
            return _hashed(made, mask.salt.reveal().encode() if mask.salt else b"")
        case "truncate":
            return _truncated(made, mask.length)
        case "round":
            return pc.round(made, ndigits=mask.digits, round_mode="half_towards_infinity")
        case _:
            return made


def _hashed(texts: pa.Array, salt: bytes) -> pa.Array:
    """Lower hexadecimal SHA-256 over the salt and a text's UTF-8 bytes; each distinct text is hashed once.

    Bytes that are no UTF-8 are hashed as they are.
    """
    distinct = texts.view(pa.binary()).dictionary_encode()
    seeded = hashlib.sha256(salt)
    digests = bytearray()
    for value in distinct.dictionary.to_pylist():
        one = seeded.copy()
        one.update(value)
        digests += one.digest()
    fixed = pa.binary(_DIGEST)
    spelled = pa.Array.from_buffers(
        fixed, len(distinct.dictionary), [None, pa.py_buffer(digests.hex().encode())]
    )
    return spelled.cast(pa.binary()).cast(pa.string()).take(distinct.indices)


def _truncated(made: pa.Array, length: int) -> pa.Array:
    """A text's first characters, an instant's day in UTC, a date's month."""
    if pa.types.is_string(made.type):
        return pc.utf8_slice_codeunits(made, 0, length)
    return pc.floor_temporal(made, unit="month" if pa.types.is_date(made.type) else "day")
