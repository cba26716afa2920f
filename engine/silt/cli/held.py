"""Streams that are held since an edit made others of them: by what `state_dir` says of their last run."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from silt.plan.model import Plan, StreamPlan
    from silt.replicate.model import RunResult
    from silt.state import StateDir


def holding(planned: Plan, state: StateDir) -> Plan:
    """The plan with those streams held, as a running silt holds them."""
    from silt.manifest.diff import Running, held_streams

    streams = tuple(p.stream for p in planned.streams)
    held = held_streams(Running(manifest=planned.manifest, streams=streams), state.ran())

    def judged(plan: StreamPlan) -> StreamPlan:
        error = held.get(plan.stream.name)
        if error is None or not plan.stream.enabled:
            return plan
        return replace(plan, state="held", error=error, also=plan.errors, tables=())

    return replace(planned, streams=tuple(map(judged, planned.streams)))


def accept(planned: Plan, result: RunResult, state: StateDir) -> None:
    """Note what the streams that ran are: an edit is compared with that from now on."""
    from silt.manifest.identity import identity

    ran = {r.name for r in result.streams if r.state not in ("held", "disabled")}
    news = {
        p.stream.name: identity(planned.manifest, p.stream) for p in planned.streams if p.stream.name in ran
    }
    if any(state.ran().get(name) != identity for name, identity in news.items()):
        state.keep_ran(news)
