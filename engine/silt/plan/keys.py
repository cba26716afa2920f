"""Whether the lake's columns tell apart what the source's key tells apart: rows are compared by them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from silt import types
from silt.errors import UserError
from silt.manifest.model import CursorRule
from silt.shapes import Field, Order, Table


def merged(order: Order, fields: Iterable[Field], table: Table) -> str:
    """Why two rows may have one key in the lake; '' where they cannot.

    A merging column harms nothing where others of the key are unique by themselves.
    """
    by = {field.source: field for field in fields if field.source is not None}
    reasons = {name: _merging(by[name], table) for name in order.columns if name in by}
    lossless = {name for name in order.columns if not reasons.get(name)}
    if any(set(key) <= lossless for key in _unique(table)):
        return ""
    return next((f"{name}: {reason}" for name, reason in reasons.items() if reason), "")


def check_lookback(rule: CursorRule, order: Order, fields: Sequence[Field], table: Table) -> None:
    """Raise `UserError` where `lookback` would take one row for another."""
    reason = merged(order, fields, table) if rule.lookback is not None else ""
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
    base = types.base_format(field.format or "")
    if types.parse(field.type).kind not in ("timestamp", "date") or base not in types.NUMBER_FORMATS:
        return ""
    if base in ("epoch_ns", "apple_ns"):
        return "nanoseconds are cut to microseconds"
    affinity = types.affinity(field.declared, strict=table.strict)
    if types.stored_class(field.type, field.format, affinity) == "real":
        return "fractions are rounded to microseconds"
    return ""
