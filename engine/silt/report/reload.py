"""What became of an edit of the manifest, as a log line."""

from __future__ import annotations

from silt.report.events import Line
from silt.report.units import duration
from silt.state import Receipt


def line(receipt: Receipt) -> Line:
    """`reload   generation 2 in 0.21 s: + audit_log ~ orders - tmp_x = 59`."""
    return Line(
        kind=receipt.result, text=f"generation {receipt.generation} in {duration(receipt.seconds)} {receipt}"
    )
