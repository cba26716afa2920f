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
from collections.abc import Iterator
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


@dataclass
class LosingProxy:
    """An S3 behind which one reply is lost: the request is carried out, the answer never comes."""

    port: int
    lost: list[str]


@contextlib.contextmanager
def losing_proxy(behind: int, *, path: str) -> Iterator[LosingProxy]:
    """Passes requests on to an S3 at port `behind`; the reply to the first PUT of `path` is lost."""
    proxy = LosingProxy(port=0, lost=[])

    class Pass(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            onward = http.client.HTTPConnection("127.0.0.1", behind, timeout=20)
            onward.request(self.command, self.path, body=body, headers=dict(self.headers))
            answer = onward.getresponse()
            content = answer.read()
            onward.close()
            if self.command == "PUT" and self.path.endswith(path) and not proxy.lost:
                proxy.lost.append(f"{answer.status} {self.path}")
                self.close_connection = True
                return
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in (
                    "content-length",
                    "connection",
                    "transfer-encoding",
                    "date",
                    "server",
                ):
                    self.send_header(name, value)
            length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(content))
            self.send_header("Content-Length", length or "0")
            self.end_headers()
            self.wfile.write(content)

        do_HEAD = do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815 -- the names that http.server calls

        def log_message(self, *_: object) -> None:
            """Nothing: the test's output stays clean."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Pass) as server:
        server.daemon_threads = True
        proxy.port = int(server.server_port)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield proxy
        server.shutdown()
