"""What stands in container/: each file by the rules of the program that it is for.

The image itself is built and run by `make test-container` (tests/container).
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from bacalhau_apiclient import models
from clirun import silt
from jsonschema import Draft202012Validator
from kubernetes_validate import InvalidSchemaError, ValidationError

ROOT = Path(__file__).parent.parent
CONTAINER = ROOT / "container"
BIN = Path(sys.executable).parent


def _documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((CONTAINER / name).read_text(encoding="utf-8")))


# --- scripts --------------------------------------------------------------------------------------


def test_shell_scripts_are_clean():
    """shellcheck finds nothing in any shell script of the repository."""
    scripts = [*CONTAINER.glob("*.sh"), *(ROOT / ".ci").iterdir(), *_bash(ROOT / "scripts")]
    assert len(scripts) >= 4
    done = subprocess.run([BIN / "shellcheck", *scripts], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def _bash(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_file() and b"bash\n" in path.read_bytes()[:30]]


_HEAD = re.compile(r"(?m)^# /// (?P<type>[a-zA-Z0-9-]+)$\s(?P<content>(^#(| .*)$\s)+)^# ///$")
"""How PEP 723 says that a script's head is found."""


def test_the_script_for_uv():
    """Its head is a PEP 723 block that asks for what pyproject.toml does; it carries out silt's verbs."""
    text = (CONTAINER / "uploader.py").read_text(encoding="utf-8")
    (block,) = _HEAD.finditer(text)
    head = tomllib.loads(
        "".join(line.removeprefix("# ").lstrip("#") for line in block["content"].splitlines(True))
    )
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert block["type"] == "script"
    assert head["requires-python"] == project["requires-python"]
    assert head["dependencies"] == [project["name"]]
    assert (CONTAINER / head["tool"]["uv"]["sources"][project["name"]]["path"]).resolve() == ROOT.resolve()
    done = subprocess.run(
        [sys.executable, CONTAINER / "uploader.py", "--version"], capture_output=True, text=True
    )
    assert done.stdout.startswith("silt ")


# --- the launcher ---------------------------------------------------------------------------------

_ENGINE = f"""#!{sys.executable}
import json, os, subprocess, sys
with open(os.environ["TOLD"], "a") as told:
    told.write(json.dumps(sys.argv[1:]) + chr(10))
if "--entrypoint" in sys.argv:  # what the image would be asked: silt's own answer, from here
    at = sys.argv.index("-c")
    sys.exit(subprocess.run([sys.executable, *sys.argv[at:]]).returncode)
"""


