"""Programs of npm's that tests run: each is put into a cache folder outside the checkout, once a machine."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

import pytest

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "silt-tests"


def installed(package: str, program: str, *, patience: float = 90) -> Path:
    """The file `program` of `package`; skips the test where there is no node, or no index to have it from."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("no node and npm on this machine")
    home = CACHE / package.replace("@", "-")
    home.mkdir(parents=True, exist_ok=True)
    found = home / "node_modules" / program
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / "complete").exists():
            _install(package, home, patience)
            (home / "complete").touch()
    assert found.exists()
    return found


def _install(package: str, home: Path, patience: float) -> None:
    command = ["npm", "install", "--prefix", str(home), "--no-audit", "--no-fund", "--no-save", package]
    done = subprocess.run(command, capture_output=True, text=True, timeout=patience, cwd=home)
    if done.returncode and any(word in done.stderr for word in ("ENOTFOUND", "ECONNREFUSED", "EAI_AGAIN")):
        pytest.skip("no package index within reach")
    assert done.returncode == 0, done.stderr
