"""silt: what SQLite leaves in the Delta."""

from __future__ import annotations


def __getattr__(name: str) -> str:
    """`silt.__version__`, read from the distribution's metadata only when asked for (cold start)."""
    if name == "__version__":
        from importlib.metadata import version

        return version("siltlake")
    raise AttributeError(f"module 'silt' has no attribute {name!r}")
