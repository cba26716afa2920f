"""A plan and its outlook: what would be done, as text in MOCKUPS' tone or as DESIGN 10's object."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from silt.errors import SiltError
from silt.manifest.model import Place
from silt.manifest.redact import plain_uri
from silt.plan.model import COMMENT, Action, LakeColumn, Outlook, Plan, Setting, State, StreamPlan, TablePlan
from silt.report import failure
from silt.report.layout import Row, paragraph, signed, table
from silt.report.units import SIGNS, count, counted, duration, size
from silt.shapes import CursorChoice

SHOWN_QUIET: Final = 12
"""Up to so many streams are all listed; of more, those that are up to date share a line."""

_ERRORS: Final = 5
"""Errors of one stream that `plan` tells; a glob may have as many as files."""

_LABEL: Final = 12  # columns before the text of a detail: "    cursor  "


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A stream's plan beside what a cycle would do now; the two make one line."""

    plan: StreamPlan
    outlook: Outlook

    @property
    def state(self) -> State:
        return self.plan.state if self.plan.state in ("disabled", "failing", "held") else self.outlook.state

    @property
    def error(self) -> SiltError | None:
        return self.plan.error or self.outlook.error

    @property
    def errors(self) -> tuple[SiltError, ...]:
        """All that is wrong, what a person reads first in front."""
        return tuple(dict.fromkeys((*self.plan.errors, *self.outlook.errors)))

    @property
    def place(self) -> Place | None:
        return self.plan.stream.place_of(self.error)

    @property
    def changes(self) -> bool:
        """Whether a run would write anything; where something fails, the databases that do not go on."""
        stuck = self.state in ("failing", "held")
        idle = ("hold", "wait", "defer", *(("create", "alter") if stuck else ()))
        return self.state != "disabled" and any(a.kind not in idle for a in self.outlook.actions)

    @property
    def quiet(self) -> bool:
        """Nothing to do and nothing wrong."""
        return self.state in ("ok", "disabled", "running") and not self.changes

    @property
    def sign(self) -> str:
        if self.state in ("failing", "held", "disabled"):
            return SIGNS[self.state]
        kinds = {action.kind for action in self.outlook.actions}
        by_kind = (("create", "+"), ("alter", "~"), ("restart", "~"), ("hold", "!"))
        found = next((sign for kind, sign in by_kind if kind in kinds), "")
        return found or (">" if self.changes else SIGNS[self.state])


def entries(plan: Plan, outlooks: Sequence[Outlook]) -> tuple[Entry, ...]:
    """Every stream of `plan` with its outlook; one that has none is as its plan says."""
    known = {outlook.stream: outlook for outlook in outlooks}
    return tuple(
        Entry(plan=p, outlook=known.get(p.stream.name) or Outlook(stream=p.stream.name, state=p.state))
        for p in plan.streams
    )


def changes(plan: Plan, outlooks: Sequence[Outlook]) -> bool:
    """Whether a run would write anything (`--detailed-exitcode`)."""
    return any(entry.changes for entry in entries(plan, outlooks))


# --- text -----------------------------------------------------------------------------------------


def text(
    plan: Plan, outlooks: Sequence[Outlook], *, seconds: float, every: bool = False, width: int = 100
) -> list[str]:
    """What `silt plan` prints; `every` lists the streams that are up to date too."""
    rows = entries(plan, outlooks)
    shown = tuple(e for e in rows if every or len(rows) <= SHOWN_QUIET or not e.quiet)
    lines = [
        *paragraph(_head(plan, seconds), width=width),
        "",
        *_table(shown, hidden=len(rows) - len(shown), width=width),
        "",
    ]
    details = [line for entry in shown for line in _details(entry, every=every, width=width)]
    notes = [line for note in plan.notes for line in paragraph(note, width=width, first="note  ")]
    for block in (details, notes):
        lines += [*block, ""] if block else []
    return lines + _closing(plan, rows, width)


