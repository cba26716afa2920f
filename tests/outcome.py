"""What a cycle came to, asserted: settled (all is there, nothing more to do) or held (nothing written)."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import kit


def version(site: kit.Site, into: str = "t") -> int:
    """The table's newest version, by its log's files; -1 where there is no table."""
    names = (site.folder / "lake" / into / "_delta_log").glob("*.json")
    return max((int(path.stem) for path in names), default=-1)


def held(site: kit.Site, rule: str, word: str = "", *, into: str = "t", handles: Any = None) -> Any:
    """A cycle holds by `rule`, says `word` and what to do, and writes nothing: no row, no version."""
    at = version(site, into)
    before = site.lake(into) if at >= 0 else []
    result = site.one(handles=handles)
    assert result.state == "held", (result.state, result.error)
    assert result.error.rule == rule, result.error
    assert word in f"{result.error}", result.error
    assert result.error.hint
    assert version(site, into) == max(at, 0)  # an empty table may have been created
    assert site.lake(into) == before
    return result


def ok(site: kit.Site, rows: int | None = None, **more: Any) -> Any:
    """A cycle is ok, and wrote `rows` rows where they are given."""
    result = site.one(**more)
    assert result.state == "ok", result.error
    assert rows is None or result.rows == rows
    return result


def same(site: kit.Site, table: str = "t", *, columns: str = "*") -> None:
    """A cycle is ok, the lake equals the source, and another cycle writes nothing more."""
    result = ok(site)
    site.expect(table, table, columns=columns)
    again = ok(site, 0)
    assert again.version == result.version
    site.expect(table, table, columns=columns)


def at(site: kit.Site, moment: float) -> Any:
    """One cycle of the one stream under a clock that stands at `moment` (seconds since the epoch)."""
    from silt import manifest, observe
    from silt.replicate.stream import StreamCycle

    loaded = manifest.load(site.manifest, open_secrets=True)
    with observe.Handles(loaded) as handles:
        (plan,) = observe.look(loaded, handles).streams
        stop = threading.Event()
        return StreamCycle(plan, handles, listen=site.events.append, stop=stop, clock=lambda: moment).run()


def spelled(moment: float) -> str:
    """`moment` as SQLite's CURRENT_TIMESTAMP spells it."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(moment))


def entry(table: Path, number: int) -> Path:
    """The log entry of a version."""
    return table / "_delta_log" / f"{number:020d}.json"
