"""Where keys and values live: a pool of equal pages, and who has which."""

from __future__ import annotations

import math
import mmap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

# Tokens in a page. Smaller ones waste less at the end of a text, larger ones leave less to put together. Measured on
# two cores with a 135M model: 32 is better than 16, 48, 64 and 128.
PAGE = 32

_FREE, _SHARED, _OWN = 0, 1, 2


def page_count(tokens: int) -> int:
    """Pages that so many tokens take."""
    return -(-tokens // PAGE)


class Pages:
    """Which pages are in use.

    Shared pages are taken from the front and own ones from the back, each as near to its end as can be: attention
    computes over the whole range of a kind, so holes in it cost time (never correctness).
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.reserved = 0
        self._kinds = np.zeros(count, dtype=np.int8)

    def reserve(self, pages: int) -> bool:
        """Set pages aside for later; False if there are not so many."""
        if self.reserved + pages > self.count:
            return False
        self.reserved += pages
        return True

    def unreserve(self, pages: int) -> None:
        self.reserved -= pages

    def take(self, pages: int, *, shared: bool) -> list[int]:
        """Pages that were reserved before."""
        free = np.flatnonzero(self._kinds == _FREE)
        taken = free[:pages] if shared else free[::-1][:pages]
        assert len(taken) == pages, "pages are reserved before they are taken"
        self._kinds[taken] = _SHARED if shared else _OWN
        return [int(page) for page in taken]

    def give_back(self, pages: Sequence[int]) -> None:
        self._kinds[list(pages)] = _FREE

    def used(self, *, shared: bool) -> int:
        return int((self._kinds == (_SHARED if shared else _OWN)).sum())

    def range(self, *, shared: bool) -> range:
        """The pages from the first to the last of a kind."""
        used = np.flatnonzero(self._kinds == (_SHARED if shared else _OWN))
        return range(int(used[0]), int(used[-1]) + 1) if len(used) else range(0)

    def close_up(self, *, shared: bool) -> dict[int, int]:
        """Give pages of a kind other numbers, so that its range gets short; which became which."""
        kind = _SHARED if shared else _OWN
        used, free = np.flatnonzero(self._kinds == kind), np.flatnonzero(self._kinds == _FREE)
        far, near = (used[::-1], free) if shared else (used, free[::-1])
        moves = {
            int(page): int(hole)
            for page, hole in zip(far, near, strict=False)
            if (hole < page if shared else hole > page)
        }
        self._kinds[list(moves)] = _FREE
        self._kinds[list(moves.values())] = kind
        return moves


@dataclass(frozen=True, slots=True)
class LayerShape:
    """What one attention layer keeps of a token: key-value heads, and the widths of a key and of a value."""

    heads: int
    key_width: int
    value_width: int

    @property
    def numbers(self) -> int:
        return self.heads * (self.key_width + self.value_width)


@dataclass(slots=True)
class TrunkStates:
    """A trunk's keys and values, (heads, tokens, width) for each layer."""

    keys: list[Any]
    values: list[Any]

    @property
    def tokens(self) -> int:
        return int(self.keys[0].shape[1])


class Pool:
    """Keys and values of every layer, (pages, heads, PAGE, width) each. Pages take no memory before they are used."""

    def __init__(self, shapes: Sequence[LayerShape], pages: int, dtype: Any, device: Any) -> None:
        self.shapes = shapes
        self.dtype = dtype
        self.device = device
        self.pages = Pages(pages)
        self.keys = [_zeros((pages, s.heads, PAGE, s.key_width), dtype, device) for s in shapes]
        self.values = [_zeros((pages, s.heads, PAGE, s.value_width), dtype, device) for s in shapes]

    def trunk_states(self, tokens: int) -> TrunkStates:
        """Room for a trunk. It lies outside the pages, in one piece, and counts as reserved pages."""
        import torch

        def room(heads: int, width: int) -> Any:
            return torch.zeros(heads, tokens, width, dtype=self.dtype, device=self.device)

        return TrunkStates(
            [room(shape.heads, shape.key_width) for shape in self.shapes],
            [room(shape.heads, shape.value_width) for shape in self.shapes],
        )

    def close_up(self, *, shared: bool) -> dict[int, int]:
        """Move pages of a kind together; which became which."""
        moves = self.pages.close_up(shared=shared)
        if moves:
            source, target = self.tensor(list(moves)), self.tensor(list(moves.values()))
            for states in (*self.keys, *self.values):
                states[target] = states[source]
        return moves

    def tensor(self, numbers: Any) -> Any:
        """Whole numbers on the pool's device."""
        import torch

        return torch.as_tensor(np.asarray(numbers, dtype=np.int64), device=self.device)


def _zeros(shape: tuple[int, ...], dtype: Any, device: Any) -> Any:
    """Zeros that take memory only once they are written, where the system can do that.

    They must be zeros: what is masked is multiplied by zero, and whatever lay in memory may be a NaN.
    """
    import torch

    if device.type != "cpu":
        return torch.zeros(shape, dtype=dtype, device=device)
    memory = mmap.mmap(-1, max(1, math.prod(shape) * dtype.itemsize))
    if hasattr(mmap, "MADV_HUGEPAGE"):
        # Large pages of the system's: measured to halve the time of reading through them.
        memory.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(memory, dtype=dtype, count=math.prod(shape)).view(shape)
