"""What the stages say of what they did: numbers for their notes, and reasons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from rsft.budget import lists_of_prompts
from rsft.decided import Fared
from rsft.drawn import Drawn, Sampled
from rsft.habits import shared_phrases
from rsft.likeness import Replies, Sample
from rsft.parts import StoredParts
from rsft.selection.pool import Mask, Places
from rsft.selection.selection import ACCEPTED
from rsft.stored import StoredPool
from rsft.types import Prompt

# Accepted replies in which phrases are looked for.
_LOOKED_AT = 10_000


class Total:
    """How much was drawn in all: what counts, and what it cost. What was drawn is added some at a time."""

    def __init__(self, *drawn: Drawn) -> None:
        self._counts: Counter[str] = Counter()
        self._generators: set[str] = set()
        self._sums: Counter[str] = Counter()
        self._whole = 0
        self._failures: dict[str, tuple[int, str | None]] = {}
        for some in drawn:
            self.add(some)

    def add(self, drawn: Drawn) -> None:
        self._counts.update(candidate.key.prompt_id for candidate in drawn.candidates)
        self._generators |= {candidate.key.generator for candidate in drawn.candidates}
        ends = Counter(candidate.finish_reason for candidate in drawn.candidates)
        self._sums.update(
            tokens=sum(len(candidate.token_ids) for candidate in drawn.candidates),
            drawn_tokens=drawn.drawn_tokens,
            unneeded_tokens=drawn.unneeded_tokens,
            failed=ends["failed"],
            ended_early=ends["ended"],
        )
        for said in (drawn.scores[candidate.key] for candidate in drawn.candidates if candidate.is_reply):
            self._whole += 1
            for name, score in said.items():
                if score.value is None:
                    failed, reason = self._failures.get(name, (0, score.failure))
                    self._failures[name] = failed + 1, reason

    def sampled(self, iteration: int) -> Sampled:
        """What an arm has in the run folder, if this is all."""
        return Sampled(iteration, self._counts, sorted(self._generators))

    @property
    def ended_early(self) -> int:
        """How many candidates were given up before they came to their end."""
        return self._sums["ended_early"]

    @property
    def numbers(self) -> dict[str, Any]:
        sums = ("tokens", "drawn_tokens", "unneeded_tokens")
        return {
            "candidates": self._counts.total(),
            **{name: self._sums[name] for name in sums},
            "prompts": len(self._counts),
            "failed": self._sums["failed"],
            "failed_scores": {
                name: {"failed": failed, "of": self._whole, "reason": reason}
                for name, (failed, reason) in sorted(self._failures.items())
            },
        }


class Choice:
    """What was chosen among what was sampled, and by what. It is added part by part."""

    def __init__(self, stored: StoredParts) -> None:
        self._stored = stored
        self._counts_P, self._accepted_P = np.zeros((2, stored.prompts), dtype=np.int64)
        self._reasons: Counter[str] = Counter()
        self._whole, self._accepted = Sample(), Sample()
        self._first: list[Places] = []

    def add(self, part: StoredPool, accepted_N: Mask, reasons: Mapping[str, int]) -> None:
        """What was decided on a part: which candidates are accepted, and how many each rule decided on."""
        number_P = part.numbered.number_P
        self._counts_P[number_P] += part.pool.counts(np.ones(len(part.pool), dtype=np.bool_))
        self._accepted_P[number_P] += part.pool.counts(accepted_N)
        self._reasons.update(reasons)
        self._whole.add(part.pool, part.pool.whole_N, part.start)
        self._accepted.add(part.pool, accepted_N, part.start)
        more = _LOOKED_AT - sum(map(len, self._first))
        self._first.append(np.flatnonzero(accepted_N)[:more] + part.start)

    @property
    def fared(self) -> Fared:
        return Fared(self._stored.ids, self._counts_P, self._accepted_P)

    @property
    def numbers(self) -> dict[str, Any]:
        rejected_by = {rule: count for rule, count in self._reasons.most_common() if count and rule != ACCEPTED}
        return {
            "candidates": int(self._counts_P.sum()),
            "accepted": int(self._accepted_P.sum()),
            "prompts_solved": int(np.count_nonzero(self._accepted_P)),
            "rejected_by": rejected_by,
        }

    def lists_of_prompts(self, even: int) -> dict[str, list[str]]:
        """See `rsft.budget.lists_of_prompts`."""
        return lists_of_prompts(self.fared.tallies, even)

    def lengths(self) -> dict[str, Any]:
        """Whether scores go with length: the mean words of whole and of accepted replies, and each score's rank
        correlation (Spearman) with the words of a reply; of many replies on a sample of them."""
        replies = Replies(self._stored.texts_of)
        whole, accepted = replies.likeness(self._whole, self._accepted)
        return {
            "whole_words": whole.words,
            "accepted_words": accepted.words,
            "length_correlations": replies.correlations(self._whole),
        }

    def phrases(self, prompts: Mapping[str, Prompt]) -> dict[str, float]:
        """The phrases that accepted replies share, by the share of the prompts whose replies say them."""
        places = np.concatenate(self._first)
        texts, keys = self._stored.texts_of(places), self._stored.keys_of(places)
        given = ("\n".join(turn.content for turn in prompts[key.prompt_id].messages) for key in keys)
        return shared_phrases(zip(given, (texts[place] for place in places.tolist()), strict=True))


def nothing_accepted(iteration: int, note: Mapping[str, Any]) -> str:
    """Which rules rejected everything, and what to try."""
    rules = "\n".join(f"  - {rule}: rejected {count}" for rule, count in note["rejected_by"].items())
    return (
        f"Iteration {iteration} accepted none of {note['candidates']} candidates, so there is nothing to train on.\n"
        f"{rules}\n"
        "Look at them (rsft show RUN --rejected). Then draw more candidates (--set sampling.candidates=...), help the "
        "model with a template, or relax a rule, in another run folder (--set run=...). No threshold is ever lowered "
        "by itself."
    )
