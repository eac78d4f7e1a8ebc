"""Choosing among what a run has sampled: part by part, since it may not fit into memory, with a reason for each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from rsft.budget import lists_of_prompts
from rsft.columns import KEY
from rsft.decided import Fared
from rsft.drawn import Sampled
from rsft.errors import SelectionError
from rsft.habits import shared_phrases
from rsft.likeness import Replies, Sample
from rsft.parts import StoredParts
from rsft.selection import Selection
from rsft.selection.pool import Mask, Places
from rsft.selection.selection import ACCEPTED
from rsft.store import RunFolder
from rsft.stored import StoredPool
from rsft.types import CandidateKey, Decision, Prompt

# Accepted replies in which phrases are looked for.
_LOOKED_AT = 10_000


def choose(
    folder: RunFolder,
    arm: str,
    sampled: Sampled,
    fingerprints: Mapping[str, str],
    rules: Callable[[], Selection],
) -> Choice:
    """Have the rules decide on what was sampled, by what scorers with these fingerprints said, and keep the decisions
    as those of an arm. Where they are kept already, they stand, and nobody asks for `rules`.

    Raises SelectionError, with the rules that rejected most, if nothing is accepted: then nothing is decided.
    """
    stored = StoredParts(folder, sampled.iteration, fingerprints, arm, sampled=sampled)
    if stored.decided:
        choice = Choice(stored)
        for part in stored:
            choice.add(part, part.accepted_N, stored.reasons(part))
        return choice
    selection = rules()
    stored = stored.serving(selection)
    choice = Choice(stored)
    folder.decide(arm, _decisions(choice, selection))
    return choice


def has_all(folder: RunFolder, arm: str, iteration: int, fingerprints: Mapping[str, str]) -> bool:
    """Whether the candidates on which an arm decided are all there, with a word of each of these scorers, be it that it
    failed. All of the iteration is gone through."""
    stored = StoredParts(folder, iteration, fingerprints, arm)

    def rows(kind: str, said: Mapping[str, str]) -> Iterator[tuple[Any, Mask]]:
        columns = [*KEY, *said]
        for table in folder.tables(kind, str(iteration), columns, {name: [value] for name, value in said.items()}):
            yield stored.rows_of(table), np.ones(len(table), dtype=np.bool_)

    words = ({"scorer": name, "fingerprint": said} for name, said in fingerprints.items())
    there = [rows("candidates", {}), *(rows("scores", said) for said in words)]
    columns = [stored.joined(np.bool_, False, some) for some in there]
    return all(bool(column.column(part).all()) for column in columns for part in range(stored.count))


class Choice:
    """What was chosen among what was sampled, and by what. It is added part by part."""

    def __init__(self, stored: StoredParts) -> None:
        self.stored = stored
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
        return Fared(self.stored.ids, self._counts_P, self._accepted_P)

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
        replies = Replies(self.stored.texts_of)
        whole, accepted = replies.likeness(self._whole, self._accepted)
        return {
            "whole_words": whole.words,
            "accepted_words": accepted.words,
            "length_correlations": replies.correlations(self._whole),
        }

    def phrases(self, prompts: Mapping[str, Prompt]) -> dict[str, float]:
        """The phrases that accepted replies share, by the share of the prompts whose replies say them."""
        places = np.concatenate(self._first)
        texts, keys = self.stored.texts_of(places), self.stored.keys_of(places)
        given = ("\n".join(turn.content for turn in prompts[key.prompt_id].messages) for key in keys)
        return shared_phrases(zip(given, (texts[place] for place in places.tolist()), strict=True))


def _decisions(choice: Choice, selection: Selection) -> Iterator[tuple[CandidateKey, Decision]]:
    """What rules decide on each candidate, one after the other, each part told to the choice."""
    for part, decided in choice.stored.decided_by(selection):
        choice.add(part, decided.accepted_N, decided.reasons())
        yield from zip(part.keys.all(choice.stored.iteration), decided, strict=True)
    if not choice.fared.accepted_P.any():
        raise SelectionError(_nothing_accepted(choice.stored.iteration, choice.numbers))


def _nothing_accepted(iteration: int, numbers: Mapping[str, Any]) -> str:
    """Which rules rejected everything, and what to try."""
    rules = "\n".join(f"  - {rule}: rejected {count}" for rule, count in numbers["rejected_by"].items())
    return (
        f"Iteration {iteration} accepted none of {numbers['candidates']} candidates, so there is nothing to train on.\n"
        f"{rules}\n"
        "Look at them (rsft show RUN --rejected). Then draw more candidates (--set sampling.candidates=...), help the "
        "model with a template, or relax a rule, in another run folder (--set run=...). No threshold is ever lowered "
        "by itself."
    )
