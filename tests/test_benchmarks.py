"""The benchmark runs at all (its figures are for `make bench`; nothing here is timed)."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.benchmarks.data import write
from tests.benchmarks.measure import run

ROOT = Path(__file__).parent.parent


def test_bench_prints_one_table_a_database_with_silt_and_the_floor(tmp_path):
    """`make bench` at 2,000 rows, both tables, every row moved, ratios against the floor."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.benchmarks",
            "--rows",
            "2000",
            "--rounds",
            "1",
            "--no-peers",
            "--no-starts",
        ],
        cwd=ROOT,
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2,000 rows x 8 columns" in done.stdout
    assert "200 rows x 40 columns" in done.stdout
    assert len(re.findall(r"^  silt run --once +\d", done.stdout, re.MULTILINE)) == 2
    if shutil.which("cc"):
        assert len(re.findall(r"^  C floor +\d.* 1\.00 ", done.stdout, re.MULTILINE)) == 2
    else:
        assert "no C compiler" in done.stdout


def test_the_benchmark_of_small_commits_prints_its_ratio():
    """A few of them: the rows are all there, both ends are told, and the ratio beside another table."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.commits", "--commits", "40"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "40 commits of a row, with upkeep; p50 of 20 cycles" in done.stdout
    assert re.search(r"last <= 1.5 x first: \d+\.\d\d", done.stdout)


def test_the_benchmark_of_changes_prints_each_target(tmp_path):
    """At 2,000 rows: merge, deletes and mirror write what changed and nothing else, and are told."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.changes", "--rows", "2000"],
        cwd=ROOT,
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    told = re.findall(r"^  (?:met|MISSED) +(.*) < ", done.stdout, re.MULTILINE)
    assert [words.split(" ")[0] for words in told] == ["merge", "200", "its", "mirror", "mirror"]


def test_the_measured_databases_are_the_same_everywhere(tmp_path):
    """Two writes of one shape are equal row by row: figures of two machines are about one database."""
    for shape in ("narrow", "wide"):
        for copy in ("a", "b"):
            write(shape, 300, tmp_path / f"{shape}-{copy}.db")
        assert (tmp_path / f"{shape}-a.db").read_bytes() == (tmp_path / f"{shape}-b.db").read_bytes()


def test_the_peak_is_the_childs_own():
    """A child that touches 200 MB is charged for them, and its CPU time and output are its own."""
    small = run([sys.executable, "-c", "print('small')"])
    large = run([sys.executable, "-c", "b = bytearray(200_000_000); print(len(b))"])
    assert large.output == "200000000\n"
    assert large.peak - small.peak > 150
    assert large.cpu > 0
