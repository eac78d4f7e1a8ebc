"""The sampling law: logits become tokens, one uniform number per candidate and step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from rsft.types import SamplingParams

# The nucleus is looked for among this many of the likeliest tokens before the whole vocabulary is sorted.
_SHORTLIST = 256
# Tokens whose probabilities are summed together before the place within them is looked for.
_BLOCK = 256


@dataclass(frozen=True, slots=True)
class Drawn:
    """One step's tokens (rows,), with their log-probabilities in nats under the sampling law and the plain model."""

    tokens: Any
    logprobs: Any
    model_logprobs: Any


def uniforms(seed: int, steps: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """A candidate's random numbers in [0, 1), shape (steps,), from a counter-based generator (Philox4x64)."""
    return np.random.Generator(np.random.Philox(key=seed)).random(steps, dtype=np.float32)


def draw(logits_RV: Any, uniforms_R: Any, params: SamplingParams) -> Drawn:
    """Draw a token for each row by inverting the law's distribution function at the row's uniform number.

    Exact: the tokens that top-k and top-p keep are renormalised, likeliest first, ties in the order of token ids.
    """
    import torch

    logits_RV = logits_RV.float()
    model_norm_R = logits_RV.logsumexp(-1)
    if params.temperature == 0:
        tokens_R = logits_RV.argmax(-1)
        model_R = logits_RV.gather(1, tokens_R[:, None])[:, 0] - model_norm_R
        return Drawn(tokens_R, torch.zeros_like(model_R), model_R)

    probs_RV = torch.softmax(logits_RV / params.temperature, -1)
    if params.top_k == 0 and params.top_p >= 1:
        kept_RK, ids_RK = probs_RV, None
    else:
        kept_RK, ids_RK = _nucleus(probs_RV, params)
    places_R, mass_R = _invert(kept_RK, uniforms_R)
    tokens_R = places_R if ids_RK is None else ids_RK.gather(1, places_R[:, None])[:, 0]
    logprobs_R = (kept_RK.gather(1, places_R[:, None])[:, 0] / mass_R).log()
    model_R = logits_RV.gather(1, tokens_R[:, None])[:, 0] - model_norm_R
    return Drawn(tokens_R, logprobs_R, model_R)


def _invert(weights_RK: Any, uniforms_R: Any) -> tuple[Any, Any]:
    """For each row the place where its running sum first exceeds uniform × total, and that total.

    Sums over blocks first and inside one block after: a running sum over a whole vocabulary is several times slower.
    A place of zero weight is never chosen.
    """
    import torch

    rows, width = weights_RK.shape
    blocks = -(-width // _BLOCK)
    padded = torch.nn.functional.pad(weights_RK, (0, blocks * _BLOCK - width)).view(rows, blocks, _BLOCK)
    ends_RB = padded.sum(-1).cumsum(-1)
    mass_R = ends_RB[:, -1]
    target_R = torch.minimum(uniforms_R * mass_R, torch.nextafter(mass_R, torch.zeros_like(mass_R)))
    block_R = torch.searchsorted(ends_RB, target_R[:, None], right=True)[:, 0]
    inside_RK = padded[torch.arange(rows, device=block_R.device), block_R].cumsum(-1)
    start_R = torch.where(block_R > 0, ends_RB.gather(1, (block_R - 1).clamp(min=0)[:, None])[:, 0], 0.0)
    rest_R = torch.minimum(target_R - start_R, torch.nextafter(inside_RK[:, -1], torch.zeros_like(mass_R)))
    place_R = torch.searchsorted(inside_RK, rest_R[:, None], right=True)[:, 0]
    return block_R * _BLOCK + place_R, mass_R


def _nucleus(probs_RV: Any, params: SamplingParams) -> tuple[Any, Any]:
    """The likeliest tokens that the law keeps: probabilities (0 where cut) and token ids, both (rows, kept)."""
    vocabulary = probs_RV.shape[-1]
    width = min(params.top_k or _SHORTLIST, vocabulary)
    top_RK, ids_RK = probs_RV.topk(width, dim=-1)
    if params.top_k == 0 and width < vocabulary and bool((top_RK.sum(-1) < params.top_p).any()):
        top_RK, ids_RK = probs_RV.sort(dim=-1, descending=True, stable=True)
    total_R1 = top_RK.sum(-1, keepdim=True) if params.top_k else 1.0
    before_RK = top_RK.cumsum(-1) - top_RK
    return top_RK.masked_fill(before_RK >= params.top_p * total_R1, 0.0), ids_RK
