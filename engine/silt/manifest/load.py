"""Reads a manifest: text -> plain data -> expanded -> checked -> resolved; every problem at once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from silt.manifest import flat, folder
from silt.manifest.check import check, missing
from silt.manifest.document import Document, parse
from silt.manifest.expand import expand, sample_problems
from silt.manifest.interpolate import Environment, interpolate
from silt.manifest.listen import listen
from silt.manifest.model import Manifest, Problem
from silt.manifest.problems import ManifestInvalid
from silt.manifest.resolve import SECTIONS, Written, node, odd_names, rules, sources, targets
from silt.manifest.resolve import folder as folder_of
from silt.manifest.texts import Texts, base_of, decoded, digest, file_name, is_folder, sorted_texts
from silt.manifest.texts import texts as read
from silt.manifest.units import duration

STATE_DIR = "state"
"""`state_dir` where the manifest names none, in its folder."""


def load(
    path: str | Path,
    texts: Texts | None = None,
    *,
    env: Mapping[str, str] | None = None,
    require_env: bool = True,
    open_secrets: bool = False,
) -> Manifest:
    """A manifest, resolved: one file, a folder of them, or a flat config, which it recognises.

    `texts` are its files where they are not to be read from the disk; relative paths are relative to `path`
    all the same.  `env` defaults to the process's environment.  `require_env=False` accepts unset variables;
    `open_secrets=True` reads secrets (without it a Secret holds its reference only, and nothing
    outside the manifest is read).  Raises ManifestInvalid with everything that is wrong.
    """
    name = str(path)
    given = read(name) if texts is None else sorted_texts(texts)
    environment = Environment(
        variables=os.environ if env is None else env,
        require=require_env,
        open_secrets=open_secrets,
        base=base_of(name, given),
    )
    documents = _parsed(name, given)
    one_table = not is_folder(given) and flat.is_flat(documents[0].data)
    written = _written_flat(documents[0], environment) if one_table else _written(documents, environment)
    manifest = _resolved(written, name, given, one_table=one_table)
    problems = [
        *written.problems,
        *odd_names(written),
        *expand(manifest, {}).problems,
        *sample_problems(manifest),
    ]
    if problems:
        raise ManifestInvalid(problems)
    return manifest


def _resolved(written: Written, name: str, given: Texts, *, one_table: bool) -> Manifest:
    declared = targets(written)
    here = Path(name).expanduser().absolute()
    return Manifest(
        path=name,
        name=written.data.get("name") or "default",
        node=node(written, declared),
        state_dir=folder_of(written, "state_dir", STATE_DIR),
        listen=listen(written),
        grace=duration(written.data.get("grace") or "30s"),
        sources=sources(written),
        targets=declared,
        rules=replace(rules(written), one_table=one_table),
        is_flat=one_table,
        digest=digest(given),
        texts=given,
        files=(*([str(here)] if is_folder(given) else []), *(str(here / file) for file in given)),
    )


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


def _parsed(path: str, given: Texts) -> tuple[Document, ...]:
    """Every file as a document; raises with the problems of all that are none."""
    documents: list[Document] = []
    problems: list[Problem] = []
    for name, raw in given.items():
        file = file_name(path, name)
        try:
            documents.append(parse(decoded(raw, file), file))
        except ManifestInvalid as error:
            problems += error.problems
    if problems:
        raise ManifestInvalid(problems)
    return tuple(documents)
