"""The house's own rules: layers, cold start, what is tracked, and CI's harness."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
SILT = ROOT / "engine" / "silt"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

# --- Layers. ---------------------------------------------------------------------------------------------


def _lint_imports(folder: Path, *, path: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BIN / "lint-imports", "--no-cache", "--config", ROOT / "pyproject.toml"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )


def test_data_flows_one_way():
    """No module imports from a layer above its own, siblings do not import each other (DESIGN 2)."""
    done = _lint_imports(ROOT)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("module", "line", "found"),
    [
        ("errors.py", "import silt.shapes", "silt.errors -> silt.shapes"),
        ("source/zz_new.py", "import silt.target", "silt.source.zz_new -> silt.target"),
        ("zz_unknown.py", "", "zz_unknown"),
        ("position.py", "import pyarrow", "silt.position -> pyarrow"),
    ],
)
def test_the_layers_contract_can_fail(tmp_path, module, line, found):
    """An import upwards, one of a sibling, a module on no layer, a heavy import low down: each is found."""
    shutil.copytree(SILT, tmp_path / "silt", ignore=shutil.ignore_patterns("__pycache__"))
    with (tmp_path / "silt" / module).open("a", encoding="utf-8") as file:
        file.write(f"\n{line}\n")
    done = _lint_imports(tmp_path, path=str(tmp_path))
    assert done.returncode == 1
    assert found in done.stdout


# --- Cold start and dependencies. ------------------------------------------------------------------------


def test_help_loads_nothing_that_moves_data():
    """What reads, writes and checks is imported by the verbs that need it, not by `silt --help`."""
    code = """
import contextlib, io, json, sys
from silt.cli import main
sys.argv = ["silt", "--help"]
with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()) as out:
    main()
assert "run" in out.getvalue()
print(json.dumps(sorted({name.split(".")[0] for name in sys.modules})))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"pyarrow", "deltalake", "sqlalchemy", "adbc_driver_sqlite", "adbc_driver_manager", "jsonschema"}
    heavy |= {"yaml", "ruamel", "watchdog", "structlog", "sqlite3", "numpy"}
    assert heavy & set(json.loads(done.stdout)) == set()


def test_numpy_is_not_here():
    """With numpy installed importing pyarrow takes 233 ms, not 66 (FACTS): no dependency may bring it."""
    assert find_spec("numpy") is None


def _imported() -> set[str]:
    found = set()
    for path in SILT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.split(".")[0])
    return found


# Required before the first line that imports it: files wake the daemon (DESIGN 9), which comes next.
AHEAD = {"watchdog"}
MODULES = {"pyyaml": "yaml", "ruamel.yaml": "ruamel"}


def test_every_dependency_is_used_and_every_import_declared():
    """Runtime dependencies and third-party imports of silt are the same set."""
    names = {re.split(r"[\[<>=!~;]", line)[0].strip() for line in PROJECT["project"]["dependencies"]}
    declared = {MODULES.get(name, name.replace("-", "_")) for name in names}
    third = {name for name in _imported() if name not in sys.stdlib_module_names and name != "silt"}
    assert third - declared == set(), "imported, and not declared"
    assert declared - third - AHEAD == set(), "declared, and not imported"


def test_delta_versions_that_duplicate_rows_are_excluded():
    """1.6.4 to 1.6.6 let two overlapping OPTIMIZEs both commit (FACTS); none of them may be installed."""
    from importlib.metadata import version

    from packaging.requirements import Requirement

    wanted = next(Requirement(d) for d in PROJECT["project"]["dependencies"] if d.startswith("deltalake"))
    for bad in ("1.6.2", "1.6.4", "1.6.5", "1.6.6", "1.7.0"):
        assert bad not in wanted.specifier
    assert version("deltalake") in wanted.specifier


# --- What is tracked. ------------------------------------------------------------------------------------


def _tracked() -> list[Path]:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


# In pieces, so that this file names none of them.
HOSTS = [
    ".".join(parts)
    for parts in (("pypi", "org"), ("pythonhosted", "org"), ("npmjs", "org"), ("crates", "io"))
]
PLACES = ["/" + "work/", "/" + "root/", "/home/" + "runner"]


