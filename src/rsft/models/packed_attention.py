"""Attention over a pack: each token sees what is before it in its own row, though rows share tokens."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention

from rsft.models.attention import check_arguments
from rsft.models.packing import Pack


def attend(
    _module: Any,
    query: Any,
    key: Any,
    value: Any,
    *_: Any,
    pack: Pack,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    dropout: float = 0.0,
    **others: Any,
) -> tuple[Any, None]:
    """The attention function that transformers calls: query (1, H, N, D), key and value (1, K, N, D).

    Raises UnknownAttention for an argument that would change what is computed.
    """
    check_arguments(others)
    lengths = [stretch.tokens for stretch in pack.stretches]
    queries, keys, values = (states.split(lengths, dim=2) for states in (query, key, value))
    seen = []
    for number, stretch in enumerate(pack.stretches):
        path = (*stretch.before, number)
        k, v = (torch.cat([states[place] for place in path], dim=2) for states in (keys, values))
        mask = pack.once((number, sliding_window), partial(_mask, pack, number, sliding_window))
        seen.append(_attend(queries[number], k, v, mask, scaling, softcap, dropout))
    return torch.cat(seen, dim=2).transpose(1, 2), None


def _attend(q: Any, k: Any, v: Any, mask: Any, scaling: float | None, softcap: float | None, dropout: float) -> Any:
    """q (1, H, N, D), k and v (1, K, M, D), mask (N, M) or None for causal: (1, H, N, D)."""
    if q.device.type == "cpu" and q.dtype != torch.float32:
        # Backwards, what a CPU does in half precision takes three times as long.
        return _attend(q.float(), k.float(), v.float(), mask, scaling, softcap, dropout).to(q.dtype)
    if softcap is None:
        return scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=mask,
            is_causal=mask is None,
            dropout_p=dropout,
            scale=scaling,
            enable_gqa=q.shape[1] != k.shape[1],
        )
    repeat = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(repeat, 1), v.repeat_interleave(repeat, 1)
    scores = q @ k.transpose(2, 3) * (q.shape[-1] ** -0.5 if scaling is None else scaling)
    scores = softcap * torch.tanh(scores / softcap)
    if mask is None:
        mask = torch.ones(scores.shape[2:], dtype=torch.bool, device=q.device).tril()
    weights = scores.masked_fill(~mask, -torch.inf).float().softmax(-1).to(q.dtype)
    return torch.nn.functional.dropout(weights, dropout) @ v


def _mask(pack: Pack, number: int, window: int | None) -> Any:
    """What the stretch's tokens see of those before them and of themselves, (N, M) bools; None if that is causal."""
    stretch = pack.stretches[number]
    longest = int(pack.positions_N.max()) + 1
    if not stretch.before and len(stretch.blocks) == 1 and (window is None or longest <= window):
        return None
    starts = pack.starts
    own = pack.positions_N[starts[number] : starts[number + 1]]
    path = [pack.positions_N[starts[place] : starts[place + 1]] for place in (*stretch.before, number)]
    block = torch.repeat_interleave(torch.tensor(stretch.blocks)).to(own.device)
    before = sum(len(part) for part in path[:-1])
    distance = own[:, None] - torch.cat(path)[None]
    sees = distance >= 0
    sees[:, before:] &= block[:, None] == block[None]
    return sees if window is None else sees & (distance < window)
