"""What an edit changes, stream by stream: pure (DESIGN 9).

A stream is untouched where nothing that it runs by differs: its own settings, its source, its target with all
options and secrets.  Where it is written does not count: comments, another order, quotes, anchors.
Columns, measures and properties are maps in the manifest, so their order does not count either.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from silt.errors import Held
from silt.manifest.identity import Identity, held, identity
from silt.manifest.model import Manifest, Stream


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A resolved manifest with the streams that it makes of today's sources, patterns expanded."""

    manifest: Manifest
    streams: tuple[Stream, ...]

    def stream(self, name: str) -> Stream | None:
        return next((stream for stream in self.streams if stream.name == name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Diff:
    """Names of streams in the new manifest's order, those that are gone in the old one's.

    Each stream is in one of the four.  `held` are those of the new manifest that may not run as it has
    them, and why; such a stream may be in any but `removed`.
    """

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    untouched: tuple[str, ...] = ()
    held: Mapping[str, Held] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """Whether every stream goes on as it was."""
        return not (self.added or self.changed or self.removed)


def diff(old: Running, new: Running, ran: Mapping[str, Identity] | None = None) -> Diff:
    """What differs between two manifests; `ran` is what each stream was when it last ran.

    Without an entry there, a stream was what `old` has it for.  So a hold outlives further edits, until
    one undoes it, or a reset changes what `ran` says.
    """
    before = {stream.name: _runs_by(old.manifest, stream) for stream in old.streams}
    now = {stream.name: _runs_by(new.manifest, stream) for stream in new.streams}
    return Diff(
        added=tuple(name for name in now if name not in before),
        changed=tuple(name for name in now if name in before and now[name] != before[name]),
        removed=tuple(name for name in before if name not in now),
        untouched=tuple(name for name in now if name in before and now[name] == before[name]),
        held=held_streams(new, {**_identities(old, new), **(ran or {})}),
    )


def unknown(old: Running, manifest: Manifest) -> Callable[[Stream], bool]:
    """Tells of a stream, as `manifest` has it, whether it is other than what runs, or new."""
    before = {stream.name: _runs_by(old.manifest, stream) for stream in old.streams}
    return lambda stream: before.get(stream.name) != _runs_by(manifest, stream)


def held_streams(running: Running, ran: Mapping[str, Identity]) -> dict[str, Held]:
    """The streams that are not what they were when they last ran, and why they are held."""
    pairs = ((s.name, held(running.manifest, s, ran.get(s.name, {}))) for s in running.streams if s.enabled)
    return {name: error for name, error in pairs if error is not None}


def _identities(old: Running, new: Running) -> dict[str, Identity]:
    """What each stream was; of one that is new, what all streams of `old` are."""
    everyone = {"name": old.manifest.name, "node": old.manifest.node}
    known = {stream.name: identity(old.manifest, stream) for stream in old.streams}
    return {stream.name: known.get(stream.name, everyone) for stream in new.streams}


def _runs_by(manifest: Manifest, stream: Stream) -> tuple[Any, ...]:
    """Everything that a stream runs by, maps in one order."""
    aggregate = stream.aggregate and replace(
        stream.aggregate, measures=tuple(sorted(stream.aggregate.measures))
    )
    plain = replace(
        stream,
        aggregate=aggregate,
        columns=tuple(sorted(stream.columns, key=lambda rule: rule.name)),
        properties=tuple(sorted(stream.properties)),
    )
    source, target = manifest.source(stream.source), manifest.target(stream.target)
    return manifest.name, manifest.node, plain, source, target
