"""One stream's cycle: its tables one by one, tried again at once where somebody else moved first."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

from silt.errors import Contended, SchemaMoved, SiltError, Unplaced, bug
from silt.manifest.model import Mode
from silt.observe import Handles, look_again
from silt.plan.build import state_of
from silt.plan.model import Part, State, StreamPlan, TablePlan
from silt.replicate.aggregate import AggregateCycle
from silt.replicate.append import AppendCycle
from silt.replicate.cycle import Cycle
from silt.replicate.ledger import Ledger, shown
from silt.replicate.merge import MergeCycle
from silt.replicate.mirror import MirrorCycle
from silt.replicate.model import Finished, Listener, Noted, Retrying, Started, Stopping, StreamResult
from silt.replicate.overwrite import OverwriteCycle
from silt.replicate.round import Round, Visit
from silt.replicate.tally import Tally
from silt.source.condition import follows_clock
from silt.source.rescue import sentences

TRIES = 40
"""Tries of one table in one cycle; the library's own commit retries run out under contention (FACTS)."""

PLANS = 5
"""Times that a cycle is planned anew, for a source whose schema keeps moving."""


_CYCLES: Mapping[Mode, type[Cycle]] = {
    "append": AppendCycle,
    "merge": MergeCycle,
    "mirror": MirrorCycle,
    "overwrite": OverwriteCycle,
}


class StreamCycle:
    """Carries out one `StreamPlan`; never raises for what belongs to the stream alone.

    `begun` is the round that it goes on with: what its turns visited is not visited again.  `cycle` makes
    another pass over a table than the mode's own.
    """

    def __init__(
        self,
        plan: StreamPlan,
        handles: Handles,
        *,
        listen: Listener,
        stop: Stopping,
        clock: Callable[[], float] = time.time,
        begun: Round | None = None,
        cycle: Callable[..., Cycle] | None = None,
    ) -> None:
        self._plan = plan
        self._handles = handles
        self._listen = listen
        self._stop = stop
        self._clock = clock
        self._made = cycle
        self._tally = Tally(round=begun or Round())
        self._positions: dict[str, list[object]] = {}
        self._version: int | None = None

    def run(self) -> StreamResult:
        started = time.monotonic()
        if self._plan.state != "disabled":
            self._listen(Started(stream=self._plan.stream.name))
            self._run_tables()
        result = self._result(time.monotonic() - started)
        self._listen(Finished(result=result))
        return result

    def _run_tables(self) -> None:
        """Every table of the plan; planned anew, and begun again, where the source's schema moved."""
        for attempt in range(1, PLANS + 1):
            try:
                return self._try_tables(last=attempt == PLANS)
            except SchemaMoved:
                self._tally.another_try()
                self._plan_anew()
        return None

    def _try_tables(self, *, last: bool) -> None:
        for visit in self._tally.round.visits(self._plan.tables):
            if self._tally.stopped or self._stop.is_set():
                self._tally.stopped = True
                break
            try:
                self._run_table(visit)
            except SchemaMoved as error:
                if not last:
                    raise
                self._tally.errors.append(error)
            except SiltError as error:
                self._tally.errors.append(error)
            except Exception as error:  # noqa: BLE001  # one stream's failure stops no other, not even a bug's
                self._tally.errors.append(bug(error))
            self._tally.stands(part.app for part in visit.parts)

    def _plan_anew(self) -> None:
        self._plan = look_again(self._plan, self._handles)

    def _run_table(self, visit: Visit) -> None:
        for attempt in range(1, TRIES + 1):
            try:
                return self._try_table(visit.table, visit.parts)
            except SchemaMoved:
                raise
            except Contended as error:
                if attempt == TRIES:
                    raise
                if self._stop.is_set():  # a lost race is no failure: the next turn tries again
                    self._tally.another_try()
                    self._tally.leave(part.app for part in visit.parts)
                    return None
                if isinstance(error, Unplaced):
                    self._tally.another_try()  # nobody was in the way
                else:
                    self._pause(error, attempt)
        return None

    def _pause(self, error: SiltError, attempt: int) -> None:
        """Jittered: rivals that wait equally long meet again."""
        seconds = random.uniform(0.005, min(0.02 * 2**attempt, 1.0))  # noqa: S311  # no secret
        self._listen(Retrying(stream=self._plan.stream.name, error=error, attempt=attempt, seconds=seconds))
        self._tally.another_try()
        self._stop.wait(seconds)

    def _try_table(self, table: TablePlan, parts: tuple[Part, ...]) -> None:
        at = self._handles.manifest.target(table.target)
        with self._handles.lake(at, table.into) as lake:
            ledger = Ledger(
                lake,
                self._plan,
                table,
                manifest=self._handles.manifest.name,
                node=self._handles.manifest.node,
            )
            self._note(lake.notes)
            lake.notes.clear()
            ledger.open()
            self._note(ledger.notes)
            try:
                unclaimed = ledger.unclaimed
                self._tally.errors.extend(unclaimed[p.app] for p in parts if p.app in unclaimed)
                self._cycle(tuple(p for p in parts if p.app not in unclaimed), ledger)
            finally:
                with suppress(SiltError):  # it only tells where the table stands
                    self._remember(table, ledger)

    def _note(self, notes: Iterable[str]) -> None:
        for text in notes:
            if self._tally.note(text):
                self._listen(Noted(stream=self._plan.stream.name, text=text))

    def _cycle(self, parts: tuple[Part, ...], ledger: Ledger) -> None:
        stream = self._plan.stream
        own = _CYCLES[stream.mode] if stream.aggregate is None else AggregateCycle
        made: Callable[..., Cycle] = own if self._made is None else self._made
        made(
            self._plan,
            parts,
            ledger,
            self._handles,
            listen=self._listen,
            stop=self._stop,
            clock=self._clock,
            tally=self._tally,
        ).run()

    def _remember(self, table: TablePlan, ledger: Ledger) -> None:
        """Where the table stands now, for the result; a handle that was dropped tells nothing."""
        if not ledger.is_open:
            return
        self._version = max(self._version or 0, ledger.table.version)
        for part in table.parts:
            self._positions[part.database.name] = shown(ledger.standing(part).position)

    def _result(self, seconds: float) -> StreamResult:
        stream, tally = self._plan.stream, self._tally
        error = tally.worst(self._plan.error)
        return StreamResult(
            name=stream.name,
            table=stream.table,
            into=stream.into,
            state=self._state(error),
            rows=tally.rows,
            misfits=tally.misfits.total(),
            deleted=tally.deleted,
            databases=self._plan.databases,
            batches=tally.batches,
            version=self._version,
            position=self._positions,
            seconds=seconds,
            notes=(
                *self._plan.notes,
                *tally.notes,
                *sentences(tally.misfits, tally.rows),
                *tally.round.waiting,
            ),
            error=error,
            place=stream.place_of(error),
            rest=tally.round if tally.stopped else None,
            settled=self._settled(error),
        )

    def _settled(self, error: SiltError | None) -> bool:
        """Whether the clock alone gives the next cycle nothing to do, so that it need not look."""
        if error is not None or self._tally.stopped or self._tally.round.deferred:
            return False
        stream = self._plan.stream
        return stream.aggregate is None and not follows_clock(stream.where)

    def _state(self, error: SiltError | None) -> State:
        if error is not None:
            return state_of(error)
        if self._plan.state in ("disabled", "waiting"):
            return self._plan.state
        return "waiting" if self._tally.round.waiting and not self._tally.batches else "ok"
