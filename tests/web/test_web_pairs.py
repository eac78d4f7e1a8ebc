"""Replies compared in the browser: nothing tells whose they are until that is asked for."""

from __future__ import annotations

import html
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from web_runs import EVIL, write_recipe

from rsft.labelling import login
from rsft.loop import run
from rsft.pairing import Pairing
from rsft.pairs import Pairs
from rsft.store import RunFolder
from rsft.types import Preference

Browser = Callable[[Path], TestClient]
START = {"run": "bot", "one": "policy@2", "other": "base"}
LESSONS = 'engine.lessons=["Good again: {prompt}", "Good", "Bad again"]'


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run whose policies reply otherwise than the base."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("work"))
        recipe = write_recipe(LESSONS)
        rows = "\n".join(f'{{"id": "h{i}", "prompt": "question {i} {"<b>" if i % 2 else ""}"}}' for i in range(24))
        Path("heldout.jsonl").write_text(rows)
        run(recipe)
        return Path("runs").absolute()


@pytest.fixture
def copied(apart: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(apart, tmp_path / "runs"))


def part(page: str) -> str:
    """What is put in anew with each key."""
    return page[page.index('<div id="pairs"') :].partition("</main>")[0]


def fields(page: str) -> dict[str, str]:
    form = part(page).partition("</form>")[0]
    found = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', form)
    return {name: html.unescape(value) for name, value in found}


def shown(page: str) -> list[str]:
    """The two replies, the left one first."""
    found = re.findall(r'id="reply-\d">\d</h2><p class="text">(.*?)</p>', part(page), flags=re.DOTALL)
    return [html.unescape(text) for text in found]


def preferences(runs: Path) -> list[Preference]:
    with RunFolder.open(runs / "bot", write=False) as folder:
        return folder.preferences()


def pairs_of(runs: Path) -> Pairs:
    with RunFolder.open(runs / "bot", write=False) as folder:
        return Pairs(folder, "policy@2", "base")


def test_each_pair_is_asked_about_and_what_was_said_kept_by_reply(copied: Path, browser: Browser) -> None:
    client, pairs = browser(copied), pairs_of(copied)
    page = client.get("/pairs", params=START).text
    for pair, word in zip(pairs.asked, ["left", "right", "tie", "skip"] * 6, strict=True):
        first_is_left = pairs.left_is_first(pair, login())
        texts = [pair.first.text, pair.second.text]
        assert shown(page) == (texts if first_is_left else texts[::-1])
        page = client.post("/pairs/say", data={**fields(page), "word": word}).text
        assert "<html" not in page
        sides = {"left": "first" if first_is_left else "second", "right": "second" if first_is_left else "first"}
        expected = {"tie": "tie", "skip": "skipped", **sides}[word]
        assert preferences(copied)[-1] == Preference(*pair.keys, login(), expected)  # type: ignore[arg-type]
    assert "All pairs that differ are compared" in page
    assert len(preferences(copied)) == 24


def test_nothing_in_the_page_tells_whose_reply_is_whose(copied: Path, browser: Browser) -> None:
    """But for the texts, what was asked, and the progress, the source is the same whichever side the policy is on."""
    client, pairs = browser(copied), pairs_of(copied)
    sources: dict[bool, set[str]] = {True: set(), False: set()}
    page = client.get("/pairs", params=START).text
    for pair in pairs.asked:
        source = part(page)
        for text in (pair.first.text, pair.second.text, pair.prompt.conversation[-1].content):
            source = re.sub(rf">{re.escape(html.escape(text))}</p>", ">TEXT</p>", source)
        source = source.replace(f'value="{pair.prompt.id}"', 'value="ID"')
        source = re.sub(r'<div class="progress">.*?</div>', "PROGRESS", source, flags=re.DOTALL)
        sources[pairs.left_is_first(pair, login())].add(source.replace(" disabled", "").replace("disabled", ""))
        page = client.post("/pairs/say", data={**fields(page), "word": "skip"}).text
    assert all(sources.values()), "both sides were on the left"
    squeezed = [{re.sub(r"\s+", " ", source).replace(" >", ">") for source in some} for some in sources.values()]
    assert squeezed[0] == squeezed[1]
    assert len(squeezed[0]) == 1
    (source,) = squeezed[0]
    assert source.count("TEXT") == 3
    for trace in ("generator", "sample", "score", "polite", "accepted", "/candidate", "href", "win rate", "sha"):
        assert trace not in source, trace
    assert pairs.order[0].first.key.generator not in page


def test_the_same_sides_are_shown_whichever_is_named_first_and_when_loaded_again(
    copied: Path, browser: Browser
) -> None:
    client = browser(copied)
    pages = [client.get("/pairs", params=START).text for _ in range(2)]
    pages += [client.get("/pairs", params={"run": "bot", "one": "base", "other": "policy@2"}).text]
    assert len({part(page) for page in pages}) == 1
    assert len(shown(pages[0])) == 2


def test_the_policy_that_is_handed_back_is_compared_with_the_base_by_default(copied: Path, browser: Browser) -> None:
    page = browser(copied).get("/pairs", params={"run": "bot"}).text
    assert fields(page)["other"] == "base"
    assert fields(page)["one"].startswith("policy@")


