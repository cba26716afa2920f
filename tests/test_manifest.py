"""Whole manifests: the corpora in tests/manifests, limits on hostile files, secrets, the flat config."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hostile import HEAD, hostile, large

from silt.errors import Secret
from silt.manifest import ManifestInvalid, expand, load, problems_text, show, static_streams
from silt.manifest.document import parse
from silt.manifest.model import CursorRule, Schedule

CORPUS = Path(__file__).parent / "manifests"
VALID = sorted((CORPUS / "valid").glob("*.yaml"))
INVALID = sorted((CORPUS / "invalid").glob("*.yaml"))


def written(folder: Path, text: str, name: str = "m.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def streams(folder: Path, body: str, tables: tuple[str, ...] = (), **env: str):
    expansion = expand(load(written(folder, HEAD + body), env=env), {"plant": tables})
    assert expansion.problems == ()
    return {stream.name: stream for stream in expansion.streams}


def complaints(path: Path, **options) -> str:
    with pytest.raises(ManifestInvalid) as caught:
        load(path, **{"env": {}, **options})
    return problems_text(caught.value.problems)


# --- the corpora ----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_valid(path: Path):
    """Every manifest in tests/manifests/valid loads, expands and can be shown as JSON."""
    manifest = load(path, env={})
    tables = {
        source.name: ("log_a", "t12", "other") for source in manifest.sources if "upload" not in path.stem
    }
    expansion = expand(manifest, tables)
    assert expansion.problems == ()
    json.dumps(show(manifest, expansion.streams))


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.stem)
def test_invalid(path: Path, monkeypatch: pytest.MonkeyPatch):
    """Every manifest in tests/manifests/invalid is refused in the very words of the text beside it."""
    monkeypatch.chdir(path.parent)
    assert complaints(Path(path.name)) + "\n" == path.with_suffix(".txt").read_text(encoding="utf-8")


def test_the_corpora_are_there():
    """An empty folder would make the tests above pass: there are at least 100 and 30 of them."""
    assert len(INVALID) >= 100
    assert len(VALID) >= 30
    assert {path.stem for path in INVALID} == {path.stem for path in (CORPUS / "invalid").glob("*.txt")}


def test_every_problem_at_once_in_order(tmp_path: Path):
    """Problems of form, reference and meaning come together, sorted by place, each once."""
    text = (
        HEAD
        + "streams:\n  a: {mode: overwrite, cursor: x}\n  b: {mod: x, source: q}\n"
        + "  c: {into: ../x, batch: 3}\n"
    )
    with pytest.raises(ManifestInvalid) as caught:
        load(written(tmp_path, text), env={})
    problems = caught.value.problems
    assert [(p.line, p.pointer) for p in problems] == [
        (5, "streams.a.cursor"),
        (6, "streams.b.mod"),
        (6, "streams.b.source"),
        (7, "streams.c.into"),
        (7, "streams.c.batch"),
    ]
    assert problems[0].source_line == "  a: {mode: overwrite, cursor: x}"


# --- files that are no manifest -------------------------------------------------------------------


MEASURED = """
import json, sys, time
from pathlib import Path
import jsonschema
from silt.manifest import ManifestInvalid, load

seen = {}
for path in sorted(Path(sys.argv[1]).glob("*.yaml")):
    begun = time.process_time()
    try:
        load(path, env={})
        problems = []
    except ManifestInvalid as error:
        problems = [(p.line, p.column, p.message) for p in error.problems]
    seen[path.stem] = {"seconds": time.process_time() - begun, "problems": problems}
# not ru_maxrss: that begins with what the process had that this one was forked from
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps({"seen": seen, "kilobytes": int(peak.split()[1])}))
"""


def test_hostile_files_are_refused_soon_and_in_little_memory(tmp_path: Path):
    """A bomb, a huge file, a deep nest, bytes that are no text, thousands of mistakes: clear problems with
    places in the file, and 200 MB for all of them in one process.  An explosion takes minutes; how far
    below 2 s each one is, `make bench` says.
    """
    for name, raw in hostile().items():
        (tmp_path / f"{name}.yaml").write_bytes(raw)
    code = [sys.executable, "-c", MEASURED, str(tmp_path)]
    told = json.loads(subprocess.run(code, capture_output=True, text=True, check=True).stdout)
    assert set(told["seen"]) == set(hostile())
    for name, seen in told["seen"].items():
        assert seen["problems"], name
        assert seen["seconds"] < 15, (name, seen["seconds"])
        ends = len(hostile()[name].splitlines()) + 1
        for line, column, message in seen["problems"]:
            assert 1 <= line <= ends, name
            assert column >= 1, name
            assert len(message) < 300, name
    assert told["kilobytes"] < 200 * 1024


def test_a_huge_integer_is_no_crash(tmp_path: Path):
    """A number beyond Python's limit for text to integer is text, and refused as such."""
    body = f"streams:\n  a: {{batch: {{max_rows: {'9' * 5000}}}}}\n"
    assert "must be a whole number" in complaints(written(tmp_path, HEAD + body))


