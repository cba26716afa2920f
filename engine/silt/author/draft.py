"""Sources with what is in them -> the streams of a manifest, as written: names, modes, settings, reasons."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count

from silt import types
from silt.author.mode import MODES, Suggestion, suggest, together
from silt.author.origin import Origin
from silt.author.survey import ColumnSurvey, TableSurvey
from silt.manifest.streams import path_part
from silt.plan.fields import lake_name
from silt.shapes import ColumnCensus, ascii_lower
from silt.source.cursor import times

Setting = str | Mapping[str, "Setting"]

_LONGEST = 120
"""Bytes of a folder's name: filesystems take 255, and delta-rs adds its own beneath."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftStream:
    """An entry under `streams`: its key, its settings in order, and the sentences that say why.

    `offers` are settings of columns that a person may want, written as a comment.
    """

    key: str
    settings: Mapping[str, Setting]
    mode: str
    reasons: tuple[str, ...]
    offers: Mapping[str, Setting] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What a manifest will say; `left_out` are (table, why) of what it cannot replicate."""

    origins: tuple[Origin, ...]
    streams: tuple[DraftStream, ...]
    left_out: tuple[tuple[str, str], ...] = ()

    @property
    def modes(self) -> dict[str, int]:
        """How many streams there are of each mode, `append` first."""
        counted = {mode: sum(s.mode == mode for s in self.streams) for mode in MODES}
        return {mode: number for mode, number in counted.items() if number}


@dataclass(slots=True)
class _Names:
    """Stream names and folders that are taken, without regard to case: other engines do not tell it apart."""

    names: set[str] = field(default_factory=set)
    folders: set[str] = field(default_factory=set)

    def take(self, proposals: Iterator[str]) -> str:
        name = next(n for n in proposals if n.casefold() not in self.names)
        self.names.add(name.casefold())
        return name

    def folder(self, name: str) -> str | None:
        """None where the stream's own name does as its folder; else another name, that nothing has."""
        plain = path_part(name)
        fits = plain.strip() == plain and plain not in ("", ".", "..", "_delta_log")
        free = plain.casefold() not in self.folders and len(plain.encode()) <= _LONGEST
        if fits and free:
            self.folders.add(plain.casefold())
            return None
        base = re.sub(r"[^\w-]+", "_", plain).encode()[: _LONGEST - 8].decode(errors="ignore").strip("_")
        proposals = (base if n == 1 else f"{base}_{n}" for n in count(1 if base else 2))
        other = next(n for n in proposals if n.casefold() not in self.folders)
        self.folders.add(other.casefold())
        return other


def draft(origins: Sequence[Origin]) -> Draft:
    """The streams of `origins`, in their order and by the names of their tables."""
    names = _Names()
    streams: list[DraftStream] = []
    left_out: list[tuple[str, str]] = []
    clashing = _clashing(origins)
    for origin in origins:
        for name, seen in _by_table(origin).items():
            why = _unfit(seen)
            if why:
                left_out.append((name or '""', why))
            else:
                streams.append(_stream(origin, name, seen, names, clashing, several=len(origins) > 1))
        left_out += [(s.database.path, s.error.what) for s in origin.surveys if s.error is not None]
    return Draft(origins=tuple(origins), streams=tuple(streams), left_out=tuple(left_out))


def _by_table(origin: Origin) -> dict[str, list[TableSurvey]]:
    """The tables of a source under their names, as SQLite compares names; each database's survey of it."""
    spelled: dict[str, str] = {}
    found: dict[str, list[TableSurvey]] = {}
    for seen in (t for s in origin.surveys for t in s.tables):
        name = spelled.setdefault(ascii_lower(seen.table.name), seen.table.name)
        found.setdefault(name, []).append(seen)
    return dict(sorted(found.items()))


def _clashing(origins: Sequence[Origin]) -> set[str]:
    """Names of tables that more than one source has."""
    of = [{name.casefold() for name in _by_table(origin)} for origin in origins]
    return {name for i, names in enumerate(of) for other in of[i + 1 :] for name in names & other}


