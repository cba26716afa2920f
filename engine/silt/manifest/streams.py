"""Stacked settings -> one resolved Stream, with the checks that depend on several settings at once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import get_args

from silt.errors import Secret
from silt.manifest.document import Document, Path, Plain
from silt.manifest.model import (
    MAX_FRACTION,
    Aggregate,
    Batch,
    ColumnRule,
    Compact,
    CursorRule,
    Deletes,
    Maintenance,
    Mode,
    OnChange,
    Place,
    Problem,
    Schedule,
    Source,
    Stream,
    Target,
    Vacuum,
)
from silt.manifest.options import BREAKS_PATHS, UNEXPANDED
from silt.manifest.problems import did_you_mean
from silt.manifest.properties import complaint, text
from silt.manifest.resolve import as_written
from silt.manifest.rules import OWN, Rule, Setting, Slot, Stacked
from silt.manifest.schedule import complaint as complaint_of_cron
from silt.manifest.units import duration, size
from silt.shapes import REWRITTEN_FILE, Mask, ascii_lower

UNUSED = {
    "append": ("primary_key", "deletes"),
    "mirror": ("cursor", "on_reset", "deletes"),
    "overwrite": ("cursor", "on_reset", "primary_key", "deletes"),
}
"""Settings that a mode does not use: written they are an error, inherited they are ignored (DESIGN 3)."""

DELAYS = 3
"""`max_delay` in times of a `debounce` that is written: whoever wants rows sooner need not write both."""

PLACEHOLDERS = ("stream", "table", "source", "database", "node")

LEAST_TARGET = 1024 * 1024
LEAST_RETAIN = 3600.0
"""Of `maintenance`, in bytes and seconds: less would take files from under a commit that is being written."""

RESERVED = ("_silt_", "_rescued_data", "_deleted_at")
"""Beginnings of lake names that are silt's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What is known of a stream before its settings are read; `rule` is its exact entry or what made it."""

    name: str
    table: str
    source: Source
    targets: Mapping[str, Target]
    node: str
    document: Document
    secrets: Mapping[Path, Secret]
    rule: Rule


@dataclass(frozen=True, slots=True)
class _Settings:
    """Access to one stream's stacked settings; `problems` collects what is found on the way."""

    document: Document
    secrets: Mapping[Path, Secret]
    stacked: Stacked
    home: Path
    problems: list[Problem] = field(default_factory=list)

    def get(self, *slot: str) -> Plain:
        found = self.stacked.settings.get(slot)
        return found.value if found else None

    def is_unknown(self, *slot: str) -> bool:
        """Whether the setting is written and has no value: a variable is unset, or the schema refused it.

        What is wrong there has been said; nothing can be said of its absence.
        """
        return slot not in self.stacked.settings and any(
            self.document.holds((*home, *slot)) for home in self.stacked.homes
        )

    def path(self, *slot: str) -> Path:
        """Where the setting, or the nearest one above it, was written."""
        found = self.stacked.settings.get(slot)
        return found.path if found else self.home

    def under(self, *slot: str) -> dict[Slot, Setting]:
        return {s: setting for s, setting in self.stacked.settings.items() if s[: len(slot)] == slot}

    def complain(self, slot: Slot, message: str, hint: str = "", *, at_key: bool = False) -> None:
        self.problems.append(self.document.problem(self.path(*slot), message, hint, at_key=at_key))


