"""`silt init`: a manifest out of databases, as YAML that a person reads: it runs as it is, and says why."""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Iterator
from io import StringIO
from pathlib import PurePath

from silt.author.draft import Draft, DraftStream, Setting
from silt.report.units import counted

_WIDTH = 100

_EXPLAINED = {
    "append": "append adds the rows past the last one; it does not see later changes of a row.",
    "mirror": "mirror compares all rows by the primary key, and writes what was added, changed or deleted.",
    "overwrite": "overwrite replaces the table's rows when any changed, which is right for every table.",
}


def text(draft: Draft) -> str:
    """The manifest.  Deterministic; every name is written so that YAML and silt read it back."""
    lines = [*_head(draft), "version: 1", *_name(draft), "", "sources:"]
    lines += [f"  {scalar(o.name)}: {scalar(_literal(o.path), quoted=True)}" for o in draft.origins]
    lines += ["targets:", "  lake: ./lake   # beside this file; s3://bucket/path works the same way", ""]
    lines += ["streams:"]
    for stream in draft.streams:
        lines += [*([""] if stream is not draft.streams[0] else []), *_stream(stream)]
    return "\n".join([*lines, *_left_out(draft)]) + "\n"


def _name(draft: Draft) -> Iterator[str]:
    """Two manifests of one name that share a lake would take each other's rows for their own."""
    name = scalar(_literal(draft.origins[0].name))
    yield f"name: {name}   # with the node, the identity of every position: choose it once"


def summary(draft: Draft) -> str:
    """`11 tables, 1 append, 10 overwrite`."""
    modes = ", ".join(f"{number:,} {mode}" for mode, number in draft.modes.items())
    return f"{counted(len(draft.streams), 'table')}, {modes}"


def _head(draft: Draft) -> Iterator[str]:
    found = ", ".join(PurePath(o.path).name for o in draft.origins[:5])
    more = f" and {len(draft.origins) - 5:,} more" if len(draft.origins) > 5 else ""
    yield from comment(f"What `silt init` found in {found}{more}: {summary(draft)}.", "")
    yield from (f"# {_EXPLAINED[mode]}" for mode in draft.modes)
    yield from comment(
        "Each stream says why. Change what you know better: `silt plan` tells what a run would do.", ""
    )


def _stream(stream: DraftStream) -> Iterator[str]:
    for reason in stream.reasons:
        yield from comment(reason, "  ")
    if not stream.offers and all(isinstance(value, str) for value in stream.settings.values()):
        yield f"  {scalar(stream.key)}: {_flow(stream.settings)}"
        return
    yield f"  {scalar(stream.key)}:"
    for key, value in stream.settings.items():
        if isinstance(value, str):
            yield f"    {key}: {scalar(_literal(value))}"
            continue
        yield f"    {key}:"
        yield from (f"      {scalar(name)}: {_flow(body)}" for name, body in value.items())
    yield from _offers(stream)


def _offers(stream: DraftStream) -> Iterator[str]:
    """What a person may want, as settings behind `#`: below `columns`, where that is there."""
    if not stream.offers:
        return
    names = ", ".join(stream.offers)
    yield from comment(
        f"times by their values, not by their declared type ({names}). To have them so:", "    "
    )
    if "columns" not in stream.settings:
        yield "    # columns:"
    yield from (f"    #   {scalar(name)}: {_flow(body)}" for name, body in stream.offers.items())


def _flow(settings: Setting) -> str:
    if isinstance(settings, str):
        return scalar(_literal(settings))
    return "{" + ", ".join(f"{scalar(key)}: {_flow(value)}" for key, value in settings.items()) + "}"


def _left_out(draft: Draft) -> Iterator[str]:
    if draft.left_out:
        yield from ("", "  # Left out:")
    for name, why in draft.left_out:
        yield from comment(f"{name}: {why}", "  ", hanging="  ")


def comment(words: str, indent: str, *, hanging: str = "") -> Iterator[str]:
    """`words` behind `#`, wrapped; what is no printable character is escaped, so that it stays a comment."""
    plain = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in words)
    lead = f"{indent}# {hanging}"
    yield from textwrap.wrap(
        plain,
        width=_WIDTH,
        initial_indent=lead,
        subsequent_indent=f"{lead}  " if hanging else lead,
        break_long_words=False,
        break_on_hyphens=False,
    )


# --- YAML -----------------------------------------------------------------------------------------

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*|\./[A-Za-z0-9_./-]*")
_TAKEN = frozenset(("null", "true", "false", "yes", "no", "on", "off", "y", "n"))
"""Words that some reader of YAML takes for something else."""


def scalar(text: str, *, quoted: bool = False) -> str:
    """`text` as YAML reads it back: plain where that is safe, else in double quotes."""
    if not quoted and _PLAIN.fullmatch(text) and text.lower() not in _TAKEN:
        return text
    return _in_quotes(text)


def _in_quotes(text: str) -> str:
    """In double quotes; what cannot be seen, and with it all that is not ASCII, as YAML escapes it.

    JSON's escapes would not do: they cut a character beyond U+FFFF in two.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.scalarstring import DoubleQuotedScalarString

    written, emitter = StringIO(), YAML()
    emitter.width, emitter.allow_unicode = sys.maxsize, text.isprintable()
    emitter.dump({"_": DoubleQuotedScalarString(text)}, written)
    return written.getvalue().removeprefix("_: ").removesuffix("\n")


def _literal(value: str) -> str:
    """`value` with `$` written so that it begins no variable (DESIGN 3, expansion)."""
    return value.replace("$", "$$")
