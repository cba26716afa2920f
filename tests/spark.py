"""Apache Spark with Delta's own jars, in a process that stays: for `make test-spark`."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import npm
import pyarrow as pa
import pytest
from readers import Ask, delta_rs

DELTA = "4.0.0"
_ARTIFACTS = (f"io.delta:delta-spark_2.13:{DELTA}", f"io.delta:delta-storage:{DELTA}")
PYTHON = Path(__file__).parents[1] / ".venv-spark" / "bin" / "python"

_SERVER = """
import decimal, json, sys
from pyspark.sql import SparkSession, functions

EXACT = {"timestamp": functions.unix_micros, "date": functions.unix_date}  # Python's years are 1 to 9999

def exact(frame):
    columns = []
    for field in frame.schema:
        column = functions.col("`" + field.name.replace("`", "``") + "`")
        columns.append(EXACT.get(field.dataType.simpleString(), lambda c: c)(column).alias(field.name))
    return frame.select(columns) if columns else frame

def plain(value):
    if isinstance(value, decimal.Decimal):
        return str(value.normalize())
    return bytes(value).hex() if isinstance(value, (bytes, bytearray)) else value

settings = json.loads(sys.argv[1])
builder = SparkSession.builder.master("local[2]")
for name, value in settings.items():
    builder = builder.config(name, value)
spark = builder.getOrCreate()
print("ready", flush=True)
for line in sys.stdin:
    try:
        found = spark.sql(json.loads(line))
        types = [[field.name, field.dataType.simpleString()] for field in found.schema]
        rows = [[plain(value) for value in row] for row in exact(found).collect()]
        answer = {"types": types, "rows": rows}
    except Exception as error:
        answer = {"error": str(error)}
    print("answer " + json.dumps(answer), flush=True)  # VACUUM prints, too
"""


def _jars() -> list[Path]:
    """Delta's jars, by Maven, once a machine."""
    if shutil.which("mvn") is None or shutil.which("java") is None:
        pytest.skip("no java and mvn on this machine")
    home = npm.CACHE / f"delta-spark-{DELTA}"
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for artifact in _ARTIFACTS:
            _, name, version = artifact.split(":")
            if not (home / f"{name}-{version}.jar").exists():
                copy = [
                    "mvn",
                    "-B",
                    "-q",
                    "dependency:copy",
                    f"-Dartifact={artifact}",
                    f"-DoutputDirectory={home}",
                ]
                done = subprocess.run(copy, capture_output=True, text=True, cwd=home)
                assert done.returncode == 0, done.stdout
    return sorted(home.glob("*.jar"))


def _settings(folder: Path) -> dict[str, str]:
    return {
        "spark.jars": ",".join(map(str, _jars())),
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        "spark.sql.shuffle.partitions": "1",
        "spark.databricks.delta.snapshotPartitions": "1",  # of a log: 50 otherwise
        # tables are small: what is compiled for a query would run once
        "spark.sql.codegen.wholeStage": "false",
        "spark.sql.codegen.factoryMode": "NO_CODEGEN",
        "spark.sql.adaptive.enabled": "false",
        "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.sources.parallelPartitionDiscovery.parallelism": "2",  # VACUUM: 10,000 tasks otherwise
        "spark.driver.memory": "2g",  # it keeps every table's log
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
    }


def _environment() -> dict[str, str]:
    return {**os.environ, "TZ": "UTC", "SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": str(PYTHON)}


def script(folder: Path, text: str) -> str:
    """What the program `spark-sql` prints when it carries out a script, from a folder of its own."""
    (folder / "script.sql").write_text(text)
    settings = _settings(folder) | {"spark.sql.catalogImplementation": "in-memory"}
    given = [word for name, value in settings.items() for word in ("--conf", f"{name}={value}")]
    command = [PYTHON.with_name("spark-sql"), "--master", "local[2]", *given, "-f", "script.sql"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=_environment())
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


class Spark:
    """`spark("SELECT ...")`: {"types": [[name, type]], "rows": [[value]]}; `close()` ends it.

    A moment is its microseconds since 1970, a date its days, a decimal a text, a blob hexadecimal.
    """

    def __init__(self, folder: Path) -> None:
        self._log = (folder / "spark.log").open("w")
        self._process = subprocess.Popen(
            [PYTHON, "-c", _SERVER, json.dumps(_settings(folder))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            cwd=folder,
            env=_environment(),
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n", (folder / "spark.log").read_text()[-2000:]

    def __call__(self, statement: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(statement) + "\n")
        self._process.stdin.flush()
        lines = iter(self._process.stdout.readline, "")
        told = next(line for line in lines if line.startswith("answer "))
        answer: dict[str, Any] = json.loads(told.removeprefix("answer "))
        assert "error" not in answer, f"{statement}: {answer['error'][:1500]}"
        return answer

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._process.stdout.close()
        self._log.close()


# --- compared -------------------------------------------------------------------------------------


def differences(spark: Spark, asks: dict[str, Ask]) -> list[str]:
    """Where Spark sees other rows or types than delta-rs does, by the names of the asks."""
    return [f"{name}: {said}" for name, ask in asks.items() for said in _difference(spark, ask)]


def _difference(spark: Spark, ask: Ask) -> Iterator[str]:
    try:
        found = spark(statement(ask))
    except AssertionError as error:
        yield str(error)
        return
    ours = delta_rs(ask)
    types = [(field.name, _type(field.type)) for field in ours.schema]
    if types != [tuple(each) for each in found["types"]]:
        yield f"types {found['types']}, not {types}"
    mine, theirs = Counter(map(repr, rows(ours))), Counter(map(repr, found["rows"]))
    if mine != theirs:
        lacks, more = ([row[:200] for row in list(d)[:2]] for d in (mine - theirs, theirs - mine))
        yield f"{theirs.total()} rows, not {mine.total()}; lacks {lacks}, has {more}"


def statement(ask: Ask) -> str:
    """The SELECT that asks it."""
    version = "" if ask.version is None else f" VERSION AS OF {ask.version}"
    where = f" WHERE {ask.where}" if ask.where else ""
    return f"SELECT * FROM {at(ask.path)}{version}{where}"


def at(path: str | Path) -> str:
    """The table that lies there, as Spark names it."""
    quoted = str(path).replace("`", "``")
    return f"delta.`{quoted}`"


_TYPES = {
    pa.int64(): "bigint",
    pa.int32(): "int",
    pa.int16(): "smallint",
    pa.int8(): "tinyint",
    pa.float64(): "double",
    pa.float32(): "float",
    pa.bool_(): "boolean",
    pa.date32(): "date",
    pa.timestamp("us", "UTC"): "timestamp",
}


def _type(kind: pa.DataType) -> str:
    """Spark's name of an Arrow type."""
    if pa.types.is_decimal(kind):
        return f"decimal({kind.precision},{kind.scale})"
    if pa.types.is_string(kind) or pa.types.is_string_view(kind) or pa.types.is_large_string(kind):
        return "string"
    return _TYPES.get(kind, "binary")


def rows(table: pa.Table) -> list[list[Any]]:
    """A table's rows, each value as `Spark` tells it."""
    columns = []
    for column in table.columns:
        if pa.types.is_timestamp(column.type):
            column = column.cast(pa.int64())  # noqa: PLW2901
        elif pa.types.is_date(column.type):
            column = column.cast(pa.int32())  # noqa: PLW2901
        columns.append([_plain(value) for value in column.to_pylist()])
    return [list(row) for row in zip(*columns, strict=True)]


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return str(value.normalize())
    return value.hex() if isinstance(value, bytes) else value
