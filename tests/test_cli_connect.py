"""`silt validate --connect`: what planning refuses, as problems of the manifest, and nothing written."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from clirun import silt
from kit import Site, sql

MANIFEST = """\
version: 1
sources:
  app: ./app.db
  gone: ./nowhere.db
  note: {path: ./note.txt}
targets:
  lake: ./lake
  taken: ./file
defaults:
  target: lake
  source: app
streams:
  good: {table: readings}
  reading:
  other: {table: readngs, into: o}
  all_wrong:
    table: readings
    where: "qualty > 0"
    select: ["*", "-debug", vv]
    columns:
      w: {rename: x}
      quality: {type: double}
    cursor: [atx, id]
    partition_by: [day, v]
  unsafe: {table: log, into: unsafe}
  missing: {source: gone, table: readings}
  no_database: {source: note, table: readings}
  in_a_file: {table: readings, target: taken}
  elsewhere: {table: readings, into: elsewhere}
  conflict: {table: readings, into: conflict}
  kept: {table: readings, into: kept, partition_by: [quality]}
  "tmp_*": {where: "nope = 1"}
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    made = Site(tmp_path_factory.mktemp("connect"))
    folder = made.folder
    made.sql(
        "CREATE TABLE readings(id INTEGER PRIMARY KEY, v TEXT, quality INTEGER, at TEXT)",
        "INSERT INTO readings VALUES (1, 'a', 1, '2024-01-01'), (2, 'b', 2, '2024-01-02')",
        "CREATE TABLE log(words TEXT)",
        "INSERT INTO log VALUES ('a'), ('a')",
        "CREATE TABLE tmp_a(id INTEGER PRIMARY KEY)",
        "CREATE TABLE tmp_b(id INTEGER PRIMARY KEY)",
    )
    (folder / "note.txt").write_text("a note, and long enough to hold the header of a database: " + "x" * 99)
    (folder / "file").write_text("no folder")
    (folder / "lake" / "elsewhere").mkdir(parents=True)
    (folder / "lake" / "elsewhere" / "data.csv").write_text("1,2\n")
    made.write("  conflict: {table: readings, columns: {id: {rename: v}}, select: [id]}\n")
    assert made.one().rows == 2
    made.write("  kept: {table: readings, partition_by: [v]}\n")
    assert made.one().rows == 2
    made.manifest.write_text(MANIFEST)
    return made


def listing(folder: Path) -> Counter[tuple[str, int, int]]:
    return Counter(
        (str(p.relative_to(folder)), p.stat().st_mtime_ns, p.stat().st_size) for p in folder.rglob("*")
    )


@pytest.fixture(scope="module")
def told(site: Site) -> dict[str, Any]:
    before = listing(site.folder)
    done = silt("validate", "silt.yaml", "--connect", "--json", cwd=site.folder)
    assert listing(site.folder) == before
    return {"code": done.returncode, "answer": json.loads(done.stdout), "stderr": done.stderr}


WANTED = {
    (4, 9): ("sources.gone", "no such database file", "check the path"),
    (5, 16): ("sources.note.path", "this is not a SQLite database", "encrypted"),
    (8, 10): ("targets.taken", "a file is in the place of a folder", "target's uri"),
    (14, 3): ("streams.reading", "no table 'reading'", "did you mean 'readings'?"),
    (15, 18): ("streams.other.table", "no table 'readngs'", "did you mean 'readings'?"),
    (18, 12): ("streams.all_wrong.where", "no such column: qualty", "did you mean 'quality'?"),
    (19, 19): ("streams.all_wrong.select[1]", "names column 'debug'", None),
    (19, 29): ("streams.all_wrong.select[2]", "names column 'vv'", "did you mean 'v'?"),
    (21, 7): ("streams.all_wrong.columns.w", "names column 'w'", None),
    (23, 14): ("streams.all_wrong.cursor[0]", "the cursor names 'atx'", "did you mean 'at'?"),
    (24, 20): ("streams.all_wrong.partition_by[0]", "partition_by names 'day'", None),
    (25, 3): ("streams.unsafe", "no safe cursor in log", "declare `cursor:`"),
    (29, 38): ("streams.elsewhere.into", "this is not a Delta table", "choose an empty place"),
    (30, 3): ("streams.conflict", "the table has another schema: column v", "keeps the table's type"),
    (31, 53): ("streams.kept.partition_by", "the table is partitioned by v", "undo the edit"),
    (32, 20): ("streams.tmp_*.where", "no such column: nope", None),
}


def test_every_refusal_of_planning_is_a_problem_at_its_place(told: dict[str, Any]) -> None:
    """All streams, all that is wrong with each, each once: line, column, pointer, message, hint; exit 1."""
    assert told["code"] == 1
    assert told["answer"]["valid"] is False
    problems = {(p["line"], p["column"]): p for p in told["answer"]["problems"]}
    for place, (pointer, message, hint) in WANTED.items():
        assert place in problems, (place, pointer)
        found = problems[place]
        assert found["file"] == "silt.yaml"
        assert found["pointer"] == pointer
        assert message in found["message"]
        assert (hint or "") in (found["hint"] or "")
    assert not set(problems) - set(WANTED)