def place(plan: Plan) -> str:
    """The name of the manifest's file or folder, and the node, as every verb's first line begins."""
    return f"{Path(plan.manifest.path).absolute().name}, node {plan.manifest.node}"


def _head(plan: Plan, seconds: float) -> str:
    databases = {
        (p.stream.source, part.database.path) for p in plan.streams for t in p.tables for part in t.parts
    }
    streams, found = counted(len(plan.streams), "stream"), counted(len(databases), "database")
    return f"{place(plan)}: {streams}, {found}, looked at in {duration(seconds)}"


def _table(shown: Sequence[Entry], *, hidden: int, width: int) -> list[str]:
    if not shown:
        return [f"  {counted(hidden, 'stream')}, up to date (--all lists them)"]
    head: Row = ("stream", "mode", "cursor", "pending", "would do")
    rows = [head, *(_cells(entry) for entry in shown)]
    lines = table(rows, right={3}, width=width - 2)
    signs = [" ", *(entry.sign for entry in shown)]
    drawn = [signed(sign, line) for sign, line in zip(signs, lines, strict=True)]
    return [*drawn, f"  {hidden:,} more: up to date (--all lists them)"] if hidden else drawn


def _cells(entry: Entry) -> Row:
    return (entry.plan.stream.name, entry.plan.stream.mode, _cursor(entry), _pending(entry), _would_do(entry))


def _cursor(entry: Entry) -> str:
    choice = entry.plan.cursor
    if choice is None or choice.order is None:
        return "-"
    return ", ".join(choice.order.cursor) + (" (auto)" if _detected(entry.plan) else "")


def _detected(plan: StreamPlan) -> bool:
    """Whether silt chose the cursor: a position pins the choice (DESIGN 4.1), and it stays silt's own."""
    declared = plan.stream.aggregate is not None
    return (
        not declared
        and plan.cursor is not None
        and (plan.cursor.detected or plan.stream.cursor.kind == "auto")
    )


def _pending(entry: Entry) -> str:
    outlook = entry.outlook
    if entry.state == "disabled" or (entry.state in ("failing", "held") and not entry.changes):
        return "-"
    if outlook.pending_rows is not None:
        return count(outlook.pending_rows)
    return f">{outlook.pending_at_least:,}" if outlook.pending_at_least else "?"


def _would_do(entry: Entry) -> str:
    if entry.state in ("held", "failing"):
        return f"{_acts(entry)}; the rest: {entry.state}" if entry.changes else f"nothing: {entry.state}"
    if entry.state == "disabled":
        return "nothing: disabled"
    if not entry.outlook.actions:
        return "nothing: waiting" if entry.state == "waiting" else "nothing: up to date"
    about = f", about {size(entry.outlook.pending_bytes)}" if entry.outlook.pending_bytes else ""
    return _acts(entry) + about


def _acts(entry: Entry) -> str:
    kinds = {action.kind for action in entry.outlook.actions}
    # The rows of a table to be made stand under `pending`; that it would be replaced says nothing more.
    silent = {"hold"} | ({"replace"} if "create" in kinds else set())
    return ", ".join(a.text for a in entry.outlook.actions if a.kind not in silent)


def _details(entry: Entry, *, every: bool, width: int) -> list[str]:
    """What is worth a word about a stream; nothing where its line in the table says it all."""
    facts = list(_facts(entry, every=every))
    if not facts:
        return []
    where = _where(entry.plan)
    lines = [f"{entry.sign} {entry.plan.stream.name}" + (f" -> {where}" if where else "")]
    for label, words in facts:
        lines += paragraph(words, width=width, first=f"    {label:<8}")
    return lines


def _where(plan: StreamPlan) -> str:
    if not plan.tables:
        return ""
    first = plain_uri(plan.tables[0].uri)
    return first if len(plan.tables) == 1 else f"{first} and {len(plan.tables) - 1:,} more"


