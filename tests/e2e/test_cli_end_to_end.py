"""A newcomer's day with the command on real databases: what is printed is true, and says what to do next."""

from __future__ import annotations

import json
import re
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from clirun import silt, sql, start
from kit import lake

CHINOOK = """\
version: 1
sources: {shop: ./chinook.sqlite}
targets: {lake: ./lake}
streams:
  "*": {}
  PlaylistTrack: {mode: overwrite}
"""

GLOB = """\
version: 1
sources: {shops: "./shops/*.db"}
targets: {lake: ./lake}
streams:
  Invoice:
  Genre: {mode: overwrite}
"""

SENSOR = """\
version: 1
sources: {plant: ./sensor_readings.db}
targets: {lake: ./lake}
streams:
  sensor_readings: {batch: {max_rows: 97}}
"""


def plain(text: str) -> str:
    return " ".join(text.split())


def said(folder: Path, *arguments: str, code: int = 0) -> str:
    """What `silt ARGUMENTS` printed, on one line; it must exit with `code`, and without a traceback."""
    done = silt(*arguments, cwd=folder)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return plain(done.stdout + done.stderr)


def told(folder: Path, *arguments: str, code: int = 0) -> dict[str, Any]:
    """The one JSON object on stdout."""
    done = silt(*arguments, "--json", cwd=folder)
    assert done.returncode == code, done.stdout + done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.fixture(scope="module")
