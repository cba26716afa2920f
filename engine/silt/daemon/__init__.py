"""`silt run` without --once: every stream again and again, as the manifest says today (DESIGN 9).

Thin, on top of the same `replicate` that --once uses.  `Timetable` decides when, and knows no clock but
the moments that it is given; `Turns` who gets a worker; `Wake` tells of writes to the sources; `Ledger`
remembers how every stream fared, `Receipts` what became of each edit of the manifest; `Scout` looks at
what changed; `Daemon` is the loop that owns all of them. `front` is
what the world sees of it, imported by who serves it: `run --once` starts without an HTTP server.
"""

from __future__ import annotations

from silt.daemon.job import Job, Prepared, Report, Survey, Work
from silt.daemon.ledger import Ledger, remember
from silt.daemon.loop import Daemon
from silt.daemon.receipts import Receipts
from silt.daemon.replication import Replication
from silt.daemon.timetable import Timetable
from silt.daemon.turns import Turn, Turns
from silt.daemon.wake import Wake, Watched

__all__ = [
    "Daemon",
    "Job",
    "Ledger",
    "Prepared",
    "Receipts",
    "Replication",
    "Report",
    "Survey",
    "Timetable",
    "Turn",
    "Turns",
    "Wake",
    "Watched",
    "Work",
    "remember",
]
