"""Starts `silt` without the second that imports take: forked from a process that has them, and nothing else.

A fork of a process that only imported is what a new process is, a second later: no database and no table was
opened, no thread started (FACTS: never fork after deltalake was *used*).  Each test process has one server.
"""

from __future__ import annotations

import faulthandler
import io
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn, Self, TextIO

from silt import cli

_IMPORTED = (
    "pyarrow.compute",
    "pyarrow.parquet",
    "sqlalchemy.dialects.sqlite",
    "jsonschema",
    "structlog",
    "starlette.routing",
    "uvicorn",
    "silt.cli.app",
    "silt.cli.loop",
    "silt.daemon.http",
    "silt.observe",
    "silt.replicate",
)


# --- the server -----------------------------------------------------------------------------------


def _serve(control: socket.socket) -> None:
    """Fork a keeper for each request, until nobody asks any more."""
    for name in _IMPORTED:
        import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        text, descriptors, _, _ = socket.recv_fds(control, 1, 3)
        if not text:
            return
        if not os.fork():
            control.close()
            _keep(socket.socket(fileno=descriptors[0]), descriptors[1], descriptors[2])
        for descriptor in descriptors:
            os.close(descriptor)


def _keep(link: socket.socket, out: int, err: int) -> NoReturn:
    """Fork silt, say its number, wait for it, say its exit code."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    with link.makefile("rw") as asked:
        question = json.loads(asked.readline())
        pid = os.fork()
        if not pid:
            _become(question, out, err)
        print(pid, file=asked, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), file=asked, flush=True)
    os._exit(0)


def _become(question: Mapping[str, Any], out: int, err: int) -> NoReturn:
    os.chdir(question["cwd"])
    os.environ.clear()
    os.environ.update(question["env"])
    for descriptor, place in ((os.open(os.devnull, os.O_RDWR), 0), (out, 1), (err, 2)):
        os.dup2(descriptor, place)
    # As a new process has them, unbuffered: those of the server know its own files.
    sys.stdout, sys.stderr = _stream(1, "strict"), _stream(2, "backslashreplace")
    sys.argv = ["silt", *question["arguments"]]
    if question["timeout"] is not None:  # what a hang was about
        faulthandler.dump_traceback_later(question["timeout"] * 0.9, file=2)
    if "FAULTS_LOG" in os.environ:
        import_module("faults").install()
    code: Any = 1
    try:
        cli.main()
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        os._exit(code or 0)


def _stream(descriptor: int, errors: str) -> io.TextIOWrapper:
    raw = open(descriptor, "wb", buffering=0, closefd=False)  # noqa: SIM115  # until the process ends
    return io.TextIOWrapper(raw, encoding="utf-8", errors=errors, write_through=True)


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
    with Process(arguments, cwd=cwd, env=env, timeout=timeout) as process:
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired as late:
            process.kill()
            late.add_note("\n".join(process.communicate()))
            raise
    return subprocess.CompletedProcess(list(arguments), process.wait(), out, err)


class Process:
    """`silt ARGUMENTS`, started; in the words of subprocess.Popen, with both streams piped, as text."""

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        cwd: Path | str | None,
        env: Mapping[str, str],
        timeout: float | None = None,
    ) -> None:
        self.args, self.returncode = list(arguments), None
        question = {"arguments": self.args, "cwd": str(cwd or Path.cwd()), "env": dict(env)}
        question["timeout"] = timeout
        (read_out, out), (read_err, err) = os.pipe(), os.pipe()
        self._link = _asked(out, err)
        for end in (out, err):  # ends when silt does
            os.close(end)
        self.stdout = os.fdopen(read_out, encoding="utf-8")
        self.stderr = os.fdopen(read_err, encoding="utf-8")
        self._reading: list[_Reading] = []
        self._ending = threading.Lock()
        self._link.sendall(json.dumps(question).encode() + b"\n")
        self.pid = self._number()

    def _number(self) -> int:
        """The next line that the keeper says; no byte beyond it is taken."""
        line = b""
        while not line.endswith(b"\n"):
            line += self._link.recv(1) or b"-1\n"
        return int(line)

    def poll(self) -> int | None:
        """The exit code, None while it runs."""
        with self._ending:
            if self.returncode is None and select.select([self._link], [], [], 0)[0]:
                self.returncode = self._number()
                self._link.close()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit code; raises subprocess.TimeoutExpired."""
        with suppress(OSError, ValueError):  # another thread was told first
            select.select([self._link], [], [], timeout)
        if (code := self.poll()) is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return code

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What is left to read of both streams; raises subprocess.TimeoutExpired; ask again."""
        self._reading = self._reading or [_Reading(self.stdout), _Reading(self.stderr)]
        deadline = None if timeout is None else time.monotonic() + timeout
        for reading in self._reading:
            reading.thread.join(_left(deadline))
            if reading.thread.is_alive():
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
        self.wait(_left(deadline))
        self._close()
        out, err = (reading.found for reading in self._reading)
        return out, err

    def _close(self) -> None:
        for reading in self._reading:
            reading.thread.join()
        self.stdout.close()
        self.stderr.close()

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """It does not outlive the failure of the test that began it: waiting for it would hang."""
        if kind is not None:
            self.kill()
        self.wait()
        self._close()


def _asked(out: int, err: int) -> socket.socket:
    """The link to the keeper of a new silt, which writes to `out` and `err`."""
    global _server  # noqa: PLW0603  # one a test process
    with _starting:
        _server = _server or _Server()
    return _server.ask(out, err)


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - time.monotonic())


class _Reading:
    """A stream that is read to its end by a thread."""

    def __init__(self, stream: TextIO) -> None:
        self.found = ""
        self._stream = stream
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self) -> None:
        self.found = self._stream.read()


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
