"""Whether there is memory for what a pass keeps for its way back."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import psutil
import torch

from rsft.models.packing import Pack

_log = logging.getLogger("rsft")

# Logits in the model's precision and in fp32, and the gradients of both, in bytes a number.
_LOGIT_BYTES = 12
# The gradient of a trained weight and Adam's two moments, in fp32.
_TRAINED_BYTES = 12
# The memory that so many tokens and twice as many take tells of the rest.
_LOOKED_AT = 64
# Of the memory that is free, so much may be planned for.
_SHARE = 0.8


def is_too_short(module: Any, forward: Callable[[int], None], passes: Sequence[Pack]) -> bool:
    """Whether the activations of some of these passes would not fit into the memory that is free. Warns if so.

    Judged by what `forward` keeps for so many tokens of a row: some for each of them, and with attention that keeps its
    scores some for each pair of them.
    """
    longest = max(int(one.positions_N.max()) + 1 for one in passes)
    few = max(1, min(_LOOKED_AT, longest // 2))
    once, twice = (kept_bytes(module, partial(forward, count)) for count in (few, 2 * few))
    a_pair = max(0.0, (twice - 2 * once) / (2 * few**2))
    a_token = once / few - a_pair * few
    activations = max(len(one.ids_N) for one in passes) * (a_token + a_pair * longest)
    logits = _LOGIT_BYTES * max(len(one.sources_T) for one in passes) * module.config.get_text_config().vocab_size
    trained = _TRAINED_BYTES * sum(weight.numel() for weight in module.parameters() if weight.requires_grad)
    free = free_bytes(module.device)
    short = bool(activations + logits + trained > _SHARE * free)
    if short:
        _log.warning(
            "Activations of a pass take about %.1f GiB, and what else it takes leaves %.1f GiB for them: they are"
            " computed again on the way back, which takes a third longer. Shorter passes take less"
            " (training.pack_tokens).",
            activations / 2**30,
            max(0.0, _SHARE * free - logits - trained) / 2**30,
        )
    return short


def kept_bytes(module: Any, forward: Callable[[], Any]) -> int:
    """What a forward pass keeps for the way back, the weights left out."""
    weights = {weight.untyped_storage().data_ptr() for weight in module.parameters()}
    kept: dict[int, Any] = {}

    def keep(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage  # held, so that no later tensor has its address
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        forward()
    return sum(storage.nbytes() for storage in kept.values())


def free_bytes(device: Any) -> int:
    """Memory that torch can still have there; of a CPU's, what falls to each of the processes that train on it."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + unused
    return int(psutil.virtual_memory().available) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
