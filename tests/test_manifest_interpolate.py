"""Variables and secrets in scalar values."""

from __future__ import annotations

from pathlib import Path

import pytest

from silt.manifest.document import parse
from silt.manifest.interpolate import Environment, Expanded, interpolate
from silt.manifest.schema import wanted


def expanded(text: str, **variables: str) -> Expanded:
    return interpolate(parse(text, "m.yaml"), Environment(variables=variables))


def name(value: str, **variables: str) -> object:
    found = expanded(f"name: {value}\n", **variables)
    assert found.problems == ()
    return found.data["name"]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("${A}", "x"),
        ("a-${A}-${A}b", "a-x-xb"),
        ("${A:-d}", "x"),
        ("${E:-d}", "d"),
        ("${N:-d}", "d"),
        ("${N:-}", None),
        ("${E}", None),
        ("${N:-${A}}", "x"),
        ("${N:-${M:-deep}}", "deep"),
        ("${A:?no}", "x"),
        ("$$", "$"),
        ("$${A}", "${A}"),
        ("$$$${A}", "$${A}"),
        ("$A", "$A"),
        ("a$", "a$"),
        ("5$ or ${A}", "5$ or x"),
        ("${N:-a:b}", "a:b"),
    ],
)
def test_forms(written: str, value: object):
    """All forms, nested defaults, the escape; a lone dollar is itself; empty unsets what can be unset."""
    assert name(f"'{written}'", A="x", E="") == value


def test_a_value_cannot_change_the_form():
    """What the environment holds is a value: YAML, variables and quotes in it mean nothing."""
    hostile = "x}\nstreams: {evil: }\n# ${A} 'q'"
    assert name("${A}", A=hostile) == hostile
    assert name('"pre ${A}"', A="${B}", B="no") == "pre ${B}"


@pytest.mark.parametrize("value", ["0012", "1e3", "true", "null", "~", "2026-01-01", "0x10", "1.0"])
def test_text_stays_text(value: str):
    """Where the schema wants text, `0012` stays `0012`, and `true` is a word, quoted or not."""
    assert name("${A}", A=value) == value
    assert name('"${A}"', A=value) == value


def test_other_types_are_what_the_schema_wants():
    """A number, a boolean, one of several types: quoted or not, the slot decides."""
    text = """
streams:
  a:
    enabled: "${F}"
    batch: {max_rows: "${N}"}
    schedule: ${D}
    cursor: {initial_value: "${N}", lookback: "${N}"}
  b: {cursor: {initial_value: "${Z}", lookback: "${D}"}}
  c: {batch: {max_rows: "${D}"}}
"""
    data = expanded(text, F="false", N="12", D="5m", Z="0012").data["streams"]
    assert data["a"] == {
        "enabled": False,
        "batch": {"max_rows": 12},
        "schedule": "5m",
        "cursor": {"initial_value": 12, "lookback": 12},
    }
    assert data["b"]["cursor"] == {"initial_value": "0012", "lookback": "5m"}
    assert data["c"]["batch"] == {"max_rows": "5m"}


def test_only_values_are_expanded():
    """Keys stay as written, and so does all that is under x-, where nothing need be set."""
    found = expanded("x-a: {b: '${NOT_SET}'}\nstreams: {'${A}': {where: '${A}'}}\n", A="v")
    assert found.problems == ()
    assert found.data == {"x-a": {"b": "${NOT_SET}"}, "streams": {"${A}": {"where": "v"}}}


def test_an_anchor_under_x_is_expanded_where_it_is_used():
    """A shared default is free to hold variables."""
    found = expanded("x-a: &a {where: '${A}'}\nstreams: {b: *a}\n", A="v")
    assert found.data["streams"] == {"b": {"where": "v"}}


def test_where_a_value_came_from():
    """Each expanded path names its variables; a default that was used leaves the file as origin."""
    found = expanded("name: ${A}${B}\nnode: ${N:-x}\n", A="a", B="b")
    assert found.document.variables == {("name",): ("A", "B")}


@pytest.mark.parametrize(
    ("written", "said", "hint"),
    [
        ("${N}", "N is not set", "${N:-default}"),
        ("${SQLITE_PAHT}", "SQLITE_PAHT is not set", "did you mean 'SQLITE_PATH'?"),
        ("${N:?give it}", "N is not set: give it", "set N"),
        ("${E:?give it}", "E is not set: give it", "set E"),
        ("${N:-${M}}", "M is not set", ""),
        ("${N", "not closed", "$${"),
        ("${}", "is no variable", "${VAR}"),
        ("${a b}", "is no variable", "${VAR}"),
        ("${N-x}", "is no variable", "${VAR:-default}"),
        ("${secret:env:}", "is no secret", "${secret:env:VAR}"),
        ("${secret:env:X}", "would be printed", "storage_options"),
    ],
)
def test_problems(written: str, said: str, hint: str):
    """What cannot be expanded is a problem at its place, with what to write."""
    (problem,) = expanded(f"a: 1\nname: '{written}'\n", E="", SQLITE_PATH="x").problems
    assert (problem.line, problem.column, problem.pointer) == (2, 7, "name")
    assert said in problem.message
    assert hint in problem.hint


def test_secrets_stay_apart():
    """A secret's text is in `secrets`, by path; the data keeps the reference."""
    text = "targets: {l: {storage_options: {k: 'a${secret:env:X}b'}}}\n"
    path = ("targets", "l", "storage_options", "k")
    opened = interpolate(parse(text, "m.yaml"), Environment(variables={"X": "s"}, open_secrets=True))
    assert opened.secrets[path].reveal() == "asb"
    assert opened.data["targets"]["l"]["storage_options"]["k"] == "a${secret:env:X}b"


def test_a_secret_file_is_relative_to_the_manifest_and_loses_its_line_end(tmp_path: Path):
    """Editors end a file with a line end; a secret has none."""
    (tmp_path / "s").write_bytes(b"pass word\r\n")
    text = "targets: {l: {storage_options: {k: '${secret:file:s}'}}}\n"
    environment = Environment(variables={}, open_secrets=True, base=tmp_path)
    (secret,) = interpolate(parse(text, "m.yaml"), environment).secrets.values()
    assert secret.reveal() == "pass word"


def test_what_the_schema_wants():
    """Types by path, through references, alternatives, maps of anything and lists."""
    assert wanted(("node",)) == {"string", "null", "text"}
    assert wanted(("streams", "x", "batch", "max_rows")) == {"integer", "null"}
    assert wanted(("streams", "x", "schedule", "every")) == {"string"}
    assert wanted(("targets", "x", "storage_options", "k")) == {"string", "number", "boolean", "text"}
    assert wanted(("streams", "x", "tags", 3)) == {"string", "text"}
    assert wanted(("nowhere", "x")) == set()
