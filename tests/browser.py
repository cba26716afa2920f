"""Chromium without a window, for tests of the page: the machine's own, or Debian's package."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

NAMES = ("chromium", "chromium-browser", "google-chrome")


def installed() -> str:
    """The program; installed by apt once a machine, where that may be; else the test is skipped."""
    lock = Path(tempfile.gettempdir()) / f"silt-tests-chromium-{os.getuid()}.lock"
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        found = _found()
        if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
            _install()
            found = _found()
    if found is None:
        pytest.skip("no chromium on this machine")
    return found


def _found() -> str | None:
    return next((path for path in map(shutil.which, NAMES) if path), None)


def _install() -> None:
    quiet = {
        "env": {**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        "capture_output": True,
        "timeout": 600,
    }
    with contextlib.suppress(subprocess.TimeoutExpired):
        subprocess.run(["apt-get", "update"], check=False, **quiet)
        subprocess.run(
            ["apt-get", "install", "-y", "--no-install-recommends", "chromium"], check=False, **quiet
        )


WIDE = {"width": 1280, "height": 900}
PHONE = {"width": 360, "height": 740}


class Visits:
    """Shows one address in a browser's page, which is the same all the time: a new one costs a second's CPU.

    `close` leaves it empty, and asserts that nothing went wrong in it.
    """

    def __init__(self, page: Page, url: str) -> None:
        self._page = page
        self._url = url
        self._wrong: list[str] = []
        self._heard: list[tuple[Any, Callable[[Any], None]]] = [
            ("pageerror", lambda error: self._wrong.append(str(error))),
            ("request", self._see),
        ]

    def __call__(
        self, *, forgiving: bool = False, block: str = "", viewport: Any = WIDE, color_scheme: Any = "light"
    ) -> Any:
        """The page when it shows its streams; `forgiving` lets requests fail, those to `block` do."""
        if not forgiving:
            self._heard.append(("console", self._hear))
        for event, hear in self._heard:
            self._page.on(event, hear)
        if block:
            self._page.route(block, lambda route: route.fulfill(status=503, body="no"))
        self._page.set_viewport_size(viewport)
        self._page.emulate_media(color_scheme=color_scheme)
        self._page.goto(self._url)
        self._page.wait_for_selector("tr.stream")
        return self._page

    def close(self) -> None:
        for event, hear in self._heard:
            self._page.remove_listener(event, hear)
        self._page.unroute_all()
        self._page.goto("about:blank")
        assert self._wrong == []

    def _hear(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self._wrong.append(message.text)

    def _see(self, request: Any) -> None:
        if not request.url.startswith((self._url, "data:")):
            self._wrong.append(request.url)


def names(page: Any) -> list[str]:
    """The streams that are shown, in their order."""
    return page.eval_on_selector_all("tr.stream", "rows => rows.map(row => row.dataset.stream)")


def cell(page: Any, name: str, kind: str) -> Any:
    """Something in the row of a stream."""
    return page.locator(f'tr.stream[data-stream="{name}"] {kind}')


def rows(page: Any, name: str) -> str:
    """What is shown as the rows of a stream in 24 hours."""
    return cell(page, name, "td.number >> nth=2").inner_text()


def expect(read: Callable[[], Any], wanted: Callable[[Any], bool], seconds: float = 30.0) -> Any:
    """What `read` gives once it is as `wanted`."""
    deadline = time.monotonic() + seconds
    while not wanted(seen := read()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert wanted(seen), seen
    return seen


@contextlib.contextmanager
def browser() -> Iterator[Page]:
    """The page of a running Chromium; as root it has no sandbox of its own."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=installed(), args=["--no-sandbox"])
        yield started.new_page()
        started.close()
