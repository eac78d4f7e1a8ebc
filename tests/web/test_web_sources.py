"""Whatever the run holds of an iteration can be looked at: each arm's candidates, held-out replies, sets that somebody
named, and what is not decided yet."""

from __future__ import annotations

import html
import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient
from web_runs import EVIL, LUCKY, write_recipe

from rsft.errors import RunError
from rsft.evaluated import evaluated
from rsft.loop import run
from rsft.reselection import reselect
from rsft.saved import saved_recipe
from rsft.store import RunFolder, ScoreRow
from rsft.types import Candidate, CandidateKey, Score
from rsft.web.books import Candidates, HeldOut, open_book
from rsft.web.browse import Wanted, in_full, listed
from rsft.web.sources import OWN, Source, sources_of

Browser = Callable[[Path], TestClient]
SETS = [OWN, Source("control"), Source("strict")]
MEASURED = [(0, "policy"), (1, "policy"), (1, "control"), (2, "policy"), (2, "control")]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one finished run, which holds a named set and has a held-out scorer."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("work"))
        run(write_recipe(*LUCKY, "evaluation.scorers={short: {type: length, max_words: 4}}"))
        reselect(Path("runs/bot"), ["selection=[lucky >= 1, words >= 5]"], "strict")
        return Path("runs").absolute()


@pytest.fixture(scope="module")
def folder(runs: Path) -> Iterator[RunFolder]:
    with RunFolder.open(runs / "bot", write=False) as opened:
        yield opened


@pytest.fixture
def live(runs: Path, tmp_path: Path) -> Path:
    """A folder with the same run, in which an iteration is drawn and half scored, and not decided."""
    shutil.copytree(runs, tmp_path / "runs")
    with RunFolder.open(tmp_path / "runs/bot", write=True) as writing:
        writing.reopen()
        writing.begin_stage(3, "policy", "sample")
        add(writing, drawn_before(writing)[:30])
    return tmp_path / "runs"


def drawn_before(folder: RunFolder) -> list[Candidate]:
    decided = folder.decisions("policy", iteration=2)
    return [one for one in folder.candidates(iteration=2) if one.key in decided]


def add(writing: RunFolder, drawn: list[Candidate]) -> None:
    """Keep such candidates as if the third iteration had drawn them; every other one is scored."""
    made = [replace(one, key=replace(one.key, iteration=3)) for one in drawn]
    noted = writing.noted_scorers()
    scores = [ScoreRow(one.key, "words", noted["words"], Score(7.0)) for one in made[::2]]
    writing.commit(candidates=made, scores=scores)


def test_every_set_and_everything_measured_is_there(folder: RunFolder) -> None:
    said = sources_of(folder)
    titles = {iteration: [one.title(iteration) for one in of] for iteration, of in said.items()}
    arms = ["policy", "control", "held-out: policy", "held-out: control", "set: strict"]
    assert titles == {0: ["held-out: base"], 1: arms, 2: arms}
    for of in said.values():
        for one in of:
            assert Source.of(one.address) == one
    assert Source.of("") == OWN
    assert Source("policy_round_2").title(1) == "policy, round 2"


@pytest.mark.parametrize("source", SETS)
def test_candidates_are_those_of_the_set(source: Source, folder: RunFolder) -> None:
    book = Candidates(folder, 2, source)
    decided = folder.decisions(source.name, iteration=2)
    scores = folder.own_scores(iteration=2)
    texts = {one.key: one.text for one in folder.candidates(iteration=2)}
    said = {key: place for place, key in enumerate(book.keys(np.arange(len(book))))}
    assert said.keys() == decided.keys() != set()
    assert book.texts_of(np.arange(len(book))) == {place: texts[key] for key, place in said.items()}
    for key, place in said.items():
        (brief,) = book.brief(np.array([place]))
        assert (brief.accepted, brief.rule) == (decided[key].accepted, decided[key].rule)
        assert brief.scores == {name: one.value for name, one in scores[key].items()}
    key = next(iter(decided))
    assert {one.candidate.key: one.decision for one in book.replies(key.prompt_id)} == {
        other: decision for other, decision in decided.items() if other.prompt_id == key.prompt_id
    }


