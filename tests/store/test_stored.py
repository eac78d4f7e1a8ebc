"""What is read by columns is what the nouns say: places, scores, what is missing, what comes first, distributions."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from rsft.config import recipe_yaml
from rsft.config.load import validate
from rsft.decided import counts_by_rule, first_decided
from rsft.distributions import distributions
from rsft.parts import whole_pool
from rsft.reading import Filter, decided_candidates, prompts_of
from rsft.selection.pool import End
from rsft.store import RunFolder, ScoreRow, segments
from rsft.types import Candidate, CandidateKey, Decision, Message, Prompt, Score

SCORERS = {"facts": "f1", "relevance": "r1"}
RULES = ["facts >= 1", "relevance >= 0.5"]
PROMPTS = [Prompt(f"p{i}", (Message("user", f"question {i}"),), ()) for i in range(9)]
SAMPLES = 5


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two iterations of candidates in any order, cut into many segments and groups; the prompt p8 rests in the second,
    and of the others some candidates are missing."""
    monkeypatch.setattr(segments, "MERGED_AT_ONCE", 4)
    monkeypatch.setattr(segments, "GROUP_ROWS", 7)
    monkeypatch.setattr(segments, "_SMALL_ROWS", (16, 48))
    lots = random.Random(0)
    said = {"run": str(tmp_path / "run"), "model": "none", "prompts": {"train": "none.jsonl"}, "selection": RULES}
    said |= {"scorers": dict.fromkeys(SCORERS, "one_line"), "sampling": {"candidates": SAMPLES}}
    with RunFolder.open(tmp_path / "run", write=True) as folder:
        folder.write_text("recipe.yaml", recipe_yaml(validate(said, where="test")))
        folder.save_prompts(PROMPTS, [])
        folder.note_scorers(SCORERS, {})
        for iteration in (1, 2):
            candidates, scores = drawn(lots, iteration)
            for start in range(0, len(candidates), 4):
                some = candidates[start : start + 4]
                folder.commit(candidates=some, scores=[row for c in some for row in scores[c.key]])
            other = Candidate(CandidateKey(iteration, "p0", 0, "other"), "by another", (1,), "stop", 0.0, 0.0)
            folder.commit(candidates=[other], scores=[ScoreRow(other.key, "facts", "f1", Score(1.0))])
            folder.decide("policy", ((c.key, decision(c, scores[c.key])) for c in candidates))
    return tmp_path / "run"


def drawn(lots: random.Random, iteration: int) -> tuple[list[Candidate], dict[CandidateKey, list[ScoreRow]]]:
    keys = [
        CandidateKey(iteration, prompt.id, index, lots.choice(["g1", "g2"]))
        for prompt in (PROMPTS if iteration == 1 else PROMPTS[:-1])
        for index in range(SAMPLES)
        if lots.random() < 0.8
    ]
    lots.shuffle(keys)
    reasons = ("stop", "stop", "stop", "length", "ended")
    candidates = [
        Candidate(key, f"reply {key}", tuple(range(lots.randint(1, 9))), lots.choice(reasons), -1.0, -1.0)
        for key in keys
    ]
    scores = {
        key: [
            ScoreRow(key, "facts", "f1", Score(float(lots.randint(0, 1)), "some of them")),
            ScoreRow(key, "relevance", "r0", Score(9.0)),
            ScoreRow(key, "relevance", "r1", Score(lots.random()) if lots.random() < 0.8 else Score.failed("no")),
        ]
        for key in keys
    }
    return candidates, scores


def decision(candidate: Candidate, scores: list[ScoreRow]) -> Decision:
    accepted = candidate.finish_reason == "stop" and scores[0].score.value == 1.0
    return Decision(accepted, "accepted" if accepted else "facts >= 1", "because")


def test_columns_say_what_nouns_say(run: Path) -> None:
    with RunFolder.open(run, write=False) as folder:
        decided, scores = folder.decisions("policy", iteration=2), folder.own_scores(iteration=2)
        candidates = {candidate.key: candidate for candidate in folder.candidates(iteration=2)}
        stored = whole_pool(folder, 2, SCORERS)
        keys = list(stored.keys.all(2))
        assert keys == list(decided)
        assert stored.accepted_N.tolist() == [decision.accepted for decision in decided.values()]
        assert stored.pool.whole_N.tolist() == [candidates[key].finish_reason == "stop" for key in keys]
        for name in SCORERS:
            expected = [scores[key][name].value for key in keys]
            assert np.array_equal(stored.pool.scores[name], np.array(expected, dtype=np.float64), equal_nan=True)
        for place, key in enumerate(keys):
            if (one := candidates[key]).finish_reason != "stop":
                end = End(one.finish_reason, len(one.token_ids), one.why, one.ended_by)
                assert stored.pool.details.end(place) == end
            assert stored.pool.details.score("facts", place) == scores[key]["facts"]
        some = np.array([3, 0, len(keys) - 1])
        assert stored.texts_of(some) == {place: candidates[keys[place]].text for place in some.tolist()}