def resolve(draft: Draft, stacked: Stacked) -> tuple[Stream | None, list[Problem]]:
    """The stream and what is wrong with it; None where something is."""
    settings = _Settings(draft.document, draft.secrets, stacked, draft.rule.path)
    _report_ties(settings)
    target = _target(draft, settings)
    columns = _columns(settings)
    ignored = _ignored(draft, settings)
    cursor = CursorRule() if "cursor" in ignored else _cursor(settings)
    _check_query_cursor(draft, settings, cursor)
    _check_query_key(draft, settings)
    _check_lists(settings)
    aggregate = _aggregate(draft, settings)
    cursor = cursor if aggregate is None else CursorRule()
    if target is None:
        return None, settings.problems
    stream = Stream(
        name=draft.name,
        source=draft.source.name,
        target=target.name,
        table=draft.table,
        into=_into(draft, settings),
        query=draft.rule.query,
        aggregate=aggregate,
        mode=settings.get("mode") or "append",
        cursor=cursor,
        primary_key=() if "primary_key" in ignored else _primary_key(settings),
        deletes=None if "deletes" in ignored else _deletes(settings),
        where=settings.get("where"),
        select=tuple(settings.get("select") or ("*",)),
        columns=columns,
        partition_by=tuple(settings.get("partition_by") or ()),
        lineage=_lineage(draft, settings, target),
        description=(settings.get("description") or "").strip() or None,
        properties=_properties(settings),
        on_misfit=settings.get("on_misfit") or "rescue",
        on_schema_change=settings.get("on_schema_change") or "evolve",
        on_reset="fail" if "on_reset" in ignored else settings.get("on_reset") or "fail",
        schedule=_schedule(settings),
        batch=_batch(settings),
        maintenance=_maintenance(settings, target),
        tags=tuple(settings.get("tags") or ()),
        enabled=settings.get("enabled") is not False,
        separates_nodes="{node}" in (settings.get("into") or ""),
        places=_places(draft, stacked, target),
    )
    return (None if settings.problems else stream), settings.problems


def ignored_slots(stacked: Stacked) -> tuple[Slot, ...]:
    """Settings that are there and that the stream's mode does not use."""
    mode = stacked.settings.get(("mode",))
    unused = UNUSED.get(mode.value if mode and mode.value else "append", ())
    return tuple(slot for slot in stacked.settings if slot[0] in unused)


def _places(draft: Draft, stacked: Stacked, target: Target) -> dict[str, Place]:
    """Where each setting stands: what holds it, itself, and what it holds."""
    document, home = draft.document, draft.rule.path
    places: dict[str, Place] = {}
    for slot, setting in stacked.settings.items():
        for depth in range(1, len(slot)):
            above = setting.path[: depth - len(slot)]
            places.setdefault(".".join(slot[:depth]), document.key_place(above))
        for name, path in _within(".".join(slot), setting.path, setting.value):
            places[_spelled_out(name)] = document.place(path)
    places[""] = document.key_place(home)
    for key in OWN:
        own = (*home, key)
        places[key] = document.place(own) if own in document.marks else places[""]
    declared = {"source.path": draft.source.place, "target.uri": target.place}
    for key in ("name", "node"):
        declared[f"manifest.{key}"] = document.place((key,)) if (key,) in document.marks else None
    return places | {name: place for name, place in declared.items() if place is not None}


def _spelled_out(name: str) -> str:
    """The columns of a cursor have one name, however short it was written: `cursor.columns[0]`."""
    if name == "cursor.column":
        return "cursor.columns[0]"
    return name.replace("cursor[", "cursor.columns[", 1) if name.startswith("cursor[") else name


def _within(name: str, path: Path, value: Plain) -> Iterator[tuple[str, Path]]:
    """A value and all inside it: (`cursor`, path), (`cursor.column`, path), (`select[1]`, path)."""
    yield name, path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _within(f"{name}.{key}", (*path, key), inner)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _within(f"{name}[{index}]", (*path, index), inner)


def _report_ties(settings: _Settings) -> None:
    for tie in settings.stacked.ties:
        other, here = (settings.document.place(path) for path in (tie.first, tie.second))
        first, second = (repr(p[1]) if p[0] == "streams" else "its defaults" for p in (tie.first, tie.second))
        where = f"line {other.line}" if other.file == here.file else f"{other.file}:{other.line}"
        message = f"{second} and {first} ({where}) are equally exact and disagree"
        hint = "write one more exactly, or set it on the stream itself"
        settings.problems.append(settings.document.problem(tie.second, message, hint))


# --- where to -------------------------------------------------------------------------------------


def _target(draft: Draft, settings: _Settings) -> Target | None:
    """The stream's target; for a wrong name, reported where it stands, any other, so that checks go on."""
    named = settings.get("target")
    if named is None and len(draft.targets) > 1 and not settings.is_unknown("target"):
        hint = f"add target: one of {', '.join(draft.targets)}"
        message = "names no target, and there are several"
        settings.problems.append(settings.document.problem(settings.home, message, hint, at_key=True))
    return draft.targets.get(named) or next(iter(draft.targets.values()), None)


