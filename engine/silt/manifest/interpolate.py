"""Variables and secrets: `${VAR}`, `${VAR:-default}`, `${VAR:?message}`, `$$`, `${secret:env:X}`,
`${secret:file:/path}` (DESIGN 3).

After parsing, in scalar values only, so that no value of the environment can change the manifest's
form.  An expanded value takes the type that the schema wants there: NODE_ID=0012 stays `0012`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path as FilePath

from silt.errors import Secret
from silt.manifest.check import without
from silt.manifest.document import Document, Path, Plain, typed
from silt.manifest.model import Problem, Scalar
from silt.manifest.problems import did_you_mean
from silt.manifest.redact import is_sensitive
from silt.manifest.schema import json_type, wanted

_VARIABLE = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<operator>:-|:\?)?(?P<rest>.*)\Z", re.DOTALL)


_BARE = re.compile(r"\$([A-Z][A-Z0-9_]+)\b")
"""`$HOME`: a variable to a shell, plain text to a manifest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Where values come from.

    `require`: an unset variable is a problem.  `open_secrets`: secrets are read, and a missing one is
    a problem; otherwise they stay unread.  `base` is the folder that a secret's path is relative to.
    """

    variables: Mapping[str, str] = field(repr=False)
    require: bool = True
    open_secrets: bool = False
    base: FilePath = field(default_factory=FilePath)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expanded:
    """`data` with every variable filled in; a secret stands in it unexpanded and, by path, in `secrets`."""

    document: Document
    data: dict[str, Plain] = field(repr=False)
    secrets: Mapping[Path, Secret]
    problems: tuple[Problem, ...]


class _Wrong(Exception):
    """What is wrong with a variable, and what to do; `inside` is text of the value in the message."""

    def __init__(self, message: str, hint: str = "", *, inside: str = "") -> None:
        super().__init__(message)
        self.message, self.hint, self.inside = message, hint, inside


@dataclass(slots=True)
class _Value:
    """One scalar while it is expanded."""

    used: list[str] = field(default_factory=list)
    unset: list[str] = field(default_factory=list)
    secret: bool = False


def interpolate(document: Document, environment: Environment, name: str = "manifest") -> Expanded:
    """Every scalar of `document` expanded; what is under an `x-` key is not read."""
    walk = _Walk(document, environment, name)
    written = document.data.items()
    data = {key: value if key.startswith("x-") else walk.node(value, (key,)) for key, value in written}
    return Expanded(
        document=replace(document, variables=walk.used),
        data=without(data, walk.dropped) if walk.dropped else data,
        secrets=walk.secrets,
        problems=tuple(walk.problems),
    )


def filled(text: str, environment: Environment) -> str | None:
    """One text with its variables filled in; None where one cannot be."""
    try:
        return _expand(text, _Value(), environment)
    except _Wrong:
        return None


class _Walk:
    def __init__(self, document: Document, environment: Environment, name: str) -> None:
        self.document, self.environment, self.schema = document, environment, name
        self.used: dict[Path, tuple[str, ...]] = {}
        self.secrets: dict[Path, Secret] = {}
        self.problems: list[Problem] = []
        self.dropped: list[Path] = []

    def node(self, value: Plain, path: Path) -> Plain:
        if isinstance(value, dict):
            return {key: self.node(item, (*path, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [self.node(item, (*path, index)) for index, item in enumerate(value)]
        return self._scalar(value, path) if isinstance(value, str) and "$" in value else value

    def _scalar(self, written: str, path: Path) -> Scalar:
        value = _Value()
        try:
            text = _expand(written, value, self.environment)
        except _Wrong as wrong:
            hidden = wrong.inside if is_sensitive(path) else ""
            self._refuse(path, wrong.message.replace(hidden, "***") if hidden else wrong.message, wrong.hint)
            return None
        if value.used:
            self.used[path] = tuple(dict.fromkeys(value.used))
        if value.secret:
            return self._secret(written, text, path)
        kinds = wanted(path, self.schema)
        if value.unset:
            if "text" not in kinds:
                self.dropped.append(path)
            return written
        return _fitting(text, kinds) if "${" in written else text

    def _secret(self, written: str, text: str, path: Path) -> Scalar:
        if not _may_be_secret(path):
            hint = "secrets belong in a target's storage_options, or in a mask's salt"
            self._refuse(path, "a secret here would be printed and stored", hint)
            return None
        self.secrets[path] = Secret(text)
        return written

    def _refuse(self, path: Path, message: str, hint: str) -> None:
        self.problems.append(self.document.problem(path, message, hint))
        self.dropped.append(path)


def _may_be_secret(path: Path) -> bool:
    """Whether what stands there is never printed nor stored: a storage option, the salt of a mask."""
    if path[:1] == ("targets",):
        return len(path) == 4 and path[2] == "storage_options"
    return path[-3:-2] == ("columns",) and path[-1] == "salt"


def _fitting(text: str, kinds: frozenset[str]) -> Scalar:
    """`text` as the type that the schema wants: text where text will do, unless a number reads the same."""
    if not text and "null" in kinds:
        return None
    value = typed(text)
    kind = json_type(value)
    fits = value is not None and (kind in kinds or (kind == "integer" and "number" in kinds))
    if "string" in kinds:
        return value if fits and json.dumps(value) == text else text
    return value if fits else text


# --- one text -------------------------------------------------------------------------------------


def _expand(text: str, value: _Value, environment: Environment) -> str:
    return "".join(_parts(text, value, environment))


def _parts(text: str, value: _Value, environment: Environment) -> Iterator[str]:
    position = 0
    while (found := text.find("$", position)) >= 0:
        yield text[position:found]
        if text.startswith("$$", found):
            yield "$"
            position = found + 2
        elif text.startswith("${", found):
            end = _closing(text, found)
            yield _reference(text[found + 2 : end], value, environment)
            position = end + 1
        elif bare := _BARE.match(text, found):
            hint = f"write ${{{bare[1]}}}, or $${bare[1]} for the characters themselves"
            raise _Wrong(f"{bare[0]} is not filled in without its braces", hint, inside=bare[0])
        else:
            yield "$"
            position = found + 1
    yield text[position:]


def _closing(text: str, begin: int) -> int:
    """The index of the brace that closes the one after `begin`; variables may stand in a default."""
    depth = 0
    for index in range(begin + 1, len(text)):
        depth += {"{": 1, "}": -1}.get(text[index], 0)
        if depth == 0:
            return index
    raise _Wrong("${ is not closed", "add the }, or write $${ for the two characters themselves")


def _reference(inside: str, value: _Value, environment: Environment) -> str:
    if inside.startswith("secret:"):
        return _secret_text(inside, value, environment)
    parsed = _VARIABLE.match(inside)
    if parsed is None or (parsed["rest"] and not parsed["operator"]):
        hint = "write ${VAR}, ${VAR:-default}, ${VAR:?message}, ${secret:env:VAR} or ${secret:file:/path}"
        raise _Wrong(f"'${{{inside}}}' is no variable", hint, inside=inside)
    name, operator, rest = parsed["name"], parsed["operator"], parsed["rest"]
    found = environment.variables.get(name)
    if found or (found is not None and not operator):
        value.used.append(name)
        return found
    if operator == ":-":
        return _expand(rest, value, environment)
    return _unset(name, operator, rest, value, environment)


def _unset(name: str, operator: str | None, message: str, value: _Value, environment: Environment) -> str:
    if not environment.require:
        value.unset.append(name)
        return ""
    if operator == ":?":
        raise _Wrong(
            f"the environment variable {name} is not set: {message or 'it is required'}", f"set {name}"
        )
    near = did_you_mean(name, environment.variables)
    raise _Wrong(
        f"the environment variable {name} is not set", near or f"set it, or write ${{{name}:-default}}"
    )


def _secret_text(inside: str, value: _Value, environment: Environment) -> str:
    value.secret = True
    _, kind, name = (*inside.split(":", 2), "", "")[:3]
    if kind not in ("env", "file") or not name:
        raise _Wrong(f"'${{{inside}}}' is no secret", "write ${secret:env:VAR} or ${secret:file:/path}")
    if not environment.open_secrets:
        return f"${{{inside}}}"
    return _from_file(name, environment) if kind == "file" else _from_variable(name, environment)


def _from_variable(name: str, environment: Environment) -> str:
    found = environment.variables.get(name)
    if not found:
        raise _Wrong(f"the secret's environment variable {name} is not set", f"set {name}")
    return found


def _from_file(name: str, environment: Environment) -> str:
    """The file's text without the line end that editors add."""
    try:
        return (environment.base / name).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise _Wrong(
            f"the secret's file {name} cannot be read: {reason}", "create it, or correct the path"
        ) from None
