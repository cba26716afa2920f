"""`silt reset --from --to`: rows of an interval are read again and written in their places, never twice."""

from __future__ import annotations

import json
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from clirun import doomed, ended, silt
from kit import Site, difference, sql

from silt import manifest, observe, replicate
from silt.errors import Contended, UserError
from silt.plan.interval import Interval
from silt.position import decode, parse_app, unpack
from silt.replicate.interval import Again
from silt.replicate.ledger import Ledger
from silt.target import open_table


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


class Go:
    """Never told to stop, or after so many batches."""

    def __init__(self, batches: int = -1) -> None:
        self.left = batches

    def is_set(self) -> bool:
        self.left -= 1
        return self.left == 0

    def wait(self, timeout: float) -> bool:
        return False


def again(
    site: Site, start: str | None = None, end: str | None = None, *, name: str = "t", **more: Any
) -> Again:
    """`silt reset --from --to` of one stream, in this process."""
    stop = more.pop("stop", Go())
    loaded = manifest.load(site.manifest, open_secrets=True)
    with observe.Handles(loaded) as handles:
        (plan,) = observe.look(loaded, handles, select=lambda s: s.name == name).streams
        interval = Interval(start=start, end=end, **more)
        return replicate.read_again(plan, handles, interval, listen=site.events.append, stop=stop)


def came(done: Again) -> tuple[Any, ...]:
    """(state, rows read, rows written, commits) of an interval that went well."""
    assert done.result.error is None, done.result.error
    return done.result.state, done.read, done.result.rows, done.result.batches


def positions(site: Site, into: str = "t") -> dict[str, Any]:
    """By database: batch number and key of the position."""
    table = open_table(str(site.folder / "lake" / into), {})
    assert table is not None
    apps = {app.database: name for name in table.txns if (app := parse_app(name)) is not None}
    found = {name: unpack(table.txns, app) for name, app in apps.items()}
    return {name: (batch, (decode(raw) or object).key) for name, (batch, raw) in found.items()}  # type: ignore[union-attr]


TABLE = "create table t(id integer primary key, at text not null, v text, secret text)"
ROWS = [(i, f"2026-01-{(i - 1) // 4 + 1:02d}T{i % 24:02d}:00:00", f"v{i}", f"s{i}") for i in range(1, 41)]
MODES = {
    "append": "mode: append",
    "append by time": "mode: append, cursor: at",
    "merge": "mode: merge, cursor: at",
    "mirror": "mode: mirror",
}


def filled(site: Site, settings: str, *, without: int = 0) -> None:
    """Forty rows, four a day, replicated; less one."""
    there = [row for row in ROWS if row[0] != without]
    site.sql(TABLE, ("insert into t values (?, ?, ?, ?)", there))
    site.write(f"  t: {{{settings}}}\n")
    assert site.one().rows == len(there)


def rows(site: Site) -> list[tuple[Any, ...]]:
    return sorted((row["id"], row["at"], row["v"]) for row in site.lake("t"))


@pytest.mark.parametrize("mode", MODES)
def test_rows_behind_the_position_are_written_in_their_places(site: Site, mode: str) -> None:
    """What changed inside is as the source has it, outside as it was; nothing is there twice."""
    filled(site, MODES[mode])
    by_time = "at" in MODES[mode]
    before = positions(site)
    site.sql("update t set v = 'new' where id in (3, 13, 14, 24)")
    bounds = ("2026-01-04", "2026-01-05") if by_time else ("13", "20")
    done = again(site, *bounds)
    assert came(done) == ("ok", 8, 2, 1)
    assert rows(site) == [(i, at, "new" if i in (13, 14) else v) for i, at, v, _ in ROWS]
    ((batch, key),) = positions(site).values()
    assert (batch, key) == (before["app"][0] + 1, before["app"][1])
    assert came(again(site, *bounds)) == ("ok", 8, 0, 0)
    if mode.startswith("append"):
        assert site.one().rows == 0
        assert rows(site) == [(i, at, "new" if i in (13, 14) else v) for i, at, v, _ in ROWS]