def _into(draft: Draft, settings: _Settings) -> str:
    template = settings.get("into") or "{stream}"
    for name in re.findall(r"\{([^{}]*)\}", template):
        if name not in PLACEHOLDERS:
            hint = (
                did_you_mean(name, PLACEHOLDERS) or f"there is {', '.join(f'{{{p}}}' for p in PLACEHOLDERS)}"
            )
            settings.complain(("into",), f"{{{name}}} is no placeholder", hint)
    values = {"stream": draft.name, "table": draft.table, "source": draft.source.name, "node": draft.node}
    path = filled(template, {name: path_part(value) for name, value in values.items()})
    _check_into(settings, template, path)
    return path.strip("/")


def filled(template: str, values: Mapping[str, str]) -> str:
    """A template with its placeholders filled in, `{database}` left as it is."""
    return re.sub(r"\{(stream|table|source|node)\}", lambda found: values[found[1]], template)


def path_part(name: str) -> str:
    """A name as one segment of a path: what would divide or break the path becomes `_`."""
    return "".join("_" if c in "/" + BREAKS_PATHS or not c.isprintable() else c for c in name)


def _check_into(settings: _Settings, template: str, path: str) -> None:
    parts = path.rstrip("/").split("/")
    broken = [c for c in UNEXPANDED.sub("", path) if c in BREAKS_PATHS]
    if template.startswith("/") or "://" in template:
        settings.complain(("into",), f"{template!r} is absolute: 'into' is a path under the target's uri")
    elif ".." in parts or "." in parts:
        settings.complain(("into",), f"{path!r} holds '..' or '.': 'into' stays below the target's uri")
    elif "" in parts or "_delta_log" in parts:
        settings.complain(("into",), f"{path!r} has an empty part or _delta_log in it", "name a folder")
    elif broken:
        settings.complain(("into",), f"{path!r} holds {broken[0]!r}, which delta-rs cannot have in a path")


def _lineage(draft: Draft, settings: _Settings, target: Target) -> tuple[str, ...] | None:
    lineage = settings.get("lineage")
    if lineage != "none":
        return None if lineage is None else tuple(lineage)
    into = settings.get("into") or "{stream}"
    needs_node = not target.is_local and "{node}" not in into
    needs_database = draft.source.is_glob and "{database}" not in into
    mode = settings.get("mode") or "append"
    if mode != "append" and (needs_node or needs_database):
        part = "{node}" if needs_node else "{database}"
        hint = f"remove it, or put {part} into 'into'"
        settings.complain(
            ("lineage",),
            f"mode {mode} changes rows of its own slice only, and needs lineage to know it",
            hint,
        )
    return ()


def _properties(settings: _Settings) -> tuple[tuple[str, str], ...]:
    """Those of the Delta table, as text; the schema has checked the values of those that Delta knows."""
    found = {slot[1]: setting.value for slot, setting in settings.under("properties").items()}
    mode = settings.get("mode") or "append"
    for name, value in found.items():
        if wrong := complaint(name, text(value), mode):
            settings.complain(("properties", name), *wrong, at_key=True)
    return tuple((name, text(value)) for name, value in found.items())


# --- what and in which order ----------------------------------------------------------------------


def _ignored(draft: Draft, settings: _Settings) -> frozenset[str]:
    """Settings that the mode does not use; a written one is a problem."""
    slots = ignored_slots(settings.stacked)
    mode = settings.path("mode")
    for slot in slots:
        path = settings.path(*slot)
        if path[:2] == mode[:2] or (path[:2] == draft.rule.path and not draft.rule.is_pattern):
            what = f"mode {settings.get('mode') or 'append'} does not use {slot[0]!r}"
            settings.complain(slot, what, f"remove it, or choose mode {_users(slot[0])}", at_key=True)
    return frozenset(slot[0] for slot in slots)


def _users(key: str) -> str:
    """The modes that use a setting: `append or merge`."""
    return " or ".join(mode for mode in get_args(Mode) if key not in UNUSED.get(mode, ()))


def _primary_key(settings: _Settings) -> tuple[str, ...]:
    """The columns that are named; () for the table's own key."""
    match settings.get("primary_key"):
        case None | "auto":
            return ()
        case str(column):
            return (column,)
        case columns:
            return tuple(columns)


