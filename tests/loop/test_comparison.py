"""Two policies side by side: differences on the prompts of both, judged alike, regressions first."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import rsft
from command import Command
from rsft.comparison import compare
from rsft.errors import RecipeError, RunError
from rsft.loop import run
from rsft.metrics import mcnemar
from rsft.reading import Filter, heldout_replies

RECIPE = """
model: none
engine:
  type: scripted
  replies: ["First: {prompt}", "Second, and longer: {prompt}", "Third: {prompt}"]
  lessons: ["Now I say to {prompt}", "And again: {prompt}", "Bad"]
prompts: {train: train.jsonl, heldout: heldout.jsonl}
sampling: {candidates: 4, max_tokens: 40}
scorers: {polite: mine.py:polite, long: {type: length, min_words: 2}}
selection: [polite >= 1, {cap: 2}]
training: {type: "null"}
evaluation: {samples: 3, scorers: {words: mine.py:words}}
guards: {plateau: off}
loop: {iterations: 2}
"""
SCORERS = """
from zlib import crc32


def polite(replies):
    return [crc32(reply.text.encode()) % 2 for reply in replies]


def rude(replies):
    return [1 - value for value in polite(replies)]


def words(replies):
    return [len(reply.text.split()) for reply in replies]
"""
HELDOUT = 24


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("scripted.yaml").write_text(RECIPE)
    Path("mine.py").write_text(SCORERS)
    write_prompts()


def write_prompts(heldout: int = HELDOUT, *, others: int = 0) -> None:
    """So many prompts; the last `others` of the held-out ones are other ones of the same ids."""
    for split, count in (("train", 8), ("heldout", heldout)):
        texts = [f"question {i} of {split}" + " again" * (i >= count - others) for i in range(count)]
        rows = [{"id": f"{split}{i}", "prompt": text} for i, text in enumerate(texts)]
        Path(f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))


def made(name: str, *overrides: str) -> str:
    """A run, by its folder."""
    run(rsft.load_recipe("scripted.yaml", f"run=runs/{name}", *overrides))
    return f"runs/{name}"


def passes(folder: str, iteration: int) -> dict[str, bool]:
    """Which held-out prompts pass, as `rsft show --heldout` has it."""
    found = heldout_replies(Path(folder), Filter(iteration=iteration, limit=1000))
    return {reply["prompt_id"]: reply["accepted"] for reply in found}


def test_iterations_of_a_run_and_what_changed_from_one_to_the_other() -> None:
    folder = made("one")
    said = compare(f"{folder}@0", "@2", limit=100)
    had, has = passes(folder, 0), passes(folder, 2)
    lost = sorted(prompt_id for prompt_id in had if had[prompt_id] and not has[prompt_id])
    won = sorted(prompt_id for prompt_id in had if has[prompt_id] and not had[prompt_id])
    assert lost
    assert won
    crossed = said["acceptance_changes"]
    assert (crossed["only_a"], crossed["only_b"]) == (len(lost), len(won)) == (said["worse"], said["better"])
    assert crossed["both"] + crossed["neither"] == HELDOUT - len(lost) - len(won)
    assert crossed["p"] == mcnemar(len(lost), len(won))
    assert [one["prompt_id"] for one in said["regressions"]] == lost
    assert sorted(one["prompt_id"] for one in said["improvements"]) == won
    worst = said["regressions"][0]
    assert (worst["a"]["accepted"], worst["b"]["accepted"], worst["difference"]) == (True, False, -1.0)
    assert worst["b"]["rule"] == "polite >= 1"
    acceptance = said["scores"]["acceptance"]
    assert acceptance["difference"]["value"] == pytest.approx(acceptance["b"] - acceptance["a"])
    assert acceptance["difference"]["value"] == pytest.approx((len(won) - len(lost)) / HELDOUT)
    assert set(said["scores"]) == {"acceptance", "words", "polite", "long"}
    assert said["sampled"]["samples"] == 3
    assert said["sampled"]["best_of"]["a"] >= said["sampled"]["acceptance"]["a"]
    assert said["recipe_differences"] == []
    backwards = compare(f"{folder}@2", f"{folder}@0", limit=100)
    assert [one["prompt_id"] for one in backwards["improvements"]] == lost[::-1]
    assert backwards["scores"]["words"]["difference"]["value"] == -said["scores"]["words"]["difference"]["value"]


def test_a_run_without_an_iteration_is_what_it_hands_back() -> None:
    folder = made("one")
    handed_back = json.loads(Path(folder, "summary.json").read_text())["handed_back"]
    said = compare(folder, f"{folder}@1:control")
    assert (said["a"]["iteration"], said["b"]["arm"]) == (handed_back, "control")
    same = compare(folder, folder)
    assert (same["worse"], same["better"], same["acceptance_changes"]["p"]) == (0, 0, 1.0)
    assert same["scores"]["acceptance"]["difference"] == {"value": 0.0, "low": 0.0, "high": 0.0, "n": HELDOUT}


def test_the_order_is_that_of_the_score_that_was_asked_for() -> None:
    folder = made("one")
    said = compare(f"{folder}@0", f"{folder}@2", by="words", limit=100)
    falls = [one["difference"] for one in said["regressions"]]
    assert falls == sorted(falls)
    assert all(fall < 0 for fall in falls)
    rises = [one["difference"] for one in said["improvements"]]
    assert rises == sorted(rises, reverse=True)
    assert len(compare(f"{folder}@0", f"{folder}@2", by="words", limit=2)["improvements"]) == min(2, len(rises))
    with pytest.raises(RecipeError, match=r"no score 'wrods'. Did you mean 'words'"):
        compare(folder, folder, by="wrods")


def test_runs_of_other_rules_are_judged_by_those_of_the_first() -> None:
    first, second = made("one"), made("two", "selection=[long >= 1]")
    said = compare(f"{first}@0", f"{second}@0", limit=100)
    assert said["rules"] == {"a": ["polite >= 1"], "b": ["polite >= 1"]}
    assert said["recipe_differences"] == ['selection: ["polite >= 1", {"cap": 2}] → ["long >= 1"]']
    assert said["scores"]["acceptance"]["difference"]["value"] == 0.0, "the same replies, judged alike"
    assert not any("different scorers" in warning for warning in said["warnings"])


def test_what_other_scorers_scored_is_not_judged_alike_and_that_is_said() -> None:
    first = made("one")
    second = made("two", "scorers.polite=mine.py:rude")
    said = compare(f"{first}@0", f"{second}@0")
    assert "different scorers" in said["warnings"][0]
    assert set(said["scores"]) == {"acceptance", "words", "long"}, "polite is not the same in both"
    assert said["scores"]["acceptance"]["b"] == pytest.approx(1 - said["scores"]["acceptance"]["a"])


def test_only_prompts_that_are_the_same_in_both_count() -> None:
    first = made("one")
    write_prompts(HELDOUT - 4, others=3)
    second = made("two")
    said = compare(f"{first}@0", f"{second}@0")
    assert said["prompts"] == HELDOUT - 7
    assert said["left_out"] == {"a": 7, "b": 3}
    write_prompts(others=HELDOUT)
    with pytest.raises(RunError, match="no held-out prompt in common"):
        compare(first, made("three"))


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("runs/one@7", r"@7 was not measured on held-out prompts. Measured are runs/one@0, runs/one@1, "),
        ("runs/one@1:unfiltered", "@1:unfiltered was not measured"),
        ("runs/none", "not a run folder"),
        ("runs/none@2", "not a run folder"),
    ],
)
def test_what_is_not_there_is_said(name: str, says: str) -> None:
    made("one")
    with pytest.raises(RunError, match=says):
        compare("runs/one", name)


def test_a_run_without_heldout_prompts_can_not_be_compared() -> None:
    folder = made("blind", "prompts.heldout=null", "loop.iterations=1")
    with pytest.raises(RunError, match="measured no policy on held-out prompts"):
        compare(folder, folder)


def test_on_the_command_line(cli: Command) -> None:
    folder = made("one")
    said = cli("compare", f"{folder}@0", f"{folder}@2", "--limit", "2")
    assert said.code == 0
    places = [said.out.index(words) for words in ("B − A", "McNemar", "Worse by acceptance", "Better by acceptance")]
    assert places == sorted(places), "regressions before improvements"
    assert "of which 2 are shown" in said.out
    assert "fails by polite >= 1" in said.out
    assert "fakes took part" in said.out
    as_json: dict[str, Any] = cli("compare", f"{folder}@0", f"{folder}@2", "--json").json
    assert as_json["a"]["name"].endswith("@0")
    assert cli("compare", folder, "runs/none").code == 2


@pytest.mark.parametrize(
    ("lost", "won", "p"), [(0, 0, 1.0), (1, 1, 1.0), (5, 0, 2 / 32), (0, 5, 2 / 32), (1, 3, 10 / 16)]
)
def test_mcnemar_by_hand(lost: int, won: int, p: float) -> None:
    assert mcnemar(lost, won) == pytest.approx(p)
