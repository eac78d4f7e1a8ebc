"""Replies behind their conversations, in one sequence: what several of them begin with is there once, and each sees its
own tokens alone. So they are trained, and so their likelihoods are found.

The rows of a pack form a tree. A conversation's tokens are read once for all replies to it, and what conversations have
in common, such as a system prompt, is read once for all of them; so a pass carries each token once, and no padding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, groupby
from typing import Any

# Tokens that rows must have in common for them to be shared: a stretch of its own costs some time in every layer.
_LEAST_SHARED = 16
# Neighbouring replies attend in one go up to so many tokens: few calls, and not too many scores in vain.
_TOGETHER = 384


@dataclass(frozen=True, slots=True)
class ReplyRow:
    """One reply behind its conversation, in tokens; at least one of each.

    What is learnt, or asked for, is the reply, its end-of-turn token included, and nothing of the conversation. In
    training each of its tokens counts `weight` times.
    """

    prompt_ids: tuple[int, ...]
    reply_ids: tuple[int, ...]
    weight: float = 1.0

    @property
    def read_ids(self) -> tuple[int, ...]:
        """What the model has to read: nothing comes of the last token."""
        return (*self.prompt_ids, *self.reply_ids[:-1])


@dataclass(frozen=True, slots=True)
class Stretch:
    """Neighbouring tokens of a pack that have the same tokens before them: those of the stretches `before`.

    Its `blocks`, which are numbers of tokens, do not see each other; within one, a token sees itself and what is before
    it.
    """

    before: tuple[int, ...]
    blocks: tuple[int, ...]

    @property
    def tokens(self) -> int:
        return sum(self.blocks)


@dataclass(frozen=True, slots=True)
class Pack:
    """N tokens of some rows in one sequence, and T places at which a token of these rows is foreseen.

    `positions_N` is where a token stands in its row. At place `sources_T` (a token of the pack) the token `targets_T`
    is foreseen, for the row of number `rows_T`, which has `weights_T`. Rows with several places at one token (the first
    tokens of replies to one conversation) are several places here.
    """

    ids_N: Any
    positions_N: Any
    sources_T: Any
    targets_T: Any
    weights_T: Any
    rows_T: Any
    stretches: tuple[Stretch, ...]
    _made: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def starts(self) -> list[int]:
        """Where each stretch begins, and where the last one ends."""
        return [0, *accumulate(stretch.tokens for stretch in self.stretches)]

    def to(self, device: Any) -> Pack:
        """The same on a device."""
        return Pack(
            self.ids_N.to(device),
            self.positions_N.to(device),
            self.sources_T.to(device),
            self.targets_T.to(device),
            self.weights_T.to(device),
            self.rows_T,
            self.stretches,
        )

    def idle(self) -> Pack:
        """The same, of which nothing is learnt."""
        return replace(self, weights_T=self.weights_T * 0)

    def once(self, key: Any, make: Callable[[], Any]) -> Any:
        """What `make` gives, made for the first layer that asks for it."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]


def packs(rows: Sequence[ReplyRow], most_tokens: int) -> list[Pack]:
    """Packs of at most so many tokens each, or of one row that has more. Rows are numbered as they come here."""
    read = [row.read_ids for row in rows]
    return [_packed(rows, read, group) for group in _groups(read, most_tokens)]


def pack(rows: Sequence[ReplyRow]) -> Pack:
    """One pack of these rows."""
    read = [row.read_ids for row in rows]
    return _packed(rows, read, _in_order(read, range(len(rows))))


def read_tokens(rows: Sequence[ReplyRow]) -> int:
    """How many tokens of these rows must be read if each is read once."""
    return len(pack(rows).ids_N)


_Read = Sequence[tuple[int, ...]]
"""The tokens of each row, by its number."""


def _packed(rows: Sequence[ReplyRow], read: _Read, numbers: Sequence[int]) -> Pack:
    import torch

    tree = _Tree(rows, read)
    tree.grow(numbers)
    return Pack(
        torch.tensor(tree.ids),
        torch.tensor(tree.positions),
        torch.tensor(tree.sources),
        torch.tensor(tree.targets),
        torch.tensor([rows[number].weight for number in tree.owners], dtype=torch.float32),
        torch.tensor(tree.owners),
        tuple(tree.stretches),
    )