def _deletes(settings: _Settings) -> Deletes | None:
    match settings.get("deletes"):
        case None:
            return None
        case str(mode):
            return Deletes(mode=mode)  # type: ignore[arg-type]  # one of the two, by the schema
        case options:
            most = options.get("max_fraction")
            return Deletes(
                mode=options.get("mode") or "soft",
                every=duration(options.get("every") or "0s"),
                max_fraction=MAX_FRACTION if most is None else most,
            )


def _check_query_key(draft: Draft, settings: _Settings) -> None:
    """No schema says what tells the rows of a query apart."""
    mode = settings.get("mode")
    if draft.rule.query is None or mode not in ("merge", "mirror") or _primary_key(settings):
        return
    if settings.is_unknown("primary_key"):
        return
    where = settings.path("primary_key") if settings.get("primary_key") else (*draft.rule.path, "query")
    hint = "declare primary_key: [column, ...]; or mode: overwrite"
    message = f"a query has no key of its own, and mode {mode} goes by one"
    settings.problems.append(settings.document.problem(where, message, hint, at_key=True))


def _check_query_cursor(draft: Draft, settings: _Settings, cursor: CursorRule) -> None:
    """A query's rows have no rowid, and nothing detects what tells them apart."""
    has_cursor = (settings.get("mode") or "append") in ("append", "merge")
    if draft.rule.query is None or not has_cursor or cursor.kind == "columns":
        return
    if settings.is_unknown("mode") or settings.is_unknown("cursor"):
        return
    where = settings.path("cursor") if settings.get("cursor") else (*draft.rule.path, "query")
    hint = "declare cursor: [column, ...], unique together; or mode: overwrite"
    message = f"a query has no rowid to go by, and mode {settings.get('mode') or 'append'} needs a cursor"
    settings.problems.append(settings.document.problem(where, message, hint, at_key=True))


def _cursor(settings: _Settings) -> CursorRule:
    match settings.get("cursor"):
        case None | "auto":
            return CursorRule()
        case "rowid":
            return CursorRule(kind="rowid", columns=("rowid",))
        case str(column):
            return CursorRule(kind="columns", columns=(column,))
        case list(columns):
            return CursorRule(kind="columns", columns=tuple(columns))
        case options:
            return _cursor_options(settings, options)


def _cursor_options(settings: _Settings, options: Mapping[str, Plain]) -> CursorRule:
    column, columns = options.get("column"), options.get("columns")
    if column and columns:
        settings.complain(("cursor",), "names both 'column' and 'columns'", "keep one")
    named = tuple(columns or ([column] if column else []))
    kind = "rowid" if column == "rowid" else "columns" if named else "auto"
    _check_initial_value(settings, options, named)
    lookback = options.get("lookback")
    return CursorRule(
        kind=kind,  # type: ignore[arg-type]  # one of the three, by the line above
        columns=named,
        lookback=duration(lookback) if isinstance(lookback, str) else lookback,
        lookback_is_time=isinstance(lookback, str),
        on_null=options.get("on_null") or "fail",
        initial_value=options.get("initial_value"),
        max_skew=duration(options.get("max_skew") or "1h"),
    )


def _check_initial_value(settings: _Settings, options: Mapping[str, Plain], named: tuple[str, ...]) -> None:
    value = options.get("initial_value")
    if value is not None and len(named) != 1:
        hint = "name one column: {column: ..., initial_value: ...}"
        settings.complain(
            ("cursor",),
            f"initial_value {value!r} is a value of one column, and the cursor names {len(named)}",
            hint,
        )


