"""SQL over several Delta tables at once, for `silt query`: read only, names as SQLite's users write them.

The engine is the one that delta-rs embeds (DataFusion).  As delta-rs sets it up, names of tables and columns
are exact, unquoted ones too: `invoiceline` does not find `InvoiceLine` (measured, deltalake 1.6.3), as it
would in SQLite or Spark.  It also executes INSERT and COPY.  So names are made exact here, and writing is
refused.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Final

from silt.errors import UserError
from silt.target.failures import clean, translated
from silt.target.store import locate

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import DeltaTable

Tables = Mapping[str, tuple[str, Mapping[str, str]]]
"""The name that a query uses -> (URI, storage options)."""

_TOKEN: Final = re.compile(
    r"(?P<skip>'(?:[^']|'')*'|--[^\n]*|/\*.*?\*/|\s+|\d\w*)"
    r'|(?P<quoted>"(?:[^"]|"")*")|(?P<word>[^\W\d][\w$]*)|(?P<other>.)',
    re.DOTALL,
)
_READS: Final = frozenset({"select", "with", "explain", "values", "describe", "show", "table"})
_WRITES: Final = frozenset(
    {"insert", "update", "delete", "copy", "create", "drop", "merge", "truncate", "alter", "set", "into"}
)
_RESERVED: Final = frozenset(
    [
        "all",
        "and",
        "as",
        "asc",
        "between",
        "by",
        "case",
        "cast",
        "cross",
        "desc",
        "distinct",
        "else",
        "end",
        "except",
        "exists",
        "false",
        "from",
        "full",
        "group",
        "having",
        "in",
        "inner",
        "intersect",
        "interval",
        "is",
        "join",
        "left",
        "like",
        "limit",
        "natural",
        "not",
        "null",
        "offset",
        "on",
        "or",
        "order",
        "outer",
        "over",
        "partition",
        "right",
        "select",
        "then",
        "true",
        "union",
        "using",
        "values",
        "when",
        "where",
        "window",
        "with",
    ]
)


def words(sql: str) -> frozenset[str]:
    """Every name and word of `sql`, quoted ones without their quotes, strings and comments left out."""
    return frozenset(
        text.replace('""', '"')[1:-1] if kind == "quoted" else text
        for kind, text in _tokens(sql)
        if kind in ("word", "quoted")
    )


def check_reads(sql: str) -> None:
    """Raises `UserError` for anything but a query: the embedded engine would write."""
    found = [text.lower() for kind, text in _tokens(sql) if kind == "word"]
    if not found or found[0] not in _READS:
        raise UserError(f"not a query: {sql.strip()[:60]!r}", hint="begin with SELECT or WITH")
    written = next((word for word in found if word in _WRITES), None)
    if written is not None:
        raise UserError(
            f"{written.upper()} is no part of a query, and query only reads",
            hint=f'write "{written}" in double quotes where it is a name',
        )


def exact(sql: str, names: Iterable[str]) -> str:
    """`sql` with each unquoted word that differs from one of `names` in case only, as that name.

    A word that is a name stays; so does one that several names differ from in case.  Calls (`date(...)`)
    and reserved words never are names.
    """
    known = frozenset(names)
    folded = Counter(name.lower() for name in known)
    meant = {name.lower(): name for name in known if folded[name.lower()] == 1}
    tokens = list(_tokens(sql))
    return "".join(
        text if text in known or _called(tokens[i + 1 :]) else _meant(kind, text, meant)
        for i, (kind, text) in enumerate(tokens)
    )


def _meant(kind: str, text: str, meant: Mapping[str, str]) -> str:
    name = meant.get(text.lower())
    if kind != "word" or name is None or text.lower() in _RESERVED:
        return text
    return '"' + name.replace('"', '""') + '"'


def _called(rest: Iterable[tuple[str, str]]) -> bool:
    return next((text for kind, text in rest if not (kind == "skip" and text.isspace())), "") == "("


def _tokens(sql: str) -> Iterator[tuple[str, str]]:
    for match in _TOKEN.finditer(sql):
        yield match.lastgroup or "other", match.group()


def query(tables: Tables, sql: str) -> pa.RecordBatchReader:
    """The answer to `sql` over `tables`, streamed; strings and binaries in their plain Arrow layout.

    Raises `UserError` for SQL that does not read, does not parse or names what is not there, and what
    `translated` says where a table cannot be read.
    """
    import pyarrow as pa
    from deltalake import QueryBuilder
    from deltalake.exceptions import DeltaError

    check_reads(sql)
    builder = QueryBuilder()
    used = {word.lower() for word in words(sql)}
    named = {name: place for name, place in tables.items() if name.lower() in used}
    names: set[str] = set(named)
    options: dict[str, str] = {}
    for name, (uri, given) in named.items():
        opened = _open(uri, given)
        options.update(given)
        names.update(field.name for field in opened.schema().fields)
        builder.register('"' + name.replace('"', '""') + '"', opened)
    try:
        answer = pa.RecordBatchReader.from_stream(builder.execute(exact(sql, names)))
    except DeltaError as error:
        why = clean(str(error), options).removeprefix("Error during planning: ").removeprefix("SQL error: ")
        raise UserError(
            "the query cannot be run", why=why, hint=f"tables: {', '.join(sorted(tables))}"
        ) from error
    return answer.cast(pa.schema([field.with_type(_plain(field.type)) for field in answer.schema]))


def _open(uri: str, options: Mapping[str, str]) -> DeltaTable:
    from deltalake import DeltaTable

    store = locate(uri, options)
    with translated(uri, options):
        return DeltaTable(store.url, storage_options=store.reading())


def _plain(kind: pa.DataType) -> pa.DataType:
    import pyarrow as pa

    return {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}.get(kind, kind)
