"""Whether there is memory for what a pass keeps for its way back."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import psutil
import torch

from rsft.training.packing import Pack

_log = logging.getLogger("rsft")

# Logits in the model's precision and in fp32, and the gradients of both, in bytes a number.
_LOGIT_BYTES = 12
# The gradient of a trained weight and Adam's two moments, in fp32.
_TRAINED_BYTES = 12
# Of the memory that is free, so much may be planned for.
_SHARE = 0.8


def is_too_short(module: Any, forward: Callable[[Pack], Any], small: Pack, passes: Sequence[Pack]) -> bool:
    """Whether the activations of some of these passes would not fit into the memory that is free.

    Judged by what `forward` keeps for each token of a `small` pass. Warns if so.
    """
    each = kept_bytes(module, lambda: forward(small)) / len(small.ids_N)
    activations = each * max(len(one.ids_N) for one in passes)
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
    """Memory that torch can still have there."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + unused
    return int(psutil.virtual_memory().available)
