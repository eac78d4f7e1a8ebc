"""Which replies are learnt in which step."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import pairwise

from rsft.training.base import TrainingRow


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