def _unfit(seen: Sequence[TableSurvey]) -> str:
    """Why a table gets no stream; '' where it gets one."""
    table, error = seen[0].table, next((t.error for t in seen if t.error), None)
    if table.kind == "view":
        return "a view: a stream of mode overwrite replicates what it shows"
    if table.kind != "table" or table.note:
        return table.note or table.kind
    if error is not None:
        return error.what
    if not table.name:
        return "a table without a name: a manifest cannot say it"
    try:
        table.name.encode()
    except UnicodeEncodeError:
        return "its name is not UTF-8"
    return ""


# --- one stream -----------------------------------------------------------------------------------


def _stream(
    origin: Origin,
    table: str,
    seen: Sequence[TableSurvey],
    names: _Names,
    clashing: set[str],
    *,
    several: bool,
) -> DraftStream:
    told = together([(t, suggest(t)) for t in seen])
    key, stream, settings = _key(origin, table, names, clashing)
    if several:
        settings = {"source": origin.name, **settings}
    into = names.folder(stream)
    settings |= {"into": into} if into else {}
    columns, remarks = _columns(origin, seen)
    settings |= {"mode": told.mode} | ({"columns": columns} if columns else {})
    return DraftStream(
        key=key,
        settings=settings,
        mode=told.mode,
        reasons=(_reason(seen, told), *_more(seen, told), *remarks),
        offers=dict(_instants(seen[0], columns)),
    )


def _key(
    origin: Origin, table: str, names: _Names, clashing: set[str]
) -> tuple[str, str, dict[str, Setting]]:
    """(key under `streams`, the stream's name, `table` where the key does not say it).

    A name with wildcards is written as the pattern that matches it and nothing else.
    """
    shown = "".join(c if c.isprintable() else "_" for c in table)
    plain = shown if shown.strip() else "table"
    qualified = f"{origin.name}_{plain}"
    numbered = (f"{qualified}_{n}" for n in count(2))
    first = (qualified,) if table.casefold() in clashing else (plain, qualified)
    name = names.take(iter((*first, *(next(numbered) for _ in range(1000)))))
    pattern = glob.escape(table)
    if pattern != table and name == table:
        return pattern, name, {}
    key = "".join("_" if c in "*?[" else c for c in name)
    return key, key, {} if key == table else {"table": pattern}


def _reason(seen: Sequence[TableSurvey], told: Suggestion) -> str:
    rows = sum(t.at_least for t in seen)
    more = ">" if any(t.rows is None for t in seen) else ""
    where = f" in {len(seen):,} databases" if len(seen) > 1 else ""
    return f"{more}{rows:,} {'row' if rows == 1 else 'rows'}{where}; {told.mode}: {told.why}"


def _more(seen: Sequence[TableSurvey], told: Suggestion) -> Iterator[str]:
    """The cursor and the next best, or how append would go; what speaks against the cursor."""
    choice = seen[0].choice
    if choice is None:
        return
    if told.mode == "append":
        yield f"cursor: {choice.why}"
    elif seen[0].table.rowid_alias is not None and choice.order is not None:
        yield f"append would send the new rows alone, by {seen[0].table.rowid_alias}, its INTEGER PRIMARY KEY"
    elif choice.order is not None:
        yield f"append would send the new rows alone, by {choice.why}"
    if told.mode == "append" or choice.order is None:
        yield from (f"next best: {', '.join(c.columns)} ({c.why})" for c in choice.runners_up[:1])
    yield from choice.warnings


# --- columns --------------------------------------------------------------------------------------


def _columns(origin: Origin, seen: Sequence[TableSurvey]) -> tuple[dict[str, dict[str, Setting]], list[str]]:
    """Settings that pin what only the values say, and remarks on what a person may want to settle."""
    settings: dict[str, dict[str, Setting]] = {}
    remarks: dict[str, list[tuple[str, str]]] = {}
    merged = _merged(seen)
    for name, new in _renamed(origin, merged).items():
        settings.setdefault(name, {})["rename"] = new
    for name, found in merged.items():
        pin = _pin(found)
        if pin:
            settings.setdefault(name, {}).update(pin)
        for warning in dict.fromkeys(c.warning for c, _ in found if c.warning and _worth(c)):
            remarks.setdefault(warning.partition(" (")[0], []).append((name, warning))
    return settings, [_remark(what, said) for what, said in remarks.items()]


