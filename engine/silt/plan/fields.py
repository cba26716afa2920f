"""Which columns the lake gets, of which types, and where each one's values come from (DESIGN 3, 6, 7)."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

from silt import types
from silt.errors import UserError, Wrong
from silt.manifest.model import ColumnRule, Stream
from silt.plan.changes import Changes, gone, has_run, is_made_of
from silt.plan.exposure import all_hidden, computed_from
from silt.plan.formats import Formats, settled
from silt.plan.model import LakeColumn, Seen, SeenDatabase, SeenLake
from silt.shapes import DELETED, RESCUED, Column, ColumnCensus, Field, Table, ascii_lower

LINEAGE = {
    "node": ("_silt_node", "string"),
    "database": ("_silt_database", "string"),
    "rowid": ("_silt_rowid", "bigint"),
    "loaded_at": ("_silt_loaded_at", "timestamp"),
}
_REFUSED_BY_SPARK = re.compile(r"[ ,;{}()\n\t=]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fields:
    """The lake's columns in order, with what planning them has to tell."""

    fields: tuple[Field, ...]
    notes: tuple[str, ...] = ()
    changes: Changes = field(default_factory=Changes)


def lake_name(name: str) -> str:
    """`name` as Spark accepts it without column mapping: refused characters become `_`."""
    return _REFUSED_BY_SPARK.sub("_", name)


def selected(table: Table, select: Sequence[str]) -> tuple[Column, ...]:
    """The columns that `select` keeps, in the table's order; later patterns win, `-` takes away.

    A column that SQLite hides (of a virtual table) is never there.
    """
    return tuple(c for c in table.columns if _kept(c.name, select))


def _kept(name: str, select: Sequence[str]) -> bool:
    kept = False
    for pattern in select:
        taken = pattern.startswith("-")
        if _matches(name, pattern[1:] if taken else pattern):
            kept = not taken
    return kept


def _matches(name: str, pattern: str) -> bool:
    return name == pattern or fnmatchcase(ascii_lower(name), ascii_lower(pattern))


def missing_names(tables: Iterable[Table], stream: Stream) -> Iterator[tuple[str, str]]:
    """(setting, name) of every column that the stream names and no table has."""
    known = {ascii_lower(c.name) for table in tables for c in table.columns}
    named = [(f"select[{i}]", text.removeprefix("-")) for i, text in enumerate(stream.select)]
    named = [(setting, name) for setting, name in named if not any(c in name for c in "*?[")]
    named += [(f"columns.{rule.name}", rule.name) for rule in stream.columns if not rule.is_new]
    yield from ((setting, name) for setting, name in named if ascii_lower(name) not in known)


# --- what a relation without rows does not show ---------------------------------------------------


def has_types(database: SeenDatabase) -> bool:
    """Whether its columns show types: computed columns have none but those of their values."""
    table, census = database.table, database.census
    return table is None or not table.is_derived or (census is not None and census.rows > 0)


def untyped(seen: Seen, databases: Sequence[SeenDatabase]) -> tuple[str, ...]:
    """The computed columns of which no database has a value yet, no rule and no table a type."""
    if any(has_types(database) for database in databases):
        return _untyped_expressions(seen, databases)
    said = {ascii_lower(rule.name) for rule in seen.stream.columns if rule.type}
    renamed = {
        ascii_lower(rule.name): rule.rename or rule.renamed_from or ""
        for rule in seen.stream.columns
        if rule.rename or rule.renamed_from
    }
    known = {column.name for lake in seen.lakes.values() for column in lake.columns}
    computed = (
        column.name
        for database in databases
        for column in (selected(database.table, seen.stream.select) if database.table else ())
        if types.family(column.declared) == "unknown"
    )
    left = (name for name in computed if ascii_lower(name) not in said)
    return tuple(dict.fromkeys(n for n in left if not _has(known, renamed.get(ascii_lower(n), n))))


def _untyped_expressions(seen: Seen, databases: Sequence[SeenDatabase]) -> tuple[str, ...]:
    if any(database.census is not None and database.census.rows for database in databases):
        return ()
    known = {column.name for lake in seen.lakes.values() for column in lake.columns}
    rules = (rule for rule in seen.stream.columns if rule.expr is not None and rule.type is None)
    return tuple(rule.name for rule in rules if not _has(known, rule.name))