def _aggregate(draft: Draft, settings: _Settings) -> Aggregate | None:
    """The windows of a stream, and what does not go with them."""
    options = settings.get("aggregate")
    if not options:
        return None
    slot: Slot = ("aggregate",)
    if draft.rule.query is not None:
        settings.complain(slot, "an aggregate is of a table, and this stream has a 'query'", "keep one")
    if (mode := settings.get("mode") or "append") != "append":
        hint = "write mode: append; what is to be summed up anew is a query with mode overwrite"
        settings.complain(slot, f"an aggregate appends windows, each once, and the mode is {mode}", hint)
    if settings.get("cursor") is not None and settings.path("cursor")[:2] == draft.rule.path[:2]:
        settings.complain(
            ("cursor",), "an aggregate's cursor is its window_end", "remove it: 'time' names the column"
        )
    made = Aggregate(
        time=options["time"],
        window=duration(options["window"]),
        by=tuple(options.get("by") or ()),
        measures=tuple(options["measures"].items()),
        lateness=duration(options.get("lateness") or "0s"),
        format=options.get("format"),
        timezone=options.get("timezone"),
    )
    _check_windows(settings, made)
    return made


def _check_windows(settings: _Settings, made: Aggregate) -> None:
    slot: Slot = ("aggregate",)
    if made.window <= 0:
        settings.complain(slot, "a window of 0 holds no row", "write window: 1m")
    names = ("window_start", "window_end", *made.by, *(name for name, _ in made.measures))
    folded = [ascii_lower(name) for name in names]
    twice = next((name for name in names if folded.count(ascii_lower(name)) > 1), None)
    if twice is not None:
        settings.complain(slot, f"two of its columns are called {twice!r}", "call the measure otherwise")
    _check_timezone(settings, slot, made.timezone)


def _columns(settings: _Settings) -> tuple[ColumnRule, ...]:
    names = list(dict.fromkeys(slot[1] for slot in settings.under("columns") if len(slot) > 1))
    _report_same(settings, ((("columns", name), name) for name in names), "column")
    rules = tuple(_column(settings, name) for name in names)
    lake = [(("columns", r.name, "rename"), r.rename) for r in rules if r.rename]
    lake += [(("columns", r.name, "expr" if r.value is None else "value"), r.name) for r in rules if r.is_new]
    _report_same(settings, lake, "lake column")
    for slot, name in lake:
        if name.lower().startswith(RESERVED):
            settings.complain(slot, f"{name!r} is a name of silt's own columns", "choose another")
    return rules


def _first_slot(settings: _Settings, slot: Slot) -> Slot:
    return next(iter(settings.under(*slot)), slot)


def _report_same(settings: _Settings, names: Iterable[tuple[Slot, str]], what: str) -> None:
    """Names that differ only in the case of ASCII letters are one name to SQLite and to Delta."""
    seen: dict[str, str] = {}
    for slot, name in names:
        if ascii_lower(name) in seen:
            message = f"the {what} {name!r} is written twice: also as {seen[ascii_lower(name)]!r}"
            settings.complain(_first_slot(settings, slot), message, "keep one")
        seen[ascii_lower(name)] = name


def _column(settings: _Settings, name: str) -> ColumnRule:
    def given(key: str) -> Plain:
        return settings.get("columns", name, key)

    value, expr = given("value"), given("expr")
    _check_new(settings, name)
    _check_type(settings, name, given("type"))
    _check_timezone(settings, ("columns", name, "timezone"), given("timezone"))
    path = settings.path("columns", name, "value")
    return ColumnRule(
        name=name,
        rename=given("rename"),
        renamed_from=given("renamed_from"),
        type=given("type"),
        format=given("format"),
        timezone=given("timezone"),
        value=None if value is None else as_written(settings.document, path, value),
        expr=expr,
        mask=_mask(settings, name),
    )


_NOT_OF_NEW = {
    "value": ("rename", "renamed_from", "format", "timezone", "expr", "mask"),
    "expr": ("rename", "renamed_from"),
    "rename": ("renamed_from",),
}
"""What a column that is not the source's does not take, by the key that makes it."""


def _check_new(settings: _Settings, name: str) -> None:
    for maker, others in _NOT_OF_NEW.items():
        if settings.get("columns", name, maker) is None:
            continue
        for key in (key for key in others if settings.get("columns", name, key) is not None):
            named = key in ("rename", "format", "timezone")
            hint = "its key is its name in the lake" if named else "keep one of them"
            message = f"a column with {'an' if maker == 'expr' else 'a'} {maker!r} takes no {key!r}"
            settings.complain(("columns", name, key), message, hint, at_key=True)


_OF_MASK = {"salt": "sha256", "digits": "round", "length": "truncate"}
"""The mask that each of these keys is for."""


