"""An aggregate stream: windows by the clock, late rows, and what becomes of its source meanwhile."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from clirun import silt
from kit import Site, sql
from outcome import at

NOON = int(datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp())
TABLE = "CREATE TABLE r (id INTEGER PRIMARY KEY, sensor TEXT, at INTEGER, v REAL)"
INSERT = "INSERT INTO r (sensor, at, v) VALUES (?, ?, ?)"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Three windows of a minute up to noon, two sensors, a row every ten seconds."""
    made = Site(tmp_path)
    made.sql(TABLE, "CREATE INDEX r_at ON r (at)")
    add(made, range(NOON - 180, NOON, 10))
    write(made)
    return made


def add(site: Site, moments: Any, sensor: str | None = None) -> None:
    site.sql((INSERT, [(sensor or "ab"[n % 2], moment, n / 4) for n, moment in enumerate(moments)]))


def write(
    site: Site,
    *,
    more: str = "",
    lateness: str = "30s",
    measures: str = "n: count(*)",
    by: str = "[sensor]",
    time: str = "at",
    stream: str = "",
) -> None:
    """The manifest: one aggregate of windows of a minute."""
    options = f"time: {time}, window: 1m, by: {by}, lateness: {lateness}, measures: {{{measures}}}{more}"
    site.write(f"  w:\n    table: r\n{stream}    aggregate: {{{options}}}\n")


def windows(site: Site) -> list[tuple[int, str, int]]:
    """(seconds from noon to the window's start, sensor, rows), in order."""
    return sorted((int(r["window_start"].timestamp()) - NOON, r["sensor"], r["n"]) for r in site.lake("w"))


def ran(site: Site, moment: float, rows: int | None = None) -> Any:
    result = at(site, moment)
    assert result.state == "ok", result.error
    assert rows is None or result.rows == rows
    return result


# --- the clock ------------------------------------------------------------------------------------


def test_a_window_is_complete_when_its_end_and_lateness_have_passed(site: Site) -> None:
    """Not a moment before; and the last one of an idle source, too."""
    ran(site, NOON - 60 + 29.9, 2)
    assert windows(site) == [(-180, "a", 3), (-180, "b", 3)]
    ran(site, NOON - 60 + 30, 2)
    ran(site, NOON + 29, 0)
    ran(site, NOON + 30, 2)
    assert windows(site) == [(start, sensor, 3) for start in (-180, -120, -60) for sensor in "ab"]


def test_rows_that_come_within_lateness_are_in_their_window(site: Site) -> None:
    """A window waits for them; what comes after it was written is counted, once, and told."""
    ran(site, NOON + 20)
    add(site, [NOON - 30] * 2)
    ran(site, NOON + 40)
    assert windows(site)[-2:] == [(-60, "a", 4), (-60, "b", 4)]
    add(site, [NOON - 30, NOON - 100, NOON + 5])
    late = ran(site, NOON + 50)
    assert late.notes == ("app: 2 rows came after their window was written: they are in none (2 so far)",)
    assert (late.rows, late.batches) == (0, 1)
    again = ran(site, NOON + 50)
    assert (again.notes, again.batches) == ((), 0)
    add(site, [NOON - 500])
    assert "(3 so far)" in ran(site, NOON + 200).notes[0]
    assert windows(site)[-1] == (0, "a", 1)


def test_a_source_that_comes_hours_late_is_not_lost(site: Site) -> None:
    """Windows after the last one written are open, however long they are over."""
    ran(site, NOON + 3_600)
    add(site, range(NOON, NOON + 120, 10))
    assert ran(site, NOON + 7_200, 4).notes == ()


def test_rows_of_the_future_wait(site: Site) -> None:
    """They carry no window past those still to come, and are told."""
    add(site, [NOON + 10_000_000])
    assert ran(site, NOON + 30, 6).notes == ("app: 1 rows lie in the future",)
    add(site, [NOON + 5])
    ran(site, NOON + 120, 1)


