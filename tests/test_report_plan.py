"""`silt.report.plan`: one plan as text and as JSON."""

from __future__ import annotations

import pytest

from silt.errors import Held, Secret
from silt.manifest.model import Manifest, Source, Stream, Target
from silt.plan.model import Action, LakeColumn, Outlook, Part, Plan, Slice, StreamPlan, TablePlan
from silt.report import plan as report
from silt.shapes import Candidate, CursorChoice, Database, Extract, Order, Table

MANIFEST = Manifest(
    path="plant.yaml",
    name="plant",
    node="edge-7",
    state_dir="/state",
    sources=(Source(name="plant", path="/data/plant.db"),),
    targets=(
        Target(name="lake", uri="s3://corp/plant", storage_options={"AWS_SECRET_ACCESS_KEY": Secret("hush")}),
    ),
    rules=None,
    digest="d",
)
BY_ID = CursorChoice(
    order=Order(kind="rowid", cursor=("id",)),
    detected=True,
    why="id, because it is INTEGER PRIMARY KEY AUTOINCREMENT: never reused, rows arrive in its order",
    runners_up=(Candidate(columns=("written_at",), why="31 ties, no index"),),
)


def stream(name: str, mode: str = "append") -> Stream:
    return Stream(name=name, source="plant", target="lake", table=name, into=name, mode=mode)  # type: ignore[arg-type]


def table(name: str, *, exists: bool, columns: str = "id bigint, what string", add: str = "") -> TablePlan:
    def specs(text: str) -> tuple[LakeColumn, ...]:
        return tuple(
            LakeColumn(name=n, type=t) for n, t in (part.split() for part in text.split(", ") if part)
        )

    database = Database(name="plant", path="/data/plant.db")
    part = Part(
        database=database,
        app="a",
        extract=Extract(table=Table(name=name), fields=(), order=None),
        slice=Slice(),
    )
    return TablePlan(
        into=name,
        uri=f"s3://corp/plant/{name}",
        target="lake",
        exists=exists,
        columns=specs(columns),
        add=specs(add),
        parts=(part,),
    )


def planned(name: str, **changes) -> StreamPlan:
    fields = {"stream": stream(name), "state": "ok", "cursor": BY_ID, "tables": (table(name, exists=True),)}
    return StreamPlan(**{**fields, **changes})


HELD = Held("primary_key was [id], is [site, id]", rule="9", hint="undo the edit, or rebuild the table")
PLAN = Plan(
    manifest=MANIFEST,
    streams=(
        planned("audit_log", tables=(table("audit_log", exists=False),), notes=("2 values of at are text",)),
        planned("orders", tables=(table("orders", exists=True, add="coupon string"),)),
        planned("readings"),
        planned("settings", stream=stream("settings", "overwrite"), cursor=None, state="held", error=HELD),
        planned("quiet"),
    ),
)
OUTLOOKS = (
    Outlook(
        stream="audit_log",
        state="ok",
        pending_rows=12_004,
        batches=1,
        actions=(Action(kind="create", text="create table"), Action(kind="write", text="1 commit")),
    ),
    Outlook(
        stream="orders",
        state="ok",
        pending_rows=118,
        batches=1,
        actions=(Action(kind="alter", text="add column"), Action(kind="write", text="1 commit")),
    ),
    Outlook(
        stream="readings",
        state="ok",
        pending_at_least=1_000_000,
        pending_bytes=61_000_000,
        batches=2,
        actions=(Action(kind="write", text="2 commits"),),
    ),
    Outlook(stream="settings", state="held", error=HELD),
    Outlook(stream="quiet", state="ok", pending_rows=0),
)

