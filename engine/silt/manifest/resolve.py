"""Checked data -> sources, targets and rules: names, paths and references that no schema can check."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path as FilePath

from silt.errors import Secret
from silt.manifest.document import Document, Path, Plain
from silt.manifest.model import Problem, Source, Target
from silt.manifest.options import (
    BREAKS_PATHS,
    SCHEMES,
    UNEXPANDED,
    complaint,
    holds_secret,
    is_option,
    storage_of,
)
from silt.manifest.problems import did_you_mean
from silt.manifest.redact import plain_uri
from silt.manifest.rules import Rule, Rules, is_pattern
from silt.manifest.units import duration

SECTIONS = ("sources", "targets", "streams")
"""Maps of names; each must be there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """Checked data with what it takes to resolve it; `base` is the folder that relative paths start from.

    `document` holds the places; `problems` collects what is found on the way.
    """

    document: Document
    data: Mapping[str, Plain] = field(repr=False)
    secrets: Mapping[Path, Secret]
    base: FilePath
    problems: list[Problem] = field(default_factory=list)

    def complain(self, path: Path, message: str, hint: str = "", *, at_key: bool = False) -> None:
        self.problems.append(self.document.problem(path, message, hint, at_key=at_key))

    def has_problem(self, pointer: str) -> bool:
        """True where a problem has been found at exactly that place."""
        return any(problem.pointer == pointer for problem in self.problems)

    def names(self, section: str) -> list[str]:
        """The names declared in a section, those whose body is wrong included."""
        written = self.document.data.get(section)
        return list(written) if isinstance(written, dict) else []


def defaults_of(file: str) -> str:
    """The key under which `folder.join` puts the defaults of one file that are for that file alone."""
    return f"defaults of {file}"


def absolute(path: str, base: FilePath) -> str:
    """A local path, relative to the manifest's folder, as an absolute one; `~` is the home folder."""
    return os.path.normpath(base / (FilePath(path).expanduser() if path.startswith("~/") else path))


def folder(written: Written, key: str, default: str) -> str:
    """A folder that the manifest may name, absolute."""
    return absolute(written.data.get(key) or default, written.base)


# --- sources and targets --------------------------------------------------------------------------


def sources(written: Written) -> tuple[Source, ...]:
    """The declared sources whose form is right, in the manifest's order."""
    return tuple(_source(written, name, body) for name, body in written.data.get("sources", {}).items())


def _source(written: Written, name: str, body: Plain) -> Source:
    settings = {"path": body} if isinstance(body, str) else body
    where: Path = ("sources", name) if isinstance(body, str) else ("sources", name, "path")
    path = settings["path"]
    if re.match(r"file:|[a-z0-9+]+://", path):
        hint = f"write {re.sub(r'^[a-z0-9+]+:(//)?', '', path).partition('?')[0]}"
        written.complain(where, f"{path!r} is a URI: a source is a path", hint)
    return Source(
        name=name,
        path=absolute(path, written.base),
        exclude=tuple(absolute(pattern, written.base) for pattern in settings.get("exclude") or ()),
        busy_timeout=duration(settings.get("busy_timeout") or "5s"),
        immutable=bool(settings.get("immutable")),
        watch="poll" if settings.get("watch") == "poll" else "events",
        place=written.document.place(where),
    )


def targets(written: Written) -> tuple[Target, ...]:
    """The declared targets whose form is right, in the manifest's order."""
    return tuple(_target(written, name, body) for name, body in written.data.get("targets", {}).items())


def _target(written: Written, name: str, body: Plain) -> Target:
    settings = {"uri": body} if isinstance(body, str) else body
    where: Path = ("targets", name) if isinstance(body, str) else ("targets", name, "uri")
    uri, storage = settings["uri"], storage_of(settings["uri"])
    if is_option(name) and holds_secret(name):
        hint = "indent it under a target's storage_options"
        written.complain(
            ("targets", name), "a storage option, where a target's name belongs", hint, at_key=True
        )
    if storage is None:
        scheme = uri.partition("://")[0]
        known = ", ".join(f"{s}://" for s in SCHEMES)
        written.complain(where, f"no storage is known for {scheme}://", f"known: {known} and plain paths")
    place = root(uri, written.base)
    broken = next((c for c in UNEXPANDED.sub("", place) if c in BREAKS_PATHS), None)
    if broken:
        written.complain(
            where, f"{plain_uri(place)!r} holds {broken!r}, which delta-rs cannot have in a path"
        )
    return Target(
        name=name,
        uri=place,
        storage_options=_options(written, name, settings, storage),
        allow_unsafe_store=bool(settings.get("allow_unsafe_store")),
        place=written.document.place(where),
    )


def root(uri: str, base: FilePath) -> str:
    """A target's root: a local one as an absolute path, a remote one without a last slash."""
    if storage_of(uri) == "local":
        return absolute(re.sub(r"^file://", "", uri), base)
    return uri.rstrip("/")


