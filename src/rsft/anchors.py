"""Rows that are learnt beside what was accepted, against forgetting what the model could do before."""

from __future__ import annotations

from collections.abc import Sequence

from rsft.config.recipe import AnchorSection
from rsft.selection.pool import stable_hash
from rsft.training.base import Accepted
from rsft.types import Candidate, CandidateKey, Prompt


def anchor_rows(
    anchors: Sequence[Prompt], said: AnchorSection | None, accepted: int, iteration: int, seed: int
) -> list[Accepted]:
    """So many of the anchors, each with its reference as the reply, that they are the recipe's share of all rows.

    Which ones, hangs on the run's seed and the iteration alone: the same for each arm. Where there are too few, they
    come again.
    """
    if said is None:
        return []
    wanted = round(said.share / (1 - said.share) * accepted)
    order = sorted(anchors, key=lambda anchor: stable_hash("anchor", seed, iteration, anchor.id))
    chosen = [order[place % len(order)] for place in range(wanted)]
    return [(anchor, _reply(anchor, iteration, place // len(order))) for place, anchor in enumerate(chosen)]


def _reply(anchor: Prompt, iteration: int, time: int) -> Candidate:
    """The reference as a reply that nobody sampled: it has no token ids."""
    key = CandidateKey(iteration, anchor.id, time, "anchor")
    return Candidate(key, str(anchor.fields["reference"]), (), "stop", 0.0, 0.0)
