"""`silt show`: the manifest as silt understands it, each value with where it comes from."""

from __future__ import annotations

from typing import Any

from silt.cli import console
from silt.cli.options import AsJson, Exclude, ManifestPath, Select
from silt.cli.paths import load
from silt.cli.select import Selection
from silt.cli.streams import resolved


def show(
    path: ManifestPath = None, select: Select = None, exclude: Exclude = None, as_json: AsJson = False
) -> int:
    """Show the resolved manifest: every setting of every stream, and where it was written.

    Patterns are expanded, variables filled in, defaults named; secrets stay hidden.

    Examples:  [cyan]silt show plant.yaml[/]   [cyan]silt show plant.yaml --select readings --json[/]
    """
    from silt import manifest as manifests
    from silt import observe
    from silt.report import show as report

    loaded = load(path, open_secrets=False)
    selection = Selection(select, exclude)
    with observe.Handles(loaded) as handles:
        streams = tuple(s for s in resolved(loaded, handles) if selection(s))
    console.err(f"warning: {words}" for words in selection.check())
    shown: Any = manifests.show(loaded, streams)
    if as_json:
        console.as_json(shown)
    else:
        console.out(report.text(shown, width=console.width()))
    return 0
