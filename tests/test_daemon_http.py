"""`silt.daemon.http`: the listener, asked over real sockets."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest
import uvicorn
from fakes import ANYWHERE, Fake, refusal, stream

from silt.daemon import board as boards
from silt.daemon import http as listener
from silt.daemon.http import Unavailable, is_loopback, page, policy
from silt.errors import UserError
from silt.manifest.listen import parse
from silt.manifest.model import Listen
from silt.replicate.model import Progress
from silt.report import live, status


@dataclass
class Answer:
    code: int
    headers: dict[str, str]
    text: str

    @property
    def json(self):
        return json.loads(self.text)


def ask(fake: Fake, path: str, *, method: str = "GET", **headers: str) -> Answer:
    at = urlsplit(fake.server.url)
    connection = http.client.HTTPConnection(at.hostname, at.port, timeout=20)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return Answer(
            answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read().decode("utf-8")
        )
    finally:
        connection.close()


class Events:
    """One reader of /api/events: `next` is the next event's name and data."""

    def __init__(self, fake: Fake) -> None:
        at = urlsplit(fake.server.url)
        self._socket = socket.create_connection((at.hostname, at.port), timeout=30)
        self._socket.sendall(f"GET /api/events HTTP/1.1\r\nHost: {at.netloc}\r\n\r\n".encode())
        self._file = self._socket.makefile("rb")

    def next(self):
        name = ""
        for line in self._file:
            if line.startswith(b"event: "):
                name = line[7:].strip().decode()
            elif line.startswith(b"data: "):
                return name, json.loads(line[6:])
        return "end", None

    def close(self) -> None:
        self._file.close()
        self._socket.close()


@pytest.fixture
def fake(tmp_path) -> Iterator[Fake]:
    made = Fake(tmp_path, stream("orders"), stream("readings"))
    made.server.listen(ANYWHERE)
    yield made
    made.server.stop()


# --- health ---------------------------------------------------------------------------------------


def test_healthy_and_ready(fake):
    """200 and a word from both."""
    for path in ("/healthz", "/readyz"):
        answer = ask(fake, path)
        assert (answer.code, answer.text) == (200, "ok\n")


def test_not_ready_before_the_first_look(fake):
    """/readyz is 503 and says what is awaited; /healthz is 200 all the same."""
    fake.set(ready=False)
    answer = ask(fake, "/readyz")
    assert (answer.code, answer.text) == (503, "the sources have not been looked at yet\n")
    assert ask(fake, "/healthz").code == 200
    fake.set(ready=True)
    assert ask(fake, "/readyz").code == 200


def test_a_loop_that_does_not_turn_is_unhealthy(fake):
    """By a steady clock: two minutes with the same status; one new status is enough to be well again."""
    assert fake.board.stuck(lambda: 100.0) == ""
    assert fake.board.stuck(lambda: 100.0 + boards.PATIENCE) == ""
    assert "has not turned for 121 s" in fake.board.stuck(lambda: 101.0 + boards.PATIENCE)
    fake.set()
    assert fake.board.stuck(lambda: 1000.0) == ""


def test_a_long_first_look_is_not_unhealthy(fake):
    """Slow sources at the start: not ready, and not to be killed for it; the two minutes begin afterwards."""
    fake.set(ready=False)
    assert fake.board.stuck(lambda: 0.0) == ""
    assert fake.board.stuck(lambda: 10_000.0) == ""
    fake.set(ready=True)
    assert fake.board.stuck(lambda: 10_001.0) == ""


# --- the status -----------------------------------------------------------------------------------


