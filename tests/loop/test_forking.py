"""A run that takes over from another one: what is still valid is there, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import rsft
from rsft.engines.scripted import ScriptedEngine
from rsft.errors import RunError
from rsft.evaluated import evaluated
from rsft.forking import begin_fork
from rsft.loop import run
from rsft.saved import saved_recipe
from rsft.store import RunFolder
from rsft.types import Label

RECIPE = """
model: none
engine: {type: scripted, replies: ["Good: {prompt}", "Good and well: {prompt}", "Bad: {prompt}", "Bad", "Good"]}
prompts: {train: train.jsonl, heldout: heldout.jsonl}
sampling: {candidates: 4, max_tokens: 40}
budget: fixed
scorers: {polite: {type: format, pattern: "Good.*"}, long: {type: length, min_words: 2}}
selection: [polite >= 1, {cap: 2}]
training: {type: "null"}
evaluation: {samples: 2}
guards: {plateau: off}
loop: {iterations: 2}
"""
OLD = Path("runs/old")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("scripted.yaml").write_text(RECIPE)
    write_prompts(12)
    run(rsft.load_recipe("scripted.yaml", f"run={OLD}"))


def write_prompts(changed: int) -> None:
    """The train and held-out prompts; those of a number from `changed` on are other ones of the same ids."""
    for split in ("train", "heldout"):
        rows = [
            {"id": f"{split}{i}", "prompt": f"question {i} of {split}" + " again" * (i >= changed)} for i in range(12)
        ]
        Path(f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))


def forked(*overrides: str, monkeypatch: pytest.MonkeyPatch) -> tuple[list[Any], dict[str, Any], RunFolder]:
    """What a fork asked its engine for, its outcome, and that of the same recipe begun anew."""
    asked: list[Any] = []
    honest = ScriptedEngine.sample

    def listening(self: ScriptedEngine, policy: Any, requests: Any, *rest: Any) -> Any:
        asked.extend(requests)
        return honest(self, policy, requests, *rest)

    monkeypatch.setattr(ScriptedEngine, "sample", listening)
    run(rsft.load_recipe("scripted.yaml", "run=runs/new", *overrides), fork=OLD)
    drawn = list(asked)
    run(rsft.load_recipe("scripted.yaml", "run=runs/anew", *overrides))
    new, anew = (outcome(Path(folder)) for folder in ("runs/new", "runs/anew"))
    assert new == anew, "a fork comes to what the recipe comes to by itself"
    return drawn, new, asked[len(drawn) :]


def outcome(path: Path) -> dict[str, Any]:
    with RunFolder.open(path, write=False) as folder:
        return {
            "candidates": folder.candidates(),
            "scores": folder.own_scores(),
            "decisions": [folder.decisions(arm) for arm in ("policy", "control")],
            "policies": [
                folder.policies.of(i, arm) and folder.policies.of(i, arm).hash
                for i in (1, 2)
                for arm in ("policy", "control")
            ],
        }


def test_the_same_recipe_draws_nothing_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn, *_ = forked(monkeypatch=monkeypatch)
    assert drawn == []


def test_more_candidates_are_the_old_ones_and_more(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn, _, all_of_them = forked("sampling.candidates=6", monkeypatch=monkeypatch)
    first = [
        request.key for request in drawn if request.key.iteration == 1 and request.key.prompt_id.startswith("train")
    ]
    assert {key.sample_index for key in first if key.generator == drawn[0].key.generator} >= {4, 5}
    assert not any(key.iteration == 0 for key in (request.key for request in drawn)), "the base is measured already"
    assert len(drawn) < len(all_of_them)


def test_another_selection_draws_anew_what_another_policy_says(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn, *_ = forked(
        "selection=[polite >= 1, long >= 1, {cap: 1}]",
        "budget={stop_at_accepted: null, early_rejection: false}",
        monkeypatch=monkeypatch,
    )
    assert {request.key.iteration for request in drawn if request.key.prompt_id.startswith("heldout")} == {1, 2}


def test_another_seed_keeps_only_what_is_greedy(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn, *_ = forked("seed=7", monkeypatch=monkeypatch)
    base = [request for request in drawn if request.key.iteration == 0]
    assert base
    assert all(request.params.temperature > 0 for request in base)


def test_a_changed_prompt_keeps_nothing_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    write_prompts(10)
    drawn, *_ = forked(monkeypatch=monkeypatch)
    assert {request.key.prompt_id for request in drawn if request.key.iteration == 0} == {"heldout10", "heldout11"}


def test_fewer_samples_are_all_that_is_measured() -> None:
    run(rsft.load_recipe("scripted.yaml", "run=runs/new", "evaluation.samples=1"), fork=OLD)
    summary = json.loads(Path("runs/new/summary.json").read_text())
    with RunFolder.open(Path("runs/new"), write=False) as folder:
        measured = evaluated(folder, saved_recipe(Path("runs/new")), 0, "policy")
    assert measured is not None
    assert measured.numbers()["sampled"]["acceptance"] == summary["base"]["sampled"]["acceptance"]
    assert measured.samples == summary["base"]["sampled"]["samples_per_prompt"] == 1


def test_labels_come_along(monkeypatch: pytest.MonkeyPatch) -> None:
    with RunFolder.open(OLD, write=True) as folder:
        some = sorted(folder.decisions("policy", iteration=1))[:3]
        folder.add_labels([Label(key, "ann", "calibration", "good", 0.0) for key in some])
    forked(monkeypatch=monkeypatch)
    with RunFolder.open(Path("runs/new"), write=False) as folder:
        assert [label.key for label in folder.labels()] == some


def test_what_can_not_be_forked_is_said() -> None:
    with pytest.raises(RunError, match=r"no readable recipe\.yaml"):
        run(rsft.load_recipe("scripted.yaml", "run=runs/new"), fork=Path("runs/none"))
    with RunFolder.open(OLD, write=True) as folder, pytest.raises(RunError, match="from itself"):
        begin_fork(folder, OLD)
    run(rsft.load_recipe("scripted.yaml", "run=runs/other"))
    with RunFolder.open(Path("runs/other"), write=True) as folder:
        folder.reopen()
    with pytest.raises(RunError, match="began by itself"):
        run(rsft.load_recipe("scripted.yaml", "run=runs/other"), fork=OLD)


def test_a_fork_that_was_interrupted_goes_on_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = rsft.load_recipe("scripted.yaml", "run=runs/new", "sampling.candidates=6")
    with monkeypatch.context() as patch:
        patch.setattr("rsft.stages.Stages.train", None)
        with pytest.raises(TypeError):
            run(recipe, fork=OLD)
    summary = run(rsft.load_recipe("runs/new"))
    assert summary["finished"]
    run(rsft.load_recipe("scripted.yaml", "run=runs/anew", "sampling.candidates=6"))
    assert outcome(Path("runs/new")) == outcome(Path("runs/anew"))
