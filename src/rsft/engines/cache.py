"""A key-value cache with room to grow, so that a decoding step writes one token instead of copying all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers.cache_utils import Cache, DynamicLayer


class RoomyCache(Cache):  # type: ignore[misc]
    """A transformers cache whose layers are the beginnings of larger buffers."""

    def __init__(self) -> None:
        super().__init__(layers=[])

    @classmethod
    def joined(cls, parts: Sequence[tuple[RoomyCache, Any]], room: int) -> RoomyCache:
        """One cache of the chosen rows of each part, aligned at their last token, with room for `room` more tokens.

        The parts are emptied as their rows are copied, so that memory holds them once.
        """
        whole = cls()
        longest = max(part.layers[0].length for part, _ in parts)
        rows = sum(len(chosen) for _, chosen in parts)
        for place in range(len(parts[0][0].layers)):
            layer = _RoomyLayer()
            sample = parts[0][0].layers[place].keys
            shape = (rows, sample.shape[1], longest + room, sample.shape[3])
            # Zeros, not empty: what padding leaves unwritten is masked, and NaN times zero would still be NaN.
            layer.buffers = tuple(torch.zeros(shape, dtype=sample.dtype, device=sample.device) for _ in range(2))
            start = 0
            for part, chosen in parts:
                source = part.layers[place]
                end = start + len(chosen)
                for buffer, states in zip(layer.buffers, (source.keys, source.values), strict=True):
                    buffer[start:end, :, longest - source.length : longest] = states[chosen]
                source.buffers = source.keys = source.values = None
                start = end
            layer.grow(longest)
            whole.layers.append(layer)
        return whole

    def update(self, key_states: Any, value_states: Any, layer_idx: int, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        while len(self.layers) <= layer_idx:
            self.layers.append(_RoomyLayer())
        keys, values = self.layers[layer_idx].update(key_states, value_states)
        return keys, values

    def batch_select_indices(self, indices: Any) -> None:
        for layer in self.layers:
            layer.batch_select_indices(indices)


class _RoomyLayer(DynamicLayer):  # type: ignore[misc]
    """Keys and values (rows, heads, tokens, width): the first `length` tokens of the buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.length = 0
        self.buffers: tuple[Any, ...] | None = None

    def grow(self, length: int) -> None:
        assert self.buffers is not None
        self.is_initialized = True
        self.length = length
        self.keys, self.values = (buffer[:, :, :length] for buffer in self.buffers)

    def update(self, key_states: Any, value_states: Any, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        if self.buffers is None:
            self.buffers = (key_states, value_states)
            self.grow(key_states.shape[-2])
        else:
            end = self.length + key_states.shape[-2]
            for buffer, states in zip(self.buffers, (key_states, value_states), strict=True):
                buffer[:, :, self.length : end] = states
            self.grow(end)
        return self.keys, self.values

    def get_seq_length(self) -> int:
        return self.length

    def batch_select_indices(self, indices: Any) -> None:
        """Keep the rows in buffers of their own. Only the tokens that are there are copied."""
        assert self.buffers is not None
        kept = tuple(buffer.new_empty(len(indices), *buffer.shape[1:]) for buffer in self.buffers)
        for new, old in zip(kept, self.buffers, strict=True):
            new[:, :, : self.length] = old[:, :, : self.length].index_select(0, indices)
        self.buffers = kept
        self.grow(self.length)
