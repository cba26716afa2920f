"""A folder of recipes as one manifest (DESIGN 3, "Folders")."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from clirun import silt, sql

from silt.manifest import ManifestInvalid, expand, load, show

MAIN = """
version: 1
name: plant
state_dir: ./st
sources: {plant: ./plant.db, other: ./other.db}
targets: {lake: ./lake}
defaults: {source: plant, schedule: 1m, tags: [all]}
streams: {main: }
"""
READINGS = """version: 1
defaults: {schedule: 5s, on_reset: restart}
streams:
  readings:
  "log_*": {on_reset: fail, columns: {at: {type: timestamp}}}
"""
OTHER = 'version: 1\ndefaults: {source: other}\nstreams:\n  "o_*":\n  log_one: {source: plant}\n'


def folder(path: Path, **files: str) -> Path:
    for name, text in files.items():
        (path / f"{name}.yaml").write_text(text, encoding="utf-8")
    return path


def problems(path: Path | str, **options):
    with pytest.raises(ManifestInvalid) as caught:
        load(path, **{"env": {}, **options})
    return [(Path(p.file).name, p.line, p.column, p.pointer, p.message) for p in caught.value.problems]


@pytest.fixture
def recipes(tmp_path: Path) -> Path:
    return folder(tmp_path, silt=MAIN, readings=READINGS, other=OTHER)


def test_a_folder_is_one_manifest(recipes: Path):
    """One name and state folder; what is declared anywhere is known everywhere; paths start at the folder."""
    manifest = load(recipes, env={})
    assert (manifest.name, manifest.state_dir) == ("plant", str(recipes / "st"))
    assert [(s.name, s.path) for s in manifest.sources] == [
        ("plant", str(recipes / "plant.db")),
        ("other", str(recipes / "other.db")),
    ]
    found = expand(manifest, {"plant": ("log_one", "log_two"), "other": ("o_x",)})
    assert found.problems == ()
    assert [(s.name, s.source) for s in found.streams] == [
        ("main", "plant"),
        ("log_one", "plant"),
        ("readings", "plant"),
        ("log_two", "plant"),
        ("o_x", "other"),
    ]


def test_defaults_apply_to_their_own_file_and_those_of_silt_yaml_to_all(recipes: Path):
    """A stream has its file's defaults over silt.yaml's; one that a pattern made, the pattern's file's."""
    found = {
        s.name: s
        for s in expand(load(recipes, env={}), {"plant": ("log_one", "log_two"), "other": ("o_x",)}).streams
    }
    assert {n: (s.schedule.every, s.on_reset, s.tags) for n, s in found.items()} == {
        "main": (60.0, "fail", ("all",)),
        "readings": (5.0, "restart", ("all",)),
        "log_one": (60.0, "fail", ("all",)),  # of other.yaml; the pattern of readings.yaml applies to it
        "log_two": (5.0, "fail", ("all",)),
        "o_x": (60.0, "fail", ("all",)),
    }
    assert [c.name for c in found["log_one"].columns] == ["at"]


def test_two_files_patterns_whose_defaults_disagree_are_a_tie(tmp_path: Path):
    """Equal patterns of two files make one stream: defaults that disagree name both files."""
    folder(
        tmp_path,
        silt=MAIN,
        a='version: 1\ndefaults: {on_reset: restart}\nstreams: {"a*": }\n',
        b='version: 1\ndefaults: {on_reset: fail}\nstreams: {"*a": }\n',
    )
    (problem,) = expand(load(tmp_path, env={}), {"plant": ("aa",)}).problems
    assert "equally exact and disagree" in problem.message
    assert {Path(problem.file).name, "a.yaml", "b.yaml"} == {"a.yaml", "b.yaml"}
    assert f"{tmp_path / 'a.yaml'}:2" in problem.message + f"{problem.file}:{problem.line}"


def test_places_and_origins_name_the_right_file(recipes: Path):
    """`show` and the places of settings name the file that holds them, defaults of a file included."""
    manifest = load(recipes, env={})
    streams = expand(manifest, {"plant": ("log_two",)}).streams
    shown = {
        s["name"]: {i["key"]: i["origin"] for i in s["settings"]} for s in show(manifest, streams)["streams"]
    }
    silt_yaml, readings, other = (f"{recipes}/{name}.yaml" for name in ("silt", "readings", "other"))
    assert shown["log_two"] == {
        **shown["log_two"],
        "source": f"{silt_yaml}:7",
        "schedule": f"{readings}:2",
        "on_reset": f"{readings}:5",
        "tags": f"{silt_yaml}:7",
        "columns.at.type": f"{readings}:5",
    }
    assert shown["log_one"]["source"] == f"{other}:5"
    by_name = {s.name: s for s in streams}
    assert by_name["log_two"].places["schedule"].file == readings
    assert by_name["readings"].places[""].file == readings


def test_a_name_declared_twice_names_both_places(tmp_path: Path):
    """Sources, targets, streams and the manifest's own settings: each once, whichever file it is in."""
    again = (
        "version: 1\nname: else\nsources: {plant: ./p.db}\ntargets: {lake: ./l, new: ./n}\n"
        "streams:\n  main: {wrong: 1}\n"
    )
    folder(tmp_path, silt=MAIN.replace("{main: }", "{main: {target: lake}}"), a=again)
    first = f"{tmp_path}/silt.yaml"
    assert problems(tmp_path) == [
        ("a.yaml", 2, 1, "name", f"is set in two files: also at {first}:3"),
        ("a.yaml", 3, 11, "sources.plant", f"is declared in two files: also at {first}:5"),
        ("a.yaml", 4, 11, "targets.lake", f"is declared in two files: also at {first}:6"),
        ("a.yaml", 6, 3, "streams.main", f"is declared in two files: also at {first}:8"),
        ("a.yaml", 6, 10, "streams.main.wrong", "unknown key"),
    ]


