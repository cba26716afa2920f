"""Reads a manifest: text -> plain data -> expanded -> checked -> resolved; every problem at once."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from silt.manifest import flat
from silt.manifest.check import check
from silt.manifest.document import MAX_BYTES, Document, parse
from silt.manifest.expand import expand, sample_problems
from silt.manifest.interpolate import Environment, interpolate
from silt.manifest.model import Manifest, Problem
from silt.manifest.problems import ManifestInvalid, in_order
from silt.manifest.resolve import Written, folder, node, odd_names, rules, sources, targets


def load(
    path: str | Path,
    *,
    env: Mapping[str, str] | None = None,
    require_env: bool = True,
    open_secrets: bool = False,
) -> Manifest:
    """One manifest file (or a flat config, which it recognises), resolved.

    `env` defaults to the process's environment.  `require_env=False` accepts unset variables;
    `open_secrets=True` reads secrets (without it a Secret holds its reference only, and nothing
    outside the file is read).  Raises ManifestInvalid with everything that is wrong.
    """
    name = str(path)
    raw = _read(name)
    base = Path(name).expanduser().absolute().parent
    environment = Environment(
        variables=os.environ if env is None else env,
        require=require_env,
        open_secrets=open_secrets,
        base=base,
    )
    document = parse(_decoded(raw, name), name)
    written = (
        _written_flat(document, environment)
        if flat.is_flat(document.data)
        else _written(document, environment)
    )
    manifest = _resolved(
        written, name, hashlib.sha256(raw).hexdigest(), one_table=flat.is_flat(document.data)
    )
    problems = [
        *written.problems,
        *odd_names(written),
        *expand(manifest, {}).problems,
        *sample_problems(manifest),
    ]
    if problems:
        raise ManifestInvalid(problems)
    return manifest


def _resolved(written: Written, name: str, digest: str, *, one_table: bool) -> Manifest:
    declared = targets(written)
    return Manifest(
        path=name,
        name=written.data.get("name") or "default",
        node=node(written, declared),
        state_dir=folder(written, "state_dir", "state"),
        sources=sources(written),
        targets=declared,
        rules=replace(rules(written), one_table=one_table),
        digest=digest,
        files=(str(Path(name).expanduser().absolute()),),
    )


def _written(document: Document, environment: Environment) -> Written:
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


def _read(name: str) -> bytes:
    path = Path(name).expanduser()
    try:
        if path.is_dir():
            raise _refused(
                name, "is a folder, a manifest is one file", f"name the file: {path / 'silt.yaml'}"
            )
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        hint = "check the path" if isinstance(error, FileNotFoundError) else ""
        raise _refused(name, f"cannot be read: {error.strerror}", hint) from None
    if len(raw) > MAX_BYTES:
        raise _refused(name, f"is larger than {MAX_BYTES // 1024**2} MB", "is this a manifest?")
    return raw


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
