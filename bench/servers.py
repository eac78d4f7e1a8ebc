"""Sampling by way of a server: rsft's engine beside the same server driven directly by its own client.

    python -m bench.servers                     vLLM (make vllm-env): 64 conversations × 8 candidates × 64 tokens
    python -m bench.servers --prompts 128 --rounds 5
    python -m bench.servers --environment /path/to/env

One vLLM, started as the engine starts it, serves both arms in turn, round after round. The direct arm is the openai
client with the same prompts as token ids, n candidates a request, and the number of requests at a time that does best
(found first, on a part of the work); it asks for nothing that the engine's candidates have beyond texts. Each round's
prompts begin with a word of their own, so that no round finds another's in the prefix cache. Rates are in sampled
tokens a second, and `ratio_vs_direct` is the median over rounds of the engine's rate over the direct one's.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.workload import Workload, report, say
from rsft.engines.remote import VllmEngine
from rsft.models.student import Student
from rsft.types import Message, Prompt

_AT_A_TIME = (8, 16, 32, 64, 128, 256)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    Workload.add_arguments(parser)
    parser.add_argument("--environment", default=".venv-vllm")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    workload = Workload.of(arguments)
    student = Student([workload.model], workload.dtype)
    with tempfile.TemporaryDirectory() as folder:
        engine = VllmEngine.open({"environment": arguments.environment}, student, Path(folder))
        try:
            report(bench="servers", workload=" ".join(workload.as_arguments()), **_measure(engine, workload, arguments))
        finally:
            engine.close()


def _measure(engine: VllmEngine, workload: Workload, arguments: Any) -> dict[str, Any]:
    assert engine.student is not None
    prompts = workload.read(engine.student.network)
    part = prompts[: max(8, len(prompts) // 4)]
    list(engine.sample(engine.base, workload.requests(_begun(part, "warm"))))
    rates = {many: _direct(engine, workload, _begun(part, f"try {many}"), many) for many in _AT_A_TIME}
    best = max(rates, key=lambda many: rates[many])
    say(f"direct, by requests at a time: { {many: round(rate) for many, rate in rates.items()} }")
    ours, direct = [], []
    for number in range(arguments.rounds):
        direct.append(_direct(engine, workload, _begun(prompts, f"direct {number}"), best))
        ours.append(_engine(engine, workload, _begun(prompts, f"engine {number}")))
        say(f"round {number + 1}: engine {ours[-1]:.1f}, direct {direct[-1]:.1f} tokens/s")
    ratios = [own / other for own, other in zip(ours, direct, strict=True)]
    return {
        "ratio_vs_direct": round(statistics.median(ratios), 3),
        "ratios": [round(ratio, 3) for ratio in ratios],
        "rate": round(statistics.median(ours), 1),
        "direct_rate": round(statistics.median(direct), 1),
        "direct_requests_at_a_time": best,
        "server": engine.told,
    }


def _begun(prompts: Sequence[Prompt], word: str) -> list[Prompt]:
    """The prompts, each with a first turn that no other round has."""
    turn = Message("system", f"Round: {word}.")
    return [
        replace(
            prompt, id=f"{word} {prompt.id}", messages=(turn, *prompt.messages), conversation=(turn, *prompt.messages)
        )
        for prompt in prompts
    ]


def _engine(engine: VllmEngine, workload: Workload, prompts: list[Prompt]) -> float:
    requests = workload.requests(prompts)
    began = time.perf_counter()
    drawn = list(engine.sample(engine.base, requests))
    seconds = time.perf_counter() - began
    assert len(drawn) == len(requests)
    return sum(len(candidate.token_ids) for candidate in drawn) / seconds


def _direct(engine: VllmEngine, workload: Workload, prompts: list[Prompt], at_a_time: int) -> float:
    chat = engine.calls.chat
    assert chat is not None
    bodies = [
        {
            "model": engine.server.endpoint.model,
            "prompt": chat.prompt_ids(prompt.messages),
            "n": workload.candidates,
            "seed": number,
            "max_tokens": workload.max_tokens,
            "temperature": workload.temperature,
            "top_p": workload.top_p,
            "extra_body": {"stop_token_ids": sorted(chat.stop_ids)},
        }
        for number, prompt in enumerate(prompts)
    ]
    return asyncio.run(_ask(engine, bodies, at_a_time))


async def _ask(engine: VllmEngine, bodies: Sequence[dict[str, Any]], at_a_time: int) -> float:
    """Sampled tokens a second."""
    from openai import AsyncOpenAI

    key = engine.server.client.api_key
    async with AsyncOpenAI(base_url=engine.server.endpoint.url, api_key=key, max_retries=0, timeout=3600) as client:
        free = asyncio.Semaphore(at_a_time)

        async def one(body: dict[str, Any]) -> int:
            async with free:
                said = await client.completions.create(**body)
            assert said.usage is not None
            return said.usage.completion_tokens

        began = time.perf_counter()
        tokens = sum(await asyncio.gather(*map(one, bodies)))
        return tokens / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
