"""The small steps between a network's products on a CPU, quicker than torch's own: see `native/steps.c`.

A step is replaced if it does the same as ours on some numbers, whatever the model's code calls it.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

import torch

from rsft.models.native import library

Step = Callable[[Any], Any]
# Rows of numbers, and how large they are, that show what a step does: some limit what they let through.
_ROWS = 8
_SIZES = (0.1, 1.0, 100.0)


# What a feed-forward layer with a gate consists of.
_GATED = ("gate_proj", "up_proj", "down_proj", "act_fn")


@contextmanager
def quick_steps(module: Any, *, wanted: bool = True) -> Iterator[None]:
    """For a while, if that is `wanted`, take norms that are not trained and gates of a module on a CPU more quickly.

    Gradients pass through both.
    """
    found = [(child, step) for child in module.modules() if wanted and (step := _norm(child) or _gate(child))]
    for child, step in found:
        child.forward = step
    try:
        yield
    finally:
        for child, _ in found:
            del child.forward


def _norm(layer: Any) -> Step | None:
    """What does the same as a root mean square norm."""
    weight, epsilon = getattr(layer, "weight", None), getattr(layer, "variance_epsilon", getattr(layer, "eps", None))
    if not type(layer).__name__.endswith("RMSNorm") or weight is None or epsilon is None or weight.requires_grad:
        return None
    # Models have one of two ways to write it.
    as_llama = partial(_norm_step, weight.detach().float(), epsilon, True)
    as_gemma = partial(_norm_step, weight.detach().float() + 1, epsilon, False)
    return _same(layer, [as_llama, as_gemma], weight, len(weight))


def _norm_step(weights: Any, epsilon: float, rounded: bool, x: Any) -> Any:
    return _Norm.apply(x, weights, epsilon, rounded)  # type: ignore[no-untyped-call]


def _gate(layer: Any) -> Step | None:
    """What does the same as a feed-forward layer whose gate is x sigmoid(x)."""
    if not all(isinstance(getattr(layer, name, None), torch.nn.Module) for name in _GATED):
        return None
    weight = next(layer.gate_proj.parameters())
    return _same(layer, [partial(_gate_step, layer)], weight, weight.shape[-1])


def _gate_step(layer: Any, x: Any) -> Any:
    return layer.down_proj(_Gate.apply(layer.gate_proj(x), layer.up_proj(x)))  # type: ignore[no-untyped-call]


def _same(layer: Any, ways: list[Step], weight: Any, inputs: int) -> Step | None:
    """The way that does what the layer does, but for rounding, if there is one."""
    if weight.device.type != "cpu" or _native(weight.dtype) is None:
        return None
    some = torch.randn(_ROWS, inputs, generator=torch.Generator().manual_seed(0))

    def error(way: Step) -> float:
        found = []
        for size in _SIZES:
            x = (size * some).to(weight.dtype)
            said = layer(x).float()
            found.append(float((way(x).float() - said).norm() / said.norm()))
        return math.inf if any(map(math.isnan, found)) else max(found)

    with torch.no_grad():
        errors = [error(way) for way in ways]
    nearest = min(range(len(ways)), key=errors.__getitem__)
    return ways[nearest] if errors[nearest] < 2 * torch.finfo(weight.dtype).eps else None


class _Norm(torch.autograd.Function):
    """x (..., width) over its root mean square, times weights (width) in fp32."""

    @staticmethod
    def forward(ctx: Any, x: Any, weights: Any, epsilon: float, rounded: bool) -> Any:
        x = x.contiguous()
        width = x.shape[-1]
        out, scales_N = torch.empty_like(x), torch.empty(x.numel() // width)
        _native(x.dtype).norm(
            *(x.data_ptr(), weights.data_ptr(), epsilon, rounded, out.data_ptr(), scales_N.data_ptr()),
            *(len(scales_N), width, torch.get_num_threads()),
        )
        ctx.save_for_backward(x, weights, scales_N)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        x, weights, scales_N = ctx.saved_tensors
        given, out = gradients[0].contiguous(), torch.empty_like(x)
        _native(x.dtype).norm_back(
            *(given.data_ptr(), x.data_ptr(), weights.data_ptr(), scales_N.data_ptr(), out.data_ptr()),
            *(len(scales_N), x.shape[-1], torch.get_num_threads()),
        )
        return out, None, None, None


class _Gate(torch.autograd.Function):
    """x sigmoid(x) beside."""

    @staticmethod
    def forward(ctx: Any, x: Any, beside: Any) -> Any:
        x, beside = x.contiguous(), beside.contiguous()
        out = torch.empty_like(x)
        _native(x.dtype).gate(x.data_ptr(), beside.data_ptr(), out.data_ptr(), x.numel(), torch.get_num_threads())
        ctx.save_for_backward(x, beside)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        x, beside = ctx.saved_tensors
        given, of_x, of_beside = gradients[0].contiguous(), torch.empty_like(x), torch.empty_like(x)
        _native(x.dtype).gate_back(
            *(given.data_ptr(), x.data_ptr(), beside.data_ptr(), of_x.data_ptr(), of_beside.data_ptr()),
            *(x.numel(), torch.get_num_threads()),
        )
        return of_x, of_beside


@cache
def _native(dtype: Any) -> Any:
    """The compiled steps for numbers of this kind, if there are any."""
    found = library("steps.c", str(dtype).removeprefix("torch."))
    if found is not None:
        at, whole, real, small = ctypes.c_void_p, ctypes.c_int64, ctypes.c_float, ctypes.c_int
        found.norm.argtypes = (at, at, real, small, at, at, whole, whole, small)
        found.norm_back.argtypes = (at, at, at, at, at, whole, whole, small)
        found.gate.argtypes = (at, at, at, whole, small)
        found.gate_back.argtypes = (at, at, at, at, at, whole, small)
    return found