@pytest.mark.parametrize("mode", MODES)
def test_rows_that_came_in_below_are_added_and_those_that_are_gone_stay(site: Site, mode: str) -> None:
    """Into gaps, and deleted since: append keeps what it saw, a merge too; a mirror's cycle does not."""
    filled(site, MODES[mode], without=19)
    site.sql(
        "delete from t where id in (17, 18)",
        "insert into t values (18, '2026-01-05T18:00:00', 'again', 's')",
        "insert into t values (19, '2026-01-05T19:00:00', 'late', 's')",
    )
    done = again(site, "2026-01-05", "2026-01-05") if "at" in MODES[mode] else again(site, "17", "20")
    assert came(done) == ("ok", 3, 2, 1)
    wanted = {i: v for i, _, v, _ in ROWS} | {18: "again", 19: "late"}
    assert {i: v for i, _, v in rows(site)} == wanted
    assert len(site.lake("t")) == 40
    if mode == "mirror":
        site.one()
        assert {i: v for i, _, v in rows(site)} == {i: v for i, v in wanted.items() if i != 17}


@pytest.mark.parametrize("mode", ["append", "append by time", "merge"])
def test_an_interval_ends_at_the_position(site: Site, mode: str) -> None:
    """Rows past it are the next cycle's: it says so, and reads them once."""
    filled(site, MODES[mode])
    site.sql(
        "update t set v = 'new' where id = 20", "insert into t values (41, '2026-01-20T00:00:00', 'x', 's')"
    )
    end = "2026-02-01" if "at" in MODES[mode] else "1000"
    done = again(site, None, end)
    assert (done.read, done.result.rows, len(site.lake("t"))) == (40, 1, 40)
    assert [n for n in done.result.notes if "position" in n] == [
        "app: the interval ends at the position: rows past it were not read yet, the next cycle does it"
    ]
    assert again(site, "2026-01-20" if "at" in MODES[mode] else "41", None).read == 0
    assert site.one().rows == 1
    assert Counter(i for i, _, _ in rows(site)) == Counter(range(1, 42))


def test_batches_are_commits_and_a_stop_leaves_the_rest(site: Site) -> None:
    """`batch.max_rows` bounds a commit; told to stop it ends after one, and the same again goes on."""
    filled(site, "batch: {max_rows: 5}")
    site.sql("update t set v = 'new' where id < 30")
    stopped = again(site, "1", "22", stop=Go(2))
    assert (stopped.result.stopped, stopped.read, stopped.result.batches) == (True, 5, 1)
    assert came(again(site, "1", "22")) == ("ok", 22, 17, 4)
    assert [v == "new" for _, _, v in rows(site)] == [i <= 22 for i in range(1, 41)]


def test_an_edit_reaches_rows_written_before_it(site: Site) -> None:
    """What an interval is for: a mask, an `expr`, a wider `where`, for these rows too."""
    filled(site, "where: 'id <> 7'".replace("'id <> 7'", '"id <= 40"'))
    site.write('  t: {columns: {secret: {mask: redact}, day: {expr: "date(at)"}}}\n')
    assert came(again(site, "5", "8")) == ("ok", 4, 4, 1)
    lake = {row["id"]: (row["secret"], row["day"]) for row in site.lake("t")}
    assert lake[4] == ("s4", None)
    assert [lake[i] for i in (5, 8)] == [("[REDACTED]", "2026-01-02"), ("[REDACTED]", "2026-01-02")]


def test_a_misfit_that_was_mended(site: Site) -> None:
    """NULL and rescued before, as it is now after; and the other way round."""
    site.sql(
        "create table t(id integer primary key, n integer)",
        "insert into t values (1, 1), (2, 'two'), (3, 3), (4, 4)",
    )
    site.write("  t: {columns: {n: {type: bigint}}}\n")
    assert site.one().misfits == 1
    site.sql("update t set n = 2 where id = 2", "update t set n = 'three' where id = 3")
    assert came(again(site, "1", "3")) == ("ok", 3, 2, 1)
    found = {row["id"]: (row["n"], row["_rescued_data"]) for row in site.lake("t")}
    assert found[2] == (2, None)
    assert found[3][0] is None
    assert json.loads(found[3][1])["columns"]["n"]["value"] == "three"


