"""A masked or unselected column never appears raw anywhere (DESIGN 3, privacy): everything is searched."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from clirun import silt
from kit import sql

from silt.position import parse_app, unpack

SALT = "salt-of-the-earth-4711"

# names ending in _bad hold a value that no type of theirs takes; every stream of one is to fail
MANIFEST = """\
version: 1
name: privacy
sources: {app: ./app.db}
targets: {lake: ./lake}
defaults:
  columns:
    mail: {mask: sha256, salt: "${secret:env:SALT}"}
    nick: {mask: redact}
    card: {mask: redact, type: bigint}
    place: {mask: round, digits: 1}
    zip: {mask: truncate, length: 1}
  select: ["*", "-hidden", "-hidden_number"]
streams:
  appended: {table: people}
  filtered: {table: people, where: "length(hidden) > 3", columns: {rows_of: {expr: "length(hidden)"}}}
  whole: {table: people, mode: overwrite}
  key_masked: {table: people, mode: overwrite, columns: {id: {mask: round, digits: -3}}}
  keyed: {table: keyed, mode: overwrite}
  seen: {table: seen, mode: overwrite}
  mail_bad: {table: people, columns: {nick: {mask: round, type: double}}}
  zip_bad: {table: people, columns: {zip: {type: date}}}
  hidden_bad: {table: people, columns: {made: {expr: "hidden || 'x'", type: bigint}}}
  keyed_bad: {table: keyed, mode: overwrite, columns: {nick: {mask: round, type: double}}}
  path_bad: {table: people, columns: {made: {expr: "json_extract('{}', hidden)"}}}
  where_bad: {table: people, where: "json_extract('{}', hidden) is null"}
  typed_bad: {table: people, columns: {note: {type: bigint}}}
"""
SECRET_COLUMNS = ("mail", "nick", "card", "place", "zip", "hidden", "hidden_number")
NAMES = f"{', '.join(SECRET_COLUMNS)}, note"


def secrets_of(seed: int) -> list[tuple[Any, ...]]:
    """Rows of values that cannot be there by chance; the last, a note, is no secret."""
    chance = random.Random(seed)

    def word() -> str:
        return "".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=14))

    def number() -> int:
        return chance.randrange(10**14, 10**15)

    return [
        (
            word(),
            word(),
            number(),
            number() / 10**6,
            word(),
            word() if i % 3 else word().encode(),
            number(),
            f"note {i}",
        )
        for i in range(60)
    ]


def forms(value: Any) -> Iterator[bytes]:
    """How a value may stand in a file: as text, hexadecimal, base64."""
    raw = value if isinstance(value, bytes) else str(value).encode()
    yield raw
    if not isinstance(value, int | float):
        yield raw.hex().encode()
        yield raw.hex().upper().encode()
        yield base64.b64encode(raw)[:-4]


def everything(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every byte of every file; Parquet as a reader shows it, too; positions decoded."""
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name not in ("app.db", "salt")):
        yield str(path), path.read_bytes()
        if path.suffix == ".parquet":
            rows = pq.ParquetFile(path)
            yield f"{path} read", repr(rows.read().to_pydict()).encode() + str(rows.metadata).encode()
        if path.suffix == ".json" and path.parent.name == "_delta_log":
            yield f"{path} positions", b"\n".join(positions(path))


def positions(entry: Path) -> Iterator[bytes]:
    import zlib

    actions = [json.loads(line) for line in entry.read_text().splitlines()]
    txns = {a["txn"]["appId"]: a["txn"]["version"] for a in actions if "txn" in a}
    for app in (name for name in txns if parse_app(name)):
        yield zlib.decompress(unpack(txns, app)[1])


@pytest.mark.parametrize("on_misfit", ["rescue", "fail"])
def test_no_secret_appears_anywhere(tmp_path: Path, on_misfit: str) -> None:
    """Lake (data and log), positions, metadata, state folder, and what every verb prints or fails with."""
    rows = secrets_of(random.randrange(10**6))
    kinds = "mail, nick text, card int, place real, zip text, hidden, hidden_number int, note text"
    insert = f"({NAMES}) values (?,?,?,?,?,?,?,?)"
    sql(
        tmp_path / "app.db",
        f"create table people(id integer primary key, {kinds})",
        f"create table keyed(mail text primary key, {kinds.partition(', ')[2]}) without rowid",
        "create view seen as select * from people",
        (f"insert into people{insert}", rows[:40]),
        (f"insert into keyed{insert}", rows[:40]),
    )
    written = MANIFEST.replace("defaults:\n", f"defaults:\n  on_misfit: {on_misfit}\n")
    (tmp_path / "m.yaml").write_text(written)
    (tmp_path / "plain.yaml").write_text(written.replace("${secret:env:SALT}", SALT))

    def run(*arguments: str, manifest: str = "m.yaml") -> str:
        verb, *more = arguments
        done = silt(verb, manifest, *more, cwd=tmp_path, SALT=SALT, SILT_DEBUG="1")
        return done.stdout + done.stderr

    printed = [
        run("validate"),
        run("show"),
        run("show", "--json", manifest="plain.yaml"),
        run("plan"),
        run("run", "--once", "--json"),
    ]
    sql(
        tmp_path / "app.db",
        "delete from people where id > 35",  # read again, and compared with the slice
        (f"insert into people{insert}", rows[40:]),
        "update people set place = 'far away from anywhere' where id = 50",
    )
    printed += [run("plan", "--json"), run("run", "--once"), run("status", "--json"), run("plan", "--all")]
    assert '"rows": 40' in printed[4]
    said = json.loads(printed[7])
    bad = {s["name"] for s in said["streams"] if s["state"] == "failing"}
    misfitting = {"mail_bad", "zip_bad", "hidden_bad", "keyed_bad", "typed_bad", *PLACED}
    assert bad == {"path_bad", "where_bad", *(misfitting if on_misfit == "fail" else ())}
    (tmp_path / "plain.yaml").unlink()
    found = [("output", "\n".join(printed).encode()), *everything(tmp_path)]
    assert len(found) > 40
    assert any(b"note 39" in text for _, text in found)  # what is no secret is found
    secrets = [v for row in rows for v in row[:-1]] + ["far away", SALT]
    for where, text in found:
        assert [s for s in secrets if any(form in text for form in forms(s))] == [], where


PLACED = {"appended", "filtered", "whole", "key_masked", "seen"}
"""Streams whose rounded column met a text at last."""


def test_a_misfit_under_a_mask_tells_column_rowid_and_class(tmp_path: Path) -> None:
    """Enough to find the value in the source, and nothing of the value itself."""
    sql(
        tmp_path / "app.db",
        "create table t(id integer primary key, lat real)",
        "insert into t values (7, 'my house')",
    )
    (tmp_path / "m.yaml").write_text(
        "version: 1\nsources: {app: ./app.db}\ntargets: {lake: ./lake}\n"
        "streams: {t: {on_misfit: fail, columns: {lat: {mask: round, type: double}}}}\n"
    )
    done = silt("run", "m.yaml", "--once", cwd=tmp_path)
    assert "t.lat holds text at id 7: no double" in done.stdout + done.stderr
    assert "house" not in done.stdout + done.stderr