def _has(known: Collection[str], name: str) -> bool:
    """Whether the table has the column, as it is called or as Spark accepts it."""
    return name in known or lake_name(name) in known


# --- source columns -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Typed:
    """A column with the type it gets and the remark that goes with it; not `sure` where nothing told it.

    `now` is the type that the source has for it now, where the lake has another.
    """

    field: Field
    note: str = ""
    sure: bool = True
    now: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _There:
    """The columns that the table has, by name; `ours` where this stream made them: a difference is a change.

    `older` are the names of the source's columns in all databases: one that was renamed may still be there.
    """

    have: Mapping[str, LakeColumn]
    stream: Stream
    ours: bool
    older: frozenset[str]

    def name(self, column: Column, rule: ColumnRule) -> str:
        """What a column of the source is called in the lake."""
        if rule.rename is not None:
            return self.called(rule.rename)
        before = rule.renamed_from
        if before is not None and (lake_name(before) in self.have or ascii_lower(before) in self.older):
            return lake_name(before)
        return lake_name(column.name)

    def called(self, name: str) -> str:
        """The `name` that the manifest gives a column, as Spark accepts it; a table that has it keeps it."""
        return name if name in self.have else lake_name(name)

    def leaves_out(self, column: Column, rule: ColumnRule) -> bool:
        """Whether it is new in the source, and not to come (`on_schema_change: ignore`)."""
        is_new = self.ours and self.name(column, rule) not in self.have
        named = rule in self.stream.columns
        return is_new and not named and self.stream.on_schema_change == "ignore"

    def rescues(self, column: Column, rule: ColumnRule, existing: LakeColumn) -> bool:
        """Whether values of another type than the column's go on as misfits: not by an edit's doing."""
        names = [name for name in (column.name, rule.renamed_from) if name is not None]
        made_of_it = any(is_made_of(existing, name) for name in names)
        return self.ours and made_of_it and rule.type is None and self.stream.on_misfit == "rescue"


def build_fields(seen: Seen, lake: SeenLake, databases: Sequence[SeenDatabase]) -> Fields:
    """The lake's columns for these databases: what the table has, in its order, then what is new.

    Raises `UserError` where a type conflicts, a name collides, or the table has another schema.
    """
    rules = {ascii_lower(rule.name): rule for rule in seen.stream.columns if not rule.is_new}
    have = {column.name: column for column in lake.columns}
    there = _there(seen, lake, databases)
    typed: dict[str, _Typed] = {}
    wrong = Wrong()
    for database in databases:
        for one in _typed_columns(database, seen, rules, there):
            with wrong:
                _merge(typed, one, database)
    wrong.raise_all()
    wanted = {name: one.field for name, one in typed.items()}
    for extra in (*_constants(seen.stream, there), *_lineage(seen)):
        _add(wanted, extra)
    if seen.stream.on_misfit == "rescue":
        wanted[RESCUED] = _rescued(wanted, have)
    if seen.stream.deletes is not None and seen.stream.deletes.mode == "soft":
        _add(wanted, Field(name=DELETED, type="timestamp", lineage="deleted_at"))
    _check_case(wanted)
    tables = [database.table for database in databases if database.table is not None]
    changes = _changes(typed, tables, rules, there, lake)
    notes = (*(one.note for one in typed.values()), *_called(seen.stream, there), *changes.notes)
    told = tuple(dict.fromkeys(note for note in notes if note))
    return Fields(fields=_in_lake_order(wanted, lake), notes=told, changes=changes)


def _called(stream: Stream, there: _There) -> Iterator[str]:
    """A sentence for each column of the manifest's own that the lake calls otherwise."""
    made = (rule.name for rule in stream.columns if rule.is_new)
    yield from (_otherwise(name, there.called(name)) for name in made)


def _otherwise(wanted: str, name: str) -> str:
    return "" if name == wanted else f"column {wanted!r} is called {name!r} in the lake"