def test_the_first_misfit_comes_by_an_interval(site: Site) -> None:
    """The column for it is added first, as in a cycle."""
    values = [(i, i) for i in range(1, 41)]
    site.sql("create table t(id integer primary key, n integer)", ("insert into t values (?, ?)", values))
    site.write("  t: {columns: {n: {type: bigint}}}\n")
    assert site.one().rows == 40
    site.sql("update t set n = 'nine' where id = 9")
    assert came(again(site, "8", "10")) == ("ok", 3, 1, 1)
    assert [row["id"] for row in site.lake("t") if row["_rescued_data"]] == [9]
    assert [row["n"] for row in site.lake("t") if row["id"] in (9, 10)] == [None, 10]


def test_every_database_of_a_glob(tmp_path: Path) -> None:
    """Each has its own interval, position and slice; one without a row in it, or without a position, none."""
    site = Site(tmp_path)
    for name in ("a", "b"):
        sql(tmp_path / f"{name}.db", TABLE, ("insert into t values (?, ?, ?, ?)", ROWS))
    site.write("  t: {}\n", source="./[abc].db")
    assert site.one().rows == 80
    sql(tmp_path / "c.db", TABLE, "insert into t values (1, '2026', 'c', 's')")
    for name in ("a", "b"):
        sql(tmp_path / f"{name}.db", f"update t set v = '{name}' where id between 30 and 39")
    done = again(site, "38", "39")
    assert (done.read, done.result.rows) == (4, 4)
    assert "c: nothing of it was replicated yet" in done.result.notes
    changed = sorted((r["_silt_database"], r["id"]) for r in site.lake("t") if r["v"] in ("a", "b"))
    assert changed == [("a", 38), ("a", 39), ("b", 38), ("b", 39)]
    assert site.one().rows == 1


def test_a_composite_text_key(site: Site) -> None:
    """By its first column, in a table without rowid; a mirror's key needs no cursor."""
    site.sql(
        "create table t(k text, n int, v text, primary key(k, n)) without rowid",
        ("insert into t values (?, ?, 'old')", [(k, n) for k in "abcd" for n in (1, 2)]),
    )
    site.write("  t: {mode: mirror}\n")
    assert site.one().rows == 8
    site.sql("update t set v = 'new'")
    assert came(again(site, "b", "c")) == ("ok", 4, 4, 1)
    assert sorted(r["k"] for r in site.lake("t") if r["v"] == "new") == ["b", "b", "c", "c"]


def test_a_row_that_moves_to_another_partition(site: Site) -> None:
    """Partitioned by what changed: the row goes from one to the other."""
    filled(site, 'columns: {p: {expr: "v"}}, partition_by: [p]')
    site.sql("update t set v = 'moved' where id in (3, 4)")
    assert came(again(site, "1", "5")) == ("ok", 5, 2, 1)
    assert Counter(row["id"] for row in site.lake("t")) == Counter(range(1, 41))
    assert {row["p"] for row in site.lake("t") if row["id"] in (3, 4)} == {"moved"}


def test_rows_of_a_query(site: Site) -> None:
    """By the cursor that it declares."""
    site.sql(TABLE, ("insert into t values (?, ?, ?, ?)", ROWS))
    site.write('  t: {query: "select id, v from t", cursor: id}\n')
    assert site.one().rows == 40
    site.sql("update t set v = 'new' where id in (3, 4)")
    assert came(again(site, "1", "5")) == ("ok", 5, 2, 1)
    assert site.one().rows == 0


def test_a_day_of_a_count(site: Site) -> None:
    """Milliseconds in the source: a day names them, and so does the number itself."""
    counted = [(i, 1767225600000 + i * 3_600_000) for i in range(1, 101)]
    site.sql(
        "create table t(id integer primary key, at integer, v text)",
        ("insert into t(id, at) values (?, ?)", counted),
    )
    site.write("  t: {cursor: at, columns: {at: {type: timestamp, format: epoch_ms}}}\n")
    assert site.one().rows == 100
    site.sql("update t set v = 'new' where id between 20 and 50")
    assert came(again(site, "2026-01-02", "2026-01-02")) == ("ok", 24, 24, 1)
    assert came(again(site, "1767312000000", "1767312000000")) == ("ok", 1, 0, 0)


