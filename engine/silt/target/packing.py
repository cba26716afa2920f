"""Which files are worth writing together, and how large the result may be: pure, from sizes alone.

delta-rs packs every file that is smaller than the size it is given, next to next.  Given the target size
each time, it would write the large file that grew last time again for every few small ones.  So a size is
chosen that leaves a large file alone until those after it have come to as much: a row is then written
again a logarithmic number of times (the rule of log-structured merge trees, "size-tiered compaction").
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

FEWEST: Final = 10
"""Files that must become fewer, else a rewrite is not worth its commit."""

TRIFLE: Final = 1024 * 1024
"""Bytes that are written again without a thought."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Packing:
    """`files` files, `bytes` bytes, would be written together into files of at most about `size` bytes."""

    size: int
    files: int
    bytes: int


def packing(partitions: Iterable[Sequence[int]], most: int) -> Packing | None:
    """What to write together among the sizes of each partition's files; None where it is not worth it.

    `most` is the target size, in bytes.
    """
    chosen = [found for sizes in partitions if (found := _of_one(sorted(sizes), most)) is not None]
    if sum(found.files - _left(found, most) for found in chosen) < FEWEST:
        return None
    return Packing(
        size=max(found.size for found in chosen),
        files=sum(found.files for found in chosen),
        bytes=sum(found.bytes for found in chosen),
    )


def _of_one(sizes: Sequence[int], most: int) -> Packing | None:
    """Of one partition, sizes rising: each file that the smaller ones together outweigh."""
    total = count = 0
    for size in sizes:
        if size >= most or size > max(total, TRIFLE):
            break
        total, count = total + size, count + 1
    if count < 2:
        return None
    larger = next((size for size in sizes[count:] if size < most), most + 1)
    return Packing(size=min(larger - 1, most), files=count, bytes=total)


def _left(found: Packing, most: int) -> int:
    """How many files there will be."""
    return max(1, -(-found.bytes // most))