def test_no_file(tmp_path: Path):
    """What is not there is named, and nothing is created."""
    assert "no.yaml:1:1: cannot be read: No such file" in complaints(tmp_path / "no.yaml")
    assert list(tmp_path.iterdir()) == []


def test_five_hundred_streams(tmp_path: Path):
    """A manifest of 500 streams loads and expands, in the order that it was written."""
    body = "".join(f"  t{i}: {{cursor: id, tags: [hot]}}\n" for i in range(500))
    found = streams(tmp_path, "streams:\n" + body)
    assert list(found) == [f"t{i}" for i in range(500)]


# --- values ---------------------------------------------------------------------------------------


def test_what_a_full_stream_resolves_to(tmp_path: Path):
    """Shorthands, units and defaults arrive typed: seconds, bytes, absolute paths."""
    body = "streams:\n  a: {cursor: {column: ts, lookback: 10m}, schedule: 200ms, batch: {max_bytes: 64MB}}\n"
    stream = streams(tmp_path, body)["a"]
    assert stream.cursor == CursorRule(kind="columns", columns=("ts",), lookback=600.0, lookback_is_time=True)
    assert stream.schedule == Schedule(every=0.2)
    assert (stream.batch.max_rows, stream.batch.max_bytes) == (1_000_000, 64 * 1024**2)
    assert (stream.into, stream.mode, stream.select, stream.lineage) == ("a", "append", ("*",), None)
    assert stream.places["cursor"].line == 5


def test_cursor_forms():
    """`rowid` is a kind of its own in either form; columns are columns; an object may be auto."""
    found = {s.name: s for s in expand(load(CORPUS / "valid" / "cursor_forms.yaml", env={}), {}).streams}
    assert {name: (s.cursor.kind, s.cursor.columns) for name, s in found.items()} == {
        "a": ("auto", ()),
        "b": ("rowid", ("rowid",)),
        "c": ("columns", ("updated_at",)),
        "d": ("columns", ("day", "seq")),
        "e": ("columns", ("ts",)),
        "f": ("columns", ("day", "seq")),
        "g": ("rowid", ("rowid",)),
        "h": ("auto", ()),
    }
    assert (found["e"].cursor.lookback, found["e"].cursor.initial_value) == (600.0, "2026-01-01T00:00:00")
    assert (found["f"].cursor.lookback, found["g"].cursor.initial_value) == (3, 1000)
    assert (found["e"].cursor.max_skew, found["h"].cursor.max_skew) == (300.0, 86400.0)
    assert (found["e"].cursor.on_null, found["a"].cursor.on_null) == ("include", "fail")


def test_paths_are_relative_to_the_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Sources, local targets and state_dir start from the manifest's folder, wherever silt runs."""
    monkeypatch.chdir("/")
    manifest = load(written(tmp_path, HEAD + "streams: {a: }\n"), env={})
    assert manifest.source("plant").path == str(tmp_path / "plant.db")
    assert manifest.target("lake").uri == str(tmp_path / "lake")
    assert manifest.state_dir == str(tmp_path / "state")
    assert manifest.files == (str(tmp_path / "m.yaml"),)


def test_constants_keep_their_spelling(tmp_path: Path):
    """A constant column is text as written: 1.50 stays 1.50, true stays true."""
    columns = streams(
        tmp_path, "streams: {a: {columns: {x: {value: 1.50}, y: {value: true}, z: {value: '007'}}}}\n"
    )
    assert [rule.value for rule in columns["a"].columns] == ["1.50", "true", "007"]


def test_names_are_made_fit_for_a_path(tmp_path: Path):
    """A table name that delta-rs cannot have in a path (it panics) becomes one that it can."""
    found = streams(tmp_path, "streams: {'*': }\n", ("a/b", "x|y", "w[1]", "naïve ü"))
    assert {name: stream.into for name, stream in found.items()} == {
        "a/b": "a_b",
        "x|y": "x_y",
        "w[1]": "w_1_",
        "naïve ü": "naïve ü",
    }