def test_the_status_is_that_of_the_command(fake):
    """/api/status has every key of `silt status --json`, with the same values, and more."""
    fake.committed("orders", 7, version=3)
    fake.set(on_disk="refused", receipts=(refusal(),))
    told = ask(fake, "/api/status").json
    same = status.data(live.status_of(fake.status, title="local", now=time.time(), rows={"orders": 7}))
    assert set(same) <= set(told)
    assert set(same["manifest"]) <= set(told["manifest"])
    assert told["manifest"]["problems"] == same["manifest"]["problems"] != []
    for mine, theirs in zip(told["streams"], same["streams"], strict=True):
        moving = {"behind_seconds"}
        assert {k: v for k, v in mine.items() if k in theirs and k not in moving} == {
            k: v for k, v in theirs.items() if k not in moving
        }
    assert told["streams"][0]["rows"] == 7
    assert told["history"]["rows"]["orders"][-1] + told["history"]["rows"]["orders"][-2] == 7
    assert told["receipts"][0]["problems"][0]["line"] == 31


def test_the_manifest_is_served_resolved(fake):
    """/api/manifest is the text of `silt show`."""
    told = ask(fake, "/api/manifest").json
    assert told["generation"] == 1
    assert "streams.orders:" in told["text"]
    assert "cursor:" in told["text"]


def test_text_of_any_bytes_is_carried(fake):
    """A file name that is no UTF-8 stands in an error: the answer is JSON all the same."""
    fake.set(stream("orders", "failing", error="cannot open /data/\udcff.db"))
    assert ask(fake, "/api/status").json["streams"][0]["error"] == "cannot open /data/\udcff.db"
    events = Events(fake)
    assert events.next()[1]["streams"][0]["error"] == "cannot open /data/\udcff.db"
    events.close()


# --- events ---------------------------------------------------------------------------------------


def test_events_tell_everything_then_what_changed(fake):
    """`status` first; a commit makes `news` of that stream alone, with its rows."""
    events = Events(fake)
    name, whole = events.next()
    assert (name, [s["name"] for s in whole["streams"]]) == ("status", ["orders", "readings"])
    fake.committed("orders", 12, version=9)
    name, news = events.next()
    assert (name, [s["name"] for s in news["streams"]]) == ("news", ["orders"])
    assert news["streams"][0]["version"] == 9
    assert sum(news["history"]["rows"]["orders"]) == 12
    assert "receipts" not in news
    events.close()


def test_events_tell_of_edits_of_streams_that_are_gone_and_of_progress(fake):
    """A receipt comes once; `order` says which streams there are; a running cycle shows how far it is."""
    events = Events(fake)
    events.next()
    fake.set(streams=(stream("readings"),), on_disk="refused", receipts=(refusal(),))
    _, news = events.next()
    assert news["order"] == ["readings"]
    assert [r["result"] for r in news["receipts"]] == ["refused"]
    assert news["manifest"]["problems"][0]["column"] == 11
    fake.history.heard(Progress(stream="readings", rows=10, expected=40))
    _, news = events.next()
    assert news["streams"][0]["cycle"] == {"rows": 10, "expected": 40}
    assert "receipts" not in news
    events.close()


def test_nothing_is_said_where_nothing_changed(fake):
    """The moment of writing alone is no news."""
    _, sent = fake.board.data()
    fake.set()
    assert fake.board.news(sent) is None
    fake.committed("orders", 1)
    assert fake.board.news(sent) is not None


def test_readers_are_bounded_and_counted_down(fake, monkeypatch):
    """One too many is refused with 503; when one leaves there is room again."""
    monkeypatch.setattr(listener, "READERS", 2)
    readers = [Events(fake), Events(fake)]
    assert [reader.next()[0] for reader in readers] == ["status"] * 2
    assert ask(fake, "/api/events").code == 503
    readers.pop().close()
    deadline = time.monotonic() + 30
    while (again := _first_line(fake)) != b"HTTP/1.1 200 OK" and time.monotonic() < deadline:
        time.sleep(0.1)
    assert again == b"HTTP/1.1 200 OK"
    readers.pop().close()


def _first_line(fake: Fake) -> bytes:
    at = urlsplit(fake.server.url)
    with socket.create_connection((at.hostname, at.port), timeout=20) as connection:
        connection.sendall(f"GET /api/events HTTP/1.1\r\nHost: {at.netloc}\r\n\r\n".encode())
        return connection.recv(1000).split(b"\r\n")[0]


