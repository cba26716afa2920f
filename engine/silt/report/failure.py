"""An error as lines of text, or as the fields of a JSON object."""

from __future__ import annotations

from silt.errors import Held, RetryLater, SiltError, UserError
from silt.manifest.model import Place
from silt.manifest.redact import plain_uri
from silt.report.layout import paragraph

_KINDS: tuple[tuple[type[SiltError], str], ...] = (
    (Held, "held"),
    (RetryLater, "retry"),
    (UserError, "user"),
)


def sentence(error: SiltError) -> str:
    """What failed, on what, and why, in one sentence."""
    aside = ", ".join(part for part in (plain_uri(error.on), error.why) if part)
    return f"{error.what} ({aside})" if aside else error.what


def located(error: SiltError, place: Place | None) -> str:
    """The sentence, after the place of the setting that it is about: `silt.yaml:6:12: no table 'reading'`.

    What may be right by itself later is nobody's to look up in the manifest.
    """
    shown = f"{place}: " if place is not None and not isinstance(error, RetryLater) else ""
    return shown + sentence(error)


def text(error: SiltError, *, width: int = 100) -> list[str]:
    """The lines of an error that ends a verb: the fact, then what to do."""
    lines = paragraph(sentence(error), width=width, first="error: ")
    return lines + paragraph(error.hint, width=width, first="       ") if error.hint else lines


def kind(error: SiltError) -> str:
    """What a caller does about it: `user` (fix it), `retry` (later), `held` (decide)."""
    return next((name for known, name in _KINDS if isinstance(error, known)), "failed")


def data(error: SiltError | None, place: Place | None = None) -> dict[str, object]:
    """What every JSON object that may hold an error has; null for none.

    `error`, `error_kind`, `hint`, and `place` `{"file", "line", "column", "pointer"}`: where the setting
    that it is about stands.
    """
    if error is None:
        return {"error": None, "error_kind": None, "hint": None, "place": None}
    return {
        "error": sentence(error),
        "error_kind": kind(error),
        "hint": error.hint or None,
        "place": _place(place),
    }


def _place(place: Place | None) -> dict[str, object] | None:
    if place is None:
        return None
    return {"file": place.file, "line": place.line, "column": place.column, "pointer": place.pointer}
