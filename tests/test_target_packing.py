"""Which files are written together: small ones, and a large one only after as much has come."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from silt.target.packing import FEWEST, TRIFLE, Packing, packing

KB, MB = 1024, 1024 * 1024
MOST = 128 * MB


@pytest.mark.parametrize(
    ("partitions", "found"),
    [
        pytest.param([[10 * KB] * 300], (MOST, 300), id="small files"),
        pytest.param([[10 * KB] * FEWEST], None, id="too few of them"),
        pytest.param([[10 * KB] * (FEWEST + 1)], (MOST, FEWEST + 1), id="just enough"),
        pytest.param(
            [
                [10 * KB] * 72,
            ],
            (MOST, 72),
            id="one day at every 20 minutes",
        ),
        pytest.param([[10 * KB] * 72 + [60 * MB]], (60 * MB - 1, 72), id="a large one stays as it is"),
        pytest.param([[MB] * 60 + [50 * MB]], (MOST, 61), id="until as much has come"),
        pytest.param([[10 * KB] * 20 + [500 * KB]], (MOST, 21), id="what is a trifle goes along"),
        pytest.param([[200 * MB] * 50], None, id="large ones"),
        pytest.param([[10 * KB]] * 500, None, id="one a partition"),
        pytest.param([[10 * KB]] * 500 + [[KB] * 30], (MOST, 30), id="one partition that grows"),
        pytest.param([[60 * MB] * 6], None, id="halves of large ones: little to gain"),
        pytest.param([], None, id="no files"),
    ],
)
def test_what_is_written_together(partitions: list[list[int]], found: tuple[int, int] | None) -> None:
    """The size to pack to, and how many files; None where it is not worth a commit."""
    got = packing(partitions, MOST)
    assert (got and (got.size, got.files)) == found


SIZES = st.lists(st.integers(1, 300 * MB), max_size=60)


@given(st.lists(SIZES, max_size=5))
def test_every_choice_gains(partitions: list[list[int]]) -> None:
    """A packing never takes a file past the target, has at least two files, and leaves fewer by ten."""
    found = packing(partitions, MOST)
    if found is not None:
        assert 0 < found.size <= MOST
        assert found.files >= FEWEST + 1
        assert found.bytes <= found.files * MOST


def test_a_row_is_written_again_a_logarithmic_number_of_times() -> None:
    """2,000 rounds of 20 files of 50 KB: each byte is written some ten times, not a thousand; few stay."""
    files: list[int] = []
    written = rewritten = 0
    for _ in range(2000):
        files += [50 * KB] * 20
        written += 20 * 50 * KB
        found = packing([files], MOST)
        assert isinstance(found, Packing)
        taken = [size for size in files if size <= found.size and size < MOST]
        kept = [size for size in files if not (size <= found.size and size < MOST)]
        files = kept + _packed(taken, found.size)
        rewritten += sum(taken)
    assert rewritten < 12 * written
    assert len(files) < 60
    assert TRIFLE < max(files) <= MOST


def _packed(sizes: list[int], most: int) -> list[int]:
    """Files as delta-rs packs them, next to next."""
    packed: list[int] = []
    for size in sizes:
        if packed and packed[-1] + size <= most:
            packed[-1] += size
        else:
            packed.append(size)
    return packed
