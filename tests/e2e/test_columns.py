"""Computed and masked columns, from the manifest to the lake: against the source read by stdlib sqlite3."""

from __future__ import annotations

import hashlib
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from kit import Site, sql

from silt import manifest, observe
from silt.source import read


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setenv("SALT", "pepper")
    return Site(tmp_path)


SALTED = 'mask: sha256, salt: "${secret:env:SALT}"'


def sha(text: str | None, salt: str = "pepper") -> str | None:
    return None if text is None else hashlib.sha256((salt + text).encode()).hexdigest()


def notes(site: Site) -> list[str]:
    """What `plan` remarks on the one stream."""
    loaded = manifest.load(site.manifest, open_secrets=True)
    with observe.Handles(loaded) as handles:
        (outlook,) = observe.outlook(observe.look(loaded, handles), handles)
    return list(outlook.notes)


# --- expr -----------------------------------------------------------------------------------------

EXPRESSIONS = {
    "day": ("date(ts)", ", type: date"),
    "double_id": ("id * 2", ""),
    "half": ("id / 2.0", ""),
    "shout": ("upper(v) || '!'  -- a remark )", ""),
    "raw": ("cast(v as blob)", ""),
    "mixed": ("case id % 3 when 0 then id when 1 then id / 2.0 else v end", ""),
    "unit": ("json_extract(doc, '$.u')", ""),
    "at": ("ts", ", type: timestamp"),
    "flag": ("id % 2 = 0", ", type: boolean"),
}


def filled(site: Site, rows: int) -> None:
    site.sql(
        "create table t(id integer primary key, ts text, v text, doc text)",
        (
            "insert into t(ts, v, doc) values (?, ?, ?)",
            [(f"2026-01-{i % 28 + 1:02d} 0{i % 10}:00:00", f"v{i}", f'{{"u": "u{i}"}}') for i in range(rows)],
        ),
    )


def test_expressions_are_what_the_source_computes(site: Site) -> None:
    """Each expression's column holds SQLite's own result, of the type that its values have."""
    filled(site, 300)
    columns = "\n".join(f'      {k}: {{expr: "{e}"{more}}}' for k, (e, more) in EXPRESSIONS.items())
    site.write(f"  t:\n    columns:\n{columns}\n    partition_by: [day]\n")
    assert site.one().rows == 300
    site.sql("insert into t(ts, v, doc) values ('2026-02-01 00:00:00', NULL, NULL)")
    assert site.one().rows == 1
    shown = [f"{expr}\n" for expr, _ in EXPRESSIONS.values()]
    expected = {row[0]: row[1:] for row in site.sql(f"select id, {', '.join(shown)} from t")}
    lake = {row["id"]: row for row in site.lake("t")}
    assert lake.keys() == expected.keys()
    for id_, (day, double, half, shout, raw, mixed, unit, at, flag) in expected.items():
        row = lake[id_]
        assert row["day"] == date.fromisoformat(day)
        assert (row["double_id"], row["half"], row["shout"], row["raw"]) == (double, half, shout, raw)
        assert row["mixed"] == (None if mixed is None else str(mixed))
        assert (row["unit"], row["flag"]) == (unit, bool(flag))
        assert row["at"] == datetime.fromisoformat(at).replace(tzinfo=UTC)
    assert len(list((site.folder / "lake" / "t").glob("day=*"))) == 29


def test_an_expression_may_take_the_name_of_a_column_left_out(site: Site) -> None:
    """`select: -v` makes room for a computed `v`; without it the two collide, at plan."""
    filled(site, 3)
    site.write('  t: {select: [id], columns: {v: {expr: "upper(v)"}}}\n')
    assert site.one().rows == 3
    assert sorted(site.column("t", "v")) == ["V0", "V1", "V2"]
    site.write('  t: {columns: {v: {expr: "upper(v)"}}}\n')
    (plan,) = site.plan().streams
    assert plan.error.what == "column v is computed, and the source has one of that name"


def test_a_misfit_of_an_expression_fails_the_stream(site: Site) -> None:
    """It names column, rowid, class and value, and nothing of the batch is written."""
    filled(site, 3)
    site.sql("update t set v = '7'", "update t set v = 'seven' where id = 3")
    site.write('  t: {columns: {n: {expr: "v", type: bigint}}, on_misfit: fail}\n')
    failed = site.one()
    assert failed.state == "failing"
    assert failed.error.what.startswith("t.n holds text '7' at id 1: no bigint")
    site.write(
        "  t: {on_misfit: fail,"
        " columns: {n: {expr: \"case v when 'seven' then 'x' else 1 end\", type: bigint}}}\n"
    )
    assert site.one().error.what == "t.n holds text 'x' at id 3: no bigint"
    assert site.lake("t") == []


