"""How far one (stream, database) has been replicated, and how that fits into Delta `txn` actions.

DESIGN 4.1: each commit carries `<app>` = batch number and `<app>#0..n` = the position, packed
reversibly into signed 64-bit integers.  Chunk 0 begins with the length and a checksum, because a
shorter position leaves the chunks of a longer one behind it.
"""

from __future__ import annotations

import json
import secrets
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any
from urllib.parse import quote, unquote

from silt.errors import Held

FORMAT = 1
_CHUNK = 8

Value = int | float | str | bytes | None
Key = tuple[Value, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """A replicated row remembered: its key, a 32-bit hash of its content, its ordinal in the slice."""

    key: Key
    hash: int
    ordinal: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """All that a later cycle needs to go on exactly here (DESIGN 4.1 lists the fields).

    `key` is None before the first row (and after a reset); `nulls` is the last rowid among NULL
    cursors where `on_null: include` keeps two positions, `null_hash` that row's content.  `built_on`
    is the table version that the batch was built on.  `definition` pins the cursor: its kind, columns
    and tie-breaker.  `digest` is the content of an overwritten slice.  `rows` counts rows read by this
    incarnation.
    `ties` is (how many, sum of key hashes) of the rows at the position's cursor value up to its key;
    `slice` names the lineage columns that tell the slice's rows from others' (None: not recorded);
    `file` is (device, inode, birth time in nanoseconds or None); `formats` are (source column, format)
    by which instants were read, so that another sample of values reads them no other way.
    `written` counts rows written to the slice; `shaped` are (setting, digest, rows written before it) of
    what gave them their form: `where`, `<column>.expr`, `<column>.mask` (`plan.shaping`).
    Of an aggregate `key` is the end of its last window, as ISO text; `seen` the greatest rowid that was
    there then (`counted`, where a table has no INTEGER PRIMARY KEY or its ids do not rise one by one: how
    many rows lay before that end), so that a late row is counted once; `late` is how many there were;
    `spelled` the one format that all texts of its time have had, '' once there were several.
    Of a merge `swept` is when its keys were last compared with the source's, in milliseconds since 1970.
    """

    definition: tuple[str, ...]
    key: Key | None = None
    nulls: int | None = None
    null_hash: int | None = None
    low: int | None = None
    rows: int = 0
    nonce: str = ""
    built_on: int = -1
    incarnation: int = 0
    schema_version: int | None = None
    ties: tuple[int, int] | None = None
    witnesses: tuple[Witness, ...] = ()
    witness_columns: tuple[str, ...] = ()
    file: tuple[int, int, int | None] | None = None
    machine: str = ""
    digest: str = ""
    slice: tuple[str, ...] | None = None
    written: int = 0
    shaped: tuple[tuple[str, str, int], ...] = ()
    committed_at: int = 0
    formats: tuple[tuple[str, str], ...] = ()
    seen: int | None = None
    counted: int | None = None
    late: int = 0
    spelled: str | None = None
    swept: int = 0


def nonce() -> str:
    """A random 64-bit name for a batch, so that "batch b+1 is there" can be told from "it was mine"."""
    return secrets.token_hex(8)


# --- names ----------------------------------------------------------------------------------------


def app_id(*, manifest: str, node: str, stream: str, database: str) -> str:
    """The transaction id of a (stream, database): each part percent-encoded, joined by `/`."""
    return "/".join(["silt", *(quote(part, safe="") for part in (manifest, node, stream, database))])


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """The parts of a transaction id of silt's."""

    manifest: str
    node: str
    stream: str
    database: str


def parse_app(app: str) -> App | None:
    """The parts of `app`; None where it is not silt's, or is a chunk."""
    parts = app.split("/")
    if len(parts) != 5 or parts[0] != "silt" or "#" in app:
        return None
    manifest, node, stream, database = (unquote(part) for part in parts[1:])
    return App(manifest=manifest, node=node, stream=stream, database=database)


# --- bytes to integers ----------------------------------------------------------------------------


def pack(app: str, batch: int, payload: bytes) -> tuple[tuple[str, int], ...]:
    """`payload` as transactions of `app`, the batch number first.

    Chunk 0 holds the length and the CRC-32 of the payload, 4 bytes each, big-endian.
    """
    head = len(payload).to_bytes(4, "big") + zlib.crc32(payload).to_bytes(4, "big")
    body = head + payload + b"\0" * (-len(payload) % _CHUNK)
    chunks = (body[i : i + _CHUNK] for i in range(0, len(body), _CHUNK))
    numbered = ((f"{app}#{i}", int.from_bytes(c, "big", signed=True)) for i, c in enumerate(chunks))
    return ((app, batch), *numbered)


def unpack(txns: Mapping[str, int], app: str) -> tuple[int, bytes]:
    """The batch number of `app` and its payload: (0, b"") where there is none.

    Raises `Held` when the chunks do not make the payload that was packed.
    """
    batch = txns.get(app, 0)
    if not batch:
        return 0, b""
    head = _chunk(txns, app, 0)
    length = int.from_bytes(head[:4], "big")
    count = (length + _CHUNK - 1) // _CHUNK
    payload = b"".join(_chunk(txns, app, i + 1) for i in range(count))[:length]
    if zlib.crc32(payload) != int.from_bytes(head[4:], "big"):
        raise _damaged(app, "its checksum does not fit")
    return batch, payload


def _chunk(txns: Mapping[str, int], app: str, index: int) -> bytes:
    number = txns.get(f"{app}#{index}")
    if number is None:
        raise _damaged(app, f"chunk {index} is missing")
    return number.to_bytes(_CHUNK, "big", signed=True)


def _damaged(app: str, why: str) -> Held:
    return Held(
        "the position in the table cannot be read",
        rule="4.1",
        on=app,
        why=why,
        hint="silt reset rebuilds the slice",
    )


# --- positions to bytes ---------------------------------------------------------------------------


def encode(position: Position) -> bytes:
    """`position` as bytes; fields at their default are left out."""
    blank = Position(definition=())
    named = ((f.name, getattr(position, f.name)) for f in fields(position))
    written = {name: _plain(value) for name, value in named if value != getattr(blank, name)}
    text = json.dumps({"format": FORMAT, **written}, separators=(",", ":"))
    return zlib.compress(text.encode(), 9)


def decode(payload: bytes) -> Position | None:
    """The position in `payload`; None for an empty one (after a reset).

    Raises `Held` for a format that a newer silt wrote.
    """
    if not payload:
        return None
    data = json.loads(zlib.decompress(payload))
    written = data.pop("format")
    if written != FORMAT:
        raise Held(
            f"the position was written in format {written}, this silt reads format {FORMAT}",
            rule="4.1",
            hint="run the newer silt that wrote it",
        )
    return Position(**_revive(data))


def _plain(value: object) -> object:
    match value:
        case Witness():
            return [_plain(value.key), value.hash, value.ordinal]
        case tuple():
            return [_plain(item) for item in value]
        case float():
            return {"r": value.hex()}
        case bytes():
            return {"x": value.hex()}
        case _:
            return value


def _revive(data: dict[str, Any]) -> dict[str, Any]:
    shapes: dict[str, Callable[[Any], object]] = {
        "definition": _texts,
        "witness_columns": _texts,
        "slice": _texts,
        "key": _key,
        "witnesses": lambda items: tuple(
            Witness(key=_key(key), hash=digest, ordinal=ordinal) for key, digest, ordinal in items
        ),
        "formats": lambda items: tuple((name, form) for name, form in items),
        "ties": tuple,
        "shaped": lambda items: tuple((name, digest, rows) for name, digest, rows in items),
        "file": tuple,
    }
    return {name: shapes[name](value) if name in shapes else value for name, value in data.items()}


def _texts(items: Iterable[str]) -> tuple[str, ...]:
    return tuple(items)


def _key(items: Iterable[object]) -> Key:
    return tuple(_value(item) for item in items)


def _value(item: object) -> Value:
    match item:
        case {"r": str(text)}:
            return float.fromhex(text)
        case {"x": str(text)}:
            return bytes.fromhex(text)
        case _:
            return item  # type: ignore[return-value]  # json gives int, str or None here


# --- choosing witnesses ---------------------------------------------------------------------------

MAX_WITNESSES = 8


def choose_witnesses(pool: Iterable[Witness], last: int) -> tuple[Witness, ...]:
    """At most 8 of `pool`, newest first: the last row, then at doubling distances, always the oldest.

    `last` is the ordinal of the newest row.  DESIGN 4.4.
    """
    newest_first = sorted({w.ordinal: w for w in pool}.values(), key=lambda w: -w.ordinal)
    if len(newest_first) <= MAX_WITNESSES:
        return tuple(newest_first)
    steps = MAX_WITNESSES - 1
    ratio = max(last - newest_first[-1].ordinal, 2) ** (1 / steps)
    wanted = [0.0, *(ratio**step for step in range(1, steps))]
    nearest = [min(newest_first, key=lambda w: abs(last - w.ordinal - distance)) for distance in wanted]
    picked = dict.fromkeys([*nearest, newest_first[-1]])
    return tuple(sorted(picked, key=lambda w: -w.ordinal))


def advanced(position: Position, **changes: object) -> Position:
    """`position` with `changes` and a nonce of its own: a new batch."""
    return replace(position, nonce=nonce(), **changes)  # type: ignore[arg-type]  # fields by name
