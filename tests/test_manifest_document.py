"""YAML as written: plain data, types of YAML 1.2, and the place of every key and value."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from silt.manifest.document import parse, pointer, typed
from silt.manifest.model import Problem
from silt.manifest.problems import ManifestInvalid


def refused(text: str):
    with pytest.raises(ManifestInvalid) as caught:
        parse(text, "m.yaml")
    return caught.value.problems


def test_places_of_keys_and_values():
    """Line and column, from 1, of keys and values, in block and flow style and over several lines."""
    marks = parse("a:\n  b: [x, {c: 1}]\n  d: |\n    two\n    lines\n'é': \"q\"\n", "m.yaml").marks
    assert [(m.line, m.column, m.key_line, m.key_column) for m in marks.values()] == [
        (1, 1, 1, 1),
        (2, 3, 1, 1),
        (2, 6, 2, 3),
        (2, 7, 2, 7),
        (2, 10, 2, 10),
        (2, 14, 2, 11),
        (3, 6, 3, 3),
        (6, 6, 6, 1),
    ]


def test_merged_keys_keep_the_place_where_they_were_written():
    """`<<` merges maps, the nearer wins, and each key still points at its own line."""
    document = parse(
        "x-a: &a {p: 1, q: 2}\nx-b: &b\n  <<: *a\n  q: 3\nc:\n  <<: [*b, {r: 4, p: 5}]\n", "m.yaml"
    )
    assert document.data["c"] == {"q": 3, "p": 1, "r": 4}
    assert [document.place(("c", key)).line for key in "pqr"] == [1, 4, 6]


def test_aliases_are_copies():
    """An alias has the anchor's value, and its places are where that was written."""
    document = parse("x: &x {a: [1]}\ny: *x\n", "m.yaml")
    assert document.data["y"] == {"a": [1]}
    assert document.data["y"] is not document.data["x"]
    assert document.place(("y", "a", 0)).line == 1


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("~", None),
        ("null", None),
        ("true", True),
        ("False", False),
        ("yes", "yes"),
        ("on", "on"),
        ("1_000_000", 1_000_000),
        ("-7", -7),
        ("0o17", 15),
        ("0x1F", 31),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("12:30", "12:30"),
        ("2026-01-01", "2026-01-01"),
        ("1.2.3", "1.2.3"),
        (".inf", ".inf"),
        ("_1", "_1"),
        ("5s", "5s"),
    ],
)
def test_scalars_are_of_yaml_1_2(text: str, value: object):
    """Numbers, booleans and null by the core schema; `yes`, dates and sexagesimals are text."""
    assert typed(text) == value
    assert type(typed(text)) is type(value)


def test_quotes_and_the_text_tag_make_text():
    """A quoted scalar and one tagged !!str are text whatever they look like."""
    assert parse("a: '1'\nb: \"true\"\nc: !!str 1\nd: ! 2\n", "m.yaml").data == {
        "a": "1",
        "b": "true",
        "c": "1",
        "d": "2",
    }


def test_keys_are_text():
    """A key that looks like a number, a boolean or nothing is its text: tables may be called 2024."""
    assert list(parse("2024: a\ntrue: b\nnull: c\n0012: d\n", "m.yaml").data) == [
        "2024",
        "true",
        "null",
        "0012",
    ]


def test_windows_files():
    """A byte order mark is dropped on reading; CRLF does not shift lines or leak into values."""
    document = parse("a: x\r\nb:\r\n  - y\r\n", "m.yaml")
    assert document.data == {"a": "x", "b": ["y"]}
    assert document.place(("b", 0)).line == 3
    assert document.lines["m.yaml"][2] == "  - y"


def test_a_place_that_was_not_written_is_that_of_what_holds_it():
    """A default has the place of the nearest thing above it, under its own name."""
    document = parse("a:\n  b: 1\n", "m.yaml")
    default, above = document.place(("a", "c", "d")), document.place(("a",))
    assert (default.line, default.column) == (above.line, above.column)
    assert (default.pointer, above.pointer) == ("a.c.d", "a")


