"""Patterns, stacking and collisions: what the entries of a manifest amount to."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from silt.manifest import expand, load, show
from silt.manifest.model import Manifest
from silt.manifest.rules import Rule, literals, matches, stack

TWO = "version: 1\nsources: {a: ./a.db, b: ./b.db}\ntargets: {lake: ./lake}\n"
HEAD = "version: 1\nsources: {a: ./a.db}\ntargets: {lake: ./lake}\n"


def expanded(folder: Path, text: str, **tables: tuple[str, ...]):
    path = folder / "m.yaml"
    path.write_text(text, encoding="utf-8")
    return expand(load(path, env={}), tables)


def by_name(expansion):
    assert expansion.problems == ()
    return {stream.name: stream for stream in expansion.streams}


def test_a_pattern_makes_streams_of_tables_that_none_is_named_after(tmp_path: Path):
    """Exact streams first as written, then a stream for each other matching table, by name."""
    text = HEAD + "streams:\n  z: \n  copy: {table: x}\n  '*': {tags: [p]}\n"
    found = by_name(expanded(tmp_path, text, a=("x", "Z", "b", "a")))
    assert list(found) == ["z", "copy", "a", "b", "x"]
    assert [found[name].table for name in found] == ["z", "x", "a", "b", "x"]
    assert {stream.tags for stream in found.values()} == {("p",)}


def test_a_pattern_applies_by_the_table_that_is_read(tmp_path: Path):
    """A pattern gives its settings to an exact stream of another name that reads a matching table."""
    found = by_name(
        expanded(tmp_path, HEAD + "streams:\n  clean: {table: log_x}\n  'log_*': {where: q}\n  log: \n")
    )
    assert (found["clean"].where, found["log"].where) == ("q", None)


def test_a_pattern_is_of_its_source(tmp_path: Path):
    """A pattern neither makes nor changes streams of another source."""
    text = TWO + "streams:\n  '*': {source: a, where: q}\n  t: {source: b}\n"
    expansion = expanded(tmp_path, text, a=("x",), b=("y",))
    found = by_name(expansion)
    assert [(s.name, s.source, s.where) for s in found.values()] == [("t", "b", None), ("x", "a", "q")]


def test_a_table_that_is_a_pattern(tmp_path: Path):
    """`table: "log_*"` under any key is a pattern: streams have the names of the tables."""
    found = by_name(
        expanded(
            tmp_path, HEAD + "streams:\n  logs: {table: 'log_*', into: 'logs/{table}'}\n", a=("log_a", "x")
        )
    )
    assert [(s.name, s.into) for s in found.values()] == [("log_a", "logs/log_a")]


def test_disabled_streams_are_kept(tmp_path: Path):
    """A disabled pattern disables what it matches, a more literal one or an exact name enables again."""
    text = (
        HEAD
        + "streams:\n  'tmp_*': {enabled: false}\n  'tmp_k*': {enabled: true}\n"
        + "  tmp_x: {enabled: true}\n  '*': \n"
    )
    found = by_name(expanded(tmp_path, text, a=("tmp_a", "tmp_keep", "t")))
    assert {name: s.enabled for name, s in found.items()} == {
        "tmp_x": True,
        "t": True,
        "tmp_a": False,
        "tmp_keep": True,
    }


def test_maps_merge_lists_replace_null_unsets(tmp_path: Path):
    """`columns` and `batch` merge key by key; lists, `cursor` and `schedule` replace whole; null unsets."""
    text = (
        HEAD
        + """
defaults:
  tags: [a, b]
  batch: {max_rows: 5, max_bytes: 1MB}
  cursor: {column: x, lookback: 5s}
  columns: {x: {rename: y, type: timestamp}, gone: {rename: h}}
  where: q
streams:
  t:
    tags: [c]
    batch: {max_rows: 7}
    cursor: {column: z}
    columns: {x: {rename: w}, gone: null}
    where: null