@pytest.mark.parametrize(("iteration", "arm"), MEASURED)
def test_held_out_replies_are_judged_as_the_summary_judges_them(iteration: int, arm: str, folder: RunFolder) -> None:
    book = HeldOut(folder, iteration, Source(arm, heldout=True))
    note = folder.stage_done(iteration, arm, "evaluate") or {}
    measured = evaluated(folder, saved_recipe(folder.path), iteration, arm)
    assert measured is not None
    keys = book.keys(np.arange(len(book)))
    assert len(set(keys)) == len(keys) == note["replies"]
    greedy = [place for place, key in enumerate(keys) if key.sample_index == 0]
    assert book.only.accepted_N[greedy].mean() == note["heldout_acceptance"]["value"]
    for place in greedy:
        said = measured.greedy[keys[place].prompt_id]
        (brief,) = book.brief(np.array([place]))
        assert brief.scores == {name: one.value for name, one in said.all_scores.items()}
        assert "short" in brief.scores
        assert brief.rule == said.decision.rule
    (sampled, *_) = set(range(len(keys))) - set(greedy)
    assert "short" not in book.brief(np.array([sampled]))[0].scores, "samples are not asked about"


def test_filters_and_pages_are_those_of_any_candidates(folder: RunFolder) -> None:
    source = Source("policy", heldout=True)
    book = open_book(folder, 2, source)
    which = source.address
    everything = listed(book, Wanted(2, which))
    assert everything["found"] == everything["all"] == len(book) == 54
    accepted, rejected = (listed(book, Wanted(2, which, decision=one))["found"] for one in ("accepted", "rejected"))
    assert accepted + rejected == 54
    assert 0 < accepted < 54
    assert listed(book, Wanted(2, which, decision="undecided"))["found"] == 0
    found = listed(book, Wanted(2, which, prompt="heldout3", scorer="words", order="high"))
    assert found["found"] == 9
    values = [row["scores"]["words"] for row in found["rows"]]
    assert values == sorted(values, reverse=True)
    assert listed(book, Wanted(2, which, text="GOOD"))["found"] > 0


def test_a_held_out_prompt_shows_what_every_policy_replies(folder: RunFolder) -> None:
    book = HeldOut(folder, 2, Source("control", heldout=True))
    measured = {of: said for of in MEASURED if (said := evaluated(folder, saved_recipe(folder.path), *of))}
    for place in (0, 4):
        (key,) = book.keys(np.array([place]))
        said = in_full(book, Wanted(2, "held-out:control"), key)
        told = said["everywhere"]
        assert [(one["iteration"], arm) for arm in told for one in told[arm]] == sorted(
            MEASURED, key=lambda one: (one[1] != "policy", one[0])
        )
        for arm, replies in told.items():
            for one in replies:
                greedy = measured[one["iteration"], arm].greedy[key.prompt_id]
                assert (one["text"], one["accepted"]) == (greedy.candidate.text, greedy.passed)
        assert said["reply"]["accepted"] == book.only.accepted_N[place]
        assert len(said["siblings"]) == 9
        assert said["lineage"]["trained_in"] == {"iteration": 2, "arm": "control"}
        assert not said["lineage"]["from_base"]
        assert said["lineage"]["trainings"] == []
    base = HeldOut(folder, 0, Source("policy", heldout=True))
    said = in_full(base, Wanted(0, "held-out:policy"), base.keys(np.array([0]))[0])
    assert said["lineage"]["from_base"]


def test_a_controls_candidate_names_the_controls_training(folder: RunFolder) -> None:
    book = Candidates(folder, 2, Source("control"))
    rows = json.loads((folder.path / "iterations/2/control/training.json").read_text())["rows"]
    assert book.only is not None
    accepted = np.flatnonzero(book.only.accepted_N)
    assert len(accepted) >= 3
    for key in book.keys(accepted[:3]):
        said = in_full(book, Wanted(2, "control"), key)
        (training,) = said["lineage"]["trainings"]
        assert CandidateKey(**rows[training["row"] - 1]) == key
        assert said["everywhere"] == {}


