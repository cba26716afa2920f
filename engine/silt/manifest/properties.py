"""Properties of a Delta table: what the schema cannot say of them.

delta-rs takes any name and any value in silence (FACTS), so the schema lists those that are known.
"""

from __future__ import annotations

import json
from functools import cache

from silt.manifest.model import Scalar
from silt.manifest.schema import checked

_FEATURES = (
    "delta.columnMapping.", "delta.enableDeletionVectors", "delta.enableRowTracking",
    "delta.enableTypeWidening", "delta.enableInCommitTimestamps", "delta.enableIcebergCompat",
    "delta.universalFormat.", "delta.checkpointPolicy", "delta.minReaderVersion", "delta.minWriterVersion",
    "delta.feature.",
)  # fmt: skip
"""Beginnings of names that change the table's protocol to something that silt's writer does not keep."""


def not_written(name: str) -> str:
    """Why a property that Delta knows is refused; nothing for any other."""
    if name.lower().startswith(tuple(feature.lower() for feature in _FEATURES)):
        return "it asks for a table feature that silt does not write: remove it"
    return ""


def complaint(name: str, value: str, mode: str) -> tuple[str, str] | None:
    """What is wrong with a property whose value is of the right form, and what to do; None if nothing is."""
    meant = next((known for known in _known() if known.lower() == f"delta.{name}".lower()), None)
    if meant:
        return f"{name!r} means nothing to Delta", f"did you mean {meant!r}?"
    if name == "delta.appendOnly" and value == "true" and mode != "append":
        return f"mode {mode} replaces rows, which an append-only table refuses", "remove it"
    return None


def text(value: Scalar) -> str:
    """A property's value as Delta keeps it."""
    return value if isinstance(value, str) else json.dumps(value)


@cache
def _known() -> tuple[str, ...]:
    stream = checked()["properties"]["streams"]["additionalProperties"]["properties"]
    return tuple(stream["properties"]["properties"])
