"""How an extract is read: which columns in which order, with which guards, over which ranges.

A recipe is built once for a read and compiled once; pieces of it differ in bound values only.

The fast statement is `lead UNION ALL rows`: ADBC types a column by its first batch, so one typed row
leads and is dropped (FACTS).  Column 0 is the scan's key, into which all guards are folded: where one
fires, `json('silt:misfit')` raises and the range goes to the careful path.  The careful statement
shows every value's class and the value in a column of that class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Final, Literal

import sqlalchemy as sa
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import ColumnElement, UnaryExpression

from silt import types
from silt.errors import UserError
from silt.shapes import Extract, Field, Key, Order, Table, Value
from silt.source import mask
from silt.source.statement import col, key_column, nullable, relation, rowid, template, written

if TYPE_CHECKING:
    import pyarrow as pa

MISFIT: Final = "silt:misfit"
_LEAD: Final = {"integer": "0", "real": "0.5", "text": "''", "blob": "x''"}
_LO: Final = "silt_lo"
_HI: Final = "silt_hi"


# --- which rows -----------------------------------------------------------------------------------


def predicate(extract: Extract, lo: Key | None, hi: Key | None) -> ColumnElement[bool]:
    """lo < key <= hi on the qualified source columns (None: no bound), rows with a NULL in it left out.

    Without `where`; true for an extract without an order.
    """
    return _between(extract, _literals(lo), _literals(hi))


def _literals(key: Key | None) -> list[ColumnElement[Any]] | None:
    return None if key is None else [sa.literal(value) for value in key]


def _between(
    extract: Extract, lo: Sequence[ColumnElement[Any]] | None, hi: Sequence[ColumnElement[Any]] | None
) -> ColumnElement[bool]:
    """Row values where the key has several columns, a plain comparison where it has one."""
    order = extract.order
    if order is None:
        return sa.true()
    rel = relation(extract.table)
    columns = [key_column(rel, extract.table, name) for name in order.columns]
    bounds = [] if lo is None else [_row(columns) > _row(lo)]
    bounds += [] if hi is None else [_row(columns) <= _row(hi)]
    return sa.and_(sa.true(), *bounds, *_no_nulls(extract.table, order.columns))


def _row(values: Sequence[ColumnElement[Any]]) -> Any:
    return values[0] if len(values) == 1 else sa.tuple_(*values)


def _no_nulls(table: Table, names: Sequence[str]) -> list[ColumnElement[bool]]:
    return [col(relation(table), name).is_not(None) for name in names if nullable(table, name)]


def _null_predicate(extract: Extract) -> ColumnElement[bool]:
    """Rows with a NULL in the order; their rowids bound them."""
    table = extract.table
    names = extract.order.columns if extract.order else ()
    if (table.rowid_alias or table.rowid) is None:
        raise UserError(
            f"{table.name} has no rowid to read rows with a NULL cursor by", hint="declare another cursor"
        )
    rel = relation(table)
    return sa.or_(sa.false(), *(col(rel, name).is_(None) for name in names if nullable(table, name)))


# --- how they are scanned -------------------------------------------------------------------------

Way = Literal["rowid", "key", "index", "any"]


def way(extract: Extract) -> Way:
    """The order of the scan, which lets a refused range be taken up after what was delivered.

    `rowid`: by rowid, in ranges of it; `key`: a WITHOUT ROWID table by its primary key; `index`: by
    the order's columns, which an index gives; `any`: a view's, which nothing fixes.
    """
    table, order = extract.table, extract.order
    if table.kind == "view":
        return "any"
    lead = order.columns[0] if order is not None and order.kind == "columns" else None
    if lead is not None and lead != (table.rowid_alias or table.rowid) and _indexed(table, lead):
        return "index"
    return "key" if table.without_rowid or (table.rowid_alias or table.rowid) is None else "rowid"


def _indexed(table: Table, name: str) -> bool:
    if table.without_rowid and table.primary_key[:1] == (name,):
        return False  # the table itself is that index
    return any(index.columns[:1] == (name,) for index in table.indexes)


def unproved(extract: Extract) -> bool:
    """Whether nothing in the schema keeps the order's key unique: a view's declared columns."""
    return extract.order is not None and extract.table.kind == "view"


# --- what is read of a row ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """A source column, or an expression, of the statement: read as `stored` (a storage class) for one field.

    `place` is the field's among the extract's.  `raw` is what the careful path judges, where the fast one
    reads something that is made of it.
    """

    place: int
    field: Field
    stored: str
    value: ColumnElement[Any]
    guard: types.Guard
    raw: ColumnElement[Any] | None = None

    @property
    def arrow(self) -> pa.DataType:
        return arrow_of(self.stored)

    @property
    def judged(self) -> ColumnElement[Any]:
        return self.value if self.raw is None else self.raw


def arrow_of(stored: str) -> pa.DataType:
    """The Arrow type that ADBC gives a column led by a value of that class."""
    import pyarrow as pa

    return {"integer": pa.int64(), "real": pa.float64(), "text": pa.string(), "blob": pa.binary()}[stored]


def _slot(table: Table, place: int, field: Field) -> Slot:
    value = col(relation(table), field.source or "") if field.expr is None else written(field.expr)
    if (instead := mask.in_sql(value, field)) is not None:
        return Slot(place=place, field=field, stored="text", value=instead, guard="none")
    column = table.column(field.source or "")
    declared = column.declared if column is not None else ""
    if field.format == types.RENDERED:
        return Slot(place=place, field=field, stored="text", value=rendered(value), guard="none")
    kind = types.affinity(declared, strict=table.strict) if table.kind == "table" else "BLOB"
    stored = types.stored_class(field.type, field.format, kind)
    words = field.format == types.WORDS
    return Slot(
        place=place,
        field=field,
        stored=stored,
        value=_truths(value) if words else value,
        guard=types.guard(stored, kind, strict=table.strict),
        raw=value if words else None,
    )


def _truths(value: ColumnElement[Any]) -> ColumnElement[Any]:
    """Words for true and false as 1 and 0; any other text goes to the careful path."""
    meant: dict[bool, list[ColumnElement[Any]]] = {True: [], False: []}
    for word, truth in types.TRUTHS.items():
        meant[truth].append(_plain(f"'{word}'"))
    # no NOCASE: an application's collation of that name would be asked for
    spelt = sa.func.lower(value)
    said = sa.case(
        (spelt.in_(meant[True]), _plain("1")),
        (spelt.in_(meant[False]), _plain("0")),
        else_=sa.func.json(_plain(f"'{MISFIT}'")),
    )
    return sa.case((sa.func.typeof(value) == _word("text"), said), else_=value)


def rendered(value: ColumnElement[Any]) -> ColumnElement[str]:
    """Any class as text without loss: blobs as x'HEX', reals as `quote` spells them (DESIGN 6).

    `quote`, as every other function of SQLite's that spells a number, leaves out the sign of -0.0.
    """
    kind = sa.func.typeof(value)
    return sa.case(
        (
            kind == _word("blob"),
            _plain("'x'''").concat(sa.func.hex(value)).concat(_plain("''''")),
        ),
        (sa.and_(kind == _word("real"), _is_negative_zero(value)), _plain("'-0.0'")),
        (kind == _word("real"), sa.func.quote(value)),
        else_=sa.cast(value, sa.TEXT()),
    )


def _is_negative_zero(value: ColumnElement[Any]) -> ColumnElement[bool]:
    """SQLite spells -0.0 as 0.0 and compares it so; only the direction that it points in tells."""
    return sa.and_(_bare(value) == _plain("0.0"), sa.func.atan2(value, _plain("-1.0")) < _plain("0"))


def _plain(sql: str) -> ColumnElement[Any]:
    """A constant of silt's own, written out: never a name, never a user's."""
    return sa.literal_column(sql)


def _word(text: Literal["blob", "real", "text", "integer"]) -> ColumnElement[str]:
    return _plain(f"'{text}'")


def _bare(value: ColumnElement[Any]) -> ColumnElement[Any]:
    """(+c COLLATE BINARY): no affinity, no application's collation, so that classes sort (FACTS, guards)."""
    plain: UnaryExpression[Any] = UnaryExpression(value, operator=operators.custom_op("+"))
    return plain.collate("BINARY")


