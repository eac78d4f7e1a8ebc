"""The local engine: equal to `generate` when greedy, the same candidates whatever the batch, the law when sampled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

import rsft.engines.local.engine as engine_module
import rsft.models.linear as linear_module
from rsft.engines.base import Pace, Request, stream_seed
from rsft.engines.local import LocalEngine
from rsft.engines.local.engine import LocalOptions
from rsft.errors import ModelError, RecipeError
from rsft.models.network import Network
from rsft.models.references import ModelFolder
from rsft.models.student import Student
from rsft.types import Candidate, CandidateKey, Ended, Message, Policy, Prompt, SamplingParams
from tiny import save_model

TEXTS = ["Hi", "What is the price of a tent?", "你好，请问几点开门？", "a" * 90, "Where is my order?", "Thanks " * 8]
# The options make the interesting parts of each architecture small enough to matter in a short text.
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen2": {},
    "qwen3": {},
    "mistral": {"sliding_window": 20},
    "gemma": {},
    "gemma2": {"sliding_window": 20, "query_pre_attn_scalar": 8, "attn_logit_softcapping": 5.0},
    "gemma3_text": {"sliding_window": 20, "query_pre_attn_scalar": 8},
    "phi": {},
    "phi3": {"sliding_window": 30},
    "olmo2": {},
    "granite": {},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 512},
}


def network(folder: Path, dtype: str = "float32") -> Network:
    return Network.load(ModelFolder("tiny", folder), dtype=dtype)


def prompts(texts: Sequence[str] = TEXTS, system: str | None = None) -> list[Prompt]:
    made = []
    for place, text in enumerate(texts):
        messages = (*([Message("system", system)] if system else []), Message("user", text))
        made.append(Prompt(f"p{place}", messages, messages))
    return made


def requests(candidates: int, params: SamplingParams, of: Sequence[Prompt] | None = None) -> list[Request]:
    return [
        Request(CandidateKey(1, prompt.id, index, "g"), prompt, stream_seed(0, 1, prompt.id, index), params)
        for prompt in (of or prompts())
        for index in range(candidates)
    ]


def sampled(engine: LocalEngine, wanted: Sequence[Request]) -> dict[CandidateKey, Candidate]:
    drawn = list(engine.sample(engine.network.base, wanted))
    assert Counter(c.key for c in drawn) == Counter(r.key for r in wanted)
    return {candidate.key: candidate for candidate in drawn}


def generated(net: Network, prompt: Prompt, tokens: int, **options: Any) -> list[int]:
    ids = torch.tensor([net.chat.prompt_ids(prompt.messages)])
    said = net.module.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        max_new_tokens=tokens,
        eos_token_id=sorted(net.chat.stop_ids),
        pad_token_id=0,
        **options,
    )
    reply: list[int] = said[0, ids.shape[1] :].tolist()
    return reply


@pytest.fixture
def engine(tiny_folder: Path) -> LocalEngine:
    return LocalEngine(network(tiny_folder))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Few rows and short passes, so that prompts are read in pieces and places are filled again and again."""
    monkeypatch.setattr(engine_module, "_ROWS", {"cpu": 5})
    monkeypatch.setattr(engine_module, "_TOKENS", {"cpu": 24})
    return


# -- likelihoods -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.7, 1.0])
def test_replies_are_as_likely_as_they_were_when_they_were_drawn(engine: LocalEngine, temperature: float) -> None:
    """So the divergence of a policy from itself is 0, and that from another is measured by one and the same law."""
    drawn = sampled(engine, requests(3, SamplingParams(temperature, max_tokens=20)))
    by_id = {prompt.id: prompt for prompt in prompts()}
    replies = [(by_id[key.prompt_id], candidate) for key, candidate in drawn.items()]
    known = engine.reply_logprobs(engine.base, replies, temperature)
    assert known == pytest.approx([candidate.logprob for candidate in drawn.values()], abs=1e-3)


