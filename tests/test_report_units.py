"""`silt.report.units` and `silt.report.layout`: numbers and lines as people read them."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from silt.manifest.redact import plain_uri
from silt.report import layout, units


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0.00 s"),
        (0.021, "0.02 s"),
        (1.44, "1.4 s"),
        (12.3, "12 s"),
        (59.6, "1 m"),
        (315, "5 m 15 s"),
        (7860, "2 h 11 m"),
        (3600, "1 h"),
        (3 * 86400 + 1800, "3 d"),
        (26 * 3600, "1 d 2 h"),
    ],
)
def test_durations(seconds, text):
    """At most two units, and no more digits than a reader needs."""
    assert units.duration(seconds) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (999, "999 bytes"),
        (1_200, "1.2 kB"),
        (61_000_000, "61 MB"),
        (1_250_000_000, "1.2 GB"),
        (5e12, "5.0 TB"),
    ],
)
def test_sizes(number, text):
    """Powers of 1000, two digits."""
    assert units.size(number) == text


def test_counts_and_nouns():
    """Thousands are separated, one is singular, what is not known is a question mark."""
    assert units.count(1_204_331) == "1,204,331"
    assert units.count(None) == "?"
    assert units.counted(1, "stream") == "1 stream"
    assert units.counted(0, "row") == "0 rows"
    assert units.counted(15_607, "row") == "15,607 rows"


def test_moments():
    """The nearer a moment, the finer it is told."""
    now = time.mktime((2026, 11, 20, 12, 0, 0, 0, 0, -1))
    assert units.when(now - 60, now) == "11:59:00"
    assert units.when(now - 3 * 86400, now) == "Tue 12:00"
    assert units.when(now - 38 * 86400, now) == "13 Oct"
    assert units.when(None, now) == "-"
    assert units.instant(1_700_000_000.25) == "2023-11-14T22:13:20.250Z"
    assert units.instant(None) is None


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("/data/lake", "/data/lake"),
        ("s3://bucket/a/b", "s3://bucket/a/b"),
        ("https://acc.blob.core.windows.net/c/p?sv=1&sig=SECRET", "https://acc.blob.core.windows.net/c/p"),
        ("s3://KEY:SECRET@bucket/a", "s3://***@bucket/a"),
        (
            "abfss://container@account.dfs.core.windows.net/p",
            "abfss://container@account.dfs.core.windows.net/p",
        ),
    ],
)
def test_uris_are_shown_without_secrets(uri, shown):
    """User, password and query string of a URI are left out; an Azure container is none of these."""
    assert plain_uri(uri) == shown


def test_intervals_are_spelled_as_in_a_manifest():
    """`5m`, not `300 s`: what is shown can be written."""
    assert [units.setting(s) for s in (0.2, 5, 300, 3600, 86400, 90)] == [
        "200ms",
        "5s",
        "5m",
        "1h",
        "1d",
        "90s",
    ]


@given(st.text(), st.integers(2, 60))
def test_clipped_text_fits(text, width):
    """A clipped text never takes more cells than there are, wide characters counted as two."""
    assert layout.columns(layout.clip(text, width)) <= max(width, 2)


def test_wide_characters_align():
    """A table with CJK names and combining marks keeps its columns under each other."""
    lines = layout.table([("stream", "rows"), ("温度", "1"), ("e\u0301te\u0301", "20")], right={1})
    assert [layout.columns(line) for line in lines] == [12, 12, 12]


def test_tables_give_way_to_narrow_terminals():
    """The widest text columns are cut, numbers never."""
    rows = [("stream", "cursor", "rows"), ("a" * 60, "b" * 60, "1,204,331")]
    lines = layout.table(rows, right={2}, width=60)
    assert max(map(len, lines)) <= 60
    assert lines[1].endswith("1,204,331")


def test_paragraphs_hang_behind_their_label():
    """Continuation lines stand under the text, not under the label; long words are left whole."""
    words = "primary_key was [id], is [site, id]: 4,120 rows in the lake are keyed the old way"
    assert layout.paragraph(words, width=50, first="    held    ") == [
        "    held    primary_key was [id], is [site, id]:",
        "            4,120 rows in the lake are keyed the",
        "            old way",
    ]
    assert layout.paragraph("s3://" + "x" * 90, width=40, first="  ") == ["  s3://" + "x" * 90]
