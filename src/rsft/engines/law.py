"""The sampling law: logits become tokens, one uniform number per candidate and step.

Axes in names: R rows (candidates), V the vocabulary, B its blocks, S the tokens of a shortlist.
"""

from __future__ import annotations

import ctypes
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from rsft.models.native import library
from rsft.types import SamplingParams

_LOG2E = math.log2(math.e)
# Rows whose weights are worked on together: so few that they stay in the processor's cache between two operations.
_CACHED_ROWS = 32
# Neighbouring tokens whose weights are summed, or their highest found, before one looks at each.
_BLOCK = 32
# The tokens that cuts keep are looked for among so many at first, then among more, then among all.
_SHORTLISTS = (64, 1024)


@dataclass(frozen=True, slots=True)
class Drawn:
    """One step's tokens (R,), with their log-probabilities in nats under the sampling law and the plain model."""

    tokens: Any
    logprobs: Any
    model_logprobs: Any


def uniforms(seed: int, steps: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """A candidate's random numbers in [0, 1), shape (steps,), from a counter-based generator (Philox4x64)."""
    return np.random.Generator(np.random.Philox(key=seed)).random(steps, dtype=np.float32)


def draw(logits_RV: Any, uniforms_R: Any, params: SamplingParams, seen_RS: Any = None) -> Drawn:
    """Draw a token for each row by inverting the law's distribution function, in the order of token ids.

    The law, in this order: logits of the tokens in `seen_RS` (a row's text so far, padded with any of its tokens) are
    penalised (1909.05858), all are divided by the temperature, and tokens are cut by top-k, by top-p among what is
    left (1904.09751), and by min-p (2407.01082). A cut keeps all tokens that are as likely as the last one it keeps,
    so the law depends on nothing but probabilities. Temperature 0 takes the likeliest token, the first of equals.
    A row with a logit that is no number, or infinite, gets a log-probability that is none either, and any token.
    """
    import torch

    if (compiled := _compiled(logits_RV, params)) is not None:
        return _draw_compiled(compiled, logits_RV, uniforms_R, params, seen_RS)
    count = len(logits_RV)
    rows = min(count, _CACHED_ROWS) if logits_RV.device.type == "cpu" else count
    # The same memory for all chunks: fresh memory costs more than the arithmetic in it.
    buffers = torch.empty(2, rows, logits_RV.shape[1], dtype=torch.float32, device=logits_RV.device)
    parts = []
    for first in range(0, count, rows):
        chunk = slice(first, min(count, first + rows))
        seen = None if seen_RS is None else seen_RS[chunk]
        here_RV, buffer_RV = buffers[:, : chunk.stop - first]
        here_RV.copy_(logits_RV[chunk])
        parts.append(_draw(here_RV, uniforms_R[chunk], params, seen, buffer_RV))
    return Drawn(*(torch.cat(column) for column in zip(*parts, strict=True)))


def _compiled(logits_RV: Any, params: SamplingParams) -> Any:
    """The same in C (`native/law.c`), or None where there is none."""
    dtype = "float32" if params.repetition_penalty != 1 else str(logits_RV.dtype).removeprefix("torch.")
    found = library("law.c", dtype) if logits_RV.device.type == "cpu" else None
    return found.draw if found else None


def _draw_compiled(function: Any, logits_RV: Any, uniforms_R: Any, params: SamplingParams, seen_RS: Any) -> Drawn:
    import torch

    rows, vocabulary = logits_RV.shape
    logits_RV = shaped_RV = logits_RV.contiguous()
    if params.repetition_penalty != 1:
        logits_RV = logits_RV.float()
        shaped_RV = _penalised(logits_RV, seen_RS, params.repetition_penalty)
    uniforms_R = uniforms_R.float().contiguous()
    drawn = Drawn(torch.empty(rows, dtype=torch.long), torch.empty(rows), torch.empty(rows))
    at, whole, real = ctypes.c_void_p, ctypes.c_int64, ctypes.c_float
    function.argtypes = (at, at, at, whole, whole, real, real, real, whole, ctypes.c_int, at, at, at)
    failed = function(
        logits_RV.data_ptr(),
        shaped_RV.data_ptr(),
        uniforms_R.data_ptr(),
        rows,
        vocabulary,
        params.temperature,
        params.top_p,
        params.min_p,
        params.top_k,
        torch.get_num_threads(),
        drawn.tokens.data_ptr(),
        drawn.logprobs.data_ptr(),
        drawn.model_logprobs.data_ptr(),
    )
    if failed:
        raise MemoryError("there is no memory to draw tokens in")
    return drawn


def _draw(logits_RV: Any, uniforms_R: Any, params: SamplingParams, seen_RS: Any, buffer_RV: Any) -> tuple[Any, ...]:
    """`draw` for fp32 logits; the buffer is as large as they are."""
    import torch

    highest_R1 = logits_RV.amax(-1, keepdim=True)
    broken_R1 = ~highest_R1.isfinite()
    if bool(broken_R1.any()):
        logits_RV.masked_fill_(broken_R1, 0.0)
        highest_R1 = highest_R1.masked_fill(broken_R1, 0.0)
    weights_RV = _weights(logits_RV, highest_R1, 1.0, buffer_RV)
    model_norm_R = (weights_RV.sum(-1).log() + highest_R1[:, 0]).masked_fill(broken_R1[:, 0], torch.nan)
    shaped_RV = logits_RV
    if params.repetition_penalty != 1:
        shaped_RV = _penalised(logits_RV, seen_RS, params.repetition_penalty)
        highest_R1 = shaped_RV.amax(-1, keepdim=True)
    if params.temperature == 0:
        tokens_R = _first_of(shaped_RV, highest_R1)
        return tokens_R, torch.zeros_like(model_norm_R), _at(logits_RV, tokens_R) - model_norm_R
    if params.temperature != 1 or shaped_RV is not logits_RV:
        weights_RV = _weights(shaped_RV, highest_R1, params.temperature, buffer_RV)
    if params.top_k == 0 and params.top_p >= 1 and params.min_p == 0:
        tokens_R, weight_R, mass_R = _invert(weights_RV, uniforms_R)
    else:
        tokens_R, weight_R, mass_R = _cut_and_invert(weights_RV, uniforms_R, params)
    return tokens_R, (weight_R / mass_R).log(), _at(logits_RV, tokens_R) - model_norm_R


def _weights(logits_RV: Any, highest_R1: Any, temperature: float, buffer_RV: Any) -> Any:
    """What is proportional to the probabilities, 1 for the likeliest. Powers of two: quicker than powers of e."""
    import torch

    factor = _LOG2E / temperature
    return torch.add(highest_R1 * -factor, logits_RV, alpha=factor, out=buffer_RV).exp2_()


def _penalised(logits_RV: Any, seen_RS: Any, penalty: float) -> Any:
    import torch

    seen = logits_RV.gather(1, seen_RS)
    return logits_RV.scatter(1, seen_RS, torch.where(seen < 0, seen * penalty, seen / penalty))


def _at(values_RV: Any, places_R: Any) -> Any:
    return values_RV.gather(1, places_R[:, None])[:, 0]


def _blocks(values_RV: Any, padding: float) -> Any:
    """(R, B, _BLOCK)"""
    import torch

    over = -values_RV.shape[1] % _BLOCK
    padded = torch.nn.functional.pad(values_RV, (0, over), value=padding) if over else values_RV
    return padded.view(len(values_RV), -1, _BLOCK)


def _first_of(values_RV: Any, highest_R1: Any) -> Any:
    """The first place of each row's highest value: by blocks, since an argmax of whole rows is slow."""
    blocks_RBS = _blocks(values_RV, -math.inf)
    block_R = (blocks_RBS.amax(-1) == highest_R1).byte().argmax(-1)
    inside = blocks_RBS.gather(1, block_R[:, None, None].expand(-1, 1, _BLOCK))[:, 0]
    return block_R * _BLOCK + (inside == highest_R1).byte().argmax(-1)


def _invert(weights_RV: Any, uniforms_R: Any) -> tuple[Any, Any, Any]:
    """For each row the place where its running sum first exceeds uniform × total, its weight, and that total.

    Sums over blocks first and inside one block after: a running sum over a whole vocabulary is several times slower.
    A place of zero weight is never chosen.
    """
    import torch

    blocks_RBS = _blocks(weights_RV, 0.0)
    ends_RB = blocks_RBS.sum(-1).cumsum(-1)
    mass_R = ends_RB[:, -1]
    target_R = torch.minimum(uniforms_R * mass_R, torch.nextafter(mass_R, torch.zeros_like(mass_R)))
    block_R = torch.searchsorted(ends_RB, target_R[:, None], right=True)[:, 0]
    inside_RS = blocks_RBS.gather(1, block_R[:, None, None].expand(-1, 1, _BLOCK))[:, 0]
    sums_RS = inside_RS.cumsum(-1)
    start_R = torch.where(block_R > 0, _at(ends_RB, (block_R - 1).clamp(min=0)), 0.0)
    rest_R = torch.minimum(target_R - start_R, torch.nextafter(sums_RS[:, -1], torch.zeros_like(mass_R)))
    place_R = torch.searchsorted(sums_RS, rest_R[:, None], right=True)[:, 0]
    return block_R * _BLOCK + place_R, _at(inside_RS, place_R), mass_R


def _cut_and_invert(weights_RV: Any, uniforms_R: Any, params: SamplingParams) -> tuple[Any, Any, Any]:
    """As `_invert`, among the tokens that the cuts keep.

    They are looked for in the blocks with the likeliest tokens: in a few first, then, for the rows whose kept tokens
    can't be shown to be there, in more, and at last in all.
    """
    blocks_RBS = _blocks(weights_RV, 0.0)
    total_R = weights_RV.sum(-1)
    found, unsure = _cut_in_shortlist(blocks_RBS, total_R, uniforms_R, params, _SHORTLISTS[0])
    for size in (*_SHORTLISTS[1:], weights_RV.shape[1]):
        left = unsure.nonzero()[:, 0]
        if len(left) == 0:
            break
        again, still = _cut_in_shortlist(blocks_RBS[left], total_R[left], uniforms_R[left], params, size)
        for values, redone in zip(found, again, strict=True):
            values[left] = redone
        unsure = unsure.index_put((left,), still)
    return found


def _cut_in_shortlist(
    blocks_RBS: Any, total_R: Any, uniforms_R: Any, params: SamplingParams, size: int
) -> tuple[tuple[Any, Any, Any], Any]:
    """(token, its weight, mass) of each row among the kept tokens of its `size` likeliest blocks, and for which rows
    that may not be all that are kept."""
    import torch

    rows, count = blocks_RBS.shape[:2]
    chosen = blocks_RBS.amax(-1).topk(min(size, count), -1)
    block_RB = chosen.indices.sort(-1).values
    flat = (torch.arange(rows, device=block_RB.device)[:, None] * count + block_RB).flatten()
    short_RS = blocks_RBS.reshape(-1, _BLOCK).index_select(0, flat).view(rows, -1)
    cut_R, enough_R = _cut(short_RS.topk(min(size, short_RS.shape[1]), -1).values, total_R, params)
    place_R, weight_R, mass_R = _invert(short_RS.where(short_RS >= cut_R[:, None], 0.0), uniforms_R)
    token_R = _at(block_RB, place_R // _BLOCK) * _BLOCK + place_R % _BLOCK
    # Tokens outside the shortlist are at most as likely as the least of its blocks' likeliest.
    unsure_R = ~enough_R | (cut_R <= chosen.values[:, -1]) if size < count else ~enough_R
    return (token_R, weight_R, mass_R), unsure_R


def _cut(likeliest_RS: Any, total_R: Any, params: SamplingParams) -> tuple[Any, Any]:
    """The least weight that each row keeps, and whether its likeliest tokens, in falling order, were enough to say so.

    `total_R` is the weight of the whole vocabulary.
    """
    import torch

    kept_RS = likeliest_RS
    cut_R = torch.full_like(total_R, params.min_p)
    enough_R = torch.ones_like(total_R, dtype=torch.bool)
    if params.top_k:
        enough_R &= params.top_k < likeliest_RS.shape[1]
        kth_R = likeliest_RS[:, min(params.top_k, likeliest_RS.shape[1]) - 1]
        cut_R = torch.maximum(cut_R, kth_R)
        kept_RS = likeliest_RS.where(likeliest_RS >= kth_R[:, None], 0.0)
        total_R = kept_RS.sum(-1)
    if params.top_p < 1:
        short_RS = kept_RS.cumsum(-1) < params.top_p * total_R[:, None]
        place_R = short_RS.sum(-1)
        enough_R &= place_R < likeliest_RS.shape[1]
        cut_R = torch.maximum(cut_R, _at(likeliest_RS, place_R.clamp(max=likeliest_RS.shape[1] - 1)))
    return cut_R, enough_R
