"""Linear layers on a CPU, quicker than torch's own: with weights that lie as they are multiplied."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import psutil
import torch

from rsft.models.native import library

# A second copy of the weights may take this share of the memory that is free.
_PACKED_SHARE = 0.25


def pack_linears(twin: Any) -> None:
    """Put packed layers in the place of the twin's linear ones where that is known to help: for bf16 on a CPU, with
    memory for a second copy."""
    linears = _linears(twin)
    if twin.device.type != "cpu" or not _has_memory_for(linears, copies=1):
        return
    room = _Room()
    for parent, name, child in linears:
        if _halves() is not None:
            setattr(parent, name, HalfLinear(child.weight, child.bias, room))
        elif hasattr(torch.ops.mkldnn, "_linear_pointwise"):
            setattr(parent, name, ReorderedLinear(child))


def _linears(module: Any) -> list[tuple[Any, str, Any]]:
    """The module's linear layers in bf16: each with what it belongs to, and its name there."""
    return [
        (parent, name, child)
        for parent in module.modules()
        for name, child in parent.named_children()
        if type(child) is torch.nn.Linear and child.weight.dtype == torch.bfloat16
    ]


def _has_memory_for(linears: list[tuple[Any, str, Any]], copies: int) -> bool:
    needed = copies * sum(child.weight.nbytes for _, _, child in linears)
    return bool(needed <= _PACKED_SHARE * psutil.virtual_memory().available)


class ReorderedLinear(torch.nn.Module):
    """A linear layer whose weights lie in the order that oneDNN multiplies in. It would bring them into that order at
    every product otherwise: measured to take 6% of the time of 256 rows, and 20% of 128."""

    def __init__(self, linear: torch.nn.Linear) -> None:
        super().__init__()
        self.packed = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach())
        self.bias = linear.bias

    def forward(self, x: Any) -> Any:
        return torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias, "none", [], "")


class HalfLinear(torch.nn.Module):
    """A linear layer in bf16 that multiplies fp16 numbers: see `native/linear.c`.

    What comes of a row does not depend on the others.
    """

    def __init__(self, weight: Any, bias: Any, room: _Room) -> None:
        """`weight` (outputs, inputs) and, unless it is None, `bias` (outputs)."""
        super().__init__()
        self._native = _halves()
        self._room = room
        self.bias = bias
        self.outputs, self.inputs = weight.shape
        weight = weight.detach().contiguous()
        self.packed = _aligned(self._native.packed_weights(self.outputs, self.inputs), torch.float16)
        self.scale = self._native.pack_weights(
            weight.data_ptr(), self.outputs, self.inputs, self.packed.data_ptr(), torch.get_num_threads()
        )

    def forward(self, x: Any) -> Any:
        x = x.contiguous()
        rows = x.numel() // self.inputs
        out = x.new_empty(*x.shape[:-1], self.outputs)
        packed, scales = self._room.of(rows, self._native.packed_rows(rows, self.inputs))
        self._native.multiply(
            x.data_ptr(),
            self.packed.data_ptr(),
            self.scale,
            None if self.bias is None else self.bias.data_ptr(),
            out.data_ptr(),
            rows,
            self.inputs,
            self.outputs,
            packed.data_ptr(),
            scales.data_ptr(),
            torch.get_num_threads(),
        )
        return out


@contextmanager
def frozen_linears(module: Any, *, wanted: bool = True) -> Iterator[None]:
    """For a while, if that is `wanted`, multiply more quickly with those linear layers of a module in training that are
    not trained: for bf16 on CPUs whose fp16 products are quick, with memory for two more copies."""
    found = [one for one in _linears(module) if not one[2].weight.requires_grad]
    if not wanted or module.device.type != "cpu" or _halves() is None or not _has_memory_for(found, copies=2):
        found = []
    room = _Room()
    for parent, name, child in found:
        setattr(parent, name, FrozenLinear(child, room))
    try:
        yield
    finally:
        for parent, name, child in found:
            setattr(parent, name, child)


class FrozenLinear(torch.nn.Module):
    """A linear layer in bf16 that is not trained, but through which a gradient passes; multiplies fp16 numbers."""

    def __init__(self, linear: torch.nn.Linear, room: _Room) -> None:
        super().__init__()
        self.weight, self.bias = linear.weight, linear.bias
        self.there = HalfLinear(linear.weight, linear.bias, room)
        self.back = HalfLinear(linear.weight.T, None, room)

    def forward(self, x: Any) -> Any:
        return _Through.apply(x, self.there, self.back)  # type: ignore[no-untyped-call]


class _Through(torch.autograd.Function):
    """One layer's product there, and another one's back."""

    @staticmethod
    def forward(ctx: Any, x: Any, there: HalfLinear, back: HalfLinear) -> Any:
        ctx.back = back
        return there(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return ctx.back(gradients[0]), None, None


class _Room:
    """Where rows are packed: one piece of memory for all layers, since fresh memory costs more than the packing."""

    def __init__(self) -> None:
        self.packed = _aligned(0, torch.int32)
        self.scales = torch.empty(0)

    def of(self, rows: int, packed: int) -> tuple[Any, Any]:
        """Room for so many packed numbers, and for one more a row."""
        if len(self.packed) < packed:
            self.packed = _aligned(packed, torch.int32)
        if len(self.scales) < rows:
            self.scales = torch.empty(rows)
        return self.packed, self.scales


def _aligned(numbers: int, dtype: Any) -> Any:
    """Memory that begins where a line of the cache does."""
    spare = 64 // dtype.itemsize
    memory = torch.empty(numbers + spare, dtype=dtype)
    start = -memory.data_ptr() % 64 // dtype.itemsize
    return memory[start : start + numbers]


@cache
def _halves() -> Any:
    """The compiled products of fp16 numbers, for layers in bf16, on processors that have none quicker."""
    found = library("linear.c", "bfloat16")
    if found is None or not hasattr(found, "multiply") or torch.cpu._is_amx_tile_supported():
        return None
    at, whole, real = ctypes.c_void_p, ctypes.c_int64, ctypes.c_float
    for sizes in (found.packed_weights, found.packed_rows):
        sizes.argtypes, sizes.restype = (whole, whole), whole
    found.pack_weights.argtypes, found.pack_weights.restype = (at, whole, whole, at, ctypes.c_int), real
    found.multiply.argtypes = (at, at, real, at, at, whole, whole, whole, at, at, ctypes.c_int)
    return found
