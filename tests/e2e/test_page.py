"""The page of a real `silt run` in a real browser: rows that are inserted, edits, errors, its end."""

from __future__ import annotations

import contextlib
import json
import queue
import signal
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import PHONE, Visits, browser, cell, expect, names, rows
from clirun import silt, sql, start
from servers import refusing_server, s3_options

pytestmark = pytest.mark.timeout(900)  # the first one on a machine may install the browser

HEAD = (
    "version: 1\nsources: {shop: ./shop.db}\ntargets: {lake: ./lake}\ndefaults: {schedule: {on_change: {}}}\n"
)
ORDERS = "streams:\n  orders:\n"


class Running:
    """`silt run` in a folder, serving; `line` is its next log line of a kind."""

    def __init__(self, folder: Path, **variables: str) -> None:
        self.folder = folder
        where = {"SILT_LISTEN": "127.0.0.1:0", **variables}
        self.process = start("run", "--log-format", "json", cwd=folder, **where)
        self._seen: list[dict[str, Any]] = []
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()
        self.url = self.line("ready")["url"]

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)

    def line(self, kind: str, *, again: bool = False) -> dict[str, Any]:
        """The next line of a kind; with `again` one that has been read already does as well."""
        deadline = time.monotonic() + 60
        known = [line for line in self._seen if again and line["event"] == kind]
        while not known and time.monotonic() < deadline:
            with contextlib.suppress(queue.Empty):
                self._seen.append(json.loads(self._lines.get(timeout=1)))
                known = [self._seen[-1]] if self._seen[-1]["event"] == kind else []
        assert known, self._seen
        return known[0]

    def get(self, path: str) -> str:
        with urllib.request.urlopen(f"{self.url}{path}", timeout=20) as answer:
            return answer.read().decode()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate(timeout=30)


def manifest(folder: Path, text: str) -> None:
    """Save as an editor does: a new file, renamed over the old one."""
    (folder / ".new").write_text(HEAD + text)
    (folder / ".new").replace(folder / "silt.yaml")


@pytest.fixture
def shop(tmp_path) -> Path:
    tables = (
        "CREATE TABLE orders (id INTEGER PRIMARY KEY, v); CREATE TABLE stock (id INTEGER PRIMARY KEY, v);"
    )
    sql(tmp_path / "shop.db", f"PRAGMA journal_mode = wal; {tables} INSERT INTO orders VALUES (1, 1), (2, 2)")
    manifest(tmp_path, ORDERS)
    return tmp_path


@pytest.fixture
def running(shop) -> Iterator[Running]:
    started = Running(shop)
    yield started
    started.close()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as started:
        yield started


@pytest.fixture
def visit(chromium, running) -> Iterator[Visits]:
    visits = Visits(chromium, running.url)
    yield visits
    visits.close()


def test_rows_that_are_inserted_change_the_page(shop, running, visit):
    """Two rows are there at first; three more are inserted, and the page says five, without a reload."""
    page = visit()
    expect(lambda: rows(page, "orders"), lambda t: t == "2")
    sql(shop / "shop.db", "INSERT INTO orders VALUES (3, 3), (4, 4), (5, 5)")
    expect(lambda: rows(page, "orders"), lambda t: t == "5")
    assert page.inner_text("#verdict") == "The one stream is ok"
    assert page.inner_text("#line") == "live"


def test_an_invalid_edit_appears_with_its_place_and_goes_when_it_is_mended(shop, running, visit):
    """Saved with a typo: its place on the page, the stream runs on; mended: a new generation."""
    page = visit()
    manifest(shop, ORDERS + "    mode: apend\n")
    notice = expect(lambda: page.inner_text("#notices"), bool)
    assert "silt.yaml:7:11" in notice
    assert "'apend' is not one of append, merge, mirror, overwrite" in notice
    assert "Generation 1 runs on." in notice
    sql(shop / "shop.db", "INSERT INTO orders VALUES (3, 3)")
    expect(lambda: rows(page, "orders"), lambda t: t == "3")
    manifest(shop, ORDERS + "  stock:\n")
    expect(lambda: names(page), lambda seen: seen == ["orders", "stock"])
    expect(lambda: page.inner_text("#notices"), lambda t: not t)
    assert "generation 2" in page.inner_text("#about")
    results = page.locator("#receipts .result").all_inner_texts()
    assert results == ["applied", "refused"]
    assert "added stock" in page.inner_text("#receipts > li >> nth=0")
    told = json.loads(silt("status", "--json", cwd=shop).stdout)["manifest"]
    assert (told["generation"], told["on_disk"], told["problems"]) == (2, "same", [])


def moved(shop: Path, old: str, new: str) -> None:
    """The database, with the files beside it."""
    for end in ("-wal", "-shm", ""):
        if (shop / f"{old}{end}").exists():
            (shop / f"{old}{end}").rename(shop / f"{new}{end}")


