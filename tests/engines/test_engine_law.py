"""The sampling law is exact: laws against closed forms, cuts against a plain sort."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import rsft.engines.law as law_module
from rsft.engines.law import draw, uniforms
from rsft.types import SamplingParams

VOCABULARY = 3000  # more blocks than a shortlist has, and not a multiple of a block


def law_by_sorting(logits: torch.Tensor, params: SamplingParams) -> np.ndarray:
    """The law written down the slow way. A cut keeps all that are as likely as the last one that it keeps."""
    probs = torch.softmax(logits.double() / params.temperature, -1)
    kept = torch.ones_like(probs, dtype=torch.bool)
    if params.top_k:
        kept &= probs >= probs.sort(descending=True).values[min(params.top_k, len(probs)) - 1]
    if params.top_p < 1:
        likeliest = torch.where(kept, probs, 0.0).sort(descending=True).values
        needed = int((likeliest.cumsum(0) < params.top_p * likeliest.sum()).sum())
        kept &= probs >= likeliest[min(needed, len(probs) - 1)]
    kept &= probs >= params.min_p * probs.max()
    law = torch.where(kept, probs, 0.0)
    return (law / law.sum()).numpy()


@pytest.mark.parametrize(
    "params",
    [
        SamplingParams(temperature=1.0),
        SamplingParams(temperature=0.5),
        SamplingParams(temperature=1.3, top_p=0.9),
        SamplingParams(temperature=3.0, top_p=0.5),  # a nucleus beyond the first shortlist
        SamplingParams(temperature=5.0, top_p=0.99),  # and beyond the second
        SamplingParams(temperature=1.0, top_k=7),
        SamplingParams(temperature=2.0, top_k=500),
        SamplingParams(temperature=2.0, top_k=40, top_p=0.8),
        SamplingParams(temperature=1.5, min_p=0.02),
        SamplingParams(temperature=1.5, top_p=0.95, min_p=0.05),
    ],
)
def test_draws_follow_the_law(params: SamplingParams) -> None:
    torch.manual_seed(0)
    logits = torch.randn(VOCABULARY) * 2
    draws = 10_000
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


@given(
    seed=st.integers(0, 10_000),
    size=st.integers(1, 300),
    levels=st.integers(1, 40),
    temperature=st.sampled_from([0.3, 1.0, 2.0]),
    top_k=st.sampled_from([0, 1, 3, 50]),
    top_p=st.sampled_from([1.0, 0.9, 0.4]),
    min_p=st.sampled_from([0.0, 0.1]),
)
def test_no_uniform_number_leaves_the_law(
    seed: int, size: int, levels: int, temperature: float, top_k: int, top_p: float, min_p: float
) -> None:
    """Whatever the cuts and however many ties, each number gives a token that the law keeps, with its probability."""
    params = SamplingParams(temperature, top_p, top_k, min_p=min_p)
    torch.manual_seed(seed)
    logits = torch.randint(0, levels, (size,)).float() / 4
    numbers = torch.cat([torch.rand(20), torch.tensor([0.0, 1 - 2**-24])])
    law = law_by_sorting(logits, params)
    drawn = draw(logits.expand(len(numbers), -1), numbers, params)
    said = np.exp(drawn.logprobs.numpy())
    assert np.allclose(said, law[drawn.tokens.numpy()], rtol=1e-3)


def test_rows_do_not_depend_on_their_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(2)
    logits, numbers = torch.randn(70, VOCABULARY) * 3, torch.rand(70)
    params = SamplingParams(1.5, top_p=0.9)
    together = draw(logits, numbers, params).tokens
    monkeypatch.setattr(law_module, "_CACHED_ROWS", 1)
    assert torch.equal(draw(logits, numbers, params).tokens, together)


def test_bfloat16_logits_are_worked_on_in_full_precision() -> None:
    torch.manual_seed(3)
    logits = (torch.randn(8, VOCABULARY) * 2).bfloat16()
    numbers = torch.rand(8)
    for params in (SamplingParams(0.7, top_p=0.9), SamplingParams(0)):
        drawn, same = draw(logits, numbers, params), draw(logits.float(), numbers, params)
        assert torch.equal(drawn.tokens, same.tokens)
        assert torch.equal(drawn.model_logprobs, same.model_logprobs)


def test_greedy_takes_the_likeliest_and_the_first_of_equals() -> None:
    logits = torch.tensor([[0.0, 3.0, 1.0, 3.0], [2.0, -1.0, 1.9, 0.0]])
    drawn = draw(logits, torch.tensor([0.9, 0.9]), SamplingParams(temperature=0))
    assert drawn.tokens.tolist() == [1, 0]
    assert drawn.logprobs.tolist() == [0.0, 0.0]


def test_the_repetition_penalty_is_that_of_transformers() -> None:
    from transformers import RepetitionPenaltyLogitsProcessor

    torch.manual_seed(4)
    logits, seen = torch.randn(5, 50) * 3, torch.randint(0, 50, (5, 9))
    expected = RepetitionPenaltyLogitsProcessor(1.3)(seen, logits.clone())
    params = SamplingParams(0.8, repetition_penalty=1.3)
    drawn = draw(logits, torch.rand(5), params, seen)
    chosen = torch.log_softmax(expected / 0.8, -1).gather(1, drawn.tokens[:, None])[:, 0]
    assert torch.allclose(drawn.logprobs, chosen, atol=1e-5)
    plain = torch.log_softmax(logits, -1).gather(1, drawn.tokens[:, None])[:, 0]
    assert torch.allclose(drawn.model_logprobs, plain, atol=1e-5)
    greedy = draw(logits, torch.rand(5), SamplingParams(0, repetition_penalty=1.3), seen)
    assert greedy.tokens.tolist() == expected.argmax(-1).tolist()


@pytest.mark.parametrize("number", [0.0, 0.5, 1 - 2**-24])
def test_a_token_without_probability_is_never_drawn(number: float) -> None:
    logits = torch.full((1, VOCABULARY), -1e9)
    logits[0, 300] = 5.0
    for params in (SamplingParams(temperature=1.0), SamplingParams(temperature=1.0, top_p=0.9)):
        assert draw(logits, torch.tensor([number]), params).tokens.tolist() == [300]


def test_a_stream_depends_on_its_seed_alone() -> None:
    assert (uniforms(5, 10) == uniforms(5, 20)[:10]).all()
    assert (uniforms(5, 10) != uniforms(6, 10)).any()
    assert uniforms(2**127 + 3, 1000).max() < 1
