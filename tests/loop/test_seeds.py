"""Several seeds of one recipe, and what they say together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import rsft
from questions import write_questions
from rsft.cli.app import app
from rsft.errors import RunError
from rsft.loop import run
from rsft.metrics import crossed_mean
from rsft.reading import Filter, heldout_replies
from rsft.seeds import run_seeds

RECIPE = """
model: none
engine: {type: scripted, replies: ["Good: {prompt}", "Bad: {prompt}"], lessons: ["Good: {prompt}", "Bad", "Good"]}
prompts: {train: train.jsonl, heldout: heldout.jsonl}
sampling: {candidates: 4, max_tokens: 40}
scorers: {polite: {type: format, pattern: "Good.*"}}
selection: [polite >= 1, {cap: 2}]
training: {type: "null"}
evaluation: {samples: 2, scorers: {long: mine.py:words}, best_by: acceptance}
guards: {plateau: off}
loop: {iterations: 2}
seed: 5
"""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("scripted.yaml").write_text(RECIPE)
    Path("mine.py").write_text("def words(replies):\n    return [len(r.text.split()) for r in replies]\n")
    write_questions(train=8, heldout=10)


def passes(folder: str, iteration: int, arm: str) -> list[float]:
    """Whether each held-out prompt's reply passes, as `rsft show --heldout` has it."""
    shown = heldout_replies(Path(folder), Filter(iteration=iteration, arm=arm, limit=100))
    return [float(reply["accepted"]) for reply in sorted(shown, key=lambda reply: reply["prompt_id"])]


def timeless(part: dict[str, Any]) -> dict[str, Any]:
    """An iteration of a summary without what differs from one time to the next."""
    own = {key: said for key, said in part.items() if key not in ("seconds", "control", "unneeded_tokens")}
    return own | ({"control": timeless(part["control"])} if "control" in part else {})


def test_each_seed_is_a_run_of_its_own_and_all_are_pooled_over_seeds_and_prompts() -> None:
    summary = run_seeds(rsft.load_recipe("scripted.yaml"), 3)
    assert [Path(one).name for one in summary["seeds"]] == ["seed_5", "seed_6", "seed_7"]
    assert json.loads(Path("runs/scripted/summary.json").read_text()) == summary
    alone = run(rsft.load_recipe("scripted.yaml", "seed=6", "run=runs/alone"))
    second = json.loads(Path(summary["seeds"][1], "summary.json").read_text())
    assert [timeless(part) for part in alone["iterations"]] == [timeless(part) for part in second["iterations"]]
    second_iteration = summary["iterations"][1]
    for arm in ("policy", "control"):
        table = [passes(one, 2, arm) for one in summary["seeds"]]
        expected = crossed_mean(table)
        said = second_iteration[arm]["heldout_acceptance"]
        assert (said["value"], said["low"], said["high"]) == pytest.approx(
            (expected.value, max(0.0, expected.low), min(1.0, expected.high))
        )
        assert second_iteration[arm]["by_seed"] == pytest.approx([sum(row) / len(row) for row in table])
    gain = summary["gain_over_base"]
    differences = [
        [after - before for after, before in zip(passes(one, best, "policy"), passes(one, 0, "policy"), strict=True)]
        for one, best in zip(summary["seeds"], summary["best_iterations"], strict=True)
    ]
    assert gain["value"] == pytest.approx(crossed_mean(differences).value)
    assert gain["n"] == 10
    assert summary["heldout_score_gains"]["long"]["over_control"]["n"] == 10


def test_seeds_go_on_and_more_of_them_are_added() -> None:
    recipe = rsft.load_recipe("scripted.yaml")
    first = run_seeds(recipe, 1)
    assert first["gain_over_base"]["n"] == 10
    ledger = Path("runs/scripted/seed_5/ledger.sqlite").read_bytes()
    assert run_seeds(recipe, 1) == first, "what is finished is left alone"
    assert len(run_seeds(recipe, 2)["seeds"]) == 2
    assert Path("runs/scripted/seed_5/ledger.sqlite").read_bytes() == ledger


def test_a_group_and_a_single_run_are_not_mixed_up() -> None:
    recipe = rsft.load_recipe("scripted.yaml")
    run_seeds(recipe, 1)
    with pytest.raises(RunError, match="several seeds"):
        run(recipe)
    with pytest.raises(RunError, match="seed_5, for example"):
        heldout_replies(Path("runs/scripted"), Filter())
    run(rsft.load_recipe("scripted.yaml", "run=runs/single"))
    with pytest.raises(RunError, match="holds a single run"):
        run_seeds(rsft.load_recipe("scripted.yaml", "run=runs/single"), 2)


def test_a_group_that_was_moved_goes_on_where_it_is() -> None:
    first = run_seeds(rsft.load_recipe("scripted.yaml"), 2)
    Path("runs/scripted").rename("runs/moved")
    again = run_seeds(rsft.load_recipe("scripted.yaml", "run=runs/moved"), 2)
    assert [Path(one).parent.name for one in again["seeds"]] == ["moved", "moved"]
    assert again["gain_over_control"] == first["gain_over_control"]
    assert json.loads(Path("runs/moved/summary.json").read_text()) == again


def test_a_heldout_scorer_that_fails_on_everything_leaves_no_gain() -> None:
    Path("mine.py").write_text("def words(replies):\n    return [None for r in replies]\n")
    summary = run_seeds(rsft.load_recipe("scripted.yaml", "scoring.max_failed=1.0"), 2)
    assert summary["heldout_score_gains"]["long"] == {"over_base": None, "over_control": None}
    assert summary["gain_over_base"]["n"] == 10


def test_on_the_command_line() -> None:
    said = CliRunner().invoke(app, ["run", "scripted.yaml", "--seeds", "2"])
    assert said.exit_code == 0
    assert "under 2 seeds" in said.output
    assert "Gain over control:" in said.output
    assert "runs/scripted/seed_6" in said.output
    as_json = CliRunner().invoke(app, ["run", "scripted.yaml", "--seeds", "2", "--json"])
    assert json.loads(as_json.stdout)["finished"]
