"""A run whose candidates don't fit into memory: drawn and decided on a few prompts at a time, it comes to the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.trust.runs import make_recipe, outcome

import rsft
from rsft import drawing, failpoints, parts
from rsft.drawing import Order, portions
from rsft.engines.scripted import ScriptedEngine
from rsft.store import RunFolder

BUDGETS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "fixed": {"budget": "fixed"},
    "deferring": {"budget": {"defer_after": 1, "stop_at_accepted": 2}},
    "worth": {"budget": {"allocate": "worth"}},
    "harder": {"budget": {"allocate": "harder", "carry_over": True}},
    "capped": {"budget": {"max_candidates": 19}},
    "speculative": {"budget": {"speculative": {"by": "words", "checkpoints": [2], "drop": 0.2, "min_correlation": 0}}},
    "all at once": {"selection": ["polite >= 1", {"no_duplicates": {"across_prompts": True}}]},
    "a share": {"selection": ["polite >= 1", {"quantile": {"share": 0.5, "by": "words"}}]},
}


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_recipe()
    rows = [{"id": f"train{i}", "prompt": f"question {i} of train", "reference": f"Good reply {i}"} for i in range(12)]
    Path("train.jsonl").write_text("\n".join(map(json.dumps, rows)))


@pytest.fixture
def few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Memory for nine candidates at a time, and parts of as many. Gives the numbers that engines were asked for."""
    asked: list[int] = []
    honest = ScriptedEngine.sample

    def sample(self: Any, policy: Any, requests: Any, watch: Any = None, pace: Any = None) -> Any:
        asked.append(len(requests))
        return honest(self, policy, requests, watch, pace)

    monkeypatch.setattr(drawing, "room", lambda params: 9)
    monkeypatch.setattr(parts, "PART", 9)
    monkeypatch.setattr(ScriptedEngine, "sample", sample)
    return asked


def recipe(name: str, run: str) -> rsft.Recipe:
    changed = BUDGETS[name] | {"run": run}
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
    # Held-out replies, and those that scores are measured by, are few, and drawn together.
    assert sorted(asked)[len(asked) // 2] <= 9


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


def test_what_got_damaged_after_a_decision_is_drawn_again_in_portions(few_at_a_time: list[int]) -> None:
    rsft.run(recipe("as it is", "run"))
    before = outcome("run")
    with RunFolder.open(Path("run"), write=False) as folder:
        lost = folder.ledger.segments("candidates", "2")[0]
    (Path("run") / lost.path).write_bytes(b"nonsense")
    few_at_a_time.clear()
    rsft.run(recipe("as it is", "run"))
    after = outcome("run")
    assert few_at_a_time, "what was lost is drawn again"
    for kind in ("candidates", "scores", "decisions", "stages"):
        assert after[kind] == before[kind], kind
    few_at_a_time.clear()
    with RunFolder.open(Path("run"), write=True) as folder:
        folder.reopen()
    rsft.run(recipe("as it is", "run"))
    assert not few_at_a_time, "what is whole again is left alone"


@given(st.dictionaries(st.text(max_size=3), st.integers(0, 12)), st.integers(1, 20))
def test_portions_hold_every_prompt_once_and_no_more_than_there_is_room_for(wanted: dict[str, int], most: int) -> None:
    found = list(portions(wanted, most))
    assert [prompt_id for some in found for prompt_id in some] == list(wanted)
    for some in found:
        assert len(some) == 1 or sum(wanted[prompt_id] for prompt_id in some) <= most


def test_more_memory_is_room_for_more_and_longer_replies_for_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    import psutil

    def room(free: int, tokens: int) -> int:
        monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"available": free}))
        return drawing.room(Order({}, rsft.SamplingParams(max_tokens=tokens)).params)

    assert room(64 << 30, 100) > room(16 << 30, 100) > room(16 << 30, 1000) > 0
    assert room(0, 100) > 0, "the least that an engine can work on"