def _there(seen: Seen, lake: SeenLake, databases: Sequence[SeenDatabase]) -> _There:
    columns = (c for database in seen.databases if database.table for c in database.table.columns)
    return _There(
        have={column.name: column for column in lake.columns},
        stream=seen.stream,
        ours=has_run(seen, lake, databases),
        older=frozenset(ascii_lower(column.name) for column in columns),
    )


def _changes(
    typed: Mapping[str, _Typed],
    tables: Sequence[Table],
    rules: Mapping[str, ColumnRule],
    there: _There,
    lake: SeenLake,
) -> Changes:
    """What the source's columns are beside those that the stream made."""
    if not there.ours:
        return Changes()
    known = [(c, rules.get(ascii_lower(c.name), ColumnRule(name=c.name))) for t in tables for c in t.columns]
    names = {there.name(column, rule) for column, rule in known} | typed.keys()
    kept = [(c, rule) for c, rule in known if _kept(c.name, there.stream.select)]
    return Changes(
        added=tuple(n for n, one in typed.items() if one.field.source is not None and n not in there.have),
        gone=gone(lake, names),
        retyped={name: one.now for name, one in typed.items() if one.now},
        left_out=tuple(dict.fromkeys(c.name for c, rule in kept if there.leaves_out(c, rule))),
    )


def _typed_columns(
    database: SeenDatabase,
    seen: Seen,
    rules: Mapping[str, ColumnRule],
    there: _There,
) -> tuple[_Typed, ...]:
    typed: list[_Typed] = []
    wrong = Wrong()
    for column in selected(database.table, seen.stream.select) if database.table else ():
        rule = rules.get(ascii_lower(column.name), ColumnRule(name=column.name))
        if there.leaves_out(column, rule):
            continue
        with wrong:
            typed.append(_typed(column, rule, database, there))
    for rule in seen.stream.columns:
        if rule.expr is not None:
            with wrong:
                typed.append(_computed(rule, database, there))
    wrong.raise_all()
    return tuple(typed)


def _computed(rule: ColumnRule, database: SeenDatabase, there: _There) -> _Typed:
    """An expression's column: its type as declared, or the table's, or by the values that were looked at."""
    name, column, have = there.called(rule.name), Column(name=rule.name), there.have
    found = database.census.computed if database.census else ()
    counts = next((c for c in found if c.name == rule.name), ColumnCensus(name=rule.name))
    guessed, form, warning = types.computed(counts)
    kind = _settled_type(name, rule, have.get(name), guessed, column)
    _check_mask(rule, kind)
    told = rule.type is not None or name in have
    return _Typed(
        field=Field(
            name=name,
            type=kind,
            expr=rule.expr,
            mask=rule.mask,
            format=_said(rule, kind) or _format(kind, form, column, counts),
            timezone=rule.timezone,
        ),
        note=f"{name}: {warning}" if warning and not told else "",
        sure=told or bool(counts.classes),
    )


def _settled_type(
    name: str, rule: ColumnRule, existing: LakeColumn | None, guessed: str, column: Column
) -> str:
    """The column's type: a digest is text; else as declared, as the table has it, or as guessed."""
    if rule.mask is not None and rule.mask.kind == "sha256":
        if existing is not None and existing.type != "string":
            raise _no_digest(name, rule.name, existing.type)
        return "string"
    if existing is not None and not _agrees(existing.type, guessed, rule, column):
        raise _other_schema(name, column.name, existing.type, rule.type or guessed)
    return str(types.parse(rule.type)) if rule.type else (existing.type if existing else guessed)


def _typed(
    column: Column,
    rule: ColumnRule,
    database: SeenDatabase,
    there: _There,
) -> _Typed:
    table, census = database.table, database.census
    name = there.name(column, rule)
    if table is not None and rule.renamed_from is not None and table.column(rule.renamed_from) is not None:
        raise _not_renamed(column.name, rule.renamed_from)
    counts = census.column(column.name) if census else None
    guessed, form, warning = _guess(column, table, counts, rule)
    existing = there.have.get(name)
    moved = existing is not None and not _agrees(existing.type, guessed, rule, column)
    if existing is not None and moved and there.rescues(column, rule, existing):
        kind, now = existing.type, guessed
    else:
        kind, now = _settled_type(name, rule, existing, guessed, column), ""
    _check_mask(rule, kind)
    renamed = _otherwise(rule.rename or column.name, name) if rule.renamed_from is None else ""
    return _Typed(
        field=Field(
            name=name,
            type=kind,
            source=column.name,
            formerly=rule.renamed_from,
            mask=rule.mask,
            declared=column.declared,
            strict=table is not None and table.strict,
            format=_said(rule, kind) or _format(kind, form, column, counts),
            timezone=rule.timezone,
        ),
        note=renamed or (f"{column.name}: {warning}" if warning and not rule.type and not existing else ""),
        now=now,
    )


