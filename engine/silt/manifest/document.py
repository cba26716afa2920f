"""A manifest as written: plain data, and the place of every key and value in it.

libyaml's parser (by PyYAML) gives events; they are what `compose()` reads too.  Reading them here keeps
three things in one pass: limits hold before a hostile file has been built (a nest 100,000 deep never becomes
a recursion), aliases are counted each time they are used (an alias bomb stops at the node budget), and
merged keys keep the place where they were written, which round-trip data loses.
Scalars are typed by YAML 1.2's core schema, so `yes` and `2024-01-01` are text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from silt.manifest.model import Place, Problem, Scalar
from silt.manifest.problems import MAX_PROBLEMS, ManifestInvalid, did_you_mean
from silt.manifest.redact import Blot, blotted, guessed, is_sensitive, tight_secret
from silt.manifest.slips import NO_SPACE, explain, tight_colon

Path = tuple[str | int, ...]
"""The keys and indices that lead to a node."""

Plain = Any
"""dict, list or Scalar: a node as plain data."""

MAX_BYTES = 4 * 1024 * 1024
MAX_NODES = 100_000
MAX_DEPTH = 32

_TYPOGRAPHIC = re.compile("[“”„«»‘’‚].*[“”«»‘’]\\Z", re.DOTALL)
_LINE_ENDS = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_INTEGER = re.compile(r"[-+]?[0-9][0-9_]*\Z")
_BASED = re.compile(r"0o[0-7]+\Z|0x[0-9a-fA-F]+\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_WORDS: Mapping[str, Scalar] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Where a node stands, from 1; for a value in a map also where its key stands.

    `text` is a scalar as written, `plain` that it stands there without quotes.
    """

    file: str
    line: int
    column: int
    key_line: int
    key_column: int
    text: str = field(default="", repr=False)
    plain: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One file, or a folder's files as one: plain data (a map), the mark of each path.

    `lines` are those of each file for messages, secrets blotted.  `variables` names what each expanded
    value came from, once `interpolate` has run.  `pointers` are the names, for messages, of paths that
    a file spells otherwise (a lifted flat config, the defaults of one file of a folder).
    """

    lines: Mapping[str, tuple[str, ...]] = field(repr=False)
    data: dict[str, Plain] = field(repr=False)
    marks: Mapping[Path, Mark] = field(repr=False)
    variables: Mapping[Path, tuple[str, ...]] = field(default_factory=dict, repr=False)
    pointers: Mapping[Path, str] = field(default_factory=dict, repr=False)

    def mark(self, path: Path) -> Mark:
        """The mark of `path`, or of the nearest node above it that was written."""
        while path not in self.marks:
            path = path[:-1]
        return self.marks[path]

    def holds(self, path: Path) -> bool:
        """Whether a value is written at `path`, be it what it may."""
        mark = self.marks.get(path)
        return mark is not None and (not mark.plain or typed(mark.text) is not None)

    def place(self, path: Path) -> Place:
        """Where the value at `path` stands."""
        mark = self.mark(path)
        return self._place(path, mark.file, mark.line, mark.column)

    def key_place(self, path: Path) -> Place:
        """Where the key of the value at `path` stands."""
        mark = self.mark(path)
        return self._place(path, mark.file, mark.key_line, mark.key_column)

    def _place(self, path: Path, file: str, line: int, column: int) -> Place:
        return Place(
            file=file,
            line=line,
            column=column,
            pointer=self.pointers.get(path) or pointer(path),
            source_line=line_at(self.lines[file], line),
            variables=self.variables.get(path, ()),
        )

    def problem(self, path: Path, message: str, hint: str = "", *, at_key: bool = False) -> Problem:
        """A problem with the value at `path`, or with its key."""
        return (self.key_place(path) if at_key else self.place(path)).problem(message, hint)


def pointer(path: Path) -> str:
    """`streams.settings.select[2]`; a key that holds more than letters, digits and `_*?-` is quoted."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            name = part[: tight_secret(part)]
            text += ("." if text else "") + (name if re.fullmatch(r"[\w*?-]+", name) else f"'{name}'")
    return text


def problem_at(
    file: str, lines: tuple[str, ...], line: int, column: int, where: str, message: str, hint: str
) -> Problem:
    """A problem with the line that it names."""
    written = line_at(lines, line)
    return Problem(
        file=file, line=line, column=column, pointer=where, message=message, hint=hint, source_line=written
    )


def line_at(lines: tuple[str, ...], line: int) -> str:
    """The line of that number, from 1; nothing where there is none."""
    return lines[line - 1] if 0 < line <= len(lines) else ""


def split_lines(text: str) -> tuple[str, ...]:
    """Lines as YAML counts them."""
    return tuple(_LINE_ENDS.split(text))


