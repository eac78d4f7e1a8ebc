"""An engine that is many gives what one gives: whoever dies, and whatever the pace and the watchers do."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from crews import ThreadCrew, doom, station

from rsft.cluster.engine import ClusterEngine
from rsft.cluster.rolls import read_rolls
from rsft.engines.base import Engine, Pace, Request, Sampling, Watcher
from rsft.engines.local import LocalEngine
from rsft.engines.own import OwnEngine
from rsft.engines.scripted import ScriptedEngine
from rsft.models.network import Network
from rsft.models.references import resolve
from rsft.types import Candidate, CandidateKey, Ended, Message, Policy, Prompt, SamplingParams

REPLIES = [f"reply {number} to {{prompt}}" for number in range(30)]


class Slow(OwnEngine):
    """Writes three replies at a time."""

    batch: int = 3

    def replies(self, policy: Policy, requests: Sequence[Request]) -> Sequence[str]:
        return [f"{request.prompt.id} {request.seed}" for request in requests]


class TinyEngine(LocalEngine):
    """The engine 'local' on the model whose folder it is told."""

    @classmethod
    def open(cls, options: Mapping[str, Any], student: Any, folder: Path) -> LocalEngine:
        return LocalEngine(Network.load(resolve([options["model"]]), dtype="float32"))


def wanted(prompts: int = 12, each: int = 5) -> list[Request]:
    said = [Prompt(f"p{number}", (Message("user", f"question {number}"),), ()) for number in range(prompts)]
    return [
        Request(CandidateKey(1, prompt.id, index, "g"), prompt, 1000 * place + index, SamplingParams(max_tokens=12))
        for place, prompt in enumerate(said)
        for index in range(each)
    ]


class Stepwise(Pace):
    """Two more of a prompt when the second last has come; the rest of every third is not wanted after two."""

    def __init__(self) -> None:
        self.bounds: dict[str, int] = {}
        self.sampling: Sampling | None = None
        self.waits = 0

    def bound(self, prompt_id: str) -> int:
        return self.bounds.setdefault(prompt_id, 2)

    def wait(self) -> None:
        self.waits += 1
        for prompt_id in self.bounds:
            self.bounds[prompt_id] += 1

    def heard(self, candidate: Candidate) -> None:
        key = candidate.key
        assert candidate.finish_reason == "cancelled" or key.sample_index < self.bounds[key.prompt_id]
        if key.sample_index == 1 and int(key.prompt_id[1:]) % 3 == 0:
            assert self.sampling is not None
            self.sampling.cancel_prompt(key.prompt_id)
        elif key.sample_index % 2:
            self.bounds[key.prompt_id] = max(self.bounds[key.prompt_id], key.sample_index + 3)


def drawn(engine: Engine, requests: Sequence[Request], **options: Any) -> dict[CandidateKey, Candidate]:
    came = list(engine.sample(engine.base, requests, **options))
    assert len({one.key for one in came}) == len(came)
    return {one.key: one for one in came}


def many(kind: Any, *, count: int = 3, fate: Callable[..., str | None] = lambda _: None, **options: Any) -> Any:
    return ClusterEngine(ThreadCrew(count, station(kind, **options), fate), None, Path(tempfile.mkdtemp()))


@pytest.mark.parametrize("seed", range(6))
def test_it_gives_what_one_gives_whoever_dies(seed: int) -> None:
    alone = ScriptedEngine.open({"replies": REPLIES}, None, Path())
    crew = many(ScriptedEngine, fate=doom(seed, 3, 8), replies=REPLIES)
    requests = wanted(60, 20)
    assert drawn(crew, requests) == drawn(alone, requests)
    assert drawn(crew, wanted(3, 2)) == drawn(alone, wanted(3, 2))  # and again, with those that are there
    crew.close()


@pytest.mark.parametrize("kind", [ScriptedEngine, Slow])
@pytest.mark.parametrize("seed", [None, 1, 2, 3])
def test_it_keeps_the_pace_and_leaves_what_is_cancelled(kind: Any, seed: int | None) -> None:
    options = {"replies": REPLIES} if kind is ScriptedEngine else {}
    alone = kind.open(options, None, Path())
    fate = doom(seed, 4, 6) if seed is not None else lambda _: None
    crew = many(kind, fate=fate, **options)
    whole = drawn(alone, wanted())
    pace = Stepwise()
    sampling = crew.sample(crew.base, wanted(), None, pace)
    pace.sampling = sampling
    came: dict[CandidateKey, Candidate] = {}
    for candidate in sampling:
        pace.heard(candidate)
        came[candidate.key] = candidate
    assert came.keys() == whole.keys()
    kept = {key: one for key, one in came.items() if one.finish_reason != "cancelled"}
    assert kept == {key: whole[key] for key in kept}
    assert all(key in kept for key in whole if int(key.prompt_id[1:]) % 3)
    assert all(f"p{number}" in {key.prompt_id for key in came.keys() - kept.keys()} for number in (0, 3, 6, 9))
    crew.close()


def test_watchers_end_candidates_there_too() -> None:
    def watch(request: Request) -> Watcher | None:
        return lambda text, tokens: Ended("short", "long enough") if tokens == 7 else None

    alone = ScriptedEngine.open({"replies": REPLIES}, None, Path())
    crew = many(ScriptedEngine, replies=REPLIES)
    assert drawn(crew, wanted(), watch=watch) == drawn(alone, wanted(), watch=watch)
    crew.close()


def test_a_drawing_that_nobody_wants_any_more_ends() -> None:
    crew = many(ScriptedEngine, replies=REPLIES)
    sampling = crew.sample(crew.base, wanted(400, 40))
    next(sampling)
    sampling.close()
    assert len(drawn(crew, wanted())) == 60
    crew.close()


def test_a_model_in_workers_takes_up_prompts_while_it_is_at_work(tiny_folder: Path) -> None:
    alone = LocalEngine(Network.load(resolve([str(tiny_folder)]), dtype="float32"))
    crew = many(TinyEngine, count=2, fate=doom(1, 6, 2), model=str(tiny_folder))
    requests = wanted(40, 4)
    ours, theirs = drawn(crew, requests), drawn(alone, requests)
    same = sum(ours[key].token_ids == one.token_ids for key, one in theirs.items())
    assert ours.keys() == theirs.keys()
    assert same >= 0.98 * len(theirs)  # but for rounding, which batch shapes change
    crew.close()


def test_who_is_let_go_for_a_training_comes_back_under_the_same_name() -> None:
    crew = many(ScriptedEngine, replies=REPLIES)

    def states() -> list[tuple[str, str]]:
        said = read_rolls(crew.roll.folder, at_work=True).workers
        return [(one["worker"], one["state"]) for one in said]

    first = drawn(crew, wanted())
    assert states() == [(f"worker-{number}", "at work") for number in (1, 2, 3)]
    crew.dismiss()
    assert states() == [(f"worker-{number}", "let go for training") for number in (1, 2, 3)]
    assert drawn(crew, wanted()) == first
    assert states() == [(f"worker-{number}", "at work") for number in (1, 2, 3)]
    crew.close()
