"""`silt.cli.select`: --select and --exclude."""

from __future__ import annotations

import pytest

from silt.cli.select import Selection
from silt.errors import UserError
from silt.manifest.model import Stream
from silt.manifest.problems import streams_are


def stream(name: str, source: str = "plant", tags: tuple[str, ...] = (), table: str = "") -> Stream:
    return Stream(name=name, source=source, target="lake", table=table or name, into=name, tags=tags)


STREAMS = (
    stream("readings", tags=("hot",)),
    stream("orders", source="shop"),
    stream("order_lines", source="shop", tags=("hot", "big")),
    stream("settings", table="app_settings"),
)


def chosen(select: list[str] | None = None, exclude: list[str] | None = None) -> list[str]:
    selection = Selection(select, exclude)
    names = [s.name for s in STREAMS if selection(s)]
    selection.check()
    return names


@pytest.mark.parametrize(
    ("select", "exclude", "names"),
    [
        (None, None, ["readings", "orders", "order_lines", "settings"]),
        (["readings"], None, ["readings"]),
        (["readings,settings"], None, ["readings", "settings"]),
        (["readings settings"], None, ["readings", "settings"]),
        (["readings", "settings"], None, ["readings", "settings"]),
        (["order*"], None, ["orders", "order_lines"]),
        (["tag:hot"], None, ["readings", "order_lines"]),
        (["tag:b*,source:plant"], None, ["readings", "order_lines", "settings"]),
        (["source:shop"], ["tag:big"], ["orders"]),
        (None, ["source:shop,settings"], ["readings"]),
        (["table:app_*"], None, ["settings"]),
        (["target:lake"], ["tag:hot"], ["orders", "settings"]),
    ],
)
def test_selection(select, exclude, names):
    """Names, tags, sources, tables and targets, globs among them; --exclude takes away."""
    assert chosen(select, exclude) == names


def test_nothing_selected_is_an_error_with_a_suggestion():
    """A typo selects nothing, and is told so instead of running nothing."""
    with pytest.raises(UserError) as refused:
        chosen(["reading"])
    assert "reading matches no stream (did you mean 'readings'?)" in refused.value.what
    assert "streams are: readings, orders, order_lines, settings" in refused.value.hint


def test_of_many_streams_ten_are_named_and_the_rest_counted():
    """What every verb says where a name is none of the manifest's."""
    assert streams_are(["a", "b"]) == "streams are: a, b"
    assert streams_are([f"s{i}" for i in range(12)]).endswith("s8, s9 and 2 more")
    assert streams_are([]) == "the manifest makes no stream"


def test_tag_typo_is_suggested_among_tags():
    """The suggestion comes from what the item is compared with."""
    with pytest.raises(UserError, match=r"tag:hto matches no stream \(did you mean 'hot'\?\)"):
        chosen(["tag:hto"])


def test_excluding_everything_is_an_error():
    """--exclude that leaves nothing says so."""
    with pytest.raises(UserError, match="exclude leaves nothing"):
        chosen(None, ["*"])


def test_item_that_matches_nothing_beside_others_is_a_warning():
    """The rest runs; the warning names the item."""
    selection = Selection(["readings,nope"], ["gone"])
    assert [s.name for s in STREAMS if selection(s)] == ["readings"]
    assert [w.split(" ")[0] for w in selection.check()] == ["nope", "gone"]


@pytest.mark.parametrize("item", ["state:new", "TAG:hot", ":x"])
def test_unknown_method_is_an_error(item):
    """A method that is none is not taken for a name."""
    with pytest.raises(UserError, match="cannot select by"):
        Selection([item], None)


def test_empty_select_is_an_error():
    """`--select ""` is not "all": a script with an empty variable must not replicate everything."""
    with pytest.raises(UserError, match="--select names nothing"):
        Selection([" , "], None)
