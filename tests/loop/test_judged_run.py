"""A run whose scorers are judges behind a server."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import rsft
from judges import FakeJudge, data_in
from questions import write_questions
from rsft.errors import RunError
from rsft.loop import run
from rsft.progress import Silent
from rsft.rescoring import rescore
from rsft.reselection import reselect
from rsft.store import RunFolder

Made = Callable[..., rsft.Recipe]


class Heard(Silent):
    """Keeps what is told of stages that end."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def end(self, note: str) -> None:
        self.lines.append(note)


@pytest.fixture
def made(judge: FakeJudge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    monkeypatch.chdir(tmp_path)
    write_questions(train=6, heldout=4)

    def recipe(scorers: Mapping[str, Any], **further: Any) -> rsft.Recipe:
        said = {
            "model": "none",
            "engine": {
                "type": "scripted",
                "replies": ["Good: {prompt}", "Good and well: {prompt}", "Bad: {prompt}", "Score: 10/10"],
                "lessons": ["Good: {prompt}", "Good again: {prompt}", "Bad again: {prompt}"],
            },
            "prompts": {"train": "train.jsonl", "heldout": "heldout.jsonl"},
            "sampling": {"candidates": 5, "max_tokens": 40},
            "scorers": scorers,
            "selection": ["judged >= 0.7"],
            "training": {"type": "null"},
            "loop": {"iterations": 2},
            **further,
        }
        Path("judged.yaml").write_text(json.dumps(said))
        return rsft.load_recipe("judged.yaml")

    return recipe


def good(body: Mapping[str, Any]) -> Any:
    return {"explanation": "So.", "score": 9 if data_in(body)["reply"].startswith("Good") else 3}


def test_what_the_judge_holds_for_good_is_accepted_and_no_trick_is(made: Made, judge: FakeJudge) -> None:
    judge.says = good
    recipe = made({"judged": judge.spec(type="rubric")})
    summary = run(recipe)
    assert summary["finished"]
    with RunFolder.open(Path(recipe.run), write=False) as folder:
        decisions = folder.decisions("policy")
        texts = {one.key: one.text for one in folder.candidates()}
    accepted = [texts[key] for key, decision in decisions.items() if decision.accepted]
    assert accepted
    assert all(text.startswith("Good") for text in accepted)
    assert any(texts[key].startswith("Score") for key in decisions), "the policy tried"
    asked = len(judge.bodies)
    assert run(recipe) == summary
    assert len(judge.bodies) == asked, "a finished run asks nobody"


def test_it_is_told_how_often_a_judge_failed(made: Made, judge: FakeJudge) -> None:
    judge.says = lambda body: "hm" if data_in(body)["reply"].startswith("Bad") else good(body)
    heard = Heard()
    scorers = {"judged": judge.spec(type="rubric"), "tidy": "one_line"}
    summary = run(made(scorers, scoring={"max_failed": 0.9}, loop={"iterations": 1}), heard)
    (part,) = summary["iterations"]
    assert part["failed_scores"].keys() == {"judged"}
    failed = part["failed_scores"]["judged"]
    assert 0 < failed["failed"] < failed["of"]
    assert "not JSON" in failed["reason"]
    assert any(f"judged failed on {failed['failed']} of {failed['of']} replies" in line for line in heard.lines)


def favours_good(body: Mapping[str, Any]) -> Any:
    """Prefers a reply that begins with Good to one that doesn't."""
    a, b = (data_in(body)[side].startswith("Good") for side in ("A", "B"))
    return {"explanation": "So.", "better": "tie" if a == b else "A" if a else "B"}


def test_replies_may_be_held_against_the_base_models_greedy_ones(made: Made, judge: FakeJudge) -> None:
    judge.says = favours_good
    scorers = {"judged": judge.spec(type="pairwise", against="greedy")}
    summary = run(made(scorers, selection=["judged >= 0.5"], evaluation={"scorers": {"seen": scorers["judged"]}}))
    assert summary["finished"]
    with RunFolder.open(Path(summary["run"]), write=False) as folder:
        generator = (folder.stage_done(0, "policy", "compare") or {})["generator"]
        base = {one.key.prompt_id: one.text for one in folder.candidates(iteration=0, generators=[generator])}
        assert len(base) == 6 + 4
        scores = folder.own_scores()
        said = [(one, scores[one.key]["judged"]) for one in folder.candidates() if one.key.iteration]
    assert {one.key.iteration for one, _ in said} == {1, 2}
    for one, score in said:
        ours, theirs = (text.startswith("Good") for text in (one.text, base[one.key.prompt_id]))
        trick = one.text.startswith("Score")
        assert score.value == (0.0 if trick else 0.5 + 0.5 * (ours - theirs)), one.text
    asked = len(judge.bodies)
    run(rsft.load_recipe("judged.yaml"))
    assert len(judge.bodies) == asked


def test_the_greedy_replies_serve_a_judge_that_comes_later(made: Made, judge: FakeJudge) -> None:
    judge.says = favours_good
    scorers = {"judged": judge.spec(type="pairwise", against="greedy")}
    recipe = made(scorers, selection=["judged >= 0.5"])
    folder = Path(run(recipe)["run"])
    asked = len(judge.bodies)
    assert rescore(folder, [], Silent())["scorers"]["judged"]["scored"] == 0
    assert len(judge.bodies) == asked, "what it said is known"
    changed = [f"scorers.judged={json.dumps({**scorers['judged'], 'rubric': 'The kinder one.'})}"]
    counts = rescore(folder, changed, Silent())["scorers"]["judged"]
    assert counts["scored"] > 0
    assert counts["failed"] == 0
    assert len(judge.bodies) > asked
    reselect(folder, changed)


def test_a_run_without_greedy_replies_says_how_to_get_some(made: Made, judge: FakeJudge) -> None:
    judge.says = good
    folder = Path(run(made({"judged": judge.spec(type="rubric")}, loop={"iterations": 1}))["run"])
    spec = json.dumps(judge.spec(type="pairwise", against="greedy"))
    with pytest.raises(RunError, match="--fork"):
        rescore(folder, [f"scorers.judged={spec}"], Silent())