def test_a_window_is_never_split_over_commits(site: Site) -> None:
    """batch.max_rows cuts between windows only."""
    write(site, stream="    batch: {max_rows: 1}\n", by="[id]", measures="n: count(*), s: max(sensor)")
    result = ran(site, NOON + 30, 18)
    assert result.batches == 3
    log = sorted((site.folder / "lake/w/_delta_log").glob("*.json"))
    rows = [
        json.loads(line)["commitInfo"]["silt"]["rows"]
        for p in log[1:]
        for line in p.read_text().splitlines()
        if "commitInfo" in line
    ]
    assert rows == ["6", "6", "6"]


# --- the source -----------------------------------------------------------------------------------


def test_retention_does_not_disturb_windows(site: Site) -> None:
    """Old rows go, all rows go, ids begin anew: windows stay, new ones come, late rows are still counted."""
    ran(site, NOON + 30)
    site.sql(f"DELETE FROM r WHERE at < {NOON - 60}")
    ran(site, NOON + 60, 0)
    add(site, range(NOON, NOON + 60, 10))
    ran(site, NOON + 90, 2)
    site.sql("DELETE FROM r")
    ran(site, NOON + 100, 0)
    add(site, [NOON + 10, NOON + 60, NOON + 70])
    result = ran(site, NOON + 150, 2)
    assert "1 rows came after" in result.notes[-1]
    assert [w[0] for w in windows(site)] == [-180, -180, -120, -120, -60, -60, 0, 0, 60, 60]


def test_ids_that_begin_anew_between_two_looks(site: Site) -> None:
    """Every row seen is gone and new ones have their ids: they are new, whatever their ids."""
    ran(site, NOON + 30)
    site.sql("DELETE FROM r")
    add(site, [NOON - 5, NOON + 5])
    result = ran(site, NOON + 100, 1)
    assert result.notes == (
        "app: every row seen before is gone from the table; the windows written stay",
        "app: 1 rows came after their window was written: they are in none (1 so far)",
    )


@pytest.mark.parametrize("more", [0, 1, 40])
def test_ids_that_are_all_given_out_again_between_two_looks(site: Site, more: int) -> None:
    """As many new rows as were seen, or more: they are told from those by what they hold."""
    ran(site, NOON + 30)
    site.sql("DELETE FROM r")
    add(site, [NOON - 5, *(NOON + n for n in range(17 + more))])
    result = ran(site, NOON + 31, 0)
    assert result.notes == (
        "app: every row seen before is gone from the table; the windows written stay",
        "app: 1 rows came after their window was written: they are in none (1 so far)",
    )
    add(site, [NOON + 1])
    assert ran(site, NOON + 32, 0).notes == ()
    ran(site, NOON + 90, 2)
    assert sum(n for start, _, n in windows(site) if start == 0) == 18 + more


def test_a_hold_says_what_a_reset_loses(site: Site) -> None:
    """Windows outlive their rows in the source; what `silt reset` empties may be all there is."""
    ran(site, NOON + 30)
    write(site, by="[]")
    assert "windows whose rows the source no longer has are lost by it" in at(site, NOON + 30).error.hint
    write(site)
    site.database.unlink()
    site.sql(TABLE)
    add(site, [NOON - 30])
    assert "windows whose rows the source no longer has are lost by it" in at(site, NOON + 30).error.hint


def test_a_deleted_last_row_hides_no_late_one(site: Site) -> None:
    """SQLite gives its id to the next row, which is late."""
    ran(site, NOON + 30)
    site.sql("DELETE FROM r WHERE id = (SELECT max(id) FROM r)")
    ran(site, NOON + 31, 0)
    add(site, [NOON - 5])
    assert "1 rows came after" in ran(site, NOON + 32).notes[-1]


def test_another_database_holds_or_goes_on(site: Site) -> None:
    """`on_reset` decides; a window is never written a second time, whoever has rows of it."""
    ran(site, NOON + 30)
    site.database.unlink()
    site.sql(TABLE)
    add(site, [NOON - 30, NOON + 5], sensor="z")
    result = at(site, NOON + 100)
    assert result.state == "held"
    assert "another database" in str(result.error)
    write(site, stream="    on_reset: restart\n")
    result = ran(site, NOON + 100, 1)
    assert "1 rows came after" in result.notes[-1]
    assert windows(site)[-1] == (0, "z", 1)
    assert len(windows(site)) == 7
    ran(site, NOON + 100, 0)


