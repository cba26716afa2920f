"""`silt.report.reload`: what became of an edit, as a log line, as text, as JSON."""

from __future__ import annotations

import json

import pytest

from silt.report import reload
from silt.state import Receipt, Trouble

MIROR = Trouble(
    file="plant.yaml",
    line=31,
    column=11,
    pointer="streams.settings.mode",
    message="'miror' is not one of append, overwrite",
    hint="did you mean 'mirror'?",
)


def receipt(**changes) -> Receipt:
    known = {"generation": 2, "digest": "d", "at": 0.0, "seconds": 0.21, "result": "applied", "streams": 61}
    return Receipt(**{**known, **changes})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"added": ("audit_log",), "changed": ("orders",), "removed": ("tmp_x",)},
            "generation 2 in 0.21 s: + audit_log ~ orders - tmp_x = 59",
        ),
        ({}, "generation 2 in 0.21 s: = 61"),
        ({"changed": ("a", "b"), "held": ("b",)}, "generation 2 in 0.21 s: ~ a b ! b = 59"),
        ({"added": ("a b",), "streams": 1}, "generation 2 in 0.21 s: + 'a b' = 0"),
        (
            {"added": tuple("abcdefghijkl"), "streams": 1212},
            "generation 2 in 0.21 s: + a b c d e f g h and 4 more = 1,200",
        ),
        ({"result": "unchanged"}, "generation 2 in 0.21 s: the manifest says what runs already = 61"),
    ],
)
def test_what_an_edit_changed_is_one_line(changes, words):
    """`+` what is new, `~` changed, `-` gone, `!` held, `=` how many streams run on as they were."""
    line = reload.line(receipt(**changes))
    assert (line.kind, line.text) == ("reload", words)
    assert line.level == ("warning" if changes.get("held") else "info")
    assert reload.text(receipt(**changes)) == [f"reload {words}"]


def test_a_refused_edit_is_told_with_its_place():
    """The log says the first problem and how many more; `silt reload` says all of them."""
    words = (
        "plant.yaml:31:11: streams.settings.mode: 'miror' is not one of append, overwrite "
        "(did you mean 'mirror'?)"
    )
    refused = receipt(result="refused", problems=(MIROR,))
    line = reload.line(refused)
    assert (line.kind, line.level) == ("refused", "error")
    assert line.text == f"{words}; generation 2 runs on"
    two = receipt(result="refused", problems=(MIROR, MIROR))
    assert reload.line(two).text == f"{words}, and 1 more problem; generation 2 runs on"
    assert reload.text(two) == [words, words, "refused: generation 2 runs on"]


def test_a_receipt_as_json_has_one_form():
    """Every key is always there, whatever the result."""
    applied, refused = receipt(added=("a",)), receipt(result="refused", problems=(MIROR,))
    one, other = (json.loads(json.dumps(reload.data(r))) for r in (applied, refused))
    assert list(one) == list(other)
    assert one["added"] == ["a"]
    assert one["at"] == "1970-01-01T00:00:00.000Z"
    assert other["problems"][0]["line"] == 31
    assert reload.line(applied).fields == reload.data(applied)