def test_a_table_called_dot_dot_is_refused(tmp_path: Path):
    """`{table}` cannot lead out of the target; the problem stands at the most exact pattern that matches."""
    manifest = load(written(tmp_path, HEAD + "streams: {'*': , '.*': , '?.': }\n"), env={})
    expansion = expand(manifest, {"plant": ("..",)})
    assert expansion.streams == ()
    assert "stays below" in expansion.problems[0].message
    assert expansion.problems[0].pointer == "streams.'.*'"


# --- secrets --------------------------------------------------------------------------------------

SECRETS = """
version: 1
node: n
sources: {plant: ./plant.db}
targets:
  lake:
    uri: s3://bucket/x
    storage_options:
      AWS_SECRET_ACCESS_KEY: ${secret:env:AWS}
      AWS_SESSION_TOKEN: "${secret:file:token}"
      AWS_ACCESS_KEY_ID: hunter2
      azure_nonsense: 1
      AWS_REGION: us-west-2
streams: {a: }
"""


def test_secrets_are_opened_only_when_asked(tmp_path: Path):
    """`open_secrets=False` reads no variable and no file; with True the values are there, unprinted."""
    path = written(tmp_path, SECRETS.replace("      azure_nonsense: 1\n", ""))
    closed = load(path, env={}).target("lake").storage_options
    assert all(isinstance(closed[key], Secret) for key in closed if key != "AWS_REGION")
    (tmp_path / "token").write_text("hunter3\n")
    manifest = load(path, env={"AWS": "hunter1"}, open_secrets=True)
    options = manifest.target("lake").storage_options
    opened = [value.reveal() for value in options.values() if isinstance(value, Secret)]
    assert opened == ["hunter1", "hunter3", "hunter2"]
    shown = json.dumps(show(manifest, expand(manifest, {}).streams))
    assert "hunter" not in repr(manifest) + str(manifest) + shown
    assert "us-west-2" in shown


def test_a_missing_secret_is_a_problem_when_opened(tmp_path: Path):
    """A secret that is not there is named with its place, not read as nothing."""
    path = written(tmp_path, SECRETS.replace("      azure_nonsense: 1\n", ""))
    text = complaints(path, open_secrets=True)
    assert "the secret's environment variable AWS is not set" in text
    assert "the secret's file token cannot be read: No such file" in text


@pytest.mark.parametrize(
    "line",
    [
        "      AWS_SECRET_ACCESS_KEY: hunter2 # plain",
        "      AWS_SECRET_ACCESS_KEY: 'hunter2'",
        "      AWS_SECRET_ACCESS_KEY: |\n        hunter2\n        hunter2",
        "      AWS_SECRET_ACCESS_KEY: ${NOT_SET:-hunter2}",
        "      AWS_SECRET_ACCESS_KEY: [hunter2",
        "      AWS_SECRET_ACCESS_KEY: 'hunter2",
        "     AWS_SECRET_ACCESS_KEY: hunter2",
        "      password: hunter2\n      password: hunter2",
        "      unknown: {AWS_SECRET_ACCESS_KEY: hunter2}",
        "\tAWS_SECRET_ACCESS_KEY: hunter2",
        "      AWS_SECRET_ACCESS_KEY: |\n        hunter2\n   hunter2",
        "      AWS_SECRET_ACCESS_KEY:\n        - hunter2\n        hunter2: {",
        '      AWS_SECRET_ACCESS_KEY: "hunter2\n  hunter2" hunter2',
        "      AWS_SECRET_ACCESS_KEY: ${hunter2 hunter2}",
        "  AWS_SECRET_ACCESS_KEY: hunter2",
        "streams: {AWS_SECRET_ACCESS_KEY: hunter2}",
    ],
)
def test_no_problem_prints_a_secret(line: str, tmp_path: Path):
    """Whatever is wrong on the line of a plain secret, or in its file, its value is not shown."""
    text = SECRETS.replace("      AWS_ACCESS_KEY_ID: hunter2", line)
    found = complaints(written(tmp_path, text))
    assert found
    assert "hunter" not in found


def test_a_secret_of_several_lines_is_blotted_whole():
    """A key in PEM form leaves nothing to read, and what follows it stays."""
    text = "a:\n  b:\n    token: |\n      hunter2\n\n      hunter2\n    c: 1\nd: 2\n"
    blotted = ("a:", "  b:", "    token: *", "*" * 13, "", "*" * 13, "    c: 1", "d: 2", "")
    assert parse(text, "m.yaml").lines == {"m.yaml": blotted}


def test_a_value_that_cannot_be_expanded_is_one_problem(tmp_path: Path):
    """A required value whose variable is not set is not reported as missing too."""
    body = HEAD.replace("./plant.db", '{path: "${NOT_SET}"}') + "streams: {a: }\n"
    with pytest.raises(ManifestInvalid) as caught:
        load(written(tmp_path, body), env={})
    assert [problem.pointer for problem in caught.value.problems] == ["sources.plant.path"]


