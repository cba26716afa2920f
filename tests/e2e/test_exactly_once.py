"""Exactly once, over random tables: the lake equals the source cell by cell, or the stream is held."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from kit import Site, Sqlite
from oracle import types_of
from tables import KINDS, Case, Kind, Play, cases, quoted

EXAMPLES = 250 if os.environ.get("HYPOTHESIS_PROFILE") == "nightly" else 5


@pytest.fixture(scope="module")
def sqlite() -> Iterator[Sqlite]:
    server = Sqlite()
    yield server
    server.close()


# --- the property ---------------------------------------------------------------------------------


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@pytest.mark.timeout(3600)
def test_random_tables(sqlite: Sqlite, kind: Kind, data: st.DataObject) -> None:
    """After each cycle the lake holds every row once, cell by cell; or the stream is held, and says why.

    Only ids that were inserted into gaps below the position are not there, and exactly those.
    """
    case = data.draw(cases(kind))
    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder))
        sqlite(site.database, *case.ddl())
        site.write(case.manifest())
        play = Play(case)
        if case.resident:
            from silt import manifest, observe

            with observe.Handles(manifest.load(site.manifest)) as handles:
                _play(site, sqlite, play, handles)
        else:
            _play(site, sqlite, play, None)


def _play(site: Site, sqlite: Sqlite, play: Play, handles: Any) -> None:
    before: Counter[Any] = Counter()
    for turn in play.case.rounds:
        sqlite(site.database, *play.statements(turn))
        result = site.one(handles=handles)
        held = _lake(site, play.case)
        rows = _source(site, sqlite, play.case)
        if play.case.kind.by_rowid or play.case.kind.view:
            play.expect([number for number, _ in rows])
        event(result.state)
        if result.state in ("ok", "waiting"):
            assert not play.held, f"held was expected: {play}"
            assert held == Counter(row for number, row in rows if number not in play.missed)
        else:
            _explained(play, result, before, held, Counter(row for _, row in rows))
        before = held


def _explained(play: Play, result: Any, before: Counter[Any], held: Counter[Any], rows: Counter[Any]) -> None:
    """A stream that does not go on says which rule of the design stops it, and has lost nothing."""
    known = result.error
    assert known is not None
    if "no safe cursor" in known.what:
        assert play.case.kind.name == "time, detected"
        assert not before, "a detected cursor is pinned by the position"
    else:
        assert play.held or play.strayed, f"{result.state}: {known} ({known.why})"
        assert result.state == "held", f"{result.state}: {known} ({known.why})"
        assert known.rule == "4.3"
    assert before <= held, "what is held loses nothing; windows before the one that is wrong may be there"
    assert held <= rows


def _source(site: Site, sqlite: Sqlite, case: Case) -> list[tuple[Any, tuple[str, ...]]]:
    """(id or None, row) as stdlib sqlite3 reads it in another process."""
    numbered = bool(case.kind.by_rowid or case.kind.view)
    what = f"{quoted(case.key_name)}, *" if numbered else "NULL, *"
    columns = sqlite(site.database, f"SELECT type FROM pragma_table_xinfo({_text(case.table)})")
    rows = sqlite(site.database, f"SELECT {what} FROM {quoted(case.read_from)}")
    declared = [_text_in_the_lake(site) if kind == "DATETIME" else kind for (kind,) in columns]
    return [(row[0], tuple(_as(d, v) for d, v in zip(declared, row[1:], strict=True))) for row in rows]


def _text_in_the_lake(site: Site) -> str:
    """DATETIME; TEXT where too many of its values were no times when the table was made."""
    table = site.folder / "lake" / "s"
    kinds = types_of(table) if (table / "_delta_log").is_dir() else {}
    return "TEXT" if kinds.get("ts") == "string" else "DATETIME"


def _text(name: str) -> str:
    return "'" + name.replace("'", "''") + "'"


def _as(declared: str, value: Any) -> str:
    """What a value of a column so declared is in the lake."""
    if value is not None and declared == "BOOLEAN":
        return repr(bool(value))
    if isinstance(value, str) and declared == "DATETIME":
        try:
            return repr(datetime.fromisoformat(value).replace(tzinfo=UTC))
        except ValueError:
            return repr(value)
    return repr(value)


def _lake(site: Site, case: Case) -> Counter[Any]:
    if not (site.folder / "lake" / "s" / "_delta_log").is_dir():
        return Counter()
    return Counter(tuple(map(_cell, row.values())) for row in site.lake("s"))


def _cell(value: Any) -> str:
    return repr(value.astimezone(UTC)) if isinstance(value, datetime) else repr(value)
