"""Real servers on 127.0.0.1, for tests: an S3 that honours If-None-Match, and endpoints that fail."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_AUTHORIZED = (
    "AWS4-HMAC-SHA256 Credential=testing/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def s3_options(port: int) -> dict[str, str]:
    """Storage options for an S3 on 127.0.0.1."""
    return {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "not-to-be-shown",
        "AWS_REGION": "us-east-1",
    }


@dataclass(frozen=True)
class S3:
    """A running S3 with one bucket, `lake`."""

    port: int
    uri: str = "s3://lake"

    @property
    def options(self) -> dict[str, str]:
        return s3_options(self.port)


@contextlib.contextmanager
def s3_server() -> Iterator[S3]:
    """`moto_server`, started (about 1 s), with the bucket `lake`; stopped at the end."""
    port = free_port()
    program = [str(Path(sys.executable).with_name("moto_server")), "-H", "127.0.0.1", "-p", str(port)]
    quiet = subprocess.DEVNULL
    server = subprocess.Popen(
        program, stdout=quiet, stderr=quiet, env={**os.environ, "MOTO_LOG_LEVEL": "ERROR"}
    )
    try:
        _await(f"http://127.0.0.1:{port}/moto-api/", server)
        _put_bucket(port, "lake")
        yield S3(port)
    finally:
        server.terminate()
        server.wait(timeout=20)


def _await(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and server.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5):
            return
        time.sleep(0.05)
    raise RuntimeError(f"moto_server did not answer at {url}: exit code {server.poll()}")


def _put_bucket(port: int, name: str) -> None:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/{name}", method="PUT", headers={"Authorization": _AUTHORIZED}
    )
    with urllib.request.urlopen(request, timeout=10):
        pass


@contextlib.contextmanager
def silent_server() -> Iterator[int]:
    """A port that accepts connections and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(100)
        yield int(listener.getsockname()[1])


@contextlib.contextmanager
def refusing_server(status: int = 403, code: str = "AccessDenied") -> Iterator[int]:
    """An S3 that answers every request with one error."""

    class Refuse(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>no</Message></Error>".encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_HEAD = do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815 -- the names that http.server calls

        def log_message(self, *_: object) -> None:
            """Nothing: the test's output stays clean."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Refuse) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield int(server.server_port)
        server.shutdown()


Choose = Callable[[str, str], str]
"""(method, path) -> what becomes of a request.

`` nothing, `503 SlowDown` and other answers of that form, `slow` (2 s), `lost` (done, unanswered),
`unconditional` (If-None-Match is dropped).
"""


@dataclass
class FaultyProxy:
    """An S3 behind which requests fail as `choose` says; `faults` are those that were injected.

    Each is the kind, what the S3 answered (`-`: it was not asked) and the path.
    """

    port: int
    choose: Choose
    faults: list[str]

    def counted(self) -> Counter[str]:
        """How many faults of each kind were injected."""
        return Counter(fault.split()[0] for fault in self.faults)


_OURS = ("content-length", "connection", "transfer-encoding", "date", "server")


class _Pass(BaseHTTPRequestHandler):
    """One request; `proxy` and `behind` are set by a class of its own for each proxy."""

    proxy: FaultyProxy
    behind: int
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fault = self.proxy.choose(self.command, self.path)
        if fault[:1].isdigit():
            status, _, code = fault.partition(" ")
            self.proxy.faults.append(f"{status} - {self.path}")
            text = f"<Error><Code>{code}</Code><Message>no</Message></Error>"
            return self._answer(int(status), {}, text.encode())
        if fault == "slow":
            time.sleep(2)
        answered, headers, content = self._onward(body, fault)
        if fault:
            self.proxy.faults.append(f"{fault} {answered} {self.path}")
        if fault == "lost":
            self.close_connection = True
            return None
        return self._answer(answered, headers, content)

    def _onward(self, body: bytes, fault: str) -> tuple[int, dict[str, str], bytes]:
        onward = http.client.HTTPConnection("127.0.0.1", self.behind, timeout=20)
        dropped = "if-none-match" if fault == "unconditional" else ""
        headers = {name: value for name, value in self.headers.items() if name.lower() != dropped}
        onward.request(self.command, self.path, body=body, headers=headers)
        answer = onward.getresponse()
        content = answer.read()
        onward.close()
        return answer.status, dict(answer.getheaders()), content

    def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in _OURS:
                self.send_header(name, value)
        length = headers.get("Content-Length") if self.command == "HEAD" else str(len(content))
        self.send_header("Content-Length", length or "0")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_HEAD = do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815 -- the names that http.server calls

    def log_message(self, *_: object) -> None:
        """Nothing: the test's output stays clean."""


@contextlib.contextmanager
def faulty_proxy(behind: int, choose: Choose) -> Iterator[FaultyProxy]:
    """Passes requests on to an S3 at port `behind`, but for those that `choose` lets fail."""
    proxy = FaultyProxy(port=0, choose=choose, faults=[])
    handler = type("Pass", (_Pass,), {"proxy": proxy, "behind": behind})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        proxy.port = int(server.server_port)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield proxy
        server.shutdown()


@contextlib.contextmanager
def losing_proxy(behind: int, *, path: str) -> Iterator[FaultyProxy]:
    """Passes requests on to an S3 at port `behind`; the reply to the first PUT of `path` is lost."""

    def first(method: str, asked: str) -> str:
        return "lost" if method == "PUT" and asked.endswith(path) and not proxy.faults else ""

    with faulty_proxy(behind, first) as proxy:
        yield proxy
