"""The sampling law is exact: laws against closed forms, cuts against a plain sort."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from rsft.engines.law import draw, uniforms
from rsft.types import SamplingParams

VOCABULARY = 700  # more than a shortlist, and not a multiple of a block


def law_by_sorting(logits: torch.Tensor, params: SamplingParams) -> np.ndarray:
    """The law written down the slow way."""
    probs = torch.softmax(logits.double() / params.temperature, -1)
    values, ids = probs.sort(descending=True, stable=True)
    if params.top_k:
        values[params.top_k :] = 0
    total = values.sum()
    before = values.cumsum(0) - values
    values[before >= params.top_p * total] = 0
    law = torch.zeros_like(probs)
    law[ids] = values / values.sum()
    return law.numpy()


@pytest.mark.parametrize(
    "params",
    [
        SamplingParams(temperature=1.0),
        SamplingParams(temperature=0.5),
        SamplingParams(temperature=1.3, top_p=0.9),
        SamplingParams(temperature=3.0, top_p=0.99),  # a nucleus beyond the shortlist
        SamplingParams(temperature=1.0, top_k=7),
        SamplingParams(temperature=2.0, top_k=40, top_p=0.8),
    ],
)
def test_draws_follow_the_law(params: SamplingParams) -> None:
    torch.manual_seed(0)
    logits = torch.randn(VOCABULARY) * 2
    draws = 20_000
    numbers = torch.tensor(np.random.default_rng(1).random(draws, dtype=np.float32))
    drawn = draw(logits.expand(draws, -1), numbers, params)
    law = law_by_sorting(logits, params)
    counts = np.bincount(drawn.tokens.numpy(), minlength=VOCABULARY)
    assert counts[law == 0].sum() == 0
    big = law * draws >= 5
    observed = np.append(counts[big], counts[~big].sum())
    expected = np.append(law[big], law[~big].sum()) * draws
    keep = expected > 0
    assert stats.chisquare(observed[keep], expected[keep]).pvalue > 1e-4
    expected_logprobs = np.log(law[drawn.tokens.numpy()])
    assert np.allclose(drawn.logprobs.numpy(), expected_logprobs, atol=2e-4)
    plain = torch.log_softmax(logits, -1)[drawn.tokens]
    assert torch.allclose(drawn.model_logprobs, plain, atol=1e-5)


def test_greedy_takes_the_likeliest() -> None:
    logits = torch.tensor([[0.0, 3.0, 1.0], [2.0, -1.0, 1.9]])
    drawn = draw(logits, torch.tensor([0.9, 0.9]), SamplingParams(temperature=0))
    assert drawn.tokens.tolist() == [1, 0]
    assert drawn.logprobs.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("number", [0.0, 0.5, 1 - 2**-24])
def test_a_token_without_probability_is_never_drawn(number: float) -> None:
    logits = torch.full((1, VOCABULARY), -1e9)
    logits[0, 300] = 5.0
    drawn = draw(logits, torch.tensor([number]), SamplingParams(temperature=1.0))
    assert drawn.tokens.tolist() == [300]


def test_a_stream_depends_on_its_seed_alone() -> None:
    assert (uniforms(5, 10) == uniforms(5, 20)[:10]).all()
    assert (uniforms(5, 10) != uniforms(6, 10)).any()
    assert uniforms(2**127 + 3, 1000).max() < 1