def test_a_mark_of_a_merge_goes_with_the_row_that_returned(site: Site) -> None:
    """It is in the source again, below the position; a row that moved past it is the next cycle's."""
    filled(site, "mode: merge, cursor: at, deletes: soft")
    site.sql("delete from t where id = 7")
    site.one()
    assert [row["id"] for row in site.lake("t") if row["_deleted_at"]] == [7]
    site.sql(
        "insert into t values (7, '2026-01-02T07:00:00', 'back', 's')",
        "update t set at = '2026-02-01T00:00:00', v = 'moved' where id = 8",
    )
    assert came(again(site, "2026-01-02", "2026-01-02")) == ("ok", 3, 1, 1)
    assert [row["id"] for row in site.lake("t") if row["_deleted_at"]] == []
    assert site.one().rows == 1
    assert Counter(row["id"] for row in site.lake("t")) == Counter(range(1, 41))


def test_a_key_that_the_lake_cuts_off(site: Site) -> None:
    """Nanoseconds: two rows may have one key there."""
    values = [(1767225600000000000 + i,) for i in range(5)]
    site.sql(
        "create table t(ts integer primary key, v text) without rowid",
        ("insert into t(ts) values (?)", values),
    )
    site.write("  t: {cursor: ts, columns: {ts: {type: timestamp, format: epoch_ns}}}\n")
    assert site.one().rows == 5
    why = "two of them may have one key there: ts: nanoseconds are cut to microseconds"
    assert refusal(site, "2026-01-01", None)[1] == why


# --- where nothing tells rows apart ---------------------------------------------------------------


def refusal(site: Site, start: str | None = "1", end: str | None = "5", **more: Any) -> tuple[str, str]:
    done = again(site, start, end, **more).result
    assert done.error is not None, done
    assert done.batches == 0
    return done.error.what, done.error.why


def test_without_a_key_in_the_lake_it_is_refused(site: Site) -> None:
    """Rows by rowid alone, equal ones among them, would repeat; `--allow-duplicates` says they may."""
    site.sql("create table t(v text)", ("insert into t values (?)", [("a",), ("a",), ("b",)]))
    site.write("  t: {cursor: rowid}\n")
    assert site.one().rows == 3
    what, why = refusal(site, "1", "2")
    assert what == "rows of t that are read again would be in the lake twice"
    assert why == "no column of the lake holds rowid"
    assert len(site.lake("t")) == 3
    assert came(again(site, "2", "3", duplicates=True)) == ("ok", 2, 2, 1)
    assert Counter(site.column("t", "v")) == {"a": 3, "b": 2}
    site.sql("insert into t values ('c')")
    assert (site.one().rows, len(site.lake("t"))) == (1, 6)


def test_a_rowid_that_vacuum_gives_anew_is_no_key(site: Site) -> None:
    """Though the lake has it."""
    site.sql("create table t(v text)", ("insert into t(v) values (?)", [(f"v{i}",) for i in range(9)]))
    site.write("  t: {cursor: rowid, lineage: [rowid]}\n")
    assert site.one().rows == 9
    assert refusal(site)[1] == "t has no INTEGER PRIMARY KEY, and VACUUM may give rows other rowids"


def test_a_key_that_is_not_the_cursor_tells_rows_apart(site: Site) -> None:
    """A row whose cursor changed is still that row: by its own key, not by cursor and tie-breaker."""
    filled(site, MODES["append by time"])
    site.sql("update t set at = '2026-01-04T23:00:00' where id = 13")
    assert came(again(site, "2026-01-04", "2026-01-04")) == ("ok", 4, 1, 1)
    assert Counter(i for i, _, _ in rows(site)) == Counter(range(1, 41))


def test_a_slice_that_others_write_too(site: Site) -> None:
    """By its key a row of another stream would be replaced."""
    site.sql(TABLE, "create table u(id integer primary key, at text not null, v text, secret text)")
    for table in ("t", "u"):
        site.sql((f"insert into {table} values (?, ?, ?, ?)", ROWS))
    site.write("  t: {into: both}\n  u: {into: both}\n")
    assert {r.rows for r in site.cycle().streams} == {40}
    assert refusal(site)[1] == "the slice holds rows of others, too"
    assert len(site.lake("both")) == 80