# -- against generate ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_greedy_equals_generate(tmp_path: Path, architecture: str, small: None) -> None:
    net = network(save_model(tmp_path, architecture=architecture, **ARCHITECTURES[architecture]))
    # Each reply twice, so that candidates share their prompt.
    drawn = sampled(LocalEngine(net), requests(2, SamplingParams(0, max_tokens=40)))
    for prompt in prompts():
        expected = generated(net, prompt, 40)
        for index in range(2):
            got = list(drawn[CandidateKey(1, prompt.id, index, "g")].token_ids)
            assert got == expected[: len(got)]
            assert len(got) == 40 or got[-1] in net.chat.stop_ids


@pytest.mark.parametrize("architecture", ["llama", "mistral", "gemma2"])
def test_greedy_equals_generate_under_a_trunk(tmp_path: Path, architecture: str, small: None) -> None:
    """Prompts with a common beginning share it, windows and all."""
    net = network(save_model(tmp_path, architecture=architecture, **ARCHITECTURES[architecture]))
    of = prompts(system="You are a shop assistant. Be short, and be kind." * 2)
    drawn = sampled(LocalEngine(net), requests(11, SamplingParams(0, max_tokens=12), of))
    for prompt in of:
        expected = generated(net, prompt, 12)
        got = list(drawn[CandidateKey(1, prompt.id, 10, "g")].token_ids)
        assert got == expected[: len(got)]


def test_greedy_with_a_repetition_penalty_equals_generate(engine: LocalEngine) -> None:
    params = SamplingParams(0, max_tokens=30, repetition_penalty=1.2)
    drawn = sampled(engine, requests(1, params))
    for prompt in prompts():
        got = list(drawn[CandidateKey(1, prompt.id, 0, "g")].token_ids)
        assert got == generated(engine.network, prompt, 30, repetition_penalty=1.2)[: len(got)]


def test_greedy_under_an_adapter_equals_generate(tiny_folder: Path) -> None:
    """A PEFT model is sampled from as well as one with the adapter in its weights."""
    from peft import LoraConfig, get_peft_model

    net = network(tiny_folder)
    torch.manual_seed(3)
    config = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
    net.module = get_peft_model(net.module, config).eval()
    drawn = sampled(LocalEngine(net), requests(1, SamplingParams(0, max_tokens=20)))
    for prompt in prompts():
        got = list(drawn[CandidateKey(1, prompt.id, 0, "g")].token_ids)
        assert got == generated(net, prompt, 20)[: len(got)]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision(tiny_folder: Path, dtype: str) -> None:
    """The log-probability of what was drawn is about the model's own: equality is for fp32."""
    engine = LocalEngine(network(tiny_folder, dtype))
    drawn = sampled(engine, requests(3, SamplingParams(1.0, max_tokens=16)))
    apart = [abs(c.model_logprob - plain_logprob(engine.network, c)) / len(c.token_ids) for c in drawn.values()]
    assert np.mean(apart) < 0.1


def plain_logprob(net: Network, candidate: Candidate, temperature: float = 1.0) -> float:
    prompt = next(prompt for prompt in prompts() if prompt.id == candidate.key.prompt_id)
    prompt_ids = net.chat.prompt_ids(prompt.messages)
    with torch.no_grad():
        logits = net.module(torch.tensor([[*prompt_ids, *candidate.token_ids]], device=net.device)).logits[0]
    law = torch.log_softmax(logits[len(prompt_ids) - 1 : -1].float().cpu() / temperature, -1)
    return float(law.gather(1, torch.tensor(candidate.token_ids)[:, None]).sum())


# -- the law ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rows", "tokens", "pages"), [(1, 8, None), (3, 16, None), (7, 100, None), (50, 40, 40)])
def test_candidates_do_not_depend_on_batch_order_or_memory(
    engine: LocalEngine, monkeypatch: pytest.MonkeyPatch, rows: int, tokens: int, pages: int | None
) -> None:
    wanted = requests(5, SamplingParams(0.9, top_p=0.95, max_tokens=70))
    whole = {key: c.token_ids for key, c in sampled(engine, wanted).items()}
    assert len(set(whole.values())) > len(TEXTS)
    monkeypatch.setattr(engine_module, "_ROWS", {"cpu": rows})
    monkeypatch.setattr(engine_module, "_TOKENS", {"cpu": tokens})
    if pages:
        monkeypatch.setattr(LocalEngine, "_pages", lambda *_: pages)
    assert {key: c.token_ids for key, c in sampled(engine, wanted[::-1]).items()} == whole