@pytest.mark.parametrize("value", ["NULL", "'noon'", "x'00'", "7", "1e17"])
def test_a_row_without_a_time_stops_the_stream(site: Site, value: str) -> None:
    """It would be in no window, without a word; `where` leaves such rows out."""
    site.sql(f"INSERT INTO r (sensor, at) VALUES ('a', {value})")
    result = at(site, NOON + 30)
    assert result.state == "failing"
    assert "1 rows of r have no window: at holds 1 " in str(result.error)
    assert "`where`" in result.error.hint
    write(site, stream="    where: typeof(at) = 'integer' AND at BETWEEN 1000 AND 9999999999\n")
    ran(site, NOON + 30, 6)


def test_no_rows_yet(tmp_path: Path) -> None:
    """Nothing shows how the time is written: it waits, and goes on once a row does."""
    site = Site(tmp_path)
    site.sql(TABLE)
    write(site)
    result = at(site, NOON)
    assert (result.state, result.notes) == (
        "waiting",
        ("no row yet shows how at is written; `aggregate: {format: ...}` says it",),
    )
    add(site, [NOON - 100])
    ran(site, NOON, 1)


def test_rows_whose_values_are_no_times(tmp_path: Path) -> None:
    """They are there: what is missing is how they are written."""
    site = Site(tmp_path)
    site.sql(TABLE)
    add(site, [7, 8])
    write(site)
    result = at(site, NOON)
    assert result.state == "waiting"
    assert result.notes[0].startswith("at of 2 rows looked at is no time in a format that is known by itself")


def test_groups_are_those_that_the_lake_tells_apart(tmp_path: Path) -> None:
    """A collation of the column that takes two texts for one makes no group of both."""
    site = Site(tmp_path)
    site.sql(TABLE.replace("sensor TEXT", "sensor TEXT COLLATE NOCASE"))
    add(site, [NOON - 30, NOON - 20], sensor="a")
    add(site, [NOON - 30], sensor="A")
    write(site)
    ran(site, NOON + 30, 2)
    assert windows(site) == [(-60, "A", 1), (-60, "a", 2)]


def test_databases_of_a_glob_share_commits(tmp_path: Path) -> None:
    """Each has windows of its own; one that holds nothing yet stops no other."""
    site = Site(tmp_path)
    (tmp_path / "d").mkdir()
    for name in ("a", "b", "c"):
        sql(tmp_path / "d" / f"{name}.db", TABLE)
    for name in ("a", "b"):
        sql(tmp_path / "d" / f"{name}.db", (INSERT, [(name, NOON - 30, 1.0), (name, NOON - 90, 1.0)]))
    write(site)
    site.manifest.write_text(site.manifest.read_text().replace("./app.db", "./d/*.db"))
    result = ran(site, NOON + 30, 4)
    assert result.batches == 1
    sql(tmp_path / "d" / "c.db", (INSERT, [("c", NOON - 30, 1.0)]))
    ran(site, NOON + 30, 1)
    assert {r["_silt_database"] for r in site.lake("w")} == {"a", "b", "c"}


def test_a_view_is_counted(site: Site) -> None:
    """Without an INTEGER PRIMARY KEY late rows are told by counts; a purge does not hide them."""
    site.sql("CREATE VIEW s AS SELECT sensor, at FROM r")
    site.write("  w: {table: s, aggregate: {time: at, window: 1m, by: [sensor], measures: {n: count(*)}}}\n")
    ran(site, NOON, 6)
    site.sql(f"DELETE FROM r WHERE at < {NOON - 120}")
    ran(site, NOON, 0)
    add(site, [NOON - 30, NOON - 200])
    assert "2 rows came after" in ran(site, NOON).notes[-1]
    assert ran(site, NOON).batches == 0


