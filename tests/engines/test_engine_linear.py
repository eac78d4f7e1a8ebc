"""Linear layers in fp16 products: as exact as bf16 allows, and each row for itself."""

from __future__ import annotations

import pytest
import torch

from rsft.models import linear as linear_module
from rsft.models.linear import HalfLinear, pack_linears


@pytest.fixture(autouse=True)
def _only_where_they_are(parts: str) -> None:
    if parts == "compiled" and linear_module._halves() is None:
        pytest.skip("this processor has no fp16 products, or quicker ones")


def layer(inputs: int, outputs: int, bias: bool) -> torch.nn.Linear:
    torch.manual_seed(inputs)
    return torch.nn.Linear(inputs, outputs, bias=bias).bfloat16()


def packed(linear: torch.nn.Linear) -> torch.nn.Module:
    twin = torch.nn.Sequential(linear)
    twin.device = torch.device("cpu")
    pack_linears(twin)
    assert twin[0] is not linear
    return twin[0]


def rows(count: int, inputs: int) -> torch.Tensor:
    """Rows of very different sizes, some of them with a number far beyond the others, and one of zeros."""
    torch.manual_seed(count)
    x = torch.randn(count, inputs) * torch.logspace(-20, 20, count)[:, None]
    x[1::3, 0] *= 1000
    x[-1] = 0
    return x.bfloat16()


def error(said: torch.Tensor, exact: torch.Tensor) -> torch.Tensor:
    """Of each row, relative to its size."""
    return (said.double() - exact).norm(dim=-1) / exact.norm(dim=-1).clamp(min=1e-300)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("count", "inputs", "outputs"), [(1, 64, 96), (7, 5, 3), (37, 577, 193), (300, 1536, 64)])
@torch.inference_mode()
def test_rounds_about_as_much_as_bf16_does(count: int, inputs: int, outputs: int, bias: bool) -> None:
    linear, x = layer(inputs, outputs, bias), rows(count, inputs)
    exact = x.double() @ linear.weight.double().T + (linear.bias.double() if bias else 0)
    said, of_bf16 = error(packed(linear)(x), exact), error(exact.bfloat16(), exact)
    assert said.square().mean().sqrt() <= 1.3 * of_bf16.square().mean().sqrt()


@pytest.mark.parametrize("size", [2.0**-30, 1.0, 2.0**30])
@torch.inference_mode()
def test_numbers_of_one_sign_do_not_overflow(size: float) -> None:
    linear, x = layer(512, 40, False), torch.full((3, 512), 1.99).bfloat16()
    linear.weight.fill_(1.99 * size)
    exact = x.double() @ linear.weight.double().T
    assert error(packed(linear)(x), exact).max() < 5e-3


@torch.inference_mode()
def test_a_row_does_not_depend_on_the_others(parts: str) -> None:
    if parts == "torch":
        pytest.skip("that is not promised of torch's products")
    linear, x = packed(layer(200, 300, True)), rows(100, 200)
    whole = linear(x)
    assert torch.equal(linear(x[37:38]), whole[37:38])
    assert torch.equal(linear(x.flip(0)).flip(0), whole)
    broken = x.clone()
    broken[3, 7], broken[50, 199] = torch.inf, torch.nan
    others = [row for row in range(100) if row not in {3, 50}]
    said = linear(broken)
    assert torch.equal(said[others], whole[others])
    assert said[[3, 50]].isnan().all()


@torch.inference_mode()
def test_an_infinite_weight_spoils_its_own_output_alone() -> None:
    linear, x = layer(64, 40, False), rows(5, 64)[:-1]
    whole = packed(linear)(x)
    linear.weight[7, 30] = torch.inf
    said = packed(linear)(x)
    others = [output for output in range(40) if output != 7]
    assert torch.equal(said[:, others], whole[:, others])
    assert not said[:, 7].isfinite().any()


@torch.inference_mode()
def test_many_threads_give_what_one_gives(parts: str) -> None:
    if parts == "torch":
        pytest.skip("that is not promised of torch's products")
    linear, x = packed(layer(200, 300, True)), rows(100, 200)
    whole, threads = linear(x), torch.get_num_threads()
    try:
        torch.set_num_threads(5)
        assert torch.equal(linear(x), whole)
    finally:
        torch.set_num_threads(threads)


def test_what_is_no_linear_layer_in_bf16_stays(parts: str) -> None:
    twin = torch.nn.Sequential(
        torch.nn.Linear(8, 8), torch.nn.LayerNorm(8).bfloat16(), torch.nn.Linear(8, 8).bfloat16()
    )
    twin.device = torch.device("cpu")
    pack_linears(twin)
    assert type(twin[0]) is torch.nn.Linear
    assert type(twin[1]) is torch.nn.LayerNorm
    assert isinstance(twin[2], HalfLinear) == (parts == "compiled")
