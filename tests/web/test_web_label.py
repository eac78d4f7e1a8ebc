"""Labels given in the browser are those that `rsft label` would keep."""

from __future__ import annotations

import html
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from rsft.labelling import Frame, login
from rsft.saved import saved_recipe
from rsft.store import RunFolder
from rsft.types import CandidateKey, Label

Browser = Callable[[Path], TestClient]
START = {"run": "bot", "iteration": "2", "scorer": "words"}


@pytest.fixture
def copied(runs: Path, tmp_path: Path) -> Path:
    shutil.copytree(runs, tmp_path / "runs")
    return tmp_path / "runs"


def fields(page: str) -> dict[str, str]:
    """What the form with the reply holds."""
    form = page[page.index('<form id="queue"') :]
    found = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', form)
    return {name: html.unescape(value) for name, value in found}


def labels(runs: Path) -> list[Label]:
    with RunFolder.open(runs / "bot", write=False) as folder:
        return folder.labels()


def draw(runs: Path) -> list[CandidateKey]:
    with RunFolder.open(runs / "bot", write=False) as folder:
        frame = Frame(folder, saved_recipe(runs / "bot"), "words", 2)
        return [frame.key(int(place)) for place in frame.places]


def test_each_reply_of_the_draw_is_asked_about_and_its_label_kept(copied: Path, browser: Browser) -> None:
    client, wanted = browser(copied), draw(copied)
    page = client.get("/label", params=START).text
    words = ["good", "bad", "skip"] * len(wanted)
    for word in words[: len(wanted)]:
        page = client.post("/label/say", data={**fields(page), "word": word}).text
        assert "<html" not in page
    kept = {"good": ("good", 0.0), "bad": ("bad", 1.0), "skip": ("skipped", None)}
    expected = [Label(key, login(), "calibration", *kept[word]) for key, word in zip(wanted, words, strict=False)]
    assert labels(copied) == expected != []
    assert "bot --scorer words --iteration 2</pre>" in page
    assert "0 left" in page


def test_the_last_label_is_taken_back_and_asked_about_again(copied: Path, browser: Browser) -> None:
    client = browser(copied)
    first = client.get("/label", params=START).text
    second = client.post("/label/say", data={**fields(first), "word": "good"}).text
    assert fields(second) != fields(first)
    assert "said last: <b>good</b>, on question" in second
    again = client.post("/label/say", data={**fields(second), "word": "undo"}).text
    assert "taken back</span> good, on question" in again
    assert fields(again) == fields(first)
    assert labels(copied) == []
    assert fields(client.post("/label/say", data={**fields(first), "word": "undo"}).text) == fields(first)


def test_a_key_that_is_pressed_twice_labels_one_reply(copied: Path, browser: Browser) -> None:
    client = browser(copied)
    first = client.get("/label", params=START).text
    pages = [client.post("/label/say", data={**fields(first), "word": "bad"}).text for _ in range(2)]
    assert fields(pages[0]) == fields(pages[1])
    assert len(labels(copied)) == 1


def test_scores_are_not_shown_to_who_labels(copied: Path, browser: Browser) -> None:
    page = browser(copied).get("/label", params=START).text
    assert "question" in page
    assert 'class="scores"' not in page


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"word": "great"}, "A label is good"),
        ({"word": "undone"}, "A label is good"),
        ({"word": "good", "scorer": "nobody"}, "no scorer"),
        ({"word": "good", "purpose": "fun"}, "expected calibration or aimed"),
        ({"word": "good", "run": "../bot"}, "no run below"),
    ],
)
def test_what_is_no_label_is_refused(said: dict[str, str], why: str, copied: Path, browser: Browser) -> None:
    refused = browser(copied).post("/label/say", data={**START, **said}, headers={"HX-Request": "true"})
    assert refused.status_code == 400
    assert why in refused.text
    assert labels(copied) == []


def test_labels_wait_while_somebody_else_writes(copied: Path, browser: Browser) -> None:
    client = browser(copied)
    page = client.get("/label", params=START).text
    with RunFolder.open(copied / "bot", write=True):
        refused = client.post("/label/say", data={**fields(page), "word": "good"})
        assert "is at work on this run" in client.get("/label", params=START).text
    assert refused.status_code == 409
    assert "in use by process" in refused.text
    assert fields(refused.text) == fields(page), "it is asked about again"
    assert labels(copied) == []
