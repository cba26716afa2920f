"""What became of an edit of the manifest: a receipt as a log line, as text, as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from silt.manifest.model import Problem
from silt.report import problems
from silt.report.events import Line
from silt.report.units import count, counted, duration, instant, when
from silt.state import Receipt, Trouble

LISTED: Final = 8
"""So many names are told behind a sign."""


def line(receipt: Receipt) -> Line:
    """`reload   generation 2 in 0.21 s: + audit_log ~ orders - tmp_x = 59`; what was refused, and why."""
    if receipt.result == "refused":
        return Line(kind="refused", text=_refused(receipt), level="error", fields=data(receipt))
    return Line(
        kind="reload",
        text=_taken(receipt),
        level="warning" if receipt.held else "info",
        fields=data(receipt),
    )


def refused_at_start(found: Sequence[Problem], *, runs: float | None, now: float) -> Line:
    """A manifest that cannot run; the last good one, kept at `runs`, does, or (None) it is waited for.

    Moments in seconds since the epoch.
    """
    then = "waiting for one that can run" if runs is None else f"{last_good(runs, now)} runs"
    fields = {"problems": [problems.plain(problem) for problem in found], "last_good": instant(runs)}
    return Line(kind="refused", text=f"{_first_of(found)}; {then}", level="error", fields=fields)


def last_good(at: float, now: float) -> str:
    """`the last good manifest of 10:41:30`: what the line `ready` says, too."""
    return f"the last good manifest of {when(at, now)}"


def text(receipt: Receipt) -> list[str]:
    """The lines of `silt reload`: one, or every problem and what runs on."""
    if receipt.result == "refused":
        told = [problems.headline(trouble) for trouble in receipt.problems]
        return [*told, f"refused: generation {receipt.generation} runs on"]
    return [f"reload {_taken(receipt)}"]


def data(receipt: Receipt) -> dict[str, object]:
    """What every JSON object of a receipt has (docs/json.md, "reload")."""
    return {
        "result": receipt.result,
        "generation": receipt.generation,
        "digest": receipt.digest,
        "at": instant(receipt.at),
        "seconds": round(receipt.seconds, 3),
        "streams": receipt.streams,
        "added": list(receipt.added),
        "changed": list(receipt.changed),
        "removed": list(receipt.removed),
        "held": list(receipt.held),
        "problems": [problems.plain(trouble) for trouble in receipt.problems],
    }


def _refused(receipt: Receipt) -> str:
    return f"{_first_of(receipt.problems)}; generation {receipt.generation} runs on"


def _first_of(found: Sequence[Problem] | Sequence[Trouble]) -> str:
    """The first problem in full; the others are in the fields and in the status."""
    first, *others = found
    more = f", and {counted(len(others), 'more problem')}" if others else ""
    return f"{problems.headline(first)}{more}"


def _taken(receipt: Receipt) -> str:
    took = f"generation {receipt.generation} in {duration(receipt.seconds)}:"
    if receipt.result == "unchanged":
        return f"{took} the manifest says what runs already = {count(receipt.streams)}"
    return " ".join((took, *_signs(receipt)))


def _signs(receipt: Receipt) -> Iterator[str]:
    """`+ new ~ changed - gone ! held = how many run on as they were`."""
    groups = (("+", receipt.added), ("~", receipt.changed), ("-", receipt.removed), ("!", receipt.held))
    for sign, names in groups:
        if names:
            yield f"{sign} {_names(names)}"
    yield f"= {count(receipt.streams - len(receipt.added) - len(receipt.changed))}"


def _names(names: tuple[str, ...]) -> str:
    """All of them, or the first and how many there are; one with a space in it in quotes."""
    shown = " ".join(
        name if name.isprintable() and " " not in name else repr(name) for name in names[:LISTED]
    )
    return shown if len(names) <= LISTED else f"{shown} and {count(len(names) - LISTED)} more"
