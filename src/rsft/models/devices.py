"""Where a model of a scorer works, beside the one that samples."""

from __future__ import annotations

from typing import Any


def free_device() -> str:
    """The GPU with the most free memory, else the CPU."""
    import torch

    if not torch.cuda.is_available():
        return "cpu"
    free = [torch.cuda.mem_get_info(number)[0] for number in range(torch.cuda.device_count())]
    return f"cuda:{free.index(max(free))}"


def scoring_dtype(device: str) -> Any:
    """fp32 on a CPU, where models of scorers are small; bf16 on a GPU that is quick at it, else fp32."""
    import torch

    return torch.bfloat16 if device.startswith("cuda") and torch.cuda.is_bf16_supported() else torch.float32