GOLDEN = """\
plant.yaml, node edge-7: 5 streams, 1 database, looked at in 0.80 s

  stream     mode       cursor        pending  would do
+ audit_log  append     id (auto)      12,004  create table, 1 commit
~ orders     append     id (auto)         118  add column, 1 commit
> readings   append     id (auto)  >1,000,000  2 commits, about 61 MB
! settings   overwrite  -                   -  nothing: held
  quiet      append     id (auto)           0  nothing: up to date

+ audit_log -> s3://corp/plant/audit_log
    cursor  id, because it is INTEGER PRIMARY KEY AUTOINCREMENT: never reused, rows arrive in its
            order. Next best: written_at (31 ties, no index)
    schema  id bigint, what string
    note    2 values of at are text
~ orders -> s3://corp/plant/orders
    schema  + coupon string
! settings -> s3://corp/plant/settings
    held    primary_key was [id], is [site, id]
    do      undo the edit, or rebuild the table

1 to create, 1 to alter, more than 1,012,122 rows to write, 1 held.
Nothing was written. To do it: silt run plant.yaml --once
"""


def test_text_is_golden():
    """The tone and layout of MOCKUPS: head, signed table, why, totals, what to do next."""
    text = "\n".join(report.text(PLAN, OUTLOOKS, seconds=0.8)) + "\n"
    assert text == GOLDEN


@pytest.mark.parametrize("width", [60, 80, 140])
def test_text_fits_its_width(width):
    """No line of a plan is wider than the terminal."""
    assert max(map(len, report.text(PLAN, OUTLOOKS, seconds=0.8, width=width))) <= width


def many(count: int) -> tuple[Plan, tuple[Outlook, ...]]:
    names = [f"s{i}" for i in range(count)]
    plan = Plan(manifest=MANIFEST, streams=tuple(planned(n) for n in names))
    return plan, tuple(Outlook(stream=n, state="ok", pending_rows=0) for n in names)


def test_many_quiet_streams_share_a_line():
    """Sixty streams with nothing to do do not hide the one that has; `--all` lists them."""
    plan, outlooks = many(60)
    plan = Plan(manifest=MANIFEST, streams=(*plan.streams, PLAN.streams[1]))
    lines = report.text(plan, (*outlooks, OUTLOOKS[1]), seconds=0.8)
    assert "  60 more: up to date (--all lists them)" in lines
    assert len([line for line in lines if line.startswith("~ orders")]) == 2  # in the table, and why
    every = report.text(plan, (*outlooks, OUTLOOKS[1]), seconds=0.8, every=True)
    assert sum(line.lstrip("> ").startswith("s") for line in every) >= 60


def test_nothing_to_do_is_said():
    """A plan without changes does not send anybody to `silt run`."""
    lines = report.text(*many(2), seconds=0.1)
    assert lines[-1] == "Nothing to do: the lake has every row."
    assert not report.changes(*many(2))


def test_json_has_the_fields_of_the_contract():
    """Every field that DESIGN 10 names is there, null where it is not known."""
    data = report.data(PLAN, OUTLOOKS)
    assert data["changes"] is True
    streams = {s["name"]: s for s in data["streams"]}  # type: ignore[attr-defined]
    wanted = {
        "name",
        "source",
        "table",
        "into",
        "target",
        "mode",
        "cursor",
        "pending_rows",
        "schema",
        "actions",
        "state",
    }
    assert all(wanted <= set(s) for s in streams.values())
    assert streams["audit_log"]["cursor"]["columns"] == ["id"]
    assert streams["audit_log"]["cursor"]["kind"] == "rowid"
    assert streams["audit_log"]["cursor"]["detected"] is True
    assert streams["orders"]["schema"] == {
        "columns": {"id": "bigint", "what": "string"},
        "add": {"coupon": "string"},
        "partition_by": [],
    }
    assert streams["readings"]["pending_rows"] is None
    assert streams["readings"]["pending_at_least"] == 1_000_000
    assert streams["settings"]["state"] == "held"
    assert streams["settings"]["error"] == "primary_key was [id], is [site, id]"
    assert streams["settings"]["cursor"] is None
    assert streams["orders"]["actions"][0] == {"kind": "alter", "text": "add column", "destructive": False}


def test_no_secret_is_shown():
    """Storage options are no part of a plan's text or JSON."""
    assert "hush" not in "\n".join(report.text(PLAN, OUTLOOKS, seconds=1))
    assert "hush" not in str(report.data(PLAN, OUTLOOKS))
