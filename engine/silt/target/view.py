"""What the log says up to a version: every transaction, and what others did."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from silt.errors import Contended
from silt.target.foreign import judge, unchecked
from silt.target.log import Entry, read_entry, read_txns
from silt.target.model import Foreign
from silt.target.store import Files


class View:
    """The log as of `version`, kept up to date by reading newer entries only.

    Loading raises `Held` for a torn entry and OSError where the store fails.
    """

    def __init__(self, files: Files, version: int) -> None:
        self._files = files
        self.version = version
        self._txns, entries = _load(files, version)
        self._first = version - len(entries) + 1  # entries from here on have been judged
        self._facts: dict[object, Foreign] = {}
        self._judge(entries)

    @property
    def txns(self) -> Mapping[str, int]:
        """Every transaction as of `version`; read only."""
        return MappingProxyType(self._txns)

    def advance(self, version: int) -> None:
        """Read the entries up to `version`."""
        for number in range(self.version + 1, version + 1):
            entry = read_entry(self._files, number)
            self._txns.update(entry.txns)
            self._judge([entry])
            self.version = number

    def since(self, version: int) -> tuple[Foreign, ...]:
        """What changed the table after `version`, oldest first; entries already cleaned up give one note.

        Of silt's own replacements of one slice only the last is kept: a stream that overwrites makes
        one a cycle.
        """
        lost = self._look_back(max(version, -1))
        found = [fact for fact in self._facts.values() if fact.version > version]
        return (*lost, *sorted(found, key=lambda fact: fact.version))

    def _look_back(self, version: int) -> tuple[Foreign, ...]:
        """Judge entries after `version` that were not, newest first: clean-up takes the oldest."""
        while self._first > version + 1:
            try:
                entry = read_entry(self._files, self._first - 1)
            except FileNotFoundError:
                return (unchecked(version + 1, self._first - 1),)
            self._judge([entry])
            self._first -= 1
        return ()

    def _judge(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            fact = judge(entry)
            if fact is None:
                continue
            key = (fact.owner, fact.replaced) if fact.owner else fact.version
            kept = self._facts.get(key)
            if kept is None or kept.version < fact.version:  # looking back goes from new to old
                self._facts[key] = fact


def _load(files: Files, version: int) -> tuple[dict[str, int], tuple[Entry, ...]]:
    """The log up to `version`; once more where entries were cleaned up or torn out under the reader."""
    try:
        return read_txns(files, version)
    except FileNotFoundError:
        pass
    try:
        return read_txns(files, version)
    except FileNotFoundError as error:
        raise Contended("the table's log changed while it was read", why=str(error)) from error
