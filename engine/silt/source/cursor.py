"""Which columns a stream's rows are read in the order of, and why (DESIGN 4.3, 8).

Evidence before names: an INTEGER PRIMARY KEY is commit order, since SQLite has one writer, while a time
column loses rows that commit late (measured: 60 of 785).  A choice is a value, deterministic, and says
its reasons, the runners-up, or why nothing is safe and what would make it so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Final

from silt import types
from silt.errors import UserError, Wrong
from silt.shapes import (
    GREATEST_ROWID,
    Candidate,
    Column,
    ColumnCensus,
    CursorChoice,
    Index,
    Order,
    Table,
    TableCensus,
    ascii_lower,
)

_ROWIDS: Final = ("rowid", "_rowid_", "oid")
_CREATED: Final = ("created", "inserted", "timestamp", "time", "ts", "logged", "recorded", "received")
_UPDATED: Final = ("updated", "modified", "changed", "edited", "last", "touched")
_TIMES: Final = frozenset({*_CREATED, *_UPDATED, "at", "date", "datetime", "epoch", "when"} - {"last"})
_NOW: Final = ("current_timestamp", "current_date", "current_time", "now", "unixepoch(")
_ENOUGH: Final = 20
"""So many values that rise do not do so by chance."""
_FAR: Final = 1_000
"""Ids so far apart, on the median, are given by an application, not by SQLite."""
_DISORDER: Final = 0.2
"""Times that fall at one step in five do not rise with the ids: half of the steps of random ids fall."""
_LATE: Final = 0.01
"""A time taken before the write lock may fall now and then: at no more than one step in a hundred."""
_SAFE: Final = "an INTEGER PRIMARY KEY, or a NOT NULL column that rises with each commit, would make it safe"


def detect(
    table: Table,
    census: TableCensus | None,
    *,
    kind: str = "auto",
    columns: tuple[str, ...] = (),
    mode: str = "append",
    recorded: tuple[str, ...] = (),
    lookback: bool = False,
    key: tuple[str, ...] = (),
) -> CursorChoice:
    """The cursor of `table`: detected (`auto`), its `rowid`, or the declared `columns`.

    `recorded` is the cursor of a position, as `plan.verdict.definition` spells it: its tie-breaker stays
    where it still tells rows apart, though an index that came later offers another.  With `lookback`
    declared, nothing advises it.  `order` is None where nothing is safe.  A `mode` without a cursor
    (overwrite) gets none; merge goes by a column that is written again when a row changes, and tells ties
    apart by `key`.

    Raises `UserError` for declared columns that the table does not have.
    """
    seen = census or TableCensus(table=table.name, rows=0, complete=False)
    if mode == "overwrite":
        return CursorChoice(
            order=None, detected=False, why="overwrite reads the whole table: it needs no cursor"
        )
    if mode == "merge":
        return _of_merge(table, seen, kind, columns, key, lookback=lookback)
    if kind == "auto":
        return _detected(table, seen)
    if kind == "rowid":
        return _by_rowid(table)
    return _declared(table, seen, columns, recorded, lookback=lookback)


def _of_merge(
    table: Table,
    census: TableCensus,
    kind: str,
    columns: tuple[str, ...],
    key: tuple[str, ...],
    *,
    lookback: bool,
) -> CursorChoice:
    """A row that changes moves up in this order, so ties are never known to come in the order of commits."""
    if kind == "auto":
        choice = _of_changes(table, census)
    elif kind == "rowid":
        choice = _by_rowid(table)
    else:
        choice = _declared(table, census, columns, (), lookback=lookback)
    order = choice.order
    if order is None:
        return choice
    if order.kind == "columns" and (table.kind == "view" or is_distinct(table, key)):
        order = replace(order, tie=_left(key, order.cursor), renumbers=False)
    doubts = _moving_doubts(table, census, order, key, lookback=lookback)
    pinned = replace(order, moves=True, rises=order.kind == "rowid", relation=f"merge:{', '.join(key)}")
    return replace(choice, order=pinned, warnings=tuple(doubts))


def _of_changes(table: Table, census: TableCensus) -> CursorChoice:
    """The column that says when a row changed: by a trigger, or by its name over values that are times."""
    found = _changing(table, census)
    usable = next((e for e in found if not e.objection or (e.values == 0 and not e.count.nulls)), None)
    if usable is None:
        return CursorChoice(
            order=None,
            detected=True,
            why=f"no column of {table.name} is known to be written again when a row changes",
            runners_up=_runners_up(found),
        )
    name = usable.column.name
    says = f"trigger {usable.set_by} sets it" if usable.set_by else "by its name"
    return CursorChoice(
        order=Order(kind="columns", cursor=(name,), rises=False),
        detected=True,
        why=f"{name}, because it is written again when a row changes: {says} ({usable.why})",
        runners_up=_runners_up([e for e in found if e is not usable]),
        storage=usable.count.classes[0] if usable.count.classes else None,
        time_format=usable.form,
    )


def _moving_doubts(
    table: Table, census: TableCensus, order: Order, key: tuple[str, ...], *, lookback: bool
) -> Iterator[str]:
    """What may keep a merge from seeing that a row changed."""
    name = order.cursor[0]
    lead = next((e for e in _evidence(table, census) if e.column.name == name), None)
    if order.kind == "rowid" or lead is None:
        if set(key) <= set(order.cursor):
            yield f"{name} stays when a row changes: changes are missed"
        return
    if not lead.changes:
        yield f"nothing says that {name} is written again when a row changes: a change without it is missed"
    if lead.form is not None and not lookback:
        yield f"rows that commit with an earlier {name} than the last are missed: `lookback` reads them again"
    if not lead.indexed:
        yield f"no index on {name}: each cycle reads the whole table"
    if order.renumbers:
        yield f"VACUUM may renumber the rowids that tell ties of {name} apart: the stream may then be held"


def is_distinct(table: Table, key: tuple[str, ...]) -> bool:
    """Whether the schema promises that no two rows have one `key`."""
    keys = (*_unique_keys(table), *_nullable_keys(table))
    return any(set(known) <= set(key) for known in keys)


def unique_keys(table: Table) -> tuple[tuple[str, ...], ...]:
    """The column sets that tell rows apart and hold no NULL, the primary key first."""
    return tuple(dict.fromkeys((*([table.primary_key] if table.primary_key else ()), *_unique_keys(table))))


# --- evidence -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Evidence:
    """What speaks for and against one column as a cursor."""

    column: Column
    place: int
    count: ColumnCensus
    complete: bool
    indexed: bool
    unique: bool
    set_by: str = ""

    @property
    def form(self) -> str | None:
        """The one format of time that all its values have, else None.

        A number is a time only where its type or name says so: ids of 19 digits look like nanoseconds
        of some day ahead, and rows past now + max_skew would wait for that day.
        """
        if self.count.told is not None:
            return self.count.told
        forms = [name for name, _ in self.count.formats]
        if len(forms) != 1 or self.count.blobs or types.base_format(forms[0]) not in types.TIME_FORMATS:
            return None
        if types.base_format(forms[0]) in types.NUMBER_FORMATS and not self._says_time:
            return None
        return forms[0]

    @property
    def _says_time(self) -> bool:
        """Whether a number may be a time: its type says so, or its name and it is no key."""
        named = bool(set(_name_words(self.column.name)) & _TIMES)
        return self.declared_time or (named and not self.unique)

    @property
    def declared_form(self) -> str | None:
        """The format of a declared cursor: that of most of its texts, so that others are seen as strays.

        Where its type or name says that it holds times, that of any of them: a stray may be one of two rows.
        """
        times = [found for found in self.count.formats if types.base_format(found[0]) in types.TEXT_FORMATS]
        if not times or self.count.blobs:
            return self.form
        name, count = times[0]
        several = len(times) == len(self.count.formats)
        said = self._says_time and self.count.texts == self.values
        return name if several or said or count * 2 > self.values else self.form

    @property
    def values(self) -> int:
        return self.count.integers + self.count.reals + self.count.texts + self.count.blobs

    @property
    def ties(self) -> int:
        return self.values - self.count.distinct

    @property
    def declared_time(self) -> bool:
        """Whether its name or type says that it is a time: the seed's rule, and the type's family."""
        named = ascii_lower(self.column.name) == "timestamp" or "date" in self.column.declared.lower()
        return named or types.family(self.column.declared) in ("timestamp", "date")

    @property
    def named_of_change(self) -> bool:
        """Whether its name says that it is written again when its row changes."""
        return bool(set(_name_words(self.column.name)) & set(_UPDATED))

    @property
    def named_of_creation(self) -> bool:
        """Whether its name, or the clock as its default, says that it is written once."""
        default = (self.column.default or "").lower()
        now = self.declared_time and any(word in default for word in _NOW)
        return now or bool(set(_name_words(self.column.name)) & set(_CREATED))

    @property
    def changes(self) -> bool:
        """Whether it is a time that is written again when its row changes."""
        if self.set_by:
            return True
        unseen = self.values == 0 and self.declared_time
        return self.named_of_change and (unseen or self.form is not None)

    @property
    def objection(self) -> str:
        """Why it cannot order rows; '' where it can."""
        if self.values == 0:
            return "no value seen" if self.count.nulls == 0 else "always NULL"
        if len(self.count.classes) > 1:
            return f"mixed: {types.described(self.count)}"
        if self.count.nulls:
            share = f"{self.count.nulls:,} NULL of {self.values + self.count.nulls:,}"
            return share if self.complete else f"{share} in a sample"
        if self.count.blobs:
            return "blobs"
        return (self._formless if self.count.texts and self.form is None else "") or self._beyond

    @property
    def _beyond(self) -> str:
        """What the column's index shows that the sample did not hold."""
        probe = self.count.probe
        if probe is None or not probe.index:
            return ""
        if probe.nulls:
            return "NULLs beyond the rows looked at"
        strange = [kind for kind, _ in probe.ends if not _alike(kind, self.count.classes)]
        if strange:
            return f"mixed: {strange[0]} beyond the rows looked at"
        other = self.form is not None and any(form != self.form for _, form in probe.ends)
        return "values of another format beyond the rows looked at" if other else ""

    @property
    def _formless(self) -> str:
        """Texts that are times in several formats do not sort as times do (DESIGN 4.3)."""
        timely = [name for name, _ in self.count.formats if types.base_format(name) in types.TIME_FORMATS]
        if timely:
            return f"texts of {len(self.count.formats)} formats"
        return "texts that are no times" if self.declared_time else ""

    @property
    def why(self) -> str:
        """In a few words: `epoch_ms, 31 ties, no index`."""
        return ", ".join(self._words())

    def _words(self) -> Iterator[str]:
        if self.objection:
            yield self.objection
        elif self.form is not None:
            yield types.base_format(self.form)
        if self.values:
            yield _of(self.ties, "tie", complete=self.complete)
        if self.count.falls and self.form is not None:
            yield f"{_of(self.count.falls, 'step', complete=True)} back"
        yield "indexed" if self.indexed else "no index"
        if self.set_by:
            yield f"set by trigger {self.set_by}"