def chinook(real_databases: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chinook")
    shutil.copyfile(real_databases / "chinook.sqlite", folder / "chinook.sqlite")
    (folder / "shop.yaml").write_text(CHINOOK)
    return folder


def test_a_first_hour_with_chinook(chinook: Path) -> None:
    """validate, plan, run, again, plan, status, query: each step is true and names the next."""
    assert said(chinook, "validate", "shop.yaml") == "shop.yaml: valid"
    assert not (chinook / "lake").exists()

    plan = said(chinook, "plan", "shop.yaml")
    assert "shop.yaml, node local: 11 streams, 1 database, looked at in" in plan
    assert re.search(
        r"\+ InvoiceLine append InvoiceLineId \(auto\) 2,240 create table, 1 commit, about \d", plan
    )
    assert re.search(r"\+ PlaylistTrack overwrite - 8,715 create table, 1 commit", plan)
    assert "cursor InvoiceId, because it is INTEGER PRIMARY KEY: rows arrive in its order" in plan
    assert "schema AlbumId bigint, Title string, ArtistId bigint" in plan
    assert "11 to create, 0 to alter, 15,607 rows to write." in plan
    assert plan.endswith("Nothing was written. To do it: silt run shop.yaml --once")
    assert not (chinook / "lake").exists()

    run = said(chinook, "run", "shop.yaml", "--once")
    assert re.search(r" Invoice 412 rows v1 \d", run)
    assert re.search(r"11 streams, 15,607 rows, 11 commits, [\d.]+ m?s -> lake", run)
    (look,) = re.findall(r'look: silt query shop.yaml "(select .+? limit 5)"', run)
    assert "5 rows" in said(chinook, "query", "shop.yaml", look)

    again = said(chinook, "run", "shop.yaml", "--once")
    assert re.search(r"11 streams up to date, [\d.]+ m?s$", again)
    assert said(chinook, "plan", "shop.yaml").endswith("Nothing to do: the lake has every row.")
    status = said(chinook, "status", "shop.yaml")
    assert "shop.yaml, node local: not running" in status
    assert status.endswith("11 ok")


def test_new_rows_are_planned_counted_and_sent_once(chinook: Path) -> None:
    """After an insert: plan counts it, status shows it pending, one run sends it, the next one nothing."""
    said(chinook, "run", "shop.yaml", "--once")
    sql(chinook / "chinook.sqlite", "INSERT INTO Genre(Name) VALUES ('Silt'), ('Delta')")
    plan = told(chinook, "plan", "shop.yaml", "--select", "Genre")
    (stream,) = plan["streams"]
    assert (plan["changes"], stream["pending_rows"], stream["state"]) == (True, 2, "ok")
    assert [action["kind"] for action in stream["actions"]] == ["write"]
    (status,) = told(chinook, "status", "shop.yaml", "--select", "Genre")["streams"]
    assert (status["state"], status["pending_rows"]) == ("ok", 2)
    (ran,) = told(chinook, "run", "shop.yaml", "--once", "--select", "Genre")["streams"]
    assert (ran["rows"], ran["batches"], ran["position"]) == (2, 1, {"chinook": [27]})
    assert told(chinook, "run", "shop.yaml", "--once")["rows"] == 0
    names = [row["Name"] for row in lake(chinook / "lake" / "Genre")]
    assert (len(names), names.count("Silt")) == (27, 1)


def test_reset_says_what_it_does_and_how_to_refill(chinook: Path) -> None:
    """Without --yes nothing happens; with it the slice is empty, and the command it names refills it."""
    said(chinook, "run", "shop.yaml", "--once")
    asked = said(chinook, "reset", "shop.yaml", "Album", code=1)
    assert "reset removes the rows of Album from" in asked
    assert "--yes does it without asking" in asked
    assert len(lake(chinook / "lake" / "Album")) == 347
    done = said(chinook, "reset", "shop.yaml", "Album", "--yes")
    assert re.search(r"Album: emptied, v\d+ refill it: silt run shop.yaml --once", done)
    assert lake(chinook / "lake" / "Album") == []
    assert told(chinook, "run", "shop.yaml", "--once")["rows"] == 347
    assert len({row["AlbumId"] for row in lake(chinook / "lake" / "Album")}) == 347


def test_a_glob_of_copies_with_a_broken_one(real_databases: Path, tmp_path: Path) -> None:
    """Plan and run tell what the others would do and did; mended, the rest arrives; nothing doubles."""
    shops = tmp_path / "shops"
    shops.mkdir()
    (tmp_path / "silt.yaml").write_text(GLOB)
    assert "nothing to do; 2 waiting" in said(tmp_path, "run", "--once")
    for name in ("acme", "bolt"):
        shutil.copyfile(real_databases / "chinook.sqlite", shops / f"{name}.db")
    (shops / "cyan.db").write_text("half a copy, longer than the header of a database is: " + "x" * 100)
    plan = said(tmp_path, "plan", code=1)
    assert re.search(
        r"x Invoice append InvoiceId \(auto\) >824 create table, 1 commit; the rest: failing", plan
    )
    assert re.search(r"failed silt\.yaml:\d+:\d+: this is not a SQLite database, or it is encrypted", plan)
    assert f"({shops}/cyan.db)" in plan
    run = said(tmp_path, "run", "--once", code=1)
    assert "824 rows of it written, none lost; the rest stays pending." in run
    assert "0 of 2 streams, 874 rows" in run
    shutil.copyfile(real_databases / "chinook.sqlite", shops / "cyan.db")
    assert told(tmp_path, "run", "--once")["rows"] == 412 + 25
    assert "2 streams up to date" in said(tmp_path, "run", "--once")
    asked = (
        "select _silt_database as d, count(*) as n, count(distinct InvoiceId) as k from Invoice group by 1"
    )
    rows = told(tmp_path, "query", "silt.yaml", asked.replace("InvoiceId", '"InvoiceId"'))["rows"]
    assert sorted((row["d"], row["n"], row["k"]) for row in rows) == [
        (name, 412, 412) for name in ("acme", "bolt", "cyan")
    ]


def test_ctrl_c_in_the_middle_is_told_and_loses_nothing(real_databases: Path, tmp_path: Path) -> None:
    """Exit 130 after the commit under way, the line says that it stopped, the next run sends the rest."""
    shutil.copyfile(real_databases / "sensor_readings.db", tmp_path / "sensor_readings.db")
    (tmp_path / "silt.yaml").write_text(SENSOR)
    process = start("run", "silt.yaml", "--once", cwd=tmp_path)
    log = tmp_path / "lake" / "sensor_readings" / "_delta_log"
    until = time.monotonic() + 60
    while not (log / f"{3:020}.json").exists():
        assert time.monotonic() < until
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, "Traceback" in err) == (130, False)
    assert re.search(r"sensor_readings +[\d,]+ rows +v\d+ +[\d.]+ s, stopped", out)
    assert "stopped: 1 stream, " in out
    (tmp_path / "silt.yaml").write_text(SENSOR.replace("max_rows: 97", "max_rows: 10000"))
    before = len(lake(tmp_path / "lake" / "sensor_readings"))
    assert 97 * 3 <= before < 25_325
    assert told(tmp_path, "run", "silt.yaml", "--once")["rows"] == 25_325 - before
    ids = [row["id"] for row in lake(tmp_path / "lake" / "sensor_readings")]
    assert (len(ids), len(set(ids))) == (25_325, 25_325)