# --- who may read ---------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/api/status", "/api/events", "/api/manifest", "/metrics", "/healthz"])
def test_a_name_that_is_rebound_to_loopback_reads_nothing(fake, path):
    """A page of evil.example whose name resolves to 127.0.0.1 sends its own name: 421."""
    answer = ask(fake, path, Host="evil.example:8585")
    assert answer.code == 421
    assert "orders" not in answer.text


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        ("localhost:8585", True),
        ("LOCALHOST", True),
        ("silt.localhost:80", True),
        ("127.0.0.1", True),
        ("127.9.9.9:1", True),
        ("[::1]:8585", True),
        ("evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("localhost.evil.example:8585", False),
        ("10.0.0.1:8585", False),
        ("", False),
    ],
)
def test_which_hosts_are_this_machine(host, ours):
    """Loopback addresses and names, with any port; nothing that merely begins like one."""
    assert is_loopback(host) is ours


def test_every_answer_keeps_other_sites_out(fake):
    """No CORS, no sniffing, no frames, no caching; also of refusals and of what is not there."""
    for path in ("/", "/api/status", "/metrics", "/nothing"):
        answer = ask(fake, path, Origin="http://evil.example")
        assert not [name for name in answer.headers if name.startswith("access-control")]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-frame-options"] == "DENY"
        assert "server" not in answer.headers


def test_nothing_can_be_written(fake):
    """Every path answers reads alone."""
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert ask(fake, "/api/status", method=method).code == 405


def test_the_page_may_load_nothing_but_itself(fake):
    """Its policy allows its own style and script and this server; it names no other address."""
    answer = ask(fake, "/")
    assert answer.headers["content-security-policy"] == policy()
    assert "default-src 'none'" in policy()
    assert "unsafe" not in policy()
    assert answer.text == page()
    assert "http" not in page().replace("http://www.w3.org/2000/svg", "")
    assert "innerHTML" not in page()


def test_secrets_are_in_no_answer(tmp_path, monkeypatch):
    """Keys, salts, passwords in URIs: whatever the manifest holds, no answer has it."""
    planted = ["key-planted-1", "salt-planted-2", "uri-planted-3", "file-planted-4", "plain-planted-5"]
    monkeypatch.setenv("PLANTED", planted[0])
    monkeypatch.setenv("SALT", planted[1])
    (tmp_path / "secret").write_text(planted[3])
    (tmp_path / "plant.yaml").write_text(
        "version: 1\nnode: edge\nsources: {plant: ./plant.db}\ntargets:\n  lake:\n"
        f"    uri: s3://someone:{planted[2]}@bucket/lake\n"
        "    storage_options:\n      AWS_REGION: us-west-2\n"
        '      AWS_SECRET_ACCESS_KEY: "${secret:env:PLANTED}"\n'
        f'      AWS_SESSION_TOKEN: "${{secret:file:{tmp_path}/secret}}"\n'
        f"      AWS_ACCESS_KEY_ID: {planted[4]}\n"
        "streams:\n  orders:\n    columns:\n"
        '      mail: {mask: sha256, salt: "${secret:env:SALT}"}\n'
    )
    fake = Fake(tmp_path, stream("orders"))
    fake.server.listen(ANYWHERE)
    try:
        answers = {p: ask(fake, p).text for p in ("/", "/api/status", "/api/manifest", "/metrics")}
        events = Events(fake)
        answers["/api/events"] = json.dumps(events.next()[1])
        events.close()
    finally:
        fake.server.stop()
    assert "mask: sha256" in answers["/api/manifest"] or "sha256" in answers["/api/manifest"]
    assert "us-west-2" in answers["/api/manifest"]
    found = [(path, word) for path, text in answers.items() for word in planted if word in text]
    assert found == []


# --- the listener itself --------------------------------------------------------------------------


