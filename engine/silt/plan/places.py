"""Where in the manifest a setting of a stream was written, as a hint says it."""

from __future__ import annotations

from silt.manifest.model import Stream


def place(stream: Stream, setting: str, verb: str = "names") -> str:
    """`silt.yaml:3:5 names it`: of the setting, or of the stream where it has no place of its own."""
    at = stream.places.get(setting) or stream.places.get("")
    return f"{at.file}:{at.line}:{at.column} {verb} it" if at else ""


def column_place(stream: Stream, setting: str, name: str, verb: str = "names") -> str:
    """The place of a column's rule: of the first setting inside it, where the rule has none of its own."""
    inside = f"{setting}.{name}"
    first = next((key for key in stream.places if key == inside or key.startswith(f"{inside}.")), setting)
    return place(stream, first, verb)