def _guess(
    column: Column, table: Table | None, counts: ColumnCensus | None, rule: ColumnRule
) -> types.Choice:
    """By type and values; an aggregate's windows are counted in microseconds, whatever those say.

    A column that is declared a time is one where the manifest says in which format.
    """
    if table is not None and table.windows is not None and column.name in ("window_start", "window_end"):
        return "timestamp", "epoch_us", None
    kind, form, warning = types.choose(column, counts)
    said = rule.format is not None and types.family(column.declared) in ("timestamp", "date")
    if said and kind not in ("timestamp", "date"):
        return "timestamp", rule.format, None
    return kind, form, warning


_CARRIED_BY = {
    "integer": (
        "bigint",
        "int",
        "smallint",
        "tinyint",
        "double",
        "float",
        "decimal",
        "boolean",
        "timestamp",
        "date",
        "string",
    ),
    "real": ("double", "float", "decimal", "timestamp", "string"),
    "decimal": ("decimal", "double", "float", "bigint", "int", "string"),
    "boolean": ("boolean", "bigint", "int", "smallint", "tinyint", "string"),
    "text": ("string", "timestamp", "date"),
    "blob": ("binary", "string"),
    "date": ("date", "timestamp", "string", "bigint", "double"),
    "timestamp": ("timestamp", "date", "string", "bigint", "double"),
}


def _agrees(existing: str, guessed: str, rule: ColumnRule, column: Column) -> bool:
    """Whether the table's type can be what this column is written as; the table's type is pinned."""
    if rule.type is not None:
        return str(types.parse(rule.type)) == existing
    carriers = _CARRIED_BY.get(types.family(column.declared))
    return existing == guessed or carriers is None or types.parse(existing).kind in carriers


def _said(rule: ColumnRule, kind: str) -> str | None:
    """The format of the rule, where the column is a time: a table may have made it something else."""
    return rule.format if kind in ("timestamp", "date") else None


def _format(kind: str, form: str | None, column: Column, census: ColumnCensus | None) -> str | None:
    """A string of a column that is not text is its values rendered without loss (DESIGN 6).

    A timestamp or date that only the manifest or the table asks for takes the format most values have.
    """
    form = None if form == types.RENDERED and kind != "string" else form
    if kind == "string":
        return form if types.family(column.declared) == "text" else types.RENDERED
    if kind == "boolean":
        return types.WORDS if census is not None and census.texts else None
    if kind in ("timestamp", "date") and form is None and census is not None:
        bases = (types.base_format(name) for name, _ in census.formats)
        return next((base for base in bases if base in types.TIME_FORMATS), None)
    return form if kind in ("timestamp", "date") else None


_NUMBERS = ("bigint", "int", "smallint", "tinyint", "double", "float", "decimal")


def _check_mask(rule: ColumnRule, kind: str) -> None:
    """Raise `UserError` where the mask means nothing for the type, or would leave values as they are."""
    mask, lake = rule.mask, types.parse(kind)
    if mask is None:
        return
    if mask.kind == "truncate" and lake.kind not in ("string", "date", "timestamp"):
        raise UserError(
            f"mask truncate is for texts and times, and column {rule.name} is {kind}",
            hint="round is for numbers, redact for anything",
            setting=f"columns.{rule.name}.mask",
        )
    if mask.kind == "round":
        _check_round(rule, lake, mask.digits)


def _check_round(rule: ColumnRule, lake: types.LakeType, digits: int) -> None:
    if lake.kind not in _NUMBERS:
        raise UserError(
            f"mask round is for numbers, and column {rule.name} is {lake}",
            hint="truncate is for texts and times, `type: double` for numbers without a declared type",
            setting=f"columns.{rule.name}.mask",
        )
    kept = None if lake.kind in ("double", "float") else lake.scale
    if kept is not None and digits >= kept:
        raise UserError(
            f"mask round to {digits} digits leaves column {rule.name} ({lake}) as it is",
            hint="`digits: -3` rounds to thousands",
            setting=f"columns.{rule.name}.digits",
        )