def test_rows_of_an_earlier_database_are_not_replaced(site: Site) -> None:
    """After a restart ids count anew: those of the old rows are not the new ones."""
    filled(site, "on_reset: restart")
    site.database.unlink()
    site.sql(TABLE, ("insert into t values (?, ?, ?, ?)", [(i, at, "new", s) for i, at, _, s in ROWS[:10]]))
    assert site.one().rows == 10
    assert refusal(site)[1] == "the slice holds rows of an earlier database, whose keys may be the same"
    assert Counter(v for _, _, v in rows(site))["new"] == 10
    assert len(site.lake("t")) == 50


def test_a_row_that_is_there_twice_is_not_guessed(site: Site) -> None:
    """Append keeps every version that it saw; which of two is to be written anew, nothing tells."""
    filled(site, "mode: append")
    site.sql("update t set v = 'second' where id >= 39")
    assert site.one().rows == 2
    site.sql("insert into t values (41, '2026-01-20T00:00:00', 'x', 's')")
    assert site.one().rows == 1
    assert refusal(site, "38", "41")[1] == "2 rows of the slice have the key of another row in it"
    assert came(again(site, "1", "38"))[1:] == (38, 0, 0)


def test_rows_that_may_repeat_do_so_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A race that is lost in the second batch, or in the second database, writes no batch of before again."""
    for name in ("a", "b"):
        rows_ = [(f"{name}{i}",) for i in range(9)]
        sql(site.folder / f"{name}.db", "create table t(v text)", ("insert into t values (?)", rows_))
    site.write("  t: {cursor: rowid, batch: {max_rows: 4}}\n", source="./[ab].db")
    assert site.one().rows == 18
    plain, count = Ledger.commit, Counter[str]()

    def commit(self: Ledger, *given: Any) -> Any:
        count["commits"] += 1
        if count["commits"] in (2, 5, 6):
            raise Contended("a rival was first")
        return plain(self, *given)

    monkeypatch.setattr(Ledger, "commit", commit)
    assert came(again(site, "1", "9", duplicates=True)) == ("ok", 18, 18, 6)
    assert set(Counter(site.column("t", "v")).values()) == {2}


def test_what_initial_value_leaves_out_stays_out(site: Site) -> None:
    """The stream begins there, whatever an interval says."""
    filled(site, "cursor: {column: id, initial_value: 0}")
    site.write("  t: {cursor: {column: id, initial_value: 10}}\n")
    site.sql("update t set v = 'new' where id < 20")
    assert came(again(site, None, "15")) == ("ok", 5, 5, 1)
    assert came(again(site, "12", "13")) == ("ok", 2, 0, 0)
    assert came(again(site, "1", "9")) == ("ok", 0, 0, 0)


# --- what has no interval -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ("mode: overwrite", "t is replaced whole whenever its rows differ (mode overwrite)"),
        ("enabled: false", "t is disabled"),
        (
            'aggregate: {time: at, window: 1h, measures: {n: "count(*)"}}',
            "t is an aggregate: a window that was written is never written again",
        ),
        ("mode: append", "no row of t was replicated yet"),
    ],
)
def test_streams_without_an_interval(site: Site, settings: str, what: str) -> None:
    """They say why, and what would do."""
    site.sql(TABLE, ("insert into t values (?, ?, ?, ?)", ROWS))
    site.write(f"  t: {{{settings}}}\n")
    with pytest.raises(UserError) as caught:
        again(site, "1", "2")
    assert caught.value.what == what
    assert caught.value.hint
    assert not (site.folder / "lake" / "t").exists()


def test_another_source_is_not_read(site: Site) -> None:
    """Rows of a database that took the place of the one that was replicated are none of the slice."""
    filled(site, "mode: append")
    site.database.unlink()
    site.sql(TABLE, ("insert into t values (?, ?, ?, ?)", [(i, at, "other", s) for i, at, _, s in ROWS]))
    done = again(site, "1", "5").result
    assert (done.state, done.batches) == ("held", 0)
    assert "other" not in {v for _, _, v in rows(site)}


def test_rows_at_the_position_in_doubt_come_first(site: Site) -> None:
    """The last row was deleted, its id given to another: by its key it would take the old row's place."""
    filled(site, "mode: append")
    site.sql("delete from t where id = 40", "insert into t values (40, '2026-01-20T00:00:00', 'other', 's')")
    done = again(site, "30", None).result
    assert (done.state, done.batches) == ("held", 0)
    assert done.error.what == "the rows at the position must be settled before any is read again"
    assert site.one().rows == 1
    assert Counter(v for i, _, v in rows(site) if i == 40) == {"v40": 1, "other": 1}


