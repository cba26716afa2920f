"""Manifests that attack: bombs, nests, bytes that are no text, many mistakes; and a large good one."""

from __future__ import annotations

HEAD = "version: 1\nsources: {plant: ./plant.db}\ntargets: {lake: ./lake}\n"

_STREAM = (
    "  t{i}:\n    table: src_{i}\n    cursor: updated_at\n    into: x{i}\n    where: quality > {i}\n"
    "    columns:\n      ts: {{rename: event_time, type: timestamp, format: iso}}\n    tags: [hot, b]\n"
)


def large(streams: int) -> str:
    """A valid manifest, eight lines a stream."""
    return HEAD + "streams:\n" + "".join(_STREAM.format(i=i) for i in range(streams))


def hostile() -> dict[str, bytes]:
    anchors = "".join(
        f"x-{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 10)}]\n" for i in range(9)
    )
    return {
        "alias bomb": f"x-a: &a [{','.join('x' * 10)}]\n{anchors}".encode(),
        "10 MB": b"x-a: " + b"y" * 10_000_000,
        "deep brackets": b"x-a: " + b"[" * 100_000,
        "deep braces": b"x-a: " + b"{a: " * 100_000,
        "deep indentation": "".join(f"{'  ' * i}a:\n" for i in range(2000)).encode(),
        "itself": b"x-a: &a [*a]\n",
        "UTF-16": HEAD.encode("utf-16"),
        "latin-1": b"name: caf\xe9\n",
        "NUL": b"version: 1\0\n",
        "a SQLite file": b"SQLite format 3\0\x10\0\x01\x01\0@  \0\0",
        "digits": b"version: " + b"9" * 100_000,
        "bomb of maps": _bomb("{" + ",".join(f"k{i}: *%s" for i in range(10)) + "}").encode(),
        "bomb of merges": _merges().encode(),
        "chain of merges": ("x-0: &m0 {a0: 1}\n" + _chain(1500)).encode(),
        "lines of brackets": b"x-a: " + b"[\n" * 100_000,
        "dashes": b"x-a:\n  " + b"- " * 100_000,
        "quotes": b"x-a: " + b"'\"\n" * 100_000,
        "unknown keys": (
            HEAD + "streams: {a: {" + ", ".join(f"wehre{i}: 1" for i in range(20_000)) + "}}"
        ).encode(),
        "duplicate keys": (HEAD + "streams:\n" + "  a:\n" * 40_000).encode(),
        "many mistakes": (
            HEAD + "streams:\n" + "".join(f"  t{i}: {{mode: apend}}\n" for i in range(9_000))
        ).encode(),
        "time zones": (HEAD + "streams:\n" + "".join(_zoned(i) for i in range(1_000))).encode(),
        "open variables": (HEAD + "streams: {a: {where: '" + "${A:-" * 50_000 + "'}}").encode(),
    }


def _bomb(form: str) -> str:
    """Nine anchors, each of which uses the one before ten times; `form` says how."""
    lines = [f"x-{chr(98 + i)}: &{chr(98 + i)} {form.replace('%s', chr(97 + i))}\n" for i in range(9)]
    return "x-a: &a {b: 1}\n" + "".join(lines)


def _merges() -> str:
    """Maps that each merge the ten before, over and over: 10 to the 60th merges, were they not remembered."""
    lines = []
    for i in range(60):
        before = ", ".join(f"*m{j}" for j in range(max(0, i - 10), i))
        lines.append(f"x-m{i}: &m{i} {{k{i}: 1, <<: [{before}]}}\n")
    return "".join(lines)


def _chain(length: int) -> str:
    return "".join(f"x-{i}: &m{i} {{a{i}: 1, <<: *m{i - 1}}}\n" for i in range(1, length))


def _zoned(i: int) -> str:
    return f"  t{i}: {{columns: {{a: {{timezone: Europ/Berln{i}}}}}}}\n"