"""
    )
    stream = by_name(expanded(tmp_path, text))["t"]
    assert (stream.tags, stream.where) == (("c",), None)
    assert (stream.batch.max_rows, stream.batch.max_bytes) == (7, 1024**2)
    assert (stream.cursor.columns, stream.cursor.lookback) == (("z",), None)
    assert [(r.name, r.rename, r.type) for r in stream.columns] == [("x", "w", "timestamp")]


def test_a_tie_that_matters(tmp_path: Path):
    """Equally exact patterns that disagree are an error naming both, unless something more exact decides."""
    text = HEAD + "streams:\n  'or*': {where: p, tags: [t]}\n  '*rs': {where: q, tags: [t]}\n"
    expansion = expanded(tmp_path, text, a=("orders", "ors"))
    assert {p.pointer for p in expansion.problems} == {"streams.*rs.where"}
    assert "'*rs' and 'or*' (line 5) are equally exact and disagree" in expansion.problems[0].message
    assert (
        by_name(expanded(tmp_path, text + "  orders: {where: null}\n", a=("orders",)))["orders"].where is None
    )
    assert by_name(expanded(tmp_path, text + "  'ord*': {where: r}\n", a=("orders",)))["orders"].where == "r"
    assert by_name(expanded(tmp_path, text, a=("order",)))["order"].where == "p"


def test_an_unset_and_a_value_tie(tmp_path: Path):
    """Unsetting a map and setting a key in it, at the same rank, is a tie too."""
    text = HEAD + "streams:\n  'or*': {columns: null}\n  '*rs': {columns: {x: {rename: y}}}\n"
    assert "disagree" in expanded(tmp_path, text, a=("orders",)).problems[0].message


def test_an_inherited_setting_that_the_mode_does_not_use(tmp_path: Path):
    """Inherited it is ignored, and `show` says so; written at the same place as the mode it is an error."""
    text = HEAD + "defaults: {cursor: x, on_reset: restart}\nstreams:\n  t: {mode: overwrite}\n"
    path = tmp_path / "m.yaml"
    path.write_text(text)
    manifest = load(path, env={})
    (stream,) = expand(manifest, {}).streams
    assert (stream.cursor.kind, stream.on_reset) == ("auto", "fail")
    shown = {s["key"]: s for s in show(manifest, [stream])["streams"][0]["settings"]}
    assert shown["cursor"] == {
        "key": "cursor",
        "value": "x",
        "origin": f"{path}:4",
        "by": "defaults",
        "ignored": True,
    }


def test_one_name_from_two_sources(tmp_path: Path):
    """Patterns of two sources that would make streams of one name are an error that says what to write."""
    text = TWO + "streams:\n  'o*': {source: a}\n  '*': {source: b}\n"
    expansion = expanded(tmp_path, text, a=("orders",), b=("orders", "x"))
    assert [s.name for s in expansion.streams] == ["orders", "x"]
    assert "would be made twice: from source 'a' and from 'b'" in expansion.problems[0].message


def test_a_table_whose_name_is_taken_is_noted(tmp_path: Path):
    """A table that goes without a stream because another table's stream bears its name is told."""
    text = HEAD + "streams:\n  t: {table: other}\n  '*': \n"
    expansion = expanded(tmp_path, text, a=("t", "other"))
    assert [(s.name, s.table) for s in expansion.streams] == [("t", "other"), ("other", "other")]
    assert "table 't' of source 'a' gets no stream" in expansion.notes[0]


def test_a_pattern_that_matches_nothing_is_noted(tmp_path: Path):
    """A pattern without a table is a note, not an error, and only once its source has been looked at."""
    text = HEAD + "streams: {'x_*': , y: }\n"
    assert expanded(tmp_path, text, a=("z",)).notes == ("pattern 'x_*' matches no table of source 'a'",)
    assert expanded(tmp_path, text).notes == ()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("'*': {into: all}", ""),
        ("'*': {into: all, mode: overwrite}", "share a table only if both append"),
        ("'*': {into: 'x/{table}'}", "two names spell one path"),
        ("'*': {enabled: false}", ""),
        ("'*': \n  deep: {into: a_b/c}", "lies inside 'a_b'"),
    ],
)
def test_streams_that_meet(body: str, said: str, tmp_path: Path):
    """Streams share a table only where both append and were told to; none lies in another's folder."""
    problems = expanded(tmp_path, HEAD + f"streams:\n  {body}\n", a=("a/b", "a_b")).problems
    assert bool(problems) == bool(said)
    assert not said or any(said in problem.message for problem in problems)