def test_text_shows_the_line_and_github_the_place(site: Site, told: dict[str, Any]) -> None:
    """The same problems in every form, the text with the line itself and a mark under the word."""
    text = silt("validate", "silt.yaml", "--connect", cwd=site.folder)
    assert text.returncode == 1
    assert text.stdout == ""
    lines = text.stderr.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("silt.yaml:19:29: "))
    assert lines[at + 1] == '   19 |     select: ["*", "-debug", vv]'
    assert lines[at + 2] == "      | " + " " * 28 + "^"
    count = len(told["answer"]["problems"])
    assert lines[-1] == f"{count} problems in 1 file"
    github = silt("validate", "silt.yaml", "--connect", "--format", "github", cwd=site.folder)
    assert github.returncode == 1
    assert len(github.stdout.splitlines()) == count
    assert "line=19,col=29::select names column 'vv'" in github.stdout


def test_plan_tells_the_same_places(site: Site, told: dict[str, Any]) -> None:
    """The place of each stream's first error in `plan --json` is one of the problems', in its words."""
    planned = json.loads(silt("plan", "silt.yaml", "--json", cwd=site.folder).stdout)["streams"]
    problems = {(p["line"], p["column"], p["message"]) for p in told["answer"]["problems"]}
    failing = [stream for stream in planned if stream["error"]]
    fine = {"good", "in_a_file"}  # that a commit could not be written is asked by --connect alone
    assert {s["name"] for s in failing} == {s["name"] for s in planned} - fine
    for stream in failing:
        place = stream["place"]
        assert (place["line"], place["column"], stream["error"]) in problems
    text = silt("plan", "silt.yaml", cwd=site.folder).stdout
    assert "silt.yaml:15:18: no table 'readngs'" in " ".join(text.split())


def test_manifest_with_problems_is_not_connected_and_says_so(tmp_path: Path) -> None:
    """What the schema refuses comes first: that nothing else was looked at is said, with --connect only."""
    (tmp_path / "m.yaml").write_text(
        "version: 1\nsources: {a: ./a.db}\ntargets: {l: ./l}\nstreams: {t: {mod: x}}\n"
    )
    words = "m.yaml: sources and targets were not looked at: mend these first"
    assert words in silt("validate", "m.yaml", "--connect", cwd=tmp_path).stderr.splitlines()
    assert words not in silt("validate", "m.yaml", cwd=tmp_path).stderr


def test_a_constant_over_a_column_says_what_to_do(tmp_path: Path) -> None:
    """A constant of a column's name, whatever its case: call it otherwise, or leave the column out."""
    site = Site(tmp_path)
    site.sql("create table t(id integer primary key, City text)")
    for name in ("City", "city"):
        site.write(f"  t: {{columns: {{{name}: {{value: x}}}}}}\n")
        done = silt("validate", "silt.yaml", "--connect", cwd=tmp_path)
        assert f"streams.t.columns.{name}: City is a column of the table" in done.stderr
        assert 'select: ["*", "-City"]' in done.stderr
    site.write('  t: {columns: {City: {value: x}}, select: ["*", "-City"]}\n')
    assert silt("validate", "silt.yaml", "--connect", cwd=tmp_path).returncode == 0


def test_without_connect_no_source_is_looked_at(site: Site) -> None:
    """The same manifest is valid as a manifest."""
    done = silt("validate", "silt.yaml", cwd=site.folder)
    assert (done.returncode, done.stdout) == (0, "silt.yaml: valid\n")


def test_what_runs_is_valid_and_is_not_run(tmp_path: Path) -> None:
    """A good manifest beside its database: valid, exit 0, and neither lake nor state folder is made."""
    site = Site(tmp_path)
    site.sql("CREATE TABLE t(id INTEGER PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    site.write("  t:\n  copy: {table: t, mode: overwrite}\n")
    before = listing(tmp_path)
    done = silt("validate", "silt.yaml", "--connect", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "silt.yaml: valid\n", "")
    assert listing(tmp_path) == before
    assert silt("validate", "silt.yaml", "--connect", "--no-env", cwd=tmp_path).returncode == 1


def test_a_held_stream_is_a_problem_at_its_name(tmp_path: Path) -> None:
    """Rows of strangers in the slice, a replaced database: what holds a stream is told as plan tells it."""
    site = Site(tmp_path)
    site.sql("CREATE TABLE t(id INTEGER PRIMARY KEY, v)", "INSERT INTO t VALUES (1, 1), (2, 2)")
    site.write("  t:\n")
    assert site.one().rows == 2
    site.database.unlink()
    sql(site.database, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)", "INSERT INTO t VALUES (1, 9)")
    done = silt("validate", "silt.yaml", "--connect", "--json", cwd=tmp_path)
    (problem,) = json.loads(done.stdout)["problems"]
    assert (done.returncode, problem["line"], problem["pointer"]) == (1, 7, "streams.t")
    planned = json.loads(silt("plan", "silt.yaml", "--json", cwd=tmp_path).stdout)["streams"][0]
    assert (planned["state"], planned["error"]) == ("held", problem["message"])
