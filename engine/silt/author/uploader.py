"""The state file of the uploader that silt grew from: the last timestamp that it had sent.

The program wrote `last_upload.json` in its `state_dir`, `{"last_upload": "2024-05-01T12:00:00+00:00"}`; its
first version never got so far (FACTS).  Other names and forms of the same fact are read as well.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from silt.errors import UserError
from silt.shapes import Column, Table, ascii_lower

FILES = ("last_upload.json", "last_timestamp.json", "state.json", "last_upload.txt", "last_timestamp.txt")
KEYS = ("last_upload", "last_timestamp")
_MOST = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Uploaded:
    """Up to which instant rows were sent, and the file that says so."""

    file: str
    until: datetime


def uploaded(state_dir: str) -> Uploaded | None:
    """What a state file in `state_dir` says; None without one, or where it says nothing yet.

    Raises `UserError` for one that cannot be read or says something else.
    """
    file = next((path for name in FILES if (path := Path(state_dir) / name).is_file()), None)
    if file is None:
        return None
    try:
        text = file.read_bytes()[:_MOST].decode()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError("the old state file cannot be read", on=str(file), why=str(error)) from None
    said = _said(text.strip(), file)
    return None if said in (None, "") else Uploaded(file=str(file), until=_instant(said, file))


def _said(text: str, file: Path) -> object:
    try:
        found = json.loads(text)
    except ValueError:
        return text  # the time itself, without quotes
    if not isinstance(found, Mapping):
        return found
    key = next((key for key in KEYS if key in found), None)
    if key is None:
        raise _strange(file, f"it has none of {', '.join(KEYS)}")
    return found[key]


def _instant(said: object, file: Path) -> datetime:
    """As the old program read it: a text without an offset is UTC."""
    try:
        moment = datetime.fromisoformat(str(said))
    except ValueError:
        raise _strange(file, f"{said!r} is no ISO 8601 time") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _strange(file: Path, why: str) -> UserError:
    hint = 'it looks like {"last_upload": "2024-05-01T12:00:00+00:00"}; without the file all rows are sent'
    return UserError("the old state file says no last timestamp", on=str(file), why=why, hint=hint)


def timestamp_column(table: Table) -> Column | None:
    """The column that the old program looked for: called `timestamp`, or of a type that holds "date"."""
    return next(
        (c for c in table.columns if ascii_lower(c.name) == "timestamp" or "date" in c.declared.lower()), None
    )