def _facts(entry: Entry, *, every: bool) -> Iterator[tuple[str, str]]:
    """What a person needs to know of a stream, as (label, sentence); `every`: its cursor in any case."""
    label = "held" if entry.state == "held" else "failed"
    for error in entry.errors[:_ERRORS]:
        yield label, failure.located(error, entry.plan.stream.place_of(error))
        if error.hint:
            yield "do", error.hint
    if more := entry.errors[_ERRORS:]:
        yield "", f"{len(more):,} more: `silt validate --connect` lists them"
    if every or not all(table.exists for table in entry.plan.tables):
        yield from _cursor_facts(entry.plan)
    if entry.plan.cursor is not None:
        yield from (("warning", warning) for warning in entry.plan.cursor.warnings)
    yield from (("schema", words) for words in _schema_facts(entry.plan.tables))
    yield from dict.fromkeys(_setting_fact(s) for t in entry.plan.tables for s in t.settings)
    notes = dict.fromkeys((*entry.plan.notes, *entry.outlook.notes))
    yield from (("note", note) for note in notes)


def _setting_fact(setting: Setting) -> tuple[str, str]:
    """`comment  what analysts read (was 'x')`, `set  delta.appendOnly = true (was false)`."""
    was = f" (was {setting.was!r})" if setting.was is not None else ""
    if setting.name == COMMENT:
        return "comment", setting.value + was
    return "set", f"{setting.name} = {setting.value}{was}"


def _cursor_facts(plan: StreamPlan) -> Iterator[tuple[str, str]]:
    if plan.cursor is None:
        return
    words = plan.cursor.why
    best = plan.cursor.runners_up[:1]
    if best:
        words += f". Next best: {', '.join(best[0].columns)} ({best[0].why})"
    yield "cursor", words


def _schema_facts(tables: Sequence[TablePlan]) -> Iterator[str]:
    """The columns of tables to be made, and those that existing ones lack; tables that say the same, once."""
    said = (
        _named(t.columns) if not t.exists else "+ " + _named(t.add) for t in tables if not t.exists or t.add
    )
    yield from dict.fromkeys(said)


def _named(columns: Sequence[LakeColumn]) -> str:
    shown = ", ".join(f"{c.name} {c.type}" for c in columns[:40])
    return shown + (f" and {len(columns) - 40} more" if len(columns) > 40 else "")


def _closing(plan: Plan, rows: Sequence[Entry], width: int) -> list[str]:
    path = plan.manifest.path
    if not any(entry.changes for entry in rows):
        return [*_troubles(rows), _quiet_words(rows)]
    return [
        *paragraph(_totals(rows), width=width),
        *paragraph(f"Nothing was written. To do it: silt run {_shown(path)} --once", width=width),
    ]


def _quiet_words(rows: Sequence[Entry]) -> str:
    if all(entry.state in ("ok", "running", "disabled") for entry in rows):
        return "Nothing to do: the lake has every row."
    return "Nothing to do now, and nothing was written."


def _troubles(rows: Sequence[Entry]) -> list[str]:
    words = _states(rows)
    return [f"{words}."] if words else []


def _totals(rows: Sequence[Entry]) -> str:
    acting = [entry for entry in rows if entry.changes]
    pending = sum(e.outlook.pending_rows or e.outlook.pending_at_least or 0 for e in acting)
    exact = all(e.outlook.pending_rows is not None for e in acting)
    parts = [
        f"{_how_many(acting, 'create')} to create",
        f"{_how_many(acting, 'alter')} to alter",
        f"{'' if exact else 'more than '}{pending:,} rows to write",
    ]
    deleted = sum(e.outlook.pending_deletes for e in acting)
    parts += [f"{deleted:,} to delete"] if deleted else []
    replaced = ("replace", "restart")
    destructive = sum(
        1 for e in acting if any(a.destructive and a.kind in replaced for a in e.outlook.actions)
    )
    parts += [f"{counted(destructive, 'slice')} to replace"] if destructive else []
    states = _states(rows)
    return ", ".join(parts + ([states] if states else [])) + "."


