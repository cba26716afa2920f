"""What writes manifests for people: a survey of databases, told by `silt inspect`, used by `silt init`."""

from __future__ import annotations