@pytest.mark.parametrize("table", [TABLE, TABLE.replace("id INTEGER PRIMARY KEY, ", "")])
def test_a_renamed_file_of_a_glob_holds(tmp_path: Path, table: str) -> None:
    """Under its new name every window would be sent again, whatever the key of the table."""
    site = Site(tmp_path)
    (tmp_path / "d").mkdir()
    sql(tmp_path / "d" / "a.db", table, (INSERT, [("a", NOON - 30, 1.0), ("a", NOON - 90, 1.0)]))
    write(site)
    site.manifest.write_text(site.manifest.read_text().replace("./app.db", "./d/*.db"))
    ran(site, NOON + 30, 2)
    (tmp_path / "d" / "a.db").rename(tmp_path / "d" / "b.db")
    result = at(site, NOON + 30)
    assert result.state == "held"
    assert "this very file was replicated as database 'a'" in str(result.error)
    assert len(site.lake("w")) == 2


@pytest.fixture
def texts(tmp_path: Path) -> Site:
    """Times as texts of one format, ids that do not rise one by one; the last of two hours is open."""
    made = Site(tmp_path)
    made.sql("CREATE TABLE r (id INTEGER PRIMARY KEY, ts TEXT, v)", "CREATE INDEX r_ts ON r (ts)")
    for number, clock in ((10, "00:10"), (100, "00:20"), (1000, "05:20")):
        made.sql((TEXT, (number, f"2026-03-01T{clock}:00")))
    hours = "aggregate: {time: ts, window: 1h, measures: {n: count(*)}}"
    made.write(f"  w: {{table: r, {hours}}}\n")
    ran(made, NOON - 7 * 3_600, 1)
    return made


TEXT = "INSERT INTO r (id, ts) VALUES (?, ?)"


def counts(site: Site) -> list[tuple[int, int]]:
    """(hour, rows) of each window."""
    return sorted((r["window_start"].hour, r["n"]) for r in site.lake("w"))


@pytest.mark.parametrize("text", ["2026-03-01 05:30:00", "2026-03-02T05:30:00+23:59", "2026-03-01T05:30Z"])
@pytest.mark.parametrize("number", [15, 2000])
def test_an_open_window_has_rows_of_any_spelling(texts: Site, text: str, number: int) -> None:
    """Whatever their ids: the format that all texts had says nothing of those to come."""
    texts.sql((TEXT, (number, text)), (TEXT, (18, "2026-03-01T05:40:00")))
    assert ran(texts, NOON, 1).notes == ()
    assert counts(texts) == [(0, 2), (5, 3)]


def test_an_edit_of_a_time_in_an_open_window(texts: Site) -> None:
    """The row is spelled in another way, and stays in its window."""
    texts.sql("UPDATE r SET ts = replace(ts, 'T', ' ') WHERE id = 1000")
    ran(texts, NOON, 1)
    assert counts(texts) == [(0, 2), (5, 1)]


def test_late_rows_with_low_ids_are_counted(texts: Site) -> None:
    """Where ids do not rise one by one, once each; even one that is the least of all is no other table's."""
    texts.sql((TEXT, (17, "2026-03-01T00:30:00")), (TEXT, (5, "2026-03-01 00:40:00")))
    result = ran(texts, NOON, 1)
    assert result.notes == ("app: 2 rows came after their window was written: they are in none (2 so far)",)
    assert ran(texts, NOON, 0).notes == ()
    texts.sql((TEXT, (6, "2026-03-01T05:50:00")))
    assert "(3 so far)" in ran(texts, NOON, 0).notes[0]
    assert counts(texts) == [(0, 2), (5, 1)]


@pytest.mark.parametrize("value", [None, "soon", 7])
def test_a_low_id_hides_no_row_without_a_time(texts: Site, value: object) -> None:
    """Such a row stops the stream whatever its id."""
    texts.sql((TEXT, (16, value)))
    result = at(texts, NOON)
    assert result.state == "failing"
    assert "1 rows of r have no window: ts holds 1 " in str(result.error)


# --- the manifest ---------------------------------------------------------------------------------


def test_an_edit_of_what_windows_hold_holds_the_stream(site: Site) -> None:
    """Windows of two definitions would stand side by side; `lateness` may change."""
    ran(site, NOON + 30)
    write(site, lateness="5s")
    ran(site, NOON + 30, 0)
    for edit in (
        {"measures": "n: count(v)"},
        {"by": "[]"},
        {"more": ", timezone: Europe/Berlin"},
        {"stream": "    where: v > 1\n"},
    ):
        write(site, **edit)
        result = at(site, NOON + 300)
        assert result.state == "held", edit
        assert "the aggregate was edited" in str(result.error)
        assert "silt reset" in result.error.hint
    write(site)
    site.reset("w")
    assert site.lake("w") == []
    ran(site, NOON + 300, 6)


