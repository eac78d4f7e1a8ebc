"""Candidates are found by what is known of them, and one is shown with all of it."""

from __future__ import annotations

import asyncio
import gc
import html
import json
import re
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from web_runs import EVIL, write_recipe

import rsft
from rsft import parts
from rsft.engines.base import stream_seed
from rsft.errors import RunError
from rsft.loop import run
from rsft.store import RunFolder
from rsft.types import CandidateKey
from rsft.web import books
from rsft.web import found as found_module
from rsft.web.books import Book, Candidates
from rsft.web.browse import Wanted, in_full, listed
from rsft.web.shelf import Shelf
from rsft.web.sources import Source

Browser = Callable[[Path], TestClient]


@pytest.fixture(scope="module")
def folder(runs: Path) -> Iterator[RunFolder]:
    with RunFolder.open(runs / "bot", write=False) as opened:
        yield opened


@pytest.fixture(scope="module", params=["held", "in parts"])
def book(folder: RunFolder, request: pytest.FixtureRequest) -> Candidates:
    """Held as a whole, or as one that is too large for that."""
    with pytest.MonkeyPatch.context() as patched:
        if request.param == "in parts":
            patched.setattr(books, "HELD", 0)
            patched.setattr(parts, "PART", 13)
        book = Candidates(folder, 2)
    assert (book.only is None) == (request.param == "in parts")
    return book


def ordered(book: Candidates, wanted: Wanted) -> list[CandidateKey]:
    found = wanted.found(book)
    return book.keys(found.places(range(len(found))))


def keys(book: Candidates, **wanted: Any) -> set[CandidateKey]:
    return set(ordered(book, Wanted(2, **wanted)))


def test_each_filter_keeps_what_the_store_says(book: Candidates, folder: RunFolder) -> None:
    decided = folder.decisions("policy", iteration=2)
    texts = {one.key: one.text for one in folder.candidates(iteration=2)}
    scores = folder.own_scores(iteration=2)
    assert keys(book) == set(decided)
    assert keys(book, decision="accepted") == {key for key, one in decided.items() if one.accepted}
    assert keys(book, decision="rejected") == {key for key, one in decided.items() if not one.accepted}
    assert keys(book, rule="cap") == {key for key, one in decided.items() if one.rule == "cap"} != set()
    assert keys(book, rule="none of them") == set()
    assert keys(book, prompt="train3") == {key for key in decided if key.prompt_id == "train3"} != set()
    assert keys(book, scorer="words", least=5, most=6) == {
        key for key in decided if 5 <= (scores[key]["words"].value or 0) <= 6
    }
    assert (
        keys(book, text="GOOD: question 3")
        == {key for key in decided if "good: question 3" in texts[key].lower()}
        != set()
    )
    both = keys(book, decision="rejected", text="bad")
    assert both == keys(book, decision="rejected") & keys(book, text="bad") != set()


