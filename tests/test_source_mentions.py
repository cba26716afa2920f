"""What a column is computed of is told by the words of its SQL."""

from __future__ import annotations

import pytest

from silt.source.mentions import aliases, names, origins


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("upper(K) || ' v' -- z", {"k"}),
        ('t.k + "odd ""name" / [b] * 2', {"k", 'odd "name', "b"}),
        ("json_extract(doc, '$.k')", {"doc"}),
    ],
)
def test_names(text: str, found: set[str]) -> None:
    """Columns, folded; no function, no table before a dot, nothing in a text or a remark."""
    assert names(text) == found


@pytest.mark.parametrize(
    "query",
    [
        "select id, k, ts || k as c from t",
        "select id, k, ts || t.K c from t",
        "select distinct ts || k 'C', k from t",
        "select id, k, case when k > 1 then k end c from t order by ts",
        "select k, id from t union all select id, ts||k as c from t",
        "with n as (select id, k, 1 + k as made from t) select id, k, made * 2 as c from n",
        "select c, k from (select k || ts as c, k from t)",
        "select id, (select max(k) from u) as c from t",
        "select count(*) over (partition by k) as c, k from t",
        "select k is distinct from id as c from t",
    ],
)
def test_origins(query: str) -> None:
    """Through select lists of every depth, with `as` and without; a column beside it is of itself."""
    assert "k" in origins(query, "c")
    assert "k" not in origins(query, "id")


def test_origins_of_a_value_without_a_name() -> None:
    """SQLite calls it by its text."""
    assert "k" in origins("select id, upper( k ) from t", "upper( k )")
    assert "k" in origins("select id, k || ts from t", "k || ts")
    assert "k" not in origins("select id, k || ts, ts from t", "ts")


def test_aliases() -> None:
    """What a plain column is called further in; of a computed one nothing but its own name."""
    assert aliases("select p.mail as k, upper(mail) as u from people p", "k") == {"k", "mail"}
    assert aliases("select p.mail as k, upper(mail) as u from people p", "u") == {"u"}
