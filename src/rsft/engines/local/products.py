"""Attention in torch: for GPUs, and for CPUs where there is no kernel.

A candidate's newest token looks at its own pages, at its stem's, and at its trunk. Each of these is one batched product
over keys and values where they lie (`_look`), whatever the lengths of texts; what the looks found is then put together
by each one's share of the softmax (the log-sum-exp merge of 2205.14135, section 3.1). Pieces of prompts go through
torch's own attention.

Axes in names: N tokens, R rows (candidates), H query heads, K key-value heads, G = H / K, D the width of a head,
E pages, n lanes (rows that look at one page), B products in a batch, M queries in each, L tokens that are looked at.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from rsft.engines.local.pages import PAGE
from rsft.engines.local.passes import Law, Pass, Piece
from rsft.engines.local.sights import Place, Sights, TrunkPlace, sights_of

_LOG2E = math.log2(math.e)


def attend(texts: Pass, layer: int, q_NHD: Any, k_NKD: Any, v_NKD: Any, law: Law) -> Any:
    """Keep the new tokens' keys and values, and let every token look: (N, H, D)."""
    _write(texts, layer, k_NKD, v_NKD)
    found = [_decode(texts, layer, q_NHD[: len(texts.rows)], law)] if texts.rows else []
    for piece in texts.pieces:
        here = slice(piece.first, piece.last)
        found.append(_read(texts, piece, layer, q_NHD[here], k_NKD[here], v_NKD[here], law))
    return torch.cat(found) if len(found) > 1 else found[0]


# -- keeping keys and values -----------------------------------------------------------------------------------------


def _write(texts: Pass, layer: int, k_NKD: Any, v_NKD: Any) -> None:
    """Put the new tokens' keys and values where they belong."""
    heads = k_NKD.shape[1]
    paged, places = texts.once(("write", heads), lambda: _flat_places(texts, heads))
    for kept, new in ((texts.pool.keys[layer], k_NKD), (texts.pool.values[layer], v_NKD)):
        rows, width = new if paged is None else new[paged], new.shape[2]
        kept.view(-1, width).index_copy_(0, places, rows.reshape(-1, width))
    for piece in texts.pieces:
        if piece.into is not None:
            own = slice(piece.before, piece.before + piece.last - piece.first)
            piece.into.keys[layer][:, own] = k_NKD[piece.first : piece.last].transpose(0, 1)
            piece.into.values[layer][:, own] = v_NKD[piece.first : piece.last].transpose(0, 1)


