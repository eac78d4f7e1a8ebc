"""The story, told by fakes: what is accepted is what the rules say, and nothing is done twice or lost."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import pytest

import rsft
from questions import write_questions
from rsft.engines.base import Sampling
from rsft.engines.scripted import ScriptedEngine
from rsft.errors import RecipeError, RunError, ScoringError, SelectionError, StoreError
from rsft.loop import run
from rsft.progress import Silent
from rsft.rescoring import rescore
from rsft.stages import Stages
from rsft.store import RunFolder

RECIPE = """
model: none
engine:
  type: scripted
  replies: ["Good: {prompt}", "Good and well: {prompt}", "Bad: {prompt}", "Bad", "Good"]
  lessons: ["Good: {prompt}", "Good again: {prompt}", "Bad again"]
prompts: {train: train.jsonl, heldout: heldout.jsonl}
sampling: {candidates: 6, max_tokens: 40}
scorers:
  polite: {type: format, pattern: "Good.*"}
  long: {type: length, min_words: 2}
selection: [polite >= 1, long >= 1, no_duplicates, {cap: 2}]
training: {type: "null"}
evaluation: {samples: 2}
loop: {iterations: 2}
"""


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> rsft.Recipe:
    monkeypatch.chdir(tmp_path)
    Path("scripted.yaml").write_text(RECIPE)
    write_questions(train=12, heldout=10)
    return rsft.load_recipe("scripted.yaml")


def content(folder: Path) -> dict[str, str]:
    """What a run folder holds, file by file."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def outcome(folder: Path) -> dict[str, Any]:
    """What a run came to: everything but times and the way that segments were cut."""
    with RunFolder.open(folder, write=False) as run_folder:
        return {
            "candidates": run_folder.candidates(),
            "scores": run_folder.scores(),
            "policy": run_folder.decisions("policy"),
            "control": run_folder.decisions("control"),
            "stages": [
                {k: v for k, v in (stage["info"] or {}).items() if k not in ("seconds", "drawn_tokens")}
                for stage in run_folder.stages()
            ],
        }


def test_the_whole_story(recipe: rsft.Recipe) -> None:
    summary = run(recipe)
    folder = Path(recipe.run)
    assert json.loads((folder / "summary.json").read_text()) == summary
    assert summary["finished"]
    assert summary["fakes"] == ["scripted", "null"], "a report says that it used fakes"
    assert [part["iteration"] for part in summary["iterations"]] == [1, 2]
    for part in summary["iterations"]:
        assert part["candidates"] == part["accepted"] + sum(part["rejected_by"].values()) < 12 * 6
    assert summary["base"]["heldout_acceptance"]["n"] == 10
    for gain in ("gain_over_base", "gain_over_control"):
        assert summary[gain]["low"] <= summary[gain]["value"] <= summary[gain]["high"]
    said = outcome(folder)
    of_iterations = [c for c in said["candidates"] if c.key.iteration and c.key.prompt_id.startswith("train")]
    assert len({c.key for c in of_iterations}) == len(of_iterations)
    by_key = {c.key: c for c in said["candidates"]}
    for key, decision in said["policy"].items():
        if decision.accepted:
            assert by_key[key].text.startswith("Good")
    for iteration in (1, 2):
        counts = [
            Counter(k.prompt_id for k, d in said[arm].items() if d.accepted and k.iteration == iteration)
            for arm in ("policy", "control")
        ]
        assert counts[0] == counts[1], "the control chooses as many of each prompt"


def test_what_was_trained_on_can_be_traced(recipe: rsft.Recipe) -> None:
    summary = run(recipe)
    folder = Path(recipe.run)
    with RunFolder.open(folder, write=False) as run_folder:
        decided, scores = run_folder.decisions("policy"), run_folder.scores()
        candidates, prompts = run_folder.candidates(), run_folder.load_prompts("train")
        generators = run_folder.ledger.generators()
    by_key = {candidate.key: candidate for candidate in candidates}
    trained = json.loads((folder / "iterations/2/policy/training.json").read_text())["rows"]
    assert len(trained) == summary["iterations"][1]["trained_on"]
    for row in trained:
        key = rsft.CandidateKey(**row)
        assert decided[key].accepted
        assert set(scores[key]) == {"polite", "long"}
        assert key.prompt_id in {prompt.id for prompt in prompts}
        assert by_key[key].token_ids == tuple(by_key[key].text.encode())
        assert {"policy", "temperature", "engine"} <= set(generators[key.generator])


