"""Who writes the candidates: the policy itself, another model from which it is to learn, or several in turn."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from rsft.engines.base import Engine, Pace, Request, Sampling, Watch
from rsft.types import Candidate, CandidateKey, Policy

if TYPE_CHECKING:
    from rsft.models.chat import ChatTokenizer

# How long writers that nobody waits for any more may take to leave off.
_END_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Writer:
    """An engine, and the policy that it samples from: None stands for the run's own as it is at the time.

    `tokenizer`, where there is one, is the run's own: a writer's replies are told in its tokens.
    """

    engine: Engine
    policy: Policy | None = None
    share: int = 1
    tokenizer: Callable[[], ChatTokenizer] | None = None

    def of(self, policy: Policy) -> Policy:
        return self.policy or policy

    def told(self, candidate: Candidate) -> Candidate:
        """The candidate in the tokens of the run's own model."""
        if self.tokenizer is None or not (candidate.text or candidate.is_reply):
            return candidate
        ids = self.tokenizer().reply_ids(candidate.text)
        whole = candidate.finish_reason == "stop"
        return replace(candidate, token_ids=tuple(ids if whole else ids[:-1]), retokenised=True)


class Writers:
    """Writers that take turns by the sample index: of each round, every writer has as many indices as its share."""

    def __init__(self, writers: Sequence[Writer]) -> None:
        self._writers = list(writers)
        self._turns = [place for place, writer in enumerate(writers) for _ in range(writer.share)]

    def __iter__(self) -> Iterator[Writer]:
        return iter(self._writers)

    @property
    def engines(self) -> list[Engine]:
        """Their engines, each once."""
        return list({id(writer.engine): writer.engine for writer in self._writers}.values())

    def place(self, sample_index: int) -> int:
        """Which of the writers writes the candidate of this index."""
        return self._turns[sample_index % len(self._turns)]

    def sample(
        self, policy: Policy, requests: Sequence[Request], watch: Watch | None = None, pace: Pace | None = None
    ) -> Sampling:
        """See `Engine.sample`; each request goes to the writer whose turn its index is."""
        parts: dict[int, list[Request]] = {}
        for request in requests:
            parts.setdefault(self.place(request.key.sample_index), []).append(request)
        if len(parts) == 1:
            ((place, own),) = parts.items()
            return self._alone(self._writers[place], policy, own, watch, pace)
        table = _Table([(self._writers[place], own) for place, own in sorted(parts.items())], policy, watch, pace)
        return _Joined(table.samplings, table.run())

    def _alone(
        self, writer: Writer, policy: Policy, requests: Sequence[Request], watch: Watch | None, pace: Pace | None
    ) -> Sampling:
        sampling = writer.engine.sample(writer.of(policy), requests, watch, pace)
        return sampling if writer.tokenizer is None else _Joined([sampling], _told(writer, sampling))


class _Joined(Sampling):
    """Candidates that come of other samplings. What is cancelled is cancelled there, whoever waits for what."""

    def __init__(self, samplings: Sequence[Sampling], candidates: Iterator[Candidate]) -> None:
        super().__init__(lambda _: candidates)
        self._samplings = samplings

    def cancel(self, key: CandidateKey) -> None:
        for sampling in self._samplings:
            sampling.cancel(key)

    def cancel_prompt(self, prompt_id: str) -> None:
        for sampling in self._samplings:
            sampling.cancel_prompt(prompt_id)


def _told(writer: Writer, sampling: Sampling) -> Generator[Candidate, None, None]:
    with closing(sampling):
        for candidate in sampling:
            yield writer.told(candidate)


class _Table:
    """Several engines at work at once, each in a thread; whoever takes the candidates is the only one that asks the
    pace, so that nothing of the run is touched from two threads."""

    def __init__(
        self,
        parts: Sequence[tuple[Writer, Sequence[Request]]],
        policy: Policy,
        watch: Watch | None,
        pace: Pace | None,
    ) -> None:
        self._pace = pace
        self._calls: SimpleQueue[tuple[str, Any, SimpleQueue[Any]]] = SimpleQueue()
        self._idle: list[SimpleQueue[Any]] = []
        self._over = False
        self._turns = threading.Lock()
        self._writers = [writer for writer, _ in parts]
        self.samplings = [
            writer.engine.sample(writer.of(policy), own, watch, _PassedOn(self) if pace else None)
            for writer, own in parts
        ]
        self._prompts = {request.prompt.id for _, own in parts for request in own}

    def run(self) -> Iterator[Candidate]:
        threads = [
            threading.Thread(target=self._work, args=pair, name="writer", daemon=True)
            for pair in zip(self._writers, self.samplings, strict=True)
        ]
        working = len(threads)
        for thread in threads:
            thread.start()
        try:
            while working:
                what, said, answer = self._calls.get()
                if what == "candidate":
                    yield said
                    self._rouse()
                elif what == "bound":
                    assert self._pace is not None
                    answer.put(self._pace.bound(said))
                elif what == "wait":
                    self._idle.append(answer)
                elif said is not None:
                    raise said
                else:
                    working -= 1
                if self._idle and len(self._idle) == working:
                    assert self._pace is not None
                    self._pace.wait()
                    self._rouse()
        finally:
            self._end(threads)

    def ask(self, what: str, said: Any = None) -> Any:
        """For a writer's thread: have the pace asked, and wait for what it says. Nothing may begin once all is over."""
        answer: SimpleQueue[Any] = SimpleQueue()
        with self._turns:  # or a question could come after the last one that is answered
            if self._over:
                return 0
            self._calls.put((what, said, answer))
        return answer.get()

    def _work(self, writer: Writer, sampling: Sampling) -> None:
        error: BaseException | None = None
        try:
            with closing(_told(writer, sampling)) as candidates:
                for candidate in candidates:
                    if self._over:
                        break
                    self._calls.put(("candidate", candidate, SimpleQueue()))
        except BaseException as raised:  # for the thread that takes the candidates
            error = raised
        self._calls.put(("done", error, SimpleQueue()))

    def _rouse(self) -> None:
        """What the idle may do can have changed: they ask again."""
        for answer in self._idle:
            answer.put(None)
        self._idle.clear()

    def _end(self, threads: Sequence[threading.Thread]) -> None:
        """Have the writers that are still at work come to their end, and wait a while for them: their engines may be
        closed next."""
        with self._turns:
            self._over = True
        for sampling in self.samplings:
            for prompt_id in self._prompts if any(thread.is_alive() for thread in threads) else ():
                sampling.cancel_prompt(prompt_id)
        self._rouse()
        while not self._calls.empty():
            self._calls.get()[2].put(0)
        deadline = time.monotonic() + _END_SECONDS
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))


class _PassedOn(Pace):
    """The pace, as a writer's thread sees it."""

    def __init__(self, table: _Table) -> None:
        self._table = table

    def bound(self, prompt_id: str) -> int:
        return int(self._table.ask("bound", prompt_id))

    def wait(self) -> None:
        self._table.ask("wait")
