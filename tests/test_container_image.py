"""The image, built from container/Dockerfile by buildah and run as a container runs: `make test-container`.

A container here is namespaces of its own for mounts and processes, the image's root read-only, the image's
user and environment, and only the folders that a test mounts.  Needs root.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import tomllib
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from kit import difference, lake, sql
from servers import free_port

pytestmark = [pytest.mark.container, pytest.mark.timeout(1800)]

ROOT = Path(__file__).parent.parent
BUILT = ROOT / "build" / "container"
UV = ROOT / ".venv-container" / "bin" / "uv"
USER = 65532


@dataclass(frozen=True)
class Image:
    """The image's root, mounted, and what its configuration says."""

    root: Path
    config: Mapping[str, Any]

    def start(
        self,
        *arguments: str,
        mounts: Mapping[Path, str] | None = None,
        entrypoint: list[str] | None = None,
        **env: str,
    ) -> subprocess.Popen[str]:
        """A container: `mounts` are host path -> path inside, with `:ro` or not; /var/lib/silt is its own."""
        command = [*(entrypoint or self.config["Entrypoint"]), *arguments]
        variables = [*self.config["Env"], *(f"{name}={value}" for name, value in env.items())]
        root = shlex.quote(str(self.root))
        enter = shlex.quote(f'cd {self.config["WorkingDir"]}; exec "$@"')
        shell = f"sh -c {enter} sh {shlex.join(command)}"
        steps = [
            f"mount --bind {root} {root}",
            f"cd {root}",
            "mount -t proc proc proc",
            f"mount -t tmpfs -o uid={USER},gid={USER} tmpfs var/lib/silt",
            "mount -t tmpfs tmpfs srv",  # for the mount points of a test
            *(_mounted(host, place) for host, place in (mounts or {}).items()),
            f"mount -o remount,bind,ro {root}",
            f"exec chroot --userspec={self.config['User']} {root} env -i {shlex.join(variables)} {shell}",
        ]
        return subprocess.Popen(
            ["unshare", "--mount", "--pid", "--fork", "bash", "-euc", "\n".join(steps)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
        """A container that ends by itself."""
        started = self.start(*arguments, **more)
        out, err = started.communicate(timeout=300)
        return subprocess.CompletedProcess(arguments, started.returncode, out, err)


def _mounted(host: Path, inside: str) -> str:
    path, _, mode = inside.partition(":")
    source, target = shlex.quote(str(host)), shlex.quote(path.lstrip("/"))
    made = f"mkdir -p {target}" if host.is_dir() else f"mkdir -p $(dirname {target}); touch {target}"
    read_only = f"; mount -o remount,bind,ro {target}" if mode == "ro" else ""
    return f"{made}; mount --bind {source} {target}{read_only}"


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    """Built anew from the checkout; the base is kept in build/."""
    done = subprocess.run([ROOT / "scripts" / "image", BUILT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    print(f"\n{done.stdout}", end="")
    buildah = (BUILT / "buildah").read_text().split("\n")[:-1]

    def ask(*arguments: str) -> str:
        return subprocess.run([*buildah, *arguments], capture_output=True, text=True, check=True).stdout

    work = ask("from", "--pull-never", "siltlake").strip()
    try:
        config = json.loads(ask("inspect", "--type", "image", "siltlake"))["Docker"]["config"]
        yield Image(Path(ask("mount", work).strip()), config)
    finally:
        ask("rm", work)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that the container's user may enter; `data` in it is that user's."""
    for each in (tmp_path, *tmp_path.parents[:2]):
        each.chmod(0o755)
    (tmp_path / "data").mkdir()
    os.chown(tmp_path / "data", USER, USER)
    return tmp_path


def _manifest(folder: Path, streams: str = "  t:\n", **more: str) -> Path:
    conf = folder / "conf"
    conf.mkdir(exist_ok=True)
    head = "".join(f"{name}: {value}\n" for name, value in more.items())
    (conf / "silt.yaml").write_text(
        f"version: 1\nstate_dir: /var/lib/silt/state\n{head}sources: {{app: /srv/data/app.db}}\n"
        f"targets: {{lake: /srv/lake}}\ndefaults: {{schedule: 200ms}}\nstreams:\n{streams}"
    )
    (folder / "lake").mkdir(exist_ok=True)
    os.chown(folder / "lake", USER, USER)
    return conf


def _mounts(folder: Path, *, data: str = "/srv/data") -> dict[Path, str]:
    return {
        folder / "conf": "/srv/conf:ro",
        folder / "data": data,
        folder / "lake": "/srv/lake",
    }


def _fill(folder: Path, rows: int = 50) -> None:
    numbers = f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})"
    sql(
        folder / "data" / "app.db",
        "PRAGMA journal_mode=WAL",
        "CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, v TEXT)",
        f"INSERT INTO t {numbers} SELECT i, 'v' || i FROM n",
    )
    os.chown(folder / "data" / "app.db", USER, USER)


def _same(folder: Path) -> bool:
    rows = sql(folder / "data" / "app.db", "SELECT * FROM t")
    return (folder / "lake/t/_delta_log").exists() and difference(rows, lake(folder / "lake/t")) == (0, 0)


def _until(condition: Callable[[], object], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.2)


# --- what it is -----------------------------------------------------------------------------------


def test_what_the_image_says_of_itself(image: Image) -> None:
    """Nobody's user, silt as its entrypoint, SIGTERM, a health check, OCI labels; no pip; its size."""
    config = image.config
    assert (config["User"], config["Entrypoint"], config["Cmd"]) == (f"{USER}:{USER}", ["silt"], ["run"])
    assert config["StopSignal"] == "SIGTERM"
    assert config["Healthcheck"]["Test"][:2] == ["CMD", "python"]
    labels = {
        name.removeprefix("org.opencontainers.image."): value for name, value in config["Labels"].items()
    }
    assert (labels["title"], labels["licenses"]) == ("silt", "Apache-2.0")
    assert list(image.root.glob("opt/silt/lib/*/site-packages/pip")) == []
    site = next(image.root.glob("opt/silt/lib/python3*/site-packages"))
    sizes = {path.name: _megabytes(path) for path in site.iterdir() if path.is_dir()}
    largest = sorted(sizes.items(), key=lambda each: -each[1])[:5]
    print(
        "\n/opt/silt", _megabytes(image.root / "opt/silt"), "MB:", ", ".join(f"{n} {mb}" for n, mb in largest)
    )
    assert _megabytes(image.root / "opt/silt") < 450


def _megabytes(path: Path) -> int:
    return sum(p.lstat().st_size for p in path.rglob("*") if not p.is_dir()) // 1_000_000


def test_every_dependency_has_a_wheel_for_both_architectures() -> None:
    """Nothing is compiled in the image: all of them resolve from wheels alone, on amd64 and arm64."""
    for machine in ("x86_64", "aarch64"):
        done = subprocess.run(
            [
                *(UV, "pip", "compile", "--quiet", "--only-binary", ":all:", "--python-version", "3.13"),
                *("--python-platform", f"{machine}-manylinux_2_28", ROOT / "pyproject.toml"),
            ],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert "deltalake==1.6.3" in done.stdout


# --- what it does ---------------------------------------------------------------------------------


def test_validate(image: Image, folder: Path) -> None:
    """A manifest is checked with nothing else mounted; the root cannot be written."""
    conf = _manifest(folder)
    done = image.run("validate", "/srv/conf/silt.yaml", mounts={conf: "/srv/conf:ro"})
    assert done.returncode == 0, done.stdout + done.stderr
    touched = image.run("/etc/x", entrypoint=["touch"])
    assert (touched.returncode, "Read-only file system" in touched.stderr) == (1, True)


def test_run_once(image: Image, folder: Path) -> None:
    """Rows arrive in a lake that is mounted, once."""
    _fill(folder)
    _manifest(folder)
    for _ in range(2):
        done = image.run("run", "/srv/conf/silt.yaml", "--once", mounts=_mounts(folder))
        assert done.returncode == 0, done.stdout + done.stderr
        assert _same(folder)


@contextlib.contextmanager
def _running(image: Image, folder: Path, **more: Any) -> Iterator[tuple[subprocess.Popen[str], str]]:
    port = free_port()
    given = {"SILT_LISTEN": f"127.0.0.1:{port}", "SILT_HEALTH": f"http://127.0.0.1:{port}/healthz"}
    started = image.start("run", "/srv/conf", mounts=_mounts(folder), **given, **more)
    try:
        yield started, f"http://127.0.0.1:{port}"
    finally:
        if started.poll() is None:
            _signal(started, signal.SIGKILL)
            started.communicate()


def _signal(started: subprocess.Popen[str], number: int) -> None:
    """To the container's first process, as an engine sends it; with it goes the whole container."""
    for child in Path(f"/proc/{started.pid}/task/{started.pid}/children").read_text().split():
        os.kill(int(child), number)


def _terminate(started: subprocess.Popen[str]) -> tuple[int, str]:
    _signal(started, signal.SIGTERM)
    out, err = started.communicate(timeout=60)
    return started.returncode, out + err


def test_run_until_sigterm(image: Image, folder: Path) -> None:
    """It follows writes, its health check passes, SIGTERM ends it with 0, and nothing is lost."""
    _fill(folder)
    _manifest(folder)
    with _running(image, folder) as (started, url):
        _until(lambda: _same(folder))
        sql(folder / "data" / "app.db", "INSERT INTO t (v) VALUES ('later')")
        _until(lambda: _same(folder))
        health = image.run(entrypoint=image.config["Healthcheck"]["Test"][1:], SILT_HEALTH=f"{url}/healthz")
        assert health.returncode == 0, health.stderr
        nowhere = image.run(
            entrypoint=image.config["Healthcheck"]["Test"][1:], SILT_HEALTH="http://127.0.0.1:9/"
        )
        assert nowhere.returncode == 1
        assert _terminate(started)[0] == 0
    assert _same(folder)


def test_recipes_of_a_configmap_are_taken_over(image: Image, folder: Path) -> None:
    """The kubelet's way: a new folder, and the link to it exchanged; silt follows without a restart."""
    _fill(folder)
    sql(folder / "data" / "app.db", "CREATE TABLE u (id INTEGER PRIMARY KEY)", "INSERT INTO u VALUES (7)")
    conf = _manifest(folder)
    text = (conf / "silt.yaml").read_text()
    (conf / "silt.yaml").unlink()
    (conf / "..1").mkdir()
    (conf / "..1" / "silt.yaml").write_text(text)
    (conf / "..data").symlink_to("..1")
    (conf / "silt.yaml").symlink_to("..data/silt.yaml")
    with _running(image, folder) as (_, url):
        _until(lambda: _same(folder))
        (conf / "..2").mkdir()
        (conf / "..2" / "silt.yaml").write_text(text + "  u:\n")
        (conf / "..data_tmp").symlink_to("..2")
        (conf / "..data_tmp").rename(conf / "..data")
        shutil.rmtree(conf / "..1")
        _until(lambda: (folder / "lake/u/_delta_log").exists() and lake(folder / "lake/u"))
        status = json.load(urllib.request.urlopen(f"{url}/api/status"))
        assert status["manifest"]["generation"] == 2


# --- how databases are mounted --------------------------------------------------------------------

_WRITER = """
import os, sqlite3, sys, time
c = sqlite3.connect(sys.argv[1], isolation_level=None)
c.execute("PRAGMA journal_mode=WAL"); c.execute("PRAGMA wal_autocheckpoint=0")
c.execute("CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, v TEXT)")
c.execute("INSERT INTO t (v) VALUES ('a'), ('b')")
print("ready", flush=True)
sys.stdin.read()
if sys.argv[2] == "crash": os._exit(0)
c.close()
"""


@contextlib.contextmanager
def _writer(path: Path, end: str = "close") -> Iterator[None]:
    """Another program that has the database open; leaving ends it in order, or as a crash."""
    command = [sys.executable, "-S", "-c", _WRITER, str(path), end]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as started:
        assert started.stdout is not None
        assert started.stdout.readline() == "ready\n"
        for each in path.parent.iterdir():
            os.chown(each, USER, USER)
        yield


def _once(image: Image, folder: Path, data: str) -> tuple[int, str]:
    done = image.run("run", "/srv/conf/silt.yaml", "--once", mounts=_mounts(folder, data=data))
    return done.returncode, done.stdout + done.stderr


def test_a_read_only_mount_while_the_writer_has_it_open(image: Image, folder: Path) -> None:
    """The -shm is there: it works, rows in the -wal included."""
    _manifest(folder)
    with _writer(folder / "data" / "app.db"):
        code, said = _once(image, folder, "/srv/data:ro")
        assert (code, [row["v"] for row in lake(folder / "lake/t")]) == (0, ["a", "b"]), said


def test_a_read_only_mount_after_a_crash(image: Image, folder: Path) -> None:
    """-wal and -shm were left behind: it works."""
    _manifest(folder)
    with _writer(folder / "data" / "app.db", "crash"):
        pass
    code, said = _once(image, folder, "/srv/data:ro")
    assert (code, len(lake(folder / "lake/t"))) == (0, 2), said


def test_a_read_only_mount_without_shm(image: Image, folder: Path) -> None:
    """Closed in order, the -shm is gone: told, with what to change; either change works."""
    conf = _manifest(folder)
    with _writer(folder / "data" / "app.db"):
        pass
    code, said = _once(image, folder, "/srv/data:ro")
    assert code == 1
    assert "its -shm file can be neither opened nor created in a read-only folder" in said
    assert "needs its folder writable" in said
    assert _once(image, folder, "/srv/data")[0] == 0
    text = (conf / "silt.yaml").read_text()
    (conf / "silt.yaml").write_text(
        text.replace("app: /srv/data/app.db", "app: {path: /srv/data/app.db, immutable: true}")
    )
    code, said = _once(image, folder, "/srv/data:ro")
    assert (code, len(lake(folder / "lake/t"))) == (0, 2), said


def test_a_read_only_mount_of_a_database_without_wal(image: Image, folder: Path) -> None:
    """In rollback mode it works."""
    _manifest(folder)
    sql(folder / "data" / "app.db", "CREATE TABLE t (id INTEGER PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    code, said = _once(image, folder, "/srv/data:ro")
    assert (code, len(lake(folder / "lake/t"))) == (0, 1), said


def test_a_database_file_that_is_mounted_alone(image: Image, folder: Path) -> None:
    """Its -wal would not be seen: refused, with what to change; nothing is written."""
    _manifest(folder)
    with _writer(folder / "data" / "app.db"):
        mounts = {**_mounts(folder), folder / "data" / "app.db": "/srv/data/app.db"}
        del mounts[folder / "data"]
        done = image.run("run", "/srv/conf/silt.yaml", "--once", mounts=mounts)
        assert done.returncode == 1
        assert "is mounted alone" in done.stdout + done.stderr
        assert "mount its folder" in done.stdout + done.stderr
        assert list((folder / "lake").iterdir()) == []


# --- without a container --------------------------------------------------------------------------


def test_the_script_runs_a_manifest_by_uv(tmp_path: Path) -> None:
    """uv takes its head, makes the environment, and silt runs a manifest."""
    sql(tmp_path / "a.db", "CREATE TABLE t (id INTEGER PRIMARY KEY)", "INSERT INTO t VALUES (1), (2)")
    (tmp_path / "c.yaml").write_text("sqlite: ./a.db\ntable_path: ./lake/t\n")
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        [
            UV,
            "run",
            "--quiet",
            "--script",
            ROOT / "container" / "uploader.py",
            "--config",
            "c.yaml",
            "--once",
        ],
        cwd=tmp_path,
        env={**kept, "SILT_LISTEN": "off"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert [row["id"] for row in lake(tmp_path / "lake/t")] == [1, 2]


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    """systemd-analyze has nothing to say of it, where silt is installed."""
    text = (ROOT / "container" / "silt.service").read_text()
    unit = tmp_path / "silt.service"
    unit.write_text(re.sub(r"(?m)^ExecStart=\S+", f"ExecStart={sys.executable}", text))
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_bases_python_is_one_that_silt_says_it_runs_on() -> None:
    """The version in the base image's name is among the project's classifiers."""
    (first, *_) = re.findall(r"(?m)^FROM python:(\d+\.\d+)-", (ROOT / "container" / "Dockerfile").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"Programming Language :: Python :: {first}" in project["classifiers"]