def test_pointers():
    """Dots between keys, brackets for items, quotes where a key holds something else."""
    assert pointer(("streams", "log_*", "select", 2)) == "streams.log_*.select[2]"
    assert pointer(("streams", "a b.c", "x")) == "streams.'a b.c'.x"


def test_all_duplicates_at_once():
    """Each second key is a problem at its own place, nested ones too."""
    problems = refused("a: 1\nb: {c: 1, d: {e: 1, e: 2}, c: 2}\na: 3\n")
    assert [(p.line, p.column, p.pointer) for p in problems] == [
        (2, 21, "b.d.e"),
        (2, 28, "b.c"),
        (3, 1, "a"),
    ]


def test_own_keys_hide_merged_ones_without_being_duplicates():
    """Overriding a merged key is what merging is for."""
    assert parse("x: &x {a: 1}\ny: {a: 2, <<: *x}\n", "m.yaml").data["y"] == {"a": 2}


@pytest.mark.parametrize(
    ("text", "line", "column", "said"),
    [
        ("a:\n  b: {c: ${X}, d: 1}\n", 2, 10, "must be quoted"),
        ("a: {b: 1,\n    c: ${X:-y}}\n", 2, 8, "must be quoted"),
        ("a: [${X}]\n", 1, 5, "must be quoted"),
        ("a:\n  - b\n  c: d\n", 3, 3, "does not line up"),
        ("a: {b: [1, 2}\n", 1, 8, "this [ is not closed"),
        ("a: {b: 1\n", 1, 4, "this { is not closed"),
        ('a: "x\n', 1, 4, "this quote is not closed"),
        ("a:\n \tb: 1\n", 2, 2, "a tab"),
        ("a: 1\n\tb: 1\n", 2, 1, "a tab"),
        ("? {a: 1}\n: 2\n", 1, 3, "a key must be text"),
        ("a: *b\n", 1, 4, "an unquoted *"),
        ("a: %x\n", 1, 4, "cannot begin with %"),
        ("a: @x\n", 1, 4, "cannot begin with @"),
        ("a: b: c\n", 1, 5, "a second ': '"),
        ("a:1\nb: 2\n", 1, 2, "a space is missing"),
        ("a:1\n\nb: 2\n", 1, 2, "a space is missing"),
        ("a: 1\nb:2\n", 2, 2, "a space is missing"),
        ("a:\n  b:2\n  c: 3\n", 2, 4, "a space is missing"),
        ("a: 1\nhttp://x\n", 2, 1, "'http://x' does not line up"),
        ("a: 1\n[x]\n", 2, 1, "'[x]' does not line up"),
    ],
)
def test_slips(text: str, line: int, column: int, said: str):
    """A common slip is explained in a sentence, at the place where it was made."""
    (problem,) = refused(text)
    assert (problem.line, problem.column) == (line, column)
    assert said in problem.message


def test_secret_without_its_space_is_not_shown():
    """`password:hunter2` is no YAML there, and its line is printed without the value."""
    (problem,) = refused("a: 1\npassword:hunter2\n")
    assert "hunter2" not in f"{problem.message}{problem.hint}{problem.source_line}"
    assert problem.source_line == "password:*******"
    place = parse("a: {password:hunter2}\n", "m.yaml").key_place(("a", "password:hunter2"))
    assert place.source_line == "a: {password:*******}"
    assert place.pointer == "a.'password:'"


@given(st.text(st.sampled_from("ab:{}[]*&!#|>'\"-? \n\t$%@`,"), max_size=40) | st.text(max_size=40))
def test_any_text_parses_or_is_a_problem(text: str):
    """No text raises anything but ManifestInvalid, and every problem has a place within the text."""
    lines = text.count("\n") + text.count("\r") + sum(text.count(c) for c in "\x85\u2028\u2029") + 1
    problems: tuple[Problem, ...] = ()
    try:
        assert isinstance(parse(text, "m.yaml").data, dict)
    except ManifestInvalid as error:
        problems = error.problems
    assert all(1 <= problem.line <= lines + 1 and problem.column >= 1 for problem in problems)
