"""No reply twice among what is accepted, by its meaning. A rule, which asks the scorers' model of sentences."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from pydantic import Field, PrivateAttr

from rsft.config.section import OneOrMore
from rsft.models.devices import free_device
from rsft.models.references import resolve
from rsft.scorers.embedder import Embedder
from rsft.scorers.embedding import MINILM
from rsft.selection.pool import Mask, Pool
from rsft.selection.rule import Rule


class NoSimilar(Rule):
    """Keeps no reply whose embedding's cosine with a kept one's is more than `similarity`.

    Of a prompt's replies a stable hash says which comes first; `across_prompts` compares with other prompts' replies,
    too. A reply that is longer than the model's window counts by the mean of its parts.
    """

    main_option: ClassVar[str | None] = "similarity"

    similarity: float = Field(0.95, gt=0, lt=1, description="The greatest cosine that two replies may have.")
    across_prompts: bool = Field(False, description="Compare with other prompts' replies too.")
    model: OneOrMore = Field(list(MINILM), description="Hub name, folder or package:NAME.")

    _embedder: Any = PrivateAttr(None)

    @property
    def in_parts(self) -> bool:
        return not self.across_prompts

    def keep(self, pool: Pool, alive: Mask) -> Mask:
        if self._embedder is None:
            self._embedder = Embedder.load(resolve(self.model), free_device())
        kept_N = np.zeros_like(alive)
        families = [sorted(np.flatnonzero(alive).tolist(), key=lambda place: int(pool.lots_N[place]))]
        for family in families if self.across_prompts else pool.families(alive):
            kept: list[Any] = []
            vectors = self._embedder.of([pool.texts[place] for place in family])
            for place, parts in zip(family, vectors, strict=True):
                own = parts.mean(axis=0) if len(parts) else np.zeros(1, dtype=np.float32)
                own = own / max(float(np.linalg.norm(own)), 1e-9)
                if len(parts) == 0 or all(float(own @ other) <= self.similarity for other in kept):
                    kept_N[place] = True
                    if len(parts):
                        kept.append(own)
        return kept_N

    def explain(self, pool: Pool, alive: Mask, place: int) -> str:
        return "says much the same as one that is kept"
