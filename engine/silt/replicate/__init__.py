"""Carries out a plan, stream by stream: retries, one stream's failure stops no other, events as it goes."""

from __future__ import annotations

from silt.replicate.interval import Again, check_interval, read_again
from silt.replicate.reset import reset
from silt.replicate.run import run

__all__ = ["Again", "check_interval", "read_again", "reset", "run"]