def test_problems_of_all_files_at_once(tmp_path: Path):
    """Each problem is in its own file with its own line, form, reference and defaults alike."""
    folder(
        tmp_path,
        silt=MAIN,
        a="version: 1\ndefaults: {target: lak}\nstreams:\n  a: {mode: x}\n",
        b="version: 1\ndefaults:\n  schedule: 0s\nstreams:\n  b:\n",
    )
    assert [p[:4] for p in problems(tmp_path)] == [
        ("a.yaml", 2, 20, "defaults.target"),
        ("a.yaml", 4, 13, "streams.a.mode"),
        ("b.yaml", 3, 13, "defaults.schedule"),
    ]
    (tmp_path / "c.yaml").write_text("a: [1\n")
    (tmp_path / "d.yaml").write_bytes(b"\xff")
    assert [p[:2] for p in problems(tmp_path)] == [("c.yaml", 1), ("d.yaml", 1)]


def test_variables_belong_to_their_file(tmp_path: Path):
    """A variable in one file's defaults is named as the origin; an unset one is a problem there."""
    folder(tmp_path, silt=MAIN, a="version: 1\ndefaults: {schedule: '${EVERY}'}\nstreams: {a: }\n")
    manifest = load(tmp_path, env={"EVERY": "7s"})
    stream = next(s for s in expand(manifest, {}).streams if s.name == "a")
    assert stream.schedule.every == 7.0
    origins = {i["key"]: i["origin"] for i in show(manifest, [stream])["streams"][0]["settings"]}
    assert origins["schedule"] == "EVERY"
    assert problems(tmp_path)[0][:4] == ("a.yaml", 2, 22, "defaults.schedule")


def test_what_is_no_part(recipes: Path):
    """Hidden files, editors' files, other files and folders (a ConfigMap's hidden one too) are not read."""
    before = load(recipes, env={})
    for name in (
        ".hidden.yaml",
        ".silt.yaml.swp",
        "silt.yaml~",
        "#silt.yaml#",
        "notes.txt",
        "4913",
        "x.json",
    ):
        (recipes / name).write_text("no: [manifest")
    (recipes / "lake").mkdir()
    (recipes / "lake" / "silt.yaml").write_text("no: [manifest")
    (recipes / "folder.yaml").mkdir()
    (recipes / ".#silt.yaml").symlink_to("nobody@nowhere:1")
    after = load(recipes, env={})
    assert (after.digest, after.files) == (before.digest, before.files)


def test_a_mounted_config_map(tmp_path: Path):
    """Files that are links into a hidden folder, as Kubernetes mounts them; a swap changes the digest."""
    for version, schedule in (("..1", "1m"), ("..2", "2m")):
        (tmp_path / version).mkdir()
        (tmp_path / version / "silt.yaml").write_text(MAIN.replace("1m", schedule))
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "silt.yaml").symlink_to("..data/silt.yaml")
    before = load(tmp_path, env={})
    (tmp_path / "..new").symlink_to("..2")
    (tmp_path / "..new").rename(tmp_path / "..data")
    after = load(tmp_path, env={})
    assert before.digest != after.digest
    assert [m.files for m in (before, after)] == [(str(tmp_path), str(tmp_path / "silt.yaml"))] * 2