def _flat_places(texts: Pass, heads: int) -> tuple[Any, Any]:
    """Which tokens go into pages (None: all), and where each of their heads goes, as rows of the flat pool."""
    in_page = texts.places_N >= 0
    paged = None if bool(in_page.all()) else in_page.nonzero()[:, 0]
    places = texts.places_N if paged is None else texts.places_N[paged]
    head = torch.arange(heads, device=places.device)
    return paged, ((places[:, None] // PAGE * heads + head) * PAGE + places[:, None] % PAGE).flatten()


# -- candidates ------------------------------------------------------------------------------------------------------


def _decode(texts: Pass, layer: int, q_RHD: Any, law: Law) -> Any:
    """Each row's newest token looks at its own pages, at its stem's and at its trunk: (R, H, D)."""
    heads, width = texts.pool.keys[layer].shape[1], texts.pool.values[layer].shape[-1]
    rows = q_RHD.shape[0]
    group = q_RHD.shape[1] // heads
    sights = texts.once("sights", lambda: sights_of(texts.pool, texts.rows))
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
    return _look(q, keys.flatten(0, 1), values.flatten(0, 1), bias, law)


def _look_at_trunk(texts: Pass, number: int, trunk: TrunkPlace, layer: int, q_RHD: Any, law: Law) -> tuple[Any, Any]:
    """Outputs and norms in the order (head, row, group)."""
    keys, values = trunk.states.keys[layer], trunk.states.values[layer]
    heads, width = keys.shape[0], q_RHD.shape[2]
    group = q_RHD.shape[1] // heads
    name = ("trunk", number, heads, group, law.window)
    bias = texts.once(name, lambda: _trunk_bias(texts, trunk, heads, group, law.window))
    q = q_RHD.index_select(0, trunk.rows_R).view(-1, heads, group, width).transpose(0, 1).flatten(1, 2)
    return _look(q, keys, values, bias, law)


def _look(q_BMD: Any, k_BLD: Any, v_BLD: Any, bias: Any, law: Law) -> tuple[Any, Any]:
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
        bias = _bias(absent, texts.pool.dtype)[:, None, None]
        return bias.expand(entries, heads, 1, PAGE).reshape(entries * heads, 1, PAGE)
    position = texts.positions_N[place.rows_En][..., None]
    far = position - (place.starts_E[:, None] + token)[:, None] >= window
    bias = _bias(absent[:, None] | far, texts.pool.dtype)[:, None, :, None]
    return bias.expand(entries, heads, lanes, group, PAGE).reshape(entries * heads, lanes * group, PAGE)


def _trunk_bias(texts: Pass, trunk: TrunkPlace, heads: int, group: int, window: int | None) -> Any:
    """The same for a trunk: (1 or K, 1 or R × G, L)."""
    rows, length = trunk.rows_R, trunk.states.tokens
    if window is None:
        return torch.zeros(1, 1, length, dtype=texts.pool.dtype, device=rows.device)
    far = texts.positions_N[rows][:, None] - torch.arange(length, device=rows.device) >= window
    bias = _bias(far, texts.pool.dtype)[None, :, None]
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


def _bias(hidden: Any, dtype: Any) -> Any:
    """0 for what is seen, and for what is hidden so little that it weighs nothing, but finite."""
    bias = torch.zeros(hidden.shape, dtype=dtype, device=hidden.device)
    return bias.masked_fill_(hidden, torch.finfo(dtype).min / 4)


# -- prompts ---------------------------------------------------------------------------------------------------------


def _read(texts: Pass, piece: Piece, layer: int, q_MHD: Any, k_MKD: Any, v_MKD: Any, law: Law) -> Any:
    """A piece looks at what came before it in its text, and at itself up to each token: (M, H, D)."""
    keys_before, values_before = _before(texts, piece, layer)
    keys = torch.cat([*keys_before, k_MKD.transpose(0, 1)], 1)
    values = torch.cat([*values_before, v_MKD.transpose(0, 1)], 1)
    tokens, queries = q_MHD.shape[:2]
    heads, length = keys.shape[:2]
    name = ("hidden", piece.first, law.window)
    hidden = texts.once(name, lambda: _hidden(tokens, length, law.window, keys.device))
    q_HMD = q_MHD.transpose(0, 1)
    if law.softcap is None:
        mask = ~hidden if law.window is not None or length > tokens else None
        out = torch.nn.functional.scaled_dot_product_attention(
            q_HMD[None],
            keys[None],
            values[None],
            attn_mask=mask,
            is_causal=mask is None,
            scale=law.scaling,
            enable_gqa=queries != heads,
        )
        return out[0].transpose(0, 1)
    group = queries // heads
    bias = _bias(hidden, q_MHD.dtype).expand(group, -1, -1).reshape(1, group * tokens, length)
    out, _ = _look(q_HMD.reshape(heads, group * tokens, -1), keys, values, bias, law)
    return out.view(queries, tokens, -1).transpose(0, 1)


def _before(texts: Pass, piece: Piece, layer: int) -> tuple[list[Any], list[Any]]:
    """Keys and values of the tokens before the piece in its text, (K, tokens, D) each."""
    keys, values = [], []
    if piece.trunk is not None:
        keys.append(piece.trunk.keys[layer])
        values.append(piece.trunk.values[layer])
    if piece.before:
        if piece.into is not None:
            keys.append(piece.into.keys[layer][:, : piece.before])
            values.append(piece.into.values[layer][:, : piece.before])
        else:
            numbers = texts.once(("pages", piece.first), lambda: texts.pool.tensor(piece.pages))
            for side, kept in ((keys, texts.pool.keys[layer]), (values, texts.pool.values[layer])):
                pages = kept.index_select(0, numbers).transpose(0, 1)
                side.append(pages.flatten(1, 2)[:, : piece.before])
    return keys, values


def _hidden(tokens: int, length: int, window: int | None, device: Any) -> Any:
    """Which of `length` tokens each of the last `tokens` of them does not see: (tokens, length)."""
    distance = torch.arange(length - tokens, length, device=device)[:, None] - torch.arange(length, device=device)
    hidden = distance < 0
    return hidden if window is None else hidden | (distance >= window)
