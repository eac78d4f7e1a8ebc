"""Scorers that say nothing, nonsense, too much or too little: never accepted, always recorded; and too much of it
stops the run."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from runs import elsewhere, outcome

import rsft
from rsft.errors import ScoringError
from rsft.loop import run
from rsft.store import RunFolder

BAD = {
    "nan": ("[float('nan') if bad(r) else 1.0 for r in replies]", "returned nan"),
    "infinity": ("[float('-inf') if bad(r) else 1.0 for r in replies]", "returned -inf"),
    "nothing": ("[None if bad(r) else 1.0 for r in replies]", "returned None"),
    "text": ("['good' if bad(r) else 1.0 for r in replies]", "expected a number"),
    "exception": ("[1.0 if not bad(r) else 1 / 0 for r in replies]", "ZeroDivisionError"),
    "too few": ("[1.0] * (len(replies) - 1)", "replies"),
    "too many": ("[1.0] * (len(replies) + 1)", "replies"),
    "no list": ("7", "int"),
    "hang": ("[1.0 if not bad(r) else time.sleep(1e6) for r in replies]", "took more than 0.1 s"),
}


def with_scorer(name: str, body: str, max_failed: float) -> rsft.Recipe:
    Path("bad.py").write_text(
        f"import time\n\ndef bad(reply):\n    return 'well' in reply.text\n\ndef score(replies):\n    return {body}\n"
    )
    return elsewhere(
        f"runs/{name}",
        "scorers.moody=bad.py:score",
        "selection=[moody >= 1, {cap: 2}]",
        f"scoring={{max_failed: {max_failed}, max_seconds: 0.1}}",
        "sampling={candidates: 12, temperature: 0.7, max_tokens: 40}",
        "loop={iterations: 1, control: none}",
        "evaluation={samples: 4}",
        "budget=fixed",
    )


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_score_is_never_accepted_and_always_recorded(recipe: rsft.Recipe, kind: str) -> None:
    body, reason = BAD[kind]
    mine = with_scorer("tolerant", body, 1)
    everything_fails = kind in ("too few", "too many", "no list")
    if everything_fails:
        with pytest.raises(rsft.errors.SelectionError, match="accepted none"):
            run(mine)
    elif kind == "hang":  # a batch that hangs takes the others in it along, and on a busy machine one batch holds all
        with contextlib.suppress(rsft.errors.SelectionError):
            run(mine)
    else:
        run(mine)
    said = outcome(mine.run)
    texts = {candidate.key: candidate.text for candidate in said["candidates"] if candidate.is_reply}
    failed = {key: scores["moody"].failure for key, scores in said["scores"].items() if scores["moody"].value is None}
    hit = {key for key, text in texts.items() if "well" in text}
    assert hit
    assert hit <= failed.keys(), "each is recorded"
    assert all(reason in str(failed[key]) for key in hit)
    assert said["scores"].keys() >= texts.keys(), "and nothing is missing"
    if kind != "hang":
        assert everything_fails or not failed.keys() & texts.keys() - hit
    decisions = said["decisions"].get("policy", {})
    assert not any(decision.accepted for key, decision in decisions.items() if key in failed)


def test_too_many_bad_scores_stop_the_run_and_none_is_lost(recipe: rsft.Recipe) -> None:
    mine = with_scorer("strict", BAD["nan"][0], 0.02)
    with pytest.raises(ScoringError, match="'moody' failed on"):
        run(mine)
    with RunFolder.open(Path(mine.run), write=False) as folder:
        drawn = folder.candidates()
        assert {candidate.key for candidate in drawn} == folder.scores().keys()
        assert not folder.decisions("policy")
