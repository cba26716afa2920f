"""`silt`: help, misuse, errors; what every verb does alike."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
from clirun import SILT, Cold, environment, silt

VERBS = (
    "init",
    "inspect",
    "validate",
    "plan",
    "show",
    "schema",
    "migrate",
    "run",
    "status",
    "query",
    "demo",
    "reset",
    "maintain",
    "ddl",
    "register",
)


def test_help_lists_every_verb_in_its_group():
    """Help names each verb, by group, and shows a newcomer where to begin."""
    done = silt("--help")
    assert done.returncode == 0
    assert done.stderr == ""
    for verb in VERBS:
        assert re.search(rf"^│ {verb} ", done.stdout, re.MULTILINE), verb
    groups = ("Author a manifest", "Run it", "Repair", "Databricks")
    assert [done.stdout.index(g) for g in groups] == sorted(done.stdout.index(g) for g in groups)
    assert "silt demo" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100


@pytest.mark.parametrize("columns", ["48", "80", "300"])
def test_help_fits_the_terminal(columns):
    """No line of the help is wider than the terminal, or than 100; every box closes."""
    lines = silt("--help", COLUMNS=columns).stdout.splitlines()
    boxes = [line for line in lines if line[:1] in {"╭", "│", "╰"}]
    assert {len(line) for line in boxes} == {min(int(columns), 100)}
    assert all(line[-1] in "╮│╯" for line in boxes)
    assert "compared cell by cell." in " ".join(
        silt("--help", COLUMNS=columns).stdout.replace("│", " ").split()
    )


def test_help_has_colours_where_they_are_wanted():
    """FORCE_COLOR brings them, a pipe does not; the words are the same."""
    plain, bright = silt("--help").stdout, silt("--help", FORCE_COLOR="1").stdout
    assert "\x1b[" not in plain
    assert "\x1b[1;36mrun " in bright
    assert re.sub(r"\x1b\[[0-9;]*m", "", bright) == plain


def test_help_is_drawn_with_what_the_terminal_knows():
    """Where the output takes no box-drawing characters, boxes are of plain ones."""
    told, _ = Cold("--help", PYTHONIOENCODING="latin-1").communicate(timeout=90)
    assert "| validate " in told
    assert "\\u" not in told


def test_no_arguments_show_the_help():
    """`silt` alone is a question, not a mistake."""
    done = silt()
    assert done.returncode == 0
    assert "Usage: silt" in done.stdout


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_options(verb):
    """Each verb explains itself and its options."""
    done = silt(verb, "--help")
    assert done.returncode == 0
    assert f"Usage: silt {verb}" in done.stdout
    assert "--help" in done.stdout


def test_help_mentions_no_verb_that_is_not_built():
    """Nothing that help says leads to a verb that does not exist."""
    text = silt("--help").stdout + "".join(silt(verb, "--help").stdout for verb in VERBS)
    named = set(re.findall(r"\bsilt ([a-z]+)", text))
    assert named <= {
        *VERBS,
        "does",
        "is",
        "work",
        "writes",
        "wrote",
    }  # as in "silt is what SQLite leaves in the Delta"


def test_help_loads_nothing_heavy():
    """`silt --help` is quick because no engine is imported for it."""
    code = (
        "import sys\nfrom silt.cli.app import run\nassert run(['--help']) == 0\n"
        "heavy = {'pyarrow', 'deltalake', 'sqlalchemy', 'jsonschema', 'yaml', 'ruamel', 'structlog'}\n"
        "heavy |= {'rich', 'pygments', 'markdown_it'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment())
    assert done.stderr.strip() == "[]"


def test_version():
    """The version of the distribution."""
    from importlib.metadata import version

    done = silt("--version")
    assert (done.returncode, done.stdout) == (0, f"silt {version('siltlake')}\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["plan", "--nope"], "no such option: --nope"),
        (["bogus"], "no such command 'bogus'"),
        (["query"], "missing argument"),
        (["query", "x.yaml"], "missing argument"),
        (["reset", "x.yaml"], "missing argument"),
        (["init"], "missing argument"),
        (["inspect"], "missing argument"),
        (["demo", "--seconds", "soon"], "invalid value for '--seconds'"),
        (["validate", "--format", "xml"], "--format is 'xml'"),
        (["run", "--log-format", "xml"], "--log-format is 'xml'"),
        (["query", "x.yaml", "select 1", "--json", "--csv"], "do not go together"),
        (["schema", "nope"], "no schema 'nope'"),
    ],
)
def test_misuse_is_1_and_on_stderr(arguments, words, tmp_path):
    """A mistyped flag, verb or value: exit 1 (2 is kept for plan), one sentence on stderr, no traceback."""
    done = silt(*arguments, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout == ""
    assert words in done.stderr
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr


def test_mistyped_verb_gets_a_suggestion():
    """`silt statsu` may have meant status."""
    assert "Did you mean 'status'?" in silt("statsu").stderr


def test_no_manifest_says_how_to_name_one(tmp_path):
    """Without PATH, SILT_MANIFEST and ./silt.yaml the error names all three."""
    done = silt("plan", cwd=tmp_path)
    assert done.returncode == 1
    assert "PATH was not given, SILT_MANIFEST is not set, and there is no ./silt.yaml" in done.stderr


def test_an_empty_folder_is_no_manifest(tmp_path):
    """A folder without a .yaml file is refused, and what it should hold is said."""
    done = silt("validate", tmp_path)
    assert done.returncode == 1
    assert (
        "is a folder without a manifest (a folder's manifests are its files *.yaml and *.yml" in done.stderr
    )


def test_bug_shows_no_traceback_unless_asked(tmp_path):
    """An unexpected exception is one sentence; SILT_DEBUG=1 shows where it came from."""
    code = (
        "import sys\nfrom silt.cli import app, paths\n"
        "import silt.manifest\nsilt.manifest.load = lambda *a, **k: 1 / 0\n"
        "sys.exit(app.run(['plan', 'x.yaml']))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), cwd=tmp_path)
    assert done.returncode == 1
    assert "silt has a bug: ZeroDivisionError" in done.stderr
    assert "Traceback" not in done.stderr
    debug = subprocess.run(
        command, capture_output=True, text=True, env=environment(SILT_DEBUG="1"), cwd=tmp_path
    )
    assert debug.returncode == 1
    assert "Traceback" in debug.stderr


def test_json_error_is_json_too(tmp_path):
    """With --json a program finds the error on stdout as well."""
    done = silt("plan", "missing.yaml", "--json", cwd=tmp_path)
    assert done.returncode == 1
    told = json.loads(done.stdout)
    assert told["ok"] is False
    assert told["error"]
    assert "missing.yaml" in done.stderr


def test_closed_pipe_is_no_error():
    """`silt schema | head -1` ends without a word on stderr."""
    with Cold("schema") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.wait(30) == 141
        assert process.stderr.read() == ""


def test_schema_is_json():
    """`silt schema` prints the schema that editors use."""
    for name in ((), ("uploader-config",)):
        done = silt("schema", *name)
        assert done.returncode == 0
        assert json.loads(done.stdout)["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_output_is_plain_where_it_is_no_terminal():
    """No escape codes in a file or pipe; FORCE_COLOR brings them, NO_COLOR does not matter then."""
    plain = silt("bogus")
    assert "\x1b[" not in plain.stderr
    assert "\x1b[" in silt("bogus", FORCE_COLOR="1").stderr


def test_module_runs_like_the_command():
    """`python -m silt` is `silt`."""
    assert SILT[1:] == ["-m", "silt"]
    assert silt("--version").stdout.startswith("silt ")
