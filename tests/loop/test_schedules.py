"""What changes from iteration to iteration, further rounds of training, tuned temperatures, and controls."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import rsft
from questions import write_questions
from rsft import tuning
from rsft.config.schedule import at_iteration
from rsft.errors import RecipeError
from rsft.loop import run
from rsft.store import RunFolder
from rsft.types import Candidate, CandidateKey, Decision

RECIPE = """
model: none
engine:
  type: scripted
  replies: ["Good: {prompt}", "Good and well: {prompt}", "Good and very well: {prompt}", "Bad", "Good"]
prompts: {train: train.jsonl, heldout: heldout.jsonl}
sampling: {candidates: 6, max_tokens: 60}
budget: fixed
scorers: {polite: {type: format, pattern: "Good.*"}, long: mine.py:words}
selection: [polite >= 1, no_duplicates]
training: {type: "null"}
evaluation: {samples: 2}
guards: {plateau: off, unsolved: off}
loop: {iterations: 3}
"""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("scripted.yaml").write_text(RECIPE)
    Path("mine.py").write_text("def words(replies):\n    return [len(r.text.split()) for r in replies]\n")
    write_questions(train=12, heldout=10)


@dataclass(frozen=True)
class Done:
    summary: Mapping[str, Any]
    sets: Mapping[str, Mapping[CandidateKey, Decision]]
    candidates: Mapping[CandidateKey, Candidate]
    temperatures: Mapping[str, Any]
    policies: Mapping[tuple[int, str], Any]

    def accepted(self, name: str, iteration: int) -> set[CandidateKey]:
        return {k for k, decision in self.sets[name].items() if decision.accepted and k.iteration == iteration}

    def trained_on(self, iteration: int, arm: str) -> set[CandidateKey]:
        file = Path(f"runs/scripted/iterations/{iteration}/{arm}/training.json")
        return {CandidateKey(**row) for row in json.loads(file.read_text())["rows"]}


def done(*overrides: str) -> Done:
    recipe = rsft.load_recipe("scripted.yaml", *overrides)
    summary = run(recipe)
    with RunFolder.open(Path(recipe.run), write=False) as folder:
        arms = ("policy", "control", "unfiltered")
        rounds = [*arms, "policy_round_2", "policy_round_3", "control_round_2", "control_round_3"]
        return Done(
            summary,
            {name: folder.decisions(name) for name in rounds},
            {candidate.key: candidate for candidate in folder.candidates()},
            {name: law["temperature"] for name, law in folder.ledger.generators().items()},
            {(i, arm): folder.policies.of(i, arm) for i in range(1, 4) for arm in arms}
            | {(i, name): folder.policies.trained(i, name) for i in range(1, 4) for name in rounds[3:]},
        )


def test_a_schedule_has_a_value_for_each_iteration_and_the_last_one_holds_on() -> None:
    said = done(
        "loop.schedule={sampling.temperature: [0.5, 0.9], sampling.candidates: [4, 6, 2], "
        "selection: [[polite >= 1], [long >= 3], [long >= 8]]}"
    )
    parts = said.summary["iterations"]
    assert [part["temperature"] for part in parts] == [0.5, 0.9, 0.9]
    assert [part["candidates"] for part in parts] == [4 * 12, 6 * 12, 2 * 12]
    assert [list(part["rejected_by"]) for part in parts] == [["polite >= 1"], ["long >= 3"], ["long >= 8"]]
    for key in said.sets["policy"]:
        assert said.temperatures[key.generator] == (0.5 if key.iteration == 1 else 0.9)
    heldout = {said.temperatures[key.generator] for key in said.candidates if key.prompt_id.startswith("heldout")}
    assert heldout == {0, 0.7}, "held-out samples are drawn by one law in all iterations"
    assert said.summary["base"]["heldout_acceptance"]["value"] == 0.0, "and judged by the last selection"


@pytest.mark.parametrize(
    ("schedule", "complaint"),
    [
        ("{seed: [1, 2]}", "schedule speaks of 'seed'"),
        ("{sampling.temperature: []}", "at least 1 item"),
        ("{sampling.warmth: [1]}", "iteration 1 can't be used.*warmth"),
        ("{selection: [[polite >= 1], [nothing >= 1]]}", "reads the score 'nothing'"),
        ("{selection: [polite >= 1]}", "as loop.schedule has it in iteration 1"),
        ("{training.learning_rate: [0.1]}", "learning_rate"),
    ],
)
def test_a_schedule_that_can_not_be_is_refused_before_anything_is_drawn(schedule: str, complaint: str) -> None:
    with pytest.raises(RecipeError, match="(?s)" + complaint):
        run(rsft.load_recipe("scripted.yaml", f"loop.schedule={schedule}"))
    assert not list(Path("runs").rglob("*.parquet"))


def test_without_a_schedule_a_recipe_stands_as_it_is() -> None:
    recipe = rsft.load_recipe("scripted.yaml")
    assert at_iteration(recipe, 2) is recipe


def test_further_rounds_train_on_what_one_more_rule_leaves_each_from_the_round_before() -> None:
    said = done("loop.iterations=2", "loop.improve=[long >= 5, long >= 8]", "training.start_from=policy")
    for iteration in (1, 2):
        first, second, third = (said.accepted(f"policy{end}", iteration) for end in ("", "_round_2", "_round_3"))
        assert third < second < first
        assert said.trained_on(iteration, "policy_round_2") == second
        assert said.trained_on(iteration, "policy_round_3") == third
        assert said.policies[iteration, "policy"] == said.policies[iteration, "policy_round_3"]
        counts = [Counter(k.prompt_id for k in said.accepted(name, iteration)) for name in said.sets]
        assert counts[0] == counts[1], "the control learns from as many of each prompt"
        assert counts[3] == counts[5], "in each round"
    drawn_by = {key.generator for key in said.sets["policy"] if key.iteration == 2}
    assert len(drawn_by) == 1
    hashes = {policy.hash for policy in said.policies.values() if policy}
    assert len(hashes) == 2 * 2 * 2, "two arms, two further rounds, two iterations"


def test_the_unfiltered_control_learns_from_every_whole_reply_of_its_own() -> None:
    said = done("loop.iterations=2", "loop.control=[random, unfiltered]")
    for iteration in (1, 2):
        drawn = {key for key in said.sets["unfiltered"] if key.iteration == iteration}
        assert len(drawn) == len([key for key in said.sets["policy"] if key.iteration == iteration])
        assert said.accepted("unfiltered", iteration) == {key for key in drawn if said.candidates[key].is_reply}
    second = said.summary["iterations"][1]
    assert second["unfiltered"]["heldout_acceptance"]["n"] == 10
    assert second["control"]["trained_on"] == second["trained_on"] < second["unfiltered"]["trained_on"]


def test_a_temperature_is_tuned_on_train_prompts_and_then_sampled_by() -> None:
    said = done("sampling.temperature=tune", "loop.iterations=2")
    first, second = said.summary["iterations"]
    assert first["temperature"] in tuning.temperatures(None)
    assert second["temperature"] in tuning.temperatures(first["temperature"])
    tried = {said.temperatures[key.generator] for key in said.candidates if key.iteration == 1}
    assert tried >= set(tuning.temperatures(None))
    assert {said.temperatures[key.generator] for key in said.sets["policy"] if key.iteration == 2} == {
        second["temperature"]
    }


def test_the_temperature_of_most_accepted_is_taken_and_of_equals_the_nearest() -> None:
    def best(before: float | None, **accepted: int) -> float:
        tried = [{"temperature": float(name[1:]) / 10, "accepted": count} for name, count in accepted.items()]
        return tuning.best_of(tried, before)

    assert best(None, t3=5, t7=9, t11=2) == 0.7
    assert best(None, t3=9, t7=9, t11=9) == 0.7
    assert best(1.1, t3=9, t7=9, t11=9) == 1.1
    assert tuning.temperatures(0.1) == [0.1, 0.3]


def test_a_control_may_be_left_out() -> None:
    said = done("loop.control=none", "loop.iterations=1")
    assert said.summary["iterations"][0]["control"] is None
    assert said.summary["gain_over_control"] is None