def typed(text: str) -> Scalar:
    """A plain scalar by YAML 1.2's core schema, with `_` allowed between the digits of a number."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.match(text):
        return int(text) if len(text) <= 40 else text
    if _BASED.match(text):
        return int(text, 0) if len(text) <= 40 else text
    return float(text) if _FLOAT.match(text) else text


# --- from text to nodes ---------------------------------------------------------------------------


@dataclass(slots=True)
class _Node:
    """A node while it is built: a scalar, a map (`pairs`) or a list (`items`)."""

    line: int
    column: int
    anchor: str | None = None
    value: Scalar = None
    text: str = ""
    plain: bool = False
    pairs: list[tuple[_Node, _Node]] | None = None
    items: list[_Node] | None = None
    key: _Node | None = None

    def add(self, child: _Node) -> None:
        if self.items is not None:
            self.items.append(child)
        elif self.key is None:
            self.key = child
        else:
            assert self.pairs is not None
            self.pairs.append((self.key, child))
            self.key = None


class _Refused(Exception):
    """Text that is no YAML, or YAML that the language does not have; `line` and `column` from 1."""

    def __init__(self, line: int, column: int, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.line, self.column, self.message, self.hint = line, column, message, hint


def parse(text: str, file: str) -> Document:
    """Text of one manifest -> Document.

    Raises ManifestInvalid for what is no YAML, or YAML that the language does not have (tags,
    duplicate keys, keys that are no scalar, several documents, something other than a map).
    """
    lines = split_lines(text)
    try:
        reader = _Plain(_root(text, lines), file)
    except _Refused as refused:
        safe = guessed(lines)
        problem = problem_at(file, safe, refused.line, refused.column, "", refused.message, refused.hint)
        raise ManifestInvalid([problem]) from None
    safe = blotted(lines, _blots(reader.marks))
    if reader.problems:  # the second of two keys has no mark
        safe = guessed(safe)
        raise ManifestInvalid(
            problem_at(file, safe, line, column, pointer(path), message, hint)
            for line, column, path, message, hint in reader.problems[:MAX_PROBLEMS]
        )
    return Document(lines={file: safe}, data=reader.data, marks=reader.marks)


def _blots(marks: Mapping[Path, Mark]) -> Iterator[Blot]:
    for path, mark in marks.items():
        if mark.text and is_sensitive(path):
            yield mark.line, mark.column, mark.key_column, mark.text
        if path and isinstance(path[-1], str) and (begin := tight_secret(path[-1])):
            yield mark.key_line, mark.key_column, mark.key_column, path[-1][begin:]


def _root(text: str, lines: tuple[str, ...]) -> _Node:
    import yaml

    documents = _Node(line=1, column=1, items=[])
    try:
        _assemble(yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)), documents)
    except yaml.YAMLError as error:
        raise _Refused(*explain(error, lines)) from None
    return _the_map(documents.items or [])


def _the_map(documents: list[_Node]) -> _Node:
    if len(documents) > 1:
        second = documents[1]
        raise _Refused(
            second.line, second.column, "a second document: a manifest is one", "remove the '---' above"
        )
    root = documents[0] if documents else _Node(line=1, column=1)
    if root.pairs is None:
        got = "a list" if root.items is not None else repr(root.text[:40]) if root.text else "nothing"
        hint = NO_SPACE if tight_colon(root.text) and root.plain else "begin with 'version: 1'"
        raise _Refused(root.line, root.column, f"a manifest is a map of keys, got {got}", hint)
    return root


def _assemble(events: Iterator[Any], root: _Node) -> None:
    stack = [root]
    anchors: dict[str, _Node] = {}
    for count, event in enumerate(events):
        kind = type(event).__name__
        line, column = event.start_mark.line + 1, event.start_mark.column + 1
        if kind.endswith("StartEvent") and kind[0] in "MS" and kind != "StreamStartEvent":
            stack.append(_collection(event, line, column))
        elif kind in ("MappingEndEvent", "SequenceEndEvent"):
            _finish(stack.pop(), stack[-1], anchors)
        elif kind == "ScalarEvent":
            _finish(_scalar(event, line, column), stack[-1], anchors)
        elif kind == "AliasEvent":
            stack[-1].add(_aliased(event.anchor, line, column, anchors))
        if len(stack) > MAX_DEPTH:
            raise _Refused(line, column, f"nested more than {MAX_DEPTH} levels deep")
        if count > MAX_NODES:
            raise _Refused(line, column, f"more than {MAX_NODES:,} values")


def _finish(node: _Node, parent: _Node, anchors: dict[str, _Node]) -> None:
    if node.anchor:
        anchors[node.anchor] = node
    parent.add(node)


def _collection(event: Any, line: int, column: int) -> _Node:
    is_map = type(event).__name__ == "MappingStartEvent"
    _tag(event, line, column)
    return _Node(
        line=line,
        column=column,
        anchor=event.anchor,
        pairs=[] if is_map else None,
        items=None if is_map else [],
    )


def _scalar(event: Any, line: int, column: int) -> _Node:
    plain = event.style in (None, "")
    tag = _tag(event, line, column)
    value = event.value if tag == "str" or not plain else typed(event.value)
    return _Node(line=line, column=column, anchor=event.anchor, value=value, text=event.value, plain=plain)


def _tag(event: Any, line: int, column: int) -> str:
    """`str` for a scalar tagged as text, `` for none; any other tag is refused."""
    tag = str(event.tag) if event.tag else ""
    if tag in ("", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"):
        return ""
    if tag in ("!", "tag:yaml.org,2002:str"):
        return "str"
    shown = tag.replace("tag:yaml.org,2002:", "!!")
    hint = "remove it" if shown.startswith("!!") else "quote a value that begins with !, or remove it"
    raise _Refused(line, column, f"the tag {shown} means nothing here", hint)


def _aliased(name: str, line: int, column: int, anchors: dict[str, _Node]) -> _Node:
    if name not in anchors:
        bare = name.rstrip(":,")
        what = f", and *{bare} refers to no anchor" if bare else ""
        message = f"an unquoted * begins an alias in YAML{what}"
        hint = did_you_mean(bare, anchors) if bare else ""
        raise _Refused(line, column, message, hint or f"quote a pattern: '*{bare}'")
    return anchors[name]


# --- from nodes to plain data ---------------------------------------------------------------------

_Complaint = tuple[int, int, Path, str, str]


class _Plain:
    """Copies nodes to plain data, aliases and merges written out, and keeps the place of each path."""

    def __init__(self, root: _Node, file: str) -> None:
        self.file = file
        self.marks: dict[Path, Mark] = {}
        self.problems: list[_Complaint] = []
        self._known: dict[int, dict[str, tuple[_Node, _Node]]] = {}
        self._merged = 0
        self.data: dict[str, Plain] = self._copy(root, (), root)

    def _copy(self, node: _Node, path: Path, key: _Node) -> Plain:
        if len(self.marks) > MAX_NODES:
            top = self.marks[path[:1]]
            raise _Refused(
                top.key_line, top.key_column, f"aliases make more than {MAX_NODES:,} values of this file"
            )
        self.marks[path] = Mark(
            file=self.file,
            line=node.line,
            column=node.column,
            key_line=key.line,
            key_column=key.column,
            text=node.text,
            plain=node.plain,
        )
        if node.pairs is not None:
            return self._map(node, path)
        if node.items is not None:
            return [self._copy(item, (*path, index), item) for index, item in enumerate(node.items)]
        if node.plain and _TYPOGRAPHIC.match(node.text):
            message = (
                f"{node.text[0]} and {node.text[-1]} are no quotes to YAML: they would be part of the value"
            )
            self.problems.append((node.line, node.column, path, message, "use ' or \""))
        return node.value

    def _map(self, node: _Node, path: Path) -> dict[str, Plain]:
        return {
            name: self._copy(value, (*path, name), key)
            for name, (key, value) in self._entries(node, path).items()
        }

    def _entries(self, node: _Node, path: Path) -> dict[str, tuple[_Node, _Node]]:
        """Own entries in the order written, then what `<<` merges in and no own key hides.

        Each map's once, however often it is merged: merges of merges would multiply.
        """
        if id(node) not in self._known:
            self._known[id(node)] = found = self._gathered(node, path)
            self._merged += len(found)
            if self._merged > MAX_NODES:
                message = f"merges make more than {MAX_NODES:,} values of this file"
                raise _Refused(node.line, node.column, message)
        return self._known[id(node)]

    def _gathered(self, node: _Node, path: Path) -> dict[str, tuple[_Node, _Node]]:
        own: dict[str, tuple[_Node, _Node]] = {}
        merged: list[_Node] = []
        for key, value in node.pairs or []:
            if key.text == "<<" and key.plain:
                merged += value.items if value.items is not None else [value]
            elif self._is_new(key, own, path):
                own[key.text] = (key, value)
        for other in merged:
            for name, entry in self._mergeable(other, path).items():
                own.setdefault(name, entry)
        return own

    def _mergeable(self, node: _Node, path: Path) -> dict[str, tuple[_Node, _Node]]:
        if node.pairs is not None:
            return self._entries(node, path)
        self.problems.append(
            (node.line, node.column, path, f"<< merges maps, got {node.text!r}", "write <<: *anchor")
        )
        return {}

    def _is_new(self, key: _Node, seen: dict[str, tuple[_Node, _Node]], path: Path) -> bool:
        if key.pairs is not None or key.items is not None:
            hint = (
                "quote a value that holds ${ }, or a key with brackets"
                if key.pairs is not None
                else "quote it"
            )
            self.problems.append(
                (key.line, key.column, path, "a key must be text, got a map or a list", hint)
            )
            return False
        if key.text in seen:
            first = seen[key.text][0]
            message = f"written twice: first on line {first.line}"
            hint = (
                "a comma ends a value in { }: write 1_000"
                if re.fullmatch("[0-9]{3}", key.text)
                else "remove one"
            )
            self.problems.append((key.line, key.column, (*path, key.text), message, hint))
            return False
        return True
