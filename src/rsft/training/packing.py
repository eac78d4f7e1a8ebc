"""Rows as they are trained: what several of them begin with is there once, and each sees its own tokens alone.

The rows of a pack form a tree. A conversation's tokens are read once for all replies to it, and what conversations have
in common, such as a system prompt, is read once for all of them; so a pass carries each token once, and no padding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, groupby
from typing import Any

from rsft.training.base import TrainingRow

# Tokens that rows must have in common for them to be shared: a stretch of its own costs some time in every layer.
_LEAST_SHARED = 16
# Neighbouring replies attend in one go up to so many tokens: few calls, and not too many scores in vain.
_TOGETHER = 384


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
    """N tokens of some rows in one sequence, and T places at which these rows learn.

    `positions_N` is where a token stands in its row. At place `sources_T` (a token of the pack) the token `targets_T`
    is learnt, with `weights_T`. Rows with several places at one token (the first tokens of replies to one conversation)
    are several places here.
    """

    ids_N: Any
    positions_N: Any
    sources_T: Any
    targets_T: Any
    weights_T: Any
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


def packs(rows: Sequence[TrainingRow], most_tokens: int) -> list[Pack]:
    """Packs of at most so many tokens each, or of one row that has more."""
    return [pack(group) for group in _groups(rows, most_tokens)]


def pack(rows: Sequence[TrainingRow]) -> Pack:
    """One pack of these rows."""
    import torch

    tree = _Tree.of(rows)
    return Pack(
        torch.tensor(tree.ids),
        torch.tensor(tree.positions),
        torch.tensor(tree.sources),
        torch.tensor(tree.targets),
        torch.tensor(tree.weights, dtype=torch.float32),
        tuple(tree.stretches),
    )


def read_tokens(rows: Sequence[TrainingRow]) -> int:
    """How many tokens of these rows must be read if each is read once."""
    return len(_Tree.of(rows).ids)


class _Tree:
    """Lays rows out, a stretch behind the other."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.positions: list[int] = []
        self.sources: list[int] = []
        self.targets: list[int] = []
        self.weights: list[float] = []
        self.stretches: list[Stretch] = []

    @classmethod
    def of(cls, rows: Sequence[TrainingRow]) -> _Tree:
        tree = cls()
        tree.grow(_in_order(rows))
        return tree

    def grow(
        self, rows: Sequence[TrainingRow], depth: int = 0, before: tuple[int, ...] = (), trail: Trail = ()
    ) -> None:
        """Lay out what sorted rows that agree up to `depth` have behind that."""
        ends: list[TrainingRow] = []
        forks: list[Sequence[TrainingRow]] = []
        for _, run in groupby(rows, key=lambda row: row.read_ids[depth : depth + _LEAST_SHARED]):
            group = list(run)
            if len(group) > 1 and _agreement(group) >= depth + _LEAST_SHARED:
                forks.append(group)
            else:
                ends += group
        for few in _few_at_a_time(ends, depth):
            for row in few:
                own = self._lay(row, depth, len(row.read_ids))
                self._teach(row, (*trail, (depth, own)))
            self._stretch(before, [len(row.read_ids) - depth for row in few])
        for fork in forks:
            agreed = _agreement(fork)
            first = self._lay(fork[0], depth, agreed)
            self._stretch(before, [agreed - depth])
            self.grow(fork, agreed, (*before, len(self.stretches) - 1), (*trail, (depth, first)))

    def _lay(self, row: TrainingRow, start: int, end: int) -> int:
        """Lay out these tokens of a row; where they begin in the pack."""
        first = len(self.ids)
        self.ids += row.read_ids[start:end]
        self.positions += range(start, end)
        return first

    def _stretch(self, before: tuple[int, ...], blocks: Sequence[int]) -> None:
        if any(blocks):
            self.stretches.append(Stretch(before, tuple(block for block in blocks if block)))

    def _teach(self, row: TrainingRow, trail: Trail) -> None:
        """Note where a row learns what. `trail` tells where in the pack the tokens from some depth on begin."""
        for number, target in enumerate(row.reply_ids):
            place = len(row.prompt_ids) - 1 + number
            depth, first = next(piece for piece in reversed(trail) if piece[0] <= place)
            self.sources.append(first + place - depth)
            self.targets.append(target)
            self.weights.append(row.weight)


Trail = tuple[tuple[int, int], ...]
"""Pieces of a row: from which token of the row on, and where in the pack that is."""


def _in_order(rows: Sequence[TrainingRow]) -> list[TrainingRow]:
    return sorted(rows, key=lambda row: row.read_ids)


def _agreement(group: Sequence[TrainingRow]) -> int:
    """How many tokens sorted rows all begin with."""
    first, last = group[0].read_ids, group[-1].read_ids
    most = min(len(first), len(last))
    return next((place for place in range(most) if first[place] != last[place]), most)


def _few_at_a_time(rows: Sequence[TrainingRow], depth: int) -> Iterator[list[TrainingRow]]:
    """Rows whose tokens from `depth` on are few enough to attend in one go."""
    some: list[TrainingRow] = []
    for row in rows:
        if some and sum(len(one.read_ids) - depth for one in (*some, row)) > _TOGETHER:
            yield some
            some = []
        some.append(row)
    if some:
        yield some


def _groups(rows: Sequence[TrainingRow], most_tokens: int) -> Iterator[list[TrainingRow]]:
    """Neighbours in the order of their tokens, so that what they share is shared."""
    group: list[TrainingRow] = []
    tokens = 0
    for row in _in_order(rows):
        # A row shares what it has in common with its neighbour, but for fewer tokens than are worth a stretch.
        shared = max(0, _agreement([group[-1], row]) + 1 - _LEAST_SHARED) if group else 0
        further = len(row.read_ids) - shared
        if group and tokens + further > most_tokens:
            yield group
            group, tokens, further = [], 0, len(row.read_ids)
        group.append(row)
        tokens += further
    if group:
        yield group