def _alike(kind: str, classes: Sequence[str]) -> bool:
    """Integers and reals are one class to a cursor: SQLite compares them exactly."""
    numbers = {"integer", "real"}
    return kind in classes or (kind in numbers and bool(numbers & set(classes)))


def _of(count: int, noun: str, *, complete: bool) -> str:
    words = f"{count:,} {noun}{'' if count == 1 else 's'}" if count else f"no {noun}s"
    return words if complete else f"{words} in a sample"


def _evidence(table: Table, census: TableCensus) -> tuple[_Evidence, ...]:
    leads = {ascii_lower(i.columns[0]) for i in table.indexes}
    if table.without_rowid:
        leads |= {ascii_lower(name) for name in table.primary_key[:1]}
    keys = {key[0] for key in (*_unique_keys(table), *_nullable_keys(table)) if len(key) == 1}
    setters = _setters(table)

    def one(place: int, column: Column) -> _Evidence:
        count = census.column(column.name) or ColumnCensus(name=column.name)
        name = ascii_lower(column.name)
        said = count.probe.index != "" if count.probe else name in leads
        return _Evidence(
            column=column,
            place=place,
            count=count,
            complete=census.complete,
            indexed=said or column.name == table.rowid_alias,
            unique=column.name in keys,
            set_by=setters.get(name, ""),
        )

    return tuple(one(place, column) for place, column in enumerate(table.columns))