def _no_digest(name: str, source: str, has: str) -> UserError:
    return UserError(
        f"the table has another schema: column {name} is {has} there, and sha256 makes a string",
        hint="write `into` another table, or mask it another way",
        setting=f"columns.{source}.mask",
    )


def _other_schema(name: str, source: str, has: str, wants: str) -> UserError:
    return UserError(
        f"the table has another schema: column {name} is {has} there, the source's is {wants}",
        hint=f"`columns: {{{source}: {{type: {has}}}}}` keeps the table's type where values fit; "
        "or write `into` another table",
        setting=f"columns.{source}.type",
    )


def _merge(typed: dict[str, _Typed], one: _Typed, database: SeenDatabase) -> None:
    """Columns are the union by name; one name of two types is for a person to settle."""
    first_seen = typed.setdefault(one.field.name, one)
    known = first_seen.field
    if one.field.expr is not None and known.expr is None:
        raise _taken(one.field.name)
    if not (one.sure and first_seen.sure):
        typed[one.field.name] = one if one.sure else first_seen
        return
    first, second = known.source, one.field.source
    if first is not None and second is not None and not _is_same(known, one.field):
        raise _collision(one.field.name, first, second)
    if one.field.formerly is not None:
        typed[one.field.name] = one  # it knows the other's name
    if known.type != one.field.type:
        rule = one.field.source or one.field.name
        raise UserError(
            f"column {one.field.name} is {known.type} in one database, "
            f"{one.field.type} in {database.database.name}",
            hint=f"say which: `columns: {{{rule}: {{type: string}}}}`",
            setting=f"columns.{rule}.type",
        )


def _is_same(first: Field, second: Field) -> bool:
    """Whether two databases' columns are one: of one name, or renamed in one of them."""
    names = [{ascii_lower(name) for name in (f.source, f.formerly) if name} for f in (first, second)]
    return bool(names[0] & names[1])


def _taken(name: str) -> UserError:
    return UserError(
        f"column {name} is computed, and the source has one of that name",
        hint=f'`select: ["*", "-{name}"]` leaves that one out; or choose another name',
        setting=f"columns.{name}",
    )


def _not_renamed(name: str, before: str) -> UserError:
    return UserError(
        f"column {name} is renamed from {before!r}, but the table has both",
        hint="leave `renamed_from` out: each is a column of its own",
        setting=f"columns.{name}.renamed_from",
    )


def _constant_over(name: str, there: Field) -> UserError:
    source = there.source or there.name
    return UserError(
        f"{there.name} is a column of the table",
        hint=f'call the constant otherwise, or leave that out with select: ["*", "-{source}"]',
        setting=f"columns.{name}",
    )


def _collision(name: str, first: str, second: str) -> UserError:
    return UserError(
        f"two columns are called {name} in the lake: {first!r} and {second!r}",
        hint=f"`columns: {{{second}: {{rename: another_name}}}}`",
        setting=f"columns.{second}.rename",
    )


def _check_case(wanted: Mapping[str, Field]) -> None:
    """Delta refuses names that differ only in case (measured, deltalake 1.6.3)."""
    folded: dict[str, str] = {}
    for name in wanted:
        other = folded.setdefault(name.lower(), name)
        if other != name and wanted[name].value is not None:
            raise _constant_over(name, wanted[other])
        if other != name:
            raise UserError(
                f"columns {other!r} and {name!r} differ only in case, which Delta refuses",
                hint=f"`columns: {{{name}: {{rename: another_name}}}}`",
                setting=f"columns.{name}.rename",
            )


def _add(wanted: dict[str, Field], field: Field) -> None:
    if field.name in wanted and field.value is not None:
        raise _constant_over(field.name, wanted[field.name])
    if field.name in wanted:
        raise _collision(field.name, wanted[field.name].source or "", field.lineage or field.name)
    wanted[field.name] = field


