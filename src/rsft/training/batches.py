"""Which replies are learnt in which step."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import pairwise

from rsft.training.base import TrainingRow


def apart(rows: Sequence[TrainingRow], share: float, seed: int) -> tuple[list[TrainingRow], list[TrainingRow]]:
    """Rows to learn from, and those of about this share of the conversations: of one at least, if there is a share, and
    never of all."""
    conversations = sorted({row.prompt_ids for row in rows})
    count = min(max(1, round(share * len(conversations))), len(conversations) - 1) if share else 0
    held_out = set(random.Random(seed).sample(conversations, count))
    return (
        [row for row in rows if row.prompt_ids not in held_out],
        [row for row in rows if row.prompt_ids in held_out],
    )


def batches(rows: Sequence[TrainingRow], batch_size: int, steps: int, seed: int) -> list[list[int]]:
    """The numbers of the rows of each step, over as many epochs as the steps take.

    Each epoch has every row once, in batches of one size or one less. Replies to one conversation are neighbours, since
    they share its tokens; conversations come in a new order each time.
    """
    families: dict[tuple[int, ...], list[int]] = {}
    for number, row in enumerate(rows):
        families.setdefault(row.prompt_ids, []).append(number)
    order = list(families.values())
    lot = random.Random(seed)
    found: list[list[int]] = []
    while len(found) < steps:
        lot.shuffle(order)
        epoch = [number for family in order for number in lot.sample(family, len(family))]
        count = -(-len(rows) // batch_size)
        cuts = [len(rows) * step // count for step in range(count + 1)]
        found += [epoch[first:last] for first, last in pairwise(cuts)]
    return found[:steps]
