"""The status page in a real browser, served by the real listener from records that the tests change."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import pytest
from browser import PHONE, WIDE, Visits, browser, cell, expect, names, rows
from fakes import ANYWHERE, Fake, applied, refusal, stream

from silt.manifest.model import Listen
from silt.replicate.model import Progress

pytestmark = pytest.mark.timeout(900)  # the first one on a machine may install the browser


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as started:
        yield started


@pytest.fixture
def fake(tmp_path) -> Iterator[Fake]:
    made = Fake(tmp_path, stream("orders"), stream("readings"), stream("alarms"))
    made.server.listen(ANYWHERE)
    yield made
    made.server.stop()


@pytest.fixture
def visit(chromium, fake) -> Iterator[Visits]:
    visits = Visits(chromium, fake.server.url)
    yield visits
    visits.close()


# --- what it shows --------------------------------------------------------------------------------


def test_values_change_while_it_is_looked_at(fake, visit):
    """A commit: rows, lag, the last commit and the picture of the hour follow, without a reload."""
    page = visit()
    assert page.inner_text("#verdict") == "All 3 streams are ok"
    picture = cell(page, "orders", "svg")
    assert picture.get_attribute("aria-label") == "0 rows in the last hour"
    fake.committed("orders", 1234, version=7)
    expect(lambda: rows(page, "orders"), lambda t: t == "1,234")
    assert cell(page, "orders", "time").inner_text().endswith(("ago", "just now"))
    assert picture.get_attribute("aria-label") == "1,234 rows in the last hour"
    assert "v-" in picture.locator("path").get_attribute("d")
    assert "1,234" in page.inner_text("#facts")
    fake.committed("orders", 1, version=8)
    expect(lambda: rows(page, "orders"), lambda t: t == "1,235")


def test_a_failing_stream_comes_first_with_its_error_and_hint(fake, visit):
    """State as a word, since when, why, and what to do; the title tells it to who looks at another tab."""
    page = visit()
    assert names(page) == ["alarms", "orders", "readings"]
    now = time.time()
    fake.set(
        stream(
            "readings",
            "failing",
            ahead_since=now - 7860,
            pending_rows=14220,
            tries=9,
            failing_since=now - 7737,
            error="cannot reach s3://corp/plant (connection refused)",
            hint="rows wait in the source; silt tries again",
        )
    )
    expect(lambda: names(page), lambda seen: seen == ["readings", "alarms", "orders"])
    assert cell(page, "readings", "td.state").inner_text() == "failing"
    assert cell(page, "readings", "td.number >> nth=0").inner_text().startswith("2 h 11 m")
    assert cell(page, "readings", "td.number >> nth=1").inner_text() == "14,220"
    trouble = page.inner_text("tr.trouble")
    assert trouble.startswith("9 tries since ")
    assert "connection refused" in trouble
    assert "silt tries again" in trouble
    assert page.inner_text("#verdict") == "1 failing, 2 ok"
    assert page.title() == "1 failing, 2 ok · silt"
    assert page.inner_text("#said") == "1 failing, 2 ok: readings failing"
    fake.set(stream("readings"))
    expect(lambda: names(page), lambda seen: seen == ["alarms", "orders", "readings"])
    assert page.locator("tr.trouble").count() == 0
    assert page.title() == "silt"


def test_an_invalid_edit_appears_with_line_and_column(fake, visit):
    """Where, why, what may have been meant; and the notice goes when the manifest is mended."""
    page = visit()
    fake.set(generation=4, on_disk="refused", receipts=(refusal(4),))
    notice = expect(lambda: page.inner_text("#notices"), bool)
    assert "The manifest on disk was refused at" in notice
    assert "Generation 4 runs on." in notice
    assert "plant.yaml:31:11" in notice
    assert "streams.settings.mode: 'miror' is not one of append, overwrite" in notice
    assert "did you mean 'overwrite'?" in notice
    assert "plant.yaml:31:11" in page.inner_text("#receipts")
    assert "The manifest on disk was refused." in page.inner_text("#said")
    fake.set(generation=5, on_disk="same", receipts=(*fake.status.receipts, applied(5)))
    expect(lambda: page.inner_text("#notices"), lambda seen: not seen)
    first = page.inner_text("#receipts > li >> nth=0")
    for words in ("applied", "generation 5", "0.21 s", "audit_log", "orders", "tmp_x"):
        assert words in first


def test_streams_that_come_and_go(fake, visit):
    """A new one has its row, one that is gone has none; what runs shows how far it is."""
    page = visit()
    fake.set(streams=(stream("orders"), stream("new", "running")))
    fake.history.heard(Progress(stream="new", rows=612, expected=1000))
    expect(lambda: names(page), lambda seen: seen == ["new", "orders"])
    expect(lambda: cell(page, "new", ".cycle").inner_text(), lambda t: t == "612 of 1,000 rows, 61 %")


def test_a_stream_that_a_write_wakes_is_due_on_change(tmp_path, chromium):
    """Not in so many minutes, at which it looks in any case; one by the clock says when."""
    body = "  orders: {schedule: {on_change: {}}}\n  readings:\n"
    fake = Fake(tmp_path, stream("orders"), stream("readings"), body=body)
    fake.server.listen(ANYWHERE)
    visits = Visits(chromium, fake.server.url)
    page = visits()
    assert cell(page, "orders", "td.when >> nth=1").inner_text() == "on change"
    assert cell(page, "readings", "td.when >> nth=1").inner_text().startswith("in ")
    visits.close()
    fake.server.stop()


def test_a_waiting_stream_says_what_for(fake, visit):
    """The reason stands under its row, as an error would."""
    page = visit()
    fake.set(stream("alarms", "waiting", notes=("no file matches yet",)))
    expect(lambda: page.locator("tr.trouble").all_inner_texts(), lambda t: t == ["no file matches yet"])


def test_a_manifest_full_of_mistakes_does_not_flood_the_page(fake, visit):
    """Two hundred problems: the first dozen, and how many there are beside."""
    page = visit()
    one = refusal(4)
    many = tuple(replace(one.problems[0], line=n) for n in range(1, 201))
    fake.set(on_disk="refused", receipts=(replace(one, problems=many),))
    notice = expect(lambda: page.inner_text("#notices"), bool)
    assert "plant.yaml:12:11" in notice
    assert "plant.yaml:13:11" not in notice
    assert "and 188 more problems: silt validate tells all" in notice


def test_the_resolved_manifest_is_shown_on_demand(fake, visit):
    """Closed at first; opened it is what `silt show` prints."""
    page = visit()
    assert not page.locator("#manifest-text").is_visible()
    page.click("summary")
    shown = expect(lambda: page.inner_text("#manifest-text"), lambda t: "streams.orders:" in t)
    assert "sources.plant:" in shown


def test_before_the_first_look(fake, visit):
    """It says that the sources are being looked at, not that all is well."""
    page = visit()
    fake.set(streams=(), ready=False)
    expect(lambda: page.inner_text("#verdict"), lambda t: t == "Looking at the sources")
    assert page.inner_text("#empty") == "Streams appear here once the sources have been looked at."


def test_text_of_others_is_text(fake, visit):
    """A name or an error that looks like HTML is shown as it is, and nothing of it runs."""
    page = visit()
    odd = "<img src=x onerror=alert(1)>"
    fake.set(stream(odd, "failing", error=f"{odd} 'and' \"more\" &amp;", hint="<b>bold</b>"))
    expect(lambda: names(page)[0], lambda first: first == odd)
    assert page.inner_text("tr.trouble").startswith(f"{odd} 'and' \"more\" &amp;")
    assert page.locator("main img, main b").count() == 0


# --- many streams ---------------------------------------------------------------------------------


def test_two_hundred_streams_stay_usable(fake, visit):
    """What needs somebody is on top; a filter and the states leave what is looked for."""
    many = [stream(f"stream_{n:03}") for n in range(200)]
    many[150] = stream("stream_150", "held", error="rows were rewritten in place", hint="look at it")
    many[60] = stream("stream_060", "failing", error="the database is locked", hint="silt tries again")
    fake.set(streams=tuple(many))
    page = visit()
    assert names(page)[:3] == ["stream_060", "stream_150", "stream_000"]
    assert len(names(page)) == 200
    page.keyboard.press("/")
    page.keyboard.type("M_15")
    assert names(page) == ["stream_150", *(f"stream_15{n}" for n in range(1, 10))] or len(names(page)) == 10
    fake.committed("stream_155", 77)
    expect(lambda: rows(page, "stream_155"), lambda t: t == "77")
    assert page.evaluate("document.activeElement.id") == "filter", "news took the focus away"
    assert page.input_value("#filter") == "M_15"
    page.keyboard.press("Escape")
    assert len(names(page)) == 200
    page.click("#chips button[data-state=held]")
    assert names(page) == ["stream_150"]
    assert page.get_attribute("#chips button[data-state=held]", "aria-pressed") == "true"
    page.fill("#filter", "nothing like it")
    assert page.inner_text("#empty") == "No stream matches. Clear the filter to see all."


# --- the line -------------------------------------------------------------------------------------


def test_a_silt_that_is_gone_is_said_and_found_again(fake, visit):
    """No answer: since when, and what is shown fades; when it is back the page is live by itself."""
    page = visit(forgiving=True)
    expect(lambda: page.inner_text("#line"), lambda t: t == "live")
    port = urlsplit(fake.server.url).port
    fake.server.stop()
    expect(lambda: page.inner_text("#line"), lambda t: t.startswith("no answer since "))
    assert "lost" in page.get_attribute("body", "class")
    fake.committed("orders", 99)
    fake.server.listen(Listen(host="127.0.0.1", port=port, declared=True))
    expect(lambda: page.inner_text("#line"), lambda t: t == "live")
    expect(lambda: rows(page, "orders"), lambda t: t == "99")


def test_it_polls_where_events_do_not_come(fake, visit):
    """A proxy without streams, or too many readers: the page asks every few seconds, and says so."""
    page = visit(forgiving=True, block="**/api/events")
    expect(lambda: page.inner_text("#line"), lambda t: t == "every 5 s")
    fake.committed("orders", 55)
    expect(lambda: rows(page, "orders"), lambda t: t == "55")


# --- for everybody --------------------------------------------------------------------------------

_OUTSIDE = """() => [...document.querySelectorAll('body *')]
  .filter(e => !e.closest('pre, .unseen, .skip, thead') && e.getClientRects().length)
  .filter(e => e.getBoundingClientRect().right > innerWidth + 1)
  .map(e => e.outerHTML.slice(0, 80))"""

_CONTRAST = """() => {
  const channel = v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const parse = text => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const ground = e => {
    for (; e; e = e.parentElement) {
      const c = parse(getComputedStyle(e).backgroundColor);
      if (c.length < 4 || c[3] === 1) return c;
    }
    return [255, 255, 255];
  };
  const found = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const e = walk.currentNode.parentElement, text = walk.currentNode.textContent.trim();
    if (!text || e.closest('script, style') || !e.getClientRects().length) continue;
    const a = light(parse(getComputedStyle(e).color)), b = light(ground(e));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) found.push(`${ratio.toFixed(2)} ${e.className} ${text.slice(0, 30)}`);
  }
  return found;
}"""

_UNNAMED = """() => [...document.querySelectorAll(
    'button, input, a, summary, [role=img], [role=region], [role=group]')]
  .filter(e => !(e.getAttribute('aria-label') || (e.closest('label') ?? e).textContent.trim()))
  .map(e => e.outerHTML.slice(0, 80))"""

_SMALL = """() => [...document.querySelectorAll('button, input, summary')]
  .map(e => e.getBoundingClientRect().height).filter(h => h < 24)"""

_FOCUSED = """() => {
  const e = document.activeElement, style = getComputedStyle(e);
  const seen = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 1;
  return e === document.body ? null : [e.id || e.textContent.trim(), seen];
}"""

_LISTEN = """() => {
  window.said = [];
  const line = document.getElementById('said');
  new MutationObserver(() => said.push(line.textContent))
    .observe(line, {childList: true, characterData: true, subtree: true});
}"""


def crowded(fake: Fake) -> None:
    """Every state, a refusal, long names and long words."""
    now = time.time()
    fake.set(
        stream("orders", "failing", ahead_since=now - 60, tries=3, error="x" * 300, hint="do " + "y" * 200),
        stream("held", "held", ahead_since=now - 300000, error="rows were rewritten", hint="silt plan"),
        stream("a_stream_with_a_name_as_long_as_" + "a_column_of_a_warehouse_" * 4, "running"),
        stream("waits", "waiting"),
        stream("off", "disabled", next=None),
        generation=17,
        on_disk="refused",
        receipts=(refusal(17),),
    )
    fake.set(replace(stream("readings"), pending_rows=123_456_789_012))
    fake.committed("readings", 123_456_789_012)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [WIDE, PHONE], ids=["wide", "phone"])
def test_nothing_is_cut_off_or_scrolls_sideways(fake, visit, viewport, scheme, tmp_path):
    """At 1280 and at 360 pixels the page is as wide as the window, whatever it shows."""
    crowded(fake)
    page = visit(viewport=viewport, color_scheme=scheme)
    page.click("summary")
    expect(lambda: page.inner_text("#manifest-text"), lambda t: "streams." in t)
    page.screenshot(path=tmp_path / "page.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") == viewport["width"]
    wide = page.evaluate(_OUTSIDE)
    assert wide == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_contrast(fake, visit, scheme):
    """WCAG AA: 4.5 to 1 for every text on its ground, in light and in dark; and they are two schemes."""
    crowded(fake)
    page = visit(color_scheme=scheme)
    page.click("summary")
    assert page.evaluate(_CONTRAST) == []
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert (sum(ground) > 600) == (scheme == "light")


def test_a_screen_reader_finds_its_way(fake, visit):
    """Language, landmarks, one h1, headings in order, a table with headers, names for all that is used."""
    crowded(fake)
    page = visit()
    assert page.get_attribute("html", "lang") == "en"
    for one in ("main", "header", "footer", "h1", "[role=status][aria-live=polite]"):
        assert page.locator(one).count() == 1, one
    levels = page.eval_on_selector_all("h1, h2, h3", "all => all.map(h => Number(h.tagName[1]))")
    assert levels == [1, *[2] * (len(levels) - 1)]
    unnamed = page.evaluate(_UNNAMED)
    assert unnamed == []
    twice = page.evaluate(
        """() => { const ids = [...document.querySelectorAll('[id]')].map(e => e.id);
            return ids.filter((id, i) => ids.indexOf(id) !== i); }"""
    )
    assert twice == []
    table = page.get_by_role("table", name="Streams")
    assert table.get_by_role("columnheader").all_inner_texts()[:2] == ["Stream", "State"]
    assert table.get_by_role("rowheader").count() == len(names(page))
    states = page.eval_on_selector_all("td.state", "all => all.map(td => td.innerText.trim())")
    assert set(states) == {"failing", "held", "waiting", "running", "ok", "disabled"}


def test_a_phone_keeps_the_table_a_table(fake, visit):
    """Cards are a matter of looks: roles and headers are there for who does not see them."""
    page = visit(viewport=PHONE)
    table = page.get_by_role("table", name="Streams")
    assert table.get_by_role("columnheader").count() == 8
    assert table.get_by_role("rowheader").count() == 3
    assert table.get_by_role("cell").count() == 3 * 7 - page.locator("td:not(:visible)").count()
    small = page.evaluate(_SMALL)
    assert small == []


def test_everything_is_reached_by_keyboard_and_seen(fake, visit):
    """Tab goes through the skip link, filter, states, manifest and links; each shows its focus."""
    fake.set(stream("orders", "held", error="why", hint="what to do"))
    page = visit()
    reached = []
    for _ in range(30):
        page.keyboard.press("Tab")
        at = page.evaluate(_FOCUSED)
        if at is None or at in reached:
            break
        reached.append(at)
    assert all(seen for _, seen in reached), reached
    wanted = [
        "Skip to the streams",
        "filter",
        "all 3",
        "held 1",
        "ok 2",
        "/api/status",
        "/metrics",
        "/healthz",
        "/readyz",
    ]
    assert [name for name, _ in reached if name in wanted] == wanted
    assert any("As silt understands it" in name for name, _ in reached)
    page.focus("summary")
    page.keyboard.press("Enter")
    expect(lambda: page.inner_text("#manifest-text"), lambda t: "streams." in t)
    page.focus("#chips button[data-state=held]")
    page.keyboard.press("Space")
    assert names(page) == ["orders"]
    page.focus(".skip")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "streams"


def test_news_is_said_sparingly(fake, visit):
    """Commits are not read out; a stream that fails is, once."""
    page = visit()
    page.evaluate(_LISTEN)
    for version in range(3):
        fake.committed("orders", 10, version=version)
        time.sleep(1.1)
    fake.set(stream("orders", "failing", error="no", tries=1))
    expect(lambda: page.evaluate("said"), bool)
    fake.set(stream("orders", "failing", error="no", tries=2))
    expect(lambda: page.inner_text("tr.trouble"), lambda t: t.startswith("2 tries"))
    assert page.evaluate("said") == ["1 failing, 2 ok: orders failing"]
