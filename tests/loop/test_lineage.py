"""What a run set out from, what it took back, and what it must never do again: read from its notes."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import rsft
from questions import write_questions
from rsft.cleaning import clean
from rsft.errors import RunError
from rsft.lineage import disowned, set_out_from, taken_back
from rsft.loop import run
from rsft.progress import Silent
from rsft.reselection import reselect
from rsft.retraining import retrain
from rsft.store import RunFolder
from rsft.training.null import NullTraining

RECIPE = """
model: none
engine: {type: scripted, replies: ["Good: {prompt}", "Good and well: {prompt}", "Bad"], lessons: ["Good", "Bad"]}
prompts: {train: train.jsonl, heldout: heldout.jsonl}
sampling: {candidates: 4, max_tokens: 60}
scorers: {polite: {type: format, pattern: "Good.*"}, flaky: mine.py:flaky}
scoring: {max_failed: 1.0}
selection: [polite >= 1, {cap: 2}]
training: {type: "null"}
evaluation: {samples: 0}
guards: {plateau: off}
loop: {iterations: 2, control: none}
"""
FLAKY = """
from pathlib import Path


def flaky(replies):
    return [None if Path("broken").exists() and len(r.prompt.id) % 2 else 1.0 for r in replies]
"""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("scripted.yaml").write_text(RECIPE)
    Path("mine.py").write_text(FLAKY)
    write_questions(train=12, heldout=8)


def noted(*verdicts: dict[str, Any]) -> Path:
    """A run folder whose guards said this, iteration by iteration."""
    path = Path("noted")
    with RunFolder.open(path, write=True) as folder:
        for iteration, verdict in enumerate(verdicts, 1):
            folder.begin_stage(iteration, "policy", "guard")
            folder.finish_stage(iteration, "policy", "guard", verdict)
    return path


def test_what_was_rolled_back_is_so_only_for_what_comes_after() -> None:
    path = noted(
        {"act": None, "best": 1, "disowned": False},
        {"act": None, "best": 1, "disowned": False},
        {"act": "roll_back", "best": 1, "disowned": True},
        {"act": None, "best": 4, "disowned": False},
    )
    with RunFolder.open(path, write=False) as folder:
        assert [set_out_from(folder, iteration) for iteration in range(1, 6)] == [0, 1, 2, 1, 4]
        assert [taken_back(folder, iteration) for iteration in range(1, 6)] == [set(), set(), set(), {2, 3}, {2, 3}]
        assert disowned(folder) == {3}


def learnt(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, set[int]]]:
    """From now on, each training's start and the iterations of its rows."""
    found: list[tuple[str, set[int]]] = []
    honest = NullTraining.train

    def listening(self: NullTraining, network: Any, accepted: Sequence[Any], start: Any, *rest: Any) -> Any:
        found.append((start.hash, {candidate.key.iteration for _, candidate in accepted}))
        return honest(self, network, accepted, start, *rest)

    monkeypatch.setattr(NullTraining, "train", listening)
    return found


def test_training_again_on_a_named_set_learns_what_its_iteration_had_and_from_where_that_set_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The last iteration was rolled back: what it accepted is there all the same for who asks for it."""
    back = ["guards.regression=roll_back", "training.start_from=policy", "training.learn_from=iteration"]
    recipe = rsft.load_recipe("scripted.yaml", "loop.iterations=1", *back, "run=runs/one")
    run(recipe)
    with RunFolder.open(Path("runs/one"), write=True) as folder:
        note = folder.stage_done(1, "policy", "guard")
        assert note is not None
        folder.finish_stage(1, "policy", "guard", {**note, "act": "roll_back", "best": 0})
    reselect(Path("runs/one"), ["selection=[polite >= 1]"], "more")
    found = learnt(monkeypatch)
    assert retrain(Path("runs/one"), "more", Silent())["rows"] > 0
    assert found == [("scripted", {1})]


def test_what_was_decided_is_not_drawn_anew_when_a_failed_scorer_recovers() -> None:
    """With a cap on all candidates, a prompt that ends sooner would leave room for another one."""
    capped = ["budget={stop_at_accepted: 1, max_candidates: 30}", "selection=[polite >= 1, flaky >= 1, {cap: 1}]"]
    recipe = rsft.load_recipe("scripted.yaml", "run=runs/one", *capped)
    Path("broken").touch()
    run(recipe)
    Path("broken").unlink()
    with RunFolder.open(Path("runs/one"), write=True) as folder:
        before = folder.decisions("policy"), folder.candidates()
        folder.reopen()
    run(recipe)
    with RunFolder.open(Path("runs/one"), write=False) as folder:
        assert (folder.decisions("policy"), folder.candidates()) == before


def test_a_damaged_run_is_neither_cleaned_nor_taken_over_from() -> None:
    run(rsft.load_recipe("scripted.yaml", "run=runs/one"))
    segment = next(Path("runs/one/candidates").glob("*.parquet"))
    content = bytearray(segment.read_bytes())
    content[len(content) // 2] ^= 1
    segment.write_bytes(content)
    with pytest.raises(RunError, match=r"damaged: mend it first \(rsft resume runs/one\)"):
        clean(Path("runs/one"))
    with pytest.raises(RunError, match=r"is damaged: rsft resume .*runs/one first"):
        run(rsft.load_recipe("scripted.yaml", "run=runs/two"), fork=Path("runs/one"))
    run(rsft.load_recipe("scripted.yaml", "run=runs/one"))
    assert [one["path"] for one in clean(Path("runs/one"))["removed"]] == ["damaged"]
    shutil.rmtree("runs/two")
    assert run(rsft.load_recipe("scripted.yaml", "run=runs/two"), fork=Path("runs/one"))["finished"]
