"""The local engine: equal to `generate` when greedy, the same candidates whatever the batch, the law when sampled."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

import rsft.engines.local as local
from rsft.engines.base import Request, stream_seed
from rsft.engines.local import LocalEngine
from rsft.models.network import Network
from rsft.models.references import ModelFolder
from rsft.types import CandidateKey, Message, Policy, Prompt, SamplingParams
from tiny import save_model

TEXTS = ["Hi", "What is the price of a tent?", "你好，请问几点开门？", "a" * 90, "Where is my order?", "Thanks " * 8]


def network(folder: Path) -> Network:
    return Network.load(ModelFolder("tiny", folder), dtype="float32")


def prompts() -> list[Prompt]:
    made = []
    for place, text in enumerate(TEXTS):
        messages = (Message("user", text),)
        made.append(Prompt(f"p{place}", messages, messages))
    return made


def requests(candidates: int) -> list[Request]:
    return [
        Request(CandidateKey(1, prompt.id, index, "g"), prompt, stream_seed(0, 1, prompt.id, index))
        for prompt in prompts()
        for index in range(candidates)
    ]


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "mistral", "gemma"])
def test_greedy_equals_generate(tmp_path: Path, architecture: str) -> None:
    net = network(save_model(tmp_path, architecture=architecture))
    engine = LocalEngine(net)
    drawn = {c.key.prompt_id: c for c in engine.sample(net.base, requests(1), SamplingParams(0, max_tokens=24))}
    for prompt in prompts():
        ids = torch.tensor([net.chat.prompt_ids(prompt.messages)])
        said = net.module.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=24,
            eos_token_id=sorted(net.chat.stop_ids),
            pad_token_id=0,
        )
        expected = said[0, ids.shape[1] :].tolist()
        got = list(drawn[prompt.id].token_ids)
        assert got == expected[: len(got)]
        assert len(got) == 24 or got[-1] in net.chat.stop_ids


def test_candidates_do_not_depend_on_batch_or_order(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = network(tiny_folder)
    engine = LocalEngine(net)
    params = SamplingParams(0.9, top_p=0.95, max_tokens=30)
    whole = {c.key: c.token_ids for c in engine.sample(net.base, requests(5), params)}
    assert len(whole) == len(TEXTS) * 5
    assert len(set(whole.values())) > len(TEXTS)
    for rows, reader in ((1, 1), (3, 2), (7, 5)):
        monkeypatch.setattr(local, "_ROWS", rows)
        monkeypatch.setattr(local, "_READ", reader)
        again = {c.key: c.token_ids for c in engine.sample(net.base, requests(5)[::-1], params)}
        assert again == whole


def test_sampling_follows_the_model(tiny_folder: Path) -> None:
    """The first token's law is the model's own, by a chi-square test over the whole vocabulary."""
    net = network(tiny_folder)
    prompt = prompts()[1]
    draws = 3000
    wanted = [
        Request(CandidateKey(1, prompt.id, index, "g"), prompt, stream_seed(3, 1, prompt.id, index))
        for index in range(draws)
    ]
    first = Counter(
        c.token_ids[0] for c in LocalEngine(net).sample(net.base, wanted, SamplingParams(1.0, max_tokens=1))
    )
    with torch.no_grad():
        logits = net.module(torch.tensor([net.chat.prompt_ids(prompt.messages)])).logits[0, -1]
    law = torch.softmax(logits.double(), -1).numpy()
    counts = np.array([first[token] for token in range(len(law))])
    big = law * draws >= 5
    observed = np.append(counts[big], counts[~big].sum())
    expected = np.append(law[big], law[~big].sum()) * draws
    assert stats.chisquare(observed, expected).pvalue > 1e-4


def test_logprobs_are_those_of_the_reply(tiny_folder: Path) -> None:
    net = network(tiny_folder)
    prompt = prompts()[4]
    wanted = [Request(CandidateKey(1, prompt.id, 0, "g"), prompt, 7)]
    (candidate,) = LocalEngine(net).sample(net.base, wanted, SamplingParams(0.8, max_tokens=12))
    prompt_ids = net.chat.prompt_ids(prompt.messages)
    ids = torch.tensor([[*prompt_ids, *candidate.token_ids]])
    with torch.no_grad():
        logits = net.module(ids).logits[0, len(prompt_ids) - 1 : -1].float()
    reply = torch.tensor(candidate.token_ids)[:, None]
    assert candidate.model_logprob == pytest.approx(
        torch.log_softmax(logits, -1).gather(1, reply).sum().item(), abs=1e-3
    )
    assert candidate.logprob == pytest.approx(
        torch.log_softmax(logits / 0.8, -1).gather(1, reply).sum().item(), abs=1e-3
    )


def test_a_prompt_beyond_the_context_fails_alone(tiny_folder: Path) -> None:
    net = network(tiny_folder)
    long = (Message("user", "x" * 600),)
    wanted = [*requests(1), Request(CandidateKey(1, "long", 0, "g"), Prompt("long", long, long), 0)]
    drawn = {c.key.prompt_id: c for c in LocalEngine(net).sample(net.base, wanted, SamplingParams(0.7, max_tokens=5))}
    assert drawn["long"].finish_reason == "failed"
    assert "512" in str(drawn["long"].error)
    assert all(drawn[prompt.id].finish_reason != "failed" for prompt in prompts())


def test_an_adapter_is_added_to_the_weights_and_taken_out_without_a_trace(tiny_folder: Path, tmp_path: Path) -> None:
    from peft import LoraConfig, PeftModel, get_peft_model
    from transformers import AutoModelForCausalLM

    def plain() -> Any:
        return AutoModelForCausalLM.from_pretrained(tiny_folder, dtype=torch.float32)

    torch.manual_seed(3)
    config = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
    get_peft_model(plain(), config).save_pretrained(tmp_path / "adapter")
    beside = PeftModel.from_pretrained(plain(), tmp_path / "adapter").eval()
    network = Network.load(ModelFolder("tiny", tiny_folder), dtype="float32")
    ids = torch.arange(5, 25)[None]
    with torch.no_grad():
        base = network.module(ids).logits
        network.show(Policy("adapted", adapter=str(tmp_path / "adapter")))
        assert not hasattr(network.module, "peft_config")
        adapted = network.module(ids).logits
        torch.testing.assert_close(adapted, beside(ids).logits, rtol=1e-4, atol=1e-4)
        assert (adapted - base).abs().max() > 0.1
        network.show(network.base)
        assert torch.equal(network.module(ids).logits, base)
