"""What the daemon runs, and what comes back."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Protocol

from silt.errors import Held, SiltError
from silt.manifest.diff import Running
from silt.manifest.model import Manifest, Problem, Stream
from silt.plan.model import Plan, StreamPlan
from silt.replicate.model import Stopping, StreamResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A stream as it runs: under which manifest, by which plan (None: it is planned first).

    `hold`: it is another stream than the one that last ran under this name, so it waits for a person.
    `number` is another one whenever it begins anew: what its turns did before does not count.
    """

    stream: Stream
    manifest: Manifest
    plan: StreamPlan | None = None
    hold: Held | None = None
    number: int = 0

    @property
    def group(self) -> Hashable:
        """What it shares its fate with: the source and the target."""
        return (self.stream.source, self.stream.target)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a worker hands back: the job with the plan it ran, the result, when the cycle began (wall clock).

    `quiet`: nothing was written to the source since the last cycle, so nothing was asked.  `pending_rows`
    wait in the source after a cycle that failed; None where that is not known.
    """

    job: Job
    result: StreamResult
    began: float
    quiet: bool = False
    pending_rows: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What the sources look like now: plans of new streams, all streams that there are.

    `moved` are the sources whose files or schemas are others than at the last survey; `gone` the databases
    that are there no more (source, path).  `error` is why it could not be done, and there is no plan.
    """

    manifest: Manifest
    plan: Plan | None = None
    moved: frozenset[str] = frozenset()
    gone: tuple[tuple[str, str], ...] = ()
    error: SiltError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A manifest read anew, with plans of what it adds or changes; or the problems for which it is refused.

    `digest` is that of its files, None where they cannot be read; `began` when the edit was noticed
    (monotonic); `asked` that somebody waits for a receipt, whatever was found.
    """

    began: float
    digest: str | None = None
    plan: Plan | None = None
    problems: tuple[Problem, ...] = ()
    asked: bool = False


class Work(Protocol):
    """What the daemon drives: the real one is `Replication`, tests bring their own."""

    def look(self, manifest: Manifest) -> Plan:
        """Look at every source and table, before anything runs."""

    def survey(self, running: Running) -> Survey | None:
        """Look at what changed in the sources since the last time; None where nothing did.

        In a thread of its own, about once a second.
        """

    def prepare(self, running: Running, *, began: float, asked: bool) -> Prepared:
        """Read the manifest of `running` anew, and plan what it adds or changes; in a thread of its own."""

    def cycle(self, job: Job, stop: Stopping, *, again: bool) -> Report:
        """One cycle of one stream, by a worker, planned anew where `again` asks for it or it has no plan."""


def without_place(file: str, message: str) -> Problem:
    """What is wrong with a manifest as a whole."""
    return Problem(file=file, line=0, column=0, pointer="", message=message)