def _options(
    written: Written, target: str, settings: Mapping[str, Plain], storage: str | None
) -> dict[str, str | Secret]:
    options: dict[str, str | Secret] = {}
    seen: dict[str, str] = {}
    for key, value in (settings.get("storage_options") or {}).items():
        path = ("targets", target, "storage_options", key)
        wrong = complaint(key, storage) if storage else None
        if wrong:
            written.complain(path, *wrong, at_key=True)
        if key.lower() in seen:
            written.complain(path, f"is also written as {seen[key.lower()]}", "remove one", at_key=True)
        seen[key.lower()] = key
        text = as_written(written.document, path, value)
        options[key] = written.secrets.get(path) or (Secret(text) if holds_secret(key) else text)
    return options


def as_written(document: Document, path: Path, value: Plain) -> str:
    """A scalar as text: as it stands in the file (`1.50`), or as the environment gave it."""
    if isinstance(value, str):
        return value
    mark = document.marks.get(path)
    written = mark is not None and mark.plain and path not in document.variables
    return mark.text if mark and written else json.dumps(value)


def node(written: Written, declared: tuple[Target, ...]) -> str:
    """The node's name; `local` where every target is, an error where one is remote and none is given."""
    given = written.data.get("node")
    remote = next((t for t in declared if storage_of(t.uri) not in ("local", None)), None)
    if not given and remote and not written.has_problem("node"):
        message = (
            f"{plain_uri(remote.uri)} is remote, where several machines may write, and this one has no 'node'"
        )
        home: Path = ("targets", remote.name)
        where = (*home, "uri") if (*home, "uri") in written.document.marks else home
        written.complain(where, message, "add node: ${NODE_ID:?set NODE_ID}")
    return given or "local"


# --- rules ----------------------------------------------------------------------------------------


def rules(written: Written) -> Rules:
    """The entries under `streams`, exact ones and patterns, each with its source."""
    defaults = {key: body or {} for key, body in written.data.items() if key.startswith("defaults")}
    known = {key: _default_source(written, key, body) for key, body in defaults.items()}
    all_rules = [
        _rule(written, name, body or {}, defaults, known)
        for name, body in written.data.get("streams", {}).items()
    ]
    return Rules(
        document=written.document,
        secrets=written.secrets,
        defaults=defaults.get("defaults", {}),
        exact=tuple(rule for rule in all_rules if not rule.is_pattern),
        named={rule.name: rule for rule in all_rules if not rule.is_pattern},
        patterns=tuple(rule for rule in all_rules if rule.is_pattern),
    )


def _default_source(written: Written, key: str, body: Mapping[str, Plain]) -> str | None:
    _check_reference(written, (key,), body, "target")
    return _named_source(written, (key,), body)


def _rule(
    written: Written,
    name: str,
    body: Mapping[str, Plain],
    defaults: Mapping[str, Mapping[str, Plain]],
    known: Mapping[str, str | None],
) -> Rule:
    """`defaults` and the sources that they name, by key: `defaults` itself, or `defaults_of` a file."""
    path: Path = ("streams", name)
    own = defaults_of(written.document.mark(path).file)
    key = own if known.get(own) else "defaults"
    if is_pattern(name) and body.get("table"):
        hint = f"remove 'table', or give the stream a name without {', '.join(c for c in '*?[' if c in name)}"
        written.complain((*path, "table"), f"{name!r} is a pattern of tables itself", hint, at_key=True)
    _check_reference(written, path, body, "target")
    named = _named_source(written, path, body)
    source = named or known.get(key) or _sole(written, "sources")
    if source is None and len(written.names("sources")) > 1:
        hint = f"add source: one of {', '.join(written.names('sources'))}"
        written.complain(path, "names no source, and there are several", hint, at_key=True)
    query = body.get("query") or None
    if query:
        _check_query(written, path, name, body)
    return Rule(
        name=name,
        path=path,
        source=source,
        source_path=(*path, "source") if named else (key, "source"),
        table=name if query else body.get("table") or name,
        settings=body,
        defaults=((own,), defaults[own]) if own in defaults else None,
        query=query,
    )


def _check_query(written: Written, path: Path, name: str, body: Mapping[str, Plain]) -> None:
    if is_pattern(name):
        message = f"{name!r} is a pattern of tables, and a query reads what it names itself"
        written.complain((*path, "query"), message, "give the stream a name of its own", at_key=True)
    if body.get("table"):
        message = "a stream has either a 'table' or a 'query'"
        written.complain((*path, "table"), message, "keep one", at_key=True)


def _named_source(written: Written, path: Path, body: Mapping[str, Plain]) -> str | None:
    """The source that an entry names; for a wrong name, which is reported, any other."""
    _check_reference(written, path, body, "source")
    named, known = body.get("source"), written.names("sources")
    return named if named in known or not named else next(iter(known), None)


def _sole(written: Written, section: str) -> str | None:
    names = written.names(section)
    return names[0] if len(names) == 1 else None


def _check_reference(written: Written, path: Path, body: Mapping[str, Plain], key: str) -> None:
    named, known = body.get(key), written.names(f"{key}s")
    if named and named not in known and "${" not in named:
        hint = did_you_mean(named, known) or f"there is {', '.join(known)}" if known else ""
        written.complain((*path, key), f"no {key} is called {named!r}", hint)


def odd_names(written: Written) -> Iterator[Problem]:
    """Names that cannot be one: empty, or with control characters."""
    for section in ("sources", "targets", "streams"):
        for name in written.names(section):
            if not name.strip() or not name.isprintable():
                yield written.document.problem(
                    (section, name), f"{name!r} is no name", "use letters", at_key=True
                )
