"""The products of a low-rank adapter, there and back: on CPUs by `native/adapter.c`, elsewhere by torch.

Rows are in the model's precision, (N, I) or (N, O). The adapter's own numbers are fp32, and so is what is thin: (N, R).
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import torch

from rsft.models.native import library

# What ranks and rows of weights are filled up to, with zeros, for `native/adapter.c`.
_LANES, _WIDTH = 16, 32


def thin(x_NI: Any, weights_IR: Any) -> Any:
    """x times weights: (N, R)."""
    native = _native(x_NI.device, x_NI.dtype)
    if native is None:
        return (x_NI @ weights_IR.to(x_NI.dtype)).float()
    x_NI, weights_IP = x_NI.contiguous(), _filled(weights_IR, columns=_LANES)
    out_NP = torch.empty(len(x_NI), weights_IP.shape[1])
    native.thin(
        *(x_NI.data_ptr(), weights_IP.data_ptr(), out_NP.data_ptr()),
        *(*x_NI.shape, out_NP.shape[1], torch.get_num_threads()),
    )
    return out_NP[:, : weights_IR.shape[1]]


def spread(low_NR: Any, weights_RO: Any, dtype: Any, given_NO: Any = None) -> Any:
    """low times weights, plus what is given: (N, O)."""
    native = _native(low_NR.device, dtype)
    if native is None:
        low_NR, weights_RO = low_NR.to(dtype), weights_RO.to(dtype)
        return low_NR @ weights_RO if given_NO is None else torch.addmm(given_NO, low_NR, weights_RO)
    low_NP, weights_PW = _filled(low_NR, columns=_LANES), _filled(weights_RO, rows=_LANES, columns=_WIDTH)
    given_NO = None if given_NO is None else given_NO.contiguous()
    out_NO = torch.empty(len(low_NR), weights_RO.shape[1], dtype=dtype)
    native.spread(
        *(low_NP.data_ptr(), weights_PW.data_ptr(), weights_PW.shape[1]),
        *(None if given_NO is None else given_NO.data_ptr(), out_NO.data_ptr()),
        *(*low_NP.shape, out_NO.shape[1], torch.get_num_threads()),
    )
    return out_NO


def gathered(x_NI: Any, low_NR: Any) -> Any:
    """low transposed times x, which is a gradient of weights: (R, I) in fp32."""
    native = _native(x_NI.device, x_NI.dtype)
    if native is None:
        return (low_NR.to(x_NI.dtype).T @ x_NI).float()
    x_NI, low_NP = x_NI.contiguous(), _filled(low_NR, columns=_LANES)
    # Of no rows, nothing would be written.
    make = torch.empty if len(x_NI) else torch.zeros
    out_PW = make(low_NP.shape[1], _up(x_NI.shape[1], _WIDTH))
    native.gather(
        *(x_NI.data_ptr(), low_NP.data_ptr(), out_PW.data_ptr(), out_PW.shape[1]),
        *(*x_NI.shape, low_NP.shape[1], torch.get_num_threads()),
    )
    return out_PW[: low_NR.shape[1], : x_NI.shape[1]]


def _filled(weights: Any, *, rows: int = 1, columns: int) -> Any:
    """A matrix with zeros behind it, up to multiples of so many rows and columns."""
    height, width = weights.shape
    more = (0, _up(width, columns) - width, 0, _up(height, rows) - height)
    return (torch.nn.functional.pad(weights, more) if any(more) else weights).contiguous()


def _up(count: int, to: int) -> int:
    return -(-count // to) * to


@cache
def _native(device: Any, dtype: Any) -> Any:
    """The compiled products for numbers of this kind, where they are quicker: CPUs with tiles for bf16 (AMX)
    multiply that more quickly still."""
    if device.type != "cpu" or torch.cpu._is_amx_tile_supported():
        return None
    found = library("adapter.c", str(dtype).removeprefix("torch."))
    if found is not None:
        at, whole = ctypes.c_void_p, ctypes.c_int64
        found.thin.argtypes = (at, at, at, whole, whole, whole, ctypes.c_int)
        found.spread.argtypes = (at, at, whole, at, at, whole, whole, whole, ctypes.c_int)
        found.gather.argtypes = (at, at, at, whole, whole, whole, whole, ctypes.c_int)
    return found
