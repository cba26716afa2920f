"""The streams that a manifest makes now, and where their tables are: without looking at any table's rows."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from silt.errors import SiltError, UserError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from silt.manifest.model import Manifest, Stream
    from silt.observe import Handles


def resolved(manifest: Manifest, handles: Handles) -> tuple[Stream, ...]:
    """Every stream, patterns expanded by what the sources hold; none is selected, so none is examined."""
    from silt import observe

    found: list[Stream] = []

    def note(stream: Stream) -> bool:
        found.append(stream)
        return False

    observe.look(manifest, handles, select=note)
    return tuple(found)


def tables_of(manifest: Manifest, sql: str) -> dict[str, tuple[str, Mapping[str, str]]]:
    """The tables that `sql` may name: a stream's name, `stream__database` where each database has its own.

    Raises `UserError` where `sql` names no stream at all.
    """
    from silt import observe
    from silt.target.sql import words

    with observe.Handles(manifest) as handles:
        known = {
            name: (handles.uri(at, into), observe.revealed(at))
            for stream in resolved(manifest, handles)
            if stream.enabled
            for at in (manifest.target(stream.target),)
            for name, into in tables_by_name(manifest, stream)
        }
    used = {word.lower() for word in words(sql)}
    named: dict[str, tuple[str, Mapping[str, str]]] = {
        name: place for name, place in known.items() if name.lower() in used
    }
    if not named and known and "from" in used:
        raise UserError("the query names no stream of the manifest", hint=_meant(used, list(known)))
    return named


def tables_by_name(manifest: Manifest, stream: Stream) -> list[tuple[str, str]]:
    """(name in a query, path under the target) of each table of a stream."""
    from silt.source.open import find

    if not stream.separates_databases:
        return [(stream.name, stream.into)]
    origin = manifest.source(stream.source)
    try:
        databases = find(origin.path, origin.exclude)
    except SiltError:  # the source is away: what its databases are called is not known
        return []
    return [(f"{stream.name}__{d.name.replace('/', '__')}", stream.path_for(d.name)) for d in databases]


def _meant(used: set[str], known: list[str]) -> str:
    from silt.manifest.problems import streams_are

    close = [c for word in sorted(used) for c in difflib.get_close_matches(word, known, n=1, cutoff=0.75)]
    meant = f"did you mean {close[0]!r}? " if close else ""
    return f"{meant}{streams_are(known)}"
