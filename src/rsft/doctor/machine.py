"""The machine: what it computes with and how quickly, and what it has room for."""

from __future__ import annotations

import math
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from rsft.config import Recipe
from rsft.doctor.check import Check
from rsft.errors import UserError

# Sides of the square matrices whose product is timed, on a CPU and on a GPU; the best of so many.
_CPU_SIDE, _GPU_SIDE, _TIMES = 1024, 8192, 3
# What auto picks should not be slower than the other by more than this.
_MUCH_SLOWER = 0.5
_GIB = 2**30
# A run of the shipped recipes takes some 100 MB; a model's cache and its policies some GB.
_LITTLE_DISK, _NO_DISK = 10 * _GIB, _GIB


def machine(run: Path, recipe: Recipe | None) -> Iterator[Check]:
    """Device, speed, CPU, compiler, memory, disk, sandbox."""
    try:
        import torch
    except Exception as error:  # a broken installation has many ways to say so
        yield Check("machine", "torch", "problem", f"can't be imported: {error}", "pip install torch==2.13.0")
        return
    from rsft.models.devices import free_device

    device = free_device()
    yield _device(torch, device)
    yield _speed(torch, device)
    if device == "cpu":
        yield _instructions(torch)
        yield _compiler()
    yield _memory(torch, device, recipe)
    yield _disk(run)
    yield _sandbox(recipe)


def _device(torch: Any, device: str) -> Check:
    if device != "cpu":
        names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
        return Check("machine", "device", "ok", f"{device} of {', '.join(names)}")
    found = f"cpu, {torch.get_num_threads()} threads"
    if has_gpu():
        build = (
            f"torch is built for CUDA {torch.version.cuda}, and can't use it"
            if torch.version.cuda
            else ("torch is built for CPUs only")
        )
        advice = f"There is an NVIDIA GPU, and {build}: install the torch that fits its driver (pytorch.org)"
        return Check("machine", "device", "problem", found, advice)
    if torch.version.cuda:
        advice = (
            f"torch is built for CUDA {torch.version.cuda}, and there is no GPU: it works, and takes gigabytes more "
            "than torch==2.13.0 for CPUs"
        )
        return Check("machine", "device", "note", found, advice)
    return Check("machine", "device", "ok", found)


def has_gpu() -> bool:
    """Whether the system knows of an NVIDIA GPU, whatever torch does."""
    folder = Path("/proc/driver/nvidia/gpus")
    return folder.is_dir() and any(folder.iterdir())


def _speed(torch: Any, device: str) -> Check:
    from rsft.models.devices import quick_dtype

    side = _CPU_SIDE if device == "cpu" else _GPU_SIDE
    rates = {dtype: _rate(torch, device, dtype, side) for dtype in (torch.bfloat16, torch.float32)}
    picked = quick_dtype(device)
    said = ", ".join(f"{rate:.0f} GFLOP/s in {_name(dtype)}" for dtype, rate in rates.items())
    found = f"{said} (a product of {side} × {side}); dtype: auto picks {_name(picked)}"
    if picked in rates and rates[picked] < _MUCH_SLOWER * max(rates.values()):
        other = max(rates, key=lambda dtype: rates[dtype])
        return Check("machine", "speed", "note", found, f"dtype: {_name(other)} may be quicker here")
    return Check("machine", "speed", "ok", found)


def _rate(torch: Any, device: str, dtype: Any, side: int) -> float:
    """GFLOP/s of a matrix product."""
    a = torch.ones((side, side), dtype=dtype, device=device)
    seconds = []
    for _ in range(_TIMES + 1):  # the first warms up
        began = time.perf_counter()
        (a @ a)[0, 0].item()
        seconds.append(time.perf_counter() - began)
    return float(2 * side**3 / max(min(seconds[1:]), 1e-9) / 1e9)


def _name(dtype: Any) -> str:
    return str(dtype).removeprefix("torch.")