# --- killed, and the command ----------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["append", "merge", "mirror"])
@pytest.mark.parametrize("place", ["mid-read", "before commit", "committed", "synced"])
def test_killed_at_every_boundary(tmp_path: Path, mode: str, place: str) -> None:
    """SIGKILL in the second batch: the same interval again leads to the source's rows, each once."""
    site = Site(tmp_path)
    filled(site, f"{MODES[mode]}, batch: {{max_rows: 7}}")
    site.sql("update t set v = 'new' where id between 5 and 30")
    bounds = (
        ("--from", "2026-01-01", "--to", "2026-02-01") if mode == "merge" else ("--from", "1", "--to", "99")
    )
    ask = ("reset", "silt.yaml", "t", *bounds, "--yes")
    count = {"mid-read": 3, "before commit": 2, "committed": 2, "synced": 4}[place]
    log = site.folder / "places.log"
    code, problems = ended(doomed(*ask, cwd=site.folder, at=f"{place}:{count}", log=log))
    assert code == -signal.SIGKILL, problems or log.read_text()
    assert log.read_text().splitlines()[-1] == place
    half = Counter(v for _, _, v in rows(site))
    assert len(rows(site)) == 40
    assert half["new"] < 26
    done = silt(*ask, "--json", cwd=site.folder)
    assert done.returncode == 0, done.stderr
    assert difference(site.sql("select * from t"), site.lake("t")) == (0, 0)
    assert json.loads(done.stdout)["stream"]["rows"] == 26 - half["new"]
    assert site.one().rows == 0


def test_the_command(tmp_path: Path) -> None:
    """It asks, or needs `--yes`; says what was read and written; its JSON is reset's, with the range."""
    site = Site(tmp_path)
    filled(site, "mode: append")
    site.sql("update t set v = 'new' where id < 4")
    ask = ("reset", "silt.yaml", "t", "--from", "2", "--to", "9")
    refused = silt(*ask, cwd=tmp_path)
    assert refused.returncode == 1
    assert "reset writes rows of t in" in refused.stderr
    assert "anew (from 2 to 9)" in " ".join(refused.stderr.split())
    assert "--yes does it without asking" in refused.stderr
    done = silt(*ask, "--yes", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "  t: 8 rows read again, 2 written, v2\n")
    told = json.loads(silt(*ask, "--yes", "--json", cwd=tmp_path).stdout)
    assert (told["ok"], told["range"]) == (True, {"from": "2", "to": "9", "read": 8})
    assert (told["stream"]["rows"], told["stream"]["batches"], told["stream"]["name"]) == (0, 0, "t")
    text = silt("reset", "silt.yaml", "t", "--from", "2", "--yes", cwd=tmp_path).stdout
    assert text == "  t: 39 rows read again, all are in the lake as they are\n"
    whole = json.loads(silt("reset", "silt.yaml", "t", "--yes", "--json", cwd=tmp_path).stdout)
    assert (whole["range"], whole["ok"]) == (None, True)


def test_what_the_command_does_not_take(tmp_path: Path) -> None:
    """Exit 1 with what is wrong, nothing written."""
    site = Site(tmp_path)
    filled(site, "mode: append")
    alone = silt("reset", "silt.yaml", "t", "--allow-duplicates", "--yes", cwd=tmp_path)
    assert (alone.returncode, "goes with --from or --to" in alone.stderr) == (1, True)
    wrong = silt("reset", "silt.yaml", "t", "--from", "x", "--yes", cwd=tmp_path)
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert "--from 'x' is no value of id, which holds numbers" in wrong.stderr
    unknown = silt("reset", "silt.yaml", "tt", "--from", "1", "--yes", cwd=tmp_path)
    assert "no stream 'tt' (did you mean 't'?)" in unknown.stderr
    assert positions(site)["app"] == (1, (40,))
