"""`silt validate`: exit codes, forms of output, what it touches."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from clirun import silt
from kit import Site

GOOD = "version: 1\nsources: {a: ./a.db}\ntargets: {lake: ./lake}\nstreams: {orders: }\n"
BAD = GOOD.replace("{orders: }", "\n  orders:\n    mode: apend\n    wher: x")
RECIPES = Path(__file__).parent.parent / "recipes"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "good.yaml").write_text(GOOD)
    (tmp_path / "bad.yaml").write_text(BAD)
    return tmp_path


def test_valid_manifest_is_0(folder):
    """A good manifest: one line on stdout, nothing on stderr."""
    done = silt("validate", "good.yaml", cwd=folder)
    assert (done.returncode, done.stdout, done.stderr) == (0, "good.yaml: valid\n", "")


def test_all_problems_at_once_on_stderr(folder):
    """Each problem with file, line and column, the line itself, a suggestion; exit 1."""
    done = silt("validate", "bad.yaml", cwd=folder)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "bad.yaml:6:11: streams.orders.mode" in done.stderr
    assert "did you mean 'append'?" in done.stderr
    assert "    6 |     mode: apend" in done.stderr
    assert "bad.yaml:7:5: streams.orders" in done.stderr
    assert "2 problems in 1 file" in done.stderr


def test_several_paths_are_all_checked(folder):
    """One bad manifest among several fails the whole, and the good one is still named."""
    done = silt("validate", "good.yaml", "bad.yaml", "missing.yaml", cwd=folder)
    assert done.returncode == 1
    assert done.stdout == "good.yaml: valid\n"
    assert "3 problems in 2 files" in done.stderr
    assert "missing.yaml" in done.stderr


def test_json_is_one_object_with_the_fields_of_the_contract(folder):
    """`--json` and `--format json` are the same; all files in one object."""
    done = silt("validate", "good.yaml", "bad.yaml", "--json", cwd=folder)
    told = json.loads(done.stdout)
    assert (done.returncode, told["valid"], len(told["problems"])) == (1, False, 2)
    fields = {"file", "line", "column", "pointer", "message", "hint"}
    assert all(set(p) == fields for p in told["problems"])
    assert (told["problems"][0]["line"], told["problems"][0]["column"]) == (6, 11)
    assert silt("validate", "bad.yaml", "--format", "json", cwd=folder).returncode == 1
    assert json.loads(silt("validate", "good.yaml", "--json", cwd=folder).stdout)["valid"] is True


def test_github_annotations(folder):
    """A workflow command a problem, on stdout, where GitHub reads it."""
    done = silt("validate", "bad.yaml", "--format", "github", cwd=folder)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("::error file=bad.yaml,title=silt%3A streams.orders.mode,line=6,col=11::")


def test_environment_is_needed_unless_told_otherwise(folder):
    """An unset variable is a problem with its place; --no-env accepts it, as in CI; set, it is used."""
    (folder / "env.yaml").write_text(GOOD.replace("./lake", '"${LAKE_URI}"'))
    done = silt("validate", "env.yaml", cwd=folder)
    assert done.returncode == 1
    assert "LAKE_URI" in done.stderr
    assert silt("validate", "env.yaml", "--no-env", cwd=folder).returncode == 0
    assert silt("validate", "env.yaml", cwd=folder, LAKE_URI="./lake").returncode == 0


def test_database_in_place_of_a_manifest(folder):
    """A SQLite file is named as one, with the command that makes a manifest of it."""
    Site(folder).sql("create table t(a)")
    done = silt("validate", "app.db", cwd=folder)
    assert done.returncode == 1
    told = "app.db:1:1: this is a SQLite database (silt init app.db -o app.yaml writes a manifest for it)"
    assert done.stderr.startswith(told)


def test_standard_input_is_no_manifest(folder):
    """PATH `-` is refused in words, and is not looked for as a file."""
    done = silt("validate", "-", cwd=folder)
    assert done.returncode == 1
    assert "silt reads no manifest from standard input (name a file)" in done.stderr


def test_query_before_its_manifest(folder):
    """Arguments in the wrong order are told in the right one."""
    done = silt("query", "select 1", "good.yaml", cwd=folder)
    assert done.returncode == 1
    assert "PATH comes first" in done.stderr
    assert "silt query good.yaml 'select 1'" in done.stderr


def test_default_path_and_variable(folder):
    """Without PATH: $SILT_MANIFEST, then ./silt.yaml."""
    assert silt("validate", cwd=folder).returncode == 1
    assert silt("validate", cwd=folder, SILT_MANIFEST="good.yaml").returncode == 0
    (folder / "silt.yaml").write_text(GOOD)
    assert silt("validate", cwd=folder).stdout == "silt.yaml: valid\n"
    assert silt("validate", cwd=folder, SILT_MANIFEST="bad.yaml").returncode == 1


def test_validate_touches_nothing(folder):
    """No database is created or opened, no lake, no state folder, no secret read."""
    (folder / "secret.yaml").write_text(
        GOOD.replace(
            "{lake: ./lake}",
            '{lake: {uri: "s3://b/x", storage_options: {AWS_SECRET_ACCESS_KEY: "${secret:file:/nope/aws}"}}}',
        ).replace("version: 1", "version: 1\nnode: edge")
    )
    before = sorted(p.name for p in folder.iterdir())
    assert silt("validate", "secret.yaml", "good.yaml", cwd=folder).returncode == 0
    assert sorted(p.name for p in folder.iterdir()) == before


@pytest.mark.parametrize("recipe", sorted(RECIPES.glob("*.yaml*")), ids=lambda p: p.name)
def test_recipes_are_valid(recipe):
    """Every recipe that ships passes its own validator, with no variable set."""
    done = silt("validate", recipe, "--no-env")
    assert done.returncode == 0, done.stderr


def test_there_are_recipes():
    """The recipes that the issue names are there to be checked."""
    names = {p.name for p in RECIPES.iterdir()}
    assert {"quickstart.yaml", "sensor.yaml", "uploader-config.yaml.example", "routing.yaml"} <= names
    assert {"patterns.yaml", "tenants.yaml", "masking.yaml", "s3.yaml"} <= names


README = Path(__file__).parent.parent / "README.md"


def test_readme_manifest_is_valid(tmp_path):
    """The manifest that the README shows runs past the validator."""
    blocks = re.findall(r"```yaml\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    for block in blocks:
        (tmp_path / "plant.yaml").write_text(block)
        done = silt("validate", "plant.yaml", cwd=tmp_path)
        assert done.returncode == 0, done.stderr


def test_readme_names_only_verbs_and_flags_that_exist():
    """Every `silt VERB` and `--flag` of the README is one that help knows."""
    text = README.read_text(encoding="utf-8")
    verbs = set(re.findall(r"^    silt ([a-z]+)", text, re.MULTILINE))
    table = re.findall(r"^\| (`[a-z]+.*?) \|", text, re.MULTILINE)
    verbs |= {verb for cell in table for verb in re.findall(r"`([a-z]+)", cell)}
    assert {"run", "reset", "schema"} <= verbs
    known = {verb: silt(verb, "--help").stdout for verb in verbs}
    assert all("Usage: silt" in told for told in known.values())
    flags = set(re.findall(r"(?<![\w-])(--[a-z][a-z-]+)", text))
    assert flags <= set(re.findall(r"--[a-z-]+", "".join(known.values())))