def _setters(table: Table) -> dict[str, str]:
    """The columns that a trigger sets when a row is updated, each with the trigger's name."""
    found = (
        (ascii_lower(c), t.name) for t in reversed(table.triggers) if t.event == "update" for c in t.sets
    )
    return dict(found)


def _rank(e: _Evidence) -> tuple[object, ...]:
    """Smaller is better: usable, a time, of creation, rising, indexed, fewer ties, first."""
    return (
        bool(e.objection),
        e.form is None,
        e.named_of_change or bool(e.set_by),
        not e.count.monotonic,
        types.base_format(e.form or "") == "date_text",
        not e.named_of_creation,
        not e.indexed,
        e.ties,
        e.place,
    )


def _name_words(name: str) -> list[str]:
    spaced = "".join(f"_{c.lower()}" if c.isupper() else c for c in name)
    return [word for word in spaced.replace("-", "_").replace(" ", "_").split("_") if word]


def _candidates(table: Table, census: TableCensus) -> list[_Evidence]:
    """Columns worth naming, best first: times, and numbers or texts that rise with the rowid."""
    named = [e for e in _evidence(table, census) if e.column.name != table.rowid_alias]
    return sorted((e for e in named if _worth_naming(e)), key=_rank)


def _worth_naming(e: _Evidence) -> bool:
    """A time by its declaration; by its values, a time that is not mostly ties, or what rises without any."""
    counts = e.values > 1 and e.count.monotonic and not e.ties and not e.count.reals
    return e.declared_time or (e.form is not None and e.ties <= e.values // 2) or counts


# --- how rows come to be ----------------------------------------------------------------------------


def creation(table: Table, census: TableCensus) -> Candidate | None:
    """The time column that says when a row was added, and why that is believed; None without one.

    It rises with the rows, and they are enough to show it.  An empty table goes by name and type.
    """
    found = (
        (e, why) for e in _candidates(table, census) if not e.changes and (why := _of_creation(e, table))
    )
    return next((Candidate(columns=(e.column.name,), why=why) for e, why in found), None)


def _of_creation(e: _Evidence, table: Table) -> str:
    if e.values == 0 and e.count.nulls == 0:
        return "named and declared so" if e.named_of_creation and e.declared_time else ""
    if e.objection or e.form is None or table.kind == "view" or _falls_often(e, _LATE):
        return ""
    in_order = e.count.monotonic or e.count.falls > 0
    return "it rises with the rows" if in_order and e.values >= _ENOUGH else ""


def changes(table: Table, census: TableCensus) -> tuple[Candidate, ...]:
    """The time columns that are written again when a row changes, best first: what `merge` would go by.

    By an UPDATE trigger that sets them, or a name such as updated_at over values that are times.
    """
    return tuple(Candidate(columns=(e.column.name,), why=e.why) for e in _changing(table, census))


def _changing(table: Table, census: TableCensus) -> list[_Evidence]:
    found = [e for e in _evidence(table, census) if e.changes]
    found.sort(key=lambda e: (bool(e.objection), e.form is None, not e.set_by, not e.indexed, e.place))
    return found


def times(table: Table, census: TableCensus) -> dict[str, str]:
    """The columns whose values are all times of one format, by values and name, each with its format."""
    forms = {e.column.name: e.form for e in _evidence(table, census) if not e.objection or e.count.nulls}
    return {name: form for name, form in forms.items() if form}


def _falls_often(e: _Evidence, share: float) -> bool:
    return e.count.falls > share * max(e.values - 1, 1)


def _runners_up(candidates: Sequence[_Evidence]) -> tuple[Candidate, ...]:
    return tuple(Candidate(columns=(e.column.name,), why=e.why) for e in candidates)


# --- detection ------------------------------------------------------------------------------------


def _detected(table: Table, census: TableCensus) -> CursorChoice:
    candidates = _candidates(table, census)
    if table.rowid_alias is not None:
        return _by_key(table, table.rowid_alias, census, candidates)
    if table.kind == "view":
        why = "a view has no rowid: declare columns that are unique together, such as `cursor: [time, id]`"
        return CursorChoice(order=None, detected=True, why=why, runners_up=_runners_up(candidates))
    usable = [e for e in candidates if not _against(e) and (e.form is not None or _speaks(e))]
    for best in usable:
        order = _ordered(table, census, (best.column.name,))
        if order is not None:
            rest = [e for e in candidates if e is not best]
            return _by_column(best, order, rest)
    against = [(e, "nothing tells its ties apart") for e in usable]
    against += [(e, why) for e in candidates if (why := _against(e))]
    return CursorChoice(
        order=None, detected=True, why=_refusal(table, census, against), runners_up=_runners_up(candidates)
    )


def _speaks(e: _Evidence) -> bool:
    """Whether values without a time show an order: a few rows, or texts, rise by chance."""
    return e.values >= _ENOUGH and not e.count.texts


def _by_key(table: Table, alias: str, census: TableCensus, candidates: Sequence[_Evidence]) -> CursorChoice:
    against = _disorder(census, candidates)
    if against is not None:
        steps = f"{against.count.falls:,} of {against.values - 1:,} steps"
        why = (
            f"{alias} is INTEGER PRIMARY KEY, but its values are far apart, and {against.column.name} falls "
            f"at {steps} in their order: the application gives them, and rows do not arrive in that order. "
            f"Ids that SQLite gives would make it safe; if these rise with each commit, declare "
            f"`cursor: {alias}`"
        )
        return CursorChoice(order=None, detected=True, why=why, runners_up=_runners_up(candidates))
    return CursorChoice(
        order=Order(kind="rowid", cursor=(alias,)),
        detected=True,
        why=f"{alias}, because it is {_key_sentence(table)}",
        runners_up=_runners_up(candidates),
        warnings=tuple(_key_doubts(alias, census)),
        storage="integer",
    )


def _disorder(census: TableCensus, candidates: Sequence[_Evidence]) -> _Evidence | None:
    """The time of creation that contradicts an order by ids which the application gives."""
    if census.ids is None or census.ids.step < _FAR or census.rows < _ENOUGH:
        return None
    times = (e for e in candidates if e.form and not e.objection and e.named_of_creation and not e.changes)
    return next((e for e in times if _falls_often(e, _DISORDER)), None)


def _key_doubts(alias: str, census: TableCensus) -> Iterator[str]:
    """What its range says against an INTEGER PRIMARY KEY."""
    ids = census.ids
    if ids is None:
        return
    if ids.high == GREATEST_ROWID:
        yield f"{alias} has reached 2^63-1: SQLite gives further rows ids at random, and the stream is held"
    if ids.low < 0:
        yield f"{alias} goes below 0, so the application gives it: a row below the last one read is missed"
    elif ids.step >= _FAR and census.rows >= _ENOUGH:
        yield (
            f"values of {alias} are {ids.step:,} apart on the median, so the application gives them: "
            "a row below the last one read is missed"
        )


def _key_sentence(table: Table) -> str:
    if table.autoincrement:
        return "INTEGER PRIMARY KEY AUTOINCREMENT: never reused, rows arrive in its order"
    return "INTEGER PRIMARY KEY: rows arrive in its order"


def _by_column(best: _Evidence, order: Order, rest: Sequence[_Evidence]) -> CursorChoice:
    name = best.column.name
    rises = "it rises with the rows" if best.count.monotonic else "it is the best time"
    reason = f"{name}, because {rises} ({best.why}) and there is no INTEGER PRIMARY KEY"
    tie = f"; ties are told apart by {', '.join(order.tie)}" if order.tie else "; it is unique"
    return CursorChoice(
        order=order,
        detected=True,
        why=reason + tie,
        runners_up=_runners_up(rest),
        warnings=tuple(_column_doubts(best, order)),
        storage=best.count.classes[0] if best.count.classes else None,
        time_format=best.form,
    )


def _column_doubts(e: _Evidence, order: Order, *, lookback: bool = False) -> Iterator[str]:
    name = e.column.name
    if lookback:
        pass
    elif e.form is not None:
        yield f"rows that commit with an earlier {name} than the last are missed: `lookback` reads them again"
    elif not e.count.monotonic and not e.column.key:
        yield f"nothing shows that {name} rises with each commit: rows below the last are missed"
    if not e.indexed:
        yield f"no index on {name}: each cycle reads the whole table"
    if order.renumbers:
        yield f"VACUUM may renumber the rowids that tell ties of {name} apart: the stream may then be held"
    if e.set_by:
        yield f"trigger {e.set_by} sets {name} when a row is updated: it is then read again as a new row"


def _refusal(table: Table, census: TableCensus, against: Sequence[tuple[_Evidence, str]]) -> str:
    if not census.rows:
        return f"{table.name} has no INTEGER PRIMARY KEY, and no rows to tell a cursor by: declare one"
    because = f" ({'; '.join(f'{e.column.name}: {why}' for e, why in against[:2])})" if against else ""
    return (
        f"{table.name} has no INTEGER PRIMARY KEY and no column that orders its rows safely{because}: {_SAFE}"
    )


def _against(e: _Evidence) -> str:
    """Why a column is no cursor of its own accord; '' where it is one.

    A time that is written again when its row changes would have the row read again as a new one; of one
    that falls from row to row, as a date of business does, rows below the last would be missed.
    """
    if e.objection or e.changes:
        return e.objection or "written again when a row changes"
    steps = max(e.values - 1, 1)
    return f"falls at {e.count.falls:,} of {steps:,} steps" if _falls_often(e, _DISORDER) else ""


# --- orders ---------------------------------------------------------------------------------------


def _unique_keys(table: Table) -> tuple[tuple[str, ...], ...]:
    """Column sets that are unique and never NULL: rowid alias, primary key, unique indexes."""
    never = {c.name for c in table.columns if not c.nullable}
    keys: list[tuple[str, ...]] = [(table.rowid_alias,)] if table.rowid_alias else []
    keys += [key for key in _indexed_keys(table) if set(key) <= never]
    return tuple(dict.fromkeys(keys))


def _nullable_keys(table: Table) -> tuple[tuple[str, ...], ...]:
    """Column sets that are unique but may hold NULL, as `id TEXT PRIMARY KEY` may by SQLite's quirk."""
    known = _unique_keys(table)
    return tuple(key for key in dict.fromkeys(_indexed_keys(table)) if key not in known)


def _indexed_keys(table: Table) -> Iterator[tuple[str, ...]]:
    """The primary key, then unique indexes: those that tell rows apart as the order compares them."""
    refused = [i.columns for i in table.indexes if i.unique and not _distinguishes(table, i)]
    if table.primary_key and not any(set(table.primary_key) == set(columns) for columns in refused):
        yield table.primary_key
    yield from (i.columns for i in table.indexes if i.unique and _distinguishes(table, i))


def _distinguishes(table: Table, index: Index) -> bool:
    """Whether values that the index holds apart are apart under the columns' own collations too.

    'a' and 'A' are two in an index COLLATE BINARY, yet one in the order of a column COLLATE NOCASE.
    """
    declared = {ascii_lower(c.name): ascii_lower(c.collation) for c in table.columns}
    own = [declared.get(ascii_lower(name), "binary") for name in index.columns]
    return not index.collations or own == [ascii_lower(name) for name in index.collations]


def _ordered(
    table: Table, census: TableCensus, columns: tuple[str, ...], recorded: tuple[str, ...] = ()
) -> Order | None:
    """The order by `columns` and what tells their ties apart: as `recorded`, else the best; None without."""
    orders = list(_orders(table, census, columns))
    return next(
        (o for o in orders if ("columns", *o.cursor, "/", *o.tie) == recorded), next(iter(orders), None)
    )


def _orders(table: Table, census: TableCensus, columns: tuple[str, ...]) -> Iterator[Order]:
    """Every order by `columns`, best first.

    A key that may hold NULL goes before a rowid that VACUUM renumbers, unless a NULL was seen in it;
    NULLs that come later are counted when they are read (DESIGN 4.3).
    """
    keys = _unique_keys(table)
    if any(set(key) <= set(columns) for key in keys):
        yield _split(table, columns, keys)
    if table.rowid_alias is not None:
        yield Order(kind="columns", cursor=columns, tie=(table.rowid_alias,), rises=True)
    for key in keys:
        if tie := _left(key, columns):
            yield Order(kind="columns", cursor=columns, tie=tie, rises=False)
    may = _nullable_keys(table)
    yield from _by_nullable(table, columns, [key for key in may if not _null_seen(census, key)])
    if table.rowid_alias is None and table.rowid is not None:
        yield Order(kind="columns", cursor=columns, tie=(table.rowid,), rises=False, renumbers=True)
    yield from _by_nullable(table, columns, [key for key in may if _null_seen(census, key)])


def _by_nullable(table: Table, columns: tuple[str, ...], keys: Sequence[tuple[str, ...]]) -> Iterator[Order]:
    if any(set(key) <= set(columns) for key in keys):
        yield _split(table, columns, keys)
    for key in keys:
        if tie := _left(key, columns):
            yield Order(kind="columns", cursor=columns, tie=tie, rises=False)


def _null_seen(census: TableCensus, key: tuple[str, ...]) -> bool:
    return any((seen := census.column(name)) is not None and seen.nulls > 0 for name in key)


def _left(key: Sequence[str], columns: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for name in key if name not in columns)


def _split(table: Table, columns: tuple[str, ...], keys: Sequence[tuple[str, ...]]) -> Order:
    """Columns that are unique already: those of the key at the end are the tie-breaker.

    So that rows at one cursor value are watched: a later commit may bring one below the last key.
    """
    key = next(key for key in keys if set(key) <= set(columns))
    end = len(columns)
    while end > 1 and columns[end - 1] in key:
        end -= 1
    tie = columns[end:]
    return Order(kind="columns", cursor=columns[:end], tie=tie, rises=tie in ((), (table.rowid_alias,)))


# --- declared -------------------------------------------------------------------------------------


def _by_rowid(table: Table) -> CursorChoice:
    if table.rowid_alias is not None:
        why = f"{table.rowid_alias}, as declared: it is {_key_sentence(table)}"
        order = Order(kind="rowid", cursor=(table.rowid_alias,))
        return CursorChoice(order=order, detected=False, why=why, storage="integer")
    if table.rowid is None:
        return CursorChoice(order=None, detected=False, why=_no_rowid(table))
    return CursorChoice(
        order=Order(kind="rowid", cursor=(table.rowid,), renumbers=True),
        detected=False,
        why=f"{table.rowid}, as declared",
        warnings=(
            f"{table.name} has no INTEGER PRIMARY KEY: VACUUM may renumber rowids and hold the stream",
        ),
        storage="integer",
    )


def _no_rowid(table: Table) -> str:
    if table.kind == "view":
        return f"{table.name} is a view and has no rowid: declare columns that are unique together"
    if table.without_rowid:
        key = ", ".join(table.primary_key)
        return f"{table.name} is WITHOUT ROWID: declare columns, such as its key ({key})"
    return f"columns of {table.name} take all the names of its rowid (rowid, _rowid_, oid): declare columns"


def _declared(
    table: Table, census: TableCensus, columns: tuple[str, ...], recorded: tuple[str, ...], *, lookback: bool
) -> CursorChoice:
    if not columns:
        raise UserError(
            f"no cursor column is named for {table.name}", hint="cursor: [column, ...]", setting="cursor"
        )
    if _means_rowid(table, columns):
        return _by_rowid(table)
    names = _existing(table, columns)
    if len(set(names)) != len(names):
        raise UserError(
            f"the cursor of {table.name} names a column twice: {', '.join(columns)}", setting="cursor"
        )
    order = _of_view(names) if table.kind == "view" else _ordered(table, census, names, recorded)
    if order is None:
        why = f"nothing tells rows of {table.name} apart that have the same {', '.join(names)}: {_SAFE}"
        return CursorChoice(order=None, detected=False, why=why)
    return _explained(table, census, order, lookback=lookback)


def _means_rowid(table: Table, columns: tuple[str, ...]) -> bool:
    if len(columns) != 1:
        return False
    name = ascii_lower(columns[0])
    own = table.rowid_alias is not None and name == ascii_lower(table.rowid_alias)
    return own or (name in _ROWIDS and table.column(columns[0]) is None)


def _existing(table: Table, columns: tuple[str, ...]) -> tuple[str, ...]:
    """The columns by the names that the table gives them.  Raises `UserError` for those it does not have."""
    found: list[str] = []
    wrong = Wrong()
    for index, name in enumerate(columns):
        with wrong:
            found.append(_one_existing(table, name, index))
    wrong.raise_all()
    return tuple(found)


def _one_existing(table: Table, name: str, index: int) -> str:
    column = table.column(name)
    if column is None:
        raise _no_column(table, name, index)
    return column.name


def _no_column(table: Table, name: str, index: int) -> UserError:
    known = [c.name for c in table.columns]
    near = get_close_matches(name, known, 1)
    return UserError(
        f"the cursor names {name!r}, which is no column of {table.name}",
        hint=f"did you mean {near[0]!r}?" if near else f"its columns: {', '.join(known)}",
        setting=f"cursor.columns[{index}]",
    )


def _of_view(names: tuple[str, ...]) -> Order:
    """A view's columns must be unique together, which is checked when they are read."""
    cut = max(len(names) - 1, 1)
    return Order(kind="columns", cursor=names[:cut], tie=names[cut:], rises=False)


def _explained(table: Table, census: TableCensus, order: Order, *, lookback: bool) -> CursorChoice:
    lead = next(e for e in _evidence(table, census) if e.column.name == order.cursor[0])
    tie = f", ties told apart by {', '.join(order.tie)}" if order.tie else ""
    return CursorChoice(
        order=order,
        detected=False,
        why=f"{', '.join(order.cursor)}, as declared{tie}",
        warnings=tuple(_declared_doubts(table, lead, order, lookback=lookback)),
        storage=lead.count.classes[0] if lead.count.classes else None,
        time_format=lead.declared_form,
    )


def _declared_doubts(table: Table, lead: _Evidence, order: Order, *, lookback: bool) -> Iterator[str]:
    if lead.objection and lead.values:
        yield f"{lead.column.name} does not order rows well: {lead.objection}"
    if table.kind == "view":
        names = ", ".join(order.columns)
        yield f"{names} must be unique together, which no schema promises: each read checks it"
        return
    yield from _column_doubts(lead, order, lookback=lookback)