def test_wrong_expressions_point_at_the_manifest(site: Site) -> None:
    """An unknown column is said with the place, and what may have been meant, before anything is written."""
    filled(site, 1)
    site.write('  t:\n    columns:\n      day: {expr: "date(tss)"}\n')
    (plan,) = site.plan().streams
    assert "no such column: tss" in plan.error.what
    assert plan.error.hint == "did you mean 'ts'?"
    place = plan.stream.place_of(plan.error)
    assert (place.line, place.column, place.pointer) == (9, 19, "streams.t.columns.day.expr")


def test_an_expression_of_an_empty_table_waits_for_its_type(site: Site) -> None:
    """Nothing tells its type before a row is there; a declared one needs no row."""
    site.sql("create table t(id integer primary key, v text)")
    site.write('  t: {columns: {n: {expr: "id + 1"}}}\n')
    (plan,) = site.plan().streams
    assert plan.state == "waiting"
    assert site.one().state == "waiting"
    site.sql("insert into t(v) values ('a')")
    assert site.one().rows == 1
    assert site.column("t", "n") == [2]


def test_databases_agree_on_an_expression(site: Site) -> None:
    """In a glob, one without rows goes by the others; two that differ are for a person to settle."""
    for name, rows in (("a", "(1)"), ("b", ""), ("c", "(2)")):
        table = site.folder / f"{name}.db"
        sql(
            table,
            "create table t(id integer primary key, v)",
            *([f"insert into t(v) values {rows}"] * bool(rows)),
        )
    site.write('  t: {columns: {n: {expr: "v"}}}\n', source="./[abc].db")
    assert site.one().rows == 2
    assert sorted(site.column("t", "n")) == [1, 2]
    sql(site.folder / "c.db", "update t set v = 'x'")
    site.write('  u: {table: t, columns: {n: {expr: "v"}}}\n', source="./[abc].db")
    (plan,) = site.plan().streams
    assert plan.error.what == "column n is bigint in one database, string in c"


def test_an_expression_that_fails_on_a_row_is_named(site: Site) -> None:
    """By plan where the sample meets the row, else by the cycle that reads it; nothing is written."""
    filled(site, 3)
    site.sql("update t set doc = 'no json' where id = 2")
    site.write("  t: {columns: {a: {expr: id}, u: {expr: \"json_extract(doc, '$.u')\"}}}\n")
    (plan,) = site.plan().streams
    assert plan.error.what == "`expr` of column u fails on a row: malformed JSON"
    assert plan.error.setting == "columns.u.expr"
    site.sql("delete from t")
    filled_again = [(f"2026-01-01 00:00:{i % 60:02d}", "{}") for i in range(9000)]
    site.sql(("insert into t(ts, doc) values (?, ?)", filled_again), "update t set doc = 'x' where id = 3001")
    failed = site.one()
    assert failed.state == "failing"
    assert "malformed JSON" in failed.error.why
    assert "u: {expr: json_extract(doc, '$.u')}" in failed.error.hint
    assert site.lake("t") == []


@pytest.mark.parametrize("ddl", ["id integer primary key, v", "k text primary key, v) without rowid --"])
def test_expressions_over_every_kind_of_table(site: Site, ddl: str) -> None:
    """A table without rowid, a view, a column without a type: read by the same slots."""
    key = "id" if ddl.startswith("id") else "k"
    site.sql(
        f"create table t({ddl}\n)"
        if "--" not in ddl
        else "create table t(k text primary key, v) without rowid",
        (f"insert into t({key}, v) values (?, ?)", [(1, 1.5), (2, "x"), (3, b"\x00"), (4, None)]),
        "create view w as select * from t",
    )
    body = 'mode: overwrite, columns: {kind: {expr: "typeof(v)"}}'
    site.write(f"  t: {{{body}}}\n  w: {{{body}}}\n")
    assert [s.rows for s in site.cycle().streams] == [4, 4]
    for into in ("t", "w"):
        assert sorted(site.column(into, "kind")) == ["blob", "null", "real", "text"]


