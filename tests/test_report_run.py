"""`silt.report.run` and `events`: results and log lines."""

from __future__ import annotations

from silt.errors import Held, RetryLater
from silt.replicate.model import (
    Committed,
    Finished,
    Noted,
    Progress,
    Retrying,
    RunResult,
    Started,
    StreamResult,
)
from silt.report import events
from silt.report import run as report


def result(name: str, **changes) -> StreamResult:
    fields = {"name": name, "table": name, "into": name, "state": "ok", "databases": 1}
    return StreamResult(**{**fields, **changes})


ALBUM = result("Album", rows=347, batches=1, version=1, seconds=0.1, position={"shop": [347]})
LOCKED = result(
    "orders",
    state="failing",
    error=RetryLater("the database is locked", on="/data/plant.db", why="waited 5 s", hint="close it there"),
)


def test_line_of_a_stream():
    """Name, rows, version, time, aligned."""
    assert report.line(ALBUM, name_width=8) == ["  Album             347 rows   v1     0.10 s"]
    one = report.line(result("a", rows=1, batches=1, version=1, seconds=0.1), name_width=8)
    assert one == ["  a                   1 row    v1     0.10 s"]
    assert report.line(result("quiet"), name_width=8) == ["  quiet     up to date"]
    assert report.line(result("late", state="waiting"), name_width=8) == [". late      waiting"]


def test_line_of_a_failure_says_that_nothing_is_lost():
    """What failed, what that means for the rows, what to do; marked by its sign."""
    assert report.line(LOCKED, name_width=8) == [
        "x orders    failed: the database is locked (/data/plant.db, waited 5 s)",
        "            Nothing written, none lost.",
        "            close it there",
    ]


def test_line_of_a_failure_halfway_tells_what_is_there():
    """Commits before the failure stay, and are counted."""
    halfway = result("a", state="held", rows=2_000, batches=2, error=Held("rows were rewritten", rule="4.4"))
    lines = report.line(halfway, name_width=1)
    assert lines[0] == "! a  held: rows were rewritten"
    assert lines[1].strip() == "2,000 rows of it written, none lost; the rest stays pending."


def test_closing_of_a_good_run():
    """How many streams, rows, commits, how long, where; and what to look at."""
    run = RunResult(streams=(ALBUM, result("Artist", rows=275, batches=1)), seconds=1.4)
    assert report.closing(run, target="./lake", look="silt query x") == [
        "  2 streams, 622 rows, 2 commits, 1.4 s -> ./lake",
        "  look: silt query x",
    ]


def test_closing_of_a_run_with_nothing_to_do():
    """One line."""
    run = RunResult(streams=(result("a"), result("b")), seconds=0.2)
    assert report.closing(run, target="./lake", look="") == ["  2 streams up to date, 0.20 s"]


def test_closing_of_a_run_with_a_failure():
    """How many of how many, and how many failed."""
    run = RunResult(streams=(ALBUM, LOCKED), seconds=6.1)
    assert report.closing(run, target="./lake") == [
        "  1 of 2 streams, 347 rows, 1 commit, 6.1 s -> ./lake; 1 failed"
    ]


def test_progress_line():
    """A bar of characters, rows of rows, share, speed, time left; without an expectation, rows and speed."""
    full = report.running("PlaylistTrack", 6_120, 8_715, 48_000, name_width=13)
    assert full == "* PlaylistTrack  ########----  6,120 / 8,715   70%   48,000 rows/s   eta 0.05 s"
    assert report.running("t", 10, None, 0, name_width=1) == "* t           10 rows"
    assert len(report.running("t" * 90, 6_120, 8_715, 48_000, name_width=13, width=60)) <= 60


def test_json_has_the_fields_of_the_contract():
    """Every field of DESIGN 10, null where not known; a BLOB key as SQLite writes it."""
    blob = result("b", position={"x": [b"\x00\xff", "a", 1.5, None]})
    data = report.data(RunResult(streams=(ALBUM, LOCKED, blob), seconds=1.0))
    assert data["ok"] is False
    album, locked, last = data["streams"]  # type: ignore[misc]
    wanted = {
        "name",
        "table",
        "into",
        "rows",
        "databases",
        "batches",
        "version",
        "position",
        "seconds",
        "state",
        "error",
    }
    assert wanted <= set(album)
    assert album["position"] == {"shop": [347]}
    assert album["error"] is None
    assert locked["error"] == "the database is locked (/data/plant.db, waited 5 s)"
    assert locked["hint"] == "close it there"
    assert locked["version"] is None
    assert last["position"] == {"x": ["x'00ff'", "a", 1.5, None]}


def test_waiting_is_no_failure():
    """`ok` is false for failing and held only."""
    for state, ok in (
        ("ok", True),
        ("waiting", True),
        ("disabled", True),
        ("failing", False),
        ("held", False),
    ):
        assert report.data(RunResult(streams=(result("a", state=state),)))["ok"] is ok


def test_log_line_of_a_commit():
    """Rows, version and time for people; the same as fields for programs."""
    commit = Committed(stream="readings", into="r", rows=1_204, databases=1, version=312, seconds=0.02)
    line = events.of_event(commit)
    assert line is not None
    assert (line.kind, line.text) == ("commit", "readings +1,204 rows v312 0.02 s")
    assert line.fields["rows"] == 1_204
    assert line.fields["version"] == 312


def test_log_is_quiet_about_what_changes_nothing():
    """Starts, ends, progress, commits without a row and races that resolve themselves make no line."""
    quiet = [
        Started(stream="a"),
        Progress(stream="a", rows=5),
        Finished(result=ALBUM),
        Committed(stream="a", into="a", rows=0, databases=1, version=3, seconds=0.1),
    ]
    assert [events.of_event(e) for e in quiet] == [None] * 4
    assert events.of_event(Noted(stream="a", text="a purge")) is not None


def test_log_line_of_a_retry():
    """What failed and when it is tried again."""
    line = events.of_event(Retrying(stream="a", error=RetryLater("no answer"), attempt=2, seconds=5))
    assert line is not None
    assert (line.kind, line.level, line.text) == ("retry", "warning", "a: no answer, again in 5.0 s")