@pytest.fixture
def launch(tmp_path):
    """`launch(config, *arguments, **variables)`: (exit code, what it says, the engine's command lines)."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "docker").write_text(_ENGINE)
    (tools / "docker").chmod(0o755)

    def run(config: Path | str, *arguments: str, **variables: str) -> tuple[int, str, list[list[str]]]:
        told = tmp_path / "told"
        told.write_text("")
        kept = {name: os.environ[name] for name in ("HOME", "PYTHONPATH") if name in os.environ}
        done = subprocess.run(
            [CONTAINER / "start-uploader.sh", config, *arguments],
            cwd=tmp_path,
            env={**kept, "PATH": f"{tools}:/usr/bin:/bin", "TOLD": str(told), **variables},
            capture_output=True,
            text=True,
        )
        return done.returncode, done.stderr, [json.loads(line) for line in told.read_text().splitlines()]

    return run


def _after(command: list[str], option: str) -> list[str]:
    return [value for name, value in pairwise(command) if name == option]


def test_the_launcher_mounts_what_an_uploaders_config_names(tmp_path, launch):
    """The config read-only, database, lake and state at their own paths; variables by name, set ones only."""
    for name in ("conf", "sensor"):
        (tmp_path / name).mkdir()
    config = tmp_path / "conf" / "uploader-config.yaml"
    config.write_text(
        f"sqlite: {tmp_path}/sensor/a.db\ntable_path: {tmp_path}/lake/t\nstate_dir: {tmp_path}/state\n"
    )
    code, said, commands = launch("conf/uploader-config.yaml", NODE_ID="edge 7", AWS_REGION="", OTHER="x")
    assert (code, said) == (0, "")
    asked, ran = commands
    assert _after(asked, "--volume") == [f"{tmp_path}/conf:{tmp_path}/conf:ro"]
    assert _after(ran, "--volume") == [
        f"{tmp_path}/conf:{tmp_path}/conf:ro",
        f"{tmp_path}/sensor:{tmp_path}/sensor:rw",
        f"{tmp_path}/lake:{tmp_path}/lake:rw",
        f"{tmp_path}/state:{tmp_path}/state:rw",
    ]
    assert _after(ran, "--env") == ["NODE_ID", "SILT_LISTEN=0.0.0.0:8585"]
    assert "edge 7" not in " ".join(ran)
    assert ran[-3:] == ["siltlake", "run", str(config)]
    assert {"--read-only", "--rm"} < set(ran)


def test_the_launcher_mounts_what_a_manifest_names(tmp_path, launch):
    """Globs by their folder, secret files, no remote target; its variables; a verb of one's own; podman."""
    (tmp_path / "tenants").mkdir()
    (tmp_path / "key").write_text("k")
    (tmp_path / "silt.yaml").write_text(
        "version: 1\nnode: ${NODE_ID}\nstate_dir: ./state\n"
        f"sources: {{tenants: {tmp_path}/tenants/*/app.db}}\n"
        "targets:\n  lake:\n    uri: s3://b/x\n    storage_options:\n"
        f"      AWS_SECRET_ACCESS_KEY: ${{secret:file:{tmp_path}/key}}\n"
        "      AWS_ACCESS_KEY_ID: ${secret:env:MY_KEY}\n"
        "streams: {t: }\n"
    )
    (tmp_path / "tools" / "podman").symlink_to("docker")
    given = {
        "NODE_ID": "n",
        "MY_KEY": "hidden",
        "SILT_ENGINE": "podman",
        "SILT_SOURCES": "ro",
        "SILT_PASS": "MORE",
    }
    code, said, commands = launch(tmp_path / "silt.yaml", "run", "--once", **given, MORE="m", SILT_PORT="0")
    assert (code, said) == (0, "")
    assert _after(commands[-1], "--volume") == [
        f"{tmp_path}:{tmp_path}:ro",
        f"{tmp_path}/tenants:{tmp_path}/tenants:ro",
        f"{tmp_path}/state:{tmp_path}/state:rw",
        f"{tmp_path}/key:{tmp_path}/key:ro",
    ]
    assert _after(commands[-1], "--env") == ["MORE", "MY_KEY", "NODE_ID"]
    assert "keep-id" in commands[-1]
    assert "hidden" not in json.dumps(commands)
    assert commands[-1][-3:] == ["run", str(tmp_path / "silt.yaml"), "--once"]


def test_a_database_beside_its_config_is_writable(tmp_path, launch):
    """One folder for both is mounted once, as the database needs it."""
    (tmp_path / "c.yaml").write_text("sqlite: ./a.db\ntable_path: ./lake/t\n")
    _, _, commands = launch("c.yaml")
    assert f"{tmp_path}:{tmp_path}:rw" in _after(commands[-1], "--volume")


@pytest.mark.parametrize(
    ("text", "variables", "said"),
    [
        ("sqlite: /nowhere/x.db\ntable_path: ./t\n", {}, "the folder of a database is not there: /nowhere"),
        ("sqlite: ./a.db\ntabel_path: ./t\n", {}, "silt cannot read"),
        ("sqlite: ./a.db\ntable_path: ./t\n", {"SILT_SOURCES": "yes"}, "it is rw or ro"),
    ],
)
def test_the_launcher_says_what_is_wrong(tmp_path, launch, text, variables, said):
    """A folder that is missing, a config that is not valid, a setting that is none: exit 1, nothing runs."""
    (tmp_path / "c.yaml").write_text(text)
    code, error, commands = launch("c.yaml", **variables)
    assert (code, said in error) == (1, True), error
    assert [command for command in commands if "--entrypoint" not in command] == []


