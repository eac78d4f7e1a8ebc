"""Attention over a tree of texts: a trunk that prompts share, a prompt's stem that its candidates share, their tails.

The model's own code does everything but attention, which lands in `attend`. It keeps the new tokens' keys and values,
and lets each look at what comes before it in its text: in C (`kernel`) on a CPU that can compile it, else in torch
(`products`).
"""

from __future__ import annotations

from typing import Any

from rsft.engines.local import products
from rsft.engines.local.kernel import kernel_for
from rsft.engines.local.passes import Law, Pass
from rsft.models.attention import check_arguments


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
    kernel = texts.once(("kernel", texts.pool.shapes[layer]), lambda: kernel_for(texts.pool, layer))
    return (kernel or products).attend(texts, layer, q_NHD, k_NKD, v_NKD, law)[None], None
