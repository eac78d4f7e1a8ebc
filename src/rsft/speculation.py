"""Speculative rejection: ending candidates whose beginnings score low (2410.20290). Lossy, and measured as it goes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from rsft.config.recipe import SpeculativeSection
from rsft.engines.base import Request, Watcher
from rsft.scorers import Scorer, run_scorer
from rsft.scoring import Scored
from rsft.selection.pool import stable_hash
from rsft.selection.selection import SPECULATIVE
from rsft.types import Candidate, Ended, Prompt, Reply

# One prompt in so many is never speculated on: its whole replies show what the bars are worth, and what they cost.
_SPARED = 5
# Fewer beginnings than these say nothing certain of a correlation.
_LEAST_SEEN = 20
_Z = 1.959963984540054  # two-sided 95%

Text = Callable[[Sequence[int]], str]
"""What a watcher sees of a reply's first tokens."""


@dataclass(frozen=True, slots=True)
class Bar:
    """A checkpoint after so many tokens: how well scores of beginnings rank there as those of the whole replies do
    (Spearman, with the lower end of its 95% interval, over n replies), and the score under which a beginning is given
    up; None if the correlation is not sure enough to."""

    tokens: int
    correlation: float | None
    low: float | None
    n: int
    score: float | None


@dataclass(frozen=True, slots=True)
class Lost:
    """Accepted replies that the bars would have ended, of how many."""

    ended: int = 0
    of: int = 0

    def __add__(self, more: Lost) -> Lost:
        return Lost(self.ended + more.ended, self.of + more.of)

    @property
    def share(self) -> float | None:
        return self.ended / self.of if self.of else None


@dataclass(frozen=True, slots=True)
class Speculation:
    """Ends candidates at bars that were measured on whole replies of the iteration before."""

    by: str
    scorer: Scorer
    bars: tuple[Bar, ...]

    @property
    def identity(self) -> list[Any]:
        return [self.by, self.scorer.fingerprint, [(bar.tokens, bar.score) for bar in self.bars]]

    @property
    def numbers(self) -> dict[str, Any]:
        """What the run reports of it."""
        return {"by": self.by, "bars": [asdict(bar) for bar in self.bars]}

    def watcher(self, request: Request) -> Watcher | None:
        if spared(request.prompt.id) or all(bar.score is None for bar in self.bars):
            return None

        def watch(text: str, tokens: int) -> Ended | None:
            why = self._under(tokens, request.prompt, text)
            return Ended(SPECULATIVE, why) if why else None

        return watch

    def lost(self, accepted: Iterable[Candidate], prompts: Mapping[str, Prompt], text: Text) -> Lost:
        """Of whole replies that were accepted, those of prompts that are spared: how many the bars would have ended."""
        of_spared = [candidate for candidate in accepted if spared(candidate.key.prompt_id)]
        ended = sum(self._would_end(one, prompts[one.key.prompt_id], text) for one in of_spared)
        return Lost(ended, len(of_spared))

    def _would_end(self, candidate: Candidate, prompt: Prompt, text: Text) -> bool:
        reached = (bar.tokens for bar in self.bars if bar.tokens < len(candidate.token_ids))
        return any(self._under(tokens, prompt, text(candidate.token_ids[:tokens])) is not None for tokens in reached)

    def _under(self, tokens: int, prompt: Prompt, beginning: str) -> str | None:
        """Why a beginning of so many tokens is given up, if it is."""
        bar = next((bar.score for bar in self.bars if bar.tokens == tokens), None)
        if bar is None:
            return None
        score = _beginning_score(self.scorer, prompt, beginning)
        if score is None or score >= bar:
            return None
        return f"{self.by} = {score:g} after {tokens} tokens, under {bar:g}"


def spared(prompt_id: str) -> bool:
    """Whether no candidate of the prompt is ever speculated on."""
    return int(stable_hash("speculation", prompt_id)[:8], 16) % _SPARED == 0


def measured(
    said: SpeculativeSection,
    scorer: Scorer,
    replies: Sequence[Scored],
    prompts: Mapping[str, Prompt],
    text: Text,
) -> Speculation:
    """Bars from whole replies with their scores: at each checkpoint, under the share to drop of those that came so far.

    A bar is used if the correlation is large enough at the lower end of its interval.
    """
    bars = []
    alive = [(candidate, value) for candidate, scores in replies if (value := scores[said.by].value) is not None]
    for tokens in sorted(said.checkpoints):
        alive = [(candidate, final) for candidate, final in alive if len(candidate.token_ids) > tokens]
        partial = [_beginning_score(scorer, prompts[c.key.prompt_id], text(c.token_ids[:tokens])) for c, _ in alive]
        pairs = [(one, final) for one, (_, final) in zip(partial, alive, strict=True) if one is not None]
        correlation, low = _rank_correlation(pairs)
        score = None
        if low is not None and low >= said.min_correlation:
            score = float(np.quantile([one for one, _ in pairs], said.drop))
            alive = [one for one, value in zip(alive, partial, strict=True) if value is None or value >= score]
        bars.append(Bar(tokens, correlation, low, len(pairs), score))
    return Speculation(said.by, scorer, tuple(bars))


def _beginning_score(scorer: Scorer, prompt: Prompt, text: str) -> float | None:
    return run_scorer(scorer, [Reply(prompt, text)])[0].value


def _rank_correlation(pairs: Sequence[tuple[float, float | None]]) -> tuple[float | None, float | None]:
    """Spearman's ρ and the lower end of its 95% interval (Fisher's z with Bonett and Wright's variance, 2000)."""
    from scipy.stats import spearmanr

    if len(pairs) < _LEAST_SEEN or len({one for one, _ in pairs}) < 2 or len({final for _, final in pairs}) < 2:
        return None, None
    rho = float(spearmanr([one for one, _ in pairs], [final for _, final in pairs]).statistic)
    z = math.atanh(max(-0.999999, min(0.999999, rho)))
    return rho, math.tanh(z - _Z * math.sqrt((1 + rho**2 / 2) / (len(pairs) - 3)))
