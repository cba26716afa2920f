"""Source lines for messages, with what may be a secret blotted out (DESIGN 3: redacted everywhere).

A problem prints the line it is on, and that line may hold a credential written in plain.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from silt.manifest.options import holds_secret, is_option
from silt.manifest.words import KEYS

_HARMLESS = frozenset({*KEYS, "primary_key", "unique_key", "sort_key", "merge_key", "key", "keys"})
_PAIR = re.compile(r"""([\w.-]+)["']?\s*:(?:\s+|$)""")
_TIGHT = re.compile(r"""\s*(?:-\s+)*["']?([\w.-]+)["']?:(?=\S)""")
_KEY = re.compile(r"""\s*["']?[\w.*-]+["']?\s*:(?:\s|$)""")
_REFERENCE = re.compile(r"\$\{(secret:\w+:[^}]*|\w+(:\?[^}]*)?)\}\Z")

Blot = tuple[int, int, int, str]
"""Line, column and key column of a value, from 1; and its text."""


def is_sensitive(path: tuple[str | int, ...]) -> bool:
    """True where a value's key is named like a secret.

    The name of a source or target is no key, unless it is that of a storage option: one that was
    indented too little.
    """
    names = [part for part in path if isinstance(part, str)]
    is_name = len(path) == 2 and path[0] in ("sources", "targets") and not is_option(names[-1])
    return bool(names) and not is_name and _sensitive_key(names[-1])


def blotted(lines: tuple[str, ...], blots: Iterable[Blot]) -> tuple[str, ...]:
    """`lines` with each value in `blots` replaced by as many `*`; a bare reference, `${NAME}`, stays."""
    changed = list(lines)
    for line, column, key_column, text in blots:
        if not (_REFERENCE.match(text) and ":-" not in text):
            _blot(changed, line - 1, column - 1, key_column - 1, text)
    return tuple(changed)


def guessed(lines: tuple[str, ...]) -> tuple[str, ...]:
    """`lines` of a text that is no YAML: blotted from a key named like a secret to the line's end.

    What may be the rest of its value, up to the next line that holds a key no deeper, is blotted too.
    """
    safe: list[str] = []
    inside: int | None = None
    for line in lines:
        indent = len(line) - len(line.lstrip())
        if inside is not None and (indent > inside or not _KEY.match(line)):
            safe.append("*" * len(line))
            continue
        secret = _secret_in(line)
        inside = None if secret is None else indent
        safe.append(line if secret is None else line[:secret] + "*" * (len(line) - secret))
    return tuple(safe)


def _sensitive_key(key: str) -> bool:
    return holds_secret(key) and key.lower() not in _HARMLESS


def _blot(lines: list[str], index: int, column: int, indent: int, text: str) -> None:
    line = lines[index]
    found = line.find(text, column) if text and "\n" not in text else -1
    if found >= 0:
        lines[index] = line[:found] + "*" * len(text) + line[found + len(text) :]
        return
    lines[index] = line[:column] + "*" * len(line[column:])
    for below in range(index + 1, len(lines)):
        inside = lines[below].strip()
        if inside and len(lines[below]) - len(lines[below].lstrip()) <= indent:
            break
        lines[below] = "*" * len(lines[below])


def tight_secret(text: str) -> int | None:
    """Where the value begins in `password:hunter2`, which is one word to YAML; None in any other text."""
    tight = _TIGHT.match(text)
    return tight.end() if tight and _sensitive_key(tight[1]) else None


def _secret_in(line: str) -> int | None:
    """Where the value of a key named like a secret begins; at a line's start also without its space."""
    tight = tight_secret(line)
    return tight or next((pair.end() for pair in _PAIR.finditer(line) if _sensitive_key(pair[1])), None)


def plain_uri(uri: str) -> str:
    """`uri` without what may be a secret: user and password, query string."""
    if "://" not in uri:
        return uri
    head = re.split(r"[?#]", uri, maxsplit=1)[0]
    scheme, _, rest = head.partition("://")
    place, slash, path = rest.partition("/")
    # abfss://container@account is an address; user:password@host is not.
    if ":" in place.partition("@")[0] and "@" in place:
        place = "***@" + place.rpartition("@")[2]
    return f"{scheme}://{place}{slash}{path}"
