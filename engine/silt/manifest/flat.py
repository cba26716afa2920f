"""The seed's flat config: `sqlite`, `table_path`, `state_dir`, `interval`; SQLITE_PATH, TABLE_PATH,
STATE_DIR and UPLOAD_INTERVAL win over it (DESIGN 3).

It is lifted to a manifest with one pattern of all tables; `Rules.one_table` makes `expand` insist
that there is exactly one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from silt.manifest.document import Document, Mark, Path, Plain, typed
from silt.manifest.resolve import Written, root

KEYS = frozenset({"sqlite", "table_path", "interval"})
"""Keys that no manifest has; one of them, without `version`, makes a file a flat config."""

VARIABLES = {
    "sqlite": "SQLITE_PATH",
    "table_path": "TABLE_PATH",
    "state_dir": "STATE_DIR",
    "interval": "UPLOAD_INTERVAL",
}

_LIFTED: dict[Path, str] = {
    ("sources",): "sqlite",
    ("sources", "source"): "sqlite",
    ("targets",): "table_path",
    ("targets", "lake"): "table_path",
    ("streams",): "table_path",
    ("streams", "*"): "table_path",
    ("streams", "*", "into"): "table_path",
    ("streams", "*", "schedule"): "interval",
    ("state_dir",): "state_dir",
}


def is_flat(data: Mapping[str, Plain]) -> bool:
    """True for data that has a key of the flat config and no `version`."""
    return "version" not in data and bool(KEYS & data.keys())


def overlay(document: Document, variables: Mapping[str, str]) -> Document:
    """The document with the environment's values; an interval that is no number stays text, to be refused."""
    given: dict[str, str] = {key: name for key, name in VARIABLES.items() if variables.get(name)}
    data = {**document.data}
    marks: dict[Path, Mark] = {**document.marks}
    for key, name in given.items():
        value = variables[name]
        data[key] = typed(value) if key == "interval" else value.replace("$", "$$")
        marks[key,] = document.mark((key,))
    return replace(
        document, data=data, marks=marks, variables={(key,): (name,) for key, name in given.items()}
    )


def lift(written: Written, node: str) -> Written:
    """A checked flat config as the data of a manifest, with the places of the keys it was made of."""
    data, base = written.data, written.base
    place = root(data.get("table_path", ""), base)
    parent, _, last = place.rpartition("/")
    if not last or parent.endswith(":/") or not parent:
        written.complain(
            ("table_path",), f"{place!r} has no folder for the table", "name one: .../sensor_readings"
        )
    lifted = {
        "version": 1,
        "node": node,
        "state_dir": data.get("state_dir"),
        "sources": {"source": data.get("sqlite", "")},
        "targets": {"lake": parent or "/"},
        "streams": {"*": {"into": last or "table", "schedule": f"{data.get('interval') or 300}s"}},
    }
    return replace(written, data=lifted, document=_document(written.document, lifted))


def _document(document: Document, data: dict[str, Plain]) -> Document:
    marks: dict[Path, Mark] = {path: document.mark((key,)) for path, key in _LIFTED.items()}
    variables = {
        path: document.variables[key,] for path, key in _LIFTED.items() if (key,) in document.variables
    }
    return replace(
        document, data=data, marks={(): document.mark(()), **marks}, variables=variables, pointers=_LIFTED
    )
