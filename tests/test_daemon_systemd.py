"""`silt.daemon.systemd`: what systemd hears of a `silt run`."""

from __future__ import annotations

import os
import signal
import socket

import pytest
from clirun import sql, start
from test_daemon import Log, until

from silt.daemon.systemd import Notify


@pytest.fixture
def manager(tmp_path):
    """A socket as systemd listens on, and what has come."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
        link.bind(str(tmp_path / "notify"))
        link.settimeout(0.2)
        heard: list[str] = []

        def listen() -> list[str]:
            try:
                while True:
                    heard.append(link.recv(4096).decode())
            except TimeoutError:
                return heard

        yield str(tmp_path / "notify"), listen


def test_without_a_socket_nothing_happens():
    """On a machine without systemd, and for one that went away."""
    for environment in ({}, {"NOTIFY_SOCKET": "/nowhere/at/all"}):
        notify = Notify(environment)
        notify.ready("x")
        notify.alive()
        notify.stopping()


def test_the_watchdog_is_told_twice_an_interval(manager):
    """And only where WatchdogSec= is set, for this process."""
    address, heard = manager
    Notify({"NOTIFY_SOCKET": address}).alive()
    Notify({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "9", "WATCHDOG_PID": "1"}).alive()
    assert heard() == []
    notify = Notify({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getpid())})
    notify.alive()
    notify.alive()
    assert heard() == ["WATCHDOG=1"]


def test_a_real_run_is_ready_reloads_and_stops(tmp_path, manager):
    """Type=notify-reload: ready once all was looked at, a reload with its clock, stopping at the end."""
    address, heard = manager
    sql(tmp_path / "a.db", "CREATE TABLE t (id INTEGER PRIMARY KEY)")
    (tmp_path / "silt.yaml").write_text(
        "version: 1\nsources: {a: ./a.db}\ntargets: {lake: ./lake}\nstreams: {t: }\n"
    )
    variables = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "200000"}
    with start("run", "--log-format", "json", cwd=tmp_path, **variables) as process:
        log = Log(process)
        log.wait("ready")
        process.send_signal(signal.SIGHUP)
        log.wait("reload", result="unchanged")
        until(lambda: "WATCHDOG=1" in heard())
        process.terminate()
        assert process.wait(20) == 0
    told = [text for text in heard() if text != "WATCHDOG=1"]
    assert told[0].startswith("READY=1\nSTATUS=generation 1, 1 stream")
    assert told[1].startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert told[2].startswith("READY=1\nSTATUS=")
    assert told[3] == "STOPPING=1"
