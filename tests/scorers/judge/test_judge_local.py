"""A judge in this process: a named model, or the run's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rsft.models.answering import Answering, Asked
from rsft.models.network import Network
from rsft.models.references import resolve
from rsft.scorers import Scorer, build_scorers, run_scorer
from rsft.scorers.judge.base import Judge
from rsft.scorers.judge.voices import LocalVoice
from rsft.types import Message, Prompt, Reply, Score
from tiny import save_model

TURNS = (Message("user", "Where are you?"),)
PROMPT = Prompt("p", TURNS, TURNS, {"reference": "REF"})
REPLIES = [Reply(PROMPT, "We are in Oakland."), Reply(PROMPT, "In Fresno, next to the old station, and open.")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model that can read what a judge is asked, and answers gibberish."""
    return save_model(tmp_path_factory.mktemp("judge"), max_position_embeddings=8192)


@pytest.fixture(scope="module")
def answering(folder: Path) -> Answering:
    return Answering(Network.load(resolve([str(folder)]), dtype="float32", device="cpu"))


def built(folder: Path, **options: Any) -> Scorer:
    spec = {"type": "rubric", "model": str(folder), "device": "cpu", "max_tokens": 24, **options}
    return build_scorers({"judge": spec})["judge"]


def test_gibberish_is_a_failed_score_never_a_0(folder: Path) -> None:
    scorer = built(folder)
    scorer.prepare()
    for score in run_scorer(scorer, REPLIES):
        assert score.value is None
        assert "the judge's answer" in str(score.failure)


def test_a_question_that_does_not_fit_is_a_failed_score(tiny_folder: Path) -> None:
    (score,) = run_scorer(built(tiny_folder), REPLIES[:1])
    assert "does not fit" in str(score.failure)


def test_what_the_model_says_is_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = json.dumps({"explanation": "Good.", "score": 6})
    monkeypatch.setattr(Answering, "answers", lambda self, asked, most: [said] * len(asked))
    assert run_scorer(built(folder), REPLIES) == [Score(0.6, "Good.")] * 2


def asked(text: str, seed: int = 0, temperature: float = 0.0) -> Asked:
    return Asked((Message("user", text),), seed, temperature)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_an_answer_does_not_hang_on_what_else_is_asked(temperature: float, answering: Answering) -> None:
    some = [asked(text, seed, temperature) for seed, text in enumerate(["Hi", "How are you today, and where?", "Yes"])]
    together = answering.answers(some, 12)
    assert together == [answering.answers([one], 12)[0] for one in some]
    assert all(together)


def test_lots_hang_on_the_seed(answering: Answering) -> None:
    one, same, other = answering.answers([asked("Hi", seed, 1.0) for seed in (1, 1, 2)], 12)
    assert one == same != other


def test_greedy_answers_are_the_likeliest_tokens(answering: Answering) -> None:
    import torch

    network = answering.network
    (text,) = answering.answers([asked("Hi")], 5)
    ids = network.chat.prompt_ids(asked("Hi").messages)
    own: list[int] = []
    while len(own) < 5 and not set(own) & network.chat.stop_ids:
        own.append(int(network.plain()(torch.tensor([ids + own])).logits[0, -1].argmax()))
    assert text == network.chat.decode(own)


def test_draws_follow_the_models_own_law(answering: Answering) -> None:
    """The first letter of many draws comes as often as the softmax says (total variation)."""
    import torch

    network = answering.network
    ids = network.chat.prompt_ids(asked("Hi").messages)
    chances_V = network.plain()(torch.tensor([ids])).logits[0, -1].float().div(2.0).softmax(-1).detach()
    texts = answering.answers([asked("Hi", seed, 2.0) for seed in range(600)], 1)
    # Of a byte-level vocabulary, those tokens that are a text by themselves.
    names = [network.chat.decode([token]) for token in range(len(chances_V))]
    for token in chances_V.topk(3).indices.tolist():
        share = sum(text == names[token] for text in texts) / len(texts)
        expected = sum(float(chances_V[i]) for i, name in enumerate(names) if name == names[token])
        assert share == pytest.approx(expected, abs=0.08)


def test_the_run_is_warned_of_a_model_that_judges_itself(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    for options in ({}, {"model": str(folder)}):
        caplog.clear()
        (scorer,) = build_scorers({"judge": {"type": "rubric", "device": "cpu", **options}}, [str(folder)]).values()
        scorer.prepare()
        (line,) = caplog.messages
        assert "favours its own replies" in line
        assert "evaluation.scorers" in line
    caplog.clear()
    (scorer,) = build_scorers({"judge": {"type": "rubric", "device": "cpu", "model": str(folder)}}, ["x/y"]).values()
    scorer.prepare()
    assert caplog.messages == [], "another model judges"
    assert isinstance(scorer, Judge)
    assert isinstance(scorer.voice, LocalVoice)


def test_the_fingerprint_is_the_models_content(folder: Path, tmp_path: Path) -> None:
    import shutil

    moved = shutil.copytree(folder, tmp_path / "moved")
    one = built(folder).fingerprint
    assert built(moved).fingerprint == one
    assert built(save_model(tmp_path / "other", seed=1, max_position_embeddings=8192)).fingerprint != one
