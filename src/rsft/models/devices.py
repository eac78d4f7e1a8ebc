"""Where a model works, and in what precision."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def free_device() -> str:
    """The GPU with the most free memory, else the CPU."""
    import torch

    if not torch.cuda.is_available():
        return "cpu"
    free = [torch.cuda.mem_get_info(number)[0] for number in range(torch.cuda.device_count())]
    return f"cuda:{free.index(max(free))}"


def free_memory(device: Any) -> int:
    """Bytes that are free on a device (torch's) now."""
    if device.type == "cuda":
        import torch

        return int(torch.cuda.mem_get_info(device)[0])
    return available_memory()


def available_memory() -> int:
    """Bytes that this process may still take of the machine's memory: what is free there, or what a container or a
    job's limit (cgroup v2) leaves of it."""
    import psutil

    return min([int(psutil.virtual_memory().available), *_left_of_limits()])


def _left_of_limits() -> list[int]:
    """What is left of the limit of each control group that this process is in."""
    try:
        own = Path("/proc/self/cgroup").read_text(encoding="utf-8").rpartition("0::/")[2].strip()
    except OSError:
        return []
    root, left = Path("/sys/fs/cgroup"), []
    for group in (root / own, *(root / own).parents):
        try:
            most, taken = ((group / name).read_text().strip() for name in ("memory.max", "memory.current"))
        except OSError:
            continue
        if most != "max":
            left.append(max(0, int(most) - int(taken)))
    return left


def leave_unused_memory(device: Any) -> None:
    """Leave to other processes what this one keeps of a GPU's memory (torch's device) for later: torch returns none by
    itself."""
    if device.type == "cuda":
        import torch

        torch.cuda.empty_cache()


def show_no_loading() -> None:
    """transformers' bar of a second or two would stand in the middle of ours."""
    from transformers.utils import logging

    logging.disable_progress_bar()


def scoring_dtype(device: str) -> Any:
    """fp32 on a CPU, where models of scorers are small; bf16 on a GPU that is quick at it, else fp32."""
    import torch

    return torch.bfloat16 if device.startswith("cuda") and torch.cuda.is_bf16_supported() else torch.float32


def quick_dtype(device: str) -> Any:
    """bf16 where the hardware multiplies it, else fp32."""
    import torch

    if device.startswith("cuda"):
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    return torch.bfloat16 if torch.cpu._is_avx512_bf16_supported() else torch.float32