def _fires(slot: Slot) -> ColumnElement[bool] | None:
    """The condition under which the slot's value would change silently."""
    bare, text, blob = _bare(slot.value), _plain("''"), _plain("x''")
    match slot.guard:
        case "inexact":
            low, high = _plain(str(-types.EXACT)), _plain(str(types.EXACT))
            return sa.and_(sa.func.typeof(slot.value) == _word("integer"), sa.not_(bare.between(low, high)))
        case "not_text_affine":
            return bare >= blob
        case "not_text":
            return sa.or_(bare < text, bare >= blob)
        case "not_blob":
            return bare < blob
        case _:
            return None


# --- statements -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """Compiled SQL whose range, or offset, is bound anew for each piece."""

    sql: str
    names: tuple[str, ...]
    known: dict[str, Value]

    def values(self, bounds: Mapping[str, Value], lo: int, hi: int) -> tuple[Value, ...]:
        """The parameters for the rowids from `lo` to `hi`; for other scans `lo` rows are passed over.

        `bounds` are the keys, as `key_bounds` names them.
        """
        named = {**self.known, **bounds, _LO: lo, _HI: hi}
        return tuple(named[name] for name in self.names)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How one read is done.  `wide` is the length in bytes past which a value is refused, or None."""

    extract: Extract
    condition: ColumnElement[bool]
    range: ColumnElement[bool]
    way: Way
    wide: int | None = None

    @cached_property
    def slots(self) -> tuple[Slot, ...]:
        """Source columns and expressions to read; the rowid itself is column 0 already."""
        read = ((i, f) for i, f in enumerate(self.extract.fields) if f.is_read)
        return tuple(_slot(self.extract.table, i, f) for i, f in read if not self._is_key(f))

    def _is_key(self, field: Field) -> bool:
        named = field.source is not None and field.source == self.key_name
        return named and field.type == "bigint" and field.mask is None

    @cached_property
    def key_name(self) -> str | None:
        """The column whose values are column 0: the rowid's alias, where the scan goes by rowid."""
        return self.extract.table.rowid_alias if self.way != "any" else None

    @cached_property
    def key(self) -> ColumnElement[Any]:
        """What column 0 holds: the rowid where there is one, else 0."""
        number = rowid(relation(self.extract.table), self.extract.table) if self.way != "any" else None
        return _plain("0") if number is None else number

    @cached_property
    def fast(self) -> Prepared:
        lead: sa.Select[Any] = sa.select(
            *(_plain(_LEAD[s]).label(f"c{i}") for i, s in enumerate(self._classes))
        )
        values = [self._guarded(), *(s.value for s in self.slots)]
        return self._prepared(lead, values)

    @cached_property
    def careful(self) -> Prepared:
        """Column 0 the rowid, column 1 whether the row lies in the range; then five a slot."""
        parts = [self.key, self.range.is_(True), *(p for s in self.slots for p in _parts(s.judged))]
        kinds = ["integer", "integer", *(("text", "integer", "real", "text", "blob") * len(self.slots))]
        lead: sa.Select[Any] = sa.select(*(_plain(_LEAD[k]).label(f"c{i}") for i, k in enumerate(kinds)))
        return self._prepared(lead, parts)

    @property
    def key_names(self) -> tuple[str, ...]:
        """The columns that tell a row apart where no rowid does."""
        order = self.extract.order
        return order.columns if order is not None else self.extract.table.primary_key

    def key_at(self, bounds: Mapping[str, Value], number: int) -> sa.Select[Any]:
        """The key of the row at a place of the scan, from 0."""
        rel = relation(self.extract.table)
        named = [col(rel, name).label(f"c{i}") for i, name in enumerate(self.key_names)]
        return self._scan(named).params({**bounds, _LO: number}).limit(1)

    @property
    def _classes(self) -> tuple[str, ...]:
        return ("integer", *(s.stored for s in self.slots))

    @property
    def arrow(self) -> tuple[pa.DataType, ...]:
        """What the first batch of the fast statement must be typed as."""
        return tuple(arrow_of(s) for s in self._classes)

    def _guarded(self) -> ColumnElement[Any]:
        fires = [f for s in self.slots if (f := _fires(s)) is not None]
        order = self.extract.order
        fires += [] if order is None or order.kind == "rowid" else [sa.not_(self.range.is_(True))]
        fires += self._too_wide()
        if not fires:
            return self.key
        refusal = sa.func.json(_plain(f"'{MISFIT}'"))
        return sa.case((sa.or_(*fires), refusal), else_=self.key)

    def _too_wide(self) -> list[ColumnElement[bool]]:
        if self.wide is None:
            return []
        limit = _plain(str(self.wide))
        return [sa.func.octet_length(s.value) > limit for s in self.slots if s.stored in ("text", "blob")]

    def _prepared(self, lead: sa.Select[Any], values: Sequence[ColumnElement[Any]]) -> Prepared:
        named = [value.label(f"c{i}") for i, value in enumerate(values)]
        sql, names, known = template(sa.union_all(lead, self._scan(named)))
        return Prepared(sql=sql, names=names, known={k: v for k, v in known.items() if k not in (_LO, _HI)})

    def _scan(self, named: Sequence[ColumnElement[Any]]) -> sa.Select[Any]:
        """The rows: by rowid in a range of it; else in a fixed order, past the rows delivered before.

        NOT INDEXED leaves SQLite the table's own order; a LIMIT of -1 keeps an inner ORDER BY alive
        under UNION ALL, where one outside would merge the lead row into the rows (FACTS).
        """
        table = self.extract.table
        rel = relation(table)
        rows = sa.select(*named).select_from(rel).where(self.condition)
        if self.extract.where is not None:
            rows = rows.where(self._filter(self.extract.where))
        if self.way == "rowid":
            ranged = self.key.between(
                sa.bindparam(_LO, type_=sa.Integer()), sa.bindparam(_HI, type_=sa.Integer())
            )
            return rows.where(ranged).with_hint(rel, "NOT INDEXED", "sqlite")
        if self.way == "key":
            rows = rows.with_hint(rel, "NOT INDEXED", "sqlite")
        elif self.way == "index" and self.extract.order is not None:
            rows = rows.order_by(*(key_column(rel, table, n) for n in self.extract.order.columns))
        inner = rows.limit(-1).offset(sa.bindparam(_LO, type_=sa.Integer())).subquery("silt_scan")
        return sa.select(*inner.c)

    def _filter(self, where: str) -> ColumnElement[Any]:
        """The user's condition; where the scan's own order counts, under a `+`, which no plan looks into.

        NOT INDEXED does not keep SQLite from seeking each side of `id = 9 OR id = 2` by the rowid, and
        the rows then come in the order that they are written in.
        """
        term = written(where)
        if self.way not in ("rowid", "key"):
            return term
        return UnaryExpression(term, operator=operators.custom_op("+"))