def test_no_tracked_file_names_a_registry_or_a_place_of_one_machine():
    """Installing follows the machine's own configuration, and nothing depends on where it was written."""
    found = [
        f"{path.relative_to(ROOT)}: {word}"
        for path in _tracked()
        for word in HOSTS + PLACES
        if word.encode() in path.read_bytes()
    ]
    assert found == []


def test_no_link_is_tracked():
    """A link leads to a place that another machine does not have."""
    done = subprocess.run(["git", "ls-files", "-s"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert [line for line in done.stdout.splitlines() if line.startswith("120000")] == []


def test_no_lock_file_is_tracked():
    """Lock files hold a registry's URLs."""
    locks = ("uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock", "package-lock.json", "pylock.toml")
    assert [path.name for path in _tracked() if path.name in locks] == []


# --- Harness. --------------------------------------------------------------------------------------------


def test_a_skip_fails_in_ci_unless_it_is_named_with_a_reason(tmp_path):
    """CI=true turns a skip into a failure; one that tests/skips.toml names stays a skip."""
    for name in ("conftest.py", "kit.py", "skips.toml"):
        shutil.copyfile(Path(__file__).parent / name, tmp_path / name)
    (tmp_path / "test_skips.py").write_text(
        "import pytest\n"
        "def test_unnamed(): pytest.skip('no time')\n"
        "def test_named(): pytest.skip('no real databases at /nowhere')\n",
        encoding="utf-8",
    )
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        tmp_path,
        tmp_path,
    ]
    for ci, closing in (("true", "1 failed, 1 skipped"), ("", "2 skipped")):
        done = subprocess.run(
            command, cwd=tmp_path, env={**os.environ, "CI": ci}, capture_output=True, text=True
        )
        assert closing in done.stdout, done.stdout


def test_every_named_skip_has_its_reason():
    """The list of allowed skips says why for each."""
    skips = tomllib.loads((ROOT / "tests" / "skips.toml").read_text(encoding="utf-8"))["skip"]
    assert [skip for skip in skips if len(skip["reason"]) < 20] == []


def test_the_dockerfile_is_clean():
    """hadolint finds nothing; the image runs as nobody in particular and starts silt."""
    dockerfile = ROOT / "container" / "Dockerfile"
    done = subprocess.run([BIN / "hadolint", dockerfile], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    text = dockerfile.read_text(encoding="utf-8")
    assert 'ENTRYPOINT ["silt"]' in text
    assert "USER 65532:65532" in text


def test_the_dockerfile_copies_only_what_exists():
    """Every file that the image is built from is in the checkout and let in by the ignore file."""
    text = (ROOT / "container" / "Dockerfile").read_text(encoding="utf-8")
    ignored = (ROOT / "container" / "Dockerfile.dockerignore").read_text(encoding="utf-8").split()
    copies = [
        line.split()[1:-1] for line in text.splitlines() if line.startswith("COPY") and "--from" not in line
    ]
    for name in (name for names in copies for name in names):
        assert f"!{name}" in ignored
        assert list(ROOT.glob(name)) or name == "README*", name
    # Written for the package index too, and then the build needs it: both or neither.
    assert (ROOT / "README.md").exists() == ("readme" in PROJECT["project"])


def test_a_machine_without_python_is_told_what_to_do(tmp_path):
    """`make dev` with neither uv nor a Python >= 3.11 (only one that fails to run) ends with 1, and why."""
    for tool in ("bash", "cat", "cksum", "dirname", "env"):
        (tmp_path / tool).symlink_to(str(shutil.which(tool)))
    shim = tmp_path / "python3.12"
    shim.write_text("#!/bin/sh\necho 'not installed' >&2; exit 127\n", encoding="utf-8")
    shim.chmod(0o755)
    done = subprocess.run(
        [tmp_path / "bash", ROOT / "scripts" / "venv", tmp_path / "venv", "dev"],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "needs Python 3.11 or newer" in done.stderr
    assert not (tmp_path / "venv").exists()
