"""Stores that are more like the real ones, or less, than moto is: for `make test-s3`."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import hmac
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from unittest import mock

import npm
import pytest
import yaml
from servers import free_port, s3_options

VERSITYGW = "v1.8.0"
_MODULE = "github.com/versity/versitygw/cmd/versitygw"
COMPOSE = Path(__file__).parents[1] / "container" / "compose.yaml"

ACCOUNT = "plant"
KEY = base64.b64encode(b"not-to-be-shown").decode()


def _versitygw() -> Path:
    """The program, built from its module once a machine (minutes)."""
    if shutil.which("go") is None:
        pytest.skip("no go on this machine")
    home = npm.CACHE / f"versitygw-{VERSITYGW}"
    home.mkdir(parents=True, exist_ok=True)
    program = home / "versitygw"
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            build = ["go", "install", f"{_MODULE}@{VERSITYGW}"]
            done = subprocess.run(
                build, env={**os.environ, "GOBIN": str(home)}, capture_output=True, text=True
            )
            assert done.returncode == 0, done.stderr
    return program


@contextlib.contextmanager
def _running(command: list[str | Path], port: int, **variables: str) -> Iterator[None]:
    """A server until the block ends; it is waited for until it accepts connections."""
    quiet = subprocess.DEVNULL
    server = subprocess.Popen(command, stdout=quiet, stderr=quiet, env={**os.environ, **variables})
    try:
        deadline = time.monotonic() + 60
        while not _answers(port):
            assert time.monotonic() < deadline, command
            assert server.poll() is None, command
            time.sleep(0.1)
        yield
    finally:
        server.terminate()
        server.wait(timeout=20)


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


@contextlib.contextmanager
def signing_s3(folder: Path) -> Iterator[int]:
    """versitygw as container/compose.yaml runs it, with a bucket `lake`: it checks every signature."""
    (folder / "lake").mkdir()
    service = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"]["s3"]
    assert service["image"].endswith(f":{VERSITYGW}")
    command = [str(folder) if word == "/srv" else word for word in service["command"]]
    port = free_port()
    given = {
        "ROOT_ACCESS_KEY": "testing",
        "ROOT_SECRET_KEY": "not-to-be-shown",
        "VGW_PORT": f"127.0.0.1:{port}",
    }
    assert given.keys() == service["environment"].keys()
    with _running([_versitygw(), *command], port, **given):
        yield port


@contextlib.contextmanager
def careless_s3(folder: Path) -> Iterator[dict[str, str]]:
    """s3rver: it ignores If-None-Match and so loses Delta commits without a word (FACTS)."""
    port = free_port()
    program = npm.installed("s3rver@3.7.1", "s3rver/bin/s3rver.js", patience=300)
    command = [
        "node",
        program,
        "-d",
        folder,
        "-a",
        "127.0.0.1",
        "-p",
        str(port),
        "--configure-bucket",
        "lake",
    ]
    with _running(command, port):
        yield s3_options(port) | {"AWS_ACCESS_KEY_ID": "S3RVER", "AWS_SECRET_ACCESS_KEY": "S3RVER"}


@contextlib.contextmanager
def azure() -> Iterator[dict[str, str]]:
    """Azurite with a container `lake`: the options for it, by account and key.

    As the emulator that it is: it knows no `startFrom`, by which a log is listed from a version on; spoken to
    as if it were Azure, the second append fails (measured: "Invalid table version").
    """
    port = free_port()
    program = npm.installed("azurite@3.35.0", "azurite/dist/src/blob/main.js", patience=600)
    switches = ["--silent", "--inMemoryPersistence", "--skipApiVersionCheck"]
    command = ["node", program, "--blobHost", "127.0.0.1", "--blobPort", str(port), *switches]
    with _running(command, port, AZURITE_ACCOUNTS=f"{ACCOUNT}:{KEY}"):
        _make_container(port)
        # object_store reads from the environment where the emulator is
        with mock.patch.dict(os.environ, AZURITE_BLOB_STORAGE_URL=f"http://127.0.0.1:{port}"):
            yield {
                "AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT,
                "AZURE_STORAGE_ACCOUNT_KEY": KEY,
                "AZURE_STORAGE_USE_EMULATOR": "true",
                "AZURE_ALLOW_HTTP": "true",
            }


def _make_container(port: int) -> None:
    """PUT /lake?restype=container, signed as "Authorize with Shared Key" says."""
    date, version = formatdate(usegmt=True), "2021-08-06"
    what = f"x-ms-date:{date}\nx-ms-version:{version}\n/{ACCOUNT}/{ACCOUNT}/lake\nrestype:container"
    signed = "PUT" + "\n" * 12 + what
    digest = hmac.new(base64.b64decode(KEY), signed.encode(), hashlib.sha256).digest()
    headers = {
        "x-ms-date": date,
        "x-ms-version": version,
        "Authorization": f"SharedKey {ACCOUNT}:{base64.b64encode(digest).decode()}",
        "Content-Length": "0",
    }
    url = f"http://127.0.0.1:{port}/{ACCOUNT}/lake?restype=container"
    with urllib.request.urlopen(urllib.request.Request(url, method="PUT", headers=headers), timeout=10):
        pass