def test_a_finished_run_is_left_alone(recipe: rsft.Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    summary = run(recipe)
    before = content(Path(recipe.run))
    Path("train.jsonl").unlink()
    monkeypatch.setattr(ScriptedEngine, "open", lambda *_: pytest.fail("a finished run needs no engine"))
    assert run(recipe) == summary
    assert content(Path(recipe.run)) == before


def test_a_changed_recipe_is_refused_with_what_differs(recipe: rsft.Recipe) -> None:
    run(recipe)
    changed = rsft.load_recipe("scripted.yaml", "sampling.candidates=7", "selection=[long >= 1]")
    with pytest.raises(RunError) as caught:
        run(changed)
    assert "sampling.candidates: 6 → 7" in str(caught.value)
    assert "selection" in str(caught.value)
    assert "seed" not in str(caught.value)


def test_the_same_recipe_gives_the_same_run(recipe: rsft.Recipe) -> None:
    run(recipe)
    other = rsft.load_recipe("scripted.yaml", "run=runs/other")
    run(other)
    assert outcome(Path(recipe.run)) == outcome(Path(other.run))


def test_a_run_folder_is_enough_to_run_again(recipe: rsft.Recipe) -> None:
    run(recipe)
    again = rsft.load_recipe(recipe.run, "run=runs/again")
    run(again)
    assert outcome(Path(recipe.run)) == outcome(Path(again.run))


def test_nothing_accepted_is_one_clear_message(recipe: rsft.Recipe) -> None:
    with pytest.raises(SelectionError) as caught:
        run(rsft.load_recipe("scripted.yaml", "selection=[polite >= 2]"))
    assert re.search(r"accepted none of (\d+) candidates(?s:.*)polite >= 2: rejected \1\n", str(caught.value))
    assert "rsft show" in str(caught.value)


def test_an_engine_that_drops_or_doubles_a_candidate_is_caught(
    recipe: rsft.Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = ScriptedEngine.sample

    def drops(self: ScriptedEngine, *said: Any) -> Sampling:
        return Sampling(lambda _: iter(list(honest(self, *said))[1:]))

    def doubles(self: ScriptedEngine, *said: Any) -> Sampling:
        first, *rest = honest(self, *said)
        return Sampling(lambda _: iter([first, first, *rest]))

    for broken in (drops, doubles):
        monkeypatch.setattr(ScriptedEngine, "sample", broken)
        with pytest.raises(StoreError, match="was asked for"):
            run(recipe)


def test_a_broken_scorer_accepts_nothing_and_stops_nothing(recipe: rsft.Recipe) -> None:
    Path("mine.py").write_text(
        "def moody(replies):\n    return [1 / 0 if 'well' in r.text else float('nan') if r.text == 'Good' else 1.0"
        " for r in replies]\n"
    )
    mine = rsft.load_recipe(
        "scripted.yaml", "scorers.moody=mine.py:moody", "selection=[polite >= 1, moody >= 1]", "scoring.max_failed=1"
    )
    run(mine)
    said = outcome(Path(mine.run))
    texts = {candidate.key: candidate.text for candidate in said["candidates"]}
    reasons = {texts[key]: of["moody"].failure for key, of in said["scores"].items() if of["moody"].failure}
    assert any("ZeroDivisionError" in str(reason) for reason in reasons.values())
    assert "nan" in str(reasons["Good"])
    assert not any(d.accepted for key, d in said["policy"].items() if texts[key] in reasons)


def test_a_scorer_that_fails_too_often_ends_the_run_and_is_asked_again_once_it_is_mended(recipe: rsft.Recipe) -> None:
    shaky = """
import pathlib

def shaky(replies):
    asked = pathlib.Path("asked")
    asked.write_text(str(int(asked.read_text() if asked.exists() else 0) + len(replies)))
    if not pathlib.Path("mended").exists():
        raise RuntimeError("the server is away")
    return [1.0] * len(replies)
"""
    Path("mine.py").write_text(shaky)
    mine = rsft.load_recipe("scripted.yaml", "scorers.shaky=mine.py:shaky", "selection=[polite >= 1, shaky >= 1]")
    with pytest.raises(ScoringError, match=r"'shaky' failed on \d+ of \d+ replies, .*the server is away"):
        run(mine)
    drawn = len(outcome(Path(mine.run))["candidates"])
    Path("mended").touch()
    summary = run(mine)
    assert summary["finished"]
    said = outcome(Path(mine.run))
    assert all(of["shaky"].value == 1.0 for key, of in said["scores"].items() if of["shaky"].failure is None)
    assert not any("server" in str(of["shaky"].failure) for of in said["scores"].values())
    assert drawn > 0


def test_an_equal_reply_is_not_scored_twice(recipe: rsft.Recipe) -> None:
    Path("mine.py").write_text(
        "def counting(replies):\n    with open('heard', 'a') as file:\n"
        "        file.writelines(r.prompt.id + '|' + r.text + '\\n' for r in replies)\n"
        "    return [1.0] * len(replies)\n"
    )
    run(rsft.load_recipe("scripted.yaml", "scorers.counting=mine.py:counting"))
    heard = Counter(Path("heard").read_text().splitlines())
    texts = Counter(f"{c.key.prompt_id}|{c.text}" for c in outcome(Path(recipe.run))["candidates"] if c.is_reply)
    assert set(heard) == set(texts)
    assert max(texts.values()) > 3
    assert sum(heard.values()) < sum(texts.values())


def test_a_changed_scorer_alone_is_asked_again(recipe: rsft.Recipe) -> None:
    run(recipe)
    before = outcome(Path(recipe.run))
    said = rescore(
        Path(recipe.run), ["scorers.long.min_words=3", "scorers.words={type: length, max_words: 9}"], Silent()
    )
    assert said["scorers"]["polite"]["scored"] == 0
    assert said["scorers"]["polite"]["known"] == said["replies"] > 0
    assert said["scorers"]["long"]["scored"] == said["scorers"]["words"]["scored"] == said["replies"]
    again = rescore(Path(recipe.run), ["scorers.long.min_words=3"], Silent())
    assert again["scorers"]["long"] == said["scorers"]["long"] | {"known": said["replies"], "scored": 0}
    after = outcome(Path(recipe.run))
    assert after["policy"] == before["policy"]
    with RunFolder.open(Path(recipe.run), write=False) as folder:
        assert folder.own_scores() == before["scores"], "what decided is what is shown"
    with pytest.raises(RecipeError, match="only scorers and scoring can be changed"):
        rescore(Path(recipe.run), ["sampling.candidates=2"], Silent())


def test_standardised_scores_are_in_units_of_the_bases_own_spread(recipe: rsft.Recipe) -> None:
    whole = "{type: combined, sum: {polite: 1, long: 1}, standardise: true}"
    mine = rsft.load_recipe(
        "scripted.yaml", f"scorers.whole={whole}", "selection=[whole > 0]", "budget.early_rejection=false"
    )
    run(mine)
    with RunFolder.open(Path(mine.run), write=False) as folder:
        scores, trained_on = folder.own_scores(), {prompt.id for prompt in folder.load_prompts("train")}
    base = [of for key, of in scores.items() if key.iteration == 0 and key.prompt_id in trained_on]
    parts = {name: [of[name].value for of in base] for name in ("polite", "long")}
    for of in scores.values():
        if of["whole"].value is not None:
            expected = [(of[name].value - mean(parts[name])) / stdev(parts[name]) for name in parts]
            assert of["whole"].value == pytest.approx(sum(expected))
    again = rescore(Path(mine.run), [], Silent())
    assert again["scorers"]["whole"]["scored"] == 0, "the spread is that of the run"
    changed = rescore(Path(mine.run), ["scorers.long.min_words=3"], Silent())
    assert changed["scorers"]["whole"]["scored"] == changed["replies"], "the spread of the changed part is measured"


def test_a_spread_is_measured_once_in_a_run(recipe: rsft.Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = "{type: combined, sum: {polite: 1, long: 1}, standardise: true}"
    mine = rsft.load_recipe("scripted.yaml", f"scorers.whole={whole}", "selection=[whole > 0]")
    run(mine)
    monkeypatch.setattr("rsft.stages.measure", None)
    with Stages.open(mine, Silent()) as stages:
        stages.standardise()
        fingerprint = stages.parts.scorers["whole"].fingerprint
        said = stages.folder.scores(fingerprints={"whole": fingerprint})
    assert any(of["whole"].value is not None for of in said.values())


def test_what_was_scored_again_before_a_failure_is_kept(recipe: rsft.Recipe) -> None:
    run(recipe)
    Path("mine.py").write_text("def grave(replies):\n    return [1 / ('well' not in r.text) for r in replies]\n")
    with pytest.raises(ScoringError, match="'grave' failed"):
        rescore(Path(recipe.run), ["scorers.grave=mine.py:grave"], Silent())
    with RunFolder.open(Path(recipe.run), write=False) as folder:
        assert sum("grave" in said for said in folder.scores().values()) >= 50


def budget_run(name: str, *overrides: str) -> dict[str, Any]:
    mine = rsft.load_recipe("scripted.yaml", f"run=runs/{name}", *overrides)
    return run(mine) | outcome(Path(mine.run))


def test_early_rejection_changes_nothing_that_is_accepted(recipe: rsft.Recipe) -> None:
    """The same candidates are accepted. (Budgets that count tokens spend elsewhere what it saves.)"""
    budgets = ("{allocate: even}", "{allocate: uniform}", "{allocate: even, defer_after: 2, max_candidates: 60}")
    for number, budget in enumerate(budgets):
        accepted = []
        for early in ("true", "false"):
            said = budget_run(f"{number}_{early}", f"budget={budget}", f"budget.early_rejection={early}")
            keys = [key for key, decision in said["policy"].items() if decision.accepted]
            texts = {candidate.key: candidate.text for candidate in said["candidates"]}
            accepted.append({(k.iteration, k.prompt_id, k.sample_index, texts[k]) for k in keys})
            assert any(c.finish_reason == "ended" for c in said["candidates"]) == (early == "true")
        assert accepted[0] == accepted[1]


def test_the_summary_lists_prompts_at_both_ends(recipe: rsft.Recipe) -> None:
    first, second = budget_run("carried", "budget.carry_over=true")["iterations"]
    for part in (first, second):
        assert part["prompts_solved"] + len(part["unsolved"]) + len(part["deferred"]) + len(part["resting"]) == 12
    assert first["resting"] == []
    assert second["resting"] == first["always_solved"], "who was always solved sits the next one out"
    kept = budget_run("kept")["iterations"][1]
    assert kept["resting"] == []


def test_speculation_waits_for_a_measurement_and_reports_it(recipe: rsft.Recipe) -> None:
    said = "{by: capitals, checkpoints: [3, 5], drop: 0.7, min_correlation: 0.3}"
    Path("mine.py").write_text(
        "def capitals(replies):\n    return [sum(map(str.isupper, r.text[:3])) for r in replies]\n"
    )
    replies = "[Good bye, GOod bye, GOOD bye, GooD bye]"
    overrides = ["scorers.capitals=mine.py:capitals", f"engine.replies={replies}", f"engine.lessons={replies}"]
    overrides += ["scorers.polite={type: length, min_words: 1}", "selection=[polite >= 1, no_duplicates, {cap: 2}]"]
    overrides += [f"budget={{allocate: even, stop_at_accepted: null, speculative: {said}}}"]
    done = budget_run("speculative", *overrides)
    first, second = done["iterations"]
    assert "speculative" not in first
    bars = second["speculative"]["bars"]
    assert [bar["tokens"] for bar in bars] == [3, 5]
    assert bars[0]["correlation"] == pytest.approx(1.0)
    assert second["rejected_by"]["speculative"] > 0
    assert 0.0 <= second["speculative"]["lost"] <= 1.0


def test_damage_to_a_finished_run_is_mended(recipe: rsft.Recipe) -> None:
    summary = run(recipe)
    whole = outcome(Path(recipe.run))
    for kind in ("candidates", "scores", "decisions", "prompts"):
        victim = sorted(Path(recipe.run, kind).glob("*.parquet"))[0]
        victim.write_bytes(victim.read_bytes()[:-9])
        again = run(recipe)
        assert outcome(Path(recipe.run)) == whole
        assert again["gain_over_control"] == summary["gain_over_control"]
