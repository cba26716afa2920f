"""What makes a stream itself: an edit of it would leave its rows behind, or mix them with others (DESIGN 9).

Most of these edits are seen by planning, which has the lake's word for what the rows there are, and holds:

* `cursor`, `query`, `aggregate`: a position pins its cursor's definition (`plan.verdict._pinned`,
  `observe.windows`);
* `lineage`, and whether a source is a glob: it pins the columns that tell its slice
  (`observe.look.check_slice`);
* `partition_by`: the table says how it is partitioned (`plan.build._check_partitions`);
* a source's path: other rows by their witnesses (`plan.verdict`), another database's name by the slice that
  is filled already (`observe.claim.unclaimed`); moving a file is no edit of identity (DESIGN 1);
* from `mode: overwrite` to another, to merge or from it: the position is of another definition.

What it cannot see is here, and held by what the stream was when it last ran: another table of the lake (a
`target` or its `uri`, `into`) begins empty and has nothing to say; `name` and `node` begin positions of their
own; another `table` with other columns has no row that a witness could speak of; from append to overwrite
the rows that the source no longer has would go.  Pure.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Final, TypeAlias

from silt.errors import Held
from silt.manifest.model import Manifest, Stream
from silt.manifest.redact import plain_uri

Identity: TypeAlias = Mapping[str, str]
"""Setting -> what it is, as text that may be shown and stored."""

_CONSEQUENCES: Final = {
    "name": "positions in the lake go by it",
    "node": "rows and positions in the lake go by it",
    "target": "the rows written so far stay where they are, and a table there begins empty",
    "into": "the rows written so far stay in the old table, and the new one begins empty",
    "table": "the rows in the lake, and the position, are of the old one",
    "mode": "a cycle would replace all rows in the lake by those that the source has now",
}
_MODES: Final = {
    "append": "the rows in the lake have no position to append after",
    "merge": "the rows in the lake have no position to go on from, and may have one key twice",
}
_WHOSE: Final = "path"
_SETTINGS: Final = {"name": "manifest.name", "node": "manifest.node"}


def identity(manifest: Manifest, stream: Stream) -> Identity:
    """What `stream` is; a URI without what may be a secret, so that rotating one is no edit of it.

    `path` is whose stream it is: two files of one name, each with its own lake, edit nothing of the other.
    """
    found = {
        _WHOSE: os.path.abspath(Path(manifest.path).expanduser()),  # noqa: PTH100  # links as they are named
        "name": manifest.name,
        "node": manifest.node,
        "target": plain_uri(manifest.target(stream.target).uri),
        "into": stream.into,
        "mode": stream.mode,
    }
    follows_a_table = stream.has_cursor and stream.query is None
    return {**found, "table": stream.table} if follows_a_table else found


def held(manifest: Manifest, stream: Stream, was: Identity) -> Held | None:
    """Why `stream` may not run as the manifest has it now: it is not what it `was`; None where it is.

    The error's `setting` is the first that differs; `Stream.place_of` knows where it stands.
    """
    now = identity(manifest, stream)
    edits = [name for name in now if name in was and was[name] != now[name]]
    if not edits or _WHOSE in edits:
        return None
    said = "; ".join(_said(name, was[name], now[name]) for name in edits)
    return Held(said, rule="9", hint=_hint(manifest, stream, edits), setting=_setting(stream, edits[0]))


def _said(name: str, was: str, now: str) -> str:
    consequence = _MODES.get(now, _CONSEQUENCES[name]) if name == "mode" else _CONSEQUENCES[name]
    return f"{name} was {was}, is {now}: {consequence}"


def _hint(manifest: Manifest, stream: Stream, edits: list[str]) -> str:
    if not _SETTINGS.keys().isdisjoint(edits):
        return (
            "undo the edit; or end this silt and start it: under another name or node it is another one, "
            "with positions of its own"
        )
    return f"undo the edit, or begin anew: {shlex.join(['silt', 'reset', manifest.path, stream.name])}"


def _setting(stream: Stream, name: str) -> str:
    """Another target may have been named, or the one that is named be elsewhere now."""
    if name == "target":
        return "target" if "target" in stream.places else "target.uri"
    return _SETTINGS.get(name, name)
