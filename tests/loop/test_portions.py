"""A run whose candidates don't fit into memory: drawn and decided on a few prompts at a time, it comes to the same."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import PrivateAttr
from tests.trust.runs import make_recipe, outcome

import rsft
from rsft import drawing, failpoints, parts
from rsft.drawing import Drawing, portions
from rsft.engines.scripted import ScriptedEngine
from rsft.progress import Silent
from rsft.scorers import Scorer
from rsft.stages import Stages
from rsft.store import RunFolder
from rsft.types import Reply, Score

ROOM = 9
BUDGETS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "tuned": {"sampling.temperature": "tune"},
    "fixed": {"budget": "fixed"},
    "deferring": {"budget": {"defer_after": 1, "stop_at_accepted": 2}},
    "worth": {"budget": {"allocate": "worth"}},
    "harder": {"budget": {"allocate": "harder", "carry_over": True}},
    "capped": {"budget": {"max_candidates": 19}},
    "speculative": {"budget": {"speculative": {"by": "words", "checkpoints": [2], "drop": 0.2, "min_correlation": 0}}},
    "all at once": {"selection": ["polite >= 1", {"no_duplicates": {"across_prompts": True}}]},
    "a share": {"selection": ["polite >= 1", {"quantile": {"share": 0.5, "by": "words"}}]},
}
MOST_OF_ONE = {"harder": 16}


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_recipe()
    rows = [{"id": f"train{i}", "prompt": f"question {i} of train", "reference": f"Good reply {i}"} for i in range(12)]
    Path("train.jsonl").write_text("\n".join(map(json.dumps, rows)))


@dataclass
class Asked:
    """What engines were asked for, and what was taken from the folder, at once of an iteration's train prompts; and of
    how many anything at all."""

    requests: list[int] = field(default_factory=list)
    stock: list[int] = field(default_factory=list)
    calls: int = 0


@pytest.fixture
def few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """Memory for `ROOM` candidates at a time, and parts of as many."""
    asked = Asked()
    sample_, stock_ = ScriptedEngine.sample, Drawing._stock

    def sample(self: Any, policy: Any, requests: Any, watch: Any = None, pace: Any = None) -> Any:
        asked.calls += 1
        if requests[0].key.iteration and requests[0].prompt.id.startswith("train"):
            asked.requests.append(len(requests))
        return sample_(self, policy, requests, watch, pace)

    def stock(self: Any, iteration: int, *arguments: Any) -> Any:
        found = stock_(self, iteration, *arguments)
        if iteration and any(key.prompt_id.startswith("train") for key in found):
            asked.stock.append(len(found))
        return found

    monkeypatch.setattr(drawing, "room", lambda params: ROOM)
    monkeypatch.setattr(parts, "PART", ROOM)
    monkeypatch.setattr(ScriptedEngine, "sample", sample)
    monkeypatch.setattr(Drawing, "_stock", stock)
    return asked


def recipe(name: str, run: str) -> rsft.Recipe:
    changed = {"sampling.temperature": 0.8} | BUDGETS[name] | {"run": run}
    return rsft.load_recipe("scripted.yaml", *(f"{key}={json.dumps(value)}" for key, value in changed.items()))


@pytest.fixture(params=BUDGETS)
def whole(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[str, dict[str, Any]]:
    """A run that had room for everything, and what it came to."""
    rsft.run(recipe(request.param, "whole"))
    return request.param, outcome("whole")


def test_what_is_drawn_in_portions_is_the_same(
    whole: tuple[str, dict[str, Any]], request: pytest.FixtureRequest
) -> None:
    name, expected = whole
    asked = request.getfixturevalue("few_at_a_time")
    rsft.run(recipe(name, "portions"))
    assert outcome("portions") == expected
    if name != "tuned":  # at some temperatures, on a few prompts, which are drawn together
        # Only a prompt that may have more than that by itself is a portion of more.
        most = max(ROOM, MOST_OF_ONE.get(name, 0))
        assert 0 < max(asked.requests) <= most
        assert max(asked.stock, default=0) <= most


class Interrupted(KeyboardInterrupt):
    """As by hand."""


@pytest.mark.parametrize("after", [3, 14])
def test_an_interrupted_run_goes_on_in_portions(
    whole: tuple[str, dict[str, Any]], after: int, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, expected = whole
    request.getfixturevalue("few_at_a_time")
    left = [after]

    def listener(point: str) -> None:
        left[0] -= point == "candidates.committed"
        if left[0] == 0:
            raise Interrupted

    with failpoints.listening(listener), pytest.raises(Interrupted):
        rsft.run(recipe(name, "portions"))
    rsft.run(recipe(name, "portions"))
    assert outcome("portions") == expected


def test_what_got_damaged_after_a_decision_is_drawn_again_in_portions(few_at_a_time: Asked) -> None:
    rsft.run(recipe("as it is", "run"))
    before = outcome("run")
    with RunFolder.open(Path("run"), write=False) as folder:
        lost = folder.ledger.segments("candidates", "2")[0]
    (Path("run") / lost.path).write_bytes(b"nonsense")
    few_at_a_time.calls = 0
    rsft.run(recipe("as it is", "run"))
    after = outcome("run")
    assert few_at_a_time.calls, "what was lost is drawn again"
    for kind in ("candidates", "scores", "decisions", "stages"):
        assert after[kind] == before[kind], kind
    few_at_a_time.calls = 0
    with RunFolder.open(Path("run"), write=True) as folder:
        folder.reopen()
    rsft.run(recipe("as it is", "run"))
    assert not few_at_a_time.calls, "what is whole again is left alone"


def test_a_score_that_failed_stays_so_once_it_has_come_to_count(tmp_path: Path) -> None:
    rsft.run(recipe("as it is", "run"))
    said = rsft.load_recipe("scripted.yaml", "run=run", "sampling.temperature=0.8")
    with Stages.open(said, Silent()) as stages:
        drawing_, folder = stages.drawing, stages.folder
        prompt_id, generators = "train0", (folder.stage_done(1, "policy", "sample") or {})["generators"]
        changed = Fickle()
        drawing_.parts = replace(drawing_.parts, scorers={"polite": changed})
        first = drawing_._stock(1, generators, [prompt_id])
        assert all(said["polite"].value is None for _, said in first.values())
        asked = changed.asked
        again = drawing_._stock(1, generators, [prompt_id], {prompt_id: 1})
        assert changed.asked > asked, "what has not come to count yet is asked about again"
        values = {key.sample_index: said["polite"].value for key, (_, said) in again.items()}
        assert values == {index: None if index == 0 else 1.0 for index in values}
        assert len(values) > 1


class Fickle(Scorer):
    """Fails on everything the first time that it is asked."""

    _asked: int = PrivateAttr(0)

    @property
    def asked(self) -> int:
        return self._asked

    def score(self, replies: Sequence[Reply]) -> list[Score]:
        self._asked += 1
        return [Score.failed("not yet") if self._asked == 1 else Score(1.0) for _ in replies]


@given(st.dictionaries(st.text(max_size=3), st.integers(0, 12)), st.integers(1, 20))
def test_portions_hold_every_prompt_once_and_no_more_than_there_is_room_for(wanted: dict[str, int], most: int) -> None:
    found = list(portions(wanted, most))
    assert [prompt_id for some in found for prompt_id in some] == list(wanted)
    for some in found:
        assert len(some) == 1 or sum(wanted[prompt_id] for prompt_id in some) <= most


def test_more_memory_is_room_for_more_and_longer_replies_for_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    def room(free: int, tokens: int) -> int:
        monkeypatch.setattr(drawing, "available_memory", lambda: free)
        return drawing.room(rsft.SamplingParams(max_tokens=tokens))

    assert room(64 << 30, 100) > room(16 << 30, 100) > room(16 << 30, 1000) > 0
    assert room(0, 100) > 0, "the least that an engine can work on"