def test_a_stream_that_is_stopped_says_why_and_goes_on_by_itself(shop, running, visit):
    """Another database in its place: held, with the reason and what to do; the old one back: ok again."""
    page = visit(viewport=PHONE)
    expect(lambda: rows(page, "orders"), lambda t: t == "2")
    moved(shop, "shop.db", "away.db")
    sql(
        shop / "shop.db",
        "CREATE TABLE orders (id INTEGER PRIMARY KEY, v); INSERT INTO orders VALUES (1, 'x')",
    )
    expect(lambda: cell(page, "orders", "td.state").inner_text(), lambda t: t == "held")
    error, hint = page.locator("tr.trouble p").all_inner_texts()
    assert "shop.db" in error
    assert hint
    assert page.inner_text("#verdict") == "1 held"
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    assert 'silt_stream_state{state="held",stream="orders"} 1.0' in running.get("metrics")
    moved(shop, "shop.db", "other.db")
    moved(shop, "away.db", "shop.db")
    sql(shop / "shop.db", "INSERT INTO orders VALUES (3, 3)")
    expect(lambda: cell(page, "orders", "td.state").inner_text(), lambda t: t == "ok")
    expect(lambda: rows(page, "orders"), lambda t: t == "3")


def test_what_runs_answers_as_it_says(shop, running):
    """healthz, readyz, metrics and /api/status of a real process, and its log names the address."""
    expect(lambda: 'silt_rows_total{stream="orders"} 2.0' in running.get("metrics"), bool)
    assert (running.get("healthz"), running.get("readyz")) == ("ok\n", "ok\n")
    metrics = running.get("metrics")
    assert 'silt_commits_total{stream="orders"} 1.0' in metrics
    assert "process_resident_memory_bytes" in metrics
    told = json.loads(running.get("api/status"))
    assert told["manifest"]["pid"] == running.process.pid
    assert told["streams"][0]["rows"] == 2
    assert 'silt_bytes_total{stream="orders"} 0.0' not in metrics


def test_it_ends_with_readers_on_the_line(shop, running, visit):
    """SIGTERM with the page open: exit 0, and the page says since when nobody answers."""
    page = visit(forgiving=True)
    expect(lambda: page.inner_text("#line"), lambda t: t == "live")
    assert running.stop() == 0
    expect(lambda: page.inner_text("#line"), lambda t: t.startswith("no answer since "))


def test_a_port_that_is_taken(shop):
    """Declared: exit 1, with the address and what to do."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = silt("run", "--listen", address, cwd=shop)
        assert done.returncode == 1
        assert f"{address} is taken by another process" in done.stderr
        manifest(shop, f"listen: {address}\n{ORDERS}")
        done = silt("run", cwd=shop, SILT_LISTEN="")
        assert done.returncode == 1
        assert "`listen: false` none" in done.stderr


def test_the_default_port_that_is_taken_is_a_warning(shop):
    """Nobody asked for 127.0.0.1:8585: silt runs on without a page, and says what would give it one."""
    with socket.socket() as taken:
        with contextlib.suppress(OSError):  # whoever has it already does as well
            taken.bind(("127.0.0.1", 8585))
            taken.listen()
        started = Running(shop, SILT_LISTEN="")
        try:
            assert started.url is None
            noted = started.line("note", again=True)
            assert "127.0.0.1:8585 is taken by another process" in noted["message"]
            assert started.stop() == 0
        finally:
            started.close()


def test_no_answer_of_a_real_run_holds_a_secret(tmp_path):
    """A store that refuses, with keys in the manifest and the environment: only the error is shown."""
    table = "CREATE TABLE orders (id INTEGER PRIMARY KEY, mail); INSERT INTO orders VALUES (1, 'x')"
    sql(tmp_path / "shop.db", table)
    planted = ["planted-key-1", "planted-salt-2", "planted-token-3"]
    with refusing_server() as port:
        options = {
            **s3_options(port),
            "AWS_ACCESS_KEY_ID": planted[0],
            "AWS_SECRET_ACCESS_KEY": "${secret:env:PLANTED}",
            "AWS_SESSION_TOKEN": planted[2],
        }
        (tmp_path / "silt.yaml").write_text(
            f"version: 1\nnode: edge\nsources: {{shop: ./shop.db}}\ntargets:\n  lake:\n    uri: s3://lake/x\n"
            f"    storage_options: {json.dumps(options)}\n"
            'streams:\n  orders:\n    columns: {mail: {mask: sha256, salt: "${secret:env:SALT}"}}\n'
        )
        started = Running(tmp_path, PLANTED="planted-secret-4", SALT=planted[1])
        try:
            told = lambda: [s["error"] for s in json.loads(started.get("api/status"))["streams"]]  # noqa: E731
            assert expect(told, any)
            paths = ("", "api/status", "api/manifest", "metrics")
            answers = {path: started.get(path) for path in paths}
        finally:
            started.close()
    assert "AWS_SESSION_TOKEN" in answers["api/manifest"]
    planted.append("planted-secret-4")
    found = [(path, word) for path, text in answers.items() for word in planted if word in text]
    assert found == []
