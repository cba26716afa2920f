"""`silt migrate`: the flat config of old becomes a manifest that goes on where it stands."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from clirun import silt
from kit import doubled, lake, sql

CONFIG = "sqlite: ./sensor.db\ntable_path: ./lake/sensor_readings\nstate_dir: ./state\ninterval: 60\n"
MADE = "CREATE TABLE sensor_log(id INTEGER PRIMARY KEY AUTOINCREMENT, timestamp TEXT, v REAL)"


def times(first: int, last: int) -> list[tuple[str, float]]:
    return [(f"2024-05-01T12:00:{n:02}.500000", float(n)) for n in range(first, last + 1)]


def insert(folder: Path, rows: list[tuple[str, float]]) -> None:
    sql(folder / "sensor.db", ("INSERT INTO sensor_log(timestamp, v) VALUES (?, ?)", rows))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "uploader-config.yaml").write_text(CONFIG)
    sql(tmp_path / "sensor.db", MADE)
    insert(tmp_path, times(1, 20))
    return tmp_path


def migrate(folder: Path, **variables: str) -> str:
    done = silt("migrate", "uploader-config.yaml", "-o", "silt.yaml", "--force", cwd=folder, **variables)
    assert done.returncode == 0, done.stderr
    checked = silt("validate", "silt.yaml", "--connect", cwd=folder, **variables)
    assert checked.returncode == 0, checked.stderr
    return (folder / "silt.yaml").read_text()


def run(folder: Path, manifest: str, **variables: str) -> dict:
    done = silt("run", manifest, "--once", "--json", cwd=folder, **variables)
    assert done.returncode == 0, done.stdout + done.stderr
    (stream,) = json.loads(done.stdout)["streams"]
    return stream


def ids(folder: Path) -> list[int]:
    return sorted(row["id"] for row in lake(folder / "lake" / "sensor_readings"))


def state(folder: Path, text: str, name: str = "last_upload.json") -> None:
    (folder / "state").mkdir(exist_ok=True)
    (folder / "state" / name).write_text(text)


@pytest.mark.parametrize("variables", [{}, {"NODE_ID": "edge-7", "UPLOAD_INTERVAL": "5"}])
def test_the_manifest_goes_on_from_the_configs_position(folder: Path, variables: dict[str, str]) -> None:
    """A run of the config, more rows, a run of the manifest: the new rows alone, each row once."""
    assert run(folder, "uploader-config.yaml", **variables)["rows"] == 20
    text = migrate(folder, **variables)
    assert "# What `silt migrate` made of" in text
    insert(folder, times(21, 25))
    before = run(folder, "silt.yaml", **variables)
    assert (before["name"], before["into"], before["rows"]) == ("sensor_log", "sensor_readings", 5)
    assert run(folder, "uploader-config.yaml", **variables)["rows"] == 0
    assert ids(folder) == list(range(1, 26))


def test_a_position_outweighs_a_state_file(folder: Path) -> None:
    """Where silt has replicated the table already, what an older program sent tells nothing."""
    run(folder, "uploader-config.yaml")
    state(folder, '{"last_upload": "2024-05-01T12:00:10.500000+00:00"}')
    assert "initial_value" not in migrate(folder)
    assert run(folder, "silt.yaml")["rows"] == 0


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("last_upload.json", '{"last_upload": "2024-05-01T12:00:10.500000+00:00"}'),
        ("last_upload.json", '{"last_upload": "2024-05-01T14:00:10.500000+02:00"}'),
        ("last_timestamp.json", '{"last_timestamp": "2024-05-01T12:00:10.500000"}'),
        ("last_upload.txt", "2024-05-01 12:00:10.500\n"),
    ],
)
def test_a_state_file_says_where_to_begin(folder: Path, name: str, said: str) -> None:
    """Exactly the rows after its last timestamp: after the highest id at or before it; the file is named."""
    state(folder, said, name)
    text = migrate(folder)
    assert "cursor: {column: id, initial_value: 10}" in text
    assert str(folder / "state" / name) in " ".join(text.replace("#", "").split())
    assert run(folder, "silt.yaml")["rows"] == 10
    assert ids(folder) == list(range(11, 21))
    assert run(folder, "silt.yaml")["rows"] == 0


def test_rows_that_came_out_of_order_are_sent_by_their_time(folder: Path) -> None:
    """A lower id with a later time was not sent: the old program's own column orders, and nothing is lost."""
    insert(folder, [("2024-05-01T12:00:05.100000", 5.1)])  # id 21, long before the last timestamp
    state(folder, '{"last_upload": "2024-05-01T12:00:10.500000+00:00"}')
    assert "cursor: {column: timestamp, initial_value:" in migrate(folder)
    run(folder, "silt.yaml")
    assert ids(folder) == list(range(11, 21))


def test_rows_that_the_old_program_wrote_stay_and_are_not_sent_again(folder: Path) -> None:
    """Into the very Delta table that it wrote: its ten rows are left as they are, the others follow them."""
    write = (
        "import deltalake, pyarrow as pa, sys; n = range(1, 11)\n"
        "deltalake.write_deltalake(sys.argv[1], pa.table({'id': list(n), 'timestamp': "
        "[f'2024-05-01T12:00:{i:02}.500000' for i in n], 'v': [float(i) for i in n]}))"
    )
    subprocess.run([sys.executable, "-c", write, str(folder / "lake" / "sensor_readings")], check=True)
    state(folder, '{"last_upload": "2024-05-01T12:00:10.500000+00:00"}')
    assert "lineage: [node]" in migrate(folder)
    assert run(folder, "silt.yaml")["rows"] == 10
    insert(folder, times(21, 23))
    assert run(folder, "silt.yaml")["rows"] == 3
    assert ids(folder) == list(range(1, 24))
    assert doubled(ids(folder)) == []


@pytest.mark.parametrize("said", ['{"last_upload": 17}', '{"other": 1}', "yesterday", "[1]"])
def test_a_state_file_that_says_something_else_is_an_error(folder: Path, said: str) -> None:
    """It is named, nothing is written: beginning at the first row would send all again."""
    state(folder, said)
    done = silt("migrate", "uploader-config.yaml", "-o", "silt.yaml", cwd=folder)
    assert done.returncode == 1
    assert "the old state file says no last timestamp" in " ".join(done.stderr.split())
    assert "last_upload.json" in done.stderr
    assert not (folder / "silt.yaml").exists()


def test_what_cannot_be_migrated_is_said(folder: Path) -> None:
    """A manifest, two tables, a file that is there: an error, exit 1."""
    sql(folder / "sensor.db", "CREATE TABLE second(id INTEGER PRIMARY KEY)")
    done = silt("migrate", "uploader-config.yaml", cwd=folder)
    assert (done.returncode, done.stdout) == (1, "")
    assert "holds 2 tables" in " ".join(done.stderr.split())
    sql(folder / "sensor.db", "DROP TABLE second")
    made = silt("migrate", "uploader-config.yaml", cwd=folder)
    assert made.returncode == 0
    (folder / "silt.yaml").write_text(made.stdout)
    for arguments in (["silt.yaml"], ["uploader-config.yaml", "-o", "silt.yaml"]):
        done = silt("migrate", *arguments, cwd=folder)
        assert done.returncode == 1
        assert "already" in done.stderr
    assert (folder / "silt.yaml").read_text() == made.stdout
