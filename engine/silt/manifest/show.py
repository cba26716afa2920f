"""The resolved manifest with each value's origin, as plain data for the `show` verb.

An origin is `file:line`, `default`, or the names of the environment's variables that gave the value.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from silt.errors import Secret
from silt.manifest.document import Document, Path
from silt.manifest.expand import maker_of, rules_of, stacked_for
from silt.manifest.model import (
    Aggregate,
    CursorRule,
    Maintenance,
    Manifest,
    Schedule,
    Source,
    Stream,
    Target,
)
from silt.manifest.redact import plain_uri
from silt.manifest.rules import Setting, Slot
from silt.manifest.streams import UNUSED, ignored_slots
from silt.manifest.units import duration_text, size_text

Shown = dict[str, Any]
"""`{"key", "value", "origin"}`, with `"ignored"` True for what the mode does not use.

A stream's have `"by"`, too: which entry of another name says it (`defaults`, `pattern 'log_*'`), or None.
"""


def show(manifest: Manifest, streams: Iterable[Stream]) -> dict[str, Any]:
    """`{"manifest": [...], "sources": [...], "targets": [...], "streams": [...]}`.

    The first is a list of `Shown`; the others are `{"name", "settings": [Shown]}`.  Secrets are `***`.
    """
    document = rules_of(manifest).document
    top = {
        "name": manifest.name,
        "node": manifest.node,
        "state_dir": manifest.state_dir,
        "listen": str(manifest.listen) if manifest.listen else False,
        "grace": duration_text(manifest.grace),
    }
    return {
        "manifest": [_shown(document, key, value, (key,)) for key, value in top.items()],
        "sources": [{"name": s.name, "settings": _source(document, s)} for s in manifest.sources],
        "targets": [{"name": t.name, "settings": _target(document, t)} for t in manifest.targets],
        "streams": [{"name": s.name, "settings": _stream(manifest, s)} for s in streams],
    }


def _shown(document: Document, key: str, value: Any, path: Path) -> Shown:
    return {"key": key, "value": _plain(value), "origin": _origin(document, path)}


def _origin(document: Document, path: Path) -> str:
    if path not in document.marks:
        return "default"
    names = document.variables.get(path)
    place = document.place(path)
    return ", ".join(names) if names else f"{place.file}:{place.line}"


def _plain(value: Any) -> Any:
    if isinstance(value, Secret):
        return str(value)
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value


def _source(document: Document, source: Source) -> list[Shown]:
    home = ("sources", source.name)
    values = {
        "path": source.path,
        "exclude": source.exclude,
        "busy_timeout": duration_text(source.busy_timeout),
        "immutable": source.immutable,
        "watch": source.watch,
    }
    return [
        _shown(document, key, value, _either(document, home, key, "path")) for key, value in values.items()
    ]


def _target(document: Document, target: Target) -> list[Shown]:
    home = ("targets", target.name)
    options = [
        _shown(document, f"storage_options.{key}", value, (*home, "storage_options", key))
        for key, value in target.storage_options.items()
    ]
    uri = _shown(document, "uri", plain_uri(target.uri), _either(document, home, "uri", "uri"))
    unsafe = _shown(document, "allow_unsafe_store", target.allow_unsafe_store, (*home, "allow_unsafe_store"))
    return [uri, *options, *([] if target.is_local else [unsafe])]


def _either(document: Document, home: Path, key: str, short: str) -> Path:
    """The path of a key, or of the shorthand that stands for it."""
    return (*home, key) if (*home, key) in document.marks or key != short else home


def _stream(manifest: Manifest, stream: Stream) -> list[Shown]:
    document = rules_of(manifest).document
    stacked = stacked_for(manifest, stream.name, stream.table, stream.source)
    maker = maker_of(manifest, stream.name, stream.table, stream.source)
    written = {".".join(slot): setting for slot, setting in stacked.settings.items()}
    reads = "table" if stream.query is None else "query"
    table = _shown(document, reads, stream.query or stream.table, (*maker.path, reads))
    table["by"] = _by(maker.path, stream)
    if maker.is_pattern:
        place = document.key_place(maker.path)
        table["origin"] = f"{place.file}:{place.line}"
    source = _shown(document, "source", stream.source, maker.source_path)
    source["by"] = _by(maker.source_path, stream) if maker.source_path in document.marks else None
    unused = UNUSED.get(stream.mode, ())
    settled = [
        _setting(document, key, value, written.get(key), stream)
        for key, value in _values(stream).items()
        if key in written or key not in unused
    ]
    columns = [
        _setting(document, key, s.value, s, stream)
        for key, s in written.items()
        if key.startswith(("columns.", "properties."))
    ]
    ignored = [_ignored(document, slot, stacked.settings[slot], stream) for slot in ignored_slots(stacked)]
    skipped = {shown["key"] for shown in ignored}
    return [source, table, *(s for s in settled if s["key"] not in skipped), *columns, *ignored]


def _setting(document: Document, key: str, value: Any, setting: Setting | None, stream: Stream) -> Shown:
    hidden = key.startswith("columns.") and key.endswith(".salt")
    return {
        "key": key,
        "value": str(Secret("")) if hidden else _plain(value),
        "origin": _origin(document, setting.path) if setting else "default",
        "by": _by(setting.path, stream) if setting else None,
    }


def _by(path: Path, stream: Stream) -> str | None:
    """Which entry says it, where it is not the stream's own."""
    if path[0] != "streams":
        return "defaults"
    return None if path[1] == stream.name else f"pattern {path[1]!r}"


