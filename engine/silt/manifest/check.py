"""Checks plain data against the schema, and says what is wrong in words (DESIGN 3, "Problems")."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Iterator
from itertools import islice, takewhile
from typing import Any

from silt.manifest.document import Document, Path, Plain
from silt.manifest.model import Problem
from silt.manifest.problems import MAX_PROBLEMS, ManifestInvalid, did_you_mean
from silt.manifest.properties import not_written
from silt.manifest.redact import is_sensitive
from silt.manifest.schema import Schema, checked, json_type, types
from silt.manifest.slips import NO_SPACE, tight_colon
from silt.manifest.units import MEANT, duration_text
from silt.manifest.words import KEYS, TYPES, VALUES

_NOUNS = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "object": "a map",
    "array": "a list",
}
_YES_AND_NO = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}


def check(
    document: Document, data: dict[str, Plain], name: str = "manifest"
) -> tuple[list[Problem], dict[str, Plain]]:
    """Expanded data -> what the schema refuses, and the data without it, for the checks that follow."""
    from jsonschema import Draft202012Validator

    schema = checked(name)
    validator = Draft202012Validator(schema)
    found = list(islice(_found(validator, document, data, schema), MAX_PROBLEMS))
    problems = [problem for problem, _ in found if problem]
    if len(found) == MAX_PROBLEMS:
        raise ManifestInvalid(problems)
    while refused := [path for _, path in found if path]:
        data = without(data, refused)  # what was around it may now lack something
        found = list(_found(validator, document, data, schema))
    return problems, data


def _found(
    validator: Any, document: Document, data: dict[str, Plain], schema: Schema
) -> Iterator[tuple[Problem | None, Path]]:
    for error in validator.iter_errors(data):
        for meant in _own_branch(error):
            yield from _explained(document, meant, schema)


def missing(document: Document, keys: Iterable[str], problems: Iterable[Problem]) -> Iterator[Problem]:
    """Sections that a whole manifest lacks, unless one of `problems` says that another key means them."""
    hints = [problem.hint for problem in problems if problem.message == "unknown key"]
    for key in keys:
        if not any(repr(key) in hint for hint in hints):
            yield _missing(document, checked(), (), key)


def without(data: dict[str, Plain], paths: Iterable[Path]) -> dict[str, Plain]:
    """`data` without the nodes at `paths`; a list that holds one goes whole."""
    rest = copy.deepcopy(data)
    for path in paths:
        keys = list(takewhile(lambda part: isinstance(part, str), path))
        node: Any = rest
        for key in keys[:-1]:
            node = node.get(key) if isinstance(node, dict) else None
        if keys and isinstance(node, dict):
            node.pop(keys[-1], None)
    return rest


def describe(value: object) -> str:
    """A value in few words: `'miror'`, `300`, `a list`, `nothing`."""
    if isinstance(value, str):
        return repr(value if len(value) <= 60 else value[:57] + "...")
    if isinstance(value, bool):
        return str(value).lower()
    return {dict: "a map", list: "a list", type(None): "nothing"}.get(type(value), str(value))


# --- one error of jsonschema ----------------------------------------------------------------------


def _own_branch(error: Any) -> list[Any]:
    """The errors in the branch of the value's own JSON type: that is the form its writer meant."""
    if error.validator != "anyOf":
        return [error]
    kind = json_type(error.instance)
    meant = [i for i, branch in enumerate(error.validator_value) if _takes(branch, kind)]
    inner = [e for e in error.context if e.relative_schema_path[0] in meant]
    return [leaf for e in inner for leaf in _own_branch(e)] or [error]


def _takes(branch: Schema, kind: str) -> bool:
    accepted = [t for part in branch.get("anyOf", [branch]) for t in types(part)]
    return kind in accepted or (kind == "integer" and "number" in accepted)


def _explained(document: Document, error: Any, schema: Schema) -> Iterator[tuple[Problem | None, Path]]:
    """Each problem of an error, and the path that is not to be used further."""
    path: Path = tuple(error.absolute_path)
    if error.validator in ("minItems", "minProperties") and _written(document, path):
        yield None, path  # it is empty because what stands in it was refused, which has been said
        return
    known = list(error.schema.get("properties", {}))
    if error.validator == "additionalProperties":
        for key in _unknown(error, known):
            lost = not path and document.data.get("streams", "") is None and error.instance[key] != ""
            hint = "indent it below 'streams'" if lost else _key_hint(key, known, schema, path)
            yield document.problem((*path, key), "unknown key", hint, at_key=True), (*path, key)
    elif error.validator == "required":
        meant = [_key_hint(key, known, schema, path) for key in _unknown(error, known)]
        for key in error.validator_value:
            told = (*path, key) in document.marks or any(repr(key) in hint for hint in meant)
            if key not in error.instance:
                yield None if told else _missing(document, error.schema, path, key), path
    else:
        message, hint = _sentence(document, error, path)
        yield document.problem(path, message, hint), path


def _written(document: Document, path: Path) -> bool:
    """Whether the map or list at `path` has something in it, as its writer wrote it."""
    return any(held[:-1] == path for held in document.marks if held)


def _unknown(error: Any, known: list[str]) -> list[str]:
    free = error.schema.get("patternProperties", {})
    return [
        key for key in error.instance if key not in known and not any(re.search(form, key) for form in free)
    ]


def _missing(document: Document, schema: Schema, path: Path, key: str) -> Problem:
    slot = schema["properties"][key]
    example = slot["examples"][0] if slot.get("examples") else ""
    hint = f"for example {key}: {example}" if isinstance(example, str | int) else f"add {key}:"
    return document.problem(path, f"{key!r} is missing", hint, at_key=bool(path))


