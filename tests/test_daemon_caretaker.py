"""`silt.daemon.Caretaker`: a running silt sees to its tables, and ends all the same."""

from __future__ import annotations

import threading
from collections import Counter

from kit import Sqlite, lake
from test_daemon import until

from silt import manifest as manifests
from silt import observe, replicate
from silt.daemon.caretaker import Caretaker
from silt.manifest.diff import Running
from silt.state import StateDir

MANIFEST = """\
version: 1
sources: {a: ./a.db}
targets: {lake: ./lake}
streams:
  t: {maintenance: {compact: {every: 1s}}}
"""


def test_small_files_are_compacted_beside_the_cycles(tmp_path):
    """Twenty commits of a row become one file, which is told; every row stays, and the next cycle goes on."""
    sql, database = Sqlite(), tmp_path / "a.db"
    sql(database, "CREATE TABLE t (id INTEGER PRIMARY KEY, x INTEGER)")
    (tmp_path / "silt.yaml").write_text(MANIFEST)
    loaded = manifests.load(str(tmp_path / "silt.yaml"))
    state = StateDir(loaded.state_dir, manifest=loaded.name, node=loaded.node)
    lines: list = []
    with observe.Handles(loaded) as handles:

        def cycle(number: int) -> None:
            sql(database, f"INSERT INTO t VALUES ({number}, {number})")
            plan = observe.look(loaded, handles)
            result = replicate.run(plan, handles, listen=lambda _: None, stop=threading.Event())
            assert result.ok

        for number in range(20):
            cycle(number)
        streams = observe.look(loaded, handles).all_streams
        running = Running(manifest=loaded, streams=streams)
        caretaker = Caretaker(state, handles, running=lambda: running, emit=lines.append, interval=0.05)
        caretaker.start()
        until(lambda: any(line.kind == "compact" for line in lines), 60)
        cycle(20)
        assert caretaker.close(60)
    there = Counter((row["id"], row["x"]) for row in lake(tmp_path / "lake" / "t"))
    assert there == Counter(sql(database, "SELECT id, x FROM t"))
    first = next(line for line in lines if line.kind == "compact")
    assert first.fields["files_before"] == 20
    assert first.fields["files_after"] == 1
    sql.close()
