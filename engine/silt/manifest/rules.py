"""Settings that stack (DESIGN 3, "Stacking"): defaults, patterns from fewest to most literal characters,
the exact name.

Pure: plain data and paths in, the settled value of each setting and the path that it was written at out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import translate
from functools import lru_cache

from silt.errors import Secret
from silt.manifest.document import Document, Path, Plain
from silt.shapes import ascii_lower

Slot = tuple[str, ...]
"""A setting within a stream: `("columns", "ts", "type")`."""

WHOLE = frozenset({"schedule", "cursor", "deletes", "aggregate"})
"""Maps that replace whole instead of merging."""

Entry = tuple[Path, Mapping[str, Plain]]
"""Settings, and the path that they were written at."""

OWN = frozenset({"source", "table", "query"})
"""What says which tables an entry is about; it does not stack."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One entry under `streams`, exact or a pattern: `table` (or pattern) of `source`.

    `source` is None where the entry names none and there is no sole or default one; `source_path` is
    where its name is written.  `defaults` are those of the entry's own file, in a folder whose
    `silt.yaml` it is not.  An entry with a `query` reads no table: `table` is its name, and no pattern
    matches it.
    """

    name: str
    path: Path
    source: str | None
    source_path: Path
    table: str
    settings: Mapping[str, Plain]
    defaults: Entry | None = None
    query: str | None = None

    @property
    def is_pattern(self) -> bool:
        return is_pattern(self.table)

    def matches(self, source: str | None, table: str) -> bool:
        """True for a table of this rule's source; ASCII case does not count, as in SQLite."""
        return source == self.source and matches(self.table, table)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What `expand` needs; `named` are the exact rules by name.

    `one_table`: a lifted flat config, whose source must hold exactly one table.
    """

    document: Document
    secrets: Mapping[Path, Secret]
    defaults: Mapping[str, Plain]
    exact: tuple[Rule, ...]
    named: Mapping[str, Rule] = field(repr=False)
    patterns: tuple[Rule, ...]
    one_table: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A settled value and the path that it was written at."""

    value: Plain
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Tie:
    """Two patterns of equal length that set `slot` differently, with nothing more exact to decide."""

    slot: Slot
    first: Path
    second: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Stacked:
    """Every setting that something sets, by slot; and the ties that matter.

    `homes` are where the entries stand that were stacked.
    """

    settings: Mapping[Slot, Setting]
    ties: tuple[Tie, ...]
    homes: tuple[Path, ...] = ()


def is_pattern(text: str) -> bool:
    """True for a text with a wildcard: `*`, `?` or `[abc]`."""
    return any(c in text for c in "*?[")


def literals(pattern: str) -> int:
    """How many characters of a pattern stand for themselves."""
    return len(re.sub(r"\[!?\]?[^\]]*\]|[*?]", "", pattern))


def matches(pattern: str, table: str) -> bool:
    """True where a pattern matches a table's name, whatever the case of its ASCII letters."""
    return pattern == table or _compiled(pattern).match(ascii_lower(table)) is not None


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(translate(ascii_lower(pattern)))


def stack(defaults: Mapping[str, Plain], patterns: Iterable[Rule], exact: Rule | None) -> Stacked:
    """The settings of one stream; `patterns` are those that match it, in any order.

    `defaults` are those for all; over them stand those of the file that holds the exact entry, or,
    without one, the most exact pattern.
    """
    settled: dict[Slot, Setting] = {}
    ties: dict[Slot, Tie] = {}
    homes: list[Path] = []
    for layer in _layers(defaults, tuple(patterns), exact):
        homes += (path for path, _ in layer)
        written: dict[Slot, Setting] = {}
        new = [tie for path, settings in layer for tie in _write(written, _flat(settings, path))]
        for slot, setting in written.items():
            _clear(settled, slot)
            _clear(ties, slot)
            if setting.value is not None:
                settled[slot] = setting
        ties |= {tie.slot: tie for tie in new}
    return Stacked(settings=settled, ties=tuple(ties.values()), homes=tuple(homes))


def _layers(
    defaults: Mapping[str, Plain], patterns: Sequence[Rule], exact: Rule | None
) -> Iterator[list[Entry]]:
    """Entries of equal rank, from the weakest to the strongest."""
    ranks: dict[int, list[Rule]] = {}
    for rule in patterns:
        ranks.setdefault(literals(rule.table), []).append(rule)
    yield [(("defaults",), defaults)]
    makers = [exact] if exact else ranks[max(ranks)] if ranks else []
    yield list({rule.defaults[0]: rule.defaults for rule in makers if rule.defaults}.values())
    for rank in sorted(ranks):
        yield [(rule.path, rule.settings) for rule in ranks[rank]]
    if exact is not None:
        yield [(exact.path, exact.settings)]


def _flat(settings: Mapping[str, Plain], path: Path, slot: Slot = ()) -> Iterator[tuple[Slot, Setting]]:
    for key, value in settings.items():
        if not slot and key in OWN:
            continue
        here, there = (*slot, key), (*path, key)
        if isinstance(value, dict) and not (len(here) == 1 and key in WHOLE):
            yield from _flat(value, there, here)
        else:
            yield here, Setting(value=value, path=there)


def _write(written: dict[Slot, Setting], entries: Iterable[tuple[Slot, Setting]]) -> Iterator[Tie]:
    """Adds one entry's settings to its layer; what another of the same rank set differently is a tie."""
    for slot, setting in entries:
        for other, earlier in list(written.items()):
            if _differ(slot, setting, other, earlier):
                yield Tie(slot=slot, first=earlier.path, second=setting.path)
        written[slot] = setting


def _differ(slot: Slot, setting: Setting, other: Slot, earlier: Setting) -> bool:
    """True where two entries say different things of one setting, or one sets what the other unsets whole."""
    if setting.path[:2] == earlier.path[:2] or not _overlap(slot, other):
        return False
    return slot != other or setting.value != earlier.value


def _overlap(slot: Slot, other: Slot) -> bool:
    shorter = min(len(slot), len(other))
    return slot[:shorter] == other[:shorter]


def _clear(mapping: dict[Slot, Setting] | dict[Slot, Tie], slot: Slot) -> None:
    """Forgets what is at `slot` and below it; and a value above it, which a map replaces."""
    for other in list(mapping):
        if _overlap(slot, other):
            del mapping[other]