def _key_hint(key: str, known: list[str], schema: Schema, path: Path) -> str:
    if path[-1:] == ("properties",):
        return not_written(key) or did_you_mean(key, known) or "properties of your own have no 'delta.'"
    if key.partition(":")[0] in known and tight_colon(key):
        return NO_SPACE
    ours = KEYS.get(key.lower().replace("-", "_"), "")
    if ours.partition(":")[0] in known:
        return f"here it is called {ours!r}" if ":" not in ours else f"here it is written {ours}"
    settings = schema["properties"].get("defaults", {}).get("properties", {})
    if not path and key in settings:
        return "it belongs under 'defaults' or a stream"
    return did_you_mean(key, known) or f"known here: {', '.join(known)}"


def _sentence(document: Document, error: Any, path: Path) -> tuple[str, str]:
    """Message and hint for a value that its slot does not accept; a secret's says nothing of the value."""
    value, rule = error.instance, error.validator_value
    if is_sensitive(path) and isinstance(value, str | int | float):
        return "is not what belongs here; its key is named like a secret, so it is not shown", ""
    match error.validator:
        case "enum":
            return _not_one_of(value, [str(v) for v in rule if v is not None], path)
        case "const":
            hint = "write it without quotes" if str(value) == str(rule) else ""
            return f"must be {rule}, got {describe(value)}", hint
        case "pattern":
            return _not_of_form(value, error.schema)
        case "minimum":
            return f"must be at least {rule}, got {describe(value)}", ""
        case "maximum":
            return f"must be at most {rule}, got {describe(value)}", ""
        case "uniqueItems":
            return "names something twice", "remove one"
        case "maxLength":
            return f"is longer than {rule:,} characters", ""
        case "minLength" | "minItems" | "minProperties":
            return "must not be empty", ""
        case _:
            return _wrong_type(document, error, path)


def _not_one_of(value: object, known: list[str], path: Path) -> tuple[str, str]:
    word = str(value).lower()
    ours = VALUES.get(str(path[-1]), {}).get(word, "")
    hint = f"here it is called {ours!r}" if ours in known else did_you_mean(str(value), known)
    return f"{describe(value)} is not one of {', '.join(known)}", hint


def _not_of_form(value: str, slot: Schema) -> tuple[str, str]:
    noun = slot.get("noun", "value of this form")
    article, examples = "an" if noun[0] in "aeiou" else "a", ", ".join(slot.get("instances", []))
    if noun in ("duration", "size") and value.replace(".", "", 1).isdigit():
        return _no_unit(value, noun)
    if (read := MEANT.get(noun)) and (meant := read(value)):
        return f"{describe(value)} is not {article} {noun}", f"write {meant}"
    ours = TYPES.get(value.lower().partition("(")[0]) if noun == "type of the lake" else None
    if ours:
        return f"{value!r} is not {article} {noun}", f"here it is called {ours!r}"
    near = did_you_mean(value, set(TYPES.values())) if noun == "type of the lake" else ""
    return f"{describe(value)} is not {article} {noun}", near or (
        f"for example {examples}" if examples else ""
    )


def _no_unit(value: object, noun: str) -> tuple[str, str]:
    if noun == "size":
        return f"{value} has no unit", "write 64MB"
    number = float(str(value))
    better = duration_text(number) if number > 0 else ""
    seconds = f"{value}s"
    return f"{value} has no unit", f"write {seconds}" + (
        f" or {better}" if better not in ("", seconds) else ""
    )


def _wrong_type(document: Document, error: Any, path: Path) -> tuple[str, str]:
    value = error.instance
    branches = error.schema.get("anyOf", [error.schema])
    leaves = [leaf for branch in branches for leaf in branch.get("anyOf", [branch])]
    kinds = list(dict.fromkeys(kind for leaf in leaves for kind in types(leaf) if kind != "null"))
    noun = next((leaf["noun"] for leaf in leaves if "noun" in leaf), None)
    if noun in ("duration", "size") and isinstance(value, int | float) and not isinstance(value, bool):
        return _no_unit(value, noun)
    if noun == "address" and json_type(value) == "integer":
        return f"{value} is not an address", f"write {MEANT[noun](str(value))}"
    accepted = " or ".join(_NOUNS[kind] for kind in kinds)
    return f"must be {accepted}, got {describe(value)}", _type_hint(document, value, kinds, path)


def _type_hint(document: Document, value: object, kinds: list[str], path: Path) -> str:
    written = document.mark(path).text
    if isinstance(value, str) and "boolean" in kinds and value.lower() in _YES_AND_NO:
        return f"YAML 1.2 reads {value} as text: write {_YES_AND_NO[value.lower()]}"
    if isinstance(value, str) and "object" in kinds and (pair := re.match(r"(\w+)\s*(:|=)\s*\S", value)):
        return NO_SPACE if pair[2] == ":" else f"write {pair[1]}: value"
    if isinstance(value, str) and "array" in kinds and re.match(r"-\w", value) and " -" in value:
        return "a space is missing after each dash"
    if (
        isinstance(value, str)
        and {"integer", "number"} & set(kinds)
        and re.fullmatch(r"\d+([, ]\d{3})+", value)
    ):
        return f"write {re.sub('[, ]', '_', value)}"
    if isinstance(value, list) and "object" in kinds:
        return "write name: value, without dashes or brackets"
    if isinstance(value, str | int | float) and "string" not in kinds and "array" in kinds:
        return f"write [{written}]"
    if isinstance(value, bool | int | float) and "string" in kinds:
        return f'quote it: "{written}"'
    return "write the value after the colon, or remove the key" if value is None else ""