def test_the_launcher_without_an_engine(tmp_path):
    """Neither docker nor podman: told, with what to do."""
    (tmp_path / "c.yaml").write_text("")
    for tool in ("bash", "dirname", "basename"):
        (tmp_path / tool).symlink_to(f"/usr/bin/{tool}")
    done = subprocess.run(
        ["/usr/bin/bash", CONTAINER / "start-uploader.sh", tmp_path / "c.yaml"],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, "neither docker nor podman is here" in done.stderr) == (1, True)


# --- compose --------------------------------------------------------------------------------------


def _compose_schema() -> dict[str, Any]:
    vendored = files("check_jsonschema.builtin_schemas.vendor").joinpath("compose-spec.json")
    schema: dict[str, Any] = json.loads(vendored.read_text(encoding="utf-8"))
    return schema


def test_compose_is_what_the_specification_says():
    """By the Compose specification's schema, which takes no unknown key; what it mounts is there."""
    (compose,) = _documents("compose.yaml")
    validator = Draft202012Validator(_compose_schema())
    assert list(validator.iter_errors(compose)) == []
    compose["services"]["silt"]["readonly"] = True
    assert "readonly" in str(next(validator.iter_errors(compose)))
    mounted = [v.split(":")[0] for s in compose["services"].values() for v in s.get("volumes", ())]
    assert {name for name in mounted if not name.startswith(".")} == set(compose["volumes"])
    assert all((CONTAINER / name).is_dir() for name in mounted if name.startswith("."))


def test_the_manifest_of_compose_is_valid():
    """As compose runs it, with its variables."""
    (compose,) = _documents("compose.yaml")
    given = compose["services"]["silt"]["environment"]
    variables = {name: given[name] for name in ("TABLE_ROOT", "STATE_DIR")}
    done = silt("validate", CONTAINER / "manifest" / "silt.yaml", NODE_ID="n", **variables)
    assert done.returncode == 0, done.stdout + done.stderr


# --- Kubernetes -----------------------------------------------------------------------------------


def test_kubernetes_takes_every_object():
    """By Kubernetes' own schemas, unknown keys rejected."""
    objects = _documents("kubernetes/silt.yaml")
    assert [o["kind"] for o in objects] == ["Namespace", "ServiceAccount", "ConfigMap", "Secret", "DaemonSet"]
    for each in objects:
        kubernetes_validate.validate(each, "1.31", strict=True)
    pod = objects[-1]["spec"]["template"]["spec"]
    pod["containers"][0]["livenessProbe"]["httpget"] = {}
    with pytest.raises((ValidationError, InvalidSchemaError)):
        kubernetes_validate.validate(objects[-1], "1.31", strict=True)


def test_kubernetes_names_agree(tmp_path):
    """The DaemonSet finds its ConfigMap, Secret and account; the recipes are one valid manifest."""
    _, account, recipes, secret, daemons = _documents("kubernetes/silt.yaml")
    pod = daemons["spec"]["template"]["spec"]
    volumes = {v["name"]: v for v in pod["volumes"]}
    container = pod["containers"][0]
    mounts = {m["name"]: m["mountPath"] for m in container["volumeMounts"]}
    assert mounts.keys() == volumes.keys()
    assert volumes["recipes"]["configMap"]["name"] == recipes["metadata"]["name"]
    assert volumes["store"]["secret"]["secretName"] == secret["metadata"]["name"]
    assert pod["serviceAccountName"] == account["metadata"]["name"]
    assert container["args"] == ["run", mounts["recipes"]]
    texts = recipes["data"]
    used = re.findall(r"secret:file:([^}]+)", "".join(texts.values()))
    assert sorted(used) == sorted(f"{mounts['store']}/{key}" for key in secret["stringData"])
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    given = {e["name"]: "node-1" for e in container["env"]}
    done = silt("validate", tmp_path, **given)
    assert done.returncode == 0, done.stdout + done.stderr
    shown = json.loads(silt("show", tmp_path, "--json", **given).stdout)
    (listen,) = (s["value"] for s in shown["manifest"] if s["key"] == "listen")
    assert listen == f"0.0.0.0:{container['ports'][0]['containerPort']}"


