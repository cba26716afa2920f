"""Rules and table names -> streams: what the entries of a manifest amount to (DESIGN 3, "Stacking")."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from silt.manifest.model import Manifest, Problem, Source, Stream
from silt.manifest.problems import MAX_PROBLEMS
from silt.manifest.rules import Rule, Rules, Stacked, literals, stack
from silt.manifest.streams import Draft, filled, resolve
from silt.shapes import ascii_lower


@dataclass(frozen=True, slots=True, kw_only=True)
class Expansion:
    """Exact streams in the manifest's order, then those that patterns made, by source and table name.

    A stream with a problem is left out of `streams`.  `notes` are facts that stop nothing.
    """

    streams: tuple[Stream, ...]
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class _Found:
    streams: list[Stream] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def expand(manifest: Manifest, tables: Mapping[str, tuple[str, ...]]) -> Expansion:
    """Every stream of a manifest; `tables` are the names that patterns may see, by source name.

    Pure and deterministic: the order of `tables` does not matter.  A table that patterns match gets a
    stream of its own unless an exact stream has its name; an exact stream takes the settings of every
    pattern that matches the table it reads.  Disabled streams are kept, with `enabled` False.
    """
    rules = rules_of(manifest)
    found = _Found()
    for rule in rules.exact:
        _add(found, manifest, rule.name, rule.table, rule.source, rule)
    if rules.one_table:
        _make_the_one(found, manifest, rules, tables)
    else:
        _make_all(found, manifest, rules, tables)
    found.problems += _collisions(manifest, rules, found.streams)
    return Expansion(
        streams=tuple(found.streams),
        problems=tuple(dict.fromkeys(found.problems)),
        notes=tuple(dict.fromkeys(found.notes)),
    )


def static_streams(manifest: Manifest) -> tuple[str, ...]:
    """The names of the exact streams, in the manifest's order: what is known without any source."""
    return tuple(rule.name for rule in rules_of(manifest).exact)


def sample_problems(manifest: Manifest) -> tuple[Problem, ...]:
    """What is wrong with the patterns themselves, before any table is known."""
    rules = rules_of(manifest)
    problems: list[Problem] = []
    for rule in rules.patterns:
        draft = _draft(manifest, rule.name, rule.table, rule.source, rule)
        problems += resolve(draft, stack(rules.defaults, [], rule))[1]
    return tuple(problems)


def stacked_for(manifest: Manifest, name: str, table: str, source: str | None) -> Stacked:
    """The settings of a stream with their places; `name` picks the exact entry, if there is one.

    No pattern of tables speaks of a query.
    """
    rules = rules_of(manifest)
    exact = rules.named.get(name)
    queries = exact is not None and exact.query is not None
    patterns = [] if queries else [rule for rule in rules.patterns if rule.matches(source, table)]
    return stack(rules.defaults, patterns, exact)


def maker_of(manifest: Manifest, name: str, table: str, source: str | None) -> Rule:
    """What makes a stream: its exact entry, or the most exact pattern (of several, the first)."""
    rules = rules_of(manifest)
    exact = rules.named.get(name)
    return exact or most_exact([rule for rule in rules.patterns if rule.matches(source, table)])


def most_exact(matching: list[Rule]) -> Rule:
    """Of patterns that match a table, the one with the most literal characters; of several, the first."""
    return max(matching, key=lambda rule: literals(rule.table))


def rules_of(manifest: Manifest) -> Rules:
    """`Manifest.rules`, which is private to this package, by its type."""
    assert isinstance(manifest.rules, Rules)
    return manifest.rules


def _draft(manifest: Manifest, name: str, table: str, source: str | None, rule: Rule) -> Draft:
    """An unknown source has been reported where it was written; one in its place lets checks go on."""
    found = next((s for s in manifest.sources if s.name == source), None)
    return Draft(
        name=name,
        table=table,
        source=found or Source(name=source or "", path=""),
        targets={target.name: target for target in manifest.targets},
        node=manifest.node,
        document=rules_of(manifest).document,
        secrets=rules_of(manifest).secrets,
        rule=rule,
    )


def _add(found: _Found, manifest: Manifest, name: str, table: str, source: str | None, rule: Rule) -> None:
    """The stream that `rule`, an exact entry or a pattern, makes of a table."""
    if len(found.problems) >= MAX_PROBLEMS:
        return
    stacked = stacked_for(manifest, name, table, source)
    stream, problems = resolve(_draft(manifest, name, table, source, rule), stacked)
    found.problems += problems
    if stream is not None:
        found.streams.append(stream)


# --- streams that patterns make -------------------------------------------------------------------


def _make_all(found: _Found, manifest: Manifest, rules: Rules, tables: Mapping[str, tuple[str, ...]]) -> None:
    named = {ascii_lower(rule.name): rule for rule in rules.exact}
    made: dict[str, Rule] = {}
    for source in manifest.sources:
        unmatched = [rule for rule in rules.patterns if rule.source == source.name and source.name in tables]
        for table in sorted(set(tables.get(source.name, ()))):
            matching = [rule for rule in rules.patterns if rule.matches(source.name, table)]
            unmatched = [rule for rule in unmatched if rule not in matching]
            if not matching:
                continue
            exact = named.get(ascii_lower(table))
            if exact is not None:
                found.notes += _taken(exact, source.name, table)
            elif ascii_lower(table) in made:
                found.problems.append(
                    _made_twice(rules, made[ascii_lower(table)], matching[0], source.name, table)
                )
            else:
                made[ascii_lower(table)] = most_exact(matching)
                _add(found, manifest, table, table, source.name, made[ascii_lower(table)])
        found.notes += [
            f"pattern {rule.table!r} matches no table of source {source.name!r}" for rule in unmatched
        ]