def test_the_digest_covers_all_files(recipes: Path):
    """A changed, added, renamed or removed file changes the digest; the folder itself is watched too."""
    seen = {load(recipes, env={}).digest}
    (recipes / "other.yaml").write_text(OTHER + "# more\n")
    seen.add(load(recipes, env={}).digest)
    folder(recipes, more="version: 1\n")
    seen.add(load(recipes, env={}).digest)
    (recipes / "more.yaml").rename(recipes / "most.yml")
    manifest = load(recipes, env={})
    seen.add(manifest.digest)
    assert len(seen) == 4
    names = ("silt.yaml", "most.yml", "other.yaml", "readings.yaml")
    assert manifest.files == (str(recipes), *(str(recipes / name) for name in names))


def test_a_folder_that_is_none(tmp_path: Path):
    """No YAML file in it, a flat config in it, a pipe, a link to nowhere, no section at all: each is said."""
    assert problems(tmp_path)[0][4] == "is a folder without a manifest"
    folder(tmp_path, a="version: 1\nsources: {a: ./a.db}\n")
    assert [p[4] for p in problems(tmp_path)] == ["'streams' is missing", "'targets' is missing"]
    folder(tmp_path, flat="sqlite: ./a.db\ntable_path: ./lake/a\n")
    assert "'sqlite' is of a flat config" in problems(tmp_path)[0][4]
    (tmp_path / "flat.yaml").unlink()
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "gone.yaml").symlink_to("nowhere")
    said = {name: message for name, _, _, _, message in problems(tmp_path)}
    assert said == {"gone.yaml": "cannot be read: No such file or directory", "pipe.yaml": "is no file"}


def test_each_file_says_its_version(tmp_path: Path):
    """A YAML file of something else, put into the folder by mistake, is a problem at its own first line."""
    folder(tmp_path, silt=MAIN, compose="services: {web: {image: nginx}}\n")
    assert problems(tmp_path) == [
        ("compose.yaml", 1, 1, "", "'version' is missing"),
        ("compose.yaml", 1, 1, "services", "unknown key"),
    ]


def test_a_folder_is_bounded(tmp_path: Path):
    """Many files together are no larger than one may be."""
    folder(tmp_path, silt=MAIN, **{f"f{i}": "# " + "x" * 1_000_000 for i in range(5)})
    assert problems(tmp_path)[0][4] == "its files are larger than 4 MB"


# --- every verb -----------------------------------------------------------------------------------


@pytest.fixture
def plant(recipes: Path) -> Path:
    sql(
        recipes / "plant.db",
        "create table main (id integer primary key autoincrement, v text);"
        "create table readings (id integer primary key autoincrement, v text);"
        "create table log_one (id integer primary key autoincrement, at text);"
        "insert into main (v) values ('a'), ('b'); insert into readings (v) values ('c');",
    )
    sql(recipes / "other.db", "create table o_x (id integer primary key autoincrement, v text);")
    return recipes


def test_every_verb_takes_a_folder(plant: Path):
    """What takes a file takes a folder: by PATH, by $SILT_MANIFEST, and as the current one."""
    for verb in (["validate"], ["show"], ["plan"], ["run", "--once"], ["status"]):
        done = silt(*verb, plant, cwd=plant.parent)
        assert (done.returncode, done.stderr) == (0, ""), done
    asked = silt("query", plant, "select count(*) as n from main", "--json")
    assert json.loads(asked.stdout)["rows"] == [{"n": 2}]
    assert silt("reset", plant, "main", "--yes").returncode == 0
    assert silt("plan", ".", cwd=plant).stdout.startswith(f"{plant.name}, node local: 4 streams")
    again = json.loads(silt("run", "--once", "--json", SILT_MANIFEST=str(plant)).stdout)
    assert {s["name"]: s["rows"] for s in again["streams"]} == {
        "main": 2,
        "readings": 0,
        "log_one": 0,
        "o_x": 0,
    }
    assert (plant / "st").is_dir()


def test_a_bad_file_in_a_folder_fails_the_folder(plant: Path):
    """`validate` names the file that is wrong, and does not call the folder valid."""
    folder(plant, bad="version: 1\nstreams: {x: {mod: append}}\n")
    done = silt("validate", plant.name, cwd=plant.parent)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"{plant.name}/bad.yaml:2:15: streams.x.mod: unknown key (did you mean 'mode'?)" in done.stderr
    assert "1 problem in 1 file" in done.stderr