def _mask(settings: _Settings, name: str) -> Mask | None:
    kind, slot = settings.get("columns", name, "mask"), ("columns", name)
    for key, of in _OF_MASK.items():
        if settings.get(*slot, key) is not None and kind != of and _is_written_for(settings, slot, key):
            if settings.is_unknown(*slot, "mask"):
                continue
            there = f"the mask is {kind}" if kind else "there is no mask"
            settings.complain(
                (*slot, key), f"{key!r} is for mask {of}, and {there}", "remove it", at_key=True
            )
    if kind is None:
        return None
    if kind == "sha256":
        _check_digest(settings, slot)
    given = {key: settings.get(*slot, key) for key, of in _OF_MASK.items() if kind == of}
    numbers = {key: value for key, value in given.items() if key != "salt" and value is not None}
    return Mask(kind=kind, salt=_salt(settings, slot) if kind == "sha256" else None, **numbers)


def _is_written_for(settings: _Settings, column: Slot, key: str) -> bool:
    """Whether a key stands in the entry that says the mask, or in the stream's own; else it is ignored."""
    where = settings.path(*column, key)[:2]
    return where in (settings.path(*column, "mask")[:2], settings.home)


def _salt(settings: _Settings, column: Slot) -> Secret:
    path = settings.path(*column, "salt")
    value = settings.get(*column, "salt")
    text = "" if value is None else as_written(settings.document, path, value)
    return settings.secrets.get(path) or Secret(text)


def _check_digest(settings: _Settings, column: Slot) -> None:
    """Without a salt whoever reads the lake can try e-mail addresses until one fits."""
    if settings.get(*column, "salt") is None and not settings.is_unknown(*column, "salt"):
        hint = 'add salt: "${secret:env:SALT}", the same on every node; salt: "" says that none is meant'
        settings.complain((*column, "mask"), "sha256 without a salt is undone by trying values", hint)
    if settings.get(*column, "type") not in (None, "string"):
        settings.complain((*column, "type"), "mask sha256 makes a string", "remove the type", at_key=True)
    for key in ("format", "timezone"):
        if settings.get(*column, key) is not None:
            message = f"mask sha256 takes no {key!r}: it hashes the value as it is stored"
            settings.complain((*column, key), message, "remove it", at_key=True)


def _check_type(settings: _Settings, name: str, kind: Plain) -> None:
    slot = ("columns", name, "type")
    if isinstance(kind, str) and kind.startswith("decimal"):
        precision, scale = (int(n) for n in re.findall(r"\d+", kind))
        if not (1 <= precision <= 38 and scale <= precision):
            settings.complain(slot, f"{kind!r}: the precision is 1 to 38, the scale at most the precision")
    for key in ("format", "timezone"):
        if kind and kind not in ("timestamp", "date") and settings.get("columns", name, key):
            settings.complain(
                ("columns", name, key),
                f"{key!r} is for timestamps and dates, and the type is {kind}",
                at_key=True,
            )


def _check_timezone(settings: _Settings, slot: Slot, zone: Plain) -> None:
    from zoneinfo import ZoneInfo

    if not isinstance(zone, str) or "${" in zone:
        return
    try:
        ZoneInfo(zone)
    except (OSError, ValueError, LookupError):
        hint = did_you_mean(zone, _zones()) or "for example Europe/Berlin or UTC"
        settings.complain(slot, f"{zone!r} is no time zone", hint)


@cache
def _zones() -> frozenset[str]:
    """Every time zone of the machine; finding them reads a few hundred files."""
    from zoneinfo import available_timezones

    return frozenset(available_timezones())


def _check_lists(settings: _Settings) -> None:
    partitions: list[str] = settings.get("partition_by") or []
    if len({ascii_lower(column) for column in partitions}) < len(partitions):
        settings.complain(("partition_by",), "names a column twice", "keep one")
    select: list[str] = settings.get("select") or ["*"]
    if all(column.startswith("-") for column in select):
        settings.complain(("select",), "only leaves columns out, so none is left", 'begin with "*"')


# --- when and how much ----------------------------------------------------------------------------