# --- masks ----------------------------------------------------------------------------------------

PEOPLE = (
    "create table p(id integer primary key, mail text, phone, name text, age int, lat real, zip text,"
    " born date, seen timestamp, pay decimal(10,2), note text)"
)
MASKS = f"""\
  p:
    columns:
      mail: {{{SALTED}}}
      phone: {{{SALTED}}}
      name: {{mask: redact}}
      age: {{mask: redact}}
      lat: {{mask: round}}
      zip: {{mask: truncate, length: 2}}
      born: {{mask: truncate}}
      seen: {{mask: truncate}}
      pay: {{mask: round, digits: -2}}
"""


def person(i: int) -> tuple[Any, ...]:
    phones: list[Any] = [4900 + i, f"+49 {i}", i / 4, None, bytes([i % 256])]
    return (
        f"p{i}@example.com" if i % 5 else None,
        phones[i % 5],
        f"Name {i}" if i % 7 else None,
        i,
        50 + i / 997,
        f"{10000 + i}",
        f"19{i % 90 + 10}-0{i % 9 + 1}-15",
        f"2026-01-{i % 28 + 1:02d}T12:34:56",
        i * 100.25,
        f"note {i}",
    )


def masked_person(id_: int, i: int) -> dict[str, Any]:
    mail, phone, name, _, lat, zipcode, born, seen, pay, note = person(i)
    text = {
        float: lambda v: str(int(v)) if v == int(v) else repr(v),
        bytes: lambda v: f"x'{v.hex().upper()}'",
    }
    return {
        "id": id_,
        "mail": sha(mail),
        "phone": sha(None if phone is None else text.get(type(phone), str)(phone)),
        "name": None if name is None else "[REDACTED]",
        "age": None,
        "lat": round(lat, 2),
        "zip": zipcode[:2],
        "born": date.fromisoformat(born).replace(day=1),
        "seen": datetime.fromisoformat(seen[:10]).replace(tzinfo=UTC),
        "pay": int((pay + 50) // 100) * 100,
        "note": note,
    }


def test_masks_on_both_paths(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fast and careful path mask alike: an odd value sends a range to the careful one, no more."""
    careful = []
    plain = read._careful
    monkeypatch.setattr(read, "_careful", lambda *given: careful.append(given) or plain(*given))
    names = "mail, phone, name, age, lat, zip, born, seen, pay, note"
    insert = f"insert into p({names}) values (?,?,?,?,?,?,?,?,?,?)"
    site.sql(PEOPLE, (insert, [person(i) for i in range(400)]))
    site.write(f'{MASKS}      odd: {{expr: "case id when 450 then {2**54} end", type: double}}\n')
    assert site.one().rows == 400
    assert careful == []
    site.sql((insert, [person(i) for i in range(400, 500)]))
    assert site.one().rows == 100
    assert careful
    lake = {row["id"]: row for row in site.lake("p")}
    assert lake[450].pop("odd") == 2**54
    assert all(row.pop("odd", None) is None for row in lake.values())
    assert lake == {i + 1: masked_person(i + 1, i) | {"pay": lake[i + 1]["pay"]} for i in range(500)}
    assert all(float(row["pay"]) == masked_person(id_, id_ - 1)["pay"] for id_, row in lake.items())


def test_a_value_by_value_column_is_masked_too(site: Site) -> None:
    """A column that only the careful path can carry, value by value, is rounded like any other."""
    site.sql("create table t(id integer primary key, n)", f"insert into t(n) values (1.26), ({2**54}), (7)")
    site.write("  t: {columns: {n: {mask: round, digits: 1, type: double}}}\n")
    assert site.one().rows == 3
    assert site.column("t", "n") == [1.3, float(2**54), 7.0]


def test_a_later_mask_is_for_new_rows_and_plan_counts_the_old(site: Site) -> None:
    """An edit of a mask, a filter or an expression holds nothing; plan says how many rows are of before."""
    site.sql("create table t(id integer primary key, v text)", "insert into t(v) values ('a'), ('b'), ('c')")
    site.write("  t: {}\n")
    site.one()
    assert notes(site) == []
    site.write(f'  t: {{where: "id <> 5", columns: {{v: {{{SALTED}}}, n: {{expr: "id + 1"}}}}}}\n')
    again = "; `silt reset` writes them anew"
    said = [
        f"3 rows in the lake were written before this `where`{again}",
        f"3 rows in the lake were written before this mask of column v{again}",
        f"3 rows in the lake were written before this expr of column n{again}",
    ]
    assert notes(site) == said
    site.sql("insert into t(v) values ('d'), ('e'), ('f')")
    assert site.one().rows == 2
    assert notes(site) == said
    assert [(r["id"], r["v"], r["n"]) for r in sorted(site.lake("t"), key=lambda r: r["id"])] == [
        (1, "a", None),
        (2, "b", None),
        (3, "c", None),
        (4, sha("d"), 5),
        (6, sha("f"), 7),
    ]
    site.write(site.manifest.read_text().partition("streams:\n")[2].replace("id + 1", "id + 2"))
    assert notes(site)[2] == f"5 rows in the lake were written before this expr of column n{again}"
    site.write('  t: {columns: {n: {expr: "id + 1"}}}\n')
    assert notes(site)[:2] == [
        f"5 rows in the lake were written before `where` was taken away{again}",
        f"5 rows in the lake were written before column v lost its mask{again}",
    ]


def test_another_salt_is_another_mask(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows hashed with two salts do not join, so plan counts those of the old one."""
    site.sql("create table t(id integer primary key, v text)", "insert into t(v) values ('a')")
    site.write(f"  t: {{columns: {{v: {{{SALTED}}}}}}}\n")
    site.one()
    assert notes(site) == []
    monkeypatch.setenv("SALT", "other")
    assert notes(site) == [
        "1 rows in the lake were written before this mask of column v; `silt reset` writes them anew"
    ]


def test_reset_writes_all_rows_under_the_new_mask(site: Site) -> None:
    """After a reset nothing is of before."""
    site.sql("create table t(id integer primary key, v text)", "insert into t(v) values ('a'), ('b')")
    site.write("  t: {}\n")
    site.one()
    site.write("  t: {columns: {v: {mask: redact}}}\n")
    site.reset("t")
    assert site.one().rows == 2
    assert site.column("t", "v") == ["[REDACTED]"] * 2
    assert notes(site) == []


def test_rows_in_doubt_are_not_compared_across_a_new_mask(site: Site) -> None:
    """After a rewind, rows written raw cannot be told from masked ones: held, never doubled."""
    site.sql("create table t(id integer primary key, v text)", *["insert into t(v) values ('a')"] * 20)
    site.write("  t: {}\n")
    site.one()
    site.write("  t: {columns: {v: {mask: redact}}}\n")
    site.sql("delete from t where id > 15", *["insert into t(v) values ('b')"] * 5)
    held = site.one()
    assert held.state == "held"
    assert held.error.what == (
        "rows must be compared with the slice, but a column is not in the lake as it was written"
    )
    assert len(site.lake("t")) == 20


def test_rows_in_doubt_are_compared_by_what_is_not_masked(site: Site) -> None:
    """Once a batch has been written under the mask, a rewind is settled as ever."""
    site.sql(
        "create table t(id integer primary key, v text, w text)",
        *["insert into t(v, w) values ('a', 'x')"] * 20,
    )
    site.write("  t: {columns: {v: {mask: redact}}}\n")
    site.one()
    site.sql("delete from t where id > 15", *["insert into t(v, w) values ('b', 'y')"] * 5)
    assert site.one().rows == 5
    assert sorted(site.column("t", "w")) == ["x"] * 20 + ["y"] * 5


@pytest.mark.parametrize(
    ("streams", "what"),
    [
        ("t: {columns: {id: {mask: redact}}}", "cursor column id is masked"),
        ("t: {cursor: ts, columns: {ts: {mask: truncate}}}", "cursor column ts is masked"),
        ("t: {columns: {v: {mask: round}}}", "mask round is for numbers, and column v is string"),
        ("t: {columns: {n: {mask: round}}}", "mask round to 2 digits leaves column n (bigint) as it is"),
        (
            "t: {columns: {n: {mask: truncate}}}",
            "mask truncate is for texts and times, and column n is bigint",
        ),
        (
            "t: {mode: overwrite, lineage: [rowid], columns: {id: {mask: redact}}}",
            "lineage rowid would show id, which is masked",
        ),
        (
            "t: {mode: overwrite, lineage: [rowid], select: [v]}",
            "lineage rowid would show id, which is not selected",
        ),
    ],
)
def test_what_a_mask_cannot_do_is_refused_at_plan(site: Site, streams: str, what: str) -> None:
    """A key, a type that it means nothing for, a rounding that leaves values as they are."""
    site.sql(
        "create table t(id integer primary key, ts text, v text, n int)", "insert into t(v) values ('a')"
    )
    site.write(f"  {streams}\n")
    (plan,) = site.plan().streams
    assert plan.error is not None
    assert what in plan.error.what


def test_a_table_of_masked_columns_alone_is_refused(site: Site) -> None:
    """Nothing would tell whether the source's rows are the ones that were replicated."""
    site.sql("create table t(v text)", "insert into t values ('a')")
    site.write("  t: {cursor: rowid, columns: {v: {mask: redact}}}\n")
    (plan,) = site.plan().streams
    assert "every column of t is masked or left out" in plan.error.what


def test_overwrite_masks_its_key_and_follows_an_edit(site: Site) -> None:
    """An overwrite stream may mask its key; an edited mask is another content, so the slice is replaced."""
    site.sql("create table t(id integer primary key, v text)", "insert into t(v) values ('a'), ('b')")
    site.write("  t: {mode: overwrite, columns: {id: {mask: round, digits: -1}}}\n")
    assert site.one().rows == 2
    assert site.column("t", "id") == [0, 0]
    site.write("  t: {mode: overwrite, columns: {id: {mask: redact}}}\n")
    assert site.one().rows == 2
    assert site.column("t", "id") == [None, None]


def test_columns_of_a_query_are_computed_and_masked_alike(site: Site) -> None:
    """A query's columns are those of a relation like any other: expr, mask and misfits hold for them."""
    filled(site, 20)
    site.write(
        f"""\
  q:
    query: "select id, v, v as w, upper(v) as loud from t where id > 5"
    mode: overwrite
    columns:
      v: {{{SALTED}}}
      loud: {{mask: truncate, length: 1}}
      both: {{expr: "w || id"}}
"""
    )
    assert site.one().rows == 15
    assert {tuple(row.values()) for row in site.lake("q")} == {
        (id_, sha(v), v, "V", f"{v}{id_}") for id_, v in site.sql("select id, v from t where id > 5")
    }


QUERY = "select id, v, v as w, ts || v as c, upper(v) as loud, id * 2 as twice from t"


def test_plan_tells_of_a_query_that_computes_past_a_mask(site: Site) -> None:
    """One note a column that shows what a masked or unselected one holds; none where it has its own mask."""
    filled(site, 3)
    columns = f"columns: {{v: {{{SALTED}}}, loud: {{mask: redact}}}}"
    site.write(f'  q: {{query: "{QUERY}", mode: overwrite, {columns}}}\n')
    said = "is computed from v, which is masked: it shows what v holds"
    assert notes(site) == [f"w {said}", f"c {said}"]
    site.write(f"  q: {{query: \"{QUERY}\", mode: overwrite, select: ['*', '-v', '-w', '-loud']}}\n")
    assert notes(site) == ["c is computed from v, which is not selected: it shows what v holds"]
    site.write(f'  q: {{query: "{QUERY}", mode: overwrite}}\n')
    assert notes(site) == []


def test_plan_tells_of_an_expression_past_a_mask(site: Site) -> None:
    """The same of `expr`: over a masked column, over one left out; a text that spells its name is none."""
    filled(site, 3)
    made = "a: {expr: \"t.V || 'x'\"}, b: {expr: \"ts || 'v'\"}, c: {expr: v, mask: redact}, d: {expr: doc}"
    site.write(f"  t: {{select: ['*', '-doc'], columns: {{v: {{{SALTED}}}, {made}}}}}\n")
    assert notes(site) == [
        "a is computed from v, which is masked: it shows what v holds",
        "d is computed from doc, which is not selected: it shows what doc holds",
    ]


def test_a_misfit_of_what_is_computed_past_a_mask_tells_no_value(site: Site) -> None:
    """The lake would show it by its author's will; a message is no place for it."""
    filled(site, 3)
    columns = f"{{v: {{{SALTED}}}, c: {{type: bigint}}}}"
    site.write(f'  q: {{query: "{QUERY}", mode: overwrite, on_misfit: fail, columns: {columns}}}\n')
    failed = site.one()
    assert failed.state == "failing"
    assert "q.c holds text" in failed.error.what
    assert "v0" not in str(failed.error) + str(failed.error.why) + str(failed.error.hint)
