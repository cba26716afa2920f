"""Cron expressions: five fields, in the node's local time; a library reads them (cronsim)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import islice

from silt.manifest.model import Schedule


def complaint(expression: str) -> str:
    """Why `expression` is no cron expression, or one that never comes; '' where it is fine."""
    from cronsim import CronSimError

    try:
        comes = next(_moments(expression, 0.0), None)
    except CronSimError as error:
        return f"{expression!r} is no cron expression: {str(error).lower()}"
    return f"{expression!r} never comes" if comes is None else ""


def upcoming(expression: str, now: float) -> float:
    """The next moment of a cron expression after `now`, both in seconds since the epoch."""
    return next(_moments(expression, now))


def interval(schedule: Schedule, now: float) -> float:
    """How long a stream rests between two runs at most, in seconds; for cron, around `now`."""
    if schedule.cron is None:
        return schedule.every
    first, second, third = islice(_moments(schedule.cron, now), 3)
    return max(second - first, third - second)


def _moments(expression: str, now: float) -> Iterator[float]:
    from cronsim import CronSim

    # naive is local here: 6 o'clock stays 6 o'clock when the clocks change
    for moment in CronSim(expression, datetime.fromtimestamp(now)):  # noqa: DTZ006
        yield moment.timestamp()
