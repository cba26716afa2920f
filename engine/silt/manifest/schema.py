"""The manifest's language: JSON Schema files, shipped with the package, and what the checker makes of them.

The files are the single statement of the language (DESIGN 3).  In them every slot that restricts a
scalar also accepts a text with `${` in it, so that editors do not underline variables (nor `1_000`); those
branches
are generated (`with_variables`) and left out again for checking (`without_variables`), because the
checker sees expanded values.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path as FilePath
from typing import Any

from silt.manifest.document import Path

Schema = dict[str, Any]

NAMES = {"manifest": "manifest.schema.json", "uploader-config": "uploader-config.schema.json"}
ANNOTATIONS = ("title", "description", "default", "examples")
VARIABLE: Schema = {"$ref": "#/$defs/variable"}
VARIABLE_DEFINITION: Schema = {
    "title": "variable",
    "description": "A value from the environment: ${VAR}, ${VAR:-default} or ${VAR:?message}.",
    "examples": ["${VAR:-default}"],
    "type": "string",
    "pattern": r"\$\{",
}
GROUPED: Schema = {"$ref": "#/$defs/grouped"}
GROUPED_DEFINITION: Schema = {
    "title": "number",
    "$comment": "1_000_000: a number for silt, and a text for an editor's YAML.",
    "type": "string",
    "pattern": "^[0-9]+(_[0-9]+)+$",
}
_FOR_EDITORS = {"variable": VARIABLE_DEFINITION, "grouped": GROUPED_DEFINITION}


def schema_text(name: str = "manifest") -> str:
    """The text of a shipped schema: `manifest` or `uploader-config`, or the name of its file.

    Raises KeyError for another name.
    """
    file = name if name in NAMES.values() else NAMES[name]
    shipped = files("silt").joinpath("schemas", file)
    if shipped.is_file():
        return shipped.read_text(encoding="utf-8")
    return (FilePath(__file__).parents[3] / "schemas" / file).read_text(encoding="utf-8")  # a checkout


@cache
def checked(name: str = "manifest") -> Schema:
    """The schema that expanded values must meet: no variables, every `$ref` written out.

    A slot whose form is a named one (`duration`) carries that name as `noun`, for messages.
    """
    schema = without_variables(json.loads(schema_text(name)))
    inlined: Schema = _inline(schema, schema["$defs"])
    return {key: value for key, value in inlined.items() if key != "$defs"}


def wanted(path: Path, name: str = "manifest") -> frozenset[str]:
    """The JSON types that the schema accepts at `path`; with `text` where any text will do."""
    slots = list(_alternatives(checked(name)))
    for part in path:
        slots = [leaf for slot in slots for child in _children(slot, part) for leaf in _alternatives(child)]
    return frozenset(kind for slot in slots for kind in (*types(slot), *(["text"] if _is_free(slot) else [])))


def types(slot: Schema) -> tuple[str, ...]:
    """The JSON types of a schema without anyOf."""
    if "type" in slot:
        return tuple([slot["type"]] if isinstance(slot["type"], str) else slot["type"])
    values = slot.get("enum", [slot["const"]] if "const" in slot else [])
    return tuple(dict.fromkeys(json_type(value) for value in values))


def json_type(value: object) -> str:
    """The JSON type of a plain value; a whole number is an `integer`."""
    names = {bool: "boolean", int: "integer", float: "number", str: "string", dict: "object", list: "array"}
    return names.get(type(value), "null")


# --- variables ------------------------------------------------------------------------------------


def with_variables(schema: Schema) -> Schema:
    """Adds the branch `a text with ${` to every slot that restricts a scalar, `1_000` to whole numbers."""
    grown: Schema = _map_leaves(schema, _grow)
    return {**grown, "$defs": {**grown["$defs"], **_FOR_EDITORS}}


def without_variables(schema: Schema) -> Schema:
    """The inverse of `with_variables`."""
    rest = {name: slot for name, slot in schema["$defs"].items() if name not in _FOR_EDITORS}
    pruned: Schema = _map_leaves({**schema, "$defs": rest}, _prune)
    return pruned


def _grow(slot: Schema) -> Schema:
    slot = _null_first(slot)
    restricts = set(types(slot)) & {"string", "integer", "number", "boolean"} and not _is_free(slot)
    if not restricts or "anyOf" in slot:
        return slot
    own = {key: value for key, value in slot.items() if key not in ANNOTATIONS}
    more = [VARIABLE, GROUPED] if "integer" in types(slot) else [VARIABLE]
    return {**{key: slot[key] for key in ANNOTATIONS if key in slot}, "anyOf": [own, *more]}


def _null_first(slot: Schema) -> Schema:
    """The YAML language server completes no key beside a text whose default is null (1.25), unless so."""
    if slot.get("default", "") is None and slot.get("type") == ["string", "null"]:
        return {**slot, "type": ["null", "string"]}
    return slot


def _prune(slot: Schema) -> Schema:
    match slot.get("anyOf"):
        case [own, branch, *_] if branch == VARIABLE:
            return {**{key: value for key, value in slot.items() if key != "anyOf"}, **own}
        case _:
            return slot


def _map_leaves(node: Any, change: Any) -> Any:
    """`node` with every subschema passed through `change`, innermost first; data (examples) untouched."""
    if not isinstance(node, dict):
        return node
    done = dict(node)
    for key in ("properties", "patternProperties", "$defs"):
        if key in done:
            done[key] = {name: _map_leaves(slot, change) for name, slot in done[key].items()}
    for key in ("additionalProperties", "items"):
        if key in done:
            done[key] = _map_leaves(done[key], change)
    if "anyOf" in done and VARIABLE not in done["anyOf"]:
        done["anyOf"] = [_map_leaves(branch, change) for branch in done["anyOf"]]
    return change(done)


# --- walking --------------------------------------------------------------------------------------


def _inline(node: Any, definitions: Mapping[str, Any]) -> Any:
    if isinstance(node, list):
        return [_inline(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    rest = {key: _inline(value, definitions) for key, value in node.items() if key not in ("$ref", "$defs")}
    if not isinstance(node.get("$ref"), str):
        return rest
    named = _inline(definitions[node["$ref"].rpartition("/")[2]], definitions)
    noun = {"noun": named["title"], "instances": named["examples"]} if "pattern" in named else {}
    return {**named, **noun, **rest}


def _alternatives(slot: Schema) -> Iterator[Schema]:
    if "anyOf" in slot:
        for branch in slot["anyOf"]:
            yield from _alternatives(branch)
    else:
        yield slot


def _children(slot: Schema, part: str | int) -> Iterator[Schema]:
    if isinstance(part, int):
        yield from [slot["items"]] if "items" in slot else []
    elif part in slot.get("properties", {}):
        yield slot["properties"][part]
    elif matching := [s for form, s in slot.get("patternProperties", {}).items() if re.search(form, part)]:
        yield from matching
    elif isinstance(slot.get("additionalProperties"), dict):
        yield slot["additionalProperties"]


def _is_free(slot: Schema) -> bool:
    return "string" in types(slot) and "pattern" not in slot and "enum" not in slot
