"""Which names a piece of SQL mentions: what its author computes a column of, as far as words tell.

No names that stand for something else: of a function, of a table before its dot, in a text or a remark.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Final

from silt.shapes import ascii_lower

_PIECE: Final = re.compile(
    r"--[^\n]*|/\*.*?(?:\*/|$)|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`(?:[^`]|``)*`|\[[^\]]*\]|[\w$]+|\S",
    re.DOTALL,
)
_NAME: Final = re.compile(r"[^\W\d][\w$]*|[\"`\[].+", re.DOTALL)
_AFTER_LIST: Final = ("from", "where", "group", "having", "window", "union", "intersect", "except",
               "order", "limit")  # fmt: skip
_BEFORE_OPERAND: Final = ("and", "or", "not", "is", "in", "like", "glob", "match", "regexp", "collate",
                   "between", "distinct", "from", "else", "then", "when", "case", "escape")  # fmt: skip
_LAST_OPERATOR: Final = ("end", "isnull", "notnull", "null")


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A value of a select list: the name it gets and those it mentions, folded; `plain` if it is a column."""

    name: str
    mentions: frozenset[str]
    plain: bool


def names(text: str) -> frozenset[str]:
    """The columns that an expression may read, folded."""
    return _mentioned(_pieces(text))


def origins(query: str, column: str) -> frozenset[str]:
    """Every name of the query that the values of a result column may come from, its own too, folded."""
    made = _items(query)
    return _reached(made, {ascii_lower(column), _spelled(_pieces(column))})


def aliases(query: str, column: str) -> frozenset[str]:
    """The names under which the query reads a result column that is a plain one; its own too, folded."""
    plain = [item for item in _items(query) if item.plain]
    return _reached(plain, {ascii_lower(column)})


def _reached(items: Sequence[Item], found: set[str]) -> frozenset[str]:
    while more := {n for i in items if i.name in found for n in i.mentions} - found:
        found |= more
    return frozenset(found)


def _pieces(sql: str) -> list[str]:
    return [ascii_lower(p) for p in _PIECE.findall(sql) if not p.startswith(("--", "/*"))]


def _spelled(pieces: Sequence[str]) -> str:
    """What SQLite calls a computed column without a name, white space left out."""
    return "".join(pieces)


def _mentioned(pieces: Sequence[str]) -> frozenset[str]:
    ahead = (*pieces[1:], "")
    return frozenset(
        _unquoted(a) for a, b in zip(pieces, ahead, strict=True) if b not in (".", "(") and _is_name(a)
    )


def _is_name(piece: str) -> bool:
    return _NAME.fullmatch(piece) is not None


def _unquoted(piece: str) -> str:
    if piece[0] not in "\"`['":
        return piece
    return piece[1:-1].replace(piece[0] * 2, piece[0])


@lru_cache(maxsize=64)
def _items(query: str) -> tuple[Item, ...]:
    """The values of every select list, at any depth."""
    pieces = _pieces(query)
    after = (place + 1 for place, piece in enumerate(pieces) if piece == "select")
    starts = (at + (pieces[at : at + 1] in (["distinct"], ["all"])) for at in after)
    return tuple(_item(listed) for start in starts for listed in _listed(pieces[start:]) if listed)


def _listed(pieces: Sequence[str]) -> Iterator[Sequence[str]]:
    """The select list that begins here, split at its commas."""
    depth = start = 0
    end = len(pieces)
    for place, (before, piece) in enumerate(pairwise(("", *pieces))):
        depth += (piece == "(") - (piece == ")")
        if depth < 0 or (depth == 0 and piece in _AFTER_LIST and before != "distinct"):
            end = place
            break
        if depth == 0 and piece == ",":
            yield pieces[start:place]
            start = place + 1
    yield pieces[start:end]


def _item(pieces: Sequence[str]) -> Item:
    body, name = _named(pieces)
    plain = all(_is_name(p) for p in body[::2]) and all(p == "." for p in body[1::2]) and len(body) % 2 == 1
    if not name:
        name = _unquoted(body[-1]) if plain else _spelled(body)
    return Item(name=name, mentions=_mentioned(body), plain=plain)


def _named(pieces: Sequence[str]) -> tuple[Sequence[str], str]:
    """The value and the name after it, with `as` or without; `` where it has none."""
    if len(pieces) > 2 and pieces[-2] == "as":
        return pieces[:-2], _unquoted(pieces[-1])
    last, before = pieces[-1], pieces[-2] if len(pieces) > 1 else ""
    follows = before == ")" or (re.match(r"[\w\"'`\[]", before) is not None and before not in _BEFORE_OPERAND)
    if follows and last not in _LAST_OPERATOR and (_is_name(last) or last[0] == "'"):
        return pieces[:-1], _unquoted(last)
    return pieces, ""
