"""The HTTP listener: health, metrics, the status as JSON and as a live stream, and the page for people.

It only reads.  There are no cookies, no CORS and no writes, so another site's page learns nothing from it;
on a loopback address the `Host` header must name a loopback host, which stops DNS rebinding.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import ipaddress
import json
import re
import socket
import threading
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from silt.daemon.board import Board
from silt.daemon.metrics import Metrics
from silt.errors import UserError
from silt.manifest.model import Listen

if TYPE_CHECKING:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

TICK: Final = 1.0
"""Seconds between looks for news, a reader of `/api/events`."""

QUIET: Final = 15.0
"""Seconds after which a reader that had no news hears that the line is alive."""

READERS: Final = 32
"""So many may hold `/api/events` open; the page polls where it is refused."""

_PATIENCE: Final = 5.0
"""Seconds that `stop` waits for answers under way."""

_INLINE: Final = re.compile(r"<(style|script)>(.*?)</\1>", re.DOTALL)


class Unavailable(UserError):
    """The address cannot be listened on."""


class Server:
    """Serves `board` and `metrics` at an address, in a thread of its own, while it is open."""

    def __init__(self, board: Board, metrics: Metrics) -> None:
        self._board = board
        self._metrics = metrics
        self._wanted: Listen | None = None
        self._running: _Running | None = None

    @property
    def url(self) -> str | None:
        """Where it is reached; None where nothing is served."""
        return self._running.url if self._running else None

    def listen(self, at: Listen | None) -> None:
        """Serve at `at` from now on, None: nowhere.  The address that is served already is left alone.

        Raises `Unavailable` where `at` cannot be had; what was served before is served on.
        """
        if self._running is not None and at is not None and _same_place(at, self._wanted):
            return
        opened = None if at is None else _Running(at, self._board, self._metrics)
        self.stop()
        self._running, self._wanted = opened, at

    def stop(self) -> None:
        """Finish the answers under way and close; safe to call twice."""
        running, self._running = self._running, None
        if running is not None:
            running.stop()


def _same_place(one: Listen, other: Listen | None) -> bool:
    return other is not None and (one.host, one.port) == (other.host, other.port)


class _Running:
    """One listening socket and its thread; the libraries are imported there, so that silt starts no later."""

    def __init__(self, at: Listen, board: Board, metrics: Metrics) -> None:
        self._socket = _bound(at)
        host, port = self._socket.getsockname()[:2]
        self.url = f"http://{Listen(host=host, port=port)}/"
        self._loopback = ipaddress.ip_address(host).is_loopback
        self._board = board
        self._metrics = metrics
        self._stopping = threading.Event()
        self._server: uvicorn.Server | None = None
        self._thread = threading.Thread(target=self._serve, name="silt-http", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._server is not None:
            self._server.should_exit = True
        self._thread.join(_PATIENCE)
        self._socket.close()

    def _serve(self) -> None:
        import uvicorn

        config = uvicorn.Config(
            application(self._board, self._metrics, loopback=self._loopback, stopping=self._stopping.is_set),
            log_config=None,
            log_level="critical",
            access_log=False,
            lifespan="off",
            ws="none",
            server_header=False,
            timeout_graceful_shutdown=2,
        )
        self._server = uvicorn.Server(config)
        if not self._stopping.is_set():
            asyncio.run(_served(self._server, self._socket))


async def _served(server: uvicorn.Server, listening: socket.socket) -> None:
    """Serve until it is told to end; who is connected still when its patience has ended is cut off."""
    await server.serve(sockets=[listening])
    for connection in tuple(server.server_state.connections):
        connection.transport.abort()  # what it did not read is dropped
    await asyncio.sleep(0)


def _bound(at: Listen) -> socket.socket:
    """A listening socket: clients may connect before somebody answers."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            at.host, at.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        made = socket.socket(family, kind, protocol)
    except OSError as error:
        raise _unavailable(at, error) from None
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen(64)
    except OSError as error:
        made.close()
        raise _unavailable(at, error) from None
    return made


def _unavailable(at: Listen, error: OSError) -> Unavailable:
    if error.errno == errno.EADDRINUSE:
        hint = "another silt? `listen: HOST:PORT` (or --listen) takes another address, `listen: false` none"
        return Unavailable(f"{at} is taken by another process", hint=hint, setting="listen")
    hint = "127.0.0.1 is this machine alone, 0.0.0.0 every address that it has"
    why = error.strerror or type(error).__name__
    return Unavailable(f"{at} cannot be listened on", why=why, hint=hint, setting="listen")


# --- what is served -------------------------------------------------------------------------------


