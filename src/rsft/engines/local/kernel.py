"""Attention in C, for CPUs: what a pass carries, laid out for `native/attention.c`."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import torch

from rsft.engines.local.pages import PAGE, Pool, TrunkStates, page_count
from rsft.engines.local.passes import Law, Pass
from rsft.engines.local.texts import families
from rsft.models.native import library

# Tokens that look together: enough to make unpacking cheap, few enough to stay in a core's nearest cache.
_BLOCK_TOKENS = 8
_POOL = 0


class Kernel:
    """The compiled function, for one kind of numbers and one width of keys and of values."""

    def __init__(self, compiled: ctypes.CDLL) -> None:
        self._attend = compiled.attend
        at, whole, real = ctypes.c_void_p, ctypes.c_int64, ctypes.c_float
        tables = (at, at, whole, at, whole, at, at)
        self._attend.argtypes = (at, at, at, at, *tables, whole, whole, real, real, whole, ctypes.c_int)
        self._attend.restype = None

    def attend(self, texts: Pass, layer: int, q_NHD: Any, k_NKD: Any, v_NKD: Any, law: Law) -> Any:
        """Keep the new tokens' keys and values, and let every token look: (N, H, D)."""
        q_NHD, k_NKD, v_NKD = q_NHD.contiguous(), k_NKD.contiguous(), v_NKD.contiguous()
        count, queries = q_NHD.shape[:2]
        heads, width = v_NKD.shape[1:]
        out_NHD = q_NHD.new_empty(count, queries, width)
        table = texts.once("kernel", lambda: _Table(texts))
        lying = [(texts.pool.keys[layer], texts.pool.values[layer], 0)]
        lying += [(trunk.keys[layer], trunk.values[layer], trunk.tokens) for trunk in table.trunks]
        kept = np.array([(k.data_ptr(), v.data_ptr(), tokens) for k, v, tokens in lying], np.int64)
        self._attend(
            *(states.data_ptr() for states in (q_NHD, k_NKD, v_NKD, out_NHD)),
            kept.ctypes.data,
            table.tokens.ctypes.data,
            count,
            table.blocks.ctypes.data,
            len(table.blocks),
            table.numbers.ctypes.data,
            table.visits.ctypes.data,
            heads,
            queries // heads,
            law.scaling * math.log2(math.e),
            (law.softcap or 0.0) * math.log2(math.e),
            law.window or 0,
            torch.get_num_threads(),
        )
        return out_NHD


class _Table:
    """Where each token is kept, and who looks where, as the kernel reads it: see the structures of these names there.

    What is kept lies in the pool, number 0, or in one of `trunks`, numbered from 1 on.
    """

    def __init__(self, texts: Pass) -> None:
        self.trunks: list[TrunkStates] = []
        self._blocks: list[tuple[int, ...]] = []
        self._numbers: list[int] = []
        self._visits: list[tuple[int, ...]] = []
        self._begun = 0
        inside, places = np.zeros(len(texts.ids_N), np.int64), texts.places_N.numpy().copy()
        for stem, family in families(texts.rows):
            for first in range(0, len(family), _BLOCK_TOKENS):
                some = family[first : first + _BLOCK_TOKENS]
                if stem.trunk:
                    self._visit_trunk(stem.trunk.states, stem.start, len(some))
                self._visit(_POOL, stem.pages, stem.start, len(stem.token_ids), 0, len(some))
                for turn, row in enumerate(texts.rows[number] for number in some):
                    self._visit(_POOL, row.pages, len(stem.prompt_ids), len(row.token_ids), turn, turn + 1)
                self._end_block(some)
        for piece in texts.pieces:
            start = piece.trunk.tokens if piece.trunk else 0
            for first in range(piece.first, piece.last, _BLOCK_TOKENS):
                numbers = range(first, min(first + _BLOCK_TOKENS, piece.last))
                read = piece.before + numbers.stop - piece.first
                if piece.trunk:
                    self._visit_trunk(piece.trunk, start, len(numbers))
                if piece.into:
                    self._visit_trunk(piece.into, read, len(numbers))
                else:
                    self._visit(_POOL, piece.pages, start, read, 0, len(numbers))
                self._end_block(numbers)
            if piece.into:
                inside[piece.first : piece.last] = self._number(piece.into)
                places[piece.first : piece.last] = np.arange(piece.before, piece.before + piece.last - piece.first)
        self.tokens = np.stack([inside, places, texts.positions_N.numpy()], 1)
        self.blocks = np.array(self._blocks, np.int64)
        self.numbers = np.array(self._numbers, np.int64)
        self.visits = np.array(self._visits, np.int64)

    def _number(self, trunk: TrunkStates) -> int:
        if not any(trunk is known for known in self.trunks):
            self.trunks.append(trunk)
        return 1 + next(number for number, known in enumerate(self.trunks) if known is trunk)

    def _visit_trunk(self, trunk: TrunkStates, tokens: int, last: int) -> None:
        self._visit(self._number(trunk), range(page_count(tokens)), 0, tokens, 0, last)

    def _visit(self, where: int, pages: Sequence[int], start: int, tokens: int, first: int, last: int) -> None:
        """Tokens `first` to `last` of the block look at a text of `tokens` tokens from position `start` on."""
        for page, done in zip(pages, range(0, tokens, PAGE), strict=False):
            self._visits.append((where, page * PAGE, start + done, min(PAGE, tokens - done), first, last))

    def _end_block(self, numbers: Sequence[int]) -> None:
        self._blocks.append((len(self._numbers), len(numbers), self._begun, len(self._visits) - self._begun))
        self._numbers += numbers
        self._begun = len(self._visits)


@cache
def _kernel(dtype: str, key_width: int, value_width: int) -> Kernel | None:
    found = library("attention.c", dtype, PAGE=PAGE, KEY_WIDTH=key_width, VALUE_WIDTH=value_width)
    return Kernel(found) if found else None


def kernel_for(pool: Pool, layer: int) -> Kernel | None:
    """The kernel for a layer of the pool, or None where there is none."""
    if pool.device.type != "cpu":
        return None
    shape = pool.shapes[layer]
    return _kernel(str(pool.dtype).removeprefix("torch."), shape.key_width, shape.value_width)
