"""What delta-rs is told before it is loaded: it reads each of these once."""

from __future__ import annotations

import os
from typing import Final

_THREADS: Final = 6


def settle() -> None:
    """Batches under way, threads and memory of delta-rs; what the user set stands, but for too few threads.

    A thread of its runtime that asks Python for rows waits for the GIL, and some calls keep the GIL until
    another thread of that runtime has brought their answer (reading a file of a remote table, altering it:
    measured).  With as many threads as cores, two streams that write and one that reads would wait for each
    other for ever.  Four streams write at once at most; two more are for who reads.

    16 to 28 batches are under way by default (measured): 100 MB that fill while both cores could encode, and
    that one core then encodes alone at each commit's end.  Now 8.

    Its allocator keeps eight arenas on two cores: one takes 40 MB off the peak of a large load, and costs no
    time.
    """
    os.environ.setdefault("DELTARS_WRITER_BATCH_CHANNEL_SIZE", "1")
    os.environ.setdefault("_RJEM_MALLOC_CONF", "narenas:1")
    given = os.environ.get("TOKIO_WORKER_THREADS", "")
    asked = int(given) if given.isdigit() else 0
    os.environ["TOKIO_WORKER_THREADS"] = str(max(_THREADS, os.cpu_count() or 1, asked))
