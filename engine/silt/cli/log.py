"""Log lines of `silt run` on stdout, one event a line: `10:42:11 commit   ...` for people, or JSON."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from silt.cli import console
from silt.cli.signals import Interrupted

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping

    from silt.report.events import Line


def emitter(*, as_json: bool, gone: Callable[[], None]) -> Callable[[Line], None]:
    """What writes a line; safe in any thread, and the line is out when it returns.

    `gone` is called once when nobody reads the log any more: raising in a worker would reach nobody.
    """
    import structlog

    render: Any = structlog.processors.JSONRenderer(ensure_ascii=False) if as_json else _human
    log = structlog.wrap_logger(_Stdout(gone), processors=[_stamped if as_json else _clocked, render])
    lock = threading.Lock()

    def emit(line: Line) -> None:
        with lock:
            log.info(line.text, kind=line.kind, level=line.level, **line.fields)

    return emit


class _Stdout:
    """Where structlog's lines end: one write a line."""

    def __init__(self, gone: Callable[[], None]) -> None:
        self._gone = gone
        self._open = True

    def info(self, text: str) -> None:
        if not self._open:
            return
        try:
            console.write(text + "\n")
        except Interrupted:
            self._open = False
            self._gone()


def _stamped(_logger: object, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """For programs: an ISO time first, the kind as `event`, the sentence as `message`."""
    from silt.report.units import instant

    message, kind, level = event.pop("event"), event.pop("kind"), event.pop("level")
    return {"time": instant(time.time()), "level": level, "event": kind, "message": message, **event}


def _clocked(_logger: object, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    from silt.report.units import clock

    event["time"] = clock(time.time())
    return event


def _human(_logger: object, _name: str, event: MutableMapping[str, Any]) -> str:
    """`10:42:12 commit   readings +1,204 rows v312 0.02 s`: one line, whatever the text holds."""
    kind = f"{event['kind']:<8}"
    if console.colourful(sys.stdout):
        codes = {"warning": "33", "error": "31"}
        code = codes.get(event["level"], "36")
        kind = f"\x1b[{code}m{kind}\x1b[0m"
    return f"{event['time']} {kind} {' '.join(str(event['event']).split())}"