# --- columns of silt's own ------------------------------------------------------------------------


def _constants(stream: Stream, there: _There) -> Iterator[Field]:
    for rule in stream.columns:
        if rule.value is not None:
            yield Field(
                name=there.called(rule.name),
                type=rule.type or "string",
                value=rule.value,
                format=rule.format,
                timezone=rule.timezone,
            )


def lineage(seen: Seen) -> tuple[str, ...]:
    """Which lineage columns are written: what slices need (DESIGN 7), and what was asked for."""
    stream = seen.stream
    if stream.lineage == ():
        return ()
    asked = stream.lineage or ()
    needed = {
        "node": seen.remote and not stream.separates_nodes,
        "database": seen.several and not stream.separates_databases,
    }
    return tuple(kind for kind in LINEAGE if kind in asked or needed.get(kind))


def _lineage(seen: Seen) -> Iterator[Field]:
    for kind in lineage(seen):
        name, type_name = LINEAGE[kind]
        yield Field(name=name, type=type_name, lineage=kind)  # type: ignore[arg-type]  # keys of LINEAGE


def _rescued(wanted: Mapping[str, Field], have: Mapping[str, LakeColumn]) -> Field:
    """The column of misfits.  Raises `UserError` where something else is called so."""
    taken = next((field for name, field in wanted.items() if name.lower() == RESCUED), None)
    if taken is not None:
        called = taken.source or taken.name
        raise UserError(
            f"column {taken.name} is called as the one that keeps values which do not fit",
            hint=f"`columns: {{{called}: {{rename: another_name}}}}`, or `on_misfit: fail`",
            setting="on_misfit",
        )
    if RESCUED in have and have[RESCUED].type != "string":
        raise UserError(
            f"the table's column {RESCUED} is {have[RESCUED].type}: values which do not fit are kept as text",
            hint="write `into` another table, or `on_misfit: fail`",
            setting="on_misfit",
        )
    return Field(name=RESCUED, type="string", lineage="rescued")


def _in_lake_order(wanted: Mapping[str, Field], lake: SeenLake) -> tuple[Field, ...]:
    """The table's own order first; a column that no database has any more arrives NULL."""
    there = [wanted.get(c.name, Field(name=c.name, type=c.type)) for c in lake.columns]
    named = {c.name for c in lake.columns}
    return (*there, *(field for name, field in wanted.items() if name not in named))


def own_formats(
    database: SeenDatabase, seen: Seen, lake: SeenLake, recorded: Formats
) -> dict[str, str | None]:
    """The format of each of the lake's columns as this database writes it: others may write theirs.

    `recorded` are those that its position keeps; the windows of an aggregate are counted by silt itself.
    """
    rules = {ascii_lower(rule.name): rule for rule in seen.stream.columns if not rule.is_new}
    typed = (one.field for one in _typed_columns(database, seen, rules, _there(seen, lake, [database])))
    windows = ("window_start", "window_end") if database.table and database.table.windows else ()
    return {
        field.name: field.format if field.source in windows else settled(field, seen.stream, dict(recorded))
        for field in typed
    }


def for_database(
    fields: Sequence[Field], table: Table, formats: Mapping[str, str | None]
) -> tuple[Field, ...]:
    """`fields` as one database can fill them: a column that it lacks arrives NULL."""
    found = [_or_null(field, table, formats.get(field.name, field.format)) for field in fields]
    kept = all_hidden(found, table)
    return tuple(replace(field, private=_is_private(field, kept, table)) for field in found)


def _or_null(field: Field, table: Table, form: str | None) -> Field:
    if field.expr is not None:
        return replace(field, format=form)
    if field.source is None:
        return field
    column = table.column(field.source) or (table.column(field.formerly) if field.formerly else None)
    if column is None:
        return replace(field, source=None)
    return replace(field, source=column.name, declared=column.declared, strict=table.strict, format=form)


def _is_private(field: Field, kept: Collection[str], table: Table) -> bool:
    """Whether its values are masked, or computed of what the lake does not show: rather once too often."""
    said = ascii_lower(field.expr or "")
    mentioned = any(ascii_lower(name) in said for name in kept) if said else False
    return field.mask is not None or mentioned or bool(computed_from(field, kept, table))
