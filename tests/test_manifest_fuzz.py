"""Random edits of valid manifests: silt never crashes, and every problem has a place inside the file."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from silt.manifest import ManifestInvalid, expand, load, problems_text, show

CORPUS = sorted((Path(__file__).parent / "manifests" / "valid").glob("*.yaml"))
VALID = [path.read_bytes().decode() for path in CORPUS]
MARKS = ["{", "}", "[", "]", *":,#&*!|>'\"%@`-?$~\t\n\r ", "\x85", "\u2028", "\ufeff", "é", "\U0001f600"]
YAML = [
    ": ",
    "- ",
    "<<: *a",
    "&a ",
    "*a",
    "''",
    "[]",
    "{}",
    "|\n",
    ">-\n",
    "!!str ",
    "---\n",
    "...\n",
    "%YAML 1.1\n",
]
VALUES = ["null", "true", "-1", "0", "1e9", "x" * 300, "5 minutes", "_silt_node", "${", "${X}", "${X:-", "$$"]
SETTINGS = [
    "mode: ",
    "table: '*'",
    "cursor: [a, a]",
    "into: ../x",
    "columns: {a: {value: }}",
    "${secret:env:X}",
]
SECTIONS = ["properties: {delta.appendOnly: 3}", "defaults: ", "streams: ", "version: 2"]
PIECES = [*MARKS, *YAML, *VALUES, *SETTINGS, *SECTIONS]


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """A valid manifest after one to five edits: a piece put in, a stretch cut, moved or doubled, and more."""
    text = draw(st.sampled_from(VALID))
    for _ in range(draw(st.integers(1, 5))):
        begin = draw(st.integers(0, len(text)))
        end = min(begin + draw(st.integers(0, 40)), len(text))
        match draw(st.sampled_from(["insert", "cut", "double", "move", "indent", "word"])):
            case "insert":
                text = text[:begin] + draw(st.sampled_from(PIECES)) + text[begin:]
            case "cut":
                text = text[:begin] + text[end:]
            case "double":
                text = text[:end] + text[begin:end] + text[end:]
            case "move":
                at = draw(st.integers(0, begin))
                text = text[:at] + text[begin:end] + text[at:begin] + text[end:]
            case "indent":
                text = text[:begin] + text[begin:].replace(
                    "\n  ", draw(st.sampled_from(["\n", "\n   ", "\n\t"])), 1
                )
            case "word":
                words = [found.span() for found in re.finditer(r"\w+", text)] or [(0, 0)]
                first, last = draw(st.sampled_from(words))
                text = text[:first] + draw(st.sampled_from(PIECES)) + text[last:]
    return text


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(mutated(), st.booleans())
def test_a_mutated_manifest_loads_or_has_problems_in_its_place(text: str, env: bool) -> None:
    """Whatever an edit does, the answer is a manifest that can be shown or problems inside the file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.yaml"
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        problems = ()
        try:
            manifest = load(path, env={"X": "1"} if env else {}, require_env=env)
            expansion = expand(manifest, {source.name: ("a", "t1", "log_x") for source in manifest.sources})
            json.dumps(show(manifest, expansion.streams))
            problems = expansion.problems
        except ManifestInvalid as error:
            problems = error.problems
            assert problems
        lines = re.split("\r\n|[\n\r\x85\u2028\u2029]", text)
        for problem in problems:
            assert problem.file == str(path)
            assert 1 <= problem.line <= len(lines) + 1
            width = len(lines[problem.line - 1]) if problem.line <= len(lines) else 0
            assert 1 <= problem.column <= width + 2
            assert problem.message
            assert len(problem.message) < 1000
        assert problems_text(problems).count("m.yaml:") >= len(set(problems))