# --- the environment ------------------------------------------------------------------------------


def test_unset_variables_are_accepted_without_an_environment(tmp_path: Path):
    """`--no-env`: unset variables, also where a number or a word of a list is wanted, are no problem."""
    body = """
streams:
  a: {mode: "${A}", batch: {max_rows: "${B}"}, schedule: "${C:?say}", where: "${D}", source: "${E}"}
  b: {enabled: "${F}", columns: {x: {timezone: "${G}", type: "${H}"}}}
"""
    path = written(tmp_path, HEAD + "node: ${NODE_ID:?set it}\n" + body)
    assert load(path, env={}, require_env=False).node == "${NODE_ID:?set it}"
    assert complaints(path).count("is not set") == 9


def test_identity_is_of_bytes(tmp_path: Path):
    """The digest is of the file as written: the environment does not change it, a comment does."""
    path = written(tmp_path, HEAD + "node: ${NODE_ID:-a}\nstreams: {a: }\n")
    first, second = load(path, env={}).digest, load(path, env={"NODE_ID": "b"}).digest
    path.write_text(path.read_text() + "# more\n")
    assert first == second != load(path, env={}).digest


# --- the flat config ------------------------------------------------------------------------------

FLAT = "sqlite: ./sensor.db\ntable_path: ./lake/readings/\nstate_dir: ./st\ninterval: 60\n"


def test_a_flat_config_is_lifted(tmp_path: Path):
    """The seed's file becomes a manifest `default` with one stream, named after the one table."""
    manifest = load(written(tmp_path, FLAT), env={})
    assert (manifest.name, manifest.node, manifest.state_dir) == ("default", "default", str(tmp_path / "st"))
    assert static_streams(manifest) == ()
    (stream,) = expand(manifest, {"source": ("sensor_readings",)}).streams
    assert (stream.name, stream.table, stream.into) == ("sensor_readings", "sensor_readings", "readings")
    assert manifest.target(stream.target).uri == str(tmp_path / "lake")
    assert (stream.schedule.every, stream.cursor, stream.mode) == (60.0, CursorRule(), "append")


def test_the_environment_wins_over_a_flat_config(tmp_path: Path):
    """The four variables win, an empty one does not; NODE_ID names the node."""
    env = {
        "SQLITE_PATH": "/x.db",
        "TABLE_PATH": "s3://b/p/t",
        "STATE_DIR": "",
        "UPLOAD_INTERVAL": "9",
        "NODE_ID": "7",
    }
    manifest = load(written(tmp_path, FLAT), env=env)
    assert (manifest.node, manifest.source("source").path) == ("7", "/x.db")
    assert (manifest.target("lake").uri, manifest.state_dir) == ("s3://b/p", str(tmp_path / "st"))
    (stream,) = expand(manifest, {"source": ("t",)}).streams
    assert (stream.into, stream.schedule.every) == ("t", 9.0)


def test_the_environment_alone_may_give_the_paths(tmp_path: Path):
    """A flat file need not hold what the environment gives."""
    path = written(tmp_path, "interval: 5\n")
    assert "'sqlite' is missing" in complaints(path)
    assert load(path, env={"SQLITE_PATH": "a.db", "TABLE_PATH": "lake/a"}).source("source").path == str(
        tmp_path / "a.db"
    )


@pytest.mark.parametrize("interval", ["abc", "5m", "0", "-3", "1.5", "١"])
def test_a_bad_interval_is_an_error(interval: str, tmp_path: Path):
    """UPLOAD_INTERVAL is a whole number of seconds or a problem that names it; never 300."""
    text = complaints(written(tmp_path, FLAT), env={"UPLOAD_INTERVAL": interval})
    assert "interval: must be" in text
    assert "UPLOAD_INTERVAL" in text


def test_the_one_table_of_a_flat_config(tmp_path: Path):
    """Two candidate tables are an error that lists them, none is an error too, not looked at is neither."""
    manifest = load(written(tmp_path, FLAT), env={})
    two = expand(manifest, {"source": ("b", "a")})
    assert two.streams == ()
    assert "holds 2 tables, and which one is not said: a, b" in two.problems[0].message
    assert two.problems[0].pointer == "sqlite"
    assert "holds no table" in expand(manifest, {"source": ()}).problems[0].message
    assert expand(manifest, {}).problems == ()


def test_five_hundred_streams_are_valid(tmp_path: Path):
    """4,000 lines; `make bench` says in how many tenths of a second."""
    assert len(static_streams(load(written(tmp_path, large(500)), env={}))) == 500
