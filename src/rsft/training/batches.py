"""Which replies are learnt in which step."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import pairwise

from rsft.models.packing import ReplyRow


def apart(rows: Sequence[ReplyRow], share: float, seed: int) -> tuple[list[ReplyRow], list[ReplyRow]]:
    """Rows to learn from, and those of about this share of the conversations: of one at least, if there is a share, and
    never of all."""
    conversations = sorted({row.prompt_ids for row in rows})
    count = min(max(1, round(share * len(conversations))), len(conversations) - 1) if share else 0
    held_out = set(random.Random(seed).sample(conversations, count))
    return (
        [row for row in rows if row.prompt_ids not in held_out],
        [row for row in rows if row.prompt_ids in held_out],
    )


def batches(rows: Sequence[ReplyRow], batch_size: int, steps: int, seed: int) -> list[list[int]]:
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


def split(rows: Sequence[ReplyRow], numbers: Sequence[int], parts: int) -> list[list[int]]:
    """The numbers of some rows in so many parts, each of neighbours, the largest with the fewest tokens to read.

    Some parts may be empty, and are where there are fewer rows.
    """
    least, most = 1, sum(len(rows[number].prompt_ids) + len(rows[number].reply_ids) for number in numbers)
    while least < most:
        middle = (least + most) // 2
        if len(_filled(rows, numbers, middle)) <= parts:
            most = middle
        else:
            least = middle + 1
    found = _filled(rows, numbers, most)
    return found + [[] for _ in range(parts - len(found))]


def _filled(rows: Sequence[ReplyRow], numbers: Sequence[int], most_tokens: int) -> list[list[int]]:
    """The rows in as few parts of so many tokens as they take; a part of one row may have more."""
    parts: list[list[int]] = [[]]
    tokens = 0
    for number in numbers:
        row = rows[number]
        is_read = bool(parts[-1]) and rows[parts[-1][-1]].prompt_ids == row.prompt_ids
        further = len(row.reply_ids) + (0 if is_read else len(row.prompt_ids))
        if parts[-1] and tokens + further > most_tokens:
            parts.append([])
            tokens, further = 0, len(row.reply_ids) + len(row.prompt_ids)
        parts[-1].append(number)
        tokens += further
    return parts