@pytest.mark.parametrize(
    ("measures", "why"),
    [
        ("n: v", "a measure has no aggregate function"),
        ("n: 'max(v, 1)'", "a measure has no aggregate function"),
        ("n: 'avg(nope)'", "no such column: nope"),
        ("n: 'avg(v'", "a `(` has no `)`"),
        ("n: 'avg(v); DELETE FROM r'", "a `;` ends a statement"),
        ("n: 'avg(v) > ?'", "? is a parameter"),
        ("n: '(SELECT count(*) FROM r)'", "a subquery reads other rows"),
        ("n: 'sum(random())'", "random() is another value each time"),
    ],
)
def test_a_measure_is_an_aggregate(site: Site, measures: str, why: str) -> None:
    """Anything else has no one value in a window: SQLite says what is one."""
    write(site, measures=measures)
    error = at(site, NOON).error
    assert why in str(error)
    assert error.setting == "aggregate"


def test_a_missing_column_is_named(site: Site) -> None:
    """With the one that was meant."""
    write(site, time="att")
    error = at(site, NOON).error
    assert "aggregate.time names column 'att'" in str(error)
    assert "did you mean 'at'?" in error.hint


def test_columns_of_the_result(site: Site) -> None:
    """Types by function and column; `columns` and `partition_by` speak of the result; NULL is a group."""
    site.sql((INSERT, [(None, NOON - 10, 3.0)]))
    renamed = "    columns: {sensor: {rename: place}, window_start: {rename: since}}\n"
    measures = "n: count(*), mean: avg(v), top: max(v), who: min(sensor), odd: 'sum(v) / 2'"
    write(site, measures=measures, stream=f"{renamed}    partition_by: [place]\n")
    ran(site, NOON + 30, 7)
    (row,) = [r for r in site.lake("w") if r["place"] is None]
    assert (row["n"], row["mean"], row["top"], row["who"], row["odd"]) == (1, 3.0, 3.0, None, 1.5)
    assert (row["window_end"] - row["since"]).total_seconds() == 60


def test_plan(site: Site) -> None:
    """The cursor is the windows' end, and why; pending are whole windows; late rows stand in it."""
    shown = silt("plan", site.manifest).stdout
    assert "w       append  window_end" in shown
    assert "window_end, because a window is written once: whole, 30 s after its end by the clock" in " ".join(
        shown.split()
    )
    assert "sensor string" in shown
    (stream,) = json.loads(silt("plan", site.manifest, "--json").stdout)["streams"]
    assert stream["pending_rows"] == 6
    assert stream["cursor"]["columns"] == ["window_end"]
    assert silt("run", site.manifest, "--once").returncode == 0
    add(site, [NOON - 30])
    assert "1 rows came after their window was written" in " ".join(
        silt("plan", site.manifest).stdout.split()
    )


def test_a_large_table_without_an_index_is_warned_of(site: Site) -> None:
    """Each cycle would read all of it."""
    site.sql(
        "DROP INDEX r_at",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100001)"
        f" INSERT INTO r (sensor, at) SELECT 'a', {NOON} - i % 60 FROM n",
    )
    (plan,) = site.plan().streams
    assert plan.cursor.warnings == ("no index on at: each cycle reads the whole table for its open windows",)


def test_a_masked_column_is_masked(site: Site) -> None:
    """As a group it is masked like any column, and stands nowhere raw; a measure of it is refused."""
    mask = "    columns: {sensor: {mask: sha256, salt: s}}\n"
    write(site, stream=mask)
    ran(site, NOON + 30, 6)
    assert {len(r["sensor"]) for r in site.lake("w")} == {64}
    write(site, stream=mask, measures="n: max(sensor)")
    assert "measure n is made of column sensor, which is masked" in str(at(site, NOON + 30).error)