def test_nor_do_they_in_bf16_where_each_row_is_computed_for_itself(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if linear_module._halves() is None:
        pytest.skip("torch's products may round otherwise in another batch")
    engine = LocalEngine(network(tiny_folder, "bfloat16"))
    wanted = requests(5, SamplingParams(0.9, top_p=0.95, max_tokens=70))
    whole = {key: c.token_ids for key, c in sampled(engine, wanted).items()}
    for rows, tokens in ((1, 8), (3, 16), (50, 40)):
        monkeypatch.setattr(engine_module, "_ROWS", {"cpu": rows})
        monkeypatch.setattr(engine_module, "_TOKENS", {"cpu": tokens})
        assert {key: c.token_ids for key, c in sampled(engine, wanted[::-1]).items()} == whole


def test_sampling_follows_the_model(engine: LocalEngine) -> None:
    """The law of two tokens in a row is the model's own, by chi-square tests: of the first, and of the second after
    the likeliest first."""
    prompt = prompts()[1]
    draws = 3000
    drawn = sampled(engine, requests(draws, SamplingParams(1.0, max_tokens=2), [prompt]))
    prompt_ids = engine.network.chat.prompt_ids(prompt.messages)
    first = Counter(c.token_ids[0] for c in drawn.values())
    likeliest = first.most_common(1)[0][0]
    second = Counter(c.token_ids[1] for c in drawn.values() if c.token_ids[0] == likeliest)
    for text, counted in ((prompt_ids, first), ([*prompt_ids, likeliest], second)):
        with torch.no_grad():
            logits = engine.network.module(torch.tensor([text], device=engine.network.device)).logits[0, -1]
        law = torch.softmax(logits.double(), -1).cpu().numpy()
        total = counted.total()
        counts = np.array([counted[token] for token in range(len(law))])
        big = law * total >= 5
        observed = np.append(counts[big], counts[~big].sum())
        expected = np.append(law[big], law[~big].sum()) * total
        assert total > 100
        assert stats.chisquare(observed, expected).pvalue > 1e-4


def test_logprobs_are_those_of_the_reply(engine: LocalEngine) -> None:
    for candidate in sampled(engine, requests(2, SamplingParams(0.8, max_tokens=40))).values():
        assert candidate.model_logprob == pytest.approx(plain_logprob(engine.network, candidate), abs=1e-3)
        assert candidate.logprob == pytest.approx(plain_logprob(engine.network, candidate, 0.8), abs=1e-3)


def test_laws_may_differ_within_one_call(engine: LocalEngine) -> None:
    """A prompt's greedy reply and its samples are drawn together, and are what they are apart."""
    greedy = requests(1, SamplingParams(0, max_tokens=20))
    warm = [replace(r, key=replace(r.key, generator="h")) for r in requests(3, SamplingParams(1.2, max_tokens=9))]
    together = sampled(engine, [*greedy, *warm])
    apart = sampled(engine, greedy) | sampled(engine, warm)
    assert {k: c.token_ids for k, c in together.items()} == {k: c.token_ids for k, c in apart.items()}


# -- where a reply ends ----------------------------------------------------------------------------------------------


def test_a_stop_string_ends_the_reply(engine: LocalEngine) -> None:
    free = sampled(engine, requests(4, SamplingParams(1.0, max_tokens=40)))
    stops = ("e", "1", "Q")
    stopped = sampled(engine, requests(4, SamplingParams(1.0, max_tokens=40, stop=stops)))
    assert any(any(stop in c.text for stop in stops) for c in free.values())
    for key, candidate in stopped.items():
        places = [free[key].text.find(stop) for stop in stops if stop in free[key].text]
        if not places:
            assert candidate.token_ids == free[key].token_ids
            continue
        assert candidate.finish_reason == "stop"
        assert candidate.text == free[key].text[: min(places)]
        assert candidate.token_ids == free[key].token_ids[: len(candidate.token_ids)]
        assert engine.network.chat.decode(candidate.token_ids)[min(places) :] in stops


def test_a_watcher_ends_a_candidate_at_its_token(engine: LocalEngine) -> None:
    params = SamplingParams(1.0, max_tokens=30)
    free = sampled(engine, requests(3, params))

    def watch(request: Request) -> Any:
        if request.key.sample_index == 0:
            return None
        seen: list[str] = []

        def watcher(text: str, tokens: int) -> Ended | None:
            seen.append(text)
            assert len(seen) == tokens
            return Ended("ten", text) if tokens == 10 else None

        return watcher

    watched = {c.key: c for c in engine.sample(engine.network.base, requests(3, params), watch)}
    assert watched.keys() == free.keys()
    for key, candidate in watched.items():
        if key.sample_index == 0 or len(free[key].token_ids) <= 10:
            assert candidate.token_ids == free[key].token_ids
        else:
            assert candidate.finish_reason == "ended"
            assert candidate.token_ids == free[key].token_ids[:10]
            assert candidate.ended_by == "ten"
            assert candidate.why is not None
            assert free[key].text.startswith(candidate.why)
            assert candidate.why


def test_a_watcher_sees_what_the_reply_will_begin_with(engine: LocalEngine, small: None) -> None:
    """No half a character, and nothing that a stop string may turn out to begin with."""
    free = sampled(engine, requests(4, SamplingParams(1.3, max_tokens=40)))
    letters = Counter(letter for candidate in free.values() for letter in candidate.text if letter != "\ufffd")
    stop = "".join(letter for letter, _ in letters.most_common(1)) * 2
    params = SamplingParams(1.3, max_tokens=40, stop=(stop,))
    seen: dict[CandidateKey, list[str]] = {}

    def watch(request: Request) -> Any:
        return lambda text, tokens: seen.setdefault(request.key, []).append(text)

    drawn = {c.key: c for c in engine.sample(engine.network.base, requests(4, params), watch)}
    assert {key: c.token_ids for key, c in drawn.items()} == {
        key: c.token_ids for key, c in sampled(engine, requests(4, params)).items()
    }
    assert any(candidate.finish_reason == "stop" for candidate in drawn.values())
    for key, texts in seen.items():
        assert all(drawn[key].text.startswith(text) for text in texts), (drawn[key].text, texts)
        assert all(engine.text(drawn[key].token_ids[: n + 1]).startswith(text) for n, text in enumerate(texts))
        assert sum(map(len, texts)) > 0


class Stepwise(Pace):
    """Lets one candidate more of a prompt begin each time that the engine has nothing to do."""

    def __init__(self) -> None:
        self.bounds = dict.fromkeys((prompt.id for prompt in prompts()), 0)
        self.waits = 0

    def bound(self, prompt_id: str) -> int:
        return self.bounds[prompt_id]

    def wait(self) -> None:
        self.waits += 1
        prompt_id = f"p{(self.waits - 1) % len(TEXTS)}"
        self.bounds[prompt_id] += 1


@pytest.mark.parametrize("pages", [None, 12])
def test_candidates_begin_no_sooner_than_they_may(
    engine: LocalEngine, monkeypatch: pytest.MonkeyPatch, pages: int | None
) -> None:
    """With few pages, prompts that may not go on make room for others and are read again when they may."""
    params = SamplingParams(1.0, max_tokens=30)
    free = sampled(engine, requests(3, params))
    if pages:
        monkeypatch.setattr(LocalEngine, "_pages", lambda *_: pages)
    pace = Stepwise()
    order: list[CandidateKey] = []
    for candidate in engine.sample(engine.network.base, requests(3, params), None, pace):
        assert candidate.key.sample_index < pace.bound(candidate.key.prompt_id)
        assert candidate.token_ids == free[candidate.key].token_ids
        order.append(candidate.key)
    assert set(order) == free.keys()
    assert pace.waits == 3 * len(TEXTS), "one by one"
    assert [key.sample_index for key in order] == sorted(key.sample_index for key in order)


def test_what_may_never_begin_can_be_cancelled(engine: LocalEngine) -> None:
    class Never(Stepwise):
        def wait(self) -> None:
            for prompt_id in self.bounds:
                sampling.cancel_prompt(prompt_id)

    sampling = engine.sample(engine.network.base, requests(2, SamplingParams(1.0, max_tokens=30)), None, Never())
    assert [candidate.finish_reason for candidate in sampling] == ["cancelled"] * 2 * len(TEXTS)


def test_what_is_cancelled_costs_no_more(engine: LocalEngine, small: None) -> None:
    params = SamplingParams(1.0, max_tokens=30)
    free = sampled(engine, requests(6, params))
    sampling = engine.sample(engine.network.base, requests(6, params))
    drawn: dict[CandidateKey, Candidate] = {}
    for candidate in sampling:
        if not drawn:
            sampling.cancel_prompt("p5")  # waits still
            sampling.cancel_prompt(candidate.key.prompt_id)
            sampling.cancel(CandidateKey(1, "p4", 3, "g"))
        assert candidate.key not in drawn
        drawn[candidate.key] = candidate
    assert drawn.keys() == free.keys()
    cancelled = {key for key, candidate in drawn.items() if candidate.finish_reason == "cancelled"}
    assert {key for key in drawn if key.prompt_id == "p5"} <= cancelled
    assert CandidateKey(1, "p4", 3, "g") in cancelled
    for key, candidate in drawn.items():
        if key in cancelled:
            assert candidate.token_ids == free[key].token_ids[: len(candidate.token_ids)]
            assert len(candidate.token_ids) < len(free[key].token_ids)
        else:
            assert candidate.token_ids == free[key].token_ids


def test_everything_can_be_cancelled(engine: LocalEngine) -> None:
    sampling = engine.sample(engine.network.base, requests(4, SamplingParams(1.0, max_tokens=30)))
    for prompt in prompts():
        sampling.cancel_prompt(prompt.id)
    assert [candidate.finish_reason for candidate in sampling] == ["cancelled"] * 4 * len(TEXTS)


# -- limits ----------------------------------------------------------------------------------------------------------


def test_a_prompt_beyond_the_context_fails_alone(engine: LocalEngine) -> None:
    long = (Message("user", "x" * 600),)
    params = SamplingParams(0.7, max_tokens=5)
    drawn = sampled(engine, [*requests(1, params), *requests(1, params, [Prompt("long", long, long)])])
    failed = drawn[CandidateKey(1, "long", 0, "g")]
    assert failed.finish_reason == "failed"
    assert "512" in str(failed.why)
    assert sum(candidate.finish_reason == "failed" for candidate in drawn.values()) == 1


def test_a_prompt_beyond_the_memory_fails_alone(engine: LocalEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LocalEngine, "_pages", lambda *_: 4)
    drawn = sampled(engine, requests(3, SamplingParams(0.7, max_tokens=33)))
    failed = {key.prompt_id for key, candidate in drawn.items() if candidate.finish_reason == "failed"}
    assert failed == {"p3"}  # of 90 bytes and more
    assert "memory_gib" in str(drawn[CandidateKey(1, "p3", 0, "g")].why)


def test_logits_that_are_no_numbers_fail_their_candidates_alone(engine: LocalEngine) -> None:
    """A text with a poisoned byte fails; the others of the same batch are what they were."""
    params = SamplingParams(0.8, top_p=0.9, max_tokens=9)
    before = sampled(engine, requests(2, params))
    poison = engine.network.chat.tokenizer.encode("?", add_special_tokens=False)[0]
    with torch.no_grad():
        engine.network.module.get_input_embeddings().weight[poison] = torch.nan
    after = sampled(engine, requests(2, params))
    for key, candidate in after.items():
        poisoned = poison in engine.network.chat.prompt_ids(
            next(p for p in prompts() if p.id == key.prompt_id).messages
        )
        assert (candidate.finish_reason == "failed") == (poisoned or poison in candidate.token_ids[:-1])
        if candidate.finish_reason != "failed":
            assert candidate.token_ids == before[key].token_ids
        else:
            assert "not numbers" in str(candidate.why)


def test_the_recipe_bounds_the_memory(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import rsft.engines.local.pages as pages_module

    net = network(tiny_folder)
    made = []
    pool = pages_module.Pool

    def watched(*arguments: Any) -> Any:
        made.append(pool(*arguments))
        return made[-1]

    monkeypatch.setattr(engine_module, "Pool", watched)
    gib = 60_000 / 2**30
    engine = LocalEngine(net, LocalOptions(memory_gib=gib))
    assert len(sampled(engine, requests(9, SamplingParams(0.7, max_tokens=40)))) == 9 * len(TEXTS)
    held = sum(states.numel() * states.element_size() for states in (*made[0].keys, *made[0].values))
    assert 30_000 < held <= 60_000


def test_options_that_are_wrong_are_refused() -> None:
    with pytest.raises(RecipeError, match="memory_gib"):
        LocalEngine.open({"memory": 3}, Student(["nowhere"]), Path())


@pytest.mark.parametrize(
    ("architecture", "options", "reason"),
    [
        ("mamba", {"state_size": 4}, "AttentionInterface|attention"),
        ("bloom", {"n_layer": 2, "n_head": 4}, "AttentionInterface"),
        ("qwen3_next", {"linear_num_value_heads": 2, "linear_num_key_heads": 2, "num_experts": 2}, "linear_attention"),
        ("gpt_oss", {"num_local_experts": 2, "num_experts_per_tok": 1}, "s_aux"),
    ],
)
def test_a_model_that_cant_be_served_is_refused_with_the_reason(
    tmp_path: Path, architecture: str, options: dict[str, Any], reason: str
) -> None:
    net = network(save_model(tmp_path, architecture=architecture, **options))
    with pytest.raises(ModelError, match=reason):
        sampled(LocalEngine(net), requests(1, SamplingParams(0.7, max_tokens=5)))


def test_the_models_own_attention_is_back_between_candidates(engine: LocalEngine) -> None:
    """Others may use the network while an engine pauses: a scorer that reads log-probabilities, say."""
    own = engine.network.module.config._attn_implementation
    for _ in engine.sample(engine.network.base, requests(1, SamplingParams(0.7, max_tokens=5))):
        assert engine.network.module.config._attn_implementation == own


def test_a_released_engine_leaves_a_gpus_unused_memory_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[str] = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: left.append("all"))
    for device in ("cpu", "cuda"):
        LocalEngine(SimpleNamespace(device=torch.device(device))).release()  # type: ignore[arg-type]
    assert left == ["all"], "that of the GPU"


# -- weights ---------------------------------------------------------------------------------------------------------


def test_an_adapter_is_added_to_the_weights_and_taken_out_without_a_trace(tiny_folder: Path, tmp_path: Path) -> None:
    from peft import LoraConfig, PeftModel, get_peft_model
    from transformers import AutoModelForCausalLM

    def plain() -> Any:
        return AutoModelForCausalLM.from_pretrained(tiny_folder, dtype=torch.float32)

    torch.manual_seed(3)
    config = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
    get_peft_model(plain(), config).save_pretrained(tmp_path / "adapter")
    beside = PeftModel.from_pretrained(plain(), tmp_path / "adapter").eval()
    net = network(tiny_folder)
    ids = torch.arange(5, 25, device=net.device)[None]
    with torch.no_grad():
        base = net.module(ids).logits
        net.show(Policy("adapted", adapter=str(tmp_path / "adapter")))
        assert not hasattr(net.module, "peft_config")
        adapted = net.module(ids).logits
        torch.testing.assert_close(adapted, beside(ids).logits, rtol=1e-4, atol=1e-4)
        assert (adapted - base).abs().max() > 0.1
        net.show(net.base)
        assert torch.equal(net.module(ids).logits, base)