# --- Bacalhau -------------------------------------------------------------------------------------

_PLAIN = {"str": str, "int": int}
_NETWORKS = ("None", "Full", "HTTP")
"""The API counts networks; a job's file names them."""
_PARAMS = {
    "docker": {"Image", "Entrypoint", "Parameters", "EnvironmentVariables", "WorkingDirectory"},
    "localDirectory": {"SourcePath", "ReadWrite", "CreateAs"},
}
"""What an engine and a storage take, as Bacalhau's documentation lists it: the API leaves it open."""


def _faults(value: Any, kind: str, at: str) -> list[str]:
    """What Bacalhau's API, by the models of its client, would not take of `value` where it wants `kind`."""
    if inner := re.fullmatch(r"list\[(.+)\]", kind):
        return [f for n, each in enumerate(value) for f in _faults(each, inner[1], f"{at}[{n}]")]
    if inner := re.fullmatch(r"dict\(str, (.+)\)", kind):
        return [f for key, each in value.items() for f in _faults(each, inner[1], f"{at}.{key}")]
    if kind in _PLAIN:
        return [] if isinstance(value, _PLAIN[kind]) else [f"{at}: {value!r} is no {kind}"]
    if kind == "Network":
        return [] if value in _NETWORKS else [f"{at}: {value!r} is none of {_NETWORKS}"]
    if kind == "object" or "Operator" in kind:
        return []
    return _object_faults(value, getattr(models, kind), at)


def _object_faults(value: dict[str, Any], model: Any, at: str) -> list[str]:
    kinds = {json_name: model.swagger_types[name] for name, json_name in model.attribute_map.items()}
    if {"Type", "Params"} == kinds.keys():
        unknown = value["Params"].keys() - _PARAMS.get(value["Type"], set())
        if unknown:
            return [f"{at}: {value['Type']} takes no {sorted(unknown)}"]
    found = [f"{at}.{key}: unknown" for key in value.keys() - kinds.keys()]
    known = [(key, each) for key, each in value.items() if key in kinds]
    return found + [f for key, each in known for f in _faults(each, kinds[key], f"{at}.{key}")]


@pytest.mark.parametrize(("name", "type_"), [("daemon", "daemon"), ("ops", "ops")])
def test_bacalhau_takes_the_job(name, type_):
    """By the models of Bacalhau's own API client, unknown keys rejected; it runs a verb of silt's."""
    (job,) = _documents(f"bacalhau-{name}.yaml")
    assert _faults(job, "Job", "job") == []
    assert job["Type"] == type_
    (task,) = job["Tasks"]
    (command,) = task["Engine"]["Params"]["Parameters"]
    verb = re.fullmatch(r'NODE_ID="\$\{NODE_ID:-\$BACALHAU_NODE_ID\}" exec silt (\w+) (\S+)', command)
    assert verb
    assert silt(verb[1], "--help").returncode == 0
    targets = [source["Target"] for source in task["InputSources"]]
    assert str(Path(verb[2]).parent) in targets


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("Tasks", 0, "Resources", "CPU"), 0.5),
        (("Tasks", 0, "Engine", "Params", "Images"), "x"),
        (("Tasks", 0, "Inputs"), []),
        (("Tasks", 0, "Network", "Type"), "host"),
        (("Count",), "1"),
    ],
)
def test_the_check_of_bacalhau_can_fail(path, value):
    """A number for a text, an unknown parameter or key, a network that is none: each is found."""
    (job,) = _documents("bacalhau-daemon.yaml")
    place: Any = job
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    assert len(_faults(job, "Job", "job")) == 1
