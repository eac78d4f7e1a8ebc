"""Without a mouse: from the list of runs to a candidate and back, and the focus is seen on the way."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from windows import Site, Windows, press


@pytest.fixture(scope="module")
def site(runs: Path, serve: Callable[[Path], Site], chromium: object) -> Site:
    return serve(runs)


def test_from_the_list_to_a_candidate_and_back(site: Site, windows: Windows) -> None:
    page = windows.open(site)
    press(page, "j")
    expect(page.get_by_role("link", name="bot")).to_be_focused()
    focus_is_seen(page)
    press(page, "Enter")
    expect(page).to_have_url(re.compile("/run[?]run=bot"))
    press(page, "j", "j", "j")
    expect(page.get_by_role("link", name="iteration 2")).to_be_focused()
    press(page, "k")
    expect(page.get_by_role("link", name="iteration 1")).to_be_focused()
    focus_is_seen(page)
    press(page, "Enter")
    expect(page.get_by_text("page 1 of 2")).to_be_visible()
    press(page, "n")
    expect(page.get_by_text("page 2 of 2")).to_be_visible()
    press(page, "p")
    expect(page.get_by_text("page 1 of 2")).to_be_visible()
    press(page, "j", "j", "j")
    third = page.locator("#row-3")
    expect(third).to_be_focused()
    focus_is_seen(page)
    name = third.inner_text()
    press(page, "Enter")
    expect(page.locator("h1")).to_contain_text(name)
    expect(page.get_by_text("3 of 48")).to_be_visible()
    press(page, "n")
    expect(page.get_by_text("4 of 48")).to_be_visible()
    press(page, "p")
    expect(page.locator("h1")).to_contain_text(name)
    press(page, "j")
    focus_is_seen(page)
    press(page, "u")
    expect(page.locator("h1")).to_contain_text("Candidates")
    press(page, "u")
    expect(page.get_by_role("heading", name="bot")).to_be_visible()
    press(page, "u")
    expect(page).to_have_url(f"{site.base}/")


def test_the_keys_are_told_and_no_key_acts_meanwhile(site: Site, windows: Windows) -> None:
    page = windows.open(site, "/candidates?run=bot&iteration=1")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_hidden()
    press(page, "?")
    expect(dialog).to_contain_text("one level up")
    press(page, "u", "n", "?")
    expect(dialog).to_be_hidden()
    expect(page.get_by_text("page 1 of 2")).to_be_visible()
    page.get_by_role("button", name="Keys").press("Enter")
    expect(dialog).to_be_visible()
    press(page, "Escape")
    expect(dialog).to_be_hidden()


def test_rows_are_marked_and_compared(site: Site, windows: Windows) -> None:
    page = windows.open(site, "/run?run=bot")
    compare, marks = page.get_by_role("button", name="Compare the marked ones"), page.locator("[data-pick]")
    expect(compare).to_be_disabled()
    press(page, "x", "c")
    expect(page.locator("[data-pick]:checked")).to_have_count(0)  # no row has the focus
    press(page, "j", "x", "j", "x")
    expect(marks.nth(0)).to_be_checked()
    expect(marks.nth(1)).to_be_checked()
    expect(page.locator("[data-pick]:checked")).to_have_count(2)
    press(page, "x")
    expect(marks.nth(1)).not_to_be_checked()
    marks.nth(2).focus()
    press(page, "x")
    expect(marks.nth(2)).to_be_checked()
    press(page, "c")
    expect(page.get_by_role("heading", name="Replies side by side")).to_be_visible()


def test_a_search_is_typed_and_left(site: Site, windows: Windows) -> None:
    page = windows.open(site, "/candidates?run=bot&iteration=1")
    press(page, "/")
    search = page.get_by_label("In replies")
    expect(search).to_be_focused()
    focus_is_seen(page)
    page.keyboard.type("unpopular jokes")
    expect(search).to_have_value("unpopular jokes")
    expect(page.get_by_text("No reply of iteration 1 (policy) fits.")).to_be_visible()
    expect(search).to_be_focused()
    press(page, "Escape", "u")
    expect(page.get_by_role("heading", name="bot")).to_be_visible()


def test_the_first_tab_leads_to_the_content(site: Site, windows: Windows) -> None:
    page = windows.open(site, "/thresholds?run=bot&iteration=1")
    press(page, "Tab")
    expect(page.get_by_role("link", name="To the content")).to_be_focused()
    focus_is_seen(page)
    press(page, "Enter")
    expect(page.locator("main")).to_be_focused()
    press(page, "Tab")
    expect(page.locator("#iteration")).to_be_focused()
    focus_is_seen(page)


def focus_is_seen(page: Page) -> None:
    """What has the focus has an outline, and stands in the window with nothing before it."""
    seen = page.evaluate(
        """() => {
            const one = document.activeElement, style = getComputedStyle(one), box = one.getBoundingClientRect();
            const line = one.getClientRects()[0];
            const there = document.elementFromPoint(line.x + line.width / 2, line.y + line.height / 2);
            return {
                outline: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
                inside: box.top >= 0 && box.bottom <= innerHeight && box.left >= 0,
                uncovered: one === there || one.contains(there),
            };
        }"""
    )
    assert seen == {"outline": True, "inside": True, "uncovered": True}