# --- properties -----------------------------------------------------------------------------------

NAMES = st.text("abc_", min_size=1, max_size=4)
PATTERNS = st.text("abc_*?", min_size=1, max_size=4).filter(lambda text: set(text) & set("*?"))
VALUES = st.sampled_from([None, "p", "q"])
BODIES = st.dictionaries(st.sampled_from(["where", "into"]), VALUES)


def rule(name: str, settings: dict[str, object]) -> Rule:
    return Rule(
        name=name,
        path=("streams", name),
        source="a",
        source_path=("defaults", "source"),
        table=name,
        settings=settings,
    )


@given(BODIES, st.dictionaries(PATTERNS, BODIES, max_size=5), st.none() | BODIES, NAMES)
def test_precedence(defaults, patterns, exact, table):
    """The highest rank that says anything decides; a tie is told exactly where it contradicts itself."""
    matching = [rule(name, body) for name, body in patterns.items() if matches(name, table)]
    own = rule(table, exact) if exact is not None else None
    stacked = stack(defaults, matching, own)
    for key in ("where", "into"):
        ranks = [(1000, own.settings)] if own else []
        ranks += [(literals(r.table), r.settings) for r in matching] + [(-1, defaults)]
        saying = [(rank, body[key]) for rank, body in ranks if key in body]
        top = max((rank for rank, _ in saying), default=None)
        values = {value for rank, value in saying if rank == top}
        tied = {tie.slot for tie in stacked.ties}
        assert ((key,) in tied) == (len(values) > 1)
        if len(values) == 1:
            settled = stacked.settings.get((key,))
            assert (settled.value if settled else None) == values.pop()


@given(
    st.permutations(
        [("*", {"where": "p"}), ("a*", {"where": "q"}), ("*bc", {"into": "x"}), ("ab*", {"into": None})]
    )
)
def test_the_order_of_patterns_does_not_matter(entries):
    """Rank decides, not the order in the file."""
    stacked = stack({}, [rule(name, body) for name, body in entries], None)
    assert {slot: setting.value for slot, setting in stacked.settings.items()} == {
        ("where",): "q"
    } or stacked.ties
    assert {tie.slot for tie in stacked.ties} == {("into",)}


@given(st.sets(NAMES, max_size=8))
def test_every_table_gets_exactly_one_stream(tables):
    """`*` alone makes one stream for each table, whatever their order."""
    manifest = _star()
    names = [stream.table for stream in expand(manifest, {"a": tuple(tables)}).streams]
    assert names == sorted(tables)
    assert expand(manifest, {"a": tuple(sorted(tables, reverse=True))}) == expand(
        manifest, {"a": tuple(tables)}
    )


_MADE: list[Manifest] = []


def _star():
    """One manifest for all examples: a file a time would cost more than the property."""
    if not _MADE:
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "m.yaml"
            path.write_text(HEAD + "streams: {'*': }\n")
            _MADE.append(load(path, env={}))
    return _MADE[0]


@pytest.mark.parametrize(
    ("pattern", "count"),
    [("*", 0), ("a*", 1), ("log_?", 4), ("t[0-9]x", 2), ("[!a]b", 1), ("[[]x]", 2), ("abc", 3)],
)
def test_literals(pattern: str, count: int):
    """Wildcards and classes count nothing."""
    assert literals(pattern) == count


def test_matching_folds_ascii_only():
    """As in SQLite, `Orders` is `orders`, and `Ä` is not `ä`; a name with brackets matches itself."""
    assert matches("ORD*", "orders")
    assert not matches("ä*", "Ä1")
    assert matches("a[b]", "a[b]")
