"""`silt plan`, `run --once`, `status`, `query`, `reset`, `show` on real databases and Delta tables."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time

import pytest
from clirun import SILT, environment, silt, sql, start

MANIFEST = """\
version: 1
name: shop
sources: {shop: ./shop.db}
targets: {lake: ./lake}
defaults: {schedule: {every: 1s}}
streams:
  orders: {tags: [hot]}
  InvoiceLine:
  settings: {mode: overwrite}
"""

TABLES = """
CREATE TABLE orders (id INTEGER PRIMARY KEY AUTOINCREMENT, customer TEXT, total REAL);
INSERT INTO orders (customer, total) VALUES ('ann', 1.5), ('bob', 2.5), ('cyd', NULL);
CREATE TABLE "InvoiceLine" ("InvoiceLineId" INTEGER PRIMARY KEY, "UnitPrice" REAL);
INSERT INTO "InvoiceLine" ("UnitPrice") VALUES (0.99), (1.99);
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
INSERT INTO settings VALUES ('a', '1');
"""


@pytest.fixture
def shop(tmp_path):
    """A folder with `shop.db` and `silt.yaml`."""
    sql(tmp_path / "shop.db", TABLES)
    (tmp_path / "silt.yaml").write_text(MANIFEST)
    return tmp_path


def ran(folder, *arguments: str) -> str:
    """What `silt run --once` printed; it must succeed."""
    done = silt("run", "--once", *arguments, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def replicated(tmp_path_factory):
    """A folder whose lake has every row; for tests that only read."""
    folder = tmp_path_factory.mktemp("replicated")
    sql(folder / "shop.db", TABLES)
    (folder / "silt.yaml").write_text(MANIFEST)
    ran(folder)
    return folder


def counted(folder, table: str) -> int:
    """Rows of a table of the lake, by `silt query`."""
    done = silt("query", "silt.yaml", f'select count(*) as n from "{table}"', "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["rows"][0]["n"]


# --- run --once -----------------------------------------------------------------------------------


def test_run_once_replicates_and_again_adds_only_what_is_new(shop):
    """The main job: every row once, again and again; the closing line tells what was done."""
    done = silt("run", "--once", cwd=shop)
    assert done.returncode == 0, done.stderr
    assert "3 streams, 6 rows, 3 commits" in done.stdout
    assert "look: silt query" in done.stdout
    assert (counted(shop, "orders"), counted(shop, "InvoiceLine"), counted(shop, "settings")) == (3, 2, 1)
    again = silt("run", "--once", cwd=shop)
    assert "3 streams up to date" in again.stdout
    sql(shop / "shop.db", "INSERT INTO orders (customer) VALUES ('dan')")
    assert "3 streams, 1 row, 1 commit" in ran(shop)
    assert counted(shop, "orders") == 4


def test_run_once_json(shop):
    """One object with the fields of DESIGN 10, and nothing else on stdout."""
    told = json.loads(silt("run", "--once", "--json", cwd=shop).stdout)
    assert told["ok"] is True
    by_name = {s["name"]: s for s in told["streams"]}
    orders = by_name["orders"]
    wanted = {"name", "table", "into", "rows", "databases", "batches", "version", "position", "seconds"}
    assert wanted | {"state", "error"} <= set(orders)
    assert (orders["rows"], orders["databases"], orders["batches"], orders["state"]) == (3, 1, 1, "ok")
    assert orders["position"] == {"shop": [3]}
    assert orders["error"] is None
    assert isinstance(orders["version"], int)


def test_one_stream_fails_and_the_others_go_on(shop):
    """Exit 1; what failed, on what and what to do; the others are replicated."""
    with (shop / "silt.yaml").open("a") as file:
        file.write("  gone: {table: not_there}\n")
    done = silt("run", "--once", cwd=shop)
    assert done.returncode == 1
    assert "x gone" in done.stdout
    assert "not_there" in done.stdout
    assert "Nothing written, none lost." in done.stdout
    assert "3 of 4 streams, 6 rows, 3 commits" in done.stdout
    assert counted(shop, "orders") == 3


def test_missing_database_is_one_error_and_creates_nothing(shop):
    """A source that is not there: exit 1, its path, and no file made by trying."""
    (shop / "shop.db").rename(shop / "away.db")
    done = silt("run", "--once", cwd=shop)
    assert done.returncode == 1
    assert "shop.db" in done.stdout + done.stderr
    assert not (shop / "shop.db").exists()


def test_selection_runs_only_what_is_selected(shop):
    """--select and --exclude; a typo runs nothing and says what it may have meant."""
    done = silt("run", "--once", "--select", "tag:hot", "--json", cwd=shop)
    assert [s["name"] for s in json.loads(done.stdout)["streams"]] == ["orders"]
    done = silt("run", "--once", "--exclude", "orders,set*", "--json", cwd=shop)
    assert [s["name"] for s in json.loads(done.stdout)["streams"]] == ["InvoiceLine"]
    done = silt("run", "--once", "--select", "oders", cwd=shop)
    assert done.returncode == 1
    assert "did you mean 'orders'?" in done.stderr


def test_state_dir_may_be_lost_between_runs(shop):
    """The lake is the state: without `state_dir` nothing repeats."""
    ran(shop)
    for path in (shop / "state").iterdir():
        path.unlink()
    (shop / "state").rmdir()
    assert "up to date" in ran(shop)
    assert counted(shop, "orders") == 3


def test_unwritable_state_dir_is_a_warning(shop):
    """A `state_dir` that cannot be made is told on stderr, and the rows arrive."""
    (shop / "file").write_text("")
    with (shop / "silt.yaml").open("a") as file:
        file.write("state_dir: ./file/state\n")
    done = silt("run", "--once", cwd=shop)
    assert done.returncode == 0
    assert "warning: state_dir" in done.stderr
    assert "cannot be written" in done.stderr
    assert counted(shop, "orders") == 3


def test_terminal_shows_progress_in_place(shop):
    """On a terminal a running stream has a line with rows, share, speed and time left, rewritten in place."""
    rows = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000) "
    sql(shop / "shop.db", f"INSERT INTO orders (customer, total) {rows} SELECT 'c' || i, i FROM n")
    text = (shop / "silt.yaml").read_text()
    (shop / "silt.yaml").write_text(text.replace("{tags: [hot]}", "{batch: {max_rows: 5000}}"))
    code = (
        "import os, pty, sys\nout = bytearray()\n"
        "def read(fd):\n    data = os.read(fd, 4096)\n    out.extend(data)\n    return b'.'\n"
        "status = pty.spawn(sys.argv[1:], read)\nsys.stderr.write(out.decode())\n"
        "sys.exit(os.waitstatus_to_exitcode(status))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *SILT, "run", "--once"],
        cwd=shop,
        env=environment(COLUMNS="90", TERM="xterm"),
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=90,
    )
    assert done.returncode == 0
    shown = done.stderr
    assert "\x1b[2K" in shown  # lines are rewritten, not added
    running = re.search(r"orders +([#-]{12})  [\d,]+ / 300,003 +\d+%( +[\d,]+ rows/s +eta [^\r]+)?", shown)
    assert running is not None, shown[-2000:]
    assert re.search(r"orders +300,003 rows +v", shown)
    assert "3 streams, 300,006 rows" in shown


# --- plan -----------------------------------------------------------------------------------------


def test_plan_shows_and_writes_nothing(shop):
    """Pending rows, the cursor and why; no lake and no state afterwards; --dry-run is the same."""
    done = silt("plan", cwd=shop)
    assert done.returncode == 0, done.stderr
    assert "+ orders" in done.stdout
    assert "id (auto)" in done.stdout
    assert "AUTOINCREMENT" in done.stdout
    assert "3 to create" in done.stdout
    assert "Nothing was written. To do it: silt run silt.yaml --once" in done.stdout
    dry = silt("run", "--dry-run", cwd=shop).stdout
    assert dry.splitlines()[1:] == done.stdout.splitlines()[1:]  # the first holds how long it took
    assert not (shop / "lake").exists()
    assert not (shop / "state").exists()


def test_detailed_exitcode(shop):
    """2 while changes are pending, 0 after; without the flag always 0."""
    assert silt("plan", cwd=shop).returncode == 0
    assert silt("plan", "--detailed-exitcode", cwd=shop).returncode == 2
    ran(shop)
    assert silt("plan", "--detailed-exitcode", cwd=shop).returncode == 0


def test_plan_json(shop):
    """The object of DESIGN 10; `changes` follows what is pending."""
    told = json.loads(silt("plan", "--json", cwd=shop).stdout)
    by_name = {s["name"]: s for s in told["streams"]}
    assert told["changes"] is True
    assert by_name["orders"]["pending_rows"] == 3
    assert by_name["orders"]["cursor"]["columns"] == ["id"]
    assert by_name["orders"]["cursor"]["detected"] is True
    assert by_name["orders"]["schema"]["columns"]["total"] == "double"
    ran(shop)
    after = json.loads(silt("plan", "--json", cwd=shop).stdout)
    assert after["changes"] is False
    assert {s["pending_rows"] for s in after["streams"]} == {0}
    assert after["streams"][0]["cursor"]["detected"] is True  # pinned now, and still silt's own choice


# --- status ---------------------------------------------------------------------------------------


def test_status_without_a_daemon(shop):
    """From the lake and the last status file: state, pending, rows of 24 hours, last commit, version."""
    ran(shop)
    sql(shop / "shop.db", "INSERT INTO orders (customer) VALUES ('dan'), ('eve')")
    done = silt("status", "--json", cwd=shop)
    told = json.loads(done.stdout)
    orders = next(s for s in told["streams"] if s["name"] == "orders")
    wanted = {
        "name",
        "state",
        "behind_seconds",
        "pending_rows",
        "rows",
        "version",
        "last_commit",
        "next",
        "error",
    }
    assert wanted <= set(orders)
    assert {"generation", "on_disk", "problems"} <= set(told["manifest"])
    assert (orders["state"], orders["pending_rows"], orders["rows"]) == ("ok", 2, 3)
    assert isinstance(orders["version"], int)
    assert orders["last_commit"].endswith("Z")
    text = silt("status", cwd=shop).stdout
    assert "silt.yaml, node local: not running" in text
    assert "3 ok" in text


def _behind(shop):
    told = json.loads(silt("status", "--json", cwd=shop).stdout)
    return {s["name"]: s["behind_seconds"] for s in told["streams"]}


def test_status_remembers_since_when_a_source_is_ahead(shop):
    """Without a daemon too: from the first look that saw it ahead, until a cycle has taken the rows."""
    ran(shop)
    assert set(_behind(shop).values()) == {0}
    sql(shop / "shop.db", "INSERT INTO orders (customer) VALUES ('dan')")
    first, second = _behind(shop), _behind(shop)
    assert (first["orders"], first["settings"]) == (0, 0)
    assert second["orders"] > 0.05, "a process takes longer to start"
    assert second["settings"] == 0
    ran(shop)
    assert _behind(shop)["orders"] == 0
    sql(shop / "shop.db", "INSERT INTO orders (customer) VALUES ('eve')")
    assert _behind(shop)["orders"] == 0, "seen for the first time again"
    assert 0.05 < _behind(shop)["orders"] < second["orders"] + 60


def test_rows_seen_ahead_before_the_last_good_cycle_are_taken():
    """What a look saw counts until a cycle that began later left nothing behind."""
    from silt.cli.status import _first_ahead
    from silt.state import StreamStatus

    caught = StreamStatus(name="s", state="ok", caught_up=100.0)
    failing = StreamStatus(name="s", state="failing", caught_up=50.0, ahead_since=70.0)
    assert _first_ahead(None, None, 200.0) == 200.0
    assert _first_ahead(None, 90.0, 200.0) == 90.0
    assert _first_ahead(caught, 90.0, 200.0) == 200.0
    assert _first_ahead(caught, 110.0, 200.0) == 110.0
    assert _first_ahead(failing, 90.0, 200.0) == 70.0
    assert _first_ahead(failing, 60.0, 200.0) == 60.0


def test_status_check(shop):
    """0 while all is well; 1 when rows are pending that nothing ever took, or a stream fails."""
    assert silt("status", "--check", cwd=shop).returncode == 1
    ran(shop)
    assert silt("status", "--check", cwd=shop).returncode == 0
    sql(shop / "shop.db", "DROP TABLE settings")
    done = silt("status", "--check", cwd=shop)
    assert done.returncode == 1
    assert "x settings" in done.stdout
    assert silt("status", cwd=shop).returncode == 0


# --- query ----------------------------------------------------------------------------------------


def test_query_forms(replicated):
    """A table for people, JSON and CSV for programs; names in any case, as SQLite has them."""
    text = silt("query", "silt.yaml", "select * from orders order by id limit 2", cwd=replicated)
    assert text.stdout.splitlines() == [
        "id  customer  total",
        "--  --------  -----",
        " 1  ann         1.5",
        " 2  bob         2.5",
    ]
    csv = silt("query", "silt.yaml", "select id, total from orders order by id", "--csv", cwd=replicated)
    assert csv.stdout == "id,total\n1,1.5\n2,2.5\n3,\n"
    mixed = "select InvoiceLineId, unitprice from invoiceline order by 1"
    told = json.loads(silt("query", "silt.yaml", mixed, "--json", cwd=replicated).stdout)
    assert told["rows"][1] == {"InvoiceLineId": 2, "UnitPrice": 1.99}


def test_query_limits_what_it_prints_and_says_so(replicated):
    """More rows than --limit: the first ones, and a word about the rest."""
    done = silt("query", "silt.yaml", "select id from orders order by id", "--limit", "1", cwd=replicated)
    assert done.stdout.splitlines() == ["id", "--", " 1"]
    assert "first 1 row" in done.stderr


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("select * from oders", "did you mean 'orders'?"),
        ("selct 1 from orders", "not a query"),
        ("select nope from orders", "nope"),
        ("with a as (select 1) insert into orders select * from a", "INSERT is no part of a query"),
    ],
)
def test_bad_queries_are_one_error(replicated, query, words):
    """A typo, unknown names, and what would write: exit 1, one error."""
    done = silt("query", "silt.yaml", query, cwd=replicated)
    assert done.returncode == 1
    assert words in done.stderr
    assert "bug" not in done.stderr


def test_query_needs_no_source(shop):
    """The lake answers when the database is gone."""
    ran(shop)
    (shop / "shop.db").unlink()
    assert counted(shop, "orders") == 3


# --- reset ----------------------------------------------------------------------------------------


def test_reset_asks_or_needs_yes(shop):
    """Without a person to ask and without --yes nothing is removed; with it the next run refills."""
    ran(shop)
    refused = silt("reset", "silt.yaml", "orders", cwd=shop)
    assert refused.returncode == 1
    assert "--yes" in refused.stderr
    assert counted(shop, "orders") == 3
    done = silt("reset", "silt.yaml", "orders", "--yes", cwd=shop)
    assert done.returncode == 0, done.stderr
    assert counted(shop, "orders") == 0
    assert counted(shop, "InvoiceLine") == 2
    ran(shop)
    assert counted(shop, "orders") == 3


def test_reset_of_an_unknown_stream(replicated):
    """Exit 1, and the stream that was meant."""
    done = silt("reset", "silt.yaml", "oders", "--yes", cwd=replicated)
    assert done.returncode == 1
    assert "no stream 'oders' (did you mean 'orders'?)" in done.stderr
    assert "streams are: " in done.stderr


# --- show -----------------------------------------------------------------------------------------


def test_show_says_where_each_value_comes_from(replicated):
    """A written value with file and line, the others as defaults; --json the same."""
    done = silt("show", "--select", "settings", cwd=replicated)
    assert done.returncode == 0, done.stderr
    assert "streams.settings:" in done.stdout
    assert "streams.orders:" not in done.stdout
    line = next(line for line in done.stdout.splitlines() if line.strip().startswith("mode:"))
    assert line.split() == ["mode:", "overwrite", "#", "silt.yaml:9"]
    assert json.loads(silt("show", "--json", cwd=replicated).stdout)["streams"][0]["name"] == "orders"


# --- the lock and signals -------------------------------------------------------------------------


def test_second_process_is_refused(shop):
    """While `silt run` runs, --once and reset are refused with its pid and path; status and plan are not."""
    with start("run", "--log-format", "json", cwd=shop) as running:
        assert running.stdout is not None
        assert json.loads(running.stdout.readline())["event"] == "ready"
        reset = ("reset", "silt.yaml", "orders", "--yes")
        for arguments in (("run", "--once"), ("run",), reset, (*reset, "--from", "1")):
            done = silt(*arguments, cwd=shop)
            assert done.returncode == 1
            assert str(running.pid) in done.stderr
            assert "silt.yaml" in done.stderr
        told = json.loads(silt("status", "--json", cwd=shop).stdout)
        assert told["manifest"]["pid"] == running.pid
        assert silt("plan", cwd=shop).returncode == 0
        running.send_signal(signal.SIGTERM)
        assert running.wait(20) == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signal_ends_run_once_after_the_commit_under_way(shop, number, code):
    """`run --once` finishes its commit and exits 128 + n; what is there is whole, the next run goes on."""
    rows = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400000) "
    sql(shop / "shop.db", f"INSERT INTO orders (customer, total) {rows} SELECT 'c' || i, i FROM n")
    text = (shop / "silt.yaml").read_text()
    (shop / "silt.yaml").write_text(
        text.replace("orders: {tags: [hot]}", "orders: {batch: {max_rows: 2000}}")
    )
    with start("run", "--once", "--select", "orders", "--json", cwd=shop) as running:
        log = shop / "lake" / "orders" / "_delta_log"
        while running.poll() is None and len(list(log.glob("*.json"))) < 3:
            time.sleep(0.02)
        running.send_signal(number)
        out, _ = running.communicate(timeout=60)
    assert running.returncode == code
    stream = json.loads(out)["streams"][0]
    assert 0 < stream["rows"] < 400_003
    assert stream["rows"] % 2000 == 0
    assert counted(shop, "orders") == stream["rows"]
    text = (shop / "silt.yaml").read_text()
    (shop / "silt.yaml").write_text(text.replace("max_rows: 2000", "max_rows: 500_000"))
    assert silt("run", "--once", "--select", "orders", cwd=shop).returncode == 0
    assert counted(shop, "orders") == 400_003


COLLECTED = """
import gc, sys
usual = gc.get_threshold()
from silt import cli, daemon, replicate
def moves_rows(*_, **__):
    print("usual" if gc.get_threshold() == usual else "high", gc.get_freeze_count() > 10_000)
    sys.exit()
replicate.run = daemon.Daemon.run = moves_rows
sys.argv = ["silt", "run", "silt.yaml", *sys.argv[1:]]
cli.main()
"""


@pytest.mark.parametrize("flags", [["--once"], []])
def test_garbage_is_collected_as_usual_once_rows_move(shop, flags):
    """Python's own thresholds hold before rows move, and what was imported by then is looked at no more."""
    done = subprocess.run(
        [sys.executable, "-c", COLLECTED, *flags], cwd=shop, env=environment(), capture_output=True, text=True
    )
    assert "usual True" in done.stdout.splitlines(), done.stderr
