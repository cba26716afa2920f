"""Whether the lake's columns tell apart what the source's key tells apart: rows are compared by them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from silt import types
from silt.errors import UserError, Wrong
from silt.manifest.model import CursorRule, Stream
from silt.manifest.problems import did_you_mean
from silt.plan.exposure import hidden
from silt.shapes import Field, Order, Table
from silt.source.cursor import unique_keys


def settle(stream: Stream, table: Table) -> tuple[str, ...]:
    """The columns that tell the rows of a merge or a mirror apart: as declared, else the primary key.

    A mirror takes the rowid where the lake is to have it.  Raises `UserError` where there is none, or one
    that is declared is no column.
    """
    if not stream.primary_key:
        return table.primary_key or _by_rowid(stream, table) or _none(stream, table)
    wrong = Wrong()
    found = []
    for index, name in enumerate(stream.primary_key):
        with wrong:
            found.append(_column(table, name, f"primary_key[{index}]"))
    wrong.raise_all()
    return tuple(dict.fromkeys(found))


def _column(table: Table, name: str, setting: str) -> str:
    column = table.column(name)
    if column is not None:
        return column.name
    known = [c.name for c in table.columns]
    raise UserError(
        f"primary_key names {name!r}, which is no column of {table.name}",
        hint=did_you_mean(name, known) or f"its columns: {', '.join(known)}",
        setting=setting,
    )


def _by_rowid(stream: Stream, table: Table) -> tuple[str, ...]:
    asked = stream.mode == "mirror" and "rowid" in (stream.lineage or ())
    return (table.rowid,) if asked and table.rowid is not None else ()


def _none(stream: Stream, table: Table) -> tuple[str, ...]:
    others = "; ".join(f"primary_key: [{', '.join(key)}]" for key in unique_keys(table))
    rowid = "`lineage: [rowid]` tells rows apart by their rowid, which VACUUM may change; "
    raise UserError(
        f"{table.name} has no primary key, and mode {stream.mode} goes by one",
        hint=f"declare {others or '`primary_key: [...]`'}; "
        f"{rowid if stream.mode == 'mirror' and table.rowid is not None else ''}`mode: overwrite` needs none",
        setting="primary_key",
    )


def check_shown(key: Sequence[str], fields: Sequence[Field], table: Table) -> None:
    """Raise `UserError` where the lake would not tell the rows of a key apart."""
    for name in (name for name in key if name != table.rowid):
        if how := hidden(name, fields):
            raise UserError(
                f"key column {name} is {how}, so the lake would not tell rows apart",
                hint="take it as it is, or declare another `primary_key`",
                setting="primary_key",
            )
    if reason := merged(key, fields, table):
        raise UserError(
            "rows of two keys may have one in the lake",
            why=reason,
            hint=f"`columns: {{{reason.partition(':')[0]}: {{type: string}}}}` keeps the key whole",
            setting="primary_key",
        )


def merged(columns: Sequence[str], fields: Iterable[Field], table: Table) -> str:
    """Why two rows may have one key in the lake; '' where they cannot.

    A merging column harms nothing where others of the key are unique by themselves.
    """
    by = {field.source: field for field in fields if field.source is not None}
    reasons = {name: _merging(by[name], table) for name in columns if name in by}
    lossless = {name for name in columns if not reasons.get(name)}
    if any(set(key) <= lossless for key in _unique(table)):
        return ""
    return next((f"{name}: {reason}" for name, reason in reasons.items() if reason), "")


def check_lookback(rule: CursorRule, order: Order, fields: Sequence[Field], table: Table) -> None:
    """Raise `UserError` where `lookback` would take one row for another."""
    if rule.lookback is None or order.moves:  # a merge compares by its own key
        return
    reason = merged(order.columns, fields, table)
    if reason:
        name = reason.partition(":")[0]
        raise UserError(
            "lookback compares rows by key, and rows of two keys may have one in the lake",
            why=reason,
            hint=f"`columns: {{{name}: {{type: string}}}}` keeps the key whole; or leave lookback out",
            setting="cursor",
        )


def _unique(table: Table) -> list[tuple[str, ...]]:
    alias = [(table.rowid_alias,)] if table.rowid_alias is not None else []
    primary = [table.primary_key] if table.primary_key else []
    return [*alias, *primary, *(index.columns for index in table.indexes if index.unique)]


def _merging(field: Field, table: Table) -> str:
    """What of a value the lake's type cuts off; '' for types that hold every value that fits them apart."""
    base, kind = types.base_format(field.format or ""), types.parse(field.type).kind
    if base == types.WORDS:
        return "words that mean the same are one"
    if kind == "decimal" and not types.is_numeric(field.declared, strict=table.strict):
        return "texts that spell one number are one"
    if kind not in ("timestamp", "date") or base not in types.NUMBER_FORMATS:
        return ""
    if types.is_cut(base):
        return types.CUT
    affinity = types.affinity(field.declared, strict=table.strict)
    if types.stored_class(field.type, field.format, affinity) == "real":
        return "fractions are rounded to microseconds"
    return ""
