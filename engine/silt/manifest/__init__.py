"""The manifest: what a user writes, read, checked and resolved (DESIGN 3)."""

from __future__ import annotations

from silt.manifest.expand import Expansion, expand, static_streams
from silt.manifest.load import load
from silt.manifest.problems import ManifestInvalid, did_you_mean, problems_text
from silt.manifest.schema import schema_text
from silt.manifest.show import show
from silt.manifest.texts import digest, texts
from silt.manifest.whereabouts import state_dir

__all__ = [
    "Expansion",
    "ManifestInvalid",
    "did_you_mean",
    "digest",
    "expand",
    "load",
    "problems_text",
    "schema_text",
    "show",
    "state_dir",
    "static_streams",
    "texts",
]