def _how_many(rows: Sequence[Entry], kind: str) -> int:
    return sum(1 for e in rows if any(action.kind == kind for action in e.outlook.actions))


def _states(rows: Sequence[Entry]) -> str:
    tally = {state: sum(1 for e in rows if e.state == state) for state in ("failing", "held", "waiting")}
    return ", ".join(f"{number:,} {state}" for state, number in tally.items() if number)


def _shown(path: str) -> str:
    """A path as a person would type it in a shell here: relative where shorter, quoted where needed."""
    import os
    import shlex

    relative = os.path.relpath(path)
    return shlex.quote(relative if len(relative) < len(path) else path)


command_path = _shown


# --- JSON -----------------------------------------------------------------------------------------


def data(plan: Plan, outlooks: Sequence[Outlook]) -> dict[str, object]:
    """`{"streams": [...], "changes"}` of DESIGN 10, with tables, notes, and errors added."""
    rows = entries(plan, outlooks)
    return {
        "manifest": {"path": plan.manifest.path, "name": plan.manifest.name, "node": plan.manifest.node},
        "streams": [_stream(entry) for entry in rows],
        "changes": any(entry.changes for entry in rows),
        "notes": list(plan.notes),
    }


def _stream(entry: Entry) -> dict[str, object]:
    stream, outlook = entry.plan.stream, entry.outlook
    return {
        "name": stream.name,
        "source": stream.source,
        "table": stream.table,
        "into": stream.into,
        "target": stream.target,
        "mode": stream.mode,
        "cursor": _cursor_data(entry.plan),
        "pending_rows": outlook.pending_rows,
        "pending_at_least": outlook.pending_at_least,
        "pending_bytes": outlook.pending_bytes,
        "pending_deletes": outlook.pending_deletes,
        "batches": outlook.batches,
        "schema": _schema(entry.plan.tables),
        "tables": [_table_data(t) for t in entry.plan.tables],
        "actions": [_action(a) for a in outlook.actions],
        "notes": list(dict.fromkeys((*entry.plan.notes, *outlook.notes))),
        "state": entry.state,
        **failure.data(entry.error, entry.place),
    }


def _cursor_data(plan: StreamPlan) -> dict[str, object] | None:
    return None if plan.cursor is None else cursor_data(plan.cursor, detected=_detected(plan))


def cursor_data(choice: CursorChoice, *, detected: bool) -> dict[str, object]:
    """A choice of a cursor as every JSON object has it."""
    return {
        "kind": choice.order.kind if choice.order else None,
        "columns": list(choice.order.cursor) if choice.order else [],
        "tie_breaker": list(choice.order.tie) if choice.order else [],
        "detected": detected,
        "why": choice.why,
        "runners_up": [{"columns": list(c.columns), "why": c.why} for c in choice.runners_up],
        "warnings": list(choice.warnings),
    }


def _schema(tables: Sequence[TablePlan]) -> dict[str, object] | None:
    """Column -> type over all tables of the stream; `add` are those that an existing table lacks."""
    if not tables:
        return None
    return {
        "columns": _types(c for t in tables for c in t.columns),
        "add": _types(c for t in tables for c in t.add),
        "partition_by": list(tables[0].partition_by),
    }


def _types(columns: Iterator[LakeColumn]) -> Mapping[str, str]:
    return {c.name: c.type for c in columns}


def _table_data(planned: TablePlan) -> dict[str, object]:
    return {
        "into": planned.into,
        "uri": plain_uri(planned.uri),
        "exists": planned.exists,
        "databases": [part.database.name for part in planned.parts],
        "shared_with": list(planned.shared),
        "settings": [{"name": s.name, "value": s.value, "was": s.was} for s in planned.settings],
    }


def _action(action: Action) -> dict[str, object]:
    return {"kind": action.kind, "text": action.text, "destructive": action.destructive}
