"""The resolved manifest with each value's origin, aligned for reading."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from silt.report.layout import clip, pad
from silt.report.units import count


def text(shown: Mapping[str, Any], *, width: int = 100) -> list[str]:
    """What `manifest.show` gives, as blocks of `key  value  # origin`."""
    lines = _settings(shown["manifest"], 0, width)
    for kind in ("sources", "targets", "streams"):
        for part in shown[kind]:
            lines += ["", f"{kind}.{part['name']}:", *_settings(part["settings"], 2, width)]
    return lines


def _settings(settings: Sequence[Mapping[str, Any]], indent: int, width: int) -> list[str]:
    """Values that are defaults come last: what was written is what a reader looks for."""
    written = [s for s in settings if s["origin"] != "default"]
    rows = [*written, *(s for s in settings if s["origin"] == "default")]
    if not rows:
        return []
    keys = max(len(s["key"]) for s in rows) + 1
    values = min(max(len(_value(s["value"])) for s in rows), max(width - indent - keys - 24, 16))
    return [_line(s, indent, keys, values) for s in rows]


def _line(setting: Mapping[str, Any], indent: int, keys: int, values: int) -> str:
    by = f", {setting['by']}" if setting.get("by") else ""
    ignored = ", not used by this mode" if setting.get("ignored") else ""
    key, value = f"{setting['key']}:", _value(setting["value"])
    shown = clip(value, values) if len(value) > 120 else value
    return f"{' ' * indent}{key:<{keys}} {pad(shown, values)}  # {setting['origin']}{by}{ignored}"


def _value(value: Any) -> str:
    """A value as YAML's flow style has it, near enough to read."""
    if value is None:
        return "-"
    if isinstance(value, str):
        return value or '""'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return count(value).replace(",", "_")
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k}: {_value(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value(v) for v in value) + "]"
    return json.dumps(value)
