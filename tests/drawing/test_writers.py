"""Several writers at once: whatever becomes of one, or of whoever takes the candidates, nobody waits forever."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from rsft.engines.base import Cancelled, Pace, Request, Sampling, Watch
from rsft.engines.scripted import Script, ScriptedEngine
from rsft.engines.writers import Writer, Writers
from rsft.types import Candidate, CandidateKey, Message, Policy, Prompt, SamplingParams

PROMPTS = [Prompt(f"p{i}", (Message("user", f"question {i}"),), ()) for i in range(3)]
WANTED = [
    Request(CandidateKey(1, prompt.id, index, "g"), prompt, index, SamplingParams())
    for prompt in PROMPTS
    for index in range(8)
]
POLICY = Policy("scripted")


def scripted() -> ScriptedEngine:
    return ScriptedEngine(Script(replies=["one", "two", "three"]))


class Bytes:
    """The run's tokenizer: a byte is a token, and 0 ends a turn."""

    def reply_ids(self, text: str) -> list[int]:
        return [*text.encode(), 0]


class Stopping(Pace):
    """A pace that lets two of each prompt begin, and finds out, when asked to wait, that this was enough."""

    def __init__(self) -> None:
        self.sampling: Sampling | None = None

    def bound(self, prompt_id: str) -> int:
        return 2

    def wait(self) -> None:
        assert self.sampling is not None
        for prompt in PROMPTS:
            self.sampling.cancel_prompt(prompt.id)


class Endless(ScriptedEngine):
    """Gives what is asked for one by one, and waits at the pace for the rest until that is cancelled."""

    def __init__(self) -> None:
        super().__init__(Script(replies=["on and on"]))
        self.ended = threading.Event()

    def sample(
        self, policy: Policy, requests: Sequence[Request], watch: Watch | None = None, pace: Pace | None = None
    ) -> Sampling:
        inner = super().sample

        def draw(cancelled: Cancelled) -> Iterator[Candidate]:
            try:
                yield from inner(policy, requests[:1], watch)
                while not all(request.key in cancelled for request in requests[1:]):
                    if pace is not None:
                        pace.bound(requests[1].prompt.id)
            finally:
                self.ended.set()

        return Sampling(draw)


class Failing(ScriptedEngine):
    def __init__(self) -> None:
        super().__init__(Script(replies=["never"]))

    def sample(self, *_: Any, **__: Any) -> Sampling:
        def draw(cancelled: Cancelled) -> Iterator[Candidate]:
            raise RuntimeError("the server is gone")
            yield

        return Sampling(draw)


def in_time(work: Callable[[], Any]) -> Any:
    """What the work gives, which must not hang."""
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(work()), daemon=True)
    thread.start()
    thread.join(60)
    assert found, "it hangs"
    return found[0]


@pytest.mark.parametrize("writers", [1, 2])
def test_what_is_cancelled_while_nothing_may_begin_reaches_the_engines(writers: int) -> None:
    pace = Stopping()
    pace.sampling = Writers([Writer(scripted(), POLICY, tokenizer=Bytes)] * writers).sample(POLICY, WANTED, None, pace)
    found = in_time(lambda: list(pace.sampling or ()))
    assert Counter(one.key for one in found) == Counter(request.key for request in WANTED)
    assert Counter(one.finish_reason for one in found) == {"stop": 6, "cancelled": 18}


def test_a_writer_that_fails_ends_the_others() -> None:
    other = Endless()
    sampling = Writers([Writer(other), Writer(Failing())]).sample(POLICY, WANTED, None, Stopping())

    def draw() -> str:
        with pytest.raises(RuntimeError, match="the server is gone"):
            list(sampling)
        return "raised"

    in_time(draw)
    assert other.ended.wait(60)


def test_whoever_takes_the_candidates_may_stop() -> None:
    engines = [Endless(), Endless()]
    sampling = Writers([Writer(engine) for engine in engines]).sample(POLICY, WANTED, None, Stopping())
    next(sampling)
    in_time(lambda: sampling.close() or True)
    assert all(engine.ended.is_set() for engine in engines)
    assert list(sampling) == []


def test_an_empty_reply_is_told_in_the_runs_tokens() -> None:
    writer = Writer(scripted(), POLICY, tokenizer=Bytes)
    key = WANTED[0].key
    assert writer.told(Candidate(key, "", (77,), "stop", None, None)).token_ids == (0,)
    assert writer.told(Candidate(key, "", (), "cancelled", None, None)).token_ids == ()