def test_a_port_that_is_taken(fake, tmp_path):
    """It is told with its address and what to do; and whoever had it keeps it."""
    at = urlsplit(fake.server.url)
    other = Fake(tmp_path, stream("x"))
    with pytest.raises(Unavailable, match=f"127.0.0.1:{at.port} is taken by another process") as caught:
        other.server.listen(Listen(host="127.0.0.1", port=at.port, declared=True))
    assert "--listen" in caught.value.hint
    assert ask(fake, "/healthz").code == 200


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_an_address_that_is_not_ours(fake, host):
    """An address of nobody here, a name that nothing resolves: told, not raised as a bug."""
    with pytest.raises(Unavailable, match="cannot be listened on"):
        fake.server.listen(Listen(host=host, port=8585, declared=True))
    assert ask(fake, "/healthz").code == 200, "what was served before is served on"


def test_it_moves_to_another_address(fake):
    """A new address is served and the old one is closed; the same one is left alone; None closes."""
    first = fake.server.url
    fake.server.listen(ANYWHERE)
    assert fake.server.url == first
    fake.server.listen(Listen(host="localhost", port=0, declared=True))
    assert fake.server.url != first
    assert ask(fake, "/healthz").code == 200
    with pytest.raises(OSError):  # noqa: PT011
        socket.create_connection(("127.0.0.1", urlsplit(first).port), timeout=5).close()
    fake.server.listen(None)
    assert fake.server.url is None


def test_stopping_ends_readers_and_threads(fake):
    """An open stream of events is ended, not awaited; no thread stays; stopping twice is stopping."""
    events = Events(fake)
    events.next()
    fake.server.stop()
    assert events.next() == ("end", None)
    fake.server.stop()
    assert not [t for t in threading.enumerate() if t.name == "silt-http"]
    events.close()


def test_it_may_be_stopped_before_it_answers(tmp_path):
    """Stopped while its thread still imports: it ends all the same."""
    made = Fake(tmp_path, stream("orders"))
    made.server.listen(ANYWHERE)
    made.server.stop()
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and [t for t in threading.enumerate() if t.name == "silt-http"]:
        time.sleep(0.05)
    assert not [t for t in threading.enumerate() if t.name == "silt-http"]


# --- --listen -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:8585", "127.0.0.1", 8585),
        ("0.0.0.0:0", "0.0.0.0", 0),
        ("[::1]:80", "::1", 80),
        ("a-b.c:9", "a-b.c", 9),
    ],
)
def test_addresses_are_read(text, host, port):
    """HOST:PORT, and what it is spelled like again."""
    found = parse(text)
    assert found == Listen(host=host, port=port, declared=True)
    assert str(found) == text


@pytest.mark.parametrize("text", ["off", "false", "no"])
def test_nothing_is_listened_on(text):
    """`off` is no address at all."""
    assert parse(text) is None


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("8585", "write 127.0.0.1:8585"),
        (":8585", "write 127.0.0.1:8585"),
        ("http://localhost:80/x", "write localhost:80"),
        ("::1:80", r"write \[::1\]:80"),
        ("localhost", "write localhost:8585"),
        ("", "for example 127.0.0.1:8585"),
        ("1.2.3.4:99999", "0 takes any"),
    ],
)
def test_what_is_no_address_says_what_is(text, hint):
    """A port alone, a URL, IPv6 without brackets: refused with what to write."""
    with pytest.raises(UserError) as caught:
        parse(text)
    assert "--listen" in str(caught.value)
    import re

    assert re.search(hint, caught.value.hint)


def test_who_does_not_read_is_cut_off_at_the_end():
    """An answer that nobody takes: the listener ends after its patience, and so does the connection."""

    async def endless(scope, _receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while scope:
            await send({"type": "http.response.body", "body": b"x" * 200_000, "more_body": True})

    server = uvicorn.Server(
        uvicorn.Config(endless, log_config=None, lifespan="off", timeout_graceful_shutdown=1)
    )
    with socket.create_server(("127.0.0.1", 0)) as at:
        thread = threading.Thread(target=lambda: asyncio.run(listener._served(server, at)))
        thread.start()
        with socket.create_connection(at.getsockname()) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert client.recv(1)
            server.should_exit = True
            thread.join(60)
            client.settimeout(30)
            with suppress(ConnectionResetError):
                while client.recv(1 << 20):
                    pass
    assert not thread.is_alive()
