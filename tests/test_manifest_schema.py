"""The shipped schemas: complete, consistent with the code, generated branches up to date."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from silt import types
from silt.manifest import load, schema_text
from silt.manifest.document import parse
from silt.manifest.options import complaint, holds_secret
from silt.manifest.schema import NAMES, checked, with_variables, without_variables
from silt.manifest.streams import PLACEHOLDERS, UNUSED
from silt.manifest.units import duration, duration_text, size, size_text

ROOT = Path(__file__).parents[1]


def keys(schema: dict, path: str = "") -> Iterator[tuple[str, dict]]:
    """Every key that the language has, with its slot."""
    for name, slot in schema.get("properties", {}).items():
        yield f"{path}.{name}", slot
        yield from keys(slot, f"{path}.{name}")
    rest = schema.get("additionalProperties")
    if isinstance(rest, dict):
        yield from keys(rest, f"{path}.*")
    for branch in schema.get("anyOf", []):
        yield from keys(branch, path)


@pytest.mark.parametrize("name", NAMES)
def test_schemas_are_valid(name: str):
    """Each is a JSON Schema of Draft 2020-12, as shipped and as checked; by either of its names."""
    shipped = json.loads(schema_text(name))
    Draft202012Validator.check_schema(shipped)
    Draft202012Validator.check_schema(checked(name))
    assert schema_text(NAMES[name]) == schema_text(name)


@pytest.mark.parametrize("name", NAMES)
def test_variables_are_generated(name: str):
    """The branches for ${VAR} are what scripts/schema writes: run it after an edit."""
    shipped = json.loads(schema_text(name))
    assert with_variables(without_variables(shipped)) == shipped


@pytest.mark.parametrize("name", NAMES)
def test_every_key_is_described(name: str):
    """Each key has a title, a description, an example, and a default unless it is required."""
    found = list(keys(checked(name)))
    assert len(found) >= (40 if name == "manifest" else 4)
    for path, slot in found:
        assert slot.get("title"), path
        assert slot.get("description", "").endswith("."), path
        assert slot.get("examples"), path
        assert "default" in slot or "Required" in slot["description"] or "wins." in slot["description"], path


@pytest.mark.parametrize("name", NAMES)
def test_examples_and_defaults_are_accepted(name: str):
    """What the schema shows as an example, and names as default, it accepts."""
    for path, slot in keys(json.loads(schema_text(name))):
        root = {**slot, "$defs": json.loads(schema_text(name))["$defs"]}
        for example in [*slot.get("examples", []), *([slot["default"]] if "default" in slot else [])]:
            errors = list(Draft202012Validator(root).iter_errors(example))
            assert errors == [], (path, example)


def test_an_editor_accepts_variables_everywhere():
    """The shipped schema does not underline ${VAR} in a number, a boolean, a word of a list or a duration."""
    text = """
version: 1
sources: {p: {path: ./p.db, busy_timeout: "${T}", immutable: "${B}"}}
targets: {l: ./l}
streams:
  a: {mode: "${M}", enabled: "${E}", batch: {max_rows: "${R}"}, schedule: "${S}", lineage: ["${L}"]}
  b: {cursor: {on_null: "${N}", lookback: "${D}"}, columns: {x: {type: "${Y}", format: "${F}"}}}
