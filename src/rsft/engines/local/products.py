"""Attention of candidates' newest tokens in batched products: where there is no kernel for it, and on GPUs.

A token looks at its own pages, at its stem's, and at its trunk. Each of these is one product over keys and values where
they lie (`look`), whatever the lengths of texts; what the looks found is then put together by each one's share of the
softmax (the log-sum-exp merge of 2205.14135, section 3.1). For the axes in names see `attention`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from rsft.engines.local.pages import PAGE, Pool, TrunkStates
from rsft.engines.local.passes import Pass
from rsft.engines.local.texts import Row, Trunk, families

_LOG2E = math.log2(math.e)


@dataclass(frozen=True, slots=True)
class Law:
    """How a layer weighs what it looks at."""

    scaling: float
    window: int | None
    softcap: float | None


@dataclass(frozen=True, slots=True)
class Place:
    """Pages that rows look at: the range of E pages from `first` on, each with its rows and tokens.

    `rows_En` holds row numbers, padded with 0; `starts_E` the position of each page's first token in its text;
    `fills_E` how many tokens each page holds, 0 for one that is not of this place.
    """

    first: int
    rows_En: Any
    starts_E: Any
    fills_E: Any


@dataclass(frozen=True, slots=True)
class TrunkPlace:
    """A trunk and the rows under it."""

    states: TrunkStates
    rows_R: Any


@dataclass(frozen=True, slots=True)
class Sights:
    """Where the rows of a pass look.

    `parts_RP` tells what each row's attention is put together of, as numbers over (own pages, shared pages × lanes,
    rows under trunks); −1 pads.
    """

    own: Place | None
    shared: Place | None
    trunks: Sequence[TrunkPlace]
    parts_RP: Any


def decode(texts: Pass, layer: int, q_RHD: Any, law: Law) -> Any:
    """Each row's newest token looks at its own pages, at its stem's and at its trunk: (R, H, D)."""
    heads, width = texts.pool.keys[layer].shape[1], texts.pool.values[layer].shape[-1]
    rows = q_RHD.shape[0]
    group = q_RHD.shape[1] // heads
    sights = texts.once("sights", lambda: _sights(texts.pool, texts.rows))
    looks = [
        _look_at_pages(texts, name, place, layer, q_RHD, law)
        for name, place in (("own", sights.own), ("shared", sights.shared))
        if place is not None
    ]
    looks += [_look_at_trunk(texts, number, trunk, layer, q_RHD, law) for number, trunk in enumerate(sights.trunks)]
    parts, padding = texts.once(("parts", heads, group), lambda: _flat_parts(sights, heads, group))
    norms = torch.cat([norm.flatten() for _, norm in looks])
    share = torch.softmax(norms.index_select(0, parts.flatten()).view(parts.shape) + padding, -1)
    found = torch.cat([out.view(-1, width) for out, _ in looks])
    out = torch.nn.functional.embedding_bag(parts, found, mode="sum", per_sample_weights=share.to(found.dtype))
    return out.view(rows, heads * group, width)


def _look_at_pages(texts: Pass, name: str, place: Place, layer: int, q_RHD: Any, law: Law) -> tuple[Any, Any]:
    """Outputs and norms in the order (page, head, lane, group)."""
    entries = place.rows_En.shape[0]
    pages = slice(place.first, place.first + entries)
    keys, values = texts.pool.keys[layer][pages], texts.pool.values[layer][pages]
    heads, width = keys.shape[1], q_RHD.shape[2]
    group = q_RHD.shape[1] // heads
    lanes = texts.once((name, heads), lambda: _flat_lanes(place, heads))
    bias = texts.once((name, heads, group, law.window), lambda: _page_bias(texts, place, heads, group, law.window))
    q = q_RHD.reshape(-1, group * width).index_select(0, lanes).view(entries * heads, -1, width)
    return look(q, keys.flatten(0, 1), values.flatten(0, 1), bias, law)


def _look_at_trunk(texts: Pass, number: int, trunk: TrunkPlace, layer: int, q_RHD: Any, law: Law) -> tuple[Any, Any]:
    """Outputs and norms in the order (head, row, group)."""
    keys, values = trunk.states.keys[layer], trunk.states.values[layer]
    heads, width = keys.shape[0], q_RHD.shape[2]
    group = q_RHD.shape[1] // heads
    name = ("trunk", number, heads, group, law.window)
    bias = texts.once(name, lambda: _trunk_bias(texts, trunk, heads, group, law.window))
    q = q_RHD.index_select(0, trunk.rows_R).view(-1, heads, group, width).transpose(0, 1).flatten(1, 2)
    return look(q, keys, values, bias, law)


def look(q_BMD: Any, k_BLD: Any, v_BLD: Any, bias: Any, law: Law) -> tuple[Any, Any]:
    """Softmax attention of each query over one place: outputs (B, M, D), and the log of the sum that it divided by
    (B, M)."""
    # Scores in units of log 2: powers of two are quicker to compute than powers of e.
    if law.softcap is None:
        scores = torch.baddbmm(bias, q_BMD, k_BLD.transpose(1, 2), alpha=law.scaling * _LOG2E).float()
    else:
        scores = torch.bmm(q_BMD, k_BLD.transpose(1, 2)).float().mul_(law.scaling / law.softcap).tanh_()
        scores = scores.mul_(law.softcap * _LOG2E).add_(bias)
    highest = scores.amax(-1, keepdim=True)
    weights = scores.sub_(highest).exp2_()
    total = weights.sum(-1, keepdim=True)
    out = torch.bmm(weights.div_(total).to(v_BLD.dtype), v_BLD)
    return out, (highest / _LOG2E + total.log())[..., 0]


def _flat_lanes(place: Place, heads: int) -> Any:
    """The rows of the flat queries (R × K) that look at each page, in the order (page, head, lane)."""
    head = torch.arange(heads, device=place.rows_En.device)[:, None]
    return (place.rows_En[:, None] * heads + head).flatten()


def _page_bias(texts: Pass, place: Place, heads: int, group: int, window: int | None) -> Any:
    """What hides the tokens that are not there, or out of the window: (E × K, 1 or n × G, PAGE)."""
    entries, lanes = place.rows_En.shape
    token = torch.arange(PAGE, device=place.rows_En.device)
    absent = token >= place.fills_E[:, None]
    if window is None:
        bias = bias_of(absent, texts.pool.dtype)[:, None, None]
        return bias.expand(entries, heads, 1, PAGE).reshape(entries * heads, 1, PAGE)
    position = texts.positions_N[place.rows_En][..., None]
    far = position - (place.starts_E[:, None] + token)[:, None] >= window
    bias = bias_of(absent[:, None] | far, texts.pool.dtype)[:, None, :, None]
    return bias.expand(entries, heads, lanes, group, PAGE).reshape(entries * heads, lanes * group, PAGE)


def _trunk_bias(texts: Pass, trunk: TrunkPlace, heads: int, group: int, window: int | None) -> Any:
    """The same for a trunk: (1 or K, 1 or R × G, L)."""
    rows, length = trunk.rows_R, trunk.states.keys[0].shape[1]
    if window is None:
        return torch.zeros(1, 1, length, dtype=texts.pool.dtype, device=rows.device)
    far = texts.positions_N[rows][:, None] - torch.arange(length, device=rows.device) >= window
    bias = bias_of(far, texts.pool.dtype)[None, :, None]
    return bias.expand(heads, len(rows), group, length).reshape(heads, len(rows) * group, length)


def _flat_parts(sights: Sights, heads: int, group: int) -> tuple[Any, Any]:
    """`Sights.parts_RP` for each query head, (R × H, P), as rows of what was found, and what makes padding weigh 0."""
    part = sights.parts_RP[:, None].clamp(min=0)
    head = torch.arange(heads, device=part.device)[None, :, None]
    own = sights.own.rows_En.shape[0] if sights.own else 0
    entries, lanes = sights.shared.rows_En.shape if sights.shared else (0, 1)
    page, lane = (part - own) // lanes, (part - own) % lanes
    flat = torch.where(part < own, part * heads + head, own * heads + (page * heads + head) * lanes + lane)
    start = own + entries * lanes
    for trunk in sights.trunks:
        under = len(trunk.rows_R)
        flat = torch.where(part >= start, start * heads + head * under + part - start, flat)
        start += under
    flat = flat[:, :, None] * group + torch.arange(group, device=part.device)[:, None]
    padding = torch.where(sights.parts_RP < 0, -torch.inf, 0.0)[:, None].expand(-1, heads * group, -1)
    return flat.view(-1, flat.shape[-1]), padding.reshape(-1, padding.shape[-1])


def bias_of(hidden: Any, dtype: Any) -> Any:
    """0 for what is seen, and for what is hidden so little that it weighs nothing, but finite."""
    bias = torch.zeros(hidden.shape, dtype=dtype, device=hidden.device)
    return bias.masked_fill_(hidden, torch.finfo(dtype).min / 4)


# -- where rows look -------------------------------------------------------------------------------------------------


def _sights(pool: Pool, rows: Sequence[Row]) -> Sights:
    parts: list[list[int]] = [[] for _ in rows]
    own = _Pages(pool.pages.range(shared=False), 1)
    for number, row in enumerate(rows):
        own.add(row.pages, [number], len(row.stem.prompt_ids), len(row.token_ids), parts, 0)
    by_stem = families(rows)
    shared = _Pages(pool.pages.range(shared=True), max(len(numbers) for _, numbers in by_stem))
    under: dict[int, tuple[Trunk, list[int]]] = {}
    for stem, numbers in by_stem:
        shared.add(stem.pages, numbers, stem.start, len(stem.token_ids), parts, own.size)
        if stem.trunk:
            under.setdefault(id(stem.trunk), (stem.trunk, []))[1].extend(numbers)
    next_part = own.size + shared.size
    trunks = []
    for trunk, numbers in under.values():
        trunks.append(TrunkPlace(trunk.states, pool.tensor(numbers)))
        for number in numbers:
            parts[number].append(next_part)
            next_part += 1
    table = np.full((len(rows), max(map(len, parts))), -1)
    for number, of_row in enumerate(parts):
        table[number, : len(of_row)] = of_row
    return Sights(own.place(pool), shared.place(pool), trunks, pool.tensor(table))


class _Pages:
    """A `Place` in the making."""

    def __init__(self, pages: range, lanes: int) -> None:
        self.first = pages.start
        self.size = len(pages) * lanes
        self.lanes = lanes
        self.rows = np.zeros((len(pages), lanes), np.int64)
        self.starts = np.zeros(len(pages), np.int64)
        self.fills = np.zeros(len(pages), np.int64)

    def add(
        self, pages: Sequence[int], rows: Sequence[int], start: int, tokens: int, parts: list[list[int]], before: int
    ) -> None:
        """A text of `tokens` tokens from position `start` on lies in `pages`, and `rows` look at it."""
        for turn, page in enumerate(pages):
            entry = page - self.first
            self.rows[entry, : len(rows)] = rows
            self.starts[entry] = start + turn * PAGE
            self.fills[entry] = min(PAGE, tokens - turn * PAGE)
            for lane, row in enumerate(rows):
                parts[row].append(before + entry * self.lanes + lane)

    def place(self, pool: Pool) -> Place | None:
        if self.size == 0:
            return None
        return Place(self.first, *(pool.tensor(numbers) for numbers in (self.rows, self.starts, self.fills)))