@pytest.mark.parametrize("generator", ["g1", "g2", "another"])
def test_the_prompts_that_were_begun_are_those_with_a_candidate(run: Path, generator: str) -> None:
    with RunFolder.open(run, write=False) as folder:
        there = {key.prompt_id for key in folder.candidate_keys(iteration=2, generators=[generator])}
        assert folder.begun_prompts(2, [generator]) == there


@pytest.mark.parametrize("most", [1, 3, 100])
@pytest.mark.parametrize("accepted", [None, True, False])
@pytest.mark.parametrize("prompt_id", [None, "p3", "p99"])
def test_the_first_decisions_are_the_first_of_all(
    run: Path, most: int, accepted: bool | None, prompt_id: str | None
) -> None:
    only = None if prompt_id is None else {"prompt_id": [prompt_id]}
    with RunFolder.open(run, write=False) as folder:
        found = first_decided(folder, 1, "policy", most, accepted=accepted, only=only)
        wanted = [
            (key, decision)
            for key, decision in sorted(folder.decisions("policy", iteration=1).items())
            if accepted in (None, decision.accepted) and prompt_id in (None, key.prompt_id)
        ]
        rules = Counter(decision.rule for decision in folder.decisions("policy", iteration=1).values())
        assert counts_by_rule(folder, 1, "policy") == rules
    assert list(found.items()) == wanted[:most]


def test_shown_are_the_first_in_the_order_of_keys(run: Path) -> None:
    with RunFolder.open(run, write=False) as folder:
        decided, candidates = folder.decisions("policy"), {c.key: c.text for c in folder.candidates()}
    shown = decided_candidates(run, Filter(limit=1000))
    keys = [CandidateKey(*(row[n] for n in ("iteration", "prompt_id", "sample_index", "generator"))) for row in shown]
    assert keys == sorted(decided)
    assert [row["reply"] for row in shown] == [candidates[key] for key in keys]
    assert all(row["asked"] == f"question {row['prompt_id'][1:]}" for row in shown)
    assert decided_candidates(run, Filter(limit=len(decided) - 2)) == shown[:-2], "of the second iteration as well"
    assert (
        decided_candidates(run, Filter(iteration=2, rule="facts >= 1", limit=2))
        == [row for row in shown if row["iteration"] == 2 and row["rule"] == "facts >= 1"][:2]
    )


def test_prompts_fared_as_their_candidates(run: Path) -> None:
    fared = prompts_of(run, None)
    rows = fared.rows
    with RunFolder.open(run, write=False) as folder:
        decided = folder.decisions("policy", iteration=2)
        drawn = [candidate for candidate in folder.candidates(iteration=2) if candidate.key in decided]
    assert {row["prompt_id"] for row in rows} == {prompt.id for prompt in PROMPTS}
    for row in rows:
        own = [candidate for candidate in drawn if candidate.key.prompt_id == row["prompt_id"]]
        accepted = sum(decided[candidate.key].accepted for candidate in own)
        assert (row["candidates"], row["accepted"]) == (len(own), accepted)
        assert row["tokens"] == sum(len(candidate.token_ids) for candidate in own)
    assert next(row for row in rows if row["prompt_id"] == "p8")["state"] == "resting"
    assert rows == sorted(rows, key=lambda row: (row["accepted"] / max(1, row["candidates"]), -row["candidates"]))
    assert fared.states == Counter(row["state"] for row in rows)
    assert prompts_of(run, None, 4).rows == rows[:4]


def test_distributions_count_every_candidate(run: Path) -> None:
    with RunFolder.open(run, write=False) as folder:
        decided, scores = folder.decisions("policy", iteration=1), folder.own_scores(iteration=1)
    said = distributions(run)
    assert [part["iteration"] for part in said] == [1, 2]
    first = said[0]
    accepted = Counter(key.prompt_id for key, decision in decided.items() if decision.accepted)
    assert (first["candidates"], first["accepted"]) == (len(decided), accepted.total())
    assert first["decided"] == Counter(decision.rule for decision in decided.values())
    relevance = first["scores"]["relevance"]
    known = [scores[key]["relevance"].value for key in decided if scores[key]["relevance"].value is not None]
    kept = [
        scores[key]["relevance"].value
        for key, decision in decided.items()
        if decision.accepted and scores[key]["relevance"].value is not None
    ]
    assert relevance["counts"] == np.histogram(known, relevance["edges"])[0].tolist()
    assert relevance["accepted"] == np.histogram(kept, relevance["edges"])[0].tolist()
    assert relevance["failed"] == len(decided) - len(known) > 0
    assert (relevance["lines"], first["scores"]["facts"]["lines"]) == ([0.5], [1.0])
    prompts = {key.prompt_id for key in decided}
    assert first["prompts"]["prompts"] == len(prompts) == sum(first["prompts"]["by_share"])
    assert sum(n * count for n, count in enumerate(first["prompts"]["by_accepted"])) == accepted.total()
    assert first["prompts"]["by_accepted"][0] == len(prompts - accepted.keys())