def _ignored(document: Document, slot: Slot, setting: Setting, stream: Stream) -> Shown:
    return {**_setting(document, ".".join(slot), setting.value, setting, stream), "ignored": True}


def _values(stream: Stream) -> dict[str, Any]:
    """Every setting but columns, spelled as a manifest would."""
    return {
        "description": stream.description,
        "target": stream.target,
        "into": stream.into,
        **({"aggregate": _aggregate(stream.aggregate)} if stream.aggregate else {}),
        "mode": stream.mode,
        "cursor": _cursor(stream),
        "where": stream.where,
        "select": stream.select,
        "partition_by": stream.partition_by,
        "lineage": "none" if stream.lineage == () else stream.lineage,
        "on_misfit": stream.on_misfit,
        "on_schema_change": stream.on_schema_change,
        "on_reset": stream.on_reset,
        "schedule": _schedule(stream.schedule),
        "batch.max_rows": stream.batch.max_rows,
        "batch.max_bytes": size_text(stream.batch.max_bytes),
        **_maintenance(stream.maintenance),
        "tags": stream.tags,
        "enabled": stream.enabled,
    }


def _lookback(rule: CursorRule) -> float | str | None:
    if rule.lookback is None or not rule.lookback_is_time:
        return rule.lookback
    return duration_text(rule.lookback)


def _schedule(schedule: Schedule) -> Any:
    if schedule.cron is not None:
        return {"cron": schedule.cron}
    if (changes := schedule.on_change) is not None:
        spelled = {"debounce": changes.debounce, "max_delay": changes.max_delay}
        return {"on_change": {key: duration_text(value) for key, value in spelled.items()}}
    return {"every": duration_text(schedule.every)}


def _maintenance(rule: Maintenance) -> dict[str, Any]:
    """Whether each is done, and how where it is."""
    compact, vacuum = rule.compact, rule.vacuum
    how: dict[str, Any] = {"compact": compact is not None}
    if compact is not None:
        how |= {
            "compact.every": duration_text(compact.every),
            "compact.target_size": size_text(compact.target_size),
        }
    how["vacuum"] = vacuum is not None
    if vacuum is not None:
        how |= {
            "vacuum.every": duration_text(vacuum.every),
            "vacuum.retain": duration_text(vacuum.retain),
        }
    return {f"maintenance.{key}": value for key, value in how.items()}


def _aggregate(rule: Aggregate) -> Any:
    given = {"format": rule.format, "timezone": rule.timezone}
    return {
        "time": rule.time,
        "window": duration_text(rule.window),
        "by": list(rule.by),
        "measures": dict(rule.measures),
        "lateness": duration_text(rule.lateness),
        **{key: value for key, value in given.items() if value is not None},
    }


def _cursor(stream: Stream) -> Any:
    rule = stream.cursor
    options = {
        "lookback": _lookback(rule),
        "on_null": rule.on_null if rule.on_null != "fail" else None,
        "initial_value": rule.initial_value,
        "max_skew": duration_text(rule.max_skew) if rule.max_skew != 3600 else None,
    }
    given = {key: value for key, value in options.items() if value is not None}
    short: Any = (
        rule.kind if rule.kind != "columns" else rule.columns[0] if len(rule.columns) == 1 else rule.columns
    )
    return {"columns": rule.columns, **given} if given else _plain(short)
