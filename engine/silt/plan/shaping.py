"""Which settings gave the rows their form: the filter, expressions and masks, remembered by a position.

An edit of one holds for rows to come (DESIGN 3, privacy): nothing is held, and `plan` says how many rows
in the lake are of the form before.
"""

from __future__ import annotations

import hashlib

from silt.position import Position
from silt.shapes import Extract, Field, Mask

Shaped = tuple[str, str, int]
"""A setting, a digest of it, and how many rows of the slice were written before it was so."""


def shaped(position: Position | None, extract: Extract) -> tuple[Shaped, ...]:
    """What the next position remembers: each setting as it is now; one that is gone has the digest ``."""
    known = {name: (digest, before) for name, digest, before in position.shaped} if position else {}
    written = (position.written or position.rows) if position else 0
    now = _settings(extract)
    names = dict.fromkeys((*known, *now))
    found = [(name, now.get(name, ""), known.get(name, ("", 0))) for name in names]
    return tuple((name, is_, before if is_ == was else written) for name, is_, (was, before) in found)


def older(position: Position | None, extract: Extract) -> dict[str, int]:
    """Sentences about settings, each beginning after "rows in the lake were written before": their rows."""
    return {_said(name, digest): before for name, digest, before in shaped(position, extract) if before}


def _settings(extract: Extract) -> dict[str, str]:
    found = {"where": extract.where} if extract.where is not None else {}
    for field in extract.fields:
        found |= {f"{field.name}.{kind}": text for kind, text in _of_field(field) if text is not None}
    return {name: hashlib.blake2b(text.encode(), digest_size=4).hexdigest() for name, text in found.items()}


def _of_field(field: Field) -> tuple[tuple[str, str | None], ...]:
    return ("expr", field.expr), ("mask", None if field.mask is None else _spelled(field.mask))


def _spelled(mask: Mask) -> str:
    """All of it as one text, the salt too: rows hashed with two salts do not join."""
    salt = mask.salt.reveal() if mask.salt is not None else ""
    return "\0".join((mask.kind, str(mask.digits), str(mask.length), salt))


def _said(name: str, digest: str) -> str:
    column, _, kind = name.rpartition(".")
    if not column:
        return "this `where`" if digest else "`where` was taken away"
    return f"this {kind} of column {column}" if digest else f"column {column} lost its {kind}"