def test_what_is_not_decided_yet_is_shown_as_it_comes(live: Path, browser: Browser) -> None:
    client = browser(live)
    page = client.get("/candidates?run=bot&iteration=3")
    assert "1–25 of 30" in page.text
    assert page.text.count(">undecided</span>") == 25
    assert "failed" not in page.text, "a scorer may still be at work"
    for decision, count in (("undecided", 30), ("accepted", 0), ("rejected", 0)):
        said = client.get(f"/candidates?run=bot&iteration=3&decision={decision}").text
        assert (f"of {count}" in said) == (count > 0)
        assert ("fits." in said) == (count == 0)
    one = client.get(html.unescape(re.findall(r'id="row-1" href="([^"]*)"', page.text)[0]))
    assert one.text.count(">undecided</span>") == 7, "its own, and those of all six replies to the prompt"
    scored = client.get("/candidates?run=bot&iteration=3&scorer=words&least=7&most=7").text
    assert "of 15 that fit" in scored
    with RunFolder.open(live / "bot", write=True) as writing:
        add(writing, drawn_before(writing)[30:40])
    assert "1–25 of 40" in client.get("/candidates?run=bot&iteration=3").text


@pytest.mark.parametrize("page", ["thresholds", "label"])
def test_what_needs_decisions_asks_for_them(page: str, live: Path, browser: Browser) -> None:
    client = browser(live)
    said = client.get(f"/{page}?run=bot&iteration=3")
    assert (said.status_code, "has not decided" in said.text) == (400, True)
    tabs = client.get("/candidates?run=bot&iteration=3").text
    assert f"/{page}?run=bot&amp;iteration=2" in tabs
    own, other = (client.get(f"/{page}?run=bot&iteration=2{which}").text for which in ("", "&which=control"))
    assert own == other, "it is of the policy's candidates, whatever else was looked at"


def test_what_an_iteration_lacks_is_said_and_what_it_has_is_shown(runs: Path, browser: Browser) -> None:
    client = browser(runs)
    page = client.get("/candidates?run=bot&iteration=0&which=control").text
    assert "Of the base there are no replies “control”" in page
    assert '<option value="held-out:policy" selected>held-out: base</option>' in page
    assert "there are no replies" not in client.get("/candidates?run=bot&iteration=2&which=strict").text
    hostile = client.get("/candidates", params={"run": "bot", "iteration": "1", "which": EVIL})
    assert hostile.status_code == 200
    assert not re.search(r"<img|<svg onload", hostile.text)
    one = client.get("/candidate?run=bot&iteration=1&which=held-out:nobody&id=x&sample=0&generator=y")
    assert one.status_code == 400
    assert "It has &#39;policy&#39;, &#39;control&#39;, &#39;held-out: policy&#39;" in one.text
    none = client.get("/candidates?run=bot&iteration=9")
    assert "It has those of 0, 1, 2." in none.text


def test_damaged_held_out_replies_are_said(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs, tmp_path / "runs")
    with RunFolder.open(tmp_path / "runs/bot", write=True) as writing:
        for segment in writing.ledger.segments("scores", "1"):
            writing.ledger.drop_segment(segment.path)
        with pytest.raises(RunError, match="rsft resume"):
            HeldOut(writing, 1, Source("policy", heldout=True))


def test_from_a_runs_page_the_held_out_replies_are_reached(runs: Path, browser: Browser) -> None:
    client = browser(runs)
    page = client.get("/run?run=bot").text
    links = {html.unescape(link) for link in re.findall(r'href="([^"]*which=held-out[^"]*)"', page)}
    assert len(links) == len(MEASURED)
    for link in links:
        listed_there = client.get(link)
        assert "1–25 of 54" in listed_there.text
        first = html.unescape(re.findall(r'id="row-1" href="([^"]*)"', listed_there.text)[0])
        assert "What each policy replies to this prompt" in client.get(first).text
