"""Starts `silt` without the second that imports take: forked from a process that has them, and nothing else.

A fork of a process that only imported is what a new process is, a second later: no database and no table was
opened, no thread started (FACTS: never fork after deltalake was *used*).  Each test process has one server.
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

_IMPORTED = (
    "pyarrow.compute",
    "pyarrow.parquet",
    "sqlalchemy.dialects.sqlite",
    "jsonschema",
    "structlog",
    "silt.cli.app",
    "silt.cli.loop",
    "silt.observe",
    "silt.replicate",
)


# --- the server -----------------------------------------------------------------------------------


def _serve(control: socket.socket) -> None:
    """Fork a keeper for each request, until nobody asks any more."""
    from silt.cli.app import run

    for name in _IMPORTED:
        import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        text, descriptors, _, _ = socket.recv_fds(control, 1, 3)
        if not text:
            return
        if not os.fork():
            control.close()
            _keep(socket.socket(fileno=descriptors[0]), descriptors[1], descriptors[2], run)
        for descriptor in descriptors:
            os.close(descriptor)


def _keep(link: socket.socket, out: int, err: int, run: Any) -> NoReturn:
    """Fork silt, say its number, wait for it, say its exit code."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    with link.makefile("rw") as asked:
        question = json.loads(asked.readline())
        pid = os.fork()
        if not pid:
            _become(question, out, err, run)
        print(pid, file=asked, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), file=asked, flush=True)
    os._exit(0)


def _become(question: Mapping[str, Any], out: int, err: int, run: Any) -> NoReturn:
    os.chdir(question["cwd"])
    os.environ.clear()
    os.environ.update(question["env"])
    for descriptor, place in ((os.open(os.devnull, os.O_RDWR), 0), (out, 1), (err, 2)):
        os.dup2(descriptor, place)
    # As a new process has them: those of the server know its own files.
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)
    sys.argv = ["silt", *question["arguments"]]
    faulthandler.dump_traceback_later(question["timeout"] * 0.9, file=2)  # what a hang was about
    code = 1
    try:
        code = run(question["arguments"])
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


# --- the client -----------------------------------------------------------------------------------


class _Server:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._control, theirs = socket.socketpair()
        command = [sys.executable, __file__, str(theirs.fileno())]
        self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        theirs.close()

    def ask(self, out: int, err: int) -> socket.socket:
        mine, theirs = socket.socketpair()
        with theirs, self._lock:
            socket.send_fds(self._control, [b"."], [theirs.fileno(), out, err])
        return mine

    def close(self) -> None:
        self._control.close()
        self._process.wait(20)


_server: _Server | None = None
_starting = threading.Lock()


def close() -> None:
    """End the server, where one was started."""
    global _server  # noqa: PLW0603  # one a test process
    if _server is not None:
        _server.close()
        _server = None


def run(
    arguments: Sequence[str], *, cwd: Path | str | None, env: Mapping[str, str], timeout: float
) -> subprocess.CompletedProcess[str]:
    """`silt ARGUMENTS` in a process of its own; raises subprocess.TimeoutExpired, and kills it then.

    The error shows where every thread stood shortly before.
    """
    global _server  # noqa: PLW0603
    with _starting:
        _server = _server or _Server()
    question = {"arguments": list(arguments), "cwd": str(cwd or Path.cwd()), "env": dict(env)}
    question["timeout"] = timeout
    out, err = _Pipe(), _Pipe()
    with _server.ask(out.end, err.end) as link, link.makefile("rw") as answer:
        out.read()
        err.read()
        answer.write(json.dumps(question) + "\n")
        answer.flush()
        code = _waited(int(answer.readline()), answer, timeout)
    if code is None:
        late = subprocess.TimeoutExpired(list(arguments), timeout)
        late.add_note(f"{out.text()}\n{err.text()}")
        raise late
    return subprocess.CompletedProcess(list(arguments), code, out.text(), err.text())


class _Pipe:
    """A pipe that is read as it fills; `end` is where silt writes."""

    def __init__(self) -> None:
        self._begin, self.end = os.pipe()
        self._found = b""
        self._thread = threading.Thread(target=self._take)

    def read(self) -> None:
        """Our own copy of `end` is closed: it ends when silt does."""
        os.close(self.end)
        self._thread.start()

    def text(self) -> str:
        self._thread.join()
        return self._found.decode()

    def _take(self) -> None:
        with os.fdopen(self._begin, "rb") as pipe:
            self._found = pipe.read()


def _waited(pid: int, answer: Any, timeout: float) -> int | None:
    """The exit code; None where it had to be killed."""
    killed = []

    def kill() -> None:
        killed.append(pid)
        os.kill(pid, signal.SIGKILL)

    late = threading.Timer(timeout, kill)
    late.start()
    try:
        code = int(answer.readline())
    finally:
        late.cancel()
    return None if killed else code


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