def test_home_assistant_by_patterns(real_databases: Path, tmp_path: Path) -> None:
    """Settings stack over patterns; what is disabled or empty says so; again is up to date."""
    shutil.copyfile(real_databases / "home_assistant_2024_3.db", tmp_path / "ha.db")
    streams = '  "*": {mode: overwrite}\n  "state*": {mode: append}\n  statistics_runs: {enabled: false}\n'
    head = "version: 1\nsources: {ha: ./ha.db}\ntargets: {lake: ./lake}\nstreams:\n"
    (tmp_path / "silt.yaml").write_text(head + streams)
    ran = {s["name"]: s for s in told(tmp_path, "run", "--once")["streams"]}
    assert len(ran) == 12
    assert ran["statistics_runs"]["state"] == "disabled"
    assert (ran["statistics"]["rows"], lake(tmp_path / "lake" / "statistics")) == (0, [])
    assert (ran["states"]["rows"], ran["states"]["position"]) == (471, {"ha": [471]})
    assert sum(s["rows"] for s in ran.values()) == 744
    assert "11 of 12 streams up to date; 1 disabled" in said(tmp_path, "run", "--once")
    shown = said(tmp_path, "show")
    for name, mode, line in (("states", "append", 6), ("events", "overwrite", 5)):
        assert re.search(
            rf"streams\.{name}: table: [^#]*#[^#]* mode: {mode} # silt\.yaml:{line}, pattern", shown
        )


def test_a_wrong_manifest_tells_every_problem_at_once(tmp_path: Path) -> None:
    """Place, pointer, what was got and what was meant, the line itself; exit 1; nothing is made."""
    (tmp_path / "silt.yaml").write_text(
        "version: 1\nsources: {a: ./a.db}\ntargets: {lake: ./lake}\nstreams:\n"
        "  one: {mode: miror}\n  two: {schedule: 300}\n  three: {update_key: x}\n"
    )
    for verb in (["validate", "silt.yaml"], ["run", "silt.yaml", "--once"], ["plan", "silt.yaml"]):
        text = said(tmp_path, *verb, code=1)
        assert (
            "silt.yaml:5:15: streams.one.mode: 'miror' is not one of append, merge, mirror, overwrite" in text
        )
        assert "silt.yaml:6:19: streams.two.schedule: " in text
        assert "silt.yaml:7:11: streams.three.update_key: " in text
        assert "5 | one: {mode: miror}" in text
        assert "3 problems in 1 file" in text
    assert [p.name for p in tmp_path.iterdir()] == ["silt.yaml"]
    problems = told(tmp_path, "validate", "silt.yaml", code=1)["problems"]
    assert [(p["line"], p["column"]) for p in problems] == [(5, 15), (6, 19), (7, 11)]
