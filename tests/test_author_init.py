"""`silt.author.init`: texts as YAML reads them back."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from silt.author.init import scalar
from silt.manifest.document import parse


@given(text=st.text(st.characters(exclude_categories=("Cs", "Cn")), max_size=20))
@example(text="\U0001f600\u200b")
@example(text="a\x85b\u2028c\ufeff")
@example(text="no")
@example(text="a")
@example(text="x" * 500 + " " + "y" * 500)
def test_what_is_written_is_what_is_read(text: str):
    """Any text, whatever it looks like and whatever cannot be seen in it, on one line."""
    written = scalar(text)
    assert len(written.splitlines()) == 1
    other = "a" if text != "a" else "b"  # a key is there once
    assert parse(f"{other}: {written}\n{scalar(text, quoted=True)}: 1\n", "m.yaml").data.get(other) == text


@pytest.mark.parametrize("text", ["orders", "./lake", "log_2024", "Album-2"])
def test_plain_texts_stay_plain(text: str):
    """Quotes only where a reader needs them."""
    assert scalar(text) == text
