"""A manifest's bytes: read once, loaded from again, compared by their digest."""

from __future__ import annotations

from pathlib import Path

import pytest

from silt.manifest import ManifestInvalid, digest, expand, load, texts

ONE = "version: 1\nsources: {a: ./a.db}\ntargets: {lake: ./lake}\nstreams: {t: }\n"
PART = "version: 1\nstreams: {u: {where: ok}}\n"


def test_a_file_is_loaded_from_given_bytes(tmp_path: Path):
    """Bytes in place of the disk: the file may be gone or another one, relative paths stay its folder's."""
    path = tmp_path / "m.yaml"
    path.write_text(ONE)
    before = load(path, env={})
    path.unlink()
    after = load(path, before.texts, env={})
    assert after.texts == {"": ONE.encode()}
    assert after == before
    assert after.source("a").path == str(tmp_path / "a.db")
    assert after.state_dir == str(tmp_path / "state")


def test_a_folder_is_loaded_from_given_bytes(tmp_path: Path):
    """A folder's files by their names, in the manifest's order however they are given."""
    (tmp_path / "silt.yaml").write_text(ONE)
    (tmp_path / "a.yaml").write_text(PART)
    before = load(tmp_path, env={})
    assert list(before.texts) == ["silt.yaml", "a.yaml"]
    for file in tmp_path.iterdir():
        file.unlink()
    after = load(tmp_path, dict(sorted(before.texts.items())), env={})
    assert after == before
    assert [s.name for s in expand(after, {}).streams] == ["t", "u"]
    assert after.digest == digest(before.texts)
    assert after.files == (str(tmp_path), str(tmp_path / "silt.yaml"), str(tmp_path / "a.yaml"))


def test_a_folder_of_one_file_stays_a_folder(tmp_path: Path):
    """What the bytes are of is told by their names, not by what stands at the path now."""
    (tmp_path / "silt.yaml").write_text(ONE)
    before = load(tmp_path, env={})
    (tmp_path / "silt.yaml").unlink()
    tmp_path.rmdir()
    tmp_path.write_text("a file now")
    assert load(tmp_path, before.texts, env={}).source("a").path == str(tmp_path / "a.db")


def test_problems_of_given_bytes_name_the_file(tmp_path: Path):
    """A problem stands where the file would be, with its line."""
    path = tmp_path / "m.yaml"
    with pytest.raises(ManifestInvalid) as caught:
        load(path, {"": ONE.replace("{t: }", "{t: {mode: miror}}").encode()}, env={})
    (problem,) = caught.value.problems
    assert (problem.file, problem.line) == (str(path), 4)
    assert "'miror'" in problem.message
    with pytest.raises(ManifestInvalid, match=r"is not UTF-8: byte 0xff"):
        load(path, {"": b"version: 1\n\xff"}, env={})


def test_what_cannot_be_read_is_a_problem(tmp_path: Path):
    """No file, a folder without a manifest, a database: each with its words, and nothing is loaded."""
    with pytest.raises(ManifestInvalid, match="cannot be read: No such file"):
        texts(tmp_path / "none.yaml")
    with pytest.raises(ManifestInvalid, match="is a folder without a manifest"):
        texts(tmp_path)
    (tmp_path / "a.yaml").write_bytes(b"SQLite format 3\0" + bytes(84))
    with pytest.raises(ManifestInvalid, match="this is a SQLite database"):
        texts(tmp_path)