def _instructions(torch: Any) -> Check:
    there = _flags()
    known = [name for name in ("avx2", "avx512f", "avx512_bf16", "avx512_fp16", "amx_bf16") if name in there]
    found = ", ".join(known) or "none of AVX2, AVX512, AMX"
    if not torch.cpu._is_avx512_bf16_supported():
        advice = "This CPU multiplies no bf16 (avx512_bf16): models work in fp32, and take twice the memory"
        return Check("machine", "instructions", "note", found, advice)
    if "avx512_fp16" not in there:
        advice = "Without avx512_fp16 replies may differ between batch shapes in their last bits"
        return Check("machine", "instructions", "note", found, advice)
    return Check("machine", "instructions", "ok", found)


def _flags() -> set[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return set()
    return next((set(line.split()) for line in lines if line.startswith(("flags", "Features"))), set())


def _compiler() -> Check:
    from rsft.models.native import compiler

    try:
        path, version = compiler()
    except (OSError, subprocess.SubprocessError) as error:
        advice = "Sampling takes up to 2.6 times as long without a C compiler (on Debian or Ubuntu: apt install gcc)"
        return Check("machine", "compiler", "note", str(error), advice)
    return Check("machine", "compiler", "ok", f"{path}: {version.splitlines()[0] if version else '?'}")


def _memory(torch: Any, device: str, recipe: Recipe | None) -> Check:
    free = psutil.virtual_memory().available if device == "cpu" else torch.cuda.mem_get_info(device)[0]
    found = f"{free / _GIB:.1f} GiB free on {device}"
    weights = _weights(recipe)
    if weights is None:
        return Check("machine", "memory", "ok", found)
    found += f"; the model's weights take {weights / _GIB:.1f} in 16 bits"
    if weights > free:
        return Check("machine", "memory", "problem", found, "Take a smaller model, or a server for it")
    return Check("machine", "memory", "ok", found)


def _weights(recipe: Recipe | None) -> int | None:
    """The bytes of the recipe's model in 16 bits, by the headers of its files; None where it is not on this disk."""
    from rsft.models.references import available
    from rsft.models.shapes import weight_shapes

    reference = available(recipe.model) if recipe is not None else None
    if reference is None:
        return None
    try:
        return 2 * sum(map(math.prod, weight_shapes(reference).values()))
    except (UserError, OSError):
        return None


def _disk(run: Path) -> Check:
    place = next(folder for folder in (run.absolute(), *run.absolute().parents) if folder.is_dir())
    free = shutil.disk_usage(place).free
    found = f"{free / _GIB:.1f} GiB free at {place}"
    if free < _NO_DISK:
        return Check("machine", "disk", "problem", found, "Make room (rsft clean RUN), or set run to another disk")
    if free < _LITTLE_DISK:
        return Check("machine", "disk", "note", found, "rsft check RECIPE bounds what a run takes")
    return Check("machine", "disk", "ok", found)


def _sandbox(recipe: Recipe | None) -> Check:
    from rsft.scorers.processes.sandbox import why_not

    used = recipe is not None and any(_kind(spec) == "code_tests" for spec in recipe.scorers.values())
    if problem := why_not("bubblewrap"):
        advice = "Only the scorer 'code_tests' needs it: apt install bubblewrap, or sandbox: container in a container"
        return Check("machine", "sandbox", "problem" if used and not _in_container(recipe) else "note", problem, advice)
    return Check("machine", "sandbox", "ok", "bubblewrap runs programs")


def _in_container(recipe: Recipe | None) -> bool:
    """Whether every scorer that runs programs does so in the container that rsft is in."""
    specs = [spec for spec in (recipe.scorers.values() if recipe else ()) if _kind(spec) == "code_tests"]
    return all(isinstance(spec, dict) and spec.get("sandbox") == "container" for spec in specs)


def _kind(spec: Any) -> Any:
    return spec.get("type") if isinstance(spec, dict) else spec
