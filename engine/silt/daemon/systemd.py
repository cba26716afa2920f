"""Tells systemd how the daemon is, where NOTIFY_SOCKET is set (sd_notify(3), `Type=notify`).

The protocol is a datagram of `KEY=value` lines: no library is needed for that.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress


class Notify:
    """Ready, reloading, stopping, and the watchdog's sign of life; without NOTIFY_SOCKET nothing happens.

    A socket that cannot be reached is left alone: replication does not depend on who watches it.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._address = _address(environment.get("NOTIFY_SOCKET", ""))
        self._every = _watchdog(environment) if self._address else None
        self._alive = 0.0

    def ready(self, status: str) -> None:
        """The daemon runs, or runs as an edit says from now on."""
        self._send(f"READY=1\nSTATUS={status}")

    def reloading(self) -> None:
        """An edit is being read; `ready` says that it is over."""
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send(f"RELOADING=1\nMONOTONIC_USEC={now}")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def alive(self) -> None:
        """The loop turns: told at half the interval of `WatchdogSec=`, where there is one."""
        now = time.monotonic()
        if self._every is not None and now - self._alive >= self._every / 2:
            self._alive = now
            self._send("WATCHDOG=1")

    def _send(self, text: str) -> None:
        if not self._address:
            return
        with (
            suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as link,
        ):
            link.connect(self._address)
            link.sendall(text.encode())


def _address(text: str) -> str:
    """A path, or with `@` a name in the abstract namespace."""
    return "\0" + text[1:] if text.startswith("@") else text


def _watchdog(environment: Mapping[str, str]) -> float | None:
    """Seconds of `WatchdogSec=`, where it is meant for this process."""
    usec, pid = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    if not usec.isdigit() or (pid and pid != str(os.getpid())):
        return None
    return int(usec) / 1e6
