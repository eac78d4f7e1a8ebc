"""Runs by fakes, and browsers that may see them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.testclient import TestClient

import rsft
from questions import write_questions
from rsft.loop import run
from rsft.web.app import gated

HOST, PORT = "127.0.0.1", 7878
HERE = f"http://{HOST}:{PORT}"
EVIL = '<img src=x onerror=alert(1)>{{ 7 * 7 }}</script><svg onload="alert(2)">\x1b[31m'
RECIPE = """
model: none
engine:
  type: scripted
  replies: ["Good: {prompt}", "Good and well: {prompt}", "Bad: {prompt}", "Bad", "Good"]
  lessons: ["Good: {prompt}", "Good again: {prompt}", "Bad again"]
prompts: {train: train.jsonl, heldout: heldout.jsonl}
sampling: {candidates: 6, max_tokens: 40}
budget: {stop_at_accepted: null}
scorers:
  polite: {type: format, pattern: "Good.*"}
  long: {type: length, min_words: 2}
  words: mine.py:words
selection: [polite >= 1, words >= 2, {cap: 2}]
training: {type: "null"}
guards: {plateau: off}
loop: {iterations: 2, control: random}
"""
SCORERS = """
def words(replies):
    return [len(reply.text.split()) for reply in replies]
"""


def write_recipe(*overrides: str) -> rsft.Recipe:
    """The recipe and its files, in the working folder."""
    Path("scripted.yaml").write_text(RECIPE)
    Path("mine.py").write_text(SCORERS)
    write_questions(train=8, heldout=6)
    return rsft.load_recipe("scripted.yaml", "run=runs/bot", *overrides)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one finished run, which nobody changes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("work"))
        run(write_recipe())
        return Path("runs").absolute()


@pytest.fixture
def browser() -> Callable[..., TestClient]:
    """Opens the printed address of a folder's pages: a browser that holds the cookie from then on."""

    def opened(folder: Path) -> TestClient:
        gate = gated(folder, HOST, PORT)
        client = TestClient(gate, base_url=HERE, headers={"Origin": HERE})
        assert client.get(f"/?token={gate.token}").status_code == 200
        return client

    return opened
