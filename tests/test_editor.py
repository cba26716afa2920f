"""A manifest in an editor: the real YAML language server completes, explains and checks it by the schema."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from lsp import Editor, installed

ROOT = Path(__file__).parents[1]
QUICKSTART = ROOT / "recipes" / "quickstart.yaml"
SCHEMA = json.loads((ROOT / "schemas" / "manifest.schema.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def editor() -> Iterator[Editor]:
    opened = Editor(installed(), ROOT)
    yield opened
    opened.close()


def written(more: str = "", **changed: str) -> str:
    """The quickstart with words changed (`mode="..."` for its first `mode: overwrite`) and lines added."""
    text = QUICKSTART.read_text(encoding="utf-8")
    for old, new in changed.items():
        assert old in text
        text = text.replace(old, new, 1)
    return text.rstrip("\n") + "\n" + more


def place(text: str, words: str) -> tuple[int, int]:
    """The line and character, from 0, at which `words` begin."""
    before = text[: text.index(words)]
    return before.count("\n"), len(before.rpartition("\n")[2])


@pytest.mark.parametrize("recipe", sorted((ROOT / "recipes").glob("*.yaml*")), ids=lambda p: p.name)
def test_nothing_is_underlined_in_a_recipe(editor: Editor, recipe: Path) -> None:
    """The schema that a recipe's first line names, as an editor applies it, has no complaint."""
    path = recipe.with_name(recipe.name.removesuffix(".example"))
    assert editor.diagnostics(path, recipe.read_text(encoding="utf-8")) == []


def test_variables_are_not_underlined(editor: Editor) -> None:
    """A value from the environment may stand wherever a value may: numbers, durations, words, lists."""
    more = (
        "  readings:\n"
        '    mode: "${MODE:-append}"\n'
        '    enabled: "${ON}"\n'
        '    schedule: {every: "${EVERY:-5m}"}\n'
        '    batch: {max_rows: "${ROWS}", max_bytes: "${BYTES:?say how much}"}\n'
        '    partition_by: ["${DAY}"]\n'
        '    cursor: {column: "${COLUMN}", initial_value: "${FIRST}"}\n'
    )
    assert editor.diagnostics(QUICKSTART, written(more)) == []


@pytest.mark.parametrize(
    ("typo", "underlined"),
    [
        ("    mode: overwritten\n", "overwritten"),
        ("    shedule: 5m\n", "shedule"),
        ("    batch: {max_row: 5}\n", "max_row"),
        ("    enabled: maybe\n", "maybe"),
        ("    schedule: {every: 300}\n", "300"),
        ("    columns: {at: {type: int65}}\n", "int65"),
    ],
)
def test_a_typo_is_underlined(editor: Editor, typo: str, underlined: str) -> None:
    """A word that the language does not have is marked where it stands, and only it."""
    text = written("  readings:\n" + typo)
    (found,) = editor.diagnostics(QUICKSTART, text)
    line, character = place(text, underlined)
    start, end = found["range"]["start"], found["range"]["end"]
    assert (start["line"], start["character"]) == (line, character)
    assert (end["line"], end["character"]) == (line, character + len(underlined))


def test_keys_are_completed(editor: Editor) -> None:
    """Every setting of a stream is offered in one, with its description; so are the keys of a manifest."""
    text = written("  readings:\n    \n")
    editor.diagnostics(QUICKSTART, text)
    offered = editor.complete(text.count("\n") - 1, 4)
    settings = set(SCHEMA["$defs"]["stream"]["properties"])
    assert settings <= set(offered)
    documented = offered["cursor"]["documentation"]
    assert "order" in (documented if isinstance(documented, str) else documented["value"])
    top = written("\n")
    editor.diagnostics(QUICKSTART, top)
    assert {"node", "state_dir", "defaults"} <= set(editor.complete(top.count("\n") - 1, 0))


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("mode", {"append", "overwrite"}),
        ("on_reset", {"fail", "restart"}),
        ("enabled", {"true", "false"}),
    ],
)
def test_values_are_completed(editor: Editor, key: str, values: set[str]) -> None:
    """The words that a setting takes are offered after its colon."""
    text = written(f"  readings:\n    {key}: \n")
    editor.diagnostics(QUICKSTART, text)
    offered = editor.complete(text.count("\n") - 1, len(f"    {key}: "))
    assert values <= set(offered)


@pytest.mark.parametrize(
    ("words", "described"),
    [
        ("mode: overwrite", "setting_mode"),
        ("schedule: 10s", "setting_schedule"),
        ("cursor: [order_id", "setting_cursor"),
        ("columns:", "setting_columns"),
    ],
)
def test_keys_are_explained(editor: Editor, words: str, described: str) -> None:
    """Hovering a key shows what the schema says of it."""
    text = written()
    editor.diagnostics(QUICKSTART, text)
    line, character = place(text, words)
    told = "".join(c for c in editor.hover(line, character + 1) if c.isalnum())
    said = SCHEMA["$defs"][described]["description"]
    assert "".join(c for c in said.splitlines()[0] if c.isalnum())[:60] in told