def test_the_last_word_is_taken_back_and_the_page_says_so(copied: Path, browser: Browser) -> None:
    client = browser(copied)
    first = client.get("/pairs", params=START).text
    second = client.post("/pairs/say", data={**fields(first), "word": "right"}).text
    assert "said last: <b>2 is better</b>" in second
    assert "said last: <b>2 is better</b>" in client.get("/pairs", params=START).text
    again = client.post("/pairs/say", data={**fields(second), "word": "undo"}).text
    assert "taken back</span> 2 is better" in again
    assert shown(again) == shown(first)
    assert preferences(copied) == []
    nothing = client.post("/pairs/say", data={**fields(first), "word": "undo"}).text
    assert shown(nothing) == shown(first)
    assert "taken back" not in nothing


def test_a_key_that_is_pressed_twice_says_one_thing(copied: Path, browser: Browser) -> None:
    client = browser(copied)
    first = client.get("/pairs", params=START).text
    pages = [client.post("/pairs/say", data={**fields(first), "word": "left"}).text for _ in range(2)]
    assert fields(pages[0]) == fields(pages[1])
    assert len(preferences(copied)) == 1


def test_the_result_is_shown_when_it_is_asked_for_and_ends_the_blind(copied: Path, browser: Browser) -> None:
    client = browser(copied)
    page = client.get("/pairs", params=START).text
    assert "Show the result</button>" in page
    for _ in range(8):
        page = client.post("/pairs/say", data={**fields(page), "word": "left"}).text
        assert "win rate" not in page
    page = client.post("/pairs/show", data=fields(page)).text
    with RunFolder.open(copied / "bot", write=False) as folder:
        found = Pairing(folder, pairs_of(copied), login()).outcome()
    assert (found.said, found.left) == (8, 8)
    rate = found.win_rate
    assert f"<b>{rate.value:.1%} [{100 * rate.low:.0f}, {100 * rate.high:.0f}]</b> win rate of <b>policy@2</b>" in page
    assert "n = 8 prompts" in page
    assert "no longer blind" in page
    assert page.count("is better</span>") == 8
    later = client.post("/pairs/say", data={**fields(page), "word": "left"}).text
    assert "n = 8 prompts" in later
    assert "With the 1 said since then" in later
    assert "not blind</span>" in later
    assert [one.blind for one in preferences(copied)] == [True] * 8 + [False]
    assert "n = 8 prompts" in client.get("/pairs", params=START).text
    assert "win rate" not in client.get("/pairs", params=START | {"other": "control@2"}).text


def test_what_is_said_while_somebody_else_writes_is_asked_again(copied: Path, browser: Browser) -> None:
    client = browser(copied)
    page = client.get("/pairs", params=START).text
    with RunFolder.open(copied / "bot", write=True):
        assert "is at work on this run" in client.get("/pairs", params=START).text
        refused = client.post("/pairs/say", data={**fields(page), "word": "left"})
        unopened = client.post("/pairs/show", data=fields(page))
    assert (refused.status_code, unopened.status_code) == (409, 409)
    assert "Nothing was kept." in refused.text
    assert "in use by process" in refused.text
    assert shown(refused.text) == shown(page)
    assert "win rate" not in unopened.text
    assert preferences(copied) == []


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"word": "great"}, "What is said of a pair is left, right, tie, skip or undo"),
        ({"word": "first"}, "What is said of a pair"),
        ({"word": "left", "one": "policy@7"}, "no replies of &#39;policy@7&#39;"),
        ({"word": "left", "one": "base"}, "same policy"),
        ({"word": "left", "run": "../bot"}, "no run below"),
    ],
)
def test_what_can_not_be_said_is_refused(said: dict[str, str], why: str, copied: Path, browser: Browser) -> None:
    refused = browser(copied).post("/pairs/say", data={**START, **said}, headers={"HX-Request": "true"})
    assert refused.status_code == 400
    assert why in refused.text
    assert preferences(copied) == []


def test_a_run_that_was_not_measured_says_what_to_do(copied: Path, browser: Browser) -> None:
    with RunFolder.open(copied / "bot", write=True) as folder:
        for iteration, arm in folder.done("evaluate"):
            folder.ledger.drop_stage(iteration, arm, "evaluate")
    page = browser(copied).get("/pairs", params={"run": "bot"})
    assert page.status_code == 200
    assert "has measured no policy on held-out prompts yet" in page.text
    assert "rsft resume" in page.text


def test_replies_and_questions_stay_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, browser: Browser) -> None:
    monkeypatch.chdir(tmp_path)
    replies = json.dumps([f"Good {EVIL}", "Good: {prompt}"])
    run(write_recipe(LESSONS, f"engine.replies={replies}", "sampling.max_tokens=400"))
    client = browser(tmp_path / "runs")
    page = client.get("/pairs", params={"run": "bot"}).text
    page += client.post("/pairs/say", data={**fields(page), "word": "left"}).text
    page += client.post("/pairs/show", data=fields(page)).text
    assert "<img" not in page
    assert "<svg" not in page
    assert "&lt;img src=x" in page


def test_where_all_replies_are_equal_there_is_nothing_to_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, browser: Browser
) -> None:
    monkeypatch.chdir(tmp_path)
    run(write_recipe('engine.lessons=["Good: {prompt}", "Bad again"]'))
    page = browser(tmp_path / "runs").get("/pairs", params=START).text
    assert "equal on all 6 held-out prompts" in page
    assert "Show the result" not in page


def test_labelling_leads_from_one_way_to_the_other(copied: Path, browser: Browser) -> None:
    client = browser(copied)
    page = client.get("/label", params={"run": "bot", "iteration": "2"}).text
    assert 'href="/pairs?run=bot"' in page
    back = re.search(r'href="(/label[^"]*)"[^>]*>One by one', client.get("/pairs", params={"run": "bot"}).text)
    assert back is not None
    assert client.get(html.unescape(back[1])).status_code == 200
