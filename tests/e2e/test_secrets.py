"""Secrets are planted where one may stand, and looked for in all that silt says or writes (DESIGN 3)."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest
from clirun import SILT, environment, silt
from kit import sql
from servers import S3, free_port, refusing_server, s3_server

from silt.manifest import load

PLANTED = {
    "id": "PLANTED-ID-of-env",
    "key": "PLANTED/KEY+of=file",
    "token": "PLANTED-TOKEN-in-plain",
    "kms": "PLANTED-KMS-under-a-harmless-name",
}
MANIFEST = """
version: 1
node: n1
state_dir: ./st
sources: {{app: ./app.db}}
targets:
  lake:
    uri: s3://lake/secrets
    storage_options:
      AWS_ENDPOINT_URL: http://127.0.0.1:{port}
      AWS_ALLOW_HTTP: true
      AWS_REGION: us-east-1
      AWS_ACCESS_KEY_ID: ${{secret:env:PLANTED_ID}}
      AWS_SECRET_ACCESS_KEY: "${{secret:file:key.txt}}"
      AWS_SESSION_TOKEN: {token}
      aws_sse_kms_key_id: "${{secret:env:PLANTED_KMS}}"
      max_retries: 0
streams:
  t: {{schedule: 100ms{more}}}
"""


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    with s3_server() as server:
        yield server


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory, s3: S3) -> Path:
    """A folder with a database and manifests: one that runs, one whose store is away, refuses, is wrong."""
    folder = tmp_path_factory.mktemp("secrets")
    sql(folder / "app.db", "CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, v TEXT)")
    sql(folder / "app.db", "INSERT INTO t (v) VALUES ('a'), ('b')")
    (folder / "key.txt").write_text(PLANTED["key"] + "\n")

    def manifest(name: str, port: int, more: str = "") -> None:
        text = MANIFEST.format(port=port, token=PLANTED["token"], more=more)
        (folder / name).write_text(text)

    manifest("good.yaml", s3.port)
    manifest("away.yaml", free_port())
    manifest("wrong.yaml", s3.port, ", modus: x, cursor: [1]")
    (folder / "slip.yaml").write_text((folder / "good.yaml").read_text().replace("max_retries: 0", "max: [0"))
    return folder


def clean(*texts: str) -> None:
    """None of the planted values is in any of `texts`, as it is or as a URL has it."""
    for text in texts:
        for value in PLANTED.values():
            assert value not in text
            assert urllib.parse.quote(value, safe="") not in text


def run(plant: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The verb on `plant`, with the planted environment and tracebacks asked for."""
    planted = {"PLANTED_ID": PLANTED["id"], "PLANTED_KMS": PLANTED["kms"]}
    return silt(*arguments, cwd=plant, SILT_DEBUG="1", **planted)


VERBS = [
    ("validate",),
    ("show",),
    ("plan",),
    ("run", "--once"),
    ("status",),
    ("run", "--dry-run"),
]


@pytest.mark.parametrize("form", [(), ("--json",)], ids=["text", "json"])
@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_every_verb(plant: Path, verb: tuple[str, ...], form: tuple[str, ...]) -> None:
    """A store that works and one that is away, as text and as JSON: nothing that is said holds a secret."""
    name, *options = verb
    good = run(plant, name, "good.yaml", *options, *form)
    assert good.returncode == 0, good.stderr
    clean(good.stdout, good.stderr)
    away = run(plant, name, "away.yaml", *options, *form)
    assert "Traceback" not in away.stderr
    clean(away.stdout, away.stderr)
    if verb == ("run", "--once"):
        assert "127.0.0.1" in away.stdout + away.stderr


@pytest.mark.parametrize(
    "arguments", [("query", "good.yaml", "select * from t"), ("reset", "good.yaml", "t", "--yes")]
)
def test_query_and_reset(plant: Path, arguments: tuple[str, ...]) -> None:
    """The verbs that ask or rebuild one table."""
    assert run(plant, "run", "good.yaml", "--once").returncode == 0
    for form in ((), ("--json",)):
        done = run(plant, *arguments, *form)
        assert done.returncode == 0, done.stderr
        clean(done.stdout, done.stderr)


@pytest.mark.parametrize("name", ["wrong.yaml", "slip.yaml"])
def test_problems(plant: Path, name: str) -> None:
    """Problems of a manifest, in all three forms, and as the error of another verb."""
    for arguments in (
        ("validate", name),
        ("validate", name, "--format", "json"),
        ("validate", name, "--format", "github"),
        ("run", name),
    ):
        done = run(plant, *arguments)
        assert done.returncode == 1
        clean(done.stdout, done.stderr)


