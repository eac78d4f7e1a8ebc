"""The quick steps: the same function and the same gradients as torch's, but for rounding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from rsft.models.network import Network
from rsft.models.references import ModelFolder
from rsft.models.steps import quick_steps
from tiny import save_model


def load(folder: Path, dtype: str) -> Any:
    """A model of which all but the products is frozen, with norms that do not all weigh the same."""
    module = Network.load(ModelFolder("tiny", folder), dtype=dtype, device="cpu").module
    lot = torch.Generator().manual_seed(0)
    for weight in module.parameters():
        if weight.dim() == 1:
            weight.data += (0.3 * torch.randn(weight.shape, generator=lot)).to(weight.dtype)
        weight.requires_grad_(weight.dim() > 1)
    return module


def outcome(module: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits, and the gradients of all products' weights."""
    module.zero_grad()
    logits = module(torch.arange(2 * 37).reshape(2, 37)).logits
    logits.float().square().mean().backward()
    taught = [weight.grad.float().flatten() for weight in module.parameters() if weight.grad is not None]
    return logits.detach().float(), torch.cat(taught)


def replaced(module: Any) -> list[str]:
    return [type(layer).__name__ for layer in module.modules() if "forward" in vars(layer)]


@pytest.mark.parametrize(
    ("architecture", "norms", "gates"),
    [("llama", 5, 2), ("mistral", 5, 2), ("qwen3", 9, 2), ("gemma2", 9, 0), ("gemma3_text", 13, 0), ("phi3", 5, 0)],
)
def test_a_model_gives_and_learns_the_same(tmp_path: Path, architecture: str, norms: int, gates: int) -> None:
    folder = save_model(tmp_path, architecture=architecture)
    exact = load(folder, "float32")
    true = outcome(exact)
    with quick_steps(exact):
        names = replaced(exact)
        assert (sum("RMSNorm" in name for name in names), sum("MLP" in name for name in names)) == (norms, gates)
        for said, wanted in zip(outcome(exact), true, strict=True):
            assert (said - wanted).norm() < 1e-5 * wanted.norm()
    assert not replaced(exact), "the model is left as it was"
    module = load(folder, "bfloat16")
    by_torch = outcome(module)
    with quick_steps(module):
        assert replaced(module) == names
        ours = outcome(module)
    for wanted, usual, said in zip(true, by_torch, ours, strict=True):
        assert (said - wanted).norm() < 1.2 * (usual - wanted).norm(), "no further off than torch in this precision"


def test_a_step_that_does_something_else_is_left_alone(tmp_path: Path) -> None:
    """Whatever it is called: a norm that takes the mean away too, and a gate by another function."""
    module = load(save_model(tmp_path), "float32")

    class OtherRMSNorm(type(module.model.norm)):  # type: ignore[misc]
        def forward(self, x: Any) -> Any:
            return super().forward(x - x.mean(-1, keepdim=True))

    module.model.norm.__class__ = OtherRMSNorm
    module.model.layers[0].mlp.act_fn = torch.nn.GELU()
    with quick_steps(module):
        assert "forward" not in vars(module.model.norm)
        assert "forward" not in vars(module.model.layers[0].mlp)
        assert "forward" in vars(module.model.layers[1].mlp)


def test_norms_that_are_trained_and_steps_that_are_not_wanted_are_left_alone(tiny_folder: Path) -> None:
    module = load(tiny_folder, "float32")
    with quick_steps(module, wanted=False):
        assert not replaced(module)
    module.requires_grad_(True)
    with quick_steps(module):
        assert replaced(module) == ["LlamaMLP"] * 2


@pytest.mark.parametrize("width", [1, 15, 16, 17, 100])
def test_rows_of_any_width(width: int) -> None:
    from transformers.models.llama.modeling_llama import LlamaRMSNorm

    norm = LlamaRMSNorm(width).requires_grad_(False)
    holder = torch.nn.ModuleList([norm])
    x = torch.randn(3, width, generator=torch.Generator().manual_seed(1))
    true = x.clone().requires_grad_()
    wanted = norm(true)
    wanted.square().sum().backward()
    with quick_steps(holder):
        assert "forward" in vars(norm)
        ours = x.clone().requires_grad_()
        said = norm(ours)
        said.square().sum().backward()
    torch.testing.assert_close(said, wanted)
    torch.testing.assert_close(ours.grad, true.grad, rtol=1e-4, atol=1e-5)
