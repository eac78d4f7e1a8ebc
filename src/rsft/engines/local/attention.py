"""Attention over a tree of texts: a trunk that prompts share, a prompt's stem that its candidates share, their tails.

The model's own code does everything but attention, which lands in `attend`. Keys and values of new tokens are kept
in pages; candidates' newest tokens look around in `kernel`, or in `products`; pieces of prompts are read here.

Axes in names: N tokens, R rows (candidates), H query heads, K key-value heads, G = H / K, D the width of a head,
E pages, n lanes (rows that look at one page), B products in a batch, M queries in each, L tokens that are looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from rsft.engines.local import products
from rsft.engines.local.kernel import kernel_for
from rsft.engines.local.pages import PAGE
from rsft.engines.local.passes import Pass, Piece
from rsft.engines.local.products import Law, bias_of, look

# What is used, and what models pass along that changes nothing here: positions are in rotated queries and keys already.
_KNOWN = frozenset(
    [
        "texts",
        "scaling",
        "sliding_window",
        "softcap",
        "dropout",
        "position_ids",
        "cache_position",
        "use_cache",
        "output_attentions",
        "output_hidden_states",
        "is_causal",
    ]
)


class UnknownAttention(Exception):
    """The model asks of its attention something that is not known here."""


def attend(
    module: Any,
    query: Any,
    key: Any,
    value: Any,
    *_: Any,
    texts: Pass,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **others: Any,
) -> tuple[Any, None]:
    """The attention function that transformers calls: query (1, H, N, D), key and value (1, K, N, D).

    Raises UnknownAttention for an argument that would change what is computed.
    """
    check_arguments(others)
    q_NHD, k_NKD, v_NKD = (states[0].transpose(0, 1) for states in (query, key, value))
    law = Law(query.shape[-1] ** -0.5 if scaling is None else scaling, sliding_window, softcap)
    layer: int = module.layer_idx
    _write(texts, layer, k_NKD, v_NKD)
    found = []
    if texts.rows:
        kernel = texts.once(("kernel", texts.pool.shapes[layer]), lambda: kernel_for(texts.pool, layer))
        found.append((kernel or products).decode(texts, layer, q_NHD[: len(texts.rows)], law))
    for piece in texts.pieces:
        here = slice(piece.first, piece.last)
        found.append(_read(texts, piece, layer, q_NHD[here], k_NKD[here], v_NKD[here], law))
    return (torch.cat(found) if len(found) > 1 else found[0])[None], None


def check_arguments(said: Mapping[str, Any]) -> None:
    """Raise UnknownAttention where a model asks for what is not known here."""
    unknown = sorted(name for name, given in said.items() if given is not None and name not in _KNOWN)
    if unknown:
        raise UnknownAttention(f"its attention takes {', '.join(unknown)}")


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
    bias = bias_of(hidden, q_MHD.dtype).expand(group, -1, -1).reshape(1, group * tokens, length)
    out, _ = look(q_HMD.reshape(heads, group * tokens, -1), keys, values, bias, law)
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
            for side, kept in ((keys, texts.pool.keys[layer]), (values, texts.pool.values[layer])):
                pages = kept.index_select(0, piece.pages_E).transpose(0, 1)
                side.append(pages.flatten(1, 2)[:, : piece.before])
    return keys, values


def _hidden(tokens: int, length: int, window: int | None, device: Any) -> Any:
    """Which of `length` tokens each of the last `tokens` of them does not see: (tokens, length)."""
    distance = torch.arange(length - tokens, length, device=device)[:, None] - torch.arange(length, device=device)
    hidden = distance < 0
    return hidden if window is None else hidden | (distance >= window)