def test_pages_hold_all_of_them_once_in_the_order_that_was_asked_for(
    book: Candidates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rsft.web.browse.PAGE", 7)
    pages = [listed(book, Wanted(2, scorer="words", order="high", page=page)) for page in range(1, 8)]
    rows = [row for page in pages for row in page["rows"]]
    assert pages[0]["pages"] == 7
    assert len({json.dumps(row["key"]) for row in rows}) == len(rows) == pages[0]["found"] == 48
    values = [row["scores"]["words"] for row in rows]
    assert values == sorted(values, reverse=True)
    assert listed(book, Wanted(2, page=99))["page"] == 7, "behind the last page there is the last"


@pytest.mark.parametrize("order", ["made", "high", "low"])
def test_a_book_in_parts_has_the_order_of_one_that_is_held(
    order: str, folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for its places, which in parts are prompt after prompt; and among equal scores these decide."""
    held = Candidates(folder, 2)
    monkeypatch.setattr(books, "HELD", 0)
    monkeypatch.setattr(parts, "PART", 13)
    in_parts = Candidates(folder, 2)
    assert in_parts.stored.count > 2
    wanted = Wanted(2, scorer="long", order=order)
    found, other = (wanted.found(book) for book in (held, in_parts))
    monkeypatch.setattr(found_module, "_SORTED", 8)
    both = held.keys(found.places(range(len(found)))), in_parts.keys(other.places(range(len(other))))
    assert set(both[0]) == set(both[1])
    pages = [other.places(range(first, min(first + 5, len(other)))).tolist() for first in range(0, len(other), 5)]
    assert [place for page in pages for place in page] == other.places(range(len(other))).tolist()
    for number, place in enumerate(other.places(range(len(other))).tolist()):
        before, at, behind = other.around(place)
        assert at == number + 1
        assert before == (None if number == 0 else other.places(range(number - 1, number))[0])
        assert behind == (None if at == len(other) else other.places(range(at, at + 1))[0])
    scores = folder.own_scores(iteration=2)
    if order != "made":
        values = [[scores[key]["long"].value for key in one] for one in both]
        assert values[0] == values[1]
        sign = -1 if order == "high" else 1
        known = [
            (sign * value, place) for value, place in zip(values[1], in_parts.stored.places_of(both[1]), strict=True)
        ]
        assert known == sorted(known)


def test_one_candidate_is_shown_with_all_that_is_known_of_it(book: Candidates, folder: RunFolder) -> None:
    for key, decision in folder.decisions("policy", iteration=2).items():
        said = in_full(book, Wanted(2), key)
        assert (said["reply"]["rule"], said["reply"]["accepted"]) == (decision.rule, decision.accepted)
        assert set(said["reply"]["scores"]) == {"polite", "long", "words"}
        assert {one["key"]["sample_index"] for one in said["siblings"]} == set(range(6))
        assert said["lineage"]["stream_seed"] == stream_seed(0, 2, key.prompt_id, key.sample_index)
        assert said["lineage"]["trained_in"] == {"iteration": 1, "arm": "policy"}
        (*_, last) = said["lineage"]["trainings"] or [None]
        assert (last is not None) == decision.accepted
        if last is not None:
            rows = json.loads((folder.path / "iterations/2/policy/training.json").read_text())["rows"]
            assert rsft.CandidateKey(**rows[last["row"] - 1]) == key


def test_from_one_the_next_of_the_list_is_reached(book: Candidates) -> None:
    wanted = Wanted(2, decision="rejected", scorer="words", order="low")
    all_of = ordered(book, wanted)
    first, second = all_of[:2]
    said = in_full(book, wanted, first)
    assert (said["before"], said["number"], said["count"]) == (None, 1, len(all_of))
    assert rsft.CandidateKey(**said["behind"]) == second
    assert rsft.CandidateKey(**in_full(book, wanted, second)["before"]) == first
    assert in_full(book, wanted, all_of[-1])["behind"] is None
    outside = in_full(book, Wanted(2, text="nobody says that"), first)
    assert (outside["number"], outside["behind"]) == (None, None)


def test_the_pages_lead_from_the_list_to_one_and_on(runs: Path, browser: Browser) -> None:
    client = browser(runs)
    page = client.get("/candidates?run=bot&iteration=1&decision=accepted").text
    links = re.findall(r'id="row-\d+" href="([^"]*)"', page)
    assert len(links) == 15
    one = client.get(html.unescape(links[0]))
    assert "1 of 15" in one.text
    assert "6 replies to this prompt" in one.text
    assert "row 1 of 15 in iteration 1" in one.text
    none = client.get("/candidates?run=bot&iteration=1&text=nobody+says+that").text
    assert "Show all 48" in none


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("run=bot", "which one?"),
        ("run=bot&iteration=x", "expected a number"),
        ("run=bot&iteration=9", "has no replies of iteration 9"),
        (f"run=bot&iteration={10**30}&which=held-out:policy", "expected a number"),
        ("run=bot&iteration=1&scorer=nobody", "no scorer &#39;nobody&#39;"),
        ("run=bot&iteration=1&decision=perhaps", "expected accepted or rejected or undecided"),
        ("run=bot&iteration=1&order=none", "expected made or high or low"),
        ("run=../bot&iteration=1", "no run below"),
    ],
)
def test_what_cant_be_asked_is_said(query: str, why: str, runs: Path, browser: Browser) -> None:
    said = browser(runs).get(f"/candidates?{query}")
    assert said.status_code == 400
    assert why in said.text
    with pytest.raises(RunError):
        Wanted.of({"iteration": "1", "least": "x"})


def test_a_candidate_that_is_not_there_is_said(runs: Path, browser: Browser) -> None:
    said = browser(runs).get("/candidate?run=bot&iteration=1&id=train0&sample=99&generator=x")
    assert said.status_code == 400
    assert "no candidate 99" in said.text


def test_what_changed_on_the_disk_is_read_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, browser: Browser
) -> None:
    monkeypatch.chdir(tmp_path)
    run(write_recipe("loop.iterations=1"))
    client = browser(Path("runs").absolute())
    assert "1–25 of 48" in client.get("/candidates?run=bot&iteration=1").text
    Path("runs/bot").rename("runs/other")
    run(write_recipe("loop.iterations=1", "sampling.candidates=5"))
    assert "1–25 of 40" in client.get("/candidates?run=bot&iteration=1").text
    assert "1–25 of 48" in client.get("/candidates?run=other&iteration=1").text


def test_what_users_and_models_wrote_is_inert(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, browser: Browser
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = write_recipe("loop.iterations=1", "sampling.max_tokens=400")
    rows = [{"id": f"<b>{i}", "prompt": f"{EVIL} {i}", "<i>field": EVIL} for i in range(4)]
    Path("train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    run(recipe)
    client = browser(Path("runs").absolute())
    page = client.get("/candidates", params={"run": "bot", "iteration": "1", "text": "onerror"})
    assert html.escape(EVIL.partition("{")[0]).replace("&quot;", "&#34;") in page.text
    link = re.findall(r'id="row-1" href="([^"]*)"', page.text)[0]
    one = client.get(html.unescape(link))
    searched = client.get(
        "/candidates", params={"run": "bot", "iteration": "1", "text": EVIL, "prompt": EVIL, "rule": EVIL}
    )
    for said in (page, one, searched):
        assert said.status_code == 200
        assert not re.search(r"<img|<b>\d|<i>field|<svg onload|</script><svg", said.text)
        assert "49" not in re.findall(r"onerror=alert\(1\)&gt;(.{4})", said.text)
    assert "{{ 7 * 7 }}" in one.text, "and it is all there"


def test_what_is_no_longer_held_takes_no_memory(runs: Path) -> None:
    shelf = Shelf()

    def pool(book: Book) -> weakref.ref[Any]:
        return weakref.ref(next(iter(book.leaves())).pool)

    async def read_all() -> list[weakref.ref[Any]]:
        sources = [Source(), Source("control"), Source(heldout=True)]
        return [await shelf.read(runs / "bot", 1, source, pool) for source in sources]

    gc.disable()  # which would find it, some time
    try:
        found = asyncio.run(read_all())
        assert [one() is not None for one in found] == [False, True, True]
        shelf.close()
        assert not any(one() for one in found)
    finally:
        gc.enable()