@pytest.mark.parametrize("form", ["human", "json"])
@pytest.mark.parametrize("name", ["good.yaml", "away.yaml"])
def test_logs(plant: Path, name: str, form: str) -> None:
    """The loop's log, human and JSON, of commits and of failures; and a refused edit that spills one."""
    path, log = plant / f"loop-{form}-{name}", plant / f"{form}-{name}.log"
    path.write_text((plant / name).read_text())
    planted = {"PLANTED_ID": PLANTED["id"], "PLANTED_KMS": PLANTED["kms"], "SILT_DEBUG": "1"}
    command = [*SILT, "run", path.name, "--log-format", form]
    with log.open("w") as out:
        process = subprocess.Popen(command, cwd=plant, env=environment(**planted), stdout=out, stderr=out)
        try:
            told(log, "ready" if name == "good.yaml" else "failing")
            path.write_text(path.read_text() + "  AWS_SECRET_ACCESS_KEY: " + PLANTED["key"] + "\n")
            told(log, "refused")
        finally:
            process.terminate()
            process.wait(60)
    clean(log.read_text())


def told(log: Path, word: str) -> None:
    """Wait until the log says `word`."""
    deadline = time.monotonic() + 60
    while word not in log.read_text():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)


def test_the_state_folder_and_the_lake(plant: Path, s3: S3) -> None:
    """What is kept between runs holds no secret: the state folder's files, and the table's log.

    The last good manifest is kept as written, so what stands there in plain does too, for its owner alone.
    """
    from deltalake import DeltaTable

    assert run(plant, "run", "good.yaml", "--once").returncode == 0
    files = [path for path in (plant / "st").rglob("*") if path.is_file()]
    assert len(files) >= 2
    for path in files:
        text = path.read_text(errors="replace")
        if path.name.endswith(".good.json"):
            assert path.stat().st_mode & 0o777 == 0o600
            text = text.replace(PLANTED["token"], "")
        clean(text)
    table = DeltaTable("s3://lake/secrets/t", storage_options=s3.options)
    clean(json.dumps(table.history(), default=str), str(table.metadata()))


def test_a_store_that_refuses(plant: Path) -> None:
    """A rejected key is an error that names none of it."""
    with refusing_server() as port:
        text = MANIFEST.format(port=port, token=PLANTED["token"], more="")
        (plant / "refused.yaml").write_text(text)
        for form in ((), ("--json",)):
            done = run(plant, "run", "refused.yaml", "--once", *form)
            assert done.returncode == 1
            clean(done.stdout, done.stderr)


BROKEN = """
import sys
from silt import observe
from silt.cli import app

def broken(manifest, handles, **more):
    at = manifest.targets[0]
    with handles.lake(at, "t") as lake:
        raise RuntimeError(f"{manifest} {at!r} {lake!r} {vars(handles)} {lake.options} {vars(lake.table)}")

observe.look = broken
sys.exit(app.run(["plan", "good.yaml"]))
"""


def test_reprs_and_tracebacks(plant: Path) -> None:
    """A bug whose message holds the `repr` of everything that knows a secret, with SILT_DEBUG and without."""
    assert run(plant, "run", "good.yaml", "--once").returncode == 0
    planted = {"PLANTED_ID": PLANTED["id"], "PLANTED_KMS": PLANTED["kms"]}
    for debug in ({}, {"SILT_DEBUG": "1"}):
        done = subprocess.run(
            [sys.executable, "-c", BROKEN],
            capture_output=True,
            text=True,
            cwd=plant,
            env=environment(**planted, **debug),
        )
        assert "RuntimeError" in done.stderr
        assert "us-east-1" in done.stderr  # the options are there, the secrets among them are not
        assert "***" in done.stderr
        clean(done.stdout, done.stderr)


def test_reprs_of_the_manifest(plant: Path) -> None:
    """The resolved manifest with its secrets open, and everything below it."""
    env = {"PLANTED_ID": PLANTED["id"], "PLANTED_KMS": PLANTED["kms"]}
    manifest = load(plant / "good.yaml", env=env, open_secrets=True)
    options = manifest.target("lake").storage_options
    assert [options[k].reveal() for k in options if not isinstance(options[k], str)] == list(PLANTED.values())
    clean(repr(manifest), str(manifest), repr(manifest.rules), f"{options}", f"{options}")
