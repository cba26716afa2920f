"""The pages of docs/ say what is so."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from clirun import silt
from kit import Site

from silt.manifest import load
from silt.manifest.schema import checked

DOCS = Path(__file__).parents[1] / "docs"


def documented(verb: str) -> list[str]:
    """The fields that docs/json.md names for a verb, as paths (`streams[].rows`)."""
    page = (DOCS / "json.md").read_text(encoding="utf-8")
    section = page.split(f"\n## {verb}\n")[1].split("\n## ")[0]
    paths: list[str] = []
    for row in re.findall(r"^\| (`.*?) \|", section, re.MULTILINE):
        names = re.findall(r"`([^`]+)`", row)
        prefix = names[0].rpartition(".")[0] if "[]" in names[0] else ""
        paths += [name if not prefix or "[]" in name else f"{prefix}.{name}" for name in names]
    return paths


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    made = Site(tmp_path_factory.mktemp("docs"))
    made.sql("create table t(id integer primary key, v text)", "insert into t(v) values ('a'), ('b')")
    made.write("  t: {}\n")
    return made


def printed(site: Site, *arguments: str) -> dict:
    done = subprocess.run(
        [sys.executable, "-m", "silt", *arguments, "--json"], cwd=site.folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("verb", "arguments"),
    [
        ("validate", ["validate", "silt.yaml"]),
        ("inspect", ["inspect", "app.db"]),
        ("plan", ["plan", "silt.yaml"]),
        ("run --once", ["run", "silt.yaml", "--once"]),
        ("status", ["status", "silt.yaml"]),
        ("ddl", ["ddl", "silt.yaml", "--hive"]),
        ("query", ["query", "silt.yaml", "select 1 as one"]),
    ],
)
def test_json_has_every_documented_field(site: Site, verb: str, arguments: list[str]) -> None:
    """docs/json.md names fields of `--json`; each is there."""
    answer = printed(site, *arguments)
    paths = documented(verb)
    assert paths
    for path in paths:
        holder, _, name = path.rpartition("[].")
        assert name in (answer[holder][0] if holder else answer), path


def test_query_prints_its_columns_and_an_object_a_row(site: Site) -> None:
    """What the page says of `query --json`, on a query of one row."""
    answer = printed(site, "query", "silt.yaml", "select 1 as one, x'00ff' as two")
    assert [list(column) for column in answer["columns"]] == [["name", "type"]] * 2
    assert answer["rows"] == [{"one": 1, "two": "x'00ff'"}]


def test_inspect_tells_of_each_table_and_column_what_is_documented(site: Site) -> None:
    """The page lists the fields of a table, of a column and of its census: they are these, in this order."""
    section = (DOCS / "json.md").read_text(encoding="utf-8").split("\n## inspect\n")[1].split("\n## ")[0]
    listed = [re.findall(r"\w+", fields) for fields in re.findall(r"`\{([^}]+)\}`", section)]
    (table,) = printed(site, "inspect", "app.db")["databases"][0]["tables"]
    column = table["columns"][0]
    for answer in (table, column, column["census"]):
        assert list(answer) in listed


def test_the_page_of_the_command_line_is_what_the_commands_say() -> None:
    """docs/cli.md is made by scripts/docs, which finds nothing to write anew."""
    script = DOCS.parent / "scripts" / "docs"
    done = subprocess.run([sys.executable, str(script), "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("verb", ["validate", "plan", "run", "migrate", "reset"])
def test_the_page_names_what_help_names(verb: str) -> None:
    """Every flag and the first sentence of the real `--help` stand in the verb's section."""
    told = silt(verb, "--help", COLUMNS="200").stdout
    section = (DOCS / "cli.md").read_text(encoding="utf-8").split(f"### silt {verb}\n")[1].split("\n##")[0]
    flags = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", told)) - {"--help"}
    assert flags
    assert flags <= set(re.findall(r"--[a-z][a-z-]+", section))
    first = next(line for line in section.splitlines()[3:] if line)
    assert first.split(":")[0] in told


def test_the_manifests_reference_is_that_of_the_schema() -> None:
    """docs/manifest.md is what scripts/reference writes: run it after an edit of the schema."""
    written = subprocess.run(
        [sys.executable, str(DOCS.parent / "scripts" / "reference"), "--stdout"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert (DOCS / "manifest.md").read_text(encoding="utf-8") == written.stdout


def test_the_references_manifest_is_one(tmp_path: Path) -> None:
    """The manifest that docs/manifest.md begins with is valid, and every key of a stream has its heading."""
    page = (DOCS / "manifest.md").read_text(encoding="utf-8")
    (tmp_path / "m.yaml").write_text(page.partition("```yaml\n")[2].partition("```")[0])
    assert load(tmp_path / "m.yaml", env={}).targets
    stream = checked()["properties"]["streams"]["additionalProperties"]["properties"]
    assert {f"### `{key}`" for key in stream} <= set(page.splitlines())
