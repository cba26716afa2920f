"""`--select` and `--exclude`: which streams a verb is about, written as dbt does."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from silt.errors import UserError

if TYPE_CHECKING:
    from silt.manifest.model import Stream

METHODS: Final = ("name", "tag", "source", "target", "table")


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """One item of a list: `method` says what `pattern` (a glob) is compared with."""

    method: str
    pattern: str

    def matches(self, stream: Stream) -> bool:
        return any(fnmatchcase(value, self.pattern) for value in _values(stream, self.method))

    def __str__(self) -> str:
        return self.pattern if self.method == "name" else f"{self.method}:{self.pattern}"


def _values(stream: Stream, method: str) -> Sequence[str]:
    if method == "tag":
        return stream.tags
    return (str(getattr(stream, method)),)


def parse(lists: Iterable[str]) -> tuple[Criterion, ...]:
    """Every item of every list; items are apart by commas or blanks.

    Raises `UserError` for a method that is none.
    """
    items = [item for text in lists for item in text.replace(",", " ").split()]
    return tuple(_criterion(item) for item in items)


def _criterion(item: str) -> Criterion:
    method, colon, pattern = item.partition(":")
    if not colon:
        return Criterion(method="name", pattern=item)
    if method not in METHODS:
        known = ", ".join(f"{m}:" for m in METHODS)
        raise UserError(f"cannot select by {method!r} in {item!r}", hint=f"known are names, and {known}")
    return Criterion(method=method, pattern=pattern)


class Selection:
    """A stream is in it when any of `select` matches (all streams where that is empty) and none of `exclude`.

    It is called for each stream of a manifest and remembers them, so that `check` can say afterwards
    what there would have been.
    """

    def __init__(self, select: Iterable[str] | None, exclude: Iterable[str] | None) -> None:
        self._select = parse(select or ())
        self._exclude = parse(exclude or ())
        self._seen: dict[str, Stream] = {}
        self._taken = 0
        if select and not self._select:
            raise UserError("--select names nothing", hint="name streams, as in --select readings,tag:hot")

    @property
    def everything(self) -> bool:
        return not self._select and not self._exclude

    def __call__(self, stream: Stream) -> bool:
        self._seen[stream.name] = stream
        chosen = not self._select or any(c.matches(stream) for c in self._select)
        chosen = chosen and not any(c.matches(stream) for c in self._exclude)
        self._taken += chosen
        return chosen

    def check(self) -> tuple[str, ...]:
        """Warnings for items that matched nothing.

        Raises `UserError` where no stream at all was selected.
        """
        if self.everything:
            return ()
        idle = [c for c in (*self._select, *self._exclude) if not self._matches_any(c)]
        from silt.manifest.problems import streams_are

        words = tuple(f"{c} matches no stream{self._meant(c)}" for c in idle)
        if not self._taken:
            what = "; ".join(words) or "--exclude leaves nothing"
            raise UserError(f"no stream is selected: {what}", hint=streams_are(list(self._seen)))
        return words

    def _matches_any(self, criterion: Criterion) -> bool:
        return any(criterion.matches(stream) for stream in self._seen.values())

    def _meant(self, criterion: Criterion) -> str:
        known = {value for s in self._seen.values() for value in _values(s, criterion.method)}
        close = difflib.get_close_matches(criterion.pattern, sorted(known), n=1)
        return f" (did you mean {close[0]!r}?)" if close else ""
