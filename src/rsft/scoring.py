"""Scorers at work beside the engine: quick ones at once, each of the others in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from queue import Empty, SimpleQueue
from types import TracebackType

from rsft.scorers import Scorer, run_scorer
from rsft.types import Candidate, CandidateKey, Prompt, Reply, Score

_BATCH = 64

Scores = Mapping[str, Score]
Scored = tuple[Candidate, Scores]
"""A candidate with the word of every scorer on it."""


class Scoring:
    """Takes candidates as they come, and gives each back when all scorers have spoken. A context manager."""

    def __init__(self, scorers: Mapping[str, Scorer], prompts: Mapping[str, Prompt]) -> None:
        self._scorers = scorers
        self._prompts = prompts
        self._slow = {name: SimpleQueue[Candidate | None]() for name, scorer in scorers.items() if not scorer.quick}
        self._said: SimpleQueue[tuple[str, Sequence[Candidate], list[Score] | BaseException]] = SimpleQueue()
        self._open: dict[CandidateKey, tuple[Candidate, dict[str, Score]]] = {}
        self._done: list[Scored] = []

    def __enter__(self) -> Scoring:
        for name, inbox in self._slow.items():
            threading.Thread(target=self._work, args=(name, inbox), name=f"scorer {name}", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for inbox in self._slow.values():
            inbox.put(None)

    def ask(self, candidate: Candidate, known: Scores | None = None) -> None:
        """Have a candidate scored by all scorers but those whose word is `known`."""
        said = dict(known or {})
        self._open[candidate.key] = (candidate, said)
        for name, scorer in self._scorers.items():
            if name in said:
                continue
            if name in self._slow and candidate.is_reply:
                self._slow[name].put(candidate)
            else:
                said[name] = _score_all(scorer, [candidate], self._prompts)[0]
        self._close(candidate.key)

    @property
    def owes(self) -> bool:
        """Whether a candidate waits for a word on it."""
        return bool(self._open)

    def answered(self) -> list[Scored]:
        """The candidates that all scorers have spoken of since this was last asked."""
        while not self._said.empty():
            self._hear(*self._said.get())
        done, self._done = self._done, []
        return done

    def wait(self, seconds: float | None = None) -> list[Scored]:
        """The same, but waits until there is one, for so long at most."""
        done = self.answered()
        while not done and self.owes:
            try:
                self._hear(*self._said.get(timeout=seconds))
            except Empty:
                break
            done = self.answered()
        return done

    def _hear(self, name: str, batch: Sequence[Candidate], said: list[Score] | BaseException) -> None:
        if isinstance(said, BaseException):
            raise said
        for candidate, score in zip(batch, said, strict=True):
            self._open[candidate.key][1][name] = score
            self._close(candidate.key)

    def _close(self, key: CandidateKey) -> None:
        candidate, said = self._open[key]
        if len(said) == len(self._scorers):
            del self._open[key]
            self._done.append((candidate, {name: said[name] for name in self._scorers}))

    def _work(self, name: str, inbox: SimpleQueue[Candidate | None]) -> None:
        while (first := inbox.get()) is not None:
            batch = [first]
            while len(batch) < _BATCH and not inbox.empty():
                if (further := inbox.get()) is None:
                    return
                batch.append(further)
            try:
                self._said.put((name, batch, _score_all(self._scorers[name], batch, self._prompts)))
            except BaseException as error:  # for the thread that waits for it
                self._said.put((name, batch, error))
                return


def _score_all(scorer: Scorer, candidates: Sequence[Candidate], prompts: Mapping[str, Prompt]) -> list[Score]:
    """One scorer's word on each candidate. One that is no whole reply has nothing to score."""
    whole = [c for c in candidates if c.is_reply]
    replies = [Reply(prompts[c.key.prompt_id], c.text, c.token_ids) for c in whole]
    said = dict(zip((c.key for c in whole), run_scorer(scorer, replies), strict=True))
    return [said.get(c.key) or Score.failed(f"no whole reply: {c.why}") for c in candidates]