"""
    shipped = Draft202012Validator(json.loads(schema_text()))
    data = parse(text, "m.yaml").data
    assert list(shipped.iter_errors(data)) == []
    assert len(list(Draft202012Validator(checked()).iter_errors(data))) == 9  # the two of a cursor are one


def test_alternatives_differ_in_type():
    """Shorthands are alternatives of different JSON types, so that the branch that was meant is known."""

    def alternatives(node: object) -> Iterator[list[dict]]:
        if isinstance(node, dict):
            assert "oneOf" not in node
            assert "if" not in node
            yield from [node["anyOf"]] if "anyOf" in node else []
            node = list(node.values())
        if isinstance(node, list):
            for item in node:
                yield from alternatives(item)

    found = list(alternatives(checked()))
    assert len(found) >= 8
    for branches in found:
        kinds = [branch["type"] for branch in branches]
        assert len(set(kinds)) == len(kinds)


def test_types_and_formats_are_those_of_silt_types():
    """Every type that the manifest accepts can be carried out, and every format of time is known to both."""
    column = checked()["properties"]["streams"]["additionalProperties"]["properties"]["columns"]
    slots = column["additionalProperties"]["properties"]
    names = re.findall(r"[a-z]+", slots["type"]["anyOf"][0]["pattern"].partition("decimal")[0])
    assert {str(types.parse(name)) for name in names} == set(names)
    assert str(types.parse("decimal(10,2)")) == "decimal(10,2)"
    assert set(slots["format"]["enum"]) - {None} == set(types.TIME_FORMATS)


def test_words_of_the_code_are_words_of_the_schema():
    """Placeholders and the settings that a mode does not use are those that the schema describes."""
    settings = checked()["properties"]["streams"]["additionalProperties"]["properties"]
    assert set(re.findall(r"\{(\w+)\}", settings["into"]["description"])) == set(PLACEHOLDERS)
    assert set(UNUSED) <= set(settings["mode"]["enum"])
    assert {key for unused in UNUSED.values() for key in unused} <= set(settings)


@pytest.mark.parametrize(
    ("text", "seconds"), [("200ms", 0.2), ("5s", 5), ("1.5m", 90), ("1h", 3600), ("1d", 86400), ("0s", 0)]
)
def test_durations(text: str, seconds: float):
    """A duration in seconds, and back in the largest whole unit."""
    assert duration(text) == seconds
    assert duration(duration_text(seconds)) == seconds


@pytest.mark.parametrize(
    ("text", "count"), [("1B", 1), ("64MB", 64 << 20), ("1.5KB", 1536), ("1GB", 1 << 30)]
)
def test_sizes(text: str, count: int):
    """A size in bytes, by 1024, and back."""
    assert size(text) == count
    assert size(size_text(count)) == count


@pytest.mark.parametrize(
    "key", ["AWS_SECRET_ACCESS_KEY", "azure_storage_sas_token", "PASSWORD", "account_key"]
)
def test_options_named_like_a_secret(key: str):
    """SECRET, KEY, TOKEN, SAS, PASSWORD in any case; a region or a key's id for encryption is none."""
    assert holds_secret(key)
    assert not holds_secret("AWS_REGION")
    assert not holds_secret("aws_sse_kms_key_id")


@pytest.mark.parametrize(
    ("storage", "keys"),
    [
        ("S3", "AWS_REGION endpoint_url AWS_ALLOW_HTTP timeout connect_timeout max_retries retry_timeout"),
        ("S3", "AWS_ENDPOINT_URL AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_S3_ALLOW_UNSAFE_RENAME"),
        ("Azure", "azure_storage_use_emulator azure_allow_http AZURE_STORAGE_ACCOUNT_NAME AZURE_CLIENT_ID"),
        ("Google", "google_service_account GOOGLE_APPLICATION_CREDENTIALS proxy_url"),
        ("local", "allow_unsafe_rename"),
    ],
)
def test_known_options(storage: str, keys: str):
    """Options that work are accepted in either case; one letter off, or of another storage, is refused."""
    for key in keys.split():
        assert complaint(key, storage) is None, key
        assert complaint(key.swapcase(), storage) is None, key
        wrong = complaint(key[:-1] + "x", storage)
        assert wrong
        assert "did you mean" in wrong[1]
    elsewhere = complaint("azure_tenant_id" if storage != "Azure" else "aws_region", storage)
    assert elsewhere
    assert "is an option for" in elsewhere[0]


# --- recipes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*.yaml*")), ids=lambda path: path.name)
def test_recipes_are_valid(path: Path):
    """Each recipe loads, names its schema on the first line, and an editor that reads it finds nothing."""
    load(path, env={"NODE_ID": "edge-7", "BUCKET": "corp", "AWS_REGION": "eu-west-1"})
    text = path.read_text(encoding="utf-8")
    named = re.match(r"# yaml-language-server: \$schema=(\S+)\n", text)
    assert named
    schema = json.loads((path.parent / named[1]).read_text(encoding="utf-8"))
    assert list(Draft202012Validator(schema).iter_errors(parse(text, path.name).data)) == []
    assert text.count("#") >= 6


DUMP = """
import sqlite3, sys
made = sqlite3.connect(":memory:")
made.executescript(open(sys.argv[1], encoding="utf-8").read())
kept = sqlite3.connect(f"file:{sys.argv[2]}?mode=ro", uri=True)
assert list(made.iterdump()) == list(kept.iterdump())
assert kept.execute("PRAGMA journal_mode").fetchone() == ("delete",)
"""


@pytest.mark.parametrize("script", sorted((ROOT / "recipes").rglob("*.sql")), ids=lambda path: path.stem)
def test_a_recipe_s_database_is_what_its_sql_makes(script: Path):
    """recipes/NAME.db is kept in the repository so that the recipe runs at once; it is its SQL's."""
    code = [sys.executable, "-c", DUMP, str(script), str(script.with_suffix(".db"))]
    subprocess.run(code, check=True)
