"""The texts that an engine works on: trunks that prompts share, stems of prompts, and candidates in the making."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import numpy as np

from rsft.engines.base import Request, Watcher
from rsft.engines.local.pages import page_count

# A common beginning is kept apart from so many tokens on, for prompts with so many candidates together: each trunk is
# looked at in a product of its own, which costs as much as a few dozen of every candidate's own tokens.
MIN_TRUNK_TOKENS = 24
MIN_TRUNK_CANDIDATES = 64


@dataclass(slots=True, eq=False)
class Trunk:
    """A beginning that several prompts share. `stems` counts the prompts that still need it."""

    token_ids: Sequence[int]
    read: int = 0
    stems: int = 0
    states: Any = None


@dataclass(slots=True, eq=False)
class Stem:
    """A prompt, what it has beyond its trunk, and the candidates that wait for it.

    `logits` are those behind its last token, from when it is read until its last candidate begins. `spare` tells
    whether the pages of one more candidate are reserved.
    """

    prompt_ids: Sequence[int]
    waiting: deque[Request]
    trunk: Trunk | None = None
    read: int = 0
    alive: int = 0
    spare: bool = False
    pages: list[int] = field(default_factory=list)
    logits: Any = None
    reply_pages: int = field(init=False)

    def __post_init__(self) -> None:
        # A reply's last token is never read.
        self.reply_pages = max(page_count(request.params.max_tokens - 1) for request in self.waiting)

    @property
    def start(self) -> int:
        """The position of its first own token."""
        return len(self.trunk.token_ids) if self.trunk else 0

    @property
    def token_ids(self) -> Sequence[int]:
        return self.prompt_ids[self.start :]

    @property
    def is_read(self) -> bool:
        return self.start + self.read == len(self.prompt_ids)


@dataclass(slots=True, eq=False)
class Row:
    """A candidate in the making. Its newest token has not gone through the model yet.

    `reader` turns its tokens into text as they come, if somebody watches.
    """

    request: Request
    stem: Stem
    uniforms: np.ndarray[Any, np.dtype[np.float32]]
    watcher: Watcher | None
    reader: Any = None
    pages: list[int] = field(default_factory=list)
    token_ids: list[int] = field(default_factory=list)
    logprob: float = 0.0
    model_logprob: float = 0.0

    @property
    def position(self) -> int:
        """Where its newest token stands in the whole text."""
        return len(self.stem.prompt_ids) + len(self.token_ids) - 1


def give_trunks(stems: Sequence[Stem]) -> None:
    """Let prompts with a common beginning share it: the choice that saves most tokens, with one trunk a prompt.

    At least one token of every prompt stays its own.
    """
    order = sorted(stems, key=lambda stem: tuple(stem.prompt_ids))
    for group, length in _groups(order, 0)[1]:
        trunk = Trunk(group[0].prompt_ids[:length], stems=len(group))
        for stem in group:
            stem.trunk = trunk


def join_trunks(stems: Iterable[Stem], trunks: Collection[Trunk]) -> None:
    """Put prompts under the longest of the trunks that are there with which they begin."""
    for stem in stems:
        for trunk in trunks:
            length = len(trunk.token_ids)
            longer = stem.trunk is None or length > len(stem.trunk.token_ids)
            if longer and length < len(stem.prompt_ids) and stem.prompt_ids[:length] == trunk.token_ids:
                stem.trunk = trunk
        if stem.trunk:
            stem.trunk.stems += 1


def neighbours_together(stems: Iterable[Stem]) -> list[Stem]:
    """Prompts in an order in which neighbours have one trunk and about one length."""
    return sorted(stems, key=lambda stem: (stem.prompt_ids[: stem.start], len(stem.prompt_ids), stem.prompt_ids))


def _groups(order: Sequence[Stem], depth: int) -> tuple[int, list[tuple[Sequence[Stem], int]]]:
    """Of sorted prompts that agree up to `depth`: the tokens saved, and the groups with the length that they share."""
    saved = 0
    groups: list[tuple[Sequence[Stem], int]] = []
    for _, run in groupby(order, key=lambda stem: tuple(stem.prompt_ids[depth : depth + MIN_TRUNK_TOKENS])):
        group = list(run)
        length = _agreement(group[0].prompt_ids, group[-1].prompt_ids)
        candidates = sum(len(stem.waiting) for stem in group)
        if len(group) < 2 or candidates < MIN_TRUNK_CANDIDATES or length < depth + MIN_TRUNK_TOKENS:
            continue
        together = (len(group) - 1) * length
        apart, subgroups = _groups(group, length)
        saved += max(together, apart)
        groups += [(group, length)] if together >= apart else subgroups
    return saved, groups


def _agreement(first: Sequence[int], last: Sequence[int]) -> int:
    """How many tokens the two share, leaving each at least one."""
    most = min(len(first), len(last)) - 1
    return next((place for place in range(most) if first[place] != last[place]), most)


def families(rows: Sequence[Row]) -> list[tuple[Stem, list[int]]]:
    """The stems that rows are under, each with the numbers of its rows."""
    found: dict[int, tuple[Stem, list[int]]] = {}
    for number, row in enumerate(rows):
        found.setdefault(id(row.stem), (row.stem, []))[1].append(number)
    return list(found.values())
