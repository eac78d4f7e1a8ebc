"""Linear layers with an adapter beside them, in the model's own precision."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import MethodType
from typing import Any

import torch
from peft.tuners.lora import Linear


@contextmanager
def quick_adapters(module: Any, *, wanted: bool = True) -> Iterator[None]:
    """For a while, if that is `wanted`, let the adapters (LoRA) of a module in half precision multiply in that too.

    Their weights, and the sums of their gradients, stay in fp32. PEFT would bring all that goes into a layer and all
    that comes out of it to fp32 and back, which takes longer than the products. Layers with dropout, or with more than
    a plain adapter, are left as they are.
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
        x_NI = x.reshape(-1, x.shape[-1])
        down_RI, up_OR = down.to(x.dtype), up.to(x.dtype)
        low_NR = x_NI @ down_RI.T
        ctx.save_for_backward(x_NI, low_NR, down_RI, up_OR)
        ctx.scale, ctx.shape = scale, x.shape
        return torch.addmm(given.reshape(-1, given.shape[-1]), low_NR, up_OR.T, alpha=scale).view(given.shape)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        x_NI, low_NR, down_RI, up_OR = ctx.saved_tensors
        given = gradients[0]
        d_NO = given.reshape(-1, given.shape[-1])
        d_NR = (d_NO @ up_OR).mul_(ctx.scale)
        d_up = (d_NO.T @ low_NR).float().mul_(ctx.scale)
        d_down = (d_NR.T @ x_NI).float()
        return (d_NR @ down_RI).view(ctx.shape), given, d_down, d_up, None