def _remark(what: str, said: Sequence[tuple[str, str]]) -> str:
    """What is to be said of columns, of several of them once and without their censuses."""
    return f"{', '.join(name for name, _ in said)}: {said[0][1] if len(said) == 1 else what}"


def _worth(seen: ColumnSurvey) -> bool:
    """No value seen, in a column that says what it will hold, is no news."""
    return not (seen.warning or "").startswith("no value seen")


_Found = list[tuple[ColumnSurvey, ColumnCensus | None]]


def _merged(seen: Sequence[TableSurvey]) -> dict[str, _Found]:
    """The columns of a table over all databases, by name as SQLite compares names."""
    spelled: dict[str, str] = {}
    merged: dict[str, _Found] = {}
    for table in seen:
        for column in table.columns:
            name = spelled.setdefault(ascii_lower(column.column.name), column.column.name)
            counts = table.census.column(column.column.name) if table.census else None
            merged.setdefault(name, []).append((column, counts))
    return merged


def _pin(found: _Found) -> dict[str, Setting]:
    """The type where the values, not the declaration, decide it, or databases differ in it.

    A value that does not fit would be NULL there: a column where one was seen is text without loss.
    """
    filled = [(c, n) for c, n in found if n and n.classes] or found
    chosen = {(c.type, _numbered(c.format)) for c, _ in filled}
    if any(_strays(c, n) for c, n in filled) or len({kind for kind, _ in chosen}) > 1 or len(chosen) > 1:
        return {"type": "string"}
    ((kind, form),) = chosen
    every = {c.type for c, _ in found}
    declared, _, _ = types.choose(filled[0][0].column, None)
    if declared == kind and form is None and len(every) == 1:
        return {}
    return {"type": kind, "format": form} if form else {"type": kind}


def _numbered(form: str | None) -> str | None:
    """The format of a time that is stored as a number, which no declaration tells."""
    base = types.base_format(form or "")
    return base if base in types.NUMBER_FORMATS else None


def _strays(seen: ColumnSurvey, counts: ColumnCensus | None) -> bool:
    """Whether a value was seen that is none of the column's type."""
    if counts is None or seen.type in (
        "string",
        "binary",
        "boolean",
    ):  # boolean only where every value is one
        return False
    if seen.type in ("timestamp", "date"):
        timely = sum(n for form, n in counts.formats if types.base_format(form) in types.TIME_FORMATS)
        return timely - counts.fine < counts.integers + counts.reals + counts.texts + counts.blobs
    others = counts.texts + counts.blobs + (counts.reals if seen.type == "bigint" else 0)
    return others > 0


def _instants(
    seen: TableSurvey, settings: Mapping[str, Mapping[str, Setting]]
) -> Iterator[tuple[str, dict[str, Setting]]]:
    """Columns whose values and name say that they are times, though their declared type does not."""
    if seen.census is None:
        return
    kinds = {c.column.name: c.type for c in seen.columns}
    for name, form in times(seen.table, seen.census).items():
        if kinds[name] in ("timestamp", "date") or name in settings:
            continue
        base = types.base_format(form)
        kind = "date" if base == "date_text" else "timestamp"
        yield name, {"type": kind, "format": base}


# --- names in the lake ----------------------------------------------------------------------------


def _renamed(origin: Origin, merged: Mapping[str, _Found]) -> dict[str, str]:
    """New names for columns whose lake names would be one, whatever the case of their letters."""
    taken = {"_silt_database"} if origin.is_glob else set()
    wanted = [lake_name(name).lower() for name in merged]
    renamed: dict[str, str] = {}
    for name in merged:
        plain = lake_name(name)
        if plain.lower() not in taken:
            taken.add(plain.lower())
            continue
        base = plain.lstrip("_") or "column"
        free = (f"{base}_{n}" for n in count(2))
        new = next(n for n in free if n.lower() not in taken and n.lower() not in wanted)
        taken.add(new.lower())
        renamed[name] = new
    return renamed
