"""What can go wrong, classed by what the caller does about it; and `Secret`, which never prints itself.

One tree: `SiltError` says what failed, on what, why, and what to do next.  Three branches:

* `UserError`: the user's to fix; trying again changes nothing.
* `RetryLater`: nothing is wrong with silt or the manifest; a later cycle may succeed.
* `Held`: going on could lose or double a row, so the stream stops until a person decides (DESIGN 4, 10).

Anything else that escapes is a bug of silt and is shown as one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from traceback import format_exception
from types import TracebackType
from typing import Final, Self


class Revealed(str):
    """A secret's text, for the library that needs it: in a `repr`, and so in that of what holds it, `***`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "***"


class Secret:
    """A value that never prints itself; `reveal()` is the only way to it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value: Final = value

    def reveal(self) -> Revealed:
        """The value itself: hand it to the library that needs it, never to text."""
        return Revealed(self._value)

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(("Secret", self._value))

    def __reduce__(self) -> str:
        raise TypeError("a Secret is not written anywhere")


class SiltError(Exception):
    """Something failed.

    `what` is a lower-case fact that names the thing and says what was got; `on` is the path, URI or
    name that it happened to; `why` the underlying cause, in its own words; `hint` what to do next.
    `setting` is the stream's setting that it is about (`where`, `columns.ts.type`, `select[1]`,
    `source.path`, `target.uri`), by which `Stream.place` knows where that was written; or nothing.
    """

    def __init__(self, what: str, *, on: str = "", why: str = "", hint: str = "", setting: str = "") -> None:
        super().__init__(what)
        self.what: Final = what
        self.on: Final = on
        self.why: Final = why
        self.hint: Final = hint
        self.setting = setting

    def about(self, setting: str) -> Self:
        """This error, about `setting` unless it says itself what it is about."""
        self.setting = self.setting or setting
        return self

    def __str__(self) -> str:
        aside = ", ".join(part for part in (self.on, self.why) if part)
        return f"{self.what} ({aside})" if aside else self.what


class UserError(SiltError):
    """The user's to fix: a retry would say the same."""


class RetryLater(SiltError):
    """A later try may succeed: locked database, store out of reach, disk full."""


class Held(SiltError):
    """Going on could lose or double a row; `rule` names the section of DESIGN that says so."""

    def __init__(
        self, what: str, *, rule: str, on: str = "", why: str = "", hint: str = "", setting: str = ""
    ) -> None:
        super().__init__(what, on=on, why=why, hint=hint, setting=setting)
        self.rule: Final = rule


class Several(SiltError):
    """More than one thing is wrong; whoever does not ask for `each` is told the first of `errors`."""

    def __init__(self, errors: tuple[SiltError, ...]) -> None:
        first = errors[0]
        super().__init__(first.what, on=first.on, why=first.why, hint=first.hint, setting=first.setting)
        self.errors: Final = errors


def each(error: SiltError) -> Iterator[SiltError]:
    """The errors that `error` stands for: itself, or those of a `Several`."""
    if isinstance(error, Several):
        yield from error.errors
    else:
        yield error


class Wrong:
    """Collects what is wrong, so that all of it can be told at once.

    `with wrong:` keeps what the block raises; what follows the block goes on.
    """

    def __init__(self) -> None:
        self.errors: list[SiltError] = []

    def add(self, error: SiltError) -> None:
        self.errors.extend(each(error))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if isinstance(error, SiltError):
            self.add(error)
            return True
        return False

    def raise_all(self) -> None:
        """Raise what there is: nothing, the one error, or `Several`."""
        if len(self.errors) == 1:
            raise self.errors[0]
        if self.errors:
            raise Several(tuple(self.errors))


class Misfit(UserError):
    """A value whose storage class does not fit its column's type (DESIGN 1)."""


class Bug(SiltError):
    """Something that silt did not expect: its own fault, told like any other failure."""


def bug(error: BaseException) -> Bug:
    """An unexpected exception as an error that is told, kept as its cause; SILT_DEBUG adds the traceback."""
    trace = "\n" + "".join(format_exception(error)) if os.environ.get("SILT_DEBUG") else ""
    told = Bug(
        "silt has a bug here",
        why=f"{type(error).__name__}: {error}{trace}",
        hint="nothing was lost; please report it with SILT_DEBUG=1's traceback",
    )
    told.__cause__ = error
    return told


class Contended(RetryLater):
    """Somebody else moved first: reading again and rebuilding settles it, at once."""


class SourceChanged(Contended):
    """The file behind the path is another one, or changed under a reader: open it anew (DESIGN 5)."""


class SchemaMoved(Contended):
    """The source's schema is not the one that was planned: plan again, then read (DESIGN 2)."""


class Unplaced(Contended):
    """The table lacked a column that a batch needs, and has it now: read again (DESIGN 6)."""


class Fenced(Contended):
    """Another process committed this batch first: discard, read the position again, rebuild (DESIGN 4.2)."""
