"""`silt run` without --once: every stream again and again on its own schedule, until a signal (DESIGN 9).

Thin, on top of the same `replicate` that --once uses.  `Timetable` decides when, and knows no clock but
the moments that it is given; `Ledger` remembers how every stream fared and says what is worth a log
line; `Daemon` runs due streams in a small pool and looks at the sources anew when they change.
"""

from __future__ import annotations

from silt.daemon.ledger import Ledger, remember
from silt.daemon.loop import Daemon, Report, Work
from silt.daemon.replication import Replication
from silt.daemon.timetable import Timetable
from silt.daemon.watch import FileWatch, ManifestWatch

__all__ = [
    "Daemon",
    "FileWatch",
    "Ledger",
    "ManifestWatch",
    "Replication",
    "Report",
    "Timetable",
    "Work",
    "remember",
]
