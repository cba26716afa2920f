"""`silt demo`: silt at work on a live database of its own, killed on purpose, compared at the end.

Everything is real and a process of its own: an application that writes (`silt.demo.writer`), `silt run`
that replicates while it does and is ended with SIGKILL twice, and a comparison of every cell at the end.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self, TypeAlias

from silt.errors import SiltError, UserError

Say: TypeAlias = Callable[[Sequence[str]], None]

FIRST_ROWS: Final = 20_000
RATE: Final = 2_000
DATABASE: Final = "sensors.db"
MANIFEST: Final = "demo.yaml"
TABLE: Final = "sensor_readings"

_PATIENCE: Final = 60.0
"""Seconds that a slow machine gets for any one step."""

YAML: Final = """\
# The manifest of `silt demo`. Change it, and run silt again.
version: 1
name: demo

sources:
  plant: ./sensors.db                 # a live SQLite database
targets:
  lake: ./lake                        # Delta tables; s3://bucket/path works the same way

defaults:
  schedule: {every: 500ms}

streams:
  sensor_readings:                    # append: silt found that `id` is the safe cursor (silt plan says why)
    tags: [hot]
  sensors:                            # a small table whose rows change: replaced when it did
    mode: overwrite
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """What a table holds: `digest` is over every cell, in the order of the ids."""

    rows: int
    distinct: int
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How the demo ended: `source` and `lake` are equal, or silt has failed."""

    folder: Path
    source: Fingerprint
    lake: Fingerprint
    commits: int
    kills: int
    seconds: float

    @property
    def ok(self) -> bool:
        return self.source == self.lake and self.lake.rows == self.lake.distinct


def run(
    folder: Path | None, *, say: Say, seconds: float = 9.0, kills: int = 2, command: str = "silt"
) -> Outcome:
    """Run the demo in `folder` (None: a new temporary one), for about `seconds` of writing; prints by `say`.

    Raises `UserError` where the folder holds files, `SiltError` where a process of the demo fails.
    """
    began = time.monotonic()
    home = _home(folder)
    (home / MANIFEST).write_text(YAML, encoding="utf-8")
    say(_opening(home))
    with _writer(home) as writer, _Replicator(home, say, began) as replicator:
        _watch(replicator, seconds, kills)
        _said(writer, "the writer")  # which closes its stdin: that ends it
        replicator.note("writer", "has written its last row; silt catches up")
        replicator.stop()
    source = _source(home)
    lake = _lake(home)
    outcome = Outcome(
        folder=home,
        source=source,
        lake=lake,
        commits=replicator.commits,
        kills=replicator.kills,
        seconds=time.monotonic() - began,
    )
    say(_comparison(outcome))
    say(_question(home, command))
    say(_next(home, command, outcome))
    return outcome


# --- what is told ---------------------------------------------------------------------------------


def _opening(home: Path) -> list[str]:
    return [
        f"silt demo, in {home}",
        "",
        f"  {DATABASE}   a live SQLite database: {FIRST_ROWS:,} rows, and another process adds",
        f"               {RATE:,} a second; many of them share a millisecond",
        f"  {MANIFEST}    the manifest: 2 streams, every 500 ms",
        "  lake/        two Delta tables, made by silt",
        "",
    ]


def _comparison(outcome: Outcome) -> list[str]:
    rows = (("SQLite", outcome.source), ("Delta", outcome.lake))
    lines = [
        "",
        f"            {'rows':>9}  {'distinct ids':>12}  digest of every cell",
        *(f"  {name:<8}  {f.rows:>9,}  {f.distinct:>12,}  {f.digest}" for name, f in rows),
        "",
    ]
    if outcome.ok:
        ends = f" {outcome.commits} commits and {outcome.kills} x kill -9"
        return [*lines, f"  The same, cell by cell, after{ends}: no row lost, none twice.", ""]
    return [*lines, "x They differ. That must not happen: please report it with this folder.", ""]


def _question(home: Path, command: str) -> list[str]:
    """A query over both tables of the lake, and its answer."""
    from silt.report import query
    from silt.target import sql as engine

    sql = [
        "select r.location, count(*) as readings, round(avg(temperature), 1) as avg_temperature,",
        "sum(anomaly_flag) as anomalies, max(last_seen) as last_seen",
        "from sensor_readings r join sensors s on r.sensor_id = s.sensor_id group by r.location order by 1",
    ]
    tables: engine.Tables = {name: (str(home / "lake" / name), {}) for name in (TABLE, "sensors")}
    answer = engine.query(tables, " ".join(sql)).read_all()
    columns = [column.to_pylist() for column in answer.columns]
    table = query.text(
        answer.schema.names, list(zip(*columns, strict=True)), numeric=(False, True, True, True, False)
    )
    asked = [f'  {command} query {MANIFEST} "{sql[0]}', *(f"    {line}" for line in sql[1:])]
    return [*asked[:-1], asked[-1] + '"', "", *(f"    {line}" for line in table), ""]


def _next(home: Path, command: str, outcome: Outcome) -> list[str]:
    return [
        f"  That took {outcome.seconds:.0f} s. Play on:",
        f"    cd {home}",
        f"    {command} plan {MANIFEST} --all    what silt sees, and why it chose its cursor",
        f"    {command} status {MANIFEST}        how the streams stand",
        f"    {command} run {MANIFEST}           keep replicating; add rows to {DATABASE} and watch",
        f'    {command} query {MANIFEST} "select count(*) from sensor_readings"',  # noqa: S608  # for a person
    ]


# --- folders and processes ------------------------------------------------------------------------


def _home(folder: Path | None) -> Path:
    if folder is None:
        return Path(tempfile.mkdtemp(prefix="silt-demo-"))
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} is not an empty folder", hint="--dir names a new or an empty one")
    folder.mkdir(parents=True, exist_ok=True)
    return folder.resolve()


@contextmanager
def _writer(home: Path) -> Iterator[subprocess.Popen[str]]:
    """The writing process, once its first rows are there."""
    options = ["--first", str(FIRST_ROWS), "--rate", str(RATE)]
    with _process("silt.demo.writer", "write", str(home / DATABASE), *options) as process:
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            raise _died(process, "the writer")
        yield process


@contextmanager
def _process(module: str, *arguments: str, cwd: Path | None = None) -> Iterator[subprocess.Popen[str]]:
    """A Python process that does not outlive this context."""
    command = [sys.executable, "-m", module, *arguments]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(  # noqa: S603  # our own interpreter, our own module
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env=environment,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def _said(process: subprocess.Popen[str], name: str) -> str:
    """What `process` wrote until it ended; raises where it failed."""
    try:
        out, _ = process.communicate(timeout=_PATIENCE)
    except subprocess.TimeoutExpired as error:
        raise SiltError(f"{name} of the demo does not end", why=f"waited {_PATIENCE:.0f} s") from error
    if process.returncode:
        raise _died(process, name)
    return out


def _died(process: subprocess.Popen[str], name: str) -> SiltError:
    process.wait(_PATIENCE)
    why = process.stderr.read().strip() if process.stderr and not process.stderr.closed else ""
    return SiltError(f"{name} of the demo ended with {process.returncode}", why=why[-500:])


@dataclass(slots=True)
class _Heard:
    """What one `silt run` has logged so far."""

    commits: int = 0
    rows: int = 0
    trouble: list[str] = field(default_factory=list)


class _Replicator:
    """`silt run` as a process of its own, started again after each kill; its log lines are told in brief."""

    def __init__(self, home: Path, say: Say, began: float) -> None:
        self._home = home
        self._say = say
        self._began = began
        self._heard = _Heard()
        self._commit = threading.Event()
        self._process: Any = None
        self._open: Any = None
        self._reader: threading.Thread | None = None
        self.kills = 0

    @property
    def commits(self) -> int:
        return self._heard.commits

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def start(self) -> None:
        self._open = _process("silt", "run", MANIFEST, "--log-format", "json", cwd=self._home)
        self._process = self._open.__enter__()
        self._reader = threading.Thread(target=self._listen, args=(self._process.stdout,), daemon=True)
        self._reader.start()

    def note(self, kind: str, words: str) -> None:
        """A line of the story, with the seconds since the demo began."""
        self._say([f"  {time.monotonic() - self._began:5.1f} s  {kind:<8} {words}"])

    def wait_for_commit(self) -> None:
        """Raises `SiltError` where no commit of rows comes."""
        self._commit.clear()
        deadline = time.monotonic() + _PATIENCE
        while not self._commit.wait(0.1):
            if self._process.poll() is not None:
                raise _died(self._process, "silt run")
            if time.monotonic() > deadline:
                trouble = "; ".join(self._heard.trouble[-1:])
                raise SiltError("silt run of the demo makes no commit", why=trouble)

    def kill(self) -> None:
        """SIGKILL: the process gets no chance to finish, save or tidy anything."""
        self._process.kill()
        self.kills += 1
        self.note("kill -9", f"silt (pid {self._process.pid}), without warning")
        self._end()
        self.start()
        self.note("start", "silt again; the lake itself tells it where to go on")

    def stop(self) -> None:
        """SIGTERM, as an operator would; then one `run --once`, so that what came last is there too."""
        self._process.terminate()
        code = self._process.wait(_PATIENCE)
        self._end()
        if code:
            raise SiltError(f"silt run of the demo ended with {code} on SIGTERM")
        with _process("silt", "run", MANIFEST, "--once", "--json", cwd=self._home) as process:
            result = json.loads(_said(process, "silt run --once"))
        self._heard.commits += sum(stream["batches"] for stream in result["streams"])
        self.note("once", f"+{result['rows']:,} rows: what came after the last cycle")

    def _end(self) -> None:
        if self._open is not None:
            self._process.kill()
            self._process.wait()
            if self._reader is not None:
                self._reader.join(_PATIENCE)
            self._open.__exit__(None, None, None)
            self._open = None

    def _listen(self, lines: Any) -> None:
        for line in lines:
            self._hear(json.loads(line))

    def _hear(self, event: dict[str, Any]) -> None:
        if event["event"] == "commit":
            self._heard.commits += 1
            if event["stream"] == TABLE:
                self._heard.rows += event["rows"]
                self.note("commit", f"{TABLE} +{event['rows']:,} rows, v{event['version']}")
                self._commit.set()
        elif event["level"] != "info":
            self._heard.trouble.append(event["message"])
            self.note(event["event"], event["message"])


def _watch(replicator: _Replicator, seconds: float, kills: int) -> None:
    """Let silt work while the writer does, and kill it `kills` times at moments that nobody chose.

    Time counts from silt's first commit, so that a slow machine sees as much as a fast one.
    """
    replicator.wait_for_commit()
    for _ in range(kills):
        share = seconds / (kills + 1)
        time.sleep(random.uniform(0.7, 1.0) * share)  # noqa: S311  # any moment will do
        replicator.kill()
        replicator.wait_for_commit()
    time.sleep(seconds / (kills + 1))


# --- comparing ------------------------------------------------------------------------------------


def _source(home: Path) -> Fingerprint:
    """Read in another process: this one reads the lake."""
    with _process("silt.demo.writer", "fingerprint", str(home / DATABASE)) as process:
        rows, distinct, digest = json.loads(_said(process, "the comparison"))
    return Fingerprint(rows=rows, distinct=distinct, digest=digest)


def _lake(home: Path) -> Fingerprint:
    from silt.demo.writer import fingerprint
    from silt.target import sql as engine

    every_row = "select * from sensor_readings order by id"
    answer = engine.query({TABLE: (str(home / "lake" / TABLE), {})}, every_row)
    rows = (row for batch in answer for row in zip(*(c.to_pylist() for c in batch.columns), strict=True))
    count, distinct, digest = fingerprint(rows)
    return Fingerprint(rows=count, distinct=distinct, digest=digest)
