"""What is shipped works where no checkout is: the wheel, made from the sdist, in a fresh environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

SHOP = """
CREATE TABLE artist (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL);
CREATE TABLE album (id INTEGER PRIMARY KEY, title TEXT, price REAL, cover BLOB);
INSERT INTO artist (name) VALUES ('AC/DC'), ('Accept'), ('Motörhead');
INSERT INTO album VALUES (1, 'Let There Be Rock', 9.5, x'00ff'), (7, 'Ace of Spades', NULL, NULL);
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel built from that sdist."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT],
        check=True,
        capture_output=True,
    )
    return folder


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of a fresh environment that holds the wheel and, by path, the dependencies of this one."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, with_pip=True)
    _pip(folder, "--no-deps", "--no-index", next(built.glob("*.whl"))).check_returncode()
    # A folder named in a .pth file is not itself searched for .pth files: the editable silt stays out.
    site = sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)})
    Path(site, "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return folder / "bin"


def _pip(folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command: list[str | Path] = [
        folder / "bin" / "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        *arguments,
    ]
    return subprocess.run(command, env=_clean(), capture_output=True, text=True)


def _clean() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PIP_REQUIRE"))}


def _silt(binary: Path, cwd: Path, *arguments: str | Path) -> dict:
    done = subprocess.run(
        [binary / "silt", *arguments], cwd=cwd, env=_clean(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def _manifest(folder: Path, database: Path, *streams: str) -> Path:
    path = folder / "silt.yaml"
    lines = "".join(f"  {stream}:\n" for stream in streams)
    path.write_text(
        f"version: 1\nsources:\n  shop: {database}\ntargets:\n  lake: ./lake\nstreams:\n{lines}",
        encoding="utf-8",
    )
    return path


def _replicates(binary: Path, manifest: Path, rows: dict[str, int]) -> None:
    """Validate, plan, run, and run again: first every row, then none."""
    cwd = manifest.parent
    validated = _silt(binary, cwd, "validate", manifest, "--json")
    assert (validated["valid"], validated["problems"]) == (True, [])
    planned = _silt(binary, cwd, "plan", manifest, "--json")
    assert {s["name"]: s["pending_rows"] for s in planned["streams"]} == rows
    assert not (cwd / "lake").exists(), "plan wrote something"
    first = _silt(binary, cwd, "run", manifest, "--once", "--json")
    assert first["ok"]
    assert {s["name"]: s["rows"] for s in first["streams"]} == rows
    again = _silt(binary, cwd, "run", manifest, "--once", "--json")
    assert {s["name"]: s["rows"] for s in again["streams"]} == dict.fromkeys(rows, 0)


def test_the_wheel_holds_the_package_and_the_schemas_and_nothing_else(built):
    """Modules, py.typed, the JSON Schemas and the page are in; tests and the layout's own folders are not."""
    names = zipfile.ZipFile(next(built.glob("*.whl"))).namelist()
    assert {"silt/__init__.py", "silt/py.typed", "silt/schemas/manifest.schema.json"} <= set(names)
    assert {"silt/schemas/uploader-config.schema.json", "silt/daemon/page.html"} <= set(names)
    assert {name.split("/")[0] for name in names} == {"silt", "siltlake-0.1.0.dist-info"}
    assert not [name for name in names if "__pycache__" in name or "test" in name]


def test_the_sdist_holds_what_the_wheel_is_made_of(built):
    """Sources, schemas, recipes and the licence are in the sdist; no environment, no cache is."""
    with tarfile.open(next(built.glob("*.tar.gz"))) as sdist:
        names = sdist.getnames()
    inside = {name.split("/", 1)[1] for name in names if "/" in name}
    assert {"pyproject.toml", "LICENSE", "engine/silt/__init__.py", "schemas/manifest.schema.json"} <= inside
    assert not [name for name in inside if name.startswith((".venv", "tests", ".git/"))]


def test_the_installed_package_is_the_wheels(installed, tmp_path):
    """The fresh environment imports silt from itself, not from the checkout, and knows its version."""
    code = "import silt; print(silt.__file__); print(silt.__version__)"
    done = subprocess.run(
        [installed / "python", "-c", code],
        cwd=tmp_path,
        env=_clean(),
        capture_output=True,
        text=True,
        check=True,
    )
    file, version = done.stdout.split()
    assert Path(file).is_relative_to(installed.parent)
    assert version == "0.1.0"


def test_the_installed_command_replicates_tables(installed, tmp_path, make_database):
    """Outside the checkout `silt validate`, `plan` and `run --once` work with the wheel's own schema."""
    manifest = _manifest(tmp_path, make_database("shop.db", SHOP), "artist", "album")
    _replicates(installed, manifest, {"artist": 3, "album": 2})


def test_the_installed_command_replicates_a_real_database(installed, tmp_path, real_databases):
    """The same with a database that people use: a music shop's artists, tracks and invoice lines."""
    manifest = _manifest(tmp_path, real_databases / "chinook.sqlite", "Artist", "Track", "InvoiceLine")
    _replicates(installed, manifest, {"Artist": 275, "Track": 3503, "InvoiceLine": 2240})


@pytest.mark.nightly
@pytest.mark.network
@pytest.mark.timeout(900)
def test_the_wheel_with_only_its_own_dependencies(built, tmp_path, make_database):
    """A full install from a package index runs, with plain dependencies only, and brings no numpy."""
    folder = tmp_path / "full"
    venv.create(folder, with_pip=True)
    pip = [
        folder / "bin" / "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        next(built.glob("*.whl")),
    ]
    done = subprocess.run(pip, env=_clean(), capture_output=True, text=True)
    if "Could not find a version" in done.stderr or "ConnectionError" in done.stderr:
        pytest.skip(f"no package index: {done.stderr[-300:]}")
    assert done.returncode == 0, done.stderr
    manifest = _manifest(tmp_path, make_database("shop.db", SHOP), "artist", "album")
    _replicates(folder / "bin", manifest, {"artist": 3, "album": 2})
    assert (
        subprocess.run([folder / "bin" / "python", "-c", "import numpy"], capture_output=True).returncode != 0
    )
