"""Guards: what each finds in numbers that are made to show it, and what a run does about it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import rsft
from questions import write_questions
from rsft.config.guards import GuardsSection
from rsft.errors import RunError
from rsft.evaluation import Evaluation, Measured
from rsft.guards import Alarm, History, act, alarms, best_of, disowns
from rsft.loop import run
from rsft.store import RunFolder
from rsft.types import Candidate, CandidateKey, Decision, Score

N = 60


def measured(index: int, sample: int, text: str, passed: bool, liked: float | None = None) -> Measured:
    said = {} if liked is None else {"liked": Score(liked)}
    decision = Decision(passed, "accepted" if passed else "a rule")
    return Measured(Candidate(CandidateKey(1, f"p{index}", sample, "g"), text, (1,), "stop", 0, 0), {}, decision, said)


def policy(
    passing: int, *, liked: float | None = None, text: str = "a reply of five words", samples: Sequence[str] = ()
) -> Evaluation:
    """A policy whose first `passing` greedy replies pass; each prompt has such samples, of which none passes."""
    greedy = {f"p{i}": measured(i, 0, text, i < passing, None if liked is None else liked + i / 100) for i in range(N)}
    sampled = {f"p{i}": [measured(i, 1 + j, said, said == "right") for j, said in enumerate(samples)] for i in range(N)}
    return Evaluation(greedy, sampled if samples else {})


def found(evaluations: Mapping[int, Evaluation], by: str = "acceptance", **said: Any) -> dict[str, Alarm]:
    history = History(max(evaluations), evaluations, by, accepted=20, unsolved=0, prompts=10)
    return {alarm.guard: alarm for alarm in alarms(GuardsSection.model_validate(said), history)}


def test_a_run_that_gets_better_alarms_nobody() -> None:
    assert found({0: policy(3), 1: policy(30), 2: policy(50)}) == {}


def test_a_fall_that_is_certain_is_a_regression_and_one_of_chance_is_none() -> None:
    fell = found({0: policy(3), 1: policy(40), 2: policy(20)})
    assert fell["regression"].act == "stop"
    assert "fell since iteration 1: -33.3%" in fell["regression"].why
    assert "regression" not in found({0: policy(3), 1: policy(40), 2: policy(39)})
    assert "since the base" in found({0: policy(40), 1: policy(3)})["regression"].why
    assert found({0: policy(40), 1: policy(3)}, regression="roll_back")["regression"].act == "roll_back"
    assert found({0: policy(40), 1: policy(3)}, regression=False, plateau="off") == {}


def test_a_plateau_is_a_best_that_is_old() -> None:
    assert "plateau" not in found({0: policy(3), 1: policy(40), 2: policy(40)})
    old = found({0: policy(3), 1: policy(40), 2: policy(40), 3: policy(39)})
    assert "not above that of iteration 1 (66.7%), which is 2 iterations ago" in old["plateau"].why
    assert "plateau" not in found({0: policy(3), 1: policy(40), 2: policy(40), 3: policy(39)}, plateau={"after": 3})


def test_acceptance_that_rises_while_the_heldout_score_falls_is_a_gap() -> None:
    pleasing = {0: policy(3, liked=0.6), 1: policy(30, liked=0.7), 2: policy(55, liked=0.4)}
    gap = found(pleasing)["gap"]
    assert "since iteration 1 acceptance rose (+41.7%" in gap.why
    assert "'liked' fell (-0.3 [" in gap.why
    assert "gap" not in found({0: policy(3, liked=0.6), 1: policy(30, liked=0.7)})
    assert best_of(pleasing, "liked") == 1
    assert best_of(pleasing, "acceptance") == 2
    assert found(pleasing, by="liked")["regression"].why.startswith("the held-out score 'liked' fell")


def test_samples_that_become_alike_are_a_collapse() -> None:
    various, alike = tuple("abcdefgh"), ("a",) * 8
    assert "different" in found({0: policy(3, samples=various), 1: policy(9, samples=alike)})["collapse"].why
    assert "collapse" not in found({0: policy(3, samples=various), 1: policy(9, samples=various)})
    narrower = {0: policy(3, samples=("a", "b", "right", "d")), 1: policy(40, samples=various)}
    assert "fewer prompts are solved" in found(narrower)["collapse"].why


def test_replies_that_grow_are_an_alarm() -> None:
    assert "15 words, the base's 5" in found({0: policy(3), 1: policy(30, text="word " * 15)})["length"].why
    assert "length" not in found({0: policy(3), 1: policy(30, text="word " * 7)})
    assert "length" not in found({0: policy(3), 1: policy(30, text="word")})


def test_few_accepted_and_prompts_that_nothing_is_learnt_of() -> None:
    def of(iteration: int, accepted: int, unsolved: int) -> set[str]:
        history = History(iteration, {}, "acceptance", accepted, unsolved, prompts=10)
        return {alarm.guard for alarm in alarms(GuardsSection(), history)}

    assert of(1, 7, 9) == {"few_accepted"}
    assert of(2, 8, 6) == {"unsolved"}
    assert of(2, 8, 5) == set()


def test_the_gravest_act_counts() -> None:
    some = [Alarm("a", "warn", ""), Alarm("b", "roll_back", ""), Alarm("c", "stop", "")]
    assert act(some[:1]) is None
    assert act(some[:2]) == "roll_back"
    assert act(some) == "stop"


def test_a_policy_that_a_guard_sent_back_is_never_the_best() -> None:
    pleasing = {0: policy(3), 1: policy(30), 2: policy(55, text="word " * 15)}
    seen = History(2, pleasing, "acceptance", accepted=20, unsolved=0, prompts=10)
    (grown,) = alarms(GuardsSection.model_validate({"length": "roll_back"}), seen)
    assert disowns([grown])
    assert (seen.best, seen.best_before) == (2, 1)
    later = History(3, {**pleasing, 3: policy(20)}, "acceptance", 20, 0, 10, disowned={2})
    assert later.best == 1
    assert not disowns([Alarm("plateau", "stop", "")]), "that the run does not get better is no fault of the policy"
    assert not disowns([Alarm("length", "warn", "")])


def test_the_best_is_chosen_on_the_prompts_that_all_have_a_score_of() -> None:
    def scored(*values: float | None) -> Evaluation:
        said = [Score.failed("no word") if value is None else Score(value) for value in values]
        greedy = {f"p{i}": replace(measured(i, 0, "a", True), heldout_scores={"liked": s}) for i, s in enumerate(said)}
        return Evaluation(greedy, {})

    assert best_of({1: scored(0.9, 0.8, 0.1), 2: scored(0.8, 0.7, None)}, "liked") == 1
    assert best_of({1: scored(-3.0, -2.0), 2: scored(None, None)}, "liked") == 1
    assert best_of({1: scored(None), 2: scored(None)}, "liked") is None


RECIPE = """
model: none
engine: {type: scripted, replies: ["Good: {prompt}", "Good and well: {prompt}", "Bad"], lessons: LESSONS}
prompts: {train: train.jsonl, heldout: heldout.jsonl}
sampling: {candidates: 4, max_tokens: 60}
scorers: {polite: {type: format, pattern: "(Good|Bad).*"}, long: {type: length, min_words: 2}}
selection: [polite >= 1, {cap: 2}]
training: {type: "null"}
evaluation: {samples: 2, scorers: {right: mine.py:says_good}}
loop: {iterations: 4}
guards: {collapse: off}
"""


@pytest.fixture
def going_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> rsft.Recipe:
    """Trained, it says what pleases: the selecting scorer likes it as well, the held-out one does not."""
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text("def says_good(replies):\n    return [r.text.startswith('Good') for r in replies]\n")
    Path("scripted.yaml").write_text(RECIPE.replace("LESSONS", '["Bad: {prompt}", "Bad indeed: {prompt}"]'))
    write_questions(train=12, heldout=20)
    return rsft.load_recipe("scripted.yaml")


def test_a_run_that_goes_wrong_stops_says_why_and_hands_back_the_best(going_wrong: rsft.Recipe) -> None:
    summary = run(going_wrong)
    assert summary["finished"]
    assert len(summary["iterations"]) == 1
    assert summary["stopped"]["guard"] == "regression"
    assert summary["stopped"]["iteration"] == 1
    assert "the held-out score 'right' fell since the base" in summary["stopped"]["why"]
    assert summary["best_by"] == "right"
    assert summary["handed_back"] == 0, "the base is better than what was trained"
    assert summary["heldout_score_gains"]["right"]["over_base"]["value"] == -1.0
    with RunFolder.open(Path(going_wrong.run), write=False) as folder:
        events = [event for event in folder.ledger.events() if event["kind"] == "guard"]
        assert [event["guard"] for event in events] == ["regression"]
        heldout = {c.key for c in folder.candidates() if c.key.prompt_id.startswith("heldout")}
        scored = {key for key, said in folder.own_scores().items() if "right" in said}
        assert scored < heldout, "a held-out scorer never sees a candidate"
    assert run(going_wrong) == summary, "a stopped run is finished"
    assert run(rsft.load_recipe("scripted.yaml", "loop.iterations=9")) == summary


def test_rolled_back_it_goes_on_from_the_best_policy_without_what_went_wrong(going_wrong: rsft.Recipe) -> None:
    mine = rsft.load_recipe("scripted.yaml", "guards.regression=roll_back", "loop.iterations=2", "guards.plateau=off")
    summary = run(mine)
    assert [alarm["act"] for alarm in summary["alarms"]] == ["roll_back", "roll_back"]
    with RunFolder.open(Path(mine.run), write=False) as folder:
        generators = folder.ledger.generators()
        for arm in ("policy", "control"):
            drawn = {generators[key.generator]["policy"] for key in folder.decisions(arm, iteration=2)}
            assert drawn == {"scripted"}, "both arms draw from the base again"
    rows = json.loads(Path(mine.run, "iterations/2/policy/training.json").read_text())["rows"]
    assert {row["iteration"] for row in rows} == {2}


def test_a_run_goes_on_for_more_iterations_and_not_for_fewer(going_wrong: rsft.Recipe) -> None:
    calm = ["guards={regression: off, plateau: off, collapse: off}"]
    short = run(rsft.load_recipe("scripted.yaml", *calm, "loop.iterations=1"))
    longer = rsft.load_recipe("scripted.yaml", *calm, "loop.iterations=2")
    assert [part["iteration"] for part in run(longer)["iterations"]] == [1, 2]
    assert run(longer)["iterations"][0] == short["iterations"][0]
    assert run(rsft.load_recipe(longer.run))["finished"], "the folder holds the recipe that it now is of"
    with pytest.raises(RunError, match=r"loop\.iterations: 2 → 1"):
        run(rsft.load_recipe("scripted.yaml", *calm, "loop.iterations=1"))