def application(
    board: Board,
    metrics: Metrics,
    *,
    loopback: bool,
    stopping: Callable[[], bool] = lambda: False,
    tick: float = TICK,
) -> ASGIApp:
    """The routes, behind the headers and the check of `Host` that every answer gets."""
    from starlette.applications import Starlette
    from starlette.routing import Route

    handlers = _Handlers(board, metrics, stopping, tick)
    routes = {
        "/": handlers.page,
        "/healthz": handlers.healthz,
        "/readyz": handlers.readyz,
        "/metrics": handlers.metrics,
        "/api/status": handlers.status,
        "/api/manifest": handlers.manifest,
        "/api/events": handlers.events,
    }
    inner: Starlette = Starlette(routes=[Route(path, endpoint) for path, endpoint in routes.items()])
    return _Guard(inner, loopback=loopback)


class _Handlers:
    def __init__(self, board: Board, metrics: Metrics, stopping: Callable[[], bool], tick: float) -> None:
        self._board = board
        self._metrics = metrics
        self._stopping = stopping
        self._tick = tick
        self._readers = 0

    async def page(self, _: Request) -> Response:
        from starlette.responses import HTMLResponse

        return HTMLResponse(page(), headers={"Content-Security-Policy": policy()})

    async def healthz(self, _: Request) -> Response:
        return _verdict(self._board.stuck())

    async def readyz(self, _: Request) -> Response:
        return _verdict(self._board.unready() or self._board.stuck())

    async def metrics(self, request: Request) -> Response:
        from starlette.responses import Response

        accept = request.headers.get("accept", "")
        body, content_type = await asyncio.to_thread(self._metrics.exposition, accept)
        return Response(body, headers={"Content-Type": content_type})

    async def status(self, _: Request) -> Response:
        return _json(self._board.data()[0])

    async def manifest(self, _: Request) -> Response:
        return _json(await asyncio.to_thread(self._board.manifest))

    async def events(self, _: Request) -> Response:
        from starlette.responses import PlainTextResponse, StreamingResponse

        if self._readers >= READERS:
            return PlainTextResponse(f"{READERS} readers are here already\n", 503)
        return StreamingResponse(self._news(), media_type="text/event-stream")

    async def _news(self) -> AsyncIterator[bytes]:
        """Everything, then what changes, as server-sent events; a comment where nothing does for long."""
        self._readers += 1
        try:
            data, sent = self._board.data()
            yield _event("status", data)
            quiet = 0.0
            while not self._stopping():
                await asyncio.sleep(self._tick)
                quiet += self._tick
                if (news := self._board.news(sent)) is not None:
                    data, sent = news
                    yield _event("news", data)
                    quiet = 0.0
                elif quiet >= QUIET:
                    yield b": still here\n\n"
                    quiet = 0.0
        finally:
            self._readers -= 1


def _event(name: str, data: Any) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + _encoded(data) + b"\n\n"


def _encoded(data: Any) -> bytes:
    """JSON on one line; bytes of a file name that are no text stay escaped."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), default=str)
    return text.encode("utf-8", "backslashreplace")


def _json(data: Any) -> Response:
    from starlette.responses import Response

    return Response(_encoded(data), media_type="application/json")


def _verdict(wrong: str) -> Response:
    from starlette.responses import PlainTextResponse

    return PlainTextResponse(f"{wrong}\n" if wrong else "ok\n", 503 if wrong else 200)


@cache
def page() -> str:
    """The page: one file, shipped in the package."""
    return files("silt.daemon").joinpath("page.html").read_text(encoding="utf-8")


@cache
def policy() -> str:
    """Its content security policy: its own style and script, by their digests, and this server; no more."""
    digests = {
        kind: b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for kind, text in _INLINE.findall(page())
    }
    return "; ".join(
        (
            "default-src 'none'",
            f"style-src 'sha256-{digests['style']}'",
            f"script-src 'sha256-{digests['script']}'",
            "connect-src 'self'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )


# --- who may read ---------------------------------------------------------------------------------


_HEADERS: Final = {
    b"cache-control": b"no-store",
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-resource-policy": b"same-origin",
    b"cross-origin-opener-policy": b"same-origin",
}


class _Guard:
    """Refuses what another site may have sent a browser for, and sends the headers that keep it out."""

    def __init__(self, inner: ASGIApp, *, loopback: bool) -> None:
        self._inner = inner
        self._loopback = loopback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def guarded(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_HEADERS.items()]
            await send(message)

        headers = dict(scope.get("headers", ()))
        if self._loopback and not is_loopback(headers.get(b"host", b"").decode("latin-1")):
            from starlette.responses import PlainTextResponse

            words = "this address answers to localhost, 127.0.0.1 and [::1] only\n"
            await PlainTextResponse(words, 421)(scope, receive, guarded)
            return
        with suppress(ConnectionError):
            await self._inner(scope, receive, guarded)


def is_loopback(host: str) -> bool:
    """Whether a `Host` header names this machine, with or without a port."""
    name = re.sub(r":[0-9]*\Z", "", host).lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False