def _parts(value: ColumnElement[Any]) -> tuple[ColumnElement[Any], ...]:
    kind = sa.func.typeof(value)
    by_class = (sa.case((kind == _word(name), value)) for name in ("integer", "real", "text", "blob"))
    return (kind, *by_class)


def key_bounds(lo: Key | None, hi: Key | None) -> dict[str, Value]:
    """The values of a recipe's parameters for lo < key <= hi."""
    sides = (("lo", lo), ("hi", hi))
    return {f"silt_{side}_{i}": value for side, key in sides for i, value in enumerate(key or ())}


def _parameters(side: str, extract: Extract, *, given: bool) -> list[ColumnElement[Any]] | None:
    if not given or extract.order is None:
        return None
    return [sa.bindparam(f"silt_{side}_{i}", None) for i in range(len(extract.order.columns))]


@lru_cache(maxsize=512)
def recipe(
    extract: Extract,
    *,
    from_key: bool,
    to_key: bool,
    nulls: bool = False,
    wide: int | None = None,
    scan: Way | None = None,
) -> Recipe:
    """The recipe for lo < key <= hi where those are given, or for the rows with a NULL cursor.

    `scan` is another way than `way`'s own.  Cached: compiling a statement costs more than a small read.
    """
    if nulls:
        within = _null_predicate(extract)
        return Recipe(extract=extract, condition=within, range=within, way="rowid", wide=wide)
    lo, hi = _parameters("lo", extract, given=from_key), _parameters("hi", extract, given=to_key)
    within = _between(extract, lo, hi)
    scan = scan or way(extract)
    # a rowid order's range is that of its pieces: closed, and bound for each
    by_rowid = scan == "rowid" and _by_rowid(extract.order)
    condition: ColumnElement[bool] = sa.true() if by_rowid else within
    return Recipe(extract=extract, condition=condition, range=condition, way=scan, wide=wide)


def _by_rowid(order: Order | None) -> bool:
    return order is None or order.kind == "rowid"
