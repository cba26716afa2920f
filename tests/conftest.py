"""What every test shares: CI's rule about skips, real databases, databases made in other processes."""

from __future__ import annotations

import lzma
import os
import shutil
import sys
import tomllib
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from pathlib import Path

import kit
import pytest
from hypothesis import HealthCheck, settings

HERE = Path(__file__).parent
DATA = Path(os.environ.get("SILT_TEST_DATA", HERE.parent.parent / "shared" / "data"))

# Examples are real files and tables: no deadline.  In CI the same examples every time; new ones at night.
settings.register_profile("silt", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("silt"), derandomize=True, print_blob=True)
settings.register_profile("nightly", settings.get_profile("silt"), max_examples=300, print_blob=True)
settings.load_profile(
    os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") == "true" else "silt")
)

# --- In CI a skip is a failure, unless tests/skips.toml names it with its reason. ------------------------


def _allowed(nodeid: str, message: str) -> bool:
    skips = tomllib.loads((HERE / "skips.toml").read_text(encoding="utf-8"))["skip"]
    return any(fnmatch(nodeid, skip["test"]) and fnmatch(message, skip["message"]) for skip in skips)


def _fail_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if os.environ.get("CI") != "true" or not report.skipped or hasattr(report, "wasxfail"):
        return
    if not _allowed(report.nodeid, str(report.longrepr)):
        report.outcome = "failed"
        report.longrepr = f"skipped in CI, and tests/skips.toml does not name it: {report.longrepr}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Turn a skipped test into a failed one in CI."""
    report = yield
    _fail_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    """Turn a skipped module into a failed one in CI."""
    report = yield
    _fail_skip(report)
    return report


@pytest.fixture(scope="session", autouse=True)
def _no_server_stays() -> Iterator[None]:
    """What `warm` started ends with the tests."""
    yield
    if (warm := sys.modules.get("warm")) is not None:
        warm.close()


# --- Databases. ------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def real_databases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of copies: `chinook.sqlite`, `home_assistant_2024_3.db`, `sensor_readings.db` (read only)."""
    if not DATA.is_dir():
        pytest.skip(f"no real databases at {DATA} (set SILT_TEST_DATA)")
    folder = tmp_path_factory.mktemp("real")
    for path in DATA.iterdir():
        if path.suffix == ".xz":
            with lzma.open(path) as packed, (folder / path.stem).open("wb") as out:
                shutil.copyfileobj(packed, out)
        elif path.suffix in (".db", ".sqlite"):
            shutil.copyfile(path, folder / path.name)
    return folder


@pytest.fixture(scope="session", autouse=True)
def _readers() -> Iterator[None]:
    """The processes that make sources, and read them for comparison, end with the tests."""
    yield
    kit.close()
    if (oracle := sys.modules.get("oracle")) is not None:
        oracle.close()


@pytest.fixture
def make_database(tmp_path: Path) -> Callable[..., Path]:
    """`make_database("plant.db", "CREATE TABLE ...")`: a database in `tmp_path`, made by another process."""

    def make(name: str, script: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        kit.script(path, script)
        return path

    return make


@pytest.fixture(autouse=True)
def _no_manifest_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables of the machine that runs the tests do not reach manifests."""
    for name in ("SILT_MANIFEST", "SQLITE_PATH", "TABLE_PATH", "STATE_DIR", "UPLOAD_INTERVAL", "NODE_ID"):
        monkeypatch.delenv(name, raising=False)