def _schedule(settings: _Settings) -> Schedule:
    written = settings.get("schedule") or "5m"
    schedule: Mapping[str, Plain] = {"every": written} if isinstance(written, str) else written
    if len(schedule) != 1:
        got = " and ".join(schedule) or "nothing"
        settings.complain(("schedule",), f"takes one of every, cron and on_change, got {got}", "keep one")
    if (cron := schedule.get("cron")) is not None:
        return Schedule(cron=_cron(settings, cron))
    if "on_change" in schedule:
        return Schedule(on_change=_on_change(settings, schedule["on_change"] or {}))
    every = duration(schedule.get("every") or "5m")
    if every <= 0:
        settings.complain(("schedule",), "an interval of 0 would never rest", "write 100ms")
    return Schedule(every=every)


def _cron(settings: _Settings, written: str) -> str:
    if why := complaint_of_cron(written):
        where = (*settings.path("schedule"), "cron")
        hint = 'minute hour day month weekday, for example "*/5 * * * *"'
        settings.problems.append(settings.document.problem(where, why, hint))
    return written


def _on_change(settings: _Settings, written: Mapping[str, Plain]) -> OnChange:
    given = {key: duration(value) for key, value in written.items() if value is not None}
    if "debounce" in given:
        given.setdefault("max_delay", DELAYS * given["debounce"])
    rule = OnChange(**given)
    if rule.max_delay < rule.debounce:
        message = f"max_delay is {rule.max_delay:g} s, less than the debounce of {rule.debounce:g} s"
        settings.complain(("schedule",), message, "max_delay bounds how long writes in a row put a cycle off")
    return rule


def _batch(settings: _Settings) -> Batch:
    most = settings.get("batch", "max_bytes")
    if most is not None and size(most) < 1:
        settings.complain(("batch", "max_bytes"), "a batch of 0 bytes holds no row", "write 64MB")
    return Batch(
        max_rows=settings.get("batch", "max_rows") or 1_000_000,
        max_bytes=size(most or "128MB"),
    )


def _maintenance(settings: _Settings, target: Target) -> Maintenance:
    """What is not written is done where one node writes the table: two would undo each other's work.

    Files that overwrite wrote do not add up: written together, they would only be in the way of the next.
    """
    alone = target.is_local or "{node}" in (settings.get("into") or "")
    adds = settings.get("mode") != "overwrite"
    return Maintenance(
        compact=_compact(settings) if _is_wanted(settings, "compact", alone and adds) else None,
        vacuum=_vacuum(settings) if _is_wanted(settings, "vacuum", alone) else None,
    )


def _is_wanted(settings: _Settings, what: str, by_default: bool) -> bool:  # noqa: FBT001
    """`true` and `false` say it, of one or of both; a map says yes."""
    for said in (settings.get("maintenance", what), settings.get("maintenance")):
        if said is not None:
            return bool(said)
    return by_default or bool(settings.under("maintenance", what))


def _compact(settings: _Settings) -> Compact:
    written = settings.get("maintenance", "compact", "target_size")
    target_size = _file_size(settings) if written is None else size(written)
    if target_size < LEAST_TARGET:
        message = f"files of {written} are small files themselves"
        settings.complain(("maintenance", "compact", "target_size"), message, "write at least 1MB")
    return Compact(every=_rest(settings, "compact", Compact().every), target_size=target_size)


def _file_size(settings: _Settings) -> int:
    """A merge writes every file that holds a changed row again, so that small ones cost less."""
    return REWRITTEN_FILE if settings.get("mode") in ("merge", "mirror") else Compact().target_size


def _vacuum(settings: _Settings) -> Vacuum:
    written = settings.get("maintenance", "vacuum", "retain")
    retain = Vacuum().retain if written is None else duration(written)
    if retain < LEAST_RETAIN:
        message = f"after {written} a query, or a commit, may still need the files"
        settings.complain(("maintenance", "vacuum", "retain"), message, "write at least 1h")
    return Vacuum(every=_rest(settings, "vacuum", Vacuum().every), retain=retain)


def _rest(settings: _Settings, what: str, default: float) -> float:
    """How long upkeep rests at least between two times."""
    written = settings.get("maintenance", what, "every")
    every = default if written is None else duration(written)
    if every <= 0:
        settings.complain(
            ("maintenance", what, "every"),
            "an interval of 0 would never rest",
            "write 1h, or false for never",
        )
    return every