class _Tree:
    """Lays rows out, a stretch behind the other."""

    def __init__(self, rows: Sequence[ReplyRow], read: _Read) -> None:
        self.rows = rows
        self.read = read
        self.ids: list[int] = []
        self.positions: list[int] = []
        self.sources: list[int] = []
        self.targets: list[int] = []
        self.owners: list[int] = []
        self.stretches: list[Stretch] = []

    def grow(self, numbers: Sequence[int], depth: int = 0, before: tuple[int, ...] = (), trail: Trail = ()) -> None:
        """Lay out what these rows, sorted and in agreement up to `depth`, have behind that."""
        ends: list[int] = []
        forks: list[Sequence[int]] = []
        for _, run in groupby(numbers, key=lambda number: self.read[number][depth : depth + _LEAST_SHARED]):
            group = list(run)
            if len(group) > 1 and _agreement(self.read, group) >= depth + _LEAST_SHARED:
                forks.append(group)
            else:
                ends += group
        for few in self._few_at_a_time(ends, depth):
            for number in few:
                own = self._lay(number, depth, len(self.read[number]))
                self._teach(number, (*trail, (depth, own)))
            self._stretch(before, [len(self.read[number]) - depth for number in few])
        for fork in forks:
            agreed = _agreement(self.read, fork)
            first = self._lay(fork[0], depth, agreed)
            self._stretch(before, [agreed - depth])
            self.grow(fork, agreed, (*before, len(self.stretches) - 1), (*trail, (depth, first)))

    def _lay(self, number: int, start: int, end: int) -> int:
        """Lay out these tokens of a row; where they begin in the pack."""
        first = len(self.ids)
        self.ids += self.read[number][start:end]
        self.positions += range(start, end)
        return first

    def _stretch(self, before: tuple[int, ...], blocks: Sequence[int]) -> None:
        if any(blocks):
            self.stretches.append(Stretch(before, tuple(block for block in blocks if block)))

    def _teach(self, number: int, trail: Trail) -> None:
        """Note where which token of a row is foreseen. `trail` tells where in the pack its tokens from some depth on
        begin."""
        row = self.rows[number]
        for offset, target in enumerate(row.reply_ids):
            place = len(row.prompt_ids) - 1 + offset
            depth, first = next(piece for piece in reversed(trail) if piece[0] <= place)
            self.sources.append(first + place - depth)
            self.targets.append(target)
            self.owners.append(number)

    def _few_at_a_time(self, numbers: Sequence[int], depth: int) -> Iterator[list[int]]:
        """Rows whose tokens from `depth` on are few enough to attend in one go."""
        some: list[int] = []
        for number in numbers:
            if some and sum(len(self.read[one]) - depth for one in (*some, number)) > _TOGETHER:
                yield some
                some = []
            some.append(number)
        if some:
            yield some


Trail = tuple[tuple[int, int], ...]
"""Pieces of a row: from which token of the row on, and where in the pack that is."""


def _in_order(read: _Read, numbers: Iterable[int]) -> list[int]:
    return sorted(numbers, key=lambda number: read[number])


def _agreement(read: _Read, group: Sequence[int]) -> int:
    """How many tokens sorted rows all begin with."""
    first, last = read[group[0]], read[group[-1]]
    most = min(len(first), len(last))
    return next((place for place in range(most) if first[place] != last[place]), most)


def _groups(read: _Read, most_tokens: int) -> Iterator[list[int]]:
    """Neighbours in the order of their tokens, so that what they share is shared."""
    group: list[int] = []
    tokens = 0
    for number in _in_order(read, range(len(read))):
        # A row shares what it has in common with its neighbour, but for fewer tokens than are worth a stretch.
        shared = max(0, _agreement(read, [group[-1], number]) + 1 - _LEAST_SHARED) if group else 0
        further = len(read[number]) - shared
        if group and tokens + further > most_tokens:
            yield group
            group, tokens, further = [], 0, len(read[number])
        group.append(number)
        tokens += further
    if group:
        yield group
