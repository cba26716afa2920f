"""`silt.report.problems` and `failure`: what is wrong, for people, programs and GitHub."""

from __future__ import annotations

from silt.errors import Held, RetryLater, UserError
from silt.manifest.model import Problem
from silt.report import failure, problems

MIROR = Problem(
    file="plant.yaml",
    line=31,
    column=11,
    pointer="streams.settings.mode",
    message="'miror' is not one of append, overwrite",
    hint="did you mean 'overwrite'?",
    source_line="    mode: miror",
)
MISSING = Problem(file="shop.yaml", line=0, column=0, pointer="", message="cannot be read: no such file")


def test_text_shows_the_line_and_marks_the_column():
    """Place, pointer, message and hint; the line itself; a mark under what is meant."""
    headline = "plant.yaml:31:11: streams.settings.mode: 'miror' is not one of append, overwrite"
    assert problems.text([MIROR]) == [
        f"{headline} (did you mean 'overwrite'?)",
        "   31 |     mode: miror",
        "      |           ^",
    ]


def test_mark_stands_under_its_character_behind_tabs_and_wide_letters():
    """A tab stays a tab, and a wide letter takes two cells."""
    odd = Problem(file="a", line=1, column=6, pointer="", message="m", source_line="\t温度: x")
    assert problems.text([odd])[2] == "      | \t      ^"


def test_long_line_is_cut_around_its_mark():
    """Of 40 kB in one line the neighbourhood is shown, `..` where it is cut, the mark under its character."""
    for index in (0, 30, 20_000, 39_999):
        line = "x" * index + "!" + "x" * (39_999 - index)
        long = Problem(file="a", line=1, column=index + 1, pointer="", message="m", source_line=line)
        _, shown, mark = problems.text([long])
        assert shown[mark.index("^")] == "!"
        assert len(shown) <= len("    1 | ") + problems.EXCERPT + 2 * len("..")
        assert shown.startswith("    1 | ..") == (index > 38)
        assert shown.endswith("..") == (index < 39_999)


def test_problem_without_a_line_names_the_file_only():
    """A file that cannot be read has no place in it."""
    assert problems.text([MISSING]) == ["shop.yaml: cannot be read: no such file"]


def test_json_has_the_fields_of_the_contract():
    """`valid` and per problem file, line, column, pointer, message, hint; null where not known."""
    assert problems.data([MIROR, MISSING]) == {
        "valid": False,
        "problems": [
            {
                "file": "plant.yaml",
                "line": 31,
                "column": 11,
                "pointer": "streams.settings.mode",
                "message": "'miror' is not one of append, overwrite",
                "hint": "did you mean 'overwrite'?",
            },
            {
                "file": "shop.yaml",
                "line": None,
                "column": None,
                "pointer": "",
                "message": "cannot be read: no such file",
                "hint": None,
            },
        ],
        "warnings": [],
    }
    assert problems.data([])["valid"] is True


def test_github_annotations_are_escaped():
    """Commas and colons in properties, percent and line breaks in messages cannot end the command."""
    odd = Problem(file="a,b:c.yaml", line=2, column=3, pointer="x", message="50% off\nnow", hint="no")
    assert problems.github([odd]) == [
        "::error file=a%2Cb%3Ac.yaml,title=silt%3A x,line=2,col=3::50%25 off%0Anow (no)"
    ]
    assert problems.github([MISSING], level="warning") == [
        "::warning file=shop.yaml,title=silt::cannot be read: no such file"
    ]


def test_failure_says_what_on_what_why_and_what_to_do():
    """An error's four parts in two paragraphs."""
    error = RetryLater("the database is locked", on="/data/plant.db", why="waited 5 s", hint="close it there")
    assert failure.text(error) == [
        "error: the database is locked (/data/plant.db, waited 5 s)",
        "       close it there",
    ]


def test_failure_never_shows_a_signed_url():
    """What a URI carries behind `?` is left out of text and JSON."""
    error = UserError("the target refuses access", on="https://a.b/c?sig=SECRET", why="403")
    assert "SECRET" not in "".join(failure.text(error))
    assert "SECRET" not in str(failure.data(error))


def test_failure_data_tells_what_a_caller_does_about_it():
    """`error_kind` is the branch of the tree of errors; all are null without an error."""
    kinds = [failure.data(e)["error_kind"] for e in (UserError("a"), RetryLater("b"), Held("c", rule="4.4"))]
    assert kinds == ["user", "retry", "held"]
    assert failure.data(None) == {"error": None, "error_kind": None, "hint": None, "place": None}
