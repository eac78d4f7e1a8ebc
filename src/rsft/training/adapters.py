"""Linear layers with an adapter beside them, without bringing what goes through them to fp32 and back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import MethodType
from typing import Any

import torch
from peft.tuners.lora import Linear

from rsft.training.low_rank import gathered, spread, thin


@contextmanager
def quick_adapters(module: Any, *, wanted: bool = True) -> Iterator[None]:
    """For a while, if that is `wanted`, let adapters (LoRA) of a module in half precision take it as it is.

    Their weights and the gradients of these stay in fp32. PEFT would bring all that goes into a layer and all that
    comes out of it to fp32 and back, which takes longer than the products. Layers with dropout, or with more than a
    plain adapter, are left as they are.
    """
    found = [layer for layer in module.modules() if wanted and _is_plain(layer)]
    for layer in found:
        layer.forward = MethodType(_forward, layer)
    try:
        yield
    finally:
        for layer in found:
            del layer.forward


def _is_plain(layer: Any) -> bool:
    if type(layer) is not Linear or len(layer.active_adapters) != 1:
        return False
    (name,) = layer.active_adapters
    return (
        layer.base_layer.weight.dtype in (torch.bfloat16, torch.float16)
        and isinstance(layer.lora_dropout[name], torch.nn.Identity)
        and not layer.lora_variant
        and not layer.lora_bias[name]
    )


def _forward(layer: Any, x: Any) -> Any:
    (name,) = layer.active_adapters
    down, up = layer.lora_A[name].weight, layer.lora_B[name].weight
    return _Beside.apply(  # type: ignore[no-untyped-call]
        x, layer.base_layer(x), down, up, layer.scaling[name]
    )


class _Beside(torch.autograd.Function):
    """What a layer gives for x, (..., I), plus what its adapter does: scale × x down^T up^T, (..., O).

    `down` is (R, I), `up` (O, R).
    """

    @staticmethod
    def forward(ctx: Any, x: Any, given: Any, down: Any, up: Any, scale: float) -> Any:
        x_NI, given_NO = x.reshape(-1, x.shape[-1]), given.reshape(-1, given.shape[-1])
        low_NR = thin(x_NI, down.T) * scale
        ctx.save_for_backward(x_NI, low_NR, down, up)
        ctx.scale, ctx.shape = scale, x.shape
        return spread(low_NR, up.T, x.dtype, given_NO).view(given.shape)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        x_NI, low_NR, down, up = ctx.saved_tensors
        (given,) = gradients
        given_NO = given.reshape(-1, given.shape[-1])
        d_NR = thin(given_NO, up) * ctx.scale
        d_x = spread(d_NR, down, x_NI.dtype).view(ctx.shape)
        return d_x, given, gathered(x_NI, d_NR), gathered(given_NO, low_NR).T, None
