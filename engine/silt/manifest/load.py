"""Reads a manifest: text -> plain data -> expanded -> checked -> resolved; every problem at once."""

from __future__ import annotations

import hashlib
import os
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from silt.manifest import flat, folder
from silt.manifest.check import check, missing
from silt.manifest.document import MAX_BYTES, Document, parse
from silt.manifest.expand import expand, sample_problems
from silt.manifest.interpolate import Environment, interpolate
from silt.manifest.model import Manifest, Problem
from silt.manifest.problems import ManifestInvalid, in_order
from silt.manifest.resolve import SECTIONS, Written, node, odd_names, rules, sources, targets
from silt.manifest.resolve import folder as folder_of

_SQLITE: Final = b"SQLite format 3\0"
"""How a database's file begins (https://sqlite.org/fileformat.html)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Text:
    """One file of a manifest: its path as problems name it, and its bytes."""

    file: str
    raw: bytes


def load(
    path: str | Path,
    *,
    env: Mapping[str, str] | None = None,
    require_env: bool = True,
    open_secrets: bool = False,
) -> Manifest:
    """A manifest, resolved: one file, a folder of them, or a flat config, which it recognises.

    `env` defaults to the process's environment.  `require_env=False` accepts unset variables;
    `open_secrets=True` reads secrets (without it a Secret holds its reference only, and nothing
    outside the manifest is read).  Raises ManifestInvalid with everything that is wrong.
    """
    name = str(path)
    here = Path(name).expanduser().absolute()
    texts = _texts(name) if here.is_dir() else (_Text(file=name, raw=_read(name)),)
    environment = Environment(
        variables=os.environ if env is None else env,
        require=require_env,
        open_secrets=open_secrets,
        base=here if here.is_dir() else here.parent,
    )
    documents = _parsed(texts)
    one_table = len(documents) == 1 and not here.is_dir() and flat.is_flat(documents[0].data)
    written = _written_flat(documents[0], environment) if one_table else _written(documents, environment)
    manifest = _resolved(written, name, texts, one_table=one_table)
    problems = [
        *written.problems,
        *odd_names(written),
        *expand(manifest, {}).problems,
        *sample_problems(manifest),
    ]
    if problems:
        raise ManifestInvalid(problems)
    return manifest


def _resolved(written: Written, name: str, texts: tuple[_Text, ...], *, one_table: bool) -> Manifest:
    declared = targets(written)
    here = Path(name).expanduser().absolute()
    return Manifest(
        path=name,
        name=written.data.get("name") or "default",
        node=node(written, declared),
        state_dir=folder_of(written, "state_dir", "state"),
        sources=sources(written),
        targets=declared,
        rules=replace(rules(written), one_table=one_table),
        is_flat=one_table,
        digest=_digest(texts, name),
        files=(
            *([str(here)] if here.is_dir() else []),
            *(str(Path(text.file).expanduser().absolute()) for text in texts),
        ),
    )


def _digest(texts: tuple[_Text, ...], name: str) -> str:
    """Of the bytes of the one file; of the names and bytes of all, where `name` is a folder."""
    if len(texts) == 1 and texts[0].file == name:
        return hashlib.sha256(texts[0].raw).hexdigest()
    lines = (f"{hashlib.sha256(text.raw).hexdigest()}  {Path(text.file).name}\n" for text in texts)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _written(documents: tuple[Document, ...], environment: Environment) -> Written:
    written = [_part(document, environment) for document in documents]
    joined = written[0] if len(written) == 1 else folder.join(written)
    gone = [key for key in SECTIONS if key not in joined.document.data]
    joined.problems.extend(missing(joined.document, gone, joined.problems))
    return joined


def _part(document: Document, environment: Environment) -> Written:
    if flat.is_flat(document.data):
        first = next(key for key in document.data if key in flat.KEYS)
        hint = "name that file itself, or move it out of the folder"
        message = f"{first!r} is of a flat config, which is no part of a manifest in a folder"
        raise ManifestInvalid([document.problem((first,), message, hint, at_key=True)])
    expanded = interpolate(document, environment)
    problems, data = check(expanded.document, expanded.data)
    return Written(
        document=expanded.document,
        data=data,
        secrets=expanded.secrets,
        base=environment.base,
        problems=[*expanded.problems, *problems],
    )


def _written_flat(document: Document, environment: Environment) -> Written:
    overlaid = flat.overlay(document, environment.variables)
    expanded = interpolate(overlaid, environment, "uploader-config")
    known = replace(expanded.document, variables={**expanded.document.variables, **overlaid.variables})
    problems, data = check(known, expanded.data, "uploader-config")
    written = Written(
        document=known, data=data, secrets={}, base=environment.base, problems=[*expanded.problems, *problems]
    )
    if written.problems:
        raise ManifestInvalid(written.problems)
    return flat.lift(written, environment.variables.get("NODE_ID") or "default")


# --- bytes ----------------------------------------------------------------------------------------


def _texts(name: str) -> tuple[_Text, ...]:
    """The files of a folder, which together may be as large as one file."""
    texts: list[_Text] = []
    problems: list[Problem] = []
    for file in _parts(name):
        try:
            texts.append(_Text(file=file, raw=_read(file, regular=True)))
        except ManifestInvalid as error:
            problems += error.problems
        if sum(len(text.raw) for text in texts) > MAX_BYTES:
            raise _refused(
                name, f"its files are larger than {MAX_BYTES // 1024**2} MB", "are these manifests?"
            )
    if problems:
        raise ManifestInvalid(problems)
    return tuple(texts)


def _parts(name: str) -> tuple[str, ...]:
    try:
        parts = folder.parts(name)
    except OSError as error:
        raise _refused(name, f"cannot be read: {error.strerror}", "") from None
    if not parts:
        hint = "a folder's manifests are its files *.yaml and *.yml; folders inside it are not read"
        raise _refused(name, "is a folder without a manifest", hint)
    return parts


def _read(name: str, *, regular: bool = False) -> bytes:
    """At most MAX_BYTES of a file; of a pipe too, unless it must be `regular`."""
    path = Path(name).expanduser()
    try:
        if regular and path.exists() and not path.is_file():
            raise _refused(name, "is no file", "move it out of the folder")
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        hint = "check the path" if isinstance(error, FileNotFoundError) else ""
        raise _refused(name, f"cannot be read: {error.strerror}", hint) from None
    if raw.startswith(_SQLITE):
        written = shlex.join(["silt", "init", name, "-o", str(path.with_suffix(".yaml"))])
        raise _refused(name, "this is a SQLite database", f"{written} writes a manifest for it")
    if len(raw) > MAX_BYTES:
        raise _refused(name, f"is larger than {MAX_BYTES // 1024**2} MB", "is this a manifest?")
    return raw


def _parsed(texts: Iterable[_Text]) -> tuple[Document, ...]:
    """Every file as a document; raises with the problems of all that are none."""
    documents: list[Document] = []
    problems: list[Problem] = []
    for text in texts:
        try:
            documents.append(parse(_decoded(text.raw, text.file), text.file))
        except ManifestInvalid as error:
            problems += error.problems
    if problems:
        raise ManifestInvalid(problems)
    return tuple(documents)


def _decoded(raw: bytes, name: str) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        line = before.count(b"\n") + 1
        column = len(before.rpartition(b"\n")[2].decode("utf-8", "replace")) + 1
        message = f"is not UTF-8: byte 0x{raw[error.start]:02x}"
        raise _refused(name, message, "save the file as UTF-8", line, column) from None


def _refused(name: str, message: str, hint: str, line: int = 1, column: int = 1) -> ManifestInvalid:
    problem = Problem(file=name, line=line, column=column, pointer="", message=message, hint=hint)
    return ManifestInvalid(in_order([problem]))
