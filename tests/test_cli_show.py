"""`silt show`: every setting of every stream, and who said it."""

from __future__ import annotations

import json
from pathlib import Path

from clirun import silt
from kit import Site

STREAMS = """\
  "*": {mode: overwrite, tags: [all]}
  "log*":
    mode: append
    cursor: "${CURSOR:-id}"
  orders: {into: sales/orders}
defaults:
  cursor: id
  schedule: "${EVERY:-5m}"
"""


def shown(site: Site, name: str, **variables: str) -> dict[str, tuple[object, str, object, bool]]:
    done = silt("show", "silt.yaml", "--select", name, "--json", cwd=site.folder, **variables)
    assert done.returncode == 0, done.stderr
    (stream,) = json.loads(done.stdout)["streams"]
    return {s["key"]: (s["value"], s["origin"], s["by"], s.get("ignored", False)) for s in stream["settings"]}


def test_each_value_says_where_it_comes_from(tmp_path: Path) -> None:
    """File and line, the pattern or the defaults that said it, the variable, or that it is a default."""
    site = Site(tmp_path)
    site.sql(*(f"CREATE TABLE {name}(id INTEGER PRIMARY KEY)" for name in ("logs", "orders", "users")))
    site.write(STREAMS)
    logs = shown(site, "logs", EVERY="10s")
    assert logs["table"] == ("logs", "silt.yaml:8", "pattern 'log*'", False)
    assert logs["mode"] == ("append", "silt.yaml:9", "pattern 'log*'", False)
    assert logs["cursor"] == ("id", "silt.yaml:10", "pattern 'log*'", False)
    assert logs["tags"] == (["all"], "silt.yaml:7", "pattern '*'", False)
    assert logs["schedule"] == ({"every": "10s"}, "EVERY", "defaults", False)
    assert logs["where"] == (None, "default", None, False)
    orders = shown(site, "orders")
    assert orders["into"] == ("sales/orders", "silt.yaml:11", None, False)
    assert orders["cursor"] == ("id", "silt.yaml:13", "defaults", True)
    assert "on_reset" not in orders  # nothing of it was written, and the mode has no use for it


def test_text_says_it_in_a_line_each(tmp_path: Path) -> None:
    """`key: value  # origin, by whom, and whether the mode uses it`."""
    site = Site(tmp_path)
    site.sql("CREATE TABLE users(id INTEGER PRIMARY KEY)")
    site.write(STREAMS.replace("  orders: {into: sales/orders}\n", ""))
    done = silt("show", "silt.yaml", cwd=tmp_path)
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert "streams.users:" in lines
    assert "mode: overwrite # silt.yaml:7, pattern '*'" in lines
    assert "cursor: id # silt.yaml:12, defaults, not used by this mode" in lines
    assert "enabled: true # default" in lines


def test_schema_prints_both_languages() -> None:
    """The manifest's schema, and the flat config's on request; another name is an error that lists them."""
    titles = [json.loads(silt("schema", *name).stdout)["title"] for name in ([], ["uploader-config"])]
    assert len(set(titles)) == 2
    assert titles[1] == "uploader configuration"
    done = silt("schema", "manifets")
    assert done.returncode == 1
    assert "manifest, uploader-config" in done.stderr
