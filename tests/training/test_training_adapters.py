"""Adapters in half precision: the same function and the same gradients, but for rounding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model

from rsft.models.network import Network
from rsft.models.references import ModelFolder
from rsft.training.adapters import quick_adapters


def adapted(folder: Path, dtype: str, **options: Any) -> Any:
    module = Network.load(ModelFolder("tiny", folder), dtype=dtype).module
    torch.manual_seed(0)
    config = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM", **options)
    module = get_peft_model(module, config)
    for name, weight in module.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1)
    return module


def outcome(module: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits, and the gradients of all adapters."""
    module.zero_grad()
    logits = module(torch.arange(60, device=module.device)[None] % 200).logits
    logits.float().square().mean().backward()
    taught = [weight for weight in module.parameters() if weight.requires_grad]
    assert {weight.grad.dtype for weight in taught} == {torch.float32}
    return logits.detach().float(), torch.cat([weight.grad.flatten() for weight in taught])


def test_what_peft_does_is_done_but_for_rounding(tiny_folder: Path) -> None:
    exact = outcome(adapted(tiny_folder, "float32"))
    module = adapted(tiny_folder, "bfloat16")
    by_peft = outcome(module)
    with quick_adapters(module):
        ours = outcome(module)
    assert all("forward" not in vars(layer) for layer in module.modules()), "the layers are left as they were"
    for true, usual, said in zip(exact, by_peft, ours, strict=True):
        assert not torch.equal(usual, said)
        assert (said - true).norm() < 1.5 * (usual - true).norm(), "no further off than PEFT in this precision"


@pytest.mark.parametrize(("dtype", "options"), [("float32", {}), ("bfloat16", {"lora_dropout": 0.5})])
def test_other_layers_are_left_to_peft(tiny_folder: Path, dtype: str, options: dict[str, float]) -> None:
    module = adapted(tiny_folder, dtype, **options)
    with quick_adapters(module):
        assert all("forward" not in vars(layer) for layer in module.modules())
