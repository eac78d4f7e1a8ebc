"""An adapter's products, compiled and in torch, are those of fp32 but for rounding, whatever the shapes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rsft.training import low_rank

SIZES = st.sampled_from([1, 2, 7, 8, 9, 15, 16, 17, 32, 33, 100, 127, 128, 129, 260])
RANKS = st.sampled_from([1, 4, 8, 16, 24, 32, 48, 64])
DTYPES = st.sampled_from([torch.bfloat16, torch.float16, torch.float32])


@pytest.fixture(params=["compiled", "torch"])
def products(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "torch":
        monkeypatch.setattr(low_rank, "_native", lambda *_: None)
    else:
        assert low_rank._native(torch.device("cpu"), torch.bfloat16) is not None
    return str(request.param)


def near(said: Any, one: Any, other: Any, plus: Any, error: float) -> None:
    """one times other, plus something: within an error relative to what is summed up."""
    wanted, size = one.float() @ other.float(), one.float().abs() @ other.float().abs()
    if plus is not None:
        wanted, size = wanted + plus.float(), size + plus.float().abs()
    assert said.shape == wanted.shape
    assert ((said.float() - wanted).abs() <= error * size + 1e-7).all()


def test_products_of_any_shape(products: str) -> None:
    @given(st.just(0) | SIZES, SIZES, RANKS, DTYPES, st.booleans())
    def check(rows: int, width: int, rank: int, dtype: Any, has_given: bool) -> None:
        lot = torch.Generator().manual_seed(rows * 1000 + width)

        def numbers(*shape: int) -> Any:
            return torch.randn(*shape, generator=lot)

        x, before = numbers(rows, width).to(dtype), numbers(rows, width).to(dtype) if has_given else None
        low, weights = numbers(rows, rank), numbers(rank, width)
        rounding = torch.finfo(dtype).eps + 1e-6
        # Compiled, what is thin is fp32 throughout.
        thin, spread = (2 * rounding, 2 * rounding) if products == "torch" else (1e-6, rounding)
        near(low_rank.thin(x, weights.T), x, weights.T, None, thin)
        near(low_rank.gathered(x, low), low.T, x, None, thin)
        near(low_rank.spread(low, weights, dtype, before), low, weights, before, spread)

    check()


@pytest.mark.usefixtures("products")
def test_rows_that_do_not_lie_side_by_side() -> None:
    lot = torch.Generator().manual_seed(0)
    x, low = torch.randn(50, 20, generator=lot).bfloat16().T, torch.randn(8, 20, generator=lot).T
    weights = torch.randn(8, 50, generator=lot)
    near(low_rank.thin(x, weights.T), x, weights.T, None, 0.02)
    near(low_rank.gathered(x, low), low.T, x, None, 0.02)
    near(low_rank.spread(low, weights, torch.bfloat16, x), low, weights, x, 0.02)