def _taken(exact: Rule, source: str, table: str) -> Iterator[str]:
    """A table whose name an exact stream of another table bears: it would go missing without a word."""
    reads = "a query" if exact.query is not None else repr(exact.table)
    if exact.query is not None or exact.source != source or ascii_lower(exact.table) != ascii_lower(table):
        yield (
            f"table {table!r} of source {source!r} gets no stream from a pattern: stream {exact.name!r} "
            f"has its name and reads {reads} of {exact.source!r}"
        )


def _made_twice(rules: Rules, first: Rule, second: Rule, source: str, table: str) -> Problem:
    message = f"stream {table!r} would be made twice: from source {first.source!r} and from {source!r}"
    hint = f"name one of them: another_name: {{source: {source}, table: {table}}}"
    return rules.document.problem(second.path, message, hint, at_key=True)


def _make_the_one(
    found: _Found, manifest: Manifest, rules: Rules, tables: Mapping[str, tuple[str, ...]]
) -> None:
    """A flat config names no table: its source must hold exactly one (the seed's rule)."""
    source = manifest.sources[0]
    candidates = sorted(set(tables.get(source.name, ())))
    if len(candidates) == 1:
        _add(found, manifest, candidates[0], candidates[0], source.name, rules.patterns[0])
    elif source.name in tables:
        found.problems.append(_not_one(rules, source.path, candidates))


def _not_one(rules: Rules, path: str, candidates: list[str]) -> Problem:
    where = ("sources", "source")
    if not candidates:
        return rules.document.problem(where, f"{path} holds no table yet", "one is needed to replicate")
    listed = ", ".join(candidates)
    hint = "a manifest names what it replicates: see recipes/quickstart.yaml"
    return rules.document.problem(
        where, f"{path} holds {len(candidates)} tables, and which one is not said: {listed}", hint
    )


# --- where streams meet ---------------------------------------------------------------------------


def _collisions(manifest: Manifest, rules: Rules, streams: Iterable[Stream]) -> Iterator[Problem]:
    """Two streams at one Delta table, unless both append and mean it; and a table inside another's folder."""
    at: dict[str, Stream] = {}
    roots = {target.name: target.uri for target in manifest.targets}
    running = [stream for stream in streams if stream.enabled]
    for stream in running:
        other = at.setdefault(_address(roots, stream), stream)
        if other is not stream and (message := _clash(manifest, other, stream)):
            yield _at_into(rules, stream, message, "give one of them another 'into'")
    for stream in running:
        above = _address(roots, stream).split("/")
        for count in range(1, len(above)):
            other = at.get("/".join(above[:count]), stream)
            if other is not stream:
                message = (
                    f"{stream.into!r} lies inside {other.into!r}, the Delta table of stream {other.name!r}"
                )
                yield _at_into(
                    rules, stream, message, "a Delta table's folder is its own: choose another 'into'"
                )


def _address(roots: Mapping[str, str], stream: Stream) -> str:
    return f"{roots[stream.target].rstrip('/')}/{stream.into}"


def _clash(manifest: Manifest, first: Stream, second: Stream) -> str:
    """Why two streams may not share a table; nothing where they may."""
    where = f"writes to {second.into!r}, as stream {first.name!r} does"
    for stream in (first, second):
        if stream.mode != "append":
            return f"{where}: streams share a table only if both append, and {stream.name!r} is {stream.mode}"
    if differing := _said_of_one_table(first, second):
        return f"{where}, and they say different things of the table: {differing}"
    by_accident = _meant(manifest, first) != _meant(manifest, second)
    return f"{where}, because two names spell one path" if by_accident else ""


def _said_of_one_table(first: Stream, second: Stream) -> str:
    """What two streams would set on their table in turn, for ever."""
    if first.description and second.description and first.description != second.description:
        return "description"
    other = dict(first.properties)
    return next((name for name, value in second.properties if other.get(name, value) != value), "")


def _meant(manifest: Manifest, stream: Stream) -> str:
    """The path that a stream's names spell before they are made fit for one."""
    stacked = stacked_for(manifest, stream.name, stream.table, stream.source)
    setting = stacked.settings.get(("into",))
    values = {"stream": stream.name, "table": stream.table, "source": stream.source, "node": manifest.node}
    return filled(setting.value if setting else "{stream}", values).strip("/")


def _at_into(rules: Rules, stream: Stream, message: str, hint: str) -> Problem:
    """At its `into` if that was written for this stream alone, else at the stream itself."""
    path = ("streams", stream.name)
    into = (*path, "into")
    if into in rules.document.marks:
        return rules.document.problem(into, message, hint)
    return rules.document.problem(path, f"stream {stream.name!r} {message}", hint, at_key=True)
