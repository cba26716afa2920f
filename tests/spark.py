"""Apache Spark with Delta's own jars, in a process that stays: for `make test-spark`."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import npm
import pytest

DELTA = "4.0.0"
_ARTIFACTS = (f"io.delta:delta-spark_2.13:{DELTA}", f"io.delta:delta-storage:{DELTA}")
PYTHON = Path(__file__).parents[1] / ".venv-spark" / "bin" / "python"

_SERVER = """
import datetime, decimal, json, sys
from pyspark.sql import SparkSession

def plain(value):
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    if isinstance(value, (datetime.date, decimal.Decimal)):
        return str(value)
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
        answer = {"types": types, "rows": [[plain(value) for value in row] for row in found.collect()]}
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


class Spark:
    """`spark("SELECT ...")`: {"types": [[name, type]], "rows": [[value]]}; `close()` ends it."""

    def __init__(self, folder: Path) -> None:
        settings = {
            "spark.jars": ",".join(map(str, _jars())),
            "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
            "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
            "spark.sql.session.timeZone": "UTC",
            "spark.sql.warehouse.dir": str(folder / "warehouse"),
            "spark.sql.shuffle.partitions": "2",
            "spark.ui.enabled": "false",
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.driver.host": "127.0.0.1",
        }
        self._log = (folder / "spark.log").open("w")
        self._process = subprocess.Popen(
            [PYTHON, "-c", _SERVER, json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            cwd=folder,
            env={**os.environ, "TZ": "UTC", "SPARK_LOCAL_IP": "127.0.0.1"},
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
